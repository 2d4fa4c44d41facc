"""The records of a run: written and read by one module, of older and newer versions too."""

import json
from pathlib import Path

import pytest

from syntaxdiff.pipeline.errors import SourceError
from syntaxdiff.train.monitor.metrics import (
    GridRecord,
    MetricsRecord,
    PreviewRecord,
    StepRecord,
    ValidationRecord,
    line_of,
    read_metrics,
)

STEP = StepRecord(
    step=3, loss=1.5, nats=None, mask_rate=0.25, corrupted_tokens=7, ceiling=0.5, learning_rate=1e-3, gradient_norm=2.0,
    tokens_per_second=100.0, peak_memory_bytes=2**20,
)  # fmt: skip
VALIDATION = ValidationRecord(
    step=3, strategy="ast-span", objective="region-share", loss=None, effective_samples=2.5, by_rate={"0.2": None, "1.0": 3.0},
    by_region={"code": 1.0},
)  # fmt: skip
OTHERS = (PreviewRecord(step=3, num_masked=9, num_right=4), GridRecord(step=8, losses={"random": {"0.1": 2.0, "0.9": None}}))


def write(path: Path, *records: MetricsRecord | dict[str, object]) -> Path:
    """A file of records, or of what another version wrote."""
    lines = [json.dumps(record if isinstance(record, dict) else line_of(record)) for record in records]
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_records_are_read_as_they_were_written(tmp_path: Path) -> None:
    """Steps and validations come back; the other kinds are checked and passed over."""
    metrics = read_metrics(write(tmp_path / "m", STEP, VALIDATION, *OTHERS), advice="train again")
    assert (metrics.steps, metrics.validations) == ([STEP], [VALIDATION])


@pytest.mark.parametrize(
    ("record", "kind"), [(STEP, "step"), (VALIDATION, "validation"), (OTHERS[0], "look"), (OTHERS[1], "grid")], ids=str
)
def test_a_line_begins_with_kind_and_step(record: MetricsRecord, kind: str) -> None:
    """For people who read the file; what is not known of a GPU is left out, not null."""
    line = line_of(record)
    assert list(line)[:2] == ["kind", "step"]
    assert (line["kind"], line["step"]) == (kind, record.step)
    assert "model_flops_utilisation" not in line


def test_other_versions_are_read(tmp_path: Path) -> None:
    """What an older run did not write has a default; a key or kind that came later is passed over."""
    older = {"kind": "step", "step": 1, "nats": 2.0, "mask_rate": 0.5, "learning_rate": 0.1, "tokens_per_second": 9.0}
    newer = line_of(STEP) | {"entropy": 3.0}
    plain = {"kind": "validation", "step": 1, "strategy": "random", "loss": 2.0}
    path = write(tmp_path / "m", older, newer, plain, {"kind": "probe", "step": 4, "values": [1]})
    metrics = read_metrics(path, advice="train again")
    assert [record.step for record in metrics.steps] == [1, 3]
    assert metrics.steps[0].gradient_norm is None
    assert metrics.steps[1] == STEP
    assert metrics.validations[0].objective == "inverse-rate"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({"step": 1}, "kind is missing"),
        ({"kind": ["step"], "step": "x"}, "step is not"),
        ({"kind": "step", "step": 1}, "nats is missing"),
        ({"kind": "validation", "step": 1, "strategy": 3, "loss": None}, "strategy is not a text"),
        ({"kind": "grid", "step": 1, "losses": {"random": [1.0]}}, "losses.random is not an object"),
    ],
    ids=str,
)
def test_a_damaged_line_is_named(line: dict[str, object], words: str, tmp_path: Path) -> None:
    """File, line, key, and what to do."""
    with pytest.raises(SourceError, match=rf"line 2, is not a record of a training run \({words}.*train again"):
        read_metrics(write(tmp_path / "m", STEP, line), advice="train again")


def test_a_line_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    """A report may be drawn while the run goes on, or after it was killed."""
    path = write(tmp_path / "m", STEP)
    with path.open("a") as file:
        file.write('{"kind": "st')
    assert read_metrics(path, advice="train again").steps == [STEP]
