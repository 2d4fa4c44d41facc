"""Bytes and tokens: anchors, intervals and offsets against their definitions."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from parameters import slow_but
from prepared_tokenizers import QUICK, TOKENIZERS, Prepared
from reference import ASCII_WHITE_SPACE, PROGRAMS, Interval, anchor_of

from syntaxdiff.pipeline.syntax.alignment import anchors, char_to_byte, covers_text, first_token_from, tokens_of

TEXTS = st.lists(
    st.sampled_from(["x", " ", "\n", "\t\r", "\x0b\x0c", "é", "🙂", "\u00a0", "\u3000", "if", "e\u0301"]) | st.characters()
)
TEXTS_JOINED = TEXTS.map("".join).filter(lambda text: not any("\ud800" <= character <= "\udfff" for character in text))


@st.composite
def cut_texts(draw: st.DrawFn) -> tuple[bytes, list[Interval]]:
    """A text, and tokens that cut it at any bytes; some of them empty, as a SentencePiece prefix is."""
    text = draw(TEXTS_JOINED).encode()
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=40)))
    edges = [0, *cuts, len(text)]
    return text, list(itertools.pairwise(edges))


@st.composite
def nested_ranges(draw: st.DrawFn, length: int) -> list[Interval]:
    """Byte ranges of which any two are nested or disjoint, as a tree's are: some intervals cut in parts, and so on."""
    ranges: list[Interval] = []
    todo = [(0, length)]
    while todo and len(ranges) < 40:
        start, end = todo.pop()
        ranges.append((start, end))
        edges = sorted(draw(st.lists(st.integers(start, end), max_size=4)))
        todo.extend((a, b) for a, b in itertools.pairwise(edges) if (a, b) != (start, end) and draw(st.booleans()))
    return ranges


def as_arrays(intervals: list[Interval]) -> tuple[np.ndarray, np.ndarray]:
    columns = np.array(intervals, dtype=np.int64).reshape(-1, 2)
    return columns[:, 0].copy(), columns[:, 1].copy()


@pytest.mark.parametrize(
    ("text", "tokens", "expected"),
    [
        (b"", [], []),
        (b"ab", [(0, 1), (1, 2)], [0, 1]),
        (b" x \n", [(0, 2), (2, 4)], [1, 2]),
        (b"\n    x", [(0, 4), (4, 6)], [0, 5]),
        ("\u00a0x".encode(), [(0, 3)], [0]),  # a no-break space is no ASCII white space
        ("🙂".encode(), [(0, 1), (1, 4)], [0, 1]),
        (b" \t\n\r\x0b\x0c!", [(0, 7)], [6]),
        (b"x", [(0, 0), (0, 1)], [0, 0]),  # a token without bytes
    ],
)
def test_anchor_is_first_byte_that_is_no_white_space(text: bytes, tokens: list[Interval], expected: list[int]) -> None:
    """A token's anchor is its first byte that is no white space, its first byte where all are."""
    assert anchors(*as_arrays(tokens), text).tolist() == expected
    assert [anchor_of(token, text) for token in tokens] == expected


@given(cut_texts())
def test_anchors_are_as_defined(drawn: tuple[bytes, list[Interval]]) -> None:
    """Anchors of any tokens of any text are those of the definition, and ascend."""
    text, tokens = drawn
    found = anchors(*as_arrays(tokens), text).tolist()
    assert found == [anchor_of(token, text) for token in tokens]
    assert found == sorted(found)


@given(st.data())
def test_tokens_of_range_are_those_anchored_in_it(data: st.DataObject) -> None:
    """A byte range holds exactly the tokens whose anchor lies in it."""
    text, tokens = data.draw(cut_texts())
    ranges = data.draw(nested_ranges(len(text)))
    places = [anchor_of(token, text) for token in tokens]
    firsts, lasts = tokens_of(np.array(places, dtype=np.int64), *as_arrays(ranges))
    for (start, end), first, last in zip(ranges, firsts.tolist(), lasts.tolist(), strict=True):
        assert [i for i, anchor in enumerate(places) if start <= anchor < end] == list(range(first, last))


@given(cut_texts(), st.data())
def test_one_border_is_found_as_by_all_anchors(drawn: tuple[bytes, list[Interval]], data: st.DataObject) -> None:
    """The first token from a byte on, looked up for that byte alone, is what all anchors together say."""
    text, tokens = drawn
    start_byte, end_byte = as_arrays(tokens)
    byte = data.draw(st.integers(0, len(text)))
    expected = int(np.searchsorted(anchors(start_byte, end_byte, text), byte))
    assert first_token_from(start_byte, end_byte, text, byte) == expected


@given(st.data())
def test_nested_stay_nested_and_disjoint_stay_disjoint(data: st.DataObject) -> None:
    """Alignment is monotone: of nested ranges the tokens nest, of disjoint ranges they are disjoint."""
    text, tokens = data.draw(cut_texts())
    ranges = data.draw(nested_ranges(len(text)))
    firsts, lasts = tokens_of(anchors(*as_arrays(tokens), text), *as_arrays(ranges))
    held = [set(range(first, last)) for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True)]
    for (a_start, a_end), a in zip(ranges, held, strict=True):
        for (b_start, b_end), b in zip(ranges, held, strict=True):
            if a_start <= b_start and b_end <= a_end:
                assert b <= a
            if a_end <= b_start:
                assert not a & b
                assert not a or not b or max(a) < min(b)


@given(TEXTS_JOINED)
@example("\x7f\x80\u07ff\u0800\uffff\U00010000\U0010ffff")
def test_char_to_byte_is_length_of_encoded_prefix(text: str) -> None:
    """A character's byte position is the length of the UTF-8 before it; the last entry is the text's."""
    assert char_to_byte(text).tolist() == [len(text[:i].encode()) for i in range(len(text) + 1)]


@given(cut_texts())
def test_tokens_that_cut_a_text_cover_it(drawn: tuple[bytes, list[Interval]]) -> None:
    """Tokens without gap between them cover their text."""
    text, tokens = drawn
    assert covers_text(*as_arrays(tokens), text)


@given(st.data())
def test_covers_text_as_defined(data: st.DataObject) -> None:
    """Tokens cover a text where they ascend within it, and every byte left out is white space."""
    text, tokens = data.draw(cut_texts())
    kept = [token for token in tokens if data.draw(st.integers(0, 4))]
    left_out = set(range(len(text))) - {byte for start, end in kept for byte in range(start, end)}
    expected = all(text[byte] in ASCII_WHITE_SPACE for byte in left_out)
    assert covers_text(*as_arrays(kept), text) == expected


@pytest.mark.parametrize(
    "tokens",
    [[(0, 2), (2, 5)], [(2, 4), (0, 2)], [(-1, 2), (2, 4)], [(0, 3), (3, 2), (2, 4)]],
    ids=["beyond the end", "not in order", "before the start", "negative length"],
)
def test_what_is_no_run_of_tokens_covers_nothing(tokens: list[Interval]) -> None:
    """Intervals out of order, outside the text, or of negative length are refused."""
    assert not covers_text(*as_arrays(tokens), b"abcd")


@pytest.mark.parametrize("name", slow_but(QUICK, TOKENIZERS))
def test_tokens_of_codec_spell_the_text(name: str, prepared: Callable[[str], Prepared]) -> None:
    """Bytes of every token are those it spells, for every program: the anchors are those of the literal reading."""
    ready = prepared(name)
    texts = [ready.codec.normalize(code) for _, code in PROGRAMS.values() if "▁" not in code]
    encoded = ready.codec.encode_batch(texts, opens_sequence=True)
    for text, tokens in zip(texts, encoded, strict=True):
        assert tokens is not None
        raw = text.encode()
        spelled = ready.vocabulary.intervals(tokens.ids.tolist(), raw)
        expected = [anchor_of(interval, raw) for interval in spelled]
        found = anchors(tokens.start_byte, tokens.end_byte, raw).tolist()
        if ready.vocabulary.is_byte_level:
            assert list(zip(tokens.start_byte.tolist(), tokens.end_byte.tolist(), strict=True)) == spelled
            assert found == expected
        else:  # a character split over tokens is one place: HF's offsets know no parts of it
            assert found == [_character_start(anchor, raw) for anchor in expected]


def _character_start(position: int, text: bytes) -> int:
    while position < len(text) and text[position] & 0xC0 == 0x80:
        position -= 1
    return position


@settings(max_examples=50, deadline=None)
@given(text=TEXTS_JOINED)
@pytest.mark.parametrize("name", ["trained", "metaspace", "metaspace-prepend"])
def test_random_text_is_spelled_by_its_tokens(text: str, name: str, prepared: Callable[[str], Prepared]) -> None:
    """Tokens of any text spell it, byte for byte, or the text is refused (and never with a byte-level vocabulary)."""
    ready = prepared(name)
    text = ready.codec.normalize(text)
    tokens = ready.codec.encode_batch([text], opens_sequence=True)[0]
    if tokens is None:
        assert not ready.vocabulary.is_byte_level
    else:
        ready.vocabulary.intervals(tokens.ids.tolist(), text.encode())
