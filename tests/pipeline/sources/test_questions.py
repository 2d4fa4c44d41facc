"""Statements that a data set leaves out, fetched from a local folder laid out like their sources."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from syntaxdiff.pipeline.errors import RowError, SettingsError
from syntaxdiff.pipeline.rows.fields import Fields
from syntaxdiff.pipeline.rows.record import RecordReader
from syntaxdiff.pipeline.sources.questions import QuestionBook
from syntaxdiff.pipeline.syntax.languages import LANGUAGES

CODEFORCES = {
    "description": "Add two numbers.",
    "input_format": "Two integers.",
    "output_format": "Their sum.",
    "note": "No overflow.",
    "examples": [{"input": "1 2", "output": "3"}, {"input": "2 2", "output": "4"}],
}


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The four sources, in both formats."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    questions = tmp_path / "questions"
    write(
        questions / "taco/train.jsonl", [{"question": f"Taco {i}."} for i in range(5)] + [{"question": " "}, {"question": None}]
    )
    write(questions / "taco/test.jsonl", [{"question": "Taco test."}])
    write(questions / "apps/train.parquet", [{"problem_id": i, "question": f"Apps {i}."} for i in range(5)])
    write(questions / "code_contests/train.parquet", [{"name": "x", "description": f"Contest {i}."} for i in range(5)])
    write(questions / "codeforces/train.jsonl", [CODEFORCES, {**CODEFORCES, "description": ""}])
    write(questions / "codeforces/test.jsonl", [{"description": "Bare.", "examples": None, "note": None}])
    return questions


def reader(folder: Path, *, allow_missing_prompt: bool = False) -> RecordReader:
    statements = QuestionBook(str(folder)).statement
    return RecordReader(fields=Fields(), languages=LANGUAGES, statements=statements, allow_missing_prompt=allow_missing_prompt)


ANSWER = "<think>\nR\n</think>\n```python\nx = 1\n```"
SHAPES = [{"input": "-", "output": ANSWER}, {"question": "-", "r1_generation": ANSWER}]


@pytest.mark.parametrize("shape", SHAPES, ids=["OpenCodeReasoning", "OpenCodeReasoning-2"])
@pytest.mark.parametrize(
    ("dataset", "split", "index", "expected"),
    [
        ("taco", "train", 3, "Taco 3."),
        ("taco", "test", "0", "Taco test."),
        ("apps", "train", "4", "Apps 4."),
        ("code_contests", "train", 0, "Contest 0."),
        ("open-r1/codeforces", "test", "0", "Bare."),
    ],
)
def test_statements_are_fetched_by_data_set_split_and_index(
    folder: Path, shape: dict[str, str], dataset: str, split: str, index: int | str, expected: str
) -> None:
    """Rows whose statement is `-` get the one that they name, for both versions of OpenCodeReasoning."""
    row = {**shape, "dataset": dataset, "split": split, "index": index}
    record = reader(folder).read(row, source="s")
    assert (record.prompt, record.problem) == (expected, f"statement:{expected}")


def test_a_codeforces_statement_has_all_of_its_parts(folder: Path) -> None:
    """Description, formats, examples and note, in the order of the page."""
    statement = QuestionBook(str(folder)).statement("open-r1/codeforces", "train", "0")
    places = [statement.index(part) for part in ("Add two", "Two integers.", "Their sum.", "1 2", "3\n", "4", "No overflow.")]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("dataset", "split", "index"),
    [
        ("taco", "train", "99"),
        ("taco", "train", "-1"),
        ("taco", "train", "x"),
        ("taco", "train", ""),
        ("taco", "train", "1.5"),
        ("taco", "train", "5"),
        ("taco", "train", "6"),
        ("taco", "train", "9" * 30),
        ("open-r1/codeforces", "train", "1"),
        ("nobody/knows", "train", "0"),
        ("open-r1/codeforces-cots", "train", "0"),
        ("-", "-", "-"),
    ],
)
def test_a_statement_that_cannot_be_had_rejects_its_row(folder: Path, dataset: str, split: str, index: str) -> None:
    """An index that is none, or a statement that is empty at its source, is `missing-question`, or allowed on demand."""
    row = {**SHAPES[0], "dataset": dataset, "split": split, "index": index}
    with pytest.raises(RowError) as caught:
        reader(folder).read(row, source="s")
    assert caught.value.reason == "missing-question"
    assert reader(folder, allow_missing_prompt=True).read(row, source="s").prompt == ""


@pytest.mark.parametrize("keys", [{}, {"dataset": "taco"}, {"dataset": "taco", "split": "train", "index": None}])
def test_a_row_that_does_not_say_where_its_statement_is_is_rejected(folder: Path, keys: dict[str, Any]) -> None:
    """Data set, split and index must all be there."""
    with pytest.raises(RowError, match="missing-question"):
        reader(folder).read({**SHAPES[0], **keys}, source="s")


@pytest.mark.parametrize("row", [{"question": 3}, {"question": ["a"]}, {"text": "a"}, {"question": {"a": "b"}}])
def test_a_source_of_another_shape_rejects_the_row(folder: Path, row: dict[str, Any]) -> None:
    """A statement that is no text, or stands in another field, is no crash."""
    write(folder.parent / "other/taco/train.jsonl", [row])
    with pytest.raises(RowError, match="missing-question"):
        QuestionBook(str(folder.parent / "other")).statement("taco", "train", "0")


@pytest.mark.parametrize("missing", ["folder", "split", "damaged"])
def test_a_source_that_cannot_be_read_is_one_line(
    missing: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It ends the build instead of rejecting every row, and never goes to the hub for a folder that is not there."""
    monkeypatch.chdir(folder.parent)
    if missing == "folder":
        (folder / "apps/train.parquet").unlink()
        (folder / "apps").rmdir()
    if missing == "damaged":
        (folder / "apps/train.parquet").write_bytes(b"no parquet")
    with pytest.raises(SettingsError) as caught:
        QuestionBook("questions").statement("apps", "test" if missing == "split" else "train", "0")
    message = str(caught.value)
    assert message.startswith("--questions questions: apps, split ")
    assert "\n" not in message
    assert "Hub" not in message


@pytest.mark.parametrize(
    "place", ["nope", "/no/such/folder", "x" * 300, "~nobody-of-that-name/x"], ids=lambda place: place[:20]
)
def test_a_folder_that_is_not_there_is_one_line(place: str) -> None:
    """Said before any statement is looked for."""
    with pytest.raises(SettingsError, match="there is no such folder"):
        QuestionBook(place)
