"""Which families of transformers can be trained and evaluated: each is tried with a small random model, and a table is printed.

    python benchmarks/families.py            # the table of docs/training.md
    python benchmarks/families.py granite    # some of its rows

A row is a folder as ``save_pretrained`` writes it, loaded as the trainer loads it; its logits are compared with those of the
class itself, loaded by transformers and attending both ways. Families that are refused have their reason instead. Sizes and
weights are invented, configurations otherwise those of transformers: whether a given checkpoint can be used, the trainer finds
out by itself, on its own configuration.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.pipeline.manifest import StoredTokenizer
from syntaxdiff.pipeline.shard import Manifest, TokenIds
from syntaxdiff.pipeline.stored_settings import StoredSettings
from syntaxdiff.train.model import start
from syntaxdiff.train.model.denoiser import Denoiser, Inputs
from syntaxdiff.train.model.small_copy import random_network

LENGTH = 24
TINY = {
    "vocab_size": 200,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
}
GROUPED = {**TINY, "num_key_value_heads": 2}
HEADS = {**GROUPED, "head_dim": 16}
IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def rope(kind: str, **values: Any) -> dict[str, Any]:
    """Scaled positions in a configuration."""
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 10_000.0, **values}}


LONG = rope("longrope", short_factor=[1.0] * 8, long_factor=[2.0] * 8, original_max_position_embeddings=64)
# By name: the model type, and the fields of its configuration. The name of a row says what is special about it.
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", GROUPED),
    "llama, biases": ("llama", {**GROUPED, "attention_bias": True, "mlp_bias": True}),
    "llama, llama3 positions": (
        "llama",
        {
            **GROUPED,
            **rope("llama3", factor=4.0, original_max_position_embeddings=64, low_freq_factor=1.0, high_freq_factor=4.0),
        },
    ),
    "llama, yarn": ("llama", {**GROUPED, **rope("yarn", factor=4.0, original_max_position_embeddings=64)}),
    "llama, dynamic": ("llama", {**GROUPED, **rope("dynamic", factor=4.0)}),
    "qwen2": ("qwen2", GROUPED),
    "qwen2, window of 16": ("qwen2", {**GROUPED, "use_sliding_window": True, "sliding_window": 16, "max_window_layers": 2}),
    "qwen3": ("qwen3", {**GROUPED, "head_dim": 32}),
    "mistral": ("mistral", {**GROUPED, "sliding_window": None}),
    "mistral, window of 16": ("mistral", {**GROUPED, "sliding_window": 16}),
    "olmo2": ("olmo2", GROUPED),
    "phi": ("phi", GROUPED),
    "phi3": ("phi3", {**GROUPED, **IDS}),
    "phi3, longrope from 64": ("phi3", {**GROUPED, **IDS, **LONG, "original_max_position_embeddings": 64}),
    "phi3, longrope from 16": (
        "phi3",
        {
            **GROUPED,
            **IDS,
            **rope("longrope", short_factor=[1.0] * 8, long_factor=[2.0] * 8, original_max_position_embeddings=16),
            "original_max_position_embeddings": 16,
        },
    ),
    "smollm3": ("smollm3", {**GROUPED, **IDS}),
    "starcoder2": ("starcoder2", {**GROUPED, "residual_dropout": 0.0, "embedding_dropout": 0.0, "attention_dropout": 0.0}),
    "starcoder2, dropout": ("starcoder2", {**GROUPED, "residual_dropout": 0.1, "attention_dropout": 0.1}),
    "gemma": ("gemma", HEADS),
    "gemma2": ("gemma2", HEADS),
    "gemma3_text": ("gemma3_text", HEADS),
    "gemma3": ("gemma3", {"text_config": HEADS}),
    "granite": ("granite", {**GROUPED, "logits_scaling": 8.0, "embedding_multiplier": 12.0, "residual_multiplier": 0.22}),
    "cohere": ("cohere", {**GROUPED, **IDS}),
    "cohere2": ("cohere2", {**GROUPED, **IDS}),
    "glm": ("glm", {**HEADS, **IDS}),
    "glm4": ("glm4", {**HEADS, **IDS}),
    "ernie4_5": ("ernie4_5", GROUPED),
    "exaone4": ("exaone4", GROUPED),
    "seed_oss": ("seed_oss", {**GROUPED, "attention_dropout": 0.0, "residual_dropout": 0.0}),
    "helium": ("helium", HEADS),
    "stablelm": ("stablelm", GROUPED),
    "nemotron": ("nemotron", GROUPED),
    "minicpm3": (
        "minicpm3",
        {
            **TINY,
            "num_key_value_heads": 4,
            "kv_lora_rank": 32,
            "q_lora_rank": 32,
            "qk_rope_head_dim": 8,
            "qk_nope_head_dim": 8,
            "v_head_dim": 16,
        },
    ),
    "gpt_oss": ("gpt_oss", {**HEADS, "num_local_experts": 4, "num_experts_per_tok": 2}),
    "lfm2": ("lfm2", {**GROUPED, "layer_types": ["conv", "full_attention", "conv", "full_attention"]}),
    "llama4_text": ("llama4_text", {**HEADS, "num_local_experts": 2}),
    "mixtral": ("mixtral", {**GROUPED, "num_local_experts": 4, "sliding_window": None}),
    "qwen3_moe": ("qwen3_moe", {**GROUPED, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}),
    "deepseek_v3": (
        "deepseek_v3",
        {
            **TINY,
            "num_key_value_heads": 4,
            "n_routed_experts": 16,
            "kv_lora_rank": 32,
            "q_lora_rank": 32,
            "qk_rope_head_dim": 8,
            "qk_nope_head_dim": 16,
            "v_head_dim": 16,
            "n_group": 4,
            "topk_group": 2,
            "num_experts_per_tok": 4,
            "moe_intermediate_size": 32,
        },
    ),
    "gpt2": ("gpt2", {"n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": 200, "bos_token_id": 1, "eos_token_id": 2}),
    "gpt_neox": ("gpt_neox", TINY),
    "falcon": ("falcon", TINY),
    "opt": ("opt", {**TINY, "ffn_dim": 64, "word_embed_proj_dim": 64}),
    "mpt": ("mpt", {"d_model": 64, "n_heads": 4, "n_layers": 2, "vocab_size": 200}),
    "bloom": ("bloom", {"hidden_size": 64, "n_layer": 2, "n_head": 4, "vocab_size": 200}),
    "mamba": ("mamba", {"hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 200}),
    "bert": ("bert", TINY),
    "modernbert": ("modernbert", {**TINY, **IDS, "cls_token_id": 1, "sep_token_id": 2}),
    "t5": ("t5", {"d_model": 64, "num_layers": 2, "num_heads": 4, "vocab_size": 200}),
}


def tiny_manifest() -> Manifest:
    """Of shards whose ids fit all of the models."""
    return Manifest(
        settings=StoredSettings(tokenizer="made", languages=(), max_length=LENGTH, overlength="drop", shard_rows=4096),
        rows_read=0,
        rejected={},
        tokenizer=StoredTokenizer(name="made", vocab_size=200, sha256="0" * 64, engine="hf"),
        token_ids=TokenIds(mask=199, pad=1, eos=2, bos=None, end_of_turn=(2,), assistant_header=(3, 4)),
        languages={},
        splits={"train": (), "validation": ()},
        samples_with_error=0,
        fingerprint="f" * 64,
    )


def write_folder(folder: Path, name: str) -> None:
    """A family's model as ``save_pretrained`` writes it, or its config.json alone where it is no causal model."""
    kind, values = FAMILIES[name]
    config = CONFIG_MAPPING[kind](**values)
    config.save_pretrained(folder)
    try:
        random_network(config).save_pretrained(folder)
    except Exception as error:  # of any kind: encoders, models of several parts
        print(f"{name}: without weights ({type(error).__name__})", file=sys.stderr)


def compare(folder: Path) -> tuple[float, float]:
    """Largest difference between the logits of the denoiser and of the class, and largest logit.

    Raises:
        SettingsError: the model is refused
    """
    manifest = tiny_manifest()
    network = start.load_network(str(folder), start.read_config(str(folder), manifest, LENGTH), manifest, seed=0)
    denoiser = Denoiser(network).eval()
    made: Any = AutoModelForCausalLM
    own = made.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
    ids = torch.randint(3, 200, (2, LENGTH), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = own(input_ids=ids, attention_mask=torch.zeros(2, 1, LENGTH, LENGTH), use_cache=False).logits
        return float((denoiser(Inputs(ids)) - expected).abs().max()), float(expected.abs().max())


def main(names: list[str]) -> None:
    """Prints the table, and its rows as one JSON line."""
    logging: Any = transformers.utils.logging
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    rows: dict[str, Any] = {}
    print("| family | largest difference of a logit (largest logit), or why it is refused |\n|---|---|")
    for name in names or FAMILIES:
        with tempfile.TemporaryDirectory() as folder:
            try:
                write_folder(Path(folder), name)
                difference, largest = compare(Path(folder))
                rows[name] = {"difference": difference, "largest": largest}
                print(f"| {name} | {difference:.0e} ({largest:.2g}) |", flush=True)
            except SettingsError as error:
                rows[name] = {"refused": str(error).replace(folder, "FOLDER")}
                print(f"| {name} | {rows[name]['refused']} |", flush=True)
    print(json.dumps(rows))


if __name__ == "__main__":
    main(sys.argv[1:])
