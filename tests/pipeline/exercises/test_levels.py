"""The stream and the test sets: right, different, apart from each other, and the same everywhere."""

import ast
import copy
from random import Random
from typing import Any

import exercise_sets
import pytest

from syntaxdiff.pipeline.exercises.compose import Style, program, shapes
from syntaxdiff.pipeline.exercises.folding import folded
from syntaxdiff.pipeline.exercises.held_out import SETS, HeldOut, read_set
from syntaxdiff.pipeline.exercises.inputs import draw_inputs
from syntaxdiff.pipeline.exercises.levels import LEVELS, draw_composition, exercise, reserved

ALL_SETS = [(level, name) for level in LEVELS for name in SETS]
ALL_SHAPES = ("loop", "continue", "expression", "staged")


def answers(source: str, calls: list[tuple[Any, ...]]) -> list[str]:
    """What a program gives for each call, its exception where it raises one."""
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    results = []
    for arguments in copy.deepcopy(calls):
        try:
            results.append(repr(namespace["solve"](*arguments)))
        except Exception as error:
            results.append(f"{type(error).__name__}: {error}")
    return results


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("is_deeper", [False, True])
def test_all_ways_to_write_a_composition_do_the_same(level: int, is_deeper: bool) -> None:
    """Every shape, with every choice of names, with and without a name for the element and a comment."""
    rng = Random(f"{level} {is_deeper}")
    for _ in range(150):
        composition = draw_composition(level, rng, is_deeper=is_deeper)
        calls = draw_inputs(composition.parameters, 12, rng)
        expected = answers(program(composition, Style(shape="loop")), calls)
        for shape in shapes(composition, ALL_SHAPES):
            for number in range(4):
                style = Style(
                    shape=shape, variables=number, accumulator=number, names_element=number > 1, comment="why" * (number % 2)
                )
                assert answers(program(composition, style), calls) == expected, program(composition, style)


@pytest.mark.parametrize("level", LEVELS)
def test_the_stream_depends_on_level_seed_and_index_alone(level: int) -> None:
    """In any order, and another seed gives another stream."""
    first = [exercise(level, index, 0) for index in (3, 1, 2)]
    assert first == [exercise(level, index, 0) for index in (3, 1, 2)]
    assert [drawn.program for drawn in first] != [exercise(level, index, 1).program for index in (3, 1, 2)]


def test_the_stream_is_that_of_its_version() -> None:
    """Whoever changes what these are raises VERSION in sources/exercises.py: built shards and new ones must not mix."""
    assert exercise(1, 0, 0).statement == "Multiply the doubles of the numbers in xs other than zero."
    assert exercise(2, 0, 0).statement == "Return a list of the indexes of the positions of xs before index n without repeats."


@pytest.mark.parametrize("level", LEVELS)
def test_nothing_of_the_test_sets_is_in_the_stream(level: int) -> None:
    """Neither a composition, nor a program that is one of theirs but for bound names."""
    names, trees = reserved(level)
    drawn = [exercise(level, index, 0) for index in range(1500)]
    assert not names & {each.composition.name for each in drawn}
    assert not trees & {folded(each.program) for each in drawn}
    assert max(each.composition.depth for each in drawn) <= LEVELS[level].depth


@pytest.mark.parametrize("level", LEVELS)
def test_the_pieces_of_the_test_sets_are_in_the_stream(level: int) -> None:
    """What is new is the combination."""
    seen = {piece for index in range(4000) for piece in exercise(level, index, 0).composition.name.split()}
    for name in SETS:
        assert {piece for problem in read_set(level, name) for piece in problem.composition.split()} <= seen


@pytest.mark.parametrize(("level", "name"), ALL_SETS)
def test_references_answer_their_calls(level: int, name: str) -> None:
    """200 different problems, each with at least eight calls and three results."""
    problems = read_set(level, name)
    assert len({problem.composition for problem in problems}) == len(problems) == 200
    for problem in problems:
        calls = [ast.literal_eval(call.arguments) for call in problem.calls]
        expected = [
            call.result.replace("(", ": ", 1).replace("'", "")[:-1] if call.raises else call.result for call in problem.calls
        ]
        assert answers(problem.program, calls) == expected
        assert len(calls) >= 8


@pytest.mark.parametrize("level", LEVELS)
def test_deeper_is_deeper_and_unseen_is_not(level: int) -> None:
    """The depth that training reaches is the border."""
    assert all(problem.depth <= LEVELS[level].depth for problem in read_set(level, "unseen"))
    assert all(problem.depth > LEVELS[level].depth for problem in read_set(level, "deeper"))


def test_no_two_problems_of_a_level_are_one_program() -> None:
    """Not even in another shape."""
    for level in LEVELS:
        trees = [tree for name in SETS for problem in read_set(level, name) for tree in problem.trees]
        assert len(trees) == len(set(trees))


@pytest.mark.slow
@pytest.mark.parametrize(("level", "name"), ALL_SETS)
def test_mutants_fail(level: int, name: str) -> None:
    """At least 95 in 100 programs with one operator or constant changed give another answer to one of the calls."""
    killed, total = exercise_sets.killed_mutants(level, name)
    assert killed >= 0.95 * total


@pytest.mark.slow
def test_the_file_is_what_the_tool_writes() -> None:
    """The first problems of each set, made again."""
    for level in LEVELS:
        used: set[str] = set()
        for name in SETS:
            made: list[HeldOut] = list(exercise_sets.make_set(level, name, used))
            assert tuple(made) == read_set(level, name)
