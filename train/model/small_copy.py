"""A small network of the same class and configuration as a large one, with random weights, to learn how the class computes.

What a model does besides its weights (scalings, soft caps, windows, how positions rotate) is decided by its class and by its
configuration. The copy has both; only sizes shrink. Nothing of the weights is read.
"""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from transformers import AutoModelForCausalLM

VOCABULARY = 64
MIN_LAYERS = 4
MAX_PARAMETERS = 400_000_000  # 1.6 GB
_INNER = 32  # width of feed-forward layers
_INNER_SIZES = ("intermediate_size", "ffn_dim", "ffn_hidden_size")  # ends of the names that configurations have for it
_SEED = 0


def small_configs(config: Any) -> Iterator[Any]:
    """Configurations of few layers, the smallest first: narrow, then as wide as the original.

    The first whose network runs will do: some sizes hang together in ways that only their class knows.
    """
    narrow = _narrow(_shallow(config))
    if narrow is not None:
        yield narrow
    yield _shallow(config)


def _shallow(config: Any) -> Any:
    """Few layers, a small vocabulary. Layers are cut after the first of each kind."""
    small = copy.deepcopy(config)
    layers = config.num_hidden_layers
    per_layer = {
        name: value for name, value in vars(config).items() if isinstance(value, list | tuple) and len(value) == layers > 1
    }
    kinds = [tuple(map(repr, kind)) for kind in zip(*per_layer.values(), strict=True)]
    needed = max((kinds.index(kind) + 1 for kind in set(kinds)), default=0)
    kept = min(layers, max(MIN_LAYERS, needed))
    small.num_hidden_layers = kept
    for name, value in per_layer.items():
        setattr(small, name, value[:kept])
    for name, value in vars(config).items():
        if name.startswith("vocab_size") and isinstance(value, int):
            setattr(small, name, VOCABULARY)
    for name in [name for name in vars(config) if name.endswith("_token_id") or name == "padding_idx"]:
        value = getattr(small, name)
        setattr(small, name, value % VOCABULARY if isinstance(value, int) else None)
    return small


def _narrow(config: Any) -> Any:
    """Two groups of heads of the original width, or one where there is one; None where the sizes do not go up in heads."""
    heads = getattr(config, "num_attention_heads", None)
    if not isinstance(heads, int) or config.hidden_size % heads:
        return None
    groups = getattr(config, "num_key_value_heads", None) or heads
    small_groups = min(groups, 2)
    small_heads = small_groups if groups == heads else 2 * small_groups
    config.hidden_size = config.hidden_size // heads * small_heads
    config.num_attention_heads = small_heads
    if getattr(config, "num_key_value_heads", None) is not None:
        config.num_key_value_heads = small_groups
    for name, value in list(vars(config).items()):
        if name.endswith(_INNER_SIZES) and isinstance(value, int):
            setattr(config, name, _INNER)
    return config


def random_network(config: Any) -> Any:
    """A causal network in float32, with plain attention and random weights.

    Every weight matters: none is 0, 1, or so small that a branch could be left out unnoticed.

    Raises:
        ValueError: it would take gigabytes
        Exception: of any kind, where its class cannot be built
    """
    made: Any = AutoModelForCausalLM
    with torch.device("meta"):
        size = sum(parameter.numel() for parameter in made.from_config(config).parameters())
    if size > MAX_PARAMETERS:
        raise ValueError(f"its smallest copy still has {size / 1e6:.0f} M parameters")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        network: Any = made.from_config(config, attn_implementation="eager", dtype=torch.float32)
        with torch.no_grad():
            for parameter in network.parameters():
                if parameter.dim() < 2:
                    parameter += 0.2 * torch.randn_like(parameter)
                else:
                    parameter.normal_(std=parameter.shape[-1] ** -0.5)
            network.get_input_embeddings().weight.normal_()
            if network.config.tie_word_embeddings:
                network.get_input_embeddings().weight *= network.config.hidden_size**-0.5
    return network.eval().requires_grad_(False)
