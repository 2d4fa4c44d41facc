"""One row of a source as problem, reasoning and program, whatever its fields are called.

Known by their fields: OpenCodeReasoning (``input``, ``output``), OpenCodeReasoning-2 (``question``, ``r1_generation``),
chat (``messages``), and ``prompt``/``reasoning``/``code``; any other by options. A row that cannot be read so is a RowError
with a short stable reason, never a crash. How a response is taken apart is in response.py.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

from syntaxdiff.pipeline.errors import RowError
from syntaxdiff.pipeline.json_records import Row
from syntaxdiff.pipeline.rows.fields import (
    ID_FIELDS,
    KNOWN_SHAPES,
    LANGUAGE_FIELDS,
    MESSAGES,
    MISSING,
    PLACE_FIELDS,
    REASONING_FIELDS,
    SOLUTION,
    Fields,
    unused_fields,
)
from syntaxdiff.pipeline.rows.grouping import Grouping, Key, place_key
from syntaxdiff.pipeline.rows.response import Answer, parse_response, reasoning_of
from syntaxdiff.pipeline.syntax.languages import language_of_fence

Statements: TypeAlias = Callable[[str, str, str], str]  # dataset, split, index → statement, or RowError


@dataclass(frozen=True, kw_only=True)
class Record:
    """A row understood: text as the source has it, but for outer white space.

    Attributes:
        prompt: the problem's statement, empty where it is missing and that was allowed
        reasoning: the trace without its tags, empty where there is none
        code: the program without outer line ends
        source_id: the source's own id, empty where it has none
        problem: key of the problem: its statement's text, else its place in the data set that it is from, else the program
        keys: what else samples of the problem share
        reading: of response.READINGS; empty where the row has the program in a field of its own
        unused: fields of the row that hold text and were not used
    """

    prompt: str
    reasoning: str
    code: str
    language: str
    source: str
    source_id: str
    problem: str
    keys: tuple[Key, ...] = ()
    reading: str = ""
    unused: tuple[str, ...] = ()

    def mapped(self, change: Callable[[str], str]) -> "Record":
        """The record with its texts changed, its problem's key among them."""
        return replace(
            self,
            prompt=change(self.prompt),
            reasoning=change(self.reasoning),
            code=change(self.code),
            problem=change(self.problem),
            keys=tuple(Key(kind, change(text)) for kind, text in self.keys),
        )

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
        use_solution: a row's ``solution`` decides what in its response is the program
        grouping: which further keys of a problem are read
    """

    fields: Fields
    languages: tuple[str, ...]
    statements: Statements | None = None
    allow_missing_prompt: bool = False
    use_solution: bool = True
    grouping: Grouping = field(default_factory=Grouping)

    def shape_of(self, row: Row) -> Fields | None:
        """The field names that suit a row: the user's own, else those of a known shape, else None."""
        if self.fields.given and self.fields.suit(row):
            return self.fields
        if any(name in row for name in self.fields.names):
            return None  # some of the user's own names: other text must not stand in for the rest
        if "instruction" in row:
            return None  # Alpaca's shape, whose `input` and `output` mean something else
        return next((shape for shape in KNOWN_SHAPES.values() if shape.suit(row)), None)

    def read(
        self, row: Row, *, source: str, place: str = "", path: str | None = None, default_language: str | None = None
    ) -> Record:
        """The record of a row.

        Args:
            source: name of the source, stored with the sample
            place: file or split that the row stands in
            path: of the program's own file, where the row is part of one
            default_language: of the source's split, used where neither a field nor the fence names one

        Raises:
            RowError: ``missing-field``, ``wrong-type``, ``multi-turn``, ``unclosed-think``, ``no-code``, ``cut-program``,
                ``solution-not-in-answer``, ``empty-code``, ``other-language``, ``missing-question``, ``bad-text``
        """
        shape = self.shape_of(row)
        if shape is None:
            raise RowError("missing-field", f"the row has {', '.join(sorted(map(str, row))) or 'no fields'}")
        parts = self._parts(row, shape, default_language or self.languages[0])
        code = parts.code.strip("\r\n")
        if not code.strip():
            raise RowError("empty-code")
        language = _language(row, parts.tag) or default_language or self.languages[0]
        if language not in self.languages:
            raise RowError("other-language", language)
        prompt = parts.prompt
        if prompt is None:
            prompt = ""  # the rows have no such field: nothing is missing
        elif prompt.strip() in ("", MISSING):
            prompt = self._statement(row)
        keys = tuple(self.grouping.keys_of(row, source=source, place=place, path=path))
        names = {name for name, _ in (*_named(row, ID_FIELDS), *_named(row, LANGUAGE_FIELDS))} | set(self.grouping.kinds)
        record = Record(
            prompt=prompt.strip(),
            reasoning=parts.reasoning.strip(),
            code=code,
            language=language,
            source=source,
            source_id=own_id(row),
            problem="statement:" + " ".join(prompt.split()) if prompt.strip() else place_key(row) or "code:" + code,
            keys=keys,
            reading=parts.reading,
            unused=unused_fields(row, names | set(PLACE_FIELDS if place_key(row) else ()) | parts.used),
        )
        check_text(record.prompt, record.reasoning, record.code, record.source_id)
        return record

    def _parts(self, row: Row, shape: Fields, default_language: str) -> "Parts":
        """What a row of a shape holds."""
        if shape is KNOWN_SHAPES["parts"]:
            prompt = _text(row, "prompt") if row.get("prompt") is not None else None
            _text(row, "reasoning", "")
            given = _reasoning_fields(row)
            return Parts(prompt, _joined(given.values()), _text(row, "code"), "", "", {"prompt", "code", *given})
        if shape is KNOWN_SHAPES["chat"]:
            prompt, response, inside = _conversation(row[MESSAGES])
            solution = row.get(SOLUTION)
            return self._answered(
                row, prompt, response, solution if isinstance(solution, str) else "", inside, default_language
            )
        prompt = _text(row, shape.prompt) if shape.prompt else None
        used = set(shape.names)
        own_reasoning = _text(row, shape.reasoning) if shape.reasoning else None
        if not shape.response:
            assert shape.code is not None  # Fields.suit: a response or code
            return Parts(prompt, own_reasoning or "", _text(row, shape.code), "", "", used)
        response = _text(row, shape.response)
        if shape.code:
            code = _text(row, shape.code)
            return Parts(prompt, reasoning_of(response, code) if own_reasoning is None else own_reasoning, code, "", "", used)
        solution = "" if SOLUTION in shape.names else _text(row, SOLUTION, "")
        if shape in KNOWN_SHAPES.values():
            parts = self._answered(row, prompt, response, solution, {}, default_language)
            return parts._replace(used=parts.used | used)
        answer, decided = self._parsed(row, response, solution, default_language)
        reasoning = answer.reasoning if own_reasoning is None else own_reasoning
        return Parts(prompt, reasoning, answer.code, answer.tag, answer.reading, used | decided)

    def _answered(
        self, row: Row, prompt: str | None, response: str, solution: str, inside: dict[str, str], default_language: str
    ) -> "Parts":
        """Parts of a row of a known shape, whose reasoning may stand in a field of its own, in the row or in its message."""
        answer, used = self._parsed(row, response, solution, default_language)
        given = _reasoning_fields(row) | inside
        reasoning = answer.reasoning
        if any(text.strip() for text in given.values()):  # prose before the program is then part of the answer
            reasoning = _joined([*given.values(), *([answer.reasoning] if "</think>" in response else [])])
        messages = {f"{MESSAGES}.role", f"{MESSAGES}.content"}
        return Parts(prompt, reasoning, answer.code, answer.tag, answer.reading, used | set(given) | messages)

    def _parsed(self, row: Row, response: str, solution: str, default_language: str) -> tuple[Answer, set[str]]:
        """A response taken apart, and the fields that helped."""
        if not self.use_solution or solution.strip() in ("", MISSING):
            solution = ""
        named = _named(row, LANGUAGE_FIELDS)
        answer = parse_response(
            response,
            solution,
            language=language_of_fence(named[0][1]) if named else None,
            default_language=default_language,
        )
        return answer, {SOLUTION} if solution else set()

    def _statement(self, row: Row) -> str:
        try:
            if self.statements is None:
                raise RowError("missing-question", "the row has no statement, and --questions was not given")
            keys = [row.get(name) for name in PLACE_FIELDS]
            if any(key is None for key in keys):
                raise RowError("missing-question", "the row names no dataset, split and index to fetch it by")
            return self.statements(*map(str, keys))
        except RowError:
            if self.allow_missing_prompt:
                return ""
            raise


class Parts(NamedTuple):
    """What a row holds: prompt (None where it has no field for it), reasoning, program, fence tag, reading, fields used."""

    prompt: str | None
    reasoning: str
    code: str
    tag: str
    reading: str
    used: set[str]


def _text(row: Row, name: str, default: str | None = None) -> str:
    value = row.get(name, default)
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        raise RowError("wrong-type", f"field {name!r} is {type(value).__name__}, not text")
    return value


def _conversation(messages: Any) -> tuple[str, str, dict[str, str]]:
    """Question and answer of a chat with one answer, and the answer's fields that hold its reasoning.

    What stands before the answer is the question.
    """
    if not isinstance(messages, list) or not all(
        isinstance(m, Mapping) and isinstance(m.get("content"), str) for m in messages
    ):
        raise RowError("wrong-type", "field 'messages' is not a list of role and content")
    roles = [str(message.get("role")) for message in messages]
    if roles.count("assistant") != 1 or roles[-1] != "assistant":
        raise RowError("multi-turn", f"turns: {', '.join(roles)}; a sample is one question and one answer")
    inside = {f"{MESSAGES}.{name}": text for name, text in _reasoning_fields(messages[-1]).items()}
    return "\n\n".join(message["content"] for message in messages[:-1]), messages[-1]["content"], inside


def _reasoning_fields(row: Row) -> dict[str, str]:
    """The fields of a row, or of a message, that hold text and are named for reasoning."""
    values = ((name, row.get(name)) for name in REASONING_FIELDS)
    return {name: value for name, value in values if isinstance(value, str) and value.strip()}


def _joined(texts: Iterable[str]) -> str:
    """Reasoning from several places: each text once, a text that another one holds left out."""
    kept: list[str] = []
    for text in filter(None, map(str.strip, texts)):
        if not any(text in other for other in kept):
            kept = [other for other in kept if other not in text] + [text]
    return "\n\n".join(kept)


def _named(row: Row, names: tuple[str, ...]) -> list[tuple[str, str]]:
    """The first of some fields that holds a value, and that value as text; none where none does."""
    values = ((name, row.get(name)) for name in names)
    return [(name, str(value)) for name, value in values if isinstance(value, str | int) and value != ""][:1]


def _language(row: Row, tag: str) -> str | None:
    """The language that a field or the fence names, in its own words where it is none of ours; None where none does."""
    named = next((row[name] for name in LANGUAGE_FIELDS if isinstance(row.get(name), str)), "")
    return language_of_fence(named) or language_of_fence(tag) or named.strip() or None


def own_id(row: Row) -> str:
    """The row's own id as text, empty where it has none."""
    return next((value for _, value in _named(row, ID_FIELDS)), "")


def check_text(*texts: str) -> None:
    """Raises RowError ``bad-text`` for text that is not UTF-8 (lone surrogates) or holds null bytes."""
    for text in texts:
        if "\x00" in text:
            raise RowError("bad-text", "a null byte")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise RowError("bad-text", f"not UTF-8: lone surrogate at character {error.start}") from error
