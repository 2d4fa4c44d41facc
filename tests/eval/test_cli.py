"""`syntaxdiff-eval` as a person runs it: what it prints, one-line errors, and what is left when it is stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from evaluations import samples_of, write_problems
from tiny_checkpoint import export_tiny

from syntaxdiff.eval.cli import main

SCRIPT = [sys.executable, "-c", "from syntaxdiff.eval.cli import main; main()"]


@pytest.fixture(scope="module")
def ckpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def problems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_problems(tmp_path_factory.mktemp("problems"))


def run(*arguments: str | Path | float) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


def refused(*arguments: str | Path | float) -> str:
    """The one line of a refusal."""
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


def test_humaneval_from_a_checkpoint(ckpt: Path, problems: Path) -> None:
    """A score with its numbers on the terminal, results next to the weights; the same command again changes nothing."""
    result = run("humaneval", "--ckpt", ckpt, "--problems", problems, "--gen-length", 8, "--workers", 1)
    assert result.exit_code == 0, result.output
    assert "pass@1" in result.stdout
    assert "0/4" in result.stdout
    assert "chat-code  sha256" in result.stdout
    before = samples_of(ckpt / "eval" / "humaneval")
    again = run("humaneval", "--ckpt", ckpt, "--problems", problems, "--gen-length", 8, "--json", "--batch-size", 2)
    assert json.loads(again.stdout)["pass_at_1"]["total"] == 4
    assert samples_of(ckpt / "eval" / "humaneval") == before
    assert "gen_length 8, not 9" in refused("humaneval", "--ckpt", ckpt, "--problems", problems, "--gen-length", 9)


@pytest.mark.slow
def test_the_way_of_generating(ckpt: Path, problems: Path, tmp_path: Path) -> None:
    """By default the fast way, --plain the paper's rule, and fixed steps need no schedule; what contradicts is refused."""
    common = ("humaneval", "--ckpt", ckpt, "--problems", problems, "--limit", 1, "--gen-length", 8)
    for name, options, expected in (
        ("default", (), ("threshold", "dual", None)),
        ("plain", ("--plain",), ("fixed", "none", None)),
        ("steps", ("--num-steps", 4), ("fixed", "dual", 4)),
        ("random", ("--confidence", "random", "--cache", "none"), ("fixed", "none", None)),
        ("factor", ("--schedule", "factor"), ("factor", "dual", None)),
    ):
        assert run(*common, *options, "--out", tmp_path / name).exit_code == 0
        generation = json.loads((tmp_path / name / "results.json").read_text())["settings"]["generation"]
        assert (generation["schedule"], generation["cache"], generation["num_steps"]) == expected, name
    assert "leave it or --cache dual out" in refused(*common, "--plain", "--cache", "dual")
    assert "--num-steps is for" in refused(*common, "--num-steps", 4, "--schedule", "threshold")


def test_references_and_comparison(problems: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--reference passes all and needs no checkpoint; compare takes its folder."""
    monkeypatch.chdir(tmp_path)
    assert run("humaneval", "--reference", "--problems", problems).exit_code == 0
    assert Path("out/eval/reference-humaneval/results.json").exists()
    for name in ("a", "b"):
        result = run("humaneval", "--reference", "--problems", problems, "--out", tmp_path / name)
        assert "100.0%  4/4" in result.stdout
    compared = run("compare", tmp_path / "a", tmp_path / "b")
    assert compared.exit_code == 0
    assert "McNemar" in compared.stdout
    assert json.loads(run("compare", tmp_path / "a", tmp_path / "b", "--json").stdout)["num_problems"] == 4


def test_generate_prints_programs(ckpt: Path, tmp_path: Path) -> None:
    """A prompt gives a program on the terminal; a file of prompts gives JSON lines whose trace writes the answer."""
    result = run("generate", "Sum a list.", "--ckpt", ckpt, "--gen-length", 8)
    assert result.exit_code == 0, result.output
    assert len(result.stdout.strip()) > 0
    (tmp_path / "prompts.txt").write_text("Sum a list.\n\nReverse it.\n")
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "Sum a list."}\n{"prompt": "Reverse it."}\n')
    rows = []
    for name in ("prompts.txt", "prompts.jsonl"):
        out = tmp_path / f"{name}.out"
        result = run("generate", "--prompts", tmp_path / name, "--ckpt", ckpt, "--gen-length", 8, "--out", out, "--trace")
        assert result.exit_code == 0, result.output
        rows.append([json.loads(line) for line in out.read_text().splitlines()])
    assert rows[0] == rows[1]
    assert len(rows[0]) == 2
    for row in rows[0]:
        written = sorted(position for positions, _ in row["trace"] for position in positions)
        assert written[: row["num_tokens"]] == list(range(len(row["prompt_ids"]), len(row["prompt_ids"]) + row["num_tokens"]))
    assert rows[0][0]["answer"] in run("generate", "Sum a list.", "--ckpt", ckpt, "--gen-length", 8, "--answer").stdout


def test_infill_keeps_the_program_around_its_holes(ckpt: Path, tmp_path: Path) -> None:
    """What stands before, between and behind the holes is printed as it was, also from another marker and into a file."""
    program = tmp_path / "program.py"
    program.write_text("def f(x):\n    return <FILL>\n\nprint(f(<FILL>))\n")
    result = run("infill", program, "--ckpt", ckpt, "--hole-tokens", 2)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("def f(x):\n    return ")
    assert "\n\nprint(f(" in result.stdout
    assert result.stdout.endswith("))\n")
    program.write_text(program.read_text().replace("<FILL>", "@@"))
    out = tmp_path / "filled.py"
    assert run("infill", program, "--ckpt", ckpt, "--hole-tokens", 2, "--marker", "@@", "--out", out).exit_code == 0
    assert out.read_text() == result.stdout
    assert "no hole: put <FILL>" in refused("infill", program, "--ckpt", ckpt)
    assert "--hole-tokens 0" in refused("infill", program, "--ckpt", ckpt, "--hole-tokens", 0, "--marker", "@@")


def test_help_has_sections() -> None:
    """Options stand under headings, the model first, and each benchmark has them."""
    for command in ("humaneval", "mbpp", "infilling"):
        text = run(command, "--help").stdout
        places = [
            text.index(f"\n{section}:\n") for section in ("Model", "Problems", "Prompt and answer", "Generation", "Running")
        ]
        assert places == sorted(places)


def test_mistakes_are_one_line(ckpt: Path, problems: Path, tmp_path: Path) -> None:
    """Whatever a user can get wrong is one line on standard error, and exit code 2."""
    other = tmp_path / "other.jsonl"
    other.write_text('{"question": 1}\n')
    assert "--ckpt, or --reference" in refused("mbpp")
    assert "expected HumanEval" in refused("humaneval", "--reference", "--problems", other)
    assert "cannot be read" in refused("humaneval", "--reference", "--problems", tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    assert "config.json" in refused("humaneval", "--ckpt", tmp_path / "empty", "--problems", problems)
    assert "raise --temperature" in refused("humaneval", "--ckpt", ckpt, "--problems", problems, "--candidates", 2)
    assert "give one prompt" in refused("generate", "--ckpt", ckpt)
    assert "name it with --out" in refused("generate", "x", "--ckpt", ckpt, "--trace")
    assert "choose from auto" in refused("generate", "x", "--ckpt", ckpt, "--preset", "wrong")
    assert 'field "prompt"' in refused("generate", "--ckpt", ckpt, "--prompts", other)
    (tmp_path / "binary").write_bytes(b"\xff<FILL>")
    assert "cannot be read" in refused("infill", tmp_path / "binary", "--ckpt", ckpt)
    assert "two or more" in refused("compare", tmp_path)


def start(*arguments: str | Path | int, file_size_limit: int | None = None) -> "subprocess.Popen[str]":
    """The command as a process of its own; files that it writes may have so many bytes."""
    command = [*SCRIPT, *map(str, arguments)]
    if file_size_limit is not None:
        command = ["bash", "-c", f'ulimit -f {file_size_limit // 1024}; exec "$@"', "bash", *command]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_keeps_finished_work(number: int, ckpt: Path, tmp_path: Path) -> None:
    """Ctrl-C and SIGTERM end with 130 and say how to go on; the same command then ends what was begun."""
    problems = write_problems(tmp_path, tuple(range(12)))
    arguments = ("humaneval", "--ckpt", ckpt, "--problems", problems, "--gen-length", 48, "--out", tmp_path / "out")
    process = start(*arguments, "--workers", 1)
    samples = tmp_path / "out" / "samples.jsonl"
    deadline = time.monotonic() + 120
    while not (samples.exists() and samples.read_text().count("\n") >= 2):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.strip().splitlines()[-1] == "stopped: the same command resumes"
    kept = samples_of(tmp_path / "out")
    assert 2 <= len(kept) < 12
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    answers = {sample["task_id"]: sample["answer"] for sample in samples_of(tmp_path / "out")}
    assert len(answers) == 12
    assert {sample["task_id"]: sample["answer"] for sample in kept}.items() <= answers.items()


@pytest.mark.slow
def test_a_full_disk_is_one_line(ckpt: Path, tmp_path: Path) -> None:
    """Where no more can be written the run ends with one line and exit code 2; what was finished goes on later."""
    problems = write_problems(tmp_path, tuple(range(20)))
    arguments = ("humaneval", "--ckpt", ckpt, "--problems", problems, "--gen-length", 8, "--out", tmp_path / "out")
    process = start(*arguments, "--workers", 1, file_size_limit=5 * 1024)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2, errors
    last = errors.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert "free or allow some space and run the same command again" in last
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert len(samples_of(tmp_path / "out")) == 20
