"""How much is masked, how evenly, and in what pieces: the strategies on real code, by rate.

    python benchmarks/corruption_statistics.py                # the standard library, whole files and functions; 3 minutes
    python benchmarks/corruption_statistics.py data/          # shards of one's own, by source
    python benchmarks/corruption_statistics.py --quick        # few samples and draws

Without FOLDER, shards are built for the purpose, from files of the running interpreter's standard library and from functions
of it, with a tokenizer trained on them. All samples of a table have the same rate. Spans are those of the shards, with the
whole code among them (the paper) and without (--max-span-share .999).
"""

import argparse
import json
import random
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from report import machine, plain, print_machine, print_table
from torch import Tensor

from syntaxdiff.pipeline.build import build_shards
from syntaxdiff.pipeline.config import BuildConfig
from syntaxdiff.pipeline.errors import RowError, SyntaxdiffError
from syntaxdiff.pipeline.shard import Manifest, SampleRow, TokenIds, iter_shard, read_manifest
from syntaxdiff.pipeline.sources.snippets import module_name, snippet_rows, stdlib_files
from syntaxdiff.train.corruption.config import STRATEGIES, CorruptionConfig, OperatorShares
from syntaxdiff.train.corruption.corrupt import Corrupted, corrupt, plan
from syntaxdiff.train.corruption.leaves import leaf_tables
from syntaxdiff.train.corruption.noise import Noise
from syntaxdiff.train.corruption.operators import LeafTables, Operator
from syntaxdiff.train.data.batch import Batch, check_row, collate

PACKAGES = ("torch", "numpy", "tree-sitter", "tree-sitter-python", "tokenizers")
RATES = (0.05, 0.2, 0.5, 0.9)
MARGINAL_RATES = (0.2, 0.5)
OPERATOR_RATE = 0.3
SPAN_SHARES = (1.0, 0.999)
MARGINALS = (("random", 1.0), ("ast-cut", 1.0), ("ast-span", 1.0), ("ast-span", 0.999))  # strategy, largest span
ALL_DEPTHS = (0, 1 << 20)
DEPTHS = ((0, 1), (2, 3), (4, 6), (7, 10), (11, 1 << 20))  # of the spans over a token, the whole code among them
SPANS_OF = {1.0: "all spans", 0.999: "without the whole-code span"}
TOKENS_A_BATCH = 16_384
MAX_LENGTH = 8192

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is measured.

    Attributes:
        samples: most of each source
        draws: of each sample, for the realised rates
        marginal_samples: of each source, for the frequencies of single tokens
        marginal_draws: of each of these
    """

    samples: dict[str, int]
    draws: int
    marginal_samples: int
    marginal_draws: int


@dataclass
class Masks:
    """What is summed over draws of one source, one family of spans, one strategy, one rate."""

    shares: list[float] = field(default_factory=list)  # masked share of the code, a draw of a sample each
    tokens: int = 0  # masked
    span_tokens: int = 0  # masked as part of a whole span
    units: int = 0  # whole spans and single tokens
    runs: int = 0  # stretches of masked tokens

    def add(self, corrupted: Corrupted, batch: Batch) -> None:
        """Counts a corrupted batch."""
        samples = batch.tensors
        masked_BL = (corrupted.operator_BL != Operator.NONE) & is_code(batch)
        length_BS = samples.span_end_BS - samples.span_start_BS
        num_masked_B = masked_BL.sum(dim=1)
        num_span_tokens = int((corrupted.unit_BS * length_BS).sum())
        self.shares += (num_masked_B / samples.num_code_B).tolist()
        self.tokens += int(num_masked_B.sum())
        self.span_tokens += num_span_tokens
        self.units += int(corrupted.unit_BS.sum() + num_masked_B.sum()) - num_span_tokens
        self.runs += int((masked_BL[:, 1:] & ~masked_BL[:, :-1]).sum() + masked_BL[:, 0].sum())

    @property
    def figures(self) -> dict[str, float]:
        """Means, shares and ratios."""
        tokens = max(1, self.tokens)
        return {
            "masked_share": float(np.mean(self.shares)),
            "standard_error": float(np.std(self.shares) / len(self.shares) ** 0.5),
            "span_share": self.span_tokens / tokens,
            "unit_length": self.tokens / max(1, self.units),
            "runs_per_100": 100 * self.runs / tokens,
        }


# --------------------------------------------------------------------------------------------------------------- samples


def stdlib_rows(num_files: int, seed: int) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Random files of the standard library, and their functions, as rows of the build, shuffled."""
    root, files, functions = Path(sysconfig.get_path("stdlib")), [], []
    paths = stdlib_files()
    random.Random(seed).shuffle(paths)
    for path in paths:
        try:
            text, module = path.read_text(encoding="utf-8"), module_name(path, root)
            snippets = list(snippet_rows(text, module))
        except (UnicodeDecodeError, RowError):
            continue
        files.append({"id": module, "prompt": f"Write the module `{module}`.", "code": text, "language": "python"})
        functions += [row for row in snippets if row["prompt"].startswith("Write the Python function")]
        if len(files) == num_files:
            break
    random.Random(seed).shuffle(functions)
    return files, functions


def build_stdlib(folder: Path, scale: Scale, seed: int) -> Path:
    """Shards of whole files and of functions; which is which says the column ``source``."""
    for name, rows in zip(("files", "functions"), stdlib_rows(scale.samples["files"], seed), strict=True):
        lines = (json.dumps(row) + "\n" for row in rows[: scale.samples[name]])
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    sources = tuple(str(folder / f"{name}.jsonl") for name in ("files", "functions"))
    out = folder / "shards"
    build_shards(BuildConfig(src=sources, out=out, tokenizer="train:4096", max_length=MAX_LENGTH, validation_size=0, workers=1))
    return out


def rows_by_source(folder: Path, manifest: Manifest, most: dict[str, int]) -> dict[str, list[SampleRow]]:
    """Samples with code, by source."""
    found: dict[str, list[SampleRow]] = {}
    for shard in manifest.splits["train"]:
        for row in iter_shard(folder, shard):
            group = found.setdefault(row.source.removesuffix(".jsonl"), [])
            if len(row.role) and len(group) < most.get(row.source.removesuffix(".jsonl"), max(most.values())):
                group.append(row)
    return {source: rows for source, rows in found.items() if rows}


def batches_of(rows: Iterable[SampleRow], manifest: Manifest) -> Iterator[Batch]:
    """Batches of about as many tokens each, of samples about as long."""
    ordered = iter(sorted(rows, key=lambda row: -row.length))
    for longest in ordered:
        more = islice(ordered, TOKENS_A_BATCH // longest.length)
        yield collate([longest, *more], pad_id=manifest.token_ids.pad, languages=manifest.languages)


def is_code(batch: Batch) -> Tensor:
    """The code tokens, bool [B, L]."""
    samples = batch.tensors
    position_L = torch.arange(samples.input_ids_BL.shape[1])
    start_BX = samples.code_start_B[:, None]
    return (position_L >= start_BX) & (position_L < start_BX + samples.num_code_B[:, None])


# ------------------------------------------------------------------------------------------------------------- measuring


def masked_by(strategy: str, rate: float, share: float, batch: Batch, ids: TokenIds, seed: int, epoch: int) -> Corrupted:
    """A batch under one strategy, one rate for all, and one family of spans."""
    config = CorruptionConfig(strategy=strategy, max_span_share=share)
    planned = plan(batch, config, Noise.fixed(rate, len(batch)), seed=seed, epoch=epoch)
    return corrupt(batch.tensors, planned, config, ids)


def measure_masks(batches: Sequence[Batch], ids: TokenIds, draws: int, seed: int) -> list[dict[str, Any]]:
    """Figures of one source, by family of spans, strategy and rate."""
    cells = []
    for share in SPAN_SHARES:
        for strategy in STRATEGIES:
            for rate in RATES:
                masks = Masks()
                for batch in batches:
                    for epoch in range(draws):
                        masks.add(masked_by(strategy, rate, share, batch, ids, seed, epoch), batch)
                cells.append({"max_span_share": share, "strategy": strategy, "rate": rate, **masks.figures})
    return cells


def depth_of(row: SampleRow, manifest: Manifest) -> Array:
    """How many spans hold each code token."""
    start, _ = check_row(row, manifest.languages)
    changes = np.zeros(len(row.role) + 1, dtype=np.int64)
    np.add.at(changes, row.span_start - start, 1)
    np.add.at(changes, row.span_end - start, -1)
    return np.cumsum(changes)[:-1]


def frequencies(row: SampleRow, strategy: str, rate: float, share: float, manifest: Manifest, draws: int, seed: int) -> Array:
    """How often each code token of a sample is masked, over draws."""
    a_batch = max(1, TOKENS_A_BATCH // row.length)
    counts, done = np.zeros(len(row.role)), 0
    copies = [row._replace(sample_id=f"{row.sample_id}/{index}") for index in range(a_batch)]
    batch = collate(copies, pad_id=manifest.token_ids.pad, languages=manifest.languages)
    while done < draws:
        corrupted = masked_by(strategy, rate, share, batch, manifest.token_ids, seed, epoch=done)
        touched_BL = corrupted.operator_BL.numpy() != Operator.NONE
        code_start = int(batch.tensors.code_start_B[0])
        counts += touched_BL[:, code_start : code_start + len(counts)].sum(axis=0)
        done += a_batch
    return counts / done


def measure_marginals(rows: Sequence[SampleRow], manifest: Manifest, draws: int, seed: int) -> list[dict[str, Any]]:
    """Frequencies of single tokens over the rate, by strategy, rate and depth of the token."""
    depth = np.concatenate([depth_of(row, manifest) for row in rows])
    cells = []
    for rate in MARGINAL_RATES:
        for strategy, share in MARGINALS:
            ratio = np.concatenate([frequencies(row, strategy, rate, share, manifest, draws, seed) for row in rows]) / rate
            chance = ((1 - rate) / rate / draws) ** 0.5
            for lowest, highest in (ALL_DEPTHS, *DEPTHS) if strategy != "random" else [ALL_DEPTHS]:
                chosen = ratio[(depth >= lowest) & (depth <= highest)]
                if len(chosen):
                    percentiles = np.percentile(chosen, [5, 50, 95]).tolist()
                    spread = float(np.sqrt(np.mean((chosen - 1) ** 2))) / chance
                    cells.append(
                        {
                            "rate": rate,
                            "strategy": strategy,
                            "max_span_share": share,
                            "depth": [lowest, highest],
                            "tokens": len(chosen),
                        }
                        | {"mean": float(chosen.mean()), "percentiles": percentiles, "spread_over_chance": spread}
                    )
    return cells


def measure_operators(batches: Sequence[Batch], manifest: Manifest, tables: LeafTables, seed: int) -> list[dict[str, Any]]:
    """Of the tokens in units that were all asked for one operator, the share that got it."""
    cells = []
    for strategy in ("ast-span", "ast-cut"):
        for name in ("drop", "shuffle", "relabel", "placeholder"):
            config = CorruptionConfig(strategy=strategy, operators=OperatorShares(**{name: 1.0}))
            in_units = operated = 0
            for batch in batches:
                planned = plan(batch, config, Noise.fixed(OPERATOR_RATE, len(batch)), seed=seed, epoch=0)
                corrupted = corrupt(batch.tensors, planned, config, manifest.token_ids, tables)
                masks = Masks()
                masks.add(corrupted, batch)
                in_units += masks.tokens
                operated += int((corrupted.operator_BL == Operator[name.upper()].value).sum())
            cells.append({"strategy": strategy, "operator": name, "share": operated / max(1, in_units)})
    return cells


# -------------------------------------------------------------------------------------------------------------- printing


def print_rates(source: str, rows: Sequence[SampleRow], cells: Sequence[dict[str, Any]], draws: int) -> None:
    """Table 1: target rate against realised rate."""
    for share in SPAN_SHARES:
        found = {(cell["rate"], cell["strategy"]): cell for cell in cells if cell["max_span_share"] == share}
        error = max(cell["standard_error"] for cell in found.values())
        print_table(
            f"1. {source}, {SPANS_OF[share]}: masked share of the code, mean over {len(rows)} samples x {draws} draws, "
            f"standard error at most {error:.3f}; a rate does not enter ast-token",
            ["target", *STRATEGIES],
            [[f"{rate:g}", *(f"{found[rate, name]['masked_share']:.3f}" for name in STRATEGIES)] for rate in RATES],
        )


def print_marginals(source: str, num_samples: int, cells: Sequence[dict[str, Any]], draws: int) -> None:
    """Table 2: frequencies of single tokens over the rate."""
    print_table(
        f"2. {source}: how often a token is masked, over the target rate; {num_samples} samples x "
        f"{draws} draws.\n   Spread: root mean square distance from 1, over that of independent draws at exactly the rate",
        ["target, strategy: spans over the token", "tokens", "mean", "5th %", "median", "95th %", "spread"],
        [
            [
                f"{cell['rate']:g} {cell['strategy']}, {SPANS_OF[cell['max_span_share']]}: {depth_name(*cell['depth'])}",
                f"{cell['tokens']:,}",
                *(f"{value:.3f}" for value in (cell["mean"], *cell["percentiles"])),
                f"{cell['spread_over_chance']:.1f}",
            ]
            for cell in cells
        ],
    )


def depth_name(lowest: int, highest: int) -> str:
    """A stratum in words."""
    if (lowest, highest) == ALL_DEPTHS:
        return "all"
    return f"{lowest}+" if highest == ALL_DEPTHS[1] else f"{lowest}-{highest}"


def print_pieces(source: str, cells: Sequence[dict[str, Any]]) -> None:
    """Table 3: how fragmented the masks are."""
    print_table(
        f"3. {source}: of what the masked code consists",
        ["target, strategy, spans", "% whole spans, not single tokens", "tokens a unit", "runs per 100 masked", "tokens a run"],
        [
            [
                f"{cell['rate']:g} {cell['strategy']}, {SPANS_OF[cell['max_span_share']]}",
                f"{100 * cell['span_share']:.1f}",
                f"{cell['unit_length']:.2f}",
                f"{cell['runs_per_100']:.1f}",
                f"{100 / max(cell['runs_per_100'], 1e-9):.2f}",
            ]
            for rate in RATES[1:]
            for cell in cells
            if cell["rate"] == rate and (cell["max_span_share"] == 1 or cell["strategy"].startswith("ast-span"))
        ],
    )


def print_operators(source: str, cells: Sequence[dict[str, Any]]) -> None:
    """Table 4: how often an operator finds something to do."""
    names = list(dict.fromkeys(cell["operator"] for cell in cells))
    found = {(cell["strategy"], cell["operator"]): cell["share"] for cell in cells}
    print_table(
        f"4. {source}: corrupted code tokens that got the operator asked for everywhere, %, the others being masked; "
        f"target {OPERATOR_RATE}",
        ["strategy", *names],
        [[s, *(f"{100 * found[s, name]:.1f}" for name in names)] for s in dict.fromkeys(cell["strategy"] for cell in cells)],
    )


def run(folder: Path | None, scale: Scale, seed: int) -> dict[str, Any]:
    """Measures and prints all."""
    start = time.perf_counter()
    facts = machine(PACKAGES)
    torch.set_num_threads(1)  # batches are small, and cores may be shared
    print_machine(facts)
    with tempfile.TemporaryDirectory(prefix="corruption-statistics-") as scratch:
        shards = folder or build_stdlib(Path(scratch), scale, seed)
        manifest = read_manifest(shards)
        sources = rows_by_source(shards, manifest, scale.samples)
        figures: dict[str, Any] = {}
        for source, rows in sources.items():
            tokens, spans = (np.median([len(getattr(row, name)) for row in rows]) for name in ("role", "span_start"))
            print(f"\n{source}: {len(rows)} samples, median {tokens:.0f} code tokens, {spans:.0f} spans", flush=True)
            masks = measure_masks(list(batches_of(rows, manifest)), manifest.token_ids, scale.draws, seed)
            print_rates(source, rows, masks, scale.draws)
            chosen = [row for row in rows if 200 <= len(row.role) <= 2000][: scale.marginal_samples]
            marginals = measure_marginals(chosen, manifest, scale.marginal_draws, seed) if chosen else []
            print_marginals(source, len(chosen), marginals, scale.marginal_draws)
            print_pieces(source, masks)
            operators = measure_operators(list(batches_of(rows, manifest)), manifest, leaf_tables(shards, manifest), seed)
            print_operators(source, operators)
            figures[source] = {"samples": len(rows), "masks": masks, "marginals": marginals, "operators": operators}
    seconds = time.perf_counter() - start
    print(f"\n{seconds:.0f} s")
    return {"machine": facts, "scale": scale, "seed": seed, "sources": figures, "seconds": seconds}


def main() -> int:
    """Parse the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", metavar="FOLDER", help="of shards (default: built for the purpose)")
    parser.add_argument("--seed", type=int, default=0, help="of samples and draws (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="few samples and draws")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    options = parser.parse_args()
    scale = Scale(samples={"files": 320, "functions": 900}, draws=4, marginal_samples=12, marginal_draws=2000)
    if options.quick:
        scale = Scale(samples={"files": 40, "functions": 100}, draws=2, marginal_samples=3, marginal_draws=300)
    try:
        figures = run(options.folder, scale, options.seed)
    except SyntaxdiffError as error:
        print(f"corruption_statistics.py: {error}", file=sys.stderr)
        return 2
    if options.json:
        options.json.write_text(json.dumps(plain(figures), indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
