"""The stage of ZeRO moves state between ranks: it changes neither losses, nor gradient norms, nor weights."""

import itertools
import socket
from pathlib import Path
from typing import Any

import engine_trials as trials
import pytest
import torch

STAGES = (0, 1, 2, 3)
CASES = list(itertools.product(STAGES, ("float32", "bfloat16"), (0.0, 1.0)))
FLOAT32_SUMS = {"data_types": {"grad_accum_dtype": "fp32"}}
CONFIGS = [trials.deepspeed_json(*case) for case in CASES]
CONFIGS += [trials.deepspeed_json(stage, "bfloat16", 1.0, **FLOAT32_SUMS) for stage in (1, 2, 3)]
LOW_STAGE_0 = [(0, "bfloat16", 0.0), (0, "bfloat16", 1.0)]  # of which DeepSpeed shows the rounded weights only


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.slow
def test_every_stage_and_precision_is_plain_adamw(tmp_path: Path) -> None:
    """Three steps: losses, gradient norms before clipping, and weights are those of torch's AdamW with float32 masters.

    Weight decay spares biases and norms. None is 0.0 where it is unknown, and none is a quarter off as by an empty first step.
    """
    answers = trials.in_processes(trials.all_trained, tmp_path, CONFIGS, port=_free_port())
    expected = [trials.plain_steps(getattr(torch, dtype), clipping) for _, dtype, clipping in CASES]
    expected += [trials.plain_steps(torch.bfloat16, 1.0, accumulates_in=torch.float32)] * 3
    for case, (trace, weights), (plain_trace, plain_weights) in zip([*CASES, 1, 2, 3], answers, expected, strict=True):
        assert [tuple(step) for step in trace] == [pytest.approx(step, rel=1e-4) for step in plain_trace], case
        for weight, plain in zip(weights, plain_weights, strict=True):
            assert torch.allclose(torch.tensor(weight), plain.detach(), atol=1e-2 if case in LOW_STAGE_0 else 1e-4), case


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_state_of_two_ranks_fits_one(stage: int, tmp_path: Path) -> None:
    """Two groups of parameters, saved on two ranks and loaded on one: the third step is that of a run that never stopped."""
    trials.in_processes(trials.save_state, tmp_path, stage, tmp_path, ranks=2, port=_free_port())
    trace, weights = trials.in_processes(trials.load_and_train, tmp_path, stage, tmp_path, port=_free_port())
    plain_trace, plain_weights = trials.plain_steps(torch.float32, 1.0)
    assert tuple(trace[0]) == pytest.approx(plain_trace[2], rel=1e-4)
    for weight, plain in zip(weights, plain_weights, strict=True):
        assert torch.allclose(torch.tensor(weight), plain, atol=1e-5)


AUTO_BATCH = dict.fromkeys(("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps"), "auto")
AUTO_ADAM = {"type": "AdamW", "params": dict.fromkeys(("lr", "betas", "eps", "weight_decay"), "auto")}
AUTO_WARMUP = {"type": "WarmupLR", "params": dict.fromkeys(("warmup_min_lr", "warmup_max_lr", "warmup_num_steps"), "auto")}
TO_CPU = {"device": "cpu", "pin_memory": True}
BUCKETS = dict.fromkeys(("reduce_bucket_size", "stage3_prefetch_bucket_size", "stage3_param_persistence_threshold"), "auto")
FP16 = {"enabled": "auto", "loss_scale": 0, "loss_scale_window": 500, "initial_scale_power": 16, "hysteresis": 2}
# Habits of published files: of transformers' examples, of fine-tuning kits, of DeepSpeed's own examples.
HABITS: dict[str, dict[str, Any]] = {
    "all auto, no optimizer": {
        **AUTO_BATCH, "gradient_clipping": "auto", "bf16": {"enabled": "auto"}, "fp16": FP16, "comms_config": {},
        "zero_optimization": {"stage": 0, "round_robin_gradients": True, "overlap_comm": False},
    },
    "stage 2, optimizer on the CPU": {
        **AUTO_BATCH, "fp16": FP16, "bf16": {"enabled": "auto"}, "optimizer": AUTO_ADAM, "scheduler": AUTO_WARMUP,
        "zero_optimization": {"stage": 2, "offload_optimizer": TO_CPU, "allgather_bucket_size": 2e8, "overlap_comm": True},
        "steps_per_print": 2e3,
    },
    "stage 3, all on the CPU": {
        **AUTO_BATCH, "zero_force_ds_cpu_optimizer": False, "zero_allow_untested_optimizer": True, "bf16": {"enabled": True},
        "zero_optimization": {
            "stage": 3, "offload_optimizer": TO_CPU, "offload_param": TO_CPU, "sub_group_size": 0, "max_live_parameters": 0,
            "gather_16bit_weights_on_model_save": True, **BUCKETS,
        },
        "activation_checkpointing": {"partition_activations": True, "number_checkpoints": None},
    },
    "an older DeepSpeed's": {
        "train_batch_size": 4, "steps_per_print": 2000, "prescale_gradients": False, "fp16": {"enabled": True},
        "optimizer": {"type": "Adam", "params": {"lr": 1e-3, "betas": [0.8, 0.999], "eps": 1e-8, "bias_correction": True}},
        "scheduler": {"type": "WarmupLR", "params": {"warmup_min_lr": 0, "warmup_max_lr": 1e-3, "warmup_num_steps": 10}},
        "zero_optimization": {"stage": 2, "cpu_offload": True, "elastic_checkpoint": True}, "sparse_attention": {},
    },
    "NVMe and quantized communication": {
        "bf16": {"enabled": True}, "aio": {"block_size": 1048576, "queue_depth": 8, "single_submit": False},
        "zero_optimization": {
            "stage": 3, "offload_param": {"device": "nvme", "nvme_path": "/nowhere", "buffer_count": "auto"},
            "zero_quantized_weights": True, "zero_hpz_partition_size": 8,
        },
    },
    "an empty optimizer": {"optimizer": {}, "scheduler": {}, "zero_optimization": {}},
    "Adagrad": {"optimizer": {"type": "Adagrad"}, "bf16": {"enabled": True}, "zero_optimization": {"stage": 0}},
    "SGD": {"optimizer": {"type": "SGD", "params": {"momentum": 0.9}}, "zero_allow_untested_optimizer": True},
    "autocast": {"torch_autocast": {"enabled": True, "dtype": "fp16"}, "zero_optimization": {"stage": 0}},
    "one cycle": {"scheduler": {"type": "OneCycle", "params": {"cycle_min_lr": 1e-4, "cycle_max_lr": 1e-3}}},
    "profiled": {"wall_clock_breakdown": True, "comms_logger": {"enabled": True}, "flops_profiler": {"enabled": True}},
}  # fmt: skip


@pytest.mark.slow
def test_what_others_write_takes_a_step_on_a_cpu(tmp_path: Path) -> None:
    """JSONs with the habits of published ones run as they are; what DeepSpeed alone refuses is one line with its words."""
    refused = {"bf16": {"enabled": True, "bf16_master_weights_and_grads": True}, "zero_optimization": {"stage": 0}}
    *norms, message = trials.in_processes(trials.outcomes, tmp_path, [*HABITS.values(), refused], port=_free_port())
    for name, norm in zip(HABITS, norms, strict=True):
        assert isinstance(norm, float), (name, norm)
        assert norm > 1, name
    assert message.startswith("DeepSpeed refuses the JSON (AssertionError): Bf16_master_weights_and_grads is only supported")
