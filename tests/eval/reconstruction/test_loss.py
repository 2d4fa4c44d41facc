"""The validation loss of a checkpoint: that of a literal sum, whatever the batch, and what is refused."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from folders import programs, write_jsonl
from tiny_checkpoint import diffusion, network, token_ids, tokenizer

from syntaxdiff.eval.inference.denoising import DenoisingModel
from syntaxdiff.eval.reconstruction.config import LossConfig
from syntaxdiff.eval.reconstruction.loss import loss
from syntaxdiff.eval.reconstruction.outcome import read_losses
from syntaxdiff.pipeline.build import build_shards
from syntaxdiff.pipeline.config import BuildConfig
from syntaxdiff.pipeline.errors import SettingsError, SourceError, TokenizerError
from syntaxdiff.pipeline.shard import Region, iter_shard, read_manifest
from syntaxdiff.pipeline.tokens.tokenizer import save_tokenizer
from syntaxdiff.train.corruption.config import MIN_RATE, STRATEGIES, CorruptionConfig, default_objective
from syntaxdiff.train.corruption.corrupt import corrupt, plan
from syntaxdiff.train.corruption.noise import Noise
from syntaxdiff.train.data.batch import collate
from syntaxdiff.train.model.denoiser import Denoiser, Inputs
from syntaxdiff.train.monitor.validation import SEED


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of short programs, by the tokenizer of the tiny checkpoint."""
    root = tmp_path_factory.mktemp("loss")
    save_tokenizer(tokenizer(), root / "tokenizer")
    source = write_jsonl(root / "rows.jsonl", programs(30))
    build_shards(
        BuildConfig(src=(str(source),), out=root / "data", tokenizer=str(root / "tokenizer"), validation_size=5, workers=1)
    )
    return root / "data"


def literal(checkpoint: DenoisingModel, data: Path, strategy: str, objective: str) -> dict[str, float]:
    """The loss of each region and of all, a sample and a position at a time: sum of w CE over sum of w; effective samples."""
    manifest = read_manifest(data)
    rows = [row for shard in manifest.splits["validation"] for row in iter_shard(data, shard)]
    steps = np.random.Generator(np.random.Philox(SEED)).permutation(len(rows)) + 0.5
    config = CorruptionConfig(strategy=strategy, objective=objective)
    weighted = weights = 0.0
    of_samples = []
    by_region: dict[str, list[float]] = {}
    for row, step in zip(rows, steps.tolist(), strict=True):
        noise = Noise.fixed(MIN_RATE + (1 - MIN_RATE) * step / len(rows), 1)
        batch = collate([row], pad_id=manifest.token_ids.pad, languages=manifest.languages)
        made = corrupt(batch.tensors, plan(batch, config, noise, seed=SEED, epoch=0), config, manifest.token_ids)
        length = len(row.input_ids)
        hidden = checkpoint.model.hidden(Inputs(made.input_ids_BL[:, :length], None))
        nats_L = -torch.log_softmax(checkpoint.model.network.lm_head(hidden)[0], dim=-1)
        of_samples.append(float(made.weight_BL[0].double().sum()))
        for position in range(length):
            weight = float(made.weight_BL[0, position])
            if not weight:
                continue
            nats = float(nats_L[position, int(row.input_ids[position])])
            weighted, weights = weighted + weight * nats, weights + weight
            run = int(np.searchsorted(row.region_end, position, side="right"))
            by_region.setdefault(Region(int(row.region_label[run])).name.lower(), []).append(nats)
    effective = sum(of_samples) ** 2 / sum(weight_of_sample**2 for weight_of_sample in of_samples)
    return {
        "all": weighted / weights,
        "effective": effective,
        **{name: sum(values) / len(values) for name, values in by_region.items()},
    }


@pytest.mark.parametrize(
    ("strategy", "objective"), [*((strategy, None) for strategy in STRATEGIES), ("ast-span", "inverse-rate")]
)
def test_the_loss_is_the_literal_sum(data: Path, strategy: str, objective: str | None) -> None:
    """Over all and by region, the loss is what its definition gives, a position at a time, in any batch."""
    by_name = objective or default_objective(strategy)
    expected = literal(diffusion(), data, strategy, by_name)
    for batch_size in (1, 2, 5):
        config = LossConfig(strategies=(strategy,), objective=objective, batch_size=batch_size)
        measured = loss(diffusion(), data, config).strategies[strategy]
        assert measured.loss == pytest.approx(expected["all"], rel=1e-6)
        assert measured.effective_samples == pytest.approx(expected["effective"], rel=1e-6)
        assert measured.objective == by_name
        for region, nats in measured.by_region.items():
            assert nats == pytest.approx(expected[region], rel=1e-6)


def test_the_result_is_kept(data: Path, tmp_path: Path) -> None:
    """What is returned is what is written; all strategies by default, as many samples as asked for, no rate without masks."""
    results = loss(diffusion(), data, LossConfig(num_samples=3), tmp_path / "made" / "loss")
    assert read_losses(tmp_path / "made" / "loss" / "loss.json") == results
    assert tuple(results.strategies) == STRATEGIES
    assert results.num_samples == 3
    assert all(measured.loss is not None and math.isfinite(measured.loss) for measured in results.strategies.values())
    assert results.objectives == {strategy: default_objective(strategy) for strategy in STRATEGIES}


def test_results_name_their_weights(tmp_path: Path) -> None:
    """A result from before objectives were named has inverse rates; one of now has what it says; a later one is refused."""
    path = tmp_path / "loss.json"
    strategy: dict[str, Any] = {"loss": 5.0, "by_rate": {}, "by_region": {}}
    origin = {"checkpoint": {"name": "a", "weights_sha256": "0"}, "data": {"fingerprint": "f", "split": "validation"}}
    old = {"version": 1, **origin, "num_samples": 3, "num_too_long": 0, "strategies": {"ast-span": strategy}}
    path.write_text(json.dumps(old))
    assert read_losses(path).objectives == {"ast-span": "inverse-rate"}
    strategy["objective"] = "region-share"
    path.write_text(json.dumps(old))
    assert read_losses(path).objectives == {"ast-span": "region-share"}
    path.write_text(json.dumps(old | {"version": 3}))
    with pytest.raises(SourceError, match="version 3, this syntaxdiff reads 2"):
        read_losses(path)


def test_what_cannot_be_measured_is_refused(data: Path) -> None:
    """Unknown names, counts below one, a model of other tokens, and one that reads no sample so long are refused in a line."""
    for wrong, message in (
        ({"strategies": ("rando",)}, "--strategy rando: choose from"),
        ({"split": "test"}, "--split test"),
        ({"num_samples": 0}, "--samples 0"),
        ({"batch_size": 0}, "--batch-size 0"),
        ({"objective": "reveal"}, "--objective reveal"),
    ):
        with pytest.raises(SettingsError, match=message):
            LossConfig(**wrong)
    other = dataclasses.replace(diffusion(), token_ids=token_ids(mask=7))
    with pytest.raises(TokenizerError, match="another tokenizer"):
        loss(other, data, LossConfig())
    made = network()
    made.config.max_position_embeddings = 4
    short = dataclasses.replace(diffusion(), model=Denoiser(made).double().eval())
    with pytest.raises(SettingsError, match="no samples that the model can read"):
        loss(short, data, LossConfig())
