"""One forward pass: corrupt a micro-batch on the device, pack or pad it, and score it.

Shapes: B samples, L tokens, P packed sequences, M tokens of a packed sequence.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from syntaxdiff.pipeline.shard import TokenIds
from syntaxdiff.train.corruption.config import CorruptionConfig
from syntaxdiff.train.corruption.corrupt import Corrupted, corrupt, plan
from syntaxdiff.train.corruption.noise import Noise
from syntaxdiff.train.corruption.operators import LeafTables
from syntaxdiff.train.data.batch import Batch, copied, rounded_up, shape_multiple
from syntaxdiff.train.model.denoiser import Inputs, Losses, padding_mask


class Scored(NamedTuple):
    """A micro-batch after its forward pass. Scored positions count in the flattened [B, L] of the samples."""

    losses: Losses
    corrupted: Corrupted


@dataclass(frozen=True, kw_only=True)
class Stepper:
    """What every forward pass shares.

    Attributes:
        engine: calls the denoiser; DeepSpeed's engine, or the denoiser itself
        device: where everything lies
        tables: of leaves.leaf_tables, which the operators relabel and placeholder need
        pack: put several samples into one sequence of up to ``capacity`` tokens
    """

    engine: Any
    device: torch.device
    token_ids: TokenIds
    config: CorruptionConfig
    tables: LeafTables | None = None
    pack: bool = False
    capacity: int = 4096

    def __call__(
        self, batch: Batch, noise: Noise, *, seed: int, epoch: int | Sequence[int], config: CorruptionConfig | None = None
    ) -> Scored:
        """Corrupts and scores a micro-batch.

        Args:
            batch: on the host
            noise: rates of its samples, and the ceiling
            seed, epoch: of the masks; one epoch for all, or each sample's own
            config: another strategy than the run's
        """
        config = config or self.config
        decided = plan(batch, config, noise, seed=seed, epoch=epoch).to(self.device)
        placed = batch.to(self.device)
        corrupted = corrupt(placed.tensors, decided, config, self.token_ids, self.tables)
        return Scored(self._scored(placed, corrupted, decided.rate_B), corrupted)

    def _scored(self, batch: Batch, corrupted: Corrupted, rate_B: Tensor) -> Losses:
        clean_BL = batch.tensors.input_ids_BL
        num_samples, num_tokens = clean_BL.shape
        rate_BL = rate_B.float()[:, None].expand(num_samples, num_tokens)
        if not self.pack or num_samples == 1:
            is_padded = bool((batch.length_B != num_tokens).any())  # on the host
            length_B = copied(torch.from_numpy(batch.length_B), self.device)
            mask = padding_mask(length_B, num_tokens) if is_padded else None
            losses: Losses = self.engine(Inputs(corrupted.input_ids_BL, mask, None, rate_BL), clean_BL, corrupted.weight_BL)
            return losses
        packing = pack(batch.length_B, num_tokens, self.capacity, shape_multiple(self.device))
        source_PM, position_PM, sample_PM = (copied(torch.from_numpy(array), self.device) for array in packing)
        is_token_PM = sample_PM >= 0
        mask = None
        if (packing.sample_PM != packing.sample_PM[:, :1]).any():  # on the host; the flash kernels take no mask
            mask = (sample_PM[:, None, :, None] == sample_PM[:, None, None, :]) & is_token_PM[:, None, None, :]
            mask = mask | ~is_token_PM[:, None, :, None]  # a padded query must see something, or its softmax is not a number

        def packed(value_BL: Tensor) -> Tensor:
            return value_BL.reshape(-1)[source_PM]

        inputs = Inputs(packed(corrupted.input_ids_BL), mask, position_PM, packed(rate_BL))
        losses = self.engine(inputs, packed(clean_BL), torch.where(is_token_PM, packed(corrupted.weight_BL), 0.0))
        return losses._replace(index_N=source_PM.reshape(-1)[losses.index_N])


class Packing(NamedTuple):
    """Where the tokens of packed sequences come from, int64 arrays [P, M]."""

    source_PM: Any  # index into the flattened [B, L], 0 where padded
    position_PM: Any  # position in its sample, 0 where padded
    sample_PM: Any  # index of its sample, -1 where padded


def pack(length_B: Any, num_tokens: int, capacity: int, multiple: int = 1) -> Packing:
    """Samples put into as few sequences as first-fit, longest first, finds; every sample stays whole.

    Args:
        length_B: tokens of each sample
        num_tokens: L, the width of the padded batch
        capacity: most tokens of a sequence; a longer sample has one to itself
        multiple: of which M is one
    """
    sequences: list[list[int]] = []
    used: list[int] = []
    for sample in np.argsort(-np.asarray(length_B), kind="stable").tolist():
        length = int(length_B[sample])
        for number, filled in enumerate(used):
            if filled + length <= capacity:
                sequences[number].append(sample)
                used[number] += length
                break
        else:
            sequences.append([sample])
            used.append(length)
    shape = len(sequences), rounded_up(max(used), multiple)
    packing = Packing(np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.full(shape, -1, np.int64))
    for number, samples in enumerate(sequences):
        first = 0
        for sample in samples:
            length = int(length_B[sample])
            place = slice(first, first + length)
            packing.source_PM[number, place] = sample * num_tokens + np.arange(length)
            packing.position_PM[number, place] = np.arange(length)
            packing.sample_PM[number, place] = sample
            first += length
    return packing
