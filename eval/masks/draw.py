"""What the corruption does to one sample: which positions, which subtrees, under which strategy. For display.

The masks are those that training draws for the same seed, epoch and rate; how they are shown is in terminal.py, page.py and
svg.py.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from syntaxdiff.pipeline.inspection.display import visible
from syntaxdiff.pipeline.shard import TOKENIZER, Manifest, Region, SampleRow, read_manifest, read_sample
from syntaxdiff.pipeline.tokens.codec import Codec
from syntaxdiff.train.corruption.config import CorruptionConfig
from syntaxdiff.train.corruption.corrupt import corrupt, plan
from syntaxdiff.train.corruption.leaves import leaf_tables
from syntaxdiff.train.corruption.noise import Noise
from syntaxdiff.train.corruption.operators import LeafTables, Operator
from syntaxdiff.train.data.batch import Batch, collate

CORRUPTIBLE = (Region.REASONING, Region.CODE, Region.SCAFFOLD)
_SHOWS_NEW_TEXT = (Operator.SHUFFLE, Operator.RELABEL, Operator.PLACEHOLDER)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The sample that is corrupted."""

    row: SampleRow
    batch: Batch
    manifest: Manifest
    codec: Codec
    tables: LeafTables
    region_L: npt.NDArray[np.uint8]  # Region of every token

    def interval(self, region: Region) -> tuple[int, int]:
        """First token and end of a region's first run; (0, 0) where the sample has none."""
        (run,) = np.nonzero(self.row.region_label == region)
        if len(run) == 0:
            return 0, 0
        return int(self.row.region_end[run[0] - 1]) if run[0] else 0, int(self.row.region_end[run[0]])

    def texts(self, ids: Sequence[int], bounds: Sequence[int]) -> list[str]:
        """Text between neighbouring bounds of a sequence, safe for a terminal; a cut character shows as U+FFFD."""
        if self.codec.is_byte_level:
            parts = [self.codec.decode(ids[a:b]) for a, b in pairwise(bounds)]
        else:  # a word's space belongs to the word only inside a sequence
            whole = [self.codec.decode(ids[:end]) for end in bounds]
            parts = [after[len(before) :] for before, after in pairwise(whole)]
        return [visible(part.decode(errors="replace")) for part in parts]


class Unit(NamedTuple):
    """A subtree that was drawn: tokens [start, end) of the sequence, and its node kind."""

    start: int
    end: int
    kind: str


@dataclass(frozen=True, kw_only=True)
class MaskedPositions:
    """One draw, as ``syntaxdiff-eval masks --json`` prints it.

    Attributes:
        masked: corrupted positions by region, counted from the start of the sequence
    """

    sample_id: str
    strategy: str
    mask_rate: float
    seed: int
    epoch: int
    masked: dict[str, list[int]]


@dataclass(frozen=True, kw_only=True)
class Masks(MaskedPositions):
    """One draw, with what is needed to display it.

    Attributes:
        operator_L: operators.Operator of every token, 0 where nothing happened
        seen_ids: what the model sees
        units: the subtrees that were drawn, in the order of the text
    """

    operator_L: npt.NDArray[np.uint8]
    seen_ids: list[int]
    units: tuple[Unit, ...]

    @property
    def positions(self) -> MaskedPositions:
        """Only where the sample is corrupted."""
        return MaskedPositions(**{field.name: getattr(self, field.name) for field in fields(MaskedPositions)})

    def share(self, region: Region, subject: Subject) -> tuple[int, int]:
        """Corrupted and all tokens of a region."""
        return len(self.masked[region.name.lower()]), int((subject.region_L == region).sum())


class Piece(NamedTuple):
    """A stretch of text that one thing happened to. ``unit`` is an index into Masks.units, -1 for single tokens."""

    text: str
    operator: Operator
    unit: int


def read_subject(folder: Path, split: str, index: int) -> Subject:
    """One sample of a folder of shards.

    Raises:
        ShardError: the shards are missing or damaged, or there is no such sample
        TokenizerError: the folder's tokenizer cannot be read
    """
    manifest = read_manifest(folder)
    row = read_sample(folder, manifest, split, index)
    lengths = np.diff(row.region_end, prepend=0)
    return Subject(
        row=row,
        batch=collate([row], pad_id=manifest.token_ids.pad, languages=manifest.languages),
        manifest=manifest,
        codec=Codec(folder / TOKENIZER, "hf"),
        tables=leaf_tables(folder, manifest),
        region_L=np.repeat(row.region_label, lengths),
    )


def draw_masks(subject: Subject, config: CorruptionConfig, noise: Noise, *, seed: int, epoch: int) -> Masks:
    """What a strategy corrupts of a sample.

    Raises:
        SettingsError: the rate is not in [0, 1]
    """
    batch, row = subject.batch, subject.row
    decided = plan(batch, config, noise, seed=seed, epoch=epoch)
    corrupted = corrupt(batch.tensors, decided, config, subject.manifest.token_ids, subject.tables)
    operator_L = corrupted.operator_BL[0].numpy()
    kinds = subject.manifest.languages[row.language].node_kinds
    drawn = np.flatnonzero(corrupted.unit_BS[0].numpy()[: len(row.span_start)])
    return Masks(
        sample_id=row.sample_id,
        strategy=config.strategy,
        mask_rate=float(noise.rate_B[0]),
        seed=seed,
        epoch=epoch,
        masked={
            region.name.lower(): np.flatnonzero((subject.region_L == region) & (operator_L != Operator.NONE)).tolist()
            for region in CORRUPTIBLE
        },
        operator_L=operator_L,
        seen_ids=corrupted.input_ids_BL[0].tolist(),
        units=tuple(Unit(int(row.span_start[i]), int(row.span_end[i]), kinds[row.span_kind[i]]) for i in drawn),
    )


def pieces(subject: Subject, masks: Masks, start: int, end: int) -> Iterator[Piece]:
    """The text of tokens [start, end), cut where what happened changes.

    Masked and dropped tokens show the text that they hide, the others what the model sees.
    """
    unit_L = np.full(len(masks.operator_L), -1)
    for number, unit in enumerate(masks.units):
        unit_L[unit.start : unit.end] = number
    operator_L = masks.operator_L
    if start == end:
        return
    changes = (np.diff(operator_L[start:end]) != 0) | (np.diff(unit_L[start:end]) != 0)
    bounds = [start, *(np.flatnonzero(changes) + start + 1).tolist(), end]
    shown = np.where(np.isin(operator_L, _SHOWS_NEW_TEXT), masks.seen_ids[: len(operator_L)], subject.row.input_ids)
    for first, text in zip(bounds, subject.texts(shown.tolist(), bounds), strict=False):
        yield Piece(text, Operator(int(operator_L[first])), int(unit_L[first]))
