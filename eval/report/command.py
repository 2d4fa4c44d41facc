"""The command ``report``."""

from dataclasses import dataclass
from pathlib import Path

import click

from syntaxdiff.pipeline.command_line import command
from syntaxdiff.pipeline.options import check_options, option


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """What the page shows, and where it goes; the fields are explained by their options."""

    folders: tuple[Path, ...] = option("Folders of training runs and of results.", is_argument=True, metavar="DIR...")
    html: Path = option("The file to write.", Path("report.html"))
    replay: int = option("Programs that each training run's model writes, to be watched step by step.", 0, minimum=0)
    device: str = option("Where they are written: cpu, cuda or cuda:N.", "auto")

    def __post_init__(self) -> None:
        check_options(self)


@command("report", ReportConfig)
def report(config: ReportConfig) -> None:
    """Write one HTML page about training runs, benchmarks, reconstructions and checks of syntax.

    Each DIR is the folder of one of these; what lies in the folders beneath its eval/ is shown too.
    """
    from syntaxdiff.eval.report.report import write_report

    for note in write_report(config.folders, config.html, replays=config.replay, device=config.device):
        click.echo(f"note: {note}", err=True)
    click.echo(str(config.html))
