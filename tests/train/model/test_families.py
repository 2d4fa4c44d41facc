"""Models of many families: each computes what transformers computes, or is refused in one line that names it and says why."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, LlamaModel

from syntaxdiff.eval.inference.checkpoint import open_checkpoint
from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.train.model import agreement, start
from syntaxdiff.train.model.adapters import add_adapters
from syntaxdiff.train.model.agreement import check_agreement, check_causal
from syntaxdiff.train.model.denoiser import Denoiser, Inputs
from syntaxdiff.train.model.small_copy import random_network

ROOT = Path(__file__).resolve().parents[3]
NOT_LLAMA, NO_CAUSAL_MODEL, EXPERTS = "is not built like Llama", "is not a causal language model", "mixtures of experts"
WINDOW = "beyond 16 tokens: give --max-length 16 or less"
REFUSED = {
    "qwen2, window of 16": WINDOW,
    "mistral, window of 16": WINDOW,
    "phi3, longrope from 16": WINDOW,
    "starcoder2, dropout": "set attention_dropout (now 0.1) and residual_dropout (now 0.1) to 0",
    "gemma3": "give its language model only",
    "stablelm": "ignores is_causal",
    "nemotron": "ignores is_causal",
    "minicpm3": "nothing says what model.embed_tokens.embed_scale is",
    "gpt_oss": "logits differ by",
    "lfm2": "does not keep samples apart",
    "llama4_text": "let no token see a later one",
    **dict.fromkeys(("mixtral", "qwen3_moe", "deepseek_v3"), EXPERTS),
    **dict.fromkeys(("gpt2", "gpt_neox", "falcon", "opt", "mpt", "bloom", "mamba", "bert"), NOT_LLAMA),
    **dict.fromkeys(("modernbert", "t5"), NO_CAUSAL_MODEL),
}
QUICK = ("granite", "cohere", "gemma2", "gpt_oss", "bert", "t5", "mistral, window of 16")


@pytest.fixture(scope="module")
def families() -> Iterator[ModuleType]:
    """The script that prints the table, as a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        import families

        yield families


def check_family(families: ModuleType, name: str, folder: Path) -> None:
    families.write_folder(folder, name)
    if name not in REFUSED:
        difference, largest = families.compare(folder)
        assert difference <= 1e-5 * largest
        return
    with pytest.raises(SettingsError) as caught:
        families.compare(folder)
    assert REFUSED[name] in str(caught.value)
    assert families.FAMILIES[name][0] in str(caught.value) or REFUSED[name] in (EXPERTS, REFUSED["minicpm3"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", QUICK)
def test_some_families(families: ModuleType, name: str, tmp_path: Path) -> None:
    """What some of the table's rows say is so: scaled logits, capped scores, sinks, encoders, windows."""
    check_family(families, name, tmp_path)


@pytest.mark.slow
def test_all_families(families: ModuleType, tmp_path: Path) -> None:
    """Every row of the table: works with the logits of transformers, or is refused for the reason that is expected."""
    assert set(REFUSED) < set(families.FAMILIES)
    for name in families.FAMILIES:
        if name not in QUICK:
            check_family(families, name, tmp_path / name)


def test_the_documented_table_is_complete(families: ModuleType) -> None:
    """Every family of the command stands in docs/training.md once, with those that work or with those that are refused."""
    text = (ROOT / "docs" / "training.md").read_text("utf-8")
    table = text.split("| families | outcome |")[1].split("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    found = [(name, outcome) for names, outcome in rows for name in re.findall(r"`([^`]+)`", names)]
    assert sorted(name for name, _ in found) == sorted(families.FAMILIES)
    for name, outcome in found:
        assert outcome.startswith("refused") == (name in REFUSED), name


def llama(**changes: Any) -> LlamaConfig:
    values: dict[str, Any] = {"num_key_value_heads": 2, **changes}
    return LlamaConfig(
        vocab_size=200,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=256,
        **values,
    )


class ScaledInside(LlamaForCausalLM):  # type: ignore[no-untyped-call]
    """Scales what the body gives before the head reads it (MiniCPM), which only comes out of the head changed."""

    def forward(self, *arguments: Any, **options: Any) -> Any:
        done = super().forward(*arguments, **options)
        done.logits = done.logits * 0.1
        return done


class LooksElsewhere(LlamaForCausalLM):  # type: ignore[no-untyped-call]
    """Adds to the logits what depends on the ids, which neither body nor head know."""

    def forward(self, input_ids: Any = None, **options: Any) -> Any:
        done = super().forward(input_ids=input_ids, **options)
        if input_ids is not None:
            done.logits = done.logits + input_ids[..., None] / 64
        return done


class SmallerEmbedding(LlamaModel):  # type: ignore[no-untyped-call]
    """Scales embeddings where it looks ids up, and not those that it is given."""

    def forward(self, input_ids: Any = None, inputs_embeds: Any = None, **options: Any) -> Any:
        if inputs_embeds is None:
            inputs_embeds = self.embed_tokens(input_ids) * 0.5
        return super().forward(inputs_embeds=inputs_embeds, **options)


class OtherBody(LlamaForCausalLM):  # type: ignore[no-untyped-call]
    """Has such a body."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.model = SmallerEmbedding(config)


class Shuffled(LlamaForCausalLM):  # type: ignore[no-untyped-call]
    """Mixes neighbouring tokens, outside of attention."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.model.norm = Neighbours(self.model.norm)


class Neighbours(nn.Module):
    """Each token's state, and half of the state before it."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        normed: torch.Tensor = self.norm(hidden)
        return normed + 0.5 * normed.roll(1, dims=1)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (LlamaForCausalLM, None),
        (ScaledInside, None),
        (LooksElsewhere, "logits differ by"),
        (OtherBody, "logits differ by"),
        (Shuffled, "does not keep samples apart"),
    ],
)
def test_classes_that_nobody_wrote(monkeypatch: pytest.MonkeyPatch, made: Any, words: str | None) -> None:
    """What a class does to its logits is applied; what it does where a denoiser does not go refuses it, by its figure."""

    def network_of(config: Any) -> Any:
        network = random_network(config)
        other = made(network.config)
        other.load_state_dict(network.state_dict(), strict=False)
        return other.eval().requires_grad_(False)

    monkeypatch.setattr(agreement, "random_network", network_of)
    if words is None:
        found = check_agreement(llama(), "--model made")
        assert 0 <= found.difference < 1e-5 * found.largest
    else:
        with pytest.raises(SettingsError, match=f"--model made: llama .*{words}"):
            check_agreement(llama(), "--model made")


def test_losses_are_those_of_scaled_logits() -> None:
    """The chunked cross entropy of a model that scales its logits is that of the scaled ones, and so are its gradients."""
    config = CONFIG_MAPPING["cohere"](**llama(logit_scale=0.3).to_dict() | {"model_type": "cohere", "pad_token_id": 0})
    denoiser = Denoiser(random_network(config)).requires_grad_(True)
    ids, target = (torch.randint(200, (2, 9), generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    losses = denoiser(Inputs(ids), target, torch.ones(2, 9))
    logits = denoiser(Inputs(ids))
    assert denoiser.network.lm_head.finish is not None
    torch.testing.assert_close(
        losses.loss, nn.functional.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="sum")
    )
    plain = nn.functional.linear(denoiser.hidden(Inputs(ids)), denoiser.network.lm_head.weight)
    torch.testing.assert_close(logits, plain * config.logit_scale)


def test_the_configuration_is_left_alone() -> None:
    """Checking changes neither the configuration nor torch's random state."""
    config = llama()
    before, state = config.to_dict(), torch.get_rng_state()
    check_agreement(config, "--model made", max_length=64, trains=True)
    assert config.to_dict() == before
    assert torch.equal(torch.get_rng_state(), state)


def test_where_a_window_ends_is_found() -> None:
    """The longest sequence without a window's edge is the window's size, and eval takes none that is longer."""
    windowed = CONFIG_MAPPING["mistral"](**llama().to_dict() | {"model_type": "mistral", "sliding_window": 100})
    assert check_agreement(windowed, "x").positions == 100
    assert check_agreement(windowed, "x", max_length=100).positions is None
    with pytest.raises(SettingsError, match="beyond 100 tokens"):
        check_agreement(windowed, "x", max_length=101)


def test_encoders_are_no_baselines_from_left_to_right() -> None:
    """A model that sees later tokens is refused as a baseline; causal ones pass, whatever they are built like."""
    sizes: dict[str, Any] = {
        "vocab_size": 200,
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 96,
    }
    with pytest.raises(SettingsError, match=r"--ckpt made: bert sees later tokens"):
        check_causal(CONFIG_MAPPING["bert"](**sizes), "--ckpt made")
    for kind in ("llama", "gpt_neox", "mamba"):
        check_causal(CONFIG_MAPPING[kind](**sizes), "--ckpt made")


@pytest.mark.parametrize(("kind", "ids"), [("llama", {}), ("phi3", {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2})])
def test_adapters_reach_every_projection(kind: str, ids: dict[str, int]) -> None:
    """Every linear map of every block is adapted, by whatever name its class has for it."""
    denoiser = Denoiser(random_network(CONFIG_MAPPING[kind](**llama(**ids).to_dict() | {"model_type": kind})))
    layers = denoiser.network.model.layers
    names = {name for name, module in layers.named_modules() if isinstance(module, nn.Linear)}
    add_adapters(denoiser, 2, 1.0)
    assert names == {name.removesuffix(".base_layer") for name, _ in layers.named_modules() if name.endswith(".base_layer")}
    assert {name for name, tensor in denoiser.named_parameters() if tensor.requires_grad} == {
        name for name, _ in denoiser.named_parameters() if ".lora_" in name
    }


def test_a_rotation_moved_while_generating_still_trains() -> None:
    """Frequencies that change with the length (longrope) can be changed in training after a generation read them."""
    factors = {"short_factor": [1.0] * 8, "long_factor": [2.0] * 8, "original_max_position_embeddings": 16}
    config = llama(rope_parameters={"rope_type": "longrope", "rope_theta": 1e4, **factors})
    denoiser = Denoiser(random_network(config))
    denoiser.network.model.rotary_emb._device = None  # as if the model had been moved
    with torch.inference_mode():
        short = denoiser(Inputs(torch.zeros(1, 4, dtype=torch.int64))).clone()
        denoiser(Inputs(torch.zeros(1, 20, dtype=torch.int64)))
    assert torch.equal(denoiser(Inputs(torch.zeros(1, 4, dtype=torch.int64))), short)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"quantization_config": {"quant_method": "gptq"}}, "quantised (gptq)"),
        (
            {"model_type": "Dream", "auto_map": {"AutoModel": "modeling_dream.DreamModel"}},
            "'Dream', which transformers does not",
        ),
        ({"model_type": None}, "model type None"),
        (
            {"architectures": ["OwnForCausalLM"], "auto_map": {"AutoModelForCausalLM": "own.OwnForCausalLM"}},
            "class OwnForCausalLM",
        ),
        ({"num_hidden_layers": "many"}, "config.json cannot be read as a llama model's"),
        ({"num_attention_heads": 7}, "llama"),
    ],
)
def test_configurations_that_cannot_be_are_one_line(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    """Quantised weights, types and code of others, and fields of no sense are named, by train and by eval."""
    config = json.loads(llama().to_json_string(use_diff=False)) | {"model_type": "llama", **changes}
    (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
    with pytest.raises(SettingsError) as trained:
        check_agreement(start.folder_config(tmp_path), f"--model {tmp_path}")
    with pytest.raises(SettingsError) as evaluated:
        open_checkpoint(str(tmp_path), kind="diffusion")
    for caught in (trained, evaluated):
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)


def test_buffers_that_no_file_holds_are_computed(tmp_path: Path) -> None:
    """A network loaded without transformers' loader has the buffers of one that was loaded with it, bit by bit."""
    config = CONFIG_MAPPING["gemma3_text"](**llama(head_dim=16).to_dict() | {"model_type": "gemma3_text"})
    random_network(config).save_pretrained(tmp_path)
    made: Any = AutoModelForCausalLM
    expected = dict(made.from_pretrained(tmp_path).named_buffers())
    network = start.folder_network(tmp_path, start.folder_config(tmp_path), "--model x")
    found = {name: tensor for name, tensor in network.named_buffers() if "rotary" not in name}
    assert found
    for name, tensor in found.items():
        assert torch.equal(tensor, expected[name])
