"""Whether a model fits LLaDA's layout: found out before it is trained, not when it is exported."""

from typing import Any

import torch
from transformers import LlamaForCausalLM

from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.pipeline.shard import TokenIds
from syntaxdiff.train.model.agreement import TOKENS, TOLERANCE, own_copy, refused_by, some_ids
from syntaxdiff.train.model.denoiser import Denoiser, Inputs
from syntaxdiff.train.model.llada_layout import ConfigJson, llada_config, llada_name, llama_config

OPTION = "--export-layout llada"
INSTEAD = "export with --export-layout llama"


def check_llada_layout(config: Any, ids: TokenIds, asked: str) -> None:
    """Refuses a model that LLaDA's names and configuration cannot hold.

    A small copy of the model is written down as LLaDA's and read back as the tools of that family read it: every tensor must
    have a name there, and the logits must be the same.

    Args:
        config: of the network, of transformers
        ids: of the shards
        asked: option and value, for the messages

    Raises:
        SettingsError: it names the tensor, the setting, or the difference of the logits
    """
    kind = getattr(config, "model_type", type(config).__name__)

    def refuse(reason: str) -> SettingsError:
        return SettingsError(f"{OPTION} cannot hold {asked}: {kind} {reason}: {INSTEAD}")

    def as_llada(network: Any) -> ConfigJson:
        return llada_config(network, mask_id=ids.mask, eos_id=ids.eos, pad_id=ids.pad)

    own = own_copy(config, refuse)
    for name, _ in own.named_parameters():
        try:
            llada_name(name)
        except SettingsError as error:
            raise refuse(f"has {name}, which LLaDA's layout has no place for") from error
    with refused_by(refuse, "has no setting that LLaDA's layout needs", ""):
        as_llada(config)
        other: Any = LlamaForCausalLM(llama_config(as_llada(own.config)))
    with refused_by(refuse, "has tensors of other shapes than LLaDA's", ""):
        other.load_state_dict(own.state_dict())
    inputs = Inputs(some_ids(1, TOKENS), position_BL=torch.linspace(0, config.max_position_embeddings - 1, TOKENS).long()[None])
    with torch.no_grad():
        expected, logits = (Denoiser(network)(inputs) for network in (own, other))
    difference, largest = float((logits - expected).abs().max()), float(expected.abs().max())
    if not difference <= TOLERANCE * largest:
        raise refuse(f"computes otherwise than LLaDA: logits would differ by {difference:.3g} (largest {largest:.3g})")
