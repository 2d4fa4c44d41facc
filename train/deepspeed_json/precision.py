"""Precision and ZeRO in the DeepSpeed JSON: what "auto" becomes, and what a CPU does instead of what it cannot."""

from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.train.deepspeed_json.kinds import DeepSpeedJson
from syntaxdiff.train.deepspeed_json.schema import AUTO

SAME_DTYPE = {"fp32": "fp32", "float32": "fp32", "float": "fp32"}
SAME_DTYPE |= {"bf16": "bf16", "bfloat16": "bf16", "fp16": "fp16", "float16": "fp16", "half": "fp16"}


def settle_precision(config: DeepSpeedJson, *, has_gpu: bool, has_bf16: bool) -> None:
    """Decides between bfloat16, float16 and float32, in place.

    "auto" in either section asks for 16 bits: bfloat16 where the hardware computes in it and bf16.enabled is not false, else
    float16 on a GPU, else float32.

    Raises:
        SettingsError: both are switched on
    """
    bf16, fp16 = (config.get(name, {}).get("enabled") for name in ("bf16", "fp16"))
    if bf16 is True and fp16 is True:
        raise SettingsError("the DeepSpeed JSON has bf16.enabled and fp16.enabled true: set one of them to false")
    if AUTO not in (bf16, fp16):
        return
    takes_bf16 = bf16 is True or (fp16 is not True and bf16 is not False and has_bf16)
    takes_fp16 = fp16 is True or (not takes_bf16 and fp16 == AUTO and has_gpu)
    if takes_bf16 or bf16 == AUTO:
        config.setdefault("bf16", {})["enabled"] = takes_bf16
    if fp16 == AUTO:
        config["fp16"]["enabled"] = takes_fp16


def settle_zero(config: DeepSpeedJson, hidden_size: int) -> None:
    """Fills in the stage and the sizes of communication that are "auto", in place, as transformers does."""
    zero = config.setdefault("zero_optimization", {"stage": 3})
    sizes = {
        "stage": 3,
        "reduce_bucket_size": hidden_size * hidden_size,
        "prefetch_bucket_size": int(0.9 * hidden_size * hidden_size),
        "param_persistence_threshold": 10 * hidden_size,
    }
    for name, value in sizes.items():
        for key in (name, f"stage3_{name}"):
            if zero.get(key) == AUTO:
                zero[key] = value


def mend_stage(config: DeepSpeedJson, notes: list[str]) -> None:
    """Takes the next stage of ZeRO where DeepSpeed 0.19 does not compute what the one asked for should, and notes it."""
    zero = config["zero_optimization"]
    stage = zero.get("stage", 0)
    if stage == 0 and config.get("fp16", {}).get("enabled") is True:
        zero["stage"] = 1
        notes.append(
            "zero_optimization.stage 0 becomes 1: with fp16, DeepSpeed's stage 0 divides by a loss scale never applied"
        )
    elif stage == 0 and config.get("bf16", {}).get("enabled") is True and _optimizer_is(config, "adagrad"):
        zero["stage"] = 1
        notes.append("zero_optimization.stage 0 becomes 1: in bf16, DeepSpeed's stage 0 loses Adagrad's state")
    elif stage == 1 and config.get("bf16", {}).get("enabled") is True and _accumulation_dtype(config) == "fp32":
        zero["stage"] = 2
        notes.append("zero_optimization.stage 1 becomes 2: DeepSpeed's stage 1 ignores data_types.grad_accum_dtype fp32")


def check_stage(config: DeepSpeedJson, world: int, notes: list[str]) -> None:
    """Refuses what the stage of ZeRO cannot do, and notes what it does not use.

    Raises:
        SettingsError: gradients that stage 0 cannot accumulate, an unequal secondary partition, NVMe without a path
    """
    zero = config["zero_optimization"]
    stage = zero.get("stage", 0)
    model = next((name for name in ("bf16", "fp16") if config.get(name, {}).get("enabled") is True), "fp32")
    wanted = _accumulation_dtype(config)
    if stage == 0 and wanted not in (None, model):
        raise SettingsError(
            f"the DeepSpeed JSON has data_types.grad_accum_dtype {wanted}, but ZeRO stage 0 accumulates in the precision of "
            f"the model, {model}: use zero_optimization.stage 1"
        )
    secondary = zero.get("zero_hpz_partition_size", 1)
    if isinstance(secondary, int) and secondary > 1 and world % secondary:
        raise SettingsError(
            f"the DeepSpeed JSON has zero_optimization.zero_hpz_partition_size {secondary}, which does not divide {world} ranks"
        )
    for name, least in (("offload_optimizer", 1), ("offload_param", 3)):
        section = zero.get(name)
        if not isinstance(section, dict) or section.get("device", "none") in ("none", AUTO):
            continue
        if stage < least:
            del zero[name]
            notes.append(f"zero_optimization.{name} is not used: it needs stage {least}, not {stage}")
        elif section["device"] == "nvme" and not section.get("nvme_path"):
            raise SettingsError(f'the DeepSpeed JSON has zero_optimization.{name}.device "nvme" without {name}.nvme_path')


def adapt_to_cpu(config: DeepSpeedJson, notes: list[str]) -> None:
    """Changes what a CPU cannot do, in place, and says what."""
    if config.get("fp16", {}).get("enabled") is True:
        config["fp16"] = {"enabled": False}
        config["bf16"] = {"enabled": True}
        notes.append("fp16 becomes bf16, as this machine has no GPU")
    zero = config["zero_optimization"]
    for name in ("offload_optimizer", "offload_param"):
        section = zero.get(name)
        if isinstance(section, dict) and section.get("device", "none") not in ("none", AUTO):
            del zero[name]
            notes.append(f"zero_optimization.{name} is left out: this machine has no GPU to offload from")
    names = ("zero_quantized_weights", "zero_quantized_gradients", "zero_quantized_nontrainable_weights")
    for name in (*names, "zenflow"):
        if zero.get(name) not in (None, False, AUTO):
            del zero[name]
            notes.append(f"zero_optimization.{name} is left out: it needs a GPU")
    secondary = zero.get("zero_hpz_partition_size", 1)
    if isinstance(secondary, int) and secondary > 1:
        del zero["zero_hpz_partition_size"]
        notes.append("zero_optimization.zero_hpz_partition_size is left out: it is for nodes of several GPUs")
    autocast = config.get("torch_autocast", {})
    if autocast.get("enabled") is True and autocast.get("dtype") in ("fp16", "float16", "half"):
        autocast["dtype"] = "bf16"
        notes.append("torch_autocast.dtype becomes bf16, as this machine has no GPU")


def _accumulation_dtype(config: DeepSpeedJson) -> str | None:
    wanted = config.get("data_types", {}).get("grad_accum_dtype")
    return None if wanted in (None, AUTO) else SAME_DTYPE[wanted.removeprefix("torch.")]


def _optimizer_is(config: DeepSpeedJson, name: str) -> bool:
    return str(config.get("optimizer", {}).get("type")).lower() == name
