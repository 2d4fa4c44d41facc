"""Tokenizers by name, folder or training: what makes one fit for alignment, and its mask token and chat template.

Loading goes through transformers; no remote code is ever run. How text becomes ids quickly is in bpe.py.
"""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from syntaxdiff.pipeline.errors import TokenizerError
from syntaxdiff.pipeline.shard import folder_whole
from syntaxdiff.pipeline.tokens.names import TRAIN_PREFIX

ADDED_MASK_TOKEN = "<|mask|>"
MASK_TOKENS = ("<|mdm_mask|>", "<|mask|>", "<|MASK|>", "[MASK]", "<mask>")  # LLaDA, Dream, and the BERT family
SPECIAL_TOKENS = (
    "<|startoftext|>",
    "<|endoftext|>",
    "<|mdm_mask|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
)

# Words with one leading sign, single digits, signs with their line ends, line ends, other space: the split of
# Qwen's and GPT-4's byte-level vocabularies.
SPLIT_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# LLaDA's turns, for tokenizers trained here; unlike LLaDA's own it opens the assistant's turn only when asked to.
HEADER_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}"
    "{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
# For tokenizers that bring no template: only words, so that no token is added.
PLAIN_TEMPLATE = (
    "{% for message in messages %}{{ '### ' + message['role'] | capitalize + '\n' + message['content'] | trim + '\n\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '### Assistant\n' }}{% endif %}"
)

# What must come back from its ids: indentation by spaces and tabs, line ends (the last one too), composed accents, signs that
# compatibility forms (NFKC) take for one, and every printable ASCII sign.
ROUND_TRIP_PROBE = (
    "def F(x):\n    if x > 0:\n\t\treturn  'Ünïcode ✓ 中文 \uff02\ufb01\u00b2'\n\nprint( F(1) )\n"
    + "".join(map(chr, range(0x21, 0x7F)))
    + "\n"
)

HubTokenizer: TypeAlias = Any  # transformers' PreTrainedTokenizerFast, which has no types to speak of


def load_tokenizer(name: str, mask_token: str | None = None) -> HubTokenizer:
    """A fast tokenizer from the hub or a local folder, with a mask token and a chat template.

    Args:
        name: hub name or folder
        mask_token: text of the mask token, added where it is new; by default a known one is looked for
            (``<|mdm_mask|>``, ``<|mask|>``, ``[MASK]``, …) and ``<|mask|>`` is added where there is none

    Raises:
        TokenizerError: it cannot be loaded, is slow, or changes text that code needs
    """
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")  # that torch is missing concerns nobody here
    from transformers import AutoTokenizer  # a second to import, and only the main process needs it

    try:
        path = Path(name).expanduser()
        looks_local = path.exists() or name.startswith((".", "/", "~"))
    except (OSError, RuntimeError) as error:  # a name too long, a home that is unknown
        raise TokenizerError(f"--tokenizer {name[:200]}: {error}") from error
    if looks_local and not path.is_dir():
        raise TokenizerError(f"--tokenizer {name}: there is no such folder")
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(path) if looks_local else name, trust_remote_code=False)
    except Exception as error:  # transformers raises OSError, ValueError, KeyError, and the hub's own kinds
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise TokenizerError(
            f"tokenizer {name} cannot be loaded ({first_line}): give a hub name that can be reached, a local folder "
            f"with tokenizer.json, or {TRAIN_PREFIX}SIZE"
        ) from error
    if not getattr(tokenizer, "is_fast", False):
        raise TokenizerError(
            f"tokenizer {name} is a slow one ({type(tokenizer).__name__}): alignment needs a fast one (tokenizer.json)"
        )
    if tokenizer.eos_token_id is None:
        raise TokenizerError(f"tokenizer {name} names no end-of-text token: set eos_token in its tokenizer_config.json")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token  # as LLaDA has it
    if not tokenizer.chat_template:
        tokenizer.chat_template = PLAIN_TEMPLATE
    give_mask_token(tokenizer, mask_token)
    check_round_trip(tokenizer, name)
    return tokenizer


def give_mask_token(tokenizer: HubTokenizer, demanded: str | None) -> None:
    """Sets the tokenizer's mask token: the demanded one, its own, a known one, or one added to the vocabulary.

    Raises:
        TokenizerError: the mask token would also be the end, padding or start of text
    """
    vocabulary = tokenizer.get_vocab()
    known = [tokenizer.mask_token, *MASK_TOKENS]
    found = demanded or next((token for token in known if token and token in vocabulary), ADDED_MASK_TOKEN)
    if found in vocabulary and vocabulary[found] not in tokenizer.added_tokens_decoder:
        raise TokenizerError(f"{found} is an ordinary token of the vocabulary: choose another --mask-token")
    if found in {tokenizer.eos_token, tokenizer.pad_token, tokenizer.bos_token}:
        raise TokenizerError(f"{found} already ends, pads or starts text: choose another --mask-token")
    tokenizer.add_special_tokens({"mask_token": found})


def check_round_trip(tokenizer: HubTokenizer, name: str) -> None:
    """Raises TokenizerError where text does not come back from its ids, but for a leading space."""
    backend = tokenizer.backend_tokenizer
    probe = backend.normalizer.normalize_str(ROUND_TRIP_PROBE) if _only_unicode_forms(backend) else ROUND_TRIP_PROBE
    ids = backend.encode(probe, add_special_tokens=False).ids
    back = backend.decode(ids, skip_special_tokens=False)
    if back.removeprefix(" ") != probe:
        first = next((i for i, (a, b) in enumerate(zip(back, probe, strict=False)) if a != b), min(len(back), len(probe)))
        raise TokenizerError(
            f"tokenizer {name} changes text that code needs: {probe[first : first + 12]!r} comes back as "
            f"{back[first : first + 12]!r}; choose one that keeps case, indentation and line ends"
        )


def _only_unicode_forms(backend: Tokenizer) -> bool:
    return backend.normalizer is not None and type(backend.normalizer).__name__ in {"NFC", "NFD"}


def train_tokenizer(texts: Iterable[str], size: int, mask_token: str | None = None) -> HubTokenizer:
    """A byte-level BPE vocabulary of ``size`` ids, special tokens included, trained on ``texts``.

    The same texts in the same order give the same vocabulary. The turns and special tokens are LLaDA's.
    """
    from transformers import PreTrainedTokenizerFast

    if mask_token in SPECIAL_TOKENS and mask_token != MASK_TOKENS[0]:
        raise TokenizerError(f"{mask_token} is a special token already: choose another --mask-token")
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[mask_token if mask_token and token == MASK_TOKENS[0] else token for token in SPECIAL_TOKENS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    make: Any = PreTrainedTokenizerFast  # its constructor bears no types
    return make(
        tokenizer_object=backend,
        bos_token="<|startoftext|>",
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        mask_token=mask_token or MASK_TOKENS[0],
        chat_template=HEADER_TEMPLATE,
    )


def save_tokenizer(tokenizer: HubTokenizer, folder: Path) -> None:
    """Writes the tokenizer's files as a folder that appears whole."""
    with folder_whole(folder) as scratch:
        tokenizer.save_pretrained(scratch)


def copy_tokenizer(source: Path, folder: Path) -> None:
    """Copies a tokenizer's folder, whole, over one that may be there."""
    with folder_whole(folder) as scratch:
        shutil.copytree(source, scratch, dirs_exist_ok=True)
