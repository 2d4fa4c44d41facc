"""Which process of a run this one is: from the variables that its launcher set.

The launcher of DeepSpeed and torchrun set RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT. The variables of Slurm
(``srun``), Open MPI and MPICH are translated to these. A process that no launcher started is a run of its own. Nothing here
opens a connection.
"""

import re
from collections.abc import Mapping

from syntaxdiff.pipeline.errors import SettingsError

_NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
_FIRST_PORT, _NUM_PORTS = 15_000, 15_000  # below those that Linux gives to outgoing connections
# Rank, number of ranks, rank on this machine, number of ranks on this machine.
_MPI = (
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"),
    ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
)


def rank_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of torchrun for this process; a run of one rank where no launcher is to be seen.

    MASTER_PORT is left out of a run of one rank: any free port will do.

    Raises:
        SettingsError: the variables contradict each other, or do not say where rank 0 is
    """
    if "RANK" in environment:
        missing = [name for name in _NAMES if name not in environment]
        if "LOCAL_RANK" in missing and environment.get("WORLD_SIZE") == "1":
            missing.remove("LOCAL_RANK")
        if missing:
            raise SettingsError(
                f"RANK is set but {missing[0]} is not: set {', '.join(_NAMES)}, as torchrun does, or unset RANK for one process"
            )
        return _checked({"LOCAL_RANK": "0"} | {name: environment[name] for name in _NAMES if name in environment})
    if _count(environment, "SLURM_NTASKS") > 1:
        return _checked(_of_slurm(environment))
    for rank, world, local_rank, local_world in _MPI:
        if _count(environment, world) > 1:
            return _checked(_of_mpi(environment, rank, world, local_rank, local_world))
    if _count(environment, "WORLD_SIZE") > 1:
        raise SettingsError(f"WORLD_SIZE is {environment['WORLD_SIZE']} but RANK is not set: set both, or neither")
    return {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}


def _of_slurm(environment: Mapping[str, str]) -> dict[str, str]:
    """A task of ``srun``. The tasks of a step count, which may be fewer than the job's."""
    tasks = environment["SLURM_NTASKS"]
    is_script = environment.get("ENVIRONMENT") == "BATCH" and not {"SLURM_STEP_ID", "SLURM_STEPID"} & environment.keys()
    if "SLURM_PROCID" not in environment or is_script:
        raise SettingsError(
            f"Slurm gave this job {tasks} tasks, and this process is not one of them: start it with "
            "`srun python train/run.py …`, or unset SLURM_NTASKS for one process"
        )
    world = environment.get("SLURM_STEP_NUM_TASKS", tasks)
    job, step = (_number(environment.get(name, "0")) for name in ("SLURM_JOB_ID", "SLURM_STEP_ID"))
    lists = (environment.get(f"SLURM_{name}NODELIST") for name in ("STEP_", "JOB_", ""))
    nodes = next((nodes for nodes in lists if nodes), "")
    on_each = environment.get("SLURM_STEP_TASKS_PER_NODE") or environment.get("SLURM_TASKS_PER_NODE") or world
    node = _number(environment.get("SLURM_NODEID", "0"))
    per_node = tasks_per_node(on_each)
    return {
        "RANK": environment["SLURM_PROCID"],
        "WORLD_SIZE": world,
        "LOCAL_RANK": environment.get("SLURM_LOCALID", "0"),
        "LOCAL_WORLD_SIZE": str(per_node[node] if node < len(per_node) else 1),
        "MASTER_ADDR": environment.get("MASTER_ADDR") or (first_host(nodes) if nodes else "127.0.0.1"),
        "MASTER_PORT": environment.get("MASTER_PORT") or str(_FIRST_PORT + (job * 7 + step) % _NUM_PORTS),
    }


def _of_mpi(environment: Mapping[str, str], rank: str, world: str, local_rank: str, local_world: str) -> dict[str, str]:
    """A process of ``mpirun``, which does not say where rank 0 is unless all are on one machine."""
    if rank not in environment or local_rank not in environment:
        raise SettingsError(f"{world} is {environment[world]} but {rank} or {local_rank} is not set: set RANK and LOCAL_RANK")
    is_one_machine = environment.get(local_world) == environment[world]
    if "MASTER_ADDR" not in environment and not is_one_machine:
        raise SettingsError(
            f"{world} says that this run has {environment[world]} ranks, on several machines: set MASTER_ADDR to the host of "
            "rank 0"
        )
    return {
        "RANK": environment[rank],
        "WORLD_SIZE": environment[world],
        "LOCAL_RANK": environment[local_rank],
        "LOCAL_WORLD_SIZE": environment.get(local_world, "1"),
        "MASTER_ADDR": environment.get("MASTER_ADDR", "127.0.0.1"),
        "MASTER_PORT": environment.get("MASTER_PORT", "29500"),
    }


def _checked(variables: dict[str, str]) -> dict[str, str]:
    """The variables. Raises SettingsError where a rank is not a number below the number of ranks."""
    numbers = {name: variables[name] for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    wrong = next((name for name, value in numbers.items() if not value.isdigit()), None)
    if wrong is not None:
        raise SettingsError(f"{wrong} is {numbers[wrong]!r}, which is not a number")
    if int(numbers["RANK"]) >= int(numbers["WORLD_SIZE"]):
        raise SettingsError(f"RANK {numbers['RANK']} is not below WORLD_SIZE {numbers['WORLD_SIZE']}")
    return variables


def first_host(nodes: str) -> str:
    """The first host of a list as Slurm writes it: ``gpu[003-006,9],login`` begins with ``gpu003``."""
    first = re.match(r"(?:[^,\[]|\[[^\]]*\])+", nodes)
    return re.sub(r"\[([^\],-]*)[^\]]*\]", r"\1", first[0]) if first else nodes


def tasks_per_node(text: str) -> list[int]:
    """Number of tasks of each node, of Slurm's ``4(x2),3``."""
    return [int(count) for count, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", text) for _ in range(int(times or 1))]


def _count(environment: Mapping[str, str], name: str) -> int:
    """A number of processes, 1 where it is not set."""
    value = environment.get(name) or "1"
    if not value.isdigit():
        raise SettingsError(f"{name} is {value!r}, which is not a number")
    return int(value)


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0
