"""The optimizer and the scheduler of the DeepSpeed JSON: names and parameters, checked against the classes that take them."""

import difflib
import inspect
import math
from typing import Any

import torch

from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.train.deepspeed_json.kinds import REQUIRED, DeepSpeedJson, Kind, choice, flag, is_number, number, text, whole
from syntaxdiff.train.deepspeed_json.schema import AUTO, checked, unread

# DeepSpeed's own optimizers; their names may be written in any case. The others are torch's.
OWN_OPTIMIZERS = ("Adam", "AdamW", "Adagrad", "Lamb", "Lion", "Muon", "MuAdam", "MuAdamW", "MuSGD")
ADAMS = ("Adam", "AdamW")
TESTED_WITH_ZERO = (*ADAMS, "Adagrad", "Lion", "Muon")
SCHEDULERS = ("WarmupLR", "WarmupDecayLR", "WarmupCosineLR", "OneCycle", "LRRangeTest")
_FUSED_ONLY = {"bias_correction": True, "set_grad_none": True}  # of DeepSpeed's fused Adam, and what torch's does
_ADAM_KEYS = {"torch_adam": flag(False), "adam_w_mode": flag(True), "fp32_optimizer_states": flag(True)}
_REFUSED = {
    "onebitadam": "DeepSpeed 0.19 no longer has 1-bit optimizers: use AdamW",
    "zerooneadam": "DeepSpeed 0.19 no longer has 1-bit optimizers: use AdamW",
    "onebitlamb": "DeepSpeed 0.19 no longer has 1-bit optimizers: use AdamW",
    "fusedadam": "it is not a name of DeepSpeed's, whose Adam and AdamW are fused: use AdamW",
    "deepspeedcpuadam": "it is not a name of DeepSpeed's, which takes it where offload_optimizer says so: use AdamW",
    "lbfgs": "it evaluates the loss several times per step: use AdamW",
    "sparseadam": "the model's gradients are dense: use AdamW",
}


def settle_optimizer(config: DeepSpeedJson, notes: list[str], *, has_gpu: bool) -> None:
    """Fills in the optimizer section, but for its learning rate, in place.

    Raises:
        SettingsError: an optimizer that DeepSpeed, ZeRO or this machine does not have, or a parameter that it does not take
    """
    optimizer = config.setdefault("optimizer", {"type": "AdamW", "params": {}})
    if "type" not in optimizer:
        optimizer["type"] = "AdamW"
        notes.append("optimizer.type is left out: AdamW")
    if optimizer["type"] == AUTO:
        optimizer["type"] = "AdamW"
    parameters = optimizer.setdefault("params", {})
    if parameters == AUTO:
        parameters = optimizer["params"] = {}
    name = optimizer_name(optimizer["type"])
    stage = config["zero_optimization"].get("stage", 0)
    if stage and name not in TESTED_WITH_ZERO and not config.get("zero_allow_untested_optimizer"):
        raise SettingsError(
            f'the DeepSpeed JSON has optimizer.type "{name}", which DeepSpeed takes with ZeRO stage {stage} only where '
            '"zero_allow_untested_optimizer" is true: add it, or use AdamW'
        )
    if not has_gpu:
        _adapt_to_cpu(name, parameters, notes)
    optimizer["params"] = _checked_parameters(
        parameters, _optimizer_keys(name, parameters), f"the optimizer {name}", "optimizer.params.", notes
    )


def optimizer_name(given: str) -> str:
    """The name of an optimizer as DeepSpeed or torch spells it. Raises SettingsError where it is not to be had."""
    own = {name.lower(): name for name in OWN_OPTIMIZERS}
    if given.lower() in own:
        return own[given.lower()]
    reason = _REFUSED.get(given.lower())
    classes = {name: found for name, found in vars(torch.optim).items() if isinstance(found, type)}
    torchs = [name for name, kind in classes.items() if issubclass(kind, torch.optim.Optimizer) and name != "Optimizer"]
    if reason is None and given in torchs:
        return given
    if reason is None:
        names = {name.lower(): name for name in (*OWN_OPTIMIZERS, *torchs)}
        near = difflib.get_close_matches(given.lower(), names, 1)
        reason = f"did you mean {names[near[0]]!r}?" if near else "neither DeepSpeed nor torch.optim has it, use AdamW"
    raise SettingsError(f'the DeepSpeed JSON has optimizer.type "{given}": {reason}')


def settle_scheduler(config: DeepSpeedJson, notes: list[str]) -> None:
    """Checks the scheduler section, and fills in what is the scheduler's default, in place; with_schedule fills in the rest.

    Raises:
        SettingsError: a scheduler that DeepSpeed does not have, a parameter it does not take, or an "auto" without a default
    """
    if "scheduler" not in config:
        return
    scheduler = config["scheduler"]
    if "type" not in scheduler:
        scheduler["type"] = AUTO
        notes.append("scheduler.type is left out: WarmupCosineLR")
    if scheduler["type"] == AUTO:
        scheduler["type"] = "WarmupCosineLR"
    name = scheduler["type"]
    if name not in SCHEDULERS:
        near = difflib.get_close_matches(name, SCHEDULERS, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"DeepSpeed has {', '.join(SCHEDULERS)}"
        raise SettingsError(f'the DeepSpeed JSON has scheduler.type "{name}": {hint}')
    parameters = scheduler.setdefault("params", {})
    if parameters == AUTO:
        parameters = scheduler["params"] = {}
    from deepspeed.runtime import lr_schedules

    keys = _of_signature(getattr(lr_schedules, name), ("optimizer",))
    if parameters.get("warmup_num_steps") == 0:
        parameters["warmup_num_steps"] = 1
        notes.append("scheduler.params.warmup_num_steps 0 becomes 1, the least that DeepSpeed takes")
    given = _checked_parameters(parameters, keys, f"the scheduler {name}", "scheduler.params.", notes)
    filled_later = ("total_num_steps", "warmup_num_steps", "warmup_min_lr", "warmup_max_lr", "warmup_min_ratio", "warmup_type")
    for key, value in list(given.items()):
        if value == AUTO and key not in (*filled_later, "cos_min_ratio"):
            default = keys[key].default
            if default is REQUIRED:
                raise SettingsError(
                    f'the DeepSpeed JSON has scheduler.params.{key} "auto", which nothing fills in: give a value'
                )
            given[key] = default
    scheduler["params"] = given


def fill_optimizer(config: DeepSpeedJson) -> None:
    """Replaces "auto" among the optimizer's parameters: weight decay 0, as in transformers, else the class's default."""
    name = optimizer_name(config["optimizer"]["type"])
    parameters = config["optimizer"]["params"]
    keys = _optimizer_keys(name, parameters)
    for key, value in parameters.items():
        if value != AUTO:
            continue
        default = 0.0 if key == "weight_decay" else keys[key].default
        if default is REQUIRED:
            raise SettingsError(f'the DeepSpeed JSON has optimizer.params.{key} "auto", which nothing fills in: give a value')
        parameters[key] = list(default) if isinstance(default, tuple) else default


def _adapt_to_cpu(name: str, parameters: DeepSpeedJson, notes: list[str]) -> None:
    if name in ("Lamb", "Lion", "Muon"):
        raise SettingsError(f'the DeepSpeed JSON has optimizer.type "{name}", which needs a GPU: use AdamW on a CPU')
    if name not in ADAMS or parameters.get("torch_adam") is True:
        return
    parameters["torch_adam"] = True
    note = "torch's AdamW stands in for the fused one, which would need a compiler"
    if "weight_decay" not in parameters:
        note += "; optimizer.params.weight_decay is left out: 0.01, where the fused one has 0"
    notes.append(note)
    for key, same in _FUSED_ONLY.items():
        if key in parameters and parameters.pop(key) not in (same, AUTO):
            raise SettingsError(
                f"the DeepSpeed JSON has optimizer.params.{key} {str(not same).lower()}, which needs a GPU: remove it"
            )


def _optimizer_keys(name: str, parameters: DeepSpeedJson) -> dict[str, Kind]:
    """The parameters of an optimizer, as the class that DeepSpeed will make of its name takes them."""
    if name in ADAMS:
        is_torchs = parameters.get("torch_adam") is True
        if is_torchs:
            return _of_signature(torch.optim.AdamW, ("params",)) | _ADAM_KEYS
        from deepspeed.ops.adam import FusedAdam

        return _of_signature(FusedAdam, ("params",)) | _ADAM_KEYS | {"foreach": flag(False)}
    if name in ("MuAdam", "MuAdamW", "MuSGD"):
        return _of_signature(_imported("mup", name, name), ("params",))
    if name == "Lamb":
        from deepspeed.ops.lamb import FusedLamb

        return _of_signature(FusedLamb, ("params",))
    if name == "Lion":
        from deepspeed.ops.lion import FusedLion

        return _of_signature(FusedLion, ("params",))
    if name == "Muon":
        numbers = {key: number(least=0) for key in ("lr", "muon_lr", "adam_lr", "momentum", "eps")}
        others = {"weight_decay": number(0.0, least=0), "betas": _pair((0.9, 0.999), most=1), "ns_method": text()}
        return numbers | others | _ADAM_KEYS
    return _of_signature(getattr(torch.optim, name), ("params",))


def _imported(package: str, attribute: str, name: str) -> Any:
    import importlib

    try:
        return getattr(importlib.import_module(package), attribute)
    except ImportError as error:
        raise SettingsError(
            f'the DeepSpeed JSON has optimizer.type "{name}", but the package {package} is not installed: use AdamW'
        ) from error


def _checked_parameters(
    given: DeepSpeedJson, keys: dict[str, Kind], owner: str, prefix: str, notes: list[str]
) -> DeepSpeedJson:
    """Parameters of a class, checked; one that it does not take is refused, as it would change the training."""
    for key in given:
        if key == "max_grad_norm":
            raise SettingsError(f"the DeepSpeed JSON has {prefix}{key}: DeepSpeed reads gradient_clipping instead")
        if key not in keys:
            noted = len(notes)
            unread(f"{prefix}{key}", key, keys, notes)
            if not notes[noted].startswith((f"{prefix}_", f"{prefix}#", f"{prefix}/")):
                raise SettingsError(f"the DeepSpeed JSON has {prefix}{key}, which {owner} does not take: remove it")
    return checked({key: value for key, value in given.items() if key in keys}, keys, notes, prefix)


def _of_signature(kind: Any, without: tuple[str, ...]) -> dict[str, Kind]:
    """The parameters of a class by their defaults, as far as JSON can give them."""
    kinds: dict[str, Kind] = {}
    for name, parameter in inspect.signature(kind.__init__).parameters.items():
        if name in ("self", "defaults", *without) or parameter.kind is inspect.Parameter.VAR_KEYWORD:
            continue
        default = REQUIRED if parameter.default is inspect.Parameter.empty else parameter.default
        kinds[name] = _of_default(name, default)
    return kinds


def _of_default(name: str, default: Any) -> Kind:
    if name == "warmup_type":
        return choice("linear", "log", default=default)
    if isinstance(default, bool):
        return flag(default)
    if name.endswith(("_steps", "_step_size", "_count")) or name == "last_batch_iteration":
        least = 1 if name.startswith(("total", "warmup", "lr_range_test")) else -1
        kind = whole(default, least=least)
        return kind if default is not None else _or_null(kind)
    if isinstance(default, tuple):
        return _pair(default, most=1 if name == "betas" else math.inf)
    if name == "lr" or isinstance(default, (int, float)) or default is REQUIRED:
        is_signed = isinstance(default, (int, float)) and default < 0
        return number(default, least=-math.inf if is_signed else 0)
    return Kind(words="a value that it takes", accepts=lambda _: True, default=default)


def _pair(default: tuple[Any, ...], most: float = math.inf) -> Kind:
    """Numbers, as many as the default has; null where the default is."""

    def accepts(value: Any) -> bool:
        if not isinstance(value, list) or len(value) != len(default):
            return False
        pairs = zip(value, default, strict=True)
        return all((given is None and usual is None) or (is_number(given) and abs(given) < most) for given, usual in pairs)

    words = f"a list of {len(default)} numbers" + (f" below {most:g}" if most < math.inf else "")
    return Kind(words=words, accepts=accepts, default=default)


def _or_null(kind: Kind) -> Kind:
    return Kind(words=kind.words, accepts=lambda v: v is None or kind.accepts(v), default=None, is_whole=True)
