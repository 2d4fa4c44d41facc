"""The DeepSpeed JSON: read, checked, and completed with what depends on the run.

What the JSON says holds. Where it says ``"auto"``, the run's settings fill in; where both speak and differ, it is an error that
names both. What is not used is noted. DeepSpeed itself takes no "auto", and ignores most unknown keys in silence.
"""

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.pipeline.json_records import Json
from syntaxdiff.train.deepspeed_json import optimizer as engine_optimizer
from syntaxdiff.train.deepspeed_json import precision as engine_precision
from syntaxdiff.train.deepspeed_json import sections as engine_sections
from syntaxdiff.train.deepspeed_json.kinds import DeepSpeedJson
from syntaxdiff.train.deepspeed_json.schema import AUTO, autos, checked, fill_defaults, is_remark, known_keys

DECISIVE_KEYS = (
    "train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "gradient_clipping", "bf16", "fp16", "torch_autocast",
    "optimizer", "scheduler",
)  # fmt: skip
DEFAULT_ACCUMULATION = 16  # the paper's, where nothing else says it


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
    has_bf16: bool = True


def read_json(path: Path) -> DeepSpeedJson:
    """The JSON as it stands; like DeepSpeed, this takes comments and trailing commas too (Hjson).

    Raises:
        SettingsError: no such file, no JSON object, or a key that is in it twice
    """
    import hjson

    def once(pairs: list[tuple[str, Any]]) -> DeepSpeedJson:
        section = dict(pairs)
        if len(section) < len(pairs):
            twice = next(name for name, _ in pairs if sum(other == name for other, _ in pairs) > 1)
            raise SettingsError(f"--ds-config {path} has the key {twice!r} twice: leave one out")
        return section

    try:
        content = path.read_text("utf-8-sig")
        try:
            config = json.loads(content, object_pairs_hook=once)
        except ValueError:
            config = hjson.loads(content, object_pairs_hook=once)
    except OSError as error:
        raise SettingsError(f"--ds-config {path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise SettingsError(f"--ds-config {path} is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise SettingsError(f"--ds-config {path} must hold a JSON object")
    return config


def complete(config: DeepSpeedJson, facts: RunFacts) -> tuple[DeepSpeedJson, list[str]]:
    """The configuration with every ``"auto"`` filled in but the schedule's, and notes: what was filled in or left out.

    Raises:
        SettingsError: an option and the JSON contradict each other, or the JSON itself; a key that is misspelt, has a value of
            another kind, or asks for what DeepSpeed, this trainer or this machine cannot do
    """
    config = copy.deepcopy(config)
    notes: list[str] = []
    engine_sections.leave_out(config, notes)
    keys = known_keys()
    for name in ("optimizer", "scheduler"):  # their parameters depend on their type
        if isinstance(config.get(name), dict):
            config[name] = _without_remarks(config[name], name, notes)
    given = {name: config[name].pop("params") for name in ("optimizer", "scheduler") if "params" in _section(config, name)}
    config = checked(config, keys, notes)
    for name, parameters in given.items():
        if not isinstance(parameters, dict) and parameters != AUTO:
            raise SettingsError(f"the DeepSpeed JSON has {name}.params {json.dumps(parameters)}: it must be an object")
        config[name]["params"] = parameters
    for name in [name for name, value in config.items() if value == AUTO and keys[name].keys]:
        del config[name]  # a whole section
    filled = [name for name in autos(config) if not name.startswith("scheduler.")]

    _settle_batch(config, facts)
    engine_precision.settle_zero(config, facts.hidden_size)
    engine_precision.settle_precision(config, has_gpu=facts.has_gpu, has_bf16=facts.has_bf16)
    if not facts.has_gpu:
        engine_precision.adapt_to_cpu(config, notes)
    engine_precision.mend_stage(config, notes)
    engine_optimizer.settle_optimizer(config, notes, has_gpu=facts.has_gpu)
    parameters = config["optimizer"]["params"]
    _settle(parameters, "lr", "--learning-rate", facts.learning_rate, facts.default_learning_rate)
    engine_optimizer.fill_optimizer(config)
    engine_optimizer.settle_scheduler(config, notes)
    _check_peak(config, facts, notes)
    fill_defaults(config, keys)
    engine_precision.check_stage(config, facts.world, notes)
    engine_sections.check_monitors(config)
    if filled:
        notes.append('"auto" becomes ' + ", ".join(f"{name} {_shown(config, name)}" for name in filled))
    return config, notes


def with_schedule(config: DeepSpeedJson, total_steps: int, warmup_share: float, *, ends_at_zero: bool = False) -> DeepSpeedJson:
    """The configuration with the schedule's ``"auto"`` filled in, now that the number of steps is known.

    Args:
        ends_at_zero: the cosine reaches 0 at the last step, which then does nothing, as it once did; else one step later
    """
    config = copy.deepcopy(config)
    warmup = round(total_steps * warmup_share)
    first = 1 / (warmup + 1)  # the share of the peak at the first step; DeepSpeed's own is 0, a step for nothing
    scheduler = config.setdefault("scheduler", {"type": "WarmupCosineLR", "params": {}})
    parameters = scheduler.setdefault("params", {})
    defaults: DeepSpeedJson = {}
    if scheduler["type"] == "WarmupCosineLR":
        # DeepSpeed warms up logarithmically unless told otherwise.
        end = total_steps if ends_at_zero else total_steps + 1
        defaults = {"total_num_steps": end, "warmup_num_steps": max(1, warmup), "warmup_min_ratio": first}
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
        raise SettingsError(f'the DeepSpeed JSON has scheduler.params.{left[0]} "auto", which nothing fills in: give a value')
    return config


def decisive(config: DeepSpeedJson) -> dict[str, Json]:
    """Values of a completed JSON that decide the numbers of a run, by dotted name; the schedule's length is not among them."""
    values: dict[str, Json] = {}

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


def _settle_batch(config: DeepSpeedJson, facts: RunFacts) -> None:
    """Sizes of the micro-batch, of accumulation and of the whole batch; of these, two decide the third."""
    micro_key, accumulation_key, whole_key = "train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "train_batch_size"
    whole = config.get(whole_key, AUTO)
    gives_micro = facts.micro_batch is not None or config.get(micro_key, AUTO) != AUTO
    gives_accumulation = facts.accumulation is not None or config.get(accumulation_key, AUTO) != AUTO
    micro = _settle(config, micro_key, "--micro-batch", facts.micro_batch, 1)
    accumulation = _settle(config, accumulation_key, "--accumulation", facts.accumulation, DEFAULT_ACCUMULATION)
    if whole != AUTO and not (gives_micro and gives_accumulation):
        # As DeepSpeed does; with neither given, it accumulates nothing.
        accumulation = config[accumulation_key] = accumulation if gives_accumulation else 1
        if gives_micro:
            accumulation = config[accumulation_key] = max(1, whole // (micro * facts.world))
        else:
            micro = config[micro_key] = max(1, whole // (accumulation * facts.world))
    if whole not in (AUTO, micro * accumulation * facts.world):
        raise SettingsError(
            f"the DeepSpeed JSON has train_batch_size {whole}, but {micro} a micro-batch x {accumulation} accumulated x "
            f"{facts.world} ranks are {micro * accumulation * facts.world}: leave train_batch_size out, or change it"
        )
    config[whole_key] = micro * accumulation * facts.world


def _settle(config: DeepSpeedJson, key: str, option: str, given: Any, default: Any) -> Any:
    """The value of a key that an option speaks of too."""
    written = config.get(key, AUTO)
    if written == AUTO:
        config[key] = default if given is None else given
    elif given is not None and given != written:
        raise SettingsError(
            f'{option} {given} contradicts {key} {written} in the DeepSpeed JSON: leave one out, or write "auto"'
        )
    return config[key]


def _check_peak(config: DeepSpeedJson, facts: RunFacts, notes: list[str]) -> None:
    """The schedule may have a peak of its own, which then holds."""
    peak = config.get("scheduler", {}).get("params", {}).get("warmup_max_lr", AUTO)
    if peak in (AUTO, None, config["optimizer"]["params"]["lr"]):
        return
    if facts.learning_rate is not None:
        raise SettingsError(
            f"--learning-rate {facts.learning_rate} contradicts scheduler.params.warmup_max_lr {peak} in the DeepSpeed JSON: "
            'leave one out, or write "auto"'
        )
    notes.append(f"optimizer.params.lr is not used: the peak is scheduler.params.warmup_max_lr {peak}")


def _section(config: DeepSpeedJson, name: str) -> DeepSpeedJson:
    value = config.get(name)
    return value if isinstance(value, dict) else {}


def _without_remarks(section: DeepSpeedJson, name: str, notes: list[str]) -> DeepSpeedJson:
    """A section without remarks among its parameters."""
    parameters = section.get("params")
    if not isinstance(parameters, dict):
        return dict(section)
    remarks = [key for key in parameters if is_remark(key)]
    notes.extend(f"{name}.params.{key} is not used: DeepSpeed does not read it" for key in remarks)
    return {**section, "params": {key: value for key, value in parameters.items() if key not in remarks}}


def _shown(config: DeepSpeedJson, dotted: str) -> str:
    value: Any = config
    for key in dotted.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return "DeepSpeed's default" if value is None else json.dumps(value)
