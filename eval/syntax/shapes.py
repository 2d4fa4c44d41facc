"""Tree shapes: what a subtree looks like with all its words left out, as one 64-bit number; and which ones training had.

The shape of a subtree is the sequence, in pre-order, of its nodes' kinds and numbers of children, which fixes the tree. All
visible nodes count, operators and keywords too: `a + b` and `c + d` have one shape, `a - b` has another. So renaming never
changes a shape, and another kind or a child more does (two different shapes are one number with a chance of about 2^-64).

Programs are parsed for this. The shards' spans would do without a parser, but they leave out nodes of a single token, so a name
that is two tokens long changes the family: such shapes would depend on names and on the tokenizer.

Shapes: N nodes in pre-order.
"""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from syntaxdiff.eval.syntax.config import Size
from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.pipeline.shard import Manifest, SampleRow, iter_row_groups, rows_of, storage_errors, written_whole
from syntaxdiff.pipeline.syntax.grammar import Grammar, load_grammar
from syntaxdiff.pipeline.syntax.spans import Nodes, read_nodes
from syntaxdiff.pipeline.tokens.codec import Codec
from syntaxdiff.train.data.batch import check_row

Hashes: TypeAlias = npt.NDArray[np.uint64]
Flags: TypeAlias = npt.NDArray[np.bool_]
Integers: TypeAlias = npt.NDArray[np.int64]

DEFINITION = 1  # of a shape's number; another definition makes other numbers
HASHES_IN_MEMORY = 1 << 22  # shapes gathered before equal ones are merged: 32 MiB
_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2^64
_INVERSE = pow(_BASE, -1, 1 << 64)
_MIXERS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))  # splitmix64's


class Shapes(NamedTuple):
    """Subtrees of a program, one a node: where it ends in pre-order (exclusive), its shape, and its named nodes."""

    end_N: Integers
    hash_N: Hashes
    num_named_N: Integers


def shapes_of(nodes: Nodes, grammar: Grammar) -> Shapes:
    """The subtree below every node of a tree, each by its polynomial hash over mixed (kind, number of children)."""
    num_nodes = len(nodes.kind)
    end_N = subtree_ends(nodes.arity)
    letter_N = _mixed(nodes.kind.astype(np.uint64) << np.uint64(32) | (nodes.arity + 1).astype(np.uint64))
    rising_N, falling_N = (np.cumprod(np.full(num_nodes, base, dtype=np.uint64)) for base in (_BASE, _INVERSE))
    weighed = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(letter_N * falling_N, dtype=np.uint64)])
    # Multiplied by the power of its root, a subtree's sum no longer depends on where it stands.
    salt = int.from_bytes(hashlib.blake2b(grammar.name.encode(), digest_size=8).digest())  # kinds are of one language
    hash_N = _mixed((weighed[end_N] - weighed[:-1]) * rising_N ^ np.uint64(salt))
    named = np.concatenate([[0], np.cumsum(grammar.named[nodes.kind])])
    return Shapes(end_N, hash_N, named[end_N] - named[:-1])


def subtree_ends(arity_N: Integers) -> Integers:
    """Index after the last node of every node's subtree, from the numbers of children in pre-order.

    Each node closes one open place and opens as many as it has children; a subtree ends where the number of open places first
    falls below what it was before its root.
    """
    num_nodes = len(arity_N)
    index_N = np.arange(num_nodes)
    open_after_N = np.cumsum(arity_N - 1) + 1
    open_before_N = np.concatenate([[1], open_after_N[:-1]])
    by_level = np.sort(open_after_N * num_nodes + index_N)  # places by level, then by position
    found = by_level[np.searchsorted(by_level, (open_before_N - 1) * num_nodes + index_N)]
    return np.asarray(found % num_nodes + 1, dtype=np.int64)


def _mixed(value: Hashes) -> Hashes:
    for shift, factor in _MIXERS:
        value = (value ^ (value >> np.uint64(shift))) * np.uint64(factor)
    return value ^ (value >> np.uint64(31))


def is_pattern(nodes: Nodes, shapes: Shapes, grammar: Grammar, size: Size) -> Flags:
    """Which nodes are roots of patterns: named, without an error below, and of that size; bool [N]."""
    fits_N = (shapes.num_named_N >= size.min_nodes) & (shapes.num_named_N <= size.max_nodes)
    return np.asarray(fits_N & nodes.sound & grammar.named[nodes.kind])


class SeenShapes(NamedTuple):
    """The patterns of training samples.

    Attributes:
        hashes: ascending, each once
        num_samples: how many samples were read
    """

    hashes: Hashes
    num_samples: int

    def lacks(self, hash_N: Hashes) -> Flags:
        """Which of some shapes training did not have, bool [N]."""
        return np.isin(hash_N, self.hashes, invert=True)


def seen_shapes(
    data: Path, manifest: Manifest, codec: Codec, size: Size, cache: Path, on_samples: Callable[[int], None] | None = None
) -> SeenShapes:
    """The patterns of all training samples, one row group at a time; kept in a file named by data, size and grammars.

    At 8 bytes per distinct pattern, plus HASHES_IN_MEMORY while they are gathered.

    Args:
        cache: folder of that file
        on_samples: called with the number of samples that were read since

    Raises:
        SettingsError: no pattern has such a size
        ShardError: shards are missing or damaged
        StorageError: the disk refused
    """
    if not 1 <= size.min_nodes <= size.max_nodes:
        raise SettingsError(f"--shape-nodes {size.min_nodes} {size.max_nodes}: two numbers from 1, the smaller first")
    grammars = [load_grammar(name).origin for name in sorted(manifest.languages)]
    key = hashlib.sha256(repr((DEFINITION, manifest.fingerprint, *size, *grammars)).encode()).hexdigest()
    path = cache / f"shapes-{key[:16]}.npy"
    if path.is_file():
        return SeenShapes(np.load(path), manifest.num_samples("train"))
    merged: Hashes = np.zeros(0, dtype=np.uint64)
    waiting: list[Hashes] = []
    num_waiting = 0
    for shard in manifest.splits["train"]:
        for table in iter_row_groups(data, shard):
            for row in rows_of(table):
                waiting.append(row_patterns(row, manifest, codec, size))
                num_waiting += len(waiting[-1])
            if num_waiting > HASHES_IN_MEMORY:
                merged, waiting, num_waiting = np.unique(np.concatenate([merged, *waiting])), [], 0
            if on_samples is not None:
                on_samples(table.num_rows)
    merged = np.unique(np.concatenate([merged, *waiting]))
    with storage_errors(cache):
        cache.mkdir(parents=True, exist_ok=True)
    stored = io.BytesIO()
    np.save(stored, merged)  # into a file, numpy does not distinguish a full disk from other errors
    with written_whole(path) as temporary:
        temporary.write_bytes(stored.getbuffer())
    return SeenShapes(merged, manifest.num_samples("train"))


def row_patterns(row: SampleRow, manifest: Manifest, codec: Codec, size: Size) -> Hashes:
    """The patterns of one sample's program."""
    start, end = check_row(row, manifest.languages)
    grammar = load_grammar(row.language)
    nodes, _ = read_nodes(codec.decode(row.input_ids[start:end]), grammar)
    shapes = shapes_of(nodes, grammar)
    return shapes.hash_N[is_pattern(nodes, shapes, grammar, size)]
