"""What a report is made of: tables name their rows, and charts say what they draw."""

import math
import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pages import Page

from syntaxdiff.eval.benchmarks.outcome import PassAtK, Score
from syntaxdiff.eval.pages import environment
from syntaxdiff.eval.report.charts import MAX_POINTS, Chart, Point, Series, interval_chart, line_chart, ticks
from syntaxdiff.eval.report.report import TEMPLATES
from syntaxdiff.eval.stats import Interval, Share

ENVIRONMENT = environment(TEMPLATES)
CELLS = ENVIRONMENT.from_string('{% from "macros.html" import table %}{{ table(head, rows) }}')
FACTS = ENVIRONMENT.from_string(
    """{% from "macros.html" import fact, facts %}{% call facts(findings) %}{% for name in names %}
{% call(finding) fact(name, findings) %}
  {{ finding[name] }}
{% endcall %}{% endfor %}{% endcall %}"""
)
SHARE = ENVIRONMENT.from_string('{% from "macros.html" import share %}{{ share(score) }}')
CHARTS = ENVIRONMENT.from_string('{% from "charts.html" import charts %}{{ charts(charts_drawn) }}')
PROGRAM = ENVIRONMENT.from_string('{% from "macros.html" import program %}{{ program(text) }}')


def drawn(*charts: Chart | None) -> Page:
    return Page(CHARTS.render(charts_drawn=charts))


def tabulated(head: Sequence[str], rows: Sequence[Sequence[str | int | None]]) -> Page:
    return Page(CELLS.render(head=head, rows=rows))


# --------------------------------------------------------------------------------------------------------------------- tables


def test_a_table_names_its_rows() -> None:
    """The first cell of a row is its head, None is an empty cell; a table without rows is nothing."""
    page = tabulated(("", "a"), [("<b>", 0), ("c", None)])
    assert [tag for tag, _ in page.found].count("th") == 4
    assert page.text.split() == ["a", "<b>0", "c"]
    assert tabulated(("", "a"), []).found == []


def test_facts_that_say_nothing_have_no_row() -> None:
    """A fact has a row where it says something of any finding; what it says is escaped once."""
    findings = [{"name": "<a>", "size": 0, "speed": None, "text": " "}, {"name": "b", "size": 1, "speed": "1 & 2", "text": ""}]
    page = Page(FACTS.render(findings=findings, names=("size", "speed", "text")))
    assert [row for row in page.text.split("\n") if row.strip()] == ["<a>b", "size01", "speed1 & 2"]


@pytest.mark.parametrize(
    ("score", "text"),
    [
        (None, ""),
        (Score(value=None, count=0, total=0, interval=Interval(0, 1), method="wilson"), ""),
        (Score(value=0.5, count=2, total=4, interval=Interval(0.25, 0.75), method="wilson"), "50.0% 2/4 [25.0%,\xa075.0%]"),
        (PassAtK(value=0.5, total=1234, interval=Interval(0.25, 0.75), method=""), "50.0% of 1,234 problems [25.0%,\xa075.0%]"),
        (Share(value=0.125, low=0.0, high=0.25, total=1000, of=8000, samples=3), "12.5% 1,000/8,000 [0.0%,\xa025.0%]"),
        (Share(value=0.0, low=None, high=None, total=0, of=3, samples=1), "0.0% 0/3"),
    ],
)
def test_a_share_has_count_and_interval(score: Score | PassAtK | Share | None, text: str) -> None:
    """Each kind of share is written with what it is out of; none is nothing."""
    assert Page(SHARE.render(score=score)).text == text


@given(st.text(max_size=80))
def test_a_program_is_a_block_of_its_text(text: str) -> None:
    """The element holds the program and no space of the template."""
    html = PROGRAM.render(text=text)
    assert html.startswith('<pre class="program">')
    assert html.endswith("</pre>")


# ---------------------------------------------------------------------------------------------------------------------charts


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_few_and_within(low: float, width: float) -> None:
    """From two to ten marks, within the range, in order."""
    high = low + width
    found = ticks(low, high)
    slack = 1e-6 * max(1.0, abs(low), abs(high))
    assert 2 <= len(found) <= 10
    assert found == sorted(set(found)) or width < 1e-9 * abs(low)
    assert low - slack <= found[0] <= found[-1] <= high + slack


def test_a_chart_names_every_point() -> None:
    """Value and interval of each point stand in its title, and a higher value is drawn higher."""
    points = [Point(0.25, 0.125), Point(0.5, 0.75, 0.5, 0.875)]
    page = drawn(line_chart("rates", [Series(name="<s>", points=points, colour=9)], x_label="x", percent=True))
    assert "<s>, 0.25: 12.5%" in page.text
    assert "<s>, 0.5: 75.0% [50.0%,\xa087.5%]" in page.text
    first, second = (float(attributes["cy"] or "") for tag, attributes in page.found if tag == "circle")
    assert second < first
    page = drawn(interval_chart("kinds", ["call", "if"], [Series(name="a", points=[Point(1, 0.25, 0.0, 0.5)], colour=0)]))
    assert "if, a: 25.0% [0.0%,\xa050.0%]" in page.text


def test_nothing_to_draw_is_no_chart() -> None:
    """Without a finite point there is no chart; one point, and equal points, are drawn."""
    empty = [Series(name="a", points=[], colour=0), Series(name="b", points=[Point(1, math.nan)], colour=0)]
    assert line_chart("x", empty, x_label="") is None
    assert interval_chart("x", [], empty) is None
    assert drawn(None).found == []
    for points in ([Point(3, 2.0)], [Point(3, 2.0), Point(3, 2.0)]):
        drawn(line_chart("x", [Series(name="a", points=points, colour=0)], x_label="step"))


@given(st.integers(1, 4 * MAX_POINTS))
def test_long_lines_are_averaged(count: int) -> None:
    """A line has at most MAX_POINTS points, and begins and ends where the values do, to a part of the line."""
    series = Series(name="a", points=[Point(x, 2 * x) for x in range(count)], colour=0)
    page = drawn(line_chart("x", [series], x_label="step"))
    (path,) = (attributes["d"] or "" for tag, attributes in page.found if tag == "path")
    assert len(re.findall("[ML]", path)) <= MAX_POINTS
    xs = [float(x) for x in re.findall(r"[ML]([\d.]+)", path)]
    assert xs == sorted(xs)
