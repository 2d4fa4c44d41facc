"""A study as one HTML file, for somebody who has not read the paper: the question, the arms, the answer, the figures.

The page is report.html's, and needs nothing beside itself. Its tables are tables.py's.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from syntaxdiff.eval.report.charts import Point, Series, interval_chart, line_chart
from syntaxdiff.eval.report.markup import Content, Html, chapter, charts, element, joined, preformatted, table
from syntaxdiff.eval.report.replay import Shards, masked_sample
from syntaxdiff.eval.report.report import PLACE, TEMPLATE
from syntaxdiff.eval.stats import Mean
from syntaxdiff.eval.study.declaration import START
from syntaxdiff.eval.study.outcome import StudyResults
from syntaxdiff.eval.study.tables import (
    BETTER,
    WORSE,
    Table,
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

WORD_CLASSES = {BETTER: "good", WORSE: "bad"}


def write_study_page(results: StudyResults, data: Path, html: Path) -> None:
    """Writes the page of a study.

    Args:
        data: the study's shards, for a picture of the masks

    Raises:
        ShardError: they are not there
        StorageError: the disk refused
    """
    claims, arms, *others = tables(results)
    parts = (
        _question(results),
        chapter("Answer", *_warned(results), _answered(claims)),
        chapter("What the arms mask", _drawn(arms), _masked(results, data)),
        chapter("Figures", *_warned(results), _charts(results)),
        chapter("Tables", *(_drawn(one) for one in others)),
        _circumstances(results),
    )
    before, after = TEMPLATE.read_text("utf-8").split(PLACE)
    write_text(html, "".join((before, *parts, after)))


def _question(results: StudyResults) -> Html:
    """What is asked, and how it was tried."""
    declared, samples = results.declared, results.data.samples
    seeds, arms = len(declared.seeds), len(results.arms) - 1
    intervals = (
        f"Each arm was trained {seeds} times, with other orders of the data and other masks. Intervals of 95 % are Student's "
        "over these runs: they say how far training anew moves a figure, not how far other programs would. A difference whose "
        "interval holds 0 may be chance."
        if seeds > 1
        else "Each arm was trained once, so there are no intervals, and small differences mean nothing."
    )
    return chapter(
        f"Study {declared.name}: does masking by syntax help?",
        element("p", declared.says + ".", class_="remark"),
        element(
            "p",
            "A masked diffusion model learns by filling in tokens that were hidden from it, and writes by filling in a page of "
            "hidden tokens, step by step. On programs, hiding single tokens at random leaves fragments of syntax. The paper "
            "behind this project (TreeDiff) hides whole subtrees of the syntax tree instead, easy before hard, and claims "
            "that the model then writes more correct syntax, restores programs better, copes better with patterns it has not "
            "seen, and solves more problems.",
        ),
        element(
            "p",
            f"Here {arms} ways to hide tokens are compared. All go on from one start, on the same programs in the same order, "
            f"for as many steps ({samples['train']:,} programs to train on, {samples['validation']:,} held out). {intervals}",
        ),
        element(
            "p",
            f"The method is {declared.method}. Beside the usual random masks it is compared with random-matched, which "
            f"hides as many tokens of each program as {declared.method} does, anywhere: what differs between those two is "
            "the shape of what is hidden.",
        )
        if "random-matched" in declared.references
        else None,
    )


def _warned(results: StudyResults) -> list[Html]:
    return [element("p", warning, class_="warning") for warning in named_warnings(results)]


def _answered(claims: Table) -> Html:
    """The claims, with the words coloured."""

    def cell(text: str) -> Content:
        word, colon, figure = text.partition(": ")
        if not colon:
            return text
        return joined((element("b", word, class_=WORD_CLASSES.get(word)), element("small", f" {figure}")))

    rows = [(row[0], *row[1:3], *map(cell, row[3:])) for row in claims.rows]
    return joined((table(claims.head, rows), element("p", claims.remark, class_="remark")))


def _drawn(one: Table) -> Html:
    return joined((element("h3", one.title), table(one.head, one.rows), element("p", one.remark, class_="remark")))


def _masked(results: StudyResults, data: Path) -> Html:
    """One program, as every strategy of the arms masks it."""
    strategies = dict.fromkeys(str(arm.options["strategy"]) for name, arm in results.arms.items() if name != START)
    configs = [CorruptionConfig(strategy=strategy) for strategy in strategies]
    return masked_sample(Shards(data, read_manifest(data)), configs, seed=results.declared.seeds[0])


def _charts(results: StudyResults) -> Html:
    arms, rate = list(results.arms), middle_rate(results)
    drawn = [
        _by_arm("Validation loss under uniform masks, nats a token", results, {"loss": "loss/random"}, percent=False),
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
    return charts(*drawn)


def _of(results: StudyResults, name: str) -> str:
    """How many programs a share is of, as an addition to a title."""
    return f", {results.counts[name]} per model" if name in results.counts else ""


def _point(x: float, mean: Mean) -> Point:
    return Point(x, mean.value, mean.low, mean.high)


def _by_arm(title: str, results: StudyResults, measures: dict[str, str], *, percent: bool = True) -> Html:
    """A row an arm, a mark a measure."""
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


def _by_rate(title: str, results: StudyResults, masks: str, measure: str) -> Html:
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


def _by_group(title: str, results: StudyResults, arms: Sequence[str], where: str) -> Html:
    """Groups down, those with most subtrees; a mark an arm."""
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


def _circumstances(results: StudyResults) -> Html:
    """Machine, data and everything that was declared."""
    machine, data = results.machine, results.data
    unigram = "" if data.unigram_nats is None else f"; unigram entropy {data.unigram_nats:.4f} nats"
    rows = [
        ("machine", machine.gpu or f"{machine.processor}, {machine.threads} threads a process"),
        ("versions", f"Python {machine.python}, torch {machine.torch}"),
        ("data", f"fingerprint {data.fingerprint[:12]}{unigram}"),
    ]
    if (sweep := results.sweep) is not None:
        tried = ", ".join(f"{rate}: {loss:.4f}" for rate, loss in sweep.loss.items())
        rows.append(("learning rate", f"{sweep.chosen:g}, of the least loss of {sweep.arm} ({tried})"))
    return chapter(
        "Circumstances",
        table(("", ""), rows),
        element(
            "details",
            element("summary", "all that was declared"),
            preformatted(json.dumps(to_json(results.declared), indent=1), "wrapped"),
        ),
    )
