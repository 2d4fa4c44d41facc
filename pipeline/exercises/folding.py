"""A program's syntax tree with bound names renamed, for telling whether two programs are the same but for their names."""

import ast
import builtins
import hashlib

_BUILT_IN = frozenset(dir(builtins))


def folded(program: str) -> str:
    """A digest that two programs share if they differ only in the names they bind, in layout and in comments.

    Names that are bound (functions, classes, parameters, variables) are numbered in the order met. Built-ins, attributes,
    operators, keyword arguments and literals stay.

    Raises:
        SyntaxError: it is not Python
    """
    tree = ast.parse(program)
    bound = {
        name
        for node in ast.walk(tree)
        for name in (
            [node.id]
            if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)
            else [node.arg]
            if isinstance(node, ast.arg)
            else [node.name]
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            else [node.name]
            if isinstance(node, ast.ExceptHandler) and node.name
            else []
        )
    }
    numbers: dict[str, str] = {}

    def renamed(name: str) -> str:
        return numbers.setdefault(name, f"_{len(numbers)}") if name in bound else name

    for node in _in_order(tree):
        if isinstance(node, ast.Name):
            node.id = renamed(node.id)
        elif isinstance(node, ast.arg):
            node.arg = renamed(node.arg)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or (isinstance(node, ast.ExceptHandler) and node.name):
            node.name = renamed(node.name)
    return hashlib.blake2b(ast.dump(tree).encode(), digest_size=8).hexdigest()


def _in_order(node: ast.AST) -> list[ast.AST]:
    """Nodes in pre-order, which is the order in which names are met (ast.walk goes by levels)."""
    nodes, stack = [], [node]
    while stack:
        node = stack.pop()
        nodes.append(node)
        stack.extend(reversed(list(ast.iter_child_nodes(node))))
    return nodes
