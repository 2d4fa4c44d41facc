"""The levels: which compositions there are, and the stream of exercises to train on."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from random import Random
from typing import TypeVar

from syntaxdiff.pipeline.exercises import level1, level2
from syntaxdiff.pipeline.exercises.compose import Composition, Style, elements_text, program, shapes, statement
from syntaxdiff.pipeline.exercises.folding import folded
from syntaxdiff.pipeline.exercises.held_out import SETS, read_set
from syntaxdiff.pipeline.exercises.pieces import Filter, Guard, Map, Piece

COMMENT_SHARE = 0.3  # of the programs of level 2 have one, as many as functions of the standard library of their length
P = TypeVar("P", bound=Piece)


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """A statement and a program that does what it says.

    Attributes:
        exercise_id: unique in its stream or set
        composition: what the program does
        style: how it is written
    """

    exercise_id: str
    level: int
    composition: Composition
    style: Style
    statement: str
    program: str


@dataclass(frozen=True, kw_only=True)
class Level:
    """A named width of exercises.

    Attributes:
        compose: draws a composition of at most, or of more than, so many pieces
        shapes: of programs
        depth: most pieces of a composition to train on
        rows: of a stream of which no size is asked for
    """

    compose: Callable[[Random, bool], Composition]
    shapes: tuple[str, ...]
    depth: int
    rows: int


def _chosen(rng: Random, pieces: Sequence[P]) -> P:
    return rng.choices(pieces, [piece.weight for piece in pieces])[0]


# ------------------------------------------------------------------------------------------------------------------ level 1


@cache
def _all_of_level_1() -> list[Composition]:
    """Each filter or none, each map or none, each reduction."""
    return [
        Composition(domain=level1.NUMBERS, filters=filters, maps=maps, reduction=reduction)
        for filters, maps, reduction in itertools.product(
            [(), *((piece,) for piece in level1.FILTERS)], [(), *((piece,) for piece in level1.MAPS)], level1.REDUCTIONS
        )
    ]


def _level_1(rng: Random, is_deeper: bool) -> Composition:
    if not is_deeper:
        return rng.choice(_all_of_level_1())
    filters, maps = rng.choice(((2, 1), (1, 2), (2, 2)))
    return Composition(
        domain=level1.NUMBERS,
        filters=tuple(rng.sample(level1.FILTERS, filters)),
        maps=tuple(rng.sample(level1.MAPS, maps)),
        reduction=rng.choice(level1.REDUCTIONS),
    )


# ------------------------------------------------------------------------------------------------------------------ level 2


def _level_2(rng: Random, is_deeper: bool) -> Composition:
    while True:
        domain = _chosen(rng, level2.DOMAINS)
        filters: list[Filter] = []
        for _ in range(rng.choice((2, 2, 3) if is_deeper else (0, 0, 1, 1, 2))):
            left = [piece for piece in level2.FILTERS if piece.kind == domain.kind and not _shares(piece, filters)]
            if left:
                filters.append(_chosen(rng, left))
        maps: list[Map] = []
        kind = domain.kind
        for _ in range(rng.choice((2, 2, 3) if is_deeper else (0, 0, 1, 1, 2))):
            left_maps = [piece for piece in level2.MAPS if piece.kind == kind and not _shares(piece, [*filters, *maps])]
            if left_maps:
                maps.append(_chosen(rng, left_maps))
                kind = maps[-1].result
        reductions = [piece for piece in level2.REDUCTIONS if not piece.kinds or kind in piece.kinds]
        reduction = _chosen(rng, reductions)
        used: list[Piece] = [domain, *filters, *maps, reduction]
        guard, ending = None, None
        if rng.random() < (0.7 if is_deeper else 0.6):
            guards = [piece for piece in level2.GUARDS if not piece.domains or domain.name in piece.domains]
            guard = _filled(_chosen(rng, guards), domain.parameters[0])
        if rng.random() < (0.6 if is_deeper else 0.3):
            result = reduction.result
            endings = [piece for piece in level2.ENDINGS if result in piece.kinds and not _shares(piece, used)]
            if endings and not reduction.returns_early:
                ending = _chosen(rng, endings)
        composition = Composition(
            domain=domain, filters=tuple(filters), maps=tuple(maps), reduction=reduction, guard=guard, ending=ending
        )
        if (composition.depth > LEVELS[2].depth) == is_deeper:
            return composition


def _shares(piece: Piece, others: Sequence[Piece]) -> bool:
    """Whether it is among others, or one of its parameters is theirs."""
    return any(piece.name == other.name or set(piece.parameters) & set(other.parameters) for other in others)


@cache
def _filled(guard: Guard, parameter: str) -> Guard:
    return replace(
        guard,
        wordings=tuple(text.replace("{}", parameter) for text in guard.wordings),
        lines=tuple(line.replace("{}", parameter) for line in guard.lines),
    )


LEVELS = {
    1: Level(compose=_level_1, shapes=("loop", "expression"), depth=3, rows=10_000),
    2: Level(compose=_level_2, shapes=("loop", "loop", "continue", "expression", "staged"), depth=4, rows=200_000),
}


# --------------------------------------------------------------------------------------------------------------- the stream


def draw_composition(level: int, rng: Random, *, is_deeper: bool = False) -> Composition:
    """A composition of a level, or a deeper one than its stream holds."""
    return LEVELS[level].compose(rng, is_deeper)


def exercise(level: int, index: int, seed: int) -> Exercise:
    """One exercise of the stream that is trained on: a function of level, index and seed.

    It is neither a composition of the test sets, nor a program that solves one of them.
    """
    rng = Random(f"exercises {level} {seed} {index}")
    names, trees = reserved(level)
    while True:
        composition = draw_composition(level, rng)
        if composition.name in names:
            continue
        drawn = written(f"level{level}/{index:07d}", level, composition, rng)
        if folded(drawn.program) not in trees:
            return drawn


def written(exercise_id: str, level: int, composition: Composition, rng: Random) -> Exercise:
    """A composition worded and written in one of the level's ways."""
    style = Style(
        shape=rng.choice(shapes(composition, LEVELS[level].shapes)),
        variables=rng.randrange(12),
        accumulator=rng.randrange(12),
        names_element=level > 1 and rng.random() < 0.3,
        comment=elements_text(composition, rng, plural=True) if level > 1 and rng.random() < COMMENT_SHARE else "",
    )
    return Exercise(
        exercise_id=exercise_id,
        level=level,
        composition=composition,
        style=style,
        statement=statement(composition, rng),
        program=program(composition, style),
    )


@cache
def reserved(level: int) -> tuple[frozenset[str], frozenset[str]]:
    """What the stream leaves out: names of the compositions in the test sets, and the trees of all programs that solve them."""
    problems = [problem for name in SETS for problem in read_set(level, name)]
    return frozenset(problem.composition for problem in problems), frozenset(
        tree for problem in problems for tree in problem.trees
    )


def all_trees(level: int, composition: Composition) -> tuple[str, ...]:
    """Digests of the trees of a composition's programs, in every shape, with and without a name for the element."""
    trees = {
        folded(program(composition, Style(shape=shape, names_element=names)))
        for shape in shapes(composition, sorted(set(LEVELS[level].shapes)))
        for names in (False, True)
    }
    return tuple(sorted(trees))
