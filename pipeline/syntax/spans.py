"""Syntax trees in token space: candidate spans, and the role and leaf kind of every code token.

A candidate span is the token interval of a named, sound node (no error in it) that holds at least two tokens. Nodes of one
interval collapse to one span, which bears the kind and arity of the innermost that is not a mere wrapper. Spans stand in
pre-order and nest (paper, "Instantiation"; the whole code is a span too).
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from syntaxdiff.pipeline.syntax.alignment import tokens_of
from syntaxdiff.pipeline.syntax.grammar import Grammar, load_grammar

MIN_SPAN_TOKENS = 2


class Spans(NamedTuple):
    """Candidate spans in pre-order: half-open token intervals, node kind, number of children, index of the parent span."""

    start: npt.NDArray[np.int32]
    end: npt.NDArray[np.int32]
    kind: npt.NDArray[np.uint16]
    arity: npt.NDArray[np.uint8]
    parent: npt.NDArray[np.int32]
    depth: int

    def shifted(self, num_tokens: int) -> "Spans":
        """The same spans, their positions moved to the right."""
        return self._replace(start=self.start + np.int32(num_tokens), end=self.end + np.int32(num_tokens))


class Nodes(NamedTuple):
    """Nodes of a tree in pre-order, columns of equal length.

    ``kind`` is the dense kind of grammar.Grammar, ``arity`` the number of children, ``sound`` that no error lies within.
    """

    start_byte: npt.NDArray[np.int64]
    end_byte: npt.NDArray[np.int64]
    kind: npt.NDArray[np.uint16]
    arity: npt.NDArray[np.int64]
    sound: npt.NDArray[np.bool_]


class CodeTree(NamedTuple):
    """What the syntax tree says of a program's tokens: candidate spans, and role and leaf kind of every token."""

    spans: Spans
    role: npt.NDArray[np.uint8]
    leaf_kind: npt.NDArray[np.uint16]
    has_error: bool


def code_tree(code: bytes, language: str, anchor: npt.NDArray[np.int64]) -> CodeTree:
    """Parses a program once and brings its tree into token space.

    Args:
        code: UTF-8
        language: one of grammar.LANGUAGES
        anchor: anchors of the tokens, in bytes of ``code``; ascending. Tokens outside the code may be among them.

    Returns:
        spans as positions in ``anchor``; role and leaf kind of the tokens whose anchor lies in the code, in order
    """
    grammar = load_grammar(language)
    nodes, has_error = read_nodes(code, grammar)
    inside = anchor[slice(*np.searchsorted(anchor, (0, len(code))))]
    role, leaf_kind = _leaves_at(nodes, inside, grammar)
    return CodeTree(candidate_spans(nodes, anchor, grammar), role, leaf_kind, has_error)


def read_nodes(code: bytes, grammar: Grammar) -> tuple[Nodes, bool]:
    """All visible nodes of a program's tree in pre-order, and whether the tree holds an error.

    A cursor costs 0.3 to 0.5 µs a node and does not recurse, so deep nesting is safe.
    """
    tree = grammar.parse(code)
    has_error = bool(tree.root_node.has_error)
    start_byte: list[int] = []
    end_byte: list[int] = []
    kind_id: list[int] = []
    parent: list[int] = []
    faulty: list[int] = []
    add_start, add_end, add_kind, add_parent = start_byte.append, end_byte.append, kind_id.append, parent.append
    cursor: Any = tree.walk()  # the stubs say that its node may be None
    to_child, to_sibling, to_parent = cursor.goto_first_child, cursor.goto_next_sibling, cursor.goto_parent
    ancestors: list[int] = []
    index, around = 0, -1
    is_open = True
    while is_open:
        node = cursor.node
        add_start(node.start_byte)
        add_end(node.end_byte)
        add_kind(node.kind_id)
        add_parent(around)
        if has_error and (node.has_error or node.is_missing):
            faulty.append(index)
        if to_child():
            ancestors.append(around)
            around = index
        else:
            while is_open and not to_sibling():
                is_open = to_parent()
                around = ancestors.pop() if is_open else -1
        index += 1
    sound = np.ones(index, dtype=bool)
    sound[faulty] = False
    nodes = Nodes(
        start_byte=np.array(start_byte, dtype=np.int64),
        end_byte=np.array(end_byte, dtype=np.int64),
        kind=grammar.dense_kind[kind_id],
        arity=np.bincount(np.array(parent[1:], dtype=np.int64), minlength=index),
        sound=sound,
    )
    return nodes, has_error


def candidate_spans(nodes: Nodes, anchor: npt.NDArray[np.int64], grammar: Grammar) -> Spans:
    """Candidate spans of a tree, as positions in ``anchor``; see the head of this file."""
    start, end = tokens_of(anchor, nodes.start_byte, nodes.end_byte)
    is_named = grammar.named[nodes.kind]
    kept = np.flatnonzero(is_named & nodes.sound & (end - start >= MIN_SPAN_TOKENS))
    start, end = start[kept], end[kept]
    # In pre-order, nodes of one interval are neighbours: what lies between them would lie in both.
    if len(kept) == 0:
        return _spans(start, end, kept, nodes, kept)
    opens = np.append(0, np.flatnonzero((start[1:] != start[:-1]) | (end[1:] != end[:-1])) + 1)
    position = np.arange(len(kept))
    telling = np.where(grammar.is_wrapper[nodes.kind[kept]], -1, position)
    last = np.append(opens[1:], len(kept)) - 1
    innermost = np.maximum.reduceat(telling, opens)
    return _spans(start[opens], end[opens], kept, nodes, np.where(innermost >= 0, innermost, last))


def _spans(
    start: npt.NDArray[np.int64],
    end: npt.NDArray[np.int64],
    kept: npt.NDArray[np.int64],
    nodes: Nodes,
    bearer: npt.NDArray[np.int64],
) -> Spans:
    parent, depth = nesting(start, end)
    return Spans(
        start=start.astype(np.int32),
        end=end.astype(np.int32),
        kind=nodes.kind[kept[bearer]],
        arity=np.minimum(nodes.arity[kept[bearer]], 255).astype(np.uint8),
        parent=parent,
        depth=depth,
    )


def nesting(start: npt.NDArray[np.int64], end: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int32], int]:
    """Index of the smallest span around each span of a nested family in pre-order (-1 at the top), and the depth."""
    parent = []
    around: list[int] = []
    ends = end.tolist()
    depth = 0
    for index, first in enumerate(start.tolist()):
        while around and ends[around[-1]] <= first:
            around.pop()
        parent.append(around[-1] if around else -1)
        around.append(index)
        if len(around) > depth:
            depth = len(around)
    return np.array(parent, dtype=np.int32), depth


def _leaves_at(
    nodes: Nodes, anchor: npt.NDArray[np.int64], grammar: Grammar
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint16]]:
    """Role and kind of the leaf at each anchor; 0 where no leaf lies there (line ends, indentation)."""
    leaf = np.flatnonzero((nodes.arity == 0) & (nodes.end_byte > nodes.start_byte))
    if len(leaf) == 0:
        return np.zeros(len(anchor), dtype=np.uint8), np.zeros(len(anchor), dtype=np.uint16)
    leaf_start, leaf_kind = nodes.start_byte[leaf], nodes.kind[leaf]
    role_by_node = grammar.role_by_kind[nodes.kind]
    leaf_role = np.zeros(len(leaf), dtype=np.uint8)
    listed = np.flatnonzero(role_by_node)
    first, last = tokens_of(leaf_start, nodes.start_byte[listed], nodes.end_byte[listed])
    for role, low, high in zip(role_by_node[listed].tolist(), first.tolist(), last.tolist(), strict=True):
        leaf_role[low:high] = role  # pre-order: an inner node paints over the one around it
    leaf_role[grammar.is_literal_or_punctuation[leaf_kind]] = 0
    at = np.maximum(np.searchsorted(leaf_start, anchor, side="right") - 1, 0)
    hit = (leaf_start[at] <= anchor) & (anchor < nodes.end_byte[leaf][at])
    return np.where(hit, leaf_role[at], 0).astype(np.uint8), np.where(hit, leaf_kind[at], 0).astype(np.uint16)
