"""The stage of ZeRO moves state between ranks: it changes neither losses, nor gradient norms, nor weights."""

import itertools
import socket
from pathlib import Path

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
        for one, plain in zip(weights, plain_weights, strict=True):
            assert torch.allclose(torch.tensor(one), plain.detach(), atol=1e-2 if case in LOW_STAGE_0 else 1e-4), case


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_state_of_two_ranks_fits_one(stage: int, tmp_path: Path) -> None:
    """Two groups of parameters, saved on two ranks and loaded on one: the third step is that of a run that never stopped."""
    trials.in_processes(trials.save_state, tmp_path, stage, tmp_path, ranks=2, port=_free_port())
    trace, weights = trials.in_processes(trials.load_and_train, tmp_path, stage, tmp_path, port=_free_port())
    plain_trace, plain_weights = trials.plain_steps(torch.float32, 1.0)
    assert tuple(trace[0]) == pytest.approx(plain_trace[2], rel=1e-4)
    for one, plain in zip(weights, plain_weights, strict=True):
        assert torch.allclose(torch.tensor(one), plain, atol=1e-5)
