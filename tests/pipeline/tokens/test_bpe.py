"""Engines: every one gives the ids of the tokenizers library, and one that does not is found out."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parameters import slow, slow_but
from prepared_tokenizers import BYTE_LEVEL, METASPACE, QUICK, Prepared
from reference import PROGRAMS, gpt2_alphabet

from syntaxdiff.pipeline.errors import SettingsError, SyntaxdiffError
from syntaxdiff.pipeline.tokens.bpe import HfEngine, TiktokenEngine, first_difference, make_engine, proof_texts
from syntaxdiff.pipeline.tokens.codec import Codec
from syntaxdiff.pipeline.tokens.names import ENGINES

Rows = Callable[[str], list[dict[str, Any]]]
Get = Callable[[str], Prepared]

# Which vocabularies each engine must carry. quicktok knows Qwen's split pattern, which the trained one shares, and is an extra.
CARRIED = [
    *[("hf", name) for name in (*BYTE_LEVEL, *METASPACE)],
    *[("tiktoken", name) for name in BYTE_LEVEL],
    ("quicktok", "qwen"),
]
# quicktok leaves the tokenizer's file that it reads to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")

QUICK_ON_ROWS = [("hf", "trained"), ("hf", "metaspace-nfc"), ("tiktoken", "trained"), ("tiktoken", "gpt2")]
EVERY_ENGINE = pytest.mark.parametrize(("choice", "name"), slow_but([case for case in CARRIED if case[1] in QUICK], CARRIED))


@pytest.fixture(scope="module")
def codecs(prepared: Get) -> Callable[[str, str], Codec]:
    """Codecs by engine and tokenizer."""
    made: dict[tuple[str, str], Codec] = {}

    def get(choice: str, name: str) -> Codec:
        if choice == "quicktok":
            pytest.importorskip("quicktok", reason="the extra `fast` is not installed")
        if (choice, name) not in made:
            made[choice, name] = Codec(prepared(name).folder, choice, proven=True)
            assert made[choice, name].engine_choice == choice
        return made[choice, name]

    return get


def reference_ids(ready: Prepared, text: str) -> list[int]:
    """Ids by the tokenizers library on the tokenizer's own file, special tokens in the text left as text."""
    ids: list[int] = ready.hf_without_specials.encode(text, add_special_tokens=False).ids
    return ids


def check(codec: Codec, ready: Prepared, texts: Sequence[str]) -> None:
    normalised = [codec.normalize(text) for text in texts]
    for text, tokens in zip(texts, codec.encode_batch(normalised, opens_sequence=True), strict=True):
        if tokens is None:
            assert not ready.vocabulary.is_byte_level, repr(text)
        else:
            assert tokens.ids.tolist() == reference_ids(ready, text), repr(text)


@EVERY_ENGINE
def test_ids_of_crafted_programs(choice: str, name: str, prepared: Get, codecs: Callable[[str, str], Codec]) -> None:
    """Every engine gives the library's ids on every crafted program."""
    check(codecs(choice, name), prepared(name), [code for _, code in PROGRAMS.values()])


@pytest.mark.parametrize(("choice", "name"), slow_but(QUICK_ON_ROWS, CARRIED))
def test_ids_of_real_rows(choice: str, name: str, prepared: Get, codecs: Callable[[str, str], Codec], rows: Rows) -> None:
    """Every engine gives the library's ids on statements, traces and programs."""
    texts = [row["output"] for row in rows("traces/r1-codeforces-450")[::25]]
    texts += [row["query"] + row["response"] for row in rows("programs/leetcode-train")[::60]]
    texts += [row["content"] for row in rows("programs/thealgorithms_python")[::40]]
    texts += [row["cpp"] for row in rows("programs/python-cpp-pairs-1000")[::50]]
    check(codecs(choice, name), prepared(name), texts)


FRAGMENTS = st.sampled_from(
    [
        *[" ", "  ", "\n", "\r\n", "\t", "\u00a0", "\u3000", "'s", "'S", "'\u017f", "don't", "x", "def", "é", "e\u0301", "🙂"],
        *[
            "\u200d",
            "日本",
            "123",
            "½",
            "٣",
            "Ⅷ",
            "ǅ",
            "ß",
            "İ",
            "==",
            "```",
            "<|im_end|>",
            "<think>",
            "</think>",
            "<tool_call>",
        ],
        *["<|endoftext|>", "<|extratoken_7|>", "<s>", "</s>", "\ufeff", "\x0b", "\x1c", "\x85", "\u2028", "\u180e", "\u200b"],
        *["\ufb01", "\u212b", "\u0958", "한", "\u1100\u1161"],
    ]
)
TEXTS = st.lists(FRAGMENTS | st.characters(blacklist_categories=["Cs"]) | st.text(max_size=6), max_size=25).map("".join)


@EVERY_ENGINE
@settings(max_examples=100, deadline=None)
@given(text=TEXTS)
def test_ids_of_any_text(text: str, choice: str, name: str, prepared: Get, codecs: Callable[[str, str], Codec]) -> None:
    """Every engine gives the library's ids on any Unicode text, special tokens spelled in it being text."""
    check(codecs(choice, name), prepared(name), [text.encode("utf-8", "ignore").decode()])


@EVERY_ENGINE
def test_ids_of_new_letters(choice: str, name: str, prepared: Get, codecs: Callable[[str, str], Codec]) -> None:
    """A letter of Unicode 17 is none in older tables, and engines bring tables of their own."""
    texts = [
        f"{before}{new}:A b" for new in ("\U000323b0", "\U00016ea0", "\u088f", "\U0001fadc") for before in ("", " ", "x", "é")
    ]
    check(codecs(choice, name), prepared(name), texts)


@pytest.mark.parametrize("name", slow_but(QUICK, BYTE_LEVEL))
def test_long_runs(name: str, prepared: Get, codecs: Callable[[str, str], Codec]) -> None:
    """Long runs of one character, which engines treat in ways of their own, have the library's ids."""
    texts = [character * 20_000 for character in (" ", "\n", "a", "=", "é", "🙂", "1", "\t")]
    check(codecs("tiktoken", name), prepared(name), texts)


@pytest.mark.parametrize("name", METASPACE)
@pytest.mark.parametrize("choice", ["tiktoken", "quicktok"])
def test_vocabulary_that_cannot_be_carried_is_refused(choice: str, name: str, prepared: Get) -> None:
    """An engine asked for by name that cannot carry the vocabulary is refused; left to itself the build takes hf."""
    if choice == "quicktok":
        pytest.importorskip("quicktok", reason="the extra `fast` is not installed")
    with pytest.raises(SyntaxdiffError):
        Codec(prepared(name).folder, choice)
    assert Codec(prepared(name).folder, "auto").engine_choice == "hf"


def test_unknown_engine_is_refused(prepared: Get) -> None:
    """An engine of an unknown name is refused."""
    with pytest.raises(SettingsError):
        Codec(prepared("trained").folder, "faster")


# ------------------------------------------------------------------------------------------------------ tampered engines

Ids = npt.NDArray[np.int32]


def swap_two(ids: Ids, first: int, second: int) -> Ids:
    swapped = ids.copy()
    swapped[ids == first] = second
    swapped[ids == second] = first
    return swapped


def tamper(monkeypatch: pytest.MonkeyPatch, change: Callable[[str, Ids], Ids]) -> None:
    honest = TiktokenEngine.encode_batch

    def encode_batch(self: TiktokenEngine, texts: Sequence[str]) -> list[Ids]:
        return [change(text, ids) for text, ids in zip(texts, honest(self, texts), strict=True)]

    monkeypatch.setattr(TiktokenEngine, "encode_batch", encode_batch)


TAMPERINGS: dict[str, Callable[[str, Ids], Ids]] = {
    "two rare tokens change places": lambda text, ids: swap_two(ids, 1900, 1901),
    "an id off by one": lambda text, ids: np.where(ids == 1700, 1699, ids).astype(np.int32),
    "the last token lost": lambda text, ids: ids[:-1] if len(ids) > 200 else ids,
    "an emoji lost": lambda text, ids: ids[1:] if "🙂" in text else ids,
    "runs of blank lines": lambda text, ids: ids[1:] if "\n\n\n" in text else ids,
    "special tokens taken for such": lambda text, ids: ids[:1] if "<|endoftext|>" in text else ids,
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_tampered_engine_fails_its_proof(name: str, prepared: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine with any of these faults is refused at the start when asked for, and passed over when not."""
    folder = prepared("trained").folder
    assert Codec(folder, "tiktoken").engine_choice == "tiktoken"
    tamper(monkeypatch, TAMPERINGS[name])
    with pytest.raises(SettingsError):
        Codec(folder, "tiktoken")
    assert Codec(folder, "auto").engine_choice == "hf"


def test_fault_that_the_proof_cannot_know_is_found_on_the_way(prepared: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault on one text alone passes the proof, and comparing samples of the build names the text."""
    rare = "this very sentence, and no other"
    tamper(monkeypatch, lambda text, ids: ids[::-1].copy() if rare in text else ids)
    codec = Codec(prepared("trained").folder, "tiktoken")
    assert codec.disagreement(["x = 1", "y"]) is None
    found = codec.disagreement(["x = 1", f"a {rare}.", "y"])
    assert found is not None
    assert rare in found


def test_proof_skipped_where_it_was_done_before(prepared: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker told that the proof was done does not repeat it, and disagreement still finds the fault."""
    tamper(monkeypatch, lambda text, ids: ids[1:])
    codec = Codec(prepared("trained").folder, "tiktoken", proven=True)
    assert codec.engine_choice == "tiktoken"
    assert codec.disagreement(["x = 1"]) is not None


@pytest.mark.parametrize("name", ["trained", "gpt2"])
def test_proof_holds_every_token(name: str, prepared: Get) -> None:
    """The proof's texts hold every token's own text, so that a wrong id has nowhere to hide."""
    ready = prepared(name)
    texts = proof_texts(ready.hf)
    lines = {line for text in texts for line in text.split("\n")}
    vocabulary = ready.vocabulary
    own = [bytes(gpt2_alphabet()[c] for c in piece) for i, piece in vocabulary.piece_of_id.items() if i not in vocabulary.added]
    own += [piece.encode() for i, piece in vocabulary.added.items() if i not in vocabulary.special]
    missing = []
    for piece in own:
        with contextlib.suppress(UnicodeDecodeError):  # half a character is no text
            missing += [piece] if piece.decode() not in lines and not any(piece.decode() in text for text in texts) else []
    assert missing == []


def test_difference_is_named(prepared: Get) -> None:
    """Two engines that agree have no difference; the first text on which they do not is given."""
    reference = HfEngine(prepared("trained").hf_without_specials)

    class Backwards:
        name = choice = "backwards"

        def encode_batch(self, texts: Sequence[str]) -> list[Ids]:
            return [ids[::-1] for ids in reference.encode_batch(texts)]

    assert first_difference(reference, reference, ["", "a b", "x = 1"]) is None
    assert first_difference(Backwards(), reference, ["", "x", "def f(x)", "y = 2"]) == "def f(x)"


@pytest.mark.parametrize(
    ("choice", "name"),
    [
        ("auto", "trained"),
        ("hf", "trained"),
        ("tiktoken", "gpt2"),
        slow(("tiktoken", "qwen")),
        slow(("quicktok", "qwen")),
    ],
)
def test_proof_is_passed_and_choice_kept(choice: str, name: str, prepared: Get) -> None:
    """Real vocabularies pass the proof, and an engine says what to ask for to get the same one again."""
    if choice == "quicktok":
        pytest.importorskip("quicktok", reason="the extra `fast` is not installed")
    assert choice in ENGINES
    backend = prepared(name).hf_without_specials
    made = make_engine(choice, backend, HfEngine(backend))
    assert made.choice == ("tiktoken" if choice == "auto" else choice)
    assert type(made) is type(make_engine(made.choice, backend, HfEngine(backend), proven=True))
