"""Local sources: every format gives every row once and in order, goes on after any unit, and survives damage."""

import contextlib
import datetime
import gzip
import io
import json
import os
import pickle
import random
import zlib
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stored import stored_cursor, stored_identity

from syntaxdiff.pipeline.errors import RowError, SourceError
from syntaxdiff.pipeline.json_records import Row
from syntaxdiff.pipeline.sources import files
from syntaxdiff.pipeline.sources import units as unit
from syntaxdiff.pipeline.sources.hub import HubOptions
from syntaxdiff.pipeline.sources.source import open_source
from syntaxdiff.pipeline.sources.units import Source, Unit

Rows: TypeAlias = Sequence[Row]
NUM_ROWS = 300
ROWS: Rows = [
    {"id": f"row-{i}", "text": 'x,]}[{"\\é\n' * (i % 7), "nested": {"list": [f"{i}]", None]}} for i in range(NUM_ROWS)
]


def opened(path: Path | str) -> Source:
    return open_source(str(path), HubOptions())


def outcomes(units: list[Unit]) -> list[Row | RowError]:
    return [row for unit_ in units for _, row in unit_.rows()]


def read(path: Path | str) -> list[Row | RowError]:
    """All rows of a source, and what stands for rows that are none."""
    return outcomes(list(opened(path).units()))


def reasons(rows: list[Row | RowError]) -> list[str]:
    return [row.reason for row in rows if isinstance(row, RowError)]


def good(rows: list[Row | RowError]) -> Rows:
    return [row for row in rows if not isinstance(row, RowError)]


def lines(rows: Rows) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def parquet(rows: Rows, row_group_size: int = 70) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink, row_group_size=row_group_size)
    return sink.getvalue()


def zst(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return bytes(sink.getvalue())


# ----------------------------------------------------------------------------------------------------------------- formats

BOM = b"\xef\xbb\xbf"
FORMATS: dict[str, Callable[[Rows], bytes]] = {
    "lines.jsonl": lines,
    "LINES.NDJSON": lines,
    "lines.jsonl.gz": lambda rows: gzip.compress(lines(rows)),
    "lines.jsonl.zst": lambda rows: zst(lines(rows)),
    "no-last-line-end.jsonl": lambda rows: lines(rows).rstrip(b"\n"),
    "crlf.jsonl": lambda rows: lines(rows).replace(b"\n", b"\r\n"),
    "blank-lines.jsonl": lambda rows: b"\n" + lines(rows).replace(b"\n", b"\n\n \n"),
    "byte-order-mark.jsonl": lambda rows: BOM + lines(rows),
    "members.jsonl.gz": lambda rows: gzip.compress(lines(rows[:99])) + gzip.compress(b"") + gzip.compress(lines(rows[99:])),
    "frames.jsonl.zst": lambda rows: zst(lines(rows[:99])) + b"\x50\x2a\x4d\x18\x04\0\0\0skip" + zst(lines(rows[99:])),
    "array.json": lambda rows: json.dumps(rows).encode(),
    "indented.json": lambda rows: json.dumps(rows, indent=2, ensure_ascii=False).encode(),
    "array-after-blank.json": lambda rows: BOM + b"\n \t" + json.dumps(rows).encode() + b"\n\n",
    "array.json.gz": lambda rows: gzip.compress(json.dumps(rows).encode()),
    "array.json.zst": lambda rows: zst(json.dumps(rows).encode()),
    "lines.json": lines,
    "groups.parquet": parquet,
    "one-group.parquet": lambda rows: parquet(rows, 10_000),
    "tiny-groups.parquet": lambda rows: parquet(rows, 7),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_every_row_in_order(name: str, tmp_path: Path) -> None:
    """The units of a file, put together, are its rows: each once, in order, nothing else."""
    (tmp_path / name).write_bytes(FORMATS[name](ROWS))
    assert read(tmp_path / name) == ROWS


@pytest.mark.parametrize("name", [*FORMATS, "folder", "glob"])
def test_reading_goes_on_after_any_unit(name: str, tmp_path: Path) -> None:
    """From the cursor of any unit, stored as JSON, a source gives exactly the units that follow it, also in later files."""
    if name in FORMATS:
        (tmp_path / name).write_bytes(FORMATS[name](ROWS))
        spec = str(tmp_path / name)
    else:
        for index, (file, write) in enumerate(FORMATS.items()):
            (tmp_path / f"{index:02d}").mkdir()
            (tmp_path / f"{index:02d}" / file).write_bytes(write(ROWS[index * 10 : index * 10 + 100]))
        (tmp_path / "05" / "damaged.jsonl.gz").write_bytes(gzip.compress(lines(ROWS))[:-20])
        spec = str(tmp_path) if name == "folder" else f"{tmp_path}/*/*.[jJnN]*"
    source = opened(spec)
    described = [describe(unit_) for unit_ in source.units()]
    assert len(described) > 3
    for index, unit_ in enumerate(list(source.units())):
        cursor = stored_cursor(unit_.cursor)
        assert [describe(rest) for rest in opened(spec).units(cursor)] == described[index + 1 :]
    assert [describe(unit_) for unit_ in source.units()] == described


def describe(unit_: Unit) -> tuple[Any, ...]:
    """All that a unit is, as it reaches a worker."""
    there: Unit = pickle.loads(pickle.dumps(unit_))
    rows = [(place, str(row) if isinstance(row, RowError) else row) for place, row in there.rows()]
    return there.source, there.place, there.advance, there.default_language, str(there.cursor), rows


def test_a_folder_is_read_whole_and_sorted(tmp_path: Path) -> None:
    """Files at any depth, in the order of their paths; files of other kinds are no rows."""
    for index, name in enumerate(["b.jsonl", "a/z.parquet", "a/b/c.json", "c.jsonl.gz"]):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(
            FORMATS[
                {".json": "array.json", ".gz": "lines.jsonl.gz", ".parquet": "groups.parquet"}.get(path.suffix, "lines.jsonl")
            ]([{"id": index}])
        )
    (tmp_path / "README.md").write_text("# no rows")
    (tmp_path / "a" / "x.txt").write_text("no rows")
    assert [row["id"] for row in good(read(tmp_path))] == [2, 1, 0, 3]
    assert {unit_.place for unit_ in opened(tmp_path).units()} == {"a/b/c.json", "a/z.parquet", "b.jsonl", "c.jsonl.gz"}


@pytest.mark.parametrize("pattern", ["*.jsonl", "**/*.jsonl", "[ab].jsonl", "?.jsonl"])
def test_globs_take_what_matches(pattern: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative and absolute patterns, in the order of the paths."""
    for name in "ba":
        (tmp_path / f"{name}.jsonl").write_bytes(lines([{"id": name}]))
    assert [row["id"] for row in good(read(f"{tmp_path}/{pattern}"))] == ["a", "b"]
    monkeypatch.chdir(tmp_path)
    assert [row["id"] for row in good(read(pattern))] == ["a", "b"]


def test_a_name_with_a_globs_signs_is_a_name_where_it_exists(tmp_path: Path) -> None:
    """`rows[1].jsonl` is read, not taken for a pattern."""
    (tmp_path / "rows[1].jsonl").write_bytes(lines(ROWS))
    assert read(tmp_path / "rows[1].jsonl") == ROWS


@pytest.mark.parametrize("name", ["lines.jsonl", "array.json", "groups.parquet", "lines.jsonl.gz"])
def test_files_without_rows_give_none(name: str, tmp_path: Path) -> None:
    """An empty list of rows is no damage."""
    data = {"groups.parquet": parquet([{"a": 1}][:0] or [{"a": 1}])}.get(name)
    (tmp_path / name).write_bytes(pq_empty() if data else FORMATS[name]([]))
    assert read(tmp_path / name) == []


def pq_empty() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"a": pa.array([], pa.string())}), sink)
    return sink.getvalue()


def test_a_file_of_no_bytes_gives_no_rows(tmp_path: Path) -> None:
    """An empty text file holds no rows; an empty file that must have a header is damaged."""
    for name in ("a.jsonl", "b.json", "c.jsonl.gz", "d.jsonl.zst"):
        (tmp_path / name).touch()
    assert read(tmp_path) == []
    (tmp_path / "e.parquet").touch()
    assert reasons(read(tmp_path)) == ["unreadable-file"]


# ------------------------------------------------------------------------------------------------------------------ bounds


def test_units_are_bounded_by_rows_and_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No unit holds more than ROWS_PER_UNIT rows, nor more bytes than BYTES_PER_UNIT and one row; nor does its pickle."""
    rows = [{"id": i, "text": random.Random(i).randbytes(1000).hex()} for i in range(200)]
    for module in (files, unit):
        monkeypatch.setattr(module, "BYTES_PER_UNIT", 20_000)
    for name in ("lines.jsonl", "array.json", "one-group.parquet", "lines.jsonl.zst"):
        (tmp_path / name).write_bytes(FORMATS[name](rows))
        units = list(opened(tmp_path / name).units())
        assert outcomes(units) == rows
        assert len(units) > 200 // unit.ROWS_PER_UNIT + 1
        assert max(len(pickle.dumps(unit_)) for unit_ in units) < 20_000 + 2_100 + 4_000
    small = [{"id": i} for i in range(200)]
    for name in ("lines.jsonl", "array.json", "one-group.parquet"):
        (tmp_path / name).write_bytes(FORMATS[name](small))
        assert [len(outcomes([unit_])) for unit_ in opened(tmp_path / name).units()] == [64, 64, 64, 8]


@pytest.mark.parametrize(
    "name", ["lines.jsonl", "array.json", "indented.json", "lines.jsonl.gz", "array.json.zst", "groups.parquet"]
)
def test_a_row_that_is_too_large_is_one_reject(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stands where the row stood; the rows around it are kept."""
    for module in (files, unit):
        monkeypatch.setattr(module, "MAX_ROW_BYTES", 1 << 20, raising=False)
    large = {"id": "large", "text": '}],[{"\\\n' * 400_000, "nested": {"list": []}}
    rows = [*ROWS[:70], large, *ROWS[70:100], large]
    (tmp_path / name).write_bytes(FORMATS[name](rows))
    got = read(tmp_path / name)
    assert [row.reason if isinstance(row, RowError) else row for row in got] == [
        "row-too-large" if row is large else row for row in rows
    ]


@pytest.mark.parametrize("name", ["row.jsonl", "row.json", "row.json.gz"])
def test_a_row_of_50_megabytes_never_stands_in_memory(name: str, tmp_path: Path) -> None:
    """What is held while reading past it stays near MAX_ROW_BYTES."""
    import tracemalloc

    row = b'{"id": "a", "text": "' + b"x\\n" * (50_000_000 // 3) + b'"}'
    data = b"[" + row + b', {"id": "b"}]' if ".json." in name + "." and "jsonl" not in name else row + b'\n{"id": "b"}\n'
    (tmp_path / name).write_bytes(gzip.compress(data, 1) if name.endswith(".gz") else data)
    del row, data
    tracemalloc.start()
    try:
        got = read(tmp_path / name)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert reasons(got) == ["row-too-large"]
    assert good(got) == [{"id": "b"}]
    assert peak < 3 * unit.MAX_ROW_BYTES


# ------------------------------------------------------------------------------------------------------------------ damage


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[1]", "wrong-type"),
        ("3", "wrong-type"),
        ("null", "wrong-type"),
        ('"text"', "wrong-type"),
        ("NaN", "wrong-type"),
        ("{'a': 1}", "invalid-json"),
        ('{"a": 1', "invalid-json"),
        ('{"a": ' + "9" * 5000 + "}", "invalid-json"),
        ("[" * 100_000 + "]" * 100_000, "invalid-json"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "invalid-json"),
    ],
    ids=lambda value: value[:12],
)
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json"])
def test_what_is_no_row_costs_itself_alone(text: str, expected: str, name: str, tmp_path: Path) -> None:
    """In lines and in arrays alike, the rows before and after it are kept."""
    around = ['{"id": "a"}', text, '{"id": "b"}']
    content = "\n".join(around) if name == "rows.jsonl" else "[" + ",".join(around) + "]"
    if name == "rows.json" and text == '{"a": 1':
        pytest.skip("an array cannot be told where an element ends that does not close")
    (tmp_path / name).write_text(content)
    got = read(tmp_path / name)
    assert good(got) == [{"id": "a"}, {"id": "b"}]
    assert reasons(got) == [expected]


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json"])
def test_numbers_and_text_that_json_allows_are_kept(name: str, tmp_path: Path) -> None:
    """NaN, infinities, numbers of any size, lone surrogates and null bytes are values like others: later stages judge them."""
    texts = [
        '{"a": NaN}',
        '{"a": 1e400}',
        '{"a": -Infinity}',
        '{"a": 123456789012345678901234567890}',
        '{"a": "\\ud800\\u0000"}',
    ]
    (tmp_path / name).write_text("\n".join(texts) if name == "rows.jsonl" else "[" + ",".join(texts) + "]")
    got = good(read(tmp_path / name))
    assert len(got) == len(texts)
    assert got[3:] == [{"a": 123456789012345678901234567890}, {"a": "\ud800\x00"}]


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json"])
def test_invalid_utf8_costs_its_row_alone(name: str, tmp_path: Path) -> None:
    """Latin-1 in one row leaves the others."""
    texts = [b'{"id": "a"}', '{"id": "é"}'.encode("latin-1"), b'{"id": "b"}']
    (tmp_path / name).write_bytes(b"\n".join(texts) if name == "rows.jsonl" else b"[" + b",".join(texts) + b"]")
    got = read(tmp_path / name)
    assert good(got) == [{"id": "a"}, {"id": "b"}]
    assert reasons(got) == ["invalid-utf8"]


@pytest.mark.parametrize(
    "text",
    [
        '[{"a": 1}, {"a"',
        '[{"a": 1}',
        '[{"a": 1},',
        '[{"a": 1}] {"b": 2}',
        '[{"a": 1}][{"a": 2}]',
        '[{"a": 1}]' + " " * 9000 + "x",
    ],
)
def test_an_array_that_does_not_end_as_one_is_damaged(text: str, tmp_path: Path) -> None:
    """The rows that came whole are kept, and one reject names the file."""
    (tmp_path / "a.json").write_text(text)
    got = read(tmp_path / "a.json")
    assert good(got) == [{"a": 1}]
    assert reasons(got) == ["unreadable-file"]


JSON_ROWS = st.lists(
    st.dictionaries(
        st.text(max_size=5),
        st.recursive(
            st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(max_size=3), x), max_leaves=5
        ),
        max_size=4,
    ),
    max_size=20,
)


class Dribble(io.BytesIO):
    """A stream that gives a few bytes at a time."""

    def read1(self, size: int | None = -1, /) -> bytes:
        return super().read1(min(size or 3, 3))


@given(JSON_ROWS, st.sampled_from([None, 0, 2]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_arrays_are_cut_where_json_says(rows: Rows, indent: int | None, ascii_only: bool) -> None:
    """However the array is written, and however its bytes come in, its elements are those that json reads."""
    stream = Dribble(json.dumps(rows, indent=indent, ensure_ascii=ascii_only).encode("utf-8", errors="surrogatepass"))
    elements = [element for element in files._bounded_elements(stream) if element and element.strip()]  # type: ignore[arg-type]
    assert [json.loads(element) for element in elements] == rows


DAMAGES: dict[str, bytes] = {
    "cut.jsonl.gz": gzip.compress(lines(ROWS))[:-30],
    "no-gzip.jsonl.gz": lines(ROWS),
    "garbage-after.jsonl.gz": gzip.compress(b"") + b"garbage",
    "flipped.jsonl.gz": gzip.compress(lines(ROWS))[:-8] + bytes(8),
    "cut.jsonl.zst": zst(lines(ROWS))[:-30],
    "no-zstd.jsonl.zst": lines(ROWS),
    "cut.parquet": parquet(ROWS)[:-30],
    "headless.parquet": parquet(ROWS)[:2000],
    "no-parquet.parquet": lines(ROWS),
    "pages.parquet": (lambda data: data[:600] + bytes(600) + data[1200:])(parquet(ROWS)),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_file_ends_in_one_reject_that_names_it(name: str, tmp_path: Path) -> None:
    """In the middle of a folder: rows of other files are kept, rows before the damage may be, and one reject names the file."""
    (tmp_path / "a.jsonl").write_bytes(lines(ROWS[:100]))
    (tmp_path / f"b-{name}").write_bytes(DAMAGES[name])
    (tmp_path / "c.parquet").write_bytes(parquet(ROWS[100:]))
    source = opened(tmp_path)
    places = [(place, row) for unit_ in source.units() for place, row in unit_.rows()]
    got = [row for _, row in places]
    assert got[:100] == ROWS[:100]
    assert got[-200:] == ROWS[100:]
    damage = [(place, row.reason) for place, row in places if isinstance(row, RowError)]
    assert damage == [(f"b-{name}", "unreadable-file")]
    assert sum(unit_.advance for unit_ in source.units()) == source.size


@given(st.integers(0, 2**32), st.sampled_from(["one-group.parquet", "lines.jsonl.gz", "lines.jsonl.zst", "array.json"]))
@settings(max_examples=60, deadline=None)
def test_flipped_bytes_are_no_crash(tmp_path_factory: pytest.TempPathFactory, seed: int, name: str) -> None:
    """A file with random bytes flipped gives rows and rejects, or one SourceError."""
    chance = random.Random(seed)
    data = bytearray(FORMATS[name](ROWS))
    for _ in range(chance.choice([1, 3, 30])):
        data[chance.randrange(len(data))] = chance.randrange(256)
    path = tmp_path_factory.mktemp("flipped") / name
    path.write_bytes(data)
    with contextlib.suppress(SourceError):
        read(path)


def test_a_truncated_file_keeps_all_rows_before_the_cut(tmp_path: Path) -> None:
    """What could be decompressed is not lost with the rest, for either compression."""
    rows = [{"id": i, "noise": random.Random(i).random()} for i in range(20_000)]
    for name, data in (("a.jsonl.gz", gzip.compress(lines(rows))), ("b.jsonl.zst", zst(lines(rows)))):
        (tmp_path / name).write_bytes(data[: len(data) // 2])
        got = read(tmp_path / name)
        assert reasons(got) == ["unreadable-file"]
        assert good(got) == rows[: len(got) - 1]
        assert len(got) > 7_000


@pytest.mark.parametrize(
    ("name", "after", "damaged"),
    [
        ("a.jsonl.gz", bytes(1), False),
        ("a.jsonl.gz", bytes(10_000), False),
        ("a.json.gz", bytes(511), False),
        ("a.jsonl.gz", b"garbage", True),
        ("a.jsonl.gz", bytes(100) + b"garbage", True),
        ("a.json.gz", b"\n", True),
        ("a.jsonl.gz", gzip.compress(lines(ROWS))[:40], True),
        ("a.jsonl.zst", b"garbage", True),
        ("a.jsonl.zst", bytes(100), True),
        ("a.jsonl.zst", zst(lines(ROWS))[:40], True),
    ],
    ids=count(),
)
def test_bytes_behind_a_compressed_file_cost_no_row(name: str, after: bytes, damaged: bool, tmp_path: Path) -> None:
    """Zero bytes pad a gzip file, as tapes and block devices do; other bytes are named, and every row before them is kept."""
    plain = json.dumps(ROWS).encode() if ".json." in name else lines(ROWS)
    data = gzip.compress(plain) if name.endswith(".gz") else zst(plain)
    (tmp_path / name).write_bytes(data + after)
    got = read(tmp_path / name)
    assert good(got)[: len(ROWS)] == ROWS
    assert reasons(got) == (["unreadable-file"] if damaged else [])


@given(st.floats(0, 1), st.booleans())
@settings(max_examples=25, deadline=None)
def test_a_cut_file_keeps_every_line_that_can_be_had(
    tmp_path_factory: pytest.TempPathFactory, share: float, flip: bool
) -> None:
    """Of a gzip file that is cut or damaged anywhere: all lines that a byte-by-byte decompressor gives before that."""
    data = gzip.compress(lines(ROWS))
    at = 10 + int(share * (len(data) - 30))
    data = data[:at] + (bytes([data[at] ^ 0xFF]) + data[at + 1 :] if flip else b"")
    decompressor = zlib.decompressobj(wbits=31)
    given_back = b""
    with contextlib.suppress(zlib.error):
        for byte in data:
            given_back += decompressor.decompress(bytes([byte]))
    path = tmp_path_factory.mktemp("cut") / "a.jsonl.gz"
    path.write_bytes(data)
    whole_lines = given_back.count(b"\n")
    got = read(path)
    assert len(got) >= whole_lines
    assert reasons(got)[-1:] == ["unreadable-file"] or decompressor.eof


def test_parquet_values_that_python_lacks_cost_their_row_alone(tmp_path: Path) -> None:
    """A date beyond the year 9999, text that is not UTF-8."""
    dates = pa.array([0, 10**8, 1], pa.int32()).cast(pa.date32())
    pq.write_table(pa.table({"id": ["a", "b", "c"], "date": dates}), tmp_path / "dates.parquet")
    got = read(tmp_path / "dates.parquet")
    assert [row["id"] for row in good(got)] == ["a", "c"]
    assert good(got)[0]["date"] == datetime.date(1970, 1, 1)
    assert reasons(got) == ["invalid-value"]
    bad_text = pa.Array.from_buffers(pa.string(), 3, pa.array([b"a", b"\xff", b"c"]).buffers())
    pq.write_table(pa.table({"id": bad_text}), tmp_path / "text.parquet")
    got = read(tmp_path / "text.parquet")
    assert [row["id"] for row in good(got)] == ["a", "c"]
    assert reasons(got) == ["invalid-utf8"]


def test_a_parquet_file_without_columns_gives_rows_without_fields(tmp_path: Path) -> None:
    """Rows are counted also where they hold nothing."""
    pq.write_table(pa.table({"a": [1, 2]}).select([]), tmp_path / "a.parquet")
    assert all(row == {} for row in read(tmp_path / "a.parquet"))


# ------------------------------------------------------------------------------------------------------------ what is none


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "nope.jsonl",
        "no/such/folder",
        "/no/such/file.jsonl",
        "*.nope",
        "**nope/*",
        "x" * 5000,
        "~nobody-of-that-name/rows.jsonl",
        "nvidia/Open Code Reasoning",
        "notes.txt",
        "empty",
        "rows.csv",
        "fifo",
    ],
    ids=lambda spec: spec[:30],
)
def test_what_cannot_be_a_source_is_one_line(spec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names what was asked for, on one line."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(SourceError) as caught:
        opened(spec)
    assert "\n" not in str(caught.value)
    assert spec[:100] in str(caught.value)


def test_a_file_that_is_gone_is_one_line(tmp_path: Path) -> None:
    """A file removed between listing and reading, and a link that leads nowhere, are errors, not fewer rows."""
    (tmp_path / "a.jsonl").write_bytes(lines(ROWS))
    (tmp_path / "b.jsonl").write_bytes(lines(ROWS))
    source = opened(tmp_path)
    (tmp_path / "b.jsonl").unlink()
    with pytest.raises(SourceError, match=r"b\.jsonl cannot be read"):
        list(source.units())
    (tmp_path / "b.jsonl").symlink_to("nowhere")
    with pytest.raises(SourceError, match=r"b\.jsonl"):
        list(opened(tmp_path).units())


def test_the_identity_follows_the_files(tmp_path: Path) -> None:
    """It is stable, does not name the folder's place, and changes with a file's name or size."""
    for folder in ("one", "two"):
        (tmp_path / folder / "rows").mkdir(parents=True)
        (tmp_path / folder / "rows" / "a.jsonl").write_bytes(lines(ROWS))
    first, second = (opened(tmp_path / folder / "rows").identity() for folder in ("one", "two"))
    assert first == second == stored_identity(first)
    (tmp_path / "one" / "rows" / "a.jsonl").write_bytes(lines(ROWS[1:]))
    assert opened(tmp_path / "one" / "rows").identity() != second
