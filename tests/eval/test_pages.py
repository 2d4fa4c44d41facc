"""Pages from templates: no text becomes markup, and none is lost."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError
from pages import Page

from syntaxdiff.eval.pages import MAX_CHARACTERS, TOKEN_TYPES, environment, highlighted, shortened
from syntaxdiff.pipeline.inspection.display import visible

EVAL = Path(__file__).resolve().parents[2] / "eval"
TEXT = st.text(max_size=80)
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=80)  # half surrogate pairs too: a model may write them
ENVIRONMENT = environment()


def rendered(template: str, **values: object) -> Page:
    return Page(ENVIRONMENT.from_string(template).render(values))


@given(ANY_TEXT, ANY_TEXT)
def test_text_stays_text(content: str, value: str) -> None:
    """Whatever a text and an attribute hold, a parser reads one element with that text and that attribute."""
    page = rendered('<p title="{{ value }}">{{ content }}</p>', content=content, value=value)
    assert page.found == [("p", {"title": visible(value)})]
    assert page.text == visible(content)


@pytest.mark.parametrize(
    "template",
    [
        "{% macro twice() %}<p>{{ text }}</p>{{ caller() }}{% endmacro %}{% call twice() %}<p>{{ text }}</p>{% endcall %}",
        "{% set part %}<p>{{ text }}</p>{% endset %}{{ part }}{{ part }}",
        '<p>{{ text }}</p>{{ "" ~ text }}',
        '<p>{{ text }}</p>{{ [text]|join(", ") }}',
        '<p>{{ text }}</p>{{ "{}".format(text) }}',
        '<p>{{ text }}</p>{{ "%s"|format(text) }}',
        "<p>{{ text }}</p>{{ holder }}",
    ],
)
def test_text_stays_text_on_its_way_through_a_template(template: str) -> None:
    """Macros, blocks and filters escape it once, never twice and never not at all; so does a value that is not a text."""
    text = "<b>&amp; {{ 1 + 1 }} {% raw %}\x1b\ud800\x00"

    class Holder:
        def __str__(self) -> str:
            return text

    page = rendered(template, text=text, holder=Holder())
    assert {name for name, _ in page.found} == {"p"}
    assert page.text == 2 * visible(text)


@given(st.recursive(TEXT, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=8))
def test_embedded_json_comes_back(value: Any) -> None:
    """JSON in a page is what went in, and nothing in it ends the script."""
    page = rendered('<script type="application/json">{{ value|tojson }}</script>', value=value)
    assert page.embedded() == [value]
    assert len(page.found) == 1


@given(ANY_TEXT)
def test_a_highlighted_program_is_the_program(text: str) -> None:
    """Colours take nothing away and add nothing, whatever the program."""
    pieces = list(highlighted(text))
    assert "".join(piece for _, piece in pieces) == visible(text)
    assert {kind for kind, _ in pieces} <= {"", *map(str.lower, TOKEN_TYPES)}


def test_programs_are_highlighted() -> None:
    """Each type of token that has a colour is found."""
    program = '@cached\ndef f(x):\n    """Doc."""\n    return len(x) + 1 if not x else None  # why\nclass A: pass\n'
    assert {kind for kind, _ in highlighted(program)} == {"", *map(str.lower, TOKEN_TYPES)}


def test_long_texts_are_cut_and_say_so() -> None:
    """What is left out is counted."""
    assert shortened("x" * MAX_CHARACTERS) == "x" * MAX_CHARACTERS
    assert shortened("x" * (MAX_CHARACTERS + 7)) == "x" * MAX_CHARACTERS + "\n… 7 more characters"


def test_a_name_that_a_template_does_not_get_is_an_error() -> None:
    """A value that is missing is never printed as nothing; None is."""
    assert rendered("<p>{{ value }}</p>", value=None).text == ""
    for template in ("{{ value }}", "{{ value.part }}", "{% if value %}{% endif %}", "{% for part in value %}{% endfor %}"):
        with pytest.raises(UndefinedError, match="value"):
            rendered(template)


def test_no_template_switches_escaping_off() -> None:
    """Nothing is declared safe, in templates or in Python."""
    templates = sorted(EVAL.glob("*/templates/*"))
    assert len(templates) > 10
    for path in (*templates, *EVAL.rglob("*.py")):
        assert not re.search(r"\|\s*safe\b|\bautoescape\s*(?!=True)\b|\bMarkup\b", path.read_text("utf-8")), path
