"""What ``reconstruct`` and ``loss`` yield; json_records.py makes ``reconstruction.json`` and ``loss.json`` of it.

The keys are explained in docs/reconstruction.md. The results of earlier versions are read here too.
"""

from dataclasses import dataclass
from pathlib import Path

from syntaxdiff.eval.stats import Share
from syntaxdiff.pipeline.json_records import read_record

RECONSTRUCTION, RECONSTRUCTION_VERSION = "reconstruction.json", 1
LOSSES, LOSS_VERSION = "loss.json", 2  # 1: every strategy weighted by inverse rates, and no strategy names its objective


@dataclass(frozen=True, kw_only=True)
class MeasuredCheckpoint:
    """A model by name, and SHA-256 over its weights; None where they are not loaded yet."""

    name: str
    weights_sha256: str | None


@dataclass(frozen=True, kw_only=True)
class MeasuredData:
    """Shards by their fingerprint, and the split."""

    fingerprint: str
    split: str


# --------------------------------------------------------------------------------------------------------------- reconstruction


@dataclass(frozen=True, kw_only=True)
class TokenMeasures:
    """Of masked tokens: the share that came back, and nats of the first step."""

    token_accuracy: Share
    cross_entropy: Share


@dataclass(frozen=True, kw_only=True)
class SpanMeasures:
    """Of masked spans: shares whose every token, and whose subtree came back, and the share of their tokens that did."""

    exact_spans: Share
    equal_subtrees: Share
    token_accuracy: Share


@dataclass(frozen=True, kw_only=True)
class SampleMeasures:
    """Of samples: their masked code tokens and spans, their programs once restored, and the original programs."""

    token_accuracy: Share
    cross_entropy: Share
    exact_spans: Share
    equal_subtrees: Share
    exact_programs: Share
    equal_trees: Share
    parses: Share
    compiles: Share
    originals_parse: Share
    originals_compile: Share


@dataclass(frozen=True, kw_only=True)
class CellSamples:
    """One value per sample: masked code tokens, those that came back, and what holds of the restored program."""

    masked: tuple[int, ...]
    right: tuple[int, ...]
    equal_tree: tuple[bool, ...]
    parses: tuple[bool, ...]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """All measures of a strategy at a mask rate: over all samples, those with and without an unseen pattern, and by group.

    Attributes:
        masked_share: of the code tokens
        spans_by_shape: ``unseen`` and ``seen``
        tokens_by_region: by shard.Region, but for the prompt
        tokens_by_leaf_kind, tokens_by_depth, spans_by_node_kind, spans_by_depth, spans_by_length: by what the samples hold
    """

    strategy: str
    mask_rate: float
    masked_share: Share
    all: SampleMeasures
    with_unseen_shape: SampleMeasures
    without_unseen_shape: SampleMeasures
    spans_by_shape: dict[str, SpanMeasures]
    tokens_by_region: dict[str, TokenMeasures]
    tokens_by_leaf_kind: dict[str, TokenMeasures]
    tokens_by_depth: dict[str, TokenMeasures]
    spans_by_node_kind: dict[str, SpanMeasures]
    spans_by_depth: dict[str, SpanMeasures]
    spans_by_length: dict[str, SpanMeasures]
    per_sample: CellSamples


@dataclass(frozen=True, kw_only=True)
class ReconstructionSettings:
    """ReconstructionConfig without strategies and mask rates, in which runs that share a folder may differ."""

    num_samples: int | None
    split: str
    num_steps: int
    code_only: bool
    max_span_share: float
    shape_nodes: tuple[int, int]
    seed: int
    batch_size: int


@dataclass(frozen=True, kw_only=True)
class TrainingShapes:
    """The patterns of the training samples: how many named nodes they have, from how many samples, and how many there are."""

    min_nodes: int
    max_nodes: int
    training_samples: int
    training_shapes: int


@dataclass(frozen=True, kw_only=True)
class ReconstructedSamples:
    """One value per sample."""

    sample_id: tuple[str, ...]
    has_unseen_shape: tuple[bool, ...]


@dataclass(frozen=True, kw_only=True)
class ReconstructionOrigin:
    """What a result is of: where these are equal, so are cells.

    Attributes:
        num_too_long: samples that were left out because the model does not read as long ones
    """

    version: int
    checkpoint: MeasuredCheckpoint
    data: MeasuredData
    settings: ReconstructionSettings
    num_samples: int
    num_too_long: int


@dataclass(frozen=True, kw_only=True)
class ReconstructionResults(ReconstructionOrigin):
    """The results of ``reconstruct``; cells in the order of strategies, then rates."""

    shapes: TrainingShapes
    per_sample: ReconstructedSamples
    cells: tuple[Cell, ...]


# ----------------------------------------------------------------------------------------------------------------------- losses


@dataclass(frozen=True, kw_only=True)
class StrategyLoss:
    """Nats per token under the masks of one strategy; None where nothing was scored.

    Attributes:
        objective: whose weights the loss has; a result of version 1 has inverse rates and does not say so
        effective_samples: as of train's Validation; results of version 1 lack it
        by_rate, by_region: plain means over masked tokens, by the upper end of a bin of rates and by region
    """

    objective: str = "inverse-rate"
    loss: float | None
    effective_samples: float | None = None
    by_rate: dict[str, float | None]
    by_region: dict[str, float | None]


@dataclass(frozen=True, kw_only=True)
class LossResults:
    """The results of ``loss``, by strategy."""

    version: int
    checkpoint: MeasuredCheckpoint
    data: MeasuredData
    num_samples: int
    num_too_long: int
    max_span_share: float = 1.0
    strategies: dict[str, StrategyLoss]

    @property
    def objectives(self) -> dict[str, str]:
        """Whose weights the loss of each strategy has."""
        return {name: measured.objective for name, measured in self.strategies.items()}


def read_reconstruction(path: Path, *, advice: str | None = None) -> ReconstructionResults:
    """The results in a file. Raises SourceError where it is damaged, or of another version; ``advice`` says what to do then."""
    return read_record(ReconstructionResults, path, version=RECONSTRUCTION_VERSION, advice=advice)


def read_losses(path: Path) -> LossResults:
    """The results in a file, of this version or an earlier one. Raises SourceError where it is damaged, or of a later one."""
    return read_record(LossResults, path, version=LOSS_VERSION, oldest=1)
