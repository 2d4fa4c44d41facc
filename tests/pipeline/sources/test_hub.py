"""Sources that `datasets` reads: folders laid out like a repository of the hub, and saved data sets. No network."""

import json
import pickle
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from stored import stored_cursor, stored_identity

from syntaxdiff.pipeline.cli import main
from syntaxdiff.pipeline.errors import SourceError
from syntaxdiff.pipeline.shard import read_manifest
from syntaxdiff.pipeline.sources.hub import HubDataset, HubOptions, SavedDataset
from syntaxdiff.pipeline.sources.source import open_source
from syntaxdiff.pipeline.sources.units import Cursor, Source
from syntaxdiff.pipeline.splits import SPLITS

README = """---
license: cc-by-4.0
configs:
- config_name: split_0
  data_files:
  - split: train
    path: split_0/train-*
- config_name: split_1
  data_files:
  - split: train
    path: split_1/train.{suffix}
  - split: cpp
    path: split_1/cpp.{suffix}
---
# A data set
"""


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`datasets` without network, with a cache of its own."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def rows(prefix: str, count: int) -> list[dict[str, str]]:
    return [{"id": f"{prefix}{i}", "input": f"Add {i}.", "output": f"```python\nx = {i}\n```"} for i in range(count)]


def write(path: Path, content: list[dict[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(content), path, row_group_size=50)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in content))


@pytest.fixture(params=["parquet", "jsonl"])
def repository(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Two configurations, the first of three files, the second of two splits."""
    folder = tmp_path / "OpenCode"
    for index in range(3):
        write(folder / f"split_0/train-{index:05d}-of-00003.{request.param}", rows(f"a{index}-", 150))
    write(folder / f"split_1/train.{request.param}", rows("b-", 130))
    write(folder / f"split_1/cpp.{request.param}", rows("c-", 70))
    (folder / "README.md").write_text(README.format(suffix=request.param))
    return folder


def ids(source: Source, cursor: Cursor | None = None) -> list[list[str]]:
    """Ids of the rows of every unit, as they reach a worker."""
    units = [pickle.loads(pickle.dumps(unit)) for unit in source.units(cursor)]
    return [[row["id"] if isinstance(row, dict) else row.reason for _, row in unit.rows()] for unit in units]


def joined(units: list[list[str]]) -> list[str]:
    return [name for unit in units for name in unit]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (HubOptions(subset="split_0"), [("a0-", 150), ("a1-", 150), ("a2-", 150)]),
        (HubOptions(subset="split_1"), [("b-", 130)]),
        (HubOptions(subset="split_1", split="cpp"), [("c-", 70)]),
        (HubOptions(subset="split_1", split="cpp,train"), [("c-", 70), ("b-", 130)]),
        (HubOptions(subset="split_1", split="train+cpp"), [("b-", 130), ("c-", 70)]),
    ],
)
def test_a_repository_gives_what_was_asked_for(repository: Path, options: HubOptions, expected: list[tuple[str, int]]) -> None:
    """Subset and splits choose; every row comes once, in order; and reading goes on after any unit, in a new process too."""
    source = open_source(str(repository), options)
    assert isinstance(source, HubDataset)
    units = ids(source)
    assert joined(units) == [f"{prefix}{i}" for prefix, count in expected for i in range(count)]
    assert max(map(len, units)) <= 64
    cursors = [stored_cursor(unit.cursor) for unit in source.units()]
    for index, cursor in enumerate(cursors):
        assert ids(open_source(str(repository), options), cursor) == units[index + 1 :]
        assert ids(source, cursor) == units[index + 1 :]
    assert ids(source) == units
    assert stored_identity(source.identity()) == source.identity()


def test_a_split_named_for_a_language_is_the_default_language(repository: Path) -> None:
    """As in OpenCodeReasoning-2."""
    source = open_source(str(repository), HubOptions(subset="split_1", split="train,cpp"))
    assert {unit.default_language for unit in source.units()} == {None, "cpp"}


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (HubOptions(), ["split_0", "split_1"]),
        (HubOptions(subset="nope"), ["nope", "split_0", "split_1"]),
        (HubOptions(subset="split_1", split="nope"), ["nope", "train", "cpp"]),
        (HubOptions(subset="split_1", split="train,"), ["train", "cpp"]),
    ],
)
def test_what_a_repository_lacks_is_one_line_that_names_what_it_has(
    repository: Path, options: HubOptions, named: list[str]
) -> None:
    """An unknown or missing subset or split says which there are."""
    with pytest.raises(SourceError) as caught:
        open_source(str(repository), options)
    assert "\n" not in str(caught.value)
    assert all(name in str(caught.value) for name in named)


def test_a_name_that_cannot_be_reached_is_one_line() -> None:
    """Offline, a name on the hub is an error that names it."""
    with pytest.raises(SourceError) as caught:
        open_source("nobody/nothing-of-that-name", HubOptions())
    assert "nobody/nothing-of-that-name" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_damaged_file_of_a_repository_is_an_error(tmp_path: Path) -> None:
    """What `datasets` cannot read ends in one line, with the rows before it."""
    folder = tmp_path / "repository"
    for index in range(2):
        write(folder / f"data/train-{index}.parquet", rows(f"{index}-", 100))
    (folder / "data/train-1.parquet").write_bytes((folder / "data/train-1.parquet").read_bytes()[:500])
    (folder / "README.md").write_text("---\nconfigs:\n- config_name: default\n  data_files: data/*\n---\n")
    source = open_source(str(folder), HubOptions())
    units = source.units()
    seen = 0

    def take_all() -> None:
        nonlocal seen
        for unit in units:
            seen += len(list(unit.rows()))

    with pytest.raises(SourceError) as caught:
        take_all()
    assert "\n" not in str(caught.value)
    assert seen in (64, 100)


# --------------------------------------------------------------------------------------------------------- saved data sets


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Folders `one` (a data set of several Arrow files), `chosen` (some of its rows), `dict` (two splits)."""
    import datasets

    datasets.disable_progress_bars()
    try:
        dataset = datasets.Dataset.from_list(rows("a-", 300))
        dataset.save_to_disk(str(tmp_path / "one"), num_shards=3)
        dataset.select([5, 3, 299, 7]).save_to_disk(str(tmp_path / "chosen"))
        both = {"train": dataset, "python": datasets.Dataset.from_list(rows("b-", 70))}
        datasets.DatasetDict(both).save_to_disk(str(tmp_path / "dict"))
    finally:
        datasets.enable_progress_bars()
    return tmp_path


@pytest.mark.parametrize(
    ("name", "split", "expected"),
    [
        ("one", None, [f"a-{i}" for i in range(300)]),
        ("chosen", None, ["a-5", "a-3", "a-299", "a-7"]),
        ("dict", None, [f"a-{i}" for i in range(300)]),
        ("dict", "python", [f"b-{i}" for i in range(70)]),
        ("dict", "python,train", [*(f"b-{i}" for i in range(70)), *(f"a-{i}" for i in range(300))]),
    ],
)
def test_saved_data_sets_give_their_rows(saved: Path, name: str, split: str | None, expected: list[str]) -> None:
    """Every row once, in order; reading goes on after any unit; the progress adds up."""
    source = open_source(str(saved / name), HubOptions(split=split))
    assert isinstance(source, SavedDataset)
    units = ids(source)
    assert joined(units) == expected
    assert sum(unit.advance for unit in source.units()) == source.size == len(expected)
    for index, unit in enumerate(source.units()):
        cursor = stored_cursor(unit.cursor)
        assert ids(open_source(str(saved / name), HubOptions(split=split)), cursor) == units[index + 1 :]
    again = open_source(str(saved / name), HubOptions(split=split))
    assert again.identity() == stored_identity(source.identity())


def test_a_unit_of_a_saved_data_set_travels_without_the_rest(tmp_path: Path) -> None:
    """What a worker is sent is the size of the unit's rows, not of the file that they stand in."""
    import datasets

    datasets.disable_progress_bars()
    try:
        datasets.Dataset.from_list([{"prompt": "Q", "code": "x" * 1000}] * 1000).save_to_disk(str(tmp_path / "set"))
    finally:
        datasets.enable_progress_bars()
    unit = next(open_source(str(tmp_path / "set"), HubOptions()).units())
    assert len(pickle.dumps(unit)) < 2 * 64 * 1000


def test_an_unknown_split_of_a_saved_data_set_is_one_line(saved: Path) -> None:
    """It names those that there are."""
    with pytest.raises(SourceError, match="no split nope; there are train, python"):
        open_source(str(saved / "dict"), HubOptions(split="nope"))


def test_a_damaged_saved_data_set_is_one_line(saved: Path) -> None:
    """A file that is cut off or missing is an error that names the folder."""
    for path in (saved / "one").glob("*.arrow"):
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(SourceError, match="one"):
        list(open_source(str(saved / "one"), HubOptions()).units())
    (saved / "dict" / "train" / "state.json").unlink()
    with pytest.raises(SourceError, match="dict"):
        open_source(str(saved / "dict"), HubOptions())


def test_the_command_builds_from_a_repository(repository: Path, tmp_path: Path) -> None:
    """`--subset` and `--split` reach the data set from the command line."""
    command = ["build", "--src", str(repository), "--split", "train,cpp", "--tokenizer", "train:400", "--workers", "1"]
    result = CliRunner().invoke(main, [*command, "--subset", "split_1", "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.stderr
    manifest = read_manifest(tmp_path / "out")
    assert manifest.rows_read == 200
    assert sum(manifest.num_samples(split) for split in SPLITS) + sum(manifest.rejected.values()) == 200
    bad = CliRunner().invoke(main, [*command, "--subset", "nope", "--out", str(tmp_path / "bad")])
    assert bad.exit_code == 2
    assert bad.stderr.startswith("error: ")
    assert len(bad.stderr.splitlines()) == 1
