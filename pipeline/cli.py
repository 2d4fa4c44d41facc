"""The command ``syntaxdiff-prep``: parses, calls one library function, prints.

What the commands do is elsewhere: build.py, summary.py, display.py, verification.py, picture.py.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from tqdm import tqdm

from syntaxdiff.pipeline.assembly.pool import Progress
from syntaxdiff.pipeline.build import build
from syntaxdiff.pipeline.command_line import HELP_SETTINGS, OneLineErrors
from syntaxdiff.pipeline.config import OVERLENGTH, BuildConfig, usable_cores
from syntaxdiff.pipeline.inspection.display import print_sample, sample_view
from syntaxdiff.pipeline.inspection.summary import note_lines, print_summary, summarize
from syntaxdiff.pipeline.inspection.verification import Verified, examine
from syntaxdiff.pipeline.rows.fields import Fields
from syntaxdiff.pipeline.shard import MANIFEST, SPLITS, Manifest, read_manifest
from syntaxdiff.pipeline.syntax.languages import LANGUAGES, language_of_fence
from syntaxdiff.pipeline.tokens.names import DEFAULT_TOKENIZER, ENGINES

FOLDER = click.argument("folder", type=click.Path(path_type=Path), default="data")
ERROR_SHARE = 0.2  # of the samples, from which a word is due
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(cls=OneLineErrors, context_settings=HELP_SETTINGS)
@click.version_option(package_name="syntaxdiff")
def main() -> None:
    """Turn rows of problems, reasoning and programs into shards for syntax-aware masked diffusion.

    \b
    syntaxdiff-prep build --src stdlib --tokenizer train:4096 --out data/
    syntaxdiff-prep stats data/
    syntaxdiff-prep show data/ --index 3
    syntaxdiff-prep verify data/
    """


@main.command("build", short_help="Build shards from rows.")
@click.option("--src", multiple=True, required=True, help="Hub name, file, folder, glob, or `stdlib`. Repeatable.")
@click.option("--out", type=click.Path(path_type=Path), default="data", show_default=True, help="Folder of the shards.")
@click.option(
    "--subset", help="Subset (configuration) of a data set on the hub. [default: split_0 for nvidia/OpenCodeReasoning]"
)
@click.option("--split", help="Split on the hub, or several: `python,cpp`. [default: train, else all]")
@click.option("--revision", help="Branch, tag or commit on the hub.")
@click.option("--prompt-field", help="Field with the problem's statement.")
@click.option("--response-field", help="Field with the whole answer: reasoning and one fenced program.")
@click.option("--reasoning-field", help="Field with the reasoning alone.")
@click.option("--code-field", help="Field with the program alone.")
@click.option(
    "--questions", help="Where OpenCodeReasoning's statements that are `-` are fetched: `hub`, or a folder with taco/, apps/, …"
)
@click.option("--allow-missing-prompt", is_flag=True, help="Keep rows whose statement cannot be had, without prompt.")
@click.option(
    "--ignore-solution",
    is_flag=True,
    help="Find the program of a response by its fence, also where the row has it as `solution`.",
)
@click.option(
    "--group-field",
    "group_fields",
    multiple=True,
    help="Field with the id of a problem: its samples are on one side of the split. Repeatable; `none`: statements alone. "
    "[default: problem_id, question_id, task_id, slug, … where values repeat]",
)
@click.option("--group-by-folder", is_flag=True, help="Samples whose files share a folder are on one side of the split.")
@click.option("--tokenizer", default=DEFAULT_TOKENIZER, show_default=True, help="Hub name, local folder, or train:SIZE.")
@click.option(
    "--mask-token",
    help="Text of the mask token, added where it is new. [default: the tokenizer's own or a known one, else <|mask|>]",
)
@click.option(
    "--engine",
    type=click.Choice(ENGINES),
    default="auto",
    show_default=True,
    help="BPE engine: a matter of speed, the ids are the same.",
)
@click.option(
    "--languages",
    default=",".join(LANGUAGES),
    show_default=True,
    help="Languages to keep. Rows that do not say theirs are taken for the first.",
)
@click.option("--max-length", default=4096, show_default=True, help="Most tokens of a sample.")
@click.option(
    "--overlength",
    type=click.Choice(OVERLENGTH),
    default="drop",
    show_default=True,
    help="Longer rows: drop them, or cut the middle of their reasoning.",
)
@click.option("--limit", type=int, help="Number of samples to come out, both splits together.")
@click.option(
    "--validation-size",
    type=int,
    help="Problems held out: one sample of each validates, their others are left out. [default: 1000, or 1 in 20]",
)
@click.option("--shard-rows", default=4096, show_default=True, help="Samples of a shard.")
@click.option("--seed", default=0, show_default=True, help="Chooses the validation problems.")
@click.option("--workers", type=int, help="Processes. [default: one a core]")
def build_command(
    *,
    languages: str,
    prompt_field: str | None,
    response_field: str | None,
    reasoning_field: str | None,
    code_field: str | None,
    workers: int | None,
    **options: Any,
) -> None:
    """Build shards: parse each program once, align syntax with tokens, write Parquet.

    Rows of OpenCodeReasoning (1 and 2), chat `messages` and prompt/reasoning/code are known by their fields; for others
    name the fields. A build that was cut off goes on when the same command is run again.
    """
    fields = Fields(prompt=prompt_field, response=response_field, reasoning=reasoning_field, code=code_field)
    names = [name.strip() for name in languages.split(",") if name.strip()]
    chosen = tuple(language_of_fence(name) or name for name in names)
    if workers is not None:
        options["workers"] = workers
    config = BuildConfig(fields=fields, languages=chosen, **options)
    was_complete = (config.out / MANIFEST).exists()
    with ProgressBar() as bar:
        manifest = build(config, bar.update, lambda note: tqdm.write(f"note: {note}", file=sys.stderr))
    if fields.given and fields.prompt is None:
        click.echo("note: no --prompt-field was given, so the samples have no prompt", err=True)
    if config.limit is not None and sum(map(manifest.num_samples, SPLITS)) < config.limit:
        click.echo(f"note: --limit {config.limit:,} was not reached, the sources have no more", err=True)
    if was_complete:
        click.echo(f"{config.out} is complete already, with these settings; nothing was done.", err=True)
    print_build(config.out, manifest)


class ProgressBar:
    """A bar for a build on standard error: rows and tokens a second, rejects, time left."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._first = (0, 0)

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, progress: Progress) -> None:
        """Shows a state; what an earlier run did does not count into the rates."""
        counts = progress.counts
        if self._bar is None:
            scale = progress.unit == "bytes"
            self._bar = tqdm(
                total=progress.total,
                initial=progress.done,
                unit="B" if scale else f" {progress.unit}",
                unit_scale=scale,
                dynamic_ncols=True,
                mininterval=0.5,
                desc="building",
                disable=None,  # where nobody looks: a log
            )
            self._first = (counts.rows, counts.tokens)
        bar = self._bar
        seconds = bar.format_dict["elapsed"] or 1e-9
        rejects = counts.rejected.total()
        bar.set_postfix_str(
            f"{(counts.rows - self._first[0]) / seconds:,.0f} rows/s, "
            f"{(counts.tokens - self._first[1]) / seconds / 1e6:.2f} Mtok/s, {rejects:,} rejects",
            refresh=False,
        )
        bar.update(progress.done - bar.n)


class VerifyBar:
    """A bar for a verification on standard error: samples, and tokens a second."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None

    def __enter__(self) -> "VerifyBar":
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, verified: Verified) -> None:
        """Shows a state."""
        if self._bar is None:
            self._bar = tqdm(
                total=verified.total, unit=" samples", desc="verifying", leave=False, disable=None, dynamic_ncols=True
            )
        seconds = self._bar.format_dict["elapsed"] or 1e-9
        self._bar.set_postfix_str(f"{verified.tokens / seconds / 1e6:.2f} Mtok/s", refresh=False)
        self._bar.update(verified.samples - self._bar.n)


@contextmanager
def shard_bar(folder: Path, verb: str) -> Iterator[Callable[[str], None]]:
    """A bar over the shards of a folder; the function to call when one is through."""
    manifest = read_manifest(folder)
    with tqdm(total=sum(map(len, manifest.splits.values())), desc=verb, unit=" shards", leave=False, disable=None) as bar:
        yield lambda shard: bar.update()


def print_build(folder: Path, manifest: Manifest) -> None:
    """A build's outcome in a few lines."""
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
    click.echo(f"{folder / MANIFEST}  engine {manifest.tokenizer['engine']}  fingerprint {manifest.fingerprint[:12]}")
    samples = sum(map(manifest.num_samples, SPLITS))
    if manifest.samples_with_error > samples * ERROR_SHARE:
        click.echo(
            f"warning: {manifest.samples_with_error:,} of {samples:,} programs do not parse as what they are taken for: "
            "are --languages and --code-field (for programs alone) or --response-field (for fenced ones) right?",
            err=True,
        )
    if manifest.rejected.get("solution-not-in-answer", 0) > samples * ERROR_SHARE:
        click.echo("note: --ignore-solution finds programs by their fences where `solution` holds another text", err=True)
    if manifest.rejected.get("too-long", 0) > samples * ERROR_SHARE and manifest.settings["overlength"] == "drop":
        click.echo("note: --overlength trim-reasoning keeps rows that are too long, --max-length takes longer ones", err=True)


@main.command("stats", short_help="Tables and a picture of what shards hold.")
@FOLDER
@click.option("--plot", type=click.Path(path_type=Path), help="Also draw the tables into this PNG file.")
@AS_JSON
def stats_command(folder: Path, plot: Path | None, as_json: bool) -> None:
    """Show lengths, regions, spans, roles, rejects, and how much of the code spans cover."""
    with shard_bar(folder, "reading") as tick:
        summary = summarize(folder, tick)
    if plot is not None:
        from syntaxdiff.pipeline.inspection.picture import plot_summary  # matplotlib takes a second to import

        plot_summary(summary, plot)
    if as_json:
        click.echo(json.dumps(summary.to_dict(), indent=1))
    else:
        print_summary(summary, Console())


@main.command("show", short_help="One sample with its regions and spans.")
@FOLDER
@click.option("--index", default=0, show_default=True, help="Position of the sample in its split.")
@click.option("--split", type=click.Choice(SPLITS), default="train", show_default=True)
@AS_JSON
def show_command(folder: Path, index: int, split: str, as_json: bool) -> None:
    """Show one sample: its text with the regions in colour, and its tree of candidate spans."""
    view = sample_view(folder, split, index)
    if as_json:
        click.echo(json.dumps(view.to_dict(), indent=1))
    else:
        print_sample(view, Console())


@main.command("verify", short_help="Check every column of every sample.")
@FOLDER
@click.option("--workers", type=click.IntRange(1, 1 << 10), help="Processes. [default: one a core]")
def verify_command(folder: Path, workers: int | None) -> None:
    """Check shards: files, manifest, and every column of every sample.

    Each sample is decoded, made again with the tokenizer and the grammars, and compared. Prints what was not checked, because
    nothing in the folder shows it. At the first fault, prints shard, row, column, expected and found, and exits with 1.
    """
    with VerifyBar() as bar:
        report = examine(folder, bar.update, workers=workers or usable_cores())
    if report.fault is not None:
        click.echo(f"fault: {report.fault}", err=True)
        sys.exit(1)
    click.echo(f"{folder}: {report.samples:,} samples, {report.tokens:,} tokens: every column follows from ids and tokenizer")
    for phrase in report.not_checked:
        click.echo(f"not checked: {phrase}")


if __name__ == "__main__":
    main()
