"""The settings of a build as its shards keep them, and what identifies its sources: two builds are compared by these.

They are what decides bytes. How a user gives them is BuildConfig in config.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from syntaxdiff.pipeline.json_records import REST, JsonObject


class FileIdentity(NamedTuple):
    """A file of a source: path below its root, bytes, and a hash of beginning, middle and end."""

    path: str
    size: int
    sketch: str


@dataclass(frozen=True, kw_only=True)
class FilesIdentity:
    """Local files."""

    name: str
    files: tuple[FileIdentity, ...]


@dataclass(frozen=True, kw_only=True)
class HubIdentity:
    """A data set on the hub, or a local folder laid out like one; ``hash`` is that of its commit or files."""

    name: str
    subset: str
    splits: tuple[str, ...]
    revision: str | None
    hash: str | None


class TableIdentity(NamedTuple):
    """A split of a saved data set: number of rows, and the fingerprint that ``datasets`` gives it."""

    rows: int
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class SavedIdentity:
    """A data set that was saved with ``save_to_disk``."""

    name: str
    splits: Mapping[str, TableIdentity]


@dataclass(frozen=True, kw_only=True)
class ExercisesIdentity:
    """Exercises made on the spot; ``version`` is that of the generator."""

    name: str
    rows: int
    stream_seed: int
    version: int


SourceIdentity: TypeAlias = FilesIdentity | HubIdentity | SavedIdentity | ExercisesIdentity


@dataclass(frozen=True, kw_only=True)
class StoredSettings:
    """What decides the bytes of shards. Options that are None were not used, or came after the build.

    Attributes:
        fields: names of the rows' fields that the user gave, by what they hold
        tokenizer_sha256: of a local tokenizer's tokenizer.json
        of_other_versions: settings that this version does not have, as they are stored
    """

    tokenizer: str
    languages: tuple[str, ...]
    max_length: int
    overlength: str
    shard_rows: int
    sources: tuple[SourceIdentity, ...] = ()
    fields: Mapping[str, str | None] = field(default_factory=dict)
    questions: str | None = None
    allow_missing_prompt: bool = False
    tokenizer_sha256: str | None = None
    mask_token: str | None = None
    engine: str = "auto"
    limit: int | None = None
    validation_size: int | None = None
    seed: int = 0
    group_fields: tuple[str, ...] | None = None
    group_by_folder: bool | None = None
    ignore_solution: bool | None = None
    of_other_versions: JsonObject = field(default_factory=dict, metadata=REST)
