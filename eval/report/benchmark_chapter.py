"""Evaluations on one benchmark in a report: scores, verdicts, how they differ, and their problems one by one."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from syntaxdiff.eval.benchmarks.compare import compare
from syntaxdiff.eval.benchmarks.results import Sample
from syntaxdiff.eval.benchmarks.score import warnings_of
from syntaxdiff.eval.inference.effect import told_generation
from syntaxdiff.eval.report.charts import Point, Series, interval_chart
from syntaxdiff.eval.report.findings import Benchmark
from syntaxdiff.eval.report.markup import (
    DIGEST_CHARACTERS,
    Content,
    Fact,
    Html,
    chapter,
    charts,
    element,
    facts_table,
    joined,
    preformatted,
    program,
    shortened,
    table,
    told_share,
)
from syntaxdiff.eval.report.replay import TINTED, steps_panel, tint_legend
from syntaxdiff.eval.stats import Interval
from syntaxdiff.pipeline.errors import SettingsError

DIFFERING = "differing"  # of problems that some evaluations solve and some do not
NOT_RUN = "not-run"
REPLAYED = 4  # answers of an evaluation


def benchmark_chapter(benchmarks: Sequence[Benchmark]) -> Html:
    """Scores of evaluations on one benchmark, how they differ, and their problems."""
    first = benchmarks[0].results
    drawn = Html("")
    if len(benchmarks) > 1:
        points = [_scored(place, one.results["pass_at_1"]) for place, one in enumerate(benchmarks)]
        drawn = charts(
            interval_chart("pass@1", [one.name for one in benchmarks], [Series(name="pass@1", points=points, colour=0)])
        )
    ks = sorted({k for one in benchmarks for k in one.results.get("pass_at_k", {})}, key=int)
    facts = (*BENCHMARK_FACTS[:2], *((f"pass@{k}", _pass_at(k)) for k in ks), *BENCHMARK_FACTS[2:])
    warnings = [f"{one.name}: {warning}" for one in benchmarks for warning in warnings_of(one.results)]
    return chapter(
        " ".join(filter(None, (first["benchmark"], first["split"]))),
        facts_table(benchmarks, facts),
        *(element("p", warning, class_="warning") for warning in warnings),
        drawn,
        element("h3", "Verdicts"),
        *(_verdict_bar(one) for one in benchmarks),
        _differences(benchmarks),
        _replays(benchmarks),
        _gallery(benchmarks),
    )


def _scored(place: int, score: dict[str, Any]) -> Point:
    low, high = score["interval"]
    return Point(place, score["value"] or 0.0, low, high)


def _pass_at(k: str) -> Callable[[Benchmark], Content]:
    return lambda one: told_share(one.results.get("pass_at_k", {}).get(k))


def _generation(one: Benchmark) -> Content:
    return told_generation(one.results["settings"]) or None


def _speed_of(one: Benchmark) -> Content:
    told = one.results["generation"]
    if not told:
        return None
    return f"{told['tokens_per_second'] or 0:,.1f} tokens/s, {told['forward_passes_per_token'] or 0:.2f} forward passes a token"


def _machine(one: Benchmark) -> Content:
    told = one.results.get("machine")
    if not told:
        return None
    at_a_time = f", {told['batch_size']} at a time" if "batch_size" in told else ""
    return f"{told['device']}, {told['dtype']}, {told['threads']} threads{at_a_time}"


def _checkpoint(one: Benchmark) -> Content:
    told = one.results["settings"]["checkpoint"]
    step = f" step {told['step']}" if told.get("step") is not None else ""
    digest = element("code", told["sha256"][:DIGEST_CHARACTERS]) if "sha256" in told else None
    return joined((one.results["checkpoint"] + step + " ", digest))


def _prompt(one: Benchmark) -> Content:
    told = one.results["settings"].get("prompt")
    return joined((f"{told['preset']} ", element("code", told["sha256"][:DIGEST_CHARACTERS]))) if told else None


def _repair(one: Benchmark) -> Content:
    told = one.results.get("syntax_repair")
    if not told:
        return None
    found = f"{told['with_errors']} of {told['programs']} programs had errors"
    return f"{found}, tried on {told['tried']}, helped {told['helped']}, mended {told['mended']}"


def _isolation(one: Benchmark) -> Content:
    missing = [name for name, holds in one.results["isolation"]["guarantees"].items() if not holds]
    return f"not held: {', '.join(missing)}" if missing else "all guarantees held"


BENCHMARK_FACTS: tuple[Fact, ...] = (
    ("pass@1", lambda one: told_share(one.results["pass_at_1"])),
    ("without failing references", lambda one: told_share(one.results.get("pass_at_1_without_reference_failures"))),
    ("parses", lambda one: told_share(one.results["parses"])),
    ("compiles", lambda one: told_share(one.results["compiles"])),
    (
        "candidates",
        lambda one: f"{one.results['num_candidates']} of each problem" if one.results["num_candidates"] > 1 else None,
    ),
    ("checkpoint", _checkpoint),
    ("prompt", _prompt),
    ("generation", _generation),
    ("speed", _speed_of),
    ("syntax repair", _repair),
    ("machine", _machine),
    ("isolation", _isolation),
)


def _verdict_bar(one: Benchmark) -> Html:
    """All candidates in one bar, with counts below."""
    verdicts = one.results["verdicts"]
    parts = [
        element("i", class_=f"v-{status}", style=f"flex-grow:{count}", title=f"{count} {status}")
        for status, count in verdicts.items()
    ]
    keys = [
        element("span", element("i", class_=f"v-{status}"), f"{count} {status}", class_="key")
        for status, count in verdicts.items()
    ]
    return element(
        "div",
        element("div", one.name, class_="name"),
        element("div", *parts, class_="bar"),
        element("div", *keys, class_="keys"),
        class_="verdicts",
    )


def _differences(benchmarks: Sequence[Benchmark]) -> Html:
    """The paired comparison with the first; why there is none, where the problems are others."""
    if len(benchmarks) < 2:
        return Html("")
    try:
        comparison = compare([one.folder for one in benchmarks], [one.name for one in benchmarks])
    except SettingsError as error:
        return element("p", f"No comparison: {error}", class_="warning")
    rows: list[tuple[Content, ...]] = []
    for one, pair in zip(benchmarks[1:], comparison.pairs, strict=True):
        rows.append(
            (
                one.name,
                f"{pair.difference:+.1%}",
                _signed(pair.interval),
                f"{pair.p_value:.3g}",
                pair.both,
                pair.only_first,
                pair.only_other,
                pair.neither,
            )
        )
        if pair.candidates:
            mean, spread = pair.candidates
            rows.append(("all candidates", f"{mean:+.1%}", _signed(spread), *[""] * 5))
    head = ("", "difference", "95 % interval", "p", "both solve", "lost", "won", "neither")
    return joined(
        (
            element("h3", f"Against {benchmarks[0].name}"),
            *(element("p", note, class_="warning") for note in comparison.notes),
            table(head, rows),
            element(
                "p",
                "Each pair on the problems that both have. Intervals: paired bootstrap, none where all problems differ "
                "equally. p: McNemar, exact, two-sided; not corrected for several comparisons.",
                class_="remark",
            ),
        )
    )


def _signed(interval: Interval | None) -> str:
    return f"[{interval.low:+.1%}, {interval.high:+.1%}]" if interval else "none"


# -------------------------------------------------------------------------------------------------------- replays of answers


def _replays(benchmarks: Sequence[Benchmark]) -> Html:
    """How the first traced answers were written, where an evaluation kept it."""
    shown: list[Html] = []
    for one in benchmarks:
        traced = [(sample, sample.trace) for sample in one.samples if sample.is_chosen and sample.trace][:REPLAYED]
        if traced:
            panels = [steps_panel(sample.task_id, sample.prompt, steps) for sample, steps in traced]
            shown += [element("h4", one.name), element("div", *panels, class_="panels")]
    if not shown:
        return Html("")
    remark = f"The first {REPLAYED} answers whose steps were kept (--trace). {TINTED}"
    return joined((element("h3", "Denoising, step by step"), element("p", remark, tint_legend(), class_="remark"), *shown))


# ------------------------------------------------------------------------------------------------------- problems, one by one


def _gallery(benchmarks: Sequence[Benchmark]) -> Html:
    """Every problem with the answer of each evaluation, to be filtered by verdict."""
    answers: dict[str, list[tuple[str, Sample]]] = {}
    for one in benchmarks:
        for sample in one.samples:
            if sample.is_chosen:
                answers.setdefault(sample.task_id, []).append((one.name, sample))
    choices = Counter(choice for given in answers.values() for choice in _choices(given))
    options = [element("option", f"all ({len(answers)})", value="")]
    options += [element("option", f"{choice} ({count})", value=choice) for choice, count in choices.most_common()]
    filtering = element("label", "show ", element("select", *options, class_="filter"), class_="control", hidden=True)
    return element(
        "div",
        element("h3", "Problems"),
        filtering,
        *(_problem(task_id, given, is_named=len(benchmarks) > 1) for task_id, given in answers.items()),
        class_="gallery",
    )


def _choices(given: Sequence[tuple[str, Sample]]) -> list[str]:
    """By what a problem can be asked for: each verdict that it got, and that evaluations differ on it."""
    verdicts = list(dict.fromkeys(sample.status or NOT_RUN for _, sample in given))
    return verdicts + [DIFFERING] * (len({sample.has_passed for _, sample in given}) > 1)


def _problem(task_id: str, given: Sequence[tuple[str, Sample]], *, is_named: bool) -> Html:
    head = element("summary", element("b", task_id), *(_badge(name if is_named else "", sample) for name, sample in given))
    panels = [
        element(
            "div",
            element("h4", name, element("small", sample.status or NOT_RUN)) if is_named else None,
            element("p", shortened(sample.detail), class_="detail") if sample.detail else None,
            program(sample.program) if sample.program.strip() else element("p", "no program", class_="remark"),
            element("p", _told(sample), class_="remark"),
            _folded("prompt", sample.prompt),
            _folded("whole answer", sample.answer) if sample.answer.strip() != sample.program.strip() else None,
            class_="panel",
        )
        for name, sample in given
    ]
    choices = " ".join(_choices(given))
    return element("details", head, element("div", *panels, class_="panels"), class_="problem", data_choices=choices)


def _badge(name: str, sample: Sample) -> Html:
    status = sample.status or NOT_RUN
    return element("span", element("i", class_=f"v-{status}"), " ".join(filter(None, (name, status))), class_="key")


def _told(sample: Sample) -> str:
    """What is known of an answer beside its text."""
    parts = [f"extraction {sample.extraction}", "parses" if sample.parses else "does not parse"]
    if sample.num_forward:
        parts.append(f"{sample.num_tokens:,} tokens in {sample.num_forward:,} forward passes")
    if sample.log_likelihood is not None:
        parts.append(f"{sample.log_likelihood:.3f} nats a token")
    if sample.status is not None:
        parts.append(f"{sample.cpu_seconds:.2f} s of CPU")
    return ", ".join(parts)


def _folded(title: str, text: str) -> Html | None:
    return element("details", element("summary", title), preformatted(text, "wrapped")) if text else None
