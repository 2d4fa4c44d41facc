"""The commands ``generate`` and ``infill``."""

from typing import TYPE_CHECKING

import click

from syntaxdiff.eval.inference.config import GenerationConfig, RequiredModelSource
from syntaxdiff.eval.options import GENERATION_OPTIONS
from syntaxdiff.eval.prompting.config import InfillingConfig, WritingConfig
from syntaxdiff.pipeline.command_line import command, given_options

if TYPE_CHECKING:
    from rich.console import Console

    from syntaxdiff.eval.inference.checkpoint import Unloaded
    from syntaxdiff.eval.prompting.programs import Written


@command("generate", RequiredModelSource, WritingConfig, GENERATION_OPTIONS)
def generate(model: RequiredModelSource, writing: WritingConfig, config: GenerationConfig) -> None:
    """Write a program for PROMPT, or for each prompt of a file."""
    from syntaxdiff.eval.inference.checkpoint import open_source
    from syntaxdiff.eval.inference.effect import refuse_without_effect, unused
    from syntaxdiff.eval.outputs import check_file
    from syntaxdiff.eval.prompting import programs

    if writing.out is not None:
        check_file(writing.out)
    prompts = programs.read_prompts(writing.prompts) if writing.prompts is not None else [writing.prompt or ""]
    opened = open_source(model)
    refuse_without_effect(given_options(), opened.kind, temperature=config.temperature)
    for note in unused(given_options(), config, opened.kind):
        click.echo(f"note: {note}", err=True)
    programs.check_prompts(opened, prompts, config, preset=writing.preset)
    written = _written(opened, prompts, writing, config)
    if writing.out is not None:
        programs.write_programs(writing.out, written)
        click.echo(f"{writing.out}  {len(written)} programs")
    else:
        _print_programs(prompts, written, whole=writing.answer)


def _written(opened: "Unloaded", prompts: list[str], writing: WritingConfig, config: GenerationConfig) -> "list[Written]":
    """The programs, with a bar while they are generated."""
    from rich.console import Console

    from syntaxdiff.eval.inference.answer import in_order
    from syntaxdiff.eval.progress import counted
    from syntaxdiff.eval.progress_bars import ProgressBars
    from syntaxdiff.eval.prompting import programs
    from syntaxdiff.eval.prompting.live import LiveAnswer

    model = opened.load()
    if writing.live:
        with LiveAnswer(model, Console()) as live:
            return in_order(
                programs.generate(model, prompts, config, preset=writing.preset, with_trace=writing.trace, on_step=live.show)
            )
    answers = programs.generate(model, prompts, config, preset=writing.preset, with_trace=writing.trace)
    with ProgressBars() as bars:
        return in_order(counted(answers, "generating", len(prompts), bars.update))


def _print_programs(prompts: list[str], written: "list[Written]", *, whole: bool) -> None:
    from rich.console import Console

    from syntaxdiff.pipeline.inspection.display import visible

    console = Console()
    for number, (prompt, result) in enumerate(zip(prompts, written, strict=True), 1):
        if len(written) > 1:
            click.echo(f"# {number}: {visible(' '.join(prompt.split()))}")
        _print_program(result.answer if whole else result.program, console)


@command("infill", RequiredModelSource, InfillingConfig, GENERATION_OPTIONS)
def infill(model: RequiredModelSource, request: InfillingConfig, config: GenerationConfig) -> None:
    """Fill the holes of a program in FILE, or on standard input for -."""
    from rich.console import Console

    from syntaxdiff.eval.inference.checkpoint import open_source
    from syntaxdiff.eval.inference.effect import refuse_without_effect, unused
    from syntaxdiff.eval.outputs import check_file
    from syntaxdiff.eval.prompting import programs
    from syntaxdiff.pipeline.shard import write_text

    if request.out is not None:
        check_file(request.out)
    text = programs.read_program(request.file)
    programs.holes(text, request.marker, request.hole_tokens)
    opened = open_source(model)
    opened.check_infilling()
    refuse_without_effect(given_options(), opened.kind, is_infilling=True)
    for note in unused(given_options(), config, opened.kind):
        click.echo(f"note: {note}", err=True)
    marker, hole_tokens, preset = request.marker, request.hole_tokens, request.preset
    programs.check_holes(opened, text, marker=marker, hole_tokens=hole_tokens, preset=preset)
    answers = programs.infill(opened.load(), [text], config, marker=marker, hole_tokens=hole_tokens, preset=preset)
    ((_, filled),) = answers
    if request.out is not None:
        write_text(request.out, filled.program)
        click.echo(str(request.out))
    else:
        _print_program(filled.program, Console())


def _print_program(text: str, console: "Console") -> None:
    """Coloured on a terminal, else as it is."""
    if console.is_terminal:
        from rich.syntax import Syntax

        from syntaxdiff.pipeline.inspection.display import visible

        console.print(Syntax(visible(text).rstrip("\n"), "python", background_color="default"))
    else:
        click.echo(text.removesuffix("\n"))
