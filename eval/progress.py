"""How far a long computation is, for whoever shows it."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Progress(NamedTuple):
    """How far a stage is; ``note`` says what came out so far."""

    stage: str
    done: int
    total: int
    note: str = ""


OnProgress = Callable[[Progress], None]


def counted(items: Iterable[T], stage: str, total: int, on_progress: OnProgress) -> Iterator[T]:
    """The items as they come, with progress reported after each."""
    for done, item in enumerate(items, 1):
        yield item
        on_progress(Progress(stage, done, total))
