"""What a row of a benchmark's file holds, and how rows are read and checked. Each benchmark declares its format."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from syntaxdiff.eval.problems.problem import Problem
from syntaxdiff.pipeline.errors import SourceError
from syntaxdiff.pipeline.json_records import Row
from syntaxdiff.pipeline.jsonlines import PlacedRow, read_rows


@dataclass(frozen=True, kw_only=True)
class RowFormat:
    """The rows of a benchmark's file.

    Attributes:
        name: of the benchmark, for messages
        listed: its fields, for messages
        fields: those that every row has
        foreign: fields that only rows of other benchmarks have
        parse: makes the problem of a row
    """

    name: str
    listed: str
    fields: frozenset[str]
    foreign: frozenset[str] = frozenset()
    parse: Callable[[Row], Problem]

    @property
    def expected(self) -> str:
        """Name and fields, for messages."""
        return f"{self.name} ({self.listed})"

    def fits(self, row: Row) -> bool:
        """Whether a row has this format."""
        return self.fields <= row.keys() and not self.foreign & row.keys()

    def is_format_of(self, file: Path) -> bool:
        """Whether the first row of a file has all fields. Raises SourceError where it cannot be read."""
        rows = _read_any_rows(file)
        return bool(rows) and self.fields <= rows[0].row.keys()


def read_rows_of(file: Path, wanted: RowFormat, known: Sequence[RowFormat]) -> list[Row]:
    """The rows of a file, each with the fields of a format.

    Args:
        wanted: the format of each row
        known: formats that a message may name where the file has another one

    Raises:
        SourceError: the file cannot be read, is empty, or holds something else
    """
    rows = _read_any_rows(file)
    if not rows:
        raise SourceError(f"{file} holds no problems, expected {wanted.expected}")
    for place, row in rows:
        if wanted.fits(row):
            continue
        missing = wanted.fields - row.keys()
        fault = f"{place} has no {', '.join(sorted(missing))}" if missing else f"{place} is of another benchmark"
        similar = next((f"; this looks like {other.name}" for other in known if other.fits(row)), "")
        raise SourceError(f"{file}: {fault}, expected {wanted.expected}{similar}")
    return [row for _, row in rows]


def _read_any_rows(file: Path) -> list[PlacedRow]:
    """Rows of JSON lines or of one JSON array, plain or compressed: detected from the content."""
    return read_rows(file, what="a problem as JSON", advice="expected the problems of a benchmark")
