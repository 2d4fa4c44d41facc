"""Cursors and identities of sources as a build stores and reads them."""

import json
from dataclasses import replace

from syntaxdiff.pipeline.assembly.part import Resume
from syntaxdiff.pipeline.json_records import from_json, to_json
from syntaxdiff.pipeline.sources.units import Cursor
from syntaxdiff.pipeline.stored_settings import SourceIdentity, StoredSettings

SETTINGS = StoredSettings(tokenizer="made", languages=("python",), max_length=64, overlength="drop", shard_rows=4096)


def stored_cursor(cursor: Cursor) -> Cursor:
    """The cursor, written as JSON and read again."""
    return from_json(Resume, json.loads(json.dumps(to_json(Resume(source=0, cursor=cursor, done=0))))).cursor


def stored_identity(identity: SourceIdentity) -> SourceIdentity:
    """The identity, written as JSON and read again."""
    settings = replace(SETTINGS, sources=(identity,))
    (read,) = from_json(StoredSettings, json.loads(json.dumps(to_json(settings)))).sources
    return read
