"""Names of BPE engines and tokenizers that options take. What they stand for is in bpe.py and tokenizer.py."""

from syntaxdiff.pipeline.errors import SettingsError

ENGINES = ("auto", "hf", "tiktoken", "quicktok")
DEFAULT_TOKENIZER = "GSAI-ML/LLaDA-8B-Instruct"
TRAIN_PREFIX = "train:"
LARGEST_VOCABULARY = 1_000_000
SMALLEST_VOCABULARY = 300  # 256 bytes, the special tokens, and a few merges


def trained_size(name: str) -> int | None:
    """SIZE of ``train:SIZE``, None for any other name. Raises SettingsError for a size that is not one."""
    if not name.startswith(TRAIN_PREFIX):
        return None
    digits = name.removeprefix(TRAIN_PREFIX)
    is_number = digits.isdecimal() and len(digits) <= len(str(LARGEST_VOCABULARY))
    if not is_number or not SMALLEST_VOCABULARY <= int(digits) <= LARGEST_VOCABULARY:
        raise SettingsError(
            f"--tokenizer {name[:40]}: the size of a vocabulary to train is a whole number from {SMALLEST_VOCABULARY} "
            f"to {LARGEST_VOCABULARY}"
        )
    return int(digits)
