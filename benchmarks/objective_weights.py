"""How evenly the objectives weigh samples: the mean weight of a token by mask rate, and effective samples.

    python benchmarks/objective_weights.py data/ [more/ ...]                    # shards; under 3 minutes on one core
    python benchmarks/objective_weights.py data/ --strategy random-matched --samples 100

The weights of an unbiased loss have the mean 1 at every mask rate. Effective samples are (sum W)^2 / sum W^2, W the sum of a
sample's weights: of training batches whose rates are spread over all of (0, 1] (the constant curriculum), as median, least
and most; and of the validation split, where there is one, at the rates at which the trainer measures it.

Tables are Markdown, as docs/corruption.md shows them.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from report import machine, print_machine

from syntaxdiff.pipeline.errors import ShardError, SyntaxdiffError
from syntaxdiff.pipeline.shard import Manifest, SampleRow, iter_shard, read_manifest
from syntaxdiff.train.corruption.config import STRATEGIES, CorruptionConfig, Curriculum
from syntaxdiff.train.corruption.corrupt import corrupt, plan
from syntaxdiff.train.corruption.noise import Noise, noise_levels
from syntaxdiff.train.data.batch import collate
from syntaxdiff.train.monitor.validation import SEED, sample_rates

OBJECTIVES = ("inverse-rate", "masked-mean", "region-share")
YARDSTICK = ("random", "inverse-rate")  # uniform masks, whose marginal is the rate
BINS = ((0.001, 0.005), (0.005, 0.02), (0.02, 0.1), (0.1, 0.3), (0.3, 1.0))  # of mask rates
BATCH = 128
TOKENS_A_BATCH = 16_384
PACKAGES = ("torch", "numpy")

Array: TypeAlias = npt.NDArray[np.float64]


class Weights:
    """Summed weights of samples, and how many tokens they are of: float64 [N, 2], the code and all else."""

    def __init__(self, count: int) -> None:
        self.weight_N2 = np.zeros((count, 2))
        self.tokens_N2 = np.zeros((count, 2))

    @property
    def of_samples(self) -> Array:
        """W of each sample."""
        return np.asarray(self.weight_N2.sum(axis=1))

    @property
    def means(self) -> tuple[float, float, float]:
        """Mean weight of a code token, of another one, and of any: means over the samples that have such tokens."""
        both = self.weight_N2.sum(axis=1) / self.tokens_N2.sum(axis=1)
        code, other = (
            float((self.weight_N2[has, column] / self.tokens_N2[has, column]).mean()) if has.any() else float("nan")
            for column, has in enumerate((self.tokens_N2 > 0).T)
        )
        return code, other, float(both.mean())


def effective(weight_N: Array) -> float:
    """(sum W)^2 / sum W^2."""
    squares = float((weight_N**2).sum())
    return float(weight_N.sum()) ** 2 / squares if squares else 0.0


def groups(rows: Sequence[SampleRow]) -> Iterator[list[int]]:
    """Indices of the samples in groups of about as many tokens, samples of like length together."""
    chosen: list[int] = []
    for index in sorted(range(len(rows)), key=lambda i: -len(rows[i].input_ids)):
        if chosen and len(rows[chosen[0]].input_ids) * (len(chosen) + 1) > TOKENS_A_BATCH:
            yield chosen
            chosen = []
        chosen.append(index)
    if chosen:
        yield chosen


def weigh(
    rows: Sequence[SampleRow], rate_N: Array, manifest: Manifest, configs: Sequence[CorruptionConfig], seed: int, epoch: int
) -> list[Weights]:
    """The weights of samples at a rate each, for every way to corrupt and weigh."""
    found = [Weights(len(rows)) for _ in configs]
    for group in groups(rows):
        batch = collate([rows[i] for i in group], pad_id=manifest.token_ids.pad, languages=manifest.languages)
        tensors = batch.tensors
        position_L = torch.arange(tensors.input_ids_BL.shape[1])
        start_BX = tensors.code_start_B[:, None]
        is_code_BL = (position_L >= start_BX) & (position_L < start_BX + tensors.num_code_B[:, None])
        noise = Noise(rate_B=rate_N[group])
        for config, samples in zip(configs, found, strict=True):
            decided = plan(batch, config, noise, seed=seed, epoch=epoch)
            weight_BL = corrupt(tensors, decided, config, manifest.token_ids).weight_BL.double()
            code_B = torch.where(is_code_BL, weight_BL, 0.0).sum(dim=1)
            samples.weight_N2[group] = torch.stack([code_B, weight_BL.sum(dim=1) - code_B], dim=1).numpy()
            samples.tokens_N2[group] = np.stack([batch.num_code_B, batch.num_corruptible_B - batch.num_code_B], axis=1)
    return found


def rows_of(folder: Path, manifest: Manifest, split: str) -> list[SampleRow]:
    """Samples of a split."""
    return [row for shard in manifest.splits[split] for row in iter_shard(folder, shard)]


def measure(folder: Path, strategy: str, most: int, num_batches: int, seed: int) -> dict[str, Any]:
    """Mean weights by rate, and effective samples, of one folder of shards."""
    manifest = read_manifest(folder)
    rows = rows_of(folder, manifest, "train")
    if not rows:
        raise ShardError(f"{folder} has no training samples: build shards with some")
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(rows))
    some = [rows[i] for i in order[:most]]
    configs = [CorruptionConfig(strategy=strategy, objective=objective) for objective in OBJECTIVES]
    by_rate = {}
    for epoch, (low, high) in enumerate(BINS):
        rate_N = low + (high - low) * (generator.permutation(len(some)) + 0.5) / len(some)
        by_rate[low, high] = [samples.means for samples in weigh(some, rate_N, manifest, configs, seed, epoch)]

    every = [*configs, CorruptionConfig(strategy=YARDSTICK[0], objective=YARDSTICK[1])]
    in_batches: list[list[float]] = []
    for number in range(num_batches):
        places = np.arange(number * BATCH, (number + 1) * BATCH)
        batch = [rows[i] for i in order[places % len(rows)]]
        level_N = noise_levels(seed, 0, places.tolist())
        noise = Noise.at(level_N, Curriculum(kind="constant"), 0.0)
        drawn = weigh(batch, noise.rate_B, manifest, every, seed, 100 + number)
        in_batches.append([effective(samples.of_samples) for samples in drawn])

    held_out = rows_of(folder, manifest, "validation")
    weighed = weigh(held_out, sample_rates(len(held_out)), manifest, every, SEED, 0)
    validation = [effective(samples.of_samples) for samples in weighed]
    return {
        "name": folder.name,
        "samples": len(some),
        "by_rate": {f"{low:g}-{high:g}": means for (low, high), means in by_rate.items()},
        "effective": np.transpose(in_batches).tolist(),
        "validation": validation if held_out else None,
        "validation_samples": len(held_out),
    }


def row(*cells: str) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def tables(measured: Sequence[dict[str, Any]], strategy: str) -> str:
    """Both tables."""
    lines = [f"Mean weight of a token under `{strategy}` (code token / other token / any):", ""]
    for figures in measured:
        lines += [row(f"{figures['name']}: ε", *OBJECTIVES), "|---" * (1 + len(OBJECTIVES)) + "|"]
        for rates, means in figures["by_rate"].items():
            lines.append(row(rates, *(" / ".join("-" if np.isnan(m) else f"{m:.2f}" for m in three) for three in means)))
        lines.append("")
    lines += [f"Effective samples under `{strategy}`:", ""]
    heads = [f"{figures['name']}, {what}" for figures in measured for what in columns(figures)]
    lines += [row("weights", *heads), "|---" * (1 + len(heads)) + "|"]
    names = [f"`{objective}`" for objective in OBJECTIVES] + [f"`{YARDSTICK[0]}` masks, `{YARDSTICK[1]}`"]
    for index, name in enumerate(names):
        cells = [median_text(values[index]) for figures in measured for values in columns(figures).values()]
        lines.append(row(name, *cells))
    return "\n".join(lines)


def columns(figures: dict[str, Any]) -> dict[str, list[list[float]]]:
    """Effective samples by what they are of, a list for each way to weigh."""
    found = {f"batch of {BATCH}": figures["effective"]}
    if figures["validation"] is None:
        return found
    return found | {f"validation of {figures['validation_samples']}": [[value] for value in figures["validation"]]}


def median_text(values: Sequence[float]) -> str:
    """The median, with least and most where there are several values."""
    return f"{np.median(values):.1f}" + (f" ({min(values):.1f} to {max(values):.1f})" if len(values) > 1 else "")


def main() -> int:
    """Parse the options, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="of shards")
    parser.add_argument("--strategy", choices=STRATEGIES, default="ast-span", help="(%(default)s)")
    parser.add_argument("--samples", type=int, default=400, help="most samples of each bin of rates (%(default)s)")
    parser.add_argument("--batches", type=int, default=12, help="training batches (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of samples and draws (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    options = parser.parse_args()
    if min(options.samples, options.batches) < 1:
        parser.error("--samples and --batches must be at least 1")
    torch.set_num_threads(1)
    start = time.perf_counter()
    print_machine(machine(PACKAGES))
    try:
        measured = [
            measure(folder, options.strategy, options.samples, options.batches, options.seed) for folder in options.folders
        ]
    except SyntaxdiffError as error:
        print(f"objective_weights.py: {error}", file=sys.stderr)
        return 2
    print(f"{options.samples} samples at most, {options.batches} batches; {time.perf_counter() - start:.0f} s\n")
    print(tables(measured, options.strategy))
    if options.json:
        options.json.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
