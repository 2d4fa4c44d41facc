"""Templates of code: names in them replaced by expressions, with the parentheses that this needs and no others."""

import ast
import copy
from collections.abc import Mapping, Sequence
from functools import lru_cache


@lru_cache(maxsize=1 << 12)
def _parsed(code: str) -> ast.expr:
    return ast.parse(code, mode="eval").body


class _Substitution(ast.NodeTransformer):
    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names

    def visit_Name(self, node: ast.Name) -> ast.expr:
        code = self._names.get(node.id)
        return node if code is None else copy.deepcopy(_parsed(code))


@lru_cache(maxsize=1 << 14)
def _substituted(template: str, names: tuple[tuple[str, str], ...]) -> str:
    return ast.unparse(_Substitution(dict(names)).visit(ast.parse(template)))


def substitute(template: str, names: Mapping[str, str]) -> str:
    """A template in which names are replaced by expressions: ``x * x`` with ``a + b`` for x is ``(a + b) * (a + b)``."""
    return _substituted(template, tuple(names.items()))


def block(lines: Sequence[str], names: Mapping[str, str]) -> list[str]:
    """Statements, line by line, with names replaced likewise."""
    return substitute("\n".join(lines), names).splitlines()
