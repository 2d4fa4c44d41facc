"""The command ``syntax``."""

import json
from collections.abc import Collection
from dataclasses import fields, replace
from typing import TYPE_CHECKING

import click

from syntaxdiff.eval.inference.config import GenerationConfig, ModelSource
from syntaxdiff.eval.options import GENERATION_OPTIONS
from syntaxdiff.eval.syntax.config import SyntaxConfig
from syntaxdiff.pipeline.command_line import command, given_options
from syntaxdiff.pipeline.errors import SettingsError

if TYPE_CHECKING:
    from syntaxdiff.eval.syntax.outcome import SyntaxResults


@command("syntax", ModelSource, SyntaxConfig, GENERATION_OPTIONS)
def syntax(model: ModelSource, config: SyntaxConfig, generation: GenerationConfig) -> None:
    """Parse and compile programs, of a file or written for prompts; count errors by kind.

    Of programs that a diffusion model writes here: also whether the decided part holds together after each denoising step.
    """
    from rich.console import Console

    from syntaxdiff.eval.outputs import check_file
    from syntaxdiff.eval.syntax import check
    from syntaxdiff.eval.syntax.tables import print_syntax
    from syntaxdiff.pipeline.json_records import json_text, to_json
    from syntaxdiff.pipeline.shard import write_text

    if config.out is not None:
        check_file(config.out)
    if config.programs is not None and model.ckpt is None and config.prompts is None:
        _refuse_options_of_generation(given_options())
        programs = check.read_programs(config.programs, field=config.field, language=generation.language)
        result = check.syntax(programs, {"file": config.programs.name, "field": config.field})
    elif config.programs is None and model.ckpt is not None and config.prompts is not None:
        result = _of_prompts(model, config, generation)
    else:
        raise SettingsError("give --programs FILE, or --ckpt with --prompts FILE")
    if config.out is not None:
        write_text(config.out, json_text(result))
    if config.as_json:
        click.echo(json.dumps(to_json(result), indent=1))
    else:
        print_syntax(result, Console())


def _refuse_options_of_generation(given: Collection[str]) -> None:
    """Refuses options of the model, which programs that are there already do not need. Raises SettingsError."""
    names = {field.name for settings in (GenerationConfig, ModelSource) for field in fields(settings)} | {"plain", "preset"}
    useless = {*given} & names - {"language"}
    if useless:
        shown = ", ".join("--" + name.replace("_", "-") for name in sorted(useless))
        raise SettingsError(f"--programs are there already: {shown} would have no effect, leave it out")


def _of_prompts(model: ModelSource, config: SyntaxConfig, generation: GenerationConfig) -> "SyntaxResults":
    """The result for programs that a model writes."""
    from syntaxdiff.eval.inference.answer import in_order
    from syntaxdiff.eval.inference.checkpoint import open_source
    from syntaxdiff.eval.inference.effect import effective, refuse_without_effect, unused
    from syntaxdiff.eval.progress import counted
    from syntaxdiff.eval.progress_bars import ProgressBars
    from syntaxdiff.eval.prompting.programs import check_prompts, read_prompts
    from syntaxdiff.eval.syntax import check
    from syntaxdiff.pipeline.json_records import to_json

    assert model.ckpt is not None
    assert config.prompts is not None
    texts = read_prompts(config.prompts)
    opened = open_source(model)
    refuse_without_effect(given_options(), opened.kind, temperature=generation.temperature, used=("language",))
    for note in unused(given_options(), generation, opened.kind, used=("language",)):
        click.echo(f"note: {note}", err=True)
    preset = check_prompts(opened, texts, generation, preset=config.preset)
    answers = check.write_programs(opened.load(), texts, generation, preset=preset)
    with ProgressBars() as bars:
        written = in_order(counted(answers, "generating", len(texts), bars.update))
    heeded = replace(effective(generation, opened.kind), language=generation.language)
    used = to_json(heeded) | {"batch_size": generation.batch_size}
    return check.syntax(
        written, {"checkpoint": model.ckpt, "prompts": config.prompts.name, "preset": preset, "generation": used}
    )
