"""How wide the exercises are, how near level 2 is to the standard library, and how sharp the tests are.

The distance between two distributions of node kinds is half the sum of absolute differences of their shares. The functions of
the standard library are weighted so that their lengths, in leaves of the tree, are distributed as those of the exercises.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import click

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

import exercise_sets

from syntaxdiff.pipeline.errors import RowError
from syntaxdiff.pipeline.exercises.folding import folded
from syntaxdiff.pipeline.exercises.held_out import SETS, read_set
from syntaxdiff.pipeline.exercises.levels import LEVELS, exercise
from syntaxdiff.pipeline.sources.files import common_root
from syntaxdiff.pipeline.sources.snippets import module_name, snippet_rows, stdlib_files
from syntaxdiff.pipeline.syntax.grammar import load_grammar

LEAVES_PER_BIN = 10


class Shape(NamedTuple):
    """Of one program: how often each named kind of node occurs, the depth of its tree in named nodes, and its leaves."""

    kinds: Counter[str]
    depth: int
    leaves: int


def shape_of(program: str) -> Shape:
    """The shape of a Python program."""
    kinds: Counter[str] = Counter()
    depth = leaves = 0
    stack = [(load_grammar("python").parse(program.encode()).root_node, 1)]
    while stack:
        node, level = stack.pop()
        if node.is_named:
            kinds[node.type] += 1
            depth = max(depth, level)
        leaves += not node.children
        stack += [(child, level + child.is_named) for child in node.children]
    return Shape(kinds, depth, leaves)


def stdlib_functions() -> list[str]:
    """Functions of the standard library, as `--src stdlib` has them."""
    files = stdlib_files()
    root = common_root(files)
    programs = []
    for file in files:
        try:
            rows = list(snippet_rows(file.read_text("utf-8"), module_name(file, root)))
        except (RowError, UnicodeDecodeError):
            continue
        programs += [row["code"] for row in rows if not row["code"].lstrip().startswith("class")]
    return programs


def distribution(shapes: Iterable[tuple[Shape, float]]) -> dict[str, float]:
    """Shares of node kinds in weighted programs."""
    counts: Counter[str] = Counter()
    for shape, weight in shapes:
        for kind, count in shape.kinds.items():
            counts[kind] += count * weight  # type: ignore[assignment]
    total = sum(counts.values())
    return {kind: count / total for kind, count in counts.items()}


def quartiles(weighted: Iterable[tuple[int, float]]) -> list[int]:
    """Quartiles of weighted numbers."""
    ordered = sorted(weighted)
    total = sum(weight for _, weight in ordered)
    found: list[int] = []
    reached = 0.0
    for value, weight in ordered:
        reached += weight
        while len(found) < 3 and reached >= (len(found) + 1) * total / 4:
            found.append(value)
    return found


def nearness(programs: list[str]) -> dict[str, object]:
    """Distance of node kinds and quartiles of depth, of programs and of the standard library's functions of their length."""
    ours = [shape_of(program) for program in programs]
    theirs = [shape_of(program) for program in stdlib_functions()]
    wanted = Counter(shape.leaves // LEAVES_PER_BIN for shape in ours)
    there = Counter(shape.leaves // LEAVES_PER_BIN for shape in theirs)
    weights = [wanted[shape.leaves // LEAVES_PER_BIN] / there[shape.leaves // LEAVES_PER_BIN] for shape in theirs]
    exercises, stdlib = distribution((shape, 1.0) for shape in ours), distribution(zip(theirs, weights, strict=True))
    return {
        "distance": round(sum(abs(exercises.get(kind, 0) - stdlib.get(kind, 0)) for kind in exercises | stdlib) / 2, 4),
        "depth_quartiles": quartiles((shape.depth, 1.0) for shape in ours),
        "depth_quartiles_stdlib": quartiles((shape.depth, weight) for shape, weight in zip(theirs, weights, strict=True)),
    }


@click.command()
@click.option("--rows", default=3000, show_default=True, help="Exercises that the standard library is compared with.")
@click.option("--count", default=120_000, show_default=True, help="Exercises of each level that are counted.")
def main(rows: int, count: int) -> None:
    """Print a line of JSON per level."""
    for level in LEVELS:
        samples, compositions, trees = set(), set(), set()
        for index in range(count):
            drawn = exercise(level, index, 0)
            samples.add((drawn.statement, drawn.program))
            compositions.add(drawn.composition.name)
            trees.add(folded(drawn.program))
        figures: dict[str, object] = {
            "level": level,
            "rows": count,
            "distinct_samples": len(samples),
            "distinct_compositions": len(compositions),
        }
        for name in SETS:
            problems = read_set(level, name)
            killed, total = exercise_sets.killed_mutants(level, name)
            figures[name] = {
                "problems": len(problems),
                "compositions_in_training": len({problem.composition for problem in problems} & compositions),
                "trees_in_training": len({tree for problem in problems for tree in problem.trees} & trees),
                "mutants": total,
                "mutants_that_fail": round(killed / total, 4),
            }
        if level > 1:
            figures |= nearness([exercise(level, index, 0).program for index in range(rows)])
        print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
