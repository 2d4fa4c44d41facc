"""Options of a command line made from the fields of settings dataclasses (options.py), and instances made from their values."""

import dataclasses
import typing
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import click

from syntaxdiff.pipeline.options import Option, check_options, flag_of, kind_of, options_of

# What click makes of a command line, by the names of its parameters: each option decides the type of its value.
Values: TypeAlias = dict[str, Any]

if TYPE_CHECKING:
    _Choice = click.Choice[str]
else:
    _Choice = click.Choice  # generic from click 8.2 on


class SectionedOption(click.Option):
    """An option that stands under a heading of ``--help``."""

    def __init__(self, *names: Any, section: str, **settings: Any) -> None:
        super().__init__(*names, **settings)
        self.section = section


class DescribedArgument(click.Argument):
    """An argument with a line of its own in ``--help``."""

    def __init__(self, *names: Any, text: str, **settings: Any) -> None:
        super().__init__(*names, **settings)
        self.text = text


class Part(Protocol):
    """What a command's function receives one value of, made from several options."""

    def parameters(self) -> list[click.Parameter]:
        """The options, in the order of help."""
        ...

    def taken(self, values: Values) -> Any:
        """The value; its options are removed from ``values``. Raises SettingsError."""
        ...


@dataclass(frozen=True, kw_only=True)
class Fields:
    """A settings dataclass as a part of a command.

    Attributes:
        settings: the class, each of whose options is a field
        parts: by the name of a field whose value is a part of its own
        defaults: an instance whose values are the command line's defaults; None: the class's own
        undecided: options that are None where the command line does not give them, for a subclass to decide
        without: options that the command does not have; they keep the class's defaults
    """

    settings: type[Any]
    parts: Mapping[str, Part] = field(default_factory=dict)
    defaults: Any = None
    undecided: Collection[str] = ()
    without: Collection[str] = ()

    def parameters(self) -> list[click.Parameter]:
        """See Part."""
        made: list[click.Parameter] = []
        for entry in dataclasses.fields(self.settings):
            if entry.name in self.parts:
                made += self.parts[entry.name].parameters()
            elif "option" in entry.metadata and entry.name not in self.without:
                default = entry.default if self.defaults is None else getattr(self.defaults, entry.name)
                made.append(_parameter(entry, entry.metadata["option"], default, is_undecided=entry.name in self.undecided))
        return made

    def values(self, values: Values) -> Values:
        """Takes the fields' values out of a command's; a field that the command line leaves to the class is left out."""
        chosen = {name: part.taken(values) for name, part in self.parts.items()}
        for entry, declared in options_of(self.settings):
            if entry.name in self.without:
                continue
            value = values.pop(entry.name)
            if value is not None or (entry.default_factory is dataclasses.MISSING and declared.parse is None):
                chosen[entry.name] = value
        return chosen

    def taken(self, values: Values) -> Any:
        """See Part."""
        settings = self.settings(**self.values(values))
        check_options(settings)
        return settings


def _parameter(entry: "dataclasses.Field[Any]", declared: Option, default: Any, *, is_undecided: bool) -> click.Parameter:
    """The option or argument of a field."""
    kind, is_missing = kind_of(entry.type), default is dataclasses.MISSING
    is_tuple = typing.get_origin(entry.type) is tuple and declared.parse is None
    is_many = is_tuple and Ellipsis in typing.get_args(entry.type)
    is_required = is_missing and entry.default_factory is dataclasses.MISSING
    settings: Values = {"metavar": declared.metavar, "type": _click_type(kind, declared)}
    if declared.is_argument:
        settings |= {"nargs": -1 if is_many else 1, "required": is_required and not is_many}
        if is_missing:
            return DescribedArgument([entry.name], text=declared.help, **settings)
        text = declared.help if default is None else f"{declared.help} [default: {default}]"
        return DescribedArgument([entry.name], text=text, default=default, **settings)
    if is_required:
        settings["required"] = True
    elif not (is_missing or is_undecided or declared.parse is not None):
        settings["default"] = default
    settings |= {"multiple": is_many} if is_many else {"nargs": len(typing.get_args(entry.type))} if is_tuple else {}
    shown = declared.default_text or (str(default) if is_undecided else "")
    settings["help"] = f"{declared.help} [default: {shown}]" if shown else declared.help
    flag = flag_of(entry)
    if kind is bool:
        del settings["type"]
        flag = f"{flag}/--no-{flag.removeprefix('--')}" if default is True else flag
        return SectionedOption(
            [flag, entry.name], is_flag=True, section=declared.section, show_default=default is True, **settings
        )
    has_default = not shown and settings.get("default") not in (None, ())
    return SectionedOption([flag, entry.name], section=declared.section, show_default=has_default, **settings)


def _click_type(kind: Any, declared: Option) -> Any:
    if declared.parse is not None:
        return click.types.FuncParamType(declared.parse)
    if declared.choices is not None:
        return _Named(declared.choices)
    return click.Path(path_type=Path, allow_dash=True) if kind is Path else kind


class _Named(_Choice):
    """Names as help shows them. An unknown one is refused where the settings are checked, as it is for callers in Python."""

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Any:
        """The name as it was given."""
        return value
