"""Low-rank adapters (Hu et al. 2021) on a frozen network, through peft. Merging them is export.py's."""

import torch
from torch import nn

from syntaxdiff.train.model.denoiser import Denoiser


def add_adapters(denoiser: Denoiser, rank: int, scale: float, *, seed: int = 0) -> None:
    """Freezes the network's weights and adds adapters to every projection of its blocks, in place.

    Args:
        rank: inner width of the adapters
        scale: alpha over rank, what an adapter's output is multiplied with
        seed: of the adapters' weights, which must be equal on all ranks
    """
    from peft import LoraConfig, inject_adapter_in_model

    for parameter in denoiser.network.parameters():
        parameter.requires_grad_(False)
    layers = denoiser.network.model.layers.named_modules()
    projections = {name.rpartition(".")[2] for name, module in layers if isinstance(module, nn.Linear)}  # names differ by class
    config = LoraConfig(
        r=rank,
        lora_alpha=scale * rank,  # type: ignore[arg-type]  # any number will do
        target_modules=sorted(projections),
        lora_dropout=0.0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, denoiser.network)


def num_adapter_parameters(network_config: object, rank: int) -> int:
    """Trainable parameters that adapters of a rank add."""
    config: dict[str, int] = vars(network_config)
    width, inner, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
    key_value = width * (config.get("num_key_value_heads") or heads) // heads
    ends = (2 * width, width + key_value, width + key_value, 2 * width, width + inner, width + inner, inner + width)
    return rank * config["num_hidden_layers"] * sum(ends)
