"""Long proofs: builds that are killed, and disks that are full. Run by ``make test-slow``."""

import random
import time
from pathlib import Path

import psutil
import pytest
from folders import digests, kill_group, programs, run_prep, start_prep, write_jsonl

pytestmark = pytest.mark.slow
ROWS = 3_000


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Arguments of a build that takes some seconds, but for its folder."""
    folder = tmp_path_factory.mktemp("source")
    source = write_jsonl(folder / "rows.jsonl", programs(ROWS))
    return ["build", "--src", str(source), "--tokenizer", "train:600", "--validation-size", "20", "--shard-rows", "300"]


@pytest.fixture(scope="module")
def undisturbed(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """An undisturbed build and the seconds it took."""
    out = tmp_path_factory.mktemp("undisturbed") / "data"
    begin = time.monotonic()
    done = run_prep(*command, "--workers", "2", "--out", out)
    assert done.returncode == 0, done.stderr
    return out, time.monotonic() - begin


def test_killed_at_twenty_moments_it_ends_with_the_same_bytes(
    command: list[str], undisturbed: tuple[Path, float], tmp_path: Path
) -> None:
    """SIGKILL to the whole process group, twenty times, at moments spread over the build; no manifest before the end."""
    reference, seconds = undisturbed
    draw = random.Random(0)
    out = tmp_path / "data"
    kills = 0
    for attempt in range(60):
        if kills == 20:
            break
        process = start_prep(*command, "--workers", "2", "--out", out)
        time.sleep(seconds * draw.uniform(0.05, 1.0) if attempt % 2 else draw.uniform(0.0, seconds / 2))
        if process.poll() is None:
            kill_group(process)
            kills += 1
        else:
            process.communicate()
            assert digests(out) == digests(reference)
            for path in sorted(out.rglob("*"), reverse=True):  # done too early: from the beginning
                path.rmdir() if path.is_dir() else path.unlink()
    assert kills == 20
    done = run_prep(*command, "--workers", "1", "--out", out)
    assert done.returncode == 0, done.stderr
    assert digests(out) == digests(reference)
    assert run_prep("verify", out).returncode == 0


def test_workers_end_with_their_main_process(command: list[str], tmp_path: Path) -> None:
    """SIGKILL to the main process alone leaves no worker behind that would write on."""
    process = start_prep(*command, "--workers", "2", "--out", tmp_path / "data")
    parts = tmp_path / "data" / ".build" / "parts"
    deadline = time.monotonic() + 120
    while not (parts.exists() and any(parts.iterdir())) and time.monotonic() < deadline:
        time.sleep(0.02)
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    process.kill()
    process.communicate(timeout=30)
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive


@pytest.fixture(scope="module")
def bulky(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Path]:
    """A build whose tokenizer, parts and shards differ clearly in size, and its undisturbed outcome."""
    folder = tmp_path_factory.mktemp("bulky")
    draw = random.Random(0)
    rows = [row | {"reasoning": f"{draw.getrandbits(12_000):x}"} for row in programs(500)]
    source = write_jsonl(folder / "rows.jsonl", rows)
    command = ["build", "--src", str(source), "--tokenizer", "train:400", "--validation-size", "20", "--workers", "2"]
    done = run_prep(*command, "--out", folder / "data")
    assert done.returncode == 0, done.stderr
    return command, folder / "data"


@pytest.mark.parametrize("stage", ["tokenizer", "part", "shard"])
def test_a_full_disk_ends_in_one_line_and_the_build_can_go_on(
    bulky: tuple[list[str], Path], tmp_path: Path, stage: str
) -> None:
    """With a limit on file sizes the build fails with one line and exit code 2; without it, it goes on to the same bytes."""
    command, reference = bulky
    tokenizer, shard = (reference / name for name in ("tokenizer/tokenizer.json", "train/shard-00000.parquet"))
    sizes = {"tokenizer": tokenizer.stat().st_size // 2, "part": tokenizer.stat().st_size * 2}
    sizes["shard"] = shard.stat().st_size * 9 // 10  # a part is smaller
    out = tmp_path / "data"
    failed = run_prep(*command, "--out", out, file_size_limit=sizes[stage])
    errors = [line for line in failed.stderr.splitlines() if line.startswith("error:")]
    assert failed.returncode == 2, failed.stderr
    assert len(errors) == 1
    assert "Traceback" not in failed.stderr
    assert "cannot be written" in errors[0]
    assert {"tokenizer": "tokenizer", "part": ".arrow", "shard": "shard-00000"}[stage] in errors[0]
    assert "resumes" in errors[0]
    assert not (out / "manifest.json").exists()
    assert run_prep(*command, "--out", out).returncode == 0
    assert digests(out) == digests(reference)
