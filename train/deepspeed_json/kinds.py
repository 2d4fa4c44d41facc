"""Kinds of values that a key of the DeepSpeed JSON may have, written down or read off DeepSpeed's pydantic models."""

import enum
import json
import math
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

# The user's DeepSpeed JSON, or a section of it: keys and values are those of the installed DeepSpeed. What the trainer itself
# needs of the completed one is read off it by engine_settings.py.
DeepSpeedJson: TypeAlias = dict[str, Any]
REQUIRED: Any = object()  # has no default: "auto" must be filled in by the run


@dataclass(frozen=True, kw_only=True)
class Kind:
    """The values of a key.

    Attributes:
        words: which they are, to end the sentence "it must be …"
        accepts: whether a value is one of them
        default: what "auto" becomes
        keys: of a section
    """

    words: str
    accepts: Callable[[Any], bool]
    default: Any = REQUIRED
    keys: Mapping[str, "Kind"] | None = None
    is_whole: bool = False


def is_number(value: Any) -> bool:
    """Whether a value of JSON is a finite number; true and false are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def flag(default: Any = REQUIRED) -> Kind:
    """True or false."""
    return Kind(words="true or false", accepts=lambda value: isinstance(value, bool), default=default)


def number(default: Any = REQUIRED, least: float = -math.inf, most: float = math.inf) -> Kind:
    """A finite number between two others."""
    return Kind(words="a number" + _bounds(least, most), accepts=lambda v: is_number(v) and least <= v <= most, default=default)


def whole(default: Any = REQUIRED, least: float = -math.inf, most: float = math.inf) -> Kind:
    """A whole number, which may be written as 5e8."""
    return Kind(
        words="a whole number" + _bounds(least, most),
        accepts=lambda v: is_number(v) and v == int(v) and least <= v <= most,
        default=default,
        is_whole=True,
    )


def text(default: Any = REQUIRED) -> Kind:
    """A string."""
    return Kind(words="a string", accepts=lambda value: isinstance(value, str), default=default)


def choice(*values: Any, default: Any = REQUIRED) -> Kind:
    """One of some values."""
    words = ", ".join(json.dumps(value) for value in values[:-1]) + f" or {json.dumps(values[-1])}"
    return Kind(words=words, accepts=lambda v: not isinstance(v, bool) and v in values, default=default)


def section(keys: Mapping[str, Kind]) -> Kind:
    """An object with these keys."""
    return Kind(words="an object", accepts=lambda value: isinstance(value, dict), default={}, keys=keys)


def optional(kind: Kind) -> Kind:
    """The same, or null."""
    return Kind(
        words=f"{kind.words}, or null",
        accepts=lambda value: value is None or kind.accepts(value),
        default=None if kind.default is REQUIRED else kind.default,
        keys=kind.keys,
        is_whole=kind.is_whole,
    )


def listed(of: type, words: str, default: Any = REQUIRED) -> Kind:
    """A list of things of a type."""
    return Kind(words=words, accepts=lambda v: isinstance(v, list) and all(isinstance(item, of) for item in v), default=default)


def of_model(model: Any) -> dict[str, Kind]:
    """The keys of one of DeepSpeed's pydantic models, by their names and aliases."""
    kinds: dict[str, Kind] = {}
    for name, info in model.model_fields.items():
        bounds: dict[str, float] = {}
        for limit in info.metadata:
            bounds |= {"least": limit.ge} if hasattr(limit, "ge") else {"least": limit.gt + 1} if hasattr(limit, "gt") else {}
            bounds |= {"most": limit.le} if hasattr(limit, "le") else {}
        default = None if info.is_required() else info.get_default(call_default_factory=True)
        kind = _of_annotation(info.annotation, default, bounds)
        kinds |= dict.fromkeys((name, info.alias or name), kind)
    return kinds


def _of_annotation(annotation: Any, default: Any, bounds: dict[str, float]) -> Kind:
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        inner = next(argument for argument in arguments if argument is not type(None))
        return optional(_of_annotation(inner, default, bounds))
    if typing.get_origin(annotation) is typing.Literal:
        return choice(*arguments, default=default)
    if not isinstance(annotation, type):
        return Kind(words="a list or an object", accepts=lambda value: isinstance(value, (list, dict)), default=default)
    if issubclass(annotation, enum.Enum):
        return choice(*dict.fromkeys(member.value for member in annotation), default=default)
    if hasattr(annotation, "model_fields"):
        return section(of_model(annotation))
    if annotation is bool:
        return flag(default)
    if annotation is int:
        return whole(default, **bounds)
    if annotation is float:
        return number(default, **bounds)
    return listed(object, "a list", default) if annotation is list else text(default)


def _bounds(least: float, most: float) -> str:
    if least == -math.inf:
        return "" if most == math.inf else f" of at most {most:g}"
    return f" of at least {least:g}" if most == math.inf else f" from {least:g} to {most:g}"
