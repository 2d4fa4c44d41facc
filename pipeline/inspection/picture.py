"""A summary of shards as one picture: six panels, each with a title that says what is read off it.

Nothing of matplotlib's global state is touched, so the picture can be drawn from within any program.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from syntaxdiff.pipeline.inspection.summary import Summary
from syntaxdiff.pipeline.inspection.tally import Counts, Tally, distribution, share
from syntaxdiff.pipeline.shard import Region, Role, written_whole

Axes: TypeAlias = Any  # matplotlib ships no types that hold

BLUE, ORANGE, GREY, INK = "#3b6ea8", "#d9822b", "#9aa5b1", "#2f3b47"
REGION_COLOURS = ("#9aa5b1", "#6fa8dc", "#3b6ea8", "#c9d1d9")
ROLE_COLOURS = ("#e6c9a8", "#d9822b", "#b5651d", "#7a3e0c")
KINDS_DRAWN = 15
REJECTS_DRAWN = 8
FEWEST_PLACES = 7  # bars of a panel: fewer do not grow thicker
LENGTH_BINS = 40


def plot_summary(summary: Summary, path: Path) -> None:
    """Draws a summary into a PNG file, which appears whole or not at all.

    Raises:
        StorageError: the disk refused
    """
    layout = ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.15)
    figure = Figure(figsize=(16, 9.6), layout=layout, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    panels: tuple[Callable[[Axes, Summary], None], ...] = (_lengths, _shares, _rejects, _span_lengths, _depths, _kinds)
    for axes, draw in zip(figure.subplots(2, 3).flat, panels, strict=True):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=INK, labelsize=10)
        draw(axes, summary)
    total = summary.total
    figure.suptitle(
        f"{total.samples:,} samples, {total.tokens:,} tokens, {total.spans:,} candidate spans",
        fontsize=15,
        fontweight="bold",
        color=INK,
    )
    with written_whole(path) as temporary:
        canvas.print_figure(temporary, dpi=110, format="png")


def _describe(axes: Axes, title: str, x: str = "", y: str = "") -> None:
    axes.set_title(title, loc="left", fontsize=12, color=INK, pad=10)
    axes.set_xlabel(x, color=INK, fontsize=11)
    axes.set_ylabel(y, color=INK, fontsize=11)


def _thousands(axis: Any) -> None:
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def _median(counts: Counts) -> int:
    values = distribution(counts)
    return 0 if values is None else values.p50


def _lengths(axes: Axes, summary: Summary) -> None:
    counts = summary.total.lengths
    width = max(1, -(-len(counts) // LENGTH_BINS))  # whole tokens, so that no bin holds more values than its neighbour
    edges = np.arange(0, len(counts) + width, width)
    heights, _ = np.histogram(np.arange(len(counts)), bins=edges, weights=counts)
    axes.bar(edges[:-1], heights, width=0.92 * width, align="edge", color=BLUE)
    median = _median(counts)
    axes.axvline(median, color=ORANGE, linewidth=2)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    _thousands(axes.xaxis)
    _thousands(axes.yaxis)
    title = f"Half of the samples have at most {median:,} tokens"
    _describe(axes, title, "tokens per sample", f"samples in a bin of {width:,} tokens")


def _shares(axes: Axes, summary: Summary) -> None:
    total = summary.total
    code = total.region(Region.CODE)
    rows = [
        (region.name.lower(), share(total.region(region), total.tokens), colour)
        for region, colour in zip(Region, REGION_COLOURS, strict=True)
    ]
    rows += [
        (f"role: {role.name.lower().replace('_', ' ')}", share(total.role(role), code), colour)
        for role, colour in zip(Role, ROLE_COLOURS, strict=True)
    ]
    places = [0, 1, 2, 3, 4.6, 5.6, 6.6, 7.6]  # a gap between regions and roles
    bars = axes.barh(places, [value for _, value, _ in rows], color=[colour for *_, colour in rows])
    axes.bar_label(bars, [f"{value:.1%}" for _, value, _ in rows], padding=4, fontsize=10, color=INK)
    axes.set_yticks(places, [name for name, *_ in rows])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.15)
    axes.set_xticks(np.linspace(0, 1, 5))
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    title = f"{share(code, total.tokens):.1%} of the tokens are code"
    _describe(axes, title, "share of all tokens (roles: of the code)")


def _rejects(axes: Axes, summary: Summary) -> None:
    rows_read = summary.manifest.rows_read
    lost = sum(count for _, count in summary.rejects)
    rows = [(split, tally.samples, BLUE) for split, tally in summary.splits.items()]
    rows += [(reason, count, ORANGE) for reason, count in summary.rejects[:REJECTS_DRAWN]]
    others = summary.rejects[REJECTS_DRAWN:]
    if others:
        rows.append((f"{len(others)} other reasons", sum(count for _, count in others), GREY))
    _bars(axes, rows, rows_read)
    title = f"{share(lost, rows_read):.1%} of the {rows_read:,} rows read were rejected"
    _describe(axes, title, "rows (blue: samples, orange: rejects)")


def _span_lengths(axes: Axes, summary: Summary) -> None:
    counts = summary.total.span_lengths
    lengths = np.flatnonzero(counts)
    axes.scatter(lengths, counts[lengths], s=14, color=BLUE, alpha=0.6, linewidths=0)
    if len(lengths):  # an empty axis has no logarithm
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
    _thousands(axes.xaxis)
    _thousands(axes.yaxis)
    axes.grid(which="major", color="#e3e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
    longest = max(len(counts) - 1, 0)
    title = f"Half of the spans hold at most {_median(counts):,} tokens, the longest {longest:,}"
    _describe(axes, title, "tokens per span (log scale)", "spans of that length (log scale)")


def _depths(axes: Axes, summary: Summary) -> None:
    total = summary.total
    deepest, highest = 1, 0.0
    for counts, label, colour, marker in (
        (total.span_depths, "spans, by their depth", BLUE, "o"),
        (total.sample_depths, "samples, by their deepest span", ORANGE, "s"),
    ):
        depths = np.arange(len(counts))
        shares = counts / max(1, counts.sum())
        deepest, highest = max(deepest, len(counts)), max(highest, shares.max(initial=0))
        axes.plot(depths, shares, color=colour, marker=marker, markersize=5, label=label)
    axes.set_xlim(-0.5, deepest - 0.5)
    axes.set_ylim(0, 1.3 * highest or 1)  # room for the legend
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.legend(loc="upper right", frameon=False, fontsize=10, labelcolor=INK)
    title = f"Spans nest {_median(total.sample_depths)} deep in the median sample"
    _describe(axes, title, "nesting depth (1: in no other span, 0: no span)", "share of spans, of samples")


def _kinds(axes: Axes, summary: Summary) -> None:
    total = summary.total
    rows = _commonest_kinds(total)
    _bars(axes, [(name, count, BLUE) for name, count in rows], total.spans)
    covered = share(sum(count for _, count in rows), total.spans)
    _describe(axes, f"{len(rows)} node kinds make up {covered:.0%} of the spans", "spans")


def _commonest_kinds(tally: Tally) -> list[tuple[str, int]]:
    """Node kinds and their spans, the commonest first; with the language's name where there are several."""
    several = len(tally.languages) > 1
    named = [(f"{language}: {kind}" if several else kind, count) for (language, kind), count in tally.kinds.items()]
    return sorted(named, key=lambda row: (-row[1], row[0]))[:KINDS_DRAWN]


def _bars(axes: Axes, rows: list[tuple[str, int, str]], whole: int) -> None:
    """Horizontal bars of counts, the first on top, each with its number and its share of the whole."""
    places = np.arange(len(rows))
    bars = axes.barh(places, [count for _, count, _ in rows], color=[colour for *_, colour in rows])
    axes.bar_label(bars, [f"{count:,}  {share(count, whole):.1%}" for _, count, _ in rows], padding=4, fontsize=9, color=INK)
    axes.set_yticks(places, [name for name, *_ in rows], parse_math=False)
    axes.set_ylim(max(len(rows), FEWEST_PLACES) - 0.5, -0.5)
    axes.set_xlim(0, 1.35 * max([1, *(count for _, count, _ in rows)]))  # room for the numbers
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    _thousands(axes.xaxis)
