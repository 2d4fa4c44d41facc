"""Two programs are the same but for the names they bind, or they are not."""

import pytest

from syntaxdiff.pipeline.exercises.folding import folded

PROGRAM = "def f(xs, n):\n    return sum(x for x in xs if x > n)\n"


@pytest.mark.parametrize(
    "same",
    [
        PROGRAM,
        "def g(items, limit):\n    return sum(v for v in items if v > limit)  # those above\n",
        "def f(xs, n):\n\n    return (sum((x for x in xs if x > n)))\n",
    ],
)
def test_names_layout_and_comments_are_folded(same: str) -> None:
    """Functions, parameters and variables may have any names."""
    assert folded(same) == folded(PROGRAM)


@pytest.mark.parametrize(
    "other",
    [
        "def f(xs, n):\n    return max(x for x in xs if x > n)\n",
        "def f(xs, n):\n    return sum(x for x in xs if x >= n)\n",
        "def f(xs, n):\n    return sum(x for x in xs if x > xs)\n",
        "def f(n, xs):\n    return sum(x for x in xs if x > n)\n",
        "def f(xs, n):\n    return sum(x for x in xs.real if x > n)\n",
        "def f(xs, n):\n    return sum(x for x in xs if x > 3)\n",
    ],
)
def test_what_a_program_does_is_not(other: str) -> None:
    """Built-ins, operators, attributes, literals, and which name stands where."""
    assert folded(other) != folded(PROGRAM)


def test_exceptions_keyword_arguments_and_nested_functions() -> None:
    """The name of a caught exception is bound, that of a keyword argument is not."""
    caught = "try:\n    pass\nexcept ValueError as {0}:\n    print({0}, end='')\n"
    assert folded(caught.format("e")) == folded(caught.format("error"))
    assert folded(caught.format("e")) != folded(caught.format("e").replace("end", "sep"))


def test_no_python_is_an_error() -> None:
    """There is no tree to fold."""
    with pytest.raises(SyntaxError):
        folded("def f(:")
