"""Samples and verdicts to the scores of ``results.json``; docs/evaluation.md explains every key."""

import platform
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from syntaxdiff.eval.benchmarks.results import Sample
from syntaxdiff.eval.problems.problem import Problem
from syntaxdiff.eval.sandbox.sandbox import Golden
from syntaxdiff.eval.sandbox.verdict import Status
from syntaxdiff.eval.stats import bootstrap, pass_at_k, wilson

FORMAT = 1  # of results.json; grows when the meaning of a key changes
_K_SHOWN = (1, 2, 5, 10, 25, 50, 100)
_PACKAGES = ("syntaxdiff", "torch", "transformers")


def summarize(
    samples: Sequence[Sample],
    problems: Sequence[Problem],
    references: Golden,
    *,
    checkpoint: str,
    settings: dict[str, Any],
    machine: dict[str, Any] | None,
    isolation: dict[str, Any],
    is_complete: bool,
    seconds: float,
) -> dict[str, Any]:
    """What ``results.json`` holds.

    A problem whose reference fails here stays in numerator and denominator, and is listed; beside the score then stands the one
    without such problems.

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
    results: dict[str, Any] = {
        "format": FORMAT,
        "benchmark": problems[0].benchmark,
        "split": settings["split"],
        "checkpoint": checkpoint,
        "is_complete": is_complete,
        "num_problems": len(problems),
        "num_candidates": num_candidates,
        "pass_at_1": _share([sample.has_passed for sample in chosen]),
        "reference_failures": {
            task_id: {"status": verdict.status.value, "detail": verdict.detail} for task_id, verdict in failures.items()
        },
        "verdicts": _counts(sample.status for sample in samples),
        "extraction": _counts(sample.extraction for sample in samples),
        "parses": _share([sample.parses for sample in samples]),
        "compiles": _share([bool(sample.program.strip()) and sample.status != Status.SYNTAX_ERROR for sample in samples]),
        "generation": _generation(samples),
    }
    if failures:
        rest = [sample.has_passed for sample in chosen if sample.task_id not in failures]
        results["pass_at_1_without_reference_failures"] = _share(rest)
    if num_candidates > 1:
        results["pass_at_k"] = _pass_at_k(samples, num_candidates)
    repairs = [sample.repair for sample in samples if sample.repair is not None]
    if repairs:
        results["syntax_repair"] = {
            "programs": sum(repair["language"] is not None for repair in repairs),
            "with_errors": sum(repair["error_bytes_before"] > 0 for repair in repairs),
            "tried": sum(repair["rounds"] > 0 for repair in repairs),
            "helped": sum(repair["error_bytes_after"] < repair["error_bytes_before"] for repair in repairs),
            "mended": sum(repair["error_bytes_after"] == 0 < repair["error_bytes_before"] for repair in repairs),
        }
    return results | {
        "settings": settings,
        "machine": machine,
        "isolation": isolation,
        "versions": {"python": platform.python_version()} | {name: version(name) for name in _PACKAGES},
        "seconds": round(seconds, 3),
    }


def _share(flags: Sequence[bool]) -> dict[str, Any]:
    """A share with what it is of, and its interval."""
    count, total = sum(flags), len(flags)
    return {
        "value": count / total if total else None,
        "count": count,
        "total": total,
        "interval": list(wilson(count, total)),
        "method": "wilson",
    }


def _pass_at_k(samples: Sequence[Sample], num_candidates: int) -> dict[str, Any]:
    """pass@k over all candidates, whichever was chosen."""
    passed = Counter({sample.task_id: 0 for sample in samples})
    passed.update(sample.task_id for sample in samples if sample.has_passed)
    result: dict[str, dict[str, Any]] = {}
    for k in sorted({*(k for k in _K_SHOWN if k <= num_candidates), num_candidates}):
        values = [pass_at_k(num_candidates, count, k) for count in passed.values()]
        result[str(k)] = {
            "value": sum(values) / len(values),
            "total": len(values),
        }
        if {*values} <= {0.0, 1.0}:  # counts; and resampling says nothing where all values are equal
            result[str(k)] |= {"interval": list(wilson(round(sum(values)), len(values))), "method": "wilson"}
        else:
            result[str(k)] |= {"interval": list(bootstrap(values)), "method": "bootstrap over problems"}
    return result


def _generation(samples: Sequence[Sample]) -> dict[str, Any] | None:
    tokens = sum(sample.num_tokens for sample in samples)
    forward = sum(sample.num_forward for sample in samples)
    seconds = sum(sample.seconds for sample in samples)
    if not forward:
        return None
    return {
        "tokens": tokens,
        "forward_passes": forward,
        "seconds": round(seconds, 3),
        "tokens_per_second": tokens / seconds if seconds else None,
        "forward_passes_per_token": forward / tokens if tokens else None,
        "tokens_per_answer": tokens / len(samples),
    }


def _counts(names: Any) -> dict[str, int]:
    """Counts by name, the most frequent first."""
    return dict(sorted(Counter(names).items(), key=lambda item: (-item[1], item[0])))
