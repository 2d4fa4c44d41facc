"""What LLaDA's layout cannot hold is refused before the training, by what is not the same there."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_checkpoint import export_tiny, token_ids
from transformers import CONFIG_MAPPING, AutoTokenizer, LlamaConfig

from syntaxdiff.eval.inference.checkpoint import load_checkpoint
from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.pipeline.shard import TOKENIZER
from syntaxdiff.train.model import export
from syntaxdiff.train.model.llada_check import check_llada_layout
from syntaxdiff.train.model.llada_layout import llama_config
from syntaxdiff.train.model.presets import preset_config
from syntaxdiff.train.model.sizes import PRESETS
from syntaxdiff.train.settings import Settings

SIZES: dict[str, Any] = {
    "vocab_size": 200,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": None,
}
LLAMA3 = {"rope_type": "llama3", "rope_theta": 1e4, "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}


def config_of(kind: str, **changes: Any) -> Any:
    return CONFIG_MAPPING[kind](**{**SIZES, **changes})


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("llama", {}),
        ("llama", {"num_key_value_heads": 4}),
        ("llama", {"tie_word_embeddings": True}),
        ("llama", {"rms_norm_eps": 1e-3, "rope_parameters": {"rope_type": "default", "rope_theta": 123.0}}),
        ("mistral", {"sliding_window": None}),
    ],
)
def test_what_llada_can_hold(kind: str, changes: dict[str, Any]) -> None:
    """Models that are LLaDA by other names pass, whatever their class."""
    check_llada_layout(config_of(kind, **changes), token_ids(), "--model made")


def test_presets_fit() -> None:
    """Every preset can be exported for LLaDA's tools."""
    for preset in PRESETS.values():
        check_llada_layout(preset_config(preset, 200, 64), token_ids(), "--model made")


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        ("qwen2", {}, "model.layers.0.self_attn.q_proj.bias"),
        ("llama", {"mlp_bias": True}, "mlp.gate_proj.bias"),
        ("qwen3", {}, "q_norm.weight"),
        ("phi3", {"pad_token_id": 0, "eos_token_id": 1}, "qkv_proj.weight"),
        ("llama", {"hidden_act": "gelu"}, "logits would differ by"),
        ("smollm3", {"pad_token_id": 0}, "logits would differ by"),  # layers without rotation
        ("granite", {"logits_scaling": 8.0}, "logits would differ by"),
        ("gemma", {"head_dim": 16, "pad_token_id": 0}, "logits would differ by"),
        ("llama", {"head_dim": 32}, "head_dim (here 32)"),
        ("llama", {"rope_parameters": {**LLAMA3, "original_max_position_embeddings": 64}}, "rope_type llama3"),
        ("cohere", {"pad_token_id": 0}, "rms_norm_eps"),
    ],
)
def test_what_llada_cannot_hold(kind: str, changes: dict[str, Any], words: str) -> None:
    """Tensors without a name there, and models that would compute otherwise there, are named, with what to do."""
    with pytest.raises(SettingsError) as caught:
        check_llada_layout(config_of(kind, **changes), token_ids(), "--model made")
    assert words in str(caught.value)
    assert "export with --export-layout llama" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("option", ["shift", "timestep_embedding"])
def test_what_the_tools_do_not_do_is_refused(option: str) -> None:
    """LLaDA's tools neither shift nor know a timestep; plain transformers leaves that to its user."""
    changes: dict[str, Any] = {option: True}
    with pytest.raises(SettingsError, match=f"--export-layout llada .*--{option.replace('_', '-')}"):
        Settings(data="data", out="out", export_layout="llada", **changes)
    assert Settings(data="data", out="out", export_layout="llama", **changes).export_layout == "llama"


@pytest.mark.parametrize("name", ["clip_qkv", "include_qkv_bias"])
def test_settings_of_llada_that_llama_lacks_are_refused(tmp_path: Path, name: str) -> None:
    """A folder in LLaDA's layout that says more than Llama can compute is refused by the setting."""
    stored = json.loads((export_tiny(tmp_path, layout="llada") / "config.json").read_text("utf-8"))
    assert isinstance(llama_config(stored), LlamaConfig)
    assert llama_config({**stored, "n_kv_heads": None, "multi_query_attention": True}).num_key_value_heads == 1
    with pytest.raises(SettingsError, match=name):
        llama_config({**stored, name: True})


def change_tokenizer(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    path = folder / export.TOKENIZER_CONFIG
    path.write_text(json.dumps(change(json.loads(path.read_text("utf-8")))), "utf-8")


@pytest.mark.parametrize("layout", ["llama", "llada"])
def test_the_tokenizer_is_one_that_transformers_4_reads(tmp_path: Path, layout: str) -> None:
    """The class is the plain fast one and nothing names what version 4 lacks; ids and special tokens are the shards' own."""
    folder = export_tiny(tmp_path, layout=layout)
    stored = json.loads((folder / export.TOKENIZER_CONFIG).read_text("utf-8"))
    assert stored["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert not {"backend", "is_local", "extra_special_tokens"} & set(stored)
    made: Any = AutoTokenizer
    before, after = (made.from_pretrained(place) for place in (tmp_path / "data" / TOKENIZER, folder))
    text = "<|startoftext|>def f(x):\n    return  x  # ä\n<|mdm_mask|>"
    assert after.encode(text) == before.encode(text)
    assert after.decode(after.encode(text)) == before.decode(before.encode(text)) == text
    assert after.all_special_tokens == before.all_special_tokens
    assert after.chat_template == before.chat_template


def test_a_list_of_extra_special_tokens_is_kept(tmp_path: Path) -> None:
    """Extra special tokens, which version 4 cannot read as a list, stay special under the name that both versions know."""
    folder = export_tiny(tmp_path)
    change_tokenizer(
        folder, lambda stored: {**stored, "extra_special_tokens": ["<|eot_id|>"], "tokenizer_class": "Qwen2Tokenizer"}
    )
    export._name_plain_class(folder / export.TOKENIZER_CONFIG)
    stored = json.loads((folder / export.TOKENIZER_CONFIG).read_text("utf-8"))
    assert stored["additional_special_tokens"] == ["<|eot_id|>"]
    made: Any = AutoTokenizer
    assert "<|eot_id|>" in made.from_pretrained(folder).all_special_tokens


@pytest.mark.parametrize("layout", ["llama", "llada"])
def test_exports_of_before_still_evaluate(tmp_path: Path, layout: str) -> None:
    """A folder whose tokenizer has transformers 5's own class, as exports used to have, loads as it did."""
    folder = export_tiny(tmp_path, layout=layout)
    new = load_checkpoint(str(folder))
    change_tokenizer(folder, lambda stored: {**stored, "tokenizer_class": "TokenizersBackend", "backend": "tokenizers"})
    old = load_checkpoint(str(folder))
    assert old.token_ids == new.token_ids
    assert old.tokenizer.encode("def f(x): pass") == new.tokenizer.encode("def f(x): pass")
    expected = new.model.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in old.model.state_dict().items())
    assert load_file(folder / "model.safetensors")
