"""The commands ``reconstruct`` and ``loss``."""

import json
from dataclasses import dataclass
from pathlib import Path

import click

from syntaxdiff.eval.inference.config import RequiredModelSource
from syntaxdiff.eval.options import results_folder, stopped_by_sigterm
from syntaxdiff.eval.reconstruction.config import MASKS, RESULTS, LossConfig, ReconstructionConfig
from syntaxdiff.pipeline.command_line import command
from syntaxdiff.pipeline.options import option


@dataclass(frozen=True, kw_only=True)
class Shards:
    """Where the samples are."""

    data: Path = option("Folder of shards.", Path("data"), section=MASKS)


@dataclass(frozen=True, kw_only=True)
class ReconstructionOutput:
    """Where results of ``reconstruct`` go; the fields are explained by their options."""

    out: Path | None = option("Folder of the results.", None, default_text="CKPT/eval/reconstruction", section=RESULTS)
    shapes: Path | None = option(
        "Where training's tree shapes are kept, for several models.", None, default_text="--out", section=RESULTS
    )
    restart: bool = option("Start from scratch, whatever the folder holds.", False, section=RESULTS)
    as_json: bool = option("Print reconstruction.json instead of a table.", False, flag="json", section=RESULTS)


@dataclass(frozen=True, kw_only=True)
class LossOutput:
    """Where results of ``loss`` go; the fields are explained by their options."""

    out: Path | None = option("Folder that receives loss.json.", None, section=RESULTS)
    as_json: bool = option("Print JSON instead of a table.", False, flag="json", section=RESULTS)


@command("reconstruct", RequiredModelSource, Shards, ReconstructionConfig, ReconstructionOutput)
def reconstruct(model: RequiredModelSource, shards: Shards, config: ReconstructionConfig, output: ReconstructionOutput) -> None:
    """Mask programs of the shards, have the model restore them, and count what came back: tokens, spans, trees, parses.

    The masks are the same for every model. A run that was cut off resumes when the same command is run again.
    """
    from rich.console import Console

    from syntaxdiff.eval.inference.checkpoint import open_source
    from syntaxdiff.eval.outputs import check_folder
    from syntaxdiff.eval.progress_bars import ProgressBars
    from syntaxdiff.eval.reconstruction import reconstruct as library
    from syntaxdiff.eval.reconstruction.tables import print_reconstruction
    from syntaxdiff.pipeline.json_records import to_json
    from syntaxdiff.pipeline.shard import read_manifest

    if "ast-token" in config.strategies:
        click.echo("note: ast-token masks code by its table of roles; --mask-rate holds for reasoning and scaffold", err=True)
    out = output.out or results_folder(model.ckpt, "reconstruction")
    check_folder(out)
    if output.shapes is not None:
        check_folder(output.shapes)
    manifest = read_manifest(shards.data)
    opened = open_source(model)
    library.check(opened, shards.data, manifest, out, config, restart=output.restart)
    checkpoint = opened.load()
    with ProgressBars() as bars, stopped_by_sigterm():
        result = library.reconstruct(
            checkpoint, shards.data, out, config, restart=output.restart, shapes=output.shapes, on_progress=bars.update
        )
    if output.as_json:
        click.echo(json.dumps(to_json(result), indent=1))
    else:
        print_reconstruction(result, Console())
        click.echo(str(out / library.RESULT))


@command("loss", RequiredModelSource, Shards, LossConfig, LossOutput)
def loss(model: RequiredModelSource, shards: Shards, config: LossConfig, output: LossOutput) -> None:
    """Measure the trainer's validation loss of any model, under the masks of every strategy: nats per token.

    Samples, mask rates and masks are fixed, so models can be compared. random, uniform masks, is the yardstick.
    """
    from rich.console import Console

    from syntaxdiff.eval.inference.checkpoint import open_source
    from syntaxdiff.eval.outputs import check_folder
    from syntaxdiff.eval.reconstruction import loss as library
    from syntaxdiff.eval.reconstruction.tables import print_losses
    from syntaxdiff.pipeline.json_records import to_json
    from syntaxdiff.pipeline.shard import read_manifest

    if output.out is not None:
        check_folder(output.out)
    manifest = read_manifest(shards.data)
    opened = open_source(model)
    library.readable_rows(opened, shards.data, manifest, config)
    result = library.loss(opened.load(), shards.data, config, output.out)
    if output.as_json:
        click.echo(json.dumps(to_json(result), indent=1))
    else:
        print_losses(result, Console())
