"""The one module that drives DeepSpeed: starting processes' communication, making the engine, saving and loading its state."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import deepspeed
import torch
from deepspeed.accelerator import get_accelerator
from torch import Tensor, distributed, nn

from syntaxdiff.pipeline.errors import SettingsError, StorageError


def start_processes() -> None:
    """Joins this process to the others of the run; alone where the launcher did not start it."""
    if not torch.cuda.is_available():
        # Without it, the CPU accelerator compiles a shared-memory backend at start: 28 s, and an error without a compiler.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    if "RANK" not in os.environ:
        os.environ |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
        os.environ.setdefault("MASTER_PORT", str(_free_port()))
    deepspeed.init_distributed(dist_backend="nccl" if torch.cuda.is_available() else "gloo", verbose=False)


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def stop_processes() -> None:
    """Leaves the others."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def device() -> torch.device:
    """Where this process computes."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def make_engine(model: nn.Module, config: dict[str, Any]) -> Any:
    """DeepSpeed's engine around a model.

    Raises:
        SettingsError: DeepSpeed refuses the configuration
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        engine, *_ = deepspeed.initialize(model=model, model_parameters=parameters, config=config)
    except (AssertionError, ValueError, TypeError) as error:
        raise SettingsError(f"DeepSpeed refuses the JSON: {' '.join(str(error).split())}") from error
    return engine


@contextmanager
def gathered(parameters: list[nn.Parameter]) -> Iterator[None]:
    """Within the block, whole parameters under ZeRO-3; nothing is changed back."""
    with deepspeed.zero.GatheredParameters(parameters, modifier_rank=None):
        yield


def save_state(engine: Any, folder: Path, tag: str, client_state: dict[str, Any]) -> None:
    """Writes the engine's state into ``folder/tag``, every rank its part.

    Raises:
        StorageError: the disk refused
    """
    try:
        engine.save_checkpoint(str(folder), tag=tag, client_state=client_state, save_latest=False)
    except (OSError, RuntimeError) as error:
        raise StorageError(
            f"{folder / tag} cannot be written ({' '.join(str(error).split())[:200]}): free some space and start again with "
            "--resume auto, the last whole checkpoint is untouched"
        ) from error


def load_state(engine: Any, folder: Path, tag: str) -> dict[str, Any]:
    """Reads the engine's state from ``folder/tag``; returns what was stored with it.

    Raises:
        SettingsError: the state is of another number of ranks, or damaged
    """
    path, client_state = engine.load_checkpoint(str(folder), tag=tag)
    if path is None:
        raise SettingsError(f"{folder / tag} cannot be loaded by this run: is it of another model or JSON?")
    return dict(client_state)


def sum_over_ranks(values: Tensor) -> Tensor:
    """The sum of a tensor over all ranks, in place."""
    distributed.all_reduce(values)
    return values


def any_rank(flag: bool, where: torch.device) -> bool:
    """Whether a flag is set on any rank."""
    value = torch.tensor([float(flag)], device=where)
    distributed.all_reduce(value, op=distributed.ReduceOp.MAX)
    return bool(value.item())


def barrier() -> None:
    """Waits for all ranks."""
    distributed.barrier()


def peak_memory_bytes() -> int:
    """Most memory that this process has had: of the GPU, or resident."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def accelerator_name() -> str:
    """What DeepSpeed computes on."""
    return str(get_accelerator().device_name())
