"""What a run will need of each GPU's memory, estimated before anything is loaded."""

from dataclasses import dataclass
from typing import Any

from syntaxdiff.train.deepspeed_json.engine_settings import EngineSettings

GIB = 2**30


@dataclass(frozen=True)
class Estimate:
    """Bytes on each GPU.

    Attributes:
        states: weights, gradients, optimizer
        activations: of one micro-batch
    """

    states: int
    activations: int

    @property
    def total(self) -> int:
        """Both, and what the allocator and communication take."""
        return int(1.1 * (self.states + self.activations)) + GIB


def estimate(
    num_parameters: int,
    network: Any,
    engine: EngineSettings,
    *,
    world: int,
    tokens: int,
    lora: int,
    checkpointing: bool,
) -> Estimate:
    """Memory of a run.

    Args:
        num_parameters: of the network
        network: its configuration
        engine: of the completed DeepSpeed JSON
        tokens: of a micro-batch
        lora: trainable parameters of adapters, 0 to train all
    """
    stage, width = engine.zero_stage, 2 if engine.is_bf16 or engine.is_fp16 else 4
    trained = lora or num_parameters
    weights = width * (num_parameters + lora) / (world if stage == 3 else 1)
    gradients = width * trained / (world if stage >= 2 else 1)
    # Adam: two moments, and float32 copies of weights that are not.
    optimizer = (12 if width == 2 else 8) * trained / (world if stage >= 1 else 1)
    if engine.offloads_parameters:
        weights = 0.1 * weights
    if engine.offloads_optimizer:
        optimizer = gradients = 0
    # A layer keeps about 34 bytes per token and width in bf16 with flash attention, with checkpointing only its input.
    layer = tokens * network.hidden_size * width
    activations = network.num_hidden_layers * layer + 17 * layer if checkpointing else 17 * network.num_hidden_layers * layer
    return Estimate(int(weights + gradients + optimizer), int(activations))


def advice(needed: Estimate, available: int, *, world: int, lora: int, checkpointing: bool, offloads: bool) -> str:
    """What would make a run fit that does not."""
    ways = []
    if not lora:
        ways.append("--lora-rank 16")
    if not checkpointing and needed.activations > 0.2 * available:
        ways.append("--activation-checkpointing")
    if not offloads:
        ways.append('"offload_optimizer": {"device": "cpu"} in the JSON')
    free = available - GIB - 1.1 * needed.activations
    if free > 0:
        ways.append(f"{int(-(-1.1 * needed.states * world // free))} GPUs instead of {world}")
    return (
        f"the run needs about {needed.total / GIB:.0f} GiB on each GPU ({needed.states / GIB:.0f} for weights, gradients and "
        f"optimizer, {needed.activations / GIB:.0f} for activations) and has {available / GIB:.0f}: use {', or '.join(ways)}"
    )
