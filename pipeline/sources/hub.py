"""Data sets on the hub, local folders laid out like one, and saved data sets, streamed through ``datasets``."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from syntaxdiff.pipeline.errors import SourceError
from syntaxdiff.pipeline.sources.units import ROWS_PER_UNIT, ArrowRows, Cursor, FileCursor, SplitCursor, Unit
from syntaxdiff.pipeline.stored_settings import HubIdentity, SavedIdentity, TableIdentity
from syntaxdiff.pipeline.syntax.languages import LANGUAGES

OPEN_CODE_REASONING = "nvidia/OpenCodeReasoning"
_DEFAULT_SUBSET = {OPEN_CODE_REASONING: "split_0"}


@dataclass(frozen=True, kw_only=True)
class HubOptions:
    """What to take of a data set on the hub, or of a local folder laid out like one."""

    subset: str | None = None
    split: str | None = None
    revision: str | None = None

    @property
    def given(self) -> bool:
        """Whether any is set."""
        return any((self.subset, self.split, self.revision))


@dataclass
class HubDataset:
    """A data set that ``datasets`` can stream: by its name on the hub, or a local folder with the same layout."""

    name: str
    path: str
    options: HubOptions
    size: int | None = field(init=False, default=None)
    unit: str = "rows"

    def __post_init__(self) -> None:
        import datasets

        subset = self.options.subset or _DEFAULT_SUBSET.get(self.path)
        try:
            builder = datasets.load_dataset_builder(self.path, subset, revision=self.options.revision)
            streams = builder.as_streaming_dataset()
        except Exception as error:  # datasets raises ValueError, FileNotFoundError, ConnectionError, and its own kinds
            raise SourceError(f"--src {self.path}: {_one_line(error)}") from error
        known = list(streams)
        self._subset = builder.config.name
        self._hash = builder.hash  # of the commit on the hub, so that a build over a data set that changed is not resumed
        self._splits = choose_splits(self.path, known, self.options.split)
        self._streams = {split: streams[split] for split in self._splits}
        counts = [(builder.info.splits or {}).get(split) for split in self._splits]
        if all(count is not None and count.num_examples for count in counts):
            self.size = sum(count.num_examples for count in counts if count is not None)

    def identity(self) -> HubIdentity:
        """See source.Source."""
        return HubIdentity(
            name=self.name,
            subset=self._subset,
            splits=tuple(self._splits),
            revision=self.options.revision,
            hash=self._hash,
        )

    def units(self, cursor: Cursor | None = None) -> Iterator[Unit]:
        """See source.Source. A cursor holds the state that ``datasets`` gives for a stream: files read are not read again."""
        assert not isinstance(cursor, FileCursor)  # a build's sources do not change
        for split in self._splits[self._splits.index(cursor.split) if cursor else 0 :]:
            stream = self._streams[split].with_format("arrow")  # a new one: a stream keeps the state it was given
            first_row = 0
            if cursor and cursor.split == split:
                stream.load_state_dict(cursor.state)
                first_row = cursor.rows
            try:
                for table in stream.iter(batch_size=ROWS_PER_UNIT):
                    rows = ArrowRows(first_row, table)
                    first_row += table.num_rows
                    yield Unit(
                        source=self.name,
                        place=f"{self._subset}/{split}",
                        rows=rows,
                        advance=table.num_rows,
                        cursor=SplitCursor(split=split, state=stream.state_dict(), rows=first_row),
                        default_language=split if split in LANGUAGES else None,
                    )
            except GeneratorExit:
                raise
            except Exception as error:  # whatever fsspec, the hub or pyarrow make of a broken stream
                raise SourceError(
                    f"--src {self.path}: the stream broke after {first_row} rows of {split} ({_one_line(error)}): "
                    "run the same command again, it resumes"
                ) from error


def choose_splits(path: str, known: list[str], asked: str | None) -> list[str]:
    """The splits to read: those asked for (``python,cpp``), else ``train``, else all.

    Raises:
        SourceError: one that was asked for does not exist
    """
    wanted = (
        list(dict.fromkeys(asked.replace("+", ",").split(",")))
        if asked
        else [split for split in known if split == "train"] or known
    )
    missing = [split for split in wanted if split not in known]
    if missing:
        raise SourceError(f"--src {path}: there is no split {', '.join(missing)}; there are {', '.join(known)}")
    return wanted


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:400] or type(error).__name__


@dataclass
class SavedDataset:
    """A folder that ``datasets`` wrote with ``save_to_disk``: one data set, or one per split."""

    name: str
    folder: Path
    options: HubOptions
    size: int | None = field(init=False)
    unit: str = "rows"

    def __post_init__(self) -> None:
        import datasets

        try:
            saved = datasets.load_from_disk(str(self.folder))
        except Exception as error:  # pyarrow's and datasets' own kinds
            raise SourceError(f"--src {self.folder}: the saved data set cannot be read ({_one_line(error)})") from error
        tables = saved if isinstance(saved, datasets.DatasetDict) else {str(saved.split or "train"): saved}
        splits = choose_splits(str(self.folder), list(tables), self.options.split)
        self._tables = {split: tables[split].with_format("arrow") for split in splits}
        self.size = sum(len(table) for table in self._tables.values())

    def identity(self) -> SavedIdentity:
        """See source.Source."""
        splits = {split: TableIdentity(len(table), table._fingerprint) for split, table in self._tables.items()}
        return SavedIdentity(name=self.name, splits=splits)

    def units(self, cursor: Cursor | None = None) -> Iterator[Unit]:
        """See source.Source."""
        assert not isinstance(cursor, FileCursor)  # a build's sources do not change
        splits = list(self._tables)
        for split in splits[splits.index(cursor.split) if cursor else 0 :]:
            table = self._tables[split]
            begin = cursor.rows if cursor and cursor.split == split else 0
            for first_row in range(begin, len(table), ROWS_PER_UNIT):
                end_row = min(first_row + ROWS_PER_UNIT, len(table))
                yield Unit(
                    source=self.name,
                    place=split,
                    rows=ArrowRows(first_row, table[first_row:end_row]),
                    advance=end_row - first_row,
                    cursor=SplitCursor(split=split, rows=end_row),
                    default_language=split if split in LANGUAGES else None,
                )
