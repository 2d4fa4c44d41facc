"""Which checkpoint a run resumes from, and whether it may."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.train.engine.checkpoints import Checkpoints, RunState, name_of

BATCH_KEYS = ("train_micro_batch_size_per_gpu", "gradient_accumulation_steps")


@dataclass(frozen=True, kw_only=True)
class Resumption:
    """Where a run starts.

    Attributes:
        state: of the checkpoint that it resumes from; None where it begins
        damaged: newer checkpoints that cannot be used, and what is wrong with each
        abandoned: newer checkpoints that are whole, of the branch that the run leaves
    """

    state: RunState | None = None
    damaged: dict[int, str] = field(default_factory=dict)
    abandoned: list[int] = field(default_factory=list)

    @property
    def left(self) -> list[int]:
        """Checkpoints that the run must not meet again."""
        return [*self.damaged, *self.abandoned]


def choose(checkpoints: Checkpoints, wanted: str, fault: Callable[[int], str | None]) -> Resumption:
    """The checkpoint to resume from. Nothing is changed on the disk.

    Args:
        wanted: `auto`, the newest that is whole; `never`; or the folder of one
        fault: what is damaged in the checkpoint of a step, None where it is whole; the same on every rank

    Raises:
        SettingsError: the checkpoint asked for is not there or damaged, or none of them is whole
    """
    steps = checkpoints.steps()
    if wanted == "never":
        if steps:
            raise SettingsError(
                f"{checkpoints.folder.parent} holds checkpoints and --resume is never: give another --out, or remove them"
            )
        return Resumption()
    if wanted != "auto":
        step = next((step for step in steps if name_of(step) == Path(wanted).name), None)
        if step is None:
            has = ", ".join(map(name_of, steps)) or "none"
            raise SettingsError(f"--resume {wanted}: {checkpoints.folder} has {has}")
        found = fault(step)
        if found is not None:
            raise SettingsError(f"--resume {wanted}: {found}: choose another checkpoint, or --resume auto")
        return Resumption(state=checkpoints.read(step), abandoned=[later for later in steps if later > step])
    damaged: dict[int, str] = {}
    for step in reversed(steps):
        found = fault(step)
        if found is None:
            return Resumption(state=checkpoints.read(step), damaged=damaged)
        damaged[step] = found
    if damaged:
        newest = max(damaged)
        raise SettingsError(
            f"no checkpoint in {checkpoints.folder} is whole; of {name_of(newest)}, {damaged[newest]}: bring back a copy, or "
            "remove the folder to begin again"
        )
    return Resumption()


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
        if state.format == 1 and was is None and now is False:
            continue  # "auto", which nothing filled in: what it asks for was off
        if was != now and not (state.world != fresh.world and name in BATCH_KEYS):
            raise SettingsError(f"the checkpoint was trained with {name} {was} in the DeepSpeed JSON, not {now}: {ways}")
