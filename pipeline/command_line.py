"""What the command lines share: commands made from settings dataclasses, loaded when called; how an error reaches its user.

A command takes its options from the fields of dataclasses (options.py) and is called with instances of them.
"""

import dataclasses
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn, Protocol

import click
from click.core import ParameterSource

from syntaxdiff.pipeline.errors import SyntaxdiffError
from syntaxdiff.pipeline.options import Option, check_options, kind_of, options_of

HELP_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


class OneLineErrors(click.Group):
    """Prints what a user can mend as one line and exits with 2; anything else is our mistake and shows itself."""

    @staticmethod
    def refuse(error: Exception) -> NoReturn:
        """Prints an error as one line, whatever stands in it."""
        click.echo(f"error: {' '.join(str(error).split())}", err=True)
        sys.exit(2)

    def invoke(self, context: click.Context) -> Any:
        """Runs the command."""
        try:
            return super().invoke(context)
        except SyntaxdiffError as error:
            self.refuse(error)
        except click.UsageError as error:
            at = "" if error.ctx is None else f" See {error.ctx.command_path} --help."
            self.refuse(click.UsageError(error.format_message() + at))
        except OSError as error:  # of a path that the system does not take
            self.refuse(error)
        except KeyboardInterrupt:
            click.echo("stopped: the same command goes on where this one was", err=True)
            sys.exit(130)


class LazyGroup(OneLineErrors):
    """Commands that are imported when they are called; ``--help`` of the group imports none.

    Attributes:
        table: name of a command to ``module:attribute`` and the sentence that the group's help shows
    """

    def __init__(self, *arguments: Any, table: Mapping[str, tuple[str, str]], **settings: Any) -> None:
        super().__init__(*arguments, context_settings=HELP_SETTINGS, **settings)
        self.table = table

    def list_commands(self, context: click.Context) -> list[str]:
        """The names of the commands."""
        return sorted(self.table)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """A command by its name, imported; None where there is none."""
        if name not in self.table:
            return None
        module, _, attribute = self.table[name][0].partition(":")
        found: click.Command = getattr(import_module(module), attribute)
        return found

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the names with their sentences."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.table[name][1]) for name in self.list_commands(context)])


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

    def taken(self, values: dict[str, Any]) -> Any:
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

    def values(self, values: dict[str, Any]) -> dict[str, Any]:
        """Takes the fields' values out of a command's; a field that the command line leaves to the class is left out."""
        chosen = {name: part.taken(values) for name, part in self.parts.items()}
        for entry, _ in options_of(self.settings):
            if entry.name in self.without:
                continue
            value = values.pop(entry.name)
            if value is not None or entry.default_factory is dataclasses.MISSING:
                chosen[entry.name] = value
        return chosen

    def taken(self, values: dict[str, Any]) -> Any:
        """See Part."""
        settings = self.settings(**self.values(values))
        check_options(settings)
        return settings


def _parameter(entry: "dataclasses.Field[Any]", declared: Option, default: Any, *, is_undecided: bool) -> click.Parameter:
    """The option or argument of a field."""
    kind, is_missing = kind_of(entry.type), default is dataclasses.MISSING
    is_many = isinstance(entry.type, type(tuple[int, ...])) and declared.parse is None
    is_pair = is_many and Ellipsis not in entry.type.__args__  # type: ignore[union-attr]
    is_required = is_missing and entry.default_factory is dataclasses.MISSING
    settings: dict[str, Any] = {"type": _click_type(kind, declared)}
    if not is_required:
        settings["default"] = None if is_undecided or is_missing else default
    if is_required:
        settings["required"] = True
    if is_pair:
        settings["nargs"] = 2
    if declared.is_argument:
        settings["nargs"] = -1 if is_many else 1
        if not is_required and not is_many:
            settings["required"] = False
        if is_many:
            settings.pop("default", None)
            settings["required"] = False
        text = f"{declared.help} [default: {default}]" if settings.get("default") is not None else declared.help
        return DescribedArgument([entry.name], metavar=declared.metavar, text=text, **settings)
    flag = "--" + (declared.flag or entry.name.replace("_", "-"))
    if is_many and not is_pair:
        settings["multiple"] = True
    shown = declared.default_text or (str(default) if is_undecided else "")
    text = f"{declared.help} [default: {shown}]" if shown else declared.help
    settings |= {"help": text, "metavar": declared.metavar, "section": declared.section}
    if kind is bool:
        del settings["type"]
        names = f"{flag}/--no-{flag.removeprefix('--')}" if default is True else flag
        return SectionedOption([names, entry.name], is_flag=True, show_default=default is True, **settings)
    has_default = not shown and settings.get("default") not in (None, ())
    return SectionedOption([flag, entry.name], show_default=has_default, **settings)


def _click_type(kind: Any, declared: Option) -> Any:
    if declared.parse is not None:
        return _Parsed(declared.parse)
    if declared.choices is not None:
        return _Named(declared.choices)
    return click.Path(path_type=Path, allow_dash=True) if kind is Path else kind


class _Named(click.Choice[str]):
    """Names as help shows them. An unknown one is refused where the settings are checked, as it is for callers in Python."""

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Any:
        """The name as it was given."""
        return value


class _Parsed(click.ParamType):
    """A value that a function makes of its text."""

    name = "text"

    def __init__(self, parse: Callable[[str], Any]) -> None:
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Any:
        """The value; a default stands as it is."""
        return self._parse(value) if isinstance(value, str) else value


class SettingsCommand(click.Command):
    """A command whose function receives one value of each of its parts.

    Attributes:
        parts: what the options are made from
    """

    def __init__(self, name: str, parts: Sequence[Part], call: Callable[..., Any], **settings: Any) -> None:
        parameters = [parameter for part in parts for parameter in part.parameters()]
        super().__init__(name, params=parameters, callback=partial(self._call, call), **settings)
        self.parts = parts

    def arguments(self, values: Mapping[str, Any]) -> list[Any]:
        """What the function receives for values of the command line. Raises SettingsError for what cannot be."""
        left = dict(values)
        return [part.taken(left) for part in self.parts]

    def _call(self, call: Callable[..., Any], **values: Any) -> Any:
        return call(*self.arguments(values))

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the options under their headings, in the order of their first ones; those without a heading last."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(context):
            if isinstance(parameter, DescribedArgument):
                sections.setdefault("Arguments", []).append((parameter.human_readable_name, parameter.text))
            elif record := parameter.get_help_record(context):
                sections.setdefault(getattr(parameter, "section", ""), []).append(record)
        rest = sections.pop("", [])
        for section, records in [*sections.items(), ("Other" if sections.keys() - {"Arguments"} else "Options", rest)]:
            if records:
                with formatter.section(section):
                    formatter.write_dl(records)


def command(name: str, *parts: Part | type[Any]) -> Callable[[Callable[..., Any]], SettingsCommand]:
    """Makes a command of a function.

    Args:
        name: on the command line
        parts: of each the function receives one value, in this order; a settings dataclass stands for its fields
    """

    def decorate(call: Callable[..., Any]) -> SettingsCommand:
        made = [Fields(settings=part) if isinstance(part, type) else part for part in parts]
        return SettingsCommand(name, made, call, help=call.__doc__)

    return decorate


def given_options() -> frozenset[str]:
    """Names of the parameters that the command line being run gives itself, whatever their values."""
    context = click.get_current_context()
    return frozenset(name for name in context.params if context.get_parameter_source(name) == ParameterSource.COMMANDLINE)
