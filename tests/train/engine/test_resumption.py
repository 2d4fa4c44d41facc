"""Which checkpoint a run resumes from, and whether it may. Damage to real checkpoints is tried in test_train_errors.py."""

from dataclasses import replace
from pathlib import Path

import pytest

from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.train.engine.checkpoints import INFO, Checkpoints, RunState, name_of
from syntaxdiff.train.engine.resumption import check_resumable, choose

STATE = RunState(
    step=2, consumed=8, total_steps=9, best_loss=None, best_step=None, bad_validations=0, world=1, data="x",
    settings={"seed": 0}, json={"zero_optimization.stage": 3}, format=2,
)  # fmt: skip


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    """Three checkpoints, without an engine's state."""
    made = Checkpoints(tmp_path)
    for step in (2, 4, 6):
        (made.folder / made.partial(step)).mkdir(parents=True)
        made.finish(replace(STATE, step=step))
    return made


def test_the_newest_whole_one_is_taken(checkpoints: Checkpoints) -> None:
    """`auto` passes over what is damaged, and reports it; an earlier one that was asked for leaves the later ones."""
    assert choose(checkpoints, "auto", checkpoints.fault).state == replace(STATE, step=6)
    (checkpoints.folder / name_of(6) / INFO).write_text("{")
    found = choose(checkpoints, "auto", checkpoints.fault)
    assert found.state == replace(STATE, step=4)
    assert list(found.damaged) == found.left == [6]
    found = choose(checkpoints, str(checkpoints.folder / name_of(2)), checkpoints.fault)
    assert found.state == STATE
    assert found.abandoned == [4, 6]


def test_what_is_left_is_moved_out_of_the_way(checkpoints: Checkpoints) -> None:
    """Each time into a folder of its own, with a copy of the record."""
    record = checkpoints.folder.parent / "metrics.jsonl"
    record.write_text("{}\n")
    first = checkpoints.set_aside([6], record)
    second = checkpoints.set_aside([4], record)
    assert first != second
    assert checkpoints.steps() == [2]
    assert {path.name for path in first.iterdir()} == {name_of(6), "metrics.jsonl"}
    assert record.exists()


def test_nothing_to_resume_from(tmp_path: Path) -> None:
    """A run begins where there is no checkpoint, and not from one that was asked for by a wrong name."""
    checkpoints = Checkpoints(tmp_path)
    assert choose(checkpoints, "auto", checkpoints.fault).state is None
    with pytest.raises(SettingsError, match="has none"):
        choose(checkpoints, "step-000002", checkpoints.fault)


@pytest.mark.parametrize(("version", "now", "is_same"), [(1, False, True), (1, True, False), (2, False, False)])
def test_a_precision_that_nothing_filled_in_was_off(version: int, now: bool, is_same: bool) -> None:
    """Runs of the first format had bf16 "auto" left as it was, and trained in float32: that they resume with, and no other."""
    state = replace(STATE, format=version)
    fresh = replace(STATE, json={**STATE.json, "bf16.enabled": now})
    if is_same:
        check_resumable(state, fresh)
    else:
        with pytest.raises(SettingsError, match=r"bf16\.enabled None in the DeepSpeed JSON"):
            check_resumable(state, fresh)
