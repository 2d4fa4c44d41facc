"""What a verification finds wrong."""

from typing import Any, NamedTuple

import numpy as np


class Fault(NamedTuple):
    """The first thing found wrong.

    ``what`` says it in words. Where they apply, the other fields say where it is and what stands there: ``row`` counts from 0
    within the file, ``column`` is one of SAMPLE_SCHEMA or a key of the manifest, and may bear an index.
    """

    file: str
    sample_id: str
    what: str
    row: int | None = None
    column: str = ""
    expected: str = ""
    found: str = ""

    def __str__(self) -> str:
        place = [self.file] + ([f"row {self.row}"] if self.row is not None else [])
        place += [f"sample {_short(self.sample_id)}"] if self.sample_id else []
        place += [f"column {self.column}" if self.row is not None else self.column] if self.column else []
        values = [f"{name} {value}" for name, value in (("expected", self.expected), ("found", self.found)) if value]
        return f"{', '.join(place)}: {self.what}" + (f" ({', '.join(values)})" if values else "")


class BrokenInvariantError(Exception):
    """An invariant that does not hold; arguments as the fields of Fault.

    ``needs_text`` says that it does not hold of the text that the ids spell, and might of the text that was given.
    """

    def __init__(self, what: str, *, column: str = "", expected: Any = "", found: Any = "", needs_text: bool = False) -> None:
        super().__init__(what)
        self.needs_text = needs_text
        self.what = what
        self.column = column
        self.expected = shown(expected)
        self.found = shown(found)

    def at(self, file: str, row: int, sample_id: str) -> Fault:
        """The fault of a row."""
        return Fault(file, sample_id, self.what, row, self.column, self.expected, self.found)


def hold(condition: bool | np.bool_, what: str, *, column: str = "", expected: Any = "", found: Any = "") -> None:
    """Raises BrokenInvariantError where a condition is false."""
    if not condition:
        raise BrokenInvariantError(what, column=column, expected=expected, found=found)


def first_difference(
    what: str, column: str, expected: np.ndarray[Any, Any], found: np.ndarray[Any, Any]
) -> BrokenInvariantError | None:
    """The first position at which two lists differ, as an error; None where they are equal."""
    if np.array_equal(expected, found):
        return None
    common = min(len(expected), len(found))
    differ = np.flatnonzero(expected[:common] != found[:common])
    if len(differ) == 0:
        return BrokenInvariantError(what, column=column, expected=f"{len(expected)} values", found=f"{len(found)} values")
    at = int(differ[0])
    return BrokenInvariantError(what, column=f"{column}[{at}]", expected=expected[at], found=found[at])


def shown(value: Any) -> str:
    """A value as text of one line, cut where it is long."""
    return _short(value if isinstance(value, str) else repr(value.item() if isinstance(value, np.generic) else value))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 80 else f"{line[:77]}…"
