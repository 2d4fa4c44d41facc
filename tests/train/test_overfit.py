"""Long proof: eight programs are learnt by heart, under every strategy and by the noisiest objective."""

from pathlib import Path

import numpy as np
import pytest
import torch
from folders import write_jsonl
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from syntaxdiff.pipeline.build import build_shards
from syntaxdiff.pipeline.config import BuildConfig
from syntaxdiff.pipeline.shard import Manifest, SampleRow, iter_shard, read_manifest
from syntaxdiff.train.corruption.config import STRATEGIES, CorruptionConfig, Curriculum
from syntaxdiff.train.corruption.leaves import leaf_tables
from syntaxdiff.train.corruption.noise import Noise
from syntaxdiff.train.data.batch import collate
from syntaxdiff.train.model.denoiser import Denoiser, Inputs, Losses
from syntaxdiff.train.step import Stepper

pytestmark = pytest.mark.slow

# The prompt alone says which of the eight is meant, so that all can be known even where everything is masked.
PROGRAMS = {
    "alpha": "def add(a, b):\n    return a + b\n",
    "beta": "def sign(x):\n    if x < 0:\n        return -1\n    return 1\n",
    "gamma": "def count(items):\n    total = 0\n    for item in items:\n        total += 1\n    return total\n",
    "delta": "def last(items):\n    return items[-1]\n",
    "epsilon": "def wait(queue):\n    while queue:\n        queue.pop()\n",
    "zeta": "import math\n\nAREA = math.pi * 2 ** 2\n",
    "eta": "def largest(a, b):\n    return a if a > b else b\n",
    "theta": "class Point:\n    x = 0\n    y = 0\n",
}
NEARLY_NOTHING = 0.05  # nats a masked token; it is above 5 before training
STEPS = 400


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of the eight programs."""
    root = tmp_path_factory.mktemp("overfit")
    rows = [{"id": name, "prompt": name, "reasoning": "", "code": code} for name, code in PROGRAMS.items()]
    source = write_jsonl(root / "rows.jsonl", rows)
    build_shards(BuildConfig(src=(str(source),), out=root / "data", tokenizer="train:400", validation_size=0, workers=1))
    return root / "data"


@pytest.fixture(scope="module")
def manifest(folder: Path) -> Manifest:
    return read_manifest(folder)


@pytest.fixture(scope="module")
def rows(folder: Path, manifest: Manifest) -> list[SampleRow]:
    found = [row for shard in manifest.splits["train"] for row in iter_shard(folder, shard)]
    assert len(found) == len(PROGRAMS)
    return found


def small_denoiser(manifest: Manifest) -> Denoiser:
    config = LlamaConfig(
        vocab_size=manifest.tokenizer.vocab_size,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=256,
        tie_word_embeddings=False,
        pad_token_id=None,
        initializer_range=0.08,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Denoiser(LlamaForCausalLM(config))


class ScoredAlone:
    """A denoiser that leaves out samples of which nothing is scored: they give no gradient, and are most under `reveal`."""

    def __init__(self, denoiser: Denoiser) -> None:
        self.denoiser = denoiser

    def __call__(self, inputs: Inputs, target_BL: Tensor, weight_BL: Tensor) -> Losses:
        kept_B = weight_BL.any(dim=1)
        kept_B[0] = True
        mask = None if inputs.attention_mask is None else inputs.attention_mask[kept_B]
        losses: Losses = self.denoiser(Inputs(inputs.ids_BL[kept_B], mask), target_BL[kept_B], weight_BL[kept_B])
        return losses


def nats(stepper: Stepper, manifest: Manifest, rows: list[SampleRow], rate: float, epoch: int) -> float:
    """Mean cross entropy of all tokens that the run's strategy masks at a rate."""
    batch = collate(rows, pad_id=manifest.token_ids.pad, languages=manifest.languages)
    noise = Noise(rate_B=np.full(len(rows), rate))
    config = CorruptionConfig(strategy=stepper.config.strategy)  # `reveal` would score few of them
    with torch.no_grad():
        return float(stepper(batch, noise, seed=1, epoch=epoch, config=config).losses.nats_N.mean())


@pytest.mark.parametrize(
    ("strategy", "objective", "copies"),
    [*((strategy, "inverse-rate", 1) for strategy in STRATEGIES), ("ast-span", "reveal", 128)],
)
def test_eight_programs_are_learnt_by_heart(
    folder: Path, manifest: Manifest, rows: list[SampleRow], strategy: str, objective: str, copies: int
) -> None:
    """Trained on eight samples with masks drawn anew, a model knows them under masks that it has not seen, at every rate.

    `reveal` scores a token in a thousand: there, a batch holds each sample 128 times, each as of an epoch of its own.
    """
    torch.set_num_threads(1)
    denoiser = small_denoiser(manifest)
    stepper = Stepper(
        engine=ScoredAlone(denoiser),
        device=torch.device("cpu"),
        token_ids=manifest.token_ids,
        tables=leaf_tables(folder, manifest),
        config=CorruptionConfig(strategy=strategy, objective=objective),
    )
    assert nats(stepper, manifest, rows, 0.5, epoch=0) > 100 * NEARLY_NOTHING
    batch = collate(rows * copies, pad_id=manifest.token_ids.pad, languages=manifest.languages)
    optimizer = torch.optim.AdamW(denoiser.parameters(), lr=5e-3, betas=(0.9, 0.98), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=5e-3, total_steps=STEPS, pct_start=0.1)
    draw = np.random.default_rng(0)
    for step in range(STEPS):
        levels = (draw.permutation(len(batch)) + 0.5) / len(batch)
        epochs = [step * copies + place // len(rows) for place in range(len(batch))]
        losses = stepper(batch, Noise.at(levels, Curriculum(kind="constant"), 1.0), seed=0, epoch=epochs).losses
        optimizer.zero_grad()
        (losses.loss / batch.num_corruptible_B.sum()).backward()
        torch.nn.utils.clip_grad_norm_(denoiser.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    known = {rate: nats(stepper, manifest, rows, rate, epoch) for epoch, rate in enumerate((0.1, 0.3, 0.5, 0.7, 0.9, 1.0))}
    assert max(known.values()) < NEARLY_NOTHING, known
