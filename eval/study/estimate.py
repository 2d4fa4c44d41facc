"""What a study would do and cost, before it does: its commands, and an estimate of time by the operations of its models.

A pass over a token takes 2 operations a weight forward and 4 backward (Kaplan et al. 2020, section 2.1, without attention).
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

TRAINING_OPERATIONS, FORWARD_OPERATIONS = 6, 2  # a weight and token
SAMPLES = 100  # of reconstruct
PROBLEMS = {"humaneval": 164, "mbpp": 257}
PROMPT_TOKENS = 200  # of a benchmark's problem


class Cost(NamedTuple):
    """Hours of the declared hardware."""

    training: float
    evaluation: float


def planned(declared: Study, out: Path) -> str:
    """The commands of a study, one a line, and what they are estimated to cost. Nothing is looked at or written."""
    folders = Folders(out=out)
    sources = [source.src for source in declared.data.sources]
    jobs = preparation(declared, folders, sources)
    if declared.sweep is not None:
        told = [*map(str, jobs), "# the learning rate below is the first of the sweep; the best one takes its place"]
        jobs = comparison(declared, folders, declared.sweep.learning_rates[0])
    else:
        told, jobs = list(map(str, jobs)), comparison(declared, folders, None)
    return "\n".join((*told, *map(str, jobs), "", estimate(declared, jobs)))


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
        f"# Estimate: {_told(cost.training)} of training on {machines} and about {_told(cost.evaluation)} of evaluation on "
        f"{evaluated}{paid};\n"
        f"# assumed are {hardware.parameters / 1e6:,.0f} M parameters, {hardware.tokens_a_sample:,} tokens a sample, "
        f"and {hardware.utilisation:.0%} of {hardware.flops / 1e12:g} Tflop/s."
    )


def _told(hours: float) -> str:
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
    told = asked.reconstruct
    cells = len(told.get("mask-rate", DEFAULT_MASK_RATES)) * len(told.get("strategy", DEFAULT_STRATEGIES))
    steps_a_sample = cells * told.get("steps", ReconstructionConfig.num_steps)
    read = models * told.get("samples", SAMPLES) * steps_a_sample * hardware.tokens_a_sample
    seeds = declared.seeds if asked.benchmark_seeds is None else asked.benchmark_seeds
    writers = 1 + len(seeds) * (len(declared.arms) - 1)
    for name, one in (("humaneval", asked.humaneval), ("mbpp", asked.mbpp)):
        if one is not None:
            length = one.get("gen-length", GenerationConfig.gen_length)
            forwards = one.get("num-steps", length)
            read += writers * one.get("limit", PROBLEMS[name]) * forwards * (length + PROMPT_TOKENS)
    speed = hardware.flops * hardware.utilisation * 3600
    return Cost(
        training=TRAINING_OPERATIONS * hardware.parameters * trained / speed / (hardware.gpus or declared.jobs),
        evaluation=FORWARD_OPERATIONS * hardware.parameters * read / speed / (1 if hardware.gpus else declared.jobs),
    )


def _samples_a_step(declared: Study) -> int:
    batch = declared.deepspeed["train_micro_batch_size_per_gpu"] * declared.deepspeed["gradient_accumulation_steps"]
    return int(batch * max(1, declared.hardware.gpus))


def _steps(declared: Study, options: Options) -> float:
    if "max-steps" in options:
        return float(options["max-steps"])
    samples = declared.data.options.get("limit", 0) - declared.data.options.get("validation-size", 0)
    return float(options.get("epochs", 1.0) * samples / _samples_a_step(declared))
