"""What DeepSpeed 0.19 does wrong, put right: neither the stage of ZeRO nor another number of ranks changes the numbers.

tests/train/engine/test_stages.py holds each of these against plain PyTorch.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def without_empty_step() -> Iterator[None]:
    """Keeps DeepSpeed's 16-bit optimizers of ZeRO stage 0 from taking a step of zero gradients when they are made.

    That step is meant to allocate moments, but it counts: Adam's bias correction is one step ahead, so that the first update
    is a quarter too small, and the weights decay once more. Stages 1 to 3 take none.
    """
    from deepspeed.runtime.fp16.fused_optimizer import FP16_Optimizer
    from deepspeed.runtime.fp16.unfused_optimizer import FP16_UnfusedOptimizer

    kept = {optimizer: optimizer.initialize_optimizer_states for optimizer in (FP16_Optimizer, FP16_UnfusedOptimizer)}
    try:
        for optimizer in kept:
            optimizer.initialize_optimizer_states = lambda _self: None
        yield
    finally:
        for optimizer, method in kept.items():
            optimizer.initialize_optimizer_states = method


def know_gradient_norm(engine: Any) -> None:
    """Makes the engine know its gradient norm under ZeRO stage 0, where DeepSpeed computes none in float32, or a scaled one."""
    if engine.zero_optimization():
        return
    take_step = engine._take_model_step
    is_plain = not hasattr(engine.optimizer, "_global_grad_norm")

    def take_step_and_norm(*arguments: Any, **options: Any) -> None:
        scale = 1.0
        if is_plain:
            scaler = engine.torch_autocast_z0_gradscaler
            scale = float(scaler.get_scale()) if scaler else 1.0
            gradients = [parameter.grad for parameter in engine.module.parameters() if parameter.grad is not None]
            norms = [torch.linalg.vector_norm(gradient, dtype=torch.float32) for gradient in gradients]
            engine._global_grad_norm = float(torch.linalg.vector_norm(torch.stack(norms))) if norms else 0.0
        elif type(engine.optimizer).__name__ == "FP16_UnfusedOptimizer":
            scale = float(engine.optimizer.loss_scale_config.cur_scale)
        take_step(*arguments, **options)
        engine._global_grad_norm /= scale

    engine._take_model_step = take_step_and_norm


def weight_decays(engine: Any) -> list[float | None]:
    """The weight decay of every group of parameters."""
    return [group.get("weight_decay") for group in engine.optimizer.param_groups]


def keep_groups_apart(engine: Any, decays: list[float | None]) -> None:
    """After a checkpoint was loaded: every group has its own weight decay and its own count of steps.

    ZeRO-3 loads a universal checkpoint with the first group's settings for all groups, and with one tensor that counts the
    steps of all, which then goes up once per group.

    Args:
        decays: of the groups, from before
    """
    for group, decay in zip(engine.optimizer.param_groups, decays, strict=True):
        if decay is not None:
            group["weight_decay"] = decay
    for state in getattr(engine.optimizer, "optimizer", engine.optimizer).state.values():
        if isinstance(state.get("step"), torch.Tensor):
            state["step"] = state["step"].clone()
