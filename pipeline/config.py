"""Settings of a build, checked before anything is read or written."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.pipeline.rows.fields import Fields
from syntaxdiff.pipeline.rows.grouping import Grouping
from syntaxdiff.pipeline.syntax.languages import LANGUAGES
from syntaxdiff.pipeline.tokens.names import DEFAULT_TOKENIZER, ENGINES, trained_size

OVERLENGTH = ("drop", "trim-reasoning")
_RANGES = {
    "max_length": (16, 1 << 20),
    "shard_rows": (1, 1 << 20),
    "workers": (1, 1 << 10),
    "limit": (1, 1 << 40),
    "validation_size": (0, 1 << 40),
    "seed": (0, (1 << 63) - 1),
}


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, kw_only=True)
class BuildConfig:
    """Settings of a build; the names are those of the command line's options.

    Raises:
        SettingsError: a value that cannot be, or two that contradict
    """

    src: tuple[str, ...]
    out: Path = Path("data")
    subset: str | None = None
    split: str | None = None
    revision: str | None = None
    fields: Fields = field(default_factory=Fields)
    questions: str | None = None
    allow_missing_prompt: bool = False
    tokenizer: str = DEFAULT_TOKENIZER
    mask_token: str | None = None
    engine: str = "auto"
    languages: tuple[str, ...] = LANGUAGES
    max_length: int = 4096
    overlength: str = "drop"
    limit: int | None = None
    validation_size: int | None = None
    shard_rows: int = 4096
    seed: int = 0
    group_fields: tuple[str, ...] = ()
    group_by_folder: bool = False
    ignore_solution: bool = False
    workers: int = field(default_factory=usable_cores)

    def __post_init__(self) -> None:
        if not self.src:
            raise SettingsError("no --src was given: a hub name, a file, folder or glob, or `stdlib`")
        unknown = [language for language in self.languages if language not in LANGUAGES]
        if unknown or not self.languages:
            raise SettingsError(f"--languages {','.join(self.languages)}: choose from {', '.join(LANGUAGES)}")
        if self.overlength not in OVERLENGTH:
            raise SettingsError(f"--overlength {self.overlength}: choose one of {', '.join(OVERLENGTH)}")
        if self.engine not in ENGINES:
            raise SettingsError(f"--engine {self.engine}: choose one of {', '.join(ENGINES)}")
        for name, (smallest, largest) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not smallest <= value <= largest:
                raise SettingsError(f"--{_dashed(name)} {value}: from {smallest} to {largest}")
        texts = {**vars(self), **{f"{name}_field": value for name, value in vars(self.fields).items()}}
        for name, text in texts.items():
            if isinstance(text, str) and (not text or not _is_utf8(text)):
                raise SettingsError(f"--{_dashed(name)} is {'not UTF-8' if text else 'empty'}")
        if self.limit is not None and self.validation_size is not None and self.validation_size >= self.limit:
            raise SettingsError(f"--validation-size {self.validation_size} leaves nothing of --limit {self.limit} to train on")
        if self.fields.given and not (self.fields.response or self.fields.code):
            raise SettingsError("--prompt-field and --reasoning-field need --response-field or --code-field beside them")
        if not all(name and _is_utf8(name) for name in self.group_fields):
            raise SettingsError("--group-field is empty or not UTF-8: give the name of a field")
        trained_size(self.tokenizer)

    @property
    def grouping(self) -> Grouping:
        """By what samples are of one problem."""
        return Grouping(self.group_fields, self.group_by_folder)
