"""What a training run leaves in its folder, as far as reports and studies show it: settings and export.

The files are the trainer's, of any version: keys that nothing here shows are passed over. Metrics are read by the trainer's own
module, train/monitor/metrics.py.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from syntaxdiff.pipeline.errors import SourceError
from syntaxdiff.pipeline.json_records import Json, RecordError, from_json, read_object

ADVICE = "train again"
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
class DeepSpeedInfo:
    """What a run's DeepSpeed configuration says of its batch."""

    train_batch_size: Json = None


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """What came with the exported model; all None before there is one, or where nothing was measured.

    Attributes:
        validation_grid: nats by strategy and mask rate
        validation_objectives: whose weights those have, by strategy
        start: what the run began with
        total_steps: of the whole run
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
    total_steps: int | None = None


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
        raise SourceError(f"{path} cannot be read ({error}): {ADVICE}") from error
