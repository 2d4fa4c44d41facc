"""A program's syntax tree with bound names renamed, for telling whether two programs are the same but for their names."""

import ast
import hashlib


def folded(program: str) -> str:
    """A digest that two programs share if they differ only in the names they bind, in layout and in comments.

    Names that are bound (functions, classes, parameters, variables) are numbered in the order met. Built-ins, attributes,
    operators, keyword arguments and literals stay.

    Raises:
        SyntaxError: it is not Python
    """
    tree = ast.parse(program)
    nodes = _in_order(tree)
    bound = {name for node in nodes if (name := _bound_name(node)) is not None}
    numbers: dict[str, str] = {}
    for node in nodes:
        for field in ("id", "arg", "name"):
            name = getattr(node, field, None)
            if name in bound and not isinstance(node, ast.keyword | ast.alias):
                setattr(node, field, numbers.setdefault(name, f"_{len(numbers)}"))
    return hashlib.blake2b(ast.dump(tree).encode(), digest_size=8).hexdigest()


def _bound_name(node: ast.AST) -> str | None:
    """The name that a node binds."""
    if isinstance(node, ast.Name):
        return None if isinstance(node.ctx, ast.Load) else node.id
    if isinstance(node, ast.arg):
        return node.arg
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.ExceptHandler):
        return node.name
    return None


def _in_order(node: ast.AST) -> list[ast.AST]:
    """Nodes in pre-order, which is the order in which names are met (ast.walk goes by levels)."""
    nodes, stack = [], [node]
    while stack:
        node = stack.pop()
        nodes.append(node)
        stack.extend(reversed(list(ast.iter_child_nodes(node))))
    return nodes
