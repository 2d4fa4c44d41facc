"""Counter-based random numbers: every draw is a function of (seed, epoch, sample id, use, index), of nothing else.

A sample's keys, one for each use, come from a cryptographic hash on the host. On the device, splitmix64 turns a key and an
index into 64 bits with integer arithmetic only, so that CPU and GPU agree in every bit, and a sample's draws do not depend
on the batch, the rank, or what was drawn before.

Shapes: B batch, K streams, N draws.
"""

import hashlib
from collections.abc import Sequence
from enum import IntEnum

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


class Stream(IntEnum):
    """The uses of randomness. Each has a key of its own; the index is a position, a span's row, or 0."""

    TOKEN_COIN = 0  # by position in the sequence: whether a token is corrupted
    SPAN_COIN = 1  # by span: whether a span survives its coin
    SPAN_ORDER = 2  # by span: the shuffle of Algorithm 1
    FILL_ORDER = 3  # by code token: the fallback of Algorithm 1
    GRANULARITY = 4  # one a sample: the block size of ast-cut
    SPAN_OPERATOR = 5  # by span: what happens to a corrupted subtree
    LEAF_OPERATOR = 6  # by code token: what happens to a corrupted leaf
    SIBLINGS = 7  # by span: in which order siblings change places
    DONOR = 8  # one a sample: in which order contents replace each other
    SPAN_REVEAL = 9  # by span
    TOKEN_REVEAL = 10  # by position in the sequence
    NOISE = 11  # one an epoch: where the noise levels begin
    END_TOKENS = 12  # one a sample: how many end tokens are appended


_GAMMA = 0x9E3779B97F4A7C15 - (1 << 64)  # 2^64 / golden ratio, as splitmix64 counts
_MIX_1 = 0xBF58476D1CE4E5B9 - (1 << 64)
_MIX_2 = 0x94D049BB133111EB - (1 << 64)
_UNIT = 2.0**-53


def stream_keys(seed: int, epoch: int | Sequence[int], sample_ids: Sequence[str]) -> npt.NDArray[np.int64]:
    """Keys [B, K] of every stream of some samples: SHAKE-256 of seed, epoch (one, or each sample's) and sample id."""
    size = 8 * len(Stream)
    epochs = [epoch] * len(sample_ids) if isinstance(epoch, int) else epoch
    texts = [f"{seed}\0{sample_epoch}\0{sample_id}" for sample_epoch, sample_id in zip(epochs, sample_ids, strict=True)]
    digests = [hashlib.shake_256(text.encode()).digest(size) for text in texts]
    return np.frombuffer(b"".join(digests), dtype="<i8").reshape(len(sample_ids), len(Stream)).astype(np.int64)


def unit_of(key: int) -> float:
    """An integer modulo 2^64 as a number in [0, 1), on the host: its upper 53 bits."""
    return (int(key) % 2**64 >> 11) * _UNIT


def mix(bits: Tensor) -> Tensor:
    """The finaliser of splitmix64, a bijection of 64 bits held in int64 (Steele, Lea and Flood 2014, Fig. 15)."""
    bits = (bits ^ _shifted(bits, 30)) * _MIX_1
    bits = (bits ^ _shifted(bits, 27)) * _MIX_2
    return bits ^ _shifted(bits, 31)


def _shifted(bits: Tensor, count: int) -> Tensor:
    """Logical right shift: int64's own one copies the sign."""
    return (bits >> count) & ((1 << (64 - count)) - 1)


def draw(keys_BK: Tensor, wanted: Sequence[tuple[Stream, int]]) -> tuple[Tensor, ...]:
    """64 random bits for each index of several streams, hashed together: a GPU pays for launches, not for elements.

    Args:
        keys_BK: int64, of ``stream_keys``
        wanted: stream, and number of indices N from 0

    Returns:
        one int64 tensor [B, N] a stream
    """
    batch = keys_BK.shape[0]
    counter = torch.cat([torch.arange(1, count + 1, device=keys_BK.device) for _, count in wanted])
    keys = torch.cat([keys_BK[:, stream : stream + 1].expand(batch, count) for stream, count in wanted], dim=1)
    return torch.split(mix(keys + counter * _GAMMA), [count for _, count in wanted], dim=1)


def uniform(bits: Tensor) -> Tensor:
    """Random bits as float64 in [0, 1), exact multiples of 2^-53."""
    return _shifted(bits, 11).double() * _UNIT


def order_key(bits: Tensor) -> Tensor:
    """Random bits as an int64 that is not negative, to sort by. 63 bits: float32 keys have ties in every large batch."""
    return _shifted(bits, 1)
