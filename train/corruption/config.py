"""Settings of the corruption, read without torch: strategies, objectives, operator shares, the curriculum."""

import math
from dataclasses import dataclass, field, fields

from syntaxdiff.pipeline.errors import SettingsError

STRATEGIES = ("random", "random-matched", "ast-token", "ast-span", "ast-span-independent", "ast-cut")
SPAN_STRATEGIES = ("ast-span", "ast-span-independent", "ast-cut")
SHUFFLED_STRATEGIES = ("ast-span", "random-matched")  # which run Algorithm 1
OBJECTIVES = ("inverse-rate", "region-share", "masked-mean", "paper", "reveal", "reveal-all")
VALIDATION_OBJECTIVES = OBJECTIVES[:4]  # of corrupted positions, without steps
ROLE_RATES = (0.15, 0.42, 0.58, 0.60)  # by shard.Role; paper, baseline 3: other, assignment or call, conditional, control flow
MIN_RATE = 0.001  # a sample of rate 0 teaches nothing
CURRICULA = ("low-noise-first", "high-noise-first", "constant")


def default_objective(strategy: str) -> str:
    """The objective of a strategy (STRATEGIES) for which none is given.

    Algorithm 1 masks more tokens than its rate asks for, by an unknown marginal; 1/rate would let the few samples of the lowest
    rates decide the loss.
    """
    return "region-share" if strategy in SHUFFLED_STRATEGIES else "inverse-rate"


@dataclass(frozen=True, kw_only=True)
class OperatorShares:
    """Shares of the units that an operator is tried on; all others are masked."""

    drop: float = 0.0
    shuffle: float = 0.0
    relabel: float = 0.0
    placeholder: float = 0.0

    def __post_init__(self) -> None:
        shares = {field.name: getattr(self, field.name) for field in fields(self)}
        wrong = [f"{name} {share}" for name, share in shares.items() if not 0 <= share <= 1]
        if wrong:
            raise SettingsError(f"operator shares lie in [0, 1]: {', '.join(wrong)}")
        if math.fsum(shares.values()) > 1 + 1e-9:  # .2 + .4 + .3 + .1 is more than 1 in floats
            given = " + ".join(f"{name} {share}" for name, share in shares.items() if share)
            raise SettingsError(f"operator shares sum to at most 1, not {math.fsum(shares.values()):g}: {given}")

    @property
    def are_used(self) -> bool:
        """Whether anything but the mask token is asked for."""
        return any((self.drop, self.shuffle, self.relabel, self.placeholder))


@dataclass(frozen=True, kw_only=True)
class CorruptionConfig:
    """How samples are corrupted.

    Attributes:
        strategy: one of STRATEGIES, for the code
        objective: one of OBJECTIVES; empty: the strategy's default, which the attribute then holds
        max_span_share: spans longer than this share of the code are not candidates; 1 keeps them all, as the paper does
        role_rates: probabilities of `ast-token` by role, under the full ceiling
        operators: shares of the units that are not masked but dropped, shuffled, …
    """

    strategy: str = "ast-span"
    objective: str = ""
    max_span_share: float = 1.0
    role_rates: tuple[float, ...] = ROLE_RATES
    operators: OperatorShares = field(default_factory=OperatorShares)

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            raise SettingsError(f"unknown strategy {self.strategy!r}: choose from {', '.join(STRATEGIES)}")
        if not self.objective:
            object.__setattr__(self, "objective", default_objective(self.strategy))
        if self.objective not in OBJECTIVES:
            raise SettingsError(f"unknown objective {self.objective!r}: choose from {', '.join(OBJECTIVES)}")
        if not 0 < self.max_span_share <= 1:
            raise SettingsError(f"--max-span-share {self.max_span_share} is not in (0, 1]")
        if len(self.role_rates) != len(ROLE_RATES) or not all(0 <= rate <= 1 for rate in self.role_rates):
            raise SettingsError(f"role rates are {len(ROLE_RATES)} probabilities, not {self.role_rates}")
        if self.operators.are_used and self.strategy not in SPAN_STRATEGIES:
            raise SettingsError(
                f"operators act on subtrees: {self.strategy} has none, choose from {', '.join(SPAN_STRATEGIES)}"
            )


@dataclass(frozen=True, kw_only=True)
class Curriculum:
    """How the ceiling of the mask rate moves over a training run.

    Attributes:
        kind: one of CURRICULA
        low: the ceiling where there is least noise
        full: the ceiling where there is most; the table of ast-token holds there
    """

    kind: str = "low-noise-first"
    low: float = 0.2
    full: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in CURRICULA:
            raise SettingsError(f"unknown curriculum {self.kind!r}: choose from {', '.join(CURRICULA)}")
        if not MIN_RATE < self.low <= self.full <= 1:
            raise SettingsError(
                f"the curriculum's ceilings must hold {MIN_RATE} < low <= full <= 1, not {self.low}, {self.full}"
            )

    def ceiling(self, progress: float) -> float:
        """The ceiling at a share of the run from 0 to 1: half a cosine from one end to the other."""
        if self.kind == "constant":
            return self.full
        progress = min(max(progress, 0.0), 1.0)
        risen = (1 - math.cos(math.pi * progress)) / 2
        if self.kind == "high-noise-first":
            risen = 1 - risen
        return self.low + (self.full - self.low) * risen
