"""Training runs on their own validation samples, in a report: what strategies mask of one, and how a model writes others.

Both need the run's shards where its settings say they are, and a replay the exported model. Masks are those of draw.py.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

from syntaxdiff.eval.inference.answer import in_order
from syntaxdiff.eval.inference.checkpoint import load_checkpoint
from syntaxdiff.eval.inference.config import GenerationConfig
from syntaxdiff.eval.inference.steps import Cell, Steps, steps_of
from syntaxdiff.eval.masks.draw import Masks, Subject, draw_masks, pieces, read_subject
from syntaxdiff.eval.report.findings import Training
from syntaxdiff.pipeline.errors import ShardError, SyntaxdiffError
from syntaxdiff.pipeline.inspection.display import visible
from syntaxdiff.pipeline.shard import Manifest, Region, SampleRow, iter_shard, read_manifest
from syntaxdiff.train.corruption.config import CorruptionConfig
from syntaxdiff.train.corruption.noise import Noise
from syntaxdiff.train.corruption.operators import Operator

SPLIT = "validation"
CODE_TOKENS = range(40, 160)  # of a sample to look at, where there is one: the trainer's preview takes the same
MASK_RATES = (0.3, 0.7)
ALWAYS_SHOWN = ("random", "ast-span")  # strategies, whatever the runs had
REPLAY = GenerationConfig(gen_length=128, num_steps=64)  # 64 forward passes: seconds for a small model on a CPU
TINTS = 6  # classes t0 to t5 of the page, by when a token was written; page.js has the same number
_LINE_STARTS = re.compile(r"(\n[ \t]*)")


class Shards(NamedTuple):
    """The data that a run was trained on."""

    folder: Path
    manifest: Manifest


def shards_of(run: Training) -> Shards:
    """The shards of a run.

    Raises:
        ShardError: they are not where the run's settings say, or are others by now
    """
    folder = Path(str(run.settings.data))
    manifest = read_manifest(folder)
    if run.info.data_fingerprint not in (None, manifest.fingerprint):
        raise ShardError(f"{folder} holds other shards than {run.name} was trained on")
    if manifest.num_samples(SPLIT) == 0:
        raise ShardError(f"{folder} holds no {SPLIT} samples")
    return Shards(folder, manifest)


# ---------------------------------------------------------------------------------------------------------------------- masks


class MaskedPiece(NamedTuple):
    """A stretch of text: ``o1`` of a masked subtree, whose node kind it has, ``token`` of masked tokens, else plain."""

    text: str
    kind: str = ""
    node_kind: str = ""


class MaskedCode(NamedTuple):
    """A sample's code as a strategy masks it: the draw, its pieces, masked and all tokens."""

    masks: Masks
    pieces: Sequence[MaskedPiece]
    num_masked: int
    num_tokens: int


class MaskedSample(NamedTuple):
    """A sample as several strategies mask it."""

    folder: Path
    row: SampleRow
    panels: Sequence[MaskedCode]


def masked_by(runs: Sequence[Training], shards: Shards) -> MaskedSample:
    """One validation sample as the strategies of runs on the same data mask it, each at two rates; never one strategy only."""
    configs = {strategy: CorruptionConfig(strategy=strategy) for strategy in ALWAYS_SHOWN}
    for run in runs:
        if strategy := run.settings.strategy:
            configs[strategy] = CorruptionConfig(strategy=strategy, max_span_share=run.settings.max_span_share)
    return masked_sample(shards, list(configs.values()), seed=runs[0].settings.seed)


def masked_sample(shards: Shards, configs: Sequence[CorruptionConfig], *, seed: int) -> MaskedSample:
    """The first validation sample of a good size to look at, as each configuration masks it at two rates."""
    lengths = (len(row.role) for row in _rows(shards))
    index = next((place for place, length in enumerate(lengths) if length in CODE_TOKENS), 0)
    subject = read_subject(shards.folder, SPLIT, index)
    panels = [
        _masked_panel(subject, draw_masks(subject, config, Noise.fixed(rate, 1), seed=seed, epoch=0))
        for config in configs
        for rate in MASK_RATES
    ]
    return MaskedSample(shards.folder, subject.row, panels)


def _masked_panel(subject: Subject, masks: Masks) -> MaskedCode:
    drawn = []
    for text, operator, unit in pieces(subject, masks, *subject.interval(Region.CODE)):
        # Line ends and indentation stay plain, except where a stretch begins in it.
        for part in filter(None, _LINE_STARTS.split(text)):
            if operator == Operator.NONE or part.startswith("\n"):
                drawn.append(MaskedPiece(part))
            else:
                drawn.append(MaskedPiece(part, "token") if unit < 0 else MaskedPiece(part, "o1", masks.units[unit].kind))
    return MaskedCode(masks, drawn, *masks.share(Region.CODE, subject))


def _rows(shards: Shards) -> Iterator[SampleRow]:
    """The validation samples in order."""
    return chain.from_iterable(iter_shard(shards.folder, shard) for shard in shards.manifest.splits[SPLIT])


# -------------------------------------------------------------------------------------------------------------------- replays


@dataclass(frozen=True, kw_only=True)
class Replay:
    """An answer that can be watched.

    Attributes:
        prompt: what stood before
        cells: the answer as it is in the end, each token after the index of the step that wrote it
        steps: what each step wrote: (offset, text, kind) as of steps.Cell
    """

    title: str
    prompt: str
    cells: Sequence[tuple[int, Cell]]
    steps: Sequence[Sequence[tuple[int, str, int]]]


class RunReplays(NamedTuple):
    """What a run's model writes."""

    run: str
    config: GenerationConfig
    answers: Sequence[Replay]


def run_replays(run: Training, shards: Shards, count: int, device: str) -> RunReplays:
    """How the exported model writes programs, step by step: each after all that stands before a validation sample's code.

    Raises:
        SettingsError: the run has no exported model, or prompt and answer are too long for the model
        TokenizerError: its tokenizer cannot be read
    """
    checkpoint = load_checkpoint(str(run.folder), device=device)
    most = checkpoint.max_positions
    fitting = (
        (row.sample_id, prompt)
        for row in _rows(shards)
        if (prompt := _before_code(row)) and (most is None or len(prompt) + REPLAY.gen_length <= most)
    )
    chosen = list(islice(fitting, count))
    if not chosen:
        raise SyntaxdiffError(f"no {SPLIT} sample of {shards.folder} leaves {run.name} room for {REPLAY.gen_length} tokens")
    traced = in_order(checkpoint.generate([prompt for _, prompt in chosen], REPLAY, with_trace=True))
    answers = []
    for (sample_id, prompt), answer in zip(chosen, traced, strict=True):
        assert answer.trace is not None
        steps = steps_of(checkpoint, len(prompt), answer.trace)
        answers.append(answer_replay(sample_id, checkpoint.text_between(prompt, 0, len(prompt)), steps))
    return RunReplays(run.name, REPLAY, answers)


def _before_code(row: SampleRow) -> list[int]:
    """Prompt, reasoning and opening fence; nothing for a sample without code."""
    (runs,) = (row.region_label == Region.CODE).nonzero()
    if not len(runs) or runs[0] == 0:
        return []
    start = int(row.region_end[runs[0] - 1])
    ids: list[int] = row.input_ids[:start].tolist()
    return ids


def answer_replay(title: str, prompt: str, steps: Steps) -> Replay:
    """The steps of an answer, and the answer as it is in the end."""
    last: dict[int, tuple[int, Cell]] = {}
    for number, step in enumerate(steps):
        last |= {cell.offset: (number, cell) for cell in step}
    return Replay(
        title=title,
        prompt=prompt,
        cells=[written for _, written in sorted(last.items())],
        steps=[[(cell.offset, visible(cell.text), cell.kind) for cell in step] for step in steps],
    )
