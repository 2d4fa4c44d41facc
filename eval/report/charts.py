"""Charts: lines over steps or rates, and intervals by group, as the places and texts that templates/charts.html draws.

What is drawn is decided by the chapters. Colours are the page's and follow its theme.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from syntaxdiff.eval.report.table import interval_text

WIDTH, HEIGHT = 460, 260  # of the drawing; the page scales it to its column, and letters stay readable at 350 pixels
LEFT, RIGHT, TOP, BOTTOM = 52, 20, 10, 40
ROW_HEIGHT, LABEL_WIDTH, LABEL_CHARACTERS = 15, 176, 27
MARK_HEIGHT = 7  # of each further series in a row
MAX_POINTS = 240  # of a line: more would lie on the same pixels
MAX_MARKS = 40  # a line of more points shows no marks
SHIFT = 4  # pixels between the intervals of two series at one place
COLOURS = 8  # classes c0 to c7 of the page


class Point(NamedTuple):
    """A value with its interval, where it has one."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class Series:
    """Points of one name and colour.

    Attributes:
        colour: counted; from COLOURS on they repeat
        is_faint: stands behind the others, such as noisy training losses
        is_dashed: is there to compare with
    """

    name: str
    points: Sequence[Point]
    colour: int
    is_faint: bool = False
    is_dashed: bool = False

    @property
    def classes(self) -> str:
        """Its classes on the page."""
        return f"c{self.colour % COLOURS}" + " faint" * self.is_faint + " dashed" * self.is_dashed


class Scale(NamedTuple):
    """From values in [low, high] to pixels."""

    low: float
    high: float
    first: float
    last: float

    def __call__(self, value: float) -> float:
        """The pixel of a value; what lies outside is put on the edge."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(self.first + share * (self.last - self.first), 1)


# ------------------------------------------------------------------------------------------ what the template draws, in pixels


class Line(NamedTuple):
    """A straight line: ``grid``, ``axis`` or ``interval``."""

    x1: float
    y1: float
    x2: float
    y2: float
    kind: str


class Label(NamedTuple):
    """A text whose ``start``, ``middle`` or ``end`` is at a place."""

    x: float
    y: float
    text: str
    anchor: str


class Mark(NamedTuple):
    """A point, and what it says where a mouse rests on it."""

    x: float
    y: float
    title: str


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A series as it is drawn; ``path`` is SVG's, empty where marks are not connected."""

    name: str
    classes: str
    path: str = ""
    intervals: Sequence[Line]
    marks: Sequence[Mark]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A drawing of WIDTH times ``height`` pixels."""

    title: str
    height: float
    lines: Sequence[Line]
    labels: Sequence[Label]
    curves: Sequence[Curve]
    width: float = WIDTH


def line_chart(
    title: str, series: Sequence[Series], *, x_label: str, y_range: tuple[float, float] | None = None, percent: bool = False
) -> Chart | None:
    """Lines with marks and intervals; None where no series has a point.

    Args:
        y_range: None: as the points need
        percent: whether y is a share
    """
    series = [thinned for given in series if (thinned := _drawable(given)).points]
    if not series:
        return None
    points = [point for drawn in series for point in drawn.points]
    low, high = y_range or _value_range(points, percent)
    has_intervals = any(point.low is not None for point in points)
    x_low, x_high = _padded([point.x for point in points], 0.05 if has_intervals else 0.0)
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    across, up = Scale(x_low, x_high, LEFT, right), Scale(low, high, bottom, TOP)
    y_ticks, x_ticks = ticks(low, high), ticks(x_low, x_high)
    shifts = [SHIFT * (place - (len(series) - 1) / 2) * has_intervals for place in range(len(series))]  # none hides another
    return Chart(
        title=title,
        height=HEIGHT,
        lines=[
            *(Line(LEFT, up(tick), right, up(tick), "grid") for tick in y_ticks),
            *(Line(across(tick), bottom, across(tick), bottom + 4, "axis") for tick in x_ticks),
            Line(LEFT, bottom, right, bottom, "axis"),
        ],
        labels=[
            *(Label(LEFT - 6, round(up(tick) + 4, 1), _tick_text(tick, percent), "end") for tick in y_ticks),
            *(Label(across(tick), bottom + 17, f"{tick:,.0f}" if tick >= 1000 else f"{tick:g}", "middle") for tick in x_ticks),
            Label((LEFT + right) / 2, HEIGHT - 6, x_label, "middle"),
        ],
        curves=[_curve(drawn, across, up, percent, shift) for drawn, shift in zip(series, shifts, strict=True)],
    )


def _curve(series: Series, across: Scale, up: Scale, percent: bool, shift: float) -> Curve:
    places = [(point, round(across(point.x) + shift, 1)) for point in series.points]
    marked = places if len(places) <= MAX_MARKS and not series.is_dashed else []
    return Curve(
        name=series.name,
        classes=series.classes,
        path="M" + " L".join(f"{x} {up(point.y)}" for point, x in places),
        intervals=[
            Line(x, up(point.low), x, up(point.high), "interval")
            for point, x in places
            if point.low is not None and point.high is not None
        ],
        marks=[Mark(x, up(point.y), f"{series.name}, {point.x:g}: {point_text(point, percent)}") for point, x in marked],
    )


def interval_chart(title: str, groups: Sequence[str], series: Sequence[Series], *, percent: bool = True) -> Chart | None:
    """A row per group, in it a mark and an interval of each series; None where there is nothing to draw.

    Args:
        series: ``x`` of a point is the index of its group, ``y`` its value
        percent: whether values are shares, whose axis begins at 0
    """
    series = [given for given in series if given.points]
    if not groups or not series:
        return None
    low, high = _value_range([point for drawn in series for point in drawn.points], percent)
    row_height = ROW_HEIGHT + MARK_HEIGHT * (len(series) - 1)
    bottom = TOP + row_height * len(groups)
    across = Scale(low, high, LABEL_WIDTH, WIDTH - RIGHT)
    curves = []
    for place, drawn in enumerate(series):
        rows = [(point, TOP + row_height * point.x + ROW_HEIGHT / 2 + MARK_HEIGHT * place) for point in drawn.points]
        intervals = [
            Line(across(point.low), y, across(point.high), y, "interval")
            for point, y in rows
            if point.low is not None and point.high is not None
        ]
        marks = [
            Mark(across(point.y), y, f"{groups[int(point.x)]}, {drawn.name}: {point_text(point, percent)}") for point, y in rows
        ]
        curves.append(Curve(name=drawn.name, classes=drawn.classes, intervals=intervals, marks=marks))
    return Chart(
        title=title,
        height=bottom + 22,
        lines=[Line(across(tick), TOP, across(tick), bottom, "grid") for tick in ticks(low, high)],
        labels=[
            *(Label(across(tick), bottom + 16, _tick_text(tick, percent), "middle") for tick in ticks(low, high)),
            *(
                Label(LABEL_WIDTH - 8, TOP + row_height * (row + 0.5) + 4, _cut(group), "end")
                for row, group in enumerate(groups)
            ),
        ],
        curves=curves,
    )


def _tick_text(tick: float, percent: bool) -> str:
    return f"{tick:.0%}" if percent else f"{tick:g}"


def _cut(label: str) -> str:
    return label if len(label) <= LABEL_CHARACTERS else label[: LABEL_CHARACTERS - 1] + "…"


def point_text(point: Point, percent: bool) -> str:
    """A value with its interval, in words."""
    form = ".1%" if percent else ".4g"
    return f"{point.y:{form}}{interval_text(point.low, point.high, form)}"


def ticks(low: float, high: float) -> list[float]:
    """Four to ten round numbers within [low, high]."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [float(f"{number * step:.12g}") for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _drawable(series: Series) -> Series:
    """Finite points only, and means of neighbours where there are too many."""
    points = [point for point in series.points if math.isfinite(point.x) and math.isfinite(point.y)]
    size = -(-len(points) // MAX_POINTS)
    if size > 1:
        parts = [points[first : first + size] for first in range(0, len(points), size)]
        points = [
            Point(sum(point.x for point in part) / len(part), sum(point.y for point in part) / len(part)) for part in parts
        ]
    return replace(series, points=points)


def _value_range(points: Sequence[Point], percent: bool) -> tuple[float, float]:
    """As wide as values and intervals need; of shares from 0 to at most 1."""
    low, high = _padded([value for point in points for value in (point.y, point.low, point.high) if value is not None])
    return (0.0, min(1.0, max(high, 0.05))) if percent else (low, high)


def _padded(values: Sequence[float], share: float = 0.05) -> tuple[float, float]:
    """The range of some values, a little wider, and never empty."""
    low, high = min(values), max(values)
    if high - low <= 1e-9 * max(1.0, abs(high)):
        return low - 0.5, high + 0.5
    return low - share * (high - low), high + share * (high - low)
