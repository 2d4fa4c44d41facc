"""Sections of the DeepSpeed JSON that this trainer does not use: which are named and left out, and which are refused.

A section is left out where the run is the same without it, and refused where it asks for a training other than this one.
"""

from typing import Any

from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.train.deepspeed_json.kinds import DeepSpeedJson
from syntaxdiff.train.deepspeed_json.schema import AUTO

MONITORS = {"tensorboard": "tensorboard", "wandb": "wandb", "comet": "comet_ml"}  # and the package that each needs
NOT_USED = {
    "activation_checkpointing": "it is for models that call DeepSpeed's checkpointing: use --activation-checkpointing",
    "comms_config": "DeepSpeed reads comms_logger",
    "monitor_config": "DeepSpeed reads tensorboard, wandb, comet and csv_monitor at the top level",
    "autotuning": "it is for `deepspeed --autotuning`, which this trainer does not take part in",
    "compile": "the model is not compiled",
    "dataloader_drop_last": "the trainer has its own loader",
    "load_universal_checkpoint": "the trainer converts checkpoints itself, where the number of ranks is another",
    "use_node_local_storage": "checkpoints are written to --out, which all nodes must see",
    "use_data_before_expert_parallelism": "the model has no experts",
    "seq_parallel_communication_data_type": "sequences are not split over ranks",
    "vocabulary_size": "the shards have their own",
    "weight_quantization": "it is for inference",
    "fp32_allreduce": "DeepSpeed 0.19 reads communication_data_type",
    "allgather_size": "DeepSpeed reads zero_optimization.allgather_bucket_size",
    "zero_allow_untested_optimizers": "DeepSpeed reads zero_allow_untested_optimizer",
    "pipeline": "the model has no pipeline stages",
    "datastates_ckpt": "checkpoints are written by torch",
}
_REMOVED = "DeepSpeed 0.19 no longer has it"
REFUSED_WHERE_ON = {
    "amp": f"{_REMOVED}: use bf16",
    "compression_training": _REMOVED,
    "curriculum_learning": f"{_REMOVED}, and --curriculum is the trainer's own: remove it",
    "data_efficiency": "the trainer draws its batches itself: remove it",
    "elasticity": f"{_REMOVED}: a run resumes on any number of ranks without it",
    "eigenvalue": _REMOVED,
    "expert_parallel": "the model has no experts: remove it",
    "graph_harvesting": _REMOVED,
    "hybrid_engine": "it is for reinforcement learning: remove it",
    "nebula": _REMOVED,
    "pld": _REMOVED,
    "progressive_layer_drop": _REMOVED,
    "quantize_training": _REMOVED,
    "sequence_parallel_size": "every rank trains on samples of its own: remove it",
    "sparse_attention": _REMOVED,
    "sparse_gradients": _REMOVED,
    "tensor_parallel": "the trainer does not split matrices over ranks: use ZeRO-3",
}
_CHECKPOINT = {
    "load_universal": NOT_USED["load_universal_checkpoint"],
    "use_node_local_storage": NOT_USED["use_node_local_storage"],
    "parallel_write": "the model has no pipeline stages",
    "writer": "checkpoints are written by torch",
    "checkpoint_serialization": "checkpoints are written by torch",
}
_OLD_NAMES = {  # of zero_optimization
    "stage3_gather_fp16_weights_on_model_save": "stage3_gather_16bit_weights_on_model_save",
    "cpu_offload": "offload_optimizer",
    "cpu_offload_param": "offload_param",
    "cpu_offload_params": "offload_param",
}
_ZERO_NOT_USED = {
    "cpu_offload_use_pin_memory": "DeepSpeed reads offload_optimizer.pin_memory",
    "elastic_checkpoint": "the trainer converts checkpoints itself, where the number of ranks is another",
    "mics_hierarchical_params_gather": _REMOVED,
}
_ZERO_REMOVED = ("mics_shard_size", "zeropp_loco_param", "legacy_stage1")


def leave_out(config: DeepSpeedJson, notes: list[str]) -> None:
    """Removes what is not used from a JSON, in place, and notes it.

    Raises:
        SettingsError: a section that is switched on asks for what DeepSpeed or this trainer cannot do
    """
    for name, reason in REFUSED_WHERE_ON.items():
        if name not in config:
            continue
        if _is_on(name, config.pop(name)):
            raise SettingsError(f"the DeepSpeed JSON asks for {name}: {reason}")
        notes.append(f"{name} is not used: it is switched off")
    for name, reason in NOT_USED.items():
        if name in config:
            del config[name]
            notes.append(f"{name} is not used: {reason}")
    if config.get("managed_gradient_accumulation") is False:
        raise SettingsError(
            "the DeepSpeed JSON has managed_gradient_accumulation false: the trainer leaves that to DeepSpeed, remove it"
        )
    config.pop("managed_gradient_accumulation", None)
    if str(config.get("gradient_allreduce_op")).lower() == "sum":
        raise SettingsError('the DeepSpeed JSON has gradient_allreduce_op "sum": the loss is scaled for "mean", remove it')
    if isinstance(config.get("checkpoint"), dict):
        for name in _CHECKPOINT.keys() & config["checkpoint"].keys():
            del config["checkpoint"][name]
            notes.append(f"checkpoint.{name} is not used: {_CHECKPOINT[name]}")
    if "bfloat16" in config:
        if "bf16" in config:
            raise SettingsError("the DeepSpeed JSON has both bf16 and bfloat16, its old name: leave one out")
        config["bf16"] = config.pop("bfloat16")
    if config.get("steps_per_print") in ("inf", float("inf")):  # accelerate's way to print nothing
        del config["steps_per_print"]
    _modernise_zero(config, notes)


def check_monitors(config: DeepSpeedJson) -> None:
    """Raises SettingsError where a monitor is on of which the package is not installed."""
    import importlib.util

    for name, package in MONITORS.items():
        if config.get(name, {}).get("enabled") is True and importlib.util.find_spec(package) is None:
            raise SettingsError(
                f"the DeepSpeed JSON has {name}.enabled true, but the package {package} is not installed: "
                f"pip install {package}, or set it to false"
            )


def _modernise_zero(config: DeepSpeedJson, notes: list[str]) -> None:
    """Old ways to write zero_optimization become those of DeepSpeed 0.19."""
    zero = config.get("zero_optimization")
    if isinstance(zero, bool):
        zero = config["zero_optimization"] = {"stage": int(zero)}
        notes.append(f"zero_optimization {str(bool(zero['stage'])).lower()} is stage {zero['stage']}")
    if not isinstance(zero, dict):
        return
    for old, new in _OLD_NAMES.items():
        if old not in zero:
            continue
        value = zero.pop(old)
        is_offload = new.startswith("offload")
        if value == AUTO or (is_offload and value is False):
            continue
        if new in zero:
            raise SettingsError(f"the DeepSpeed JSON has zero_optimization.{new} and {old}, its old name: leave one out")
        if not isinstance(value, bool):
            raise SettingsError(f"the DeepSpeed JSON has zero_optimization.{old} {value!r}: it must be true or false")
        zero[new] = {"device": "cpu"} if is_offload else value
    for name, reason in _ZERO_NOT_USED.items():
        if zero.pop(name, None) is not None:
            notes.append(f"zero_optimization.{name} is not used: {reason}")
    for name in _ZERO_REMOVED:
        value = zero.pop(name, None)
        if value not in (None, False, AUTO) and not (name == "mics_shard_size" and value == -1):
            raise SettingsError(f"the DeepSpeed JSON has zero_optimization.{name}: {_REMOVED}, remove it")
        if value is not None:
            notes.append(f"zero_optimization.{name} is not used: it is switched off")
    if zero.get("compute_grad_norm") is False:
        zero["compute_grad_norm"] = True
        notes.append("zero_optimization.compute_grad_norm becomes true: the trainer checks every gradient")


def _is_on(name: str, value: Any) -> bool:
    """Whether a section that need not hold `enabled` is switched on."""
    if name == "tensor_parallel" and isinstance(value, dict):
        inner = (value.get(key) for key in ("tp", "tensor_parallel"))
        sizes = [value.get("autotp_size"), *(section.get("tp_size") for section in inner if isinstance(section, dict))]
        return any(size not in (None, 0, 1, AUTO) for size in sizes)
    if name == "sequence_parallel_size":
        return value not in (None, 1, AUTO)
    if name == "sparse_attention":
        return bool(value)
    if isinstance(value, dict):
        if "enabled" in value:
            return value["enabled"] not in (False, None, AUTO)
        return any(_is_on("", inner) for inner in value.values() if isinstance(inner, dict))
    return value not in (False, None, AUTO)
