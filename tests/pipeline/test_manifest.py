"""What the manifest keeps of a build: typed, named where it is damaged, and of other versions too."""

import json
from dataclasses import replace
from typing import Any

import pytest
from stored import SETTINGS, stored_identity

from syntaxdiff.pipeline.errors import ShardError
from syntaxdiff.pipeline.json_records import from_json, to_json
from syntaxdiff.pipeline.manifest import GroupingCounts, KeyCounts, Manifest, StoredTokenizer, TokenIds
from syntaxdiff.pipeline.stored_settings import (
    FileIdentity,
    FilesIdentity,
    HubIdentity,
    SavedIdentity,
    SourceIdentity,
    StoredSettings,
    TableIdentity,
)

MANIFEST = Manifest(
    settings=SETTINGS,
    rows_read=3,
    rejected={"too-long": 1},
    tokenizer=StoredTokenizer(name="made", vocab_size=9, sha256="0" * 64, engine="hf", byte_level=True, inexact_samples=0),
    token_ids=TokenIds(mask=8, pad=1, eos=2, bos=None, end_of_turn=(2,), assistant_header=(3, 4)),
    languages={},
    splits={"train": (), "validation": ()},
    samples_with_error=0,
    fingerprint="f" * 64,
    grouping=GroupingCounts(groups=2, ignored=("slug",), keys={"statement": KeyCounts(samples=2, shared=0)}),
)
IDENTITIES = (
    FilesIdentity(name="rows", files=(FileIdentity("a.jsonl", 12, "0f"), FileIdentity("b.jsonl", 0, "1e"))),
    FilesIdentity(name="empty", files=()),
    HubIdentity(name="owner/set", subset="default", splits=("train", "cpp"), revision=None, hash="ab"),
    SavedIdentity(name="saved", splits={"train": TableIdentity(300, "cd")}),
)


def test_it_is_read_as_it_was_written() -> None:
    """Equal values and equal bytes."""
    read = Manifest.from_json(MANIFEST.to_json())
    assert read == MANIFEST
    assert read.to_json() == MANIFEST.to_json()


@pytest.mark.parametrize("identity", IDENTITIES, ids=lambda identity: identity.name)
def test_every_kind_of_source_is_identified_again(identity: SourceIdentity) -> None:
    """The kind is known by its keys."""
    assert stored_identity(identity) == identity


def test_settings_of_another_version_are_kept() -> None:
    """They decided bytes of those shards: two builds that differ in them are different, and nothing drops them."""
    stored = to_json(SETTINGS) | {"dedupe": "minhash", "layers": [1, 2]}
    read = from_json(StoredSettings, stored)
    assert read.of_other_versions == {"dedupe": "minhash", "layers": [1, 2]}
    assert to_json(read) == stored
    assert read != SETTINGS


def test_what_an_older_build_did_not_write_is_unknown_and_stays_away() -> None:
    """A missing key is None, and is not written where the file is written again: exports hold the tokenizer as it was."""
    older = json.loads(MANIFEST.to_json())
    del older["tokenizer"]["inexact_samples"], older["tokenizer"]["byte_level"], older["grouping"]
    read = Manifest.from_json(json.dumps(older))
    assert (read.tokenizer.inexact_samples, read.tokenizer.byte_level, read.grouping) == (None, None, None)
    assert to_json(read.tokenizer).keys() == {"engine", "name", "sha256", "vocab_size"}
    assert read == replace(MANIFEST, tokenizer=read.tokenizer, grouping=None)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("settings", "max_length"), "512"),
        (("settings", "max_length"), None),
        (("settings", "languages"), "python"),
        (("settings", "sources"), [{"name": "a"}]),
        (("tokenizer", "vocab_size"), 1.5),
        (("tokenizer", "byte_level"), 1),
        (("token_ids", "end_of_turn"), 2),
        (("grouping", "groups"), True),
        (("rejected",), {"too-long": "1"}),
        (("programs_alone",), "none"),
    ],
    ids=str,
)
def test_a_damaged_value_is_named(path: tuple[str, ...], value: Any) -> None:
    """Whoever reads the manifest hears the key, in one line that says what to do."""
    stored = json.loads(MANIFEST.to_json())
    place = stored
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    with pytest.raises(ShardError, match=rf"manifest.json is damaged \({'[.]'.join(path)}.*build the shards again"):
        Manifest.from_json(json.dumps(stored))
