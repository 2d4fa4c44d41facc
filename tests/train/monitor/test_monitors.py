"""DeepSpeed's monitors: what the JSON asks for receives the numbers of metrics.jsonl."""

import csv
import json
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]
from training_runs import QUIET, make_shards, run_forked, steps, write_json

pytestmark = pytest.mark.slow  # it takes a whole run


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four steps with both monitors, which write beside it."""
    root = tmp_path_factory.mktemp("monitors")
    make_shards(root)
    config = write_json(
        root / "ds.json",
        tensorboard={"enabled": True, "output_path": str(root / "tensorboard"), "job_name": "run"},
        csv_monitor={"enabled": True, "output_path": str(root / "csv"), "job_name": "run"},
    )
    options = ["--ds-config", str(config), "--data", str(root / "data"), "--out", str(root / "out"), "--max-steps", "4"]
    code, output = run_forked(*options, *QUIET, log=root / "log")
    assert code == 0, output
    return root / "out"


@pytest.mark.parametrize("name", ["loss", "nats", "mask_rate", "learning_rate", "gradient_norm"])
def test_tensorboard_has_every_step(out: Path, name: str) -> None:
    """The event files hold each step's value under its name."""
    events = EventAccumulator(str(out.parent / "tensorboard" / "run"))
    events.Reload()
    found = [(event.step, event.value) for event in events.Scalars(f"train/{name}")]
    assert found == [(record["step"], pytest.approx(record[name], rel=1e-6)) for record in steps(out)]


def test_tensorboard_has_the_validations(out: Path) -> None:
    """The validation loss of each strategy is there too."""
    events = EventAccumulator(str(out.parent / "tensorboard" / "run"))
    events.Reload()
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    validations = [record for record in records if record["kind"] == "validation"]
    assert {record["strategy"] for record in validations} == {"ast-span", "random"}
    for record in validations:
        (event,) = events.Scalars(f"train/validation/{record['strategy']}")
        assert (event.step, event.value) == (4, pytest.approx(record["loss"], rel=1e-6))


def test_the_csv_files_have_every_step(out: Path) -> None:
    """One file a name, one line a step."""
    (path,) = (out.parent / "csv" / "run").glob("*_loss.csv")
    with path.open() as lines:
        _, *found = csv.reader(lines)
    records = steps(out)
    assert [int(step) for step, _ in found] == [record["step"] for record in records]
    assert [float(value) for _, value in found] == pytest.approx([record["loss"] for record in records], rel=1e-6)
