"""Responses taken apart: where the reasoning ends, which block is the program, and what is refused."""

import contextlib
import gzip
import json
import time
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from syntaxdiff.pipeline.errors import RowError
from syntaxdiff.pipeline.rows.response import Answer, fenced_blocks, parse_response, reasoning_of

PROGRAM = "print(1)"
FENCED = f"```python\n{PROGRAM}\n```"
F = "```"

RESPONSES: list[tuple[str, str, Answer]] = [
    ("fence alone", FENCED, Answer("", PROGRAM + "\n", "python")),
    ("prose before it is the reasoning", f"Think.\n\n{FENCED}\nDone.", Answer("Think.\n\n", PROGRAM + "\n", "python")),
    ("after the closing tag", f"<think>\nR\n</think>\nSo:\n{FENCED}", Answer("\nR\n", PROGRAM + "\n", "python")),
    ("the opening tag was part of the prompt", f"R</think>{FENCED}", Answer("R", PROGRAM + "\n", "python")),
    ("text before the opening tag", f"Hm. <think>R</think>\n{FENCED}", Answer("R", PROGRAM + "\n", "python")),
    (
        "fences inside the reasoning",
        f"<think>\n{F}py\nwrong\n{F}\n</think>\n{FENCED}",
        Answer(f"\n{F}py\nwrong\n{F}\n", PROGRAM + "\n", "python"),
    ),
    (
        "an open fence inside the reasoning",
        f"<think>\n{F}py\nwrong\n</think>\n{FENCED}",
        Answer(f"\n{F}py\nwrong\n", PROGRAM + "\n", "python"),
    ),
    (
        "two closing tags",
        f"<think>a</think>\n{F}py\nx\n{F}\nb</think>\n{FENCED}",
        Answer(f"a</think>\n{F}py\nx\n{F}\nb", PROGRAM + "\n", "python"),
    ),
    ("no tag at all", f"{F}\n{PROGRAM}\n{F}", Answer("", PROGRAM + "\n", "")),
    ("the last of several", f"{F}py\na\n{F}\n{F}py\nb\n{F}", Answer(f"{F}py\na\n{F}\n", "b\n", "py")),
    ("the last without a tag", f"{F}\na\n{F}\n{F}\nb\n{F}", Answer(f"{F}\na\n{F}\n", "b\n", "")),
    ("text after the program", f"{FENCED}\n{F}text\n1\n{F}\n{F}output\n2\n{F}", Answer("", PROGRAM + "\n", "python")),
    ("its output in a fence without a tag", f"{FENCED}\nprints\n{F}\n1\n{F}", Answer("", PROGRAM + "\n", "python")),
    ("shell after the program", f"{FENCED}\n{F}bash\npython a.py\n{F}", Answer("", PROGRAM + "\n", "python")),
    ("CRLF", f"<think>\r\nR\r\n</think>\r\n{F}python\r\na\r\nb\r\n{F}\r\n", Answer("\r\nR\r\n", "a\r\nb\r\n", "python")),
    ("a longer fence holds shorter ones", f"{F}`python\ns = '''\n{F}\n'''\n{F}`", Answer("", f"s = '''\n{F}\n'''\n", "python")),
    ("a fence closes with a longer one", f"{F}python\nx\n{F}``", Answer("", "x\n", "python")),
    ("tildes", "~~~python\nx\n~~~", Answer("", "x\n", "python")),
    ("tildes hold backticks", f"~~~python\ns = '''\n{F}\n'''\n~~~", Answer("", f"s = '''\n{F}\n'''\n", "python")),
    ("backticks hold tildes", f"{F}python\ns = '''\n~~~\n'''\n{F}", Answer("", "s = '''\n~~~\n'''\n", "python")),
    (
        "indented as a list item",
        f"1. Do:\n   {F}python\n   if x:\n       y\n   {F}",
        Answer("1. Do:\n", "if x:\n    y\n", "python"),
    ),
    ("blank after the closing fence", f"{F}python\nx\n{F} \t\nok", Answer("", "x\n", "python")),
    (
        "a docstring's indented fence stays inside",
        f'{F}python\ndef f():\n    """\n    {F}\n    """\n{F}',
        Answer("", f'def f():\n    """\n    {F}\n    """\n', "python"),
    ),
    ("info string", f"{F}python title=a.py\nx\n{F}", Answer("", "x\n", "python title=a.py")),
    ("blank before the tag", f"{F} python\nx\n{F}", Answer("", "x\n", "python")),
    ("inline backticks are no fence", f"{F}x{F} and\n{FENCED}", Answer(f"{F}x{F} and\n", PROGRAM + "\n", "python")),
    (
        "a tag in mid-line is text",
        f"Use the tag <think> here.\n{FENCED}",
        Answer("Use the tag <think> here.\n", PROGRAM + "\n", "python"),
    ),
]


@pytest.mark.parametrize(("response", "expected"), [case[1:] for case in RESPONSES], ids=[case[0] for case in RESPONSES])
def test_responses_are_taken_apart(response: str, expected: Answer) -> None:
    """Reasoning, program and tag of a response, by the rules of parse_response."""
    assert parse_response(response) == expected


def test_the_block_that_equals_the_solution_is_the_program() -> None:
    """`solution` chooses among the blocks after the closing tag, whatever stands last; line ends do not matter."""
    blocks = f"{F}python\na = 1\r\nb = 2\n{F}\nor\n{F}python\nc = 3\n{F}\n"
    assert parse_response(f"<think>{F}python\na = 1\nb = 2\n{F}</think>{blocks}", "a = 1\nb = 2").code == "a = 1\r\nb = 2\n"
    assert parse_response(blocks, "  c = 3\n\n").code == "c = 3\n"
    for missing in ("", "\n", "-"):
        assert parse_response(blocks, missing).code == "c = 3\n"


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        ("<think>\ncut off", "unclosed-think"),
        (f"<think>\ncut off\n{FENCED}", "unclosed-think"),
        (f"\n\n  <think>\ncut off\n{FENCED}", "unclosed-think"),
        (f"<think>a</think>\nHm.\n<think>\nagain\n{FENCED}", "unclosed-think"),
        (f"<think>\n{FENCED}\n</think>\nThe program is above.", "no-code"),
        ("<think>a</think>", "no-code"),
        (f"{F}python\ncut off", "no-code"),
        (f"{F}text\nonly text\n{F}", "no-code"),
        (f"{F}haskell\nmain = print 1\n{F}", "no-code"),
        (f"{F}python\nclosed by a shorter fence\n``\n", "no-code"),
        ("`````\n```\n", "no-code"),
    ],
)
def test_responses_without_a_program_give_their_reason(response: str, reason: str) -> None:
    """A trace that was cut off and an answer without a closed program are told apart."""
    with pytest.raises(RowError) as caught:
        parse_response(response)
    assert caught.value.reason == reason


@pytest.mark.parametrize("unit", ["\n", "```a\n", "~~~`\n", " \n", "`", "```a`\n", "```py\nx\n```\n", "\r\n", "a <think> "])
def test_parsing_takes_linear_time(unit: str) -> None:
    """A megabyte of any repetition, as degenerate traces have it, is parsed in a moment."""
    begin = time.perf_counter()
    with contextlib.suppress(RowError):
        parse_response(unit * (1_000_000 // len(unit)))
    assert time.perf_counter() - begin < 5


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="`~\r\n\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"))
    ),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="`~<")),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<")),
)
def test_what_was_fenced_comes_back(code_lines: list[str], prose: str, thought: str) -> None:
    """Code without fences, put into one after any thought and prose, comes back to the character."""
    code = "\n".join([*code_lines, "x"]) + "\n"
    assume('"""' not in code and "'''" not in code)  # a program that ends inside a string is refused
    answer = parse_response(f"<think>{thought}</think>{prose}\n```python\n{code}```\n")
    assert answer == Answer(thought, code, "python")


@given(st.text(st.sampled_from("`~ \nax\r\t"), max_size=80))
def test_blocks_are_disjoint_parts_of_the_text(text: str) -> None:
    """Blocks come in order, do not overlap, and hold lines of the text without their fence's indentation."""
    blocks = fenced_blocks(text)
    starts = [block.start for block in blocks]
    assert starts == sorted(set(starts))
    for block in blocks:
        assert not block.code or block.code.endswith("\n")
        assert all(line.strip() in text for line in block.code.split("\n"))


def test_fences_inside_real_traces_stay_inside(shared_data: Path) -> None:
    """Of 20 real traces with fences inside `<think>`, every program is a block after the closing tag."""
    with gzip.open(shared_data / "traces/r1-fences-inside-think-20.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    assert len(rows) == 20
    inside = 0
    for row in rows:
        thought, _, answer = row["response"].rpartition("</think>")
        inside += "```" in thought
        parsed = parse_response(row["response"])
        assert parsed.code in answer
        assert parsed.code not in answer[: answer.index(parsed.code)]
        assert parsed.reasoning == thought.removeprefix("<think>")
    assert inside == 20


# --------------------------------------------------------------------------------------------- several ways to read an answer

HOLDS_FENCES = f'def f():\n    """Doc.\n\n{F}\nexample\n{F}\n    """\n    return 1\n'
HOLDS_A_TAGGED_FENCE = f'def f():\n    """Doc.\n{F}python\n>>> f()\n{F}\n    """\n    return 1\n'
HOLDS_ONE_FENCE = f"def f():\n    '''\n{F}\n    '''\n    return 1\n"
HOLDS_A_TAG = "s = '''\n</think>\n'''\n"
TRACE = "<think>\nR\n</think>\n"

WAYS: list[tuple[str, str, Answer]] = [
    (name, f"{TRACE}So:\n{F}python\n{program}{F}\nDone.", Answer("\nR\n", program, "python", "longer-block"))
    for name, program in [
        ("fences in a docstring", HOLDS_FENCES),
        ("a fence with a tag in a docstring", HOLDS_A_TAGGED_FENCE),
        ("one fence in a docstring", HOLDS_ONE_FENCE),
    ]
] + [
    (
        "a usage example after it",
        f"{TRACE}{F}python\n{HOLDS_ONE_FENCE}{F}\nUsage:\n{F}python\nf()\n{F}",
        Answer("\nR\n", HOLDS_ONE_FENCE, "python", "longer-block"),
    ),
    (
        "a comment of C++",
        f"{TRACE}{F}cpp\n/*\n{F}\n*/\nint x;\n{F}",
        Answer("\nR\n", f"/*\n{F}\n*/\nint x;\n", "cpp", "longer-block"),
    ),
    ("the tag in prose", f"{TRACE}After </think> comes it.\n{FENCED}", Answer("\nR\n", PROGRAM + "\n", "python")),
    ("the tag in prose after it", f"{TRACE}{FENCED}\nThat was after </think>, see.", Answer("\nR\n", PROGRAM + "\n", "python")),
    ("the tag in backticks", f"<think>R</think>\n{FENCED}\n`</think>` ends it.", Answer("R", PROGRAM + "\n", "python")),
    ("the tag in a string", f"{TRACE}{F}python\nx = 'a</think>b'\n{F}", Answer("\nR\n", "x = 'a</think>b'\n", "python")),
    ("the tag as a string", f"<think>R</think>{F}python\nx = '</think>'\n{F}", Answer("R", "x = '</think>'\n", "python")),
    ("the tag in a long string", f"<think>R</think>\n{F}python\n{HOLDS_A_TAG}{F}", Answer("R", HOLDS_A_TAG, "python")),
    ("no reasoning, the tag in a string", f"So:\n{F}python\n{HOLDS_A_TAG}{F}", Answer("So:\n", HOLDS_A_TAG, "python")),
    (
        "<think> in a string",
        f"{TRACE}{F}python\ns = '''\n<think>\n'''\n{F}",
        Answer("\nR\n", "s = '''\n<think>\n'''\n", "python"),
    ),
    (
        "a last block that is no program",
        f"{TRACE}{F}python\nx = 1\n{F}\nlike\n{F}python\nx = (\n{F}",
        Answer("\nR\n", "x = 1\n", "python", "other-block"),
    ),
    (
        "a deep fence",
        f"{TRACE}1. a\n\n       {F}python\n       if x:\n           y = 2\n       {F}",
        Answer("\nR\n", "if x:\n    y = 2\n", "python", "indented-fence"),
    ),
    ("a fence in a line", f"{TRACE}Just {F}python print(1){F}.", Answer("\nR\n", "print(1)", "python", "inline-fence")),
    ("opened in a line", f"{TRACE}Just {F}python\nprint(1)\n{F}.", Answer("\nR\n", "print(1)\n", "python", "inline-fence")),
    ("closed in a line", f"{TRACE}{F}python\nprint(1){F}", Answer("\nR\n", "print(1)", "python", "inline-fence")),
    (
        "backticks in a comment",
        f"{TRACE}Just {F}python\nx = 1  # {F}x{F}\ny = 2\n{F}.",
        Answer("\nR\n", f"x = 1  # {F}x{F}\ny = 2\n", "python", "inline-fence"),
    ),
]


@pytest.mark.parametrize(("response", "expected"), [case[1:] for case in WAYS], ids=[case[0] for case in WAYS])
def test_the_reading_whose_program_parses_is_taken(response: str, expected: Answer) -> None:
    """Where an answer can be read in several ways, the whole program is found, and the reasoning ends where it ends."""
    assert parse_response(response) == expected


@pytest.mark.parametrize(("response", "expected"), [case[1:] for case in WAYS], ids=[case[0] for case in WAYS])
def test_the_solution_finds_the_same_program(response: str, expected: Answer) -> None:
    """With the row's solution every one of these is read right, with other line ends and trailing blanks, too."""
    for text in (response, response.replace("\n", "  \r\n")):
        answer = parse_response(text, expected.code)
        assert [line.rstrip() for line in answer.code.strip().splitlines()] == expected.code.strip().split("\n")
        assert (answer.reasoning.strip(), answer.tag) == (expected.reasoning.strip(), expected.tag)


@pytest.mark.parametrize(
    ("answer", "code", "tag"),
    [
        (f"{F}python\nx = 1\ny = 2", "x = 1\ny = 2", "python"),
        ("Write\n\nx = 1\ny = 2\n\nand run it.", "x = 1\ny = 2", ""),
        ("Write `x = 1` alone.", "x = 1", ""),
        ("- so\n\n      x = 1\n      if x:\n\n          y = 2\n", "x = 1\nif x:\n\n    y = 2\n", ""),
        (f"{F}cpp\n#include <a>\nint f();\nint g();\n{F}", "int f();", "cpp"),
        (f"{F}python\ndef f(x):\n    return x\n{F}", "    return x", "python"),
        (f"xx = 12\n{F}python\nx = 1\n", "x = 1\n", "python"),
    ],
)
def test_the_solution_is_found_where_its_text_stands(answer: str, code: str, tag: str) -> None:
    """Without a closed fence, without any, indented as a whole, or as a part of a block."""
    found = parse_response(TRACE + answer, code)
    assert (found.code.rstrip("\n"), found.tag, found.reading) == (code.rstrip("\n"), tag, "solution-text")
    assert found.reasoning == "\nR\n"


@pytest.mark.parametrize("solution", [FENCED, f"Use this:\n\n{FENCED}\n\nIt prints.", f"{TRACE}So:\n{FENCED}\n", PROGRAM])
def test_a_solution_may_have_a_fence_and_prose_around_it(solution: str) -> None:
    """Rows may have their whole answer as `solution`: the program in it is what is looked for, not its prose."""
    for answer in (f"{TRACE}{FENCED}", f"{TRACE}Use this:\n\n{FENCED}\n\nIt prints."):
        assert parse_response(answer, solution) == Answer("\nR\n", PROGRAM + "\n", "python")


@pytest.mark.parametrize(
    "response",
    [
        f"<think>\n{F}python\ngood\n{F}\n</think>\n{F}python\nother\n{F}",
        FENCED,
        f"{TRACE}{FENCED}",
        f"{TRACE}goods",
        "",
    ],
)
def test_another_program_than_the_solution_is_refused(response: str) -> None:
    """A program that is not in the answer is looked for nowhere else, and nothing stands in for it."""
    with pytest.raises(RowError) as caught:
        parse_response(response, "good")
    assert caught.value.reason == "solution-not-in-answer"


@pytest.mark.parametrize(
    "response",
    [
        f"{F}python\ns = '''\n{F}\nhm\n",
        f'{TRACE}{F}python\ndef f():\n    """Doc.\n{F}\nmore\n{F}\nof it\n{F}\nand then',
        f"{F}java\n/* so\n{F}\n",
        f"{F}js\nlet s = `a\n{F}\n",
    ],
)
def test_a_program_that_a_fence_cut_is_refused(response: str) -> None:
    """A block that ends inside a string or a comment is no whole program."""
    with pytest.raises(RowError) as caught:
        parse_response(response)
    assert caught.value.reason == "cut-program"


def test_a_program_that_does_not_parse_is_kept_as_it_is() -> None:
    """An error of its own makes no block ambiguous: such samples are kept and counted."""
    wrong = "def f(:\n    return 'it\\'s'  # '''\n"
    assert parse_response(f"{F}python\n{wrong}{F}\n{F}text\n1\n{F}") == Answer("", wrong, "python")


@pytest.mark.parametrize("solution", ["y = 1\nz = 2", "x\n" * 500 + "y", "x"])
@pytest.mark.parametrize("unit", ["\n", "x\n", "</think>", "</think>\n", "```py x```", "    ```py\nx\n", "```\n", "'", '"""'])
def test_any_repetition_is_read_in_a_moment(unit: str, solution: str) -> None:
    """Megabytes of one text, with and without a solution, take seconds at most."""
    begin = time.perf_counter()
    for given_solution in (solution, ""):
        with contextlib.suppress(RowError):
            parse_response(unit * (500_000 // len(unit)), given_solution)
    assert time.perf_counter() - begin < 20


@given(st.text(st.sampled_from("`~ \nax\r\t'\"</think>py#("), max_size=120), st.text(st.sampled_from("ax \n"), max_size=8))
def test_any_text_is_an_answer_or_a_reason(text: str, solution: str) -> None:
    """Whatever a response holds; a program found by its solution is that solution."""
    try:
        answer = parse_response(text, solution)
    except RowError:
        return
    if solution.strip():
        assert [line.strip() for line in answer.code.split("\n") if line.strip()] == [
            line.strip() for line in solution.split("\n") if line.strip()
        ]


@pytest.mark.parametrize(
    ("response", "reasoning"),
    [
        (TRACE + FENCED, "\nR\n"),
        (TRACE + "No program.", "\nR\n"),
        (f"Prose.\n{F}python\nother\n{F}", "Prose.\n"),
        ("Prose alone.", "Prose alone."),
    ],
)
def test_the_reasoning_of_a_known_program(response: str, reasoning: str) -> None:
    """A row with its program in a field of its own needs no program in its response."""
    assert reasoning_of(response, PROGRAM) == reasoning
