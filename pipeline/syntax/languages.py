"""Names of the known languages, and how code fences name them: read without tree-sitter. What kinds mean is in grammar.py."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from syntaxdiff.pipeline.json_records import from_json


@dataclass(frozen=True, kw_only=True)
class LanguageSettings:
    """A language of ``languages.toml``, which explains the keys."""

    fence: str
    fence_aliases: tuple[str, ...]
    grammar_module: str
    grammar_function: str
    legacy_name: str
    roles: Mapping[str, tuple[str, ...]]


LANGUAGE_SETTINGS: dict[str, LanguageSettings] = {
    name: from_json(LanguageSettings, table, where=name)
    for name, table in tomllib.loads(Path(__file__).with_name("languages.toml").read_text("utf-8")).items()
}
_LANGUAGE_OF_TAG = {
    tag: name for name, settings in LANGUAGE_SETTINGS.items() for tag in (name, settings.fence, *settings.fence_aliases)
}
LANGUAGES: tuple[str, ...] = tuple(LANGUAGE_SETTINGS)
"""Names of the known languages."""


def language_of_fence(tag: str) -> str | None:
    """Language of a code fence's info string such as `Python3`, `rust,ignore` or `c++ title=x`; None if unknown."""
    return _LANGUAGE_OF_TAG.get(re.split(r"[\s,:{]", tag.strip(), maxsplit=1)[0].lower())
