"""Units: what sources are cut into, and what workers, restarts and the order of the shards go by.

A unit is consecutive rows of one file or split: at most ROWS_PER_UNIT of them and about BYTES_PER_UNIT. The main process only
streams units; rows are decoded where they are processed, so that nothing depends on the number of workers.
"""

import json
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import pyarrow as pa

from syntaxdiff.pipeline.errors import RowError
from syntaxdiff.pipeline.snippets import snippet_rows

ROWS_PER_UNIT = 64
BYTES_PER_UNIT = 8 << 20
MAX_ROW_BYTES = 16 << 20  # a longer row is read past, never into memory

Row: TypeAlias = dict[str, Any]


class RowsOf(Protocol):
    """What a unit carries: decodes into rows, or the error that a row is."""

    def __call__(self) -> Iterator[tuple[str, Row | RowError]]:
        """Place of each row (``line 3``), and the row."""
        ...


@dataclass(frozen=True)
class JsonLines:
    """Undecoded lines. ``None`` stands for a line over MAX_ROW_BYTES."""

    first_line: int
    lines: list[bytes | None]

    def __call__(self) -> Iterator[tuple[str, Row | RowError]]:
        """See RowsOf."""
        for number, line in enumerate(self.lines, self.first_line):
            if line is None:
                yield f"line {number}", RowError("row-too-large", f"over {MAX_ROW_BYTES >> 20} MiB")
            elif line.strip():
                yield f"line {number}", _decode(line)


def _decode(line: bytes) -> Row | RowError:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return RowError("invalid-utf8", f"byte {error.start}: {error.reason}")
    except (ValueError, RecursionError) as error:
        return RowError("invalid-json", str(error)[:200])
    return row if isinstance(row, dict) else RowError("wrong-type", f"the row is {type(row).__name__}, not an object")


@dataclass(frozen=True)
class ArrowRows:
    """Rows of a Parquet file, a saved data set or the hub."""

    first_row: int
    table: pa.Table

    def __call__(self) -> Iterator[tuple[str, Row | RowError]]:
        """See RowsOf."""
        for number, row in enumerate(self._decoded(), self.first_row):
            yield f"row {number}", row

    def _decoded(self) -> Iterator[Row | RowError]:
        for index in range(self.table.num_rows):
            try:
                yield self.table.slice(index, 1).to_pylist()[0]
            except UnicodeDecodeError as error:
                yield RowError("invalid-utf8", f"byte {error.start}: {error.reason}")


@dataclass(frozen=True)
class JsonRows:
    """Rows of a JSON array, already decoded."""

    first_row: int
    rows: list[Any]

    def __call__(self) -> Iterator[tuple[str, Row | RowError]]:
        """See RowsOf."""
        for number, row in enumerate(self.rows, self.first_row):
            bad = RowError("wrong-type", f"the row is {type(row).__name__}, not an object")
            yield f"row {number}", row if isinstance(row, dict) else bad


@dataclass(frozen=True)
class PythonFile:
    """A Python source file, whose functions and classes are rows."""

    path: Path
    module: str

    def __call__(self) -> Iterator[tuple[str, Row | RowError]]:
        """See RowsOf."""
        try:
            with tokenize.open(self.path) as file:
                text = file.read()
            for row in snippet_rows(text, self.module):
                yield row["id"], row
        except (SyntaxError, UnicodeDecodeError) as error:  # an encoding cookie that is unknown or wrong
            yield self.module, RowError("unparsable-file", f"{self.module}: {error}")
        except RowError as error:
            yield self.module, error


@dataclass(frozen=True)
class Damage:
    """A file that cannot be read any further: one row that stands for what is lost."""

    file: str
    detail: str

    def __call__(self) -> Iterator[tuple[str, Row | RowError]]:
        """See RowsOf."""
        yield self.file, RowError("unreadable-file", self.detail)


@dataclass(frozen=True, kw_only=True)
class Unit:
    """Consecutive rows of one file or split.

    Attributes:
        source: name of the source, as stored with each sample
        place: file or split that the rows stand in
        rows: decodes them
        advance: what the unit adds to the source's ``size``
        default_language: of the rows, where the source knows it
        cursor: where to go on after this unit, for ``Source.units``
    """

    source: str
    place: str
    rows: RowsOf
    advance: int
    cursor: dict[str, Any]
    default_language: str | None = None


class Source(Protocol):
    """A source of rows."""

    name: str
    size: int | None  # in ``unit``, for the progress bar; None where it is unknown
    unit: str

    def identity(self) -> dict[str, Any]:
        """What the rows depend on, as far as it can be known without reading them."""
        ...

    def units(self, cursor: dict[str, Any] | None = None) -> Iterator[Unit]:
        """The units in order, from after ``cursor``. Raises SourceError where the source cannot be read."""
        ...
