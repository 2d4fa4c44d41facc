"""The records of a run, ``metrics.jsonl``: an object per step, validation and preview, and the grid of losses at the end.

Written by the trainer, read by it and by reports and studies. Runs of older versions lack some keys, which then have the
values that held before; newer ones may have keys that nothing here reads. Both are read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from syntaxdiff.pipeline.errors import SourceError
from syntaxdiff.pipeline.json_records import ABSENT, Json, RecordError, from_json, to_json
from syntaxdiff.pipeline.jsonlines import read_json_lines

Losses: TypeAlias = Mapping[str, float | None]  # nats per token; None where nothing was scored


@dataclass(frozen=True, kw_only=True)
class StepValues:
    """What an optimizer step reports, summed over ranks; None is what it could not know, as nothing was scored or applied.

    Attributes:
        loss: the objective
        nats: cross entropy of a scored token
        corrupted_tokens: of the global batch
        ceiling: of the mask rate, by the curriculum
        gradient_norm: before clipping
    """

    loss: float | None = None
    nats: float | None
    mask_rate: float | None
    corrupted_tokens: int = 0
    ceiling: float | None = None
    learning_rate: float | None
    gradient_norm: float | None = None


@dataclass(frozen=True, kw_only=True)
class StepRecord(StepValues):
    """An optimizer step.

    Attributes:
        model_flops_utilisation: share of the GPUs' peak; None on a CPU and on GPUs that are not known
    """

    step: int
    tokens_per_second: float | None
    peak_memory_bytes: int | None = None
    model_flops_utilisation: float | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, kw_only=True)
class ValidationRecord:
    """A validation under one strategy, as validation.Validation has it; of runs before --validation-objective, too."""

    step: int
    strategy: str
    objective: str = "inverse-rate"
    loss: float | None
    effective_samples: float | None = None
    by_rate: Losses = field(default_factory=dict)
    by_region: Losses = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PreviewRecord:
    """A preview: how many tokens of the program were masked, and how many of these were restored."""

    step: int
    num_masked: int
    num_right: int


@dataclass(frozen=True, kw_only=True)
class GridRecord:
    """Losses at the end of the run, by strategy and mask rate."""

    step: int
    losses: Mapping[str, Losses]


MetricsRecord: TypeAlias = StepRecord | ValidationRecord | PreviewRecord | GridRecord
GRID = "grid"
KINDS: Mapping[str, type[MetricsRecord]] = {
    "step": StepRecord,
    "validation": ValidationRecord,
    "look": PreviewRecord,
    GRID: GridRecord,
}


@dataclass(frozen=True, kw_only=True)
class _OtherRecord:
    """A record of a kind that this version does not have."""

    step: float | None


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """The records of a run that are drawn, in order."""

    steps: Sequence[StepRecord] = ()
    validations: Sequence[ValidationRecord] = ()

    def known(self, name: str) -> list[float]:
        """A field of the steps that know it."""
        return [value for step in self.steps if (value := getattr(step, name)) is not None]


def line_of(record: MetricsRecord) -> dict[str, Json]:
    """A record as it is written: its kind and step before the rest."""
    (kind,) = (name for name, made in KINDS.items() if type(record) is made)
    return {"kind": kind, "step": record.step, **to_json(record)}


def read_metrics(path: Path, *, advice: str) -> Metrics:
    """The records of a run; what was cut off at the end, or is being written just now, is left out.

    Args:
        advice: what to do where the file is damaged

    Raises:
        SourceError: the file cannot be read, or a line is not a record
    """
    steps: list[StepRecord] = []
    validations: list[ValidationRecord] = []
    for place, row in read_json_lines(path, what="a record of a training run", advice=advice, is_growing=True):
        try:
            if "kind" not in row:
                raise RecordError("kind is missing")
            record = from_json(KINDS.get(str(row["kind"]), _OtherRecord), row, skips_unknown=True)
        except RecordError as error:
            raise SourceError(f"{path}, {place}, is not a record of a training run ({error}): {advice}") from error
        if isinstance(record, StepRecord):
            steps.append(record)
        elif isinstance(record, ValidationRecord):
            validations.append(record)
    return Metrics(steps=steps, validations=validations)
