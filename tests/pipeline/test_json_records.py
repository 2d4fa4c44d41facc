"""Records as JSON: a round trip changes nothing, and what is not the record is refused with its key named."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syntaxdiff.eval.benchmarks.stored_settings import CheckpointIdentity
from syntaxdiff.eval.inference.effect import GenerationSettings
from syntaxdiff.eval.stats import Share
from syntaxdiff.eval.study.declaration import STUDIES, Declaration, read_studies
from syntaxdiff.pipeline.errors import SourceError
from syntaxdiff.pipeline.json_records import ABSENT, RecordError, from_json, json_text, read_record, to_json


class Pair(NamedTuple):
    """An array in JSON."""

    low: float
    high: float | None


@dataclass(frozen=True, kw_only=True)
class Part:
    """An object in JSON."""

    name: str
    pair: Pair
    extra: int | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, kw_only=True)
class Whole:
    """Every kind of field."""

    parts: tuple[Part, ...]
    by_name: dict[str, Part | None]
    flags: list[bool]
    size: tuple[int, str]
    either: int | str
    plain: object = None


PARTS = st.builds(
    Part,
    name=st.text(),
    pair=st.builds(Pair, st.floats(allow_nan=False), st.none() | st.floats(allow_nan=False)),
    extra=st.none() | st.integers(),
)
WHOLES = st.builds(
    Whole,
    parts=st.lists(PARTS, max_size=3).map(tuple),
    by_name=st.dictionaries(st.text(), st.none() | PARTS, max_size=3),
    flags=st.lists(st.booleans()),
    size=st.tuples(st.integers(), st.text()),
    either=st.integers() | st.text(),
    plain=st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3)),
)


@given(WHOLES)
def test_a_round_trip_changes_nothing(whole: Whole) -> None:
    """What is written is read again as it was, and has a key per field in their order."""
    text = json_text(whole)
    assert from_json(Whole, json.loads(text)) == whole
    assert list(json.loads(text)) == ["parts", "by_name", "flags", "size", "either", "plain"]
    for part, written in zip(whole.parts, json.loads(text)["parts"], strict=True):
        assert ("extra" in written) == (part.extra is not None)


PART: dict[str, Any] = {"name": "a", "pair": [0.5, None]}
WHOLE: dict[str, Any] = {"parts": [PART], "by_name": {"b": None}, "flags": [True], "size": [1, "x"], "either": "y"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"more": 1}, "more is not a known key"),
        ({"parts": [PART | {"more": 1}]}, r"parts\[0\]\.more is not a known key"),
        ({"parts": [{"name": "a"}]}, r"parts\[0\]\.pair is missing"),
        ({"parts": {}}, "parts is not a list"),
        ({"parts": [PART | {"pair": [1.0]}]}, r"parts\[0\]\.pair is not 2 values"),
        ({"by_name": {"b": 3}}, r"by_name\.b is not an object"),
        ({"flags": [1]}, r"flags\[0\] is not true or false"),
        ({"size": [True, "x"]}, "size is not a whole number"),
        ({"size": [1.5, "x"]}, "size is not a whole number"),
        ({"either": None}, "either is not a text"),
    ],
)
def test_what_is_not_the_record_is_refused(changes: dict[str, Any], message: str) -> None:
    """The key is named with all that is around it; keys of others are passed over only where that is asked for."""
    assert from_json(Whole, WHOLE).parts[0].pair == Pair(0.5, None)
    with pytest.raises(RecordError, match=message):
        from_json(Whole, WHOLE | changes)
    if "known" in message:
        assert from_json(Whole, WHOLE | changes, skips_unknown=True) == from_json(Whole, WHOLE)


def test_what_has_no_form_in_json_is_refused() -> None:
    """A path or a set is our own mistake, not a text."""
    for value in (Path("a"), {1}, b"a"):
        with pytest.raises(TypeError, match="has no form in JSON"):
            to_json({"a": [value]})


def test_keys_of_references_and_models_differ() -> None:
    """References have no step; a checkpoint that names none has null there. Settings without effect are null, not absent."""
    assert to_json(CheckpointIdentity(kind="reference")) == {"kind": "reference"}
    assert to_json(CheckpointIdentity(kind="diffusion", sha256="0")) == {"kind": "diffusion", "step": None, "sha256": "0"}
    assert set(to_json(GenerationSettings()).values()) == {None}


def test_a_file_says_its_version(tmp_path: Path) -> None:
    """Another version, damage and what is no object are refused in a line that names the file."""
    path = tmp_path / "share.json"
    share = Share(value=0.5, low=None, high=None, total=1, of=2, samples=2)
    for text, message in (
        ("{", "cannot be read"),
        ("[1]", "holds no JSON object"),
        (json.dumps(to_json(share)), "has version None, this syntaxdiff reads 1"),
        (json.dumps({"version": [1]}), "this syntaxdiff reads 1"),
        (json.dumps({"version": 1, **to_json(share)}), "version is not a known key"),
    ):
        path.write_text(text)
        with pytest.raises(SourceError, match=message) as caught:
            read_record(Share, path, version=1)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_declarations_are_read_as_they_were_written() -> None:
    """Every study that comes with the package survives study.json."""
    for study in read_studies(STUDIES).values():
        plain = json.loads(json_text(study))
        assert to_json(from_json(Declaration, plain)) == plain
