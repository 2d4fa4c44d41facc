"""Checkpoints of a run: folders ``out/checkpoints/step-000200``, each whole or not there, old ones removed.

A checkpoint is written under another name and takes its own when every rank is through. Which one a run resumes from is in
resumption.py, what the engine stores in deepspeed_engine.py, the exported model in export.py.
"""

import json
import re
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.pipeline.json_records import JsonObject, from_json, to_json
from syntaxdiff.pipeline.options import StoredOptions
from syntaxdiff.pipeline.shard import storage_errors, write_text

FOLDER = "checkpoints"
INFO = "run.json"
FILES = "files.json"  # size in bytes of every file of a checkpoint; missing in those of format 1
FORMAT = 2
PREEMPTED = "PREEMPTED"
_NAME = re.compile(r"step-(\d{6,})")
_PARTIAL = ".partial-"
_ASIDE = "set-aside-"


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
        format: 1 where the run was begun by a version that decayed norms and biases too and took its last step at a rate of 0.
            A run keeps what it began with.
    """

    step: int
    consumed: int
    total_steps: int
    best_loss: float | None
    best_step: int | None
    bad_validations: int
    world: int
    data: str
    settings: StoredOptions
    json: JsonObject
    format: int = 1


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
        """Gives a checkpoint that all ranks have written its name. For only one rank to call."""
        path = self.folder / self.partial(state.step)
        sizes = {str(file.relative_to(path)): file.stat().st_size for file in sorted(path.rglob("*")) if file.is_file()}
        write_text(path / FILES, json.dumps(sizes, indent=1) + "\n")
        write_text(path / INFO, json.dumps(to_json(state), indent=1) + "\n")
        target = self.folder / name_of(state.step)
        with storage_errors(target):
            if target.exists():
                self._remove(target)
            path.rename(target)

    def discard(self, step: int) -> None:
        """Removes what was written of a checkpoint that cannot be finished, so that its room on the disk is free again."""
        shutil.rmtree(self.folder / self.partial(step), ignore_errors=True)

    def prepare(self, keep: int, state: RunState) -> None:
        """Makes the folder, and removes what was never finished, or not yet rotated. For only one rank to call.

        Args:
            state: where the run resumes. Where that is not the newest checkpoint, none is removed.
        """
        with storage_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            for path in self.folder.glob(f"{_PARTIAL}*"):
                shutil.rmtree(path)
        if self.steps()[-1:] == [state.step]:
            self.rotate(keep, state.best_step)

    def steps(self) -> list[int]:
        """Steps of the checkpoints, ascending; of all that bear the name of one, damaged or not."""
        found = (_NAME.fullmatch(path.name) for path in self.folder.glob("step-*") if path.is_dir())
        return sorted(int(match[1]) for match in found if match)

    def read(self, step: int) -> RunState:
        """Where the run stood at a checkpoint. Raises SettingsError where its file is damaged."""
        path = self.folder / name_of(step) / INFO
        try:
            return self._state(step)
        except (OSError, ValueError, TypeError) as error:
            raise SettingsError(f"{path} is damaged ({error}): bring back a copy, or remove {path.parent}") from error

    def _state(self, step: int) -> RunState:
        return from_json(RunState, json.loads((self.folder / name_of(step) / INFO).read_text("utf-8")))

    def num_bytes(self, step: int) -> int:
        """Size of a checkpoint."""
        return sum(path.stat().st_size for path in (self.folder / name_of(step)).rglob("*") if path.is_file())

    def fault(self, step: int, rank: int = 0, world: int = 1) -> str | None:
        """What is damaged in a checkpoint; None where it is whole.

        Args:
            rank, world: which share of the files to read through, so that every file is read by one rank
        """
        path = self.folder / name_of(step)
        try:
            self._state(step)
            sizes = dict(json.loads((path / FILES).read_text("utf-8"))) if (path / FILES).exists() else {}
        except (OSError, ValueError, TypeError) as error:
            return f"{path / INFO} or {FILES} is damaged: {error}"
        for name, size in sizes.items():
            if not (path / name).is_file() or (path / name).stat().st_size != size:
                return f"{path / name} is missing or has another size than the {size} bytes that were written"
        for file in sorted(path.rglob("*.pt"))[rank::world]:
            try:
                with zipfile.ZipFile(file) as archive:
                    broken = archive.testzip()
            except Exception as error:  # of many kinds: a bit of a header may stand for encryption, or another compression
                return f"{file} is damaged: {error}"
            if broken is not None:
                return f"{file} is damaged at {broken}"
        return None

    def set_aside(self, steps: list[int], *records: Path) -> Path:
        """Moves checkpoints, and copies files, into a folder of their own, which nothing reads. For only one rank to call."""
        number = 1
        while (target := self.folder / f"{_ASIDE}{number}").exists():
            number += 1
        with storage_errors(target):
            target.mkdir()
            for record in records:
                if record.exists():
                    shutil.copy2(record, target)
            for step in steps:
                (self.folder / name_of(step)).rename(target / name_of(step))
        return target

    def rotate(self, keep: int, best: int | None) -> None:
        """Removes all but the newest, and the best. For only one rank to call."""
        for step in self.steps()[:-keep]:
            if step != best:
                self._remove(self.folder / name_of(step))

    def _remove(self, path: Path) -> None:
        gone = self.folder / f"{_PARTIAL}old-{path.name}"  # so that a cut-off removal leaves no torn checkpoint
        path.rename(gone)
        shutil.rmtree(gone)
