"""Inputs of MBPP+ with the types that its functions take: how JSON stands for tuples, sets and complex numbers in them.

Which problem has which is EvalPlus' (Liu et al. 2023, its release 0.3).
"""

from collections.abc import Iterable
from typing import Any

# Problems of MBPP+ by what their inputs' JSON stands for.
_ROWS_OF_TUPLES = frozenset(
    (2, 116, 132, 143, 222, 261, 273, 394, 399, 421, 424, 429, 470, 560, 579, 596, 616, 630, 726, 740, 744, 809)
)
_LISTS_OF_TUPLES = frozenset((63, 64, 70, 94, 120, 237, 272, 299, 400, 409, 417, 438, 473, 614, 780))
_FIRST_HOLDS_TUPLES = frozenset((75, 413, 444, 753))
_SECOND_IS_TUPLE = frozenset((106, 750))
_FIRST_IS_TUPLE = frozenset((250, 307, 405, 446, 617, 720, 763, 808))
_TUPLES_OF_TUPLES = frozenset((259, 401, 445))
_ALL_TUPLES = frozenset((580, 615, 791))


def restore_inputs(number: int, inputs: Iterable[list[Any]]) -> list[Any]:
    """Inputs of a problem of MBPP+ with the types that its functions take.

    Args:
        number: of the problem
        inputs: arguments as JSON holds them, call by call
    """
    return [_restore(number, arguments) for arguments in inputs]


def _restore(number: int, arguments: list[Any]) -> Any:
    if number in _ROWS_OF_TUPLES:
        return [tuple(argument) for argument in arguments]
    if number in _LISTS_OF_TUPLES:
        return [[tuple(item) for item in argument] for argument in arguments]
    if number in _FIRST_HOLDS_TUPLES:
        return [[tuple(item) for item in arguments[0]], arguments[1]]
    if number in _SECOND_IS_TUPLE:
        return [arguments[0], tuple(arguments[1])]
    if number in _FIRST_IS_TUPLE:
        return [tuple(arguments[0]), *arguments[1:]]
    if number in _TUPLES_OF_TUPLES:
        return [tuple(tuple(item) for item in argument) for argument in arguments]
    if number in _ALL_TUPLES:
        return _tuples(arguments)
    match number:
        case 115:
            return [[set(item) if isinstance(item, list) and item else {} for item in arguments[0]]]
        case 124:
            return [float(arguments[0]), complex(arguments[1])]
        case 252:
            return [complex(arguments[0])]
        case 278:
            return [tuple(tuple(item) if isinstance(item, list) else item for item in arguments[0])]
        case 722:
            return [{key: tuple(value) for key, value in arguments[0].items()}, *arguments[1:]]
    return arguments


def _tuples(value: Any) -> Any:
    """Lists as tuples, all the way down."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
