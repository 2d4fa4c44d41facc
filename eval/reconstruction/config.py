"""What ``reconstruct`` and ``loss`` mask and measure: their settings, read without torch."""

from dataclasses import dataclass

from syntaxdiff.eval.syntax.config import Size
from syntaxdiff.pipeline.options import check_options, option
from syntaxdiff.pipeline.splits import SPLITS
from syntaxdiff.train.corruption.config import STRATEGIES, VALIDATION_OBJECTIVES

DEFAULT_STRATEGIES = ("random", "ast-span")
DEFAULT_MASK_RATES = (0.2, 0.5, 0.8)
MASKS, RESTORING, RESULTS = "Masks", "Restoring", "Results"  # sections of help


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

    Raises:
        SettingsError: a value that there is not, or outside its range
    """

    strategies: tuple[str, ...] = option(
        "How code is masked. Repeatable.", DEFAULT_STRATEGIES, flag="strategy", choices=STRATEGIES, section=MASKS
    )
    mask_rates: tuple[float, ...] = option(
        "Target share of masked tokens, above 0, at most 1. Repeatable.",
        DEFAULT_MASK_RATES,
        flag="mask-rate",
        above=0,
        maximum=1,
        section=MASKS,
    )
    num_samples: int | None = option("Samples, spread evenly over the split.", 100, flag="samples", minimum=1, section=MASKS)
    split: str = option("Split of the shards.", "validation", choices=SPLITS, section=MASKS)
    num_steps: int = option("Denoising steps over all masks.", 16, flag="steps", minimum=1, section=RESTORING)
    code_only: bool = option("Leave reasoning and scaffold unmasked.", False, section=MASKS)
    max_span_share: float = option("Draw no spans longer than this share of the code.", 1.0, above=0, maximum=1, section=MASKS)
    shape_nodes: tuple[int, int] = option(
        "Fewest and most named nodes of the tree shapes that training may lack.", Size(), section=RESULTS
    )
    seed: int = option("Seed of the masks.", 0, section=MASKS)
    batch_size: int = option("Samples at a time.", 8, minimum=1, section=RESTORING)

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """What is measured.

    Attributes:
        strategies: of corruption.config.STRATEGIES
        num_samples: the first of the split; None: all
        split: of shard.SPLITS
        objective: one of VALIDATION_OBJECTIVES, whose weights every strategy's loss has; None: each its own default
        max_span_share: as in training: spans longer than this share of the code are not drawn
        batch_size: samples at a time; another may change the last bits

    Raises:
        SettingsError: a value that there is not, or outside its range
    """

    strategies: tuple[str, ...] = option(
        "How code is masked. Repeatable.", STRATEGIES, flag="strategy", choices=STRATEGIES, default_text="all", section=MASKS
    )
    objective: str | None = option(
        "Weights of the loss.",
        None,
        choices=VALIDATION_OBJECTIVES,
        default_text="region-share for ast-span and random-matched, else inverse-rate",
        section=MASKS,
    )
    num_samples: int | None = option(
        "Only the first samples of the split.", None, flag="samples", minimum=1, default_text="all", section=MASKS
    )
    split: str = option("Split of the shards.", "validation", choices=SPLITS, section=MASKS)
    max_span_share: float = option("Draw no spans longer than this share of the code.", 1.0, above=0, maximum=1, section=MASKS)
    batch_size: int = option("Samples at a time.", 8, minimum=1, section=RESULTS)

    def __post_init__(self) -> None:
        check_options(self)
