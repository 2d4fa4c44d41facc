"""Whether the denoiser computes what a model's own forward computes, found out before any weight is loaded.

A denoiser takes a network apart: it embeds, calls the body, and scores a few positions with the head. What a class does
elsewhere would be lost, and the loss would not show it. So a small copy of the model (small_copy.py) goes both ways, and the
logits are compared. Models are not known by name here.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import bidirectional_mask_function

from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.train.model.denoiser import Denoiser, Inputs, attention
from syntaxdiff.train.model.small_copy import VOCABULARY, random_network, small_configs

TOKENS = 24  # of a comparison
TOLERANCE = 1e-4  # of the largest logit; rounding in float32 gives 1e-6
PROBE = "syntaxdiff-probe"
DEFAULT_POSITIONS = 2048  # compared where neither the model nor the run says how many there are
PARTS = {"model.embed_tokens": nn.Module, "model.layers": nn.ModuleList, "model.rotary_emb": nn.Module, "lm_head": nn.Linear}
OTHERS = "choose a decoder with rotary positions, such as Llama, Qwen or Mistral"

Refuse = Callable[[str], SettingsError]


class Agreement(NamedTuple):
    """What the comparison found.

    Attributes:
        difference: largest difference between two logits, in the small copy
        largest: largest logit there
        positions: longest sequence in which every token may attend to every other one, and is rotated as in a shorter one;
            None where no length up to the one that was asked for is too long
    """

    difference: float
    largest: float
    positions: int | None


def check_agreement(config: Any, asked: str, *, max_length: int | None = None, trains: bool = False) -> Agreement:
    """Compares the denoiser of a configuration with the network's own forward, both attending both ways.

    Args:
        config: of transformers; it is not changed
        asked: option and value, for the messages
        max_length: tokens of the longest sample; None: as many as the model takes
        trains: also refuse a model that draws random numbers in training, as dropout does, or that transformers would run as
            a causal one once it is exported

    Raises:
        SettingsError: the model is built otherwise, or computes otherwise; it names the type and the figure
    """
    name = getattr(config, "model_type", type(config).__name__)

    def refuse(reason: str) -> SettingsError:
        return SettingsError(f"{asked}: {name} {reason}")

    longest = max_length or getattr(config, "max_position_embeddings", None) or DEFAULT_POSITIONS
    own = own_copy(config, refuse)
    with refused_by(refuse, "cannot be made a denoiser"), torch.no_grad():
        denoiser = Denoiser(copy.deepcopy(own)).eval()
        positions = _positions(denoiser, own, longest)
    if positions == 1:
        raise refuse(f"builds masks that let no token see a later one, whatever its is_causal: {OTHERS}")
    if max_length is not None and positions is not None:
        raise refuse(
            f"attends within a window, or rotates by the length of the text, beyond {positions} tokens: "
            f"give --max-length {positions} or less"
        )
    with refused_by(refuse, "cannot be run as a denoiser"), torch.no_grad():
        difference, largest = _difference(denoiser, own, positions or longest, refuse)
        _check_reach(denoiser, largest, refuse)
        if trains:
            difference = max(difference, _difference_of_export(denoiser, own, positions or longest, largest, refuse))
            _check_determinism(denoiser, config, refuse)
    return Agreement(difference, largest, positions)


def check_causal(config: Any, asked: str) -> None:
    """Refuses a model as a baseline from left to right in which a later token changes what an earlier one predicts.

    Models that no small copy can be made of are left to their own forward.

    Raises:
        SettingsError: it is an encoder
    """
    ids = some_ids(1, 6)
    changed = ids.clone()
    changed[0, -1] = (ids[0, -1] + 1) % VOCABULARY
    logits = _small_logits(config, ids, changed)
    if logits is None:
        return
    first, second = (each[0, :-1] for each in logits)
    if not float((first - second).abs().max()) <= TOLERANCE * float(first.abs().max()):
        raise SettingsError(
            f"{asked}: {config.model_type} sees later tokens, so it cannot generate from left to right: "
            "give a causal model, or an exported diffusion model"
        )


def _small_logits(config: Any, *inputs: Tensor) -> list[Tensor] | None:
    """Logits of a small copy's own forward; None where no copy runs, which may be of any class."""
    with suppress(Exception), torch.no_grad():
        for small in small_configs(config):
            with suppress(Exception):
                network = random_network(small)
                return [network(input_ids=ids, use_cache=False).logits for ids in inputs]
    return None


@contextmanager
def refused_by(refuse: Refuse, what: str, advice: str = f": {OTHERS}") -> Iterator[None]:
    """Turns whatever a class raises that was built for something else into one line."""
    try:
        yield
    except SettingsError:
        raise
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        raise refuse(f"{what} ({type(error).__name__}: {lines[0][:200]}){advice}") from error


def own_copy(config: Any, refuse: Refuse) -> Any:
    """A small random network of a configuration's class, which its own forward accepts.

    Raises:
        SettingsError: by ``refuse``: the class is not built like Llama, or cannot be built
    """
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise refuse(f"is not a causal language model of transformers (an encoder, or an encoder-decoder?): {OTHERS}")
    if config.get_text_config() is not config:
        raise refuse("has several parts (text_config): give its language model only, saved as a model of its own")
    failure: Exception | None = None
    with refused_by(refuse, "cannot be built from its config.json"):
        for small in small_configs(config):
            try:
                network = random_network(small)
                _check_parts(network, refuse)
                with torch.no_grad():
                    network(input_ids=some_ids(1, 4), use_cache=False)
            except SettingsError:
                raise
            except Exception as error:  # of any kind: sizes that do not go together
                failure = failure or error
            else:
                return network
        raise failure or RuntimeError("no sizes")


def _check_parts(network: Any, refuse: Refuse) -> None:
    """The parts that a denoiser takes a network apart into."""
    for path, wanted in PARTS.items():
        part = network
        for name in path.split("."):
            part = getattr(part, name, None)
        if not isinstance(part, wanted):
            raise refuse(f"is not built like Llama ({type(network).__name__} has no `{path}`): {OTHERS}")


def _positions(denoiser: Denoiser, own: Any, longest: int) -> int | None:
    """See Agreement. Asks the network's own mask functions, and its own rotations."""
    ids = some_ids(1, 4)
    masks = {is_causal: _own_masks(own, ids, is_causal=is_causal) for is_causal in (False, True)}
    sees_all_but_last = torch.ones(1, 1, 4, 4, dtype=torch.bool)
    sees_all_but_last[..., :3, 3] = False

    def logits_of_the_first(last: int) -> Tensor:
        """Of three tokens that do not see the fourth, at a position far away."""
        logits: Tensor = denoiser(Inputs(ids, sees_all_but_last, torch.tensor([[0, 1, 2, last]])))
        return logits[:, :3]

    near = logits_of_the_first(3)

    def is_whole(length: int) -> bool:
        zero, last = torch.tensor(0), torch.tensor(length - 1)
        both_ways, back = ((zero, last), (last, zero)), ((last, zero),)
        for is_causal, ends in ((False, both_ways), (True, back)):  # windows are wider by one both ways
            if not all(bool(mask(zero, zero, *pair)) for mask in masks[is_causal] for pair in ends):
                return False
        far = logits_of_the_first(max(3, length - 1))
        return bool((far - near).abs().max() <= TOLERANCE * near.abs().max())  # experts group tokens: not equal to the bit

    if is_whole(longest):
        return None
    whole, cut = 1, longest
    while cut - whole > 1:
        middle = (whole + cut) // 2
        whole, cut = (middle, cut) if is_whole(middle) else (whole, middle)
    return whole


def _own_masks(own: Any, ids: Tensor, *, is_causal: bool) -> list[Callable[..., Any]]:
    """The functions of batch, head, query and key position by which a network's own forward masks its layers."""
    asked: list[Callable[..., Any]] = []

    def record(*_: Any, mask_function: Callable[..., Any] = bidirectional_mask_function, **__: Any) -> None:
        asked.append(mask_function)

    AttentionInterface.register(PROBE, attention)
    AttentionMaskInterface.register(PROBE, record)
    probed = copy.deepcopy(own)
    probed.config.is_causal = is_causal
    probed.set_attn_implementation(PROBE)
    probed(input_ids=ids, use_cache=False)
    return asked


def _difference(denoiser: Denoiser, own: Any, longest: int, refuse: Refuse) -> tuple[float, float]:
    """Largest difference from the network's own logits, and largest logit.

    Both follow from a mask that all may attend to all, at positions spread over the longest sequence.
    """
    tokens = min(TOKENS, longest)
    ids = some_ids(1, tokens)
    spread = torch.linspace(0, longest - 1, tokens).long()[None]
    everything = torch.zeros(1, 1, tokens, tokens)
    expected = own(input_ids=ids, attention_mask=everything, position_ids=spread, use_cache=False).logits
    largest = float(expected.abs().max())
    difference = float((denoiser(Inputs(ids, position_BL=spread)) - expected).abs().max())
    if not difference <= TOLERANCE * largest:  # NaN is a difference too
        raise refuse(
            f"computes something outside of its body and head: logits differ by {difference:.3g} (largest {largest:.3g}) "
            f"from those of its own forward: {OTHERS}"
        )
    return difference, largest


def _difference_of_export(denoiser: Denoiser, own: Any, longest: int, largest: float, refuse: Refuse) -> float:
    """Largest difference from what an exported model computes in transformers, from ``is_causal`` in its configuration."""
    ids = some_ids(1, min(TOKENS, longest))
    exported = copy.deepcopy(own)
    exported.config.is_causal = False
    exported.set_attn_implementation("sdpa" if getattr(exported, "_supports_sdpa", False) else "eager")  # transformers' choice
    further = float((exported(input_ids=ids, use_cache=False).logits - denoiser(Inputs(ids))).abs().max())
    if not further <= TOLERANCE * largest:
        raise refuse(
            f"ignores is_causal: in plain transformers, logits would differ by {further:.3g} (largest {largest:.3g}) from "
            f"those that were trained: {OTHERS}"
        )
    return further


def _check_reach(denoiser: Denoiser, largest: float, refuse: Refuse) -> None:
    """The first token sees the last one; samples that share a sequence (--pack) do not see each other."""
    ids = some_ids(2, 8)
    alone = denoiser(Inputs(ids))
    changed = ids.clone()
    changed[:, -1] = (ids[:, -1] + 1) % VOCABULARY
    if float((denoiser(Inputs(changed)) - alone)[:, 0].abs().max()) <= TOLERANCE * largest:
        raise refuse(f"does not attend to later tokens, whatever its mask: {OTHERS}")
    both = torch.arange(16) // 8
    packed = denoiser(Inputs(ids.reshape(1, 16), (both[:, None] == both)[None, None], torch.arange(8).repeat(2)[None])).reshape(
        alone.shape
    )
    leak = float((packed - alone).abs().max())
    if not leak <= TOLERANCE * largest:
        raise refuse(f"does not keep samples apart that share a sequence: logits differ by {leak:.3g}: {OTHERS}")


def _check_determinism(denoiser: Denoiser, config: Any, refuse: Refuse) -> None:
    """In training a model is a function of its inputs, or a resumed run would not be the run that was stopped."""
    inputs = Inputs(some_ids(1, TOKENS))
    denoiser.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        same = torch.equal(denoiser(inputs), denoiser(inputs))
    denoiser.eval()
    if not same:
        rates = {
            name: value
            for name, value in vars(config).items()
            if isinstance(value, float) and value > 0 and ("drop" in name or "jitter" in name)
        }
        named = " and ".join(f"{name} (now {value})" for name, value in rates.items()) or "dropout"
        raise refuse(
            f"draws random numbers in training, which a resumed run could not repeat: set {named} to 0 in its config.json"
        )


def some_ids(*shape: int) -> Tensor:
    """Ids of a small copy, the same every time."""
    return torch.randint(VOCABULARY, shape, generator=torch.Generator().manual_seed(0))
