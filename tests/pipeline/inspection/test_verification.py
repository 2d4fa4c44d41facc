"""A fault of any kind in a folder of shards is found, and the sample named."""

import hashlib
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from folders import programs, run_prep, start_prep, write_jsonl

from syntaxdiff.pipeline.build import build_shards
from syntaxdiff.pipeline.config import BuildConfig
from syntaxdiff.pipeline.errors import ShardError
from syntaxdiff.pipeline.inspection.fault import Fault
from syntaxdiff.pipeline.inspection.verification import Verified, examine, verify
from syntaxdiff.pipeline.shard import SAMPLE_SCHEMA, TableWriter, file_sha256
from syntaxdiff.pipeline.splits import SPLITS

BROKEN_ROW = 3


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small sound folder of shards."""
    folder = tmp_path_factory.mktemp("verification")
    source = write_jsonl(folder / "rows.jsonl", programs(30))
    out = folder / "data"
    build_shards(BuildConfig(src=(str(source),), out=out, tokenizer="train:400", validation_size=3, workers=1))
    return out


@pytest.fixture
def shards(built: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(built, tmp_path / "data"))


def edit_manifest(folder: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    """Changes the manifest in place."""
    path = folder / "manifest.json"
    data = json.loads(path.read_text())
    edit(data)
    path.write_text(json.dumps(data))


def rewrite(folder: Path, edit: Callable[[list[dict[str, Any]]], None]) -> str:
    """Changes rows of the train shard, with a manifest that agrees; the id of the row at BROKEN_ROW."""
    path = folder / "train" / "shard-00000.parquet"
    rows = pq.read_table(path).to_pylist()
    sample_id = str(rows[BROKEN_ROW]["sample_id"])
    edit(rows)
    with TableWriter(path, SAMPLE_SCHEMA) as writer:
        writer.write(pa.Table.from_pylist(rows, schema=SAMPLE_SCHEMA))

    def agree(manifest: dict[str, Any]) -> None:
        shard = manifest["splits"]["train"][0]
        tokens = sum(row["length"] or 0 for row in rows)
        shard.update(rows=len(rows), tokens=tokens, sha256=file_sha256(path), bytes=path.stat().st_size)
        shards = [shard for split in SPLITS for shard in manifest["splits"][split]]
        lines = "".join(f"{shard['file']} {shard['sha256']}\n" for shard in shards)
        manifest["fingerprint"] = hashlib.sha256(lines.encode()).hexdigest()

    edit_manifest(folder, agree)
    return sample_id


def test_a_sound_folder_has_no_fault(built: Path) -> None:
    """What the build wrote holds, and rewriting the same rows changes nothing about that."""
    assert verify(built) is None


def test_rewriting_alone_is_no_fault(shards: Path) -> None:
    """The tests below find their own change, not the rewriting."""
    rewrite(shards, lambda rows: None)
    assert verify(shards) is None


def shift_span(row: dict[str, Any]) -> None:
    row["span_start"][-1] -= 1
    row["span_end"][-1] -= 1


FAULTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "length": lambda row: row.update(length=row["length"] + 1),
    "an id outside": lambda row: row["input_ids"].__setitem__(5, 99_999),
    "mask token": lambda row: row["input_ids"].__setitem__(5, 2),
    "not end at length": lambda row: row["region_end"].__setitem__(-1, row["length"] - 1),
    "not maximal": lambda row: row["region_label"].__setitem__(1, row["region_label"][0]),
    "unknown region": lambda row: row["region_label"].__setitem__(1, 7),
    "open with the prompt": lambda row: row["region_label"].__setitem__(0, 3),
    "one a code token": lambda row: row["role"].append(0),
    "unknown role": lambda row: row["role"].__setitem__(0, 9),
    "leaf kind outside": lambda row: row["leaf_kind"].__setitem__(0, 60_000),
    "leaf_kind is not": lambda row: row["leaf_kind"].__setitem__(0, 1),
    "role is not": lambda row: row["role"].__setitem__(0, 3),
    "different lengths": lambda row: row["span_kind"].pop(),
    "span kind outside": lambda row: row["span_kind"].__setitem__(0, 60_000),
    "span_kind is not": lambda row: row["span_kind"].__setitem__(0, row["span_kind"][0] + 1),
    "span_arity is not": lambda row: row["span_arity"].__setitem__(0, 77),
    "under 2 tokens": lambda row: row["span_end"].__setitem__(-1, row["span_start"][-1] + 1),
    "outside the code": lambda row: row["span_end"].__setitem__(0, row["length"]),
    "pre-order": lambda row: (row["span_start"].reverse(), row["span_end"].reverse()),
    "smallest span around": lambda row: row["span_parent"].__setitem__(-1, -1),
    "nest": lambda row: row.update(span_depth=row["span_depth"] + 1),
    "intervals is not what": shift_span,
    "not in the manifest": lambda row: row.update(language="cobol"),
    "has_error": lambda row: row.update(has_error=True),
    "a column is null": lambda row: row.update(source=None),
}


@pytest.mark.parametrize("what", FAULTS)
def test_a_broken_invariant_is_found_and_the_sample_named(shards: Path, what: str) -> None:
    """One value of one sample is wrong: the fault says which invariant, file and sample."""
    sample_id = rewrite(shards, lambda rows: FAULTS[what](rows[BROKEN_ROW]))
    fault = verify(shards)
    assert isinstance(fault, Fault)
    assert what in fault.what
    assert (fault.file, fault.sample_id) == ("train/shard-00000.parquet", sample_id)


def test_a_missing_span_is_found(shards: Path) -> None:
    """Spans that are sound by themselves but not all that the program has are a fault."""

    def drop_last(rows: list[dict[str, Any]]) -> None:
        for name in ("span_start", "span_end", "span_kind", "span_arity", "span_parent"):
            rows[BROKEN_ROW][name].pop()

    sample_id = rewrite(shards, drop_last)
    fault = verify(shards)
    assert fault is not None
    assert fault.sample_id == sample_id


def test_crossing_spans_are_found(shards: Path) -> None:
    """Two spans that overlap without nesting are a fault."""

    def cross(rows: list[dict[str, Any]]) -> None:
        row = rows[BROKEN_ROW]
        first = row["span_start"][0]
        row.update(span_start=[first, first + 2], span_end=[first + 4, first + 6], span_parent=[-1, 0], span_depth=2)
        row.update(span_kind=row["span_kind"][:2], span_arity=row["span_arity"][:2])

    rewrite(shards, cross)
    fault = verify(shards)
    assert fault is not None
    assert "cross" in fault.what


def test_a_repeated_sample_id_is_found(shards: Path) -> None:
    """Ids are unique over all shards."""
    rewrite(shards, lambda rows: rows[BROKEN_ROW].update(sample_id=rows[0]["sample_id"]))
    fault = verify(shards)
    assert fault is not None
    assert "not unique" in fault.what


def test_a_problem_on_both_sides_is_found(shards: Path) -> None:
    """A training sample with the prompt of a validation sample is a leak."""
    held_out = pq.read_table(shards / "validation" / "shard-00000.parquet").to_pylist()[0]
    rewrite(shards, lambda rows: rows.__setitem__(BROKEN_ROW, held_out | {"sample_id": "leak"}))
    fault = verify(shards)
    assert fault is not None
    assert fault.sample_id == "leak"
    assert "validation" in fault.what


def test_damaged_and_missing_files_are_found(shards: Path) -> None:
    """A flipped byte, a shard that is gone, and one that the manifest does not know are faults of their files."""
    shard = shards / "train" / "shard-00000.parquet"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    assert "checksum" in str(verify(shards))
    shard.unlink()
    assert "missing" in str(verify(shards))
    shard.write_bytes(whole)
    (shards / "train" / "shard-00009.parquet").write_bytes(whole)
    assert "does not know" in str(verify(shards))


def test_rows_that_do_not_add_up_are_found(shards: Path) -> None:
    """Samples and rejects must make up the rows read."""
    edit_manifest(shards, lambda manifest: manifest.update(rows_read=999))
    assert "do not make up" in str(verify(shards))


def test_a_folder_without_manifest_is_no_data(shards: Path, tmp_path: Path) -> None:
    """Whoever reads shards is told to build them, or to go on with a build that was cut off."""
    (shards / "manifest.json").unlink()
    with pytest.raises(ShardError, match="run `syntaxdiff-prep build` first"):
        verify(shards)
    (shards / ".build").mkdir()
    with pytest.raises(ShardError, match="cut off"):
        verify(shards)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema_version": 99}', '{"schema_version": 1}'])
def test_a_damaged_manifest_is_one_line(shards: Path, text: str) -> None:
    """Whatever stands in the manifest, the error says that it is damaged or of another version."""
    (shards / "manifest.json").write_text(text)
    with pytest.raises(ShardError, match=r"damaged|schema version 99"):
        verify(shards)


@pytest.mark.slow
def test_the_command_exits_with_one_at_a_fault(shards: Path) -> None:
    """``verify`` prints the fault with its sample and exits with 1; with 2 where there is nothing to verify."""
    sample_id = rewrite(shards, lambda rows: rows[BROKEN_ROW].update(has_error=True))
    found = run_prep("verify", shards)
    assert found.returncode == 1
    assert sample_id in found.stderr
    assert run_prep("verify", shards / "nothing").returncode == 2


def test_a_fault_says_row_column_expected_and_found(shards: Path) -> None:
    """The line names shard, row, sample and column, what stands there and what should."""
    sample_id = rewrite(shards, lambda rows: rows[BROKEN_ROW]["role"].__setitem__(0, 3))
    fault = verify(shards)
    assert fault is not None
    assert (fault.row, fault.column, fault.found) == (BROKEN_ROW, "role[0]", "3")
    where = f"train/shard-00000.parquet, row {BROKEN_ROW}, sample {sample_id}, column role[0]: "
    assert str(fault).startswith(where)
    assert str(fault).endswith(f"(expected {fault.expected}, found 3)")


@pytest.mark.slow
def test_the_first_fault_is_the_same_with_any_number_of_workers(tmp_path: Path) -> None:
    """Of faults in several row groups and files, the one reported does not depend on who is done first."""
    source = write_jsonl(tmp_path / "rows.jsonl", programs(420))
    config = BuildConfig(src=(str(source),), out=tmp_path / "data", tokenizer="train:400", validation_size=0, shard_rows=300)
    build_shards(config)
    assert verify(tmp_path / "data", workers=2) is None

    def break_two(rows: list[dict[str, Any]]) -> None:
        rows[140].update(has_error=True)  # in the second row group
        rows[290]["role"][0] = 3

    sample_id = rewrite(tmp_path / "data", break_two)
    faults = [verify(tmp_path / "data", workers=workers) for workers in (1, 2, 3)]
    assert faults[0] is not None
    assert (faults[0].row, faults[0].column) == (140, "has_error")
    assert faults == faults[:1] * 3
    assert sample_id != faults[0].sample_id


def test_progress_ends_with_all_samples(built: Path) -> None:
    """The progress that is reported ends with the samples and tokens that the manifest has."""
    seen: list[Verified] = []
    report = examine(built, seen.append)
    assert seen[-1] == (report.samples, report.tokens, report.samples)


TOLD = {"tokenizer": "name vocab_size sha256 byte_level", "token_ids": "mask pad eos bos end_of_turn assistant_header"}
IN_MANIFEST = [(part, name) for part, names in TOLD.items() for name in names.split()] + [
    *(("languages", "python", name) for name in ("node_kinds", "named")),
    *(("splits", "train", 0, name) for name in ("file", "rows", "tokens", "bytes", "sha256")),
    *((name,) for name in ("rows_read", "samples_with_error", "programs_alone", "fingerprint", "rejected", "languages")),
    *(("settings", name) for name in ("languages", "tokenizer", "shard_rows", "max_length")),
    ("settings", "sources", 0, "name"),
]


def changed(value: Any) -> Any:
    """A value of the same type that is another."""
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, int):
        return value - 1
    if isinstance(value, str):
        return value[:-1] + ("0" if value[-1:] != "0" else "1")
    if isinstance(value, list):
        return value[:-1] + ([changed(value[-1])] if value else [7])
    return {changed(name): item for name, item in value.items()} or {"x": 1}


@pytest.mark.parametrize("path", IN_MANIFEST, ids=lambda path: ".".join(map(str, path)))
def test_a_changed_value_of_the_manifest_is_found(shards: Path, path: tuple[Any, ...]) -> None:
    """What the manifest says of tokenizer, grammars, files and counts must be so."""
    others: dict[Any, Any] = {"max_length": 40, "shard_rows": 5, "languages": ["cpp"]}

    def change(manifest: dict[str, Any]) -> None:
        place: Any = manifest
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = others[path[-1]] if path[0] == "settings" and path[-1] in others else changed(place[path[-1]])

    edit_manifest(shards, change)
    fault = verify(shards)
    assert fault is not None


def test_an_older_manifest_is_no_fault(shards: Path) -> None:
    """What older builds did not write is not asked for."""

    def age(manifest: dict[str, Any]) -> None:
        del manifest["programs_alone"], manifest["tokenizer"]["inexact_samples"], manifest["tokenizer"]["byte_level"]

    edit_manifest(shards, age)
    report = examine(shards)
    assert report.fault is None
    assert any("programs_alone" in phrase for phrase in report.not_checked)


def test_another_grammar_is_said_and_no_fault(shards: Path) -> None:
    """Where the build had another version of a grammar, trees may differ: it is said, and the rest is held to."""
    edit_manifest(shards, lambda manifest: manifest["languages"]["python"].update(grammar="tree-sitter-python 0.1"))
    report = examine(shards)
    assert report.fault is None
    assert any(f"{report.samples} python samples: tree-sitter-python 0.1" in phrase for phrase in report.not_checked)
    rewrite(shards, lambda rows: rows[BROKEN_ROW]["span_parent"].__setitem__(-1, -1))
    assert "smallest span around" in str(verify(shards))
    rewrite(shards, lambda rows: rows[BROKEN_ROW]["region_end"].__setitem__(0, rows[BROKEN_ROW]["region_end"][0] - 1))
    assert verify(shards) is not None


def test_the_same_content_under_another_id_is_found(shards: Path) -> None:
    """Two samples of one problem, reasoning and program are a fault, whatever their own ids."""

    def copy(rows: list[dict[str, Any]]) -> None:
        rows[BROKEN_ROW] = rows[0] | {"sample_id": f"other{rows[0]['sample_id'][-13:]}"}

    rewrite(shards, copy)
    assert "those of an earlier sample" in str(verify(shards))


def test_a_shard_in_a_folder_below_is_found(shards: Path) -> None:
    """Shards that lie around anywhere in the folder are said."""
    (shards / "test").mkdir()
    shutil.copy(shards / "train" / "shard-00000.parquet", shards / "test")
    assert "test/shard-00000.parquet: the manifest does not know" in str(verify(shards))


def test_a_reject_of_no_source_is_found(shards: Path) -> None:
    """Rejects without a reason or source, or from a source that the build had not, are a fault."""
    path = shards / "rejects.parquet"
    rejects = pq.read_table(path).to_pylist()
    assert rejects
    for source in (None, "elsewhere"):
        changed_rows = [rejects[0] | {"source": source}, *rejects[1:]]
        pq.write_table(pa.Table.from_pylist(changed_rows, schema=pq.read_schema(path)), path)
        fault = verify(shards)
        assert fault is not None
        assert (fault.file, fault.column) == ("rejects.parquet", "source")


@pytest.mark.slow
def test_the_command_says_what_was_not_checked(built: Path) -> None:
    """Without a fault it prints what was checked and what was not, and exits with 0."""
    done = run_prep("verify", built, "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert "every column follows from ids and tokenizer" in done.stdout
    assert "not checked: the order of the samples" in done.stdout


def test_ctrl_c_leaves_no_processes(built: Path) -> None:
    """Interrupted while its workers start, the command ends and they with it."""
    process = start_prep("verify", built, "--workers", "2")
    children: list[psutil.Process] = []
    deadline = time.monotonic() + 120
    while len(children) < 2 and process.poll() is None and time.monotonic() < deadline:
        children = psutil.Process(process.pid).children(recursive=True)
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=120)
    assert psutil.wait_procs(children, timeout=30)[1] == []
