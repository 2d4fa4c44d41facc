"""Whatever a user gets wrong, through the command: one line and exit code 2, or rejected rows that add up. No traceback."""

import gzip
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from parameters import slow_but

from syntaxdiff.pipeline.cli import main
from syntaxdiff.pipeline.shard import REJECTS, Manifest, iter_row_groups, read_manifest
from syntaxdiff.pipeline.splits import SPLITS

FAST = ("--tokenizer", "train:400", "--workers", "1")
GOOD = {"id": "good", "prompt": "Double a number.", "reasoning": "Multiply.", "code": "def f(x):\n    return 2 * x"}


def prep(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


def write_rows(path: Path, rows: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def check_refused(result: Result, *named: str) -> str:
    """Holds a result to exit code 2 and one line that names what is wrong, behind a progress bar at most."""
    assert result.exit_code == 2, (result.stdout, result.stderr, result.exception)
    lines = [
        line
        for line in result.stderr.replace("\r", "\n").splitlines()
        if line.strip() and "rows/s" not in line and "?B/s" not in line
    ]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    assert "Traceback" not in result.output
    for name in named:
        assert name in lines[0]
    return lines[0]


def check_accounts(out: Path, rows_read: int | None = None) -> Manifest:
    """Holds a folder to its accounts: rows read are samples and rejects, and the rejects' file says the same."""
    manifest = read_manifest(out)
    samples = sum(manifest.num_samples(split) for split in SPLITS)
    rejects = pq.read_table(out / REJECTS).to_pylist()
    assert manifest.rows_read == samples + len(rejects)
    assert Counter(reject["reason"] for reject in rejects) == Counter(manifest.rejected)
    assert all(reject["source_id"] for reject in rejects)
    if rows_read is not None:
        assert manifest.rows_read == rows_read
    return manifest


def built(out: Path, *arguments: str | Path, rows_read: int | None = None) -> Manifest:
    result = prep("build", "--out", out, *arguments)
    assert result.exit_code == 0, (result.stderr, result.exception)
    return check_accounts(out, rows_read)


def source_ids(out: Path, manifest: Manifest) -> list[str]:
    tables = [table for split in SPLITS for shard in manifest.splits[split] for table in iter_row_groups(out, shard)]
    return sorted(name.rsplit("-", 1)[0] for table in tables for name in table["sample_id"].to_pylist())


# ---------------------------------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--tokenizer", "train:abc"], ["train:abc"]),
        (["--tokenizer", "train:"], ["train:"]),
        (["--tokenizer", "train:-400"], ["train:-400"]),
        (["--tokenizer", "train:12"], ["train:12", "300"]),
        (["--tokenizer", "train:4e3"], ["train:4e3"]),
        (["--tokenizer", "train:²"], ["train:²"]),
        (["--tokenizer", "/no/such/folder"], ["/no/such/folder"]),
        (["--tokenizer", "./rows.jsonl"], ["rows.jsonl"]),
        (["--tokenizer", "empty"], ["empty"]),
        (["--tokenizer", "nobody/nothing-of-that-name"], ["nobody/nothing-of-that-name"]),
        (["--languages", "python,cobol"], ["cobol", "rust"]),
        (["--languages", ""], ["--languages"]),
        (["--languages", " , "], ["--languages"]),
        (["--max-length", "3"], ["--max-length 3"]),
        (["--max-length", "-1"], ["--max-length -1"]),
        (["--limit", "0"], ["--limit 0"]),
        (["--validation-size", "-1"], ["--validation-size -1"]),
        (["--limit", "5", "--validation-size", "5"], ["--limit 5", "--validation-size 5"]),
        (["--validation-size", "3"], ["--validation-size 3"]),
        (["--shard-rows", "0"], ["--shard-rows 0"]),
        (["--workers", "0"], ["--workers 0"]),
        (["--seed", "-1"], ["--seed -1"]),
        (["--prompt-field", "prompt"], ["--prompt-field", "--response-field"]),
        (["--reasoning-field", "reasoning"], ["--reasoning-field", "--code-field"]),
        (["--questions", "/no/such/folder"], ["/no/such/folder"]),
        (["--mask-token", "<|endoftext|>"], ["<|endoftext|>"]),
        (["--src", "nope.jsonl"], ["nope.jsonl"]),
        (["--src", ""], ["--src"]),
        (["--src", "empty"], ["empty"]),
        (["--src", "*.nope"], ["*.nope"]),
        (["--src", "nobody/nothing-of-that-name"], ["nobody/nothing-of-that-name"]),
        (["--src", "x" * 300], ["xxx"]),
    ],
    ids=" ".join,
)
def test_what_cannot_be_is_one_line(
    arguments: list[str], named: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong option ends with the option named, exit code 2, and no folder of shards."""
    import datasets
    import huggingface_hub.constants

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "rows.jsonl", [{**GOOD, "prompt": f"P{i}", "id": str(i)} for i in range(3)])
    (tmp_path / "empty").mkdir()
    check_refused(prep("build", "--src", "rows.jsonl", "--out", "out", *FAST, *arguments), *named)
    assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.parametrize(
    "arguments",
    [["--engine", "magic"], ["--overlength", "shrink"], ["--limit", "many"], ["--nope"], ["--workers", "1.5"]],
    ids=" ".join,
)
def test_what_the_command_line_knows_is_refused_by_it(arguments: list[str], tmp_path: Path) -> None:
    """Unknown options, choices and values of another type exit with 2 and one line that names the option."""
    result = prep("build", "--src", write_rows(tmp_path / "rows.jsonl", [GOOD]), "--out", tmp_path / "out", *arguments)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert arguments[0] in line


def byt5(folder: Path) -> None:
    config = {"tokenizer_class": "ByT5Tokenizer", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def no_json(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{")
    (folder / "tokenizer_config.json").write_text("{}")


def lower_case(folder: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={char: i for i, char in enumerate([*alphabet, "</s>"])}, merges=[]))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    make: Any = PreTrainedTokenizerFast  # its constructor bears no types
    make(tokenizer_object=backend, eos_token="</s>").save_pretrained(folder)


@pytest.mark.parametrize("make", [byt5, no_json, lower_case])
def test_a_tokenizer_that_cannot_align_is_one_line(make: Callable[[Path], None], tmp_path: Path) -> None:
    """A slow one, a damaged one, and one that loses case are refused before anything is read."""
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    make(folder)
    rows = write_rows(tmp_path / "rows.jsonl", [GOOD])
    check_refused(prep("build", "--src", rows, "--out", tmp_path / "out", "--workers", "1", "--tokenizer", folder), str(folder))


# --------------------------------------------------------------------------------------------------------------- the folder


def test_a_folder_that_cannot_be_taken_is_one_line(tmp_path: Path) -> None:
    """A file in its place, another's shards, and shards built with other settings are refused and left alone."""
    rows = write_rows(tmp_path / "rows.jsonl", [{**GOOD, "prompt": f"P{i}"} for i in range(3)])
    (tmp_path / "file").write_text("mine")
    check_refused(prep("build", "--src", rows, "--out", tmp_path / "file", *FAST), "file")
    check_refused(prep("build", "--src", rows, "--out", tmp_path / "file" / "below", *FAST), "file")
    assert (tmp_path / "file").read_text() == "mine"
    (tmp_path / "other" / "train").mkdir(parents=True)
    check_refused(prep("build", "--src", rows, "--out", tmp_path / "other", *FAST), "train")
    built(tmp_path / "out", "--src", rows, *FAST, rows_read=3)
    check_refused(prep("build", "--src", rows, "--out", tmp_path / "out", *FAST, "--max-length", "999"), "max-length", "999")
    (tmp_path / "out" / "manifest.json").write_text("{")
    check_refused(prep("build", "--src", rows, "--out", tmp_path / "out", *FAST), "manifest.json")


@pytest.mark.slow
def test_two_builds_at_once_in_one_folder_do_not_meet(tmp_path: Path) -> None:
    """The second is refused with one line while the first runs; the first ends as if alone."""
    rows = write_rows(tmp_path / "rows.jsonl", [{**GOOD, "prompt": f"P{i}"} for i in range(3000)])
    command = [sys.executable, "-c", "from syntaxdiff.pipeline.cli import main; main()"]
    arguments = ["build", "--src", str(rows), "--out", str(tmp_path / "out"), *FAST]
    first = subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "out" / ".build" / "lock").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    result = prep(*arguments)
    output, errors = first.communicate(timeout=120)
    check_refused(result, "another build")
    assert first.returncode == 0, output + errors
    check_accounts(tmp_path / "out", 3000)


@pytest.mark.parametrize("command", ["stats", "show", "verify"])
def test_other_commands_refuse_what_is_no_folder_of_shards(command: str, tmp_path: Path) -> None:
    """No folder, an empty one, and one whose manifest is damaged are one line."""
    check_refused(prep(command, tmp_path / "nope"), "nope")
    check_refused(prep(command, tmp_path))
    (tmp_path / "manifest.json").write_text('{"schema_version": 1}')
    check_refused(prep(command, tmp_path), "manifest.json")


# --------------------------------------------------------------------------------------------------------------------- rows

F = "```"
BAD_ROWS: list[tuple[str, str]] = [
    ('{"prompt": "no code"}', "missing-field"),
    ("{}", "missing-field"),
    ("[]", "wrong-type"),
    ("7", "wrong-type"),
    ('"text"', "wrong-type"),
    ("null", "wrong-type"),
    ('{"prompt": 3, "code": "x = 1"}', "wrong-type"),
    ('{"prompt": "P", "code": ["x = 1"]}', "wrong-type"),
    ('{"prompt": "P", "code": NaN}', "wrong-type"),
    ('{"prompt": "P", "code": 1' + "0" * 400 + "}", "wrong-type"),
    ('{"prompt": "P", "code": 1' + "0" * 5000 + "}", "invalid-json"),
    ('{"prompt": "P", "code": ""}', "empty-code"),
    ('{"prompt": "P", "code": " \\n "}', "empty-code"),
    ('{"prompt": " \\t ", "code": "x = 1"}', "missing-question"),
    ('{"prompt": "-", "code": "x = 1"}', "missing-question"),
    ('{"prompt": "P", "code": "x = \'\\u0000\'"}', "bad-text"),
    ('{"prompt": "P\\ud800", "code": "x = 1"}', "bad-text"),
    ('{"id": "\\udc80", "prompt": "P", "code": "x = 1"}', "bad-text"),
    ('{"prompt": "P", "code": "x = 1", "language": "Malbolge"}', "other-language"),
    ('{"input": "P", "output": "<think>cut"}', "unclosed-think"),
    ('{"input": "P", "output": "<think>\\n```python\\nx = 1\\n```"}', "unclosed-think"),
    ('{"input": "P", "output": "no program"}', "no-code"),
    ('{"messages": []}', "multi-turn"),
    ('{"messages": [{"role": "user"}]}', "wrong-type"),
    ('{"prompt": "P", "code": "x = 1"', "invalid-json"),
    ('{"prompt": "P",, }', "invalid-json"),
    ("[" * 50_000, "invalid-json"),
    ('{"a":' * 50_000, "invalid-json"),
    ('{"prompt": "P", "code": "' + "x = 1\\n" * 20_000 + '"}', "too-long"),
]
ODD_ROWS: list[str] = [
    '{"id": 7, "prompt": "A", "code": "x = 1"}',
    '{"id": null, "prompt": "B", "code": "x = 1"}',
    '{"id": "two\\nlines", "prompt": "C", "code": "x = 1"}',
    '{"id": "' + "long" * 5000 + '", "prompt": "D", "code": "x = 1"}',
    '{"id": 1' + "0" * 400 + ', "prompt": "E", "code": "x = 1"}',
    '{"prompt": "F", "code": "x = 1", "score": NaN, "limit": -Infinity, "list": [[[[]]]]}',
    '{"prompt": "G", "code": "x = 1", "deep": ' + "[" * 500 + "]" * 500 + "}",
    '{"prompt": "H", "code": "' + "(" * 500 + ")" * 500 + '"}',
    '{"prompt": "I", "code": "\\ufeffdef f(:\\r\\n\\t\\u2028\\f\\u0085"}',
    '{"prompt": "J<|endoftext|>", "reasoning": "</think><|mdm_mask|>", "code": "x = \'<|eot_id|>```\'"}',
    '{"prompt": "K", "code": "' + "\\\\n```\\\\n" * 20 + '"}',
    '{"prompt": "L", "code": "x = \'🙂 é 中文 e\\u0301\'"}',
]


@pytest.mark.parametrize("form", ["lines", "array"])
def test_every_bad_row_is_a_reject_with_its_reason(form: str, tmp_path: Path) -> None:
    """Good, odd and bad rows in one file: the odd are samples, the bad are rejects in order, and the accounts add up."""
    texts = [json.dumps(GOOD), *ODD_ROWS]
    bad = [(text, reason) for text, reason in BAD_ROWS if form == "lines" or reason != "invalid-json" or text.endswith("}")]
    for text, _ in bad:
        texts += [text, json.dumps({**GOOD, "id": f"after-{len(texts)}", "prompt": f"after {len(texts)}"})]
    texts.append(json.dumps(GOOD))
    path = tmp_path / ("rows.jsonl" if form == "lines" else "rows.json")
    content = "\n".join(texts) if form == "lines" else "[" + ",\n".join(texts) + "]"
    data = content.encode()
    if form == "lines":
        data += b'\n{"prompt": "P", "code": "\xff"}\n'
    path.write_bytes(data)
    out = tmp_path / "out"
    manifest = built(out, "--src", path, *FAST, "--validation-size", "0", rows_read=len(texts) + (form == "lines"))
    reasons = [reject["reason"] for reject in pq.read_table(out / REJECTS).to_pylist()]
    assert reasons == [reason for _, reason in bad] + ["duplicate"] + ["invalid-utf8"] * (form == "lines")
    assert manifest.num_samples("train") == 1 + len(ODD_ROWS) + len(bad)
    assert prep("verify", out).exit_code == 0


def test_a_row_of_50_megabytes_is_a_reject(tmp_path: Path) -> None:
    """In JSON lines and in Parquet, with the rows around it kept, in seconds."""
    rows = [GOOD, {**GOOD, "code": "x = 1\n" * (50_000_000 // 6)}, {**GOOD, "prompt": "after"}]
    write_rows(tmp_path / "src" / "a.jsonl", rows)
    pq.write_table(
        pa.Table.from_pylist([{**row, "prompt": row["prompt"] + " too"} for row in rows]), tmp_path / "src" / "b.parquet"
    )
    manifest = built(tmp_path / "out", "--src", tmp_path / "src", *FAST, rows_read=6)
    assert manifest.rejected == {"row-too-large": 2}


def test_unreadable_files_in_a_folder_cost_themselves_alone(tmp_path: Path) -> None:
    """A cut-off archive, a cut-off and a false Parquet file, among good ones: each is one reject that names it."""
    folder = tmp_path / "src"
    rows = [{**GOOD, "id": f"{i}", "prompt": f"P{i}"} for i in range(40)]
    write_rows(folder / "a.jsonl", rows[:20])
    (folder / "b.jsonl.gz").write_bytes(gzip.compress((folder / "a.jsonl").read_bytes())[:-200])
    pq.write_table(pa.Table.from_pylist(rows), folder / "c.parquet")
    (folder / "c.parquet").write_bytes((folder / "c.parquet").read_bytes()[:-50])
    (folder / "d.parquet").write_text("no Parquet")
    (folder / "e.jsonl.zst").write_text("no archive")
    (folder / "f.jsonl").touch()
    write_rows(folder / "g.jsonl", rows[20:])
    out = tmp_path / "out"
    manifest = built(out, "--src", folder, *FAST, "--validation-size", "0")
    assert manifest.num_samples("train") == 40
    rejects = [row for row in pq.read_table(out / REJECTS).to_pylist() if row["reason"] == "unreadable-file"]
    assert [row["source_id"].split(":")[0] for row in rejects] == ["b.jsonl.gz", "c.parquet", "d.parquet", "e.jsonl.zst"]


@pytest.mark.parametrize(
    ("rows", "arguments", "named"),
    [
        ([], [], ["no rows"]),
        ([{"text": "a", "answer": "b"}], [], ["answer, text", "--prompt-field"]),
        ([{"question": "a"}], ["--prompt-field", "question", "--code-field", "nope"], ["question"]),
        ([{"prompt": "P", "code": ""}] * 3, [], ["3 empty-code"]),
        ([{"prompt": "-", "code": "x = 1"}], [], ["1 missing-question"]),
        ([[1], "a", None], [], ["3 wrong-type"]),
    ],
    ids=["no rows", "unknown fields", "missing named field", "empty code", "no statement", "no objects"],
)
def test_a_source_that_gives_nothing_is_one_line(
    rows: list[Any], arguments: list[str], named: list[str], tmp_path: Path
) -> None:
    """It says why, and the same command says it again."""
    source = write_rows(tmp_path / "rows.jsonl", rows)
    for _ in range(2):
        check_refused(prep("build", "--src", source, "--out", tmp_path / "out", *FAST, *arguments), *named)


def test_errors_stay_on_one_line_whatever_they_quote(tmp_path: Path) -> None:
    """Names of fields, files and splits may hold line ends."""
    source = write_rows(tmp_path / "rows.jsonl", [{"a\nb": 1, "c\r\nd": 2}])
    check_refused(prep("build", "--src", source, "--out", tmp_path / "out", *FAST), "--prompt-field")
    check_refused(prep("build", "--src", "no\nfile", "--out", tmp_path / "out", *FAST))


def test_python_files_that_cannot_be_read_are_rejects(tmp_path: Path) -> None:
    """Wrong syntax, wrong encodings, depth beyond Python's own recursion: one reject each."""
    for name, data in {
        "a.py": b"def f():\n    return 1\n",
        "b.py": b"def f(:\n",
        "c.py": b"def f(): '\xff'\n",
        "d.py": b"# coding: nope\n",
        "e.py": b"def f(x=" + b"1+" * 5000 + b"1): pass\n",
        "f.py": b"",
        "g.py": b"def g():\n    return '\\ud800\\x00'\n",
    }.items():
        (tmp_path / "src").mkdir(exist_ok=True)
        (tmp_path / "src" / name).write_bytes(data)
    manifest = built(tmp_path / "out", "--src", tmp_path / "src", *FAST)
    assert manifest.rejected == {"unparsable-file": 4}


# ---------------------------------------------------------------------------------------------------------------- real data

REAL: dict[str, tuple[list[str], int]] = {
    "traces/r1-codeforces-450.jsonl.gz": (["--allow-missing-prompt"], 450),
    "traces/r1-fences-inside-think-20.jsonl.gz": (["--response-field", "response", "--allow-missing-prompt"], 20),
    "programs/leetcode-train.jsonl.gz": (["--prompt-field", "query", "--response-field", "response"], 1890),
    "programs/python-cpp-pairs-1000.jsonl.gz": (["--prompt-field", "slug", "--code-field", "cpp", "--languages", "cpp"], 1000),
    "problems/HumanEval.jsonl.gz": (["--prompt-field", "prompt", "--code-field", "canonical_solution"], 164),
    "problems/mbpp.jsonl": (["--prompt-field", "text", "--code-field", "code"], 974),
    "problems/sanitized-mbpp.json": (["--prompt-field", "prompt", "--code-field", "code"], 427),
}
SMALL = ["problems/HumanEval.jsonl.gz", "problems/sanitized-mbpp.json", "traces/r1-fences-inside-think-20.jsonl.gz"]


@pytest.mark.parametrize("name", slow_but(SMALL, REAL))
def test_real_rows_are_accounted_for(name: str, shared_data: Path, tmp_path: Path) -> None:
    """Every row of a real file is a sample or a reject with its reason, and what was built verifies."""
    options, count = REAL[name]
    built(
        tmp_path / "out",
        "--src",
        shared_data / name,
        "--tokenizer",
        "train:400",
        "--max-length",
        "32768",
        *options,
        rows_read=count,
    )
    assert prep("verify", tmp_path / "out").exit_code == 0


@pytest.mark.slow
def test_both_programs_of_a_pair_build(shared_data: Path, tmp_path: Path) -> None:
    """The same file twice, by its Python and by its C++ programs."""
    source = shared_data / "programs/python-cpp-pairs-1000.jsonl.gz"
    for language in ("python", "cpp"):
        options = ["--prompt-field", "slug", "--code-field", language, "--languages", language]
        manifest = built(tmp_path / language, "--src", source, *FAST, *options, rows_read=1000)
        assert list(manifest.languages) == [language]


def test_traces_without_statement_say_so(shared_data: Path, tmp_path: Path) -> None:
    """Without questions and without leave to miss them, all traces are rejected for that, and the command fails."""
    with gzip.open(shared_data / "traces/r1-codeforces-450.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for line in list(file)[:60]]
    source = write_rows(tmp_path / "rows.jsonl", rows)
    line = check_refused(prep("build", "--src", source, "--out", tmp_path / "out", *FAST))
    assert "missing-question" in line
    manifest = built(tmp_path / "kept", "--src", source, *FAST, "--allow-missing-prompt", "--max-length", "60000", rows_read=60)
    assert set(manifest.rejected) <= {"unclosed-think", "no-code", "too-long", "other-language"}
    assert manifest.num_samples("train") > 30


def test_statements_reach_the_samples(shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--questions` fetches them in the workers; a row without one is a reject, a folder that lacks a source an error."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    answer = "<think>\nAdd.\n</think>\n```python\nprint(sum(map(int, input().split())))\n```"
    keys = {"dataset": "taco", "split": "train"}
    rows = [{"id": str(i), "input": "-", "output": answer, "index": str(i), **keys} for i in range(4)]
    rows += [{"id": "5", "question": "-", "r1_generation": answer, "index": "1", **keys}]
    source = write_rows(tmp_path / "rows.jsonl", rows)
    write_rows(tmp_path / "questions/taco/train.jsonl", [{"question": f"Add {i}."} for i in range(3)])
    options = [*FAST, "--src", str(source), "--questions", str(tmp_path / "questions")]
    manifest = built(tmp_path / "out", *options, rows_read=5)
    assert manifest.rejected == {"duplicate": 1, "missing-question": 1}
    assert source_ids(tmp_path / "out", manifest) == ["0", "1", "2"]
    (tmp_path / "questions/taco/train.jsonl").unlink()
    check_refused(prep("build", "--out", tmp_path / "bad", *options), "--questions", "taco")


def test_the_standard_library_builds_with_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`stdlib` needs no file and stops at the limit."""
    monkeypatch.setattr("syntaxdiff.pipeline.build.TRAINING_TEXT_BYTES", 1 << 18)
    manifest = built(tmp_path / "out", "--src", "stdlib", *FAST, "--limit", "50", "--validation-size", "5")
    assert (manifest.num_samples("train"), manifest.num_samples("validation")) == (45, 5)
