"""What ``reconstruct`` and ``syntax`` measured, in a report: by mask rate, by group, and as tables."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from syntaxdiff.eval.report.charts import Point, Series, interval_chart, line_chart, told_point
from syntaxdiff.eval.report.findings import Measured
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
    table,
    told_share,
)

KINDS_SHOWN = 14
ERRORS_SHOWN = 12


def reconstruction_chapter(measured: Sequence[Measured]) -> Html:
    """How well masked programs were restored: by rate, by node kind, by length, and on unseen shapes."""
    cells = list(_cells(measured))
    strategies = list(dict.fromkeys(name for name, _ in cells))
    by_rate = [
        line_chart(
            title,
            [_by_rate(cells, name, key, colour) for colour, name in enumerate(strategies)],
            x_label="mask rate",
            percent=True,
        )
        for key, title in (
            ("token_accuracy", "Masked code tokens restored, by mask rate"),
            ("exact_spans", "Masked spans restored exactly, by mask rate"),
            ("equal_trees", "Programs with an equal syntax tree, by mask rate"),
            ("parses", "Restored programs that parse, by mask rate"),
        )
    ]
    rates = {cell["mask_rate"] for _, cell in cells}
    shown = min(rates, key=lambda rate: (abs(rate - 0.5), rate)) if rates else 0.0
    at_rate = [(name, cell) for name, cell in cells if cell["mask_rate"] == shown]
    by_group = [
        _by_group(f"{title}, mask rate {shown:g}", at_rate, key, measure)
        for key, measure, title in (
            ("tokens_by_leaf_kind", "token_accuracy", "Tokens restored, by kind of leaf"),
            ("spans_by_node_kind", "exact_spans", "Exact spans, by node kind"),
            ("spans_by_length", "exact_spans", "Exact spans, by length in tokens"),
            ("spans_by_depth", "exact_spans", "Exact spans, by depth"),
        )
    ]
    return chapter(
        "Reconstruction",
        facts_table(measured, RECONSTRUCTION_FACTS),
        charts(*by_rate, *by_group),
        _cell_table(cells),
        element(
            "p",
            "Intervals of 95 %: Wilson's where each sample gives one answer, else a bootstrap over samples. An unseen shape is "
            "a syntax subtree that no training sample holds.",
            class_="remark",
        ),
    )


def _cells(measured: Sequence[Measured]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The cells of all results, each with the name that tells results and strategies apart."""
    for one in measured:
        for cell in one.result["cells"]:
            yield (f"{one.name}, {cell['strategy']}" if len(measured) > 1 else cell["strategy"]), cell


def _point(x: float, share: dict[str, Any]) -> Point:
    return Point(x, share["value"], share["low"], share["high"])


def _by_rate(cells: Sequence[tuple[str, dict[str, Any]]], name: str, key: str, colour: int) -> Series:
    found = [(cell["mask_rate"], cell["all"][key]) for own, cell in cells if own == name]
    return Series(name=name, points=[_point(rate, share) for rate, share in found if share["value"] is not None], colour=colour)


def _by_group(title: str, cells: Sequence[tuple[str, dict[str, Any]]], key: str, measure: str) -> Html:
    """Groups down, the most frequent ones where they have no order of their own."""
    counts: Counter[str] = Counter()
    for _, cell in cells:
        counts.update({group: shares[measure]["of"] for group, shares in cell[key].items() if shares[measure]["of"]})
    if key.endswith("_kind"):
        groups = [group for group, _ in counts.most_common(KINDS_SHOWN)]
    else:
        groups = sorted(counts, key=_first_number)
    series = [
        Series(
            name=name,
            points=[
                _point(place, share)
                for place, group in enumerate(groups)
                if (share := cell[key].get(group, {}).get(measure)) and share["value"] is not None
            ],
            colour=colour,
        )
        for colour, (name, cell) in enumerate(cells)
    ]
    return interval_chart(title, [f"{group} ({counts[group]:,})" for group in groups], series)


def _first_number(group: str) -> int:
    """Of a depth ``3`` or of lengths ``4-7`` or ``64+``: what they begin with."""
    return int(group.rstrip("+").partition("-")[0])


def _cell_table(cells: Sequence[tuple[str, dict[str, Any]]]) -> Html:
    head = (
        "masks",
        "rate",
        "masked",
        "tokens right",
        "nats, first step",
        "exact spans",
        "seen shape",
        "unseen shape",
        "equal subtrees",
        "equal trees",
        "parse",
        "compile",
    )
    rows = []
    for name, cell in cells:
        whole, shapes = cell["all"], cell["spans_by_shape"]
        entropy = whole["cross_entropy"]
        nats = None if entropy["value"] is None else told_point(_point(0, entropy), percent=False)
        rows.append(
            (
                name,
                f"{cell['mask_rate']:g}",
                told_share(cell["masked_share"]),
                told_share(whole["token_accuracy"]),
                nats,
                told_share(whole["exact_spans"]),
                told_share(shapes["seen"]["exact_spans"]),
                told_share(shapes["unseen"]["exact_spans"]),
                *(told_share(whole[key]) for key in ("equal_subtrees", "equal_trees", "parses", "compiles")),
            )
        )
    return table(head, rows)


def _checkpoint(one: Measured) -> Content:
    told = one.result["checkpoint"]
    return joined((told["name"] + " ", element("code", told["weights_sha256"][:DIGEST_CHARACTERS])))


def _samples(one: Measured) -> Content:
    unseen = sum(one.result["per_sample"]["has_unseen_shape"])
    return f"{one.result['num_samples']:,} of {one.result['data']['split']}, {unseen:,} with an unseen shape"


RECONSTRUCTION_FACTS: tuple[Fact, ...] = (
    ("checkpoint", _checkpoint),
    ("samples", _samples),
    ("data", lambda one: element("code", one.result["data"]["fingerprint"][:DIGEST_CHARACTERS])),
    ("denoising steps", lambda one: one.result["settings"]["num_steps"]),
    ("masked", lambda one: "code alone" if one.result["settings"]["code_only"] else "reasoning, code and scaffold"),
    ("seed", lambda one: str(one.result["settings"]["seed"])),
)


def syntax_chapter(measured: Sequence[Measured]) -> Html:
    """Whether programs parse and compile, what errors they have, and whether decided parts hold together while denoising."""
    tables = []
    for one in measured:
        for key, title in (("tree_errors", "Errors in the tree"), ("compile_errors", "Errors of the compiler")):
            rows = [
                (kind, counts["programs"], counts["times"]) for kind, counts in list(one.result[key].items())[:ERRORS_SHOWN]
            ]
            tables.append(table((f"{one.name}: {title}", "programs", "times"), rows))
    steps = []
    for colour, one in enumerate(measured):
        by_progress = (one.result["denoising"] or {}).get("by_progress", {})
        points = [_point(place, share) for place, share in enumerate(by_progress.values()) if share["value"] is not None]
        steps.append((list(by_progress), Series(name=one.name, points=points, colour=colour)))
    quarters = next((names for names, _ in steps if names), [])
    return chapter(
        "Syntax of generated programs",
        facts_table(measured, SYNTAX_FACTS),
        charts(
            interval_chart(
                "Steps whose decided part holds together, by progress of the answer", quarters, [series for _, series in steps]
            )
        ),
        *tables,
    )


SYNTAX_FACTS: tuple[Fact, ...] = (
    ("programs", lambda one: f"{one.result['num_programs']:,}, {one.result['num_empty']:,} of them empty"),
    ("parse", lambda one: told_share(one.result["parses"])),
    ("compile", lambda one: told_share(one.result["compiles"])),
    ("steps that hold together", lambda one: told_share((one.result["denoising"] or {}).get("steps"))),
)
