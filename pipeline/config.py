"""Settings of a build, checked before anything is read or written. Read without pyarrow and tree-sitter."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.pipeline.options import check_options, option
from syntaxdiff.pipeline.rows.fields import Fields
from syntaxdiff.pipeline.rows.grouping import Grouping
from syntaxdiff.pipeline.syntax.languages import LANGUAGES, language_of_fence
from syntaxdiff.pipeline.tokens.names import DEFAULT_TOKENIZER, ENGINES, trained_size

OVERLENGTH = ("drop", "trim-reasoning")


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _languages(text: str) -> tuple[str, ...]:
    """Languages of a list with commas, each by its name or by a tag of its fences."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    return tuple(language_of_fence(name) or name for name in names)


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, kw_only=True)
class BuildConfig:
    """Settings of a build; the fields are explained by their options.

    Raises:
        SettingsError: a value that cannot be, or two that contradict
    """

    src: tuple[str, ...] = option("Hub name, file, folder, glob, `stdlib`, or `exercises[:LEVEL][:ROWS]`. Repeatable.")
    out: Path = option("Folder of the shards.", Path("data"))
    subset: str | None = option(
        "Subset (configuration) of a data set on the hub.", None, default_text="split_0 for nvidia/OpenCodeReasoning"
    )
    split: str | None = option("Split on the hub, or several: `python,cpp`.", None, default_text="train, else all")
    revision: str | None = option("Branch, tag or commit on the hub.", None)
    fields: Fields = field(default_factory=Fields)
    questions: str | None = option(
        "Where OpenCodeReasoning's statements that are `-` are fetched: `hub`, or a folder with taco/, apps/, …", None
    )
    allow_missing_prompt: bool = option("Keep rows whose statement cannot be had, without prompt.", False)
    tokenizer: str = option("Hub name, local folder, or train:SIZE.", DEFAULT_TOKENIZER)
    mask_token: str | None = option(
        "Text of the mask token, added where it is new.",
        None,
        default_text="the tokenizer's own or a known one, else <|mask|>",
    )
    engine: str = option("BPE engine: a matter of speed, the ids are the same.", "auto", choices=ENGINES)
    languages: tuple[str, ...] = option(
        "Languages to keep. Rows that do not name theirs are taken for the first.",
        LANGUAGES,
        choices=LANGUAGES,
        parse=_languages,
        metavar="TEXT",
        default_text=",".join(LANGUAGES),
    )
    max_length: int = option("Maximum number of tokens of a sample.", 4096, minimum=16, maximum=1 << 20)
    overlength: str = option("Longer rows: drop them, or cut the middle of their reasoning.", "drop", choices=OVERLENGTH)
    limit: int | None = option("Number of samples to come out, both splits together.", None, minimum=1, maximum=1 << 40)
    validation_size: int | None = option(
        "Problems held out: one sample of each validates, their others are left out.",
        None,
        minimum=0,
        maximum=1 << 40,
        default_text="1000, or 1 in 20",
    )
    shard_rows: int = option("Samples of a shard.", 4096, minimum=1, maximum=1 << 20)
    seed: int = option("Chooses the validation problems, and which exercises are made.", 0, minimum=0, maximum=(1 << 63) - 1)
    group_fields: tuple[str, ...] = option(
        "Field with the id of a problem: its samples are on one side of the split. Repeatable; `none`: only statements.",
        (),
        flag="group-field",
        default_text="problem_id, question_id, task_id, slug, … where values repeat",
    )
    group_by_folder: bool = option("Samples whose files share a folder are on one side of the split.", False)
    ignore_solution: bool = option(
        "Find the program of a response by its fence, also where the row has it as `solution`.", False
    )
    workers: int = option("Processes.", default_factory=usable_cores, minimum=1, maximum=1 << 10, default_text="one per core")

    def __post_init__(self) -> None:
        if not self.src:
            raise SettingsError("no --src was given: a hub name, a file, folder or glob, `stdlib`, or `exercises`")
        if not self.languages:
            raise SettingsError(f"--languages is empty: choose from {', '.join(LANGUAGES)}")
        check_options(self)
        texts = {**vars(self), **{f"{name}_field": value for name, value in vars(self.fields).items()}}
        for name, text in texts.items():
            if isinstance(text, str) and (not text or not _is_utf8(text)):
                raise SettingsError(f"--{_dashed(name)} is {'not UTF-8' if text else 'empty'}")
        if self.limit is not None and self.validation_size is not None and self.validation_size >= self.limit:
            raise SettingsError(f"--validation-size {self.validation_size} leaves nothing of --limit {self.limit} to train on")
        if self.fields.given and not (self.fields.response or self.fields.code):
            raise SettingsError("--prompt-field and --reasoning-field also need --response-field or --code-field")
        if not all(name and _is_utf8(name) for name in self.group_fields):
            raise SettingsError("--group-field is empty or not UTF-8: give the name of a field")
        trained_size(self.tokenizer)

    @property
    def grouping(self) -> Grouping:
        """By what samples are of one problem."""
        return Grouping(self.group_fields, self.group_by_folder)
