"""What the fields of a row are called: known shapes, usual names, and the fields with text that nobody reads.

How a row becomes a record is in record.py, and by which ids rows are one problem's in grouping.py.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from syntaxdiff.pipeline.json_records import Row
from syntaxdiff.pipeline.options import option

MISSING = "-"  # how OpenCodeReasoning marks what is to be had from elsewhere
MESSAGES = "messages"
SOLUTION = "solution"
ID_FIELDS = ("id", "sample_id", "task_id", "question_id", "problem_id", "uid", "slug", "path", "idx", "index")
LANGUAGE_FIELDS = ("language", "lang", "programming_language")
PLACE_FIELDS = ("dataset", "split", "index")  # where OpenCodeReasoning has its statement from
REASONING_FIELDS = (
    "reasoning",
    "reasoning_content",
    "reasoning_text",
    "reasoning_trace",
    "thinking",
    "thinking_content",
    "think",
    "thought",
    "thoughts",
    "chain_of_thought",
    "cot",
    "rationale",
)
"""Names under which rows and assistant turns of a known shape keep their reasoning."""


@dataclass(frozen=True, kw_only=True)
class Fields:
    """Names of the fields that hold what a sample is made of; all None where rows are known by their shape."""

    prompt: str | None = option("Field with the problem's statement.", None, flag="prompt-field")
    response: str | None = option("Field with the whole answer: reasoning and one fenced program.", None, flag="response-field")
    reasoning: str | None = option("Field with only the reasoning.", None, flag="reasoning-field")
    code: str | None = option("Field with only the program.", None, flag="code-field")

    @property
    def given(self) -> bool:
        """Whether the user named any field."""
        return any(self.names)

    @property
    def names(self) -> tuple[str, ...]:
        """The fields that are named."""
        return tuple(name for name in (self.prompt, self.response, self.reasoning, self.code) if name)

    def suit(self, row: Row) -> bool:
        """Whether a row has what these names need: a response or code, and the prompt if one is named."""
        return bool(self.response or self.code) and all(name in row for name in self.names)


# First match decides. A field that is optional is looked up by name where it is used.
KNOWN_SHAPES: dict[str, Fields] = {
    "OpenCodeReasoning": Fields(prompt="input", response="output"),
    "OpenCodeReasoning-2": Fields(prompt="question", response="r1_generation"),
    "chat": Fields(response=MESSAGES),
    "parts": Fields(code="code"),
}


def unused_fields(row: Row, used: Collection[str]) -> tuple[str, ...]:
    """Names of the fields that hold text and were not used, sorted; a field of a message as ``messages.tool_calls``.

    Args:
        used: names of fields that were read, in the same form
    """
    names = {name for name, value in _leaves(row) if name not in used and _holds_text(value)}
    return tuple(sorted(names))


def _leaves(row: Row) -> Iterator[tuple[str, Any]]:
    for name, value in row.items():
        if name == MESSAGES and isinstance(value, list):
            for message in value:
                if isinstance(message, Mapping):
                    yield from ((f"{MESSAGES}.{key}", inner) for key, inner in message.items())
        else:
            yield str(name), value


def _holds_text(value: Any) -> bool:
    """Whether a value is text that says something, or holds such text at any depth."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str | bytes):
            if value.strip() not in ("", b"", MISSING, MISSING.encode()):
                return True
        elif isinstance(value, Mapping):
            waiting.extend(value.values())
        elif isinstance(value, list | tuple):
            waiting.extend(value)
    return False
