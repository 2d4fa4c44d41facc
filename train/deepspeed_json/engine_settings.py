"""What the trainer itself reads of a completed DeepSpeed JSON."""

from dataclasses import dataclass

from syntaxdiff.train.deepspeed_json.kinds import DeepSpeedJson
from syntaxdiff.train.deepspeed_json.schema import AUTO


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """The values that batches, memory and messages depend on.

    Attributes:
        micro_batch: samples of a forward pass on each rank
        accumulation: forward passes of a step
        zero_stage: of ZeRO, 0 to 3
        scheduled_steps: length of the schedule that the JSON gives itself; None where the run decides it
    """

    micro_batch: int
    accumulation: int
    zero_stage: int
    is_bf16: bool
    is_fp16: bool
    offloads_parameters: bool
    offloads_optimizer: bool
    scheduled_steps: int | None


def engine_settings(config: DeepSpeedJson) -> EngineSettings:
    """Reads them off a JSON as ``config.complete`` leaves it."""
    zero = config["zero_optimization"]
    steps = config.get("scheduler", {}).get("params", {}).get("total_num_steps", AUTO)
    return EngineSettings(
        micro_batch=config["train_micro_batch_size_per_gpu"],
        accumulation=config["gradient_accumulation_steps"],
        zero_stage=zero.get("stage", 0),
        is_bf16=bool(config.get("bf16", {}).get("enabled")),
        is_fp16=bool(config.get("fp16", {}).get("enabled")),
        offloads_parameters=zero.get("offload_param", {}).get("device", "none") != "none",
        offloads_optimizer=zero.get("offload_optimizer", {}).get("device", "none") != "none",
        scheduled_steps=None if steps == AUTO else steps,
    )
