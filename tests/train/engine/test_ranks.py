"""Which process of a run this is, from the variables of each launcher."""

import pytest

from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.train.engine.ranks import first_host, rank_variables, tasks_per_node

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "MASTER_ADDR": "a", "MASTER_PORT": "1"}
SRUN = {
    "SLURM_NTASKS": "8", "SLURM_PROCID": "5", "SLURM_LOCALID": "1", "SLURM_JOB_ID": "123", "SLURM_STEP_ID": "0",
    "SLURM_NODEID": "1", "SLURM_JOB_NODELIST": "gpu[003-004]", "SLURM_TASKS_PER_NODE": "4(x2)",
}  # fmt: skip
MPIRUN = {
    "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
}  # fmt: skip
HYDRA = {"PMI_RANK": "2", "PMI_SIZE": "4", "MPI_LOCALRANKID": "0", "MPI_LOCALNRANKS": "2", "MASTER_ADDR": "b"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ("0", "1", "0", "127.0.0.1")),
        (TORCHRUN, ("3", "8", "1", "a")),
        ({**SRUN, **TORCHRUN}, ("3", "8", "1", "a")),
        (SRUN, ("5", "8", "1", "gpu003")),
        ({**SRUN, "SLURM_STEP_NUM_TASKS": "6", "SLURM_STEP_NODELIST": "gpu004"}, ("5", "6", "1", "gpu004")),
        ({**SRUN, "MASTER_ADDR": "c"}, ("5", "8", "1", "c")),
        ({"SLURM_NTASKS": "2", "SLURM_PROCID": "1", "SLURM_LOCALID": "1"}, ("1", "2", "1", "127.0.0.1")),
        ({"SLURM_NTASKS": "1", "SLURM_JOB_ID": "5"}, ("0", "1", "0", "127.0.0.1")),
        (MPIRUN, ("1", "2", "1", "127.0.0.1")),
        (HYDRA, ("2", "4", "0", "b")),
        ({**SRUN, "PMI_RANK": "0", "PMI_SIZE": "8"}, ("5", "8", "1", "gpu003")),
    ],
)
def test_every_launcher_is_understood(environment: dict[str, str], expected: tuple[str, ...]) -> None:
    """Rank, number of ranks, rank on the machine and the host of rank 0."""
    found = rank_variables(environment)
    assert tuple(found[name] for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR")) == expected


def test_the_tasks_of_a_job_agree_on_a_port_and_steps_do_not_share_it() -> None:
    """Every task of a step has the same port, another step or job another one, out of those that Linux hands out itself."""
    ports = {(job, step): rank_variables({**SRUN, "SLURM_JOB_ID": job, "SLURM_STEP_ID": step})["MASTER_PORT"]
             for job in ("123", "124") for step in ("0", "1")}  # fmt: skip
    assert len(set(ports.values())) == 4
    assert all(1024 < int(port) < 32_768 for port in ports.values())
    assert rank_variables({**SRUN, "SLURM_PROCID": "0"})["MASTER_PORT"] == rank_variables(SRUN)["MASTER_PORT"]
    assert rank_variables(SRUN)["LOCAL_WORLD_SIZE"] == "4"


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"RANK": "0"}, "RANK is set but WORLD_SIZE is not"),
        ({**TORCHRUN, "RANK": "8"}, "RANK 8 is not below WORLD_SIZE 8"),
        ({**TORCHRUN, "RANK": "one"}, "RANK is 'one'"),
        ({**TORCHRUN, "WORLD_SIZE": ""}, "WORLD_SIZE is ''"),
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE is 2 but RANK is not set"),
        ({"SLURM_NTASKS": "8", "SLURM_JOB_ID": "5"}, "srun"),
        ({"SLURM_NTASKS": "8", "SLURM_JOB_ID": "5", "SLURM_PROCID": "0", "ENVIRONMENT": "BATCH"}, "srun"),
        ({"SLURM_NTASKS": "many", "SLURM_PROCID": "0"}, "SLURM_NTASKS is 'many'"),
        ({**MPIRUN, "OMPI_COMM_WORLD_LOCAL_SIZE": "1"}, "set MASTER_ADDR"),
        ({"PMI_RANK": "0", "PMI_SIZE": "2"}, "MPI_LOCALRANKID"),
    ],
)
def test_what_does_not_fit_is_refused(environment: dict[str, str], words: str) -> None:
    """Variables that contradict each other, or leave something open, are named."""
    with pytest.raises(SettingsError, match=words.replace("(", r"\(")):
        rank_variables(environment)


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("a", "a"),
        ("a,b", "a"),
        ("node[001-004,7],x", "node001"),
        ("node[7,9]", "node7"),
        ("rack[1-2]-gpu[03-04]", "rack1-gpu03"),
        ("n-1-2,n-1-3", "n-1-2"),
        ("gpu[3-4]-ib.cluster.org", "gpu3-ib.cluster.org"),
    ],
)
def test_the_first_host_of_a_list(nodes: str, first: str) -> None:
    """As `scontrol show hostnames` would print it."""
    assert first_host(nodes) == first


def test_tasks_per_node() -> None:
    """The short form of Slurm, spelt out."""
    assert tasks_per_node("4(x2),3") == [4, 4, 3]
    assert tasks_per_node("8") == [8]
    assert tasks_per_node("2,1(x2)") == [2, 1, 1]
