"""What every model to evaluate does, whatever its kind: the protocols that the rest of evaluation is written against.

``Described`` is what is known before the weights are loaded, ``LanguageModel`` a model that can generate. The two kinds are
``DenoisingModel`` (denoising.py) and ``CausalModel`` (causal.py); ``load_checkpoint`` (checkpoint.py) returns one of them.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from syntaxdiff.eval.inference.abilities import Abilities
from syntaxdiff.eval.inference.answer import Answer
from syntaxdiff.eval.inference.canvas import OnStep
from syntaxdiff.eval.inference.config import GenerationConfig
from syntaxdiff.eval.inference.sampler import Sampler
from syntaxdiff.pipeline.shard import TokenIds
from syntaxdiff.train.model.export_info import ExportInfo


class Described(Protocol):
    """A model without its weights: enough to make prompts and to refuse what it cannot do."""

    @property
    def name(self) -> str:
        """As it was asked for."""

    @property
    def folder(self) -> Path:
        """Where its files are."""

    @property
    def tokenizer(self) -> Any:
        """Transformers' fast tokenizer."""

    @property
    def token_ids(self) -> TokenIds:
        """Special ids."""

    @property
    def shift(self) -> bool:
        """Whether position i - 1 predicts token i."""

    @property
    def info(self) -> ExportInfo | None:
        """Content of ``syntaxdiff.json``, None for models from elsewhere."""

    @property
    def abilities(self) -> Abilities:
        """What its kind can do."""

    @property
    def kind(self) -> str:
        """Name of its kind, as results store it."""

    @property
    def max_positions(self) -> int | None:
        """Maximum number of tokens of prompt and answer together, None where the model does not say."""

    @property
    def vocab_size(self) -> int:
        """Number of ids that the model knows."""

    @property
    def end_ids(self) -> frozenset[int]:
        """Tokens that end an answer."""

    def check_prompts(self, prompts: Sequence[Sequence[int]], config: GenerationConfig) -> None:
        """Raises SettingsError where answers to prompts cannot be generated."""

    def check_sequences(self, sequences: Sequence[Sequence[int]]) -> None:
        """Raises SettingsError for unknown ids, and for sequences that are longer than the model can read."""

    def check_infilling(self) -> None:
        """Raises SettingsError where the model cannot fill masks."""

    def text_between(self, ids: Sequence[int], start: int, end: int) -> str:
        """Text of ids [start, end) as it reads after the ids before them."""


class LanguageModel(Described, Protocol):
    """A model that generates answers, and says how probable it holds them to be."""

    @property
    def model(self) -> Any:
        """The module that holds the weights, in evaluation mode."""

    @property
    def device(self) -> torch.device:
        """Device of the weights."""

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        config: GenerationConfig,
        *,
        keys: Sequence[str] | None = None,
        with_trace: bool = False,
        on_step: OnStep | None = None,
    ) -> Iterator[tuple[int, Answer]]:
        """Yields the answer to each prompt with the prompt's index, as soon as its batch is done.

        The longest prompts come first; among prompts of equal length the order stays. Each answer is as if it were generated
        alone. ``answer.in_order`` makes a list.

        Args:
            prompts: token ids, chat template included
            keys: of each prompt's random numbers, its index by default; several samples of a prompt need different keys
            with_trace: keep what each step wrote
            on_step: is shown the canvases after each denoising step

        Raises:
            SettingsError: at the call, before anything is generated: a prompt holds the mask token or unknown ids, or leaves
                no room for the answer; or the model has no denoising steps to show
        """

    def infill(
        self,
        canvases: Sequence[Sequence[int]],
        config: GenerationConfig,
        *,
        keys: Sequence[str] | None = None,
        with_trace: bool = False,
    ) -> Iterator[tuple[int, Answer]]:
        """Yields each canvas with its masks filled; all other ids stay. `gen_length` and `early_stop` have no effect.

        Args: as of ``generate``, but canvases hold the masks that are filled

        Raises:
            SettingsError: at the call: the model cannot fill masks, or a canvas holds unknown ids or too many
        """

    def sampler(self, config: GenerationConfig) -> Sampler:
        """What fills the masks of canvases. Raises SettingsError where the model cannot fill masks."""

    def log_likelihood(
        self,
        prompt: Sequence[int],
        answers: Sequence[Sequence[int]],
        *,
        num_samples: int = 128,
        seed: int = 0,
        batch_size: int = 16,
    ) -> list[float]:
        """Log-probability of each answer given a prompt, in nats; 0 for an empty one. See likelihood.py.

        Args:
            num_samples: masked versions of each answer, where the likelihood is an estimate
            seed: of the masks
            batch_size: masked versions at a time

        Raises:
            SettingsError: fewer than one sample, or ids that are unknown or too many
        """

    def batch_size(self, longest: int, config: GenerationConfig) -> int:
        """Number of sequences that are generated together: as asked for, or as many as fit into memory.

        Args:
            longest: tokens of the longest of them, prompt and answer
        """

    def sequence_bytes(self, length: int, num_scored: int) -> int:
        """Estimated memory of one sequence in a forward pass, in bytes, weights excluded.

        Args:
            length: tokens, prompt and answer
            num_scored: positions whose logits are computed at a time
        """
