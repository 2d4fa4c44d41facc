"""What ``reconstruct`` and ``syntax`` measured, in a report: by mask rate, by group, and as tables."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from syntaxdiff.eval.reconstruction.outcome import Cell, SpanMeasures
from syntaxdiff.eval.report.charts import Chart, Point, Series, interval_chart, line_chart
from syntaxdiff.eval.report.findings import Reconstruction, SyntaxCheck
from syntaxdiff.eval.stats import Share

NamedCell: TypeAlias = tuple[str, Cell]
KINDS_SHOWN = 14
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
    measured: Sequence[Reconstruction]
    charts: Sequence[Chart | None]
    cells: Sequence[NamedCell]


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
    return ReconstructionChapter(measured=measured, charts=[*by_rate, *by_group], cells=cells)


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


@dataclass(frozen=True, kw_only=True)
class SyntaxChapter:
    """Whether programs parse and compile, what errors they have, and whether decided parts hold together while denoising."""

    template: ClassVar[str] = "syntax.html"
    checks: Sequence[SyntaxCheck]
    charts: Sequence[Chart | None]


def syntax_chapter(checks: Sequence[SyntaxCheck]) -> SyntaxChapter:
    """The chapter of some results of ``syntax``."""
    by_progress = {
        check.name: check.results.denoising.by_progress if check.results.denoising else dict[str, Share]() for check in checks
    }
    quarters = next((list(shares) for shares in by_progress.values() if shares), [])
    steps = [
        Series(name=name, points=_points(enumerate(shares.values())), colour=colour)
        for colour, (name, shares) in enumerate(by_progress.items())
    ]
    title = "Steps whose decided part holds together, by progress of the answer"
    return SyntaxChapter(checks=checks, charts=[interval_chart(title, quarters, steps)])
