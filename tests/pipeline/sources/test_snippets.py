"""Python files as rows: every definition once, its code the same program without the docstring."""

import ast
import random
import textwrap
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from syntaxdiff.pipeline.errors import RowError, SourceError
from syntaxdiff.pipeline.sources.hub import HubOptions
from syntaxdiff.pipeline.sources.snippets import MAX_CLASS_LINES, Definition, module_name, snippet_rows, stdlib_files
from syntaxdiff.pipeline.sources.source import open_source
from syntaxdiff.pipeline.sources.units import PythonFile


def rows_of(source: str) -> list[dict[str, str]]:
    return list(snippet_rows(textwrap.dedent(source), "m"))


def code_of(source: str) -> str:
    (row,) = rows_of(source)
    return row["code"]


def definitions(body: list[ast.stmt]) -> Iterator[Definition]:
    """Definitions at the top of a module; methods instead of classes that are long."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            first_line = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            if isinstance(node, ast.ClassDef) and (node.end_lineno or 0) - first_line >= MAX_CLASS_LINES:
                yield from definitions(node.body)
            else:
                yield node


def without_docstring(node: Definition) -> str:
    if ast.get_docstring(node, clean=False) is not None:
        node.body = node.body[1:] or [ast.Pass()]
    return ast.dump(node)


def check_file(path: Path) -> int:
    """Holds every row of a file to its definition; returns their number."""
    with tokenize.open(path) as file:
        text = file.read()
    rows = list(snippet_rows(text, path.stem))
    nodes = list(definitions(ast.parse(text).body))
    assert len(rows) == len(nodes)
    for row, node in zip(rows, nodes, strict=True):
        code = ast.dump(ast.parse(row["code"]).body[0])
        assert code in (ast.dump(node), without_docstring(node)), row["id"]
    assert len({row["id"] for row in rows}) == len(rows)
    return len(rows)


@pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore::DeprecationWarning")  # in the library's own files
@pytest.mark.slow
def test_rows_are_the_same_program_without_the_docstring() -> None:
    """For a part of the standard library: the code parses alone, to the tree of the definition without its docstring."""
    files = random.Random(0).sample(stdlib_files(), 60)
    library = Path(ast.__file__).parent
    assert sum(map(check_file, [*files, library / "pydoc.py", library / "ast.py"])) > 800


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore::DeprecationWarning")  # in the library's own files
def test_all_rows_of_the_standard_library_are_the_same_program() -> None:
    """For all of it."""
    assert sum(map(check_file, stdlib_files())) > 8_000


SUMMARY = '''
def f(x: int, *, y=1) -> int:
    """Sum of two.

    First the one,
    then the other.
    """
    # They are numbers.
    return x + y  # no overflow
'''


def test_a_row_tells_problem_reasoning_and_program() -> None:
    """Prompt: module, signature, summary; reasoning: the docstring's body and the comments; code: the rest."""
    (row,) = rows_of(SUMMARY)
    assert row["id"] == "m:f:2"
    for part in ("`f`", "`m`", "def f(x: int, *, y=1) -> int", "Sum of two."):
        assert part in row["prompt"]
    assert row["reasoning"] == "First the one,\nthen the other.\nThey are numbers.\nno overflow"
    assert "Sum of two" not in row["code"]
    assert row["code"].startswith("def f(")


LONG_CLASS = "class C:\n" + "    x = 1\n" * MAX_CLASS_LINES


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("def f():\n    return 1\n", "def f():\n    return 1\n"),
        ('def f():\n    """Doc."""\n', "def f():\n    pass\n"),
        ('def f(): """Doc."""\n', 'def f(): """Doc."""\n'),
        ('def f():\n    """Doc."""; return 1\n', 'def f():\n    """Doc."""; return 1\n'),
        ('@wraps(\n    g)\ndef f():\n    """Doc."""\n    return 1\n', "@wraps(\n    g)\ndef f():\n    return 1\n"),
        ('async def f():\n    """Doc.\n\nMore."""\n    return 1\n', "async def f():\n    return 1\n"),
        ('class A(B, metaclass=M):\n    """Doc."""\n    x = 1\n', "class A(B, metaclass=M):\n    x = 1\n"),
        ('def f():\n    f"""no {1} docstring"""\n', 'def f():\n    f"""no {1} docstring"""\n'),
        ("def f():\n    return 'é\\t中'\n", "def f():\n    return 'é\\t中'\n"),
        ("def f():\n    return 1", "def f():\n    return 1"),
        ("def f():\n\x0c    return 1\n", "def f():\n\x0c    return 1\n"),
        (LONG_CLASS + "    def f(self):\n        return 1\n", "def f(self):\n    return 1\n"),
        (LONG_CLASS.replace("    ", "\t") + "\tdef f(self):\n\t\treturn 1\n", "def f(self):\n\treturn 1\n"),
        (LONG_CLASS + "    def f(self):\n        return '''\n    a\nb'''\n", "def f(self):\n    return '''\n    a\nb'''\n"),
        (LONG_CLASS + "    def f(self):\n# far left\n        return 1\n", "def f(self):\n# far left\n    return 1\n"),
        (LONG_CLASS + '    @g\n    def f(self):\n        """Doc."""\n', "@g\ndef f(self):\n    pass\n"),
    ],
)
def test_definitions_become_code(source: str, code: str) -> None:
    """The docstring goes where it stands on lines of its own, indentation goes, strings keep theirs."""
    assert code_of(source) == code


def test_what_is_no_definition_at_the_top_is_no_row() -> None:
    """Statements, and definitions inside others or under conditions, are left out: no code is part of two rows."""
    assert rows_of("x = 1\nif x:\n    def f(): pass\nlambda: 1\n") == []
    assert len(rows_of("def f():\n    def g(): pass\n    return g\n")) == 1


@pytest.mark.parametrize(
    "source", ["def f(:\n", "def f():\n\x00", "(" * 5000, "def f(x=" + "1+" * 5000 + "1): pass", "  x\ny"], ids=lambda s: s[:8]
)
def test_what_python_cannot_read_is_one_reject(source: str) -> None:
    """Also where its parser or its printer recurses too deeply."""
    with pytest.raises(RowError) as caught:
        list(snippet_rows(source, "m"))
    assert caught.value.reason == "unparsable-file"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"# coding: nope\nx = 1\n", "unparsable-file"),
        (b"def f(): '\xff'\n", "unparsable-file"),
        (b"\xef\xbb\xbf# coding: latin-1\ndef f(): pass\n", "unparsable-file"),
        (b"def f(): pass\x00\n", "unparsable-file"),
    ],
)
def test_files_with_a_wrong_encoding_are_one_reject(data: bytes, reason: str, tmp_path: Path) -> None:
    """An unknown or wrong cookie, bytes that are not UTF-8, null bytes."""
    (tmp_path / "a.py").write_bytes(data)
    ((place, row),) = PythonFile(tmp_path / "a.py", "a")()
    assert place == "a"
    assert isinstance(row, RowError)
    assert row.reason == reason


def test_encodings_and_line_ends_are_pythons(tmp_path: Path) -> None:
    """A cookie, a byte-order mark, CRLF and CR are read as Python reads them."""
    (tmp_path / "a.py").write_bytes("# coding: latin-1\ndef f():\n    return 'é'\n".encode("latin-1"))
    (tmp_path / "b.py").write_bytes(b"\xef\xbb\xbfdef f():\r\n    return 1\r\n")
    for name, code in (("a", "def f():\n    return 'é'\n"), ("b", "def f():\n    return 1\n")):
        ((_, row),) = PythonFile(tmp_path / f"{name}.py", name)()
        assert isinstance(row, dict)
        assert row["code"] == code


def test_a_folder_of_python_files_is_a_source(tmp_path: Path) -> None:
    """Sorted, tests left out, module names below the folder; reading goes on after any file."""
    for name in ("b.py", "a/__init__.py", "a/x.py", "tests/test_a.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"def f():\n    return {name!r}\n")
    source = open_source(str(tmp_path), HubOptions())
    units = list(source.units())
    assert [place for unit in units for place, _ in unit.rows()] == ["a:f:1", "a.x:f:1", "b:f:1"]
    for index, unit in enumerate(units):
        assert [rest.place for rest in source.units(unit.cursor)] == [rest.place for rest in units[index + 1 :]]
    (tmp_path / "b.py").unlink()
    with pytest.raises(SourceError, match=r"b\.py cannot be read"):
        list(units[2].rows())


def test_the_standard_library_is_a_source() -> None:
    """`stdlib` gives each of its files once, and goes on after any."""
    source = open_source("stdlib", HubOptions())
    places = [unit.place for unit in source.units()]
    assert len(places) == len(set(places)) == source.size
    assert {"ast.py", "json/decoder.py"} <= set(places)
    cursor = next(unit.cursor for unit in source.units() if unit.place == "json/decoder.py")
    assert [unit.place for unit in source.units(cursor)] == places[places.index("json/decoder.py") + 1 :]


@pytest.mark.parametrize(
    ("path", "name"), [("a.py", "a"), ("a/b.py", "a.b"), ("a/__init__.py", "a"), ("__init__.py", "__init__")]
)
def test_modules_are_named_by_their_path(path: str, name: str) -> None:
    """A package's own file bears the package's name."""
    assert module_name(Path("/root") / path, Path("/root")) == name
