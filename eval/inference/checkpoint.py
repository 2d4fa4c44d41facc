"""A model to evaluate: weights, tokenizer and special ids from a folder or the hub, ready to generate with.

Three kinds of folder are known: exports of this project's trainer (``syntaxdiff.json`` tells ids and shift), LLaDA's official
files, and any causal model of transformers, as an autoregressive baseline. No remote code is ever run. Generating is in
generation.py and causal.py.
"""

import json
from dataclasses import dataclass, fields
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from syntaxdiff.eval.inference.config import DTYPES, KINDS
from syntaxdiff.pipeline.errors import SettingsError, TokenizerError
from syntaxdiff.pipeline.shard import TokenIds
from syntaxdiff.train.model.agreement import check_agreement, check_causal
from syntaxdiff.train.model.denoiser import Denoiser
from syntaxdiff.train.model.export import INFO, TIMESTEP, load_timestep, read_info
from syntaxdiff.train.model.llada import MODEL_TYPE
from syntaxdiff.train.model.start import LLADA_MASK_TOKEN, folder_config, folder_network, model_folder

NO_MASK = -1  # the mask id of a model that has none
_QUESTION, _ANSWER = "QUESTION-GOES-HERE", "ANSWER-GOES-HERE"


@dataclass(frozen=True, kw_only=True)
class Described:
    """All of a checkpoint but its weights: enough to make prompts and to refuse what cannot be.

    Attributes:
        name: as it was asked for
        folder: where its files lie
        kind: one of KINDS
        tokenizer: transformers' fast tokenizer
        token_ids: ``mask`` is NO_MASK for an autoregressive model
        shift: position i - 1 predicts token i
        info: what ``syntaxdiff.json`` says, empty for other makes
        most: positions that all attend to each other, where that is fewer than the configuration says (agreement.Agreement)
    """

    name: str
    folder: Path
    kind: str
    tokenizer: Any
    token_ids: TokenIds
    shift: bool
    info: dict[str, Any]
    most: int | None = None

    @property
    def network_config(self) -> Any:
        """The configuration of the network, of transformers."""
        raise NotImplementedError

    @property
    def max_positions(self) -> int | None:
        """Most tokens of prompt and answer together, None where the model does not say."""
        return self.most or getattr(self.network_config, "max_position_embeddings", None)

    @property
    def vocab_size(self) -> int:
        """How many ids the model knows."""
        return int(self.network_config.vocab_size)

    @property
    def end_ids(self) -> frozenset[int]:
        """Tokens that end an answer: end of turn and end of text."""
        return frozenset((*self.token_ids.end_of_turn, self.token_ids.eos))


@dataclass(frozen=True, kw_only=True)
class Checkpoint(Described):
    """A model that can generate.

    Attributes:
        model: on its device, in evaluation mode: a model.Denoiser, or of kind ``autoregressive`` a causal model of transformers
    """

    model: Any

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return next(self.model.parameters()).device  # type: ignore[no-any-return]

    @property
    def network_config(self) -> Any:
        """See Described."""
        return (self.model.network if self.kind == "diffusion" else self.model).config


@dataclass(frozen=True, kw_only=True)
class Unloaded(Described):
    """A checkpoint whose weights are still on the disk.

    Attributes:
        config: of the network
        place: the device that the weights go to
        dtype: one of DTYPES, or ``auto``
    """

    config: Any
    place: torch.device
    dtype: str

    @property
    def network_config(self) -> Any:
        """See Described."""
        return self.config

    def load(self) -> Checkpoint:
        """Loads the weights. Raises SettingsError where they are damaged or do not fit the configuration."""
        if self.kind == "autoregressive":
            model = _autoregressive(self.folder, self.name, self.dtype)
        else:
            model = _denoiser(self.folder, self.name, self.config, shift=self.shift)
            model = model if self.dtype == "auto" else model.to(getattr(torch, self.dtype))
        model.requires_grad_(False)
        values = {field.name: getattr(self, field.name) for field in fields(Described)}
        return Checkpoint(**values, model=model.to(self.place).eval())


def load_checkpoint(
    folder: str, *, device: str = "auto", dtype: str = "auto", kind: str = "auto", mask_token: str | None = None
) -> Checkpoint:
    """Loads a model: ``open_checkpoint``, then its weights. Arguments and errors are those of the former.

    Raises:
        SettingsError: also where weights are damaged
    """
    return open_checkpoint(folder, device=device, dtype=dtype, kind=kind, mask_token=mask_token).load()


def open_checkpoint(
    folder: str, *, device: str = "auto", dtype: str = "auto", kind: str = "auto", mask_token: str | None = None
) -> Unloaded:
    """Reads all of a checkpoint but its weights, and refuses what cannot be loaded.

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
    kind = _kind(path, kind, mask_token)
    info: dict[str, Any] = {}
    if kind == "diffusion":
        info = read_info(path) if (path / INFO).is_file() else {}
        config = folder_config(path)
        config.is_causal, config.use_cache = False, False
        most = check_agreement(config, f"--ckpt {folder}").positions
    else:
        most, config = None, _causal_config(path, folder)
    tokenizer = _read_tokenizer(path)
    if kind == "autoregressive":
        token_ids = _token_ids(tokenizer, NO_MASK, path)
    elif info:
        token_ids = _told_ids(info, tokenizer, path)
    else:
        token_ids = _token_ids(tokenizer, _mask_id(tokenizer, mask_token, path), path)
    if token_ids.mask >= config.vocab_size:
        raise SettingsError(
            f"--ckpt {folder} knows {config.vocab_size} tokens and the mask token is {token_ids.mask}: "
            "the weights are those of another tokenizer"
        )
    weights = [path.glob(pattern) for pattern in ("*.safetensors", *(("*.bin",) if kind == "autoregressive" else ()))]
    if not any(file.name != TIMESTEP for file in chain.from_iterable(weights)):
        raise SettingsError(f"--ckpt {folder} holds no *.safetensors files: convert the checkpoint with transformers first")
    return Unloaded(
        name=folder,
        folder=path,
        kind=kind,
        tokenizer=tokenizer,
        token_ids=token_ids,
        shift=bool(info.get("shift", False)),
        info=info,
        most=most,
        config=config,
        place=place,
        dtype=dtype,
    )


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
    is_told = (path / INFO).is_file() or config["model_type"] == MODEL_TYPE
    denoises = is_told or config.get("is_causal") is False
    if kind == "autoregressive" and denoises:
        raise SettingsError(f"{path} holds a diffusion model, which cannot generate from left to right: leave --kind out")
    if kind == "auto":
        if denoises and not is_told and mask_token is None:
            raise SettingsError(
                f"{path} holds a model that attends both ways and no {INFO}, which tells ids and shift: copy that of its "
                "training run there, or say --kind diffusion where each token is predicted at its own place"
            )
        return "diffusion" if denoises or mask_token is not None else "autoregressive"
    return kind


def _read_tokenizer(path: Path) -> Any:
    made: Any = AutoTokenizer
    try:
        tokenizer = made.from_pretrained(path, trust_remote_code=False)
        tokenizer.backend_tokenizer.get_vocab_size()
    except Exception as error:  # OSError, ValueError, KeyError, and the tokenizers library's bare Exception
        first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise TokenizerError(
            f"{path} holds no fast tokenizer that can be read ({first_line}): put tokenizer.json and "
            "tokenizer_config.json beside the weights"
        ) from error
    if tokenizer.eos_token_id is None:
        raise TokenizerError(f"the tokenizer in {path} names no end-of-text token: set eos_token in its tokenizer_config.json")
    return tokenizer


def _told_ids(info: dict[str, Any], tokenizer: Any, path: Path) -> TokenIds:
    """The ids that the data was made with, which the tokenizer must know too."""
    try:
        told = info["token_ids"]
        ids = TokenIds(
            mask=told["mask"],
            pad=told["pad"],
            eos=told["eos"],
            bos=told["bos"],
            end_of_turn=tuple(told["end_of_turn"]),
            assistant_header=tuple(told["assistant_header"]),
        )
    except (KeyError, TypeError) as error:
        raise SettingsError(f"{path / INFO} names no token ids ({error}): export the model again") from error
    if tokenizer.convert_ids_to_tokens(ids.mask) is None:
        raise TokenizerError(f"the tokenizer in {path} lacks the mask token {ids.mask}: copy the tokenizer of the shards there")
    return ids


def _mask_id(tokenizer: Any, demanded: str | None, path: Path) -> int:
    """Id of the mask token: the demanded one, the tokenizer's own, or LLaDA's."""
    vocabulary = tokenizer.get_vocab()
    token = demanded or tokenizer.mask_token or LLADA_MASK_TOKEN
    if token not in vocabulary:
        raise TokenizerError(f"the tokenizer in {path} lacks the mask token {token}: name it with --mask-token")
    return int(vocabulary[token])


def _token_ids(tokenizer: Any, mask_id: int, path: Path) -> TokenIds:
    """Ids of a model that was not exported here, as its tokenizer and its chat template tell them."""
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    eos = tokenizer.eos_token_id
    header: list[int] = []
    after_answer: list[int] = []
    if tokenizer.chat_template:
        turns = [{"role": "user", "content": _QUESTION}, {"role": "assistant", "content": _ANSWER}]
        try:
            opened = tokenizer.apply_chat_template(turns[:1], tokenize=False, add_generation_prompt=True)
            closed = tokenizer.apply_chat_template(turns, tokenize=False)
        except Exception as error:  # jinja2's errors, and whatever a template raises on purpose
            raise TokenizerError(f"the chat template in {path} fails on one question and answer ({error})") from error
        after_answer = tokenizer.encode(closed.rpartition(_ANSWER)[2], add_special_tokens=False)
        after_answer = [one for one in after_answer if one in special][:1]  # a further turn may follow
        header = tokenizer.encode(opened.rpartition(_QUESTION)[2], add_special_tokens=False)
        ends = [place for place, one in enumerate(header) if one in after_answer]
        header = header[max(ends, default=-1) + 1 :]
        if header and not tokenizer.decode(header[:1]).strip():
            del header[0]  # the line end of the user's turn
    return TokenIds(
        mask=mask_id,
        pad=eos if tokenizer.pad_token_id is None else tokenizer.pad_token_id,
        eos=eos,
        bos=tokenizer.bos_token_id,
        end_of_turn=tuple(dict.fromkeys((*after_answer, eos))),
        assistant_header=tuple(header),
    )


def _denoiser(path: Path, asked: str, config: Any, *, shift: bool) -> Denoiser:
    network = folder_network(path, config, f"--ckpt {asked}")
    denoiser = Denoiser(network, shift=shift, timestep_embedding=(path / TIMESTEP).is_file())
    if denoiser.timestep is not None:
        load_timestep(path, denoiser.timestep)
        denoiser.timestep.to(network.lm_head.weight.dtype)
    return denoiser


def _causal_config(path: Path, asked: str) -> Any:
    made: Any = AutoConfig
    try:
        config = made.from_pretrained(path, trust_remote_code=False)
    except Exception as error:  # of many kinds: unknown types, values that cannot be
        raise _not_causal(asked, error) from error
    check_causal(config.get_text_config(), f"--ckpt {asked}")
    return config.get_text_config()


def _autoregressive(path: Path, asked: str, dtype: str) -> Any:
    made: Any = AutoModelForCausalLM
    try:
        return made.from_pretrained(path, dtype=dtype if dtype == "auto" else getattr(torch, dtype), trust_remote_code=False)
    except Exception as error:  # of many kinds: unknown types, missing files, damaged tensors
        raise _not_causal(asked, error) from error


def _not_causal(asked: str, error: Exception) -> SettingsError:
    first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return SettingsError(
        f"--ckpt {asked} is no diffusion model ({INFO} is missing) and transformers does not load it as a causal one "
        f"({first_line})"
    )
