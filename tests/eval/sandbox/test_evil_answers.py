"""Plus problems, where the reference's answers decide: nothing passes that is not an answer, whatever its comparison gives."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from evil_answers import ANSWERS, PROBLEMS, program_of
from parameters import slow_but

from syntaxdiff.eval.problems.problem import Problem
from syntaxdiff.eval.problems.reader import read_problems
from syntaxdiff.eval.sandbox.limits import Limits
from syntaxdiff.eval.sandbox.sandbox import Sandbox, golden
from syntaxdiff.eval.sandbox.verdict import Job, Status

# Tried on all problems of both benchmarks; half a minute each.
EVERYWHERE = (
    "array without elements, seven axes",
    "array without elements, one axis",
    "array without elements, of texts",
    "array that is always true",
    "NaN in a list",
    "equal to everything in a list",
)
# Counts any answer as right that has an outcome when it is compared, as its authors do.
ANY_ANSWER = ("Mbpp/164",)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(workers=2) as sandbox:
        yield sandbox


def passing(sandbox: Sandbox, problems: list[Problem], answer: str) -> list[str]:
    """The problems that an answer passes."""
    jobs = [Job(program_of(answer, problem.entry_point), problem, Limits(cpu_seconds=5)) for problem in problems]
    return [verdict.task_id for verdict in sandbox.check_all(jobs) if verdict.has_passed]


def test_the_references_pass(sandbox: Sandbox) -> None:
    """What no answer below passes can be passed."""
    assert golden(PROBLEMS, sandbox).failures == {}


@pytest.mark.parametrize("name", slow_but(list(ANSWERS)[::4], ANSWERS))
def test_what_is_no_answer_passes_no_problem(sandbox: Sandbox, name: str) -> None:
    """Of each type that references return, and each rule of its own."""
    assert passing(sandbox, list(PROBLEMS), ANSWERS[name]) == []


def test_the_programs_run(sandbox: Sandbox) -> None:
    """What fails above fails for its answer: each program loads, is called, and is wrong or makes the comparison fail."""
    problem = PROBLEMS[0]
    verdicts = list(sandbox.check_all(Job(program_of(answer, problem.entry_point), problem) for answer in ANSWERS.values()))
    assert [(verdict.status, verdict.detail) for verdict in verdicts if verdict.status is not Status.WRONG] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERYWHERE)
def test_what_is_no_answer_passes_no_problem_of_the_benchmarks(sandbox: Sandbox, shared_data: Path, name: str) -> None:
    """Of HumanEval+ and MBPP+, but one whose authors let any answer count."""
    folder = shared_data / "problems"
    problems = read_problems("humaneval", file=folder / "HumanEvalPlus.jsonl.gz")
    problems += read_problems("mbpp", split="plus", file=folder / "MbppPlus.jsonl.gz")
    assert set(passing(sandbox, problems, ANSWERS[name])) <= set(ANY_ANSWER)
