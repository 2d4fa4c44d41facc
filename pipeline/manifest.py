"""The manifest: what a folder of shards holds and how it was made. It is written last, so its presence means complete.

Whether it is true of the shards is for inspection/verification.py to find out.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

from syntaxdiff.pipeline.errors import ShardError
from syntaxdiff.pipeline.json_records import ABSENT, RecordError, from_json, to_json
from syntaxdiff.pipeline.stored_settings import StoredSettings

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
WORK_FOLDER = ".build"  # of a build that is not complete


@dataclass(frozen=True, kw_only=True)
class ShardFile:
    """One Parquet file: path relative to the folder, number of rows, tokens and bytes, and its SHA-256."""

    file: str
    rows: int
    tokens: int
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class LanguageKinds:
    """Node kinds of one language: what span_kind and leaf_kind index. Entry 0 is 'no node'."""

    node_kinds: tuple[str, ...]
    named: tuple[bool, ...]
    grammar: str


@dataclass(frozen=True, kw_only=True)
class TokenIds:
    """Special ids that travel from the data to the checkpoint. ``assistant_header`` opens the answer."""

    mask: int
    pad: int
    eos: int
    bos: int | None
    end_of_turn: tuple[int, ...]
    assistant_header: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class StoredTokenizer:
    """The tokenizer of the samples.

    Attributes:
        byte_level: whether tokens are pieces of the text's bytes; None where an older build did not say
        engine: name and version of what encoded the samples
        inexact_samples: samples whose ids do not spell their text, 0 with a byte-level vocabulary; None likewise
        name: as the build was given it
        sha256: of tokenizer.json
        vocab_size: ids that a model needs
    """

    byte_level: bool | None = field(default=None, metadata=ABSENT)
    engine: str
    inexact_samples: int | None = field(default=None, metadata=ABSENT)
    name: str
    sha256: str
    vocab_size: int


@dataclass(frozen=True, kw_only=True)
class KeyCounts:
    """Samples that have a key of one kind, and those of them whose key another sample has (siblings of validation count)."""

    samples: int
    shared: int


@dataclass(frozen=True, kw_only=True)
class GroupingCounts:
    """By what samples are of one problem.

    Attributes:
        groups: number of problems
        ignored: kinds of keys one value of which most samples have
        keys: by kind
    """

    groups: int
    ignored: tuple[str, ...]
    keys: dict[str, KeyCounts]


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a folder of shards holds and how it was made. A count is None where an older build did not count.

    Attributes:
        settings: the build's configuration, as far as it decides bytes
        rows_read: rows of the sources, all of them accounted for: samples of both splits and rejects
        rejected: number of rows by reason
        samples_with_error: samples of both splits whose program's tree holds an error
        programs_alone: samples of both splits that have neither problem nor reasoning
        readings: samples of both splits by how the program was found in a response
        unused_fields: samples of both splits by fields of their row that hold text and were not used
        fingerprint: SHA-256 over the shards' own; equal data has an equal fingerprint
    """

    settings: StoredSettings
    rows_read: int
    rejected: dict[str, int]
    tokenizer: StoredTokenizer
    token_ids: TokenIds
    languages: dict[str, LanguageKinds]
    splits: dict[str, tuple[ShardFile, ...]]
    samples_with_error: int
    fingerprint: str
    programs_alone: int | None = None
    readings: dict[str, int] | None = None
    unused_fields: dict[str, int] | None = None
    grouping: GroupingCounts | None = None
    versions: dict[str, str] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    def num_samples(self, split: str) -> int:
        """Number of samples in a split."""
        return sum(shard.rows for shard in self.splits[split])

    def num_tokens(self, split: str) -> int:
        """Number of tokens in a split."""
        return sum(shard.tokens for shard in self.splits[split])

    def to_json(self) -> str:
        """The manifest as it is stored: sorted keys, so that equal manifests are equal bytes."""
        return json.dumps(to_json(self), indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        """The inverse of ``to_json``. Raises ShardError for another schema version or a damaged text."""
        try:
            stored = json.loads(text)
            if not isinstance(stored, dict) or "schema_version" not in stored:
                raise RecordError("schema_version is missing")
            version = stored["schema_version"]
            if version != SCHEMA_VERSION:
                raise ShardError(
                    f"the shards have schema version {version}, this syntaxdiff reads {SCHEMA_VERSION}: build them again"
                )
            return from_json(cls, stored)
        except (RecordError, ValueError) as error:
            raise ShardError(f"{MANIFEST} is damaged ({error}): build the shards again") from error


def read_manifest(folder: Path | str) -> Manifest:
    """The manifest of a complete folder of shards.

    Raises:
        ShardError: no manifest (the build never ended), another schema version, or a damaged file
    """
    folder = Path(folder)
    path = folder / MANIFEST
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        unfinished = (folder / WORK_FOLDER).is_dir()
        hint = "the build was cut off: run it again, it resumes" if unfinished else "run `syntaxdiff-prep build` first"
        raise ShardError(f"{folder} holds no complete shards (no {MANIFEST}): {hint}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ShardError(f"{path} cannot be read: {error}") from error
    return Manifest.from_json(text)
