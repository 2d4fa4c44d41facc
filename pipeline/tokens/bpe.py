"""Text to ids: the tokenizers library as the reference, and faster BPE engines held to its ids.

Tokenising is over 90 % of a build, so the engine decides its speed. A faster engine serves only where the vocabulary can
be carried over, and only after it gave the reference's ids for every token's own text, for strings made to break it, and
for the first samples; builds check it again on the way. Special tokens spelled inside the data stay text.
"""

import contextlib
import io
import json
import re
import tempfile
import unicodedata
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.pipeline.tokens.names import ENGINES

# A tokenizer.json, or a part of one: the tokenizers library decides its keys, by the type of each component.
TokenizerSpec: TypeAlias = dict[str, Any]

PROOF_TOKENS = 64
TIKTOKEN_MAX_CHARS = 500_000  # a run of a million blanks overflows the stack of tiktoken's regular expressions

# What tokenizers' ByteLevel splits by when it uses its own expression (GPT-2's).
GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

HARD_STRINGS = (
    *("", " ", "\n", "\r\n\r\n", "\t\t x", "    if x:\n\n\n        y  \n", "a\u00a0b\u3000c\u2028d"),
    *(
        "it's IT'S 'Re don'T 'll'd",
        "1234567 3.14e-10 0xFF 1_000 \u00bd \u00b2 \u2167 \u0663",
        "na\u00efve e\u0301 \u212b \ufb01",
    ),
    *(
        "\u4e2d\u6587\u5b57\u7b26\uff0c\u65e5\u672c\u8a9e \ud55c\uad6d\uc5b4",
        "\U0001f642\U0001f3f3\ufe0f\u200d\U0001f308 \U0001f9d1\u200d\U0001f4bb",
    ),
    *("====" * 40 + "!!" * 30, "</think>\n\n```python\n    x\n```", "<|endoftext|><|im_end|>[MASK]<think>x</think>"),
    *("\ufeffdef f(): pass\x0c\n", "\u017f K \u0130 \u0131 \u00df \u1e9e \u01c5", "a" * 300 + " " * 300 + "\n" * 9),
    *("\x00\x01\x7f\x85\u200b\u2060", "x=-1;y+=2//3**4!=5<<6->z@w:=[{}]"),
)


class Engine(Protocol):
    """Turns texts into ids as the tokenizers library does with ``encode_special_tokens``."""

    name: str  # engine and version, as the manifest names it
    choice: str  # its name among ENGINES

    def encode_batch(self, texts: Sequence[str]) -> list[npt.NDArray[np.int32]]:
        """Ids of each text, without special tokens around them."""
        ...


class HfEngine:
    """The reference: the tokenizers library itself."""

    choice = "hf"

    def __init__(self, backend: Tokenizer) -> None:
        backend.encode_special_tokens = True
        self._backend = backend
        self.name = f"tokenizers {version('tokenizers')}"

    def encode_batch(self, texts: Sequence[str]) -> list[npt.NDArray[np.int32]]:
        """See Engine."""
        encodings = self._backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(encoding.ids, dtype=np.int32) for encoding in encodings]


class BytePieces:
    """A byte-level BPE vocabulary in the terms of other engines: split pattern, mergeable ranks, and ids by rank.

    Ranks are merge order, ids are the vocabulary's own; ``id_of_rank`` leads back, so that any numbering can be carried.

    Raises:
        SettingsError: the vocabulary cannot be carried over, with the part that stands against it
    """

    def __init__(self, backend: Tokenizer) -> None:
        spec: TokenizerSpec = json.loads(backend.to_str())
        model = spec["model"]
        if model["type"] != "BPE":
            raise SettingsError(f"its model is {model['type']}, not BPE")
        for option in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"):
            if model.get(option):
                raise SettingsError(f"its BPE sets {option}")
        self.pattern = _split_pattern(spec["pre_tokenizer"])
        vocabulary: dict[str, int] = model["vocab"]
        byte_of_char = {char: byte for byte, char in byte_alphabet().items()}
        self.ranks: dict[bytes, int] = {}
        ids: list[int] = []
        merged = ("".join(m) if isinstance(m, list) else m.replace(" ", "") for m in model["merges"])
        for piece in [*byte_alphabet().values(), *merged]:
            if any(char not in byte_of_char for char in piece):
                raise SettingsError(f"its piece {piece!r} is not made of bytes")
            piece_bytes = bytes(byte_of_char[char] for char in piece)
            if piece_bytes in self.ranks:
                continue
            if piece not in vocabulary:
                raise SettingsError(f"its vocabulary lacks the piece {piece!r}")
            self.ranks[piece_bytes] = len(ids)
            ids.append(vocabulary[piece])
        self.added = {}
        for token in spec["added_tokens"]:
            if token["special"]:
                continue  # stays text inside the data
            if token["lstrip"] or token["rstrip"] or token["single_word"]:
                raise SettingsError(f"its added token {token['content']} takes white space or whole words")
            self.added[token["content"]] = len(ids)
            ids.append(token["id"])
        self.id_of_rank = np.array(ids, dtype=np.int32)


def byte_alphabet() -> dict[int, str]:
    """The character that stands for each byte in byte-level vocabularies (GPT-2's convention)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {**{byte: chr(byte) for byte in printable}, **{byte: chr(256 + i) for i, byte in enumerate(others)}}


def _split_pattern(pre_tokenizer: TokenizerSpec | None) -> str:
    steps = (pre_tokenizer or {}).get("pretokenizers", [pre_tokenizer])
    match steps:
        case [{"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}]:
            return GPT2_PATTERN
        case [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False},
            {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
        ]:
            return str(pattern)
    raise SettingsError("its pre-tokenizer is not one regular expression and bytes")


def is_newer_than_tables(text: str) -> bool:
    """Whether a text has a code point that Python's Unicode does not assign.

    Engines split by tables of different Unicode versions: what the newest assigns is a letter to one and a sign to another.
    """
    return not text.isascii() and any(_is_unassigned(character) for character in set(text))


@cache
def _is_unassigned(character: str) -> bool:
    return unicodedata.category(character) == "Cn"


class TiktokenEngine:
    """tiktoken over a carried vocabulary; benchmarks/prep.py prints how much faster it is."""

    choice = "tiktoken"

    def __init__(self, backend: Tokenizer) -> None:
        import tiktoken

        pieces = BytePieces(backend)
        self._ids = pieces.id_of_rank
        self._reference = HfEngine(backend)
        self._added = frozenset(pieces.added)
        self._encoding = tiktoken.Encoding(
            "carried", pat_str=pieces.pattern, mergeable_ranks=pieces.ranks, special_tokens=pieces.added
        )
        self.name = f"tiktoken {version('tiktoken')}"

    def encode_batch(self, texts: Sequence[str]) -> list[npt.NDArray[np.int32]]:
        """See Engine."""
        return [self._encode(text) for text in texts]

    def _encode(self, text: str) -> npt.NDArray[np.int32]:
        if len(text) > TIKTOKEN_MAX_CHARS or is_newer_than_tables(text):
            return self._reference.encode_batch([text])[0]
        return self._ids[self._encoding.encode_to_numpy(text, allowed_special=self._added, disallowed_special=())]


class QuicktokEngine:
    """quicktok, for the split patterns that it knows (Qwen's, Llama 3's, OpenAI's). The extra ``fast`` installs it."""

    choice = "quicktok"

    def __init__(self, backend: Tokenizer) -> None:
        try:
            import quicktok
        except ImportError as error:
            raise SettingsError("quicktok is not installed (pip install 'syntaxdiff[fast]')") from error

        BytePieces(backend)  # refuses what this engine would read past: added tokens that take white space
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "tokenizer.json"
            backend.save(str(file))
            try:
                with contextlib.redirect_stdout(io.StringIO()):  # it reports by print
                    quicktok.import_tokenizer(str(file), "carried", data_dir=folder)
                self._encoding = quicktok.get_encoding("carried", folder)
            except ValueError as error:  # quicktok's ImportRefused is one
                raise SettingsError(str(error).splitlines()[0]) from error
        spec = json.loads(backend.to_str())
        special = [token["content"] for token in spec["added_tokens"] if token["special"]]
        self._special = re.compile("|".join(map(re.escape, special))) if special else None
        self._reference = HfEngine(backend)
        self.name = f"quicktok {version('quicktok-v1')}"

    def encode_batch(self, texts: Sequence[str]) -> list[npt.NDArray[np.int32]]:
        """See Engine."""
        if not texts:
            return []
        ids, offsets = self._encoding.encode_batch(list(texts), threads=1, with_special=True)
        rows = [row.astype(np.int32) for row in np.split(np.asarray(ids), np.asarray(offsets)[1:-1])]
        for index, text in enumerate(texts):
            # It knows no added token that is to stay text: such texts go the long way, too.
            if is_newer_than_tables(text) or (self._special is not None and self._special.search(text)):
                rows[index] = self._reference.encode_batch([text])[0]
        return rows


def make_engine(choice: str, backend: Tokenizer, reference: HfEngine, *, proven: bool = False) -> Engine:
    """The engine asked for, proven to give the reference's ids; with ``auto`` tiktoken where it does, else tokenizers.

    Raises:
        SettingsError: no such engine, or the one asked for does not give the reference's ids
    """
    if choice not in ENGINES:
        raise SettingsError(f"--engine {choice}: choose one of {', '.join(ENGINES)}")
    if choice == "hf":
        return reference
    try:
        engine: Engine = QuicktokEngine(backend) if choice == "quicktok" else TiktokenEngine(backend)
        difference = None if proven else first_difference(engine, reference, proof_texts(backend))
        if difference is not None:
            raise SettingsError(f"it gives other ids than tokenizers, first on {difference!r}")
    except BaseException as error:  # patterns that its regular expressions refuse end in errors of Rust
        if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
            raise
        if choice == "auto":
            return reference
        raise SettingsError(f"--engine {choice} cannot carry this vocabulary: {error}; use --engine hf") from error
    return engine


def proof_texts(backend: Tokenizer) -> list[str]:
    """Every token's own text, PROOF_TOKENS to a text, a line each, and strings made to break a BPE engine."""
    byte_of_char = {char: byte for byte, char in byte_alphabet().items()}
    own = [
        bytes(byte_of_char[char] for char in piece).decode("utf-8", errors="ignore")
        for piece in backend.get_vocab(with_added_tokens=False)
        if all(char in byte_of_char for char in piece)
    ]
    own += [token.content for token in backend.get_added_tokens_decoder().values() if not token.special]
    lines = ["\n".join(own[start : start + PROOF_TOKENS]) for start in range(0, len(own), PROOF_TOKENS)]
    return [unicodedata.normalize("NFC", text) for text in [*lines, *HARD_STRINGS]]


def first_difference(engine: Engine, reference: Engine, texts: Sequence[str]) -> str | None:
    """The first text on which two engines give other ids, None where they agree on all."""
    pairs = zip(texts, engine.encode_batch(texts), reference.encode_batch(texts), strict=True)
    return next((text for text, ours, theirs in pairs if not np.array_equal(ours, theirs)), None)
