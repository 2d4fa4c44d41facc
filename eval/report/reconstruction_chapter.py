"""What ``reconstruct`` and ``syntax`` measured, in a report: by mask rate, by group, and as tables."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from syntaxdiff.eval.reconstruction.outcome import Cell, SpanMeasures
from syntaxdiff.eval.report.charts import Point, Series, interval_chart, line_chart, point_text
from syntaxdiff.eval.report.findings import Reconstruction, SyntaxCheck
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
    share_content,
    table,
)
from syntaxdiff.eval.stats import Share

NamedCell: TypeAlias = tuple[str, Cell]
KINDS_SHOWN = 14
ERRORS_SHOWN = 12


def reconstruction_chapter(measured: Sequence[Reconstruction]) -> Html:
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
    rates = {cell.mask_rate for _, cell in cells}
    shown = min(rates, key=lambda rate: (abs(rate - 0.5), rate)) if rates else 0.0
    at_rate = [(name, cell) for name, cell in cells if cell.mask_rate == shown]
    by_group = [
        _by_group(f"{title}, mask rate {shown:g}", at_rate, groups_of, has_order=has_order)
        for groups_of, has_order, title in (
            (_tokens_by_leaf_kind, False, "Tokens restored, by kind of leaf"),
            (_spans_by_node_kind, False, "Exact spans, by node kind"),
            (_spans_by_length, True, "Exact spans, by length in tokens"),
            (_spans_by_depth, True, "Exact spans, by depth"),
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


def _cells(measured: Sequence[Reconstruction]) -> Iterator[NamedCell]:
    """The cells of all results, each with the name that tells results and strategies apart."""
    for reconstruction in measured:
        for cell in reconstruction.results.cells:
            yield (f"{reconstruction.name}, {cell.strategy}" if len(measured) > 1 else cell.strategy), cell


def _points(shares: Iterable[tuple[float, Share | None]]) -> list[Point]:
    """Points of shares that have a value."""
    return [
        Point(x, share.value, share.low, share.high) for x, share in shares if share is not None and share.value is not None
    ]


def _by_rate(cells: Sequence[NamedCell], name: str, measure: str, colour: int) -> Series:
    found = [(cell.mask_rate, getattr(cell.all, measure)) for own, cell in cells if own == name]
    return Series(name=name, points=_points(found), colour=colour)


def _tokens_by_leaf_kind(cell: Cell) -> dict[str, Share]:
    return {kind: measured.token_accuracy for kind, measured in cell.tokens_by_leaf_kind.items()}


def _spans_by_node_kind(cell: Cell) -> dict[str, Share]:
    return _exact(cell.spans_by_node_kind)


def _spans_by_length(cell: Cell) -> dict[str, Share]:
    return _exact(cell.spans_by_length)


def _spans_by_depth(cell: Cell) -> dict[str, Share]:
    return _exact(cell.spans_by_depth)


def _exact(spans: Mapping[str, SpanMeasures]) -> dict[str, Share]:
    return {group: measured.exact_spans for group, measured in spans.items()}


def _by_group(
    title: str, cells: Sequence[NamedCell], groups_of: Callable[[Cell], Mapping[str, Share]], *, has_order: bool
) -> Html:
    """Groups down, the most frequent ones where they have no order of their own."""
    by_cell = [(name, groups_of(cell)) for name, cell in cells]
    counts: Counter[str] = Counter()
    for _, shares in by_cell:
        counts.update({group: share.of for group, share in shares.items() if share.of})
    groups = sorted(counts, key=_first_number) if has_order else [group for group, _ in counts.most_common(KINDS_SHOWN)]
    series = [
        Series(name=name, points=_points((place, shares.get(group)) for place, group in enumerate(groups)), colour=colour)
        for colour, (name, shares) in enumerate(by_cell)
    ]
    return interval_chart(title, [f"{group} ({counts[group]:,})" for group in groups], series)


def _first_number(group: str) -> int:
    """Of a depth ``3`` or of lengths ``4-7`` or ``64+``: what they begin with."""
    return int(group.rstrip("+").partition("-")[0])


def _cell_table(cells: Sequence[NamedCell]) -> Html:
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
        whole, shapes = cell.all, cell.spans_by_shape
        nats = [point_text(point, percent=False) for point in _points([(0, whole.cross_entropy)])]
        rows.append(
            (
                name,
                f"{cell.mask_rate:g}",
                share_content(cell.masked_share),
                share_content(whole.token_accuracy),
                nats[0] if nats else None,
                share_content(whole.exact_spans),
                share_content(shapes["seen"].exact_spans),
                share_content(shapes["unseen"].exact_spans),
                *map(share_content, (whole.equal_subtrees, whole.equal_trees, whole.parses, whole.compiles)),
            )
        )
    return table(head, rows)


def _checkpoint(measured: Reconstruction) -> Content:
    checkpoint = measured.results.checkpoint
    return joined((checkpoint.name + " ", element("code", (checkpoint.weights_sha256 or "")[:DIGEST_CHARACTERS])))


def _samples(measured: Reconstruction) -> Content:
    results = measured.results
    unseen = sum(results.per_sample.has_unseen_shape)
    return f"{results.num_samples:,} of {results.data.split}, {unseen:,} with an unseen shape"


RECONSTRUCTION_FACTS: tuple[Fact, ...] = (
    ("checkpoint", _checkpoint),
    ("samples", _samples),
    ("data", lambda measured: element("code", measured.results.data.fingerprint[:DIGEST_CHARACTERS])),
    ("denoising steps", lambda measured: measured.results.settings.num_steps),
    ("masked", lambda measured: "code alone" if measured.results.settings.code_only else "reasoning, code and scaffold"),
    ("seed", lambda measured: str(measured.results.settings.seed)),
)


def syntax_chapter(checks: Sequence[SyntaxCheck]) -> Html:
    """Whether programs parse and compile, what errors they have, and whether decided parts hold together while denoising."""
    tables = []
    for check in checks:
        results = check.results
        for errors, title in ((results.tree_errors, "Errors in the tree"), (results.compile_errors, "Errors of the compiler")):
            rows = [(kind, counts.programs, counts.times) for kind, counts in list(errors.items())[:ERRORS_SHOWN]]
            tables.append(table((f"{check.name}: {title}", "programs", "times"), rows))
    steps = []
    for colour, check in enumerate(checks):
        by_progress = check.results.denoising.by_progress if check.results.denoising else {}
        points = _points(enumerate(by_progress.values()))
        steps.append((list(by_progress), Series(name=check.name, points=points, colour=colour)))
    quarters = next((names for names, _ in steps if names), [])
    return chapter(
        "Syntax of generated programs",
        facts_table(checks, SYNTAX_FACTS),
        charts(
            interval_chart(
                "Steps whose decided part holds together, by progress of the answer", quarters, [series for _, series in steps]
            )
        ),
        *tables,
    )


SYNTAX_FACTS: tuple[Fact, ...] = (
    ("programs", lambda check: f"{check.results.num_programs:,}, {check.results.num_empty:,} of them empty"),
    ("parse", lambda check: share_content(check.results.parses)),
    ("compile", lambda check: share_content(check.results.compiles)),
    ("steps that hold together", lambda check: share_content(check.results.denoising and check.results.denoising.steps)),
)
