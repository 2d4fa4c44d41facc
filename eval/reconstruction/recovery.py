"""What came back of a program whose tokens were masked: tokens, spans, subtrees, the tree, and whether it parses and compiles.

A *masked span* is a candidate span of the shards with every token masked, of which no span around it is wholly masked too: one
definition for all strategies. For those of subtrees it is what was drawn, where drawn neighbours do not fill their parent.

Two trees are equal if their nodes have equal kinds and numbers of children in pre-order, operators and keywords among them, and
errors in the same places; words do not count. A span's subtree is that of the outermost node that holds just its tokens.

Restoring is in restoration.py, sums over samples are in reconstruct.py.

Shapes: L tokens of the sequence, C code tokens, S candidate spans, N nodes in pre-order, M masked tokens, U masked spans.
"""

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from syntaxdiff.eval.reconstruction.restoration import Restored
from syntaxdiff.eval.syntax.compiler import COMPILED_LANGUAGE, Compiler
from syntaxdiff.eval.syntax.config import Size
from syntaxdiff.eval.syntax.shapes import SeenShapes, is_pattern, shapes_of
from syntaxdiff.pipeline.shard import Manifest, Region, SampleRow
from syntaxdiff.pipeline.syntax.alignment import anchors, tokens_of
from syntaxdiff.pipeline.syntax.grammar import load_grammar
from syntaxdiff.pipeline.syntax.spans import Nodes, read_nodes
from syntaxdiff.pipeline.tokens.codec import Codec
from syntaxdiff.train.data.batch import check_row

Flags: TypeAlias = npt.NDArray[np.bool_]
Integers: TypeAlias = npt.NDArray[np.int64]
Names: TypeAlias = npt.NDArray[np.str_]

NO_LEAF = "(white space)"
NO_PATTERN, SEEN, UNSEEN = range(3)
_NO_NODE = -1


class Program(NamedTuple):
    """A program with its tree: bytes, nodes, the tokens [first, last) that each node holds, and whether all is sound."""

    code: bytes
    nodes: Nodes
    first_N: Integers
    last_N: Integers
    parses: bool


def read_program(codec: Codec, ids: npt.NDArray[np.int64], start: int, end: int, language: str) -> Program:
    """The program that stands in a sequence as tokens [start, end); its nodes' tokens count from ``start``."""
    grammar = load_grammar(language)
    code, end_byte = _bytes_of(codec, ids, start, end)
    start_byte = np.concatenate([np.zeros(1, dtype=np.int64), end_byte[:-1]])[: len(end_byte)]
    nodes, has_error = read_nodes(code, grammar)
    first_N, last_N = tokens_of(anchors(start_byte, end_byte, code), nodes.start_byte, nodes.end_byte)
    return Program(code, nodes, first_N, last_N, not has_error)


def _bytes_of(codec: Codec, ids: npt.NDArray[np.int64], start: int, end: int) -> tuple[bytes, Integers]:
    """Bytes of tokens [start, end), and where in them each token ends."""
    if codec.is_byte_level:
        return codec.decode(ids[start:end]), np.cumsum(codec.num_bytes(ids[start:end].astype(np.int32)))
    # Others lose a space at the start of a text, and show half a character as another: so decoded after the token before,
    # and each token ends where what is decoded up to it leaves the whole.
    before = max(0, start - 1)
    whole = codec.decode(ids[before:end])
    ends = [_common_length(codec.decode(ids[before:last]), whole) for last in range(start, end + 1)]
    end_byte = np.maximum.accumulate(np.array([*ends[:-1], len(whole)], dtype=np.int64)) - ends[0]
    return whole[ends[0] :], end_byte[1:]


def _common_length(part: bytes, whole: bytes) -> int:
    if whole.startswith(part):
        return len(part)
    return next((place for place, (byte, other) in enumerate(zip(part, whole, strict=False)) if byte != other), len(whole))


@dataclass(frozen=True, eq=False, kw_only=True)
class Subject:
    """A sample to mask and restore, and what its own program is.

    Attributes:
        row: of the shards
        region_L: shard.Region of every token
        code: the code's tokens [start, end)
        depth_C: number of candidate spans around every code token
        span_depth_S: number of candidate spans around every candidate span
        pattern_S: NO_PATTERN, SEEN or UNSEEN: whether the span is a pattern (shapes.py), and training had it
        has_unseen: some subtree of the program is a pattern that training did not have
        compiles: None for languages other than Python
    """

    row: SampleRow
    region_L: npt.NDArray[np.uint8]
    code: tuple[int, int]
    depth_C: Integers
    span_depth_S: Integers
    pattern_S: Integers
    has_unseen: bool
    program: Program
    compiles: bool | None


def read_subject(row: SampleRow, manifest: Manifest, codec: Codec, seen: SeenShapes, size: Size, compiler: Compiler) -> Subject:
    """What a sample has before anything is masked. Raises ShardError where its columns contradict each other."""
    start, end = check_row(row, manifest.languages)
    grammar = load_grammar(row.language)
    program = read_program(codec, row.input_ids.astype(np.int64), start, end, row.language)
    shapes = shapes_of(program.nodes, grammar)
    is_pattern_N = is_pattern(program.nodes, shapes, grammar, size)
    is_unseen_N = is_pattern_N & seen.lacks(shapes.hash_N)
    pattern_N = np.where(is_pattern_N, np.where(is_unseen_N, UNSEEN, SEEN), NO_PATTERN)
    node_S = _outermost_nodes(program, row.span_start - start, row.span_end - start, grammar.named)
    changes = np.zeros(end - start + 1, dtype=np.int64)
    np.add.at(changes, row.span_start - start, 1)
    np.add.at(changes, row.span_end - start, -1)
    return Subject(
        row=row,
        region_L=np.repeat(row.region_label, np.diff(row.region_end, prepend=0)),
        code=(start, end),
        depth_C=np.cumsum(changes)[:-1],
        span_depth_S=_depths(row.span_parent),
        pattern_S=np.where(node_S == _NO_NODE, NO_PATTERN, pattern_N[node_S]),
        has_unseen=bool(is_unseen_N.any()),
        program=program,
        compiles=_compiles(program, row.language, compiler),
    )


def _depths(parent_S: npt.NDArray[np.int32]) -> Integers:
    depths: list[int] = []
    for parent in parent_S.tolist():
        depths.append(depths[parent] + 1 if parent >= 0 else 0)
    return np.array(depths, dtype=np.int64)


def _outermost_nodes(program: Program, first_S: Integers, last_S: Integers, named: Flags) -> Integers:
    """For token intervals, the outermost named node that holds just those tokens; _NO_NODE where there is none."""
    node_of: dict[tuple[int, int], int] = {}
    index_N = np.flatnonzero(named[program.nodes.kind])
    for index, first, last in zip(
        index_N.tolist(), program.first_N[index_N].tolist(), program.last_N[index_N].tolist(), strict=True
    ):
        node_of.setdefault((first, last), index)  # pre-order: the outer one comes first
    intervals = zip(first_S.tolist(), last_S.tolist(), strict=True)
    return np.array([node_of.get(interval, _NO_NODE) for interval in intervals], dtype=np.int64)


def _compiles(program: Program, language: str, compiler: Compiler) -> bool | None:
    return compiler.compile(program.code).fault is None if language == COMPILED_LANGUAGE else None


class TokenColumns(NamedTuple):
    """Masked tokens, columns of equal length. ``leaf_kind`` and ``depth`` are those of code; "" and -1 elsewhere."""

    region_M: npt.NDArray[np.uint8]
    leaf_kind_M: Names
    depth_M: Integers
    is_right_M: Flags
    nats_M: npt.NDArray[np.float64]


class SpanColumns(NamedTuple):
    """Masked spans, columns of equal length. ``num_right``: tokens that came back."""

    kind_U: Names
    depth_U: Integers
    length_U: Integers
    pattern_U: Integers
    num_right_U: Integers
    is_equal_U: Flags  # the subtree came back, its words perhaps not

    def are_exact(self) -> Flags:
        """Whether every token came back, bool [U]."""
        return np.asarray(self.num_right_U == self.length_U)


class Recovery(NamedTuple):
    """What came back of a sample."""

    tokens: TokenColumns
    spans: SpanColumns
    num_masked_code: int
    num_right_code: int
    has_equal_tree: bool
    parses: bool
    compiles: bool | None


def recovery(
    subject: Subject, is_masked_L: Flags, restored: Restored, manifest: Manifest, codec: Codec, compiler: Compiler
) -> Recovery:
    """What came back of a sample, of which some tokens were masked."""
    row, (start, end) = subject.row, subject.code
    kinds = np.array(manifest.languages[row.language].node_kinds)
    is_right_L = restored.ids == row.input_ids
    place_M = np.flatnonzero(is_masked_L)
    in_code_M = subject.region_L[place_M] == Region.CODE
    code_M = np.where(in_code_M, place_M - start, 0)
    leaf_kinds = np.where(row.leaf_kind == 0, NO_LEAF, kinds[row.leaf_kind]) if end > start else np.array([""])
    depths = subject.depth_C if end > start else np.zeros(1, dtype=np.int64)
    tokens = TokenColumns(
        region_M=subject.region_L[place_M],
        leaf_kind_M=np.where(in_code_M, leaf_kinds[code_M], ""),
        depth_M=np.where(in_code_M, depths[code_M], -1),
        is_right_M=is_right_L[place_M],
        nats_M=restored.nats[place_M],
    )
    program = read_program(codec, restored.ids, start, end, row.language)
    return Recovery(
        tokens=tokens,
        spans=_spans(subject, is_masked_L, is_right_L, program, kinds),
        num_masked_code=int(in_code_M.sum()),
        num_right_code=int((in_code_M & tokens.is_right_M).sum()),
        has_equal_tree=_is_equal_subtree(subject.program.nodes, 0, program.nodes, 0),
        parses=program.parses,
        compiles=_compiles(program, row.language, compiler),
    )


def _spans(subject: Subject, is_masked_L: Flags, is_right_L: Flags, program: Program, kinds: Names) -> SpanColumns:
    row, start = subject.row, subject.code[0]
    chosen = masked_spans(row.span_start, row.span_end, row.span_parent, is_masked_L)
    first_U, last_U = row.span_start[chosen], row.span_end[chosen]
    num_right = np.concatenate([[0], np.cumsum(is_right_L)])
    named = load_grammar(row.language).named
    was_U = _outermost_nodes(subject.program, first_U - start, last_U - start, named)
    is_U = _outermost_nodes(program, first_U - start, last_U - start, named)
    return SpanColumns(
        kind_U=kinds[row.span_kind[chosen]],
        depth_U=subject.span_depth_S[chosen],
        length_U=(last_U - first_U).astype(np.int64),
        pattern_U=subject.pattern_S[chosen],
        num_right_U=num_right[last_U] - num_right[first_U],
        is_equal_U=np.array(
            [
                _NO_NODE not in (was, now) and _is_equal_subtree(subject.program.nodes, was, program.nodes, now)
                for was, now in zip(was_U.tolist(), is_U.tolist(), strict=True)
            ],
            dtype=bool,
        ),
    )


def masked_spans(
    start_S: npt.NDArray[np.int32], end_S: npt.NDArray[np.int32], parent_S: npt.NDArray[np.int32], is_masked_L: Flags
) -> Integers:
    """Indices of the candidate spans that are wholly masked and lie in no other that is."""
    masked_before = np.concatenate([[0], np.cumsum(is_masked_L)])
    is_whole_S = masked_before[end_S] - masked_before[start_S] == end_S - start_S
    return np.flatnonzero(is_whole_S & ~((parent_S >= 0) & is_whole_S[parent_S]))


def _is_equal_subtree(nodes: Nodes, root: int, others: Nodes, other_root: int) -> bool:
    """Whether two subtrees have equal kinds, numbers of children and errors in pre-order.

    That order with the numbers of children fixes a tree, so equal columns up to the end of the one are equal trees.
    """
    last, other_last = _subtree_end(nodes, root), _subtree_end(others, other_root)
    columns = ((nodes.kind, others.kind), (nodes.arity, others.arity), (nodes.sound, others.sound))
    return all(np.array_equal(column[root:last], other[other_root:other_last]) for column, other in columns)


def _subtree_end(nodes: Nodes, root: int) -> int:
    """Index after the last node of a subtree: where its open places are all closed."""
    return root + int(np.argmax(np.cumsum(nodes.arity[root:] - 1) < 0)) + 1
