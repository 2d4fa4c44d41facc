"""What a study yields; ``to_json`` of json_records.py makes ``study.json`` of it. The keys are explained in docs/study.md.

Results of earlier versions are read too: they may lack warnings, and those next to docs/study.md lack what can be computed.
"""

from dataclasses import dataclass, field
from pathlib import Path

from syntaxdiff.eval.stats import Mean
from syntaxdiff.eval.study.declaration import Arm, Declaration
from syntaxdiff.pipeline.json_records import read_record

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a run was trained on: tokens that it corrupted, their share of those that it could have, and steps."""

    corrupted_tokens: int
    mask_rate: float
    steps: int


@dataclass(frozen=True, kw_only=True)
class Run:
    """One model of an arm: its seed, what it was trained on (as Trained), and its measures by name (measures.py)."""

    seed: int
    corrupted_tokens: int
    mask_rate: float
    steps: int
    measures: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class ArmOutcome(Arm):
    """An arm with its runs.

    Attributes:
        means: over seeds, by measure
        differences: of this arm less another one, seed by seed, by that arm and measure
    """

    runs: tuple[Run, ...]
    means: dict[str, Mean] = field(default_factory=dict)
    differences: dict[str, dict[str, Mean]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class StudyMachine:
    """What figures may depend on; ``gpu`` is None on a CPU."""

    processor: str
    threads: int
    gpu: str | None
    python: str
    torch: str


@dataclass(frozen=True, kw_only=True)
class StudyData:
    """The shards: samples by split, rejected rows by reason, and the entropy of single tokens where the start measured it."""

    fingerprint: str
    samples: dict[str, int]
    rejected: dict[str, int]
    unigram_nats: float | None


@dataclass(frozen=True, kw_only=True)
class SweepOutcome:
    """The last validation loss of an arm by learning rate, and the rate that was chosen."""

    arm: str
    loss: dict[str, float]
    chosen: float | None


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What follows from the runs.

    Attributes:
        arms: by name, in the order in which they are shown
        counts: how many programs, samples or spans a measure comes from, where it is a share
        warnings: of the scores of benchmarks, by benchmark
    """

    arms: dict[str, ArmOutcome]
    counts: dict[str, int]
    warnings: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class StudyOrigin:
    """What was declared, where it ran, on which data, and at which learning rate."""

    format: int = FORMAT
    declared: Declaration
    machine: StudyMachine
    data: StudyData
    sweep: SweepOutcome | None


@dataclass(frozen=True, kw_only=True)
class StudyResults(Summary, StudyOrigin):
    """The results of a study."""

    @property
    def method(self) -> ArmOutcome:
        """The arm that claims something."""
        return self.arms[self.declared.method]


def read_study(path: Path) -> StudyResults:
    """The results in a file. Raises SourceError where it is damaged, or of another version."""
    return read_record(StudyResults, path, version=FORMAT, key="format")
