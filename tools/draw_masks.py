"""Draw one program twice, with tokens masked at random and with whole syntax spans masked, as an SVG file.

    python tools/draw_masks.py demo/shards docs/masks.svg

The spans and tokens are those that a build stores; the tokenizer is that of the shards named. Which spans are masked here
follows the paper's Algorithm 1 to the letter, one program, one draw; training draws anew each step, on the device.
"""

import random
import sys
from html import escape
from pathlib import Path

from syntaxdiff.pipeline.alignment import anchors
from syntaxdiff.pipeline.codec import Codec
from syntaxdiff.pipeline.shard import TOKENIZER
from syntaxdiff.pipeline.spans import code_tree

PROGRAM = """\
def longest_run(values, limit):
    best = start = 0
    for end, value in enumerate(values):
        if value > limit:
            start = end + 1
        elif end - start >= best:
            best = end - start + 1
    return best
"""
RATE, SEED = 0.35, 5
CHAR_WIDTH, LINE_HEIGHT, MARGIN, GAP = 8.4, 21, 16, 40


def random_tokens(num_tokens: int, draw: random.Random) -> set[int]:
    """Each token with probability RATE."""
    return {token for token in range(num_tokens) if draw.random() < RATE}


def whole_spans(spans: list[tuple[int, int]], num_tokens: int, draw: random.Random) -> set[int]:
    """Algorithm 1: spans in random order, none over another, until the budget is spent; then single tokens."""
    budget = int(RATE * num_tokens)
    masked: set[int] = set()
    for start, end in draw.sample(spans, len(spans)):
        if draw.random() < 1 - (1 - RATE) ** (end - start) and not masked.intersection(range(start, end)):
            masked.update(range(start, end))
            if len(masked) > budget:
                break
    free = [token for token in range(num_tokens) if token not in masked]
    return masked.union(draw.sample(free, max(0, budget - len(masked))))


def panel(title: str, pieces: list[tuple[str, bool]], left: float) -> list[str]:
    """SVG of one panel: text in its lines, masked pieces on a coloured ground."""
    row, column = 2, 0
    joins = False  # the piece before stands on the same line and is masked too
    parts = [f'<text x="{left}" y="{MARGIN + 14}" class="title">{escape(title)}</text>']
    for text, is_masked in pieces:
        for index, line in enumerate(text.split("\n")):
            if index:
                row, column, joins = row + 1, 0, False
            if line:
                x, y = left + column * CHAR_WIDTH, MARGIN + row * LINE_HEIGHT
                drawn = is_masked and (joins or bool(line.strip()))
                if drawn:
                    blank = 0 if joins else (len(line) - len(line.lstrip())) * CHAR_WIDTH
                    width = len(line) * CHAR_WIDTH - blank
                    parts.append(f'<rect x="{x + blank:.1f}" y="{y - 15}" width="{width:.1f}" height="19"/>')
                joins = drawn
                parts.append(f'<text x="{x:.1f}" y="{y}" textLength="{len(line) * CHAR_WIDTH:.1f}">{escape(line)}</text>')
                column += len(line)
    return parts


def main(shards: Path, picture: Path) -> None:
    """Draws the picture."""
    codec = Codec(shards / TOKENIZER, "hf")
    tokens = codec.encode_batch([PROGRAM])[0]
    assert tokens is not None  # a byte-level vocabulary accounts for all text
    text = PROGRAM.encode()
    tree = code_tree(text, "python", anchors(tokens.start_byte, tokens.end_byte, text))
    spans = list(zip(tree.spans.start.tolist(), tree.spans.end.tolist(), strict=True))
    num_tokens = len(tokens.ids)
    left, body = float(MARGIN), []
    for title, masked in (
        (f"tokens at random, {RATE:.0%}", random_tokens(num_tokens, random.Random(SEED))),
        (f"whole subtrees, budget {RATE:.0%}", whole_spans(spans, num_tokens, random.Random(SEED))),
    ):
        pieces = [
            (text[start:end].decode(), token in masked)
            for token, (start, end) in enumerate(zip(tokens.start_byte.tolist(), tokens.end_byte.tolist(), strict=True))
        ]
        body += panel(title, pieces, left)
        left += max(map(len, PROGRAM.splitlines())) * CHAR_WIDTH + GAP
    height = (PROGRAM.count("\n") + 2) * LINE_HEIGHT + 2 * MARGIN
    style = (
        "text{font:14px ui-monospace,Menlo,Consolas,monospace;fill:#1f2328;white-space:pre}"
        ".title{font:600 14px system-ui,sans-serif;fill:#57606a}rect{fill:#ffb3a7}"
    )
    picture.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left:.0f}" height="{height}" xml:space="preserve">'
        f'<style>{style}</style><rect width="100%" height="100%" style="fill:#fff"/>' + "".join(body) + "</svg>\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
