"""Names of the known languages, and how code fences name them: read without tree-sitter. What kinds mean is in grammar.py."""

import re
import tomllib
from pathlib import Path
from typing import Any

LANGUAGE_SETTINGS: dict[str, dict[str, Any]] = tomllib.loads(Path(__file__).with_name("languages.toml").read_text("utf-8"))
_LANGUAGE_OF_TAG = {
    tag: name for name, settings in LANGUAGE_SETTINGS.items() for tag in (name, settings["fence"], *settings["fence_aliases"])
}
LANGUAGES: tuple[str, ...] = tuple(LANGUAGE_SETTINGS)
"""Names of the known languages."""


def language_of_fence(tag: str) -> str | None:
    """Language of a code fence's info string such as `Python3`, `rust,ignore` or `c++ title=x`; None if unknown."""
    return _LANGUAGE_OF_TAG.get(re.split(r"[\s,:{]", tag.strip(), maxsplit=1)[0].lower())
