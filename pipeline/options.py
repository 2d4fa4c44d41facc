"""Options declared once: a field of a settings dataclass carries its help text, choices and range.

The command lines of prep and eval (command_line.py) and of the trainer are made from these fields, as is the check of their
values. No command line is parsed here.
"""

import dataclasses
import numbers
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from syntaxdiff.pipeline.errors import SettingsError

INFINITY = float("inf")

OptionValue: TypeAlias = bool | int | float | str | None
StoredOptions: TypeAlias = Mapping[str, OptionValue]  # by name, as some version of the program stored them


@dataclass(frozen=True, kw_only=True)
class Option:
    """What a command line says of a field, and which values the field takes.

    Attributes:
        help: one sentence
        section: heading of ``--help`` under which it stands
        flag: its name on the command line without dashes; empty: the field's. Of a tuple: the name of one value
        choices: all values that there are, or None
        minimum, maximum: the smallest and the largest value
        above, below: limits that are not values themselves
        default_text: the default in words, where the value does not speak for itself
        is_argument: given by its place, without a flag
        metavar: what stands for the value in help
        parse: text of the command line to a value, where the field's type does not say how
    """

    help: str
    section: str = ""
    flag: str = ""
    choices: tuple[str, ...] | None = None
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    below: float | None = None
    default_text: str = ""
    is_argument: bool = False
    metavar: str | None = None
    parse: Callable[[str], Any] | None = None

    @property
    def has_range(self) -> bool:
        """Whether there are limits."""
        return any(limit is not None for limit in (self.minimum, self.maximum, self.above, self.below))

    def holds(self, value: float) -> bool:
        """Whether a number lies within the limits; NaN and infinity never do."""
        return (
            -INFINITY < value < INFINITY
            and (self.minimum is None or value >= self.minimum)
            and (self.maximum is None or value <= self.maximum)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def range_text(self, kind: type) -> str:
        """The limits in words: ``a whole number from 1``."""
        words = ["a whole number" if kind is int else "a number"]
        words += [] if self.above is None else [f"above {self.above:g}"]
        words += [] if self.minimum is None else [f"from {_plain(self.minimum)}"]
        if self.maximum is not None:
            words.append(f"{'and at most' if self.above is not None else 'to'} {_plain(self.maximum)}")
        words += [] if self.below is None else [f"to below {self.below:g}"]
        return " ".join(words)


def option(
    help: str,  # noqa: A002
    default: Any = dataclasses.MISSING,
    *,
    default_factory: Any = dataclasses.MISSING,
    choices: Sequence[str] | None = None,
    **settings: Any,
) -> Any:
    """A field of a settings dataclass with its option.

    Args:
        help: one sentence
        default, default_factory: as of ``dataclasses.field``; neither: the field must be given
        choices, settings: attributes of Option
    """
    declared = Option(help=help, choices=None if choices is None else tuple(choices), **settings)
    return dataclasses.field(default=default, default_factory=default_factory, metadata={"option": declared})


def options_of(settings: Any) -> Iterator[tuple["dataclasses.Field[Any]", Option]]:
    """The fields of a settings dataclass or of one of its instances that are options, in order."""
    for field in dataclasses.fields(settings):
        if "option" in field.metadata:
            yield field, field.metadata["option"]


def flag_of(field: "dataclasses.Field[Any]") -> str:
    """How the command line names a field: ``--gen-length``."""
    declared: Option = field.metadata["option"]
    if declared.is_argument:
        return declared.metavar or field.name.upper()
    return "--" + (declared.flag or field.name.replace("_", "-"))


def kind_of(annotation: Any) -> Any:
    """The type of a field's value: without None, and of a tuple the type of its members."""
    if isinstance(annotation, types.UnionType):
        annotation = next(kind for kind in typing.get_args(annotation) if kind is not type(None))
    return typing.get_args(annotation)[0] if typing.get_origin(annotation) is tuple else annotation


def check_options(settings: Any) -> None:
    """Checks every option of a settings dataclass against its choices and its range; None passes.

    Raises:
        SettingsError: a value is not one of the choices, or not within the range; the message names the option
    """
    for field, declared in options_of(settings):
        value, kind = getattr(settings, field.name), kind_of(field.type)
        for item in value if isinstance(value, tuple) else (value,):
            if item is None:
                continue
            if declared.choices is not None and item not in declared.choices:
                raise SettingsError(f"{flag_of(field)} {item}: choose from {', '.join(declared.choices)}")
            is_number = isinstance(item, numbers.Integral if kind is int else numbers.Real) and not isinstance(item, bool)
            if declared.has_range and not (is_number and declared.holds(item)):
                raise SettingsError(f"{flag_of(field)} {item}: {declared.range_text(kind)}")


def _plain(limit: float) -> str:
    return str(limit) if isinstance(limit, int) else f"{limit:g}"
