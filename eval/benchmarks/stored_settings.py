"""The settings of an evaluation: all that decides its samples, as ``settings.json`` and ``results.json`` hold it.

Which of them had an effect is decided in effect.py; what is asked for is config.py's.
"""

from dataclasses import dataclass, field, fields

from syntaxdiff.eval.inference.effect import GenerationSettings
from syntaxdiff.pipeline.json_records import ABSENT, absent_where


@dataclass(frozen=True, kw_only=True)
class CheckpointIdentity:
    """What identifies a checkpoint, wherever its files are.

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
