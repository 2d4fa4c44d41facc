"""The step as the trainer does it, and as usual trainers do, on the same samples and masks. What is timed is not here.

Shapes: B samples, L tokens, V vocabulary.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.pipeline.shard import Manifest, read_manifest
from syntaxdiff.train.corruption.config import CorruptionConfig, Curriculum
from syntaxdiff.train.corruption.leaves import leaf_tables
from syntaxdiff.train.corruption.noise import Noise, noise_levels
from syntaxdiff.train.corruption.operators import LeafTables
from syntaxdiff.train.data.batch import shape_multiple
from syntaxdiff.train.data.loader import GlobalBatch, LoaderConfig, MicroBatch, SampleStream
from syntaxdiff.train.deepspeed_json.config import RunFacts, complete, read_json, with_schedule
from syntaxdiff.train.model.denoiser import Denoiser, Inputs, Losses
from syntaxdiff.train.model.start import load_network, read_config
from syntaxdiff.train.step import Scored, Stepper

DEEPSPEED_JSON = Path(__file__).resolve().parents[1] / "ds_zero3.json"
Score: TypeAlias = Callable[[Denoiser, Inputs, Tensor, Tensor], Losses]


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What is trained on what; plain values, so that a process of its own can be given it.

    Attributes:
        data: folder of shards; each sample has at most ``length`` tokens
        vocabulary: ids that the model knows, the shards' own or more
        length: most tokens of a sample, and of a packed sequence
        micro_batch: samples of a step
        device, dtype: as torch names them
    """

    data: Path
    preset: str
    vocabulary: int
    length: int
    micro_batch: int
    device: str
    dtype: str
    seed: int = 0

    def manifest(self) -> Manifest:
        """The shards' manifest, with the vocabulary of the model.

        Raises:
            SettingsError: the shards have more ids, or longer samples
            ShardError: there are no shards
        """
        manifest = read_manifest(self.data)
        if manifest.tokenizer.vocab_size > self.vocabulary:
            raise SettingsError(f"{self.data} has {manifest.tokenizer.vocab_size} token ids: raise --vocabulary")
        if manifest.settings.max_length > self.length:
            raise SettingsError(f"{self.data} has samples of up to {manifest.settings.max_length} tokens: raise --length")
        return replace(manifest, tokenizer=replace(manifest.tokenizer, vocab_size=self.vocabulary))

    def stream(self, manifest: Manifest, micro_batch: int | None = None) -> SampleStream:
        """The training samples; a step is one micro-batch."""
        config = LoaderConfig(
            seed=self.seed,
            micro_batch=micro_batch or self.micro_batch,
            accumulation=1,
            max_length=self.length,
            pad_to_multiple=shape_multiple(self.device),
        )
        return SampleStream(self.data, manifest, config)

    def first_batch(self, manifest: Manifest, micro_batch: int | None = None) -> GlobalBatch:
        """The samples of the first step."""
        return next(self.stream(manifest, micro_batch).batches())

    def denoiser(self, manifest: Manifest, *, checkpointing: bool = False) -> Denoiser:
        """A model with random weights, on its device."""
        config = read_config(self.preset, manifest, self.length)
        network = load_network(self.preset, config, manifest, self.seed)
        if checkpointing:
            network.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        return Denoiser(network).to(self.device, getattr(torch, self.dtype))

    def stepper(self, engine: Any, manifest: Manifest, *, pack: bool) -> Stepper:
        """The trainer's forward pass, with its default corruption."""
        return Stepper(
            engine=engine,
            device=torch.device(self.device),
            token_ids=manifest.token_ids,
            tables=LeafTables(*(table.to(self.device) for table in leaf_tables(self.data, manifest))),
            config=CorruptionConfig(),
            pack=pack,
            capacity=self.length,
        )


def scored_positions(denoiser: Denoiser, inputs: Inputs, target_BL: Tensor, weight_BL: Tensor) -> Losses:
    """Ours: the head reads only the positions in the loss, a chunk at a time."""
    losses: Losses = denoiser(inputs, target_BL, weight_BL)
    return losses


def full_logits(denoiser: Denoiser, inputs: Inputs, target_BL: Tensor, weight_BL: Tensor) -> Losses:
    """As usual trainers do it: float32 logits [B, L, V] and the cross entropy of every position; weights pick the scored."""
    logits_BLV = denoiser(inputs).float()
    nats = functional.cross_entropy(logits_BLV.flatten(0, 1), target_BL.flatten(), reduction="none")
    return Losses((nats * weight_BL.flatten()).sum(), nats.detach(), torch.arange(len(nats), device=nats.device))


class Engine(Protocol):
    """What a step asks of an engine; DeepSpeed's has it."""

    def __call__(self, inputs: Inputs, target_BL: Tensor, weight_BL: Tensor) -> Losses:
        """The losses of a micro-batch."""

    def backward(self, loss: Tensor) -> Any:
        """Its gradients."""

    def step(self) -> Any:
        """The optimizer, after which there are no gradients."""


@dataclass
class PlainEngine:
    """Torch alone: fused AdamW on the weights as they are.

    At learning rate 0 it works as hard as at any other, and every variant computes on the same weights.
    """

    denoiser: Denoiser
    score: Score = scored_positions
    seen: tuple[Inputs, Tensor, Tensor] | None = field(default=None, init=False)  # what the last call was given

    def __post_init__(self) -> None:
        self._optimizer = torch.optim.AdamW(self.denoiser.parameters(), lr=0.0, fused=True)

    def __call__(self, inputs: Inputs, target_BL: Tensor, weight_BL: Tensor) -> Losses:
        """The losses of a micro-batch."""
        self.seen = inputs, target_BL, weight_BL
        return self.score(self.denoiser, *self.seen)

    def backward(self, loss: Tensor) -> None:
        """Its gradients."""
        loss.backward()  # type: ignore[no-untyped-call]

    def repeat(self) -> None:
        """Forward and backward of what the last call was given."""
        assert self.seen is not None
        self.backward(self.score(self.denoiser, *self.seen).loss)

    def step(self) -> None:
        """The optimizer."""
        self._optimizer.step()
        self._optimizer.zero_grad()


def deepspeed_engine(setup: Setup, denoiser: Denoiser) -> Engine:
    """DeepSpeed's engine with the repository's JSON, in the setup's precision; within ``engine.processes()``.

    Raises:
        SettingsError: DeepSpeed refuses the configuration
    """
    from syntaxdiff.train.engine.deepspeed_engine import make_engine  # takes seconds, and most runs do without

    facts = RunFacts(
        world=1,
        default_learning_rate=0.0,
        learning_rate=None,
        micro_batch=None,
        accumulation=None,
        warmup_share=0.1,
        hidden_size=denoiser.network.config.hidden_size,
        has_gpu=setup.device == "cuda",
    )
    ours = {
        "train_micro_batch_size_per_gpu": setup.micro_batch,
        "gradient_accumulation_steps": 1,
        "bf16": {"enabled": setup.dtype == "bfloat16"},
    }
    config, _ = complete(read_json(DEEPSPEED_JSON) | ours, facts)
    block = type(denoiser.network.model.layers[0])
    engine: Engine = make_engine(denoiser, with_schedule(config, 1000, facts.warmup_share), block)
    return engine


def noise_of(micro: MicroBatch, seed: int) -> Noise:
    """Rates of a micro-batch as the trainer draws them late in a run: evenly over (0.001, 1), where most is scored."""
    pairs = zip(micro.epochs, micro.ordinals, strict=True)
    return Noise.at(np.array([noise_levels(seed, epoch, [ordinal])[0] for epoch, ordinal in pairs]), Curriculum(), 1.0)


def train_step(stepper: Stepper, batch: GlobalBatch, seed: int) -> Scored:
    """A whole step as the trainer takes it: corruption, forward, backward, optimizer."""
    (micro,) = batch.micro_batches
    scored = stepper(micro.batch, noise_of(micro, seed), seed=seed, epoch=micro.epochs)
    stepper.engine.backward(scored.losses.loss / batch.num_corruptible)
    stepper.engine.step()
    return scored
