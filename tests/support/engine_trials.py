"""A small network trained by DeepSpeed in processes of their own, and by plain PyTorch, for comparison."""

import copy
import json
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

LEARNING_RATE, WEIGHT_DECAY = 1e-2, 0.1
NUM_STEPS, ACCUMULATION = 3, 2
Trace = list[tuple[float, float]]  # loss and gradient norm of every step


def network() -> nn.Module:
    """Matrices, biases and a norm."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 32), nn.LayerNorm(32), nn.Linear(32, 8))


def micro_batches() -> list[Tensor]:
    """[4, 16] each, two for every step."""
    torch.manual_seed(1)
    return [torch.randn(4, 16) for _ in range(ACCUMULATION * NUM_STEPS)]


def loss_of(model: Any, batch_BD: Tensor, dtype: torch.dtype) -> Tensor:
    """Large enough that clipping at 1 acts."""
    loss: Tensor = (model(batch_BD.to(dtype)).float() ** 2).mean() * 30
    return loss


def plain_steps(
    dtype: torch.dtype, clipping: float, *, accumulates_in: torch.dtype | None = None
) -> tuple[Trace, list[Tensor]]:
    """torch.optim.AdamW on float32 masters of a network in ``dtype``: what every step was, and the masters at the end."""
    model = copy.deepcopy(network()).to(dtype)
    masters = [parameter.detach().float().requires_grad_() for parameter in model.parameters()]
    groups: list[dict[str, Any]] = [
        {"params": [tensor for tensor in masters if tensor.ndim > 1]},
        {"params": [tensor for tensor in masters if tensor.ndim == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    trace = []
    for step in range(NUM_STEPS):
        total = 0.0
        sums = [torch.zeros_like(tensor, dtype=accumulates_in or dtype) for tensor in masters]
        for batch_BD in micro_batches()[ACCUMULATION * step :][:ACCUMULATION]:
            loss = loss_of(model, batch_BD, dtype) / ACCUMULATION
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
            for tensor, parameter in zip(sums, model.parameters(), strict=True):
                assert parameter.grad is not None
                tensor += parameter.grad
                parameter.grad = None
        for master, tensor in zip(masters, sums, strict=True):
            master.grad = tensor.float()
        norm = float(nn.utils.clip_grad_norm_(masters, clipping or float("inf")))
        optimizer.step()
        with torch.no_grad():
            for parameter, master in zip(model.parameters(), masters, strict=True):
                parameter.copy_(master)
        trace.append((total, norm))
    return trace, [tensor.detach() for tensor in masters]


def deepspeed_json(stage: int, dtype: str, clipping: float, **more: Any) -> dict[str, Any]:
    """A constant rate, so that any step count has the same steps."""
    rates = {"warmup_min_lr": LEARNING_RATE, "warmup_max_lr": LEARNING_RATE, "warmup_num_steps": 1}
    return {
        "zero_optimization": {"stage": stage},
        "gradient_clipping": clipping,
        "bf16": {"enabled": dtype == "bfloat16"},
        "optimizer": {"type": "AdamW", "params": {"lr": LEARNING_RATE, "weight_decay": WEIGHT_DECAY, "torch_adam": True}},
        "scheduler": {"type": "WarmupLR", "params": rates},
        "steps_per_print": 1_000_000_000,
        **more,
    }


def trained(
    config: dict[str, Any], first: int, last: int, *, load: Any = None, save: Any = None, as_found: bool = False
) -> tuple[Trace, list[Any]]:
    """Steps ``first`` to ``last`` by DeepSpeed; every rank has its share of the micro-batches. For a process that has joined.

    Args:
        load: called with the engine before the first step
        save: called with the engine after the last
        as_found: sizes of the batch are the JSON's

    Returns:
        loss of this rank and gradient norm of every step, and the float32 weights
    """
    from deepspeed.utils import safe_get_full_fp32_param

    from syntaxdiff.train.deepspeed_json.config import RunFacts, complete, with_schedule
    from syntaxdiff.train.engine import deepspeed_engine as ds

    rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
    facts = RunFacts(
        world=world, default_learning_rate=LEARNING_RATE, learning_rate=None, micro_batch=None if as_found else 4,
        accumulation=None if as_found else ACCUMULATION // world, warmup_share=0.0, hidden_size=16, has_gpu=False,
    )  # fmt: skip
    config = with_schedule(complete(config, facts)[0], 100, 0.0)
    ds.check_config(config)
    engine = ds.make_engine(network(), config, None)
    if load:
        load(engine)
    dtype = torch.bfloat16 if config.get("bf16", {}).get("enabled") else torch.float32
    trace = []
    for step in range(first, last):
        total = 0.0
        mine = micro_batches()[ACCUMULATION * step :][:ACCUMULATION][rank::world]
        for batch_BD in (mine * engine.gradient_accumulation_steps())[: engine.gradient_accumulation_steps()]:
            loss = loss_of(engine, batch_BD, dtype)
            engine.backward(loss)
            engine.step()
            total += loss.item() * world / ACCUMULATION
        norm = ds.gradient_norm(engine)
        assert norm is not None
        trace.append((total, norm))
    if save:
        save(engine)
    weights = []
    for parameter in engine.module.parameters():
        whole = safe_get_full_fp32_param(parameter) if engine.zero_optimization() else None
        weights.append((parameter.detach().float() if whole is None else whole).tolist())
    return trace, weights


def all_trained(configs: list[dict[str, Any]]) -> list[Any]:
    """Whole runs, one after the other. For a process that has joined."""
    return [trained(config, 0, NUM_STEPS) for config in configs]


def outcomes(configs: list[dict[str, Any]]) -> list[Any]:
    """A step under each JSON as a user has it, on a CPU: the gradient norm, or the message that refuses it. After joining."""
    from syntaxdiff.pipeline.errors import SyntaxdiffError

    norms: list[Any] = []
    for config in configs:
        try:
            ((_, norm),), _ = trained(config, 0, 1, as_found=True)
            norms.append(norm)
        except SyntaxdiffError as error:
            norms.append(str(error))
    return norms


def save_state(stage: int, folder: Path) -> Trace:
    """Two steps, and a checkpoint in ``folder/step``. For processes that have joined."""
    from syntaxdiff.train.engine import deepspeed_engine as ds

    config = deepspeed_json(stage, "float32", 1.0)
    trace, _ = trained(config, 0, 2, save=lambda engine: ds.save_state(engine, folder, "step"))
    return trace


def load_and_train(stage: int, folder: Path) -> tuple[Trace, list[Any]]:
    """The third step, from ``folder/step`` of any number of ranks. For a process that has joined."""
    from syntaxdiff.train.engine import deepspeed_engine as ds

    def load(engine: Any) -> None:
        if stage:
            ds.write_universal(folder / "step", folder / "universal")
        ds.load_state(engine, folder, "universal" if stage else "step", is_universal=bool(stage))

    return trained(deepspeed_json(stage, "float32", 1.0), 2, 3, load=load)


def in_processes(task: Callable[..., Any], folder: Path, *arguments: Any, ranks: int = 1, port: int) -> Any:
    """Runs a function on some ranks, forked from a process that has imported DeepSpeed; what rank 0 returns, through JSON."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["syntaxdiff.train.engine.deepspeed_engine"])
    processes = [context.Process(target=_member, args=(task, folder, arguments, rank, ranks, port)) for rank in range(ranks)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=300)
    assert all(process.exitcode == 0 for process in processes), (folder / "log-0").read_text()[-3000:]
    return json.loads((folder / "answer.json").read_text())


def _member(task: Callable[..., Any], folder: Path, arguments: tuple[Any, ...], rank: int, ranks: int, port: int) -> None:
    with (folder / f"log-{rank}").open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks), "LOCAL_SIZE": str(ranks)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "DS_ACCELERATOR": "cpu"}
    from syntaxdiff.train.engine.deepspeed_engine import processes

    torch.set_num_threads(1)
    with processes():
        answer = task(*arguments)
        if rank == 0:
            (folder / "answer.json").write_text(json.dumps(answer))
