"""Evaluations on one benchmark in a report: scores, verdicts, how they differ, and their problems one by one."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from syntaxdiff.eval.benchmarks.compare import Comparison, compare
from syntaxdiff.eval.benchmarks.effect import generation_text
from syntaxdiff.eval.benchmarks.outcome import Sample, Score
from syntaxdiff.eval.benchmarks.score import warnings_of
from syntaxdiff.eval.report.charts import Chart, Point, Series, interval_chart
from syntaxdiff.eval.report.findings import Benchmark
from syntaxdiff.eval.report.replay import Replay, answer_replay
from syntaxdiff.eval.report.table import Content, Fact, Table, facts_table, share_phrase, with_digest
from syntaxdiff.eval.stats import Interval
from syntaxdiff.pipeline.errors import SettingsError

DIFFERING = "differing"  # of problems that some evaluations solve and some do not
NOT_RUN = "not-run"
REPLAYED = 4  # answers of an evaluation


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An evaluation's answer to a problem; ``remark`` is what is known of it besides its text."""

    name: str
    status: str
    remark: str
    sample: Sample


@dataclass(frozen=True, kw_only=True)
class AnsweredProblem:
    """A problem with the answer of each evaluation; ``choices`` are what it can be filtered by."""

    task_id: str
    choices: Sequence[str]
    answers: Sequence[Answer]


@dataclass(frozen=True, kw_only=True)
class Differences:
    """The paired comparison with the first evaluation: what must be known of it, and its rows.

    Attributes:
        refusal: why there is none, where the problems are others
    """

    notes: Sequence[str] = ()
    table: Table | None = None
    refusal: str = ""


@dataclass(frozen=True, kw_only=True)
class BenchmarkChapter:
    """Scores of evaluations on one benchmark, how they differ, and their problems.

    Attributes:
        charts: with several evaluations only, as are ``differences``
        replays: by evaluation, how the first traced answers were written
        choices: what problems can be filtered by, and how many each leaves
    """

    template: ClassVar[str] = "benchmark.html"
    title: str
    facts: Table
    warnings: Sequence[str]
    charts: Sequence[Chart | None]
    benchmarks: Sequence[Benchmark]
    differences: Differences | None
    replays: dict[str, list[Replay]]
    problems: Sequence[AnsweredProblem]
    choices: Sequence[tuple[str, int]]


def benchmark_chapter(benchmarks: Sequence[Benchmark]) -> BenchmarkChapter:
    """The chapter of some evaluations on one benchmark."""
    has_several = len(benchmarks) > 1
    points = [_scored(place, benchmark.results.pass_at_1) for place, benchmark in enumerate(benchmarks)]
    scores = [Series(name="pass@1", points=points, colour=0)]
    ks = sorted({k for benchmark in benchmarks for k in benchmark.results.pass_at_k or {}}, key=int)
    facts = (*BENCHMARK_FACTS[:2], *((f"pass@{k}", _pass_at(k)) for k in ks), *BENCHMARK_FACTS[2:])
    problems = _problems(benchmarks)
    return BenchmarkChapter(
        title=benchmarks[0].results.title,
        facts=facts_table(benchmarks, facts),
        warnings=[f"{benchmark.name}: {warning}" for benchmark in benchmarks for warning in warnings_of(benchmark.results)],
        charts=[interval_chart("pass@1", [benchmark.name for benchmark in benchmarks], scores)] if has_several else [],
        benchmarks=benchmarks,
        differences=_differences(benchmarks) if has_several else None,
        replays={benchmark.name: replays for benchmark in benchmarks if (replays := _replays(benchmark))},
        problems=problems,
        choices=Counter(choice for problem in problems for choice in problem.choices).most_common(),
    )


def _scored(place: int, score: Score) -> Point:
    return Point(place, score.value or 0.0, *score.interval)


def _replays(benchmark: Benchmark) -> list[Replay]:
    traced = [(sample, sample.trace) for sample in benchmark.samples if sample.is_chosen and sample.trace][:REPLAYED]
    return [answer_replay(sample.task_id, sample.prompt, steps) for sample, steps in traced]


def _pass_at(k: str) -> Callable[[Benchmark], Content]:
    return lambda benchmark: share_phrase((benchmark.results.pass_at_k or {}).get(k))


def _generation(benchmark: Benchmark) -> Content:
    return generation_text(benchmark.results.settings) or None


def _speed_of(benchmark: Benchmark) -> Content:
    counts = benchmark.results.generation
    if counts is None:
        return None
    return f"{counts.tokens_per_second or 0:,.1f} tokens/s, {counts.forward_passes_per_token or 0:.2f} forward passes per token"


def _machine(benchmark: Benchmark) -> Content:
    machine = benchmark.results.machine
    if machine is None:
        return None
    at_a_time = f", {machine.batch_size} at a time" if machine.batch_size is not None else ""
    return f"{machine.device}, {machine.dtype}, {machine.threads} threads{at_a_time}"


def _candidates(benchmark: Benchmark) -> Content:
    count = benchmark.results.num_candidates
    return f"{count} of each problem" if count > 1 else None


def _checkpoint(benchmark: Benchmark) -> Content:
    identity = benchmark.results.settings.checkpoint
    step = f" step {identity.step}" if identity.step is not None else ""
    return with_digest(f"{benchmark.results.checkpoint}{step} ", identity.sha256)


def _prompt(benchmark: Benchmark) -> Content:
    prompt = benchmark.results.settings.prompt
    return with_digest(f"{prompt.preset} ", prompt.sha256) if prompt else None


def _repair(benchmark: Benchmark) -> Content:
    counts = benchmark.results.syntax_repair
    if counts is None:
        return None
    found = f"{counts.with_errors} of {counts.programs} programs had errors"
    return f"{found}, tried on {counts.tried}, helped {counts.helped}, mended {counts.mended}"


def _isolation(benchmark: Benchmark) -> Content:
    missing = benchmark.results.isolation.missing
    return f"not held: {', '.join(missing)}" if missing else "all guarantees held"


BENCHMARK_FACTS: tuple[Fact, ...] = (
    ("pass@1", lambda benchmark: share_phrase(benchmark.results.pass_at_1)),
    ("without failing references", lambda benchmark: share_phrase(benchmark.results.pass_at_1_without_reference_failures)),
    ("parses", lambda benchmark: share_phrase(benchmark.results.parses)),
    ("compiles", lambda benchmark: share_phrase(benchmark.results.compiles)),
    ("candidates", _candidates),
    ("checkpoint", _checkpoint),
    ("prompt", _prompt),
    ("generation", _generation),
    ("speed", _speed_of),
    ("syntax repair", _repair),
    ("machine", _machine),
    ("isolation", _isolation),
)


# ----------------------------------------------------------------------------------------------------------------- differences


def _differences(benchmarks: Sequence[Benchmark]) -> Differences:
    try:
        comparison = compare([benchmark.folder for benchmark in benchmarks], [benchmark.name for benchmark in benchmarks])
    except SettingsError as error:
        return Differences(refusal=str(error))
    return Differences(notes=comparison.notes, table=_pairs_table(benchmarks[1:], comparison))


def _pairs_table(others: Sequence[Benchmark], comparison: Comparison) -> Table:
    rows: list[tuple[Content, ...]] = []
    for benchmark, pair in zip(others, comparison.pairs, strict=True):
        counts = (pair.both, pair.only_first, pair.only_other, pair.neither)
        difference = (f"{pair.difference:+.1%}", _signed(pair.interval), f"{pair.p_value:.3g}")
        rows.append((benchmark.name, *difference, *counts))
        if pair.candidates:
            mean, spread = pair.candidates
            rows.append(("all candidates", f"{mean:+.1%}", _signed(spread), *[""] * 5))
    return Table(head=("", "difference", "95 % interval", "p", "both solve", "lost", "won", "neither"), rows=rows)


def _signed(interval: Interval | None) -> str:
    return f"[{interval.low:+.1%}, {interval.high:+.1%}]" if interval else "none"


# ------------------------------------------------------------------------------------------------------- problems, one by one


def _problems(benchmarks: Sequence[Benchmark]) -> list[AnsweredProblem]:
    """Every problem, in the order of the first evaluation that has it."""
    answers: dict[str, list[Answer]] = {}
    for benchmark in benchmarks:
        for sample in benchmark.samples:
            if sample.is_chosen:
                status = sample.status or NOT_RUN
                answer = Answer(name=benchmark.name, status=status, remark=_remark(sample), sample=sample)
                answers.setdefault(sample.task_id, []).append(answer)
    return [AnsweredProblem(task_id=task_id, choices=_choices(given), answers=given) for task_id, given in answers.items()]


def _choices(given: Sequence[Answer]) -> list[str]:
    """By what a problem can be filtered: each verdict that it got, and that evaluations differ on it."""
    verdicts = list(dict.fromkeys(answer.status for answer in given))
    return verdicts + [DIFFERING] * (len({answer.sample.has_passed for answer in given}) > 1)


def _remark(sample: Sample) -> str:
    """What is known of an answer besides its text."""
    parts = [f"extraction {sample.extraction}", "parses" if sample.parses else "does not parse"]
    if sample.num_forward:
        parts.append(f"{sample.num_tokens:,} tokens in {sample.num_forward:,} forward passes")
    if sample.log_likelihood is not None:
        parts.append(f"{sample.log_likelihood:.3f} nats per token")
    if sample.status is not None:
        parts.append(f"{sample.cpu_seconds:.2f} s of CPU")
    return ", ".join(parts)
