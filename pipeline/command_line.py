"""What the command lines share: how an error reaches its user, and how help is laid out."""

import sys
from typing import Any, NoReturn

import click

from syntaxdiff.pipeline.errors import SyntaxdiffError

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
        except OSError as error:  # of a path that the system does not take
            self.refuse(error)
        except KeyboardInterrupt:
            click.echo("stopped: the same command goes on where this one was", err=True)
            sys.exit(130)
