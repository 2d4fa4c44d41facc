"""Models from scratch: named sizes, and the weights that they start with.

A masked position knows nothing of its own token; all it can learn from comes through attention. With the usual small random
weights attention is nearly uniform, and a small model stays at the level of token frequencies for thousands of steps, until it
has found out where its neighbours are. So the heads of the first block start out looking at neighbours, one at -1, one at +1,
then -2, +2, …, by way of one channel that is the same for all tokens.

Then it has to find out that names agree: that what stands at a masked position stands elsewhere in the program, too. A head
that copies must look at the right token and carry over what it is, and neither is worth anything without the other. So the
last two blocks start out carrying over: values and output projection of their attention are an orthogonal matrix and its
transpose, the output matrix has the directions of the embeddings, and these are larger than what a branch adds to them. What
remains to be learnt is where to look. On the exercises of level 1 that takes a few hundred steps, where 800 were not
enough (benchmarks/preset_start.py compares the starts). All of it is trained.
"""

import math
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from syntaxdiff.train.model.sizes import Preset

ROPE_THETA = 10_000.0
CHANNEL = 0  # of the hidden state, the same for all tokens at the start
CHANNEL_SIZE = 4.0  # in standard deviations of the others
SHARPNESS = 3.0  # size of the constant query and key in each pair of coordinates
MIN_FREQUENCY = 0.05  # radians a position; slower pairs cannot tell neighbours apart
COPYING_BLOCKS = 2  # the last ones
EMBEDDING_SIZE = 4.0  # in units of what a branch adds to the hidden state at the start


def preset_config(preset: Preset, vocab_size: int, max_length: int) -> LlamaConfig:
    """The configuration of a preset for a vocabulary."""
    return LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=preset.width,
        intermediate_size=preset.inner,
        num_hidden_layers=preset.layers,
        num_attention_heads=preset.heads,
        num_key_value_heads=preset.heads,
        max_position_embeddings=max(4096, max_length),
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA},
        tie_word_embeddings=False,
        initializer_range=preset.width**-0.5,
    )


def new_network(config: LlamaConfig, seed: int) -> Any:
    """A network with the weights that a preset starts with, the same for the same seed."""
    network = random_network(config, seed)
    look_at_neighbours(network)
    carry_over(network, seed)
    return network


def random_network(config: LlamaConfig, seed: int) -> Any:
    """A network with random weights alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: Any = LlamaForCausalLM(config)
    with torch.no_grad():
        for layer in network.model.layers:
            # The last projection of each branch starts smaller by the root of the number of branches (GPT-2).
            for projection in (layer.self_attn.o_proj, layer.mlp.down_proj):
                projection.weight /= math.sqrt(2 * config.num_hidden_layers)
    return network


@torch.no_grad()
def look_at_neighbours(network: Any) -> None:
    """Sets the constant channel, and the columns of the first block's queries and keys that read it, in place."""
    config = network.config
    embedding = network.model.embed_tokens.weight
    embedding[:, CHANNEL] = CHANNEL_SIZE * config.initializer_range
    normed = CHANNEL_SIZE / math.sqrt(1 + (CHANNEL_SIZE**2 - 1) / config.hidden_size)  # after the block's RMSNorm
    width = config.hidden_size // config.num_attention_heads
    attention = network.model.layers[0].self_attn
    for head in range(config.num_attention_heads):
        offset = (head // 2 + 1) * (1 if head % 2 else -1)
        query, key = neighbour_query_and_key(width, offset)
        rows = slice(head * width, (head + 1) * width)
        attention.q_proj.weight[rows, CHANNEL] = query / normed
        attention.k_proj.weight[rows, CHANNEL] = key / normed


@torch.no_grad()
def carry_over(network: Any, seed: int) -> None:
    """Lets the last blocks' attention add the hidden states that it looks at, and the output matrix read them, in place."""
    config = network.config
    generator = torch.Generator().manual_seed(seed + 1)  # other numbers than the embeddings'
    for layer in network.model.layers[-COPYING_BLOCKS:]:
        orthogonal = torch.linalg.qr(torch.randn(config.hidden_size, config.hidden_size, generator=generator)).Q
        layer.self_attn.v_proj.weight.copy_(orthogonal)
        layer.self_attn.o_proj.weight.copy_(orthogonal.T)
    embedding = network.model.embed_tokens.weight
    network.lm_head.weight.copy_(embedding)
    branch_size = 1 / math.sqrt(2 * config.num_hidden_layers)
    embedding *= EMBEDDING_SIZE * branch_size / config.initializer_range


def neighbour_query_and_key(width: int, offset: int) -> tuple[Tensor, Tensor]:
    """A constant query and key [width] whose product, once rotated (RoPE), is largest for the key ``offset`` positions on.

    At a distance d it is the sum over pairs of coordinates of SHARPNESS^2 cos((d - offset) f), f the pair's frequency.
    """
    frequency = ROPE_THETA ** (-torch.arange(0, width, 2) / width)
    size = SHARPNESS * (frequency > MIN_FREQUENCY)
    angle = -offset * frequency
    return torch.cat([size, torch.zeros_like(size)]), torch.cat([size * angle.cos(), size * angle.sin()])
