"""A study as one HTML file, for somebody who has not read the paper: the question, the arms, the answer, the figures.

The page is that of reports, with templates/study.html for what it says; it is self-contained. Its tables are tables.py's.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from syntaxdiff.eval.pages import environment
from syntaxdiff.eval.report.charts import Chart, Point, Series, interval_chart, line_chart
from syntaxdiff.eval.report.replay import MaskedSample, Shards, masked_sample
from syntaxdiff.eval.report.report import TEMPLATES as REPORT_TEMPLATES
from syntaxdiff.eval.stats import Mean
from syntaxdiff.eval.study.declaration import START
from syntaxdiff.eval.study.outcome import StudyResults
from syntaxdiff.eval.study.tables import (
    BETTER,
    WORSE,
    groups_of,
    mask_rates,
    masks_restored,
    middle_rate,
    named_warnings,
    tables,
)
from syntaxdiff.pipeline.json_records import to_json
from syntaxdiff.pipeline.shard import read_manifest, write_text
from syntaxdiff.train.corruption.config import CorruptionConfig

TEMPLATES = Path(__file__).with_name("templates")
CLASSES = {BETTER: "good", WORSE: "bad"}  # of the page, by verdict


def write_study_page(results: StudyResults, data: Path, html: Path) -> None:
    """Writes the page of a study.

    Args:
        data: the study's shards, for a picture of the masks

    Raises:
        ShardError: they are not there
        StorageError: the disk refused
    """
    claims, arms, *others = tables(results)
    template = environment(TEMPLATES, REPORT_TEMPLATES).get_template("study.html")
    page = template.render(
        results=results,
        warnings=named_warnings(results),
        claims=claims,
        classes=CLASSES,
        arms=arms,
        masked=_masked(results, data),
        charts=_charts(results),
        tables=others,
        declaration=json.dumps(to_json(results.declared), indent=1),
    )
    write_text(html, page)


def _masked(results: StudyResults, data: Path) -> MaskedSample:
    """One program, as every strategy of the arms masks it."""
    strategies = dict.fromkeys(str(arm.options["strategy"]) for name, arm in results.arms.items() if name != START)
    configs = [CorruptionConfig(strategy=strategy) for strategy in strategies]
    return masked_sample(Shards(data, read_manifest(data)), configs, seed=results.declared.seeds[0])


def _charts(results: StudyResults) -> list[Chart | None]:
    arms, rate = list(results.arms), middle_rate(results)
    drawn = [
        _by_arm("Validation loss under uniform masks, nats per token", results, {"loss": "loss/random"}, percent=False),
        _by_arm(
            f"Programs written for HumanEval{_of(results, 'humaneval/parses')}",
            results,
            {"parse": "humaneval/parses", "compile": "humaneval/compiles"},
        ),
    ]
    for masks in masks_restored(results):
        where = f"reconstruct/{masks}/{rate:g}"
        named = {"programs with an unseen shape": f"{where}/unseen/token_accuracy", "others": f"{where}/seen/token_accuracy"}
        drawn.append(_by_arm(f"Masked tokens restored, {masks} masks at rate {rate:g}", results, named, percent=True))
        drawn.append(
            _by_arm(f"Restored programs that parse, {masks} masks at rate {rate:g}", results, {"parse": f"{where}/parses"})
        )
        if len(mask_rates(results)) > 1:
            drawn.append(_by_rate(f"Masked tokens restored, {masks} masks", results, masks, "token_accuracy"))
    shown = [name for name in (results.declared.method, *results.declared.references) if name in arms]
    where = f"reconstruct/{masks_restored(results)[-1]}/{rate:g}"
    drawn += [
        _by_group(f"Tokens of masked subtrees restored, by {what}", results, shown, f"{where}/{label}")
        for label, what in (("kind", "node kind"), ("depth", "depth"), ("length", "length in tokens"))
    ]
    return drawn


def _of(results: StudyResults, name: str) -> str:
    """How many programs a share is of, as an addition to a title."""
    return f", {results.counts[name]} per model" if name in results.counts else ""


def _point(x: float, mean: Mean) -> Point:
    return Point(x, mean.value, mean.low, mean.high)


def _by_arm(title: str, results: StudyResults, measures: dict[str, str], *, percent: bool = True) -> Chart | None:
    """A row per arm, a mark per measure."""
    arms = results.arms
    series = [
        Series(
            name=label,
            colour=colour,
            points=[_point(row, arm.means[name]) for row, arm in enumerate(arms.values()) if name in arm.means],
        )
        for colour, (label, name) in enumerate(measures.items())
    ]
    return interval_chart(title, list(arms), series, percent=percent)


def _by_rate(title: str, results: StudyResults, masks: str, measure: str) -> Chart | None:
    series = [
        Series(
            name=name,
            colour=colour,
            points=[
                _point(rate, arm.means[measured])
                for rate in mask_rates(results)
                if (measured := f"reconstruct/{masks}/{rate:g}/{measure}") in arm.means
            ],
        )
        for colour, (name, arm) in enumerate(results.arms.items())
    ]
    return line_chart(title, series, x_label="mask rate", percent=True)


def _by_group(title: str, results: StudyResults, arms: Sequence[str], where: str) -> Chart | None:
    """Groups down, those with most subtrees; a mark per arm."""
    ending = "token_accuracy"
    found = groups_of(results, where)
    groups = list(found)
    series = [
        Series(
            name=arm,
            colour=colour,
            points=[
                _point(row, results.arms[arm].means[f"{where}/{group}/{ending}"])
                for row, group in enumerate(groups)
                if f"{where}/{group}/{ending}" in results.arms[arm].means
            ],
        )
        for colour, arm in enumerate(arms)
    ]
    return interval_chart(title, [f"{group} ({found[group]:,})" for group in groups], series)
