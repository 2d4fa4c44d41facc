"""What ``reconstruct`` and ``loss`` mask and measure: their settings, read without torch."""

from collections.abc import Sequence
from dataclasses import dataclass

from syntaxdiff.eval.syntax.config import Size
from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.pipeline.splits import SPLITS
from syntaxdiff.train.corruption.config import STRATEGIES, VALIDATION_OBJECTIVES, CorruptionConfig

DEFAULT_STRATEGIES = ("random", "ast-span")
DEFAULT_MASK_RATES = (0.2, 0.5, 0.8)


@dataclass(frozen=True, kw_only=True)
class ReconstructionConfig:
    """What is masked, and how it is restored.

    Attributes:
        strategies, mask_rates: each strategy at each rate is a cell
        num_samples: spread evenly over the split; None: all
        split: of shard.SPLITS
        num_steps: denoising steps
        code_only: leave reasoning and scaffold unmasked
        max_span_share: as in training: spans longer than this share of the code are not drawn
        shape_nodes: fewest and most named nodes of a pattern
        seed: of the masks
        batch_size: samples at a time; another may change the last bits of logits
    """

    strategies: tuple[str, ...] = DEFAULT_STRATEGIES
    mask_rates: tuple[float, ...] = DEFAULT_MASK_RATES
    num_samples: int | None = 100
    split: str = "validation"
    num_steps: int = 16
    code_only: bool = False
    max_span_share: float = 1.0
    shape_nodes: tuple[int, int] = Size()
    seed: int = 0
    batch_size: int = 8

    def __post_init__(self) -> None:
        counts = {"samples": self.num_samples, "steps": self.num_steps, "batch-size": self.batch_size}
        check_masked(self.strategies, self.max_span_share, self.split, counts)
        for rate in self.mask_rates:
            if not 0 < rate <= 1:
                raise SettingsError(f"--mask-rate {rate}: a share of the tokens, above 0 and at most 1")


def check_masked(strategies: Sequence[str], max_span_share: float, split: str, counts: dict[str, int | None]) -> None:
    """Raises SettingsError for what there is not: a strategy, a share, a split, or less than one of what is counted."""
    for name in strategies:
        CorruptionConfig(strategy=name, max_span_share=max_span_share)
    if split not in SPLITS:
        raise SettingsError(f"--split {split}: choose from {', '.join(SPLITS)}")
    for option, value in counts.items():
        if value is not None and value < 1:
            raise SettingsError(f"--{option} {value}: a whole number from 1")


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """What is measured.

    Attributes:
        strategies: of train.strategies.STRATEGIES
        num_samples: the first of the split; None: all
        split: of shard.SPLITS
        objective: one of objective.VALIDATION_OBJECTIVES, whose weights every strategy's loss has; None: each its own default
        max_span_share: as in training: spans longer than this share of the code are not drawn
        batch_size: samples at a time; another may change the last bits
    """

    strategies: tuple[str, ...] = STRATEGIES
    objective: str | None = None
    num_samples: int | None = None
    split: str = "validation"
    max_span_share: float = 1.0
    batch_size: int = 8

    def __post_init__(self) -> None:
        if self.objective is not None and self.objective not in VALIDATION_OBJECTIVES:
            raise SettingsError(f"--objective {self.objective}: choose from {', '.join(VALIDATION_OBJECTIVES)}")
        counts = {"samples": self.num_samples, "batch-size": self.batch_size}
        check_masked(self.strategies, self.max_span_share, self.split, counts)
