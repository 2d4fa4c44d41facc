"""When an answer counts as right, for problems that come with inputs only: HumanEval+ and MBPP+.

The reference's answer on the same input is what is expected. The rules, and which problems have rules of their own, are
those of EvalPlus (Liu et al. 2023, its release 0.3). Inputs are read in problems/mbpp_plus_inputs.py.
"""

import copy
import math
from collections.abc import Iterator
from typing import Any

# Problems of MBPP+ whose answers are lists in any order; whose answers are a match or None; by entry point.
_IN_ANY_ORDER = frozenset(
    (
        "similar_elements",
        "find_char_long",
        "common_in_nested_lists",
        "extract_singly",
        "larg_nnum",
        "intersection_array",
        "find_dissimilar",
        "Diff",
    )
)
_FOUND_OR_NOT = frozenset(("check_str", "text_match_three", "text_starta_endb"))


def inputs_of(inputs: list[Any]) -> Iterator[tuple[Any, Any]]:
    """Each input twice, for the reference and for the program: either may change it."""
    for arguments in inputs:
        yield copy.deepcopy(arguments), arguments


def agree(job: dict[str, Any], answer: Any, expected: Any, arguments: Any) -> bool:
    """Whether an answer is right. A comparison that has no outcome, as of an array with a number, decides for nothing.

    Args:
        job: its ``suite`` (humaneval or mbpp), ``entry_point`` and ``tolerance``
        answer: plain data
        expected: the reference's answer
        arguments: the input
    """
    name, tolerance = job["entry_point"], job["tolerance"]
    is_in_any_order = job["suite"] == "mbpp" and name in _IN_ANY_ORDER
    # What the program raises while its iterator runs is the program's error, which the handler below must not see.
    elements = list(answer) if is_in_any_order and isinstance(answer, Iterator) else answer
    try:
        if job["suite"] == "humaneval" and name == "find_zero":
            return _is_root(answer, arguments[0], tolerance)
        if job["suite"] == "mbpp" and name in _FOUND_OR_NOT:
            return (answer if isinstance(answer, bool) else answer is not None) == (expected is not None)
        if is_in_any_order:
            is_equal = _are_same_elements(answer, elements, expected)
        elif _is_array(expected):
            is_equal = _is_same_array(answer, expected)
        else:
            is_equal = _outcome(answer == expected)
        if job["suite"] == "mbpp":
            is_equal = is_equal or _is_also_right(name, answer, arguments, tolerance)
        return is_equal or _is_close(answer, expected, tolerance)
    except (TypeError, ValueError, ArithmeticError):
        return False


def _is_root(answer: Any, coefficients: list[float], tolerance: float) -> bool:
    """Whether a polynomial is zero there: any root will do."""
    return bool(abs(sum(c * math.pow(answer, power) for power, c in enumerate(coefficients))) <= tolerance)


def _are_same_elements(answer: Any, elements: Any, expected: Any) -> bool:
    """Whether lists hold the same elements, in any order and number. EvalPlus compares the lists first, and so refuses
    an array of another shape than the list's."""
    _ = answer == expected
    return set(elements) == set(expected)


def _outcome(compared: Any) -> bool:
    """The outcome of a comparison; of arrays, only one with a single element has one.

    Raises:
        ValueError: it has none
    """
    if getattr(compared, "size", 1) != 1:
        raise ValueError(f"{compared.size} outcomes of one comparison")
    return bool(compared)


def _is_close(answer: Any, expected: Any, tolerance: float) -> bool:
    """Whether numbers are of one type and shape and differ by the tolerance; floats have one where their problem has none.

    Raises:
        TypeError: they are no numbers
        ValueError: they have no shape
    """
    if tolerance == 0 and _is_floats(expected):
        tolerance = 1e-6
    if tolerance == 0 or type(answer) is not type(expected):
        return False
    import numpy as np

    # Numbers of other shapes may be compared, too, and of no numbers all are close.
    return np.shape(answer) == np.shape(expected) and bool(np.allclose(answer, expected, rtol=1e-7, atol=tolerance))


def _is_array(value: Any) -> bool:
    return type(value).__module__ == "numpy" and type(value).__name__ == "ndarray"


def _is_same_array(answer: Any, expected: Any) -> bool:
    """Whether an answer is an array of the expected one's shape and kind, and equal to it throughout."""
    if not _is_array(answer) or answer.shape != expected.shape or answer.dtype.kind != expected.dtype.kind:
        return False
    return bool((answer == expected).all())


def _is_also_right(name: str, answer: Any, arguments: Any, tolerance: float) -> bool:
    """Other readings of a few statements of MBPP that EvalPlus lets count."""
    if name == "are_equivalent":  # the statement does not say of what
        return True
    if name == "sum_div":
        return _outcome(answer == 0)
    if name == "surface_Area":  # the height may be the pyramid's instead of the slant one
        edge, height = arguments
        area = round(edge**2 + 2 * edge * math.sqrt((edge / 2) ** 2 + height**2))
        return _outcome(abs(answer - area) <= tolerance)
    if name == "digit_distance_nums":  # digits may be paired from the right, the shorter number padded with zeros
        first, second = map(str, arguments)
        width = max(len(first), len(second))
        digits = zip(first.zfill(width), second.zfill(width), strict=True)
        return _outcome(answer == sum(abs(int(a) - int(b)) for a, b in digits))
    return False


def _is_floats(value: Any) -> bool:
    if isinstance(value, list | tuple) and value:
        return all(isinstance(item, float) for item in value)
    return isinstance(value, float) or (_is_array(value) and value.dtype in ("float64", "float32"))
