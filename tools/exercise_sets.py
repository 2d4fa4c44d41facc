"""Writes the test sets of the exercises, and measures how sharp their tests are.

Usage: exercise_sets.py write | mutants

Compositions are drawn until 200 of each set are sharp: the calls that a problem is tested with are chosen, out of many drawn,
so that they tell its program from as many mutants as can be (one operator or constant changed), and it is taken if they tell
it from SHARPNESS of them.
"""

import ast
import copy
import json
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, astuple
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from syntaxdiff.pipeline.exercises.held_out import FILE, SETS, Call, HeldOut, read_set
from syntaxdiff.pipeline.exercises.inputs import draw_inputs
from syntaxdiff.pipeline.exercises.levels import LEVELS, Exercise, all_trees, draw_composition, written

TARGET = Path(__file__).resolve().parents[1] / "pipeline" / "exercises" / FILE
SET_SIZE = 200
CANDIDATES = 80  # calls that are drawn
CALLS = 16  # most of them that are kept
FEWEST_CALLS = 8
SHARPNESS = 0.93
MAX_EVENTS = 20_000  # lines that a mutant may run: some never end
MAX_TEXT = 160  # characters of one call's arguments

Result = tuple[Any, bool]  # what was returned, or the exception as source, and whether it was raised

REPLACEMENTS: dict[type[ast.AST], tuple[type[ast.AST], ...]] = {
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Add,),
    ast.Div: (ast.Mult,),
    ast.FloorDiv: (ast.Mult,),
    ast.Mod: (ast.FloorDiv,),
    ast.Pow: (ast.Mult,),
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.And: (ast.Or,),
    ast.Or: (ast.And,),
}


def mutants(source: str) -> Iterator[str]:
    """A program with one operator or constant changed, in every way."""
    tree = ast.parse(source)
    for index, node in enumerate(ast.walk(tree)):
        for change in _changes(node):
            copied = copy.deepcopy(tree)
            change(list(ast.walk(copied))[index])
            yield ast.unparse(copied)


def _changes(node: ast.AST) -> Iterator[Callable[[Any], None]]:
    """What makes each mutant, done to a copy of the node."""
    if isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign):
        for kind in REPLACEMENTS.get(type(node.op), ()):
            yield partial(_set, "op", kind())
    elif isinstance(node, ast.Compare):
        for place, operator in enumerate(node.ops):
            for kind in REPLACEMENTS[type(operator)]:
                yield partial(_set_operator, place, kind())
    elif isinstance(node, ast.Constant):
        for value in _other_values(node.value):
            yield partial(_set, "value", value)


def _set(name: str, value: Any, node: Any) -> None:
    setattr(node, name, value)


def _set_operator(place: int, operator: ast.AST, node: Any) -> None:
    node.ops[place] = operator


def _other_values(value: Any) -> list[Any]:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1]
    if isinstance(value, str):
        return [value + "x"]
    return [0] if value is None else []


class _TooLong(BaseException):
    pass


def results(source: str, calls: list[tuple[Any, ...]]) -> list[Result]:
    """What a program answers to each call."""
    namespace: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a mutant may compare a literal by `is`
        exec(compile(source, "<exercise>", "exec"), namespace)
    return [_result(namespace["solve"], arguments) for arguments in calls]


def _result(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Result:
    events = 0

    def count(*_: Any) -> Any:
        nonlocal events
        events += 1
        if events > MAX_EVENTS:
            raise _TooLong
        return count

    arguments = copy.deepcopy(arguments)
    sys.settrace(count)
    try:
        return function(*arguments), False
    except _TooLong:
        return "endless", True
    except Exception as error:
        return repr(error), True
    finally:
        sys.settrace(None)


def chosen_calls(source: str, candidates: list[tuple[Any, ...]]) -> tuple[list[tuple[Any, ...]], float]:
    """Calls that tell a program from its mutants, in the order drawn, and the share of the mutants that they tell it from."""
    right = results(source, candidates)
    killed_by: list[set[int]] = [set() for _ in candidates]
    count = 0
    for count, mutant in enumerate(mutants(source), 1):
        for place, result in enumerate(results(mutant, candidates)):
            if not _same(result, right[place]):
                killed_by[place].add(count)
    kept: list[int] = [0]
    left = set(range(1, count + 1)) - killed_by[0]
    while len(kept) < CALLS:
        best = max(
            (place for place in range(len(candidates)) if place not in kept), key=lambda place: len(killed_by[place] & left)
        )
        if not killed_by[best] & left and len(kept) >= FEWEST_CALLS:
            break
        kept.append(best)
        left -= killed_by[best]
    return [candidates[place] for place in sorted(kept)], 1 - len(left) / count if count else 1.0


def _same(result: Result, right: Result) -> bool:
    return result[1] == right[1] and type(result[0]) is type(right[0]) and result[0] == right[0]


SPECIAL: dict[str, list[Any]] = {
    "none-default": [None],
    "negative-error": [-5],
    "type-error": [("a",), None],
    "text-type-error": [["a"], None],
    "dict-type-error": [[("a", 1)], None],
}


def candidate_calls(exercise: Exercise) -> list[tuple[Any, ...]]:
    """Calls to choose from, short enough to read."""
    guard = exercise.composition.guard
    special = SPECIAL.get(guard.name, []) if guard is not None else []
    calls = draw_inputs(exercise.composition.parameters, CANDIDATES, Random(f"inputs {exercise.exercise_id}"), special=special)
    return [arguments for arguments in calls if len(repr(arguments)) <= MAX_TEXT]


def make_set(level: int, name: str, used_trees: set[str]) -> Iterator[HeldOut]:
    """The problems of a set; none of their programs is that of another problem."""
    rng = Random(f"exercises {level} {name}")
    used: set[str] = set()
    while len(used) < SET_SIZE:
        composition = draw_composition(level, rng, is_deeper=name == "deeper")
        trees = all_trees(level, composition)
        if composition.depth < 2 or composition.name in used or used_trees & set(trees):
            continue
        task_id = f"exercises/level{level}-{name}/{len(used):03d}"
        exercise = written(task_id, level, composition, rng)
        calls, sharpness = chosen_calls(exercise.program, candidate_calls(exercise))
        if sharpness < SHARPNESS:
            continue
        used.add(composition.name)
        used_trees.update(trees)
        answers = results(exercise.program, calls)
        yield HeldOut(
            task_id=task_id,
            level=level,
            name=name,
            composition=composition.name,
            depth=composition.depth,
            statement=exercise.statement,
            program=exercise.program,
            calls=tuple(
                Call(repr(arguments), value if raised else repr(value), raised)
                for arguments, (value, raised) in zip(calls, answers, strict=True)
            ),
            trees=trees,
        )


def main() -> None:
    """Writes the file, or measures the tests that stand in it."""
    if sys.argv[1:] == ["write"]:
        lines = []
        for level in LEVELS:
            used_trees: set[str] = set()
            for name in SETS:
                lines += [_line(problem) for problem in make_set(level, name, used_trees)]
                print(f"level {level} {name}", flush=True)
        TARGET.write_text("".join(lines), encoding="utf-8")
    elif sys.argv[1:] == ["mutants"]:
        for level in LEVELS:
            for name in SETS:
                killed, total = killed_mutants(level, name)
                print(f"level {level} {name}: {killed:,} of {total:,} mutants fail ({killed / total:.1%})", flush=True)
    else:
        sys.exit(__doc__)


def _line(problem: HeldOut) -> str:
    row = {**asdict(problem), "calls": [astuple(call) for call in problem.calls]}
    return json.dumps(row, ensure_ascii=False) + "\n"


def killed_mutants(level: int, name: str) -> tuple[int, int]:
    """How many mutants of a set's programs fail its tests, and how many there are."""
    killed = total = 0
    for problem in read_set(level, name):
        calls = [ast.literal_eval(call.arguments) for call in problem.calls]
        right = results(problem.program, calls)
        for mutant in mutants(problem.program):
            total += 1
            killed += any(not _same(result, answer) for result, answer in zip(results(mutant, calls), right, strict=True))
    return killed, total


if __name__ == "__main__":
    main()
