"""What a study would do and cost, before it does: its commands, and an estimate of time by the operations of its models.

A pass over a token takes 2 operations per weight forward and 4 backward (Kaplan et al. 2020, section 2.1, without attention).
Left out are start-up, data, validation during training, activations that are computed again, the loss, and the programs that
are run; caches of generation are not counted on. An evaluation runs on one GPU.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from syntaxdiff.eval.inference.config import GenerationConfig
from syntaxdiff.eval.reconstruction.config import DEFAULT_MASK_RATES, DEFAULT_STRATEGIES, ReconstructionConfig
from syntaxdiff.eval.study.declaration import Options, Study
from syntaxdiff.eval.study.jobs import Job
from syntaxdiff.eval.study.study import Folders, comparison, preparation
from syntaxdiff.pipeline.errors import SettingsError

TRAINING_OPERATIONS, FORWARD_OPERATIONS = 6, 2  # per weight and token
SAMPLES = 100  # of reconstruct
PROBLEMS = {"humaneval": 164, "mbpp": 257}
PROMPT_TOKENS = 200  # of a benchmark's problem


class Cost(NamedTuple):
    """Hours of the declared hardware."""

    training: float
    evaluation: float


def planned(declared: Study, out: Path) -> str:
    """The commands of a study, one per line, and what they are estimated to cost. Nothing is read or written."""
    folders = Folders(out=out)
    sources = [source.src for source in declared.data.sources]
    jobs = preparation(declared, folders, sources)
    if declared.sweep is not None:
        lines = [*map(str, jobs), "# the learning rate below is the first of the sweep; the best one takes its place"]
        jobs = comparison(declared, folders, declared.sweep.learning_rates[0])
    else:
        lines, jobs = list(map(str, jobs)), comparison(declared, folders, None)
    return "\n".join((*lines, *map(str, jobs), "", estimate(declared, jobs)))


def estimate(declared: Study, jobs: Sequence[Job]) -> str:
    """The estimate in words."""
    hardware = declared.hardware
    cost = hours(declared)
    machines = f"{hardware.gpus} GPUs" if hardware.gpus > 1 else "one GPU" if hardware.gpus else f"{declared.jobs} cores"
    evaluated = "one of them" if hardware.gpus > 1 else "it" if hardware.gpus else "them"
    trained = len(declared.seeds) * (len(declared.arms) - 1)
    price = hardware.price * hardware.gpus * sum(cost)
    paid = f", {price:,.0f} dollars at {hardware.price:g} a GPU and hour" if price else ""
    return (
        f"# {declared.name}: {trained} training runs of {_steps(declared, declared.train.options):,.0f} steps, "
        f"{len(jobs) - trained} evaluations.\n"
        f"# Estimate: {_duration(cost.training)} of training on {machines} "
        f"and about {_duration(cost.evaluation)} of evaluation on {evaluated}{paid};\n"
        f"# assumed are {hardware.parameters / 1e6:,.0f} M parameters, {hardware.tokens_a_sample:,} tokens a sample, "
        f"and {hardware.utilisation:.0%} of {hardware.flops / 1e12:g} Tflop/s."
    )


def _duration(hours: float) -> str:
    return f"{hours:,.1f} hours" if hours >= 1 else f"{60 * hours:.0f} minutes"


def hours(declared: Study) -> Cost:
    """Hours of training and of evaluation, on all GPUs or cores that the size was made for."""
    hardware, asked = declared.hardware, declared.evaluate
    runs = len(declared.seeds) * (len(declared.arms) - 1)
    options = declared.train.options
    steps = _steps(declared, declared.start.options) + runs * _steps(declared, options)
    if declared.sweep is not None:
        steps += len(declared.sweep.learning_rates) * _steps(declared, options | declared.sweep.options)
    trained = steps * _samples_a_step(declared) * hardware.tokens_a_sample
    models = runs + 1
    options = asked.reconstruct
    cells = _length(options, "mask-rate", len(DEFAULT_MASK_RATES)) * _length(options, "strategy", len(DEFAULT_STRATEGIES))
    steps_a_sample = cells * _number(options, "steps", ReconstructionConfig.num_steps)
    read = models * _number(options, "samples", SAMPLES) * steps_a_sample * hardware.tokens_a_sample
    seeds = declared.seeds if asked.benchmark_seeds is None else asked.benchmark_seeds
    generating_models = 1 + len(seeds) * (len(declared.arms) - 1)
    for name, benchmark in (("humaneval", asked.humaneval), ("mbpp", asked.mbpp)):
        if benchmark is not None:
            length = _number(benchmark, "gen-length", GenerationConfig.gen_length)
            forwards = _number(benchmark, "num-steps", length)
            read += generating_models * _number(benchmark, "limit", PROBLEMS[name]) * forwards * (length + PROMPT_TOKENS)
    speed = hardware.flops * hardware.utilisation * 3600
    return Cost(
        training=TRAINING_OPERATIONS * hardware.parameters * trained / speed / (hardware.gpus or declared.jobs),
        evaluation=FORWARD_OPERATIONS * hardware.parameters * read / speed / (1 if hardware.gpus else declared.jobs),
    )


def _samples_a_step(declared: Study) -> int:
    names = ("train_micro_batch_size_per_gpu", "gradient_accumulation_steps")
    micro_batch, accumulated = (_number(declared.deepspeed, name, 1) for name in names)
    return int(micro_batch * accumulated * max(1, declared.hardware.gpus))


def _steps(declared: Study, options: Options) -> float:
    if "max-steps" in options:
        return _number(options, "max-steps", 0.0)
    samples = _number(declared.data.options, "limit", 0) - _number(declared.data.options, "validation-size", 0)
    return _number(options, "epochs", 1.0) * samples / _samples_a_step(declared)


def _number(options: Options, name: str, default: float) -> float:
    """The value of an option that is a number. Raises SettingsError where another one is declared."""
    value = options.get(name, default)
    if not isinstance(value, (int, float)):
        raise SettingsError(f"{name} {value!r} is declared: a number is needed")
    return value


def _length(options: Options, name: str, default: int) -> int:
    """How many values an option has, which may be repeated."""
    value = options.get(name)
    return default if value is None else len(value) if isinstance(value, list) else 1
