"""What is known of a kind of model without its weights: which settings have an effect, and what it cannot do.

The two kinds are ``DENOISING`` and ``CAUSAL``. Results store the name of a kind; ``ABILITIES`` looks it up. This module needs
neither torch nor transformers. What a loaded model does is in denoising.py and causal.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

DENOISING_OPTIONS = (
    "plain",
    "live",
    "block_length",
    "schedule",
    "num_steps",
    "threshold",
    "factor",
    "confidence",
    "cache",
    "cache_refresh",
    "guidance",
    "early_stop",
    "lower_eos",
    "syntax_repair",
    "language",
)
WHOLE_ANSWER_OPTIONS = ("gen_length", "early_stop")  # a hole has a fixed size, and an end token stops nothing there


class Choices(Protocol):
    """The settings that decide whether others have an effect: of a GenerationConfig, or of results, where None is unknown."""

    @property
    def schedule(self) -> str | None:
        """One of denoising_config.SCHEDULES."""

    @property
    def cache(self) -> str | None:
        """One of config.CACHES."""

    @property
    def confidence(self) -> str | None:
        """One of denoising_config.CONFIDENCES."""

    @property
    def syntax_repair(self) -> int | None:
        """Rounds of syntax repair."""

    @property
    def temperature(self) -> float | None:
        """Sampling temperature."""


class UselessOptions(NamedTuple):
    """Options that never have an effect, by their names as parameters, and why."""

    options: tuple[str, ...]
    reason: str


class Abilities(Protocol):
    """What a kind of model can do, and which settings it uses."""

    @property
    def kind(self) -> str:
        """Name of the kind in results, one of config.KINDS."""

    @property
    def estimates_likelihood(self) -> bool:
        """Whether a likelihood is an estimate from samples; otherwise it is exact."""

    @property
    def denoises_in_steps(self) -> bool:
        """Whether tokens are decided in another order than from left to right, so that a trace says more than the answer."""

    @property
    def infilling_refusal(self) -> str | None:
        """Why masks cannot be filled, as the end of a sentence about the model; None where they can."""

    def without_effect(self, settings: Choices, *, is_infilling: bool) -> set[str]:
        """Names of the fields of GenerationConfig that have no effect, given the others."""

    def useless_options(self, *, temperature: float, is_infilling: bool) -> UselessOptions:
        """Options that are refused, because no other setting could give them an effect."""


@dataclass(frozen=True)
class DenoisingAbilities:
    """A masked-diffusion model: fills masks anywhere, in steps."""

    kind: str = "diffusion"
    estimates_likelihood: bool = True
    denoises_in_steps: bool = True
    infilling_refusal: str | None = None

    def without_effect(self, settings: Choices, *, is_infilling: bool) -> set[str]:
        """See Abilities."""
        schedule_of = {"num_steps": "fixed", "threshold": "threshold", "factor": "factor"}
        names = {name for name, schedule in schedule_of.items() if settings.schedule != schedule}
        if settings.cache == "none":
            names.add("cache_refresh")
        if not settings.syntax_repair:
            names.add("language")
        if is_infilling:
            names |= {*WHOLE_ANSWER_OPTIONS}
        if not settings.temperature and settings.confidence != "random":
            names.add("seed")
        return names

    def useless_options(self, *, temperature: float, is_infilling: bool) -> UselessOptions:
        """See Abilities."""
        options = WHOLE_ANSWER_OPTIONS if is_infilling else ()
        return UselessOptions(options, "a hole is filled with as many tokens as it has")


@dataclass(frozen=True)
class CausalAbilities:
    """A causal model: generates from left to right, one token after the other."""

    kind: str = "autoregressive"
    estimates_likelihood: bool = False
    denoises_in_steps: bool = False
    infilling_refusal: str | None = "writes from left to right and cannot fill gaps: give a diffusion model"

    def without_effect(self, settings: Choices, *, is_infilling: bool) -> set[str]:
        """See Abilities."""
        return {*DENOISING_OPTIONS} | (set() if settings.temperature else {"seed"})

    def useless_options(self, *, temperature: float, is_infilling: bool) -> UselessOptions:
        """See Abilities. Sampled answers are generated one at a time, so that each has its own random numbers."""
        options = (*DENOISING_OPTIONS, "likelihood_samples", "mask_token", *(("batch_size",) if temperature > 0 else ()))
        return UselessOptions(options, "the model writes from left to right")


DENOISING = DenoisingAbilities()
CAUSAL = CausalAbilities()
ABILITIES: Mapping[str, Abilities] = {DENOISING.kind: DENOISING, CAUSAL.kind: CAUSAL}
