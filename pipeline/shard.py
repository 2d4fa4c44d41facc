"""The contract between prep, train and eval: schema, regions, and how shards are written and read; the manifest with them.

Imports the standard library and pyarrow alone, so that a reader costs a trainer nothing else. What the manifest holds is
declared in manifest.py; its names are here too, as whoever reads shards needs both.
How samples are made is not here (see sample.py), nor what holds between the columns (see verification.py).

A folder of shards holds ``manifest.json`` (written last: its presence means complete), ``train/shard-00000.parquet`` …,
``validation/shard-00000.parquet`` …, ``rejects.parquet``, and ``tokenizer/``.
"""

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from enum import IntEnum
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from syntaxdiff.pipeline.errors import SettingsError, ShardError, StorageError
from syntaxdiff.pipeline.manifest import MANIFEST as MANIFEST
from syntaxdiff.pipeline.manifest import SCHEMA_VERSION as SCHEMA_VERSION
from syntaxdiff.pipeline.manifest import WORK_FOLDER as WORK_FOLDER
from syntaxdiff.pipeline.manifest import LanguageKinds as LanguageKinds
from syntaxdiff.pipeline.manifest import Manifest as Manifest
from syntaxdiff.pipeline.manifest import ShardFile as ShardFile
from syntaxdiff.pipeline.manifest import TokenIds as TokenIds
from syntaxdiff.pipeline.manifest import read_manifest as read_manifest
from syntaxdiff.pipeline.splits import SPLITS as SPLITS

REJECTS = "rejects.parquet"
TOKENIZER = "tokenizer"
ROWS_PER_GROUP = 128  # 64 to 256 rows cost nothing against one large group, and make shuffling fine


class Region(IntEnum):
    """What a token belongs to; a token's region is that of its anchor."""

    PROMPT = 0  # never corrupted: the problem, template and header tokens
    REASONING = 1  # corrupted token by token, with its <think> tags
    CODE = 2  # corrupted by strategy
    SCAFFOLD = 3  # corrupted token by token: fences, end of turn, end of text


class Role(IntEnum):
    """Class of a code token for the AST-token baseline (the paper's table of node types)."""

    OTHER = 0  # punctuation and literals always, and what no listed node holds
    ASSIGNMENT_OR_CALL = 1
    CONDITIONAL = 2
    CONTROL_FLOW = 3


SAMPLE_SCHEMA = pa.schema(
    [
        ("sample_id", pa.string()),
        ("input_ids", pa.list_(pa.int32())),
        ("region_label", pa.list_(pa.uint8())),  # regions as runs: label …
        ("region_end", pa.list_(pa.int32())),  # … and exclusive token index where the run ends
        ("role", pa.list_(pa.uint8())),  # of the code tokens, in order
        ("leaf_kind", pa.list_(pa.uint16())),  # of the code tokens: index into the language's node kinds
        ("span_start", pa.list_(pa.int32())),  # half-open token intervals in input_ids, in pre-order
        ("span_end", pa.list_(pa.int32())),
        ("span_kind", pa.list_(pa.uint16())),
        ("span_arity", pa.list_(pa.uint8())),  # number of children, 255 where there are more
        ("span_parent", pa.list_(pa.int32())),  # index of the smallest span around it, -1 at the top
        ("length", pa.int32()),
        ("span_depth", pa.int32()),  # deepest nesting of the spans, 0 where there are none
        ("language", pa.string()),
        ("source", pa.string()),
        ("truncated", pa.bool_()),  # the middle of the reasoning was cut
        ("has_error", pa.bool_()),  # the code's tree holds an error node
    ]
)

REJECT_SCHEMA = pa.schema(
    [("source", pa.string()), ("source_id", pa.string()), ("reason", pa.string()), ("detail", pa.string())]
)


def iter_row_groups(folder: Path, shard: ShardFile) -> Iterator[pa.Table]:
    """The row groups of one shard in order, one in memory at a time.

    Raises:
        ShardError: the file is missing, damaged, or of another schema
    """
    path = folder / shard.file
    try:
        with pq.ParquetFile(path) as parquet:
            if not parquet.schema_arrow.equals(SAMPLE_SCHEMA):
                raise ShardError(f"{path} has other columns than schema version {SCHEMA_VERSION}: build the shards again")
            for index in range(parquet.num_row_groups):
                yield parquet.read_row_group(index)
    except (OSError, pa.ArrowException) as error:
        raise ShardError(f"{path} cannot be read ({error}): build the shards again") from error


class SampleRow(NamedTuple):
    """One sample, its lists as numpy arrays that share the table's memory; names and types as in SAMPLE_SCHEMA."""

    sample_id: str
    input_ids: Any
    region_label: Any
    region_end: Any
    role: Any
    leaf_kind: Any
    span_start: Any
    span_end: Any
    span_kind: Any
    span_arity: Any
    span_parent: Any
    length: int
    span_depth: int
    language: str
    source: str
    truncated: bool
    has_error: bool


def rows_of(table: pa.Table) -> list[SampleRow]:
    """The samples of a table of SAMPLE_SCHEMA, in order; no list is copied."""
    columns: dict[str, list[Any]] = {}
    for name in SampleRow._fields:
        column = table[name].combine_chunks()
        if pa.types.is_list(column.type):
            values, offsets = column.values.to_numpy(), column.offsets.to_numpy()
            columns[name] = [values[start:end] for start, end in pairwise(offsets)]
        else:
            columns[name] = column.to_pylist()
    return [SampleRow(*values) for values in zip(*columns.values(), strict=True)]


def iter_rows(folder: Path | str, split: str = "train") -> Iterator[SampleRow]:
    """The samples of a split in order, a row group in memory at a time.

    Args:
        split: of SPLITS

    Raises:
        SettingsError: there is no such split
        ShardError: as read_manifest and iter_row_groups raise it
    """
    if split not in SPLITS:
        raise SettingsError(f"there is no split {split}: choose {' or '.join(SPLITS)}")
    for shard in read_manifest(folder).splits[split]:
        yield from iter_shard(Path(folder), shard)


def iter_shard(folder: Path, shard: ShardFile) -> Iterator[SampleRow]:
    """The samples of one shard in order, a row group in memory at a time. Raises ShardError as iter_row_groups does."""
    for table in iter_row_groups(folder, shard):
        yield from rows_of(table)


def read_sample(folder: Path, manifest: Manifest, split: str, index: int) -> SampleRow:
    """One sample of a split by its position over all shards.

    Raises:
        ShardError: there is no such sample
    """
    count = manifest.num_samples(split)
    if count == 0:
        raise ShardError(f"{split} holds no samples")
    if not 0 <= index < count:
        raise ShardError(f"{split} holds {count} samples: --index must lie in 0 to {count - 1}, not {index}")
    for shard in manifest.splits[split]:
        if index < shard.rows:
            for table in iter_row_groups(folder, shard):
                if index < table.num_rows:
                    return rows_of(table.slice(index, 1))[0]
                index -= table.num_rows
        index -= shard.rows
    raise ShardError(f"{folder / split} holds fewer rows than its manifest says: run `syntaxdiff-prep verify`")


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turns the disk's refusal inside the block into one line that says what to do."""
    try:
        yield
    except Exception as error:
        from_rust = type(error) is Exception and "os error" in str(error)  # as the tokenizers library reports the disk
        if not isinstance(error, OSError) and not from_rust:
            raise
        reason = getattr(error, "strerror", None) or str(error)
        is_full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or "os error" in reason
        advice = "free or allow some space and run the same command again, it resumes" if is_full else "choose another place"
        raise StorageError(f"{path} cannot be written ({reason}): {advice}") from error


@contextlib.contextmanager
def written_whole(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """A temporary path next to ``path`` that takes its name when the block ends; else it is removed.

    Args:
        durable: flush to the disk first, so that a power cut leaves no torn file either

    Raises:
        StorageError: the disk refused
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with storage_errors(path):
            yield temporary
            if durable:
                with temporary.open("rb") as file:
                    os.fsync(file.fileno())
            temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):  # what stopped the write is the error to show
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def folder_whole(folder: Path) -> Iterator[Path]:
    """A temporary folder that takes the place of ``folder`` when the block ends; else it is removed.

    Raises:
        StorageError: the disk refused
    """
    with storage_errors(folder):
        scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            yield scratch
            scratch.chmod(0o755)
            shutil.rmtree(folder, ignore_errors=True)
            os.rename(scratch, folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


class TableWriter(contextlib.AbstractContextManager["TableWriter"]):
    """Writes tables into one Parquet file, in row groups of at most ROWS_PER_GROUP.

    zstd-1 with BYTE_STREAM_SPLIT for the ids: 1.57 bytes per token, against 1.74 with snappy and dictionaries.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        strings = [column.name for column in schema if pa.types.is_string(column.type)]
        split = {"input_ids.list.element": "BYTE_STREAM_SPLIT"} if "input_ids" in schema.names else None
        self._writer = pq.ParquetWriter(
            path, schema, compression="zstd", compression_level=1, use_dictionary=strings, column_encoding=split
        )
        self.rows = 0

    def write(self, table: pa.Table) -> None:
        """Appends a table as row groups of its own."""
        self._writer.write_table(table, row_group_size=ROWS_PER_GROUP)
        self.rows += table.num_rows

    def __exit__(self, *error: object) -> None:
        self._writer.close()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
