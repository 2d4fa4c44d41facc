"""What must stand first in a Python program, its docstring and its ``from __future__`` imports, and what may go after these.

A program that is put together of two parts keeps the header of the second: the first goes after it.
"""

import ast
import io
import tokenize
import warnings
from typing import NamedTuple


class Header(NamedTuple):
    """A program in its parts; each is whole lines.

    Attributes:
        docstring: with the comments before it; may be empty
        futures: the ``from __future__`` imports, with the comments before them
        rest: all after them
    """

    docstring: str
    futures: str
    rest: str


def put_before(first: str, program: str, *, first_is_open: bool = False) -> str:
    """A program with other code before it, but after its docstring and its ``from __future__`` imports.

    A program that Python cannot parse gets the other code before its first line: it is a syntax error either way.

    Args:
        first: whole statements, or the beginning of a program whose last function is unfinished
        program: whole; or what finishes that function
        first_is_open: it may be unfinished: only a program with ``from __future__`` imports is not its continuation
    """
    header = split_header(program) if first.endswith("\n") else None
    if header is None or not (header.futures or (header.docstring and not first_is_open)):
        return first + program
    own = _header_of_beginning(first)
    if header.docstring:  # the other code's is none then, and would end the header
        return header.docstring + header.futures + own.futures + own.docstring + own.rest + header.rest
    return own.docstring + header.futures + own.futures + own.rest + header.rest


def _header_of_beginning(first: str) -> Header:
    """The header of code whose last function may lack its body."""
    for finish in ("", "    pass\n"):
        header = split_header(first + finish)
        if header is not None:
            return header._replace(rest=header.rest.removesuffix(finish))
    return Header("", "", first)


def split_header(program: str) -> Header | None:
    """A program's docstring, ``from __future__`` imports and rest; None where Python cannot parse it.

    Statements behind a semicolon start a line of their own.
    """
    program = program.replace("\r\n", "\n").replace("\r", "\n")  # as Python reads them
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # escapes that are none, in a model's program
            body = ast.parse(program).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    has_docstring = bool(body) and isinstance(body[0], ast.Expr) and _is_text(body[0].value)
    end = int(has_docstring)
    while end < len(body) and _is_future(body[end]):
        end += 1
    docstring, program = _cut_after(program, body[:1]) if has_docstring else ("", program)
    if end == has_docstring:
        return Header(docstring, "", program)
    body = ast.parse(program).body if has_docstring else body
    return Header(docstring, *_cut_after(program, body[: end - has_docstring]))


def _is_text(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def _is_future(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.ImportFrom) and statement.module == "__future__" and statement.level == 0


def _cut_after(program: str, statements: list[ast.stmt]) -> tuple[str, str]:
    """A program cut after its first statements, and the comment in their last line."""
    last = statements[-1]
    assert last.end_lineno is not None
    assert last.end_col_offset is not None
    lines = program.split("\n")
    column = len(lines[last.end_lineno - 1].encode()[: last.end_col_offset].decode())
    place = last.end_lineno, column
    for token in tokenize.generate_tokens(io.StringIO(program).readline):
        if token.start < place or token.type in (tokenize.COMMENT, tokenize.NL) or token.string == ";":
            continue
        if token.type in (tokenize.NEWLINE, tokenize.ENDMARKER):
            line = token.start[0]
            return "".join(f"{text}\n" for text in lines[:line]), "\n".join(lines[line:])
        (line, start) = token.start
        head = "\n".join([*lines[: place[0] - 1], lines[place[0] - 1][:column]])
        return head + "\n", "\n".join([lines[line - 1][start:], *lines[line:]])
    raise AssertionError("tokens end with an end marker")
