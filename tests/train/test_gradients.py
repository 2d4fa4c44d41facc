"""The gradient of a step does not depend on how its samples are cut over ranks, accumulation steps and packed sequences."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from parameters import slow
from training_runs import QUIET, make_shards, run, steps, write_json
from transformers import LlamaConfig, LlamaForCausalLM

from syntaxdiff.pipeline.shard import Manifest, read_manifest
from syntaxdiff.train.corruption.config import OBJECTIVES, STRATEGIES, CorruptionConfig, Curriculum, OperatorShares
from syntaxdiff.train.corruption.leaves import leaf_tables
from syntaxdiff.train.corruption.noise import Noise, noise_levels
from syntaxdiff.train.data.loader import LoaderConfig, SampleStream
from syntaxdiff.train.model.denoiser import Denoiser
from syntaxdiff.train.step import Stepper

SEED = 44  # a step in which `reveal`, which scores a token in a thousand, scores some
MAX_LENGTH = 512
CLOSE = 2e-6  # of the gradient's norm; float32 sums in another order differ by 3e-7


@dataclass(frozen=True)
class Cut:
    """How the samples of a step are shared out."""

    world: int
    accumulation: int
    micro_batch: int
    pack: bool = False
    group_by_length: bool = False


WHOLE = Cut(1, 1, 8)
CUTS = [
    Cut(1, 4, 2),
    Cut(1, 8, 1),
    Cut(2, 1, 4),
    Cut(2, 4, 1),
    Cut(4, 1, 2),
    Cut(1, 1, 8, pack=True),
    Cut(2, 1, 4, pack=True),
    Cut(1, 2, 4, group_by_length=True),
    Cut(2, 2, 2, pack=True, group_by_length=True),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of short programs in its folder ``data``."""
    folder = tmp_path_factory.mktemp("gradients")
    make_shards(folder)
    return folder


@pytest.fixture(scope="module")
def manifest(root: Path) -> Manifest:
    return read_manifest(root / "data")


@pytest.fixture(scope="module")
def denoiser(manifest: Manifest) -> Denoiser:
    """A small model whose every part has a say, the timestep embedding too."""
    config = LlamaConfig(
        vocab_size=manifest.tokenizer.vocab_size,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=MAX_LENGTH,
        tie_word_embeddings=False,
        pad_token_id=None,
        initializer_range=0.1,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = Denoiser(LlamaForCausalLM(config), timestep_embedding=True)
        assert made.timestep is not None
        torch.nn.init.normal_(made.timestep.weight, std=0.1)
    return made


def gradient(root: Path, manifest: Manifest, denoiser: Denoiser, corruption: CorruptionConfig, cut: Cut, consumed: int) -> Any:
    """The flat gradient of a step, as the trainer and DeepSpeed make it between them, float64.

    Each backward is of the micro-batch's loss, times ranks and accumulation steps, over the global batch's corruptible tokens
    (trainer.optimize); DeepSpeed sums, and divides by ranks and accumulation steps.
    """
    stepper = Stepper(
        engine=denoiser,
        device=torch.device("cpu"),
        token_ids=manifest.token_ids,
        tables=leaf_tables(root / "data", manifest),
        config=corruption,
        pack=cut.pack,
        capacity=MAX_LENGTH,
    )
    denoiser.zero_grad()
    for rank in range(cut.world):
        loader = LoaderConfig(
            seed=SEED,
            micro_batch=cut.micro_batch,
            accumulation=cut.accumulation,
            rank=rank,
            world=cut.world,
            eos_pad=4,
            group_by_length=cut.group_by_length,
        )
        batch = next(SampleStream(root / "data", manifest, loader).batches(consumed))
        assert len(batch.micro_batches) == cut.accumulation
        scale = cut.world * cut.accumulation / batch.num_corruptible
        for micro in batch.micro_batches:
            levels = [
                noise_levels(SEED, epoch, [ordinal])[0] for epoch, ordinal in zip(micro.epochs, micro.ordinals, strict=True)
            ]
            noise = Noise.at(np.array(levels), Curriculum(), 0.7)
            losses = stepper(micro.batch, noise, seed=SEED, epoch=micro.epochs).losses
            torch.autograd.backward(losses.loss * scale / (cut.world * cut.accumulation))
    return torch.cat([parameter.grad.flatten() for parameter in denoiser.parameters() if parameter.grad is not None]).double()


STRATEGIES_ALONE = [CorruptionConfig(strategy=strategy, objective="inverse-rate") for strategy in STRATEGIES]
OBJECTIVES_ALONE = [CorruptionConfig(strategy="ast-span", objective=objective) for objective in OBJECTIVES]
OPERATORS_TOO = CorruptionConfig(
    strategy="ast-cut", objective="reveal", operators=OperatorShares(drop=0.2, shuffle=0.2, relabel=0.2, placeholder=0.2)
)


@pytest.mark.parametrize(
    "corruption",
    [*STRATEGIES_ALONE, *(slow(config) for config in OBJECTIVES_ALONE if config not in STRATEGIES_ALONE), OPERATORS_TOO],
    ids=lambda config: f"{config.strategy}/{config.objective}",
)
def test_the_gradient_does_not_depend_on_the_cut(
    root: Path, manifest: Manifest, denoiser: Denoiser, corruption: CorruptionConfig
) -> None:
    """The same eight samples on 1, 2 or 4 ranks, in 1 to 8 passes, packed or padded, by length or not: one gradient."""
    consumed = manifest.num_samples("train") - 3  # over the border of an epoch
    whole = gradient(root, manifest, denoiser, corruption, WHOLE, consumed)
    assert whole.norm() > 0.01
    for cut in CUTS:
        difference = gradient(root, manifest, denoiser, corruption, cut, consumed) - whole
        assert difference.norm() < CLOSE * whole.norm(), cut


def test_another_step_has_another_gradient(root: Path, manifest: Manifest, denoiser: Denoiser) -> None:
    """What is compared depends on the samples and their masks: the step before, and the same samples an epoch on, differ."""
    corruption = CorruptionConfig(strategy="ast-span")
    here, before, later = (
        gradient(root, manifest, denoiser, corruption, WHOLE, consumed)
        for consumed in (8, 0, 8 + manifest.num_samples("train"))
    )
    assert (here - before).norm() > 0.01 * here.norm()
    assert (here - later).norm() > 0.01 * here.norm()


@pytest.mark.slow
def test_deepspeed_makes_the_same_gradient_of_every_cut(root: Path) -> None:
    """Through the launcher, the norm of the first steps' gradients is that of one rank in one pass, to rounding."""
    norms = []
    for ranks, accumulation, micro_batch in ((1, 1, 8), (1, 4, 2), (2, 2, 2)):
        out = root / f"out-{ranks}-{accumulation}"
        config = write_json(
            root / f"{out.name}.json",
            train_micro_batch_size_per_gpu=micro_batch,
            gradient_accumulation_steps=accumulation,
            gradient_clipping=1e6,  # none
        )
        run(root, out, "--max-steps", "3", *QUIET, ranks=ranks, ds=config)
        norms.append([record["gradient_norm"] for record in steps(out)])
    for other in norms[1:]:
        assert other[0] == pytest.approx(norms[0][0], rel=1e-5)  # of the same weights
        assert other == pytest.approx(norms[0], rel=1e-3)
    assert len(set(norms[0])) == 3
