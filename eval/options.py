"""What several commands of ``syntaxdiff-eval`` share: options in sections, and progress on standard error."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource
from tqdm import tqdm

from syntaxdiff.eval.inference.checkpoint import DTYPES
from syntaxdiff.eval.inference.config import CACHES, FAST, KINDS, MOST, GenerationConfig
from syntaxdiff.eval.progress import Progress
from syntaxdiff.eval.prompting.presets import AUTO, PRESETS
from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.pipeline.syntax.languages import LANGUAGES
from syntaxdiff.train.model.step_rule import CONFIDENCES, SCHEDULES

PATH = click.Path(path_type=Path)
Command = TypeVar("Command", bound=Callable[..., Any])
_DEFAULTS = GenerationConfig()
_GENERATION = {field.name for field in fields(GenerationConfig)}


class SectionedOption(click.Option):
    """An option that stands under a heading of ``--help``."""

    def __init__(self, *names: Any, section: str, **settings: Any) -> None:
        super().__init__(*names, **settings)
        self.section = section


class SectionedCommand(click.Command):
    """A command whose ``--help`` shows its options by section."""

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the sections in the order of their first options, other options last."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(context):
            record = parameter.get_help_record(context)
            if record is not None:
                sections.setdefault(getattr(parameter, "section", "Other"), []).append(record)
        for section, records in sections.items():
            with formatter.section(section):
                formatter.write_dl(records)


def option(section: str, *names: str, **settings: Any) -> Callable[[Command], Command]:
    """``click.option`` in a section."""
    return click.option(*names, cls=SectionedOption, section=section, **settings)


def _together(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """Several options as one decorator, in the order in which they are given."""

    def decorate(command: Command) -> Command:
        for one in reversed(options):
            command = one(command)
        return command

    return decorate


def model_options(*, required: bool) -> Callable[[Command], Command]:
    """Where the model comes from; ``model_arguments`` takes all but its name out of a command's arguments."""
    section = "Model"
    return _together(
        option(
            section, "--ckpt", required=required, help="Folder of a training run's export or of LLaDA's files, or hub name."
        ),
        option(
            section, "--device", default="auto", show_default=True, help="cpu, cuda or cuda:N; auto: a GPU if there is one."
        ),
        option(
            section, "--dtype", type=click.Choice(("auto", *DTYPES)), default="auto", help="auto: as the weights are stored."
        ),
        option(section, "--kind", type=click.Choice(("auto", *KINDS)), default="auto", help="auto: by what the folder holds."),
        option(section, "--mask-token", help="Of a model whose tokenizer does not name it."),
    )


def model_arguments(options: dict[str, Any]) -> dict[str, Any]:
    """Takes out of a command's arguments what ``load_checkpoint`` is to know beside the name."""
    return {name: options.pop(name) for name in ("device", "dtype", "kind", "mask_token")}


def prompt_option(help_text: str) -> Callable[[Command], Command]:
    """The preset."""
    choice = click.Choice((AUTO, *PRESETS))
    return option("Prompt and answer", "--prompt", type=choice, default=AUTO, show_default=True, help=help_text)


def generation_options(command: Command) -> Command:
    """All of GenerationConfig; ``generation_config`` takes them out of a command's arguments."""
    section = "Generation"

    def one(name: str, help_text: str, **settings: Any) -> Callable[[Any], Any]:
        default = getattr(_DEFAULTS, name)
        told = {"is_flag": True} if default is False else {"default": default, "show_default": default is not None}
        settings = told | settings
        return option(section, "--" + name.replace("_", "-"), help=help_text, **settings)

    return _together(
        one("gen_length", "Most tokens of an answer; the paper has 512 and 1024."),
        one("block_length", "Tokens that are filled before the next block begins."),
        option(
            section,
            "--plain",
            is_flag=True,
            help="LLaDA's plain rule, as in the paper: one token a step, nothing kept; many times slower.",
        ),
        one(
            "schedule",
            f"What a step fills: a fixed number, all above a threshold, or by a factor. [default: {FAST.schedule}]",
            type=click.Choice(SCHEDULES),
            default=None,
        ),
        one("num_steps", "Of the fixed schedule, over the whole answer. [default: one a token]", type=int),
        one("threshold", "Of the schedule threshold: least confidence."),
        one("factor", "Of the schedule factor."),
        one("confidence", "What says which positions to fill first.", type=click.Choice(CONFIDENCES)),
        one(
            "cache",
            f"Keys and values kept between steps; faster, and an approximation. [default: {FAST.cache}]",
            type=click.Choice(CACHES),
            default=None,
        ),
        one("cache_refresh", "Steps after which a cache is computed anew. [default: at each block]", type=int),
        one("temperature", "Of sampling; 0 takes the most probable token."),
        one("guidance", "Strength of classifier-free guidance; twice the work."),
        option(
            section,
            "--early-stop/--no-early-stop",
            default=_DEFAULTS.early_stop,
            show_default=True,
            help="Write nothing behind a finished block that holds the answer's end.",
        ),
        one("forbid_eos", "Never write a token that ends the answer."),
        one("lower_eos", "Fill positions that would end the answer last."),
        one("syntax_repair", "Rounds of hiding and rewriting what does not parse."),
        one("language", "Of code that no fence names, for syntax repair.", type=click.Choice(LANGUAGES)),
        one("seed", "Of sampling."),
        one(
            "batch_size",
            "Prompts at a time; results do not depend on it, but for rounding. [default: as many as fit into memory, at most "
            f"{MOST['cpu']} on a CPU and {MOST['cuda']} on a GPU]",
            type=int,
            default=None,
        ),
    )(command)


def given_options() -> frozenset[str]:
    """Names of the parameters that the command line being run gives itself, whatever their values."""
    context = click.get_current_context()
    return frozenset(name for name in context.params if context.get_parameter_source(name) == ParameterSource.COMMANDLINE)


def generation_config(options: dict[str, Any]) -> GenerationConfig:
    """Takes the options of ``generation_options`` out of a command's arguments.

    What is not said of schedule and cache is as in FAST, with --plain as in LLaDA's plain rule. Fixed steps and a random order
    have one schedule that they can go with, which need not be named.
    """
    given = {name: options.pop(name) for name in _GENERATION & options.keys()}
    is_plain = options.pop("plain")
    default = _DEFAULTS if is_plain else FAST
    for name in ("schedule", "cache"):
        if is_plain and given[name] not in (None, getattr(_DEFAULTS, name)):
            raise SettingsError(f"--plain means --{name} {getattr(_DEFAULTS, name)}: leave it or --{name} {given[name]} out")
        if given[name] is None:
            given[name] = getattr(default, name)
            if name == "schedule" and (given["num_steps"] is not None or given["confidence"] == "random"):
                given[name] = "fixed"
    return GenerationConfig(**given)


def benchmark_options(*, has_samples: bool = True) -> Callable[[Command], Command]:
    """What the benchmarks share before the options of generation: problems, prompt and candidates."""
    problems, answers = "Problems", "Prompt and answer"
    candidates = (
        option(
            answers, "--samples", default=1, show_default=True, help="Candidates a problem; the most probable is the answer."
        ),
        option(
            answers,
            "--likelihood-samples",
            default=32,
            show_default=True,
            help="Masked versions to estimate how probable one is.",
        ),
    )
    return _together(
        option(problems, "--problems", type=PATH, help="File of the problems, JSON lines or an array, plain or compressed."),
        option(problems, "--limit", type=int, help="The first N problems alone: to try something out."),
        option(
            problems, "--reference", is_flag=True, help="Run the benchmark's own solutions, no model: checks this installation."
        ),
        prompt_option("How a problem is shown; auto goes by the tokenizer. See docs/evaluation.md."),
        *(candidates if has_samples else ()),
        option(answers, "--trace", is_flag=True, help="Keep what each denoising step wrote, for a replay in the report."),
    )


def running_options(command: Command) -> Command:
    """Where results go, and how programs are run."""
    running = "Running"
    return _together(
        option(running, "--out", type=PATH, help="Folder of the results. [default: CKPT/eval/BENCHMARK-SPLIT]"),
        option(running, "--restart", is_flag=True, help="Begin anew what the folder holds."),
        option(running, "--workers", type=int, help="Programs that run at a time. [default: one a core]"),
        option(running, "--unsafe", is_flag=True, help="Run programs also where they cannot be isolated."),
        option(running, "--json", "as_json", is_flag=True, help="Print results.json, no table."),
    )(command)


class ProgressBars:
    """A bar on standard error for each stage of an evaluation, with the time left."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._stage = ""

    def __enter__(self) -> "ProgressBars":
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, progress: Progress) -> None:
        """Shows how far a stage is; what an earlier run did does not count into the rate."""
        if progress.stage != self._stage:
            self.__exit__()
            self._stage = progress.stage
            self._bar = tqdm(
                total=progress.total,
                initial=progress.done,
                desc=progress.stage,
                dynamic_ncols=True,
                disable=None,  # where nobody looks: a log
            )
        assert self._bar is not None
        self._bar.set_postfix_str(progress.note, refresh=False)
        self._bar.update(progress.done - self._bar.n)


class JobsBar:
    """A bar on standard error for a study: how many of its commands are done, and which run."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None

    def __enter__(self) -> "JobsBar":
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, done: int, total: int, running: Sequence[str]) -> None:
        """Shows how far it is; what an earlier call did does not count into the time left."""
        if self._bar is None or self._bar.total != total:
            self.__exit__()
            self._bar = tqdm(total=total, initial=done, desc="study", unit=" commands", dynamic_ncols=True, disable=None)
        self._bar.set_postfix_str(", ".join(running), refresh=False)
        self._bar.update(done - self._bar.n)
        self._bar.refresh()
