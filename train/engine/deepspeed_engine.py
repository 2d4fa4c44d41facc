"""The one module that drives DeepSpeed: starting processes' communication, making the engine, saving and loading its state."""

import copy
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NotRequired, TypedDict, TypeVar

import deepspeed
import torch
from torch import Tensor, distributed, nn

from syntaxdiff.pipeline.errors import SettingsError, StorageError, SyntaxdiffError
from syntaxdiff.train.deepspeed_json.kinds import DeepSpeedJson
from syntaxdiff.train.engine.deepspeed_repairs import keep_groups_apart, know_gradient_norm, weight_decays, without_empty_step
from syntaxdiff.train.engine.ranks import rank_variables

CPU_BF16 = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")  # as torch names them; the latter two are Arm's
Value = TypeVar("Value")


@contextmanager
def processes() -> Iterator[None]:
    """Within the block, this process is joined to the others of the run: those that its launcher started (ranks.py), or none.

    A group that exists already is used and left as it is. Environment variables that were added are removed at the end.

    Raises:
        SettingsError: the launcher's variables contradict each other, its port is taken, or there are fewer GPUs than ranks
    """
    if distributed.is_initialized():
        yield
        return
    before = dict(os.environ)
    try:
        _join()
        yield
    finally:
        if distributed.is_initialized():
            deepspeed.comm.destroy_process_group()
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


def _join() -> None:
    os.environ |= rank_variables(os.environ)
    if int(os.environ["WORLD_SIZE"]) == 1:
        os.environ.setdefault("MASTER_PORT", str(_free_port()))
    if torch.cuda.is_available():
        _check_gpus()
        torch.cuda.set_device(device())
    else:
        # Without it, the CPU accelerator compiles a shared-memory backend at start: 28 s, and an error without a compiler.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        # Else the CPU accelerator asks `numactl` for the number of devices at every reduction: a tenth of a small step.
        os.environ.setdefault("LOCAL_SIZE", os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"]))
    try:
        deepspeed.init_distributed(dist_backend="nccl" if torch.cuda.is_available() else "gloo", verbose=False)
    except distributed.DistNetworkError as error:
        address = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        if "EADDRINUSE" not in str(error):
            raise SettingsError(f"rank {os.environ['RANK']} cannot reach rank 0 at {address}: {_one_line(error)}") from error
        raise SettingsError(
            f"{address} is taken, probably by another run on this machine: choose another port, `deepspeed --master_port N "
            "train/run.py …`, or set MASTER_PORT"
        ) from error
    except distributed.DistError as error:
        raise SettingsError(f"the ranks of this run cannot be joined: {_one_line(error)}") from error


def _check_gpus() -> None:
    """Where a scheduler shows each process only its own GPU, that one is device 0 to all. Raises where there are too few."""
    visible, local_rank = torch.cuda.device_count(), int(os.environ["LOCAL_RANK"])
    if visible == 1 and "CUDA_VISIBLE_DEVICES" in os.environ:
        os.environ["LOCAL_RANK"], local_rank = "0", 0
    if local_rank >= visible:
        raise SettingsError(
            f"rank {os.environ['RANK']} is number {local_rank} on its machine, which shows it {visible} GPUs: start as many "
            "ranks as GPUs"
        )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def device() -> torch.device:
    """Where this process computes."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def has_bf16() -> bool:
    """Whether this machine has instructions for bfloat16: GPUs from Ampere on, CPUs with AVX512-BF16 or AMX, and some of Arm's.

    Other CPUs take it too, and are several times slower in it than in float32.
    """
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return any(torch.cpu.get_capabilities().get(name, False) for name in CPU_BF16)


def check_config(config: DeepSpeedJson) -> None:
    """Raises SettingsError where DeepSpeed itself refuses a completed JSON; nothing is built."""
    from deepspeed.runtime.config import DeepSpeedConfig

    try:
        DeepSpeedConfig(copy.deepcopy(config))
    except Exception as error:
        raise _refused(error) from error


def make_engine(model: nn.Module, config: DeepSpeedJson, block: type[nn.Module] | None, *, decays_all: bool = False) -> Any:
    """DeepSpeed's engine around a model.

    Args:
        model: with its weights, on the CPU
        config: the completed JSON
        block: class of the transformer blocks. ZeRO-3 gathers a block's weights at once, not matrix by matrix: fewer and larger
            messages, and a fifth off the time of a small step on a CPU. None gathers matrix by matrix, which blocks with frozen
            weights need: DeepSpeed 0.19 lets go of their adapters too early.
        decays_all: weight decay also on what ``parameter_groups`` exempts, in one group, as older checkpoints have it

    Raises:
        SettingsError: DeepSpeed refuses the configuration
    """
    groups: list[Any] = parameter_groups(model)
    # ZeRO-1 and 2 make Adagrad again with a single group.
    if decays_all or str(config.get("optimizer", {}).get("type")).lower() == "adagrad":
        groups = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if block is not None:
        deepspeed.utils.set_z3_leaf_modules(model, [block])
    try:
        with without_empty_step():
            engine, *_ = deepspeed.initialize(model=model, model_parameters=groups, config=config)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # DeepSpeed's refusals are of any class
        raise _refused(error) from error
    know_gradient_norm(engine)
    scheduler = engine.lr_scheduler
    if type(scheduler).__name__.startswith("Warmup"):
        scheduler.step()  # until its first step DeepSpeed's rate is 0, so the run's first step would do nothing
    return engine


class ParameterGroup(TypedDict):
    """A group as torch's optimizers take it: its parameters, and where it differs from the optimizer's own settings."""

    params: list[nn.Parameter]
    weight_decay: NotRequired[float]


def parameter_groups(model: nn.Module) -> list[ParameterGroup]:
    """The trainable parameters, in a group with weight decay and one without: norms, biases, the timestep embedding."""
    decayed: list[nn.Parameter] = []
    exempt: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            is_exempt = parameter.ndim < 2 or name.split(".")[0] == "timestep"
            (exempt if is_exempt else decayed).append(parameter)
    groups: list[ParameterGroup] = [{"params": decayed}, {"params": exempt, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def gradient_norm(engine: Any) -> float | None:
    """L2 norm of the last step's gradient, before clipping; None where the step was skipped, as float16 overflowed."""
    norm = engine.get_global_grad_norm()
    assert norm is not None  # compute_grad_norm is always on, and stage 0 has know_gradient_norm
    is_skipped = engine.fp16_enabled() and not engine.was_step_applied()
    return None if is_skipped else float(norm)


def _refused(error: Exception) -> SettingsError:
    """DeepSpeed's own words, in one line."""
    return SettingsError(f"DeepSpeed refuses the JSON ({type(error).__name__}): {' '.join(str(error).split())[:400]}")


@contextmanager
def gathered(parameters: list[nn.Parameter]) -> Iterator[None]:
    """Within the block, whole parameters under ZeRO-3; nothing is changed back."""
    with deepspeed.zero.GatheredParameters(parameters, modifier_rank=None):
        yield


def save_state(engine: Any, folder: Path, tag: str) -> None:
    """Writes the engine's state into ``folder/tag``, every rank its part.

    Raises:
        StorageError: the disk refused
    """
    try:
        engine.save_checkpoint(str(folder), tag=tag, client_state={}, save_latest=False)
    except (OSError, RuntimeError) as error:
        raise StorageError(
            f"{folder / tag} cannot be written ({' '.join(str(error).split())[:200]}): free some space and start again with "
            "--resume auto, the last whole checkpoint is untouched"
        ) from error


def load_state(engine: Any, folder: Path, tag: str, *, is_universal: bool = False) -> None:
    """Reads the engine's state from ``folder/tag``.

    Args:
        is_universal: the folder was made by ``write_universal``, and fits any number of ranks

    Raises:
        SettingsError: the state is of another model or number of ranks, or damaged
    """
    # DeepSpeed reads the flag from its JSON; one run may need both kinds, as its best checkpoint may be of either.
    engine._config.load_universal_checkpoint = is_universal
    decays = weight_decays(engine)
    try:
        path, _ = engine.load_checkpoint(str(folder), tag=tag)
    except (OSError, RuntimeError, AssertionError, ValueError, KeyError) as error:
        raise SettingsError(
            f"{folder / tag} cannot be loaded ({' '.join(str(error).split())[:200]}): remove it to resume from the one before"
        ) from error
    finally:
        engine._config.load_universal_checkpoint = False
    if path is None:
        raise SettingsError(f"{folder / tag} cannot be loaded by this run: is it of another model or JSON?")
    keep_groups_apart(engine, decays)
    scheduler = engine.lr_scheduler
    if scheduler is not None:  # the state holds the rate of the schedule that it was written under, which may have been another
        scheduler.step(scheduler.last_batch_iteration)


def write_universal(source: Path, target: Path) -> None:
    """Converts a state to DeepSpeed's universal form, which any number of ranks can load. For only one rank to call.

    Raises:
        StorageError: the converter failed, as it does on a full disk
    """
    workers = str(max(1, min(8, (os.cpu_count() or 2) // 2)))
    command = [sys.executable, "-m", "deepspeed.checkpoint.ds_to_universal", "--inject_missing_state"]
    command += ["--input_folder", str(source), "--output_folder", str(target)]
    command += ["--num_extract_workers", workers, "--num_merge_workers", workers]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise StorageError(f"{source} cannot be converted for another number of ranks: {last[:300]}")


def sum_over_ranks(values: Tensor) -> Tensor:
    """The sum of a tensor over all ranks, in place."""
    distributed.all_reduce(values)
    return values


def any_rank(flag: bool, where: torch.device) -> bool:
    """Whether a flag is set on any rank."""
    value = torch.tensor([float(flag)], device=where)
    distributed.all_reduce(value, op=distributed.ReduceOp.MAX)
    return bool(value.item())


def on_first(action: Callable[[], Value]) -> Value:
    """What a function returns on the first rank, which alone calls it, on every rank. It must be a value that pickles.

    Raises:
        SyntaxdiffError: the first rank's, on every rank, so that none waits for the others
    """
    held: list[Any] = [None, None]
    if distributed.get_rank() == 0:
        try:
            held[0] = action()
        except SyntaxdiffError as error:
            held[1] = error
    distributed.broadcast_object_list(held, src=0)
    value, refusal = held
    if refusal is not None:
        raise refusal
    return value  # type: ignore[no-any-return]


def of_every_rank(value: Value) -> list[Value]:
    """The values of all ranks, on every rank. They must be ones that pickle."""
    values: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(values, value)
    return values


def barrier() -> None:
    """Waits for all ranks."""
    distributed.barrier()


def peak_memory_bytes() -> int:
    """Most memory that this process has had: of the GPU, or resident."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
