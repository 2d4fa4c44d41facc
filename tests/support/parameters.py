"""Parameters of which the fast suite takes some and the slow one the rest."""

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def slow_but(fast: Collection[Any], values: Iterable[Any]) -> list[Any]:
    """The values as parameters, in their order, all but ``fast`` marked slow; a tuple is a parameter of several names."""
    return [value if value in fast else slow(value) for value in values]


def slow(value: Any) -> Any:
    """One parameter marked slow."""
    return pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=pytest.mark.slow)
