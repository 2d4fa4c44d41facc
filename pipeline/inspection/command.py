"""The commands ``stats``, ``show`` and ``verify``."""

import json
import sys
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import click

from syntaxdiff.pipeline.command_line import command
from syntaxdiff.pipeline.options import check_options, option
from syntaxdiff.pipeline.splits import SPLITS


@dataclass(frozen=True, kw_only=True)
class Shards:
    """Which shards to look at."""

    folder: Path = option("Folder of the shards.", Path("data"), is_argument=True)


@dataclass(frozen=True, kw_only=True)
class StatsConfig(Shards):
    """What ``stats`` writes; the fields are explained by their options."""

    plot: Path | None = option("Also draw the tables into this PNG file.", None)
    as_json: bool = option("Print JSON.", False, flag="json")


@dataclass(frozen=True, kw_only=True)
class ShowConfig(Shards):
    """Which sample ``show`` prints; the fields are explained by their options."""

    index: int = option("Position of the sample in its split.", 0)
    split: str = option("Split of the shards.", "train", choices=SPLITS)
    as_json: bool = option("Print JSON.", False, flag="json")

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, kw_only=True)
class VerifyConfig(Shards):
    """How shards are verified."""

    workers: int | None = option("Processes.", None, minimum=1, maximum=1 << 10, default_text="one per core")

    def __post_init__(self) -> None:
        check_options(self)


@command("stats", StatsConfig)
def stats(config: StatsConfig) -> None:
    """Show lengths, regions, spans, roles, rejects, and how much of the code spans cover."""
    from rich.console import Console

    from syntaxdiff.pipeline.inspection.summary import print_summary, summarize
    from syntaxdiff.pipeline.progress_bar import ProgressBar
    from syntaxdiff.pipeline.shard import read_manifest

    total, done = sum(map(len, read_manifest(config.folder).splits.values())), count(1)
    with ProgressBar(stays=False) as bar:
        summary = summarize(config.folder, lambda shard: bar.show(next(done), total, "reading", unit="shards"))
    if config.plot is not None:
        from syntaxdiff.pipeline.inspection.picture import plot_summary  # matplotlib takes a second to import

        plot_summary(summary, config.plot)
    if config.as_json:
        click.echo(json.dumps(summary.to_dict(), indent=1))
    else:
        print_summary(summary, Console())


@command("show", ShowConfig)
def show(config: ShowConfig) -> None:
    """Show one sample: its text with the regions in colour, and its tree of candidate spans."""
    from rich.console import Console

    from syntaxdiff.pipeline.inspection.display import print_sample, sample_view

    view = sample_view(config.folder, config.split, config.index)
    if config.as_json:
        click.echo(json.dumps(view.to_dict(), indent=1))
    else:
        print_sample(view, Console())


@command("verify", VerifyConfig)
def verify(config: VerifyConfig) -> None:
    """Check shards: files, manifest, and every column of every sample.

    Each sample is decoded, made again with the tokenizer and the grammars, and compared. Prints what was not checked, because
    nothing in the folder shows it. At the first fault, prints shard, row, column, expected and found, and exits with 1.
    """
    from syntaxdiff.pipeline.config import usable_cores
    from syntaxdiff.pipeline.inspection.verification import Verified, examine
    from syntaxdiff.pipeline.progress_bar import ProgressBar

    def show(verified: Verified) -> None:
        rate = f"{verified.tokens / bar.seconds / 1e6:.2f} Mtok/s"
        bar.show(verified.samples, verified.total, "verifying", unit="samples", note=rate)

    with ProgressBar(stays=False) as bar:
        report = examine(config.folder, show, workers=config.workers or usable_cores())
    if report.fault is not None:
        click.echo(f"fault: {report.fault}", err=True)
        sys.exit(1)
    click.echo(
        f"{config.folder}: {report.samples:,} samples, {report.tokens:,} tokens: every column follows from ids and tokenizer"
    )
    for phrase in report.not_checked:
        click.echo(f"not checked: {phrase}")
