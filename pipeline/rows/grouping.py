"""By what samples are of one problem: the keys that they share.

Samples with the same statement, the same place in the data set that the statement is from, or the same id are one group, and so
are those that others connect. A group is on one side of the split (plan.py), so that validation tests no problem that training
has seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from syntaxdiff.pipeline.json_records import Row
from syntaxdiff.pipeline.rows.fields import PLACE_FIELDS

STATEMENT = "statement"
PLACE = "dataset, split, index"
FOLDER = "folder"
USUAL_FIELDS = (
    "problem_id",
    "question_id",
    "task_id",
    "exercise_id",
    "slug",
    "problem_slug",
    "question_slug",
    "title_slug",
    "titleSlug",
    "problem_name",
)
"""Fields that hold the id of a problem, whatever the source."""
OWN_ID_FIELDS = ("id", "uid", "sample_id")
"""Fields that hold the id of a row; where one repeats in a file, its rows are answers to one problem."""
PATH_FIELDS = ("path", "file_path", "filepath", "file", "filename")
NO_VALUES = ("", "-")
NONE = "none"  # the user's word for statements alone


class Key(NamedTuple):
    """One key of a sample: its kind, an index into ``Grouping.kinds``, and a text that equal samples share."""

    kind: int
    text: str


@dataclass(frozen=True)
class Grouping:
    """Which keys the samples of a build have.

    Attributes:
        fields: the user's own fields with ids of problems, or NONE; without any the usual names count
        by_folder: also the folder of a row's path
    """

    fields: tuple[str, ...] = ()
    by_folder: bool = False

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names of the kinds of keys; the first two are always there."""
        names = self.fields or (*USUAL_FIELDS, *OWN_ID_FIELDS)
        return (STATEMENT, PLACE, *(name for name in names if name != NONE), *([FOLDER] if self.by_folder else []))

    @property
    def guessed(self) -> frozenset[int]:
        """Kinds that were not asked for: one value for most samples is then taken for no id."""
        return frozenset() if self.fields else frozenset(range(2, 2 + len(USUAL_FIELDS) + len(OWN_ID_FIELDS)))

    def keys_of(self, row: Row, *, source: str, place: str, path: str | None) -> list[Key]:
        """Keys of a row but for its statement.

        Args:
            place: file or split that the row stands in
            path: of the program's own file, where the row is part of one
        """
        keys = []
        at = place_key(row)
        if at:
            keys.append(Key(1, at))
        for kind, name in enumerate(self.kinds):
            if kind < 2 or name not in row:
                continue
            value = row[name]
            if isinstance(value, bool) or not isinstance(value, str | int) or str(value).strip() in NO_VALUES:
                continue
            of_file = f"{source}/{place}/" if not self.fields and name in OWN_ID_FIELDS else ""
            keys.append(Key(kind, f"{name}:{of_file}{str(value).strip()}"))
        if self.by_folder:
            folder = _folder(path if path is not None else _first_text(row, PATH_FIELDS))
            if folder:
                keys.append(Key(len(self.kinds) - 1, f"{FOLDER}:{source}/{folder}"))
        return keys


def place_key(row: Row) -> str:
    """The place of a row's statement in the data set that it comes from; empty where the row does not name it."""
    keys = [row.get(name) for name in PLACE_FIELDS]
    return "" if any(key is None for key in keys) else "place:" + "/".join(map(str, keys))


def _first_text(row: Row, names: Sequence[str]) -> str:
    values: list[Any] = [row.get(name) for name in names]
    return next((value for value in values if isinstance(value, str) and value.strip()), "")


def _folder(path: str) -> str:
    folder = str(PurePosixPath(path.replace("\\", "/")).parent)
    return "" if folder in (".", "/") else folder
