"""Batches for the tests of the corruption: real programs as samples, and the settings that the tests share."""

import functools
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from folders import any_kinds

from syntaxdiff.pipeline.build import build_shards
from syntaxdiff.pipeline.config import BuildConfig
from syntaxdiff.pipeline.rows.fields import Fields
from syntaxdiff.pipeline.shard import Manifest, SampleRow, TokenIds, iter_shard
from syntaxdiff.train.corruption.config import CorruptionConfig
from syntaxdiff.train.corruption.corrupt import Corrupted, corrupt, plan
from syntaxdiff.train.corruption.leaves import leaf_tables
from syntaxdiff.train.corruption.noise import Noise
from syntaxdiff.train.corruption.operators import LeafTables
from syntaxdiff.train.data.batch import Batch, collate

# One thread a process: where other processes keep the cores busy, OpenMP's threads wait for each other (197 s against 50).
torch.set_num_threads(1)

LANGUAGES = any_kinds("python")
IDS = TokenIds(mask=2000, pad=2001, eos=2001, bos=None, end_of_turn=(2001,), assistant_header=())
# Leaf kinds of corruption_reference.row_of: 9, of which three have a filler and four form two classes.
TABLES = LeafTables(
    filler_GK=torch.tensor([[-1, 5, -1, 6, -1, 7, -1, -1, -1]]), class_GK=torch.tensor([[-1, 1, 2, 2, 4, 4, -1, 7, 8]])
)


@dataclass(frozen=True)
class Programs:
    """Real programs with their problems and explanations."""

    manifest: Manifest
    rows: list[SampleRow]
    tables: LeafTables


@functools.cache
def leetcode(shared_data: Path) -> Programs:
    """Samples of 600 LeetCode problems, built once a process."""
    source = shared_data / "programs" / "leetcode-train.jsonl.gz"
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "data"
        fields = Fields(prompt="query", reasoning="response", code="completion")
        manifest = build_shards(
            BuildConfig(
                src=(str(source),), out=out, tokenizer="train:2000", fields=fields, limit=600, validation_size=0, workers=1
            )
        )
        rows = [row for shard in manifest.splits["train"] for row in iter_shard(out, shard)]
        return Programs(manifest, rows, leaf_tables(out, manifest))


def batch_of(rows: Sequence[SampleRow], pad_to_multiple: int = 1) -> Batch:
    """A padded batch on the CPU."""
    return collate(rows, pad_id=IDS.pad, languages=LANGUAGES, pad_to_multiple=pad_to_multiple)


def corrupted(
    batch: Batch,
    config: CorruptionConfig,
    rate: float | Sequence[float],
    *,
    seed: int = 0,
    epoch: int = 0,
    ceiling: float = 1.0,
    tables: LeafTables | None = TABLES,
) -> Corrupted:
    """A corrupted batch, at one rate for all samples or at one each."""
    rate_B = np.broadcast_to(np.asarray(rate, dtype=np.float64), (len(batch),)).copy()
    planned = plan(batch, config, Noise(rate_B=rate_B, ceiling=ceiling), seed=seed, epoch=epoch)
    return corrupt(batch.tensors, planned, config, IDS, tables)


def positions(result: Corrupted, index: int = 0) -> set[int]:
    """Corrupted positions of a sample of a batch."""
    return set(result.operator_BL[index].nonzero().flatten().tolist())


def units(result: Corrupted, index: int = 0) -> set[int]:
    """Rows of the spans that a sample's strategy drew."""
    return set(result.unit_BS[index].nonzero().flatten().tolist())


def copies(row: SampleRow, count: int) -> list[SampleRow]:
    """A sample under as many ids, hence with draws of their own."""
    return [row._replace(sample_id=f"{row.sample_id}/{number}") for number in range(count)]
