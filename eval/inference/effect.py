"""Which settings had an effect on results, how they are described next to a score, and which options are refused.

A setting without effect is None in results: the block length of an autoregressive model, the threshold of a fixed schedule. The
same rule reads results of earlier versions, which kept all settings as they were asked for. What each kind of model uses is in
abilities.py.
"""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from syntaxdiff.eval.inference.abilities import ABILITIES, CAUSAL, DENOISING, DENOISING_OPTIONS
from syntaxdiff.eval.problems.names import INFILLING
from syntaxdiff.pipeline.errors import SettingsError

REFERENCE = "reference"  # stands for a kind of model in results of the benchmark's own solutions
_REFERENCE_OPTIONS: tuple[str, ...] = (
    *("gen_length", "temperature", "forbid_eos", "seed", "batch_size"),
    *DENOISING_OPTIONS,
    *("preset", "likelihood_samples", "hole_tokens", "device", "dtype", "kind", "mask_token"),
)


class _Choices(NamedTuple):
    """The settings of a result that decide whether others have an effect; None for what an earlier version did not store."""

    schedule: str | None
    cache: str | None
    confidence: str | None
    syntax_repair: int | None
    temperature: float | None


def effective(generation: Mapping[str, Any], kind: str, *, is_infilling: bool = False) -> dict[str, Any]:
    """Settings of generation by name, None where one had no effect.

    Args:
        generation: fields of GenerationConfig as plain values, of this version or an earlier one
        kind: of config.KINDS
    """
    choices = _Choices(**{name: generation.get(name) for name in _Choices._fields})
    without = ABILITIES.get(kind, DENOISING).without_effect(choices, is_infilling=is_infilling)
    return {name: None if name in without else value for name, value in generation.items()}


def effective_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a result, of this version or an earlier one, with None for what had no effect on generation."""
    kind = settings.get("checkpoint", {}).get("kind", REFERENCE)
    used = dict(settings)
    if used.get("generation"):
        used["generation"] = effective(used["generation"], kind, is_infilling=used.get("benchmark") == INFILLING)
    if not ABILITIES.get(kind, DENOISING).estimates_likelihood:
        used.pop("likelihood_samples", None)  # an exact likelihood takes no samples
    return used


def told_generation(settings: Mapping[str, Any]) -> str:
    """How the answers of a result were generated, in words; empty for references."""
    settings = effective_settings(settings)
    config = settings.get("generation")
    if not config:
        return ""
    if settings["checkpoint"]["kind"] == CAUSAL.kind:
        parts = [f"from left to right, at most {config['gen_length']} tokens"]
        parts += [] if config["temperature"] else ["the most probable token each"]
    else:
        parts = [
            f"{_length(settings)} in blocks of {config['block_length']}",
            f"{_schedule(config)}, {config['confidence']}",
            _cache(config),
        ]
        parts += ["no early stop"] if config.get("early_stop") is False else []
    flags = ("temperature", "guidance", "syntax_repair", "language", "forbid_eos", "lower_eos", "seed")
    for name in flags:
        value = config.get(name)
        if value or (name == "seed" and value is not None):
            parts.append(f"{name.replace('_', ' ')} {value}".removesuffix(" True"))
    return ", ".join(parts)


def _length(settings: Mapping[str, Any]) -> str:
    if settings.get("benchmark") != INFILLING:
        return f"at most {settings['generation']['gen_length']} tokens"
    size = settings.get("hole_tokens")
    return "holes of the reference's length" if size in (None, REFERENCE) else f"holes of {size} tokens"


def _schedule(config: Mapping[str, Any]) -> str:
    if config["schedule"] == "fixed":
        return f"{config['num_steps']} steps" if config["num_steps"] else "one token a step"
    if config["schedule"] == "threshold":
        return f"all above confidence {config['threshold']:g}"
    return f"by factor {config['factor']:g}"


def _cache(config: Mapping[str, Any]) -> str:
    if config["cache"] == "none":
        return "no cache"
    refresh = config.get("cache_refresh")
    return f"{config['cache']} cache" + (f" computed again every {refresh} steps" if refresh else "")


def refuse_without_effect(
    given: Collection[str], kind: str, *, temperature: float = 0.0, is_infilling: bool = False, used: Collection[str] = ()
) -> None:
    """Refuses options that a kind of model does not use, so that nobody takes a result for one under them.

    Args:
        given: options that a person gave, by their names as parameters
        kind: of config.KINDS, or REFERENCE
        temperature: of sampling: an autoregressive model samples one answer at a time
        used: options that the command itself uses

    Raises:
        SettingsError: there are some
    """
    if kind == REFERENCE:
        without, why = _REFERENCE_OPTIONS, "--reference runs the benchmark's own solutions"
    else:
        without, why = ABILITIES[kind].useless_options(temperature=temperature, is_infilling=is_infilling)
    useless = [_option(name) for name in without if name in given and name not in used]
    if useless:
        raise SettingsError(f"{why}: {', '.join(useless)} {'has' if len(useless) == 1 else 'have'} no effect, leave it out")


def unused(given: Collection[str], generation: Mapping[str, Any], kind: str, *, used: Collection[str] = ()) -> list[str]:
    """What to tell of options that other settings leave without effect, such as a seed at temperature 0."""
    told = effective(generation, kind)
    names = [
        name for name in told if told[name] is None and generation[name] is not None and name in given and name not in used
    ]
    return [f"{_option(name)} has no effect with the other settings: {_REASONS[name]}" for name in names]


_REASONS = {
    "num_steps": "it is for --schedule fixed",
    "threshold": "it is for --schedule threshold",
    "factor": "it is for --schedule factor",
    "cache_refresh": "there is no cache",
    "language": "it is for --syntax-repair",
    "seed": "nothing is drawn at temperature 0",
}


def _option(name: str) -> str:
    return "--no-early-stop" if name == "early_stop" else "--" + name.replace("_", "-")
