"""The command ``study``."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from syntaxdiff.pipeline.command_line import SettingsCommand, command
from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.pipeline.options import check_options, option

if TYPE_CHECKING:
    from syntaxdiff.eval.study.declaration import Study

STOPPED = 3  # exit code where --minutes ended the study


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """Which study, and for how long; the fields are explained by their options."""

    size: str = option("Name of the study.", "smoke", is_argument=True)
    file: Path | None = option("Another declaration.", None, default_text="the one that comes with syntaxdiff")
    out: Path | None = option("Folder of the study.", None, default_text="studies/SIZE")
    minutes: float | None = option("Stop after so many minutes; the same command resumes.", None, above=0)
    jobs: int | None = option("Processes at a time.", None, minimum=1, default_text="as declared")
    plan: bool = option("Print the commands and what they cost, run nothing.", False)
    as_json: bool = option("Print study.json instead of tables.", False, flag="json")

    def __post_init__(self) -> None:
        check_options(self)


@command("study", StudyConfig)
def study(config: StudyConfig) -> None:
    """Compare ways to mask: shards, one start, every arm with every seed, measures, tables and a page.

    \b
    SIZE  smoke    15 minutes on 2 cores; proves that everything runs and claims nothing
          cpu      about an hour on 2 cores: a model of 5 million weights, three seeds
          one-gpu  half an hour on one H100: SmolLM2-135M
          paper    LLaDA-8B on 8 GPUs, the paper's settings

    A study that was cut off, or that --minutes stopped, resumes when the same command is run again; the exit code is then 3.
    """
    from rich.console import Console

    from syntaxdiff.eval.options import stopped_by_sigterm
    from syntaxdiff.eval.progress_bars import JobsBar
    from syntaxdiff.eval.study import study as library
    from syntaxdiff.eval.study.declaration import STUDIES, read_studies
    from syntaxdiff.eval.study.estimate import planned
    from syntaxdiff.eval.study.tables import print_study
    from syntaxdiff.pipeline.json_records import to_json

    studies = read_studies(config.file or STUDIES)
    if config.size not in studies:
        raise SettingsError(f"there is no study {config.size}: choose from {', '.join(studies)}")
    declared, out = studies[config.size], config.out or Path("studies") / config.size
    if config.plan:
        click.echo(planned(declared, out))
        return
    _check_evaluations(declared, out)
    with JobsBar() as bar, stopped_by_sigterm():
        result = library.study(
            declared,
            out,
            minutes=config.minutes,
            jobs=config.jobs,
            on_jobs=bar.update,
            on_note=lambda text: click.echo(f"note: {text}", err=True),
        )
    if result is None:
        click.echo(f"stopped after {config.minutes:g} minutes: the same command goes on", err=True)
        sys.exit(STOPPED)
    if config.as_json:
        click.echo(json.dumps(to_json(result), indent=1))
    else:
        print_study(result, Console())
        click.echo(f"{out / library.PAGE}  {out / library.RESULT}  {out / library.TABLES}")


def _check_evaluations(declared: "Study", out: Path) -> None:
    """Refuses evaluations of a study that would be refused after its training. Raises SettingsError."""
    from syntaxdiff.eval.study.study import Folders, comparison

    context = click.get_current_context()
    assert context.parent is not None
    group = context.parent.command
    assert isinstance(group, click.Group)
    for job in comparison(declared, Folders(out=out), None):
        if job.command[1:3] != ("-m", "syntaxdiff.eval.cli"):
            continue
        name, *arguments = job.command[3:]
        command = group.get_command(context, name)
        assert isinstance(command, SettingsCommand)
        try:
            command.arguments(command.make_context(name, arguments).params)
        except click.UsageError as error:
            raise SettingsError(f"study {declared.name}, {name}: {error.format_message()}") from error
