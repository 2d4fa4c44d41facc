"""The trained model as the rest of the world loads it: config.json, safetensors, tokenizer, and where it came from.

Two layouts: ``llama``, for plain transformers, and ``llada``, with the names that LLaDA's own tools expect.
"""

import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from syntaxdiff.pipeline.errors import SettingsError, StorageError
from syntaxdiff.pipeline.json_records import from_json, to_json
from syntaxdiff.pipeline.shard import TOKENIZER, Manifest, storage_errors, write_text, written_whole
from syntaxdiff.pipeline.splits import SPLITS
from syntaxdiff.train.model import llada_layout
from syntaxdiff.train.model.export_info import ExportInfo, TrainingInfo

INFO = "syntaxdiff.json"
TIMESTEP = "timestep_embedding.safetensors"
TOKENIZER_CONFIG = "tokenizer_config.json"
_HOW_LOADED = ("backend", "is_local", "local_files_only", "from_slow")
MAX_FILE_BYTES = 5 * 2**30


def network_weights(
    denoiser: nn.Module,
    gathered: Callable[[list[nn.Parameter]], AbstractContextManager[None]],
    *,
    keeps: bool,
    lora_scale: float = 1.0,
) -> dict[str, Tensor]:
    """The network's tensors by Llama's names on the CPU, adapters merged.

    Args:
        denoiser: a model.Denoiser
        gathered: makes parameters whole within a block (engine.gathered); all ranks must call this function
        keeps: whether this rank is the one that needs them; the others get an empty dict
        lora_scale: alpha over rank of the adapters
    """
    tensors: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, parameter in denoiser.named_parameters():
        if id(parameter) in seen:
            continue
        seen.add(id(parameter))
        with gathered([parameter]):
            if keeps:
                tensors[name] = parameter.detach().to("cpu", copy=True)
    return _merged(tensors, lora_scale)


def _merged(tensors: dict[str, Tensor], lora_scale: float) -> dict[str, Tensor]:
    """Adapters added to the weights that they adapt, and the names that peft and the denoiser add removed."""
    merged = {}
    for name, tensor in tensors.items():
        if ".lora_" in name:
            continue
        plain = name.removeprefix("network.").removeprefix("base_model.model.")
        if ".base_layer." in name:
            up = tensors[name.replace(".base_layer.weight", ".lora_B.default.weight")].float()
            down = tensors[name.replace(".base_layer.weight", ".lora_A.default.weight")].float()
            tensor = (tensor.float() + lora_scale * (up @ down)).to(tensor.dtype)
        merged[plain.replace(".base_layer", "")] = tensor
    return merged


def export(
    out: Path, tensors: dict[str, Tensor], config: Any, manifest: Manifest, data: Path, training: TrainingInfo, layout: str
) -> None:
    """Writes a model into a folder; ``config.json`` comes last.

    Args:
        tensors: by Llama's names, of ``network_weights``
        config: the network's
        training: for ``syntaxdiff.json``

    Raises:
        StorageError: the disk refused
    """
    timestep = {name: tensor for name, tensor in tensors.items() if name.startswith("timestep.")}
    network = {name: tensor for name, tensor in tensors.items() if name not in timestep}
    if config.tie_word_embeddings:
        network.pop("lm_head.weight", None)
    names = llada_layout.renamed(network, layout)
    with storage_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        (out / "config.json").unlink(missing_ok=True)
        for path in (*out.glob("model*.safetensors*"), *out.glob(TIMESTEP)):
            path.unlink()
    write_tensors(out, {names[name]: tensor.contiguous() for name, tensor in network.items()})
    if timestep:
        _save(timestep, out / TIMESTEP)
    with storage_errors(out):
        for path in sorted((data / TOKENIZER).iterdir()):
            shutil.copyfile(path, out / path.name)
    _name_plain_class(out / TOKENIZER_CONFIG)
    ids = manifest.token_ids
    alone = manifest.programs_alone
    info = ExportInfo(
        token_ids=ids,
        tokenizer=manifest.tokenizer,
        data_fingerprint=manifest.fingerprint,
        layout=layout,
        **vars(training),
        programs_alone=None if alone is None else alone / sum(map(manifest.num_samples, SPLITS)),
    )
    write_text(out / INFO, json.dumps(to_json(info), indent=1) + "\n")
    if layout == "llada":
        text = json.dumps(llada_layout.llada_config(config, mask_id=ids.mask, eos_id=ids.eos, pad_id=ids.pad), indent=1)
    else:
        plain = json.loads(config.to_json_string(use_diff=False))
        plain["architectures"] = ["LlamaForCausalLM"] if plain["model_type"] == "llama" else plain.get("architectures")
        plain["mask_token_id"], plain["pad_token_id"] = ids.mask, ids.pad
        plain["dtype"] = str(next(iter(network.values())).dtype).removeprefix("torch.")
        plain.pop("_attn_implementation", None)
        plain.pop("_attn_implementation_internal", None)
        text = json.dumps(plain, indent=1)
    write_text(out / "config.json", text + "\n")


def _name_plain_class(path: Path) -> None:
    """Makes a tokenizer's configuration one that transformers 4 reads too, with the same ids and special tokens.

    All of a tokenizer is in its tokenizer.json. Transformers 5 writes a class of its own next to it, a list under a name where
    transformers 4 has a dict, and fields of how it was loaded.
    """
    if not path.is_file():
        return
    info = {name: value for name, value in json.loads(path.read_text("utf-8")).items() if name not in _HOW_LOADED}
    if isinstance(info.get("extra_special_tokens"), list):
        extra = info.pop("extra_special_tokens")
        info["additional_special_tokens"] = [*info.get("additional_special_tokens", []), *extra]
    info["tokenizer_class"] = "PreTrainedTokenizerFast"
    write_text(path, json.dumps(info, indent=1, ensure_ascii=False) + "\n")


def clear_unfinished(out: Path) -> None:
    """Makes the folder, and removes what an export that was killed left half written. For only one rank to call."""
    with storage_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        for path in out.glob(".*.tmp"):
            path.unlink()


def write_tensors(out: Path, tensors: dict[str, Tensor]) -> None:
    """Tensors in files of at most MAX_FILE_BYTES, with transformers' index where there are several."""
    files: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in tensors.items():
        if files[-1] and size + tensor.nbytes > MAX_FILE_BYTES:
            files.append({})
            size = 0
        files[-1][name] = tensor
        size += tensor.nbytes
    index: dict[str, str] = {}
    for number, part in enumerate(files, 1):
        file = "model.safetensors" if len(files) == 1 else f"model-{number:05d}-of-{len(files):05d}.safetensors"
        _save(part, out / file)
        index |= dict.fromkeys(part, file)
    if len(files) > 1:
        total = sum(tensor.nbytes for tensor in tensors.values())
        text = json.dumps({"metadata": {"total_size": total}, "weight_map": index}, indent=1)
        write_text(out / "model.safetensors.index.json", text + "\n")


def _save(tensors: dict[str, Tensor], target: Path) -> None:
    with written_whole(target) as path:
        try:
            save_file(tensors, path, metadata={"format": "pt"})
            path.chmod(0o644)  # safetensors leaves it to its owner only
        except SafetensorError as error:  # its own kind for a full disk too
            raise StorageError(f"{target} cannot be written ({error}): free some space and start again") from error


def read_info(folder: Path) -> ExportInfo:
    """What ``syntaxdiff.json`` of an exported model says. Raises SettingsError where there is none."""
    try:
        return from_json(ExportInfo, json.loads((folder / INFO).read_text("utf-8")), skips_unknown=True)
    except FileNotFoundError as error:
        raise SettingsError(f"{folder} holds no {INFO}: give the --out folder of a finished training run") from error
    except (OSError, ValueError) as error:  # RecordError is among the latter
        raise SettingsError(f"{folder / INFO} cannot be read ({error}): export the model again") from error


def load_timestep(folder: Path, embedding: nn.Embedding) -> None:
    """Fills a timestep embedding from an exported model, where it has one."""
    if (folder / TIMESTEP).is_file():
        with torch.no_grad():
            embedding.weight.copy_(load_file(folder / TIMESTEP)["timestep.weight"])
