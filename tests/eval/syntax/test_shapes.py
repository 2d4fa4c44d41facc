"""Tree shapes: equal subtrees have equal numbers, names do not matter, and training's are found in the shards."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders import programs, write_jsonl
from hypothesis import given, settings
from hypothesis import strategies as st

from syntaxdiff.eval.syntax import shapes as module
from syntaxdiff.eval.syntax.config import Size
from syntaxdiff.eval.syntax.shapes import is_pattern, seen_shapes, shapes_of, subtree_ends
from syntaxdiff.pipeline.build import build_shards
from syntaxdiff.pipeline.config import BuildConfig
from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.pipeline.shard import TOKENIZER, Manifest, Region, iter_shard, read_manifest
from syntaxdiff.pipeline.syntax.grammar import load_grammar
from syntaxdiff.pipeline.syntax.spans import Nodes, read_nodes
from syntaxdiff.pipeline.tokens.codec import Codec

PYTHON = load_grammar("python")
Tree = tuple[int, tuple[Any, ...]]
TREES = st.recursive(
    st.tuples(st.integers(1, 3), st.just(())),
    lambda children: st.tuples(st.integers(1, 3), st.lists(children, max_size=4).map(tuple)),
    max_leaves=25,
)


def in_pre_order(tree: Tree) -> list[Tree]:
    return [tree, *(node for child in tree[1] for node in in_pre_order(child))]


def nodes_of(tree: Tree) -> Nodes:
    """A tree as the columns that the parser gives; its kinds are the first of Python's."""
    nodes = in_pre_order(tree)
    zeros = np.zeros(len(nodes), dtype=np.int64)
    return Nodes(
        start_byte=zeros,
        end_byte=zeros,
        kind=np.array([kind for kind, _ in nodes], dtype=np.uint16),
        arity=np.array([len(children) for _, children in nodes], dtype=np.int64),
        sound=np.ones(len(nodes), dtype=bool),
    )


@settings(deadline=None)
@given(TREES)
def test_subtrees_end_where_their_last_node_does(tree: Tree) -> None:
    """A node's subtree is itself and what lies below it."""
    ends = subtree_ends(nodes_of(tree).arity).tolist()
    assert ends == [index + len(in_pre_order(node)) for index, node in enumerate(in_pre_order(tree))]


@settings(deadline=None)
@given(TREES)
def test_numbers_are_equal_where_subtrees_are(tree: Tree) -> None:
    """Two subtrees of one tree, wherever they stand in it, have one number if and only if they are equal."""
    hashes = shapes_of(nodes_of(tree), PYTHON).hash_N.tolist()
    for (number, node), (other, another) in itertools.combinations(zip(hashes, in_pre_order(tree), strict=True), 2):
        assert (number == other) == (node == another)


@settings(deadline=None)
@given(TREES, TREES)
def test_numbers_are_equal_across_trees(tree: Tree, other: Tree) -> None:
    """The number of a whole tree does not depend on what tree it is a part of."""
    alone = shapes_of(nodes_of(tree), PYTHON).hash_N[0]
    inside = shapes_of(nodes_of((1, (other, tree, other))), PYTHON).hash_N[1 + len(in_pre_order(other))]
    assert alone == inside


def root_hash(code: str, language: str = "python") -> int:
    grammar = load_grammar(language)
    return int(shapes_of(read_nodes(code.encode(), grammar)[0], grammar).hash_N[0])


NAMES = st.from_regex(r"[a-z_é][a-z0-9_]{0,20}", fullmatch=True).map(lambda name: name + "_x")  # no keyword
PROGRAM = "def {0}({1}, *, {2}=1):\n    for {1} in {0}.{2}:\n        {0}[{1}] = {2} + {1} if {0} else '{1}'\n"


@settings(deadline=None)
@given(st.lists(NAMES, min_size=3, max_size=3))
def test_renaming_changes_no_shape(names: list[str]) -> None:
    """Every subtree keeps its number when names become others, of any length and in any script."""
    nodes, other = (read_nodes(PROGRAM.format(*each).encode(), PYTHON)[0] for each in (("a", "b", "c"), names))
    assert np.array_equal(shapes_of(nodes, PYTHON).hash_N, shapes_of(other, PYTHON).hash_N)


@pytest.mark.parametrize(
    ("code", "other"),
    [
        ("a + b", "a - b"),
        ("f(a)", "f(a, b)"),
        ("f(a)", "f[a]"),
        ("a = 1", "a = 'x'"),
        ("if a:\n    b", "while a:\n    b"),
        ("if a:\n    b\nc", "if a:\n    b\n    c"),
        ("x = not a", "x = a"),
    ],
)
def test_another_kind_or_child_is_another_shape(code: str, other: str) -> None:
    """Different parses have different numbers."""
    assert root_hash(code) != root_hash(other)


def test_languages_share_no_shapes() -> None:
    """Kinds are numbered by language; equal numbers of two of them must not meet."""
    tree = nodes_of((1, ((2, ()), (3, ()))))
    assert shapes_of(tree, PYTHON).hash_N[0] != shapes_of(tree, load_grammar("go")).hash_N[0]


@pytest.mark.parametrize("size", [Size(1, 99), Size(2, 3), Size(4, 6), Size(50, 60)])
def test_patterns_are_named_sound_and_of_the_size(size: Size) -> None:
    """Against tree-sitter's own nodes: named, without an error in them, and with so many named nodes."""
    code = b"g = [1, 2 * x]\nf(a, b = = c)\nif  :\n    y\n"
    expected = []

    def num_named(node: Any) -> int:
        return int(node.is_named) + sum(map(num_named, node.children))

    def walk(node: Any) -> None:
        is_sound = not (node.has_error or node.is_missing)
        if node.is_named and is_sound and size.min_nodes <= num_named(node) <= size.max_nodes:
            expected.append(node.type)
        for child in node.children:
            walk(child)

    walk(PYTHON.parse(code).root_node)
    nodes, has_error = read_nodes(code, PYTHON)
    found = is_pattern(nodes, shapes_of(nodes, PYTHON), PYTHON, size)
    assert has_error
    assert [PYTHON.node_kinds[kind] for kind in nodes.kind[found]] == expected


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("shapes")
    source = write_jsonl(
        root / "rows.jsonl",
        [{**row, "code": row["code"] + f"x = [{', '.join('1' * number)}]\n"} for number, row in enumerate(programs(9))],
    )
    build_shards(
        BuildConfig(src=(str(source),), out=root / "data", tokenizer="train:400", validation_size=2, workers=1, shard_rows=2)
    )
    return root / "data"


def literal(folder: Path, manifest: Manifest, size: Size) -> set[int]:
    codec = Codec(folder / TOKENIZER, "hf")
    found = set()
    for row in (row for shard in manifest.splits["train"] for row in iter_shard(folder, shard)):
        region = np.repeat(row.region_label, np.diff(row.region_end, prepend=0))
        nodes, _ = read_nodes(codec.decode(row.input_ids[region == Region.CODE]), PYTHON)
        shapes = shapes_of(nodes, PYTHON)
        for kind, number, count in zip(nodes.kind, shapes.hash_N.tolist(), shapes.num_named_N.tolist(), strict=True):
            if PYTHON.named[kind] and size.min_nodes <= count <= size.max_nodes:
                found.add(number)
    return found


@pytest.mark.parametrize("in_memory", [1, 1 << 20])
def test_training_shapes_are_those_of_all_samples(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_memory: int
) -> None:
    """However often they are merged on the way; each is there once, and what is there is not lacking."""
    monkeypatch.setattr(module, "HASHES_IN_MEMORY", in_memory)
    manifest, size = read_manifest(folder), Size(3, 9)
    samples_done: list[int] = []
    seen = seen_shapes(folder, manifest, Codec(folder / TOKENIZER, "hf"), size, tmp_path, samples_done.append)
    expected = literal(folder, manifest, size)
    assert len(manifest.splits["train"]) > 2
    assert seen.hashes.tolist() == sorted(expected)
    assert sum(samples_done) == seen.num_samples == manifest.num_samples("train")
    assert seen.lacks(np.array([min(expected), 12345], dtype=np.uint64)).tolist() == [False, True]


def test_shapes_are_gathered_once(folder: Path, tmp_path: Path) -> None:
    """The second time they are read from their file, another size has a file of its own."""
    manifest, codec = read_manifest(folder), Codec(folder / TOKENIZER, "hf")
    first = seen_shapes(folder, manifest, codec, Size(), tmp_path)
    again = seen_shapes(tmp_path / "no shards here", manifest, codec, Size(), tmp_path)
    assert np.array_equal(first.hashes, again.hashes)
    other = seen_shapes(folder, manifest, codec, Size(2, 3), tmp_path)
    assert not np.array_equal(first.hashes, other.hashes)
    assert len(list(tmp_path.iterdir())) == 2


@settings(max_examples=10, deadline=None)
@given(st.sampled_from([(0, 3), (5, 4), (-1, -1)]))
def test_sizes_that_cannot_be_are_refused(bounds: tuple[int, int]) -> None:
    """From 1, the smaller first."""
    manifest: Any = None
    codec: Any = None
    with pytest.raises(SettingsError, match="--shape-nodes"):
        seen_shapes(Path(), manifest, codec, Size(*bounds), Path())
