"""What ``reconstruct`` and ``syntax`` measured, in a report: by mask rate, by group, and as tables."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from syntaxdiff.eval.reconstruction.outcome import Cell, SpanMeasures
from syntaxdiff.eval.report.charts import Chart, Point, Series, interval_chart, line_chart, point_text
from syntaxdiff.eval.report.findings import Reconstruction, SyntaxCheck
from syntaxdiff.eval.report.table import Content, Fact, Table, facts_table, share_phrase, with_digest
from syntaxdiff.eval.stats import Share

NamedCell: TypeAlias = tuple[str, Cell]
KINDS_SHOWN = 14
ERRORS_SHOWN = 12
BY_RATE = {
    "token_accuracy": "Masked code tokens restored, by mask rate",
    "exact_spans": "Masked spans restored exactly, by mask rate",
    "equal_trees": "Programs with an equal syntax tree, by mask rate",
    "parses": "Restored programs that parse, by mask rate",
}


@dataclass(frozen=True, kw_only=True)
class ReconstructionChapter:
    """How well masked programs were restored: by rate, by node kind, by length, and on unseen shapes."""

    template: ClassVar[str] = "reconstruction.html"
    facts: Table
    charts: Sequence[Chart | None]
    cells: Table


def reconstruction_chapter(measured: Sequence[Reconstruction]) -> ReconstructionChapter:
    """The chapter of some results of ``reconstruct``."""
    cells = list(_cells(measured))
    strategies = list(dict.fromkeys(name for name, _ in cells))
    by_rate = [
        line_chart(
            title,
            [_by_rate(cells, name, measure, colour) for colour, name in enumerate(strategies)],
            x_label="mask rate",
            percent=True,
        )
        for measure, title in BY_RATE.items()
    ]
    rates = {cell.mask_rate for _, cell in cells}
    shown = min(rates, key=lambda rate: (abs(rate - 0.5), rate)) if rates else 0.0
    at_rate = [(name, cell) for name, cell in cells if cell.mask_rate == shown]
    by_group = [
        _by_group(f"{title}, mask rate {shown:g}", at_rate, groups_of, has_order=has_order)
        for groups_of, has_order, title in (
            (_tokens_by_leaf_kind, False, "Tokens restored, by kind of leaf"),
            (lambda cell: _exact(cell.spans_by_node_kind), False, "Exact spans, by node kind"),
            (lambda cell: _exact(cell.spans_by_length), True, "Exact spans, by length in tokens"),
            (lambda cell: _exact(cell.spans_by_depth), True, "Exact spans, by depth"),
        )
    ]
    return ReconstructionChapter(
        facts=facts_table(measured, RECONSTRUCTION_FACTS), charts=[*by_rate, *by_group], cells=_cell_table(cells)
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


def _exact(spans: Mapping[str, SpanMeasures]) -> dict[str, Share]:
    return {group: measured.exact_spans for group, measured in spans.items()}


def _by_group(
    title: str, cells: Sequence[NamedCell], groups_of: Callable[[Cell], Mapping[str, Share]], *, has_order: bool
) -> Chart | None:
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


def _cell_table(cells: Sequence[NamedCell]) -> Table:
    head = ("masks", "rate", "masked", "tokens right", "nats, first step", "exact spans", "seen shape", "unseen shape")
    rows: list[tuple[Content, ...]] = []
    for name, cell in cells:
        whole, shapes = cell.all, cell.spans_by_shape
        nats = [point_text(point, percent=False) for point in _points([(0, whole.cross_entropy)])]
        spans = (whole.exact_spans, shapes["seen"].exact_spans, shapes["unseen"].exact_spans)
        programs = (whole.equal_subtrees, whole.equal_trees, whole.parses, whole.compiles)
        masked = (share_phrase(cell.masked_share), share_phrase(whole.token_accuracy))
        rows.append((name, f"{cell.mask_rate:g}", *masked, "".join(nats), *map(share_phrase, (*spans, *programs))))
    return Table(head=(*head, "equal subtrees", "equal trees", "parse", "compile"), rows=rows)


def _checkpoint(measured: Reconstruction) -> Content:
    checkpoint = measured.results.checkpoint
    return with_digest(f"{checkpoint.name} ", checkpoint.weights_sha256)


def _samples(measured: Reconstruction) -> Content:
    results = measured.results
    unseen = sum(results.per_sample.has_unseen_shape)
    return f"{results.num_samples:,} of {results.data.split}, {unseen:,} with an unseen shape"


RECONSTRUCTION_FACTS: tuple[Fact, ...] = (
    ("checkpoint", _checkpoint),
    ("samples", _samples),
    ("data", lambda measured: with_digest("", measured.results.data.fingerprint)),
    ("denoising steps", lambda measured: measured.results.settings.num_steps),
    ("masked", lambda measured: "code only" if measured.results.settings.code_only else "reasoning, code and scaffold"),
    ("seed", lambda measured: str(measured.results.settings.seed)),
)


@dataclass(frozen=True, kw_only=True)
class SyntaxChapter:
    """Whether programs parse and compile, what errors they have, and whether decided parts hold together while denoising."""

    template: ClassVar[str] = "syntax.html"
    facts: Table
    charts: Sequence[Chart | None]
    errors: Sequence[Table]


def syntax_chapter(checks: Sequence[SyntaxCheck]) -> SyntaxChapter:
    """The chapter of some results of ``syntax``."""
    tables = []
    for check in checks:
        results = check.results
        for errors, title in ((results.tree_errors, "Errors in the tree"), (results.compile_errors, "Errors of the compiler")):
            rows = [(kind, counts.programs, counts.times) for kind, counts in list(errors.items())[:ERRORS_SHOWN]]
            tables.append(Table(head=(f"{check.name}: {title}", "programs", "times"), rows=rows))
    by_progress = {
        check.name: check.results.denoising.by_progress if check.results.denoising else dict[str, Share]() for check in checks
    }
    quarters = next((list(shares) for shares in by_progress.values() if shares), [])
    steps = [
        Series(name=name, points=_points(enumerate(shares.values())), colour=colour)
        for colour, (name, shares) in enumerate(by_progress.items())
    ]
    title = "Steps whose decided part holds together, by progress of the answer"
    return SyntaxChapter(
        facts=facts_table(checks, SYNTAX_FACTS), charts=[interval_chart(title, quarters, steps)], errors=tables
    )


SYNTAX_FACTS: tuple[Fact, ...] = (
    ("programs", lambda check: f"{check.results.num_programs:,}, {check.results.num_empty:,} of them empty"),
    ("parse", lambda check: share_phrase(check.results.parses)),
    ("compile", lambda check: share_phrase(check.results.compiles)),
    ("steps that hold together", lambda check: share_phrase(check.results.denoising and check.results.denoising.steps)),
)
