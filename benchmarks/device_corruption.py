"""Batches that are corrupted on a device and on the CPU: which, with which settings, and where the host waits.

Shapes: K node kinds.
"""

from collections.abc import Iterator
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch
from corruption import IDS, KINDS, LANGUAGES, gpu_figures, random_row, where_it_waits
from device_runs import Runs

from syntaxdiff.pipeline.shard import Region, SampleRow, TokenIds, read_manifest
from syntaxdiff.train.corruption.config import OBJECTIVES, SPAN_STRATEGIES, STRATEGIES, CorruptionConfig, OperatorShares
from syntaxdiff.train.corruption.corrupt import Corrupted, Plan, corrupt, plan
from syntaxdiff.train.corruption.leaves import leaf_tables
from syntaxdiff.train.corruption.noise import Noise
from syntaxdiff.train.corruption.operators import LeafTables
from syntaxdiff.train.data.batch import Batch, collate
from syntaxdiff.train.data.loader import read_split


class Case(NamedTuple):
    """A batch, and what corrupting it takes."""

    batch: Batch
    ids: TokenIds
    tables: LeafTables

    def planned(self, config: CorruptionConfig) -> Plan:
        """The host's part, with rates from 0 to 1."""
        return plan(self.batch, config, Noise(rate_B=np.linspace(0, 1, len(self.batch))), seed=0, epoch=0)

    def made_on(self, device: str, config: CorruptionConfig) -> Corrupted:
        """The batch, corrupted on a device."""
        tables = LeafTables(*(table.to(device) for table in self.tables))
        return corrupt(self.batch.to(device).tensors, self.planned(config).to(device), config, self.ids, tables)


def configs() -> Iterator[CorruptionConfig]:
    """Every strategy with every objective, and with every operator alone and all together where there are subtrees."""
    names = ("drop", "shuffle", "relabel", "placeholder")
    operated = [OperatorShares(**{name: 1.0}) for name in names] + [OperatorShares(**dict.fromkeys(names, 0.2))]
    for strategy, objective in product(STRATEGIES, OBJECTIVES):
        for operators in [OperatorShares(), *(operated if strategy in SPAN_STRATEGIES else [])]:
            yield CorruptionConfig(strategy=strategy, objective=objective, operators=operators)


def with_reasoning(row: SampleRow) -> SampleRow:
    """A sample, half of its prompt as reasoning."""
    prompt, end = (int(end) for end in row.region_end)
    labels = np.array([Region.PROMPT, Region.REASONING, Region.CODE])
    return row._replace(region_label=labels, region_end=np.array([prompt // 2, prompt, end]))


def cases(runs: Runs) -> Iterator[Case]:
    """Random nested families, short and long, and programs of the standard library."""
    kind_1K = torch.arange(len(KINDS.node_kinds))[None]
    tables = LeafTables(filler_GK=kind_1K + 5, class_GK=kind_1K // 3)
    for batch_size, num_tokens, num_spans in ((8, 1024, 200), (3, 8192, 2000)):
        rows = [with_reasoning(random_row(f"{num_spans}-{index}", num_tokens, num_spans)) for index in range(batch_size)]
        yield Case(collate(rows, pad_id=IDS.pad, languages=LANGUAGES), IDS, tables)
    manifest = read_manifest(runs.shards())
    rows = read_split(runs.shards(), manifest, "train", 16)
    batch = collate(rows, pad_id=manifest.token_ids.pad, languages=manifest.languages)
    yield Case(batch, manifest.token_ids, leaf_tables(runs.shards(), manifest))


def pairs(runs: Runs) -> Iterator[tuple[Case, CorruptionConfig]]:
    """Every batch with every setting."""
    return product(list(cases(runs)), configs())


def waiting_place(case: Case, config: CorruptionConfig) -> str | None:
    """Where the host waits for the GPU; copies to it are part of what is watched."""
    tables = LeafTables(*(table.to("cuda") for table in case.tables))
    planned = case.planned(config)
    return where_it_waits(lambda: corrupt(case.batch.to("cuda").tensors, planned.to("cuda"), config, case.ids, tables))


def figures_of_one_sample() -> dict[str, dict[str, Any]]:
    """Launches and microseconds on a GPU of every strategy, of one long sample."""
    batch, figures = collate([random_row("one", 4096, 1000)], pad_id=IDS.pad, languages=LANGUAGES), {}
    for strategy in STRATEGIES:
        config = CorruptionConfig(strategy=strategy)
        planned = plan(batch, config, Noise.fixed(0.5, 1), seed=0, epoch=0).to("cuda")
        call = partial(corrupt, batch.to("cuda").tensors, planned, config, IDS)
        figures[strategy] = gpu_figures(call, compiles=False)
    return figures
