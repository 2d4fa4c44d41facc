"""Charts as inline SVG: lines over steps or rates, and intervals by group. Colours are the page's and follow its theme.

Each point says its value where a mouse rests on it; nothing needs a script. What is drawn is decided by the chapters.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from syntaxdiff.eval.report.markup import Html, element

WIDTH, HEIGHT = 460, 260  # of the drawing; the page scales it to its column, and letters stay readable at 350 pixels
LEFT, RIGHT, TOP, BOTTOM = 52, 20, 10, 40
ROW_HEIGHT, LABEL_WIDTH, LABEL_CHARACTERS = 15, 176, 27
MAX_POINTS = 240  # of a line: more would lie on the same pixels
MAX_MARKS = 40  # a line of more points shows no marks
BESIDE = 4  # pixels between the intervals of two series at one place
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
        colour: counted; from COLOURS on they begin anew
        is_faint: of what stands behind the others, such as noisy training losses
        is_dashed: of what is there to compare with
    """

    name: str
    points: Sequence[Point]
    colour: int
    is_faint: bool = False
    is_dashed: bool = False


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


def line_chart(
    title: str, series: Sequence[Series], *, x_label: str, y_range: tuple[float, float] | None = None, percent: bool = False
) -> Html:
    """Lines with marks and intervals; nothing where no series has a point.

    Args:
        y_range: None: as the points need
        percent: whether y is a share
    """
    series = [replaced for one in series if (replaced := _drawable(one)).points]
    if not series:
        return Html("")
    points = [point for one in series for point in one.points]
    low, high = y_range or _value_range(points, percent)
    has_intervals = any(point.low is not None for point in points)
    x_low, x_high = _padded([point.x for point in points], 0.05 if has_intervals else 0.0)
    across = Scale(x_low, x_high, LEFT, WIDTH - RIGHT)
    up = Scale(low, high, HEIGHT - BOTTOM, TOP)
    drawn: list[Html] = []
    for tick in ticks(low, high):
        drawn.append(_line(LEFT, up(tick), WIDTH - RIGHT, up(tick), "grid"))
        drawn.append(_text(LEFT - 6, up(tick) + 4, f"{tick:.0%}" if percent else f"{tick:g}", "end"))
    for tick in ticks(x_low, x_high):
        drawn.append(_line(across(tick), HEIGHT - BOTTOM, across(tick), HEIGHT - BOTTOM + 4, "axis"))
        drawn.append(_text(across(tick), HEIGHT - BOTTOM + 17, f"{tick:,.0f}" if tick >= 1000 else f"{tick:g}", "middle"))
    drawn.append(_line(LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM, "axis"))
    drawn.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, x_label, "middle"))
    for place, one in enumerate(series):
        shift = BESIDE * (place - (len(series) - 1) / 2) if has_intervals else 0.0  # else one would hide another
        drawn.append(_curve(one, across, up, percent, shift))
    return _figure(title, drawn, HEIGHT, series)


def interval_chart(title: str, groups: Sequence[str], series: Sequence[Series], *, percent: bool = True) -> Html:
    """A row a group, in it a mark and an interval of each series.

    Args:
        series: ``x`` of a point is the index of its group, ``y`` its value
        percent: whether values are shares, whose axis begins at 0
    """
    series = [one for one in series if one.points]
    if not groups or not series:
        return Html("")
    low, high = _value_range([point for one in series for point in one.points], percent)
    row_height = ROW_HEIGHT + 7 * (len(series) - 1)
    bottom = TOP + row_height * len(groups)
    across = Scale(low, high, LABEL_WIDTH, WIDTH - RIGHT)
    drawn = []
    for tick in ticks(low, high):
        drawn.append(_line(across(tick), TOP, across(tick), bottom, "grid"))
        drawn.append(_text(across(tick), bottom + 16, f"{tick:.0%}" if percent else f"{tick:g}", "middle"))
    for row, group in enumerate(groups):
        label = group if len(group) <= LABEL_CHARACTERS else group[: LABEL_CHARACTERS - 1] + "…"
        drawn.append(_text(LABEL_WIDTH - 8, TOP + row_height * (row + 0.5) + 4, label, "end"))
    for place, one in enumerate(series):
        marks = []
        for point in one.points:
            y = TOP + row_height * point.x + ROW_HEIGHT / 2 + 7 * place
            if point.low is not None and point.high is not None:
                marks.append(_line(across(point.low), y, across(point.high), y, "interval"))
            told = f"{groups[int(point.x)]}, {one.name}: {point_text(point, percent)}"
            marks.append(element("circle", element("title", told), cx=across(point.y), cy=y, r=3))
        drawn.append(element("g", *marks, class_=_classes(one)))
    return _figure(title, drawn, bottom + 22, series)


def point_text(point: Point, percent: bool) -> str:
    """A value with its interval, in words."""
    form = ".1%" if percent else ".4g"
    interval = (
        f" [{point.low:{form}},\N{NO-BREAK SPACE}{point.high:{form}}]"
        if point.low is not None and point.high is not None
        else ""
    )
    return f"{point.y:{form}}{interval}"


def ticks(low: float, high: float) -> list[float]:
    """Four to ten round numbers within [low, high]."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * one for one in (1, 2, 5, 10) if power * one >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [float(f"{number * step:.12g}") for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _drawable(one: Series) -> Series:
    """Finite points alone, and means of neighbours where there are too many."""
    points = [point for point in one.points if math.isfinite(point.x) and math.isfinite(point.y)]
    size = -(-len(points) // MAX_POINTS)
    if size > 1:
        parts = [points[first : first + size] for first in range(0, len(points), size)]
        points = [
            Point(sum(point.x for point in part) / len(part), sum(point.y for point in part) / len(part)) for part in parts
        ]
    return Series(name=one.name, points=points, colour=one.colour, is_faint=one.is_faint, is_dashed=one.is_dashed)


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


def _curve(one: Series, across: Scale, up: Scale, percent: bool, shift: float) -> Html:
    places = [round(across(point.x) + shift, 1) for point in one.points]
    path = " ".join(
        f"{'ML'[place > 0]}{x} {up(point.y)}" for place, (x, point) in enumerate(zip(places, one.points, strict=True))
    )
    parts = [element("path", d=path)]
    for x, point in zip(places, one.points, strict=True):
        if point.low is not None and point.high is not None:
            parts.append(_line(x, up(point.low), x, up(point.high), "interval"))
        if len(one.points) <= MAX_MARKS and not one.is_dashed:
            told = f"{one.name}, {point.x:g}: {point_text(point, percent)}"
            parts.append(element("circle", element("title", told), cx=x, cy=up(point.y), r=3))
    return element("g", *parts, class_=_classes(one))


def _classes(one: Series) -> str:
    return f"c{one.colour % COLOURS}" + " faint" * one.is_faint + " dashed" * one.is_dashed


def _line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Html:
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def _text(x: float, y: float, text: str, anchor: str) -> Html:
    return element("text", text, x=round(x, 1), y=round(y, 1), text_anchor=anchor)


def _figure(title: str, drawn: Sequence[Html], height: float, series: Sequence[Series]) -> Html:
    svg = element("svg", *drawn, viewBox=f"0 0 {WIDTH} {height:g}", role="img", aria_label=title)
    keys = [element("span", element("i", class_=_classes(one)), one.name, class_="key") for one in series if one.name != title]
    return element("figure", element("figcaption", title), svg, element("div", *keys, class_="keys") if keys else None)
