"""Tables of a report, and what stands in their cells. How they look is in templates/macros.html."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from syntaxdiff.eval.benchmarks.outcome import PassAtK, Score
from syntaxdiff.eval.stats import Share

DIGEST_CHARACTERS = 12


@dataclass(frozen=True, kw_only=True)
class Phrase:
    """A text with parts set off, in this order; ``tone`` is a class of the page for the strong part."""

    strong: str = ""
    text: str = ""
    code: str = ""
    small: str = ""
    tone: str = ""


Content: TypeAlias = Phrase | str | int | None
Fact: TypeAlias = tuple[str, Callable[[Any], Content]]  # the name of a row, and what it says of one finding


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows under a head; the first cell of a row names it."""

    head: Sequence[str]
    rows: Sequence[Sequence[Content]]


def facts_table(findings: Sequence[Any], facts: Sequence[Fact]) -> Table:
    """A column per finding, a row per fact; rows that say nothing are left out."""
    rows = [(name, *map(content_of, findings)) for name, content_of in facts]
    return Table(
        head=("", *(finding.name for finding in findings)),
        rows=[row for row in rows if any(content not in (None, "") for content in row[1:])],
    )


def with_digest(text: str, digest: str | None) -> Phrase:
    """A text and the beginning of a digest."""
    return Phrase(text=text, code=(digest or "")[:DIGEST_CHARACTERS])


def share_phrase(score: Score | PassAtK | Share | None) -> Phrase | None:
    """A share with count and interval; None where there is none."""
    if score is None or score.value is None:
        return None
    low: float | None
    high: float | None
    match score:
        case Score():
            low, high = score.interval
            amount = f" {score.count:,}/{score.total:,}"
        case PassAtK():
            low, high = score.interval
            amount = f" of {score.total:,} problems"
        case Share():
            low, high = score.low, score.high
            amount = f" {score.total:,}/{score.of:,}"
    return Phrase(strong=f"{score.value:.1%}", small=amount + interval_text(low, high, ".1%"))


def interval_text(low: float | None, high: float | None, form: str) -> str:
    """An interval after the value that it belongs to; nothing where there is none."""
    return "" if low is None or high is None else f" [{low:{form}},\N{NO-BREAK SPACE}{high:{form}}]"
