"""Samples in the order of training: shuffled only by (seed, epoch), streamed, each rank its own, resumable to the sample.

The order is one endless stream: epoch after epoch, each in an order of its own. Global batch b takes the stream's places
[b G, (b + 1) G), so what is left of an epoch is carried into the next, and any number of samples already used says where to go
on. Rank r of W takes the places r, r + W, … of a global batch. Every rank reads all rows, which costs little next to training
on them, and so knows the normaliser of the whole batch without asking the others.
"""

import queue
import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from syntaxdiff.pipeline.errors import SettingsError, ShardError
from syntaxdiff.pipeline.shard import Manifest, Region, SampleRow, iter_shard, rows_of
from syntaxdiff.train.data.batch import Batch, collate, num_corruptible
from syntaxdiff.train.randomness import Stream, stream_keys, unit_of

READ_AHEAD = 2  # global batches


class Item(NamedTuple):
    """A sample at its place: k-th of its epoch's order."""

    epoch: int
    ordinal: int
    row: SampleRow


class MicroBatch(NamedTuple):
    """Samples of one rank for one forward pass, with the epoch and ordinal of each."""

    batch: Batch
    epochs: tuple[int, ...]
    ordinals: tuple[int, ...]


class GlobalBatch(NamedTuple):
    """One rank's share of an optimizer step.

    Attributes:
        micro_batches: as many on every rank
        num_corruptible: of all ranks' samples: the loss's normaliser
        num_tokens: of all ranks' samples
        consumed: samples of the stream that are used up after this step
    """

    micro_batches: tuple[MicroBatch, ...]
    num_corruptible: int
    num_tokens: int
    consumed: int


@dataclass(frozen=True, kw_only=True)
class LoaderConfig:
    """How samples are ordered and cut.

    Attributes:
        micro_batch, accumulation: samples of a forward pass, forward passes of a step
        rank, world: this process, of how many
        window_rows: rows that are shuffled among each other; row groups are shuffled over the whole split
        max_length: longer samples are an error
        eos_pad: append up to so many end tokens, corruptible, at random (design, "Lengths")
        group_by_length: put a rank's samples of a step into micro-batches by length, so that less is padding
        pad_to_multiple: padded lengths are a multiple of this (batch.shape_multiple)
    """

    seed: int
    micro_batch: int
    accumulation: int
    rank: int = 0
    world: int = 1
    window_rows: int = 2048
    max_length: int = 4096
    eos_pad: int = 0
    group_by_length: bool = False
    pad_to_multiple: int = 1

    @property
    def global_batch(self) -> int:
        """Samples of an optimizer step, over all ranks."""
        return self.micro_batch * self.accumulation * self.world


class _Group(NamedTuple):
    file: str
    number: int
    rows: int


class SampleStream:
    """The endless order of a split's samples."""

    def __init__(self, folder: Path, manifest: Manifest, config: LoaderConfig, split: str = "train") -> None:
        self._folder = folder
        self._manifest = manifest
        self._config = config
        self._groups = [group for shard in manifest.splits[split] for group in _groups(folder, shard.file, shard.rows)]
        self.num_samples = manifest.num_samples(split)
        if self.num_samples < config.global_batch:
            raise SettingsError(
                f"{folder} has {self.num_samples} {split} samples and a step takes {config.global_batch} "
                f"({config.micro_batch} a micro-batch x {config.accumulation} accumulated x {config.world} ranks): "
                "build more, or lower the batch in the DeepSpeed JSON"
            )

    def items(self, consumed: int = 0) -> Iterator[Item]:
        """The stream from a place on.

        Raises:
            ShardError: a shard cannot be read, or a sample is longer than max_length
        """
        epoch, skip = divmod(consumed, self.num_samples)
        while True:
            yield from self._epoch(epoch, skip)
            epoch, skip = epoch + 1, 0

    def _epoch(self, epoch: int, skip: int) -> Iterator[Item]:
        """One epoch's samples from the skip-th on; windows that lie before it are not read."""
        ordinal = 0
        groups = [self._groups[i] for i in _generator(self._config.seed, epoch, -1).permutation(len(self._groups))]
        for number, window in enumerate(_windows(groups, self._config.window_rows)):
            size = sum(group.rows for group in window)
            if ordinal + size > skip:
                rows = [row for group in window for row in _read(self._folder, group)]
                order = _generator(self._config.seed, epoch, number).permutation(size)
                for place in range(max(0, skip - ordinal), size):
                    yield Item(epoch, ordinal + place, self._prepared(rows[order[place]], epoch))
            ordinal += size

    def _prepared(self, row: SampleRow, epoch: int) -> SampleRow:
        if row.length > self._config.max_length:
            raise ShardError(
                f"sample {row.sample_id} has {row.length} tokens, more than --max-length {self._config.max_length}: "
                "raise it, or build shards with that --max-length"
            )
        if not self._config.eos_pad:
            return row
        key = int(stream_keys(self._config.seed, epoch, [row.sample_id])[0, Stream.END_TOKENS])
        num_free = min(self._config.eos_pad, self._config.max_length - row.length)
        return with_end_tokens(row, int(unit_of(key) * (num_free + 1)), self._manifest.token_ids.eos)

    def batches(self, consumed: int = 0) -> Iterator[GlobalBatch]:
        """Shares of this rank in the steps from a place on."""
        config = self._config
        items = self.items(consumed)
        while True:
            chosen = [next(items) for _ in range(config.global_batch)]
            consumed += len(chosen)
            mine = chosen[config.rank :: config.world]
            if config.group_by_length:
                mine.sort(key=lambda item: (item.row.length, item.row.sample_id))
            parts = [mine[first : first + config.micro_batch] for first in range(0, len(mine), config.micro_batch)]
            yield GlobalBatch(
                micro_batches=tuple(self._micro_batch(part) for part in parts),
                num_corruptible=sum(num_corruptible(item.row) for item in chosen),
                num_tokens=sum(len(item.row.input_ids) for item in chosen),
                consumed=consumed,
            )

    def _micro_batch(self, items: list[Item]) -> MicroBatch:
        batch = collate(
            [item.row for item in items],
            pad_id=self._manifest.token_ids.pad,
            languages=self._manifest.languages,
            pad_to_multiple=self._config.pad_to_multiple,
        )
        return MicroBatch(batch, tuple(item.epoch for item in items), tuple(item.ordinal for item in items))

    def read_ahead(self, consumed: int = 0) -> Generator[GlobalBatch, None, None]:
        """``batches``, made by a thread that is READ_AHEAD steps ahead; its errors are raised here."""
        ready: queue.Queue[GlobalBatch | Exception] = queue.Queue(maxsize=READ_AHEAD)
        is_over = threading.Event()

        def put(value: GlobalBatch | Exception) -> None:
            while not is_over.is_set():
                try:
                    ready.put(value, timeout=0.2)
                except queue.Full:
                    continue
                return

        def work() -> None:
            try:
                for batch in self.batches(consumed):
                    put(batch)
                    if is_over.is_set():
                        return
            except Exception as error:  # whatever it is, the trainer must learn of it
                put(error)

        thread = threading.Thread(target=work, name="read-ahead", daemon=True)
        thread.start()
        try:
            while True:
                value = ready.get()
                if isinstance(value, Exception):
                    raise value
                yield value
        finally:
            is_over.set()
            thread.join()


def with_end_tokens(row: SampleRow, count: int, eos_id: int) -> SampleRow:
    """A sample with end tokens appended; they are scaffold."""
    if count == 0:
        return row
    ids = np.concatenate([row.input_ids, np.full(count, eos_id, dtype=row.input_ids.dtype)])
    label, end = row.region_label, row.region_end
    if label[-1] == Region.SCAFFOLD:
        end = np.append(end[:-1], end[-1] + count)
    else:
        label, end = np.append(label, np.uint8(Region.SCAFFOLD)), np.append(end, end[-1] + count)
    return row._replace(input_ids=ids, region_label=label, region_end=end.astype(np.int32), length=len(ids))


def read_split(folder: Path, manifest: Manifest, split: str, limit: int) -> list[SampleRow]:
    """The first samples of a split."""
    rows: list[SampleRow] = []
    for shard in manifest.splits[split]:
        for row in iter_shard(folder, shard):
            if len(rows) == limit:
                return rows
            rows.append(row)
    return rows


def _generator(seed: int, epoch: int, window: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, epoch, window + 1))))


def _windows(groups: list[_Group], rows: int) -> Iterator[list[_Group]]:
    """Neighbouring groups that hold at least so many rows together; the last ones may hold fewer."""
    window: list[_Group] = []
    for group in groups:
        window.append(group)
        if sum(group.rows for group in window) >= rows:
            yield window
            window = []
    if window:
        yield window


def _groups(folder: Path, file: str, rows: int) -> list[_Group]:
    try:
        metadata = pq.read_metadata(folder / file)
    except (OSError, pa.ArrowException) as error:
        raise ShardError(f"{folder / file} cannot be read ({error}): build the shards again") from error
    groups = [_Group(file, index, metadata.row_group(index).num_rows) for index in range(metadata.num_row_groups)]
    if sum(group.rows for group in groups) != rows:
        raise ShardError(f"{folder / file} holds other rows than the manifest says: run `syntaxdiff-prep verify`")
    return groups


def _read(folder: Path, group: _Group) -> list[SampleRow]:
    try:
        with pq.ParquetFile(folder / group.file) as parquet:
            return rows_of(parquet.read_row_group(group.number))
    except (OSError, pa.ArrowException, KeyError) as error:
        raise ShardError(f"{folder / group.file} cannot be read ({error}): build the shards again") from error
