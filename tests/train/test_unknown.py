"""What a run could not know is written as null and said to be unknown, never as a number."""

import json
from pathlib import Path
from typing import Any

import pytest

from syntaxdiff.train.engine.checkpoints import RunState
from syntaxdiff.train.monitor.metrics import StepValues
from syntaxdiff.train.monitor.progress import Progress
from syntaxdiff.train.monitor.validation import Validation
from syntaxdiff.train.run_folder import METRICS
from syntaxdiff.train.trainer import judged


class Monitor:
    """One that takes numbers only, as DeepSpeed's do."""

    enabled = True

    def __init__(self) -> None:
        self.names: list[str] = []

    def write_events(self, events: list[tuple[str, Any, int]]) -> None:
        for name, value, _ in events:
            self.names.append(f"{name} {value:.1f}")


def test_a_step_and_a_validation_that_scored_nothing_are_null(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the file null, for a person `unknown`, for a monitor nothing."""
    monitor = Monitor()
    progress = Progress(tmp_path, monitor, first=0, total=2, is_first=True, flops=None)
    values = StepValues(loss=0.0, nats=None, mask_rate=0.1, corrupted_tokens=3, learning_rate=1e-3, gradient_norm=None)
    nothing = Validation(
        strategy="random", objective="inverse-rate", loss=None, effective_samples=0.0, by_rate={}, by_region={}
    )
    progress.step(1, values, 100, 2**20)
    progress.validation(1, [nothing], None)
    progress.close()
    step, validation = map(json.loads, (tmp_path / METRICS).read_text().splitlines())
    assert step["nats"] is None
    assert step["gradient_norm"] is None
    assert validation["loss"] is None
    assert "random unknown" in capsys.readouterr().out
    assert {name.split()[0] for name in monitor.names} == {
        "train/loss", "train/mask_rate", "train/corrupted_tokens", "train/learning_rate", "train/tokens_per_second"
    }  # fmt: skip


def test_a_validation_that_scored_nothing_is_no_best() -> None:
    """It counts against the patience, and is not the loss to beat."""
    state = RunState(
        step=3, consumed=9, total_steps=9, best_loss=None, best_step=None, bad_validations=0, world=1, data="",
        settings={}, json={},
    )  # fmt: skip
    after = judged(state, None)
    assert (after.best_loss, after.best_step, after.bad_validations) == (None, None, 1)
    assert judged(after, 2.0).best_loss == 2.0
