"""The command ``syntaxdiff-eval``: parses, calls one library function, prints."""

import json
from pathlib import Path

import click
from rich.console import Console

from syntaxdiff.eval.drawing import write_drawing
from syntaxdiff.eval.masks import draw_masks, read_subject
from syntaxdiff.eval.page import write_page
from syntaxdiff.eval.terminal import print_masks
from syntaxdiff.pipeline.command import HELP_SETTINGS, OneLineErrors
from syntaxdiff.pipeline.shard import SPLITS
from syntaxdiff.train.corruption import CorruptionConfig
from syntaxdiff.train.noise import Noise
from syntaxdiff.train.operators import OperatorShares
from syntaxdiff.train.strategies import SPAN_STRATEGIES, STRATEGIES

DEFAULT_STRATEGIES = ("random", "ast-span")
SHARE = click.FloatRange(0, 1)


@click.group(cls=OneLineErrors, context_settings=HELP_SETTINGS)
@click.version_option(package_name="syntaxdiff")
def main() -> None:
    """Look at what a model is trained on.

    \b
    syntaxdiff-eval masks data/ --index 3 --strategy random --strategy ast-span --mask-rate 0.3
    syntaxdiff-eval masks data/ --index 3 --html masks.html
    """


@main.command("masks", short_help="What the corruption does to one sample.")
@click.argument("folder", type=click.Path(path_type=Path), default="data")
@click.option("--index", default=0, show_default=True, help="Position of the sample in its split.")
@click.option("--split", type=click.Choice(SPLITS), default="train", show_default=True)
@click.option(
    "--strategy",
    "strategies",
    multiple=True,
    type=click.Choice(STRATEGIES),
    help=f"Repeatable: strategies stand side by side. [default: {', '.join(DEFAULT_STRATEGIES)}]",
)
@click.option("--mask-rate", default=0.3, show_default=True, help="Target share of corrupted tokens, 0 to 1.")
@click.option("--seed", default=0, show_default=True, help="Seed of the training run.")
@click.option("--epoch", default=0, show_default=True, help="Each epoch draws anew.")
@click.option("--ceiling", type=SHARE, default=1.0, show_default=True, help="The curriculum's ceiling: scales ast-token.")
@click.option("--max-span-share", default=1.0, show_default=True, help="Leave out spans longer than this share of the code.")
@click.option("--drop", type=SHARE, default=0.0, help="Share of subtrees whose tokens become padding.")
@click.option("--shuffle", type=SHARE, default=0.0, help="Share in which sibling subtrees of equal length change places.")
@click.option("--relabel", type=SHARE, default=0.0, help="Share replaced by others of the same kind, arity and length.")
@click.option("--placeholder", type=SHARE, default=0.0, help="Share whose names and literals become fillers.")
@click.option("--whole", is_flag=True, help="Print reasoning and scaffold too, not the code alone.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: masked positions by region, one object a strategy.")
@click.option("--html", type=click.Path(path_type=Path), help="Also write a page that steps through mask rates.")
@click.option("--svg", type=click.Path(path_type=Path), help="Also write the programs side by side as a drawing.")
def masks_command(
    folder: Path,
    index: int,
    split: str,
    strategies: tuple[str, ...],
    mask_rate: float,
    seed: int,
    epoch: int,
    ceiling: float,
    max_span_share: float,
    drop: float,
    shuffle: float,
    relabel: float,
    placeholder: float,
    whole: bool,
    as_json: bool,
    html: Path | None,
    svg: Path | None,
) -> None:
    """Show which tokens of a sample are masked, under one or several strategies, and which subtrees were drawn.

    The masks are those of a training run with the same seed, epoch and mask rate.
    """
    strategies = strategies or DEFAULT_STRATEGIES
    shares = OperatorShares(drop=drop, shuffle=shuffle, relabel=relabel, placeholder=placeholder)
    configs = [
        CorruptionConfig(
            strategy=strategy,
            max_span_share=max_span_share,
            # Beside a strategy of subtrees, one of tokens is there to compare with.
            operators=shares if strategy in SPAN_STRATEGIES or not set(strategies) & set(SPAN_STRATEGIES) else OperatorShares(),
        )
        for strategy in strategies
    ]
    if "ast-token" in strategies:
        click.echo("note: ast-token masks code by its table of roles; --mask-rate holds for reasoning and scaffold", err=True)
    subject = read_subject(folder, split, index)
    noise = Noise(rate_B=Noise.fixed(mask_rate, 1).rate_B, ceiling=ceiling)
    draws = [draw_masks(subject, config, noise, seed=seed, epoch=epoch) for config in configs]
    if html is not None:
        write_page(html, subject, configs, noise, seed=seed, epoch=epoch)
    if svg is not None:
        write_drawing(svg, subject, draws)
    if as_json:
        click.echo(json.dumps([masks.to_dict() for masks in draws], indent=1))
    else:
        print_masks(subject, draws, Console(), whole=whole)
