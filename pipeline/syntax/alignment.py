"""Bytes, tokens and syntax nodes: which tokens a node holds.

tree-sitter speaks bytes and tokenizers speak characters; everything here is in bytes, converted once a text.
A token's *anchor* is its first byte that is not white space (its first byte where all are). A node holds the tokens
whose anchor lies in it. One anchor per token, applied to both ends of every node, is monotone: nested nodes hold nested
tokens and disjoint nodes disjoint ones, which rounding outward or inward does not give.
"""

from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

IntArray: TypeAlias = npt.NDArray[np.int64]

_WHITE_SPACE = np.zeros(256, dtype=bool)
_WHITE_SPACE[list(b" \t\n\r\v\f")] = True


class TokenBytes(NamedTuple):
    """Tokens of one text: ids (int32), and the half-open byte interval of each in the text's UTF-8."""

    ids: npt.NDArray[np.int32]
    start_byte: IntArray
    end_byte: IntArray


def anchors(start_byte: IntArray, end_byte: IntArray, text: bytes) -> IntArray:
    """Anchor of every token: its first byte that is not white space, its first byte where all are.

    Args:
        start_byte, end_byte: half-open byte intervals, one per token
        text: UTF-8

    Returns:
        byte positions, as monotone as ``start_byte`` is
    """
    if len(start_byte) == 0 or not text:
        return start_byte
    solid = ~_WHITE_SPACE[np.frombuffer(text, dtype=np.uint8)]
    position = np.append(np.flatnonzero(solid), len(text))  # of the solid bytes; the end of the text after the last
    num_before = np.cumsum(solid, dtype=np.int32)  # solid bytes up to and with each byte
    at = np.minimum(start_byte, len(text) - 1)
    first_solid = np.maximum(position[num_before[at] - solid[at]], start_byte)
    return np.where(first_solid < end_byte, first_solid, start_byte)


def first_token_from(start_byte: IntArray, end_byte: IntArray, text: bytes, byte: int) -> int:
    """Index of the first token whose anchor is at or after a byte: ``tokens_of`` for one border, without all anchors."""
    index = int(np.searchsorted(start_byte, byte))
    while index > 0 and end_byte[index - 1] > byte:  # it opens before the border: is all that is solid of it after?
        before, after = text[start_byte[index - 1] : byte], text[byte : end_byte[index - 1]]
        if before.strip() or not after.strip():
            break
        index -= 1
    return index


def tokens_of(anchor: IntArray, start_byte: IntArray, end_byte: IntArray) -> tuple[IntArray, IntArray]:
    """Half-open token intervals of byte intervals: the tokens whose anchor lies in [start_byte, end_byte)."""
    return np.searchsorted(anchor, start_byte, side="left"), np.searchsorted(anchor, end_byte, side="left")


def char_to_byte(text: str) -> IntArray:
    """Byte position of every character of a text, and the text's length in bytes as the last entry."""
    code_points = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
    width = 1 + (code_points > 0x7F).astype(np.int64) + (code_points > 0x7FF) + (code_points > 0xFFFF)
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(width)])


def covers_text(start_byte: IntArray, end_byte: IntArray, text: bytes) -> bool:
    """Whether tokens lie in order, inside the text, and leave out nothing but white space."""
    size = len(text)
    if len(start_byte) == 0:
        return not text.strip()
    in_order = bool((np.diff(start_byte) >= 0).all() and (np.diff(end_byte) >= 0).all())
    inside = bool(start_byte[0] >= 0 and end_byte[-1] <= size and (start_byte <= end_byte).all())
    if not (in_order and inside):
        return False
    depth = np.zeros(size + 1, dtype=np.int64)
    np.add.at(depth, start_byte, 1)
    np.add.at(depth, end_byte, -1)
    bare = np.cumsum(depth[:size]) == 0
    return bool(_WHITE_SPACE[np.frombuffer(text, dtype=np.uint8)][bare].all())
