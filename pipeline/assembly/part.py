"""Parts: what one unit of a source became, one row for each of its rows, sample or reject, in their order.

Workers write parts; the assembly (assemble.py) reads them in order. A part that exists is whole; its metadata say where the
source continues after it. Parts live in ``.build/`` until the manifest is written.
"""

import gc
import hashlib
import json
import signal
import threading
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing import connection, parent_process
from os import _exit
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from syntaxdiff.pipeline.assembly.sample import Sample, make_samples, sample_table
from syntaxdiff.pipeline.errors import RowError, ShardError, SyntaxdiffError, TokenizerError
from syntaxdiff.pipeline.json_records import from_json, to_json
from syntaxdiff.pipeline.rows.fields import Fields
from syntaxdiff.pipeline.rows.grouping import Grouping
from syntaxdiff.pipeline.rows.record import Record, RecordReader, own_id
from syntaxdiff.pipeline.shard import SAMPLE_SCHEMA, written_whole
from syntaxdiff.pipeline.sources.questions import QuestionBook
from syntaxdiff.pipeline.sources.units import Cursor, PythonFile, Unit
from syntaxdiff.pipeline.tokens.codec import Codec
from syntaxdiff.pipeline.tokens.template import Template

# A reject has null in all columns of a sample; a sample has null in `reason` and `detail`.
PART_SCHEMA = pa.schema(
    [
        *SAMPLE_SCHEMA,
        ("row_source", pa.string()),
        ("source_id", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("content", pa.uint64()),
        ("problem", pa.uint64()),
        ("key", pa.list_(pa.uint64())),  # what else samples of one problem share …
        ("key_kind", pa.list_(pa.uint8())),  # … each an index into grouping.Grouping.kinds
        ("is_program_alone", pa.bool_()),  # a sample of a program with neither problem nor reasoning before it
        ("reading", pa.string()),  # of response.READINGS, empty where the program had a field of its own
        ("unused", pa.list_(pa.string())),  # fields of the row with text that were not used
        ("is_inexact", pa.bool_()),  # a sample whose ids do not spell its text
    ]
)
KEY_COLUMNS = ("reason", "content", "problem", "key", "key_kind", "length")  # what the assembly plans by
FORMAT = 2  # of parts, and of how rows are read: parts of another are made again
CHECKED_CHARS = 20_000


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that a worker needs to turn units into parts; picklable."""

    tokenizer_folder: Path
    engine: str
    template: Template
    fields: Fields
    languages: tuple[str, ...]
    max_length: int
    overlength: str
    questions: str | None
    allow_missing_prompt: bool
    use_solution: bool
    grouping: Grouping
    seed: int


@dataclass(frozen=True, kw_only=True)
class Resume:
    """Where the sources continue after a part.

    Attributes:
        source: index of the source that the part is of
        cursor: in that source, after the part's unit
        done: units of work done by then, of all sources
    """

    source: int
    cursor: Cursor
    done: int


class PartCounts(NamedTuple):
    """What a part holds: rows, samples, tokens, and rejects by reason."""

    rows: int
    samples: int
    tokens: int
    rejected: Counter[str]

    def plus(self, other: "PartCounts") -> "PartCounts":
        """Counts of both together."""
        return PartCounts(
            self.rows + other.rows,
            self.samples + other.samples,
            self.tokens + other.tokens,
            self.rejected + other.rejected,
        )


@dataclass
class Worker:
    """Turns units into part files; one per process."""

    recipe: Recipe
    codec: Codec = field(init=False)
    reader: RecordReader = field(init=False)

    def __post_init__(self) -> None:
        recipe = self.recipe
        self.codec = Codec(recipe.tokenizer_folder, recipe.engine, proven=True)
        self.reader = RecordReader(
            fields=recipe.fields,
            languages=recipe.languages,
            statements=QuestionBook(recipe.questions).statement if recipe.questions else None,
            allow_missing_prompt=recipe.allow_missing_prompt,
            use_solution=recipe.use_solution,
            grouping=recipe.grouping,
        )

    def write_part(self, unit: Unit, path: Path, resume: Resume) -> PartCounts:
        """Processes a unit and writes its part.

        Args:
            path: of the part
            resume: stored with the part: where the sources continue after it

        Raises:
            TokenizerError: the engine and the tokenizers library disagree on a text of the unit
            StorageError: the disk refused
        """
        ids, read = self._outcomes(unit)
        records = [outcome for outcome in read if isinstance(outcome, Record)]
        self._check_engine(records)
        recipe = self.recipe
        made = make_samples(records, self.codec, recipe.template, recipe.max_length, recipe.overlength)
        table = _part_table(unit.source, ids, read, made, recipe.seed)
        # Not flushed: a torn part is found out and made again. Not compressed: it is mapped into memory to be read.
        schema = table.schema.with_metadata({"resume": json.dumps(to_json(resume))})
        with written_whole(path, durable=False) as temporary, pa.ipc.new_file(temporary, schema) as writer:
            writer.write_table(table)
        return counts_of(table)

    def _outcomes(self, unit: Unit) -> tuple[list[str], list[Record | RowError]]:
        """Own id or place of each row of a unit, and the record that it is or why it was rejected."""
        ids: list[str] = []
        outcomes: list[Record | RowError] = []
        for place, row in unit.rows():
            where = f"{unit.place}: {place}"
            if isinstance(row, RowError):
                ids.append(where)
                outcomes.append(row)
                continue
            ids.append(printable(own_id(row)) or where)
            try:
                path = unit.place if isinstance(unit.rows, PythonFile) else None
                record = self.reader.read(
                    row, source=unit.source, place=unit.place, path=path, default_language=unit.default_language
                )
                outcomes.append(record.mapped(self.codec.normalize))
            except RowError as error:
                outcomes.append(error)
        return ids, outcomes

    def _check_engine(self, records: list[Record]) -> None:
        """Holds a fast engine to the tokenizers library's ids on one text of every unit."""
        if not records:
            return
        text = self.codec.normalize(max((record.code for record in records), key=len)[:CHECKED_CHARS])
        if self.codec.disagreement([text]) is not None:
            raise TokenizerError(
                f"{self.codec.engine_name} gives other ids than the tokenizers library on a text of "
                f"{records[0].source}: build again with --engine hf, into another folder"
            )


def printable(text: str) -> str:
    """The text with what UTF-8 cannot hold replaced, for ids and details of rejects."""
    return text.encode("utf-8", errors="replace").decode()


def _part_table(
    source: str, ids: list[str], read: list[Record | RowError], made: list[Sample | RowError], seed: int
) -> pa.Table:
    """The part of a unit: what was read of each row, and what was made of each record."""
    outcomes = iter(zip((record for record in read if isinstance(record, Record)), made, strict=True))
    rows = [(None, row) if isinstance(row, RowError) else next(outcomes) for row in read]
    samples = [outcome for _, outcome in rows if isinstance(outcome, Sample)]
    index_of_sample = np.cumsum([isinstance(outcome, Sample) for _, outcome in rows]) - 1
    errors = [outcome if isinstance(outcome, RowError) else None for _, outcome in rows]
    table = sample_table(samples)
    if len(samples) < len(rows):
        take = [None if error else int(index) for error, index in zip(errors, index_of_sample, strict=True)]
        table = table.take(pa.array(take, pa.int64()))
    columns = table.columns
    columns += [
        pa.array([source] * len(rows), pa.string()),
        pa.array(ids, pa.string()),
        pa.array([error.reason if error else None for error in errors], pa.string()),
        pa.array([printable(error.detail) if error else None for error in errors], pa.string()),
        pa.array([int(record.content_hash, 16) if record else 0 for record, _ in rows], pa.uint64()),
        pa.array([_key_hash(record.problem, seed) if record else 0 for record, _ in rows], pa.uint64()),
        pa.array(
            [[_key_hash(key.text, seed) for key in record.keys] if record else [] for record, _ in rows],
            PART_SCHEMA.field("key").type,
        ),
        pa.array(
            [[key.kind for key in record.keys] if record else [] for record, _ in rows], PART_SCHEMA.field("key_kind").type
        ),
        pa.array([record is not None and not record.prompt and not record.reasoning for record, _ in rows], pa.bool_()),
        pa.array([record.reading if record else None for record, _ in rows], pa.string()),
        pa.array([record.unused if record else None for record, _ in rows], pa.list_(pa.string())),
        pa.array([isinstance(outcome, Sample) and not outcome.is_exact for _, outcome in rows], pa.bool_()),
    ]
    return pa.table(columns, schema=PART_SCHEMA)


def _key_hash(key: str, seed: int) -> int:
    digest = hashlib.blake2b(key.encode("utf-8", errors="replace"), digest_size=8, salt=seed.to_bytes(16, "little"))
    return int.from_bytes(digest.digest(), "little")


def counts_of(table: pa.Table) -> PartCounts:
    """Counts of a part."""
    reasons = Counter(reason for reason in table["reason"].to_pylist() if reason is not None)
    tokens = int(np.sum(table["length"].drop_null().to_numpy()))
    return PartCounts(table.num_rows, table.num_rows - reasons.total(), tokens, reasons)


def read_part(path: Path, columns: tuple[str, ...] = tuple(PART_SCHEMA.names)) -> tuple[pa.Table, Resume]:
    """Columns of a part, and where the sources continue after it.

    Raises:
        ShardError: the part is torn or damaged
    """
    try:
        options = pa.ipc.IpcReadOptions(included_fields=[PART_SCHEMA.get_field_index(name) for name in columns])
        with pa.memory_map(str(path)) as file, pa.ipc.open_file(file, options=options) as reader:
            resume = from_json(Resume, json.loads(reader.schema.metadata[b"resume"]))
            return reader.read_all(), resume
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise ShardError(f"{path} is damaged ({error}): remove it and run the same command again") from error


_worker: Worker | SyntaxdiffError | None = None


def start_worker(recipe: Recipe) -> None:
    """Initialiser of a worker process."""
    global _worker
    follow_parent()
    try:
        _worker = Worker(recipe)
        gc.freeze()  # vocabulary and grammars stay: no collection walks them again
    except SyntaxdiffError as error:  # raised where the main process listens: in the first piece of work
        _worker = error


def follow_parent() -> None:
    """Makes a worker process leave Ctrl-C to the main process, and end when that one does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    _exit(1)


def work(unit: Unit, path: Path, resume: Resume) -> PartCounts:
    """Runs Worker.write_part in a worker process."""
    assert _worker is not None  # start_worker came first
    if isinstance(_worker, SyntaxdiffError):
        raise _worker
    return _worker.write_part(unit, path, resume)
