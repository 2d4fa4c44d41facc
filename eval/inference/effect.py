"""Which settings of generation have an effect, for each kind of model, and how they are told with a score.

A setting without effect is None in results: the block length of an autoregressive model, the threshold of a fixed schedule. The
same rule reads results of earlier versions, which kept all settings as they were asked for.
"""

from collections.abc import Collection, Mapping
from typing import Any

from syntaxdiff.eval.problems.names import INFILLING
from syntaxdiff.pipeline.errors import SettingsError

AUTOREGRESSIVE, REFERENCE = "autoregressive", "reference"
_OF_ANY_MODEL = ("gen_length", "temperature", "forbid_eos", "seed", "batch_size")
_OF_DENOISING = (
    "plain",
    "block_length",
    "schedule",
    "num_steps",
    "threshold",
    "factor",
    "confidence",
    "cache",
    "cache_refresh",
    "guidance",
    "early_stop",
    "lower_eos",
    "syntax_repair",
    "language",
)
_OF_WHOLE_ANSWERS = ("gen_length", "early_stop")  # a hole has its size, and an end token stops nothing there
_OF_MODELS = ("preset", "likelihood_samples", "hole_tokens", "device", "dtype", "kind", "mask_token")


def effective(generation: Mapping[str, Any], kind: str, *, is_infilling: bool = False) -> dict[str, Any]:
    """Settings of generation by name, None where one had no effect.

    Args:
        generation: fields of GenerationConfig as plain values, of this version or an earlier one
        kind: of config.KINDS
    """
    asked = dict(generation)
    without: set[str] = set()
    if kind == AUTOREGRESSIVE:
        without |= {*_OF_DENOISING}
    else:
        for name, value in (("num_steps", "fixed"), ("threshold", "threshold"), ("factor", "factor")):
            without |= {name} if asked.get("schedule") != value else set()
        without |= {"cache_refresh"} if asked.get("cache") == "none" else set()
        without |= set() if asked.get("syntax_repair") else {"language"}
        without |= {*_OF_WHOLE_ANSWERS} if is_infilling else set()
    if not asked.get("temperature") and (kind == AUTOREGRESSIVE or asked.get("confidence") != "random"):
        without.add("seed")
    return {name: None if name in without else value for name, value in asked.items()}


def effective_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a result, of this version or an earlier one, with None for what had no effect on generation."""
    kind = settings.get("checkpoint", {}).get("kind", REFERENCE)
    told = dict(settings)
    if told.get("generation"):
        told["generation"] = effective(told["generation"], kind, is_infilling=told.get("benchmark") == INFILLING)
    if kind == AUTOREGRESSIVE:
        told.pop("likelihood_samples", None)  # its likelihood is exact
    return told


def told_generation(settings: Mapping[str, Any]) -> str:
    """How the answers of a result were generated, in words; empty for references."""
    settings = effective_settings(settings)
    config = settings.get("generation")
    if not config:
        return ""
    if settings["checkpoint"]["kind"] == AUTOREGRESSIVE:
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
    """Refuses options that a kind of model cannot heed, so that nobody takes a result for one under them.

    Args:
        given: options that a person gave, by their names as parameters
        kind: of config.KINDS, or REFERENCE
        temperature: of sampling: an autoregressive model samples one answer at a time
        used: options that the command itself has a use for

    Raises:
        SettingsError: there are some
    """
    without: tuple[str, ...]
    if kind == REFERENCE:
        without, why = (*_OF_ANY_MODEL, *_OF_DENOISING, *_OF_MODELS), "--reference runs the benchmark's own solutions"
    elif kind == AUTOREGRESSIVE:
        without, why = (*_OF_DENOISING, "likelihood_samples", "mask_token"), "the model writes from left to right"
        if temperature > 0:
            without = (*without, "batch_size")
    elif is_infilling:
        without, why = _OF_WHOLE_ANSWERS, "a hole is filled with as many tokens as it has"
    else:
        return
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
