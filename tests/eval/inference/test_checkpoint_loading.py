"""Checkpoints of every make are loaded as what they are, or refused in one line."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from answers import generate
from tiny_checkpoint import autoregressive, diffusion, export_tiny, network, token_ids, tokenizer
from torch import nn
from transformers import LlamaForCausalLM

from syntaxdiff.eval.inference.checkpoint import load_checkpoint
from syntaxdiff.eval.inference.config import GenerationConfig
from syntaxdiff.eval.inference.description import NO_MASK
from syntaxdiff.pipeline.errors import SyntaxdiffError, TokenizerError
from syntaxdiff.train.model.denoiser import Denoiser, Inputs

IDS = torch.tensor([[7, 9, 30, token_ids().mask, 12, 101]])
SHORT = GenerationConfig(gen_length=6, block_length=3)


@pytest.fixture
def causal(tmp_path: Path) -> Path:
    """A causal model as save_pretrained leaves it."""
    folder = tmp_path / "causal"
    autoregressive().model.float().save_pretrained(folder)
    autoregressive().model.double()
    tokenizer().save_pretrained(folder)
    return folder


def change_json(path: Path, **changes: Any) -> None:
    stored = json.loads(path.read_text("utf-8")) | changes
    path.write_text(json.dumps({name: value for name, value in stored.items() if value is not None}), "utf-8")


@pytest.mark.parametrize("layout", ["llama", "llada"])
@pytest.mark.parametrize("options", [{}, {"shift": True}, {"timestep_embedding": True}], ids=str)
def test_exports_are_loaded_as_they_were_trained(tmp_path: Path, layout: str, options: dict[str, Any]) -> None:
    """Weights, ids, shift and timestep embedding of an export come back in either layout: the same logits, and it generates."""
    folder = export_tiny(tmp_path, layout=layout, **options)
    checkpoint = load_checkpoint(str(folder))
    assert checkpoint.info is not None
    assert (checkpoint.kind, checkpoint.token_ids, checkpoint.info.step) == ("diffusion", token_ids(), 7)
    assert checkpoint.shift == checkpoint.model.shift == options.get("shift", False)
    expected = Denoiser(network(), **options)
    if expected.timestep is not None:
        nn.init.normal_(expected.timestep.weight, generator=torch.Generator().manual_seed(0))
    inputs = Inputs(IDS, rate_BL=torch.tensor([[0.3]]))
    assert torch.equal(checkpoint.model(inputs), expected.float()(inputs))
    assert not any(parameter.requires_grad for parameter in checkpoint.model.parameters())
    assert not checkpoint.model.training
    (answer,) = generate(checkpoint, [[7, 9]], SHORT)
    assert len(answer.token_ids) == 6


@pytest.mark.parametrize("dtype", ["auto", "float32", "float64", "bfloat16"])
def test_dtype(tmp_path: Path, dtype: str) -> None:
    """Weights have the type that is asked for; `auto` is the stored one."""
    checkpoint = load_checkpoint(str(export_tiny(tmp_path, dtype=torch.bfloat16, timestep_embedding=True)), dtype=dtype)
    wanted = torch.bfloat16 if dtype == "auto" else getattr(torch, dtype)
    assert {parameter.dtype for parameter in checkpoint.model.parameters()} == {wanted}
    generate(checkpoint, [[7]], SHORT)


def test_official_llada_files(tmp_path: Path) -> None:
    """LLaDA's layout without syntaxdiff.json: ids come from the tokenizer and its chat template; no code of the folder runs."""
    folder = export_tiny(tmp_path, layout="llada")
    (folder / "syntaxdiff.json").unlink()
    (folder / "modeling_llada.py").write_text("raise SystemExit('remote code ran')", "utf-8")
    (folder / "configuration_llada.py").write_text("raise SystemExit('remote code ran')", "utf-8")
    checkpoint = load_checkpoint(str(folder))
    assert (checkpoint.kind, checkpoint.shift, checkpoint.info) == ("diffusion", False, None)
    assert checkpoint.token_ids == token_ids()
    assert torch.equal(checkpoint.model(Inputs(IDS)), diffusion_in_float32()(Inputs(IDS)))


def diffusion_in_float32() -> Denoiser:
    return Denoiser(network()).float()


def test_a_causal_model_is_a_baseline(causal: Path) -> None:
    """Any causal model of transformers loads as autoregressive, causal as it is, with the ends of its chat template."""
    checkpoint = load_checkpoint(str(causal))
    assert checkpoint.kind == "autoregressive"
    assert type(checkpoint.model) is LlamaForCausalLM
    assert checkpoint.token_ids == dataclasses.replace(token_ids(), mask=NO_MASK)
    with torch.no_grad():
        logits = checkpoint.model(input_ids=IDS).logits
        other = checkpoint.model(input_ids=IDS.index_fill(1, torch.tensor(5), 8)).logits
    assert torch.equal(logits[0, :5], other[0, :5])
    (answer,) = generate(checkpoint, [[7, 9]], SHORT)
    (expected,) = generate(autoregressive(), [[7, 9]], SHORT)
    assert answer.token_ids == expected.token_ids


def test_a_plain_model_can_be_called_a_denoiser(causal: Path) -> None:
    """With `kind` or a mask token said, a folder without syntaxdiff.json is a denoiser that attends both ways."""
    for asked in ({"kind": "diffusion"}, {"mask_token": "<|mdm_mask|>"}):
        checkpoint = load_checkpoint(str(causal), **asked)
        assert (checkpoint.kind, checkpoint.token_ids.mask) == ("diffusion", token_ids().mask)
        assert torch.equal(checkpoint.model(Inputs(IDS)), diffusion_in_float32()(Inputs(IDS)))


def refusal(folder: Path, **options: Any) -> SyntaxdiffError:
    with pytest.raises(SyntaxdiffError) as caught:
        load_checkpoint(str(folder), **options)
    assert "\n" not in str(caught.value)
    return caught.value


def test_folders_that_are_no_model_are_refused(tmp_path: Path, causal: Path) -> None:
    """Nothing there, no config, no model type, and an unknown one: each says what to give."""
    assert "no such folder" in str(refusal(tmp_path / "nowhere"))
    assert "--model" not in str(refusal(tmp_path / "nowhere"))
    assert "holds no config.json" in str(refusal(tmp_path))
    (tmp_path / "config.json").write_text("{}", "utf-8")
    assert "holds neither syntaxdiff.json nor" in str(refusal(tmp_path))
    (tmp_path / "config.json").write_text("{broken", "utf-8")
    assert "cannot be read" in str(refusal(tmp_path))
    change_json(causal / "config.json", model_type="nothing-known", architectures=None)
    assert "does not load it as a causal one" in str(refusal(causal))


def test_an_export_without_its_ids_and_shift_is_not_guessed_at(tmp_path: Path) -> None:
    """Without syntaxdiff.json an export would be read as unshifted: it is refused unless asked for; a torn one is named."""
    folder = export_tiny(tmp_path, shift=True)
    (folder / "syntaxdiff.json").rename(folder / "away")
    assert "no syntaxdiff.json, which holds ids and shift" in str(refusal(folder))
    assert load_checkpoint(str(folder), kind="diffusion").token_ids == token_ids()
    (folder / "syntaxdiff.json").write_text("{", "utf-8")
    assert "syntaxdiff.json cannot be read" in str(refusal(folder))


def test_tokenizers_without_what_is_needed_are_refused(tmp_path: Path, causal: Path) -> None:
    """No tokenizer, no mask token, and a mask token outside of the vocabulary."""
    assert isinstance(refusal(causal, mask_token="<|none|>"), TokenizerError)
    assert "lacks the mask token <|none|>: name it with --mask-token" in str(refusal(causal, mask_token="<|none|>"))
    folder = export_tiny(tmp_path)
    stored = json.loads((folder / "syntaxdiff.json").read_text("utf-8"))
    change_json(folder / "syntaxdiff.json", token_ids=stored["token_ids"] | {"mask": 305})
    assert "lacks the mask token 305" in str(refusal(folder))
    change_json(folder / "syntaxdiff.json", token_ids={"mask": 2})
    assert "token_ids.pad is missing" in str(refusal(folder))
    change_json(folder / "syntaxdiff.json", token_ids=stored["token_ids"])
    (folder / "tokenizer.json").unlink()
    assert "holds no fast tokenizer" in str(refusal(folder))


def test_damaged_weights_are_refused(tmp_path: Path, causal: Path) -> None:
    """Cut files and missing tensors, of denoisers and causal models."""
    folder = export_tiny(tmp_path)
    change_json(folder / "config.json", num_hidden_layers=3)
    assert "lacks model.layers.2" in str(refusal(folder))
    for weights in (folder / "model.safetensors", causal / "model.safetensors"):
        weights.write_bytes(weights.read_bytes()[:5000])
    assert "is damaged" in str(refusal(folder))
    assert "does not load it as a causal one" in str(refusal(causal))


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_options_that_cannot_be_are_refused(tmp_path: Path, causal: Path) -> None:
    """Unknown kinds and types, a GPU that is not there, and a denoiser asked to go from left to right."""
    folder = export_tiny(tmp_path)
    assert "choose from auto, float32" in str(refusal(folder, dtype="int8"))
    assert "choose from auto, diffusion, autoregressive" in str(refusal(folder, kind="gan"))
    assert "sees no GPU" in str(refusal(folder, device="cuda"))
    assert "choose auto, cpu" in str(refusal(folder, device="abacus"))
    assert "leave --kind out" in str(refusal(folder, kind="autoregressive"))
    assert load_checkpoint(str(causal), kind="autoregressive", device="cpu").device.type == "cpu"


def test_the_longest_sequence_is_the_models(tmp_path: Path, causal: Path) -> None:
    """The number of positions comes from the model's configuration."""
    assert load_checkpoint(str(export_tiny(tmp_path))).max_positions == load_checkpoint(str(causal)).max_positions == 512
    assert diffusion().max_positions == 512
