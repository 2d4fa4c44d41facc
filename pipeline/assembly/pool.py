"""Worker processes, and the parts that they make of the sources' units, in order.

The main process streams units a few ahead of the workers and takes parts as they come in; it stops where the limit is reached.
"""

import multiprocessing
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from syntaxdiff.pipeline.assembly.part import KEY_COLUMNS, PartCounts, Recipe, Resume, counts_of, read_part, start_worker, work
from syntaxdiff.pipeline.assembly.plan import Keys, Plan, make_plan
from syntaxdiff.pipeline.config import BuildConfig
from syntaxdiff.pipeline.errors import SettingsError, ShardError, StorageError
from syntaxdiff.pipeline.shard import storage_errors
from syntaxdiff.pipeline.sources.units import Source, Unit


class Progress(NamedTuple):
    """State of a running build, after each unit: what the parts hold so far, and the share of the work that is done.

    ``done`` and ``total`` are in ``unit``; ``total`` is None where the size of a source is unknown.
    """

    counts: PartCounts
    done: int
    total: int | None
    unit: str


OnProgress = Callable[[Progress], None]


class Parts:
    """The parts of a build as they come in: which are there, what they hold, and whether they suffice for the limit."""

    def __init__(self, folder: Path, config: BuildConfig) -> None:
        self.folder = folder
        self._config = config
        self._keys: list[Keys] = []
        self._next_look = config.limit or 0
        self.counts = PartCounts(0, 0, 0, Counter())

    def path(self, index: int) -> Path:
        """Where a part is, or is to be."""
        return self.folder / f"{index:07d}.arrow"

    def restore(self) -> Resume | None:
        """Takes the parts that an earlier run left, up to the first gap; where the sources continue after them."""
        for path in self.folder.glob("*.arrow"):
            try:
                read_part(path, KEY_COLUMNS)
            except ShardError as error:
                if isinstance(error.__cause__, OSError) and error.__cause__.errno is not None:
                    raise  # the system refused to read it: it may be whole
                path.unlink()  # torn by a power cut: made again
        resume = None
        while self.path(len(self)).exists():
            resume = self.take(len(self))
        return resume

    def take(self, index: int) -> Resume:
        """Counts in the next part, which must be the first not yet taken."""
        assert index == len(self._keys)
        table, resume = read_part(self.path(index), KEY_COLUMNS)
        is_sample = table["reason"].is_null().to_numpy()
        keys = table["key"].combine_chunks()
        kinds = table["key_kind"].combine_chunks()
        # Copies: a view would keep the part mapped.
        self._keys.append(
            Keys(
                is_sample,
                table["content"].to_numpy().copy(),
                table["problem"].to_numpy().copy(),
                keys.value_lengths().to_numpy().astype(np.uint8),
                keys.flatten().to_numpy().copy(),
                kinds.flatten().to_numpy().copy(),
            )
        )
        counts = counts_of(table)
        self.counts = self.counts.plus(counts)
        return resume

    def __len__(self) -> int:
        return len(self._keys)

    def plan(self) -> Plan:
        """Fate of all rows taken so far."""
        config = self._config
        return make_plan(
            Keys.joined(self._keys),
            validation_size=config.validation_size,
            limit=config.limit,
            grouping=config.grouping,
        )

    def suffice(self) -> bool:
        """Whether the limit is reached. Plans only when enough new samples are there for that to be possible."""
        if self._config.limit is None or self.counts.samples < self._next_look:
            return False
        try:
            shortfall = self.plan().shortfall
        except SettingsError:  # too few problems so far
            shortfall = 1
        self._next_look = self.counts.samples + shortfall
        return shortfall == 0


def make_parts(
    config: BuildConfig, sources: list[Source], recipe: Recipe, work_folder: Path, on_progress: OnProgress
) -> tuple[list[Path], Plan]:
    """Parts of all units, or of as many as the limit needs, and the plan over their rows."""
    with storage_errors(work_folder):
        (work_folder / "parts").mkdir(exist_ok=True)
    parts = Parts(work_folder / "parts", config)
    resume = parts.restore()
    totals = [source.size for source in sources]
    total = None if None in totals or len({source.unit for source in sources}) > 1 else sum(size or 0 for size in totals)
    unit_name = sources[0].unit

    def report(done: int) -> None:
        if config.limit is not None:
            on_progress(Progress(parts.counts, min(parts.counts.samples, config.limit), config.limit, "samples"))
        else:
            on_progress(Progress(parts.counts, done, total, unit_name))

    report(resume.done if resume else 0)
    if not parts.suffice():
        with _pool(config, recipe) as pool:
            for after in _made(pool, _units(sources, resume), parts, ahead=2 * config.workers + 1):
                parts.take(len(parts))
                report(after.done)
                if parts.suffice():
                    break
    return [parts.path(index) for index in range(len(parts))], parts.plan()


def _made(pool: ProcessPoolExecutor, units: Iterator[tuple[Unit, Resume]], parts: Parts, ahead: int) -> Iterator[Resume]:
    """Has the units' parts made, up to ``ahead`` at a time; where to continue after each, in order, once its part is there."""
    pending: deque[tuple[Future[PartCounts] | None, Resume]] = deque()
    for index, (unit, after) in enumerate(units, len(parts)):
        path = parts.path(index)
        pending.append((None if path.exists() else pool.submit(work, unit, path, after), after))
        if len(pending) == ahead:
            yield _done(*pending.popleft())
    while pending:
        yield _done(*pending.popleft())


def _done(part: Future[PartCounts] | None, after: Resume) -> Resume:
    if part is not None:
        part.result()
    return after


def _units(sources: list[Source], resume: Resume | None) -> Iterator[tuple[Unit, Resume]]:
    """The units of all sources in order, each with where to continue after it and the work done by then."""
    start, cursor, done = (resume.source, resume.cursor, resume.done) if resume else (0, None, 0)
    for index in range(start, len(sources)):
        for unit in sources[index].units(cursor):
            done += unit.advance
            yield unit, Resume(source=index, cursor=unit.cursor, done=done)
        cursor = None


@contextmanager
def worker_pool(
    workers: int, initializer: Callable[..., None], arguments: tuple[Any, ...], advice: str
) -> Iterator[ProcessPoolExecutor]:
    """Worker processes; what is still to do is dropped when the block ends.

    Args:
        workers: number of processes
        initializer: called with ``arguments`` in each process as it starts
        advice: what a user can do where a process ended early

    Raises:
        StorageError: a process ended early
    """
    # The workers are the parallelism; `true` with one thread was measured to be faster than `false`.
    environment = {"TOKENIZERS_PARALLELISM": "true", "RAYON_NUM_THREADS": "1"}
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)  # a spawned process reads them as it starts
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=initializer, initargs=arguments)
    try:
        yield pool
    except BrokenProcessPool as error:
        raise StorageError(f"a worker process ended early. {advice}") from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _pool(config: BuildConfig, recipe: Recipe) -> AbstractContextManager[ProcessPoolExecutor]:
    advice = (
        "If it was for want of memory, run the same command again with fewer --workers, it resumes; a script that calls "
        "build_shards() must do so under `if __name__ == '__main__':`"
    )
    return worker_pool(config.workers, start_worker, (recipe,), advice)
