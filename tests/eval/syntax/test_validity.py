"""Programs that parse and compile, and those that do not: kinds of errors, hostile programs, and what is decided so far."""

import ast
import gzip
import json
import os
import random
import signal
import textwrap
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_checkpoint import diffusion, export_tiny, token_ids, tokenizer

from syntaxdiff.eval.inference.answer import in_order
from syntaxdiff.eval.inference.canvas import Commit
from syntaxdiff.eval.inference.checkpoint import load_checkpoint
from syntaxdiff.eval.inference.config import GenerationConfig
from syntaxdiff.eval.syntax.check import WrittenProgram, decided_parts, program_in, read_programs, syntax, write_programs
from syntaxdiff.eval.syntax.compiler import Compiled, Compiler
from syntaxdiff.eval.syntax.outcome import ErrorCounts
from syntaxdiff.eval.syntax.validity import check_program, counted, decided_lines, tree_errors
from syntaxdiff.pipeline.errors import SettingsError, SourceError
from syntaxdiff.pipeline.syntax.grammar import load_grammar


@pytest.fixture(scope="module")
def compiler() -> Iterator[Compiler]:
    with Compiler() as made:
        yield made


# ---------------------------------------------------------------------------------------------------------- compiling


@pytest.mark.parametrize(
    ("program", "fault", "is_prefix"),
    [
        ("", None, True),
        ("x = 1", None, True),
        ("print(1)\n", None, True),
        ("def f(x):\n", "expected an indented block", True),
        ("if x:\n    y\nelse:\n", "expected an indented block", True),
        ("@decorated\n", "invalid syntax", True),
        ("x = (1,\n", "'(' was never closed", True),
        ("'''text\n", "unterminated triple-quoted string literal", True),
        ("try:\n    x\n", "expected 'except' or 'finally' block", True),
        ("if x:\ny\n", "expected an indented block", False),
        ("x = )", "unmatched ')'", False),
        ("x = f(a b\n", "'(' was never closed", False),
        ("x = 'abc\n", "unterminated string literal (detected at line N)", False),
        ("  x", "IndentationError: unexpected indent", False),
        ("return", "'return' outside function", False),
        ("def f(a, a): pass", "duplicate argument 'NAME' in function definition", False),
        ("é = \u00a0 1", "invalid non-printable character", False),
        ("x = §", "invalid character", False),
        ("x = 08", "leading zeros in decimal integer literals", False),
        ("x\0", "null bytes", False),
    ],
)
def test_the_compiler_distinguishes_wrong_from_unfinished(
    compiler: Compiler, program: str, fault: str | None, is_prefix: bool
) -> None:
    """What is wrong stays wrong whatever follows; the class of an error names neither lines nor the program's own names."""
    compiled = compiler.compile(program.encode())
    assert (compiled.fault is None, compiled.is_prefix) == (fault is None, is_prefix)
    assert fault is None or fault in (compiled.fault or "")


@pytest.mark.parametrize(
    "program",
    ["'('*300", "'-'*200_000+'1'", "'x'+'()'*100_000", pytest.param("'['+'0,'*2_500_000+']'", marks=pytest.mark.slow)],
)
def test_a_hostile_program_costs_its_own_verdict_only(compiler: Compiler, program: str) -> None:
    """Deep nesting and programs that fill the memory are refused, by an error or the compiler's end; the next is compiled."""
    assert compiler.compile(eval(program).encode()).fault is not None
    assert compiler.compile(b"x = 1") == Compiled(None, True)


def test_bytes_that_are_no_text_do_not_compile(compiler: Compiler) -> None:
    """A model may write half a character."""
    assert compiler.compile(b"x = '\xf0\x9f'").fault == "UnicodeEncodeError: not UTF-8"


def test_a_killed_compiler_is_started_again() -> None:
    """Its end is the verdict of the program that it was given."""
    with Compiler() as compiler:
        assert compiler.compile(b"x").fault is None
        child = compiler._child
        assert child is not None
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        assert compiler.compile(b"x").fault == "compiler crashed"
        assert compiler.compile(b"x").fault is None


def test_nothing_runs(compiler: Compiler, tmp_path: Path) -> None:
    """Compiling a program does not do what it says."""
    place = tmp_path / "written"
    assert compiler.compile(f"open({str(place)!r}, 'w')".encode()).fault is None
    assert not place.exists()


@pytest.mark.parametrize("module", [textwrap, tokenize, ast])
def test_every_start_of_a_program_can_go_on(compiler: Compiler, module: Any) -> None:
    """However a sound program is cut, its whole decided lines are no error yet."""
    source = Path(module.__file__).read_bytes()
    draw = random.Random(0)
    for cut in [draw.randrange(len(source)) for _ in range(25)]:
        lines = decided_lines(source[:cut])
        assert compiler.compile(lines).is_prefix, lines[-300:]


@settings(deadline=None)
@given(st.text(alphabet="a\\\n\r", max_size=30).map(str.encode))
def test_decided_lines_are_whole(text: bytes) -> None:
    """They are a start of the text that ends a line, no longer one does, and no backslash joins them to what comes."""
    lines = decided_lines(text)
    assert text.startswith(lines)
    assert lines == b"" or lines.endswith(b"\n")
    assert not lines.endswith((b"\\\n", b"\\\r\n"))
    longer = [text[: place + 1] for place, byte in enumerate(text) if byte == 10 and place + 1 > len(lines)]
    assert all(part.endswith((b"\\\n", b"\\\r\n")) for part in longer)


# ---------------------------------------------------------------------------------------------------------- tree errors


@pytest.mark.parametrize(
    ("code", "language", "errors"),
    [
        ("", "python", []),
        ("x = 1\n", "python", []),
        ("int f() { return 1; }", "cpp", []),
        ("int f() { return 1 }", "cpp", ["MISSING ; in return_statement"]),
        ("x = = 1\n", "python", ["ERROR in assignment"]),
    ],
)
def test_errors_are_named_by_what_is_around(code: str, language: str, errors: list[str]) -> None:
    """ERROR and MISSING nodes with the kind of their parent."""
    assert tree_errors(code.encode(), language) == errors


BROKEN = st.lists(st.sampled_from(["def f(", "x", ")", ":", "\n", "    ", "return", "=", "'", "if ", "[", ",", "1", "é"]))


@settings(deadline=None)
@given(BROKEN.map("".join))
def test_tree_errors_are_the_parsers(code: str) -> None:
    """Against a walk over tree-sitter's own nodes, which know whether they are missing, and their parents."""
    expected = []
    waiting = [load_grammar("python").parse(code.encode()).root_node]
    while waiting:
        node = waiting.pop()
        waiting += reversed(node.children)
        if node.is_error or node.is_missing:
            what = "ERROR" if node.is_error else f"MISSING {node.type}"
            expected.append(f"{what} in {node.parent.type}" if node.parent else f"{what} at the top")
    assert tree_errors(code.encode(), "python") == expected


def test_other_languages_are_not_compiled(compiler: Compiler) -> None:
    """CPython judges only Python."""
    assert check_program(b"int x;", "cpp", compiler).compiled is None
    assert check_program(b"int x;", "cpp", compiler).parses


def test_errors_are_counted_by_program_and_by_time() -> None:
    """The kind that most programs have comes first."""
    assert list(counted([["a", "b", "b"], ["a"], []]).items()) == [
        ("a", ErrorCounts(programs=2, times=2)),
        ("b", ErrorCounts(programs=1, times=2)),
    ]


# ---------------------------------------------------------------------------------------------------------- whole results


def test_syntax_counts_every_program() -> None:
    """Rates are over all programs, empty ones too; other languages do not count where CPython judges."""
    codes = [b"x = 1\n", b"x = = 1\n", b"return\n", b" \n", b""]
    programs = [WrittenProgram(code=code, language="python") for code in codes]
    result = syntax([*programs, WrittenProgram(code=b"int x;", language="cpp")], {"file": "made"})
    assert (result.num_programs, result.num_empty) == (6, 2)
    assert (result.parses.total, result.parses.of) == (3, 6)
    assert (result.compiles.total, result.compiles.of) == (1, 5)
    assert result.tree_errors == {"ERROR in assignment": ErrorCounts(programs=1, times=1)}
    assert set(result.compile_errors) == {"SyntaxError: invalid syntax", "SyntaxError: 'return' outside function"}
    assert result.denoising is None


def test_steps_are_counted_where_something_is_decided() -> None:
    """Of eight steps, two had no line yet, four held together: by quarter 1/1 … and over all 4/6."""
    decided = [None, None, b"x = 1\n", b"if x:\n", b"if x:\n", b"x = )\n", b"x = )\n", b"x = 1\n"]
    result = syntax([WrittenProgram(code=b"x = 1\n", language="python", decided=decided)], {}).denoising
    assert result is not None
    assert (result.num_answers, result.steps.total, result.steps.of) == (1, 4, 6)
    assert [(share.total, share.of) for share in result.by_progress.values()] == [(0, 0), (2, 2), (1, 2), (1, 2)]


def test_programs_are_read_from_json_lines(tmp_path: Path) -> None:
    """Plain or gzip, by a field's name; a row's own language goes before the given one."""
    rows = [{"program": "x = 1", "is_chosen": True}, {"program": "int x;", "language": "cpp"}, {"program": "\ud800"}]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "plain").write_text(text)
    (tmp_path / "packed").write_bytes(gzip.compress(text.encode()))
    for name in ("plain", "packed"):
        programs = read_programs(tmp_path / name)
        assert [(program.code, program.language) for program in programs[:2]] == [(b"x = 1", "python"), (b"int x;", "cpp")]
        assert syntax(programs, {}).compiles.total == 1


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        (None, SourceError, "cannot be read"),
        ("{", SourceError, "cannot be read as JSON lines"),
        ("", SourceError, "no rows"),
        ('{"other": 1}', SourceError, "line 1, has no text under 'program'"),
        ("[1]", SourceError, "line 1"),
        ('{"program": "x", "language": "latin"}', SettingsError, "unknown language 'latin'"),
    ],
)
def test_files_that_hold_no_programs_are_refused(tmp_path: Path, text: str | None, error: type[Exception], words: str) -> None:
    """One line that says what is wrong."""
    path = tmp_path / "rows.jsonl"
    if text is not None:
        path.write_text(text)
    with pytest.raises(error, match=words):
        read_programs(path)


# ---------------------------------------------------------------------------------------------------------- while denoising

IDS = token_ids()
PROMPT = [5, *tokenizer().encode("sum", add_special_tokens=False), *IDS.assistant_header]
PROGRAM = "def solve(values):\n    return values\n"
ANSWER = f"```python\n{PROGRAM}```"


def ids_of(text: str) -> list[int]:
    found: list[int] = tokenizer().encode(text, add_special_tokens=False)
    return found


def test_the_decided_part_grows_line_by_line() -> None:
    """From left to right, after every token: the whole lines of the program so far."""
    answer = [*ids_of(ANSWER), IDS.eos]
    trace = [Commit([len(PROMPT) + place], [token]) for place, token in enumerate(answer)]
    expected = []
    for end in range(1, len(answer) + 1):
        text = tokenizer().decode(answer[:end], skip_special_tokens=True)
        lines = text.partition("```python\n")[2].partition("```")[0].rpartition("\n")
        expected.append((lines[0] + lines[1]).encode() or None)
    parts = decided_parts(diffusion(), PROMPT, trace, "python")
    assert parts == expected
    assert parts[-1] == PROGRAM.encode()


@settings(deadline=None)
@given(st.randoms(use_true_random=False))
def test_what_lies_behind_a_mask_is_not_decided(draw: random.Random) -> None:
    """In any order of tokens: each part is a start of the program, and none ends behind the first mask."""
    answer = ids_of(ANSWER)
    order = draw.sample(range(len(answer)), len(answer))
    trace = [Commit([len(PROMPT) + place], [answer[place]]) for place in order]
    parts = decided_parts(diffusion(), PROMPT, trace, "python")
    for step, part in enumerate(parts):
        first_mask = min(set(range(len(answer))) - set(order[: step + 1]), default=len(answer))
        before = tokenizer().decode(answer[:first_mask])
        assert (part or b"").decode() in before
        assert PROGRAM.encode().startswith(part or b"")
    assert parts[-1] == PROGRAM.encode()


def test_what_repair_hides_again_is_not_decided() -> None:
    """A step that writes masks takes back what was decided: from the first of them on, whatever stands behind it."""
    answer = ids_of(ANSWER)
    places = [len(PROMPT) + place for place in range(len(answer))]
    second_line = next(place for place in range(len(answer)) if tokenizer().decode(answer[:place]).endswith("return"))
    hidden = Commit(places[second_line : second_line + 1], [IDS.mask])
    parts = decided_parts(diffusion(), PROMPT, [Commit(places, answer), hidden], "python")
    assert parts == [PROGRAM.encode(), b"def solve(values):\n"]


def test_the_program_is_the_fenced_one() -> None:
    """In a chat nothing else is; behind code as a prompt, the whole text."""
    assert program_in(diffusion(), PROMPT, ids_of("x = 1"), "python") is None
    assert program_in(diffusion(), PROMPT, ids_of(ANSWER), "python") == (PROGRAM.encode(), "python")
    assert program_in(diffusion(), ids_of("x ="), ids_of(" 1"), "python") == (b"x = 1", "python")


def test_programs_are_written_and_traced(tmp_path: Path) -> None:
    """A checkpoint's answers end as programs whose last decided part is theirs, up to its last line."""
    checkpoint = load_checkpoint(str(export_tiny(tmp_path)), dtype="float64")
    config = GenerationConfig(gen_length=24, block_length=8, early_stop=False, forbid_eos=True)
    programs = in_order(write_programs(checkpoint, ["add two numbers", "sum"], config, preset="chat-code"))
    assert len(programs) == 2
    for program in programs:
        assert program.decided is not None
        assert len(program.decided) == 24
        assert (program.decided[-1] or b"") == decided_lines(program.code)
    result = syntax(programs, {"checkpoint": checkpoint.name})
    assert result.denoising is not None
    assert result.denoising.num_answers == 2
