"""How shards are written and read."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from folders import digests, programs, write_jsonl

from syntaxdiff.pipeline.build import build_shards
from syntaxdiff.pipeline.config import BuildConfig
from syntaxdiff.pipeline.errors import ShardError, StorageError
from syntaxdiff.pipeline.shard import (
    ROWS_PER_GROUP,
    SAMPLE_SCHEMA,
    ShardFile,
    iter_row_groups,
    read_manifest,
    read_sample,
    write_text,
    written_whole,
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of several row groups, the last one short."""
    folder = tmp_path_factory.mktemp("shard")
    source = write_jsonl(folder / "rows.jsonl", programs(300))
    config = BuildConfig(
        src=(str(source),), out=folder / "data", tokenizer="train:400", validation_size=0, shard_rows=200, workers=1
    )
    build_shards(config)
    return folder / "data"


def fail_after_writing(path: Path) -> None:
    """Writes half of a file."""
    with written_whole(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError


def test_a_block_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """An error inside ``written_whole`` leaves neither the file nor its temporary."""
    with pytest.raises(RuntimeError):
        fail_after_writing(tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_there_survives_a_failed_write(tmp_path: Path) -> None:
    """Until the new file is whole, the old one stays."""
    write_text(tmp_path / "file", "old")
    with pytest.raises(RuntimeError):
        fail_after_writing(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "old"


def test_a_disk_that_refuses_is_a_storage_error(tmp_path: Path) -> None:
    """The error names the path and says what to do: that the command resumes is true only of a full disk."""
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StorageError, match=r"cannot be written .*choose another place"):
        write_text(tmp_path / "file" / "below", "text")


def test_row_groups_are_small_and_shards_full(built: Path) -> None:
    """Groups hold ROWS_PER_GROUP rows but for the last of a shard; shards hold ``shard_rows`` but for the last."""
    shards = read_manifest(built).splits["train"]
    assert [shard.rows for shard in shards] == [200, 100]
    metadata = pq.ParquetFile(built / shards[0].file).metadata
    sizes = [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]
    assert sizes == [ROWS_PER_GROUP, 200 - ROWS_PER_GROUP]


def test_ids_are_compressed_by_byte_streams(built: Path) -> None:
    """The ids bear the encoding that makes them 1.6 bytes a token, and all columns zstd."""
    group = pq.ParquetFile(built / "train" / "shard-00000.parquet").metadata.row_group(0)
    columns = {group.column(index).path_in_schema.split(".")[0]: group.column(index) for index in range(group.num_columns)}
    assert "BYTE_STREAM_SPLIT" in columns["input_ids"].encodings
    assert {column.compression for column in columns.values()} == {"ZSTD"}


def test_samples_are_found_by_their_position(built: Path) -> None:
    """The position counts over all shards; one outside is an error that says what there is."""
    manifest = read_manifest(built)
    rows = [row for shard in manifest.splits["train"] for table in iter_row_groups(built, shard) for row in table.to_pylist()]
    for index in (0, 127, 128, 199, 200, 299):
        sample = read_sample(built, manifest, "train", index)
        assert {name: as_python(value) for name, value in sample._asdict().items()} == rows[index]
    with pytest.raises(ShardError, match="0 to 299, not 300"):
        read_sample(built, manifest, "train", 300)
    with pytest.raises(ShardError, match="validation holds no samples"):
        read_sample(built, manifest, "validation", 0)


def as_python(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


def test_lists_become_numpy_without_a_copy(built: Path) -> None:
    """A reader gets the flat values of a list column as a view."""
    shard = read_manifest(built).splits["train"][0]
    ids = next(iter_row_groups(built, shard))["input_ids"].combine_chunks()
    assert ids.values.to_numpy(zero_copy_only=True).dtype == "int32"


def test_a_file_of_another_schema_is_refused(built: Path, tmp_path: Path) -> None:
    """Columns that are not the contract's are an error, not a KeyError later."""
    pq.write_table(pa.table({"x": [1]}), tmp_path / "other.parquet")
    other = ShardFile(file="other.parquet", rows=1, tokens=1, bytes=1, sha256="")
    with pytest.raises(ShardError, match="other columns"):
        next(iter_row_groups(tmp_path, other))
    with pytest.raises(ShardError, match="cannot be read"):
        next(iter_row_groups(tmp_path, ShardFile(file="none.parquet", rows=1, tokens=1, bytes=1, sha256="")))


def test_the_schema_is_the_contract() -> None:
    """Names and types of the columns, as other tools rely on them."""
    assert {field.name: str(field.type) for field in SAMPLE_SCHEMA} == {
        "sample_id": "string",
        "input_ids": "list<item: int32>",
        "region_label": "list<item: uint8>",
        "region_end": "list<item: int32>",
        "role": "list<item: uint8>",
        "leaf_kind": "list<item: uint16>",
        "span_start": "list<item: int32>",
        "span_end": "list<item: int32>",
        "span_kind": "list<item: uint16>",
        "span_arity": "list<item: uint8>",
        "span_parent": "list<item: int32>",
        "length": "int32",
        "span_depth": "int32",
        "language": "string",
        "source": "string",
        "truncated": "bool",
        "has_error": "bool",
    }


def test_reading_changes_nothing(built: Path) -> None:
    """Readers leave the folder as it is."""
    before = digests(built)
    manifest = read_manifest(built)
    read_sample(built, manifest, "train", 5)
    assert digests(built) == before
