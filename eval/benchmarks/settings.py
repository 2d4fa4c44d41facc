"""The settings of an evaluation: all that decides its samples, as ``settings.json`` and ``results.json`` hold it.

Which of them had an effect is decided in effect.py; what is asked for is config.py's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

from syntaxdiff.eval.inference.generation import GenerationConfig
from syntaxdiff.eval.record import ABSENT, absent_where


@dataclass(frozen=True, kw_only=True)
class GenerationSettings:
    """The fields of GenerationConfig that decide tokens; None for one that had no effect, or that an older version lacked.

    The batch size is not among them: in exact arithmetic it decides nothing, so that a run may resume with another.
    """

    gen_length: int | None = None
    block_length: int | None = None
    num_steps: int | None = None
    schedule: str | None = None
    threshold: float | None = None
    factor: float | None = None
    confidence: str | None = None
    cache: str | None = None
    cache_refresh: int | None = None
    temperature: float | None = None
    guidance: float | None = None
    forbid_eos: bool | None = None
    lower_eos: bool | None = None
    early_stop: bool | None = None
    syntax_repair: int | None = None
    language: str | None = None
    seed: int | None = None

    @classmethod
    def of(cls, config: GenerationConfig) -> "GenerationSettings":
        """The settings of a configuration, all as they were asked for."""
        return cls(**{own.name: getattr(config, own.name) for own in fields(cls)})

    def without(self, names: Sequence[str] | set[str]) -> "GenerationSettings":
        """The same with None for some of them; names of other options are passed over."""
        return replace(self, **{own.name: None for own in fields(self) if own.name in names})


@dataclass(frozen=True, kw_only=True)
class CheckpointIdentity:
    """What tells a checkpoint from others, wherever its files are.

    Attributes:
        kind: of checkpoint.KINDS, or effect.REFERENCE
        step: of training, where the checkpoint names it
        sha256: over the configuration and both ends of the files of weights; None for references
        programs_alone: share of its training samples that are programs only, which the preset ``auto`` depends on
    """

    kind: str
    step: int | None = field(default=None, metadata=absent_where(lambda identity: identity.sha256 is None))
    sha256: str | None = field(default=None, metadata=ABSENT)
    programs_alone: float | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, kw_only=True)
class PromptIdentity:
    """How problems were shown: the preset, its text, and the digest of that text."""

    preset: str
    text: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class AnswerSettings:
    """What decides the answers to given problems; the keys after ``checkpoint`` are absent for references.

    Attributes:
        samples: candidates per problem
        likelihood_samples: masked versions per candidate, where a diffusion model's candidates are compared
        hole_tokens: of infilling: masks of a hole, or effect.REFERENCE for the reference's length
        dtype: of the weights, known once they are loaded
    """

    checkpoint: CheckpointIdentity
    prompt: PromptIdentity | None = field(default=None, metadata=ABSENT)
    samples: int | None = field(default=None, metadata=ABSENT)
    generation: GenerationSettings | None = field(default=None, metadata=ABSENT)
    likelihood_samples: int | None = field(default=None, metadata=ABSENT)
    hole_tokens: int | str | None = field(default=None, metadata=ABSENT)
    dtype: str | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, kw_only=True)
class ProblemSettings:
    """Which problems were asked.

    Attributes:
        limit: the first so many; None: all
        problems_sha256: digest of all that the model and the tests are given
    """

    benchmark: str
    split: str | None
    limit: int | None
    problems_sha256: str


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings(AnswerSettings, ProblemSettings):
    """All settings of an evaluation."""

    @classmethod
    def of(cls, problems: ProblemSettings, answers: AnswerSettings) -> "EvaluationSettings":
        """The settings of both parts."""
        parts = {own.name: getattr(part, own.name) for part in (problems, answers) for own in fields(part)}
        return cls(**parts)
