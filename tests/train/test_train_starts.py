"""Every way to start a training, as processes: launchers, schedulers, an installed wheel, Python. Run by ``make test-slow``."""

import json
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from training_runs import QUIET, ROOT, RUN, make_shards, run, same, start, steps, wait_for, weights, write_json

from syntaxdiff.train.engine.lock import locked

pytestmark = pytest.mark.slow

SCRIPTS = Path(sysconfig.get_path("scripts"))
LENGTH = ("--max-steps", "3", *QUIET)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of short programs, and a JSON for two ranks."""
    root = tmp_path_factory.mktemp("starts")
    make_shards(root)
    write_json(root / "two.json", gradient_accumulation_steps=1)
    return root


@pytest.fixture(scope="module")
def launched(folder: Path) -> Path:
    """A run of two ranks by DeepSpeed's launcher."""
    run(folder, folder / "launched", *LENGTH, ranks=2, ds=folder / "two.json")
    return folder / "launched"


def environment(**more: str) -> dict[str, str]:
    path = f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "PATH": path, **more}


def arguments(folder: Path, out: Path) -> list[str]:
    return ["--ds-config", str(folder / "two.json"), "--data", str(folder / "data"), "--out", str(out), *LENGTH]


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


SLURM = {"SLURM_NTASKS": "2", "SLURM_JOB_ID": str(os.getpid()), "SLURM_STEP_ID": "0", "SLURM_JOB_NODELIST": "localhost"}


@pytest.mark.parametrize("way", ["slurm", "torchrun"])
def test_two_ranks_start_every_way(folder: Path, launched: Path, tmp_path: Path, way: str) -> None:
    """The tasks of srun, and torchrun, give the run of DeepSpeed's launcher: one run of two ranks."""
    out = tmp_path / "out"
    command = [sys.executable, str(RUN), *arguments(folder, out)]
    if way == "torchrun":
        start = [str(SCRIPTS / "torchrun"), "--nproc_per_node", "2", "--master_port", free_port()]
        processes = [subprocess.Popen([*start, *command[1:]], env=environment(), cwd=tmp_path)]
    else:
        port = free_port()
        processes = []
        for rank in ("0", "1"):
            variables = {**SLURM, "SLURM_PROCID": rank, "SLURM_LOCALID": rank, "MASTER_PORT": port}
            processes.append(subprocess.Popen(command, env=environment(**variables), cwd=tmp_path))
    assert [process.wait(timeout=200) for process in processes] == [0] * len(processes)
    assert steps(out) == steps(launched)
    assert same(weights(out), weights(launched))


def test_a_wheel_trains(folder: Path, tmp_path: Path) -> None:
    """Unpacked anywhere, the wheel trains by ``-m`` and by the launcher's ``--module``; a run without a JSON writes one."""
    build = ["pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(tmp_path)]
    source = tmp_path / "source"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "-c", "-o", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run([sys.executable, "-m", *build, "."], cwd=source, check=True, env=environment())
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    work = tmp_path / "work"
    work.mkdir()
    ours = environment(PYTHONPATH=str(tmp_path / "site"))
    options = ["--data", str(folder / "data"), "--max-steps", "1", "--sample-every", "0", "--validation-samples", "2"]
    command = [sys.executable, "-m", "syntaxdiff.train.run", *options, "--out", "one"]
    done = subprocess.run(command, cwd=work, env=ours, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (work / "one" / "config.json").exists()
    assert json.loads((work / "ds_zero3.json").read_text()) == json.loads((ROOT / "ds_zero3.json").read_text())
    launch = [str(SCRIPTS / "deepspeed"), "--master_port", free_port(), "--module", "syntaxdiff.train.run"]
    done = subprocess.run([*launch, *options, "--out", "two"], cwd=work, env=ours, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert same(weights(work / "one"), weights(work / "two"))


def test_a_taken_port_is_one_line(folder: Path, tmp_path: Path) -> None:
    """A second run on a machine, by the launcher's own port: one line that says how to choose another."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        command = [str(SCRIPTS / "deepspeed"), "--num_gpus", "1", "--master_port", port, str(RUN), *arguments(folder, tmp_path)]
        done = subprocess.run(command, env=environment(), cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.returncode != 0
    (line,) = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("error: ")]
    assert f"127.0.0.1:{port} is taken" in line
    assert "--master_port" in line
    assert "Traceback" not in done.stdout + done.stderr


def test_a_folder_that_is_held_refuses_every_rank(folder: Path, tmp_path: Path) -> None:
    """Where another training holds the folder, all ranks end with its refusal, none waits for the others."""
    with locked(tmp_path / "out"):
        process = start(folder, tmp_path / "out", *LENGTH, ranks=2, ds=folder / "two.json")
        output, _ = process.communicate(timeout=200)
    assert process.returncode != 0
    assert output.count(f"error: another training writes to {tmp_path / 'out'} (process {os.getpid()} on ") == 2
    assert "Traceback" not in output, output
    assert not (tmp_path / "out").exists()


def test_a_terminal_that_closes_saves(folder: Path, tmp_path: Path) -> None:
    """SIGHUP: a checkpoint of the step, exit code 0, and a marker."""
    out = tmp_path / "out"
    process = start(folder, out, "--max-steps", "200", "--save-every", "0", *QUIET)
    wait_for(process, (out / "metrics.jsonl").exists)
    process.send_signal(signal.SIGHUP)
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 0, output
    assert (out / "PREEMPTED").exists()
    assert len(list((out / "checkpoints").glob("step-*/run.json"))) == 1
    assert not (out / ".lock").exists()


def test_a_log_tells_of_the_steps(folder: Path, tmp_path: Path) -> None:
    """Without a terminal: the first step, every so many, and the last, with loss, rate, speed and the time left."""
    out = tmp_path / "out"
    process = start(folder, out, "--max-steps", "7", "--log-every", "3", *QUIET)
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 0, output
    lines = [line for line in output.splitlines() if line.startswith("step ") and " of 7: loss " in line]
    assert [line.split()[1] for line in lines] == ["1", "3", "6", "7"]
    assert all(word in line for line in lines for word in (" nats", "lr ", " tok/s"))
    assert [" left" in line for line in lines] == [False, True, True, True]


def test_train_from_python(folder: Path, launched: Path, tmp_path: Path) -> None:
    """A call does what the command does, more than once in a process, and leaves environment and handlers as they were."""
    program = f"""
import os, signal
from syntaxdiff.train.settings import Settings
from syntaxdiff.train.trainer import train
options = dict(data={str(folder / "data")!r}, max_steps=2, sample_every=0, validation_samples=2)
before, handler = dict(os.environ), signal.getsignal(signal.SIGTERM)
for name in ("a", "b"):
    state = train(Settings(out=name, **options), {str(folder / "two.json")!r})
    assert state.step == 2
    assert dict(os.environ) == before
    assert signal.getsignal(signal.SIGTERM) == handler
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
