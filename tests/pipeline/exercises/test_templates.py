"""Templates: what is put in for a name keeps its meaning."""

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syntaxdiff.pipeline.exercises.templates import block, substitute


@pytest.mark.parametrize(
    ("template", "names", "expected"),
    [
        ("x", {}, "x"),
        ("x * x", {"x": "a + b"}, "(a + b) * (a + b)"),
        ("-x", {"x": "x ** 2"}, "-x ** 2"),
        ("x % 2 == 0", {"x": "int(x)"}, "int(x) % 2 == 0"),
        ("a + b", {"a": "b", "b": "a"}, "b + a"),
        ("len(x) > n", {"x": "x if x else y"}, "len(x if x else y) > n"),
        ("x.upper()", {"x": "a + b"}, "(a + b).upper()"),
    ],
)
def test_parentheses_stand_where_they_are_needed(template: str, names: dict[str, str], expected: str) -> None:
    """Names are replaced all at once, and no parentheses are there for nothing."""
    assert substitute(template, names) == expected


OPERATORS = st.sampled_from(["+", "-", "*", "//", "%", "**", "and", "or", "<"])
EXPRESSIONS = st.recursive(
    st.sampled_from(["3", "5", "p"]), lambda inner: st.builds("({} {} {})".format, inner, OPERATORS, inner), max_leaves=4
)


@given(EXPRESSIONS, EXPRESSIONS)
def test_a_substituted_expression_is_the_tree_with_the_name_replaced(template: str, value: str) -> None:
    """What comes out parses to what the same text gives with every replacement in parentheses."""
    expected = ast.parse(template.replace("p", f"({value})"))
    assert ast.dump(ast.parse(substitute(template, {"p": value}))) == ast.dump(expected)


def test_a_block_keeps_its_lines_and_their_indentation() -> None:
    """Statements, targets among them."""
    lines = ("if ACC is None or E > ACC:", "    ACC = E")
    assert block(lines, {"ACC": "best", "E": "x * x"}) == ["if best is None or x * x > best:", "    best = x * x"]
