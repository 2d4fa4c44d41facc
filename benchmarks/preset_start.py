"""What the weights that a preset starts with are worth: losses on the way, from three starts, on the same samples and masks.

    python benchmarks/preset_start.py                              # 12 minutes of a core or so; builds its own shards
    python benchmarks/preset_start.py --data data/ --preset tiny   # shards of yours
    python benchmarks/preset_start.py --quick                      # a smoke run; its figures mean nothing

Random weights; those whose first block looks at neighbours; and a preset's own, whose last blocks carry over what they look at,
too (train/model/presets.py). All are trained alike: uniform masks, masked-mean, AdamW, a rate that rises over a twentieth of
the steps and then stays. The loss is on validation samples, in nats a masked token, at three mask rates. Where few tokens are
masked it is nearly all of names: which of several the program uses can be seen elsewhere in it, by a model that looks there.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from report import machine, print_machine, print_table
from step_variants import Setup, train_step

from syntaxdiff.pipeline.build import build_shards
from syntaxdiff.pipeline.config import BuildConfig
from syntaxdiff.pipeline.errors import SyntaxdiffError
from syntaxdiff.pipeline.shard import read_manifest
from syntaxdiff.train.corruption.config import CorruptionConfig
from syntaxdiff.train.data.loader import read_split
from syntaxdiff.train.model.denoiser import Denoiser
from syntaxdiff.train.model.presets import carry_over, look_at_neighbours, preset_config, random_network
from syntaxdiff.train.model.sizes import PRESETS
from syntaxdiff.train.monitor.validation import RankBatches, Validator
from syntaxdiff.train.step import Stepper

STARTS = ("random", "neighbours", "neighbours and copies")
RATES = ("0.1", "0.5", "0.9")
CORRUPTION = CorruptionConfig(strategy="random", objective="masked-mean")


@dataclass
class Trained:
    """A model in training: what the stepper calls, and its optimizer."""

    denoiser: Denoiser
    learning_rate: float
    warmup: int

    def __post_init__(self) -> None:
        self._optimizer = torch.optim.AdamW(self.denoiser.parameters(), lr=0.0, betas=(0.9, 0.95), weight_decay=0.1)
        self._steps = 0

    def __call__(self, *batch: Any) -> Any:
        """The losses of a micro-batch."""
        return self.denoiser(*batch)

    def backward(self, loss: torch.Tensor) -> None:
        """Its gradients."""
        loss.backward()  # type: ignore[no-untyped-call]

    def step(self) -> None:
        """The optimizer."""
        self._steps += 1
        for group in self._optimizer.param_groups:
            group["lr"] = self.learning_rate * min(1.0, self._steps / self.warmup)
        torch.nn.utils.clip_grad_norm_(self.denoiser.parameters(), 1.0)
        self._optimizer.step()
        self._optimizer.zero_grad()


def losses(setup: Setup, start: str, steps: int, every: int) -> dict[int, dict[str, float | None]]:
    """The losses at RATES after every so many steps from a start."""
    manifest = setup.manifest()
    network = random_network(preset_config(PRESETS[setup.preset], setup.vocabulary, setup.length), setup.seed)
    if start != STARTS[0]:
        look_at_neighbours(network)
    if start == STARTS[2]:
        carry_over(network, setup.seed)
    trained = Trained(Denoiser(network), PRESETS[setup.preset].learning_rate, max(1, steps // 20))
    stepper = Stepper(
        engine=trained,
        device=torch.device("cpu"),
        token_ids=manifest.token_ids,
        config=CORRUPTION,
        pack=True,
        capacity=setup.length,
    )
    rows = read_split(setup.data, manifest, "validation", 100)
    validator = Validator(
        rows, manifest, CORRUPTION, ["random"], batches=RankBatches(setup.micro_batch), total=lambda tensor: tensor
    )
    found = {}
    for number, batch in enumerate(islice(setup.stream(manifest).batches(), steps), 1):
        train_step(stepper, batch, setup.seed)
        if number % every == 0 or number == steps:
            grid = validator.grid(stepper)["random"]
            found[number] = {rate: grid[rate] for rate in RATES}
    return found


def main() -> int:
    """Measure what the options ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="shards (level 1 of the exercises)")
    parser.add_argument("--preset", choices=tuple(PRESETS), default="nano", help="(%(default)s)")
    parser.add_argument("--micro-batch", type=int, default=32, help="samples of a step (%(default)s)")
    parser.add_argument("--steps", type=int, default=500, help="(%(default)s)")
    parser.add_argument("--every", type=int, default=100, help="steps between losses (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and masks (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="a smoke run: ten steps")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    options = parser.parse_args()
    steps, every = (10, 5) if options.quick else (options.steps, options.every)
    torch.set_num_threads(1)
    facts = machine(("torch", "transformers"))
    print_machine(facts)
    try:
        with tempfile.TemporaryDirectory(prefix="preset-start-benchmark-") as folder:
            data = options.data or Path(folder) / "shards"
            if not options.data:
                rows = 400 if options.quick else 20_000
                source = f"exercises:1:{rows}"
                build_shards(BuildConfig(src=(source,), out=data, tokenizer="train:1000", max_length=128, validation_size=40))
            manifest = read_manifest(data)
            setup = Setup(
                data=data,
                preset=options.preset,
                vocabulary=manifest.tokenizer.vocab_size,
                length=max(256, manifest.settings.max_length),
                micro_batch=options.micro_batch,
                device="cpu",
                dtype="float32",
                seed=options.seed,
            )
            measured = {}
            for start in STARTS:
                began = time.process_time()
                measured[start] = losses(setup, start, steps, every)
                print(f"{start}: {steps} steps in {time.process_time() - began:,.0f} s of CPU time", flush=True)
    except SyntaxdiffError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    for rate in RATES:
        print_table(
            f"{options.preset} on {options.data or 'exercises:1'}: nats a masked token at mask rate {rate}, after steps",
            ["start", *map(str, next(iter(measured.values())))],
            [
                [start, *("-" if of_it[rate] is None else f"{of_it[rate]:.3f}" for of_it in by_step.values())]
                for start, by_step in measured.items()
            ],
        )
    if options.json:
        options.json.write_text(json.dumps({"machine": facts, "losses": measured}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
