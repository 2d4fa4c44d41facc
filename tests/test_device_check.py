"""The check of a whole machine: what its lines and its exit code say, that it finds faults, and all of it on a CPU."""

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "device_check.py"


@pytest.fixture(scope="module")
def check() -> Iterator[ModuleType]:
    """The script as a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPT.parent)
        import device_check

        yield device_check


@pytest.fixture
def runs(check: ModuleType, tmp_path: Path) -> Any:
    return check.Runs(folder=tmp_path, device="cpu", deadline=float("inf"))


def write_run(out: Path, *, nats: float, weight: float, seconds: float) -> Path:
    """What a run of one step leaves."""
    out.mkdir()
    record = {"kind": "step", "step": 1, "nats": nats, "tokens_per_second": 1 / seconds}
    (out / "metrics.jsonl").write_text(json.dumps(record) + "\n")
    save_file({"one": torch.tensor([1.0]), "other": torch.tensor([weight])}, out / "model.safetensors")
    return out


def test_a_check_that_fails_stops_no_other(check: ModuleType, runs: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """What a check raises becomes one line of its own; the exit code is 1 where a check fails, and 0 where none does."""

    def broken(_: Any) -> Any:
        return torch.ones(2) @ torch.ones(3)

    good = check.line_of("good", lambda _: check.Found("all well"), runs)
    bad = check.line_of("bad", broken, runs)
    absent = check.line_of("absent", lambda _: check.Found("no CUDA device", outcome=check.SKIPPED), runs)
    assert [line.outcome for line in (good, bad, absent)] == ["passed", "FAILED", "skipped"]
    assert bad.figure.startswith("RuntimeError: ")
    assert "\n" not in bad.figure
    assert "torch.ones" in bad.trouble
    assert check.show([good, absent], "a device") == 0
    assert check.show([good, bad, absent], "a device") == 1
    assert "1 passed, 1 FAILED, 1 skipped" in capsys.readouterr().out


def test_a_check_without_time_is_skipped(check: ModuleType, tmp_path: Path) -> None:
    """A check that what is left of the budget is too short for does not start, and says why."""
    runs = check.Runs(folder=tmp_path, device="cpu", deadline=time.monotonic() + 5)
    line = check.line_of("resume", check.checks()["resume"], runs)
    assert line.outcome == "skipped"
    assert line.figure.endswith(" s of --minutes are left")
    assert list(tmp_path.iterdir()) == []


def test_every_check_can_be_asked_for(check: ModuleType) -> None:
    """By its name, or, for the presets, all at once."""
    names = list(check.checks())
    assert [name for name in names if check.is_asked_for(name, [])] == names
    assert [name for name in names if check.is_asked_for(name, ["resume", "waits"])] == ["waits", "resume"]
    trained = [name for name in names if check.is_asked_for(name, ["train"])]
    assert trained == ["train-tiny", "train-small", "train-base", "train-1b"]


def test_a_bit_that_differs_is_found(check: ModuleType, runs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One weight off by its last bit in one sample of one batch fails the check of the corruption."""
    import device_corruption

    from syntaxdiff.train.corruption.corrupt import corrupt

    case = next(device_corruption.cases(runs))
    config = next(device_corruption.configs())
    monkeypatch.setattr(check, "pairs", lambda _: [(case, config)])
    assert check.check_corruption(runs).outcome == "passed"
    calls = itertools.count()

    def every_second_is_off(*arguments: Any) -> Any:
        corrupted = corrupt(*arguments)
        if next(calls) % 2:
            weight = corrupted.weight_BL[1, -1]
            weight.copy_(torch.nextafter(weight, torch.tensor(torch.inf)))
        return corrupted

    monkeypatch.setattr(device_corruption, "corrupt", every_second_is_off)
    found = check.check_corruption(runs)
    assert found.outcome == "FAILED"
    assert found.figure.startswith("1 of 1 differ: weight_BL: ")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({}, None),
        ({"seconds": 3.0}, None),
        ({"nats": 2.0 + 2**-50}, "nats of step 1"),
        ({"weight": 1 + 2**-23}, "1 of 2 weights, other the first"),
    ],
)
def test_runs_differ_by_any_bit_but_the_clock(
    check: ModuleType, tmp_path: Path, change: dict[str, float], named: str | None
) -> None:
    """Metrics and weights count to the last bit, speed and memory do not."""
    values = {"nats": 2.0, "weight": 1.0, "seconds": 1.0}
    one, other = write_run(tmp_path / "one", **values), write_run(tmp_path / "other", **(values | change))
    found = check.difference(one, other)
    assert found is None if named is None else found.startswith(named)


@pytest.mark.slow
def test_the_project_on_a_cpu(tmp_path: Path) -> None:
    """Every check that needs no GPU passes, the others say what they miss."""
    command = [sys.executable, str(SCRIPT), "--device", "cpu", "--json", str(tmp_path / "check.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = {line["name"]: line for line in json.loads((tmp_path / "check.json").read_text())["checks"]}
    on_gpus = {"waits", "train-small", "train-base", "train-1b"}
    assert {name for name, line in lines.items() if line["outcome"] == "passed"} == lines.keys() - on_gpus
    assert {lines[name]["figure"] for name in on_gpus} == {"no CUDA device"}
