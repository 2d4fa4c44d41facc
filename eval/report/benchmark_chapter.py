"""Evaluations on one benchmark in a report: scores, verdicts, how they differ, and their problems one by one."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from syntaxdiff.eval.benchmarks.compare import Comparison, compare
from syntaxdiff.eval.benchmarks.outcome import Sample, Score
from syntaxdiff.eval.benchmarks.score import warnings_of
from syntaxdiff.eval.report.charts import Chart, Point, Series, interval_chart
from syntaxdiff.eval.report.findings import Benchmark
from syntaxdiff.eval.report.replay import Replay, answer_replay
from syntaxdiff.pipeline.errors import SettingsError

DIFFERING = "differing"  # of problems that some evaluations solve and some do not
NOT_RUN = "not-run"
REPLAYED = 4  # answers of an evaluation
GROUPS_SHOWN = 14  # of one kind of groups; of more, those with the lowest scores


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An evaluation's answer to a problem."""

    evaluation: str
    sample: Sample

    @property
    def status(self) -> str:
        """Its verdict."""
        return self.sample.status or NOT_RUN


@dataclass(frozen=True, kw_only=True)
class AnsweredProblem:
    """A problem with the answer of each evaluation that has it."""

    task_id: str
    answers: Sequence[Answer]

    @property
    def choices(self) -> list[str]:
        """By what it can be filtered: each verdict that it got, and that evaluations differ on it."""
        verdicts = list(dict.fromkeys(answer.status for answer in self.answers))
        return verdicts + [DIFFERING] * (len({answer.sample.has_passed for answer in self.answers}) > 1)


@dataclass(frozen=True, kw_only=True)
class BenchmarkChapter:
    """Scores of evaluations on one benchmark, how they differ, and their problems.

    Attributes:
        charts: pass@1 of several evaluations, and by what the benchmark's problems are grouped by
        ks: of pass@k, where any evaluation has it
        comparison: with the first, of several evaluations; None where it cannot be made, and ``no_comparison`` says why
        replays: by evaluation, how the first traced answers were written
        choices: what problems can be filtered by, and how many each leaves
    """

    template: ClassVar[str] = "benchmark.html"
    replayed: ClassVar[int] = REPLAYED
    benchmarks: Sequence[Benchmark]
    warnings: Sequence[str]
    charts: Sequence[Chart | None]
    ks: Sequence[str]
    comparison: Comparison | None
    no_comparison: str
    replays: dict[str, list[Replay]]
    problems: Sequence[AnsweredProblem]
    choices: Sequence[tuple[str, int]]


def benchmark_chapter(benchmarks: Sequence[Benchmark]) -> BenchmarkChapter:
    """The chapter of some evaluations on one benchmark."""
    names = [benchmark.name for benchmark in benchmarks]
    comparison, no_comparison = None, ""
    charts: list[Chart | None] = []
    if len(benchmarks) > 1:
        points = [_scored(place, benchmark.results.pass_at_1) for place, benchmark in enumerate(benchmarks)]
        charts.append(interval_chart("pass@1", names, [Series(name="pass@1", points=points, colour=0)]))
        try:
            comparison = compare([benchmark.folder for benchmark in benchmarks], names)
        except SettingsError as error:
            no_comparison = str(error)
    kinds = dict.fromkeys(kind for benchmark in benchmarks for kind in benchmark.results.groups or {})
    charts += [_by_group(kind, benchmarks) for kind in kinds]
    problems = _problems(benchmarks)
    return BenchmarkChapter(
        benchmarks=benchmarks,
        warnings=[f"{benchmark.name}: {warning}" for benchmark in benchmarks for warning in warnings_of(benchmark.results)],
        charts=charts,
        ks=sorted({k for benchmark in benchmarks for k in benchmark.results.pass_at_k or {}}, key=int),
        comparison=comparison,
        no_comparison=no_comparison,
        replays={benchmark.name: replays for benchmark in benchmarks if (replays := _replays(benchmark))},
        problems=problems,
        choices=Counter(choice for problem in problems for choice in problem.choices).most_common(),
    )


def _scored(place: int, score: Score) -> Point:
    return Point(place, score.value or 0.0, *score.interval)


def _by_group(kind: str, benchmarks: Sequence[Benchmark]) -> Chart | None:
    """pass@1 by one kind of groups, such as depth: a row per group, as the first evaluation that has them orders them."""
    scores = [(benchmark.results.groups or {}).get(kind, {}) for benchmark in benchmarks]
    groups = list(dict.fromkeys(group for of_groups in scores for group in of_groups))
    title = f"pass@1 by {kind}"
    if len(groups) > GROUPS_SHOWN:
        title += f", the {GROUPS_SHOWN} lowest of {len(groups)}"
        lowest = {group: min(of[group].value or 0.0 for of in scores if group in of) for group in groups}
        groups = sorted(groups, key=lambda group: lowest[group])[:GROUPS_SHOWN]
    size = {group: max(of[group].total for of in scores if group in of) for group in groups}
    series = [
        Series(
            name=benchmark.name,
            points=[_scored(place, of_groups[group]) for place, group in enumerate(groups) if group in of_groups],
            colour=colour,
        )
        for colour, (benchmark, of_groups) in enumerate(zip(benchmarks, scores, strict=True))
    ]
    return interval_chart(title, [f"{group} ({size[group]:,})" for group in groups], series)


def _replays(benchmark: Benchmark) -> list[Replay]:
    traced = [(sample, sample.trace) for sample in benchmark.samples if sample.is_chosen and sample.trace][:REPLAYED]
    return [answer_replay(sample.task_id, sample.prompt, steps) for sample, steps in traced]


def _problems(benchmarks: Sequence[Benchmark]) -> list[AnsweredProblem]:
    """Every problem, in the order of the first evaluation that has it."""
    answers: dict[str, list[Answer]] = {}
    for benchmark in benchmarks:
        for sample in benchmark.samples:
            if sample.is_chosen:
                answers.setdefault(sample.task_id, []).append(Answer(evaluation=benchmark.name, sample=sample))
    return [AnsweredProblem(task_id=task_id, answers=given) for task_id, given in answers.items()]
