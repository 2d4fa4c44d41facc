"""Tokenizer and special ids of a checkpoint: as its export stores them, or derived from tokenizer and chat template.

How prompts are made from them is not covered here.
"""

from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from syntaxdiff.pipeline.errors import TokenizerError
from syntaxdiff.pipeline.shard import TokenIds
from syntaxdiff.train.model.export_info import ExportInfo
from syntaxdiff.train.model.start import LLADA_MASK_TOKEN

_QUESTION, _ANSWER = "QUESTION-GOES-HERE", "ANSWER-GOES-HERE"


def read_tokenizer(path: Path) -> Any:
    """The fast tokenizer of a folder. Raises TokenizerError where there is none, or it names no end-of-text token."""
    make: Any = AutoTokenizer
    try:
        tokenizer = make.from_pretrained(path, trust_remote_code=False)
        tokenizer.backend_tokenizer.get_vocab_size()
    except Exception as error:  # OSError, ValueError, KeyError, and the tokenizers library's bare Exception
        first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise TokenizerError(
            f"{path} holds no fast tokenizer that can be read ({first_line}): put tokenizer.json and "
            "tokenizer_config.json next to the weights"
        ) from error
    if tokenizer.eos_token_id is None:
        raise TokenizerError(f"the tokenizer in {path} names no end-of-text token: set eos_token in its tokenizer_config.json")
    return tokenizer


def exported_ids(info: ExportInfo, tokenizer: Any, path: Path) -> TokenIds:
    """The special ids of an export, as of its training data. Raises TokenizerError where the tokenizer lacks the mask token."""
    ids = info.token_ids
    if tokenizer.convert_ids_to_tokens(ids.mask) is None:
        raise TokenizerError(f"the tokenizer in {path} lacks the mask token {ids.mask}: copy the tokenizer of the shards there")
    return ids


def mask_id_of(tokenizer: Any, name: str | None, path: Path) -> int:
    """Id of the mask token: the named one, the tokenizer's own, or LLaDA's. Raises TokenizerError where it is unknown."""
    vocabulary = tokenizer.get_vocab()
    token = name or tokenizer.mask_token or LLADA_MASK_TOKEN
    if token not in vocabulary:
        raise TokenizerError(f"the tokenizer in {path} lacks the mask token {token}: name it with --mask-token")
    return int(vocabulary[token])


def derived_ids(tokenizer: Any, mask_id: int, path: Path) -> TokenIds:
    """Special ids of a model from elsewhere, by tokenizer and chat template. Raises TokenizerError for a broken template."""
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
        after_answer = [token for token in after_answer if token in special][:1]  # a further turn may follow
        header = tokenizer.encode(opened.rpartition(_QUESTION)[2], add_special_tokens=False)
        ends = [place for place, token in enumerate(header) if token in after_answer]
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
