"""One row of a source as problem, reasoning and program, whatever its fields are called.

Known by their fields: OpenCodeReasoning (``input``, ``output``), OpenCodeReasoning-2 (``question``, ``r1_generation``),
chat (``messages``), and ``prompt``/``reasoning``/``code``; any other by options. A row that cannot be read so is a RowError
with a short stable reason, never a crash.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

from syntaxdiff.pipeline.errors import RowError
from syntaxdiff.pipeline.grammar import language_of_fence

MISSING_STATEMENT = "-"  # how OpenCodeReasoning marks a statement that must be fetched from its source
ID_FIELDS = ("id", "sample_id", "task_id", "question_id", "problem_id", "uid", "slug", "path", "idx", "index")
LANGUAGE_FIELDS = ("language", "lang", "programming_language")

Row: TypeAlias = Mapping[str, Any]
Statements: TypeAlias = Callable[[str, str, str], str]  # dataset, split, index → statement, or RowError


@dataclass(frozen=True, kw_only=True)
class Fields:
    """Names of the fields that hold what a sample is made of; all None where rows are known by their shape."""

    prompt: str | None = None
    response: str | None = None
    reasoning: str | None = None
    code: str | None = None

    @property
    def given(self) -> bool:
        """Whether the user named any field."""
        return any((self.prompt, self.response, self.reasoning, self.code))

    def suit(self, row: Row) -> bool:
        """Whether a row has what these names need: a response or code, and the prompt if one is named."""
        wanted = [name for name in (self.prompt, self.response, self.reasoning, self.code) if name]
        return bool(self.response or self.code) and all(name in row for name in wanted)


# First match decides. A field that is optional is looked up by name where it is used.
KNOWN_SHAPES: dict[str, Fields] = {
    "OpenCodeReasoning": Fields(prompt="input", response="output"),
    "OpenCodeReasoning-2": Fields(prompt="question", response="r1_generation"),
    "chat": Fields(response="messages"),
    "parts": Fields(code="code"),
}


@dataclass(frozen=True, kw_only=True)
class Record:
    """A row understood: text as the source has it, but for outer white space.

    Attributes:
        prompt: the problem's statement, empty where it is missing and that was allowed
        reasoning: the trace without its tags, empty where there is none
        code: the program without outer line ends
        source_id: the source's own id, empty where it has none
        problem: key of the problem: equal for all samples of one problem
    """

    prompt: str
    reasoning: str
    code: str
    language: str
    source: str
    source_id: str
    problem: str

    def mapped(self, change: Callable[[str], str]) -> "Record":
        """The record with its texts changed, its problem's key among them."""
        texts = {name: getattr(self, name) for name in ("prompt", "reasoning", "code", "problem")}
        return replace(self, **{name: change(text) for name, text in texts.items()})

    @cached_property
    def content_hash(self) -> str:
        """Hash of what the sample says, 16 hexadecimal digits."""
        text = "\x1e".join((self.prompt, self.reasoning, self.code, self.language))
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    @property
    def sample_id(self) -> str:
        """The source's own id with 12 digits of the content's hash, as it may hold many answers under one; else the hash."""
        return f"{self.source_id}-{self.content_hash[:12]}" if self.source_id else self.content_hash


@dataclass(frozen=True, kw_only=True)
class RecordReader:
    """How rows of one build become records.

    Attributes:
        fields: the user's own field names, tried before the known shapes
        languages: languages to keep; the first is assumed where neither a field, the fence nor the split names one
        statements: looks up a missing statement by data set, split and index; None where no look-up was asked for
        allow_missing_prompt: keep rows whose statement cannot be had, with an empty prompt
    """

    fields: Fields
    languages: tuple[str, ...]
    statements: Statements | None = None
    allow_missing_prompt: bool = False

    def shape_of(self, row: Row) -> Fields | None:
        """The field names that suit a row: the user's own, else those of a known shape, else None."""
        if self.fields.given and self.fields.suit(row):
            return self.fields
        if any(name in row for name in vars(self.fields).values() if name):
            return None  # some of the user's own names: other text must not stand in for the rest
        if "instruction" in row:
            return None  # Alpaca's shape, whose `input` and `output` mean something else
        return next((shape for shape in KNOWN_SHAPES.values() if shape.suit(row)), None)

    def read(self, row: Row, *, source: str, default_language: str | None = None) -> Record:
        """The record of a row.

        Args:
            source: name of the source, stored with the sample
            default_language: of the source's split, used where neither a field nor the fence names one

        Raises:
            RowError: ``missing-field``, ``wrong-type``, ``multi-turn``, ``unclosed-think``, ``no-code``, ``empty-code``,
                ``other-language``, ``missing-question``, ``bad-text``
        """
        shape = self.shape_of(row)
        if shape is None:
            raise RowError("missing-field", f"the row has {', '.join(sorted(map(str, row))) or 'no fields'}")
        prompt, reasoning, code, tag = _parts(row, shape)
        code = code.strip("\r\n")
        if not code.strip():
            raise RowError("empty-code")
        language = _language(row, tag) or default_language or self.languages[0]
        if language not in self.languages:
            raise RowError("other-language", language)
        problem = _problem_key(row)
        if prompt is None:
            prompt = ""  # the rows have no such field: nothing is missing
        elif prompt.strip() in ("", MISSING_STATEMENT):
            prompt = self._statement(row)
        record = Record(
            prompt=prompt.strip(),
            reasoning=reasoning.strip(),
            code=code,
            language=language,
            source=source,
            source_id=own_id(row),
            problem="statement:" + " ".join(prompt.split()) if prompt.strip() else problem or "code:" + code,
        )
        check_text(record.prompt, record.reasoning, record.code, record.source_id)
        return record

    def _statement(self, row: Row) -> str:
        try:
            if self.statements is None:
                raise RowError("missing-question", "the row has no statement, and --questions was not given")
            keys = [row.get(name) for name in ("dataset", "split", "index")]
            if any(key is None for key in keys):
                raise RowError("missing-question", "the row names no dataset, split and index to fetch it by")
            return self.statements(*map(str, keys))
        except RowError:
            if self.allow_missing_prompt:
                return ""
            raise


class Answer(NamedTuple):
    """A response taken apart: reasoning, program, and the info string of the program's fence."""

    reasoning: str
    code: str
    tag: str


def _parts(row: Row, shape: Fields) -> tuple[str | None, str, str, str]:
    """Prompt (None where the row has no field for it), reasoning, code and fence tag of a row of a shape."""
    prompt: str | None
    if shape is KNOWN_SHAPES["chat"]:
        prompt, response = _conversation(row["messages"])
        return (prompt, *parse_response(response))
    if shape is KNOWN_SHAPES["parts"]:
        prompt = _text(row, "prompt") if row.get("prompt") is not None else None
        return prompt, _text(row, "reasoning", ""), _text(row, "code"), ""
    prompt = _text(row, shape.prompt) if shape.prompt else None
    if shape.response:
        answer = parse_response(_text(row, shape.response), _text(row, "solution", ""))
        reasoning = _text(row, shape.reasoning) if shape.reasoning else answer.reasoning
        return prompt, reasoning, _text(row, shape.code) if shape.code else answer.code, answer.tag
    assert shape.code is not None  # Fields.suit: a response or code
    return prompt, _text(row, shape.reasoning) if shape.reasoning else "", _text(row, shape.code), ""


def _text(row: Row, name: str, default: str | None = None) -> str:
    value = row.get(name, default)
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        raise RowError("wrong-type", f"field {name!r} is {type(value).__name__}, not text")
    return value


def _conversation(messages: Any) -> tuple[str, str]:
    """Question and answer of a chat with one answer: what stands before it is the question."""
    if not isinstance(messages, list) or not all(
        isinstance(m, Mapping) and isinstance(m.get("content"), str) for m in messages
    ):
        raise RowError("wrong-type", "field 'messages' is no list of role and content")
    roles = [str(message.get("role")) for message in messages]
    if roles.count("assistant") != 1 or roles[-1] != "assistant":
        raise RowError("multi-turn", f"turns: {', '.join(roles)}; a sample is one question and one answer")
    return "\n\n".join(message["content"] for message in messages[:-1]), messages[-1]["content"]


_FENCE_LINE = re.compile(r"^([ \t]{0,3})(`{3,}(?=[^`\n]*$)|~{3,})[ \t]*([^\n]*)\n?", re.MULTILINE)
_THINK_OPEN = re.compile(r"^[ \t]*<think>", re.MULTILINE)


class Block(NamedTuple):
    """A fenced block: where its opening fence starts, its content, and its info string."""

    start: int
    code: str
    tag: str


def fenced_blocks(text: str) -> list[Block]:
    """The closed fenced blocks of a text.

    As in CommonMark a fence closes with as many of its signs as opened it, or more, alone on their line, and lines lose
    the indentation of the opening fence. One pass: text full of fences that never close takes no longer.
    """
    blocks = []
    opened: re.Match[str] | None = None
    for fence in _FENCE_LINE.finditer(text):
        if opened is None:
            opened = fence
        elif fence[2].startswith(opened[2]) and not fence[3].strip():
            code = text[opened.end() : fence.start()]
            if opened[1]:
                code = re.sub(rf"^[ \t]{{1,{len(opened[1])}}}", "", code, flags=re.MULTILINE)
            blocks.append(Block(opened.start(), code, opened[3].strip()))
            opened = None
    return blocks


def parse_response(response: str, solution: str = "") -> Answer:
    """Takes a response apart.

    Reasoning is what stands between ``<think>`` and the last ``</think>``; without tags, the prose before the program.
    The program is the fenced block after the last closing tag that equals ``solution``, else the last one in a known
    language, else the last one without a tag. Fences inside the reasoning are part of it.

    Raises:
        RowError: ``unclosed-think`` or ``no-code``
    """
    thought, closing_tag, answer = response.rpartition("</think>")
    if _THINK_OPEN.search(answer):
        raise RowError("unclosed-think", "<think> is never closed: the trace was cut off")
    blocks = fenced_blocks(answer)
    program = next((block for block in blocks if solution.strip() and _same_code(block.code, solution)), None)
    if program is None:
        named = [block for block in blocks if language_of_fence(block.tag)] or [block for block in blocks if not block.tag]
        if not named:
            raise RowError("no-code", "no closed fenced program" + (" after </think>" if closing_tag else ""))
        program = named[-1]
    reasoning = thought.split("<think>", 1)[-1] if closing_tag else answer[: program.start]
    return Answer(reasoning, program.code, program.tag)


def _same_code(code: str, other: str) -> bool:
    return code.replace("\r\n", "\n").strip() == other.replace("\r\n", "\n").strip()


def _language(row: Row, tag: str) -> str | None:
    """The language that a field or the fence names, in its own words where it is none of ours; None where none does."""
    named = next((row[name] for name in LANGUAGE_FIELDS if isinstance(row.get(name), str)), "")
    return language_of_fence(named) or language_of_fence(tag) or named.strip() or None


def own_id(row: Row) -> str:
    """The row's own id as text, empty where it has none."""
    value = next((row[name] for name in ID_FIELDS if isinstance(row.get(name), str | int) and row[name] != ""), "")
    return str(value)


def _problem_key(row: Row) -> str:
    """Key of a problem whose statement is missing: its place in the data set it comes from."""
    keys = [row.get(name) for name in ("dataset", "split", "index")]
    return "" if any(key is None for key in keys) else "place:" + "/".join(map(str, keys))


def check_text(*texts: str) -> None:
    """Raises RowError ``bad-text`` for text that is not UTF-8 (lone surrogates) or holds null bytes."""
    for text in texts:
        if "\x00" in text:
            raise RowError("bad-text", "a null byte")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise RowError("bad-text", f"not UTF-8: lone surrogate at character {error.start}") from error
