"""Long proofs: training runs that are killed at any moment, and disks that are full. Run by ``make test-slow``."""

import contextlib
import random
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from folders import digests
from training_runs import QUIET, kill, make_shards, run, run_forked, same, start, steps, wait_for, weights, write_json

pytestmark = pytest.mark.slow

STEPS = 8
LENGTH = ("--max-steps", str(STEPS), *QUIET)
MIB = 2**20  # a checkpoint of these runs takes 39 of them, the exported weights 13,589,568 bytes


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of short programs."""
    root = tmp_path_factory.mktemp("crashes")
    make_shards(root)
    return root


def newest(out: Path) -> int:
    """Step of the newest whole checkpoint, 0 without one."""
    return max((int(path.parent.name[5:]) for path in out.glob("checkpoints/step-*/run.json")), default=0)


@dataclass(frozen=True)
class Undisturbed:
    """A run on two ranks to its end, and the seconds that its parts took."""

    out: Path
    start_seconds: float  # until the first step is done
    step_seconds: float
    export_seconds: float  # from the last checkpoint on


@pytest.fixture(scope="module")
def undisturbed(folder: Path) -> Undisturbed:
    out = folder / "undisturbed"
    begin = time.time()
    process = start(folder, out, *LENGTH, "--save-every", "1", ranks=2)
    while not (out / "metrics.jsonl").exists():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    first = time.time()
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    last = (out / "checkpoints" / f"step-{STEPS:06d}" / "run.json").stat().st_mtime
    return Undisturbed(out, first - begin, (last - first) / (STEPS - 1), (out / "curves.png").stat().st_mtime - last)


def has_come(moment: str, out: Path) -> Callable[[], bool]:
    """Tells when a run that is about to start has got to a part of its work."""
    now, done = time.time(), newest(out)

    def is_new(path: Path) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return path.stat().st_mtime > now
        return False

    def has_come() -> bool:
        if moment == "step":
            return is_new(out / "metrics.jsonl")
        if moment == "save":  # of the checkpoint after the next, so that each such kill leaves the run one step further
            return is_new(out / "checkpoints" / f".partial-step-{min(done + 2, STEPS):06d}")
        if moment == "export":
            return newest(out) == STEPS and is_new(out / "metrics.jsonl")
        return True

    return has_come


def test_killed_at_twenty_moments_it_ends_with_the_same_weights(folder: Path, undisturbed: Undisturbed, tmp_path: Path) -> None:
    """SIGKILL to the launcher and both ranks while they start, step, save and export, each time resuming from the last.

    No kill loses a checkpoint or leaves a torn model; the end is the undisturbed run's, bit for bit, with nothing left over.
    """
    draw, out = random.Random(0), tmp_path / "out"
    longest = {"start": undisturbed.start_seconds, "step": undisturbed.step_seconds, "save": 0.02}
    longest["export"] = undisturbed.export_seconds
    moments = ["start"] * 4 + ["step"] * 4 + ["save"] * 7
    draw.shuffle(moments)
    moments += ["export"] * 15
    kills: Counter[str] = Counter()
    torn = 0
    for moment in moments:
        if kills.total() == 20:
            break
        before = newest(out)
        is_time = has_come(moment, out)
        process = start(folder, out, *LENGTH, "--save-every", "1", ranks=2)
        while not is_time() and process.poll() is None:
            time.sleep(0.002)
        time.sleep(draw.uniform(0, longest[moment]))
        if process.poll() is not None:  # too late: the same again
            output, _ = process.communicate()
            assert process.returncode == 0, output
            continue
        kill(process)
        kills[moment] += 1
        torn += any(out.glob("checkpoints/.partial-*"))
        assert newest(out) >= before
        if (out / "config.json").exists():
            assert same(weights(out), weights(undisturbed.out))
    assert kills.total() == 20
    assert kills.keys() == longest.keys()
    assert torn >= 3
    output = run(folder, out, *LENGTH, "--save-every", "1", ranks=2)
    assert f"resuming from step-{STEPS:06d}" in output
    assert steps(out) == steps(undisturbed.out)
    assert same(weights(out), weights(undisturbed.out))
    assert not list(out.glob("checkpoints/.*"))
    assert {path.name for path in out.iterdir()} == {path.name for path in undisturbed.out.iterdir()}


@pytest.fixture(scope="module")
def alone(folder: Path) -> Path:
    """A run on one rank to its end."""
    write_json(folder / "ds.json")
    code, output = run_forked(*command(folder, folder / "alone"), log=folder / "alone.log")
    assert code == 0, output
    return folder / "alone"


def command(folder: Path, out: Path) -> list[str]:
    files = ["--ds-config", str(folder / "ds.json"), "--data", str(folder / "data"), "--out", str(out)]
    return [*files, *LENGTH, "--save-every", "2", "--keep", "1"]


def test_a_kill_while_weights_are_written_leaves_nothing(folder: Path, alone: Path, tmp_path: Path) -> None:
    """SIGKILL while the exported weights have a temporary name: the next start removes them, and exports the model."""
    out = tmp_path / "out"
    shutil.copytree(alone / "checkpoints", out / "checkpoints")
    process = start(folder, out, *LENGTH, "--save-every", "2", "--keep", "1", ds=folder / "ds.json")
    wait_for(process, lambda: any(out.glob(".model.safetensors.*")))
    kill(process)
    assert not (out / "config.json").exists()
    code, output = run_forked(*command(folder, out), log=tmp_path / "log")
    assert code == 0, output
    assert same(weights(out), weights(alone))
    assert {path.name for path in out.iterdir()} == {path.name for path in alone.iterdir()}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """A file system of so many MiB, grown when it is asked for again. Needs root."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def sized(size: int) -> Path:
        options = f"size={size}m" + (",remount" if disk.is_mount() else "")
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)], capture_output=True, check=False)
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.decode().strip()}")
        return disk

    yield sized
    if disk.is_mount():
        subprocess.run(["umount", str(disk)], check=True)


def the_error(output: str) -> str:
    """The one line about an error; nothing else looks like one."""
    (line,) = [line for line in output.splitlines() if "error" in line.lower()]
    assert line.startswith("error: ")
    assert "Traceback" not in output
    return line


def test_a_full_disk_while_saving(folder: Path, alone: Path, small_disk: Callable[[int], Path], tmp_path: Path) -> None:
    """Room for one checkpoint and not for two: one line that says what to do; with more room the same command ends the run."""
    out = small_disk(60) / "out"
    code, output = run_forked(*command(folder, out), log=tmp_path / "log")
    assert code == 2, output
    line = the_error(output)
    assert "step-000004" in line
    assert "free" in line
    assert newest(out) == 2
    assert not list(out.glob("**/.partial-*"))
    before = digests(out / "checkpoints" / "step-000002")
    code, output = run_forked(*command(folder, out), log=tmp_path / "log")  # still no room
    assert code == 2, output
    assert "resuming from step-000002" in output
    assert digests(out / "checkpoints" / "step-000002") == before
    small_disk(200)
    code, output = run_forked(*command(folder, out), log=tmp_path / "log")
    assert code == 0, output
    assert "resuming from step-000002" in output
    assert steps(out) == steps(alone)
    assert same(weights(out), weights(alone))
    assert not list(out.glob("**/.partial-*"))


@pytest.mark.parametrize("room", [0, 6 * MIB, 13_600_000], ids=["metrics", "weights", "tokenizer"])
def test_a_full_disk_while_exporting(
    folder: Path, alone: Path, small_disk: Callable[[int], Path], tmp_path: Path, room: int
) -> None:
    """No room for the model at the end: one line, no config.json, the checkpoint as it was; with room, the model after all."""
    out = small_disk(200) / "out"
    shutil.copytree(alone / "checkpoints", out / "checkpoints")
    shutil.copy(alone / "metrics.jsonl", out)
    before = digests(out / "checkpoints")
    ballast = out.parent / "ballast"
    free = shutil.disk_usage(out).free - room
    with ballast.open("wb") as file:
        file.write(bytes(free))
    code, output = run_forked(*command(folder, out), log=tmp_path / "log")
    assert code == 2, output
    assert "cannot be written" in the_error(output)
    assert not (out / "config.json").exists()
    assert digests(out / "checkpoints") == before
    ballast.unlink()
    code, output = run_forked(*command(folder, out), log=tmp_path / "log")
    assert code == 0, output
    assert same(weights(out), weights(alone))
    assert {path.name for path in out.iterdir()} == {path.name for path in alone.iterdir()}


@pytest.mark.parametrize("limit", [30 * MIB, 10 * MIB], ids=["checkpoint", "weights"])
def test_a_limit_on_files_is_a_full_disk(folder: Path, alone: Path, tmp_path: Path, limit: int) -> None:
    """Where files may not grow as large as a checkpoint's, or the model's, the run ends likewise. Needs no root."""
    out = tmp_path / "out"
    if limit < 13 * MIB:
        shutil.copytree(alone / "checkpoints", out / "checkpoints")
    code, output = run_forked(*command(folder, out), log=tmp_path / "log", file_size_limit=limit)
    assert code == 2, output
    line = the_error(output)
    assert "free" in line
    assert not (out / "config.json").exists()
    code, output = run_forked(*command(folder, out), log=tmp_path / "log")
    assert code == 0, output
    assert same(weights(out), weights(alone))


def test_a_full_disk_stops_both_ranks(folder: Path, small_disk: Callable[[int], Path]) -> None:
    """Where the ranks of a run have no room, both end, and the one that learns of it says so; the last checkpoint is whole."""
    out = small_disk(60) / "out"
    process = start(folder, out, *LENGTH, "--save-every", "2", "--keep", "1", ranks=2)
    output, _ = process.communicate(timeout=300)
    assert process.returncode != 0
    lines = [line for line in output.splitlines() if line.startswith("error: ")]
    assert lines, output
    assert all("step-000004" in line and "free" in line for line in lines)
    assert "Traceback" not in output, output
    assert newest(out) == 2
