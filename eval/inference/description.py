"""All of a model but its weights, as read from its folder: tokenizer, special ids and limits, and what they rule out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from syntaxdiff.eval.inference.abilities import Abilities
from syntaxdiff.eval.inference.config import GenerationConfig
from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.pipeline.shard import TokenIds
from syntaxdiff.train.model.export_info import ExportInfo

NO_MASK = -1  # the mask id of a model that has none


@dataclass(frozen=True, kw_only=True)
class Description:
    """What both kinds of model, and checkpoints whose weights are not loaded, have in common.

    Attributes:
        name: as it was asked for
        folder: of its files
        abilities: of its kind
        tokenizer: transformers' fast tokenizer
        token_ids: ``mask`` is NO_MASK for a causal model
        shift: position i - 1 predicts token i
        info: content of ``syntaxdiff.json``, None for models from elsewhere
        most: positions that all attend to each other, where that is fewer than the configuration says (agreement.Agreement)
    """

    name: str
    folder: Path
    abilities: Abilities
    tokenizer: Any
    token_ids: TokenIds
    shift: bool
    info: ExportInfo | None
    most: int | None = None

    @property
    def network_config(self) -> Any:
        """The network's configuration, of transformers."""
        raise NotImplementedError

    @property
    def kind(self) -> str:
        """Name of the kind of model, as results store it."""
        return self.abilities.kind

    @property
    def max_positions(self) -> int | None:
        """Maximum number of tokens of prompt and answer together, None where the model does not say."""
        return self.most or getattr(self.network_config, "max_position_embeddings", None)

    @property
    def vocab_size(self) -> int:
        """Number of ids that the model knows."""
        return int(self.network_config.vocab_size)

    @property
    def end_ids(self) -> frozenset[int]:
        """Tokens that end an answer: end of turn and end of text."""
        return frozenset((*self.token_ids.end_of_turn, self.token_ids.eos))

    def check_prompts(self, prompts: Sequence[Sequence[int]], config: GenerationConfig) -> None:
        """Raises SettingsError where answers to prompts cannot be generated."""
        if self.token_ids.mask in {token for prompt in prompts for token in prompt}:
            raise SettingsError(f"a prompt holds the mask token {self.token_ids.mask}: fill given masks by infilling")
        self.check_sequences([[*prompt, *[0] * config.gen_length] for prompt in prompts])

    def check_infilling(self) -> None:
        """Raises SettingsError where the model cannot fill masks."""
        if self.abilities.infilling_refusal is not None:
            raise SettingsError(f"{self.name} {self.abilities.infilling_refusal}")

    def check_sequences(self, sequences: Sequence[Sequence[int]]) -> None:
        """Raises SettingsError for ids that the model does not know, and for sequences that are longer than it can read."""
        size, most = self.vocab_size, self.max_positions
        for sequence in sequences:
            if sequence and not 0 <= min(sequence) <= max(sequence) < size:
                raise SettingsError(f"a prompt holds ids that are none of {self.name}'s {size}: tokenise with its tokenizer")
            if most is not None and len(sequence) > most:
                raise SettingsError(
                    f"prompt and answer have {len(sequence)} tokens and {self.name} reads {most}: lower --gen-length"
                )

    def text_between(self, ids: Sequence[int], start: int, end: int) -> str:
        """Text of ids [start, end) as it reads after the ids before them: some tokenizers drop a space at the start."""

        def decoded(part: Sequence[int]) -> str:
            return str(self.tokenizer.decode(part, skip_special_tokens=True, clean_up_tokenization_spaces=False))

        before, whole = decoded(ids[:start]), decoded(ids[:end])
        return whole[len(before) :] if whole.startswith(before) else decoded(ids[start:end])
