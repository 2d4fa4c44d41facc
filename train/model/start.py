"""Where a model starts from: a preset with random weights, LLaDA's official files, or any Llama-like causal model.

Nothing here runs remote code. Files are mapped into memory, not read into it, so that several ranks of one machine share them.
"""

import json
import math
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import (
    CONFIG_MAPPING,
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.pipeline.shard import TOKENIZER, Manifest
from syntaxdiff.train.model import llada_layout
from syntaxdiff.train.model.agreement import check_agreement
from syntaxdiff.train.model.export import TIMESTEP
from syntaxdiff.train.model.presets import new_network, preset_config
from syntaxdiff.train.model.sizes import PRESETS

LLADA_REPOSITORY = "GSAI-ML/LLaDA-8B-Instruct"
LLADA_MASK_TOKEN = "<|mdm_mask|>"
MAX_NEW_TOKENS = 64  # that shards may add to a model's vocabulary: a mask token, headers
PRETRAINED_LEARNING_RATE = 5e-5  # the paper's, the best of 5e-6, 2e-5 and 5e-5


def default_model(manifest: Manifest) -> str:
    """What to start from where nothing is asked for: LLaDA where the shards bear its tokenizer, else `tiny`."""
    name = str(manifest.tokenizer.name)
    return LLADA_REPOSITORY if "llada" in name.lower() else "tiny"


def learning_rate(model: str) -> float:
    """The default learning rate of a start."""
    return PRESETS[model].learning_rate if model in PRESETS else PRETRAINED_LEARNING_RATE


def read_config(model: str, manifest: Manifest, max_length: int, option: str = "--model") -> Any:
    """The configuration of a start, without its weights.

    Raises:
        SettingsError: the model is unknown, cannot be read, or does not know so many tokens or positions
    """
    if model in PRESETS:
        config: Any = preset_config(PRESETS[model], manifest.tokenizer.vocab_size, max_length)
    else:
        config = folder_config(model_folder(model, option))
    asked = f"{option} {model}"
    known = getattr(config, "max_position_embeddings", None)
    check_agreement(config, asked, max_length=min(max_length, known or max_length), trains=True)
    if known is not None and max_length > known:
        raise SettingsError(f"--max-length {max_length} is more than the {known} positions that {model} knows")
    try:
        config.is_causal, config.use_cache = False, False
        config.bos_token_id, config.eos_token_id = manifest.token_ids.bos, manifest.token_ids.eos
        # With a pad id, transformers would never train its embedding; it is often the end token's too. The export names it.
        config.pad_token_id = None
    except Exception as error:  # huggingface_hub's, where a configuration checks the types of its fields
        reason = " ".join(str(error).split())[:200]
        raise SettingsError(f"{asked}: {config.model_type} cannot do without special tokens of its own ({reason})") from error
    return config


def folder_config(folder: Path) -> Any:
    """The configuration of a model in a folder, LLaDA's as Llama's. Raises SettingsError where it cannot be read or used."""
    file = folder / "config.json"
    try:
        raw = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"{file} cannot be read ({error}): fetch or export the model again") from error
    if not isinstance(raw, dict):
        raise SettingsError(f"{file} holds no JSON object: fetch or export the model again")
    kind = raw.get("model_type")
    if how := raw.get("quantization_config"):
        how = how.get("quant_method", "some method") if isinstance(how, dict) else how
        raise SettingsError(
            f"{folder}: {kind} is quantised ({how}), and is not trained or evaluated here: give its full weights"
        )
    if kind == llada_layout.MODEL_TYPE:
        try:
            return llada_layout.llama_config(raw)
        except (KeyError, TypeError, ValueError) as error:
            raise SettingsError(f"{file} cannot be read as LLaDA's ({type(error).__name__}: {error})") from error
    if kind not in CONFIG_MAPPING:
        own = ", which its own code would (auto_map), and no code of a model is run" if "auto_map" in raw else ""
        raise SettingsError(
            f"{file} names the model type {kind!r}, which transformers does not know{own}: "
            "convert the model to a type that transformers has, such as llama or qwen2"
        )
    try:
        config = AutoConfig.from_pretrained(folder)
    except Exception as error:  # huggingface_hub's of a field's type, and whatever a class raises
        reason = " ".join(str(error).split())[:300]
        raise SettingsError(f"{file} cannot be read as a {kind} model's ({type(error).__name__}: {reason})") from error
    known: Any = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
    named = raw.get("architectures") or []
    if "auto_map" in raw and known is not None and named and named[0] != known.__name__:
        raise SettingsError(
            f"{file} names the class {named[0]} of its own code (auto_map), and no code of a model is run: where "
            f"{known.__name__} of transformers computes the same, name that in architectures and remove auto_map"
        )
    return config


def model_folder(model: str, option: str = "--model") -> Path:
    """The folder of a model by path, or by hub name, downloaded where it is not there yet.

    Args:
        option: the command line's, for the messages; only ``--model`` takes presets too

    Raises:
        SettingsError: neither a preset, nor a folder with a config.json, nor to be had from the hub
    """
    path = Path(model)
    if (path / "config.json").is_file():
        return path
    if path.exists():
        raise SettingsError(f"{option} {model} holds no config.json: give a folder that save_pretrained or a trainer wrote")
    if model.startswith((".", "/", "~")) or model.count("/") != 1:
        no_preset = f", and no preset ({', '.join(PRESETS)})" if option == "--model" else ""
        raise SettingsError(f"{option} {model}: no such folder{no_preset}")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        return Path(snapshot_download(model, allow_patterns=["*.safetensors", "*.json", "*.jinja"]))
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        reason = str(error).splitlines()[0]
        instead = "a folder, or a preset" if option == "--model" else "a folder"
        raise SettingsError(f"{option} {model} cannot be had from the hub ({reason}): give {instead}") from error


def check_tokenizer(model: str, data: Path, option: str = "--model") -> None:
    """Compares the tokenizer that a model brings with the one that shards were made with; presets bring none.

    Raises:
        SettingsError: a token has another id: the shards' ids would mean other words to the model
    """
    if model in PRESETS or not ((folder := model_folder(model, option)) / "tokenizer.json").is_file():
        return
    made: Any = PreTrainedTokenizerFast
    try:
        known, used = (made(tokenizer_file=str(path / "tokenizer.json")).get_vocab() for path in (folder, data / TOKENIZER))
    except Exception as error:  # the tokenizers library raises bare ones
        raise SettingsError(f"the tokenizer.json of {folder} or of {data} cannot be read ({error}): fetch it again") from error
    strange = sorted((token for token in used.keys() & known.keys() if used[token] != known[token]), key=used.__getitem__)
    num_shared = len(used.keys() & known.keys())
    if strange or num_shared < len(used) - MAX_NEW_TOKENS:
        example = f", e.g. {strange[0]!r} is {used[strange[0]]} there and {known[strange[0]]} here" if strange else ""
        raise SettingsError(
            f"the shards in {data} were made with another tokenizer than that of {option} {model}{example}: build them with "
            f"--tokenizer {model}"
        )


def count_parameters(config: Any) -> int:
    """Number of parameters of a configuration, without building it."""
    with torch.device("meta"):
        network = _empty(config)
    return sum(parameter.numel() for parameter in network.parameters())


def load_network(model: str, config: Any, manifest: Manifest, seed: int) -> Any:
    """A causal network of transformers with the weights of a start, on the CPU.

    Raises:
        SettingsError: tensors are missing, of another shape, or the vocabulary is not the shards'
    """
    if model in PRESETS:
        return new_network(config, seed)
    network = folder_network(model_folder(model), config, f"--model {model}")
    fit_vocabulary(network, manifest, model)
    return network


def folder_network(folder: Path, config: Any, asked: str) -> Any:
    """A causal network of transformers with the weights of a folder, mapped, on the CPU.

    Args:
        config: of ``folder_config``
        asked: option and value, for the messages

    Raises:
        SettingsError: files are damaged, tensors are missing, unknown, or of another shape
    """
    tensors = _mapped(folder)
    if json.loads((folder / "config.json").read_text("utf-8")).get("model_type") == llada_layout.MODEL_TYPE:
        tensors = {llada_layout.llama_name(name): tensor for name, tensor in tensors.items()}
    with torch.device("meta"):
        network = _empty(config)
    _assign(network, tensors, asked)
    return network


def _empty(config: Any) -> Any:
    if isinstance(config, LlamaConfig):
        return LlamaForCausalLM(config)
    made: Any = AutoModelForCausalLM
    return made.from_config(config)


def _mapped(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a folder's safetensors files, mapped into memory."""
    files = sorted(file for file in folder.glob("*.safetensors") if file.name != TIMESTEP)
    if not files:
        raise SettingsError(f"{folder} holds no *.safetensors files: convert the checkpoint with transformers first")
    tensors = {}
    for file in files:
        try:
            with safe_open(file, framework="pt") as opened:
                for name in opened.keys():  # noqa: SIM118, it is not a dict
                    tensors[name] = opened.get_tensor(name)
        except (OSError, SafetensorError) as error:
            raise SettingsError(f"{file} is damaged ({error}): fetch it again") from error
    return tensors


def _assign(network: Any, tensors: dict[str, torch.Tensor], asked: str) -> None:
    """Puts tensors in the place of a network's parameters, which have none."""
    expected = dict(network.named_parameters())
    tied = {"lm_head.weight"} if network.config.tie_word_embeddings else set()
    missing = sorted(set(expected) - set(tensors) - tied)
    extra = sorted(set(tensors) - set(expected) - tied)
    wrong = [name for name, tensor in tensors.items() if name in expected and tensor.shape != expected[name].shape]
    for what, names in (("lacks", missing), ("has unknown", extra), ("has, in another shape,", wrong)):
        if names:
            raise SettingsError(
                f"{asked} {what} {names[0]} and {len(names) - 1} more tensors: the files do not hold what "
                f"{type(network).__name__} of transformers has (mixtures of experts, whose tensors it merges, cannot be loaded)"
            )
    network.load_state_dict({name: tensors[name] for name in expected if name in tensors}, assign=True, strict=False)
    network.tie_weights()
    _fill_buffers(network, asked)
    for parameter in network.parameters():
        parameter.requires_grad_(True)


def _fill_buffers(network: Any, asked: str) -> None:
    """Computes what a class keeps besides its weights and no file holds, as transformers does when it loads a model.

    Rotations are left out: the denoiser makes them again (model.FloatRotation).
    """
    rotation = network.model.rotary_emb
    for path, module in network.named_modules():
        missing = {name: buffer for name, buffer in module.named_buffers(recurse=False) if buffer.is_meta}
        if module is rotation or not missing:
            continue
        for name, buffer in missing.items():
            if not buffer.dtype.is_floating_point:
                raise SettingsError(f"{asked}: nothing says what {path}.{name} is, which no file of the model holds")
            module._buffers[name] = torch.full_like(buffer, math.nan, device="cpu")
        for parameter in module.parameters():
            parameter._is_hf_initialized = True
        versions = [parameter._version for parameter in module.parameters()]
        network._init_weights(module)
        for name in missing:
            if module.get_buffer(name).isnan().any():
                raise SettingsError(f"{asked}: nothing says what {path}.{name} is, which no file of the model holds")
        if versions != [parameter._version for parameter in module.parameters()]:
            raise SettingsError(f"{asked}: transformers draws weights of {path} again when it loads them")


def fit_vocabulary(network: Any, manifest: Manifest, model: str) -> None:
    """Makes room for the shards' ids: a mask token that is new starts as the mean of the embeddings.

    Raises:
        SettingsError: the shards need more new ids than special tokens explain: they were made for another tokenizer
    """
    have, need = network.config.vocab_size, manifest.tokenizer.vocab_size
    if need <= have:
        return
    if need - have > MAX_NEW_TOKENS:
        raise SettingsError(
            f"the shards have {need} token ids and {model} knows {have}: build the shards with --tokenizer {model}"
        )
    mean = network.get_input_embeddings().weight.detach().float().mean(dim=0)
    network.resize_token_embeddings(need, mean_resizing=False)
    with torch.no_grad():
        network.get_input_embeddings().weight[have:] = mean.to(network.get_input_embeddings().weight.dtype)
        if not network.config.tie_word_embeddings:
            network.lm_head.weight[have:] = network.lm_head.weight[:have].float().mean(dim=0).to(network.lm_head.weight.dtype)
