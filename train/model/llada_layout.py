"""LLaDA's official names and configuration as transformers' Llama, and back. No remote code is ever run.

The mapping is tensor by tensor; a state dict renamed so gave float32 logits equal to those of LLaDA's own code (design,
section 7).
"""

import re
from collections.abc import Iterable
from typing import Any, TypeAlias

from transformers import LlamaConfig

from syntaxdiff.pipeline.errors import SettingsError

# A config.json: each family of models has keys of its own. It becomes transformers' configuration at once.
ConfigJson: TypeAlias = dict[str, Any]
MODEL_TYPE = "llada"
_TOP = {
    "model.transformer.wte.weight": "model.embed_tokens.weight",
    "model.transformer.ln_f.weight": "model.norm.weight",
    "model.transformer.ff_out.weight": "lm_head.weight",
}
_BLOCK = {
    "attn_norm": "input_layernorm",
    "ff_norm": "post_attention_layernorm",
    "q_proj": "self_attn.q_proj",
    "k_proj": "self_attn.k_proj",
    "v_proj": "self_attn.v_proj",
    "attn_out": "self_attn.o_proj",
    "ff_proj": "mlp.gate_proj",
    "up_proj": "mlp.up_proj",
    "ff_out": "mlp.down_proj",
}
_TOP_BACK = {llama: llada for llada, llama in _TOP.items()}
_BLOCK_BACK = {llama: llada for llada, llama in _BLOCK.items()}


def llama_name(llada_name: str) -> str:
    """Name in Llama of a tensor of LLaDA. Raises SettingsError for a name that LLaDA does not have."""
    if llada_name in _TOP:
        return _TOP[llada_name]
    match = re.fullmatch(r"model\.transformer\.blocks\.(\d+)\.(\w+)\.weight", llada_name)
    if match is None or match[2] not in _BLOCK:
        raise SettingsError(f"LLaDA has no tensor {llada_name!r}: is this another model's checkpoint?")
    return f"model.layers.{match[1]}.{_BLOCK[match[2]]}.weight"


def llada_name(llama_name: str) -> str:
    """The inverse of ``llama_name``."""
    if llama_name in _TOP_BACK:
        return _TOP_BACK[llama_name]
    match = re.fullmatch(r"model\.layers\.(\d+)\.([\w.]+)\.weight", llama_name)
    if match is None or match[2] not in _BLOCK_BACK:
        raise SettingsError(f"LLaDA's layout has no place for {llama_name!r}: export with --export-layout llama")
    return f"model.transformer.blocks.{match[1]}.{_BLOCK_BACK[match[2]]}.weight"


def llama_config(config: ConfigJson) -> LlamaConfig:
    """Llama's configuration of a LLaDA ``config.json``.

    Raises:
        SettingsError: the checkpoint uses something that Llama does not have
    """
    wanted = {"block_type": "llama", "layer_norm_type": "rms", "activation_type": "silu", "rope": True, "alibi": False,
              "layer_norm_with_affine": True, "rope_full_precision": True}  # fmt: skip
    for name, value in wanted.items():
        if config.get(name, value) != value:
            raise SettingsError(f"LLaDA's config.json has {name} {config[name]!r}, Llama needs {value!r}")
    for name in ("include_bias", "include_qkv_bias", "attention_layer_norm", "scale_logits", "input_emb_norm", "clip_qkv"):
        if config.get(name):
            raise SettingsError(f"LLaDA's config.json sets {name}, which Llama does not have")
    num_heads = config["n_heads"]
    values: ConfigJson = {"is_causal": False, "use_cache": False}  # the former has no field
    return LlamaConfig(
        vocab_size=config.get("embedding_size") or config["vocab_size"],
        hidden_size=config["d_model"],
        intermediate_size=config.get("mlp_hidden_size") or 4 * config["d_model"],
        num_hidden_layers=config["n_layers"],
        num_attention_heads=num_heads,
        num_key_value_heads=config.get("n_kv_heads") or (1 if config.get("multi_query_attention") else num_heads),
        max_position_embeddings=config.get("max_sequence_length", 4096),
        rms_norm_eps=config.get("rms_norm_eps", 1e-5),
        rope_parameters={"rope_type": "default", "rope_theta": config.get("rope_theta", 10000.0)},
        tie_word_embeddings=config.get("weight_tying", False),
        hidden_act="silu",
        **values,
    )


def llada_config(config: Any, *, mask_id: int, eos_id: int, pad_id: int) -> ConfigJson:
    """A LLaDA ``config.json`` of a Llama configuration. Raises SettingsError for what LLaDA's cannot say."""
    head_width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    if head_width * config.num_attention_heads != config.hidden_size:
        raise SettingsError(
            f"LLaDA's layout has no head_dim (here {head_width}) other than hidden_size / num_attention_heads: "
            "export with --export-layout llama"
        )
    if (scaled := config.rope_parameters.get("rope_type")) != "default":
        raise SettingsError(
            f"LLaDA's layout has no scaled positions (here rope_type {scaled}): export with --export-layout llama"
        )
    return {
        "architectures": ["LLaDAModelLM"],
        "auto_map": {
            "AutoConfig": "configuration_llada.LLaDAConfig",
            "AutoModel": "modeling_llada.LLaDAModelLM",
            "AutoModelForCausalLM": "modeling_llada.LLaDAModelLM",
        },
        "model_type": MODEL_TYPE,
        "activation_type": "silu",
        "alibi": False,
        "attention_dropout": 0.0,
        "attention_layer_norm": False,
        "block_group_size": 1,
        "block_type": "llama",
        "d_model": config.hidden_size,
        "embedding_dropout": 0.0,
        "embedding_size": config.vocab_size,
        "eos_token_id": eos_id,
        "flash_attention": False,
        "include_bias": False,
        "include_qkv_bias": False,
        "init_device": "cpu",
        "input_emb_norm": False,
        "layer_norm_type": "rms",
        "layer_norm_with_affine": True,
        "mask_token_id": mask_id,
        "max_sequence_length": config.max_position_embeddings,
        "mlp_hidden_size": config.intermediate_size,
        "mlp_ratio": 4,
        "n_heads": config.num_attention_heads,
        "n_kv_heads": config.num_key_value_heads,
        "n_layers": config.num_hidden_layers,
        "pad_token_id": pad_id,
        "residual_dropout": 0.0,
        "rms_norm_eps": config.rms_norm_eps,
        "rope": True,
        "rope_full_precision": True,
        "rope_theta": config.rope_parameters["rope_theta"],
        "scale_logits": False,
        "use_cache": False,
        "vocab_size": config.vocab_size,
        "weight_tying": config.tie_word_embeddings,
    }


def renamed(names: Iterable[str], layout: str) -> dict[str, str]:
    """Names of Llama's tensors in a layout, ``llama`` or ``llada``."""
    return {name: llada_name(name) if layout == "llada" else name for name in names}
