"""An answer: the ids and text that a model generated, how they came about, and where they end."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from syntaxdiff.eval.inference.canvas import Commit

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Repair:
    """What syntax repair did to one answer.

    ``rounds`` is 0 where the program parses, or where none was found (then ``language`` is None).
    """

    language: str | None
    rounds: int
    num_hidden: int
    error_bytes_before: int
    error_bytes_after: int


class Answer(NamedTuple):
    """What a model generated for one prompt, or for one canvas.

    Attributes:
        token_ids: of a prompt: the answer up to and including its end token; of a canvas: all of it
        text: of a prompt: the answer without its end; of a canvas: from the first position that was masked to the last
        num_forward: forward passes over this sequence; guidance takes two per step
        num_generated: tokens written, up to the end of the answer; never those of the prompt
        trace: what each step wrote, where asked for; positions count from the start of the prompt
        repair: what syntax repair did, where it was asked for
    """

    token_ids: list[int]
    text: str
    num_forward: int
    num_generated: int
    trace: list[Commit] | None = None
    repair: Repair | None = None


def in_order(numbered: Iterable[tuple[int, T]]) -> list[T]:
    """Results that come with their index, such as those of ``LanguageModel.generate``, as a list by index."""
    return [result for _, result in sorted(numbered, key=lambda pair: pair[0])]


def answer_end(ids: Sequence[int], start: int, end_ids: frozenset[int]) -> int:
    """Position of the first end token at or after a position; the number of ids where there is none."""
    return next((place for place in range(start, len(ids)) if ids[place] in end_ids), len(ids))
