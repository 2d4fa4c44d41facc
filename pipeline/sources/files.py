"""Local files as sources: JSON lines, JSON arrays and Parquet, plain or compressed, and Python source files.

A damaged file ends in one reject that says so, with what was read before it kept; one that the system refuses to read is
an error, since that can be mended.
"""

import hashlib
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from syntaxdiff.pipeline import compression
from syntaxdiff.pipeline.compression import codec_of_name, decompressed
from syntaxdiff.pipeline.errors import SourceError
from syntaxdiff.pipeline.jsonlines import bounded_lines, data_suffix
from syntaxdiff.pipeline.sources.snippets import module_name
from syntaxdiff.pipeline.sources.units import (
    BYTES_PER_UNIT,
    MAX_ROW_BYTES,
    ROWS_PER_UNIT,
    ArrowRows,
    Cursor,
    Damage,
    FileCursor,
    JsonRows,
    PythonFile,
    RowsOf,
    Unit,
    unreadable,
)
from syntaxdiff.pipeline.stored_settings import FileIdentity, FilesIdentity

DATA_SUFFIXES = (".jsonl", ".ndjson", ".json", ".parquet")
DAMAGE = (*compression.DAMAGE, UnicodeDecodeError, OverflowError, pa.ArrowException)
SKETCH_BYTES = 1 << 16

T = TypeVar("T")


def common_root(files: list[Path]) -> Path:
    """The deepest folder above all files; the current one where there are none."""
    parents = [set(file.parents) for file in files]
    shared = set.intersection(*parents) if parents else set()
    return max(shared, key=lambda folder: len(folder.parts), default=Path())


@dataclass
class PythonFiles:
    """Functions and classes of Python files."""

    name: str
    files: list[Path]
    root: Path | None  # None: each file's own import root below the standard library
    size: int | None = field(init=False)
    unit: str = "files"

    def __post_init__(self) -> None:
        self.size = len(self.files)
        self._root = self.root if self.root is not None else common_root(self.files)

    def identity(self) -> FilesIdentity:
        """See Source."""
        return FilesIdentity(name=self.name, files=_identities(self.files, self._root))

    def units(self, cursor: Cursor | None = None) -> Iterator[Unit]:
        """See Source."""
        for index in range(_start(cursor).file, len(self.files)):
            path = self.files[index]
            rows = PythonFile(path, module_name(path, self._root))
            place = _place(path, self._root)
            yield Unit(source=self.name, place=place, rows=rows, advance=1, cursor=FileCursor(file=index + 1))


def _start(cursor: Cursor | None) -> FileCursor:
    """Where to continue, or the beginning."""
    if cursor is None:
        return FileCursor(file=0)
    assert isinstance(cursor, FileCursor)  # a build's sources do not change
    return cursor


def _identities(files: list[Path], root: Path) -> tuple[FileIdentity, ...]:
    return tuple(FileIdentity(_place(file, root), _size(file), _sketch(file)) for file in files)


def _place(path: Path, root: Path) -> str:
    """Path below a root; bytes that are not UTF-8 are replaced."""
    return path.relative_to(root).as_posix().encode("utf-8", errors="replace").decode()


def _sketch(path: Path) -> str:
    """Hash of 64 KiB at the beginning, in the middle and at the end: an edit elsewhere that keeps the size goes unseen."""
    digest = hashlib.blake2b(digest_size=8)
    try:
        with path.open("rb") as file:
            for position in (0, _size(path) // 2, max(0, _size(path) - SKETCH_BYTES)):
                file.seek(position)
                digest.update(file.read(SKETCH_BYTES))
    except OSError as error:
        raise SourceError(unreadable(path, error)) from error
    return digest.hexdigest()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise SourceError(unreadable(path, error)) from error


@dataclass
class DataFiles:
    """JSON lines, JSON arrays and Parquet files, in the order of their paths."""

    name: str
    files: list[Path]
    root: Path
    size: int | None = field(init=False)
    unit: str = "bytes"

    def __post_init__(self) -> None:
        self.size = sum(_size(file) for file in self.files)

    def identity(self) -> FilesIdentity:
        """See Source."""
        return FilesIdentity(name=self.name, files=_identities(self.files, self.root))

    def units(self, cursor: Cursor | None = None) -> Iterator[Unit]:
        """See Source."""
        start = _start(cursor)
        skip = start.unit
        for index in range(start.file, len(self.files)):
            path = self.files[index]
            place = _place(path, self.root)
            done_bytes = 0
            for number, (rows, position) in enumerate(self._read(path, place)):
                if number >= skip:
                    yield Unit(
                        source=self.name,
                        place=place,
                        rows=rows,
                        advance=position - done_bytes,
                        cursor=FileCursor(file=index, unit=number + 1),
                    )
                done_bytes = position
            skip = 0

    def _read(self, path: Path, place: str) -> Iterator[tuple[RowsOf, int]]:
        """Rows of a file in units, with the bytes of the file read so far; a damaged file ends in one unit that says so."""
        try:
            with path.open("rb") as raw:
                if data_suffix(path) == ".parquet":
                    yield from _parquet_units(raw, _size(path))
                    return
                for rows in _json_units(raw, path):
                    yield rows, min(raw.tell(), _size(path))
        except DAMAGE as error:
            yield Damage(place, f"{path.name}: {error}"), path.stat().st_size
        except OSError as error:
            if error.errno is not None:
                raise SourceError(unreadable(path, error)) from error
            yield Damage(place, f"{path.name}: {error}"), path.stat().st_size  # pyarrow's, for damaged pages and streams


def _parquet_units(raw: io.BufferedReader, num_bytes: int) -> Iterator[tuple[RowsOf, int]]:
    first_row = 0
    parquet = pq.ParquetFile(raw)
    for batch in parquet.iter_batches(batch_size=ROWS_PER_UNIT):
        for table in _cut_by_bytes(pa.Table.from_batches([batch])):
            rows = ArrowRows(first_row, table)
            first_row += table.num_rows
            yield rows, num_bytes * first_row // parquet.metadata.num_rows  # batches are read ahead: no place in the file


def _cut_by_bytes(table: pa.Table) -> Iterator[pa.Table]:
    pieces = -(-table.nbytes // BYTES_PER_UNIT)
    rows = max(1, table.num_rows // max(1, pieces))
    for start in range(0, table.num_rows, rows):
        yield table.slice(start, rows)


def _json_units(raw: io.BufferedReader, path: Path) -> Iterator[RowsOf]:
    stream = decompressed(raw, codec_of_name(path))
    if data_suffix(path) == ".json" and _opens_array(stream):
        yield from _array_units(stream)
    else:
        yield from _line_units(stream)


def _opens_array(stream: io.BufferedReader) -> bool:
    return stream.peek(4096)[:4096].removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")


def _array_units(stream: io.BufferedReader) -> Iterator[RowsOf]:
    return _row_units("row", 0, _bounded_elements(stream))


def _line_units(stream: io.BufferedReader) -> Iterator[RowsOf]:
    return _row_units("line", 1, bounded_lines(stream, MAX_ROW_BYTES))


def _row_units(label: str, first: int, texts: Iterator[bytes | None]) -> Iterator[RowsOf]:
    for group in _grouped(texts, lambda text: len(text or b"")):
        yield JsonRows(label, first, group)
        first += len(group)


def _grouped(items: Iterator[T], num_bytes: Callable[[T], int]) -> Iterator[list[T]]:
    """Items in groups of a unit's size; where the stream breaks, what came before the break is a group of its own."""
    group: list[T] = []
    size = 0
    try:
        for item in items:
            group.append(item)
            size += num_bytes(item)
            if len(group) == ROWS_PER_UNIT or size >= BYTES_PER_UNIT:
                yield group
                group, size = [], 0
    except (*DAMAGE, OSError):
        if group:
            yield group
        raise
    if group:
        yield group


_ARRAY_MARK = re.compile(rb'["\[\]{},]')
_REST_OF_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)


def _bounded_elements(stream: io.BufferedReader) -> Iterator[bytes | None]:
    """Elements of a JSON array, undecoded; None for one over MAX_ROW_BYTES, which is read past in pieces.

    Cuts at the commas of the outermost level and looks at nothing else, so that an element that is not JSON costs only itself.
    """
    element = bytearray()
    num_bytes = depth = 0
    in_string = False
    while chunk := stream.read1(1 << 16):
        while chunk.endswith(b"\\") and (more := stream.read(1)):  # an escape is two bytes
            chunk += more
        begin = position = 0
        while position < len(chunk):
            if in_string:
                rest_of_string = _REST_OF_STRING.match(chunk, position)
                assert rest_of_string is not None  # it matches nothing, too
                in_string = rest_of_string.end() == len(chunk)
                position = rest_of_string.end() + 1
                continue
            match = _ARRAY_MARK.search(chunk, position)
            if match is None:
                break
            position = match.end()
            if match[0] == b'"':
                in_string = True
            elif match[0] in b"[{":
                depth += 1
                if depth == 1:
                    begin = position
            elif depth > 1:
                depth -= match[0] != b","
            else:
                num_bytes += match.start() - begin
                element += chunk[begin : match.start()]
                yield bytes(element) if num_bytes <= MAX_ROW_BYTES else None
                element, num_bytes, begin = bytearray(), 0, position
                if match[0] != b",":
                    _read_blanks(chunk[position:], stream)
                    return
        num_bytes += len(chunk) - begin
        element += chunk[begin:] if num_bytes <= MAX_ROW_BYTES else b""
    if depth == 1 and not in_string and element:
        yield bytes(element)
    raise EOFError("the file ends in the middle of the array")


def _read_blanks(rest: bytes, stream: io.BufferedReader) -> None:
    while not rest.strip():
        rest = stream.read1(1 << 16)
        if not rest:
            return
    raise EOFError("there is more after the end of the array")
