"""Checkpoints of a run: folders ``out/checkpoints/step-000200``, each whole or not there, old ones removed.

A checkpoint is written under another name and takes its own when every rank is through. What the engine stores is in engine.py,
the exported model in export.py.
"""

import json
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.pipeline.shard import storage_errors, write_text

FOLDER = "checkpoints"
INFO = "run.json"
PREEMPTED = "PREEMPTED"
BATCH_KEYS = ("train_micro_batch_size_per_gpu", "gradient_accumulation_steps")
_NAME = re.compile(r"step-(\d{6,})")
_PARTIAL = ".partial-"


@dataclass(frozen=True, kw_only=True)
class RunState:
    """Where a run stands, apart from weights and optimizer.

    Attributes:
        step: optimizer steps taken
        consumed: samples of the stream used up
        total_steps: the schedule's end
        best_loss, best_step: of the validation that was best
        bad_validations: validations since then
        world: number of ranks
        data: fingerprint of the shards
        settings: those that decide the numbers
        json: values of the DeepSpeed JSON that do, by dotted name
    """

    step: int
    consumed: int
    total_steps: int
    best_loss: float | None
    best_step: int | None
    bad_validations: int
    world: int
    data: str
    settings: dict[str, Any]
    json: dict[str, Any]


def name_of(step: int) -> str:
    """Name of a step's checkpoint."""
    return f"step-{step:06d}"


class Checkpoints:
    """The checkpoints of an output folder."""

    def __init__(self, out: Path) -> None:
        self.folder = out / FOLDER

    def partial(self, step: int) -> str:
        """The name under which a checkpoint is written."""
        return _PARTIAL + name_of(step)

    def universal(self, step: int) -> str:
        """The name under which a checkpoint is converted for another number of ranks, for as long as it is loaded."""
        return f"{_PARTIAL}universal-{name_of(step)}"

    def finish(self, state: RunState) -> None:
        """Gives a checkpoint that all ranks have written its name. For one rank alone to call."""
        path = self.folder / self.partial(state.step)
        write_text(path / INFO, json.dumps(asdict(state), indent=1) + "\n")
        target = self.folder / name_of(state.step)
        with storage_errors(target):
            if target.exists():
                self._remove(target)
            path.rename(target)

    def prepare(self, keep: int, state: RunState) -> None:
        """Makes the folder, and removes what was never finished, or not yet rotated. For one rank alone to call.

        Args:
            state: where the run goes on. Where that is not the newest checkpoint, none is removed.
        """
        with storage_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            for path in self.folder.glob(f"{_PARTIAL}*"):
                shutil.rmtree(path)
        if self.steps()[-1:] == [state.step]:
            self.rotate(keep, state.best_step)

    def steps(self) -> list[int]:
        """Steps of the whole checkpoints, ascending."""
        found = (_NAME.fullmatch(path.name) for path in self.folder.glob("step-*") if (path / INFO).is_file())
        return sorted(int(match[1]) for match in found if match)

    def read(self, step: int) -> RunState:
        """Where the run stood at a checkpoint. Raises SettingsError where its file is damaged."""
        path = self.folder / name_of(step) / INFO
        try:
            return RunState(**json.loads(path.read_text("utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise SettingsError(f"{path} is damaged ({error}): remove {path.parent} to go on from the one before") from error

    def rotate(self, keep: int, best: int | None) -> None:
        """Removes all but the newest, and the best. For one rank alone to call."""
        for step in self.steps()[:-keep]:
            if step != best:
                self._remove(self.folder / name_of(step))

    def _remove(self, path: Path) -> None:
        gone = self.folder / f"{_PARTIAL}old-{path.name}"  # so that a cut-off removal leaves no torn checkpoint
        path.rename(gone)
        shutil.rmtree(gone)


def check_resumable(state: RunState, fresh: RunState) -> None:
    """Raises SettingsError where a checkpoint is of another run: other data, or settings that decide the numbers.

    Args:
        state: of the checkpoint
        fresh: as the run would start without it. On another number of ranks the batch may be another too.
    """
    ways = "give the same, --resume never, or another --out"
    if state.data != fresh.data:
        raise SettingsError(
            "the checkpoint was trained on other shards (their fingerprints differ): give --resume never, or another --out"
        )
    for name, value in fresh.settings.items():
        if state.settings.get(name) != value:
            flag = "--" + name.replace("_", "-")
            raise SettingsError(f"the checkpoint was trained with {flag} {state.settings.get(name)}, not {value}: {ways}")
    for name in sorted(fresh.json.keys() | state.json.keys()):
        was, now = state.json.get(name), fresh.json.get(name)
        if was != now and not (state.world != fresh.world and name in BATCH_KEYS):
            raise SettingsError(f"the checkpoint was trained with {name} {was} in the DeepSpeed JSON, not {now}: {ways}")
