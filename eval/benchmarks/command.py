"""The commands ``humaneval``, ``mbpp``, ``infilling`` and ``compare``."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from syntaxdiff.eval.benchmarks.config import PROBLEMS, EvaluationConfig
from syntaxdiff.eval.options import GENERATION_OPTIONS, results_folder, stopped_by_sigterm
from syntaxdiff.eval.problems.names import DEFAULT_EXERCISE_SPLIT, DEFAULT_MBPP_SPLIT, EXERCISE_SPLITS, MBPP_SPLITS
from syntaxdiff.pipeline.command_line import command, given_options
from syntaxdiff.pipeline.options import check_options, option
from syntaxdiff.pipeline.parameters import Fields

if TYPE_CHECKING:
    from syntaxdiff.eval.benchmarks.outcome import BenchmarkResults

RUNNING = "Running"
PARTS = {"generation": GENERATION_OPTIONS}
WHOLE_ANSWERS = Fields(settings=EvaluationConfig, parts=PARTS, without=("hole_tokens",))
WHOLE_ANSWERS_OF_OURS = Fields(settings=EvaluationConfig, parts=PARTS, without=("hole_tokens", "problems"))
HOLES = Fields(settings=EvaluationConfig, parts=PARTS, without=("candidates", "likelihood_samples"))


@dataclass(frozen=True, kw_only=True)
class Running:
    """Where results go, and how programs are run; the fields are explained by their options."""

    out: Path | None = option("Folder of the results.", None, default_text="CKPT/eval/BENCHMARK-SPLIT", section=RUNNING)
    restart: bool = option("Start from scratch, whatever the folder holds.", False, section=RUNNING)
    workers: int | None = option("Programs that run at a time.", None, minimum=1, default_text="one per core", section=RUNNING)
    unsafe: bool = option("Run programs also where they cannot be isolated.", False, section=RUNNING)
    as_json: bool = option("Print results.json instead of a table.", False, flag="json", section=RUNNING)

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, kw_only=True)
class Split:
    """A split of MBPP."""

    split: str = option(
        "257, 500, 427, 974 and 378 problems; plus needs --problems MbppPlus.jsonl.gz.",
        DEFAULT_MBPP_SPLIT,
        choices=MBPP_SPLITS,
        section=PROBLEMS,
    )


@dataclass(frozen=True, kw_only=True)
class ExerciseSplit:
    """A split of the exercises."""

    split: str = option(
        "200 unseen compositions, 200 deeper ones, or both, of a level.",
        DEFAULT_EXERCISE_SPLIT,
        choices=EXERCISE_SPLITS,
        section=PROBLEMS,
    )


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What to compare, and how much of it to print."""

    folders: tuple[Path, ...] = option("Folders of results.", is_argument=True, metavar="DIR DIR...")
    show: int = option("Problems on which they differ, with the programs.", 5, minimum=0)
    as_json: bool = option("Print JSON.", False, flag="json")

    def __post_init__(self) -> None:
        check_options(self)


@command("humaneval", WHOLE_ANSWERS, Running)
def humaneval(config: EvaluationConfig, running: Running) -> None:
    """Evaluate on HumanEval: 164 functions to complete, or HumanEval+ with --problems HumanEvalPlus.jsonl.gz.

    A run that was cut off resumes when the same command is run again.
    """
    from syntaxdiff.eval.benchmarks import evaluate

    _evaluate("humaneval", evaluate.humaneval, config, running)


@command("mbpp", WHOLE_ANSWERS, Split, Running)
def mbpp(config: EvaluationConfig, chosen: Split, running: Running) -> None:
    """Evaluate on MBPP: functions from a statement and three tests.

    A run that was cut off resumes when the same command is run again.
    """
    from syntaxdiff.eval.benchmarks import evaluate

    _evaluate(f"mbpp-{chosen.split}", evaluate.mbpp, config, running, split=chosen.split)


@command("exercises", WHOLE_ANSWERS_OF_OURS, ExerciseSplit, Running)
def exercises(config: EvaluationConfig, chosen: ExerciseSplit, running: Running) -> None:
    """Evaluate on exercises: functions of compositions that `--src exercises` never trains on, and of deeper ones.

    A run that was cut off resumes when the same command is run again.
    """
    from syntaxdiff.eval.benchmarks import evaluate

    _evaluate(f"exercises-{chosen.split}", evaluate.exercises, config, running, split=chosen.split)


@command("infilling", HOLES, Running)
def infilling(config: EvaluationConfig, running: Running) -> None:
    """Evaluate on filling in a line of a program: --problems HumanEval-SingleLineInfilling.jsonl.gz.

    A run that was cut off resumes when the same command is run again.
    """
    from syntaxdiff.eval.benchmarks import evaluate

    _evaluate("infilling", evaluate.infilling, config, running)


@command("compare", Comparison)
def compare(options: Comparison) -> None:
    """Compare evaluations by their folders of results; the first is the one that the others are compared with.

    HumanEval/54, /74 and /133, which the paper discusses, are shown wherever they are.
    """
    from rich.console import Console

    from syntaxdiff.eval.benchmarks import compare as library
    from syntaxdiff.eval.benchmarks.scoreboard import print_comparison

    comparison = library.compare(options.folders)
    if options.as_json:
        click.echo(json.dumps(comparison.to_json(), indent=1))
    else:
        print_comparison(comparison, Console(), show=options.show)


def _evaluate(
    name: str, evaluate: "Callable[..., BenchmarkResults]", config: EvaluationConfig, running: Running, **arguments: Any
) -> None:
    """Evaluates and prints; ``arguments`` are those of the benchmark."""
    from rich.console import Console

    from syntaxdiff.eval.benchmarks.scoreboard import print_results
    from syntaxdiff.eval.inference.effect import unused
    from syntaxdiff.eval.progress_bars import ProgressBars
    from syntaxdiff.pipeline.json_records import to_json

    workers = (os.cpu_count() or 1) if running.workers is None else running.workers
    out = _default_out(config, name) if running.out is None else running.out
    given = given_options()
    with ProgressBars() as bars, stopped_by_sigterm():
        results = evaluate(
            config,
            out,
            workers=workers,
            unsafe=running.unsafe,
            restart=running.restart,
            given=given,
            on_progress=bars.update,
            **arguments,
        )
    if config.ckpt is not None:
        for note in unused(given, config.generation, results.settings.checkpoint.kind):
            click.echo(f"note: {note}", err=True)
    if running.as_json:
        click.echo(json.dumps(to_json(results), indent=1))
    else:
        print_results(results, Console())
        click.echo(f"{out / 'results.json'}  {out / 'samples.jsonl'}")


def _default_out(config: EvaluationConfig, name: str) -> Path:
    if config.problems is not None and "plus" in config.problems.name.lower() and "plus" not in name:
        name += "-plus"
    return Path("out") / "eval" / f"reference-{name}" if config.ckpt is None else results_folder(config.ckpt, name)
