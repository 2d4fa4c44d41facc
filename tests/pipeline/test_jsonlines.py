"""JSON lines end at line feeds and nowhere else, whoever reads them: eval, train, and prep."""

import gzip
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from evaluations import config, row, samples_of

from syntaxdiff.eval.benchmarks.evaluate import humaneval
from syntaxdiff.eval.benchmarks.results import read_results
from syntaxdiff.eval.problems.reader import read_problems
from syntaxdiff.eval.prompting.programs import read_program, read_prompts
from syntaxdiff.eval.study.declaration import Source
from syntaxdiff.eval.study.sources import _rename
from syntaxdiff.eval.syntax.check import read_programs
from syntaxdiff.pipeline.compression import codec_of_content
from syntaxdiff.pipeline.errors import SourceError
from syntaxdiff.pipeline.jsonlines import bounded_lines, read_json_lines, read_rows
from syntaxdiff.pipeline.sources.hub import HubOptions
from syntaxdiff.pipeline.sources.source import open_source
from syntaxdiff.train.monitor.metrics import ValidationRecord, read_metrics
from syntaxdiff.train.monitor.progress import Progress
from syntaxdiff.train.run_folder import METRICS

IN_STRINGS = "a\u2028b\u2029c\x85d\x7fe"  # as JSON may have them in a string, unescaped
ESCAPED = "f\x0bg\x0ch\x1ci\x1dj\x1ek\rl"  # which json.dumps escapes
NASTY = IN_STRINGS + ESCAPED
COMPRESSIONS = {"plain": None, "gzip": "gzip", "zstd": "zstd"}
ARGUMENTS: Any = {"what": "a row", "advice": "name another file"}


def write(path: Path, rows: list[dict[str, Any]], *, compression: str | None = None, blank: str = " ") -> Path:
    """Rows as JSON lines, their strings raw wherever JSON allows it."""
    text = "".join(json.dumps(item, ensure_ascii=False, separators=(f",{blank}", ":")) + "\n" for item in rows)
    data = text.encode()
    path.write_bytes(data if compression is None else pa.compress(data, codec=compression, asbytes=True))
    return path


@pytest.mark.parametrize("compression", COMPRESSIONS.values(), ids=COMPRESSIONS.keys())
@pytest.mark.parametrize("blank", [" ", "\r", "\r \t"], ids=["space", "cr", "blanks"])
def test_lines_end_at_line_feeds_alone(compression: str | None, blank: str, tmp_path: Path) -> None:
    """What ends a line for ``str.splitlines`` does not in a string, nor does a carriage return between two values."""
    rows = [{"text": NASTY + str(number), "other": NASTY} for number in range(3)]
    path = write(tmp_path / "rows", rows, compression=compression, blank=blank)
    assert [placed.row for placed in read_json_lines(path, **ARGUMENTS)] == rows
    assert [placed.place for placed in read_rows(path, **ARGUMENTS)] == ["line 1", "line 2", "line 3"]


def test_an_array_is_rows_too(tmp_path: Path) -> None:
    """One JSON array over several lines, with a byte order mark."""
    rows = [{"text": NASTY}, {"text": "b"}]
    path = tmp_path / "rows.json"
    path.write_bytes(b"\xef\xbb\xbf\n" + json.dumps(rows, ensure_ascii=False, indent=1).encode())
    assert read_rows(path, **ARGUMENTS) == [("row 1", rows[0]), ("row 2", rows[1])]
    path.write_text('[{"a": 1}, 7]')
    with pytest.raises(SourceError, match="row 2, is not a row"):
        read_rows(path, **ARGUMENTS)
    path.write_text('[{"a": 1}')
    with pytest.raises(SourceError, match=r"rows\.json is not a JSON array"):
        read_rows(path, **ARGUMENTS)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"a": "x', "Unterminated"),
        (b'{"a": "\x0b"}', "control character"),  # no JSON: prep refuses it too
        (b"[1]", "list"),
        (b'"a"', "str"),
        (b'{"a": "\xff"}', "byte 7"),
        (b"[" * 100_000, "recursion"),
    ],
)
def test_a_line_that_is_no_row_is_named(line: bytes, reason: str, tmp_path: Path) -> None:
    """File, line and reason stand in the error; blank lines count."""
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n\n' + line + b"\n")
    with pytest.raises(SourceError, match=rf"rows\.jsonl, line 3, is not a row \(.*{reason}.*name another file"):
        read_json_lines(path, **ARGUMENTS)


def test_what_is_being_written_is_left_out_where_a_file_grows(tmp_path: Path) -> None:
    """A torn last line is left out of a growing file, is an error in another; a whole one is a row in the latter."""
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n{"a": 2')
    assert [placed.row for placed in read_json_lines(path, **ARGUMENTS, is_growing=True)] == [{"a": 1}]
    with pytest.raises(SourceError, match="line 2"):
        read_json_lines(path, **ARGUMENTS)
    path.write_text('{"a": 1}\n{"a": 2}')
    assert len(read_json_lines(path, **ARGUMENTS, is_growing=True)) == 1
    assert len(read_json_lines(path, **ARGUMENTS)) == 2


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Absent, a folder, and compressed but cut off."""
    with pytest.raises(SourceError, match=r"absent cannot be read .*No such file"):
        read_json_lines(tmp_path / "absent", **ARGUMENTS)
    with pytest.raises(SourceError, match="cannot be read"):
        read_json_lines(tmp_path, **ARGUMENTS)
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a": "' + bytes(range(32, 90)) * 40 + b'"}\n')[:-12])
    with pytest.raises(SourceError, match="cannot be read"):
        read_json_lines(path, **ARGUMENTS)


def test_long_lines_are_read_past(tmp_path: Path) -> None:
    """A line over the bound is None, and the next begins where it ends; compression is told without reading past it."""
    stream: Any = io.BufferedReader(io.BytesIO(b"ab\n" + b"c" * 50 + b"\nd"))
    assert codec_of_content(stream) is None
    assert list(bounded_lines(stream, 10)) == [b"ab\n", None, b"d"]


# ----------------------------------------------------------------------------------------------- everybody reads alike


def test_problems_and_samples(tmp_path: Path) -> None:
    """A problem whose prompt holds such characters is read, solved, stored and read again."""
    problem = row(54) | {"prompt": f'def add(x):\n    """Add 54. {NASTY.replace(chr(13), "")}"""\n'}
    path = write(tmp_path / "problems.jsonl", [problem])
    assert [read.prompt for read in read_problems("humaneval", file=path)] == [problem["prompt"]]
    assert humaneval(config(path), tmp_path / "out").pass_at_1.count == 1
    rows = samples_of(tmp_path / "out")
    write(tmp_path / "out" / "samples.jsonl", rows)  # raw, as another writer of JSON may have put them
    (sample,) = read_results(tmp_path / "out")[1]
    assert sample.program == problem["prompt"] + problem["canonical_solution"]
    (written,) = read_programs(tmp_path / "out" / "samples.jsonl")
    assert written.code.decode() == sample.program


def test_prompts(tmp_path: Path) -> None:
    """Of rows, the field as it is; of text, a line each: what is in a line stays in it, its CRLF does not."""
    prompts = [f"Sum {NASTY}.", "Reverse\nit."]
    rows = [{"prompt": prompt} for prompt in prompts]
    assert read_prompts(write(tmp_path / "prompts.jsonl", rows)) == prompts
    assert read_prompts(write(tmp_path / "prompts.jsonl.gz", rows, compression="gzip")) == prompts
    (tmp_path / "prompts.json").write_text(json.dumps(rows))
    assert read_prompts(tmp_path / "prompts.json") == prompts
    text = tmp_path / "prompts.txt"
    text.write_bytes(f"\ufeffSum {IN_STRINGS}\x0b\x0c\x1c.\r\n\r\n  \nReverse it.".encode())
    assert read_prompts(text) == [f"Sum {IN_STRINGS}\x0b\x0c\x1c.", "Reverse it."]
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "a"}\n\n{"text": "b"}\n')
    with pytest.raises(SourceError, match=r'prompts\.jsonl, line 3: .*field "prompt"'):
        read_prompts(tmp_path / "prompts.jsonl")
    text.write_text("\n \n")
    with pytest.raises(SourceError, match="holds no prompts"):
        read_prompts(text)


def test_a_program_with_holes_keeps_its_line_ends(tmp_path: Path) -> None:
    """CRLF, CR and U+2028 stay what they are."""
    text = f"x = 1\r\ny = <FILL>\r# {IN_STRINGS}\n"
    (tmp_path / "program.py").write_bytes(text.encode())
    assert read_program(tmp_path / "program.py") == text


def test_sources_of_a_study(tmp_path: Path) -> None:
    """Rows under other names become chats with the same text, which prep reads; compression goes by the content."""
    path = write(tmp_path / "rows.jsonl", [{"q": NASTY, "a": NASTY}], compression="gzip", blank="\r")
    _rename(path, Source(src=str(path), prompt_field="q", response_field="a"), tmp_path / "chats.jsonl")
    ((_, chat),) = read_rows(tmp_path / "chats.jsonl", **ARGUMENTS)
    assert [turn["content"] for turn in chat["messages"]] == [NASTY, NASTY]


def test_metrics_of_a_run(tmp_path: Path) -> None:
    """The trainer and the report read one record, with such characters in a name and without its torn last line."""
    validation = {"kind": "validation", "step": 3, "strategy": NASTY, "loss": 1.0}
    path = write(tmp_path / METRICS, [validation, validation | {"step": 9}], blank="\r")
    with path.open("a") as file:
        file.write('{"kind": "st')
    first = ValidationRecord(step=3, strategy=NASTY, loss=1.0)
    assert read_metrics(path, advice="train again").validations == [first, replace(first, step=9)]
    before = path.read_bytes().split(b"\n")[0]
    Progress(tmp_path, None, first=5, total=9, is_first=True, flops=None).close()
    assert path.read_bytes() == before + b"\n"  # what is taken again, and what was torn, is dropped
    assert read_metrics(path, advice="train again").validations == [first]


def test_prep_reads_the_same_rows(tmp_path: Path) -> None:
    """The rows of prep's source are those of the reader."""
    rows = [{"text": NASTY}, {"text": "b"}]
    path = write(tmp_path / "rows.jsonl", rows, blank="\r")
    (unit,) = open_source(str(path), HubOptions()).units()
    assert list(unit.rows()) == [(placed.place, placed.row) for placed in read_json_lines(path, **ARGUMENTS)]
