"""What must stand first in a program stays first when other code is put before it."""

import ast
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syntaxdiff.eval.problems.header import put_before, split_header

FUTURE = "from __future__ import annotations"
PREAMBLE = "from typing import List\n\n\n"


@pytest.mark.parametrize(
    ("program", "header"),
    [
        ("", ""),
        ("x = 1\n", ""),
        ("# a comment\nx = 1\n", ""),
        ("import os\n", ""),
        ("x = 1\n'no docstring'\n", ""),
        (f"import os\n{FUTURE}\n", ""),  # an error in itself
        ("from .__future__ import annotations\n", ""),
        (f"{FUTURE}\nx = 1\n", f"{FUTURE}\n"),
        (FUTURE, f"{FUTURE}\n"),
        (f"\n\n{FUTURE}\n\nx = 1\n", f"\n\n{FUTURE}\n"),
        (f"{FUTURE}  # why\n# of x\nx = 1\n", f"{FUTURE}  # why\n"),
        (
            f"#!/usr/bin/python\n# -*- coding: latin-1 -*-\n{FUTURE}\n",
            f"#!/usr/bin/python\n# -*- coding: latin-1 -*-\n{FUTURE}\n",
        ),
        (f"{FUTURE}\nfrom __future__ import division\nx = 1\n", f"{FUTURE}\nfrom __future__ import division\n"),
        ("from __future__ import (\n    annotations,\n    # one more\n    division,\n)\nx = 1\n", None),
        ("from __future__ import \\\n    annotations\nx = 1\n", None),
        (f"'''Of a\nprogram.'''\n# and\n{FUTURE}\nx = 1\n", f"'''Of a\nprogram.'''\n# and\n{FUTURE}\n"),
        ("'doc'\nx = 1\n", "'doc'\n"),
        ("('doc'\n 'string')\nx = 1\n", "('doc'\n 'string')\n"),
        (f"{FUTURE}; x = 1\n", f"{FUTURE}\n"),
        (f"'é'; {FUTURE}; x = 'é'; y = 2\n", f"'é'\n{FUTURE}\n"),
        (f"{FUTURE};\nx = 1\n", f"{FUTURE};\n"),
        (f"{FUTURE} ; # why\nx = 1\n", f"{FUTURE} ; # why\n"),
        (f"'doc'\r\n{FUTURE}\r\nx = 1\r\n", f"'doc'\n{FUTURE}\n"),
        (f"{FUTURE}\n\f\nx = 1\n", f"{FUTURE}\n"),
    ],
)
def test_other_code_goes_after_the_header(program: str, header: str | None) -> None:
    """After docstring, comments before it, and all `from __future__` imports, however they are written."""
    header = header if header is not None else program.removesuffix("x = 1\n")
    put = put_before(PREAMBLE, program)
    assert put.startswith(header + PREAMBLE)
    if "import os" not in program:
        namespace: dict[str, Any] = {"__name__": "m", "__package__": "m"}
        if ".__future__" not in program:
            exec(compile(put, "<program>", "exec", dont_inherit=True), namespace)
            assert "List" in namespace
            assert namespace.get("__doc__") == ast.get_docstring(ast.parse(program), clean=False)


@pytest.mark.parametrize(
    "program", ["def f(:\n", f"{FUTURE}\nx = (\n", "x = '\0'\n", f"    {FUTURE}\n", "(" * 300, "x = '\ud800'"]
)
def test_what_does_not_parse_stays_in_one_piece(program: str) -> None:
    """It is a syntax error with other code before it, too."""
    assert put_before(PREAMBLE, program) == PREAMBLE + program
    assert split_header(program) is None


@pytest.mark.parametrize(
    ("first", "program", "put"),
    [
        ("", f"'d'; {FUTURE}\r\n", f"'d'; {FUTURE}\r\n"),  # nothing is put, nothing changes
        ("def f():\n    'doc'\n", "    return 1\n", "def f():\n    'doc'\n    return 1\n"),
        ("def f():\n    'doc'\n", "'text'\n", "def f():\n    'doc'\n'text'\n"),
        ("def f():\n    'doc'\n", f"'t'\n{FUTURE}\nx = 1\n", f"'t'\n{FUTURE}\ndef f():\n    'doc'\nx = 1\n"),
        ("def f(x): return", f" 1\n{FUTURE}\n", f"def f(x): return 1\n{FUTURE}\n"),
        ("x = ", f"{FUTURE}\n", f"x = {FUTURE}\n"),
    ],
)
def test_what_continues_an_unfinished_function_stays_after_it(first: str, program: str, put: str) -> None:
    """Only a program with `from __future__` imports cannot be a continuation."""
    assert put_before(first, program, first_is_open=True) == put


@pytest.mark.parametrize("program", [f"'d'\n{FUTURE}\nx: y = 1\n", f"{FUTURE}\nx: y = 1\n", "'d'\nx = 1\n", "x = 1\n"])
@pytest.mark.parametrize(
    "first",
    [
        "'own'\nfrom __future__ import division\nimport os\n",
        "from __future__ import division; import os\n",
        f"{FUTURE}\nimport os\n",
    ],
)
def test_both_may_have_a_header(first: str, program: str) -> None:
    """All `from __future__` imports stand first, and the program's docstring is the docstring."""
    namespace: dict[str, Any] = {}
    exec(compile(put_before(first, program), "<program>", "exec", dont_inherit=True), namespace)
    assert namespace["x"] == 1
    assert "os" in namespace
    assert namespace.get("__doc__") == ("d" if program.startswith("'d'") else "own" if "own" in first else None)


def test_an_unfinished_function_may_have_a_header_before_it() -> None:
    """Its `from __future__` imports move before it too."""
    first = "'own'\nfrom __future__ import division\ndef f(x):\n"
    put = put_before(first, f"{FUTURE}\nx = 1\n", first_is_open=True)
    assert put == f"'own'\n{FUTURE}\nfrom __future__ import division\ndef f(x):\nx = 1\n"


statements = st.sampled_from(
    [
        "'doc'",
        FUTURE,
        "from __future__ import (division,\n generators)",
        "x = 1",
        "# c",
        "",
        "import os",
        "def f():\n    pass",
        "'''a\nb'''",
    ]
)


@given(st.lists(st.tuples(statements, st.sampled_from(("\n", "; ", "  # c\n", ";\n", "\r\n"))), max_size=6))
def test_a_program_that_compiles_compiles_with_other_code_before_it(parts: list[tuple[str, str]]) -> None:
    """With the same docstring and the same statements after the other code's."""
    program = "".join(statement + end for statement, end in parts)
    try:
        compile(program, "<program>", "exec", dont_inherit=True)
    except SyntaxError:
        return
    put = put_before(PREAMBLE, program)
    compile(put, "<program>", "exec", dont_inherit=True)
    tree, whole = ast.parse(program), ast.parse(put)
    assert ast.get_docstring(whole) == ast.get_docstring(tree)
    assert [ast.dump(statement) for statement in whole.body if "typing" not in ast.dump(statement)] == [
        ast.dump(statement) for statement in tree.body
    ]
