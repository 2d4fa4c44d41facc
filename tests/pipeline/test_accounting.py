"""What a build says of its rows: programs found, problems told apart, fields left unread; and builds of older versions."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from folders import digests, programs, write_jsonl

from syntaxdiff.pipeline.assembly.pool import Progress
from syntaxdiff.pipeline.build import build_shards
from syntaxdiff.pipeline.cli import main
from syntaxdiff.pipeline.config import BuildConfig
from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.pipeline.inspection.verification import verify
from syntaxdiff.pipeline.json_records import to_json
from syntaxdiff.pipeline.shard import Manifest, read_manifest
from syntaxdiff.pipeline.splits import SPLITS

F = "```"
HOLDS_FENCES = f'def f():\n    """Doc.\n{F}\nexample\n{F}\n    """\n    return 1\n'


def built(rows: list[dict[str, Any]], folder: Path, **changes: Any) -> tuple[Manifest, Path]:
    """The manifest and the folder of a small build."""
    source = write_jsonl(folder / "rows.jsonl", rows)
    out = folder / "data"
    given: dict[str, Any] = {"src": (str(source),), "out": out, "tokenizer": "train:400", "validation_size": 1, "workers": 1}
    return build_shards(BuildConfig(**(given | changes))), out


def sample_ids(out: Path, split: str) -> set[str]:
    """The rows' own ids of a split."""
    ids: list[str] = pq.read_table(out / split)["sample_id"].to_pylist()
    return {name.rsplit("-", 1)[0] for name in ids}


def test_programs_are_counted_by_how_they_were_found(tmp_path: Path) -> None:
    """In a block, in one that holds fences, or where the solution's text stands; programs alone are found nowhere."""
    rows: list[dict[str, Any]] = [
        {"input": "A", "output": f"{F}python\nx = 1\n{F}"},
        {"input": "B", "output": f"{F}python\n{HOLDS_FENCES}{F}"},
        {"input": "C", "output": "Write\n\nx = 3\n", "solution": "x = 3"},
        {"input": "D", "output": f"{F}python\nx = 4\n{F}", "solution": "x = 5"},
        {"prompt": "E", "code": "x = 6"},
    ]
    manifest, out = built(rows, tmp_path)
    assert manifest.readings == {"block": 1, "longer-block": 1, "solution-text": 1}
    assert manifest.rejected == {"solution-not-in-answer": 1}
    assert verify(out) is None
    again = ["build", "--src", str(tmp_path / "rows.jsonl"), "--tokenizer", "train:400", "--validation-size", "1"]
    assert "--ignore-solution" in CliRunner().invoke(main, [*again, "--out", str(out)]).output


def test_fields_with_text_that_were_not_used_are_counted(tmp_path: Path) -> None:
    """In the manifest, and in what build and stats print."""
    rows = [{"prompt": f"{n}", "code": f"x = {n}", "notes": "text" if n % 2 else "", "tests": ["a"]} for n in range(6)]
    manifest, out = built(rows, tmp_path)
    assert manifest.unused_fields == {"notes": 3, "tests": 6}
    again = ["build", "--src", str(tmp_path / "rows.jsonl"), "--tokenizer", "train:400", "--validation-size", "1"]
    for arguments in ([*again, "--out", str(out)], ["stats", str(out)]):
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
        assert "notes (3)" in " ".join(result.output.split())
        assert "tests (6)" in " ".join(result.output.split())
    shown = json.loads(CliRunner().invoke(main, ["stats", str(out), "--json"]).stdout)
    assert shown["unused_fields"] == {"notes": 3, "tests": 6}


def test_answers_to_one_problem_are_on_one_side(tmp_path: Path) -> None:
    """Programs without statement that share the id of a problem, in any language, and those that a statement connects."""
    rows: list[dict[str, Any]] = []
    for number in range(20):
        rows += [
            {"uid": f"p{number}", "slug": f"s{number}", "code": f"x = {number}"},
            {"uid": f"c{number}", "slug": f"s{number}", "code": f"int x = {number};", "language": "cpp"},
            {"uid": f"q{number}", "slug": f"s{number}", "prompt": f"Do {number}.", "code": f"y = {number}"},
            {"uid": f"r{number}", "prompt": f"Do  {number}.", "code": f"z = {number}"},
        ]
    manifest, out = built(rows, tmp_path, validation_size=5)
    train, validation = sample_ids(out, "train"), sample_ids(out, "validation")
    assert len(validation) == 5
    assert not {name[1:] for name in train} & {name[1:] for name in validation}
    assert manifest.rejected == {"validation-sibling": 15}
    assert to_json(manifest.grouping) == {
        "groups": 20,
        "keys": {
            "statement": {"samples": 80, "shared": 40},
            "slug": {"samples": 60, "shared": 60},
            "uid": {"samples": 80, "shared": 0},
        },
        "ignored": [],
    }


def test_a_folder_holds_one_problem_where_that_is_asked_for(tmp_path: Path) -> None:
    """Python files of a folder, and rows with a path, are grouped by their folder."""
    for number in range(12):
        folder = tmp_path / "tree" / f"problem{number}"
        folder.mkdir(parents=True)
        for name in "ab":
            (folder / f"{name}.py").write_text(f"def {name}{number}(x):\n    return x + {number}\n")
    out = tmp_path / "data"
    manifest = build_shards(
        BuildConfig(
            src=(str(tmp_path / "tree"),), out=out, tokenizer="train:400", validation_size=3, group_by_folder=True, workers=1
        )
    )
    assert manifest.grouping is not None
    assert manifest.grouping.groups == 12
    assert manifest.rejected == {"validation-sibling": 3}


def test_a_group_field_that_no_row_has_is_refused(tmp_path: Path) -> None:
    """Before anything is built, and by its name."""
    with pytest.raises(SettingsError, match="--group-field contest: none of the first rows"):
        built(programs(5), tmp_path, group_fields=("contest",))


def test_the_grouping_is_a_setting_of_the_build(tmp_path: Path) -> None:
    """A folder that was built by other groups is not taken for this one."""
    built(programs(5), tmp_path)
    with pytest.raises(SettingsError, match="group-fields: null there"):
        built(programs(5), tmp_path, group_fields=("id",))


def test_an_older_manifest_says_that_nothing_was_counted(tmp_path: Path) -> None:
    """Shards of before are read; what their build did not count is unknown, not none."""
    manifest, out = built(programs(5), tmp_path)
    older = json.loads(manifest.to_json())
    for name in ("readings", "unused_fields", "grouping"):
        del older[name]
    for name in ("group_fields", "group_by_folder", "ignore_solution"):
        del older["settings"][name]
    (out / "manifest.json").write_text(json.dumps(older))
    read = read_manifest(out)
    assert (read.readings, read.unused_fields, read.grouping) == (None, None, None)
    assert verify(out) is None
    assert CliRunner().invoke(main, ["stats", str(out)]).exit_code == 0
    assert built(programs(5), tmp_path)[0] == read  # the same command: complete already


class Stop(Exception):  # noqa: N818 (no error)
    """Raised to cut a build off."""


@pytest.mark.slow
def test_a_build_that_an_older_version_began_reads_its_rows_again(tmp_path: Path) -> None:
    """Its parts were read by other rules and lack columns: the outcome is that of a fresh build, and the user is told."""
    rows = programs(200)
    (tmp_path / "fresh").mkdir()
    (tmp_path / "cut").mkdir()
    fresh = built(rows, tmp_path / "fresh")[1]
    source = write_jsonl(tmp_path / "cut" / "rows.jsonl", rows)
    out = tmp_path / "cut" / "data"
    config = BuildConfig(src=(str(source),), out=out, tokenizer="train:400", validation_size=1, workers=1)

    def stop(progress: Progress) -> None:
        if progress.counts.rows >= 128:
            raise Stop

    with pytest.raises(Stop):
        build_shards(config, stop)
    stored = out / ".build" / "settings.json"
    settings = json.loads(stored.read_text())
    for name in ("format", "group_fields", "group_by_folder", "ignore_solution"):
        del settings[name]
    stored.write_text(json.dumps(settings))
    for part in (out / ".build" / "parts").iterdir():
        part.write_bytes(b"of another format")
    notes: list[str] = []
    build_shards(config, on_note=notes.append)
    assert len(notes) == 1
    assert "older" in notes[0]
    assert {name: digest for name, digest in digests(out).items() if name != "manifest.json"} == {
        name: digest for name, digest in digests(fresh).items() if name != "manifest.json"
    }
    assert sum(map(read_manifest(out).num_samples, SPLITS)) == 200
