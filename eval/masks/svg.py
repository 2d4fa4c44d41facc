"""Masks as an SVG file: the code once per strategy, side by side, for documents and papers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from syntaxdiff.eval.masks.draw import Masks, Piece, Subject, pieces
from syntaxdiff.eval.masks.page import TEMPLATES
from syntaxdiff.eval.pages import environment
from syntaxdiff.pipeline.shard import Region, write_text
from syntaxdiff.train.corruption.operators import Operator

CHAR_WIDTH, LINE_HEIGHT, MARGIN, GAP = 8.4, 21, 16, 40  # pixels


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Text in a line, in pixels from the panel's left; ``kind`` is that of its ground, ``blank`` the part without one."""

    x: float
    y: float
    width: float
    blank: float
    kind: str
    text: str


def write_drawing(path: Path, subject: Subject, draws: Sequence[Masks]) -> None:
    """Writes the drawing. Raises StorageError where the disk refuses."""
    interval = subject.interval(Region.CODE)
    code = subject.texts(subject.row.input_ids.tolist(), interval)[0].expandtabs().rstrip("\n").split("\n")
    drawing = (
        environment(TEMPLATES)
        .get_template("masks.svg")
        .render(
            panels=[(masks, list(_stretches(pieces(subject, masks, *interval)))) for masks in draws],
            panel_width=max(map(len, code)) * CHAR_WIDTH + GAP,
            height=(len(code) + 2) * LINE_HEIGHT + 2 * MARGIN,
            margin=MARGIN,
        )
    )
    write_text(path, drawing + "\n")


def _stretches(parts: Iterator[Piece]) -> Iterator[Stretch]:
    """Text by line; touched stretches have a ground, but for a line's indentation."""
    row, column = 2, 0
    for piece in parts:
        kind = "token" if piece.operator == Operator.MASK and piece.unit < 0 else piece.operator.name.lower()
        for number, line in enumerate(piece.text.expandtabs().split("\n")):
            if number:
                row, column = row + 1, 0
            if not line:
                continue
            yield Stretch(
                x=column * CHAR_WIDTH,
                y=MARGIN + row * LINE_HEIGHT,
                width=len(line) * CHAR_WIDTH,
                blank=(len(line) - len(line.lstrip())) * CHAR_WIDTH if number else 0,
                kind=kind,
                text=line,
            )
            column += len(line)
