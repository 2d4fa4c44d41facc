"""Units: what sources are cut into, and what workers, restarts and the order of the shards go by.

A unit is consecutive rows of one file or split: at most ROWS_PER_UNIT of them and about BYTES_PER_UNIT. The main process only
streams units; rows are decoded where they are processed, so that nothing depends on the number of workers.
"""

import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeAlias

import pyarrow as pa

from syntaxdiff.pipeline.errors import RowError, SourceError
from syntaxdiff.pipeline.json_records import ABSENT, JsonObject, Row
from syntaxdiff.pipeline.jsonlines import decode
from syntaxdiff.pipeline.sources.snippets import snippet_rows
from syntaxdiff.pipeline.stored_settings import SourceIdentity

ROWS_PER_UNIT = 64
BYTES_PER_UNIT = 8 << 20
MAX_ROW_BYTES = 16 << 20  # a longer row is read past, never into memory


class RowsOf(Protocol):
    """What a unit carries: decodes into rows, or the error that a row is."""

    def __call__(self) -> Iterator[tuple[str, Row | RowError]]:
        """Place of each row (``line 3``), and the row."""
        ...


@dataclass(frozen=True)
class JsonRows:
    """Undecoded JSON objects: lines, or elements of an array. ``None`` stands for one over MAX_ROW_BYTES."""

    label: str  # ``line`` or ``row``
    first: int
    texts: list[bytes | None]

    def __call__(self) -> Iterator[tuple[str, Row | RowError]]:
        """See RowsOf."""
        for number, text in enumerate(self.texts, self.first):
            if text is None:
                yield f"{self.label} {number}", RowError("row-too-large", f"over {MAX_ROW_BYTES >> 20} MiB")
            elif text.strip():
                yield f"{self.label} {number}", decode(text)


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
            row = self.table.slice(index, 1)
            if row.nbytes > MAX_ROW_BYTES:
                yield RowError("row-too-large", f"over {MAX_ROW_BYTES >> 20} MiB")
                continue
            try:
                yield {name: column[0].as_py() for name, column in zip(row.column_names, row.columns, strict=True)}
            except UnicodeDecodeError as error:
                yield RowError("invalid-utf8", f"byte {error.start}: {error.reason}")
            except (ValueError, OverflowError, KeyError, pa.ArrowException) as error:  # dates and zones that Python lacks
                yield RowError("invalid-value", str(error)[:200])

    def __reduce__(self) -> tuple[Callable[[int, bytes], "ArrowRows"], tuple[int, bytes]]:
        """Pickled by Arrow's own format: pickle would take the whole buffers that a slice stands in."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self.table.schema) as writer:
            writer.write_table(self.table)
        return _arrow_rows, (self.first_row, sink.getvalue().to_pybytes())


def _arrow_rows(first_row: int, stream: bytes) -> ArrowRows:
    return ArrowRows(first_row, pa.ipc.open_stream(stream).read_all())


@dataclass(frozen=True)
class PythonFile:
    """A Python source file, whose functions and classes are rows."""

    path: Path
    module: str

    def __call__(self) -> Iterator[tuple[str, Row | RowError]]:
        """See RowsOf."""
        try:
            if self.path.stat().st_size > MAX_ROW_BYTES:
                raise RowError("row-too-large", f"over {MAX_ROW_BYTES >> 20} MiB")
            with tokenize.open(self.path) as file:
                text = file.read()
            for row in snippet_rows(text, self.module):
                yield row["id"], row
        except (SyntaxError, UnicodeDecodeError) as error:  # an encoding cookie that is unknown or wrong
            yield self.module, RowError("unparsable-file", f"{self.module}: {error}")
        except RowError as error:
            yield self.module, error
        except OSError as error:
            raise SourceError(unreadable(self.path, error)) from error


def unreadable(path: Path, error: OSError) -> str:
    """What to say where the system refuses to read a file."""
    return f"{path} cannot be read ({error.strerror or error}): mend or remove it and run the same command again"


@dataclass(frozen=True)
class Damage:
    """A file that cannot be read any further: one row that stands for what is lost."""

    file: str
    detail: str

    def __call__(self) -> Iterator[tuple[str, Row | RowError]]:
        """See RowsOf."""
        yield self.file, RowError("unreadable-file", self.detail)


@dataclass(frozen=True, kw_only=True)
class FileCursor:
    """A place in local files: index of the file, and how many of its units are done."""

    file: int
    unit: int = 0


@dataclass(frozen=True, kw_only=True)
class SplitCursor:
    """A place in the splits of a data set.

    Attributes:
        rows: of the split that are done
        state: what ``datasets`` gives to resume a stream, in a form of its own; None where rows can be counted off
    """

    split: str
    rows: int
    state: JsonObject | None = field(default=None, metadata=ABSENT)


Cursor: TypeAlias = FileCursor | SplitCursor


@dataclass(frozen=True, kw_only=True)
class Unit:
    """Consecutive rows of one file or split.

    Attributes:
        source: name of the source, as stored with each sample
        place: file or split that the rows stand in
        rows: decodes them
        advance: what the unit adds to the source's ``size``
        default_language: of the rows, where the source knows it
        cursor: where to continue after this unit, for ``Source.units``
    """

    source: str
    place: str
    rows: RowsOf
    advance: int
    cursor: Cursor
    default_language: str | None = None


class Source(Protocol):
    """A source of rows."""

    name: str
    size: int | None  # in ``unit``, for the progress bar; None where it is unknown
    unit: str

    def identity(self) -> SourceIdentity:
        """What the rows depend on, as far as it can be known without reading them."""
        ...

    def units(self, cursor: Cursor | None = None) -> Iterator[Unit]:
        """The units in order, from after ``cursor``. Raises SourceError where the source cannot be read."""
        ...
