"""When an answer to a Plus problem is right: EvalPlus's rules, case by case, and stricter where nothing would decide."""

import collections
import decimal
import fractions
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syntaxdiff.eval.sandbox.evalplus_comparison import agree

ALL, ONE = np.empty((0, 1, 1, 1, 1, 1, 1), dtype=object), np.empty(1, dtype=object)


def is_right(
    answer: Any, expected: Any, *, name: str = "f", suite: str = "mbpp", tolerance: float = 0.0, arguments: Any = ()
) -> bool:
    return agree({"suite": suite, "entry_point": name, "tolerance": tolerance}, answer, expected, arguments)


@pytest.mark.parametrize(
    ("answer", "expected", "right"),
    [
        (5, 5, True),
        (5, 6, False),
        (True, 1, True),
        (5.0, 5, True),
        (decimal.Decimal(5), 5, True),
        (fractions.Fraction(1, 2), 0.5, True),
        (collections.OrderedDict(a=1), {"a": 1}, True),
        (collections.Counter("a"), {"a": 1}, True),
        ({}.keys(), set(), True),
        (bytearray(b"a"), b"a", True),
        (None, None, True),
        ((1, 2), [1, 2], False),
        ([1, 2], (1, 2), False),
        (range(2), [0, 1], False),
        ("5", 5, False),
        (None, 0, False),
        (math.nan, math.nan, False),
        ([math.nan], [float("nan")], False),
        (math.inf, math.inf, True),
        (decimal.Decimal("sNaN"), 1, False),
        # numpy's numbers are numbers; its arrays have an outcome where they hold one element, as in EvalPlus.
        (np.int64(5), 5, True),
        (np.float64(0.5), 0.5, True),
        (np.bool_(True), True, True),
        (np.bool_(False), True, False),
        (np.str_("a"), "a", True),
        (np.array(5), 5, True),
        (np.array([5]), 5, True),
        (np.array([5]), [5], True),
        (np.array([[5]]), [5], True),
        (np.array([6]), 5, False),
        (ONE, None, True),
        (ONE, 5, False),
        (np.array([1, 2]), [1, 2], False),
        (np.array([1.0, 2.0]), [1.0, 2.0], False),
        (np.array([1, 1]), 1, False),
        (np.array([1, 2, 3]), [1, 2], False),
        (np.array(["a", "b"]), ["a", "b"], False),
        (np.array([]), [], False),
        (ALL, [], False),
        (ALL, 5, False),
        (ALL, [1, 2], False),
        (ALL, [1.0, 2.0], False),
        (ALL, 0.5, False),
        (ALL, True, False),
        (ALL, None, False),
        (ALL, "a", False),
        (ALL, {"a": 1}, False),
        ([np.empty(0)], [5], False),
        ([np.array([1, 2])], [[1, 2]], False),
        ({"a": np.empty(0)}, {"a": 1}, False),
        # A reference that returns an array, which none of EvalPlus's does: of its shape and kind.
        (np.array([1, 2]), np.array([1, 2]), True),
        (np.array([1, 2]), np.array([1, 3]), False),
        ([1, 2], np.array([1, 2]), False),
        (np.array([[1, 2]]), np.array([1, 2]), False),
        (np.array([1.0, 2.0]), np.array([1, 2]), False),
        (np.array([1.0, 2.0 + 1e-9]), np.array([1.0, 2.0]), True),
        (np.empty((0, 2)), np.empty((0, 2)), True),
        (np.empty((0, 2)), np.empty((0, 3)), False),
        (1, np.array([1]), False),
    ],
)
def test_equal_answers_are_right(answer: Any, expected: Any, right: bool) -> None:
    """By equality; a comparison that does not give one outcome decides for nothing."""
    assert is_right(answer, expected) is right


@pytest.mark.parametrize(
    ("answer", "expected", "tolerance", "right"),
    [
        (0.1 + 0.2, 0.3, 0.0, True),
        (0.3001, 0.3, 0.0, False),
        (0.3001, 0.3, 1e-3, True),
        ([0.1 + 0.2, 1.0], [0.3, 1.0], 0.0, True),
        ((0.1 + 0.2,), (0.3,), 0.0, True),
        ((0.1 + 0.2,), [0.3], 0.0, False),
        ([0.1 + 0.2], [0.3, 0.3], 0.0, False),
        ([0.1 + 0.2, "a"], [0.3, 0.3], 0.0, False),
        ([0.1 + 0.2, None], [0.3, 0.3], 0.0, False),
        (["a"], [0.3], 0.0, False),
        ([0.1 + 0.2, 1], [0.3, 1], 0.0, False),  # not all are floats
        ([0.1 + 0.2, 1], [0.3, 1], 1e-6, True),
        ([[0.1 + 0.2]], [[0.3]], 1e-6, True),
        (np.float64(0.1 + 0.2), 0.3, 0.0, False),  # another type, and not equal
        (decimal.Decimal("0.30000001"), 0.3, 0.0, False),
        ({"a": 0.1 + 0.2}, {"a": 0.3}, 1e-6, False),
        (math.inf, 0.3, 0.0, False),
        (math.nan, math.nan, 1e-6, False),
        ([math.inf], [math.inf], 0.0, True),
        (100, 101, 1e-6, False),
        ("a", "b", 1e-6, False),
        # Where shapes differ numpy would compare by broadcasting, and of no numbers all are close.
        ([[]], [0.3], 0.0, False),
        ([[0.3, 0.3]], [0.3], 0.0, False),
        ([[0.3]], [0.1 + 0.2], 0.0, False),
        ([np.empty(0)], [0.3], 0.0, False),
        ([[0.3], []], [0.3, 0.3], 0.0, False),
        ([[], []], [[0.3], [0.3]], 1e-6, False),
    ],
)
def test_near_answers_are_right_where_numbers_are_of_one_type_and_shape(
    answer: Any, expected: Any, tolerance: float, right: bool
) -> None:
    """Within the problem's tolerance, or 1e-6 where the reference gives floats."""
    assert is_right(answer, expected, tolerance=tolerance, suite="humaneval") is right


@pytest.mark.parametrize(
    ("name", "arguments", "answer", "expected", "right"),
    [
        ("Diff", (), [2, 1, 1], [1, 2], True),
        ("Diff", (), (2, 1), [1, 2], True),
        ("Diff", (), {1: 0, 2: 0}, [1, 2], True),
        ("Diff", (), iter([2, 1]), [1, 2], True),
        ("Diff", (), np.array([2, 1]), [1, 2], True),
        ("Diff", (), np.array([[2], [1]]), [1, 2], False),  # rows cannot be hashed
        ("Diff", (), np.array([2, 1, 1]), [1, 2], False),  # EvalPlus compares first, and this shape cannot be
        ("Diff", (), ALL, [], True),
        ("Diff", (), ALL, [1, 2], False),
        ("Diff", (), [[1], [2]], [1, 2], False),
        ("Diff", (), 5, [1, 2], False),
        ("Diff", (), None, [], False),
        ("Diff", (), [0.1 + 0.2], [0.3], True),
        ("check_str", (), True, object(), True),
        ("check_str", (), "found", object(), True),
        ("check_str", (), ALL, object(), True),
        ("check_str", (), None, object(), False),
        ("check_str", (), False, object(), False),
        ("check_str", (), None, None, True),
        ("check_str", (), False, None, True),
        ("check_str", (), ALL, None, False),
        ("check_str", (), np.False_, None, False),  # no bool: something that is found
        ("are_equivalent", (1, 2), "anything", True, True),
        ("are_equivalent", (1, 2), ALL, True, False),
        ("sum_div", (4,), 0, 3, True),
        ("sum_div", (4,), np.zeros(3), 3, False),
        ("sum_div", (4,), ALL, 3, False),
        ("surface_Area", (3, 4), 35, 33, True),
        ("surface_Area", (3, 4), 34, 33, False),
        ("surface_Area", (3, 4), ALL, 33, False),
        ("surface_Area", (3, 4), "a", 33, False),
        ("surface_Area", (3, 4), math.nan, 33, False),
        ("digit_distance_nums", (23, 156), 7, 3, True),
        ("digit_distance_nums", (23, 156), ALL, 3, False),
    ],
)
def test_rules_of_single_problems(name: str, arguments: Any, answer: Any, expected: Any, right: bool) -> None:
    """Of MBPP+, by entry point; in HumanEval+ the same names have no such rule."""
    assert is_right(answer, expected, name=name, arguments=arguments) is right


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        (0.5, True),
        (0.50001, True),
        (np.float64(0.5), True),
        (fractions.Fraction(1, 2), True),
        (2.0, False),
        (math.nan, False),
        (math.inf, False),
        (10**400, False),
        (complex(0.5), False),
        ("0.5", False),
        (None, False),
        (ALL, False),
    ],
)
def test_any_root_is_right(answer: Any, right: bool) -> None:
    """Of the polynomial, even far from the reference's; and near the reference's only if it is a root."""
    assert is_right(answer, -9.0, name="find_zero", suite="humaneval", tolerance=1e-4, arguments=([-1.0, 2.0],)) is right
    assert not is_right(3.0, 3.0, name="find_zero", suite="humaneval", tolerance=1e-4, arguments=([-1.0, 2.0],))


def test_what_an_iterator_raises_is_the_program_s_error() -> None:
    """It does not count as a wrong answer."""

    def elements() -> Any:
        yield 1
        raise ValueError("of the program")

    with pytest.raises(ValueError, match="of the program"):
        is_right(elements(), [1, 2], name="Diff")


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.text(max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple) | st.dictionaries(st.text(max_size=1), inner)
    ),
    max_leaves=4,
)
SHAPES = st.lists(st.integers(0, 3), min_size=1, max_size=7).map(tuple).filter(lambda shape: math.prod(shape) != 1)


@given(PLAIN, SHAPES, st.sampled_from(("f8", "i8", "O", "U3", "?", "c16")), st.sampled_from((0.0, 1e-4)))
def test_an_array_of_other_than_one_element_is_no_answer(expected: Any, shape: Any, dtype: str, tolerance: float) -> None:
    """Whatever its shape, and whatever is expected."""
    assert not is_right(np.zeros(shape, dtype), expected, tolerance=tolerance)
    assert not is_right([np.zeros(shape, dtype)], [expected], tolerance=tolerance)
