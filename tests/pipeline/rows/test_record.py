"""Rows as records: shapes known by their fields, the program of a response, languages, ids, and bad text."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syntaxdiff.pipeline.errors import RowError
from syntaxdiff.pipeline.rows.fields import REASONING_FIELDS, Fields
from syntaxdiff.pipeline.rows.grouping import Grouping
from syntaxdiff.pipeline.rows.record import Record, RecordReader
from syntaxdiff.pipeline.syntax.languages import LANGUAGES

UNNAMED = Fields()
PROGRAM = "print(1)"
FENCED = f"```python\n{PROGRAM}\n```"
F = "```"


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


# ------------------------------------------------------------------------------------------ reasoning, and what is not used

TURNS = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": f"So:\n{FENCED}"}]


@pytest.mark.parametrize("name", REASONING_FIELDS)
@pytest.mark.parametrize(
    "row",
    [
        {"messages": TURNS},
        {"prompt": "Q", "code": PROGRAM},
        {"input": "Q", "output": f"So:\n{FENCED}"},
        {"question": "Q", "r1_generation": f"So:\n{FENCED}"},
    ],
    ids=lambda row: next(iter(row)),
)
def test_reasoning_in_a_field_of_its_own_is_kept(row: dict[str, Any], name: str) -> None:
    """Every usual name, beside every known shape; prose before the program is then part of the answer."""
    record = read({**row, name: " Why. "})
    assert (content(record), record.unused) == (("Q", "Why.", PROGRAM), ())


@pytest.mark.parametrize("name", REASONING_FIELDS)
def test_reasoning_in_the_answers_message_is_kept(name: str) -> None:
    """As `reasoning_content` beside `content`; null or blank is none."""
    turns = [TURNS[0], {**TURNS[1], name: "Why."}]
    assert content(read({"messages": turns})) == ("Q", "Why.", PROGRAM)
    assert read({"messages": [TURNS[0], {**TURNS[1], name: None}]}).reasoning == "So:"
    assert read({"messages": [TURNS[0], {**TURNS[1], name: " \n"}]}).reasoning == "So:"


def test_reasoning_from_several_places_is_kept_once() -> None:
    """Tags, message and row: what one of them holds whole is not said twice, what differs is all kept."""
    tagged = {"role": "assistant", "content": f"<think>Why so.</think>\n{FENCED}"}
    assert read({"messages": [TURNS[0], {**tagged, "thinking": "Why so."}], "cot": "Why"}).reasoning == "Why so."
    assert read({"messages": [TURNS[0], {**tagged, "thinking": "Other."}]}).reasoning == "Other.\n\nWhy so."
    assert read({"prompt": "Q", "code": "x", "reasoning": "R", "thinking": "S"}).reasoning == "R\n\nS"


@pytest.mark.parametrize(
    ("row", "unused"),
    [
        ({"id": "i", "prompt": "Q", "code": "x"}, ()),
        ({"prompt": "Q", "code": "x", "notes": "text", "more": "", "number": 3, "flag": True, "none": None}, ("notes",)),
        ({"prompt": "Q", "code": "x", "tests": ["assert x"], "meta": {"a": [{"b": "text"}]}, "empty": [""]}, ("meta", "tests")),
        ({"prompt": "Q", "code": "x", "solution": "y", "response": "z"}, ("response", "solution")),
        ({"prompt": "Q", "code": "x", "problem_id": "p", "language": "python", "slug": "s"}, ()),
        ({"input": "Q", "output": FENCED, "solution": PROGRAM, "difficulty": "hard"}, ("difficulty",)),
        ({"input": "Q", "output": FENCED, "solution": "-", "license": "mit"}, ("license",)),
        ({"input": "Q", "output": FENCED, "dataset": "taco", "split": "train", "index": "3"}, ()),
        ({"input": "Q", "output": FENCED, "dataset": "taco"}, ("dataset",)),
        (
            {"messages": [*TURNS[:1], {**TURNS[1], "tool_calls": [{"name": "run"}]}], "tools": "t"},
            ("messages.tool_calls", "tools"),
        ),
        ({"messages": [{**TURNS[0], "name": "user1"}, TURNS[1]]}, ("messages.name",)),
        ({"input": "Q", "output": FENCED, "messages": "text"}, ("messages",)),
        ({"prompt": "Q", "code": "x", "blob": b"bytes"}, ("blob",)),
    ],
    ids=repr,
)
def test_fields_with_text_that_are_not_used_are_named(row: dict[str, Any], unused: tuple[str, ...]) -> None:
    """Whatever text a row holds beside what is read of it, at any depth; numbers and blanks are no text."""
    assert read(row).unused == unused


def test_named_fields_leave_other_reasoning_unused() -> None:
    """The user says what a row holds: a usual name that was not named is reported, not read."""
    record = read({"q": "Q", "a": FENCED, "reasoning": "R"}, Fields(prompt="q", response="a"))
    assert (record.reasoning, record.unused) == ("", ("reasoning",))


def test_a_solution_decides_in_every_shape_with_a_response() -> None:
    """A chat and named fields, too; --ignore-solution leaves it unread."""
    blocks = f"{F}python\na = 1\n{F}\n{F}python\nb = 2\n{F}\n"
    turns = [TURNS[0], {"role": "assistant", "content": blocks}]
    rows: dict[str, tuple[dict[str, Any], Fields]] = {
        "chat": ({"messages": turns}, UNNAMED),
        "OpenCodeReasoning": ({"input": "Q", "output": blocks}, UNNAMED),
        "named": ({"q": "Q", "a": blocks}, Fields(prompt="q", response="a")),
    }
    for row, fields in rows.values():
        assert read({**row, "solution": "a = 1"}, fields).code == "a = 1"
        assert reason_of({**row, "solution": "c = 3"}, fields) == "solution-not-in-answer"
        reader = RecordReader(fields=fields, languages=LANGUAGES, use_solution=False)
        record = reader.read({**row, "solution": "a = 1"}, source="test")
        assert (record.code, record.unused) == ("b = 2", ("solution",))


def test_a_field_named_solution_may_be_the_response() -> None:
    """As in rows of `problem` and `solution`, where the latter is prose with a program."""
    fields = Fields(prompt="problem", response="solution")
    assert content(read({"problem": "Q", "solution": f"So:\n{FENCED}\nDone."}, fields)) == ("Q", "So:", PROGRAM)


def test_a_response_beside_a_named_program_gives_its_reasoning() -> None:
    """A program in a field of its own needs no fence in the response."""
    fields = Fields(prompt="q", response="a", code="c")
    assert content(read({"q": "Q", "a": "<think>R</think> See the file.", "c": "x = 1"}, fields)) == ("Q", "R", "x = 1")
    assert content(read({"q": "Q", "a": "Only prose.", "c": "x = 1"}, fields)) == ("Q", "Only prose.", "x = 1")


def test_a_missing_named_field_is_a_reject() -> None:
    """A row that lacks a named field, and is of no known shape, is counted as such."""
    assert reason_of({"q": "Q"}, Fields(prompt="q", code="c")) == "missing-field"


def test_a_missing_statement_may_be_allowed() -> None:
    """With allow_missing_prompt such rows are kept with an empty prompt, and their problem is the place they name."""
    reader = RecordReader(fields=Fields(), languages=LANGUAGES, allow_missing_prompt=True)
    row = {"input": "-", "output": FENCED, "dataset": "taco", "split": "train", "index": 3}
    first, second = (reader.read({**row, "id": name}, source="s") for name in "ab")
    assert first.prompt == second.prompt == ""
    assert first.problem == second.problem
    assert first.problem != reader.read({**row, "index": 4}, source="s").problem


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
        assert record.prompt.strip() or (field, value) == ("prompt", None)  # null is no field
        "".join((*content(record), record.sample_id)).encode()


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
    first, second, again = (read({"id": "a", "prompt": "Q", "code": code}).sample_id for code in ("x", "y", "x"))
    assert first == again != second


def test_problems_are_told_by_their_statement() -> None:
    """Statements that differ in white space alone are one problem."""
    first, second, other = (read({"prompt": prompt, "code": "x"}).problem for prompt in ("a b", "a\n b ", "ab"))
    assert first == second != other


# ----------------------------------------------------------------------------------------------------------------- grouping


def keys_of(row: dict[str, Any], grouping: Grouping, *, place: str = "a.jsonl", path: str | None = None) -> set[str]:
    """Names and texts of a row's keys."""
    keys = grouping.keys_of(row, source="s", place=place, path=path)
    return {f"{grouping.kinds[key.kind]}={key.text}" for key in keys}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"problem_id": "p1", "slug": "two-sum"}, {"problem_id=problem_id:p1", "slug=slug:two-sum"}),
        ({"question_id": 7}, {"question_id=question_id:7"}),
        ({"task_id": " a "}, {"task_id=task_id:a"}),
        ({"task_id": "", "slug": "-", "problem_id": None, "question_id": True, "exercise_id": ["a"]}, set()),
        ({"id": 3}, {"id=id:s/a.jsonl/3"}),
        ({"index": 3, "idx": 4}, set()),
        ({"dataset": "taco", "split": "train", "index": 3}, {"dataset, split, index=place:taco/train/3"}),
        ({"path": "a/b.py"}, set()),
    ],
)
def test_usual_names_are_keys_of_a_problem(row: dict[str, Any], expected: set[str]) -> None:
    """Ids of problems count wherever they are, a row's own id within its file."""
    assert keys_of(row, Grouping()) == expected


def test_the_users_fields_stand_in_for_the_usual_ones() -> None:
    """`--group-field contest` reads that field alone, `none` leaves statements alone."""
    row = {"contest": "c", "slug": "s", "id": 1}
    assert keys_of(row, Grouping(("contest",))) == {"contest=contest:c"}
    assert keys_of(row, Grouping(("contest", "id"))) == {"contest=contest:c", "id=id:1"}
    assert keys_of(row, Grouping(("none",))) == set()


@pytest.mark.parametrize(
    ("row", "path", "expected"),
    [
        ({"path": "two-sum/a.py"}, None, {"folder=folder:s/two-sum"}),
        ({"file_path": "x\\two-sum\\a.py"}, None, {"folder=folder:s/x/two-sum"}),
        ({}, "two-sum/a.py", {"folder=folder:s/two-sum"}),
        ({"path": "a.py"}, None, set()),
        ({}, None, set()),
    ],
)
def test_a_folder_is_a_key_where_it_is_asked_for(row: dict[str, Any], path: str | None, expected: set[str]) -> None:
    """Of the row's path, or of the Python file that it is part of."""
    assert keys_of(row, Grouping(("none",), by_folder=True), path=path) == expected
    assert keys_of(row, Grouping(("none",)), path=path) == set()
