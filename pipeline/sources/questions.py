"""Statements that a data set leaves out (``-``), fetched by data set, split and index from where they come from.

OpenCodeReasoning's split_1 and all of OpenCodeReasoning-2 name a row of TACO, APPS, CodeContests or open-r1/codeforces. Which
fields make the statement is what the data sets' cards say.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from syntaxdiff.pipeline.errors import RowError, SettingsError
from syntaxdiff.pipeline.json_records import Row

HUB = "hub"


class Origin(NamedTuple):
    """Where a data set's statements are: its name and place on the hub, and how a row reads as a statement."""

    hub_name: str
    data_files: str | None  # where the hub's repository needs telling: a loading script is never run
    revision: str | None
    statement: Callable[[Row], str | None]


def _codeforces(row: Row) -> str | None:
    if not row["description"]:
        return None
    parts = [row["description"]]
    parts += [
        f"{title}\n\n{row[name]}" for title, name in (("Input", "input_format"), ("Output", "output_format")) if row.get(name)
    ]
    if row.get("examples"):
        parts.append("Examples")
        for example in row["examples"]:
            parts += [f"{name.title()}\n\n{example[name]}" for name in ("input", "output") if name in example]
    if row.get("note"):
        parts.append(f"Note\n\n{row['note']}")
    return "\n\n".join(parts)


ORIGINS: dict[str, Origin] = {
    "taco": Origin("BAAI/TACO", "ALL/{split}-*", None, lambda row: row["question"]),
    # The converted branch holds four overlapping subsets: without the folder, `index` would point elsewhere.
    "apps": Origin("codeparrot/apps", "all/{split}/*.parquet", "refs/convert/parquet", lambda row: row["question"]),
    "code_contests": Origin("deepmind/code_contests", None, None, lambda row: row["description"]),
    "open-r1/codeforces": Origin("open-r1/codeforces", None, None, _codeforces),
}


@dataclass
class QuestionBook:
    """Looks statements up; data sets are opened when first asked for and read from disk, not held in memory.

    Args:
        place: ``hub``, or a local folder with one folder a data set (``taco``, ``apps``, ``code_contests``, ``codeforces``),
            each readable by ``datasets``: files named for their split, as JSON lines or Parquet
    """

    place: str
    _opened: dict[tuple[str, str], Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.place == HUB:
            return
        try:
            is_folder = Path(self.place).expanduser().is_dir()
        except (OSError, RuntimeError):  # a name too long, a home that is unknown
            is_folder = False
        if not is_folder:
            raise SettingsError(f"--questions {self.place}: there is no such folder (or say `{HUB}`)")

    def statement(self, dataset: str, split: str, index: str) -> str:
        """The statement of one problem. Raises RowError ``missing-question`` where it cannot be had."""
        if dataset not in ORIGINS:
            raise RowError("missing-question", f"data set {dataset!r} is none of {', '.join(ORIGINS)}")
        try:
            rows = self._rows(dataset, split)
            if int(index) < 0:
                raise IndexError("a negative index")
            statement = ORIGINS[dataset].statement(rows[int(index)])
        except (ValueError, IndexError, KeyError, TypeError) as error:
            raise RowError("missing-question", f"{dataset}/{split}/{index}: {error}") from error
        if not isinstance(statement, str) or not statement.strip():
            raise RowError("missing-question", f"{dataset}/{split}/{index} is empty at its source")
        return statement

    def _rows(self, dataset: str, split: str) -> Any:
        if (dataset, split) not in self._opened:
            self._opened[dataset, split] = self._load(dataset, split)
        return self._opened[dataset, split]

    def _load(self, dataset: str, split: str) -> Any:
        import datasets

        datasets.disable_progress_bars()  # a build has one of its own
        origin = ORIGINS[dataset]
        try:
            if self.place == HUB:
                files = {split: origin.data_files.format(split=split)} if origin.data_files else None
                return datasets.load_dataset(origin.hub_name, data_files=files, revision=origin.revision, split=split)
            folder = Path(self.place).expanduser() / dataset.rsplit("/", maxsplit=1)[-1]
            if not folder.is_dir():  # `datasets` would take it for a name on the hub
                raise FileNotFoundError(f"there is no folder {folder}")
            return datasets.load_dataset(str(folder), split=split)
        except Exception as error:  # datasets raises ValueError, FileNotFoundError, ConnectionError, and its own kinds
            cause = " ".join(str(error.__cause__ or error).split())[:400] or type(error).__name__
            raise SettingsError(
                f"--questions {self.place}: {dataset}, split {split} cannot be read ({cause}); "
                "mend it, or leave --questions out to reject such rows or --allow-missing-prompt to keep them"
            ) from error
