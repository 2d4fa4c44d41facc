"""The validation loss of any diffusion model on any shards, under several strategies: the trainer's own, for a checkpoint.

Samples, rates and masks are fixed (train's validation.py), so that models of different training runs are measured alike.
``random`` is the yardstick: uniform masks favour none of the strategies that shape them.
"""

from pathlib import Path

from syntaxdiff.eval.inference.language_model import Described, LanguageModel
from syntaxdiff.eval.reconstruction.config import LossConfig
from syntaxdiff.eval.reconstruction.outcome import (
    LOSS_VERSION,
    LOSSES,
    LossResults,
    MeasuredCheckpoint,
    MeasuredData,
    StrategyLoss,
)
from syntaxdiff.eval.reconstruction.reconstruct import check_fit, weights_sha256
from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.pipeline.json_records import json_text
from syntaxdiff.pipeline.shard import Manifest, SampleRow, iter_shard, read_manifest, storage_errors, write_text
from syntaxdiff.train.corruption.config import CorruptionConfig
from syntaxdiff.train.data.batch import shape_multiple
from syntaxdiff.train.monitor.validation import RankBatches, Validation, Validator
from syntaxdiff.train.step import Stepper

RESULT = LOSSES


def loss(checkpoint: LanguageModel, data: Path, config: LossConfig, out: Path | None = None) -> LossResults:
    """Nats per token under each strategy: over all rates, by rate and by region; written to ``out / RESULT`` if given.

    Raises:
        SettingsError: the model fills no masks, or the split holds no sample that it can read
        TokenizerError: shards and checkpoint have different vocabularies
        ShardError: the shards are missing or damaged
        StorageError: the disk refused
    """
    manifest = read_manifest(data)
    short, num_too_long = readable_rows(checkpoint, data, manifest, config)
    corruption = CorruptionConfig(max_span_share=config.max_span_share)
    validator = Validator(
        short,
        manifest,
        corruption,
        config.strategies,
        objective=config.objective,
        batches=RankBatches(config.batch_size, pad_to_multiple=shape_multiple(checkpoint.device)),
        total=lambda sums: sums,
    )
    stepper = Stepper(engine=checkpoint.model, device=checkpoint.device, token_ids=manifest.token_ids, config=corruption)
    results = LossResults(
        version=LOSS_VERSION,
        checkpoint=MeasuredCheckpoint(name=checkpoint.name, weights_sha256=weights_sha256(checkpoint.model)),
        data=MeasuredData(fingerprint=manifest.fingerprint, split=config.split),
        num_samples=len(short),
        num_too_long=num_too_long,
        max_span_share=config.max_span_share,
        strategies={validation.strategy: _strategy_loss(validation) for validation in validator(stepper)},
    )
    if out is not None:
        with storage_errors(out):
            out.mkdir(parents=True, exist_ok=True)
        write_text(out / RESULT, json_text(results))
    return results


def readable_rows(checkpoint: Described, data: Path, manifest: Manifest, config: LossConfig) -> tuple[list[SampleRow], int]:
    """The samples, and how many were left out because the model cannot read as long ones; the weights are not needed.

    Raises:
        SettingsError: the model fills no masks, or the split holds no sample that it can read
        TokenizerError: shards and checkpoint have different vocabularies
        ShardError: the shards are damaged
    """
    check_fit(checkpoint, manifest, data)
    most = checkpoint.max_positions
    rows = [row for shard in manifest.splits[config.split] for row in iter_shard(data, shard)][: config.num_samples]
    short = [row for row in rows if most is None or len(row.input_ids) <= most]
    if not short:
        raise SettingsError(f"--split {config.split}: {data} holds no samples that the model can read")
    return short, len(rows) - len(short)


def _strategy_loss(validation: Validation) -> StrategyLoss:
    return StrategyLoss(
        objective=validation.objective,
        loss=validation.loss,
        effective_samples=validation.effective_samples,
        by_rate={f"{rate:g}": nats for rate, nats in validation.by_rate.items()},
        by_region=validation.by_region,
    )
