"""Parts to shards: reads the parts in order and writes train and validation shards, rejects, and the manifest last.

Everything here is a function of the parts, so a build that was killed in the middle of it simply starts it again.
"""

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain, cycle, islice
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from syntaxdiff.pipeline.assembly.part import read_part
from syntaxdiff.pipeline.assembly.plan import Fate, Plan
from syntaxdiff.pipeline.shard import (
    REJECT_SCHEMA,
    REJECTS,
    ROWS_PER_GROUP,
    SAMPLE_SCHEMA,
    ShardFile,
    TableWriter,
    file_sha256,
    storage_errors,
    written_whole,
)
from syntaxdiff.pipeline.splits import SPLITS

Fates: TypeAlias = npt.NDArray[np.uint8]

FATE_OF_SPLIT = {"train": Fate.TRAIN, "validation": Fate.VALIDATION}
REASON_OF_FATE = {Fate.DUPLICATE: "duplicate", Fate.SIBLING: "validation-sibling"}


@dataclass(frozen=True)
class Assembled:
    """What came out: shards by split, rows read, rejects by reason, languages met, and samples by what is true of them.

    ``readings`` counts them by how their program was found in a response, ``unused_fields`` by fields with text left unread.
    """

    splits: dict[str, tuple[ShardFile, ...]]
    rows_read: int
    rejected: dict[str, int]
    languages: tuple[str, ...]
    samples_with_error: int
    programs_alone: int
    readings: dict[str, int]
    unused_fields: dict[str, int]
    inexact_samples: int

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the shards' names and their own."""
        lines = [f"{shard.file} {shard.sha256}\n" for split in SPLITS for shard in self.splits[split]]
        return sha256("".join(lines).encode()).hexdigest()


def assemble(parts: Sequence[Path], plan: Plan, folder: Path, shard_rows: int) -> Assembled:
    """Writes all shards and the rejects of a folder.

    Args:
        parts: part files in order; rows beyond the plan's are left out
        plan: fate of every row
        folder: of the shards
        shard_rows: rows of a shard, the last of a split excepted

    Raises:
        ShardError: a part is damaged
        StorageError: the disk refused
    """
    languages: set[str] = set()
    counts: Counter[str] = Counter()
    splits = {}
    for split, fate in FATE_OF_SPLIT.items():
        splits[split] = _write_shards(_samples(parts, plan, fate, languages, counts), folder, split, shard_rows)
    rejected: Counter[str] = Counter()
    with written_whole(folder / REJECTS) as temporary, TableWriter(temporary, REJECT_SCHEMA) as writer:
        for table, fates in _with_fates(parts, plan):
            rejects = _rejects(table, fates)
            rejected.update(rejects["reason"].to_pylist())
            writer.write(rejects)
    return Assembled(
        splits=splits,
        rows_read=len(plan.fate),
        rejected=dict(sorted(rejected.items())),
        languages=tuple(sorted(languages)),
        samples_with_error=counts["has_error"],
        programs_alone=counts["is_program_alone"],
        readings=_named(counts, "reading"),
        unused_fields=_named(counts, "unused"),
        inexact_samples=counts["is_inexact"],
    )


def _with_fates(parts: Sequence[Path], plan: Plan) -> Iterator[tuple[pa.Table, Fates]]:
    """The rows of each part that count, with the fate of each; one part in memory at a time."""
    first_row = 0
    for path in parts:
        if first_row >= len(plan.fate):
            return
        table, _ = read_part(path)
        fates = plan.fate[first_row : first_row + table.num_rows]
        yield table.slice(0, len(fates)), fates
        first_row += table.num_rows


def _samples(parts: Sequence[Path], plan: Plan, fate: Fate, languages: set[str], counts: Counter[str]) -> Iterator[pa.Table]:
    """The samples of one fate, part by part; the languages met are noted, and samples counted by what is true of them."""
    for table, fates in _with_fates(parts, plan):
        samples = table.filter(pa.array(fates == fate))
        languages.update(samples["language"].unique().to_pylist())
        for flag in ("has_error", "is_program_alone", "is_inexact"):
            counts[flag] += pc.sum(samples[flag]).as_py() or 0
        counts.update(f"reading {name}" for name in samples["reading"].to_pylist() if name)
        counts.update(f"unused {name}" for name in pc.list_flatten(samples["unused"]).to_pylist())
        yield samples.select(SAMPLE_SCHEMA.names)


def _named(counts: Counter[str], what: str) -> dict[str, int]:
    """The counts of one kind by their names, sorted."""
    return {name.partition(" ")[2]: count for name, count in sorted(counts.items()) if name.partition(" ")[0] == what}


def _rejects(table: pa.Table, fates: Fates) -> pa.Table:
    reason = table["reason"]
    for fate, name in REASON_OF_FATE.items():
        reason = pc.if_else(pa.array(fates == fate), name, reason)
    columns = [table["row_source"], table["source_id"], reason, table["detail"]]
    rejects = pa.table(columns, names=REJECT_SCHEMA.names).cast(REJECT_SCHEMA)
    return rejects.filter(pa.array(~np.isin(fates, list(FATE_OF_SPLIT.values()))))


def _write_shards(tables: Iterator[pa.Table], folder: Path, split: str, shard_rows: int) -> tuple[ShardFile, ...]:
    """Writes samples as shards of a split, each whole."""
    with storage_errors(folder):
        shutil.rmtree(folder / split, ignore_errors=True)
        (folder / split).mkdir(parents=True)
    done: list[ShardFile] = []
    groups = _row_groups(tables, shard_rows)
    while first := list(islice(groups, 1)):
        path = folder / split / f"shard-{len(done):05d}.parquet"
        tokens = 0
        with written_whole(path) as temporary, TableWriter(temporary, SAMPLE_SCHEMA) as writer:
            for group in chain(first, islice(groups, -(-shard_rows // ROWS_PER_GROUP) - 1)):
                writer.write(group)
                tokens += int(pc.sum(group["length"]).as_py())
        done.append(
            ShardFile(
                file=f"{split}/{path.name}",
                rows=writer.rows,
                tokens=tokens,
                bytes=path.stat().st_size,
                sha256=file_sha256(path),
            )
        )
    return tuple(done)


def _row_groups(tables: Iterator[pa.Table], shard_rows: int) -> Iterator[pa.Table]:
    """The same rows in groups of ROWS_PER_GROUP, and a shorter one where a shard ends."""
    sizes = cycle([min(ROWS_PER_GROUP, shard_rows - start) for start in range(0, shard_rows, ROWS_PER_GROUP)])
    waiting: list[pa.Table] = []
    size = next(sizes)
    for table in tables:
        waiting.append(table)
        while sum(piece.num_rows for piece in waiting) >= size:
            joined = pa.concat_tables(waiting)
            yield joined.slice(0, size).combine_chunks()
            waiting = [joined.slice(size)]
            size = next(sizes)
    rest = pa.concat_tables(waiting) if waiting else SAMPLE_SCHEMA.empty_table()
    if rest.num_rows:
        yield rest.combine_chunks()
