"""The command ``masks``."""

import json
from dataclasses import asdict

import click

from syntaxdiff.eval.masks.config import MasksConfig
from syntaxdiff.pipeline.command_line import command


@command("masks", MasksConfig)
def masks(config: MasksConfig) -> None:
    """Show which tokens of a sample are masked, under one or several strategies, and which subtrees were drawn.

    The masks are those of a training run with the same seed, epoch and mask rate.
    """
    from rich.console import Console

    from syntaxdiff.eval.masks.draw import draw_masks, read_subject
    from syntaxdiff.eval.masks.page import write_page
    from syntaxdiff.eval.masks.svg import write_drawing
    from syntaxdiff.eval.masks.terminal import print_masks
    from syntaxdiff.eval.outputs import check_file
    from syntaxdiff.train.corruption.noise import Noise

    if "ast-token" in config.strategies:
        click.echo("note: ast-token masks code by its table of roles; --mask-rate holds for reasoning and scaffold", err=True)
    for path, flag in ((config.html, "--html"), (config.svg, "--svg")):
        if path is not None:
            check_file(path, flag)
    noise = Noise(rate_B=Noise.fixed(config.mask_rate, 1).rate_B, ceiling=config.ceiling)
    subject, corruptions = read_subject(config.folder, config.split, config.index), config.corruptions()
    draws = [draw_masks(subject, corruption, noise, seed=config.seed, epoch=config.epoch) for corruption in corruptions]
    if config.html is not None:
        write_page(config.html, subject, corruptions, noise, seed=config.seed, epoch=config.epoch)
    if config.svg is not None:
        write_drawing(config.svg, subject, draws)
    if config.as_json:
        click.echo(json.dumps([asdict(drawn.positions) for drawn in draws], indent=1))
    else:
        print_masks(subject, draws, Console(), whole=config.whole)
