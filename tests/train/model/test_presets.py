"""Models from scratch: sizes, and the weights that they start with."""

import pytest
import torch

from syntaxdiff.train.model.presets import neighbour_query_and_key, new_network, preset_config, random_network
from syntaxdiff.train.model.sizes import PRESETS, Preset

SMALL = Preset(layers=3, width=128, inner=64, heads=4, learning_rate=1e-3)


def rotated(vector: torch.Tensor, position: int) -> torch.Tensor:
    """RoPE by its definition: pairs (i, i + width/2) turned by position times frequency."""
    half = len(vector) // 2
    result = vector.clone()
    for i in range(half):
        angle = torch.tensor(position * 10_000.0 ** (-2 * i / len(vector)))
        result[i] = vector[i] * angle.cos() - vector[i + half] * angle.sin()
        result[i + half] = vector[i] * angle.sin() + vector[i + half] * angle.cos()
    return result


@pytest.mark.parametrize("width", [32, 64, 128])
@pytest.mark.parametrize("offset", [-3, -1, 1, 2])
def test_the_constant_query_prefers_the_key_at_its_offset(width: int, offset: int) -> None:
    """Of the keys around a query, that at the offset has the largest product, wherever the query is."""
    query, key = neighbour_query_and_key(width, offset)
    for position in (10, 500):
        products = {d: float(rotated(query, position) @ rotated(key, position + d)) for d in range(-8, 9)}
        assert max(products, key=products.__getitem__) == offset


def test_the_first_block_attends_to_neighbours() -> None:
    """In a new network, each head of the first block puts the most weight on its own neighbour, whatever the tokens are."""
    config = preset_config(SMALL, 500, 64)
    config.is_causal = False
    config._attn_implementation = "eager"
    network = new_network(config, seed=1)
    ids = torch.randint(0, 500, (4, 40), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        attention = network.model(ids, output_attentions=True).attentions[0]
    for head in range(4):
        weights = {d: float(torch.diagonal(attention[:, head], d, -2, -1).mean()) for d in range(-6, 7)}
        assert max(weights, key=weights.__getitem__) == (head // 2 + 1) * (1 if head % 2 else -1)


def test_the_last_blocks_carry_over_what_they_look_at() -> None:
    """In a new network tokens of the sequence are likelier than others; with random weights they are not."""
    config = preset_config(SMALL, 500, 64)
    config.is_causal = False
    generator = torch.Generator().manual_seed(0)
    ids = torch.stack([torch.randperm(500, generator=generator)[:20] for _ in range(8)])
    is_there = torch.zeros(8, 500, dtype=torch.bool).scatter_(1, ids, True)
    advantage = {}
    for name, network in (("preset", new_network(config, seed=1)), ("random", random_network(config, seed=1))):
        with torch.no_grad():
            logits = network(ids).logits[:, -1]  # of the last position, whose own token is left out of the comparison
        others = is_there.clone().scatter_(1, ids[:, -1:], False)
        advantage[name] = float(logits[others].mean() - logits[~is_there].mean()) / float(logits.std())
    assert advantage["preset"] > 0.3
    assert abs(advantage["random"]) < 0.1


@pytest.mark.parametrize(("block", "is_identity"), [(0, False), (1, True), (2, True)])
def test_what_the_last_blocks_carry_over_is_unchanged(block: int, is_identity: bool) -> None:
    """Values and output projection undo each other in the last two blocks, and in no other."""
    attention = new_network(preset_config(SMALL, 500, 64), seed=1).model.layers[block].self_attn
    product = attention.o_proj.weight @ attention.v_proj.weight
    assert torch.allclose(product, torch.eye(SMALL.width), atol=1e-4) == is_identity


def test_weights_follow_the_seed() -> None:
    """The same seed gives the same weights, another one others; the state of torch's generator is left alone."""
    config = preset_config(SMALL, 100, 64)
    before = torch.random.get_rng_state()
    network, same, other = (new_network(config, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(network[name], same[name]) for name in network)
    assert not torch.equal(network["lm_head.weight"], other["lm_head.weight"])


@pytest.mark.parametrize(("name", "millions"), [("small", 30), ("base", 125), ("1b", 1100)])
def test_presets_are_as_large_as_their_names_say(name: str, millions: int) -> None:
    """Weights of the blocks and one vocabulary of 8,192, to a fifth."""
    with torch.device("meta"):
        network = type(new_network(preset_config(SMALL, 10, 8), 0))(preset_config(PRESETS[name], 8192, 4096))
    count = sum(parameter.numel() for parameter in network.parameters())
    assert abs(count / 1e6 - millions) < 0.25 * millions
