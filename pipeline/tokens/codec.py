"""Text to tokens with their bytes, and back: a tokenizer and its engine as the rest of prep sees them.

For byte-level vocabularies token ends are the running sum of the ids' byte lengths, exact also where a character is split
over tokens. For others (metaspace and kin) the tokenizer's own character offsets are converted once a text. Either way a
text whose tokens do not account for all of it is refused, never silently off.
"""

import json
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer, normalizers

from syntaxdiff.pipeline.errors import TokenizerError
from syntaxdiff.pipeline.shard import file_sha256
from syntaxdiff.pipeline.syntax.alignment import TokenBytes, char_to_byte, covers_text
from syntaxdiff.pipeline.tokens.bpe import Engine, HfEngine, TokenizerSpec, byte_alphabet, first_difference, make_engine
from syntaxdiff.pipeline.tokens.template import Piece

UNICODE_FORMS = frozenset({"NFC", "NFD"})  # canonical forms: the text means the same


class Codec:
    """A tokenizer ready to align.

    Args:
        folder: of the tokenizer, with ``tokenizer.json``
        engine: one of names.ENGINES; its ids are proven equal to the tokenizers library's before it is used
        proven: that was done before, in the main process

    Attributes:
        is_byte_level: tokens are pieces of the text's bytes
        engine_name: engine and version
        engine_choice: what to ask for to get the same engine again
        sha256: of ``tokenizer.json``
        vocab_size: highest id + 1
    """

    def __init__(self, folder: Path, engine: str = "auto", *, proven: bool = False) -> None:
        tokenizer_file = folder / "tokenizer.json"
        try:
            backend = Tokenizer.from_file(str(tokenizer_file))
        except Exception as error:  # the library raises bare Exception
            raise TokenizerError(f"{tokenizer_file} cannot be read as a fast tokenizer ({error})") from error
        spec: TokenizerSpec = json.loads(backend.to_str())
        self._forms = _leading_unicode_forms(spec["normalizer"])
        self._normalizer = normalizers.Sequence([getattr(normalizers, form)() for form in self._forms])
        self.is_byte_level = _is_byte_level(spec)
        vocabulary = backend.get_vocab()
        self.vocab_size = max(vocabulary.values()) + 1
        self._is_known = np.zeros(self.vocab_size, dtype=bool)
        self._is_known[list(vocabulary.values())] = True
        self._added = {token["id"]: token["content"] for token in spec["added_tokens"]}
        self._unknown = vocabulary.get(spec["model"].get("unk_token") or "", -1)
        self._backend = backend
        self._reference = HfEngine(backend)
        self._engine: Engine = self._reference
        if self.is_byte_level:
            self._piece_bytes = _bytes_by_id(vocabulary, self._added, self.vocab_size)
            self._num_bytes = np.array([len(piece) for piece in self._piece_bytes], dtype=np.int64)
            self._piece_start = np.cumsum(self._num_bytes) - self._num_bytes
            self._all_pieces = np.frombuffer(b"".join(self._piece_bytes), dtype=np.uint8)
            self._engine = make_engine(engine, backend, self._reference, proven=proven)
        elif engine not in ("auto", "hf"):
            raise TokenizerError(f"--engine {engine} needs a byte-level vocabulary, this one is not: use --engine hf")
        self._inner = backend if self.is_byte_level else _without_first_prefix(spec)
        self.engine_name = self._engine.name
        self.engine_choice = self._engine.choice
        self.sha256 = file_sha256(tokenizer_file)

    def normalize(self, text: str) -> str:
        """The text as the tokenizer's leading Unicode normaliser leaves it; any other text unchanged."""
        if not self._forms or text.isascii() or self._is_plainly_normal(text):
            return text
        return str(self._normalizer.normalize_str(text))

    def _is_plainly_normal(self, text: str) -> bool:
        """Whether Python's own tables settle it: in one form, and below U+10000, where no new characters compose."""
        if len(self._forms) != 1 or np.frombuffer(text.encode(), dtype=np.uint8).max(initial=0) >= 0xF0:
            return False
        form: Any = self._forms[0]  # the stubs want the literal
        return unicodedata.is_normalized(form, text)

    def encode_batch(self, texts: Sequence[str], *, opens_sequence: bool = False) -> list[TokenBytes | None]:
        """Tokens of normalised texts with their bytes; None for a text whose tokens do not account for all of it.

        Args:
            texts: as ``normalize`` leaves them; special tokens spelled in them stay text
            opens_sequence: the texts stand at the start of their sequence (SentencePiece adds a space only there)
        """
        if self.is_byte_level:
            return [self._by_byte_lengths(ids, text) for ids, text in zip(self._engine.encode_batch(texts), texts, strict=True)]
        backend = self._backend if opens_sequence else self._inner
        return [
            self._by_offsets(np.array(encoding.ids, dtype=np.int32), np.array(encoding.offsets, dtype=np.int64), text)
            for encoding, text in zip(backend.encode_batch(list(texts), add_special_tokens=False), texts, strict=True)
        ]

    def _by_byte_lengths(self, ids: np.ndarray, text: str) -> TokenBytes | None:
        num_bytes = self._num_bytes[ids]
        end_byte = np.cumsum(num_bytes)
        if (int(end_byte[-1]) if len(ids) else 0) != len(text.encode()):
            return None
        return TokenBytes(ids, end_byte - num_bytes, end_byte)

    def _by_offsets(self, ids: np.ndarray, offsets: np.ndarray, text: str) -> TokenBytes | None:
        if (ids == self._unknown).any():
            return None
        byte_of_char = char_to_byte(text)
        start_byte, end_byte = byte_of_char[offsets.reshape(-1, 2)].T
        return TokenBytes(ids, start_byte, end_byte) if covers_text(start_byte, end_byte, text.encode()) else None

    def piece_ids(self, pieces: Sequence[Piece]) -> tuple[int, ...]:
        """Ids of pieces of a template, each tokenised by itself."""
        ids: list[int] = []
        for piece in pieces:
            if piece.token_id is not None:
                ids.append(piece.token_id)
                continue
            tokens = self.encode_batch([piece.text])[0]
            if tokens is None:
                raise TokenizerError(f"the tokens of {piece.text!r}, in the chat template, do not account for all of it")
            ids += tokens.ids.tolist()
        return tuple(ids)

    def disagreement(self, texts: Sequence[str]) -> str | None:
        """The first text on which the engine and the tokenizers library differ, None where there is none."""
        return None if self._engine is self._reference else first_difference(self._engine, self._reference, texts)

    def num_bytes(self, ids: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
        """Number of bytes that each id of a byte-level vocabulary stands for."""
        return self._num_bytes[ids]

    def decode(self, ids: Sequence[int] | np.ndarray) -> bytes:
        """The bytes that ids stand for; exact for byte-level vocabularies, the tokenizer's own rendering for others."""
        if self.is_byte_level:
            return self._joined_pieces(np.asarray(ids, dtype=np.int64))
        return str(self._backend.decode([int(token_id) for token_id in ids], skip_special_tokens=False)).encode()

    def _joined_pieces(self, ids: npt.NDArray[np.integer[Any]]) -> bytes:
        if len(ids) and not 0 <= ids.min() <= ids.max() < self.vocab_size:
            raise IndexError(f"ids from {ids.min()} to {ids.max()}, the vocabulary has {self.vocab_size}")
        num_bytes = self._num_bytes[ids]
        end_byte = np.cumsum(num_bytes)
        shift = np.repeat(self._piece_start[ids] - (end_byte - num_bytes), num_bytes)
        return bytes(self._all_pieces[np.arange(len(shift)) + shift])

    def spellings(self, runs: Sequence[npt.NDArray[np.int32]]) -> list[tuple[str, ...]]:
        """The texts that ids may have been made from, for runs of a sequence between two special tokens.

        One for a byte-level vocabulary (none where the ids are not UTF-8). For others what the tokenizer decodes, and the same
        with a space more or less at its beginning, because such tokenizers set or take one there. Whether a text gives the
        ids again is for the caller to find out.
        """
        if self.is_byte_level:
            return [_utf8(self._joined_pieces(ids)) for ids in runs]
        decoded = self._backend.decode_batch([ids.tolist() for ids in runs], skip_special_tokens=False)
        return [(text, f" {text}", *([text[1:]] if text.startswith(" ") else [])) for text in decoded]

    def unknown(self, ids: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
        """Positions of the ids that no token of the vocabulary has."""
        inside = (ids >= 0) & (ids < self.vocab_size)
        return np.flatnonzero(~(inside & self._is_known[np.where(inside, ids, 0)]))


def _utf8(text: bytes) -> tuple[str, ...]:
    try:
        return (text.decode(),)
    except UnicodeDecodeError:
        return ()


def _leading_unicode_forms(normalizer: TokenizerSpec | None) -> tuple[str, ...]:
    steps = [] if normalizer is None else normalizer.get("normalizers", [normalizer])
    forms = []
    for step in steps:
        if step["type"] not in UNICODE_FORMS:
            break
        forms.append(step["type"])
    return tuple(forms)


def _is_byte_level(spec: TokenizerSpec) -> bool:
    pre_tokenizer = spec["pre_tokenizer"] or {}
    steps = pre_tokenizer.get("pretokenizers", [pre_tokenizer])
    forms = _leading_unicode_forms(spec["normalizer"])
    normalizer = spec["normalizer"]
    other_normalizer = normalizer is not None and len(normalizer.get("normalizers", [normalizer])) > len(forms)
    last = steps[-1]
    return last.get("type") == "ByteLevel" and not last["add_prefix_space"] and not other_normalizer


def _bytes_by_id(vocabulary: dict[str, int], added: dict[int, str], size: int) -> list[bytes]:
    byte_of_char = {char: byte for byte, char in byte_alphabet().items()}
    pieces = [b""] * size
    for piece, token_id in vocabulary.items():
        if token_id in added:
            pieces[token_id] = added[token_id].encode()
        elif all(char in byte_of_char for char in piece):
            pieces[token_id] = bytes(byte_of_char[char] for char in piece)
    return pieces


def _without_first_prefix(spec: TokenizerSpec) -> Tokenizer:
    """The tokenizer as it acts inside a sequence: what is added only at the start of the first piece is not added."""
    pre_tokenizer = spec["pre_tokenizer"] or {}
    for step in pre_tokenizer.get("pretokenizers", [pre_tokenizer]):
        if step.get("prepend_scheme") == "first":
            step["prepend_scheme"] = "never"
    inner = Tokenizer.from_str(json.dumps(spec))
    inner.encode_special_tokens = True
    return inner
