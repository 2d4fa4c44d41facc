"""Masks as an SVG file: the code once a strategy, side by side, for documents and papers."""

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from syntaxdiff.eval.masks.draw import Masks, Piece, Subject, pieces
from syntaxdiff.pipeline.shard import Region, write_text
from syntaxdiff.train.corruption.operators import Operator

CHAR_WIDTH, LINE_HEIGHT, MARGIN, GAP = 8.4, 21, 16, 40  # pixels
COLOURS = {
    Operator.MASK: "#ffb3a7",
    Operator.DROP: "#d8dee4",
    Operator.SHUFFLE: "#a5e3f0",
    Operator.RELABEL: "#b4e8b8",
    Operator.PLACEHOLDER: "#e6c3f5",
}
TOKEN_COLOUR = "#ffe08a"
STYLE = (
    "text{font:14px ui-monospace,Menlo,Consolas,monospace;fill:#1f2328;white-space:pre}"
    ".title{font:600 14px system-ui,sans-serif;fill:#57606a}"
)


def write_drawing(path: Path, subject: Subject, draws: Sequence[Masks]) -> None:
    """Writes the drawing. Raises StorageError where the disk refuses."""
    interval = subject.interval(Region.CODE)
    code = subject.texts(subject.row.input_ids.tolist(), interval)[0].expandtabs().rstrip("\n").split("\n")
    width = max(map(len, code)) * CHAR_WIDTH + GAP
    height = (len(code) + 2) * LINE_HEIGHT + 2 * MARGIN
    body = []
    for number, masks in enumerate(draws):
        title = f"{masks.strategy}, rate {masks.mask_rate:g}"
        body += _panel(title, pieces(subject, masks, *interval), MARGIN + number * width)
    whole_width = MARGIN + len(draws) * width
    write_text(
        path,
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{whole_width:.0f}" height="{height}" xml:space="preserve">'
        f'<style>{STYLE}</style><rect width="100%" height="100%" fill="#fff"/>' + "".join(body) + "</svg>\n",
    )


def _panel(title: str, parts: Iterator[Piece], left: float) -> list[str]:
    """SVG of one panel: text in its lines, touched stretches on a coloured ground."""
    row, column = 2, 0
    drawn = [f'<text x="{left}" y="{MARGIN + 14}" class="title">{escape(title)}</text>']
    for piece in parts:
        colour = TOKEN_COLOUR if piece.operator == Operator.MASK and piece.unit < 0 else COLOURS.get(piece.operator)
        for number, line in enumerate(piece.text.expandtabs().split("\n")):
            if number:
                row, column = row + 1, 0
            if not line:
                continue
            x, y, width = left + column * CHAR_WIDTH, MARGIN + row * LINE_HEIGHT, len(line) * CHAR_WIDTH
            blank = (len(line) - len(line.lstrip())) * CHAR_WIDTH if number else 0
            if colour and width > blank:
                box = f'x="{x + blank:.1f}" y="{y - 15}" width="{width - blank:.1f}" height="19"'
                drawn.append(f'<rect {box} rx="3" fill="{colour}"/>')
            drawn.append(f'<text x="{x:.1f}" y="{y}" textLength="{width:.1f}">{escape(line)}</text>')
            column += len(line)
    return drawn
