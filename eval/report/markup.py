"""HTML that cannot be broken out of: elements whose text is escaped by construction, tables, coloured programs, embedded JSON.

Which chapters a page has is in report.py.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Any

from rich.syntax import Syntax

from syntaxdiff.eval.benchmarks.outcome import PassAtK, Score
from syntaxdiff.eval.stats import Share
from syntaxdiff.pipeline.inspection.display import visible

DIGEST_CHARACTERS = 12
MAX_CHARACTERS = 20_000  # of one text: an answer of 1,024 tokens has about 4,000
_VOID = frozenset({"br", "input"})  # elements that have no end tag
_CLASSES = {  # beginnings of Pygments's names of token types, the more special first
    "Token.Keyword": "k",
    "Token.Operator.Word": "k",
    "Token.Name.Builtin": "b",
    "Token.Name.Function": "f",
    "Token.Name.Class": "f",
    "Token.Name.Decorator": "f",
    "Token.Literal.String": "s",
    "Token.Literal.Number": "n",
    "Token.Comment": "c",
}


class Html(str):
    """Markup. Whatever is not of this type is text, and is escaped where it enters."""

    __slots__ = ()


Content = Html | str | int | None
Fact = tuple[str, Callable[[Any], Content]]  # the name of a row, and what it says of one finding


def element(name: str, *content: Content, **attributes: str | float | bool | None) -> Html:
    """An element with escaped content and attributes.

    Args:
        content: None is left out
        attributes: ``class_`` and ``for_`` without their underscore, other underscores as hyphens; True stands without a
            value, False and None are left out
    """
    told = "".join(
        f" {key}" if value is True else f' {key}="{_escaped(str(value))}"'
        for key, value in ((key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items())
        if value is not None and value is not False
    )
    return Html(f"<{name}{told}>" if name in _VOID else f"<{name}{told}>{joined(content)}</{name}>")


def joined(content: Iterable[Content]) -> Html:
    """Markup and text one after the other, the text escaped."""
    return Html("".join(one if isinstance(one, Html) else _escaped(str(one)) for one in content if one is not None))


def _escaped(text: str) -> str:
    """Text as it may stand in HTML: markup escaped, control characters and half surrogate pairs as symbols."""
    return escape(visible(text))


def table(head: Sequence[Content], rows: Iterable[Sequence[Content]], *, caption: str = "") -> Html:
    """A table whose first column names the rows; it scrolls where it is too wide."""
    body = [
        element(
            "tr",
            *(element("th" if place == 0 else "td", one, scope="row" if place == 0 else None) for place, one in enumerate(row)),
        )
        for row in rows
    ]
    if not body:
        return Html("")
    first = element("thead", element("tr", *(element("th", one, scope="col") for one in head)))
    named = element("caption", caption) if caption else None
    return element("div", element("table", named, first, element("tbody", *body)), class_="scroll")


def shortened(text: str) -> str:
    """A text of a bearable length, with what is missing said."""
    left = len(text) - MAX_CHARACTERS
    return text if left <= 0 else f"{text[:MAX_CHARACTERS]}\n… {left:,} more characters"


def preformatted(text: str, class_: str = "") -> Html:
    """Text as it is."""
    return element("pre", shortened(text), class_=class_ or None)


def program(text: str, language: str = "python") -> Html:
    """A program, coloured as well as its tokens can be told."""
    text, lexer = visible(shortened(text)), Syntax("", language).lexer
    assert lexer is not None
    pieces = lexer.get_tokens_unprocessed(text)  # get_tokens would expand tabs
    return element("pre", *(_coloured(str(kind), piece) for _, kind, piece in pieces), class_="program")


def _coloured(kind: str, piece: str) -> Content:
    name = next((name for start, name in _CLASSES.items() if kind.startswith(start)), None)
    return element("span", piece, class_=name) if name else piece


def embedded(value: Any) -> Html:
    """JSON inside a page, for its script; `</script>` inside a text does not end it."""
    payload = json.dumps(value, ensure_ascii=True).replace("<", "\\u003c")
    return Html(f'<script type="application/json">{payload}</script>')


# ------------------------------------------------------------------------------------------------- what every chapter has


def chapter(title: str, *content: Content) -> Html:
    """A part of the page with a heading."""
    return element("section", element("h2", title), *content)


def charts(*drawn: Html) -> Html:
    """Charts beside each other as far as the page is wide."""
    return element("div", *drawn, class_="charts") if any(drawn) else Html("")


def facts_table(findings: Sequence[Any], facts: Sequence[Fact]) -> Html:
    """A column a finding, a row a fact; rows that say nothing are left out."""
    rows = [(name, *(told(one) for one in findings)) for name, told in facts]
    return table(
        ("", *(one.name for one in findings)), [row for row in rows if any(cell not in (None, "") for cell in row[1:])]
    )


def share_content(score: Score | PassAtK | Share | None) -> Content:
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
    interval = f" [{low:.1%},\N{NO-BREAK SPACE}{high:.1%}]" if low is not None and high is not None else ""
    return joined((element("b", f"{score.value:.1%}"), element("small", amount + interval)))
