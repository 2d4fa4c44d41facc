"""What a training run leaves in its folder, as far as reports and studies show it: settings, export, metrics.

The files are the trainer's, of any version: keys that nothing here shows are passed over.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from syntaxdiff.pipeline.errors import SourceError
from syntaxdiff.pipeline.json_records import Json, RecordError, from_json, read_object
from syntaxdiff.pipeline.jsonlines import read_json_lines

_ADVICE = "train again"
Own = TypeVar("Own")


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Settings of a run as they were asked for; what is only printed may be of any type."""

    data: Json = "data"
    strategy: str | None = None
    max_span_share: float = 1.0
    seed: int = 0
    best_by: str = "strategy"
    drop: float | None = None
    shuffle: float | None = None
    relabel: float | None = None
    placeholder: float | None = None
    model: Json = None
    objective: Json = None
    curriculum: Json = None
    epochs: Json = None


@dataclass(frozen=True, kw_only=True)
class Scheduler:
    """DeepSpeed's schedule of learning rates."""

    params: dict[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class DeepSpeedInfo:
    """What a run's DeepSpeed configuration says of its length and batch."""

    train_batch_size: Json = None
    scheduler: Scheduler | None = None

    @property
    def total_num_steps(self) -> Json:
        """Steps of the whole run, where the schedule says so."""
        return None if self.scheduler is None else self.scheduler.params.get("total_num_steps")


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """What came with the exported model; all None before there is one, or where nothing was measured.

    Attributes:
        validation_grid: nats by strategy and mask rate
        validation_objectives: whose weights those have, by strategy
        start: what the run began with
    """

    step: int | None = None
    validation_loss: float | None = None
    validation_grid: dict[str, dict[str, float | None]] | None = None
    validation_objectives: dict[str, str] = field(default_factory=dict)
    unigram_nats: float | None = None
    data_fingerprint: str | None = None
    deepspeed: DeepSpeedInfo | None = None
    start: Json = None
    git_revision: str | None = None


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """An optimizer step; None is what it could not know, as nothing was scored."""

    step: int
    nats: float | None
    mask_rate: float | None
    learning_rate: float | None
    tokens_per_second: float | None
    corrupted_tokens: int = 0
    peak_memory_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class ValidationRecord:
    """A validation under one strategy; records from before there was a choice of weights have inverse rates."""

    step: int
    strategy: str
    loss: float | None
    objective: str = "inverse-rate"


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """The records of a run, in order."""

    steps: Sequence[StepRecord] = ()
    validations: Sequence[ValidationRecord] = ()


@dataclass(frozen=True, kw_only=True)
class _OtherRecord:
    """A record of a kind that is not shown."""

    step: float | None


def read_settings(path: Path) -> RunSettings:
    """The settings of a run; the defaults where there is no such file. Raises SourceError where it is damaged."""
    return _read(RunSettings, path)


def read_info(path: Path) -> RunInfo:
    """What came with the exported model; nothing where there is no such file. Raises SourceError where it is damaged."""
    return _read(RunInfo, path)


def _read(kind: type[Own], path: Path) -> Own:
    if not path.is_file():
        return kind()
    try:
        return from_json(kind, read_object(path), skips_unknown=True)
    except RecordError as error:
        raise SourceError(f"{path} cannot be read ({error}): {_ADVICE}") from error


def read_metrics(path: Path) -> Metrics:
    """The records of a run; what was cut off at the end, or is being written just now, is left out.

    Raises:
        SourceError: the file cannot be read, or a line is not a record
    """
    steps: list[StepRecord] = []
    validations: list[ValidationRecord] = []
    for place, record in read_json_lines(path, what="a record of a training run", advice=_ADVICE, is_growing=True):
        try:
            match record.get("kind"):
                case "step":
                    steps.append(from_json(StepRecord, record, skips_unknown=True))
                case "validation":
                    validations.append(from_json(ValidationRecord, record, skips_unknown=True))
                case None:
                    raise RecordError("kind is missing")
                case _:
                    from_json(_OtherRecord, record, skips_unknown=True)
        except RecordError as error:
            raise SourceError(f"{path}, {place}, is not a record of a training run ({error}): {_ADVICE}") from error
    return Metrics(steps=steps, validations=validations)
