"""Checkpoints: a model to evaluate, from a folder or the hub: opened, checked, and its weights loaded.

Three kinds of folder are known: exports of this project's trainer (``syntaxdiff.json`` holds ids and shift), LLaDA's official
files, and any causal model of transformers, as an autoregressive baseline. Remote code is never run. Generation is in
denoising.py and causal.py.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from syntaxdiff.eval.inference.abilities import CAUSAL, DENOISING
from syntaxdiff.eval.inference.causal import CausalModel
from syntaxdiff.eval.inference.config import DTYPES, KINDS, ModelSource
from syntaxdiff.eval.inference.denoising import DenoisingModel
from syntaxdiff.eval.inference.description import NO_MASK, Description
from syntaxdiff.eval.inference.language_model import LanguageModel
from syntaxdiff.eval.inference.special_ids import derived_ids, exported_ids, mask_id_of, read_tokenizer
from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.train.model.agreement import check_agreement, check_causal
from syntaxdiff.train.model.denoiser import Denoiser
from syntaxdiff.train.model.export import INFO, TIMESTEP, load_timestep, read_info
from syntaxdiff.train.model.llada_layout import MODEL_TYPE
from syntaxdiff.train.model.start import folder_config, folder_network, model_folder


@dataclass(frozen=True, kw_only=True)
class Unloaded(Description):
    """A checkpoint whose weights are not loaded.

    Attributes:
        config: of the network
        place: the device that the weights go to
        dtype: one of DTYPES, or ``auto``
        read_weights: makes the model from all of this, anywhere
    """

    config: Any
    place: torch.device
    dtype: str
    read_weights: Callable[["Unloaded"], DenoisingModel | CausalModel]

    @property
    def network_config(self) -> Any:
        """See Description."""
        return self.config

    def load(self) -> LanguageModel:
        """Loads the weights. Raises SettingsError where they are damaged or do not fit the configuration."""
        loaded = self.read_weights(self)
        loaded.model.requires_grad_(False)
        loaded.model.to(self.place).eval()
        return loaded


def load_checkpoint(
    folder: str, *, device: str = "auto", dtype: str = "auto", kind: str = "auto", mask_token: str | None = None
) -> LanguageModel:
    """Loads a model, ready to generate: a DenoisingModel or a CausalModel, by what the folder holds.

    Args:
        folder: a path, or a name on the hub
        device, dtype, kind, mask_token: as of ``open_checkpoint``

    Raises:
        SettingsError: the folder holds no such model, or what it holds is damaged
        TokenizerError: the tokenizer cannot be read, or lacks the mask token
    """
    return open_checkpoint(folder, device=device, dtype=dtype, kind=kind, mask_token=mask_token).load()


def open_checkpoint(
    folder: str, *, device: str = "auto", dtype: str = "auto", kind: str = "auto", mask_token: str | None = None
) -> Unloaded:
    """Reads a checkpoint without its weights, and refuses what cannot be loaded.

    Args:
        folder: a path, or a name on the hub
        device: ``auto``: a GPU where there is one
        dtype: one of DTYPES; ``auto``: as it is stored
        kind: one of KINDS; ``auto``: by what the folder holds
        mask_token: for a diffusion model whose tokenizer does not name its mask token

    Raises:
        SettingsError: the folder holds no such model, or what it holds is damaged
        TokenizerError: the tokenizer cannot be read, or lacks the mask token
    """
    place = check_device(device)
    if dtype != "auto" and dtype not in DTYPES:
        raise SettingsError(f"--dtype {dtype}: choose from auto, {', '.join(DTYPES)}")
    if kind == "autoregressive" and mask_token is not None:
        raise SettingsError(f"--kind autoregressive has no masks: leave --mask-token {mask_token} out")
    path = model_folder(folder, "--ckpt")
    open_kind = {DENOISING.kind: _open_denoising, CAUSAL.kind: _open_causal}[_kind(path, kind, mask_token)]
    return open_kind(path, folder, mask_token=mask_token, place=place, dtype=dtype)


def open_source(source: ModelSource) -> Unloaded:
    """``open_checkpoint`` with the options of a command, which name a checkpoint."""
    assert source.ckpt is not None
    return open_checkpoint(
        source.ckpt, device=source.device, dtype=source.dtype, kind=source.kind, mask_token=source.mask_token
    )


def _open_denoising(path: Path, name: str, *, mask_token: str | None, place: torch.device, dtype: str) -> Unloaded:
    info = read_info(path) if (path / INFO).is_file() else None
    config = folder_config(path)
    config.is_causal, config.use_cache = False, False
    most = check_agreement(config, f"--ckpt {name}").positions
    tokenizer = read_tokenizer(path)
    if info is not None:
        token_ids = exported_ids(info, tokenizer, path)
    else:
        token_ids = derived_ids(tokenizer, mask_id_of(tokenizer, mask_token, path), path)
    if token_ids.mask >= config.vocab_size:
        raise SettingsError(
            f"--ckpt {name} knows {config.vocab_size} tokens and the mask token is {token_ids.mask}: "
            "the weights are those of another tokenizer"
        )
    _check_weights(path, name, "*.safetensors")
    return Unloaded(
        name=name,
        folder=path,
        abilities=DENOISING,
        tokenizer=tokenizer,
        token_ids=token_ids,
        shift=info is not None and info.shift,
        info=info,
        most=most,
        config=config,
        place=place,
        dtype=dtype,
        read_weights=_read_denoising,
    )


def _open_causal(path: Path, name: str, *, mask_token: str | None, place: torch.device, dtype: str) -> Unloaded:
    assert mask_token is None
    config = _causal_config(path, name)
    tokenizer = read_tokenizer(path)
    token_ids = derived_ids(tokenizer, NO_MASK, path)
    _check_weights(path, name, "*.safetensors", "*.bin")
    return Unloaded(
        name=name,
        folder=path,
        abilities=CAUSAL,
        tokenizer=tokenizer,
        token_ids=token_ids,
        shift=False,
        info=None,
        config=config,
        place=place,
        dtype=dtype,
        read_weights=_read_causal,
    )


def _check_weights(path: Path, name: str, *patterns: str) -> None:
    if not any(file.name != TIMESTEP for pattern in patterns for file in path.glob(pattern)):
        raise SettingsError(f"--ckpt {name} holds no *.safetensors files: convert the checkpoint with transformers first")


def check_device(name: str) -> torch.device:
    """A device by its name. Raises SettingsError where there is none."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SettingsError(f"--device {name}: choose auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SettingsError(f"--device {name}: torch sees no GPU here; leave the option out, or say cpu")
    return device


def _kind(path: Path, kind: str, mask_token: str | None) -> str:
    """What a folder holds, or what is asked for where that can be."""
    if kind not in ("auto", *KINDS):
        raise SettingsError(f"--kind {kind}: choose from auto, {', '.join(KINDS)}")
    try:
        config = json.loads((path / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path / 'config.json'} cannot be read ({error}): export or fetch the model again") from error
    if not isinstance(config, dict) or "model_type" not in config:
        raise SettingsError(
            f"{path} holds neither {INFO} nor a config.json that names a model type: give the --out folder of a training "
            "run, LLaDA's files, or a causal model of transformers"
        )
    is_declared = (path / INFO).is_file() or config["model_type"] == MODEL_TYPE
    denoises = is_declared or config.get("is_causal") is False
    if kind == "autoregressive" and denoises:
        raise SettingsError(f"{path} holds a diffusion model, which cannot generate from left to right: leave --kind out")
    if kind == "auto":
        if denoises and not is_declared and mask_token is None:
            raise SettingsError(
                f"{path} holds a model that attends both ways and no {INFO}, which holds ids and shift: copy that of its "
                "training run there, or say --kind diffusion where each token is predicted at its own place"
            )
        return "diffusion" if denoises or mask_token is not None else "autoregressive"
    return kind


def _read_denoising(opened: Unloaded) -> DenoisingModel:
    network = folder_network(opened.folder, opened.config, f"--ckpt {opened.name}")
    denoiser = Denoiser(network, shift=opened.shift, timestep_embedding=(opened.folder / TIMESTEP).is_file())
    if denoiser.timestep is not None:
        load_timestep(opened.folder, denoiser.timestep)
        denoiser.timestep.to(network.lm_head.weight.dtype)
    denoiser = denoiser if opened.dtype == "auto" else denoiser.to(getattr(torch, opened.dtype))
    return DenoisingModel(**_described(opened), model=denoiser)


def _read_causal(opened: Unloaded) -> CausalModel:
    make: Any = AutoModelForCausalLM
    try:
        dtype = opened.dtype if opened.dtype == "auto" else getattr(torch, opened.dtype)
        model = make.from_pretrained(opened.folder, dtype=dtype, trust_remote_code=False)
    except Exception as error:  # of many kinds: unknown types, missing files, damaged tensors
        raise _not_causal(opened.name, error) from error
    return CausalModel(**_described(opened), model=model)


def _described(opened: Unloaded) -> dict[str, Any]:
    return {field.name: getattr(opened, field.name) for field in fields(Description)}


def _causal_config(path: Path, name: str) -> Any:
    make: Any = AutoConfig
    try:
        config = make.from_pretrained(path, trust_remote_code=False)
    except Exception as error:  # of many kinds: unknown types, values that cannot be
        raise _not_causal(name, error) from error
    check_causal(config.get_text_config(), f"--ckpt {name}")
    return config.get_text_config()


def _not_causal(name: str, error: Exception) -> SettingsError:
    first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return SettingsError(
        f"--ckpt {name} is not a diffusion model ({INFO} is missing) and transformers does not load it as a causal one "
        f"({first_line})"
    )
