"""The command ``build``."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from syntaxdiff.pipeline.command_line import command
from syntaxdiff.pipeline.config import BuildConfig
from syntaxdiff.pipeline.parameters import Fields
from syntaxdiff.pipeline.rows.fields import Fields as RowFields
from syntaxdiff.pipeline.splits import SPLITS

if TYPE_CHECKING:
    from syntaxdiff.pipeline.assembly.part import PartCounts
    from syntaxdiff.pipeline.assembly.pool import OnProgress, Progress
    from syntaxdiff.pipeline.progress_bar import ProgressBar
    from syntaxdiff.pipeline.shard import Manifest

ERROR_SHARE = 0.2  # of the samples, from which a hint is due


@command("build", Fields(settings=BuildConfig, parts={"fields": Fields(settings=RowFields)}))
def build(config: BuildConfig) -> None:
    """Build shards: parse each program once, align syntax with tokens, write Parquet.

    Rows of OpenCodeReasoning (1 and 2), chat `messages` and prompt/reasoning/code are detected from their fields; for others
    name the fields. A build that was cut off resumes when the same command is run again.
    """
    from tqdm import tqdm

    from syntaxdiff.pipeline import build as library
    from syntaxdiff.pipeline.progress_bar import ProgressBar
    from syntaxdiff.pipeline.shard import MANIFEST

    was_complete = (config.out / MANIFEST).exists()
    with ProgressBar() as bar:
        manifest = library.build_shards(config, _shown_on(bar), lambda note: tqdm.write(f"note: {note}", file=sys.stderr))
    if config.fields.given and config.fields.prompt is None:
        click.echo("note: no --prompt-field was given, so the samples have no prompt", err=True)
    if config.limit is not None and sum(map(manifest.num_samples, SPLITS)) < config.limit:
        click.echo(f"note: --limit {config.limit:,} was not reached, the sources have no more", err=True)
    if was_complete:
        click.echo(f"{config.out} is complete already, with these settings; nothing was done.", err=True)
    _print_build(config.out, manifest)


def _shown_on(bar: "ProgressBar") -> "OnProgress":
    """Shows a build on a bar: rows and tokens per second, rejects, time left. Earlier runs do not count into the rates."""
    first: PartCounts | None = None

    def show(progress: "Progress") -> None:
        nonlocal first
        counts = progress.counts
        first = first or counts
        rows, tokens = counts.rows - first.rows, counts.tokens - first.tokens
        rates = f"{rows / bar.seconds:,.0f} rows/s, {tokens / bar.seconds / 1e6:.2f} Mtok/s"
        note = f"{rates}, {counts.rejected.total():,} rejects"
        bar.show(progress.done, progress.total, "building", unit=progress.unit, note=note)

    return show


def _print_build(folder: Path, manifest: "Manifest") -> None:
    """A build's outcome in a few lines, with hints where many rows or programs were lost."""
    from syntaxdiff.pipeline.inspection.summary import note_lines
    from syntaxdiff.pipeline.shard import MANIFEST

    for split in SPLITS:
        samples, tokens = manifest.num_samples(split), manifest.num_tokens(split)
        files = len(manifest.splits[split])
        shards = f"{files:>4} shard{'' if files == 1 else 's'}"
        click.echo(f"{split:<10}  {samples:>9,} samples  {tokens:>13,} tokens  {shards}")
    rejects = sum(manifest.rejected.values())
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(manifest.rejected.items(), key=lambda item: -item[1]))
    click.echo(f"{'rejected':<10}  {rejects:>9,} of {manifest.rows_read:,} rows" + (f": {reasons}" if reasons else ""))
    for line in note_lines(manifest):
        click.echo(line)
    click.echo(f"{folder / MANIFEST}  engine {manifest.tokenizer.engine}  fingerprint {manifest.fingerprint[:12]}")
    samples = sum(map(manifest.num_samples, SPLITS))
    if manifest.samples_with_error > samples * ERROR_SHARE:
        click.echo(
            f"warning: {manifest.samples_with_error:,} of {samples:,} programs do not parse as what they are taken for: "
            "are --languages and --code-field (for programs alone) or --response-field (for fenced ones) right?",
            err=True,
        )
    if manifest.rejected.get("solution-not-in-answer", 0) > samples * ERROR_SHARE:
        click.echo("note: --ignore-solution finds programs by their fences where `solution` holds another text", err=True)
    if manifest.rejected.get("too-long", 0) > samples * ERROR_SHARE and manifest.settings.overlength == "drop":
        click.echo("note: --overlength trim-reasoning keeps rows that are too long, --max-length takes longer ones", err=True)
