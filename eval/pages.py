"""How pages are made of Jinja templates: no text becomes markup, and every control character is shown as a symbol.

Templates lie in the rooms whose pages they are; Python gives them data and makes no markup. `</script>` in embedded JSON is
escaped by Jinja's filter ``tojson``.
"""

from collections.abc import Iterator
from pathlib import Path
from statistics import median

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from syntaxdiff.pipeline.inspection.display import visible

MAX_CHARACTERS = 20_000  # of one text: an answer of 1,024 tokens has about 4,000
TOKEN_TYPES = ("Keyword", "Word", "Builtin", "Function", "Class", "Decorator", "String", "Number", "Comment")  # of Pygments


def environment(*folders: Path) -> Environment:
    """Templates in some folders, which may extend and import each other; an undefined name in one is an error.

    Filters: ``shortened``, ``highlighted`` for programs, and ``median``.
    """
    made = Environment(
        loader=FileSystemLoader(folders),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_safe,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.do"],
    )
    made.filters |= {"shortened": shortened, "highlighted": highlighted, "median": median}
    made.policies["json.dumps_kwargs"] = {}  # keys stay in their order
    return made


def _safe(value: object) -> object:
    """What a template prints for a value: markup that a template made as it is, nothing for None, else visible text."""
    if value is None:
        return ""
    return value if hasattr(value, "__html__") else visible(str(value))


def shortened(text: str) -> str:
    """A text of a bearable length, which says how much is missing."""
    left = len(text) - MAX_CHARACTERS
    return text if left <= 0 else f"{text[:MAX_CHARACTERS]}\n… {left:,} more characters"


def highlighted(text: str, language: str = "python") -> Iterator[tuple[str, str]]:
    """The pieces of a program, each after its type: one of TOKEN_TYPES in lower case, or nothing."""
    from rich.syntax import Syntax

    lexer = Syntax("", language).lexer
    assert lexer is not None
    for _, types, piece in lexer.get_tokens_unprocessed(visible(text)):  # get_tokens would expand tabs
        yield next((name.lower() for name in types if name in TOKEN_TYPES), ""), piece
