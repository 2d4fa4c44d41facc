"""Charts: lines over steps or rates, and intervals by group. templates/charts.html draws them as inline SVG.

What is drawn is decided by the chapters. Colours are the page's and follow its theme.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

WIDTH, HEIGHT = 460, 260  # of the drawing; the page scales it to its column, and letters stay readable at 350 pixels
LEFT, RIGHT, TOP, BOTTOM = 52, 20, 10, 40
ROW_HEIGHT, LABEL_WIDTH = 15, 176
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

    @property
    def has_marks(self) -> bool:
        """Whether each point is marked."""
        return len(self.points) <= MAX_MARKS and not self.is_dashed


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

    @property
    def ticks(self) -> list[float]:
        """Round numbers within the values."""
        return ticks(self.low, self.high)


@dataclass(frozen=True, kw_only=True)
class Chart:
    """What both kinds have: series over a horizontal scale, and whether their values are shares."""

    width: ClassVar[int] = WIDTH
    title: str
    series: Sequence[Series]
    across: Scale
    is_percent: bool

    def tick_text(self, tick: float) -> str:
        """A value at an axis."""
        return f"{tick:.0%}" if self.is_percent else f"{tick:g}"

    def value_text(self, point: Point) -> str:
        """A value with its interval, in words."""
        form = ".1%" if self.is_percent else ".4g"
        if point.low is None or point.high is None:
            return f"{point.y:{form}}"
        return f"{point.y:{form}} [{point.low:{form}},\N{NO-BREAK SPACE}{point.high:{form}}]"


@dataclass(frozen=True, kw_only=True)
class LineChart(Chart):
    """Lines with marks and intervals. ``shift`` is how many pixels series are apart, so that no interval hides another."""

    height: ClassVar[int] = HEIGHT
    x_label: str
    up: Scale
    shift: float


@dataclass(frozen=True, kw_only=True)
class IntervalChart(Chart):
    """A row per group, in it a mark and an interval of each series."""

    top: ClassVar[int] = TOP
    groups: Sequence[str]

    @property
    def row_height(self) -> int:
        """Pixels of a row."""
        return ROW_HEIGHT + MARK_HEIGHT * (len(self.series) - 1)

    @property
    def height(self) -> int:
        """Pixels of the whole."""
        return TOP + self.row_height * len(self.groups) + 22

    def mark_y(self, point: Point, number: int) -> float:
        """Where the mark of a point is; series are counted from 0."""
        return TOP + self.row_height * point.x + ROW_HEIGHT / 2 + MARK_HEIGHT * number


def line_chart(
    title: str, series: Sequence[Series], *, x_label: str, y_range: tuple[float, float] | None = None, percent: bool = False
) -> LineChart | None:
    """Lines with marks and intervals; None where no series has a point.

    Args:
        y_range: None: as the points need
        percent: whether y is a share
    """
    series = [thinned for given in series if (thinned := _drawable(given)).points]
    if not series:
        return None
    points = [point for drawn in series for point in drawn.points]
    has_intervals = any(point.low is not None for point in points)
    return LineChart(
        title=title,
        series=series,
        across=Scale(*_padded([point.x for point in points], 0.05 if has_intervals else 0.0), LEFT, WIDTH - RIGHT),
        up=Scale(*(y_range or _value_range(points, percent)), HEIGHT - BOTTOM, TOP),
        is_percent=percent,
        x_label=x_label,
        shift=SHIFT * has_intervals,
    )


def interval_chart(
    title: str, groups: Sequence[str], series: Sequence[Series], *, percent: bool = True
) -> IntervalChart | None:
    """A row per group; None where there is nothing to draw.

    Args:
        series: ``x`` of a point is the index of its group, ``y`` its value
        percent: whether values are shares, whose axis begins at 0
    """
    series = [given for given in series if given.points]
    if not groups or not series:
        return None
    values = _value_range([point for drawn in series for point in drawn.points], percent)
    across = Scale(*values, LABEL_WIDTH, WIDTH - RIGHT)
    return IntervalChart(title=title, series=series, across=across, is_percent=percent, groups=groups)


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
