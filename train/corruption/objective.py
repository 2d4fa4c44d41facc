"""Which positions the loss scores and how much each weighs. The cross entropy itself is not here.

    inverse-rate  1/p at corrupted positions, p the position's own probability to be corrupted: 1/rate where tokens are masked
                  at the rate, and for Algorithm 1, whose marginals have no closed form (as LLaDA does)
    region-share  in the code, the sample's code tokens over its corrupted code tokens; elsewhere 1/rate, as inverse-rate
    masked-mean   corruptible tokens of the sample over corrupted ones, of all regions together
    paper         1 at corrupted positions, as eq. 3 is written
    reveal        eq. 3 with x_{t-1} drawn from x_t: each corrupted unit comes back with probability 1/t, and only those are
                  scored; step t of T = 1,000 stands for the rate t/T. The weight is t/p, which is T where p is the rate, so
                  that the expectation is that of inverse-rate
    reveal-all    the literal eq. 3: 1 at every corruptible position that is visible in x_{t-1}

The default is `inverse-rate` where a token's marginal is known, else `region-share` (docs/corruption.md has the figures).

The loss is the sum of weight times cross entropy, divided by the corruptible tokens of the global batch (batch.Batch).

Shapes: B batch, L tokens.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

NUM_STEPS = 1000  # T of the discrete objectives


class Scored(NamedTuple):
    """Positions in the loss, and the weight of each, 0 elsewhere."""

    is_scored_BL: Tensor  # bool
    weight_BL: Tensor  # float32


def uses_steps(objective: str) -> bool:
    """Whether an objective is defined on T discrete steps."""
    return objective in ("reveal", "reveal-all")


def step_of(rate_B: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """The step t in 1 to T whose rate t/T is the smallest that is not below a rate."""
    return np.clip(np.ceil(rate_B * NUM_STEPS), 1, NUM_STEPS).astype(np.int64)


def scored(
    objective: str,
    *,
    is_corrupted_BL: Tensor,
    is_corruptible_BL: Tensor,
    is_code_BL: Tensor,
    is_revealed_BL: Tensor | None,
    marginal_BL: Tensor,
    step_B: Tensor,
) -> Scored:
    """Positions and weights of an objective.

    Args:
        objective: one of OBJECTIVES
        is_corrupted_BL, is_corruptible_BL, is_code_BL: bool; code is corruptible
        is_revealed_BL: bool, corrupted positions that are visible in x_{t-1}; only for the reveal objectives
        marginal_BL: float64, probability of a position to be corrupted
        step_B: float64, t of the reveal objectives
    """
    is_scored_BL = is_corrupted_BL
    if objective == "inverse-rate":
        weight_BL = 1 / marginal_BL
    elif objective == "region-share":
        num_corrupted_B = (is_corrupted_BL & is_code_BL).sum(dim=1).clamp(min=1)
        share_B = is_code_BL.sum(dim=1).double() / num_corrupted_B
        weight_BL = torch.where(is_code_BL, share_B[:, None], 1 / marginal_BL)
    elif objective == "masked-mean":
        num_corrupted_B = is_corrupted_BL.sum(dim=1).clamp(min=1)
        weight_BL = (is_corruptible_BL.sum(dim=1) / num_corrupted_B)[:, None].expand(marginal_BL.shape)
    elif objective == "paper":
        weight_BL = torch.ones_like(marginal_BL)
    else:
        assert is_revealed_BL is not None
        if objective == "reveal":
            is_scored_BL, weight_BL = is_revealed_BL, step_B[:, None] / marginal_BL
        else:
            is_scored_BL = is_corruptible_BL & (~is_corrupted_BL | is_revealed_BL)
            weight_BL = torch.ones_like(marginal_BL)
    return Scored(is_scored_BL, torch.where(is_scored_BL, weight_BL, 0.0).float())
