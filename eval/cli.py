"""The command ``syntaxdiff-eval``: parses, calls one library function, prints."""

import contextlib
import json
import os
import signal
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads of torch must not spin where others use the cores too

import click
from rich.console import Console
from rich.syntax import Syntax

from syntaxdiff.eval.benchmarks import evaluate as benchmark
from syntaxdiff.eval.benchmarks.compare import compare
from syntaxdiff.eval.benchmarks.config import EvaluationConfig
from syntaxdiff.eval.benchmarks.effect import effective, refuse_without_effect, unused
from syntaxdiff.eval.benchmarks.scoreboard import print_comparison, print_results
from syntaxdiff.eval.inference.checkpoint import open_checkpoint
from syntaxdiff.eval.inference.config import GenerationConfig
from syntaxdiff.eval.inference.generation import check_infills
from syntaxdiff.eval.masks.draw import draw_masks, read_subject
from syntaxdiff.eval.masks.page import write_page
from syntaxdiff.eval.masks.svg import write_drawing
from syntaxdiff.eval.masks.terminal import print_masks
from syntaxdiff.eval.options import (
    PATH,
    JobsBar,
    ProgressBars,
    SectionedCommand,
    benchmark_options,
    generation_config,
    generation_options,
    given_options,
    model_arguments,
    model_options,
    option,
    running_options,
)
from syntaxdiff.eval.outputs import check_file, check_folder
from syntaxdiff.eval.problems.names import DEFAULT_MBPP_SPLIT, INFILLING, MBPP_SPLITS
from syntaxdiff.eval.progress import Progress
from syntaxdiff.eval.prompting import programs
from syntaxdiff.eval.prompting.config import DEFAULT_HOLE_TOKENS, FILL
from syntaxdiff.eval.prompting.presets import check_preset
from syntaxdiff.eval.reconstruction import loss
from syntaxdiff.eval.reconstruction import reconstruct as reconstruction
from syntaxdiff.eval.reconstruction.tables import print_losses, print_reconstruction, print_syntax
from syntaxdiff.eval.report.report import write_report
from syntaxdiff.eval.study import study
from syntaxdiff.eval.study.declaration import STUDIES, Study, read_studies
from syntaxdiff.eval.study.estimate import planned
from syntaxdiff.eval.study.tables import print_study
from syntaxdiff.eval.syntax.check import read_programs, syntax, write_programs
from syntaxdiff.eval.syntax.config import Size
from syntaxdiff.pipeline.command_line import HELP_SETTINGS, OneLineErrors
from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.pipeline.inspection.display import visible
from syntaxdiff.pipeline.shard import SPLITS, read_manifest, write_text
from syntaxdiff.train.corruption.config import (
    SPAN_STRATEGIES,
    STRATEGIES,
    VALIDATION_OBJECTIVES,
    CorruptionConfig,
    OperatorShares,
)
from syntaxdiff.train.corruption.noise import Noise

DEFAULT_STRATEGIES = ("random", "ast-span")
SHARE = click.FloatRange(0, 1)


@click.group(cls=OneLineErrors, context_settings=HELP_SETTINGS)
@click.version_option(package_name="syntaxdiff")
def main() -> None:
    """Evaluate a model, have it write programs, and look at what it is trained on.

    \b
    syntaxdiff-eval mbpp --ckpt out/
    syntaxdiff-eval humaneval --ckpt out/ --limit 10
    syntaxdiff-eval reconstruct --ckpt out/ --data data/
    syntaxdiff-eval study smoke
    syntaxdiff-eval compare out/eval/mbpp-sanitized-test other/eval/mbpp-sanitized-test
    syntaxdiff-eval report out/ out/eval/humaneval --html report.html
    syntaxdiff-eval generate --ckpt out/ "Write a function that reverses a list."
    syntaxdiff-eval masks data/ --index 3 --strategy random --strategy ast-span --mask-rate 0.3
    """


# ----------------------------------------------------------------------------------------------------------------- benchmarks


@main.command("humaneval", cls=SectionedCommand, short_help="Pass@1 on HumanEval or HumanEval+.")
@model_options(required=False)
@benchmark_options()
@generation_options
@running_options
def humaneval_command(**options: Any) -> None:
    """Evaluate on HumanEval: 164 functions to complete, or HumanEval+ with --problems HumanEvalPlus.jsonl.gz.

    A run that was cut off goes on when the same command is run again.
    """
    _evaluate("humaneval", benchmark.humaneval, options)


@main.command("mbpp", cls=SectionedCommand, short_help="Pass@1 on MBPP or MBPP+.")
@model_options(required=False)
@option(
    "Problems",
    "--split",
    type=click.Choice(MBPP_SPLITS),
    default=DEFAULT_MBPP_SPLIT,
    show_default=True,
    help="257, 500, 427, 974 and 378 problems; plus needs --problems MbppPlus.jsonl.gz.",
)
@benchmark_options()
@generation_options
@running_options
def mbpp_command(*, split: str, **options: Any) -> None:
    """Evaluate on MBPP: functions from a statement and three tests.

    A run that was cut off goes on when the same command is run again.
    """
    _evaluate(f"mbpp-{split}", benchmark.mbpp, options, split=split)


@main.command("infilling", cls=SectionedCommand, short_help="Pass@1 on HumanEval's infilling problems.")
@model_options(required=False)
@benchmark_options(has_samples=False)
@option(
    "Prompt and answer",
    "--hole-tokens",
    type=int,
    help="Masks of the hole. [default: as many tokens as the reference has there]",
)
@generation_options
@running_options
def infilling_command(**options: Any) -> None:
    """Evaluate on filling in a line of a program: --problems HumanEval-SingleLineInfilling.jsonl.gz.

    A run that was cut off goes on when the same command is run again.
    """
    _evaluate("infilling", benchmark.infilling, options)


def _evaluate(name: str, function: Callable[..., dict[str, Any]], options: dict[str, Any], **arguments: Any) -> None:
    as_json, out = options.pop("as_json"), options.pop("out")
    workers = options.pop("workers")
    workers = (os.cpu_count() or 1) if workers is None else workers
    running = {key: options.pop(key) for key in ("unsafe", "restart")}
    config = _evaluation_config(options)
    if out is None:
        out = _default_out(config, name)
    given = given_options()
    with ProgressBars() as bars, _stopped_by_sigterm():
        results = function(config, out, workers=workers, given=given, on_progress=bars.update, **running, **arguments)
    if config.ckpt is not None:
        _tell_unused(given, config.generation, results["settings"]["checkpoint"]["kind"])
    if as_json:
        click.echo(json.dumps(results, indent=1))
    else:
        print_results(results, Console())
        click.echo(f"{out / 'results.json'}  {out / 'samples.jsonl'}")


def _evaluation_config(options: dict[str, Any]) -> EvaluationConfig:
    return EvaluationConfig(generation=generation_config(options), **options)


def _tell_unused(given: Collection[str], generation: GenerationConfig, kind: str, **options: Any) -> None:
    """Says which options had no effect beside the others."""
    for note in unused(given, asdict(generation), kind, **options):
        click.echo(f"note: {note}", err=True)


@contextlib.contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """SIGTERM, and a terminal that is closed, are as Ctrl-C inside the block: what is finished is kept."""

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _default_out(config: EvaluationConfig, name: str) -> Path:
    if config.problems is not None and "plus" in config.problems.name.lower() and "plus" not in name:
        name += "-plus"
    return Path("out") / "eval" / f"reference-{name}" if config.ckpt is None else _beside_the_weights(config.ckpt, name)


def _beside_the_weights(ckpt: str, name: str) -> Path:
    """A folder for results: in the checkpoint's, or in ``out/eval`` for names on the hub."""
    folder = Path(ckpt)
    return folder / "eval" / name if folder.is_dir() else Path("out") / "eval" / ckpt.replace("/", "--") / name


@main.command("compare", short_help="Results side by side, with significance and programs.")
@click.argument("folders", nargs=-1, type=click.Path(path_type=Path), metavar="DIR DIR...")
@click.option("--show", default=5, show_default=True, help="Problems on which they differ, with the programs.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare_command(folders: tuple[Path, ...], show: int, as_json: bool) -> None:
    """Compare evaluations by their folders of results; the first is the one that the others are compared with.

    HumanEval/54, /74 and /133, which the paper discusses, are shown wherever they are.
    """
    if show < 0:
        raise SettingsError(f"--show {show}: a whole number from 0")
    comparison = compare(folders)
    if as_json:
        click.echo(json.dumps(comparison.to_dict(), indent=1))
    else:
        print_comparison(comparison, Console(), show=show)


# ------------------------------------------------------------------------------------------------------------ writing programs


@main.command("generate", cls=SectionedCommand, short_help="A prompt, or a file of prompts, to programs.")
@click.argument("prompt", required=False)
@model_options(required=True)
@option(
    "Prompt and answer",
    "--prompts",
    "file",
    type=click.Path(path_type=Path),
    help="A prompt a line, or JSON lines with the field prompt (.jsonl).",
)
@option(
    "Prompt and answer",
    "--preset",
    default="auto",
    show_default=True,
    help="How a prompt is shown: see docs/evaluation.md; chat leaves reasoning in.",
)
@option("Prompt and answer", "--answer", "whole", is_flag=True, help="Print all that the model wrote, not the program alone.")
@option(
    "Prompt and answer",
    "--out",
    type=click.Path(path_type=Path),
    help="Write JSON lines with prompt, answer and program there.",
)
@option("Prompt and answer", "--trace", is_flag=True, help="With --out: also what each denoising step wrote, for a replay.")
@generation_options
def generate_command(
    *,
    prompt: str | None,
    file: Path | None,
    preset: str,
    whole: bool,
    out: Path | None,
    trace: bool,
    ckpt: str,
    **options: Any,
) -> None:
    """Write programs behind PROMPT, or behind each prompt of a file."""
    model, config = model_arguments(options), generation_config(options)
    if (prompt is None) == (file is None):
        raise SettingsError("give one prompt, or a file of them with --prompts")
    if trace and out is None:
        raise SettingsError("--trace goes into a file: name it with --out")
    if out is not None:
        check_file(out)
    check_preset(preset, "generate", "--preset")
    prompts = [prompt] if prompt is not None else programs.read_prompts(file) if file is not None else []
    opened = open_checkpoint(ckpt, **model)
    refuse_without_effect(given_options(), opened.kind, temperature=config.temperature)
    _tell_unused(given_options(), config, opened.kind)
    programs.check_prompts(opened, prompts, config, preset=preset)
    checkpoint = opened.load()
    with ProgressBars() as bars:
        done = 0

        def on_done(*_: Any) -> None:
            nonlocal done
            done += 1
            bars.update(Progress("generating", done, len(prompts)))

        written = programs.generate(checkpoint, prompts, config, preset=preset, with_trace=trace, on_done=on_done)
    if out is not None:
        programs.write_programs(out, written)
        click.echo(f"{out}  {len(written)} programs")
        return
    console = Console()
    for number, one in enumerate(written):
        if len(written) > 1:
            click.echo(f"# {number + 1}: {visible(' '.join(prompts[number].split()))}")
        _print_program(one.answer if whole else one.program, console)


@main.command("infill", cls=SectionedCommand, short_help="A program with holes, filled.")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@model_options(required=True)
@option("Prompt and answer", "--marker", default=FILL, show_default=True, help="Text that marks a hole.")
@option("Prompt and answer", "--hole-tokens", default=DEFAULT_HOLE_TOKENS, show_default=True, help="Tokens of each hole.")
@option(
    "Prompt and answer",
    "--preset",
    default="auto",
    show_default=True,
    help="program: inside the chat template and a fence; completion: bare.",
)
@option("Prompt and answer", "--out", type=click.Path(path_type=Path), help="Write the program there.")
@generation_options
def infill_command(
    *,
    file: Path,
    marker: str,
    hole_tokens: int,
    preset: str,
    out: Path | None,
    ckpt: str,
    **options: Any,
) -> None:
    """Fill the holes of a program in FILE, or on standard input for -."""
    model, config = model_arguments(options), generation_config(options)
    if out is not None:
        check_file(out)
    check_preset(preset, INFILLING, "--preset")
    text = programs.read_program(file)
    programs.holes(text, marker, hole_tokens)
    opened = open_checkpoint(ckpt, **model)
    check_infills(opened)
    refuse_without_effect(given_options(), opened.kind, is_infilling=True)
    _tell_unused(given_options(), config, opened.kind)
    programs.check_holes(opened, text, marker=marker, hole_tokens=hole_tokens, preset=preset)
    checkpoint = opened.load()
    filled = programs.infill(checkpoint, text, config, marker=marker, hole_tokens=hole_tokens, preset=preset)
    if out is not None:
        write_text(out, filled.program)
        click.echo(str(out))
    else:
        _print_program(filled.program, Console())


def _print_program(text: str, console: Console) -> None:
    """Coloured where someone looks, else as it is."""
    if console.is_terminal:
        console.print(Syntax(visible(text).rstrip("\n"), "python", background_color="default"))
    else:
        click.echo(text.removesuffix("\n"))


# ---------------------------------------------------------------------------------------------------------------------- masks


@main.command("reconstruct", cls=SectionedCommand, short_help="How well masked programs of the shards are restored.")
@model_options(required=True)
@option("Masks", "--data", type=PATH, default="data", show_default=True, help="Folder of shards.")
@option("Masks", "--split", type=click.Choice(SPLITS), default="validation", show_default=True)
@option("Masks", "--samples", "num_samples", default=100, show_default=True, help="Spread evenly over the split.")
@option(
    "Masks",
    "--strategy",
    "strategies",
    multiple=True,
    type=click.Choice(STRATEGIES),
    default=reconstruction.DEFAULT_STRATEGIES,
    show_default=True,
    help="Repeatable.",
)
@option(
    "Masks",
    "--mask-rate",
    "mask_rates",
    multiple=True,
    type=float,
    default=reconstruction.DEFAULT_MASK_RATES,
    show_default=True,
    help="Repeatable: target share of masked tokens, above 0, at most 1.",
)
@option("Masks", "--code-only", is_flag=True, help="Leave reasoning and scaffold unmasked.")
@option("Masks", "--max-span-share", default=1.0, show_default=True, help="Draw no spans longer than this share of the code.")
@option("Masks", "--seed", default=0, show_default=True, help="Of the masks.")
@option("Restoring", "--steps", "num_steps", default=16, show_default=True, help="Denoising steps over all masks.")
@option("Restoring", "--batch-size", default=8, show_default=True, help="Samples at a time.")
@option(
    "Results",
    "--shape-nodes",
    nargs=2,
    type=int,
    default=Size(),
    show_default=True,
    help="Fewest and most named nodes of the tree shapes that training may lack.",
)
@option("Results", "--out", type=PATH, help="Folder of the results. [default: CKPT/eval/reconstruction]")
@option("Results", "--shapes", type=PATH, help="Where training's tree shapes are kept, for several models. [default: --out]")
@option("Results", "--restart", is_flag=True, help="Begin anew what the folder holds.")
@option("Results", "--json", "as_json", is_flag=True, help="Print reconstruction.json, no table.")
def reconstruct_command(
    *,
    data: Path,
    out: Path | None,
    shapes: Path | None,
    restart: bool,
    as_json: bool,
    ckpt: str,
    **settings: Any,
) -> None:
    """Mask programs of the shards, have the model restore them, and count what came back: tokens, spans, trees, parses.

    The masks are the same for every model. A run that was cut off goes on when the same command is run again.
    """
    model = model_arguments(settings)
    config = reconstruction.ReconstructionConfig(**settings)
    if "ast-token" in config.strategies:
        click.echo("note: ast-token masks code by its table of roles; --mask-rate holds for reasoning and scaffold", err=True)
    out = out or _beside_the_weights(ckpt, "reconstruction")
    check_folder(out)
    if shapes is not None:
        check_folder(shapes)
    manifest = read_manifest(data)
    opened = open_checkpoint(ckpt, **model)
    reconstruction.check(opened, data, manifest, out, config, restart=restart)
    checkpoint = opened.load()
    with ProgressBars() as bars, _stopped_by_sigterm():
        result = reconstruction.reconstruct(
            checkpoint, data, out, config, restart=restart, shapes=shapes, on_progress=bars.update
        )
    if as_json:
        click.echo(json.dumps(result, indent=1))
    else:
        print_reconstruction(result, Console())
        click.echo(str(out / reconstruction.RESULT))


@main.command("loss", cls=SectionedCommand, short_help="The validation loss under several kinds of masks.")
@model_options(required=True)
@option("Masks", "--data", type=PATH, default="data", show_default=True, help="Folder of shards.")
@option("Masks", "--split", type=click.Choice(SPLITS), default="validation", show_default=True)
@option("Masks", "--samples", "num_samples", type=int, help="The first of the split. [default: all]")
@option("Masks", "--strategy", "strategies", multiple=True, type=click.Choice(STRATEGIES), help="Repeatable. [default: all]")
@option(
    "Masks",
    "--objective",
    type=click.Choice(VALIDATION_OBJECTIVES),
    help="Weights of the loss. [default: region-share for ast-span and random-matched, else inverse-rate]",
)
@option("Masks", "--max-span-share", default=1.0, show_default=True, help="Draw no spans longer than this share of the code.")
@option("Results", "--batch-size", default=8, show_default=True, help="Samples at a time.")
@option("Results", "--out", type=PATH, help="Folder that receives loss.json.")
@option("Results", "--json", "as_json", is_flag=True, help="Print JSON, no table.")
def loss_command(
    *,
    data: Path,
    strategies: tuple[str, ...],
    out: Path | None,
    as_json: bool,
    ckpt: str,
    **settings: Any,
) -> None:
    """Measure the trainer's validation loss of any model, under the masks of every strategy: nats a token.

    Samples, mask rates and masks are fixed, so models can be compared. random, uniform masks, is the yardstick.
    """
    model = model_arguments(settings)
    config = _loss_config({**settings, "strategies": strategies})
    if out is not None:
        check_folder(out)
    manifest = read_manifest(data)
    opened = open_checkpoint(ckpt, **model)
    loss.readable_rows(opened, data, manifest, config)
    checkpoint = opened.load()
    result = loss.loss(checkpoint, data, config, out)
    if as_json:
        click.echo(json.dumps(result, indent=1))
    else:
        print_losses(result, Console())


def _loss_config(settings: dict[str, Any]) -> loss.LossConfig:
    return loss.LossConfig(**{**settings, "strategies": settings["strategies"] or STRATEGIES})


@main.command("study", short_help="The paper's comparison, from data to a page.")
@click.argument("size", required=False, default="smoke")
@click.option("--file", type=PATH, help="Another declaration. [default: the one that comes with syntaxdiff]")
@click.option("--out", type=PATH, help="Folder of the study. [default: studies/SIZE]")
@click.option("--minutes", type=float, help="Stop after so many; the same command goes on.")
@click.option("--jobs", type=click.IntRange(1), help="Processes at a time. [default: as declared]")
@click.option("--plan", "is_plan", is_flag=True, help="Print the commands and what they cost, run nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print study.json, no tables.")
@click.pass_context
def study_command(
    context: click.Context,
    size: str,
    file: Path | None,
    out: Path | None,
    minutes: float | None,
    jobs: int | None,
    is_plan: bool,
    as_json: bool,
) -> None:
    """Compare ways to mask: shards, one start, every arm with every seed, measures, tables and a page.

    \b
    SIZE  smoke    15 minutes on 2 cores; proves that everything runs and claims nothing
          cpu      about an hour on 2 cores: a model of 5 million weights, three seeds
          one-gpu  half an hour on one H100: SmolLM2-135M
          paper    LLaDA-8B on 8 GPUs, the paper's settings

    A study that was cut off, or that --minutes stopped, goes on when the same command is run again; the exit code is then 3.
    """
    if minutes is not None and not minutes > 0:
        raise SettingsError(f"--minutes {minutes:g}: a number above 0")
    studies = read_studies(file or STUDIES)
    if size not in studies:
        raise SettingsError(f"there is no study {size}: choose from {', '.join(studies)}")
    declared, out = studies[size], out or Path("studies") / size
    if is_plan:
        click.echo(planned(declared, out))
        return

    _check_evaluations(declared, out)

    def say(text: str) -> None:
        click.echo(f"note: {text}", err=True)

    with JobsBar() as bar, _stopped_by_sigterm():
        told = study.study(declared, out, minutes=minutes, jobs=jobs, on_jobs=bar.update, say=say)
    if told is None:
        click.echo(f"stopped after {minutes:g} minutes: the same command goes on", err=True)
        context.exit(3)
    if as_json:
        click.echo(json.dumps(told, indent=1))
    else:
        print_study(told, Console())
        click.echo(f"{out / study.PAGE}  {out / study.RESULT}  {out / study.TABLES}")


def _check_evaluations(declared: Study, out: Path) -> None:
    """Refuses evaluations of a study that would be refused after its training. Raises SettingsError."""
    not_settings = {
        **{name: {"ckpt", "data", "out", "shapes", "restart", "as_json"} for name in ("loss", "reconstruct")},
        **{name: {"split", "out", "as_json", "workers", "unsafe", "restart"} for name in ("humaneval", "mbpp")},
    }
    for job in study.comparison(declared, study.Folders(out=out), None):
        if job.command[1:3] != ("-m", "syntaxdiff.eval.cli"):
            continue
        name, *arguments = job.command[3:]
        try:
            options = main.commands[name].make_context(name, arguments).params
        except click.UsageError as error:
            raise SettingsError(f"study {declared.name}, {name}: {error.format_message()}") from error
        options = {key: value for key, value in options.items() if key not in not_settings[name]}
        if name in ("humaneval", "mbpp"):
            check_preset(_evaluation_config(options).prompt, name)
        else:
            model_arguments(options)
            _loss_config(options) if name == "loss" else reconstruction.ReconstructionConfig(**options)


@main.command("syntax", cls=SectionedCommand, short_help="Whether written programs parse and compile.")
@model_options(required=False)
@option("Programs", "--programs", "file", type=PATH, help="JSON lines that hold programs, such as samples.jsonl.")
@option("Programs", "--field", default="program", show_default=True, help="Where a line has its program.")
@option("Programs", "--prompts", type=PATH, help="With --ckpt: a prompt a line, or JSON lines with prompt (.jsonl).")
@option("Programs", "--preset", default="auto", show_default=True, help="How a prompt is shown: see docs/evaluation.md.")
@option("Results", "--out", type=PATH, help="Also write the result there, as JSON.")
@option("Results", "--json", "as_json", is_flag=True, help="Print JSON, no tables.")
@generation_options
def syntax_command(
    *,
    file: Path | None,
    field: str,
    prompts: Path | None,
    preset: str,
    out: Path | None,
    as_json: bool,
    ckpt: str | None,
    **options: Any,
) -> None:
    """Parse and compile programs, of a file or written behind prompts; count errors by kind.

    Of programs that a diffusion model writes here: also whether the decided part holds together after each denoising step.
    """
    model, config = model_arguments(options), generation_config(options)
    given = given_options()
    if out is not None:
        check_file(out)
    check_preset(preset, "generate", "--preset")
    if file is not None and ckpt is None and prompts is None:
        useless = {*given} & ({field.name for field in fields(GenerationConfig)} | {"plain", "preset", *model}) - {"language"}
        if useless:
            names = ", ".join("--" + name.replace("_", "-") for name in sorted(useless))
            raise SettingsError(f"--programs are there already: {names} would have no effect, leave it out")
        result = syntax(read_programs(file, field=field, language=config.language), {"file": file.name, "field": field})
    elif file is None and ckpt is not None and prompts is not None:
        texts = programs.read_prompts(prompts)
        opened = open_checkpoint(ckpt, **model)
        refuse_without_effect(given, opened.kind, temperature=config.temperature, used=("language",))
        _tell_unused(given, config, opened.kind, used=("language",))
        preset = programs.check_prompts(opened, texts, config, preset=preset)
        checkpoint = opened.load()
        with ProgressBars() as bars:
            told = iter(range(1, len(texts) + 1))
            written = write_programs(
                checkpoint,
                texts,
                config,
                preset=preset,
                on_done=lambda *_: bars.update(Progress("generating", next(told), len(texts))),
            )
        generation = {**effective(asdict(config), opened.kind), "language": config.language}
        result = syntax(written, {"checkpoint": ckpt, "prompts": prompts.name, "preset": preset, "generation": generation})
    else:
        raise SettingsError("give --programs FILE, or --ckpt with --prompts FILE")
    if out is not None:
        write_text(out, json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    if as_json:
        click.echo(json.dumps(result, indent=1))
    else:
        print_syntax(result, Console())


@main.command("report", short_help="One page about training runs and results.")
@click.argument("folders", nargs=-1, type=PATH, metavar="DIR...")
@click.option("--html", type=PATH, default="report.html", show_default=True, help="The file to write.")
@click.option(
    "--replay",
    "replays",
    default=0,
    show_default=True,
    help="Programs that each training run's model writes, to be watched step by step.",
)
@click.option("--device", default="auto", show_default=True, help="Where they are written: cpu, cuda or cuda:N.")
def report_command(folders: tuple[Path, ...], html: Path, replays: int, device: str) -> None:
    """Write one HTML page about training runs, benchmarks, reconstructions and checks of syntax.

    Each DIR is the folder of one of these; what lies in the folders beneath its eval/ is shown too.
    """
    for note in write_report(folders, html, replays=replays, device=device):
        click.echo(f"note: {note}", err=True)
    click.echo(str(html))


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
    for path, option_name in ((html, "--html"), (svg, "--svg")):
        if path is not None:
            check_file(path, option_name)
    noise = Noise(rate_B=Noise.fixed(mask_rate, 1).rate_B, ceiling=ceiling)
    subject = read_subject(folder, split, index)
    draws = [draw_masks(subject, config, noise, seed=seed, epoch=epoch) for config in configs]
    if html is not None:
        write_page(html, subject, configs, noise, seed=seed, epoch=epoch)
    if svg is not None:
        write_drawing(svg, subject, draws)
    if as_json:
        click.echo(json.dumps([masks.to_dict() for masks in draws], indent=1))
    else:
        print_masks(subject, draws, Console(), whole=whole)


if __name__ == "__main__":
    main()
