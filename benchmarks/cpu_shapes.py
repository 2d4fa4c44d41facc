"""What rounding lengths up spares a CPU: steps of a small model on batches of any length, and on batches of few lengths.

    python benchmarks/cpu_shapes.py                 # a few minutes; builds its shards itself
    python benchmarks/cpu_shapes.py --quick         # a smoke run; its figures mean nothing

oneDNN generates code for every new shape of a bfloat16 product and keeps it. The trainer pads batches and fills up the scored
positions to multiples of 64 on a CPU (train/data/batch.py, shape_multiple); here the same steps are taken with and without, by
turns, each turn in a process of its own, whose kernels are all new. A step is the trainer's, with micro-batches of one sample
as in ds_zero3.json. Figures are medians over turns; the tokens counted are the samples' own, padding is not.
"""

import argparse
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from unittest.mock import patch

import psutil
from report import machine, plain, print_machine, print_table
from step_variants import PlainEngine, Setup, train_step
from train_step import built_shards

from syntaxdiff.train.data.batch import shape_multiple
from syntaxdiff.train.model.sizes import PRESETS

PLACES = ("step_variants.shape_multiple", "syntaxdiff.train.model.denoiser.shape_multiple")  # the loader's batches, the head


@dataclass(frozen=True)
class Turn:
    """A process's steps; those of its second half apart, because kernels pile up.

    Attributes:
        speed, late_speed: tokens a second of CPU time
        grown_bytes: resident memory at the end, beyond that after the first step
    """

    speed: float
    late_speed: float
    grown_bytes: int


def turn(setup: Setup, steps: int, multiple: int) -> Turn:
    """So many steps with shapes rounded up to a multiple, in this process."""
    for place in PLACES:
        patch(place, return_value=multiple).start()
    manifest = setup.manifest()
    stepper = setup.stepper(PlainEngine(setup.denoiser(manifest)), manifest, pack=False)
    seconds, tokens, first_bytes = [], [], 0
    for batch in islice(setup.stream(manifest).batches(), steps):
        before = time.process_time()
        train_step(stepper, batch, setup.seed)
        seconds.append(time.process_time() - before)
        tokens.append(batch.num_tokens)
        first_bytes = first_bytes or psutil.Process().memory_info().rss
    half = steps // 2
    return Turn(
        speed=sum(tokens) / sum(seconds),
        late_speed=sum(tokens[half:]) / sum(seconds[half:]),
        grown_bytes=psutil.Process().memory_info().rss - first_bytes,
    )


def main() -> int:
    """Measure what the options ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=tuple(PRESETS), default="tiny", help="(%(default)s)")
    parser.add_argument("--length", type=int, default=1024, help="most tokens of a sample (%(default)s, as in the demo)")
    parser.add_argument("--steps", type=int, default=300, help="micro-batches of a turn (%(default)s)")
    parser.add_argument("--turns", type=int, default=2, help="of each (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="a smoke run: two short turns")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    options = parser.parse_args()
    steps, turns = (4, 1) if options.quick else (options.steps, options.turns)
    facts = machine(("torch",))
    print_machine(facts)
    rounded = shape_multiple("cpu")
    found: dict[int, list[Turn]] = {1: [], rounded: []}
    with tempfile.TemporaryDirectory(prefix="cpu-shapes-benchmark-") as folder:
        setup = Setup(
            data=built_shards(Path(folder) / "shards", options.length, 100 if options.quick else 1000),
            preset=options.preset,
            vocabulary=4096,
            length=options.length,
            micro_batch=1,
            device="cpu",
            dtype="bfloat16",
        )
        for number in range(turns):
            for multiple, of_it in found.items():
                with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as alone:
                    of_it.append(alone.submit(turn, replace(setup, seed=number), steps, multiple).result())
    medians = {
        multiple: Turn(
            *(statistics.median(getattr(measured, name) for measured in of_it) for name in Turn.__dataclass_fields__)
        )
        for multiple, of_it in found.items()
    }
    print_table(
        f"{options.preset}, {steps} steps of one sample of up to {options.length} tokens, bfloat16",
        ["lengths", "tokens a CPU-second", "in the second half", "ratio there", "memory grown, MiB"],
        [
            [
                "as they come" if multiple == 1 else f"multiples of {multiple}",
                f"{median.speed:,.0f}",
                f"{median.late_speed:,.0f}",
                f"{median.late_speed / medians[1].late_speed:.2f}",
                f"{median.grown_bytes / 2**20:,.0f}",
            ]
            for multiple, median in medians.items()
        ],
    )
    if options.json:
        options.json.write_text(json.dumps({"machine": facts, "turns": plain(found)}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
