"""Batch sizes: how many sequences are generated together, and which.

Where no size is asked for, as many as half of the free memory holds next to the weights, up to a limit. Sequences share each
step's fixed cost and the reading of the weights. Results do not depend on their number, except for rounding.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from syntaxdiff.eval.inference.config import MOST

SHARE = 0.5  # of the free memory that sequences may take: the rest is for what the estimate leaves out
_MEMORY = Path("/proc/meminfo")


def largest_batch(network: Any, length: int, num_scored: int) -> int:
    """A batch size, from 1 to MOST of the device.

    Args:
        network: of transformers, on its device
        length: tokens of the longest sequence, prompt and answer
        num_scored: positions of it whose logits are computed at a time
    """
    device: torch.device = network.device
    count = int(SHARE * _free_bytes(device) / sequence_bytes(network, length, num_scored))
    return max(1, min(MOST.get(device.type, 1), count))


def sequence_bytes(network: Any, length: int, num_scored: int) -> int:
    """Estimated memory of one sequence in a forward pass, in bytes, weights excluded. Arguments as of ``largest_batch``."""
    config = network.config
    width = network.dtype.itemsize
    heads = config.num_attention_heads
    key_values = getattr(config, "num_key_value_heads", None) or heads
    head_width = getattr(config, "head_dim", None) or config.hidden_size // heads
    kept = 2 * config.num_hidden_layers * key_values * head_width * width * length
    # In one layer: hidden states, queries, keys, values, both halves of the MLP, and scores where attention is not fused.
    passing = length * (8 * config.hidden_size + 3 * getattr(config, "intermediate_size", 4 * config.hidden_size)) * width
    scores = heads * length * length * 4
    logits = num_scored * config.vocab_size * (width + 4 + 2 * 8)  # as computed, in float32, and with noise in float64
    return int(kept + passing + scores + logits)


def batches(sequences: Sequence[Sequence[int]], batch_size: int) -> Iterator[list[int]]:
    """Indices of sequences in batches, the longest first, so that sequences of similar length are together.

    The order is stable: sequences of equal length stay in order.
    """
    order = sorted(range(len(sequences)), key=lambda index: -len(sequences[index]))
    for first in range(0, len(order), batch_size):
        yield order[first : first + batch_size]


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        free: int = torch.cuda.mem_get_info(device)[0]
        return free
    try:
        lines = dict(line.split(":", 1) for line in _MEMORY.read_text("utf-8").splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):  # not Linux
        return 0
