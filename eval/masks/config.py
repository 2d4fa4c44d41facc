"""What ``masks`` shows: a sample, and how it is corrupted. Read without torch."""

from dataclasses import dataclass
from pathlib import Path

from syntaxdiff.pipeline.options import check_options, option
from syntaxdiff.pipeline.splits import SPLITS
from syntaxdiff.train.corruption.config import SPAN_STRATEGIES, STRATEGIES, CorruptionConfig, OperatorShares

DEFAULT_STRATEGIES = ("random", "ast-span")


@dataclass(frozen=True, kw_only=True)
class MasksConfig:
    """A sample, how it is corrupted, and what is written; the fields are explained by their options.

    Raises:
        SettingsError: a value that there is not, or outside its range
    """

    folder: Path = option("Folder of shards.", Path("data"), is_argument=True)
    index: int = option("Position of the sample in its split.", 0)
    split: str = option("Split of the shards.", "train", choices=SPLITS)
    strategies: tuple[str, ...] = option(
        "How code is masked; several are shown side by side. Repeatable.",
        DEFAULT_STRATEGIES,
        flag="strategy",
        choices=STRATEGIES,
    )
    mask_rate: float = option("Target share of corrupted tokens, 0 to 1.", 0.3, minimum=0, maximum=1)
    seed: int = option("Seed of the training run.", 0)
    epoch: int = option("Epoch of the training run; each draws its own masks.", 0)
    ceiling: float = option("The curriculum's ceiling: scales ast-token.", 1.0, minimum=0, maximum=1)
    max_span_share: float = option("Leave out spans longer than this share of the code.", 1.0, above=0, maximum=1)
    drop: float = option("Share of subtrees whose tokens become padding.", 0.0, minimum=0, maximum=1)
    shuffle: float = option("Share in which sibling subtrees of equal length change places.", 0.0, minimum=0, maximum=1)
    relabel: float = option("Share replaced by others of the same kind, arity and length.", 0.0, minimum=0, maximum=1)
    placeholder: float = option("Share whose names and literals become fillers.", 0.0, minimum=0, maximum=1)
    whole: bool = option("Print reasoning and scaffold too, not only the code.", False)
    as_json: bool = option("Print JSON: masked positions by region, one object per strategy.", False, flag="json")
    html: Path | None = option("Also write a page that steps through mask rates.", None)
    svg: Path | None = option("Also write the programs side by side as a drawing.", None)

    def __post_init__(self) -> None:
        check_options(self)
        self.corruptions()

    def corruptions(self) -> list[CorruptionConfig]:
        """How the sample is corrupted, by strategy. Raises SettingsError for operators without a strategy that has subtrees."""
        shares = OperatorShares(drop=self.drop, shuffle=self.shuffle, relabel=self.relabel, placeholder=self.placeholder)
        has_spans = bool({*self.strategies} & {*SPAN_STRATEGIES})
        return [
            CorruptionConfig(
                strategy=strategy,
                max_span_share=self.max_span_share,
                # A strategy of tokens next to one of subtrees is there to compare with.
                operators=shares if strategy in SPAN_STRATEGIES or not has_spans else OperatorShares(),
            )
            for strategy in self.strategies
        ]
