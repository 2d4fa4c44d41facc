"""Masks as one HTML file: strategies side by side, a slider over the mask rate. It is self-contained."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from syntaxdiff.eval.masks.draw import Masks, Piece, Subject, draw_masks, pieces
from syntaxdiff.eval.pages import environment
from syntaxdiff.pipeline.shard import Region, write_text
from syntaxdiff.train.corruption.config import CorruptionConfig
from syntaxdiff.train.corruption.noise import Noise

TEMPLATES = Path(__file__).with_name("templates")
RATES = tuple(step / 20 for step in range(21))


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One draw: stretches before the code and of it, node kinds of the units, masked and all code tokens."""

    before: list[Piece]
    code: list[Piece]
    kinds: list[str]
    masked: int
    total: int


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A strategy, with a frame per mask rate."""

    strategy: str
    frames: Sequence[Frame]


def write_page(
    path: Path, subject: Subject, configs: Sequence[CorruptionConfig], noise: Noise, *, seed: int, epoch: int
) -> None:
    """Writes the page; it opens at the rate of ``noise`` and steps through RATES, with the same draws at each.

    Raises:
        StorageError: the disk refused
    """
    first = float(noise.rate_B[0])
    rates = sorted({*RATES, first})
    noises = [replace(noise, rate_B=noise.rate_B * 0 + rate) for rate in rates]
    panels = [
        Panel(
            strategy=config.strategy,
            frames=[_frame(subject, draw_masks(subject, config, at_rate, seed=seed, epoch=epoch)) for at_rate in noises],
        )
        for config in configs
    ]
    prompt_end = subject.interval(Region.PROMPT)[1]
    page = (
        environment(TEMPLATES)
        .get_template("masks.html")
        .render(
            row=subject.row,
            seed=seed,
            epoch=epoch,
            prompt=subject.texts(subject.row.input_ids.tolist(), (0, prompt_end))[0],
            has_reasoning=subject.interval(Region.CODE)[0] > prompt_end,
            data={"rates": rates, "first": rates.index(first), "panels": [asdict(panel) for panel in panels]},
            operators={piece.operator for panel in panels for frame in panel.frames for piece in frame.code},
        )
    )
    write_text(path, page)


def _frame(subject: Subject, masks: Masks) -> Frame:
    code_start, code_end = subject.interval(Region.CODE)
    prompt_end = subject.interval(Region.PROMPT)[1]
    code, total = masks.share(Region.CODE, subject)
    return Frame(
        before=list(pieces(subject, masks, prompt_end, code_start)),
        code=list(pieces(subject, masks, code_start, code_end)),
        kinds=[unit.kind for unit in masks.units],
        masked=code,
        total=total,
    )
