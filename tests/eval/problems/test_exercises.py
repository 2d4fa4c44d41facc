"""Exercises as problems: what their tests let pass, and what they do not."""

from dataclasses import replace
from pathlib import Path

import pytest

from syntaxdiff.eval.problems.names import EXERCISE_SPLITS, EXERCISES
from syntaxdiff.eval.problems.problem import Problem
from syntaxdiff.eval.problems.reader import read_problems
from syntaxdiff.eval.prompting.prompts import digest_of_problems
from syntaxdiff.eval.sandbox.sandbox import Sandbox
from syntaxdiff.eval.sandbox.verdict import Job, Status
from syntaxdiff.pipeline.errors import SettingsError


@pytest.fixture(scope="module")
def problems() -> list[Problem]:
    """Every twentieth of all exercises, of both levels and sets."""
    return [problem for split in ("level1", "level2") for problem in read_problems(EXERCISES, split=split)[::20]]


def test_splits_are_levels_and_sets() -> None:
    """A level is both of its sets; the default is level 1; groups say set, depth and pieces."""
    numbers = {split: [problem.task_id for problem in read_problems(EXERCISES, split=split)] for split in EXERCISE_SPLITS}
    for level in ("level1", "level2"):
        assert numbers[level] == numbers[f"{level}-unseen"] + numbers[f"{level}-deeper"]
        assert len(set(numbers[level])) == 400
    assert [problem.task_id for problem in read_problems(EXERCISES)] == numbers["level1"]
    for problem in read_problems(EXERCISES, split="level2-deeper"):
        assert problem.groups["set"] == ("deeper",)
        assert len(problem.groups["piece"]) - 1 == int(problem.groups["depth"][0])


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    """Another split, and a file of problems."""
    with pytest.raises(SettingsError, match="no split level3: choose one of level1"):
        read_problems(EXERCISES, split="level3")
    with pytest.raises(SettingsError, match="leave --problems out"):
        read_problems(EXERCISES, file=tmp_path / "rows.jsonl")


def test_groups_are_no_part_of_the_problems_digest(problems: list[Problem]) -> None:
    """They decide no score, and results of earlier versions have the same digests."""
    assert digest_of_problems([replace(problem, groups={}) for problem in problems]) == digest_of_problems(problems)


def test_references_pass_and_others_fail(problems: list[Problem]) -> None:
    """The reference passes; one that answers None, one that raises, and the reference of another problem do not."""
    others = ["def solve(*arguments):\n    return None\n", "def solve(*arguments):\n    raise ValueError('x')\n"]
    programs = [[problem.reference, *others, problems[number - 1].reference] for number, problem in enumerate(problems)]
    jobs = [Job(program, problem) for problem, group in zip(problems, programs, strict=True) for program in group]
    with Sandbox(workers=2) as sandbox:
        passed = [verdict.status is Status.PASSED for verdict in sandbox.check_all(jobs)]
    assert passed == [True, False, False, False] * len(problems)
