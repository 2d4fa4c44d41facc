"""Rows as records: shapes known by their fields, the program of a response, languages, ids, and bad text."""

import contextlib
import gzip
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syntaxdiff.pipeline.errors import RowError
from syntaxdiff.pipeline.grammar import LANGUAGES
from syntaxdiff.pipeline.record import Answer, Fields, Record, RecordReader, fenced_blocks, parse_response

UNNAMED = Fields()
PROGRAM = "print(1)"
FENCED = f"```python\n{PROGRAM}\n```"


def read(
    row: Mapping[str, Any],
    fields: Fields = UNNAMED,
    *,
    languages: tuple[str, ...] = LANGUAGES,
    split_language: str | None = None,
) -> Record:
    """The record of a row."""
    reader = RecordReader(fields=fields, languages=languages)
    return reader.read(row, source="test", default_language=split_language)


def reason_of(row: Mapping[str, Any], fields: Fields = UNNAMED, *, languages: tuple[str, ...] = LANGUAGES) -> str:
    """The reason why a row is none."""
    with pytest.raises(RowError) as caught:
        read(row, fields, languages=languages)
    return caught.value.reason


def content(record: Record) -> tuple[str, str, str]:
    return record.prompt, record.reasoning, record.code


# ---------------------------------------------------------------------------------------------------------------- shapes

SHAPES: dict[str, dict[str, Any]] = {
    "OpenCodeReasoning": {"id": "x", "input": "Q", "output": f"<think>\nR\n</think>\n\n{FENCED}", "solution": PROGRAM},
    "OpenCodeReasoning-2": {"question_id": "x", "question": "Q", "r1_generation": f"<think>R</think>{FENCED}", "solution": "-"},
    "chat": {
        "id": "x",
        "messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": f"<think>\nR\n</think>\n{FENCED}"}],
    },
    "parts": {"id": "x", "prompt": "Q", "reasoning": "R", "code": PROGRAM},
    "parts, reasoning null": {"id": "x", "prompt": "Q", "reasoning": None, "code": PROGRAM},
}


@pytest.mark.parametrize("name", ["OpenCodeReasoning", "chat", "parts"])
def test_known_shapes_are_read_by_their_fields(name: str) -> None:
    """Every known shape gives prompt, reasoning, program and its own id, with no option."""
    record = read(SHAPES[name])
    assert content(record) == ("Q", "R", PROGRAM)
    assert (record.source_id, record.language) == ("x", "python")


def test_a_null_reasoning_is_an_empty_one() -> None:
    """An optional field may be null, as Parquet has it for a row that lacks it."""
    assert content(read(SHAPES["parts, reasoning null"])) == ("Q", "", PROGRAM)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"prompt": "q", "response": "a"}, ("Q", "R", PROGRAM)),
        ({"prompt": "q", "reasoning": "r", "code": "c"}, ("Q", "own", "x = 1")),
        ({"prompt": "q", "code": "c"}, ("Q", "", "x = 1")),
        ({"prompt": "q", "reasoning": "r", "response": "a"}, ("Q", "own", PROGRAM)),
        ({"prompt": "q", "response": "a", "code": "c"}, ("Q", "R", "x = 1")),
    ],
)
def test_named_fields_say_what_a_row_holds(fields: dict[str, str], expected: tuple[str, str, str]) -> None:
    """Any combination of named fields that holds a program works; a part named apart wins over the response's."""
    row = {"q": "Q", "a": f"<think>R</think>\n{FENCED}", "r": "own", "c": "x = 1"}
    assert content(read(row, Fields(**fields))) == expected


def test_named_fields_come_before_known_shapes() -> None:
    """LeetCode's rows hold `prompt` (imports) beside `query` (the statement): the named one is taken."""
    row = {"prompt": "imports", "code": "no = 0", "query": "Q", "response": FENCED}
    assert content(read(row, Fields(prompt="query", response="response"))) == ("Q", "", PROGRAM)


def test_several_messages_before_the_answer_are_all_the_prompt() -> None:
    """A system message is part of the problem."""
    turns = [{"role": "system", "content": "S"}, *SHAPES["chat"]["messages"]]
    assert read({"messages": turns}).prompt == "S\n\nQ"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({}, "missing-field"),
        ({"input": "Q"}, "missing-field"),
        ({"text": "Q", "answer": FENCED}, "missing-field"),
        ({"input": "Q", "output": None}, "wrong-type"),
        ({"input": 3, "output": FENCED}, "wrong-type"),
        ({"input": "Q", "output": FENCED, "solution": ["a"]}, "wrong-type"),
        ({"prompt": "Q", "code": b"x = 1"}, "wrong-type"),
        ({"prompt": ["Q"], "code": "x = 1"}, "wrong-type"),
        ({"messages": "hello"}, "wrong-type"),
        ({"messages": None}, "wrong-type"),
        ({"messages": ["hello"]}, "wrong-type"),
        ({"messages": [{"role": "assistant", "content": [{"type": "text", "text": FENCED}]}]}, "wrong-type"),
        ({"messages": []}, "multi-turn"),
        ({"messages": [{"role": "user", "content": "Q"}]}, "multi-turn"),
        ({"messages": [{"role": "assistant", "content": FENCED}, {"role": "user", "content": "Q"}]}, "multi-turn"),
        ({"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": FENCED}] * 2}, "multi-turn"),
        ({"messages": [{"role": "assistant", "content": FENCED}]}, "missing-question"),
        ({"prompt": "Q", "code": ""}, "empty-code"),
        ({"prompt": "Q", "code": " \n\t\n"}, "empty-code"),
        ({"input": "Q", "output": "```python\n\n```"}, "empty-code"),
        ({"input": "Q", "output": "```python\n```"}, "empty-code"),
        ({"input": "Q", "output": "no program"}, "no-code"),
        ({"input": "Q", "output": ""}, "no-code"),
        ({"prompt": "", "code": "x = 1"}, "missing-question"),
        ({"prompt": "-", "code": "x = 1"}, "missing-question"),
        ({"prompt": " \t\n", "code": "x = 1"}, "missing-question"),
        ({"prompt": " -\n", "code": "x = 1"}, "missing-question"),
        ({"prompt": "Q", "code": "x = '\x00'"}, "bad-text"),
        ({"prompt": "Q\x00", "code": "x = 1"}, "bad-text"),
        ({"prompt": "Q", "code": "x = '\ud800'"}, "bad-text"),
        ({"prompt": "Q", "reasoning": "\udfff", "code": "x = 1"}, "bad-text"),
        ({"id": "\ud800", "prompt": "Q", "code": "x = 1"}, "bad-text"),
    ],
    ids=repr,
)
def test_rows_that_cannot_be_read_give_their_reason(row: dict[str, Any], reason: str) -> None:
    """A row that is no record is a RowError with a stable reason, never another exception."""
    assert reason_of(row) == reason


def test_a_missing_named_field_is_a_reject() -> None:
    """A row that lacks a named field, and is of no known shape, is counted as such."""
    assert reason_of({"q": "Q"}, Fields(prompt="q", code="c")) == "missing-field"


def test_a_missing_statement_may_be_allowed() -> None:
    """With allow_missing_prompt such rows are kept with an empty prompt, and their problem is the place they name."""
    reader = RecordReader(fields=Fields(), languages=LANGUAGES, allow_missing_prompt=True)
    row = {"input": "-", "output": FENCED, "dataset": "taco", "split": "train", "index": 3}
    one, two = (reader.read({**row, "id": name}, source="s") for name in "ab")
    assert one.prompt == two.prompt == ""
    assert one.problem == two.problem
    assert one.problem != reader.read({**row, "index": 4}, source="s").problem


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=5,
    ),
    st.sampled_from(["input", "output", "solution", "id", "language", "messages", "prompt", "reasoning", "code", "index"]),
    st.sampled_from(sorted(SHAPES)),
)
def test_any_value_in_any_field_is_a_record_or_a_reason(value: Any, field: str, shape: str) -> None:
    """Whatever JSON puts into a field: a record whose text is UTF-8 and has a program, or a RowError."""
    try:
        record = read({**SHAPES[shape], field: value})
    except RowError:
        pass
    else:
        assert record.code.strip()
        assert record.prompt.strip()
        "".join((*content(record), record.sample_id)).encode()


# -------------------------------------------------------------------------------------------------------------- responses

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
    assert parse_response(blocks, "d = 4").code == "c = 3\n"
    assert parse_response(blocks, "").code == "c = 3\n"


def test_the_solution_is_not_looked_for_inside_the_reasoning() -> None:
    """A block inside the trace that equals the solution is no program."""
    assert parse_response(f"<think>\n{F}python\ngood\n{F}\n</think>\n{F}python\nother\n{F}", "good").code == "other\n"


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


# ---------------------------------------------------------------------------------------------------- languages and ids


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"output": f"{F}cpp\nx;\n{F}"}, "cpp"),
        ({"output": f"{F}c++\nx;\n{F}"}, "cpp"),
        ({"output": f"{F}C++\nx;\n{F}"}, "cpp"),
        ({"output": f"{F}Python3\nx\n{F}"}, "python"),
        ({"output": f"{F}\nx\n{F}"}, "python"),
        ({"output": f"{F}\nx\n{F}", "language": "Rust"}, "rust"),
        ({"output": f"{F}\nx\n{F}", "lang": "js"}, "javascript"),
        ({"output": f"{F}go\nx\n{F}", "language": "English"}, "go"),
        ({"output": f"{F}go\nx\n{F}", "language": 3}, "go"),
        ({"output": f"{F}go\nx\n{F}", "language": None}, "go"),
    ],
)
def test_the_language_is_the_rows_then_the_fences(row: dict[str, Any], expected: str) -> None:
    """A field that names a known language decides, then the fence's tag, then the first of the languages."""
    assert read({"input": "Q", **row}).language == expected


def test_the_splits_language_serves_where_nothing_else_names_one() -> None:
    """OpenCodeReasoning-2's split is the language of a fence without a tag, and of no other."""
    assert read({"question": "Q", "r1_generation": f"{F}\nx\n{F}"}, split_language="cpp").language == "cpp"
    assert read({"question": "Q", "r1_generation": FENCED}, split_language="cpp").language == "python"


def test_other_languages_are_rejected() -> None:
    """A language that was not asked for, or that we do not know, is never taken for another one."""
    assert reason_of({"input": "Q", "output": f"{F}java\nx;\n{F}"}, languages=("python", "cpp")) == "other-language"
    assert reason_of({"prompt": "Q", "code": "main = print 1", "language": "Haskell"}) == "other-language"
    assert reason_of({"prompt": "Q", "code": "x", "language": "rust"}, languages=("python",)) == "other-language"


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"id": "a"}, "a"),
        ({"id": 7}, "7"),
        ({"id": 0}, "0"),
        ({"id": 10**30}, str(10**30)),
        ({"id": None, "task_id": "HumanEval/0"}, "HumanEval/0"),
        ({"id": "", "slug": "two-sum"}, "two-sum"),
        ({"id": 1.5}, ""),
        ({"id": ["a"]}, ""),
        ({}, ""),
    ],
)
def test_the_id_is_the_rows_own_or_none(row: dict[str, Any], expected: str) -> None:
    """Text and whole numbers serve as ids, other values do not."""
    assert read({"prompt": "Q", "code": "x", **row}).source_id == expected


def test_sample_ids_tell_answers_of_one_id_apart() -> None:
    """Two answers under one id have two sample ids, the same answer the same one."""
    one, two, again = (read({"id": "a", "prompt": "Q", "code": code}).sample_id for code in ("x", "y", "x"))
    assert one == again != two


def test_problems_are_told_by_their_statement() -> None:
    """Statements that differ in white space alone are one problem."""
    one, two, other = (read({"prompt": prompt, "code": "x"}).problem for prompt in ("a b", "a\n b ", "ab"))
    assert one == two != other
