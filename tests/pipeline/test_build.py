"""The build as a whole: same bytes whatever happens on the way, every row accounted for, nothing overwritten."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from folders import digests, programs, write_jsonl

from syntaxdiff.pipeline.assembly.pool import Progress
from syntaxdiff.pipeline.build import build_shards
from syntaxdiff.pipeline.config import BuildConfig
from syntaxdiff.pipeline.errors import SettingsError, SourceError
from syntaxdiff.pipeline.inspection.verification import verify
from syntaxdiff.pipeline.shard import Manifest, read_manifest, read_sample

ROWS = 200  # several units


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """JSON lines with good rows, and a bad one among them."""
    folder = tmp_path_factory.mktemp("source")
    return write_jsonl(folder / "rows.jsonl", [*programs(ROWS), {"id": "no-code", "code": ""}, programs(1)[0]])


def settings(source: Path, out: Path, **changes: object) -> BuildConfig:
    """Settings of a small build."""
    given = {"src": (str(source),), "out": out, "tokenizer": "train:400", "validation_size": 7, "shard_rows": 50, "workers": 1}
    return BuildConfig(**(given | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def built(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed build with one worker."""
    out = tmp_path_factory.mktemp("built") / "data"
    build_shards(settings(source, out))
    return out


def test_every_row_is_accounted_for(built: Path) -> None:
    """Rows read are samples and rejects, and the rejects file names each with its reason."""
    manifest = read_manifest(built)
    samples = manifest.num_samples("train") + manifest.num_samples("validation")
    rejects = pq.read_table(built / "rejects.parquet").to_pylist()
    assert manifest.rows_read == ROWS + 2 == samples + len(rejects)
    assert manifest.num_samples("validation") == 7
    reasons = sorted((row["source_id"], row["reason"]) for row in rejects if row["reason"] != "validation-sibling")
    assert reasons == [("no-code", "empty-code"), ("row-0", "duplicate")]


def test_shards_have_the_rows_that_were_asked_for(built: Path) -> None:
    """Every shard but the last of a split holds ``shard_rows`` rows, and the order is the source's."""
    shards = read_manifest(built).splits["train"]
    assert [shard.rows for shard in shards[:-1]] == [50] * (len(shards) - 1)
    manifest = read_manifest(built)
    ids = [read_sample(built, manifest, "train", index).sample_id for index in (0, 60, 120)]
    assert [int(name.split("-")[1]) for name in ids] == sorted(int(name.split("-")[1]) for name in ids)


def test_what_was_built_verifies(built: Path) -> None:
    """The independent reader of the contract finds no fault."""
    assert verify(built) is None


def test_the_number_of_workers_changes_no_byte(source: Path, built: Path, tmp_path: Path) -> None:
    """One worker and three leave equal files, manifest included."""
    build_shards(settings(source, tmp_path / "data", workers=3))
    assert digests(tmp_path / "data") == digests(built)


class Stop(Exception):  # noqa: N818 (no error)
    """Raised to cut a build off."""


def test_a_build_that_was_cut_off_goes_on(source: Path, built: Path, tmp_path: Path) -> None:
    """Cut off after its second unit and started again, it does not process that unit anew and ends with the same bytes."""
    out = tmp_path / "data"
    seen: list[int] = []

    def stop(progress: Progress) -> None:
        if progress.counts.rows >= 128:
            raise Stop

    with pytest.raises(Stop):
        build_shards(settings(source, out), stop)
    assert not (out / "manifest.json").exists()
    first_part = next((out / ".build" / "parts").iterdir())
    stamp = first_part.stat().st_mtime_ns

    def note(progress: Progress) -> None:
        seen.append(progress.counts.rows)
        assert first_part.stat().st_mtime_ns == stamp

    build_shards(settings(source, out), note)
    assert seen[0] >= 128
    assert digests(out) == digests(built)


def test_a_torn_part_is_made_again(source: Path, built: Path, tmp_path: Path) -> None:
    """A part that a power cut left empty or cut short is not taken for whole."""
    out = tmp_path / "data"

    def stop(progress: Progress) -> None:
        if progress.counts.rows >= 128:
            raise Stop

    with pytest.raises(Stop):
        build_shards(settings(source, out), stop)
    parts = sorted((out / ".build" / "parts").iterdir())
    parts[0].write_bytes(parts[0].read_bytes()[:-100])
    parts[1].write_bytes(b"")
    build_shards(settings(source, out))
    assert digests(out) == digests(built)


def test_a_complete_folder_is_left_as_it_is(source: Path, built: Path) -> None:
    """The same build again reads the manifest and does nothing."""
    before = digests(built)
    assert build_shards(settings(source, built)) == read_manifest(built)
    assert digests(built) == before


@pytest.mark.parametrize(
    "change", [{"max_length": 512}, {"seed": 1}, {"tokenizer": "train:500"}, {"languages": ("cpp", "python")}]
)
def test_a_folder_built_with_other_settings_is_refused(source: Path, built: Path, change: dict[str, object]) -> None:
    """The error names the setting; the folder stays as it was."""
    before = digests(built)
    with pytest.raises(SettingsError, match=rf"other settings.*{next(iter(change)).replace('_', '-')}"):
        build_shards(settings(source, built, **change))
    assert digests(built) == before


def test_a_changed_source_is_another_setting(source: Path, built: Path, tmp_path: Path) -> None:
    """A file that grew since is not quietly taken for the same source."""
    grown = write_jsonl(tmp_path / "rows.jsonl", programs(ROWS + 1))
    with pytest.raises(SettingsError, match=r"other settings.*sources"):
        build_shards(settings(grown, built))


def test_a_folder_with_somebody_elses_files_is_refused(source: Path, tmp_path: Path) -> None:
    """``train/`` may be anything: it is neither written into nor removed."""
    precious = tmp_path / "train" / "run.py"
    precious.parent.mkdir()
    precious.write_text("print('mine')")
    with pytest.raises(SettingsError, match="holds train"):
        build_shards(settings(source, tmp_path))
    assert precious.read_text() == "print('mine')"
    assert not (tmp_path / ".build").exists()


def test_other_files_beside_the_shards_are_left_alone(source: Path, tmp_path: Path) -> None:
    """``data/.gitkeep`` survives a build."""
    (tmp_path / ".gitkeep").touch()
    build_shards(settings(source, tmp_path))
    assert (tmp_path / ".gitkeep").exists()
    assert not (tmp_path / ".build").exists()


def test_the_limit_ends_the_reading(source: Path, tmp_path: Path) -> None:
    """``limit`` samples come out of both splits together, and rows after the last of them do not count as read."""
    manifest = build_shards(settings(source, tmp_path / "data", limit=40, validation_size=4, workers=2))
    assert manifest.num_samples("train") == 36
    assert manifest.num_samples("validation") == 4
    assert manifest.rows_read < 64
    assert manifest.rows_read == 40 + sum(manifest.rejected.values())
    assert verify(tmp_path / "data") is None


def test_sources_follow_one_another(source: Path, tmp_path: Path) -> None:
    """Several sources are read in the order given, and each sample says where it is from."""
    second = write_jsonl(tmp_path / "more.jsonl", [{**row, "code": row["code"] + "# more\n"} for row in programs(5)])
    manifest = build_shards(settings(source, tmp_path / "data", src=(str(second), str(source)), validation_size=0))
    assert read_sample(tmp_path / "data", manifest, "train", 0).source == "more.jsonl"
    assert read_sample(tmp_path / "data", manifest, "train", 5).source == "rows.jsonl"


def test_no_sample_at_all_is_an_error_that_keeps_the_rejects(tmp_path: Path) -> None:
    """The reasons are named, and there is no manifest to take the folder for complete."""
    bad = write_jsonl(tmp_path / "bad.jsonl", [{"code": " "}, {"code": "\n"}])
    with pytest.raises(SourceError, match="2 empty-code"):
        build_shards(settings(bad, tmp_path / "data", validation_size=0))
    assert pq.read_table(tmp_path / "data" / "rejects.parquet").num_rows == 2
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["rejects.parquet"]
    build_shards(settings(write_jsonl(bad, programs(3)), tmp_path / "data", validation_size=0))  # free for another try


def test_overlength_rows_are_dropped_or_trimmed(tmp_path: Path) -> None:
    """``drop`` counts them; ``trim-reasoning`` keeps them within the length and marks them."""
    long = {**programs(1)[0], "reasoning": "\n".join(f"Step {number}: think again." for number in range(400))}
    rows = write_jsonl(tmp_path / "rows.jsonl", [*programs(3), long | {"id": "long"}])
    dropped = build_shards(settings(rows, tmp_path / "a", max_length=400, validation_size=0))
    assert dropped.rejected == {"too-long": 1}
    trimmed = build_shards(settings(rows, tmp_path / "b", max_length=400, validation_size=0, overlength="trim-reasoning"))
    sample = read_sample(tmp_path / "b", trimmed, "train", 3)
    assert trimmed.rejected == {}
    assert sample.truncated
    assert 300 < sample.length <= 400
    assert verify(tmp_path / "b") is None


def test_programs_alone_are_counted(built: Path, tmp_path: Path) -> None:
    """The manifest says how many samples of both splits have neither problem nor reasoning, whatever was rejected between."""
    assert read_manifest(built).programs_alone == 0
    rows: list[dict[str, str]] = [{"code": program["code"]} for program in programs(9)]
    rows += [{"code": ""}, rows[0], *programs(2), {"code": "a = [1, 2]", "reasoning": "Two."}]
    mixed = build_shards(settings(write_jsonl(tmp_path / "rows.jsonl", rows), tmp_path / "data", validation_size=3))
    assert mixed.num_samples("train") + mixed.num_samples("validation") + sum(mixed.rejected.values()) == len(rows)
    assert mixed.programs_alone == 9


def test_the_manifest_survives_a_round_trip(built: Path) -> None:
    """What is stored is what was written, as JSON with sorted keys."""
    text = (built / "manifest.json").read_text(encoding="utf-8")
    assert read_manifest(built).to_json() == text
    assert list(json.loads(text)) == sorted(json.loads(text))


def test_a_manifest_of_an_older_build_is_read(built: Path) -> None:
    """A manifest from before programs alone were counted says that it does not know."""
    stored = json.loads((built / "manifest.json").read_text(encoding="utf-8"))
    del stored["programs_alone"]
    assert Manifest.from_json(json.dumps(stored)).programs_alone is None
