"""Helper code of the tests: the definitions of docs/design.md written down literally. Slow, and obviously right.

Nothing here calls the aligner. From the package it takes only what is no part of the claim: the template's pieces, a parsed
tree (``Grammar.parse``) and the numbering of node kinds.
"""

import ast
import itertools
import json
import re
import string
import tomllib
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from syntaxdiff.pipeline.syntax.grammar import Grammar, load_grammar

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
        self.special: dict[int, str] = {
            token["id"]: token["content"] for token in self.spec["added_tokens"] if token["special"]
        }
        specification = json.dumps([self.spec["normalizer"], self.spec["pre_tokenizer"]])
        self.is_byte_level = '"ByteLevel"' in specification
        self.prepends_everywhere = any(
            sign in specification for sign in ('"Prepend"', '"prepend_scheme": "always"', '"add_prefix_space": true')
        )
        self.strips = '"Strip"' in specification  # white space at the ends of a stretch of text has no token
        self.prepends_first = '"prepend_scheme": "first"' in specification

    def intervals(self, ids: Sequence[int], text: bytes) -> list[Interval]:
        """Byte interval of each token in ``text``; raises AssertionError unless the tokens spell exactly that text.

        A space that the tokenizer sets before a stretch of text has no bytes there.
        """
        intervals: list[Interval] = []
        cursor = 0
        opens_section = True
        for place, token_id in enumerate(ids):
            if self.strips and (opens_section or token_id in self.added):
                cursor += len(text[cursor:]) - len(text[cursor:].lstrip())
            start = cursor
            if token_id in self.added:
                assert text.startswith(self.added[token_id].encode(), cursor), (place, token_id, text[cursor : cursor + 40])
                cursor += len(self.added[token_id].encode())
                opens_section = True
            elif self.is_byte_level:
                spelled = bytes(gpt2_alphabet()[character] for character in self.piece_of_id[token_id])
                if opens_section and self.prepends_everywhere and not text[cursor : cursor + 1].isspace():
                    spelled = spelled.removeprefix(b" ")
                opens_section = False
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

    def spelled(self, ids: Sequence[int]) -> bytes:
        """The bytes of a run of ids, one after another, spaces that the tokenizer set among them."""
        spelled = b""
        for token_id in ids:
            piece = self.added.get(token_id) or self.piece_of_id[token_id]
            if token_id in self.added:
                spelled += piece.encode()
            elif self.is_byte_level:
                spelled += bytes(gpt2_alphabet()[character] for character in piece)
            elif re.fullmatch(r"<0x[0-9A-F]{2}>", piece):
                spelled += bytes([int(piece[3:5], 16)])
            else:
                spelled += piece.replace("▁", " ").encode()
        return spelled

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
    return tomllib.loads((Path(__file__).parents[2] / "pipeline" / "syntax" / "languages.toml").read_text("utf-8"))


def is_wrapper(kind: str, language: str) -> bool:
    return kind in language_settings()[language]["roles"]["wrappers"]


def own_role(kind: str, named: bool, language: str) -> int | None:
    """Role of a listed node, None where the node is not listed."""
    roles = language_settings()[language]["roles"]
    for role, name in enumerate(("assignment_or_call", "conditional", "control_flow"), start=1):
        if named and kind in roles[name]:
            return role
    return None


def is_literal_or_punctuation(kind: str, named: bool, language: str) -> bool:
    listed = language_settings()[language]["roles"]
    if named:
        return kind in listed["literals"]
    is_word = any(character.isalpha() for character in kind) and not any(quote in kind for quote in "'\"")
    return not is_word or kind in listed.get("literal_keywords", [])


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
        for left, right in itertools.pairwise(leaves):
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
    "f-string": "inside an f-string ast has nodes for text and formats, and before 3.12 wrong places for the others",
    "legacy-match": "the grammar in tree-sitter-languages takes `match[v] = u` for a match statement: an error there",
    "match-subject": "the bare tuple in `match a, b:` is a node of ast; tree-sitter gives the statement several subjects",
    "xor-binds-tighter": "tree-sitter-python binds ^ tighter than &, Python the other way round: a & b ^ c",
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
    if isinstance(node, ast.Tuple) and isinstance(parent, ast.Match) and not code.startswith(b"(", span[0]):
        return "match-subject"
    if isinstance(node, ast.BinOp) and isinstance(parent, ast.BinOp):
        operators = (type(node.op), type(parent.op))
        return "xor-binds-tighter" if operators == (ast.BitAnd, ast.BitXor) else None
    return None


@dataclass(frozen=True)
class Miss:
    """A node of CPython's tree that is no candidate span, with the listed difference that explains it, if any."""

    node: PythonNode
    tokens: Interval
    difference: str | None


def compare_with_python(code: bytes, anchors: Sequence[int], spans: set[Interval]) -> tuple[int, list[Miss]]:
    """How many statements and expressions hold two tokens or more, and those of them that are no candidate span."""
    num_nodes, misses = 0, []
    for found in python_nodes(code):
        tokens = tokens_in(found.bytes, anchors)
        if tokens[1] - tokens[0] < 2:
            continue
        num_nodes += 1
        if tokens not in spans:
            difference = found.difference
            if (
                difference is None
                and isinstance(found.node, ast.stmt)
                and _ends_in_comments(found, tokens, code, anchors, spans)
            ):
                difference = "trailing-comment"
            misses.append(Miss(found, tokens, difference))
    return num_nodes, misses


def _ends_in_comments(node: PythonNode, tokens: Interval, code: bytes, anchors: Sequence[int], spans: set[Interval]) -> bool:
    for start, end in spans:
        if start == tokens[0] and end > tokens[1]:
            after = anchors[end] if end < len(anchors) else len(code)
            between = code[node.bytes[1] : max(after, 0)]
            lines = [line.strip(b" \t\r\n\x0b\x0c;") for line in between.split(b"\n")]
            if b"#" in between and all(line.startswith(b"#") or not line for line in lines[:-1]):
                return True
    return False


# --------------------------------------------------------------------------------------------------------------- programs

_ELIF = """\
def f(x):
    if x == 1:
        return a[x, 1:2]
    elif x == 2:  # two
        y = [i for i in x if i and not i.j]
    elif x:
        raise ValueError(f"{x!r:>8} of {len(y)}") from None
    else:
        pass
    while (z := g(*x, **y)) is not None:
        try:
            a, (b, *c) = z, -1
        except (KeyError, IndexError) as error:
            del a, b
        else:
            continue
        finally:
            break
    return lambda *a, k=1: {**a, "k": k} if a else {1, 2}
    # the end
"""

_PYTHON = {
    "statements": _ELIF,
    "one-token": "x",
    "one-word": "import_me_if_you_can_my_friend",
    "emoji": 'def f():\n    s = "🙂🏳️‍🌈🧑‍💻"  # 🤷🏽‍♀️ what\n    return s + "é" * len("日本")  # ✓\n\n'
    'f() if "🎉" else g("🙃", x)',
    "accents": "def naïve(é, ö=1):\n    # déjà vu à côté\n    return é + ö if é else naïve(ö, é)\n\nÅngström = naïve(1, ö=2)",
    "combining": 'cafe\u0301 = 1\ndef f(cafe\u0301):\n    s = "e\u0301\u0323 A\u030a"  # n\u0303\n'
    "    return cafe\u0301 + s[cafe\u0301:1]",
    "cjk": '变量 = [1, 2]\ndef 函数(参数):\n    """文档字符串。全角标点。"""\n    return 参数["键"] + 变量[0]\n'
    '# 注释\n\n函数({"键": "値"})',
    "wide-spaces": 'x = "a\u00a0b\u3000c\u2028d\u2029e\x85f"\ny = f(x, "\u00a0")  # \u2028 z\nz = x + y',
    "tabs": "def f(x):\n\tif x:\n\t\treturn\tx +\t1\n\n\t\t# tab\n\treturn f(x\t)\n",
    "crlf": 'def f(x):\r\n    if x:\r\n        return """a\r\n b"""\r\n\r\n    return f(\r\n        x, y\r\n    )\r\n\r\nf(1)',
    "form-feed": "import a\n\x0c\ndef f(x):\n    return g(x, 1)\n\x0c\n\x0cclass A(B):\n    x = f(1) + 2\n\x0bx = 1\n",
    "byte-order-mark": "\ufeffimport a\ndef f(x):\n    return g(x, 1)\n",
    "byte-order-mark-inside": "x = f(1)\n\ufeffy = g(2) + 1\n",
    "lone-carriage-return": "def f(x):\r    return g(x, 1)\r\rx = f(1)\ny = 'a\rb' + c(d)\n",
    "only-comments": "# a comment\n\n#another # one\n    # and é more",
    "only-docstring": '"""Nothing but\n  a docstring."""',
    "syntax-error": "def f(x):\n    return g(x, 1)\n\ndef h(:\n    x = = 3 +\n)\n\nclass A(B):\n"
    "    def m(self): return self.x + 1\n",
    "syntax-error-at-end": "def f(x):\n    return g(x, [1, 2\n",
    "missing-token": "x = f(1, (2, 3)\ny = {1: 2\nz = 3 + 4",
    "not-python": "int main() { return 0; }\n<html>&nbsp;</html> $$$ ``` ~~~\n`a` ? b : c",
    "empty-lines": "\n\n".join(["x = f(1)", "", "", "    ", "def g(y):", "", "    return y + x", "", "", "g(2)"]),
    "leading-indentation": "    x = f(1)\n    y = g(x + 1)\n    if y:\n        z = 2",
    "white-space-at-ends": "   \t x = f( 1 )   \n\t \n   y = 2   \t",
    "fences-inside": 's = """\n```python\nx = 1\n```\n"""\n# ``` </think> <think>\nf(s, "```")',
    "semicolons": "x = 1; y = f(x); print(x, y);\nif x: y = 1; z = 2\nclass A: pass; x = 1",
    "continuations": "x = 1 + \\\n    f(2) \\\n    + 3\nassert x, \\\n  'a' 'b' \\\n  'c'",
    "modern": "async def f(a: int | None = None, /, *b: T, c: dict[str, int]) -> x.Y:\n    async with a as b, c:\n"
    "        await b(c)\n    match a, b:\n        case {'x': [1, *_], **r} if r: yield a\n"
    "        case A(b=1) | None: return\n"
    "@d.e(1)\n@g\nclass C(B, metaclass=M):\n    x: list[int] = field(default_factory=list)\n    global y, z\n",
    "f-strings": "f'{a + b:{w}.{p}} {f(x)!r} {{no}} {\"n\"}' f\"{d['k']}\" 'é' rb'\\x00'\nx = f'''{\n a + 1}''' % (b, c)",
    "numbers": "x = 1_000.5e-10j + 0xFF_FF - 0b1010 // 0o777 ** -1.e5 @ 1234567890123456789\ny = ~x << 2 >> 1 & 3 ^ 4 | 5",
    "underline": "▁ = 1\nx = '▁▁ ▁' + f(▁, '<0x0A> <unk>')  # ▁",
    "special-looking": 'x = "<|endoftext|>" + f("<s></s><unk>[MASK]<|mask|><|im_end|>")  # <|mdm_mask|>',
    "deep-parentheses": "x = " + "(" * 500 + "a + 1" + ")" * 500 + "\ny = f(x)",
    "deep-lists": "x = " + "[1, " * 500 + "2" + "]" * 500,
    "deep-calls": "x = " + "f(a, " * 500 + "2" + ")" * 500,
    "deep-blocks": "".join(" " * i + f"if x{i % 7}:\n" for i in range(500)) + " " * 500 + "y = f(1)",
    "deep-operators": "x = " + " + ".join(f"a{i}" for i in range(500)),
    "deep-attributes": "x" + ".y(1)" * 500,
    "very-long-line": "x = [" + ", ".join(f"'item é {i}': f({i})" if i % 5 else f"g({i})" for i in range(3000)) + "]",
    "very-long-name": "x" * 5000 + " = f(" + "y" * 5000 + ")",
}

_OTHERS = {
    "cpp": (
        "cpp",
        "#include <vector>\n#define MAX(a, b) ((a) > (b) ? (a) : (b))\nusing namespace std;\n\n/* é */ template <class T>\n"
        "struct Solution : Base<T> {\n    Solution() : x(1), y{2} {}\n    int f(const vector<int>& v, char c = 'a') {\n"
        "        for (auto& [k, x] : v) if (x > MAX(1, 2)) { x += 3; } else return v[0];\n"
        "        switch (c) { case 1: break;"
        ' default: return u8"é"[0]; }\n        auto g = [&](int a) -> int { return a * R"(raw\n)"[0]; };\n'
        "        do { --x; } while (!x && y != nullptr);\n        throw new int[3];  // ✓\n    }\n};",
    ),
    "cpp-error": ("cpp", "int main() {\n  int x = f(1;\n  return x + 2;\n}\nclass A { int y = 1; };\nvoid g() { h(1, 2); }"),
    "java": (
        "java",
        "package a.b;\nimport java.util.*;\n\npublic class A<T extends B> {\n"
        "  /** é */ @Override public int f(int[] v) throws E {\n"
        "    for (int x : v) if (x > 0) return x; else continue;\n    String s = \"é\" + 'c' + v.length;\n"
        "    int y = s == null ? 1 : "
        "switch (x) { case 1 -> 2; default -> { yield 3; } };\n"
        "    try { g(() -> x++); } catch (E | F e) { throw e; } finally {}\n"
        "    return new int[]{1, 2}[0];\n  }\n  @interface C {}\n  enum D { A, B }\n}",
    ),
    "javascript": (
        "javascript",
        "// é\nimport a, { b as c } from 'd';\nconst f = async (v, ...w) => {\n"
        "  for (const [x, y] of v) if (x) return `${x} é ${g(y)}`;\n"
        "  let z = v?.[0] ?? null;\n  z ||= /a+é/gi.test(z) ? 1 : -2;\n"
        "  switch (z) { case 1: break; default: throw new E(z); }\n"
        "  return { ...v, get x() { return 1 }, [z]: function* () { yield* w } };\n};\n"
        "class A extends B { static #p = 1; }\n",
    ),
    "typescript": (
        "typescript",
        "interface I<T> { readonly a?: T[]; f(x: number): string | null }\nenum E { A = 1, B }\n"
        "export function f<T extends I<T>>(v: T[], o?: number): v is T[] {\n"
        "  for (const x of v) if (x) return x as unknown as any;\n"
        "  const y: Map<string, [number, 'é']> = new Map();\n  return y!.get(`é${o}`) satisfies E;\n}\n"
        "type R = { [K in keyof I<1>]-?: K extends `a${infer U}` ? U : never };\n"
        "abstract class C { private x: number = 1; }",
    ),
    "go": (
        "go",
        'package main\n\nimport (\n\t"fmt"\n\t. "os"\n)\n\nconst (\n\tA = iota\n\tB\n)\n\ntype T[K any] struct {\n'
        "\ta, b int `é`\n}\n\n"
        "func (t *T[K]) f(v []int, c chan<- int) (x int, err error) {\n\tfor i, x := range v {\n\t\tif x := g(i); x > 1 {\n"
        "\t\t\treturn x, nil\n\t\t} else {\n\t\t\tcontinue\n\t\t}\n\t}\n\tswitch y := x.(type) {\n\tcase int:\n"
        "\t\tfallthrough\n"
        "\tdefault:\n\t\tdefer h(y)\n\t}\n\tselect {\n\tcase c <- 1:\n\t\tgo func() { v[0]++ }()\n\t}\n"
        '\tfmt.Println("é", \'x\', []byte(`raw\n`), map[string]int{"a": 1})\n\treturn\n}',
    ),
    "rust": (
        "rust",
        "//! é\nuse std::{fmt, collections::*};\n\n#[derive(Debug)]\n"
        "pub struct P<'a, T: Fn(i32) -> i32> { x: &'a T, y: [u8; 3] }\n\n"
        "impl<T> P<'_, T> {\n    /// é\n    fn f(&mut self, v: Vec<i32>) -> Option<i32> {\n"
        "        for x in v.iter().map(|x| x + 1) "
        "{ if x > 0 && true { return Some(x); } }\n"
        "        let y = match v[0] { 1 | 2 => g(1)?, n if n < 0 => -n, _ => 'l: loop "
        '{ break \'l 3; } };\n        println!("é {} {:?}", y, b"x");\n'
        "        if let Some(z) = self.h() { unsafe { *z += 1 } } "
        'else { r#"raw"#; }\n        None\n    }\n}\nmacro_rules! m { ($a:expr) => { $a + 1 }; }',
    ),
}

PROGRAMS: dict[str, tuple[str, str]] = {name: ("python", code) for name, code in _PYTHON.items()} | _OTHERS

TEN_THOUSAND_LINES = "\n".join(
    "# é" if i % 50 == 0 else f"def f{i}(a, b={i}):" if i % 5 == 0 else f"    x{i} = g(a, [b, {i}]) + '✓'"
    for i in range(10_000)
)
