"""Starting points and exported models: what is read is what is computed with, and what is written is read back bit by bit."""

import contextlib
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from stored import SETTINGS
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.pipeline.manifest import StoredTokenizer
from syntaxdiff.pipeline.shard import Manifest, ShardFile, TokenIds
from syntaxdiff.train.model import export, llada_layout, start
from syntaxdiff.train.model.denoiser import Denoiser, Inputs
from syntaxdiff.train.model.export_info import TrainingInfo

VOCABULARY, WIDTH, INNER, HEADS, LAYERS = 37, 32, 48, 4, 3
LLADA_CONFIG: dict[str, Any] = {
    "architectures": ["LLaDAModelLM"],
    "model_type": "llada",
    "activation_type": "silu",
    "alibi": False,
    "attention_layer_norm": False,
    "block_type": "llama",
    "d_model": WIDTH,
    "embedding_size": VOCABULARY,
    "include_bias": False,
    "include_qkv_bias": False,
    "input_emb_norm": False,
    "layer_norm_type": "rms",
    "max_sequence_length": 64,
    "mlp_hidden_size": INNER,
    "n_heads": HEADS,
    "n_kv_heads": HEADS,
    "n_layers": LAYERS,
    "rms_norm_eps": 1e-5,
    "rope": True,
    "rope_theta": 500000.0,
    "scale_logits": False,
    "vocab_size": VOCABULARY - 2,
    "weight_tying": False,
}
LAYOUTS = ("llama", "llada")


def manifest_of(vocabulary: int = VOCABULARY) -> Manifest:
    """A manifest of shards whose mask token is the last id."""
    return Manifest(
        settings=replace(SETTINGS, max_length=32),
        rows_read=0,
        rejected={},
        tokenizer=StoredTokenizer(name="made", vocab_size=vocabulary, sha256="0" * 64, engine="hf"),
        token_ids=TokenIds(mask=vocabulary - 1, pad=1, eos=2, bos=None, end_of_turn=(2,), assistant_header=(3, 4)),
        languages={},
        splits={"train": (), "validation": ()},
        samples_with_error=0,
        fingerprint="f" * 64,
    )


def llada_weights(seed: int = 0) -> dict[str, Tensor]:
    """Random weights by LLaDA's official names, large enough that every one of them matters."""
    generator = torch.Generator().manual_seed(seed)
    square, inner = (WIDTH, WIDTH), (INNER, WIDTH)
    shapes: dict[str, tuple[int, ...]] = {
        "wte": (VOCABULARY, WIDTH),
        "ln_f": (WIDTH,),
        "ff_out": (VOCABULARY, WIDTH),
    }
    for layer in range(LAYERS):
        shapes |= {f"blocks.{layer}.{name}": (WIDTH,) for name in ("attn_norm", "ff_norm")}
        shapes |= {f"blocks.{layer}.{name}": square for name in ("q_proj", "k_proj", "v_proj", "attn_out")}
        shapes |= {f"blocks.{layer}.{name}": inner for name in ("ff_proj", "up_proj")}
        shapes[f"blocks.{layer}.ff_out"] = (WIDTH, INNER)
    return {
        f"model.transformer.{name}.weight": torch.randn(shape, generator=generator) * (0.3 if len(shape) == 2 else 0.1)
        + (len(shape) == 1)
        for name, shape in shapes.items()
    }


def write_model(folder: Path, tensors: dict[str, Tensor], config: dict[str, Any]) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    return str(folder)


def write_llada(folder: Path, **changes: Any) -> str:
    return write_model(folder, llada_weights(), LLADA_CONFIG | changes)


def load(model: str, manifest: Manifest | None = None, max_length: int = 32) -> Any:
    manifest = manifest or manifest_of()
    return start.load_network(model, start.read_config(model, manifest, max_length), manifest, seed=0)


def literal_logits(weights: dict[str, Tensor], ids: Tensor) -> Tensor:
    """LLaDA as its paper and code describe it, for one sequence of ids, in float32."""

    def weight(name: str) -> Tensor:
        return weights[f"model.transformer.{name}.weight"]

    def norm(value: Tensor, name: str) -> Tensor:
        return value / torch.sqrt((value * value).mean(-1, keepdim=True) + 1e-5) * weight(name)

    def rotated(value: Tensor) -> Tensor:
        half = value.shape[-1] // 2
        out = torch.empty_like(value)
        for position in range(value.shape[0]):
            for pair in range(half):
                angle = position / 500000.0 ** (2 * pair / value.shape[-1])
                first, second = value[position, pair], value[position, pair + half]
                out[position, pair] = first * math.cos(angle) - second * math.sin(angle)
                out[position, pair + half] = second * math.cos(angle) + first * math.sin(angle)
        return out

    hidden, width = weight("wte")[ids], WIDTH // HEADS
    for layer in range(LAYERS):
        block = f"blocks.{layer}."
        normed = norm(hidden, block + "attn_norm")
        query, key, value = (normed @ weight(block + name).T for name in ("q_proj", "k_proj", "v_proj"))
        heads = []
        for head in range(HEADS):
            part = slice(head * width, (head + 1) * width)
            scores = rotated(query[:, part]) @ rotated(key[:, part]).T / math.sqrt(width)
            heads.append(scores.softmax(-1) @ value[:, part])
        hidden = hidden + torch.cat(heads, dim=-1) @ weight(block + "attn_out").T
        normed = norm(hidden, block + "ff_norm")
        gate = functional.silu(normed @ weight(block + "ff_proj").T)
        hidden = hidden + (gate * (normed @ weight(block + "up_proj").T)) @ weight(block + "ff_out").T
    return norm(hidden, "ln_f") @ weight("ff_out").T


def some_ids(*shape: int) -> Tensor:
    return torch.randint(VOCABULARY, shape, generator=torch.Generator().manual_seed(0))


def weights_of(denoiser: nn.Module, **options: Any) -> dict[str, Tensor]:
    return export.network_weights(denoiser, lambda parameters: contextlib.nullcontext(), keeps=True, **options)


def exported(folder: Path, denoiser: Denoiser, layout: str, *, manifest: Manifest | None = None, **options: Any) -> str:
    """A denoiser, exported next to made shards."""
    tokenizer = folder / "data" / "tokenizer"
    tokenizer.mkdir(parents=True, exist_ok=True)
    (tokenizer / "tokenizer.json").write_text('{"made": true}', "utf-8")
    weights, info = weights_of(denoiser, **options), TrainingInfo(step=7)
    export.export(folder / "out", weights, denoiser.network.config, manifest or manifest_of(), folder / "data", info, layout)
    return str(folder / "out")


def small_network(*, seed: int = 0, **changes: Any) -> Any:
    values: dict[str, Any] = {"num_key_value_heads": 2, "tie_word_embeddings": False, **changes}
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=INNER,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        max_position_embeddings=64,
        initializer_range=0.2,
        rope_parameters={"rope_type": "default", "rope_theta": 20000.0},
        **values,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made: Any = LlamaForCausalLM(config)
        return made.eval()


def bit_equal(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    return set(ours) == set(theirs) and all(
        ours[name].dtype == theirs[name].dtype and torch.equal(ours[name], theirs[name]) for name in ours
    )


def test_llada_gives_the_logits_of_the_literal_model(tmp_path: Path) -> None:
    """LLaDA's official files, loaded as Llama, compute what LLaDA is defined to compute."""
    denoiser = Denoiser(load(write_llada(tmp_path))).eval()
    ids = some_ids(2, 21)
    with torch.no_grad():
        logits = denoiser(Inputs(ids))
    assert logits.dtype == torch.float32
    for row in range(2):
        expected = literal_logits(llada_weights(), ids[row])
        torch.testing.assert_close(logits[row], expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_the_literal_model_tells_gate_from_up_and_one_norm_from_the_other() -> None:
    """The comparison would notice swapped tensors: exchanging any two of one shape changes the literal logits."""
    weights, ids = llada_weights(), some_ids(9)
    expected = literal_logits(weights, ids)
    for tensor, other in (("ff_proj", "up_proj"), ("attn_norm", "ff_norm"), ("q_proj", "k_proj"), ("v_proj", "attn_out")):
        names = [f"model.transformer.blocks.1.{name}.weight" for name in (tensor, other)]
        swapped = literal_logits(weights | {names[0]: weights[names[1]], names[1]: weights[names[0]]}, ids)
        assert (swapped - expected).abs().max() > 1e-2 * expected.abs().max()


def test_llada_names_are_a_bijection() -> None:
    """Every official name has a name of Llama's own, and comes back from it."""
    names = list(llada_weights())
    back = {llada_layout.llama_name(name): name for name in names}
    assert len(back) == len(names)
    assert set(back) == set(LlamaForCausalLM(llada_layout.llama_config(LLADA_CONFIG)).state_dict())
    assert all(llada_layout.llada_name(llama) == name for llama, name in back.items())
    assert llada_layout.renamed(back, "llada") == back
    assert llada_layout.renamed(back, "llama") == {name: name for name in back}


@pytest.mark.parametrize(
    "name", ["model.transformer.blocks.0.att_proj.weight", "model.transformer.wpe.weight", "timestep.weight"]
)
def test_unknown_llada_names_are_refused(name: str) -> None:
    """A tensor that LLaDA does not have is named in the error."""
    with pytest.raises(SettingsError, match="LLaDA has no tensor"):
        llada_layout.llama_name(name)


@pytest.mark.parametrize("name", ["model.layers.0.self_attn.q_proj.bias", "model.layers.0.self_attn.q_norm.weight"])
def test_names_without_a_place_in_llada_say_what_to_do(name: str) -> None:
    """Biases and query norms cannot be exported as LLaDA; the message names the layout that can."""
    with pytest.raises(SettingsError, match="--export-layout llama"):
        llada_layout.llada_name(name)


def test_llada_config_round_trip() -> None:
    """A Llama configuration of LLaDA's, written as LLaDA's, is read as the same one."""
    config = llada_layout.llama_config(LLADA_CONFIG)
    stored = llada_layout.llada_config(config, mask_id=36, eos_id=2, pad_id=1)
    assert json.loads(json.dumps(stored)) == stored
    assert {name: stored[name] for name in LLADA_CONFIG if name != "vocab_size"} == {
        name: value for name, value in LLADA_CONFIG.items() if name != "vocab_size"
    }
    assert llada_layout.llama_config(stored).to_dict() == config.to_dict()
    assert config.is_causal is False


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"block_type": "sequential"}, "block_type 'sequential'"),
        ({"alibi": True}, "alibi"),
        ({"rope": False}, "rope"),
        ({"include_qkv_bias": True}, "include_qkv_bias"),
        ({"scale_logits": True}, "scale_logits"),
    ],
)
def test_a_llada_that_is_no_llama_is_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    """A setting of LLaDA's that Llama cannot express is an error that names it."""
    with pytest.raises(SettingsError, match=words):
        load(write_llada(tmp_path, **change))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
def test_exported_weights_load_back_bit_equal(tmp_path: Path, layout: str, dtype: torch.dtype, tied: bool) -> None:
    """What was exported in a layout is loaded again as the same tensors, and computes the same logits."""
    denoiser = Denoiser(small_network(tie_word_embeddings=tied)).to(dtype).eval()
    before = weights_of(denoiser)
    model = exported(tmp_path, denoiser, layout)
    again = Denoiser(load(model)).eval()
    assert bit_equal(weights_of(again), before)
    assert again.network.config.tie_word_embeddings == tied
    ids = some_ids(2, 12)
    assert torch.equal(again(Inputs(ids)), denoiser(Inputs(ids)))
    stored = json.loads((Path(model) / "config.json").read_text("utf-8"))
    assert stored["model_type"] == layout
    assert stored["mask_token_id"] == VOCABULARY - 1


def test_official_llada_files_survive_a_round_trip(tmp_path: Path) -> None:
    """LLaDA's files, loaded and exported as LLaDA, are the same tensors under the same names."""
    model = exported(tmp_path, Denoiser(load(write_llada(tmp_path / "llada"))), "llada")
    assert bit_equal(load_file(Path(model) / "model.safetensors"), llada_weights())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
def test_transformers_reads_the_llama_layout(tmp_path: Path, dtype: torch.dtype, tied: bool) -> None:
    """AutoModelForCausalLM loads the same bits in the same dtype, and attends both ways there too."""
    denoiser = Denoiser(small_network(tie_word_embeddings=tied)).to(dtype).eval()
    model = exported(tmp_path, denoiser, "llama")
    made: Any = AutoModelForCausalLM
    plain = made.from_pretrained(model)
    assert type(plain) is LlamaForCausalLM
    assert plain.config.is_causal is False
    assert plain.dtype == dtype
    assert bit_equal(dict(plain.named_parameters()), weights_of(denoiser))
    ids = some_ids(1, 10)
    other = ids.clone()
    other[0, -1] = (ids[0, -1] + 1) % VOCABULARY
    with torch.no_grad():
        first, changed = plain(input_ids=ids).logits, plain(input_ids=other).logits
        assert (first[0, 0] - changed[0, 0]).abs().max() > 1e-3
        if dtype == torch.float32:
            torch.testing.assert_close(first, denoiser(Inputs(ids)), rtol=1e-4, atol=1e-4)


def test_large_models_are_split_into_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several files hold the same tensors, with transformers' index; a later export in one file leaves none of them behind."""
    denoiser = Denoiser(small_network()).eval()
    before = weights_of(denoiser)
    with monkeypatch.context() as patched:
        patched.setattr(export, "MAX_FILE_BYTES", 10_000)
        folder = Path(exported(tmp_path, denoiser, "llama"))
    files = sorted(folder.glob("model-*.safetensors"))
    assert len(files) > 2
    index = json.loads((folder / "model.safetensors.index.json").read_text("utf-8"))
    assert set(index["weight_map"]) == set(before)
    for name, file in index["weight_map"].items():
        with safe_open(folder / file, framework="pt") as opened:
            assert torch.equal(opened.get_tensor(name), before[name])
    made: Any = AutoModelForCausalLM
    assert bit_equal(dict(made.from_pretrained(folder).named_parameters()), before)
    assert bit_equal(weights_of(Denoiser(load(str(folder)))), before)
    exported(tmp_path, denoiser, "llama")
    assert [path.name for path in folder.glob("model*")] == ["model.safetensors"]
    assert bit_equal(weights_of(Denoiser(load(str(folder)))), before)


def test_info_and_tokenizer_travel_along(tmp_path: Path) -> None:
    """The folder tells ids, data, layout and what the caller adds, and holds the shards' tokenizer."""
    folder = Path(exported(tmp_path, Denoiser(small_network()), "llada"))
    info = export.read_info(folder)
    assert info.token_ids == manifest_of().token_ids
    assert info.tokenizer == manifest_of().tokenizer
    assert (info.step, info.shift, info.layout) == (7, False, "llada")
    assert info.data_fingerprint == "f" * 64
    assert (folder / "tokenizer.json").read_text("utf-8") == '{"made": true}'
    with pytest.raises(SettingsError, match=r"syntaxdiff\.json"):
        export.read_info(tmp_path)


def test_the_share_of_programs_alone_travels_along(tmp_path: Path) -> None:
    """The folder tells which share of all samples were programs alone; nothing where the shards do not say."""
    shards = [ShardFile(file="", rows=rows, tokens=0, bytes=0, sha256="") for rows in (3, 2, 5)]
    splits = {"train": tuple(shards[:2]), "validation": (shards[2],)}
    manifest = replace(manifest_of(), splits=splits, programs_alone=6)
    folder = exported(tmp_path, Denoiser(small_network()), "llama", manifest=manifest)
    assert export.read_info(Path(folder)).programs_alone == 0.6
    folder = exported(tmp_path, Denoiser(small_network()), "llama")
    assert "programs_alone" not in json.loads((Path(folder) / export.INFO).read_text())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_timestep_embedding_travels_apart(tmp_path: Path, layout: str) -> None:
    """A timestep embedding is exported in a file of its own and comes back bit by bit."""
    denoiser = Denoiser(small_network(), timestep_embedding=True)
    assert denoiser.timestep is not None
    nn.init.normal_(denoiser.timestep.weight)
    folder = Path(exported(tmp_path, denoiser, layout))
    assert "timestep.weight" not in load_file(folder / "model.safetensors")
    fresh = nn.Embedding(*denoiser.timestep.weight.shape)
    export.load_timestep(folder, fresh)
    assert torch.equal(fresh.weight, denoiser.timestep.weight)
    before = fresh.weight.clone()
    export.load_timestep(tmp_path, fresh)  # has none: left as it is
    assert torch.equal(fresh.weight, before)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_model_with_timestep_embedding_is_a_start(tmp_path: Path, layout: str) -> None:
    """`--init-from` an exported model that has a timestep embedding loads its network."""
    denoiser = Denoiser(small_network(), timestep_embedding=True)
    network = load(exported(tmp_path, denoiser, layout))
    expected = {name: tensor for name, tensor in weights_of(denoiser).items() if not name.startswith("timestep.")}
    assert bit_equal(dict(network.named_parameters()), expected)


def test_other_ranks_keep_nothing() -> None:
    """A rank that keeps nothing gathers every parameter with the others, and returns none."""
    gathered: list[int] = []

    def gather(parameters: list[nn.Parameter]) -> contextlib.AbstractContextManager[None]:
        gathered.extend(map(id, parameters))
        return contextlib.nullcontext()

    denoiser = Denoiser(small_network(tie_word_embeddings=True))
    assert export.network_weights(denoiser, gather, keeps=False) == {}
    assert gathered == [id(parameter) for parameter in denoiser.parameters()]


# DeepSpeed and what it imports warn of their own deprecations when they are imported first; none of it is this project's.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("scale", [1.0, 0.5, 4.0])
def test_adapters_are_merged(tmp_path: Path, scale: float) -> None:
    """The exported weights of a model with adapters give the adapted model's logits, under the network's plain names."""
    from syntaxdiff.train.model.adapters import add_adapters, num_adapter_parameters

    plain = Denoiser(small_network()).eval()
    denoiser = Denoiser(small_network()).eval()
    add_adapters(denoiser, 4, scale)
    adapters = {name: tensor for name, tensor in denoiser.named_parameters() if tensor.requires_grad}
    assert len(adapters) == LAYERS * 7 * 2
    assert sum(tensor.numel() for tensor in adapters.values()) == num_adapter_parameters(denoiser.network.config, 4)
    ids = some_ids(2, 11)
    with torch.no_grad():
        assert torch.equal(denoiser(Inputs(ids)), plain(Inputs(ids)))  # lora_B starts as zeros
        for name, tensor in adapters.items():
            if "lora_B" in name:
                nn.init.normal_(tensor, std=0.1)
        adapted = denoiser(Inputs(ids))
        assert (adapted - plain(Inputs(ids))).abs().max() > 1e-2
        weights = weights_of(denoiser, lora_scale=scale)
        assert {name: tensor.shape for name, tensor in weights.items()} == {
            name: tensor.shape for name, tensor in weights_of(plain).items()
        }
        again = Denoiser(load(exported(tmp_path, denoiser, "llada", lora_scale=scale))).eval()
        torch.testing.assert_close(again(Inputs(ids)), adapted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
def test_new_ids_start_as_means(tmp_path: Path, tied: bool) -> None:
    """Shards with a few more ids get rows that are the mean of the known ones; the known ones stay, and so do their logits."""
    network = small_network(tie_word_embeddings=tied)
    model = exported(tmp_path, Denoiser(network).eval(), "llama")
    before = weights_of(Denoiser(load(model)))
    grown = Denoiser(load(model, manifest_of(VOCABULARY + 3))).eval()
    after = weights_of(grown)
    names = {"model.embed_tokens.weight"} | ({"lm_head.weight"} if not tied else set())
    assert set(after) == set(before)
    for name, tensor in before.items():
        if name in names:
            assert after[name].shape == (VOCABULARY + 3, WIDTH)
            assert torch.equal(after[name][:VOCABULARY], tensor)
            mean = tensor.mean(dim=0).expand(3, WIDTH)
            torch.testing.assert_close(after[name][VOCABULARY:], mean, rtol=1e-6, atol=1e-6)
        else:
            assert torch.equal(after[name], tensor)
    assert grown.network.config.vocab_size == VOCABULARY + 3
    assert (grown.network.lm_head.weight is grown.network.model.embed_tokens.weight) == tied
    ids = some_ids(1, 9)
    with torch.no_grad():
        logits = grown(Inputs(ids))
        torch.testing.assert_close(logits[..., :VOCABULARY], Denoiser(load(model))(Inputs(ids)), rtol=1e-5, atol=1e-5)
    assert logits.shape[-1] == VOCABULARY + 3
    losses = grown(Inputs(torch.full((1, 2), VOCABULARY + 2)), torch.full((1, 2), VOCABULARY + 2), torch.ones(1, 2))
    losses.loss.backward()
    assert all(parameter.grad is not None for parameter in grown.parameters())


def test_fewer_ids_than_the_model_knows_are_fine(tmp_path: Path) -> None:
    """A model whose embedding is padded to more ids than the shards use stays as it is."""
    network = load(write_llada(tmp_path), manifest_of(VOCABULARY - 5))
    assert network.config.vocab_size == VOCABULARY
    assert network.lm_head.weight.shape == (VOCABULARY, WIDTH)


def test_another_vocabulary_is_refused(tmp_path: Path) -> None:
    """Shards with far more ids were made with another tokenizer; the message says how to build them."""
    model = write_llada(tmp_path)
    load(model, manifest_of(VOCABULARY + 64))
    with pytest.raises(SettingsError, match=f"the shards have {VOCABULARY + 65} token ids .* --tokenizer"):
        load(model, manifest_of(VOCABULARY + 65))


def test_missing_tensors_are_named(tmp_path: Path) -> None:
    """A checkpoint that lacks tensors is refused, with the first of them and how many more."""
    tensors = llada_weights()
    for name in ("ln_f", "blocks.2.ff_out", "blocks.0.q_proj"):
        del tensors[f"model.transformer.{name}.weight"]
    model = write_model(tmp_path, tensors, LLADA_CONFIG)
    with pytest.raises(SettingsError, match=r"lacks model\.layers\.0\.self_attn\.q_proj\.weight and 2 more"):
        load(model)


def test_tensors_that_do_not_fit_are_named(tmp_path: Path) -> None:
    """Unknown tensors and those of another shape are refused by name."""
    name = "model.transformer.ln_f.weight"
    wrong = write_model(tmp_path / "wrong", llada_weights() | {name: torch.ones(3)}, LLADA_CONFIG)
    with pytest.raises(SettingsError, match=r"in another shape, model\.norm\.weight"):
        load(wrong)
    more = write_model(tmp_path / "more", llada_weights(), LLADA_CONFIG | {"n_layers": LAYERS - 1})
    with pytest.raises(SettingsError, match=r"has unknown model\.layers\.2\.input_layernorm\.weight and 8 more"):
        load(more)
    other = write_model(tmp_path / "other", llada_weights() | {"model.transformer.wpe.weight": torch.ones(3)}, LLADA_CONFIG)
    with pytest.raises(SettingsError, match="LLaDA has no tensor"):
        load(other)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    """No folder, no config.json and no weights are three messages, each with what to give instead."""
    with pytest.raises(SettingsError, match=r"no such folder, and no preset \(nano, tiny, "):
        load(str(tmp_path / "nowhere"))
    with pytest.raises(SettingsError, match="no such folder"):
        load("huge")
    with pytest.raises(SettingsError, match=r"holds no config\.json"):
        load(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps(LLADA_CONFIG), "utf-8")
    with pytest.raises(SettingsError, match=r"holds no \*\.safetensors files"):
        load(str(tmp_path))


def test_more_positions_than_the_model_knows_are_refused(tmp_path: Path) -> None:
    """The longest sample may be as long as the model knows positions, and no longer; a preset knows as many as asked for."""
    model, manifest = write_llada(tmp_path), manifest_of()
    assert start.read_config(model, manifest, 64).max_position_embeddings == 64
    with pytest.raises(SettingsError, match="--max-length 65 is more than the 64 positions"):
        start.read_config(model, manifest, 65)
    assert start.read_config("tiny", manifest, 5000).max_position_embeddings == 5000


def test_a_start_bears_the_end_id_of_the_shards(tmp_path: Path) -> None:
    """Whatever the start, it is not causal, has the shards' end id, and no padding id, whose row would stay untrained."""
    for model in ("tiny", write_llada(tmp_path)):
        config = start.read_config(model, manifest_of(), 32)
        assert (config.is_causal, config.use_cache) == (False, False)
        assert (config.pad_token_id, config.eos_token_id, config.bos_token_id) == (None, 2, None)
    network = load(str(tmp_path))
    assert start.count_parameters(network.config) == sum(parameter.numel() for parameter in network.parameters())


def test_a_preset_follows_from_its_seed() -> None:
    """Random starts are equal for equal seeds, others for other seeds, and leave the generator of torch alone."""
    manifest = manifest_of()
    config = start.read_config("tiny", manifest, 32)
    state = torch.get_rng_state()
    tensor, same, other = (start.load_network("tiny", config, manifest, seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert bit_equal(tensor, same)
    assert not torch.equal(tensor["lm_head.weight"], other["lm_head.weight"])


@pytest.mark.parametrize("kind", ["preset", "llada"])
def test_every_id_is_trained(tmp_path: Path, kind: str) -> None:
    """The embedding of the pad id, which is often eos and what a dropped token becomes, learns as that of any other id."""
    model = "tiny" if kind == "preset" else write_llada(tmp_path)
    denoiser = Denoiser(load(model))
    ids = torch.arange(VOCABULARY)[None]
    denoiser(Inputs(ids), ids, torch.ones(1, VOCABULARY)).loss.backward()
    embedding = denoiser.network.model.embed_tokens.weight
    assert (embedding != 0).any(dim=1).all()
    assert (embedding.grad != 0).any(dim=1).all()
