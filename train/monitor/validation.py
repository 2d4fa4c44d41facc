"""The validation loss: fixed samples, fixed masks, fixed rates, for the run's strategy and for `random`.

Each sample has one rate, spread evenly over (0, 1]; so a validation costs a forward pass per sample and strategy, and two
validations of one run, or of two runs with different strategies under `random`, differ only by the weights.

The loss is the mean cross entropy of masked tokens in nats per token, each strategy weighted by its own default objective
(objective.default_objective): inverse rates where the marginal is known, and so under `random`; region shares for Algorithm 1.
It is divided by the weights' own sum, not by the number of tokens, so that a strategy that overshoots its rate shows no larger
loss.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch

from syntaxdiff.pipeline.shard import Manifest, Region, SampleRow
from syntaxdiff.train.corruption.config import MIN_RATE, CorruptionConfig, OperatorShares
from syntaxdiff.train.corruption.noise import Noise
from syntaxdiff.train.data.batch import Batch, collate
from syntaxdiff.train.step import Stepper

SEED = 20_250_801  # of the masks: the same for every run
RATE_BINS = (0.2, 0.4, 0.6, 0.8, 1.0)  # upper ends
GRID = (0.1, 0.3, 0.5, 0.7, 0.9)
REGIONS = (Region.REASONING, Region.CODE, Region.SCAFFOLD)
LEAST_EFFECTIVE = 20  # effective samples below which a loss is reported with a warning


@dataclass(frozen=True)
class Validation:
    """Losses of one strategy.

    Attributes:
        objective: whose weights the loss has
        loss: nats per token, weighted, over the sum of the weights; None where nothing was scored
        effective_samples: (sum W)^2 / sum W^2, W the summed weights of a sample; 0 where nothing was masked. A loss that a few
            samples decide has few of them
        by_rate: nats per masked token, by upper end of the rate's bin; None where nothing was masked
        by_region: the same by region
    """

    strategy: str
    objective: str
    loss: float | None
    effective_samples: float
    by_rate: dict[float, float | None]
    by_region: dict[str, float | None]

    @property
    def warning(self) -> str | None:
        """What a person must know of the loss; None where it stands on enough samples."""
        if self.effective_samples >= LEAST_EFFECTIVE:
            return None
        return (
            f"the validation loss under {self.strategy} masks, weighted by {self.objective}, stands on "
            f"{self.effective_samples:.1f} effective samples: small differences mean nothing; more --validation-samples help"
        )


def validation_of(validations: Sequence[Validation], strategy: str) -> Validation:
    """The one of a strategy, which must be among them."""
    return next(validation for validation in validations if validation.strategy == strategy)


class RankBatches(NamedTuple):
    """Samples of a forward pass, this process and of how many, and what padded lengths are a multiple of (shape_multiple)."""

    micro_batch: int
    rank: int = 0
    world: int = 1
    pad_to_multiple: int = 1


class Validator:
    """Fixed samples on every rank, ready to be scored.

    Args:
        rows: the validation samples, the same on every rank
        run: how the run corrupts; its operators are left out, and so is its objective
        strategies: what is measured, in this order
        objective: one of objective.VALIDATION_OBJECTIVES for all strategies; None: the default of each
        batches: how samples come into forward passes
        total: sums a tensor over all ranks, in place
    """

    def __init__(
        self,
        rows: Sequence[SampleRow],
        manifest: Manifest,
        run: CorruptionConfig,
        strategies: Iterable[str],
        *,
        objective: str | None = None,
        batches: RankBatches,
        total: Callable[[torch.Tensor], torch.Tensor],
    ) -> None:
        plain = replace(run, operators=OperatorShares())
        self._configs = [replace(plain, strategy=name, objective=objective or "") for name in dict.fromkeys(strategies)]
        self._total = total
        self._rates = sample_rates(len(rows))
        self._batches: list[tuple[Batch, np.ndarray, np.ndarray]] = []
        languages = manifest.languages
        # Every rank must run as many forward passes: short ranks score the first sample again, with weight 0.
        micro_batch = batches.micro_batch
        size = micro_batch * batches.world
        for first in range(0, len(rows), size):
            places = [(first + batches.rank * micro_batch + i) for i in range(micro_batch)]
            counted = np.array([place < len(rows) for place in places])
            chosen = [place if place < len(rows) else 0 for place in places]
            batch = collate(
                [rows[place] for place in chosen],
                pad_id=manifest.token_ids.pad,
                languages=languages,
                pad_to_multiple=batches.pad_to_multiple,
            )
            self._batches.append((batch, self._rates[chosen], counted))

    def __len__(self) -> int:
        return len(self._batches)

    @property
    def objectives(self) -> dict[str, str]:
        """Whose weights each strategy's loss has."""
        return {config.strategy: config.objective for config in self._configs}

    def __call__(self, stepper: Stepper) -> list[Validation]:
        """Losses of every strategy at the samples' own rates; all ranks must call it."""
        return [self._measure(stepper, config, None) for config in self._configs]

    def grid(self, stepper: Stepper) -> dict[str, dict[str, float | None]]:
        """Loss of every strategy at each rate of GRID, all samples at that rate."""
        return {
            config.strategy: {str(rate): self._measure(stepper, config, rate).loss for rate in GRID} for config in self._configs
        }

    def _measure(self, stepper: Stepper, config: CorruptionConfig, rate: float | None) -> Validation:
        bins, regions = len(RATE_BINS), len(REGIONS)
        # weighted nats, weights, squares of the samples' weights; then nats and masked tokens by bin and by region
        sums = torch.zeros(3 + 2 * bins + 2 * regions, dtype=torch.float64, device=stepper.device)
        with torch.no_grad():
            for batch, rates, counted in self._batches:
                used = np.full(len(rates), rate) if rate is not None else rates
                losses, corrupted = stepper(batch, Noise(rate_B=used), seed=SEED, epoch=0, config=config)
                self._add(sums, batch, used, counted, losses, corrupted)
        values = self._total(sums).tolist()

        def means(first: int, names: Sequence[Any]) -> dict[Any, float | None]:
            pairs = zip(values[first : first + len(names)], values[first + len(names) : first + 2 * len(names)], strict=True)
            return {name: nats / count if count else None for name, (nats, count) in zip(names, pairs, strict=True)}

        return Validation(
            strategy=config.strategy,
            objective=config.objective,
            loss=values[0] / values[1] if values[1] else None,
            effective_samples=values[1] ** 2 / values[2] if values[2] else 0.0,
            by_rate=means(3, RATE_BINS),
            by_region=means(3 + 2 * bins, [region.name.lower() for region in REGIONS]),
        )

    @staticmethod
    def _add(sums: torch.Tensor, batch: Batch, rates: Any, counted: Any, losses: Any, corrupted: Any) -> None:
        where = sums.device
        num_tokens = corrupted.weight_BL.shape[1]
        sample_N = losses.index_N // num_tokens
        counts_B = torch.from_numpy(counted).to(where)
        weight_N = corrupted.weight_BL.flatten()[losses.index_N].double()
        is_counted_N = (counts_B[sample_N] & (weight_N > 0)).double()
        nats_N = losses.nats_N.double() * is_counted_N
        sums[0] += (nats_N * weight_N).sum()
        weight_B = sums.new_zeros(len(rates)).index_add_(0, sample_N, weight_N * is_counted_N)
        sums[1] += weight_B.sum()
        sums[2] += weight_B.square().sum()
        bins, regions = len(RATE_BINS), len(REGIONS)
        by_bin, by_region = sums[3 : 3 + 2 * bins], sums[3 + 2 * bins :]  # views
        bin_B = torch.from_numpy(np.minimum(np.searchsorted(RATE_BINS, rates), bins - 1)).to(where)
        by_bin[:bins].index_add_(0, bin_B[sample_N], nats_N)
        by_bin[bins:].index_add_(0, bin_B[sample_N], is_counted_N)
        run_N = torch.searchsorted(
            batch.tensors.region_end_BR.to(where)[sample_N], (losses.index_N % num_tokens)[:, None], right=True
        )
        region_N = batch.tensors.region_label_BR.to(where)[sample_N].gather(1, run_N)[:, 0].long() - 1
        region_N = region_N.clamp(min=0)  # the filler of a pass without a scored position, which counts nothing
        by_region[:regions].index_add_(0, region_N, nats_N)
        by_region[regions:].index_add_(0, region_N, is_counted_N)


def sample_rates(num_samples: int) -> Any:
    """The mask rate of each validation sample, float64: stratified, in an order that has nothing to do with the samples'."""
    steps = np.random.Generator(np.random.Philox(SEED)).permutation(num_samples) + 0.5
    return MIN_RATE + (1 - MIN_RATE) * steps / max(1, num_samples)


def unigram_nats(rows: Sequence[SampleRow], counts_V: Any) -> float:
    """Cross entropy of the corruptible tokens of some samples under token frequencies, add-one smoothed: nats per token."""
    probabilities = (counts_V + 1) / (counts_V.sum() + len(counts_V))
    ids = np.concatenate([corruptible_ids(row) for row in rows])
    return float(-np.log(probabilities[ids]).mean())


def token_counts(rows: Iterator[SampleRow], vocab_size: int) -> Any:
    """How often each id occurs among the corruptible tokens of some samples, int64 [V]."""
    counts = np.zeros(vocab_size, dtype=np.int64)
    for row in rows:
        counts += np.bincount(corruptible_ids(row), minlength=vocab_size)
    return counts


def corruptible_ids(row: SampleRow) -> Any:
    """The ids of a sample outside its prompt."""
    region = np.repeat(row.region_label, np.diff(row.region_end, prepend=0))
    return row.input_ids[region != Region.PROMPT]
