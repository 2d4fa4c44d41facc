"""Whether programs parse and compile, and what is wrong with those that do not.

tree-sitter says for every language whether a program parses, and CPython for Python whether it compiles, which asks more: names
declared twice, `return` outside of a function. Nothing is run. How trees are compared is in recovery.py.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from syntaxdiff.eval.syntax.compiler import COMPILED_LANGUAGE, Compiled, Compiler
from syntaxdiff.eval.syntax.outcome import ErrorCounts
from syntaxdiff.eval.syntax.shapes import subtree_ends
from syntaxdiff.pipeline.syntax.grammar import load_grammar
from syntaxdiff.pipeline.syntax.spans import Nodes, read_nodes

AT_THE_TOP = "the top"
_ERROR_KIND = 0xFFFF  # tree-sitter's own id


class Validity(NamedTuple):
    """What parser and compiler say of a program.

    Attributes:
        tree_errors: every ERROR and MISSING node by the kind of the node around it, as ``ERROR in block``
        compiled: None for languages other than Python
    """

    tree_errors: list[str]
    compiled: Compiled | None

    @property
    def parses(self) -> bool:
        """Whether tree-sitter finds no error."""
        return not self.tree_errors


def check_program(code: bytes, language: str, compiler: Compiler) -> Validity:
    """Parses a program, and compiles it if it is Python's."""
    return Validity(tree_errors(code, language), compiler.compile(code) if language == COMPILED_LANGUAGE else None)


def tree_errors(code: bytes, language: str) -> list[str]:
    """ERROR nodes and MISSING nodes of a program's tree, each with the kind of its parent, in the order of the text.

    An error inside another is counted too; a missing node is reported with its kind.
    """
    grammar = load_grammar(language)
    nodes, has_error = read_nodes(code, grammar)
    if not has_error:
        return []
    error_kind = grammar.dense_kind[_ERROR_KIND]
    found = []
    for index, parent in enumerate(parents_of(nodes)):
        is_error = nodes.kind[index] == error_kind
        is_missing = not is_error and not nodes.sound[index] and nodes.arity[index] == 0
        if is_error or is_missing:
            around = grammar.node_kinds[nodes.kind[parent]] if parent >= 0 else AT_THE_TOP
            what = "ERROR" if is_error else f"MISSING {grammar.node_kinds[nodes.kind[index]]}"
            found.append(f"{what} in {around}" if parent >= 0 else f"{what} at {AT_THE_TOP}")
    return found


def parents_of(nodes: Nodes) -> list[int]:
    """Index of the node around every node of a tree in pre-order, -1 for the root."""
    parents: list[int] = []
    around: list[int] = []
    ends = subtree_ends(nodes.arity).tolist()
    for index in range(len(ends)):
        while around and ends[around[-1]] <= index:
            around.pop()
        parents.append(around[-1] if around else -1)
        around.append(index)
    return parents


def counted(errors: Sequence[Sequence[str]]) -> dict[str, ErrorCounts]:
    """Kinds of errors of some programs: in how many programs each is, and how often; the most frequent first."""
    programs = Counter(kind for found in errors for kind in set(found))
    times = Counter(kind for found in errors for kind in found)
    order = sorted(programs, key=lambda kind: (-programs[kind], -times[kind], kind))
    return {kind: ErrorCounts(programs=programs[kind], times=times[kind]) for kind in order}


def decided_lines(text: bytes) -> bytes:
    """The whole lines of a text that was cut anywhere: up to the last line end that no backslash takes back."""
    end = text.rfind(b"\n") + 1
    while text[:end].endswith((b"\\\n", b"\\\r\n")):
        end = text.rfind(b"\n", 0, end - 1) + 1
    return text[:end]
