"""How a denoising step decides: the settings of denoising_step.py, read without torch."""

from dataclasses import dataclass

CONFIDENCES = ("low-confidence", "margin", "entropy", "random")
SCHEDULES = ("fixed", "threshold", "factor")


@dataclass(frozen=True, kw_only=True)
class StepRule:
    """How a step decides.

    Attributes:
        mask_id: of the mask token
        never: ids that are never written, the mask token's among them; their logits are removed first of all
        end_ids: tokens that end a text
        lower_end: a position that would get an end token is filled after all others. The token itself stays possible.
        confidence: one of CONFIDENCES
        schedule: one of SCHEDULES
        threshold: of the schedule ``threshold``, in [0, 1]
        factor: of the schedule ``factor``
        temperature: of the Gumbel noise; 0 takes the most probable token
    """

    mask_id: int
    never: tuple[int, ...]
    end_ids: tuple[int, ...] = ()
    lower_end: bool = False
    confidence: str = "low-confidence"
    schedule: str = "fixed"
    threshold: float = 0.9
    factor: float = 1.0
    temperature: float = 0.0
