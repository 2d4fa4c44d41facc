"""What the command lines share: commands made from settings dataclasses, loaded when called; how an error reaches its user.

A command takes its options from the fields of dataclasses (parameters.py) and is called with instances of them.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import Any, NoReturn

import click
from click.core import ParameterSource

from syntaxdiff.pipeline.errors import SyntaxdiffError
from syntaxdiff.pipeline.parameters import DescribedArgument, Fields, Part, Values

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
            click.echo("stopped: the same command resumes", err=True)
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


class SettingsCommand(click.Command):
    """A command whose function receives one value of each of its parts.

    Attributes:
        parts: what the options are made from
    """

    def __init__(self, name: str, parts: Sequence[Part], call: Callable[..., Any], **settings: Any) -> None:
        parameters = [parameter for part in parts for parameter in part.parameters()]
        super().__init__(name, params=parameters, callback=partial(self._call, call), **settings)
        self.parts = parts

    def arguments(self, values: Values) -> list[Any]:
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
