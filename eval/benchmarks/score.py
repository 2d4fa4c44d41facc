"""A score as it is shown anywhere: with its count, its interval, and the warnings without which it misleads.

Every place that shows the score of a benchmark takes its warnings from here: table, comparison, chapter, overview, study.
"""

from syntaxdiff.eval.benchmarks.outcome import BenchmarkResults, Score

IDS_SHOWN = 12


def warnings_of(results: BenchmarkResults) -> list[str]:
    """Caveats about a score."""
    warnings = []
    if not results.is_complete:
        warnings.append(first_problems(results.num_problems))
    if failures := list(results.reference_failures):
        more = f" and {len(failures) - IDS_SHOWN} more" * (len(failures) > IDS_SHOWN)
        named = ", ".join(failures[:IDS_SHOWN]) + more
        warnings.append(f"The reference fails here on {len(failures)} of these problems, which stay counted: {named}.")
    if too_long := results.extraction.get("too-long"):
        warnings.append(f"{too_long} prompts left no room for an answer, which counts as not passed: lower --gen-length.")
    if missing := results.isolation.missing:
        warnings.append(f"Programs were not isolated, so a verdict may be their own doing: {', '.join(missing)} did not hold.")
    return warnings


def first_problems(count: int) -> str:
    """The warning of a score over the first problems of a benchmark."""
    return f"The first {count} problems only: not a score of the benchmark."


def score_text(score: Score) -> str:
    """A share as text: value, count of total, interval."""
    if score.value is None:
        return "none"
    low, high = score.interval
    return f"{score.value:.1%}  {score.count}/{score.total}  [{low:.1%}, {high:.1%}]"
