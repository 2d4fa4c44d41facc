"""Tiny checkpoints for the tests of evaluation: random weights, a byte-level tokenizer of 300 ids, nothing trained."""

import contextlib
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from stored import SETTINGS
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from syntaxdiff.eval.inference.causal import CausalModel
from syntaxdiff.eval.inference.denoising import DenoisingModel
from syntaxdiff.pipeline.manifest import StoredTokenizer
from syntaxdiff.pipeline.shard import TOKENIZER, Manifest, TokenIds
from syntaxdiff.pipeline.tokens.tokenizer import save_tokenizer, train_tokenizer
from syntaxdiff.train.model.denoiser import Denoiser
from syntaxdiff.train.model.export import export, network_weights
from syntaxdiff.train.model.export_info import TrainingInfo

TEXT = "def solve(values):\n    total = 0\n    for value in values:\n        total += value\n    return total\n```python\n"
VOCABULARY = 310  # ten ids more than the tokenizer has, as models have that were padded to a round number


@cache
def tokenizer() -> Any:
    """A byte-level tokenizer whose special tokens are LLaDA's."""
    return train_tokenizer([TEXT] * 4, 300)


def token_ids(**changes: Any) -> TokenIds:
    """Special ids of the tokenizer."""
    ids = {token: tokenizer().convert_tokens_to_ids(token) for token in tokenizer().all_special_tokens}
    eos = ids["<|endoftext|>"]
    header = tokenizer().encode("<|start_header_id|>assistant<|end_header_id|>\n\n", add_special_tokens=False)
    turn_end = tokenizer().convert_tokens_to_ids("<|eot_id|>")
    values: dict[str, Any] = {
        "mask": tokenizer().mask_token_id,
        "pad": eos,
        "eos": eos,
        "bos": tokenizer().bos_token_id,
        "end_of_turn": (turn_end, eos),
        "assistant_header": tuple(header),
    }
    return TokenIds(**values | changes)


def network(*, seed: int = 0, layers: int = 2, **changes: Any) -> Any:
    """A causal model of transformers in float64, with attention sharp enough that positions matter."""
    values: dict[str, Any] = {"num_key_value_heads": 2, "tie_word_embeddings": False, "vocab_size": VOCABULARY, **changes}
    config = LlamaConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=512,
        initializer_range=0.25,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        pad_token_id=None,
        bos_token_id=token_ids().bos,
        eos_token_id=token_ids().eos,
        **values,
    )
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        made: Any = LlamaForCausalLM(config)
        made.lm_head.weight *= 4  # some tokens are likely, some are not
        return made.double().eval().requires_grad_(False)


@cache
def diffusion(
    *, seed: int = 0, shift: bool = False, timestep: bool = False, kv_heads: int = 2, pad: int | None = None
) -> DenoisingModel:
    """A denoiser in float64 that was never on a disk (its folder holds no tokenizer)."""
    denoiser = Denoiser(network(seed=seed, num_key_value_heads=kv_heads), shift=shift, timestep_embedding=timestep)
    if denoiser.timestep is not None:
        nn.init.normal_(denoiser.timestep.weight, generator=torch.Generator().manual_seed(seed))
    return DenoisingModel(
        name="tiny",
        folder=Path("nowhere"),
        model=denoiser.double().eval(),
        tokenizer=tokenizer(),
        token_ids=token_ids() if pad is None else token_ids(pad=pad),
        shift=shift,
        info=None,
    )


@cache
def autoregressive(*, seed: int = 0) -> CausalModel:
    """A causal model in float64."""
    return CausalModel(
        name="causal",
        folder=Path("nowhere"),
        model=network(seed=seed),
        tokenizer=tokenizer(),
        token_ids=token_ids(mask=-1),
        shift=False,
        info=None,
    )


def export_tiny(folder: Path, *, layout: str = "llama", dtype: torch.dtype = torch.float32, **options: bool) -> Path:
    """A folder as the trainer exports it; options are those of model.Denoiser."""
    data = folder / "data"
    data.mkdir(parents=True)
    save_tokenizer(tokenizer(), data / TOKENIZER)
    denoiser = Denoiser(network(), **options).to(dtype)
    if denoiser.timestep is not None:
        nn.init.normal_(denoiser.timestep.weight, generator=torch.Generator().manual_seed(0))
    manifest = Manifest(
        settings=replace(SETTINGS, max_length=64),
        rows_read=0,
        rejected={},
        tokenizer=StoredTokenizer(name="made", vocab_size=300, sha256="0" * 64, engine="hf", byte_level=True),
        token_ids=token_ids(),
        languages={},
        splits={"train": (), "validation": ()},
        samples_with_error=0,
        fingerprint="f" * 64,
    )
    weights = network_weights(denoiser, lambda parameters: contextlib.nullcontext(), keeps=True)
    info = TrainingInfo(step=7, shift=options.get("shift", False))
    export(folder / "out", weights, denoiser.network.config, manifest, data, info, layout)
    return folder / "out"
