"""The source ``exercises``: rows made on the spot, as many as are asked for. What they are is decided in ``exercises``."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from syntaxdiff.pipeline.errors import RowError, SourceError
from syntaxdiff.pipeline.exercises.levels import LEVELS, exercise
from syntaxdiff.pipeline.json_records import Row
from syntaxdiff.pipeline.sources.units import ROWS_PER_UNIT, Cursor, SplitCursor, Unit
from syntaxdiff.pipeline.stored_settings import ExercisesIdentity

NAME = "exercises"
FORMAT = "exercises[:LEVEL][:ROWS]"
MIN_ROWS = 10
_SPEC = re.compile(rf"{NAME}(?::(\d+))?(?::(\d+))?")
VERSION = 1  # goes up when the same level, seed and index give another row


@dataclass(frozen=True)
class ExerciseRows:
    """Consecutive rows of the stream."""

    level: int
    first: int
    count: int
    seed: int

    def __call__(self) -> Iterator[tuple[str, Row | RowError]]:
        """See RowsOf."""
        for index in range(self.first, self.first + self.count):
            drawn = exercise(self.level, index, self.seed)
            yield (
                f"exercise {index}",
                {
                    "id": drawn.exercise_id,
                    "problem_id": drawn.composition.name,
                    "prompt": drawn.statement,
                    "code": drawn.program,
                    "language": "python",
                },
            )


@dataclass
class Exercises:
    """Short Python exercises of one level."""

    level: int
    rows: int
    seed: int
    name: str = field(init=False)
    size: int | None = field(init=False)
    unit: str = "rows"

    def __post_init__(self) -> None:
        self.name = f"{NAME}:{self.level}"
        self.size = self.rows

    def identity(self) -> ExercisesIdentity:
        """See Source."""
        return ExercisesIdentity(name=self.name, rows=self.rows, stream_seed=self.seed, version=VERSION)

    def units(self, cursor: Cursor | None = None) -> Iterator[Unit]:
        """See Source."""
        assert cursor is None or isinstance(cursor, SplitCursor)  # a build's sources do not change
        for first in range(cursor.rows if cursor else 0, self.rows, ROWS_PER_UNIT):
            count = min(ROWS_PER_UNIT, self.rows - first)
            rows = ExerciseRows(self.level, first, count, self.seed)
            done = SplitCursor(split=NAME, rows=first + count)
            yield Unit(source=self.name, place=NAME, rows=rows, advance=count, cursor=done)


def names_exercises(spec: str) -> bool:
    """Whether ``--src`` asks for exercises."""
    return spec == NAME or spec.startswith(f"{NAME}:")


def open_exercises(spec: str, seed: int = 0) -> Exercises:
    """The source that ``exercises[:LEVEL][:ROWS]`` names: level 1 and the level's own number of rows unless said.

    Raises:
        SourceError: there is no such level, or it is not of that form
    """
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise SourceError(f"--src {spec}: write {FORMAT}, as in {NAME}, {NAME}:2 or {NAME}:1:5000")
    numbers = [int(text) for text in match.groups() if text is not None]
    if len(numbers) == 1 and numbers[0] >= MIN_ROWS:
        numbers.insert(0, 1)
    level = numbers[0] if numbers else 1
    if level not in LEVELS:
        raise SourceError(f"--src {spec}: there is no level {level}; choose one of {', '.join(map(str, LEVELS))}")
    rows = numbers[1] if len(numbers) == 2 else LEVELS[level].rows
    if rows < MIN_ROWS:
        raise SourceError(f"--src {spec}: ask for at least {MIN_ROWS} rows")
    return Exercises(level, rows, seed)
