"""The DeepSpeed JSON: read, checked, and completed with what depends on the run.

What the JSON says holds. Where it says ``"auto"``, the run's settings fill in; where both speak and differ, it is an error that
names both. DeepSpeed itself takes no "auto", and ignores unknown keys in silence.
"""

import copy
import difflib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from syntaxdiff.pipeline.errors import SettingsError

AUTO = "auto"
# Top-level keys that DeepSpeed 0.19 reads.
# fmt: off
KNOWN_KEYS = frozenset((
    "activation_checkpointing", "aio", "amp", "autotuning", "bf16", "bfloat16", "checkpoint", "comet", "comms_logger",
    "communication_data_type", "compile", "compression_training", "csv_monitor", "curriculum_learning", "data_efficiency",
    "data_types", "dataloader_drop_last", "disable_allgather", "disable_python_gc", "dump_state", "eigenvalue", "elasticity",
    "expert_parallel", "flops_profiler", "fp16", "fp32_allreduce", "gradient_accumulation_steps", "gradient_allreduce_op",
    "gradient_clipping", "gradient_predivide_factor", "graph_harvesting", "hybrid_engine", "load_universal_checkpoint",
    "log_level", "managed_gradient_accumulation", "memory_breakdown", "monitor_config", "optimizer", "pipeline", "pld",
    "prescale_gradients", "progressive_layer_drop", "quantize_training", "scheduler", "seq_parallel_communication_data_type",
    "sequence_parallel_size", "sparse_attention", "sparse_gradients", "steps_per_print", "tensor_parallel", "tensorboard",
    "timers", "torch_autocast", "train_batch_size", "train_micro_batch_size_per_gpu", "use_data_before_expert_parallelism",
    "use_node_local_storage", "vocabulary_size", "wall_clock_breakdown", "wandb", "weight_quantization",
    "zero_allow_untested_optimizer", "zero_force_ds_cpu_optimizer", "zero_optimization",
))
# fmt: on

DECISIVE_KEYS = (
    "train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "gradient_clipping", "bf16", "fp16", "torch_autocast",
    "optimizer", "scheduler",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What fills in ``"auto"``: given on the command line, or worked out.

    Values of None were not given; the JSON's own or the default holds.
    """

    world: int
    default_learning_rate: float
    learning_rate: float | None
    micro_batch: int | None
    accumulation: int | None
    warmup_share: float
    hidden_size: int
    has_gpu: bool


def read_json(path: Path) -> dict[str, Any]:
    """The JSON as it stands.

    Raises:
        SettingsError: no such file, no JSON object, or a key that DeepSpeed does not know
    """
    try:
        config = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"--ds-config {path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise SettingsError(f"--ds-config {path} is no JSON: {error}") from error
    if not isinstance(config, dict):
        raise SettingsError(f"--ds-config {path} must hold a JSON object")
    for key in config:
        if key not in KNOWN_KEYS:
            near = difflib.get_close_matches(key, KNOWN_KEYS, 1)
            hint = f": did you mean {near[0]!r}?" if near else ": remove it"
            raise SettingsError(f"--ds-config {path} has the key {key!r}, which DeepSpeed does not know{hint}")
    return config


def complete(config: dict[str, Any], facts: RunFacts) -> tuple[dict[str, Any], list[str]]:
    """The configuration with every ``"auto"`` filled in but those that need the number of steps, and what was adapted.

    Raises:
        SettingsError: an option and the JSON contradict each other, or the JSON itself
    """
    config = copy.deepcopy(config)
    notes: list[str] = []
    micro = _settle(config, "train_micro_batch_size_per_gpu", "--micro-batch", facts.micro_batch, 1)
    accumulation = _settle(config, "gradient_accumulation_steps", "--accumulation", facts.accumulation, 16)
    whole = micro * accumulation * facts.world
    if config.get("train_batch_size", AUTO) not in (AUTO, whole):
        raise SettingsError(
            f"the DeepSpeed JSON has train_batch_size {config['train_batch_size']}, but {micro} a micro-batch x {accumulation} "
            f"accumulated x {facts.world} ranks are {whole}: leave train_batch_size out"
        )
    config["train_batch_size"] = whole

    optimizer = config.setdefault("optimizer", {"type": "AdamW", "params": {}})
    parameters = optimizer.setdefault("params", {})
    _settle(parameters, "lr", "--learning-rate", facts.learning_rate, facts.default_learning_rate)
    _fill_buckets(config.setdefault("zero_optimization", {"stage": 3}), facts.hidden_size)
    if not facts.has_gpu:
        notes = _adapt_to_cpu(config)
    return config, notes


def with_schedule(config: dict[str, Any], total_steps: int, warmup_share: float) -> dict[str, Any]:
    """The configuration with the schedule's ``"auto"`` filled in, now that the number of steps is known."""
    config = copy.deepcopy(config)
    warmup = round(total_steps * warmup_share)
    first = 1 / (warmup + 1)  # the share of the peak at the first step; DeepSpeed's own is 0, a step for nothing
    scheduler = config.setdefault("scheduler", {"type": "WarmupCosineLR", "params": {}})
    parameters = scheduler.setdefault("params", {})
    defaults: dict[str, Any] = {}
    if scheduler["type"] == "WarmupCosineLR":
        # DeepSpeed warms up logarithmically unless told otherwise.
        defaults = {"total_num_steps": total_steps, "warmup_num_steps": max(1, warmup), "warmup_min_ratio": first}
        defaults |= {"warmup_type": "linear", "cos_min_ratio": 0.0}
    elif scheduler["type"] in ("WarmupLR", "WarmupDecayLR"):
        peak = config["optimizer"]["params"]["lr"]
        defaults = {"warmup_num_steps": max(1, warmup), "warmup_type": "linear", "warmup_min_lr": first * peak}
        defaults["warmup_max_lr"] = peak
        if scheduler["type"] == "WarmupDecayLR":
            defaults["total_num_steps"] = total_steps
    for name, value in defaults.items():
        if parameters.get(name, AUTO) == AUTO:
            parameters[name] = value
    left = [name for name, value in parameters.items() if value == AUTO]
    if left:
        raise SettingsError(f'the DeepSpeed JSON has scheduler.params.{left[0]} "auto", which {scheduler["type"]} leaves open')
    return config


def decisive(config: dict[str, Any]) -> dict[str, Any]:
    """Values of a completed JSON that decide the numbers of a run, by dotted name; the schedule's length is not among them."""
    values: dict[str, Any] = {}

    def walk(name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{name}.{key}", inner)
        elif value != AUTO:
            values[name] = value

    for name in DECISIVE_KEYS:
        if name in config:
            walk(name, config[name])
    stage = config["zero_optimization"].get("stage", 0)
    return values | {"zero_optimization.stage": stage}


def _settle(config: dict[str, Any], key: str, option: str, given: Any, default: Any) -> Any:
    """The value of a key that an option speaks of too."""
    written = config.get(key, AUTO)
    if written == AUTO:
        config[key] = default if given is None else given
    elif given is not None and given != written:
        raise SettingsError(
            f'{option} {given} contradicts {key} {written} in the DeepSpeed JSON: leave one out, or write "auto"'
        )
    return config[key]


def _fill_buckets(zero: dict[str, Any], hidden_size: int) -> None:
    """Sizes of communication that are "auto", as transformers fills them in."""
    sizes = {
        "reduce_bucket_size": hidden_size * hidden_size,
        "stage3_prefetch_bucket_size": int(0.9 * hidden_size * hidden_size),
        "stage3_param_persistence_threshold": 10 * hidden_size,
    }
    for name, value in sizes.items():
        if zero.get(name) == AUTO:
            zero[name] = value


def _adapt_to_cpu(config: dict[str, Any]) -> list[str]:
    """Changes what a CPU cannot do, and says what."""
    notes = []
    if config.get("fp16", {}).get("enabled"):
        config["fp16"] = {"enabled": False}
        config["bf16"] = {"enabled": True}
        notes.append("fp16 becomes bf16")
    parameters = config["optimizer"]["params"]
    if config["optimizer"]["type"] in ("Adam", "AdamW") and not parameters.get("torch_adam"):
        parameters["torch_adam"] = True
        notes.append("torch's AdamW stands in for the fused one, which would need a compiler")
    zero = config["zero_optimization"]
    for name in ("offload_optimizer", "offload_param"):
        if zero.get(name, {}).get("device", "none") != "none":
            del zero[name]
            notes.append(f"{name} is left out")
    return notes
