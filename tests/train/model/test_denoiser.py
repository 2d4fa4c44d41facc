"""The denoiser: it attends both ways, scores what it is asked to, and packs samples without a trace."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from corruption_data import IDS, TABLES, batch_of
from corruption_reference import random_rows, row_of
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

from syntaxdiff.pipeline.shard import SampleRow
from syntaxdiff.train.corruption.config import CorruptionConfig
from syntaxdiff.train.corruption.noise import Noise
from syntaxdiff.train.data.batch import rounded_up, shape_multiple
from syntaxdiff.train.model.denoiser import (
    CHUNK_POSITIONS,
    NUM_TIMESTEPS,
    Denoiser,
    FloatRotation,
    Inputs,
    Losses,
    padding_mask,
)
from syntaxdiff.train.step import Scored, Stepper, pack

VOCABULARY = 2002  # the ids of corruption_data
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "gqa": {"num_key_value_heads": 2},
    "tied": {"tie_word_embeddings": True},
    "gqa-tied": {"num_key_value_heads": 1, "tie_word_embeddings": True},
}
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)


def network(kind: str = "plain", *, vocabulary: int = 61, seed: int = 0) -> Any:
    """A causal model of transformers in float64, with attention sharp enough that positions matter."""
    values: dict[str, Any] = {
        "num_key_value_heads": 4,
        "tie_word_embeddings": False,
        "attn_implementation": "sdpa",
        **KINDS[kind],
    }
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=1024,
        initializer_range=0.2,
        **values,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made: Any = LlamaForCausalLM(config)
        return made.double().eval()


def denoiser(kind: str = "plain", *, vocabulary: int = 61, seed: int = 0, **options: bool) -> Denoiser:
    return Denoiser(network(kind, vocabulary=vocabulary, seed=seed), **options).double()


def some_ids(*shape: int, seed: int = 0, vocabulary: int = 61) -> Tensor:
    return torch.randint(vocabulary, shape, generator=torch.Generator().manual_seed(seed))


def some_weights(*shape: int, share: float = 0.5, seed: int = 1) -> Tensor:
    """Weights of an objective, float32, of which about a share is not 0."""
    generator = torch.Generator().manual_seed(seed)
    is_scored = torch.rand(shape, generator=generator) < share
    return torch.where(is_scored, torch.rand(shape, generator=generator) + 0.1, 0.0)


def gradients(model: Denoiser, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


@EVERY_KIND
def test_it_attends_both_ways(kind: str) -> None:
    """Another last token changes the first position's logits, and another first token the last's."""
    model, ids = denoiser(kind), some_ids(1, 9)
    before = model(Inputs(ids))
    for changed, seen in ((-1, 0), (0, -1)):
        other = ids.clone()
        other[0, changed] = (ids[0, changed] + 1) % 61
        assert (model(Inputs(other))[0, seen] - before[0, seen]).abs().max() > 1e-4


@EVERY_KIND
def test_logits_are_those_of_plain_transformers(kind: str) -> None:
    """Logits equal those of LlamaForCausalLM with its own attention and rotary embedding, made not causal."""
    plain = network(kind)
    plain.config.is_causal = False
    ids = some_ids(3, 17)
    # An explicit mask that allows everything, so that nothing here hangs on how transformers reads `is_causal`.
    with torch.no_grad():
        expected = plain(input_ids=ids, attention_mask=torch.zeros(3, 1, 17, 17, dtype=torch.float64), use_cache=False).logits
        torch.testing.assert_close(plain(input_ids=ids, use_cache=False).logits, expected, rtol=0, atol=1e-6)
        causal = network(kind)(input_ids=ids, use_cache=False).logits
        torch.testing.assert_close(denoiser(kind)(Inputs(ids)), expected, rtol=0, atol=1e-6)
    assert (causal - expected).abs().max() > 1e-2


@EVERY_KIND
def test_padding_leaves_no_trace(kind: str) -> None:
    """A sample's logits in a padded batch are those that it has alone, whatever stands behind its end."""
    model, ids, lengths = denoiser(kind), some_ids(4, 13), [13, 1, 7, 12]
    with torch.no_grad():
        together = model(Inputs(ids, padding_mask(torch.tensor(lengths), 13)))
        for row, length in enumerate(lengths):
            alone = model(Inputs(ids[row : row + 1, :length]))[0]
            torch.testing.assert_close(together[row, :length], alone, rtol=0, atol=1e-6)
    assert together.isfinite().all()


@EVERY_KIND
@pytest.mark.parametrize("tokens", [11, CHUNK_POSITIONS])
def test_losses_are_the_literal_ones(kind: str, tokens: int) -> None:
    """The loss is the sum of weight times cross entropy, over one and over several chunks, and so are its gradients."""
    model = denoiser(kind)
    ids, target, weight = some_ids(2, tokens), some_ids(2, tokens, seed=5), some_weights(2, tokens, share=0.8)
    losses: Losses = model(Inputs(ids), target, weight)
    assert (len(losses.index_N) > CHUNK_POSITIONS) == (tokens == CHUNK_POSITIONS)
    log_probability = model(Inputs(ids)).double().log_softmax(-1)
    nats = -log_probability.gather(-1, target[..., None])[..., 0]
    literal = (nats * weight.double()).sum()
    scored = [place for place, value in enumerate(weight.flatten().tolist()) if value != 0]
    assert losses.index_N.tolist() == scored
    assert losses.nats_N.dtype == torch.float32
    assert not losses.nats_N.requires_grad
    torch.testing.assert_close(losses.nats_N.double(), nats.flatten()[scored].detach(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(losses.loss.double(), literal, rtol=1e-5, atol=1e-5)
    got, expected = gradients(model, losses.loss), gradients(model, literal)
    assert set(got) == set(expected) == {name for name, _ in model.named_parameters()}
    for name, gradient in expected.items():
        torch.testing.assert_close(got[name], gradient, rtol=1e-4, atol=1e-5 * float(gradient.abs().max()), msg=name)


def test_few_shapes_reach_the_head(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many positions are scored, the head multiplies matrices of few sizes (batch.shape_multiple)."""
    model, shapes = denoiser(), set()
    plain = functional.linear

    def seen(hidden: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if weight is model.network.lm_head.weight:
            shapes.add(len(hidden))
        return plain(hidden, weight, bias)

    monkeypatch.setattr(functional, "linear", seen)
    for tokens in range(20, 200, 3):
        model(Inputs(some_ids(2, tokens)), some_ids(2, tokens, seed=5), some_weights(2, tokens, share=0.8))
    assert len(shapes) > 1
    assert all(size % shape_multiple("cpu") == 0 for size in shapes)


def test_negative_weights_are_scored_too() -> None:
    """Only weight 0 means not scored; the sum takes any other weight as it is."""
    model, ids = denoiser(), some_ids(1, 4)
    losses = model(Inputs(ids), ids, torch.tensor([[0.0, -2.0, 0.0, 0.5]]))
    assert losses.index_N.tolist() == [1, 3]
    torch.testing.assert_close(losses.loss, -2 * losses.nats_N[0] + 0.5 * losses.nats_N[1])


@EVERY_KIND
@pytest.mark.parametrize("shift", [False, True])
def test_nothing_scored(kind: str, shift: bool) -> None:
    """Without a scored position the loss is 0, the backward pass works, and every parameter has a gradient of zeros."""
    model, ids = denoiser(kind, shift=shift), some_ids(2, 6)
    losses = model(Inputs(ids), ids, torch.zeros(2, 6))
    assert losses.loss.item() == 0
    assert losses.nats_N.isfinite().all()
    got = gradients(model, losses.loss)
    assert set(got) == {name for name, _ in model.named_parameters()}
    assert all((gradient == 0).all() for gradient in got.values())


def test_shift_predicts_from_the_position_before() -> None:
    """With shift, position i has the logits that position i - 1 has without it, and the losses follow."""
    plain, shifted = denoiser(), denoiser(shift=True)
    ids, target, weight = some_ids(2, 8), some_ids(2, 8, seed=3), some_weights(2, 8)
    weight[:, 0] = 0
    with torch.no_grad():
        expected, got = plain(Inputs(ids)), shifted(Inputs(ids))
        torch.testing.assert_close(got[:, 1:], expected[:, :-1])
        torch.testing.assert_close(got[:, 0], expected[:, 0])
        losses = shifted(Inputs(ids), target, weight)
    nats = functional.cross_entropy(expected[:, :-1].flatten(0, 1), target[:, 1:].flatten(), reduction="none")
    torch.testing.assert_close(losses.loss.double(), (nats * weight[:, 1:].flatten()).sum(), rtol=1e-5, atol=1e-5)


def test_timestep_embedding_starts_as_identity() -> None:
    """A fresh embedding changes nothing; it gets a gradient at the rates that occur, and at no other."""
    plain, timed = denoiser(), denoiser(timestep_embedding=True)
    ids, rate = some_ids(2, 7), torch.tensor([[0.25], [1.0]]).expand(2, 7)
    inputs = Inputs(ids, rate_BL=rate)
    assert torch.equal(timed(inputs), plain(inputs))
    got = gradients(timed, timed(inputs, ids, torch.ones(2, 7)).loss)["timestep.weight"]
    assert got.shape[0] == NUM_TIMESTEPS + 1
    assert got.abs().sum(dim=1).nonzero().flatten().tolist() == [250, 1000]


def test_timestep_embedding_tells_rates_apart() -> None:
    """With weights that are not 0, a token's input moves by the row of its own rate; without rates nothing moves."""
    plain, timed = denoiser(), denoiser(timestep_embedding=True)
    assert timed.timestep is not None
    torch.nn.init.normal_(timed.timestep.weight, generator=torch.Generator().manual_seed(0))
    ids = some_ids(1, 7)
    with torch.no_grad():
        low, high = (timed(Inputs(ids, rate_BL=torch.full((1, 7), rate))) for rate in (0.1, 0.9))
        assert (low - high).abs().max() > 1e-3
        assert torch.equal(timed(Inputs(ids)), plain(Inputs(ids)))
        added = torch.zeros(61, 32, dtype=torch.float64) + timed.timestep.weight[100]
        plain.network.model.embed_tokens.weight += added
        torch.testing.assert_close(low, plain(Inputs(ids)))


def test_rotation_survives_a_cast_to_bfloat16() -> None:
    """Cosines and sines are float32, and the same numbers before and after the module is cast."""
    model = denoiser().float()
    rotation = model.network.model.rotary_emb
    assert isinstance(rotation, FloatRotation)
    positions = torch.arange(1000)[None]
    before = rotation(torch.zeros(1, 1000, 32), positions)
    expected = network().model.rotary_emb(torch.zeros(1, 1000, 32), positions)
    model.to(torch.bfloat16)
    after = model.network.model.rotary_emb(torch.zeros(1, 1000, 32, dtype=torch.bfloat16), positions)
    for first, second, plain in zip(before, after, expected, strict=True):
        assert first.dtype == second.dtype == torch.float32
        assert torch.equal(first, second)
        torch.testing.assert_close(first, plain, rtol=0, atol=1e-6)
    assert not [name for name, _ in model.named_buffers() if "rotary" in name]
    assert model(Inputs(some_ids(1, 5))).dtype == torch.bfloat16


def test_a_copied_or_reloaded_denoiser_is_the_same() -> None:
    """A state dict carries all that the logits depend on."""
    model, other, ids = denoiser("gqa"), denoiser("gqa", seed=9), some_ids(1, 6)
    assert not torch.equal(model(Inputs(ids)), other(Inputs(ids)))
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(Inputs(ids)), other(Inputs(ids)))
    assert torch.equal(model(Inputs(ids)), copy.deepcopy(model)(Inputs(ids)))


def test_tied_embeddings_stay_one_parameter() -> None:
    """The scoring head of a tied model is its embedding, and there is one parameter for both."""
    model = denoiser("tied")
    assert model.network.lm_head.weight is model.network.model.embed_tokens.weight
    assert "network.lm_head.weight" not in dict(model.named_parameters())
    assert denoiser().network.lm_head.weight is not denoiser().network.model.embed_tokens.weight


def test_positions_are_those_given() -> None:
    """Position ids count: the numbers 0, 1, 2, … are the default, and a permuted sequence with its positions is the same."""
    model, ids, order = denoiser(), some_ids(1, 9), torch.tensor([3, 1, 8, 0, 2, 5, 4, 7, 6])
    with torch.no_grad():
        plain = model(Inputs(ids))
        torch.testing.assert_close(model(Inputs(ids, None, torch.arange(9)[None])), plain)
        torch.testing.assert_close(model(Inputs(ids[:, order], None, order[None])), plain[:, order], rtol=0, atol=1e-6)
        assert (model(Inputs(ids[:, order]))[0] - plain[0, order]).abs().max() > 1e-3


@settings(deadline=None, max_examples=300)
@given(
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=12),
    capacity=st.integers(1, 50),
    extra=st.integers(0, 3),
    multiple=st.integers(1, 8),
)
def test_packing(lengths: list[int], capacity: int, extra: int, multiple: int) -> None:
    """Every token occurs once, samples are whole, capacity holds but for a longer sample alone, and no two fit into one."""
    num_tokens = max(lengths) + extra
    source_PM, position_PM, sample_PM = pack(np.array(lengths), num_tokens, capacity, multiple)
    assert source_PM.shape == position_PM.shape == sample_PM.shape
    real = sample_PM >= 0
    everything = [sample * num_tokens + place for sample, length in enumerate(lengths) for place in range(length)]
    assert sorted(source_PM[real].tolist()) == everything
    assert (source_PM[~real] == 0).all()
    assert (position_PM[~real] == 0).all()
    for sample, length in enumerate(lengths):
        rows, columns = np.nonzero(sample_PM == sample)
        assert len(set(rows.tolist())) == 1
        assert columns.tolist() == list(range(columns[0], columns[0] + length))
        assert position_PM[rows, columns].tolist() == list(range(length))
        assert source_PM[rows, columns].tolist() == list(range(sample * num_tokens, sample * num_tokens + length))
    used = real.sum(axis=1)
    for filled, row in zip(used.tolist(), sample_PM, strict=True):
        assert (row[:filled] >= 0).all()  # padding is at the end
        assert filled <= capacity or len(set(row[:filled].tolist())) == 1
    assert all(used[i] + used[j] > capacity for j in range(len(used)) for i in range(j))
    assert source_PM.shape[1] == rounded_up(used.max(), multiple)


def scored(model: Denoiser, rows: Sequence[SampleRow], rates: Sequence[float], **options: Any) -> Scored:
    stepper = Stepper(
        engine=model,
        device=torch.device("cpu"),
        token_ids=IDS,
        tables=TABLES,
        config=options.pop("config", CorruptionConfig()),
        **options,
    )
    return stepper(batch_of(rows, pad_to_multiple=4), Noise(rate_B=np.array(rates)), seed=3, epoch=1)


@pytest.mark.parametrize("strategy", ["ast-span", "random"])
@pytest.mark.parametrize("options", [{}, {"shift": True}, {"timestep_embedding": True}], ids=["plain", "shift", "timestep"])
@pytest.mark.parametrize("capacity", [1, 64, 150, 4096])
def test_packed_losses_are_those_of_padded_samples(strategy: str, options: dict[str, bool], capacity: int) -> None:
    """Whatever the capacity, packing changes no cross entropy, no scored position and not the loss."""
    model = denoiser("gqa", vocabulary=VOCABULARY, **options)
    if model.timestep is not None:
        torch.nn.init.normal_(model.timestep.weight, generator=torch.Generator().manual_seed(0))
    rows = random_rows(9, seed=4)
    rates = np.linspace(0.1, 0.9, len(rows)).tolist()
    config = CorruptionConfig(strategy=strategy)
    with torch.no_grad():
        padded = scored(model, rows, rates, config=config)
        packed = scored(model, rows, rates, config=config, pack=True, capacity=capacity)
    assert torch.equal(padded.corrupted.weight_BL, packed.corrupted.weight_BL)
    assert len(padded.losses.index_N) > 20
    order = packed.losses.index_N.argsort()
    assert torch.equal(packed.losses.index_N[order], padded.losses.index_N)
    torch.testing.assert_close(packed.losses.nats_N[order], padded.losses.nats_N, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(packed.losses.loss, padded.losses.loss, rtol=1e-5, atol=1e-5)


def test_packed_gradients_are_those_of_padded_samples() -> None:
    """Packing changes no gradient, padded queries included."""
    model = denoiser(vocabulary=VOCABULARY)
    rows = [row_of(count, [], sample_id=str(count), seed=count) for count in (5, 30, 11)]
    expected = gradients(model, scored(model, rows, [0.5] * 3).losses.loss)
    got = gradients(model, scored(model, rows, [0.5] * 3, pack=True, capacity=50).losses.loss)
    assert set(got) == set(expected)
    for name, gradient in expected.items():
        assert got[name].isfinite().all()
        torch.testing.assert_close(got[name], gradient, rtol=1e-4, atol=1e-5 * float(gradient.abs().max()), msg=name)


def test_a_packed_sample_is_not_predicted_from_its_neighbour() -> None:
    """With shift, all logits of a sample in a packed sequence are those it has alone, its first position's too."""
    model = denoiser(shift=True)
    first, second = some_ids(1, 4), some_ids(1, 5) + 1
    sample = torch.tensor([0] * 4 + [1] * 5)
    mask = (sample[:, None] == sample)[None, None]
    position = torch.cat([torch.arange(4), torch.arange(5)])[None]
    with torch.no_grad():
        packed = model(Inputs(torch.cat([first, second], dim=1), mask, position))
        torch.testing.assert_close(packed[:, :4], model(Inputs(first)), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(packed[:, 4:], model(Inputs(second)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("is_packed", [False, True])
def test_a_batch_without_corruption_scores_nothing(is_packed: bool) -> None:
    """At rate 0 and at an objective of corrupted positions, the loss is 0, packed or not."""
    rows = [row_of(count, [], sample_id=str(count)) for count in (5, 9)]
    result = scored(
        denoiser(vocabulary=VOCABULARY), rows, [1e-9, 1e-9], pack=is_packed, config=CorruptionConfig(strategy="random")
    )
    assert not result.corrupted.is_scored_BL.any()
    assert result.losses.loss.item() == 0
