"""Frozen dataclasses as the plain values of JSON, and back: manifests, records of runs and results are made and read here.

A dataclass is an object with a key per field, in the order of the fields; a NamedTuple and a tuple are arrays. Other classes
are refused. What a record holds is declared in its own room.
"""

import dataclasses
import json
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TypeAlias, TypeVar

from syntaxdiff.pipeline.errors import SourceError

Json: TypeAlias = object  # a plain value: None, a boolean, a number, a text, a list or a dictionary of plain values
JsonObject: TypeAlias = Mapping[str, Json]  # an object whose keys others decide: other versions, other programs, the user
# A row of a data set as it comes: its fields and the types of their values are its author's. Readers make records of it.
Row: TypeAlias = Mapping[str, typing.Any]
Record = TypeVar("Record")
_LEFT_OUT = "left out"
_WRITE_AGAIN = "write it again with the command that made it"


class RecordError(ValueError):
    """A value of JSON that is not the record that was expected; the message names the key."""


ABSENT: Mapping[str, object] = {_LEFT_OUT: None}  # metadata of a field whose key JSON does not have where the field is None


REST: Mapping[str, object] = {"takes the rest": None}  # metadata of a field that holds the keys that no other field has


def absent_where(is_absent: Callable[[typing.Any], bool]) -> Mapping[str, object]:
    """ABSENT for a field whose None is ``null`` in some records: the whole record decides."""
    return {_LEFT_OUT: is_absent}


def to_json(value: object) -> typing.Any:
    """Plain values of a record: dictionaries, lists, strings, numbers, booleans and None.

    Raises:
        TypeError: something in it has no form in JSON
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        made: dict[str, typing.Any] = {}
        for field in dataclasses.fields(value):
            if not _is_absent(value, field):
                plain = to_json(getattr(value, field.name))
                made |= plain if field.metadata.keys() & REST.keys() else {field.name: plain}
        return made
    if isinstance(value, Mapping):
        return {str(name): to_json(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def json_text(value: object) -> str:
    """A record as the text of a file."""
    return json.dumps(to_json(value), indent=1, ensure_ascii=False) + "\n"


def _is_absent(record: object, field: "dataclasses.Field[typing.Any]") -> bool:
    if _LEFT_OUT not in field.metadata or getattr(record, field.name) is not None:
        return False
    decide = field.metadata[_LEFT_OUT]
    return decide is None or bool(decide(record))


def from_json(kind: type[Record], value: object, *, where: str = "", skips_unknown: bool = False) -> Record:
    """A record of plain values.

    Args:
        kind: a dataclass or NamedTuple
        where: what the value is, for the message; empty: a whole file
        skips_unknown: pass over keys that no field has, at any depth, as of files that others own

    Raises:
        RecordError: a key is missing or unknown, or a value has another type than its field
    """
    made: Record = _read(kind, value, where, skips_unknown)
    return made


def read_object(path: Path, *, advice: str | None = None) -> dict[str, Json]:
    """The object in a file of JSON. Raises SourceError where there is none; ``advice`` says what to do then."""
    advice = advice or _WRITE_AGAIN
    try:
        stored = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError(f"{path} cannot be read ({error}): {advice}") from error
    if not isinstance(stored, dict):
        raise SourceError(f"{path} holds no JSON object: {advice}")
    return stored


def read_record(
    kind: type[Record],
    path: Path,
    *,
    version: int,
    oldest: int | None = None,
    key: str = "version",
    advice: str | None = None,
) -> Record:
    """A record in a file that says its version.

    Args:
        version: that is written today
        oldest: the first version whose keys mean the same; None: ``version``
        key: of the version in the file
        advice: what to do about a file that cannot be used

    Raises:
        SourceError: the file cannot be read, is damaged, or is of another version
    """
    stored = read_object(path, advice=advice)
    found = stored.get(key)
    if found not in range(version if oldest is None else oldest, version + 1):
        raise SourceError(
            f"{path} has {key} {found}, this syntaxdiff reads {version}: "
            + (advice or "measure again, or show it with the version that wrote it")
        )
    try:
        return from_json(kind, stored)
    except RecordError as error:
        raise SourceError(f"{path} cannot be read ({error}): {advice or _WRITE_AGAIN}") from error


def _read(kind: typing.Any, value: typing.Any, where: str, skips: bool) -> typing.Any:
    """A value of a type: a class, a union, or a collection of such."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is object:  # any plain value
        return value
    if origin in (typing.Union, types.UnionType):
        return _read_union(arguments, value, where, skips)
    if origin is tuple and arguments[-1] is not Ellipsis:
        _check(isinstance(value, list) and len(value) == len(arguments), where, f"not {len(arguments)} values", value)
        return tuple(_read(part, item, where, skips) for part, item in zip(arguments, value, strict=True))
    if origin in (list, tuple, Sequence):
        _check(isinstance(value, list), where, "not a list", value)
        items = [_read(arguments[0], item, f"{where}[{place}]", skips) for place, item in enumerate(value)]
        return tuple(items) if origin is tuple else items
    if origin in (dict, Mapping):
        _check(isinstance(value, dict), where, "not an object", value)
        return {name: _read(arguments[1], item, _key(where, name), skips) for name, item in value.items()}
    if dataclasses.is_dataclass(kind):
        return _read_dataclass(kind, value, where, skips)
    if issubclass(kind, tuple):
        hints = _hints(kind)
        _check(isinstance(value, list) and len(value) == len(hints), where, f"not {len(hints)} values", value)
        return kind(*(_read(part, item, where, skips) for part, item in zip(hints.values(), value, strict=True)))
    allowed = (int, float) if kind is float else kind
    _check(isinstance(value, allowed) and (kind is bool or not isinstance(value, bool)), where, f"not {_NAMES[kind]}", value)
    return value


_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", type(None): "null"}


def _read_union(kinds: Sequence[typing.Any], value: typing.Any, where: str, skips: bool) -> typing.Any:
    """The first of some types that a value fits; of null only None, of others the error of the last."""
    if value is None and type(None) in kinds:
        return None
    *others, last = (kind for kind in kinds if kind is not type(None))
    for kind in others:
        try:
            return _read(kind, value, where, skips)
        except RecordError:
            continue
    return _read(last, value, where, skips)


def _read_dataclass(kind: typing.Any, value: typing.Any, where: str, skips: bool) -> typing.Any:
    _check(isinstance(value, dict), where, "not an object", value)
    hints = _hints(kind)
    rest = next((field.name for field in dataclasses.fields(kind) if field.metadata.keys() & REST.keys()), None)
    fields = {field.name: field for field in dataclasses.fields(kind) if field.name != rest}
    unknown = {name: item for name, item in value.items() if name not in fields}
    if unknown and rest is None and not skips:
        raise RecordError(f"{_key(where, next(iter(unknown)))} is not a known key")
    for name, field in fields.items():
        if name not in value and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise RecordError(f"{_key(where, name)} is missing")
    known = {name: _read(hints[name], value[name], _key(where, name), skips) for name in fields if name in value}
    return kind(**known, **({} if rest is None else {rest: unknown}))


@cache
def _hints(kind: typing.Any) -> dict[str, typing.Any]:
    return typing.get_type_hints(kind)


def _key(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _check(holds: bool, where: str, fault: str, value: object) -> None:
    if not holds:
        text = json.dumps(value, default=str)
        raise RecordError(f"{where or 'the file'} is {fault}: {text if len(text) <= 60 else text[:59] + '…'}")
