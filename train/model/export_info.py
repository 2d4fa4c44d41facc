"""``syntaxdiff.json``: where an exported model comes from, and what evaluations need of its training."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from syntaxdiff.pipeline.json_records import ABSENT, JsonObject
from syntaxdiff.pipeline.manifest import StoredTokenizer, TokenIds
from syntaxdiff.pipeline.options import StoredOptions


@dataclass(frozen=True, kw_only=True)
class TrainingInfo:
    """The training of a model.

    Attributes:
        step: of the exported weights
        validation_loss: of these, nats per token; None where it was not measured
        validation_objectives: whose weights the loss has, by strategy
        unigram_nats: nats per token of token frequencies, to compare with
        validation_grid: nats per token by strategy and mask rate
        start: what the run began with: a preset, folder or name on the hub
        shift: position i - 1 predicts token i
        settings: of the run, as it was asked for
        deepspeed: the completed DeepSpeed JSON
        git_revision: of the source tree; None outside of one
        total_steps: of the whole run, which may have ended before; unknown of older exports
    """

    step: int | None = None
    validation_loss: float | None = None
    validation_objectives: Mapping[str, str] = field(default_factory=dict)
    unigram_nats: float | None = None
    validation_grid: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    start: str | None = None
    shift: bool = False
    settings: StoredOptions = field(default_factory=dict)
    deepspeed: JsonObject = field(default_factory=dict)
    git_revision: str | None = None
    total_steps: int | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, kw_only=True)
class DataInfo:
    """The data and the form of a model.

    Attributes:
        data_fingerprint: of the shards
        layout: of the tensors' names, ``llama`` or ``llada``
    """

    token_ids: TokenIds
    tokenizer: StoredTokenizer | None = None
    data_fingerprint: str | None = None
    layout: str | None = None


@dataclass(frozen=True, kw_only=True)
class ExportInfo(TrainingInfo, DataInfo):
    """All of ``syntaxdiff.json``; the data's keys come first.

    Attributes:
        programs_alone: share of the samples that have neither problem nor reasoning; unknown of older shards
    """

    programs_alone: float | None = field(default=None, metadata=ABSENT)
