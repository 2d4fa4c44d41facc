"""What a report is made of: no text becomes markup, and charts tell what they draw."""

import math
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pages import Page

from syntaxdiff.eval.report.charts import MAX_POINTS, Point, Series, interval_chart, line_chart, ticks
from syntaxdiff.eval.report.markup import MAX_CHARACTERS, Html, element, embedded, preformatted, program, table
from syntaxdiff.pipeline.inspection.display import visible

TEXT = st.text(max_size=80)
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=80)  # half surrogate pairs too: a model may write them


# --------------------------------------------------------------------------------------------------------------------- markup


@given(ANY_TEXT, ANY_TEXT)
def test_text_stays_text(content: str, value: str) -> None:
    """Whatever a text and an attribute hold, a parser reads one element with that text and that attribute."""
    page = Page(element("p", content, title=value))
    assert page.found == [("p", {"title": visible(value)})]
    assert page.text == visible(content)


@given(st.recursive(TEXT, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=8))
def test_embedded_json_comes_back(value: Any) -> None:
    """JSON in the page is what went in, and nothing in it ends the script."""
    page = Page(embedded(value))
    assert page.embedded() == [value]
    assert len(page.found) == 1


@given(ANY_TEXT)
def test_a_coloured_program_is_the_program(text: str) -> None:
    """Colours take nothing away and add nothing, whatever the program."""
    assert Page(program(text)).text == visible(text)


def test_long_texts_are_cut_and_say_so() -> None:
    """What is left out is counted."""
    page = Page(preformatted("x" * (MAX_CHARACTERS + 7)))
    assert page.text == "x" * MAX_CHARACTERS + "\n… 7 more characters"


def test_a_table_names_its_rows() -> None:
    """The first cell of a row is its head; a table without rows is nothing."""
    page = Page(table(("", "a"), [("<b>", "1"), ("c", Html("<b>2</b>"))]))
    assert [tag for tag, _ in page.found].count("th") == 4
    assert [tag for tag, _ in page.found].count("b") == 1
    assert table(("", "a"), []) == ""


# ---------------------------------------------------------------------------------------------------------------------- plots


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_few_and_within(low: float, width: float) -> None:
    """From two to ten marks, within the range, in order."""
    high = low + width
    found = ticks(low, high)
    slack = 1e-6 * max(1.0, abs(low), abs(high))
    assert 2 <= len(found) <= 10
    assert found == sorted(set(found)) or width < 1e-9 * abs(low)
    assert low - slack <= found[0] <= found[-1] <= high + slack


def test_a_chart_tells_every_point() -> None:
    """Value and interval of each point stand in its title, and a higher value is drawn higher."""
    points = [Point(0.25, 0.125), Point(0.5, 0.75, 0.5, 0.875)]
    page = Page(line_chart("rates", [Series(name="<s>", points=points, colour=9)], x_label="x", percent=True))
    assert "<s>, 0.25: 12.5%" in page.text
    assert "<s>, 0.5: 75.0% [50.0%,\xa087.5%]" in page.text
    first, second = (float(attributes["cy"] or "") for tag, attributes in page.found if tag == "circle")
    assert second < first
    page = Page(interval_chart("kinds", ["call", "if"], [Series(name="a", points=[Point(1, 0.25, 0.0, 0.5)], colour=0)]))
    assert "if, a: 25.0% [0.0%,\xa050.0%]" in page.text


def test_nothing_to_draw_is_no_chart() -> None:
    """Without a finite point there is no chart; one point, and equal points, are drawn."""
    empty = [Series(name="a", points=[], colour=0), Series(name="b", points=[Point(1, math.nan)], colour=0)]
    assert line_chart("x", empty, x_label="") == ""
    assert interval_chart("x", [], empty) == ""
    for points in ([Point(3, 2.0)], [Point(3, 2.0), Point(3, 2.0)]):
        Page(line_chart("x", [Series(name="a", points=points, colour=0)], x_label="step"))


@given(st.integers(1, 4 * MAX_POINTS))
def test_long_lines_are_averaged(count: int) -> None:
    """A line has at most MAX_POINTS points, and begins and ends where the values do, to a part of the line."""
    series = Series(name="a", points=[Point(x, 2 * x) for x in range(count)], colour=0)
    page = Page(line_chart("x", [series], x_label="step"))
    (path,) = (attributes["d"] or "" for tag, attributes in page.found if tag == "path")
    assert len(re.findall("[ML]", path)) <= MAX_POINTS
    xs = [float(x) for x in re.findall(r"[ML]([\d.]+)", path)]
    assert xs == sorted(xs)
