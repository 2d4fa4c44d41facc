"""What an evaluation on a benchmark is asked for."""

from dataclasses import dataclass
from pathlib import Path

from syntaxdiff.eval.inference.config import FAST, GenerationConfig
from syntaxdiff.eval.prompting.presets import AUTO, PRESETS
from syntaxdiff.pipeline.errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """What to evaluate and how.

    Attributes:
        ckpt: a checkpoint's folder or hub name; None for ``reference``
        reference: take the benchmark's own solutions for the model's
        problems: the file that holds them; None: where the benchmark is by default
        limit: evaluate the first problems alone
        prompt: of prompts.PRESETS, or ``auto``
        samples: candidates of each problem
        likelihood_samples: masked versions of each candidate, to estimate how probable it is
        hole_tokens: masks of an infilling's hole; None: as many tokens as the reference has there
        trace: keep with each answer what every step wrote
        device, dtype, kind, mask_token: of checkpoint.load_checkpoint
    """

    ckpt: str | None = None
    reference: bool = False
    problems: Path | None = None
    limit: int | None = None
    prompt: str = AUTO
    samples: int = 1
    likelihood_samples: int = 32
    hole_tokens: int | None = None
    trace: bool = False
    generation: GenerationConfig = FAST
    device: str = "auto"
    dtype: str = "auto"
    kind: str = "auto"
    mask_token: str | None = None

    def __post_init__(self) -> None:
        if self.reference == (self.ckpt is not None):
            raise SettingsError("give a checkpoint with --ckpt, or --reference for the benchmark's own solutions")
        for name in ("limit", "samples", "likelihood_samples", "hole_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingsError(f"--{name.replace('_', '-')} {value}: a whole number from 1")
        if self.reference and self.samples > 1:
            raise SettingsError("--reference has one solution a problem: leave --samples out")
        if self.reference and self.trace:
            raise SettingsError("--reference writes nothing step by step: leave --trace out")
        if self.samples > 1 and not self.generation.temperature > 0:
            raise SettingsError(f"--samples {self.samples} would all be equal at temperature 0: raise --temperature")
        if self.prompt not in (AUTO, *PRESETS):
            raise SettingsError(f"--prompt {self.prompt}: choose from {AUTO}, {', '.join(PRESETS)}")
