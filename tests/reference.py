"""Helper code of the tests: the definitions of docs/design.md written down literally. Slow, and obviously right.

Nothing here calls the aligner. From the package it takes only what is no part of the claim: the template's pieces, a parsed
tree (``Grammar.parse``) and the numbering of node kinds.
"""

import ast
import io
import json
import re
import string
import tokenize
import tomllib
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

from syntaxdiff.pipeline.grammar import Grammar, load_grammar

ASCII_WHITE_SPACE = string.whitespace.encode()
PROMPT, REASONING, CODE, SCAFFOLD = range(4)

Interval = tuple[int, int]


# ---------------------------------------------------------------------------------------------------------------- tokens


def anchor_of(interval: Interval, text: bytes) -> int:
    """A token's first byte that is no ASCII white space, its first byte where all are."""
    start_byte, end_byte = interval
    for position in range(start_byte, end_byte):
        if text[position] not in ASCII_WHITE_SPACE:
            return position
    return start_byte


def tokens_in(interval: Interval, anchors: Sequence[int]) -> Interval:
    """The tokens whose anchor lies in a byte interval, as a half-open token interval; anchors ascend."""
    return bisect_left(anchors, interval[0]), bisect_left(anchors, interval[1])


@cache
def gpt2_alphabet() -> dict[str, int]:
    """Character to byte, as GPT-2's ``bytes_to_unicode`` defines it."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


class Vocabulary:
    """What each id of a ``tokenizer.json`` stands for, read from the file itself."""

    def __init__(self, folder: Path) -> None:
        self.spec: dict[str, Any] = json.loads((folder / "tokenizer.json").read_text("utf-8"))
        self.piece_of_id: dict[int, str] = {i: piece for piece, i in self.spec["model"]["vocab"].items()}
        self.added: dict[int, str] = {token["id"]: token["content"] for token in self.spec["added_tokens"]}
        self.special: dict[int, str] = {token["id"]: token["content"] for token in self.spec["added_tokens"] if token["special"]}
        specification = json.dumps([self.spec["normalizer"], self.spec["pre_tokenizer"]])
        self.is_byte_level = '"ByteLevel"' in specification
        self.prepends_everywhere = '"Prepend"' in specification or '"prepend_scheme": "always"' in specification
        self.prepends_first = '"prepend_scheme": "first"' in specification

    def intervals(self, ids: Sequence[int], text: bytes) -> list[Interval]:
        """Byte interval of each token in ``text``; raises AssertionError unless the tokens spell exactly that text.

        A space that the tokenizer sets before a stretch of text has no bytes there.
        """
        intervals: list[Interval] = []
        cursor = 0
        opens_section = True
        for place, token_id in enumerate(ids):
            start = cursor
            if token_id in self.added:
                assert text.startswith(self.added[token_id].encode(), cursor), (place, token_id, text[cursor : cursor + 40])
                cursor += len(self.added[token_id].encode())
                opens_section = True
            elif self.is_byte_level:
                spelled = bytes(gpt2_alphabet()[character] for character in self.piece_of_id[token_id])
                assert text.startswith(spelled, cursor), (place, spelled, text[cursor : cursor + 40])
                cursor += len(spelled)
            else:
                piece = self.piece_of_id[token_id]
                if opens_section and piece.startswith("▁") and self._sets_a_space(cursor, text):
                    piece = piece.removeprefix("▁")
                opens_section = False
                cursor = self._read_metaspace(piece, cursor, text)
            intervals.append((start, cursor))
        assert cursor == len(text), (cursor, len(text), text[cursor : cursor + 40])
        return intervals

    def _sets_a_space(self, cursor: int, text: bytes) -> bool:
        if self.prepends_everywhere:
            return True
        return self.prepends_first and cursor == 0 and not text.startswith((b" ", "▁".encode()))

    def _read_metaspace(self, piece: str, cursor: int, text: bytes) -> int:
        if re.fullmatch(r"<0x[0-9A-F]{2}>", piece):
            assert text[cursor] == int(piece[3:5], 16), (piece, text[cursor : cursor + 40])
            return cursor + 1
        for character in piece:
            spelled = character.encode()
            if character == "▁" and text.startswith(b" ", cursor):
                spelled = b" "
            assert text.startswith(spelled, cursor), (piece, text[cursor : cursor + 40])
            cursor += len(spelled)
        return cursor


# ------------------------------------------------------------------------------------------------------------- sequences


@dataclass(frozen=True)
class Sequenced:
    """A whole sequence as bytes: what region each byte is of, where the code lies, where special tokens stand."""

    text: bytes
    region_of_byte: bytes
    code: Interval
    reasoning: Interval
    special: tuple[tuple[int, int], ...]  # (byte position, id)


def sequence_of(pieces: Sequence[Any]) -> Sequenced:
    """Joins a template's pieces, byte by byte."""
    text, regions, special = b"", b"", []
    extents = {CODE: (0, 0), REASONING: (0, 0)}
    for piece in pieces:
        encoded = piece.text.encode()
        if piece.token_id is not None:
            special.append((len(text), piece.token_id))
        elif int(piece.region) in extents:
            extents[int(piece.region)] = (len(text), len(text) + len(encoded))
        text += encoded
        regions += bytes([int(piece.region)]) * len(encoded)
    return Sequenced(text, regions, extents[CODE], extents[REASONING], tuple(special))


# ------------------------------------------------------------------------------------------------------------------ trees


@dataclass(frozen=True)
class Span:
    """A candidate span by definition; tokens as positions in the anchors, the parent as an index."""

    tokens: Interval
    kind: str
    arity: int
    parent: int


@dataclass(frozen=True)
class Leaf:
    """A leaf of a tree with the role of a token that is anchored in it."""

    start_byte: int
    end_byte: int
    kind: str
    named: bool
    role: int


@cache
def language_settings() -> dict[str, Any]:
    return tomllib.loads(files("syntaxdiff.pipeline").joinpath("languages.toml").read_text("utf-8"))


def is_wrapper(kind: str, language: str) -> bool:
    return kind in language_settings()[language]["wrappers"]


def own_role(kind: str, named: bool, language: str) -> int | None:
    """Role of a listed node, None where the node is not listed."""
    roles = language_settings()[language]["roles"]
    for role, name in enumerate(("assignment_or_call", "conditional", "control_flow"), start=1):
        if named and kind in roles[name]:
            return role
    return None


def is_literal_or_punctuation(kind: str, named: bool, language: str) -> bool:
    settings = language_settings()[language]
    roles = settings["roles"]
    literals = [*settings.get("literals", []), *roles.get("literals", [])]
    literal_keywords = [*settings.get("literal_keywords", []), *roles.get("literal_keywords", [])]
    if named:
        return kind in literals
    is_word = any(character.isalpha() for character in kind) and not any(quote in kind for quote in "'\"")
    return not is_word or kind in literal_keywords


def walk(root: Any) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Nodes in pre-order, each with a chain of its ancestors as nested pairs: (parent, (grandparent, …))."""
    stack: list[tuple[Any, tuple[Any, ...]]] = [(root, ())]
    while stack:
        node, ancestors = stack.pop()
        yield node, ancestors
        stack.extend((child, (node, ancestors)) for child in reversed(node.children))


class ReferenceTree:
    """The tree of a program in token space, by definition.

    Args:
        code: UTF-8
        anchors: of all tokens of the text that the code stands in, relative to the code's first byte
    """

    def __init__(self, code: bytes, language: str, anchors: Sequence[int]) -> None:
        assert list(anchors) == sorted(anchors), "anchors ascend"
        self.code, self.language, self.anchors = code, language, anchors
        self.grammar: Grammar = load_grammar(language)
        self.tree = self.grammar.parse(code)
        self.has_error: bool = self.tree.root_node.has_error

    @cached_property
    def spans(self) -> list[Span]:
        chains: dict[Interval, list[tuple[str, int]]] = {}
        parents: dict[Interval, Interval | None] = {}
        stack: list[tuple[Any, Interval | None]] = [(self.tree.root_node, None)]
        while stack:
            node, around = stack.pop()
            children = node.children
            if node.is_named and not node.has_error:
                tokens = tokens_in((node.start_byte, node.end_byte), self.anchors)
                if tokens[1] - tokens[0] >= 2:
                    if tokens not in chains:
                        chains[tokens] = []
                        parents[tokens] = around
                    chains[tokens].append((node.type, len(children)))
                    around = tokens
            stack.extend((child, around) for child in reversed(children))
        index = {tokens: i for i, tokens in enumerate(chains)}
        spans = []
        for tokens, chain in chains.items():
            bearers = [bearer for bearer in chain if not is_wrapper(bearer[0], self.language)] or chain
            kind, arity = bearers[-1]
            around = parents[tokens]
            spans.append(Span(tokens, kind, min(arity, 255), -1 if around is None else index[around]))
        return spans

    @cached_property
    def leaves(self) -> list[Leaf]:
        leaves = []
        stack: list[tuple[Any, int]] = [(self.tree.root_node, 0)]
        while stack:
            node, role = stack.pop()
            listed = own_role(node.type, node.is_named, self.language)
            role = role if listed is None else listed
            children = node.children
            if not children and node.start_byte < node.end_byte:
                is_zero = is_literal_or_punctuation(node.type, node.is_named, self.language)
                leaves.append(Leaf(node.start_byte, node.end_byte, node.type, node.is_named, 0 if is_zero else role))
            stack.extend((child, role) for child in reversed(children))
        for left, right in zip(leaves, leaves[1:], strict=False):
            assert left.end_byte <= right.start_byte, "leaves are disjoint and in order"
        return leaves

    @cached_property
    def leaf_of_code_token(self) -> list[Leaf | None]:
        """The leaf at each anchor that lies in the code, None where there is none."""
        starts = [leaf.start_byte for leaf in self.leaves]
        found: list[Leaf | None] = []
        for anchor in self.anchors:
            if 0 <= anchor < len(self.code):
                place = bisect_right(starts, anchor) - 1
                inside = place >= 0 and self.leaves[place].end_byte > anchor
                found.append(self.leaves[place] if inside else None)
        return found


# ------------------------------------------------------------------------------------------------------- CPython's syntax

# Why a node of CPython's tree may have no span of its own, by name of the rule in ``grammar_difference``.
GRAMMAR_DIFFERENCES = {
    "elif": "ast nests an If for each elif, to the end of the chain; tree-sitter has elif clauses side by side",
    "subscript-tuple": "the bare tuple in x[a, b] is a node of ast; tree-sitter gives the subscript several children",
    "trailing-comment": "a comment after a block's last statement belongs to the block in tree-sitter, to nothing in ast",
    "f-string": "before 3.12 ast places what is inside an f-string wrongly or gives it the whole string's place",
    "not-in-tree": "the file holds what tree-sitter's grammar cannot parse: the node lies in or around an error",
}


def python_lines(code: bytes) -> list[int]:
    """First byte of every line as Python counts them: ended by \\n, \\r\\n or \\r, and by nothing else."""
    return [0, *(match.end() for match in re.finditer(rb"\r\n|\r|\n", code))]


@dataclass(frozen=True)
class PythonNode:
    """A statement or expression of CPython's tree with its bytes."""

    node: ast.stmt | ast.expr
    bytes: Interval
    difference: str | None  # the rule that explains why tree-sitter may have no such node


def python_nodes(code: bytes) -> list[PythonNode]:
    """Statements and expressions of a program. Raises what CPython's parser raises where it gives up."""
    byte_order_mark = len(b"\xef\xbb\xbf") if code.startswith(b"\xef\xbb\xbf") else 0
    lines = python_lines(code)
    found: list[PythonNode] = []
    stack: list[tuple[ast.AST, ast.AST | None, bool]] = [(ast.parse(code), None, False)]
    while stack:
        node, parent, in_f_string = stack.pop()
        if isinstance(node, ast.stmt | ast.expr):
            assert node.end_lineno is not None
            assert node.end_col_offset is not None
            start = lines[node.lineno - 1] + node.col_offset + (byte_order_mark if node.lineno == 1 else 0)
            end = lines[node.end_lineno - 1] + node.end_col_offset + (byte_order_mark if node.end_lineno == 1 else 0)
            found.append(PythonNode(node, (start, end), _difference(node, parent, in_f_string, (start, end), code)))
        in_f_string = in_f_string or isinstance(node, ast.JoinedStr)
        stack.extend((child, node, in_f_string) for child in ast.iter_child_nodes(node))
    return found


def _difference(node: ast.AST, parent: ast.AST | None, in_f_string: bool, span: Interval, code: bytes) -> str | None:
    if in_f_string:
        return "f-string"
    if isinstance(node, ast.If) and code.startswith(b"elif", span[0]):
        return "elif"
    if isinstance(node, ast.Tuple) and isinstance(parent, ast.Subscript) and not code.startswith(b"(", span[0]):
        return "subscript-tuple"
    return None


def comments_in(code: bytes) -> list[Interval]:
    """Byte intervals of a Python program's comments, by the standard library's tokenizer."""
    lines = python_lines(code)
    raw = code.splitlines(keepends=True)
    found = []
    try:
        for token in tokenize.tokenize(io.BytesIO(code).readline):
            if token.type == tokenize.COMMENT and len(raw) == len(lines) - (code.endswith(b"\n")):
                start = lines[token.start[0] - 1] + len(token.line[: token.start[1]].encode())
                found.append((start, start + len(token.string.encode())))
    except (tokenize.TokenError, SyntaxError, IndentationError):
        pass
    return found
