"""How many sequences are written at a time where nobody says: as many as there is memory for beside the weights, up to a limit.

Sequences share each step's fixed cost and reading of the weights. The results do not depend on their number, but for rounding.
"""

from pathlib import Path

import torch

from syntaxdiff.eval.inference.checkpoint import Checkpoint
from syntaxdiff.eval.inference.config import MOST

SHARE = 0.5  # of the free memory that canvases may take: the rest is for what the estimate does not know
_MEMORY = Path("/proc/meminfo")


def canvases_at_a_time(checkpoint: Checkpoint, length: int, num_scored: int) -> int:
    """A batch size, from 1 to MOST of the device.

    Args:
        length: tokens of the longest sequence, prompt and answer
        num_scored: positions of it whose logits are computed at a time
    """
    device = checkpoint.device
    room = int(SHARE * _free_bytes(device) / canvas_bytes(checkpoint, length, num_scored))
    return max(1, min(MOST.get(device.type, 1), room))


def canvas_bytes(checkpoint: Checkpoint, length: int, num_scored: int) -> int:
    """About what one sequence takes in a forward pass, weights excluded."""
    network = checkpoint.model.network if checkpoint.kind == "diffusion" else checkpoint.model
    told = network.config
    width = network.dtype.itemsize
    heads = told.num_attention_heads
    key_values = getattr(told, "num_key_value_heads", None) or heads
    head_width = getattr(told, "head_dim", None) or told.hidden_size // heads
    kept = 2 * told.num_hidden_layers * key_values * head_width * width * length
    # In one layer: hidden states, queries, keys, values, both halves of the MLP, and scores where attention is not fused.
    passing = length * (8 * told.hidden_size + 3 * getattr(told, "intermediate_size", 4 * told.hidden_size)) * width
    scores = heads * length * length * 4
    logits = num_scored * told.vocab_size * (width + 4 + 2 * 8)  # as they come, in float32, and with noise in float64
    return int(kept + passing + scores + logits)


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        free: int = torch.cuda.mem_get_info(device)[0]
        return free
    try:
        lines = dict(line.split(":", 1) for line in _MEMORY.read_text("utf-8").splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):  # no Linux
        return 0
