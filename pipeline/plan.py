"""Which rows become which samples: duplicates, validation problems, the limit. Decided on keys alone, before any shard.

A row costs 17 bytes here; samples themselves stay on the disk.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from syntaxdiff.pipeline.errors import SettingsError

DEFAULT_VALIDATION = 1_000  # the paper's
DEFAULT_SHARE = 20  # at most one problem in so many is held out where no size is asked for


class Fate(IntEnum):
    """What becomes of a row."""

    REJECT = 0  # it is none, for a reason of its own
    TRAIN = 1
    VALIDATION = 2
    DUPLICATE = 3  # its prompt, reasoning and code were there before
    SIBLING = 4  # another sample of its problem is in validation


class Keys(NamedTuple):
    """Keys of rows in the order of the source: whether each is a sample, and hashes of its content and its problem."""

    is_sample: npt.NDArray[np.bool_]
    content: npt.NDArray[np.uint64]
    problem: npt.NDArray[np.uint64]

    @classmethod
    def joined(cls, parts: "list[Keys]") -> "Keys":
        """The keys of several parts, one after the other."""
        if not parts:
            return cls(np.zeros(0, bool), np.zeros(0, np.uint64), np.zeros(0, np.uint64))
        return cls(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


@dataclass(frozen=True)
class Plan:
    """Fate of every row that counts.

    Attributes:
        fate: one a row; rows after the one that filled the limit are left out
        shortfall: samples that are missing to the limit, 0 where it is reached or none was set
    """

    fate: npt.NDArray[np.uint8]
    shortfall: int


def make_plan(keys: Keys, *, validation_size: int | None, limit: int | None) -> Plan:
    """Decides what becomes of every row.

    Validation is one sample, that of the smallest content hash, from each of the ``validation_size`` problems of the
    smallest hash; other samples of those problems are left out, so that no problem is on both sides. With a limit, the
    problems are those of the first ``limit`` samples, and training is filled up in order until both together reach it.

    Args:
        validation_size: number of problems; None for 1,000, or a twentieth of the problems where that is less
        limit: number of samples of both splits together

    Raises:
        SettingsError: validation would leave nothing to train on
    """
    fate = np.zeros(len(keys.is_sample), dtype=np.uint8)
    samples = np.flatnonzero(keys.is_sample)
    _, first = np.unique(keys.content[samples], return_index=True)
    fate[samples] = Fate.DUPLICATE
    unique = samples[np.sort(first)]
    fate[unique] = Fate.TRAIN

    pool = unique[:limit]
    problems = np.unique(keys.problem[pool])  # ascending, so the smallest hashes come first
    size = min(DEFAULT_VALIDATION, len(problems) // DEFAULT_SHARE) if validation_size is None else validation_size
    size = size if len(problems) else 0  # without any sample the rejects say why, and they come later
    if size and size >= min(len(problems), limit or len(problems)):
        raise SettingsError(
            f"--validation-size {size} would leave nothing to train on: the source gives {len(problems)} problems"
            + (f" under --limit {limit}" if limit else "")
        )
    held_out = problems[:size]
    fate[unique[np.isin(keys.problem[unique], held_out)]] = Fate.SIBLING
    candidates = pool[np.isin(keys.problem[pool], held_out)]
    order = np.lexsort((keys.content[candidates], keys.problem[candidates]))
    _, smallest = np.unique(keys.problem[candidates[order]], return_index=True)
    fate[candidates[order][smallest]] = Fate.VALIDATION

    if limit is None:
        return Plan(fate, 0)
    train = np.flatnonzero(fate == Fate.TRAIN)
    wanted = limit - size
    if len(train) < wanted:
        return Plan(fate, wanted - len(train))
    last = max(train[wanted - 1], np.flatnonzero(fate == Fate.VALIDATION).max(initial=-1))
    assert len(train) == wanted or train[wanted] > last  # the first `limit` samples hold at most `wanted` to train on
    return Plan(fate[: last + 1], 0)
