"""Functions and classes of Python source files as rows: the source ``stdlib``, and any folder of ``.py`` files.

A row's prompt is made from module, signature and the docstring's summary, its reasoning from the docstring's body and the
comments, its code is the source without the docstring. Only functions and classes at the top of a module are rows, so that
no code is part of two; a class of more than MAX_CLASS_LINES gives its methods instead.
"""

import ast
import inspect
import io
import sys
import sysconfig
import tokenize
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

from syntaxdiff.pipeline.errors import RowError

MAX_CLASS_LINES = 120
LEFT_OUT = frozenset({"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__", "lib2to3"})

Definition: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def stdlib_files() -> list[Path]:
    """Source files of the running interpreter's standard library, tests and installed packages left out, sorted."""
    return python_files(Path(sysconfig.get_path("stdlib")))


def python_files(folder: Path) -> list[Path]:
    """Python files below a folder, tests and installed packages left out, sorted by path."""
    return sorted(
        path
        for path in folder.rglob("*.py")
        if path.is_file() and not LEFT_OUT.intersection(path.relative_to(folder).parts[:-1])
    )


def module_name(path: Path, root: Path) -> str:
    """Dotted name of a file below ``root``: ``json/decoder.py`` is ``json.decoder``."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def snippet_rows(text: str, module: str) -> Iterator[dict[str, str]]:
    """Rows of one source file, in the order of the file.

    Raises:
        RowError: ``unparsable-file`` where Python's own parser refuses the text
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in the code we read are not ours
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise RowError("unparsable-file", f"{module}: {error}") from error
    lines = io.StringIO(text, newline=None).readlines()  # ends lines where Python does, not at form feeds
    try:
        for node in tree.body:
            yield from _rows_of(node, lines, module, prefix="")
    except RecursionError as error:  # Python parses deeper than it writes
        raise RowError("unparsable-file", f"{module}: {error}") from error


def _rows_of(node: ast.stmt, lines: list[str], module: str, prefix: str) -> Iterator[dict[str, str]]:
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return
    name = prefix + node.name
    first_line = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    assert node.end_lineno is not None  # set by ast.parse
    if isinstance(node, ast.ClassDef) and node.end_lineno - first_line >= MAX_CLASS_LINES:
        for child in node.body:
            yield from _rows_of(child, lines, module, prefix=f"{name}.")
        return
    source, docstring = _without_docstring(node, lines, first_line, node.end_lineno)
    summary, _, body = docstring.partition("\n\n")
    thoughts = [body.strip(), *_comments(source)]
    kind = "class" if isinstance(node, ast.ClassDef) else "function"
    prompt = f"Write the Python {kind} `{name}` of the module `{module}`.\n\n{_signature(node)}"
    if summary.strip():
        prompt += f"\n\n{' '.join(summary.split())}"
    yield {
        "id": f"{module}:{name}:{first_line}",
        "prompt": prompt,
        "reasoning": "\n".join(thought for thought in thoughts if thought),
        "code": source,
        "language": "python",
    }


def _signature(node: Definition) -> str:
    if isinstance(node, ast.ClassDef):
        bases = ", ".join(ast.unparse(base) for base in [*node.bases, *node.keywords])
        return f"class {node.name}({bases})" if bases else f"class {node.name}"
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    prefix = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    return f"{prefix} {node.name}({ast.unparse(node.args)}){returns}"


def _without_docstring(node: Definition, lines: list[str], first_line: int, end_line: int) -> tuple[str, str]:
    """Source of a definition without its docstring, at no indentation, and the docstring, cleaned."""
    statement = node.body[0]
    docstring = ast.get_docstring(node, clean=False)
    kept = lines[first_line - 1 : end_line]
    starts_own_line = statement.lineno > node.lineno and not lines[statement.lineno - 1][: statement.col_offset].strip()
    ends_own_line = len(node.body) == 1 or (statement.end_lineno or 0) < node.body[1].lineno
    if docstring is None or not (starts_own_line and ends_own_line):
        return _dedented(node, kept, first_line), inspect.cleandoc(docstring or "")
    indent = lines[statement.lineno - 1][: statement.col_offset]
    assert statement.end_lineno is not None  # set by ast.parse
    blank = range(statement.lineno - first_line, statement.end_lineno - first_line + 1)
    for index in blank:
        kept[index] = ""
    if len(node.body) == 1:
        kept[blank.start] = f"{indent}pass\n"
    return _dedented(node, kept, first_line), inspect.cleandoc(docstring)


def _dedented(node: Definition, lines: list[str], first_line: int) -> str:
    """A definition's lines at no indentation; those that open inside a string stay, they are the string's own."""
    indent = lines[0][: node.col_offset]
    if not indent:
        return "".join(lines)
    inside = {
        line
        for part in ast.walk(node)
        if isinstance(part, ast.Constant | ast.JoinedStr)
        for line in range(part.lineno + 1, (part.end_lineno or 0) + 1)
    }
    return "".join(
        line if number in inside else line.removeprefix(indent) if line.startswith(indent) else line.lstrip(" \t")
        for number, line in enumerate(lines, first_line)
    )


def _comments(source: str) -> list[str]:
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    except (tokenize.TokenError, SyntaxError):  # dedented text may hold strings that lost their shape
        return []
    return [token.string.lstrip("#").strip() for token in tokens if token.type == tokenize.COMMENT]


def interpreter() -> str:
    """Name of the running interpreter's standard library as a source: ``CPython 3.11.7``."""
    return f"{sys.implementation.name} {sys.version.split()[0]}"
