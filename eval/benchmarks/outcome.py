"""What an evaluation on a benchmark yields: its samples, and the results that are computed from them.

``to_json`` of json_records.py makes ``samples.jsonl`` and ``results.json`` of these, key by key; docs/evaluation.md explains
the keys. Files are read and written in results.py.
"""

from dataclasses import dataclass, field

from syntaxdiff.eval.benchmarks.stored_settings import EvaluationSettings
from syntaxdiff.eval.inference.answer import Repair
from syntaxdiff.eval.inference.steps import Cell
from syntaxdiff.eval.stats import Interval
from syntaxdiff.pipeline.json_records import ABSENT

FORMAT = 1  # of results.json; grows when the meaning of a key changes


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One candidate for one problem: a line of ``samples.jsonl``.

    Attributes:
        sample: its number among the problem's candidates, from 0
        prompt: as the model saw it
        answer: what it wrote
        program: the whole program in it
        extraction: the rule that found it, of extraction.RULES
        num_tokens, num_forward, seconds: of generation; seconds are a batch's, counted once
        log_likelihood: nats per token, where candidates were compared
        is_chosen: whether it is the answer that pass@1 counts
        repair: what syntax repair did
        parses: whether tree-sitter finds no error in the program
        trace: what each step wrote, cells as of steps.Cell; None where it was not asked for
        status, detail, cpu_seconds: of the verdict, None before the program has run
    """

    task_id: str
    sample: int
    prompt: str
    answer: str
    program: str
    extraction: str
    num_tokens: int
    num_forward: int
    seconds: float
    log_likelihood: float | None
    is_chosen: bool
    repair: Repair | None
    parses: bool
    trace: list[list[Cell]] | None = None
    status: str | None = None
    detail: str = ""
    cpu_seconds: float = 0.0

    @property
    def has_passed(self) -> bool:
        """Whether all tests passed."""
        return self.status == "passed"


@dataclass(frozen=True, kw_only=True)
class Score:
    """A share of problems or programs: count out of total, and its interval of 95 %; the value is None of none."""

    value: float | None
    count: int
    total: int
    interval: Interval
    method: str


@dataclass(frozen=True, kw_only=True)
class PassAtK:
    """pass@k over all candidates: mean over so many problems, and its interval of 95 %."""

    value: float
    total: int
    interval: Interval
    method: str


@dataclass(frozen=True, kw_only=True)
class ReferenceFailure:
    """The verdict on a reference that did not pass here."""

    status: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class GenerationCounts:
    """What generation took over all samples; a rate is None where it would divide by 0."""

    tokens: int
    forward_passes: int
    seconds: float
    tokens_per_second: float | None
    forward_passes_per_token: float | None
    tokens_per_answer: float


@dataclass(frozen=True, kw_only=True)
class RepairCounts:
    """What syntax repair did: programs that it found, with errors, tried, left with fewer errors, and without any."""

    programs: int
    with_errors: int
    tried: int
    helped: int
    mended: int


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What times, and the last digits of numbers, depend on besides the settings.

    Attributes:
        batch_size: prompts at a time; results of an older version may lack it
    """

    device: str
    dtype: str
    threads: int
    batch_size: int | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, kw_only=True)
class LayerReport:
    """Whether a layer of isolation is there, and how, or why not."""

    is_active: bool
    note: str


@dataclass(frozen=True, kw_only=True)
class IsolationReport:
    """What kept programs from the host: layers by name, whether each guarantee held, and packages that they may import."""

    layers: dict[str, LayerReport]
    guarantees: dict[str, bool]
    packages: tuple[str, ...] = ()

    @property
    def missing(self) -> list[str]:
        """Names of the guarantees that did not hold."""
        return [name for name, holds in self.guarantees.items() if not holds]


@dataclass(frozen=True, kw_only=True)
class BenchmarkResults:
    """The results of an evaluation.

    Attributes:
        format: FORMAT
        checkpoint: its name
        is_complete: whether these are all problems of the benchmark
        num_candidates: per problem
        reference_failures: by task
        verdicts, extraction: counts by name, of all candidates, the most frequent first
        generation: None for references
        pass_at_1_without_reference_failures: where a reference failed
        pass_at_k: by k, where there are several candidates
        groups: pass@1 by what the benchmark's problems are grouped by, then by group: ``{"depth": {"3": …}}``
        syntax_repair: where it was asked for
        machine: that wrote the last of the answers; None for references
        versions: of Python and packages
        seconds: of the whole run
    """

    format: int
    benchmark: str
    split: str | None
    checkpoint: str
    is_complete: bool
    num_problems: int
    num_candidates: int
    pass_at_1: Score
    reference_failures: dict[str, ReferenceFailure]
    verdicts: dict[str, int]
    extraction: dict[str, int]
    parses: Score
    compiles: Score
    generation: GenerationCounts | None
    pass_at_1_without_reference_failures: Score | None = field(default=None, metadata=ABSENT)
    pass_at_k: dict[str, PassAtK] | None = field(default=None, metadata=ABSENT)
    groups: dict[str, dict[str, Score]] | None = field(default=None, metadata=ABSENT)
    syntax_repair: RepairCounts | None = field(default=None, metadata=ABSENT)
    settings: EvaluationSettings
    machine: Machine | None = None
    isolation: IsolationReport
    versions: dict[str, str] = field(default_factory=dict)
    seconds: float

    @property
    def title(self) -> str:
        """The benchmark and its split."""
        return " ".join(filter(None, (self.benchmark, self.split)))
