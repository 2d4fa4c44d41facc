"""Samples and verdicts to the results of an evaluation; docs/evaluation.md explains every key."""

import platform
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib.metadata import version

from syntaxdiff.eval.benchmarks.outcome import (
    FORMAT,
    BenchmarkResults,
    GenerationCounts,
    IsolationReport,
    LayerReport,
    Machine,
    PassAtK,
    ReferenceFailure,
    RepairCounts,
    Sample,
    Score,
)
from syntaxdiff.eval.benchmarks.stored_settings import EvaluationSettings
from syntaxdiff.eval.inference.answer import Repair
from syntaxdiff.eval.problems.problem import Problem
from syntaxdiff.eval.sandbox.jail import GUARANTEES
from syntaxdiff.eval.sandbox.sandbox import Golden, Isolation
from syntaxdiff.eval.sandbox.verdict import Status
from syntaxdiff.eval.stats import bootstrap, pass_at_k, wilson

_K_SHOWN = (1, 2, 5, 10, 25, 50, 100)
_PACKAGES = ("syntaxdiff", "torch", "transformers")


def summarize(
    samples: Sequence[Sample],
    problems: Sequence[Problem],
    references: Golden,
    *,
    checkpoint: str,
    settings: EvaluationSettings,
    machine: Machine | None,
    isolation: Isolation,
    is_complete: bool,
    seconds: float,
) -> BenchmarkResults:
    """The results of an evaluation.

    A problem whose reference fails here stays in numerator and denominator, and is listed; the score without such problems
    stands next to it.

    Args:
        samples: all candidates of all problems, judged
        checkpoint: its name
        settings: that decided the samples
        machine: that wrote the last of them; None for references
        is_complete: whether these are all problems of the benchmark
        seconds: of the whole run
    """
    chosen = [sample for sample in samples if sample.is_chosen]
    assert len(chosen) == len(problems)
    assert all(sample.status for sample in samples)
    failures = references.failures
    num_candidates = len(samples) // len(problems)
    rest = [sample.has_passed for sample in chosen if sample.task_id not in failures]
    repairs = [sample.repair for sample in samples if sample.repair is not None]
    return BenchmarkResults(
        format=FORMAT,
        benchmark=problems[0].benchmark,
        split=settings.split,
        checkpoint=checkpoint,
        is_complete=is_complete,
        num_problems=len(problems),
        num_candidates=num_candidates,
        pass_at_1=_score([sample.has_passed for sample in chosen]),
        reference_failures={
            task_id: ReferenceFailure(status=verdict.status.value, detail=verdict.detail)
            for task_id, verdict in failures.items()
        },
        verdicts=_counts(sample.status or "" for sample in samples),
        extraction=_counts(sample.extraction for sample in samples),
        parses=_score([sample.parses for sample in samples]),
        compiles=_score([bool(sample.program.strip()) and sample.status != Status.SYNTAX_ERROR for sample in samples]),
        generation=_generation(samples),
        pass_at_1_without_reference_failures=_score(rest) if failures else None,
        pass_at_k=_pass_at_k(samples, num_candidates) if num_candidates > 1 else None,
        groups=_by_group(chosen, problems),
        syntax_repair=_repair_counts(repairs) if repairs else None,
        settings=settings,
        machine=machine,
        isolation=_isolation(isolation),
        versions={"python": platform.python_version()} | {name: version(name) for name in _PACKAGES},
        seconds=round(seconds, 3),
    )


def _by_group(chosen: Sequence[Sample], problems: Sequence[Problem]) -> dict[str, dict[str, Score]] | None:
    """pass@1 of each group of problems; None where they are not grouped."""
    passed = {sample.task_id: sample.has_passed for sample in chosen}
    flags: dict[str, dict[str, list[bool]]] = {}
    for problem in problems:
        for name, values in problem.groups.items():
            for value in values:
                flags.setdefault(name, {}).setdefault(value, []).append(passed[problem.task_id])
    return {
        name: {value: _score(of_value) for value, of_value in sorted(groups.items())} for name, groups in flags.items()
    } or None


def _score(flags: Sequence[bool]) -> Score:
    """A share with what it is of, and its interval."""
    count, total = sum(flags), len(flags)
    value = count / total if total else None
    return Score(value=value, count=count, total=total, interval=wilson(count, total), method="wilson")


def _pass_at_k(samples: Sequence[Sample], num_candidates: int) -> dict[str, PassAtK]:
    """pass@k over all candidates, whichever was chosen."""
    passed = Counter({sample.task_id: 0 for sample in samples})
    passed.update(sample.task_id for sample in samples if sample.has_passed)
    estimates = {}
    for k in sorted({*(k for k in _K_SHOWN if k <= num_candidates), num_candidates}):
        values = [pass_at_k(num_candidates, count, k) for count in passed.values()]
        mean = sum(values) / len(values)
        if {*values} <= {0.0, 1.0}:  # counts; and resampling says nothing where all values are equal
            interval, method = wilson(round(sum(values)), len(values)), "wilson"
        else:
            interval, method = bootstrap(values), "bootstrap over problems"
        estimates[str(k)] = PassAtK(value=mean, total=len(values), interval=interval, method=method)
    return estimates


def _generation(samples: Sequence[Sample]) -> GenerationCounts | None:
    tokens = sum(sample.num_tokens for sample in samples)
    forward = sum(sample.num_forward for sample in samples)
    seconds = sum(sample.seconds for sample in samples)
    if not forward:
        return None
    return GenerationCounts(
        tokens=tokens,
        forward_passes=forward,
        seconds=round(seconds, 3),
        tokens_per_second=tokens / seconds if seconds else None,
        forward_passes_per_token=forward / tokens if tokens else None,
        tokens_per_answer=tokens / len(samples),
    )


def _repair_counts(repairs: Sequence[Repair]) -> RepairCounts:
    return RepairCounts(
        programs=sum(repair.language is not None for repair in repairs),
        with_errors=sum(repair.error_bytes_before > 0 for repair in repairs),
        tried=sum(repair.rounds > 0 for repair in repairs),
        helped=sum(repair.error_bytes_after < repair.error_bytes_before for repair in repairs),
        mended=sum(repair.error_bytes_after == 0 < repair.error_bytes_before for repair in repairs),
    )


def _isolation(isolation: Isolation) -> IsolationReport:
    return IsolationReport(
        layers={name: LayerReport(is_active=layer.is_active, note=layer.note) for name, layer in isolation.layers.items()},
        guarantees={name: name not in isolation.broken for name in GUARANTEES},
        packages=isolation.packages,
    )


def _counts(names: Iterable[str]) -> dict[str, int]:
    """Counts by name, the most frequent first."""
    return dict(sorted(Counter(names).items(), key=lambda item: (-item[1], item[0])))
