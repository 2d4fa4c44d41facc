"""What several commands of ``syntaxdiff-eval`` share: the options of generation, and stopping by a signal."""

import contextlib
import signal
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from syntaxdiff.eval.inference.config import FAST, GENERATION, GenerationConfig
from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.pipeline.parameters import Fields, SectionedOption

_PLAIN = GenerationConfig()  # the defaults of the class are LLaDA's plain rule


@dataclass(frozen=True, kw_only=True)
class GenerationFields(Fields):
    """GenerationConfig as a part of a command, with ``--plain``.

    What is not given of schedule and cache is as in FAST, with --plain as in LLaDA's plain rule. Fixed steps and a random order
    have one schedule that they can go with, which need not be named.
    """

    settings: type[Any] = GenerationConfig
    defaults: Any = FAST
    undecided: Collection[str] = field(default=("schedule", "cache"))

    def parameters(self) -> list[click.Parameter]:
        """See Part."""
        text = "LLaDA's plain rule, as in the paper: one token per step, nothing kept; many times slower."
        return [SectionedOption(["--plain"], is_flag=True, section=GENERATION, help=text), *super().parameters()]

    def values(self, values: dict[str, Any]) -> dict[str, Any]:
        """As of Fields, with schedule and cache decided. Raises SettingsError where --plain and another option contradict."""
        is_plain = values.pop("plain")
        chosen = super().values(values)
        for name in self.undecided:
            plain, given = getattr(_PLAIN, name), chosen[name]
            if is_plain and given not in (None, plain):
                raise SettingsError(f"--plain means --{name} {plain}: leave it or --{name} {given} out")
            if given is None:
                chosen[name] = plain if is_plain else getattr(FAST, name)
                if name == "schedule" and (chosen["num_steps"] is not None or chosen["confidence"] == "random"):
                    chosen[name] = "fixed"
        return chosen


GENERATION_OPTIONS = GenerationFields()


def results_folder(ckpt: str, name: str) -> Path:
    """The default folder for results: in the checkpoint's, or in ``out/eval`` for names on the hub."""
    folder = Path(ckpt)
    return folder / "eval" / name if folder.is_dir() else Path("out") / "eval" / ckpt.replace("/", "--") / name


@contextlib.contextmanager
def stopped_by_sigterm() -> Iterator[None]:
    """SIGTERM, and a terminal that is closed, are as Ctrl-C inside the block: what is finished is kept."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
