"""JSON lines, plain or compressed: how prep, train and eval read them.

A line ends at a line feed and nowhere else. ``str.splitlines`` and files opened as text also end lines at a carriage return,
and the former at U+0085, U+2028 and others, which JSON allows in strings. So files are read as bytes, cut at line feeds, and
decoded line by line. prep streams units and keeps a bad line as a reject; whoever needs the whole file reads it here, and a bad
line is an error that names file and line.
"""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from syntaxdiff.pipeline.compression import CODEC_OF_SUFFIX, DAMAGE, codec_of_content, decompressed
from syntaxdiff.pipeline.errors import RowError, SourceError
from syntaxdiff.pipeline.json_records import Row

_SKIPPED_AT_ONCE = 1 << 20


class PlacedRow(NamedTuple):
    """A row and where it stands in its file: ``line 3``, or ``row 3`` of an array; both count from 1."""

    place: str
    row: Row


def data_suffix(path: Path) -> str:
    """The suffix that tells a file's format, its compression's left out: `.jsonl` for `a.jsonl.gz`."""
    name = path.name.lower()
    for compression in CODEC_OF_SUFFIX:
        name = name.removesuffix(compression)
    return Path(name).suffix


def bounded_lines(stream: io.BufferedReader, max_bytes: int) -> Iterator[bytes | None]:
    """Lines of a stream, each with its line feed; None for a longer one, which is read past in pieces."""
    while line := stream.readline(max_bytes + 1):
        if len(line) <= max_bytes:
            yield line
            continue
        while not line.endswith(b"\n") and (line := stream.readline(_SKIPPED_AT_ONCE)):
            pass
        yield None


def decode(text: bytes) -> Row | RowError:
    """A JSON object, or the error that a row is which holds none: ``invalid-utf8``, ``invalid-json``, ``wrong-type``."""
    try:
        row = json.loads(text.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return RowError("invalid-utf8", f"byte {error.start}: {error.reason}")
    except (ValueError, RecursionError) as error:
        return RowError("invalid-json", str(error)[:200])
    return row if isinstance(row, dict) else RowError("wrong-type", f"the row is {type(row).__name__}, not an object")


def read_lines(path: Path, *, advice: str) -> list[bytes]:
    """The lines of a file, plain or compressed, without line feeds; the last is empty where a line feed ends the file.

    Args:
        advice: what to do where the file cannot be read

    Raises:
        SourceError: it cannot be read, or its compression is damaged
    """
    try:
        with path.open("rb") as raw:
            return decompressed(raw, codec_of_content(raw)).read().split(b"\n")
    except (OSError, ValueError, *DAMAGE) as error:  # errors of pyarrow are among these
        raise SourceError(f"{path} cannot be read ({getattr(error, 'strerror', None) or error}): {advice}") from error


def read_json_lines(path: Path, *, what: str, advice: str, is_growing: bool = False) -> list[PlacedRow]:
    """The rows of a file of JSON lines, plain or compressed; blank lines are passed over.

    Args:
        what: a line is to hold, for the messages
        advice: what to do where it does not, or where the file cannot be read
        is_growing: the file is appended to: what stands after the last line feed is torn or being written, and is left out

    Raises:
        SourceError: the file cannot be read, or a line holds no JSON object
    """
    lines = read_lines(path, advice=advice)
    return _rows(path, "line", lines[:-1] if is_growing else lines, what, advice)


def read_rows(path: Path, *, what: str, advice: str) -> list[PlacedRow]:
    """The rows of a file of JSON lines or of one JSON array, plain or compressed; otherwise as ``read_json_lines``."""
    lines = read_lines(path, advice=advice)
    first = next((line for line in lines if line.removeprefix(b"\xef\xbb\xbf").strip()), b"")
    if not first.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"["):
        return _rows(path, "line", lines, what, advice)
    try:
        elements = json.loads(b"\n".join(lines).decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path} is not a JSON array ({error}): {advice}") from error
    for number, element in enumerate(elements, 1):
        if not isinstance(element, dict):
            raise SourceError(f"{path}, row {number}, is not {what} (it is {type(element).__name__}): {advice}")
    return [PlacedRow(f"row {number}", element) for number, element in enumerate(elements, 1)]


def _rows(path: Path, label: str, texts: list[bytes], what: str, advice: str) -> list[PlacedRow]:
    rows = []
    for number, text in enumerate(texts, 1):
        if not text.strip():
            continue
        row = decode(text)
        if isinstance(row, RowError):
            raise SourceError(f"{path}, {label} {number}, is not {what} ({row.detail}): {advice}")
        rows.append(PlacedRow(f"{label} {number}", row))
    return rows
