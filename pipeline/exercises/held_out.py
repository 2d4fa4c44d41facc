"""The test sets: 200 compositions a level that training never holds, and 200 deeper ones than any it holds.

They stand in held_out.jsonl, which tools/exercise_sets.py writes: a benchmark does not change when its generator does.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

SETS = ("unseen", "deeper")
FILE = "held_out.jsonl"


@dataclass(frozen=True)
class Call:
    """One call of the function: its arguments and result as Python source, the result an exception where it raises one."""

    arguments: str
    result: str
    raises: bool


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """One problem of a test set.

    Attributes:
        task_id: ``exercises/level1-unseen/017``
        composition: names of the pieces, the domain first
        depth: number of pieces besides the domain
        statement: what a model is shown
        program: the reference
        calls: that decide whether a program solves it
        trees: digests of the syntax trees of all ways in which the generator writes a solution (folding.py)
    """

    task_id: str
    level: int
    name: str
    composition: str
    depth: int
    statement: str
    program: str
    calls: tuple[Call, ...]
    trees: tuple[str, ...]


@cache
def read_sets() -> tuple[HeldOut, ...]:
    """All problems of all sets, in the file's order."""
    text = files("syntaxdiff.pipeline.exercises").joinpath(FILE).read_text(encoding="utf-8")
    problems = []
    for line in text.splitlines():
        row = json.loads(line)
        row["calls"] = tuple(Call(*call) for call in row["calls"])
        row["trees"] = tuple(row["trees"])
        problems.append(HeldOut(**row))
    return tuple(problems)


def read_set(level: int, name: str) -> tuple[HeldOut, ...]:
    """The problems of one set: of a level, ``unseen`` or ``deeper``."""
    return tuple(problem for problem in read_sets() if problem.level == level and problem.name == name)
