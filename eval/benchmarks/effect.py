"""Which settings had an effect on results, and how they are described next to a score.

A setting without effect is None in results: the block length of an autoregressive model, the threshold of a fixed schedule. The
same rule reads results of earlier versions, which kept all settings as they were asked for.
"""

from dataclasses import replace

from syntaxdiff.eval.benchmarks.stored_settings import EvaluationSettings
from syntaxdiff.eval.inference.abilities import ABILITIES, CAUSAL, DENOISING
from syntaxdiff.eval.inference.effect import REFERENCE, GenerationSettings, effective
from syntaxdiff.eval.problems.names import INFILLING


def effective_settings(settings: EvaluationSettings) -> EvaluationSettings:
    """The settings of an evaluation of this version or an earlier one, with None for what had no effect on generation."""
    kind = settings.checkpoint.kind
    if settings.generation is not None:
        generation = effective(settings.generation, kind, is_infilling=settings.benchmark == INFILLING)
        settings = replace(settings, generation=generation)
    if not ABILITIES.get(kind, DENOISING).estimates_likelihood:
        settings = replace(settings, likelihood_samples=None)  # an exact likelihood takes no samples
    return settings


def generation_text(settings: EvaluationSettings) -> str:
    """How the answers of an evaluation were generated, in words; empty for references."""
    settings = effective_settings(settings)
    generation = settings.generation
    if generation is None:
        return ""
    if settings.checkpoint.kind == CAUSAL.kind:
        parts = [f"from left to right, at most {generation.gen_length} tokens"]
        parts += [] if generation.temperature else ["the most probable token each"]
    else:
        parts = [
            f"{_length(settings)} in blocks of {generation.block_length}",
            f"{_schedule(generation)}, {generation.confidence}",
            _cache(generation),
        ]
        parts += ["no early stop"] if generation.early_stop is False else []
    for name in _SHOWN_WHERE_SET:
        value = getattr(generation, name)
        if value or (name == "seed" and value is not None):
            parts.append(f"{name.replace('_', ' ')} {value}".removesuffix(" True"))
    return ", ".join(parts)


_SHOWN_WHERE_SET = ("temperature", "guidance", "syntax_repair", "language", "forbid_eos", "lower_eos", "seed")


def _length(settings: EvaluationSettings) -> str:
    if settings.benchmark != INFILLING:
        return f"at most {settings.generation.gen_length if settings.generation else None} tokens"
    size = settings.hole_tokens
    return "holes of the reference's length" if size in (None, REFERENCE) else f"holes of {size} tokens"


def _schedule(generation: GenerationSettings) -> str:
    if generation.schedule == "fixed":
        return f"{generation.num_steps} steps" if generation.num_steps else "one token a step"
    if generation.schedule == "threshold":
        return f"all above confidence {generation.threshold:g}"
    return f"by factor {generation.factor:g}"


def _cache(generation: GenerationSettings) -> str:
    if generation.cache == "none":
        return "no cache"
    refresh = generation.cache_refresh
    return f"{generation.cache} cache" + (f" computed again every {refresh} steps" if refresh else "")
