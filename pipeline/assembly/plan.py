"""Which rows become which samples: duplicates, validation problems, the limit. Decided on keys alone, before any shard.

A row costs 18 bytes here and 9 for each of its further keys; samples themselves stay on the disk.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.pipeline.manifest import GroupingCounts, KeyCounts
from syntaxdiff.pipeline.rows.grouping import Grouping

DEFAULT_VALIDATION = 1_000  # the paper's
DEFAULT_SHARE = 20  # at most one problem in so many is held out where no size is asked for
COMMON_SAMPLES = 20  # a guessed id that more samples, and more than half of all, have in common is not a problem's


class Fate(IntEnum):
    """What becomes of a row."""

    REJECT = 0  # it is not a sample, for a reason of its own
    TRAIN = 1
    VALIDATION = 2
    DUPLICATE = 3  # its prompt, reasoning and code were there before
    SIBLING = 4  # another sample of its problem is in validation


def _no_keys() -> npt.NDArray[np.uint64]:
    return np.zeros(0, np.uint64)


def _no_kinds() -> npt.NDArray[np.uint8]:
    return np.zeros(0, np.uint8)


class Keys(NamedTuple):
    """Keys of R rows in the order of the source, and of K further keys of these.

    Whether each row is a sample, hashes of its content and of its problem's statement; how many further keys each has, and
    these: hashes, and their kinds as indices into ``Grouping.kinds``. None further where ``num_keys`` is empty.
    """

    is_sample: npt.NDArray[np.bool_]
    content: npt.NDArray[np.uint64]
    problem: npt.NDArray[np.uint64]
    num_keys: npt.NDArray[np.uint8] = _no_kinds()
    key: npt.NDArray[np.uint64] = _no_keys()
    key_kind: npt.NDArray[np.uint8] = _no_kinds()

    @classmethod
    def joined(cls, parts: "list[Keys]") -> "Keys":
        """The keys of several parts, one after the other."""
        if not parts:
            return cls(np.zeros(0, bool), _no_keys(), _no_keys())
        return cls(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


@dataclass(frozen=True)
class Plan:
    """Fate of every row that counts.

    Attributes:
        fate: one per row; rows after the one that filled the limit are left out
        shortfall: samples that are missing to the limit, 0 where it is reached or none was set
        grouping: what the samples that count were grouped by, as shard.Manifest has it
    """

    fate: npt.NDArray[np.uint8]
    shortfall: int
    grouping: GroupingCounts


def make_plan(keys: Keys, *, validation_size: int | None, limit: int | None, grouping: Grouping | None = None) -> Plan:
    """Decides what becomes of every row.

    Samples that share a key are one group, and so are those that others connect. Validation is one sample, that of the smallest
    content hash, from each of the ``validation_size`` groups of the smallest hash; other samples of those groups are left out,
    so that no problem is on both sides. With a limit, the groups are those of the first ``limit`` samples, and training is
    filled up in order until both together reach it; the plan then depends on no row after the last that counts.

    Args:
        validation_size: number of groups; None for 1,000, or a twentieth of the groups where that is less
        limit: number of samples of both splits together
        grouping: names the kinds of the keys

    Raises:
        SettingsError: validation would leave nothing to train on
    """
    grouping = grouping or Grouping()
    fate = np.zeros(len(keys.is_sample), dtype=np.uint8)
    samples = np.flatnonzero(keys.is_sample)
    _, first = np.unique(keys.content[samples], return_index=True)
    fate[samples] = Fate.DUPLICATE
    unique = samples[np.sort(first)]
    pool = unique[:limit]

    groups = _Groups(keys, grouping, end=len(fate) if limit is None else int(pool[-1]) + 1 if len(pool) else 0)
    label, hashes = groups.labels(groups.end)
    in_pool = np.unique(label[pool])
    size = min(DEFAULT_VALIDATION, len(in_pool) // DEFAULT_SHARE) if validation_size is None else validation_size
    size = size if len(in_pool) else 0  # without any sample the rejects say why, and they come later
    if size and size >= min(len(in_pool), limit or len(in_pool)):
        raise SettingsError(
            f"--validation-size {size} would leave nothing to train on: the source gives {len(in_pool)} problems"
            + (f" under --limit {limit}" if limit else "")
            + groups.described()
        )
    held_out = in_pool[np.argsort(hashes[in_pool], kind="stable")[:size]]
    candidates = pool[np.isin(label[pool], held_out)]
    order = np.lexsort((keys.content[candidates], label[candidates]))
    _, smallest = np.unique(label[candidates[order]], return_index=True)
    validation = candidates[order][smallest]

    if limit is None:
        fate[unique] = np.where(np.isin(label[unique], held_out), Fate.SIBLING, Fate.TRAIN)
        fate[validation] = Fate.VALIDATION
        return Plan(fate, 0, groups.summary(fate))

    return _limited(groups, fate, unique, validation, limit)


def _limited(
    groups: "_Groups", fate: npt.NDArray[np.uint8], unique: npt.NDArray[np.int64], validation: npt.NDArray[np.int64], limit: int
) -> Plan:
    """The plan with as many rows as fill the limit.

    Args:
        fate: of all rows, so far that of duplicates and rejects
        unique: rows that may become samples
        validation: of these, the rows that are held out
    """
    num_rows, missing = len(unique[:limit]), 0
    while True:  # rows after the pool may connect groups: whatever is connected with validation does not train
        end = int(unique[num_rows - 1]) + 1 if num_rows else 0
        label, _ = groups.labels(end)
        is_held = np.isin(label[unique[:num_rows]], label[validation])
        missing = limit - len(validation) - int((~is_held).sum())
        if missing == 0 or num_rows == len(unique):
            break
        later = unique[num_rows:]
        may_train = np.flatnonzero(~groups.touches(later, end, label[validation]))
        num_rows += int(may_train[missing - 1]) + 1 if len(may_train) >= missing else len(later)
    fate[unique[:num_rows]] = np.where(is_held, Fate.SIBLING, Fate.TRAIN)
    fate[validation] = Fate.VALIDATION
    if missing == 0:
        last = int(np.flatnonzero(np.isin(fate[:end], (Fate.TRAIN, Fate.VALIDATION))).max(initial=-1))
        fate = fate[: last + 1]
    return Plan(fate, missing, groups.summary(fate))


class _Groups:
    """Groups of samples that share keys, within as many of the first rows as are asked for.

    Attributes:
        end: rows by which guessed ids are judged: the pool's
    """

    def __init__(self, keys: Keys, grouping: Grouping, end: int) -> None:
        self._keys = keys
        self._grouping = grouping
        self.end = end
        rows = np.arange(len(keys.is_sample))
        num_keys = keys.num_keys if len(keys.num_keys) else np.zeros(len(rows), np.uint8)
        row, key, kind = np.repeat(rows, num_keys), keys.key, keys.key_kind
        self._ignored = self._common(row, key, kind)
        kept = ~np.isin(kind, self._ignored) & keys.is_sample[row]
        base = np.flatnonzero(keys.is_sample)
        # Every key of every sample, its statement among them, in the order of the rows.
        self._row = np.concatenate([base, row[kept]])
        self._key = np.concatenate([keys.problem[base], key[kept]])
        self._kind = np.concatenate([np.zeros(len(base), np.uint8), kind[kept]])
        order = np.argsort(self._row, kind="stable")
        self._row, self._key, self._kind = self._row[order], self._key[order], self._kind[order]
        self._is_plain = not kept.any()  # statements alone: groups need no connecting

    def _common(self, row: npt.NDArray[np.int64], key: npt.NDArray[np.uint64], kind: npt.NDArray[np.uint8]) -> list[int]:
        """Guessed kinds one value of which most samples of the pool have: it names something else than a problem."""
        found = []
        for guessed in sorted(self._grouping.guessed):
            values = key[(kind == guessed) & (row < self.end) & self._keys.is_sample[row]]
            if len(values) > COMMON_SAMPLES:
                most = int(np.unique(values, return_counts=True)[1].max())
                if most > COMMON_SAMPLES and most > len(values) / 2:
                    found.append(guessed)
        return found

    def labels(self, end: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
        """Group of each row before ``end`` that is a sample, -1 for others; and each group's hash, its smallest statement's."""
        last = int(np.searchsorted(self._row, end))
        row, key = self._row[:last], self._key[:last]
        values, value = np.unique(key, return_inverse=True)
        label = np.full(end, -1, np.int64)
        if self._is_plain:
            label[row] = value
            return label, values
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import connected_components

        ones = np.ones(len(row), np.uint8)
        edges = coo_matrix((ones, (row, end + value)), shape=(end + len(values),) * 2)
        count, component = connected_components(edges, directed=False)
        is_sample = self._keys.is_sample[:end]
        label[is_sample] = component[:end][is_sample]
        hashes = np.full(count, np.iinfo(np.uint64).max, np.uint64)
        np.minimum.at(hashes, label[is_sample], self._keys.problem[:end][is_sample])
        return label, hashes

    def touches(self, rows: npt.NDArray[np.int64], end: int, held_out: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Whether each of some rows shares a key with a row before ``end`` whose group is held out."""
        label, _ = self.labels(end)
        last = int(np.searchsorted(self._row, end))
        held_keys = np.unique(self._key[:last][np.isin(label[self._row[:last]], held_out)])
        touched = np.zeros(len(self._keys.is_sample), bool)
        touched[self._row[np.isin(self._key, held_keys)]] = True
        return touched[rows]

    def summary(self, fate: npt.NDArray[np.uint8]) -> GroupingCounts:
        """Number of groups, samples by kind of key, and kinds that were ignored; siblings of validation count."""
        counts = np.zeros(len(self._keys.is_sample), bool)
        counts[: len(fate)] = np.isin(fate, (Fate.TRAIN, Fate.VALIDATION, Fate.SIBLING))
        label, _ = self.labels(len(fate))
        of_samples = counts[self._row]
        keys = {}
        for kind, name in enumerate(self._grouping.kinds):
            values = self._key[of_samples & (self._kind == kind)]
            if len(values):
                _, times = np.unique(values, return_counts=True)
                keys[name] = KeyCounts(samples=len(values), shared=int(times[times > 1].sum()))
        return GroupingCounts(
            groups=len(np.unique(label[counts[: len(fate)]])),
            keys=keys,
            ignored=tuple(self._grouping.kinds[kind] for kind in self._ignored),
        )

    def described(self) -> str:
        """What an error says of the grouping."""
        names = [self._grouping.kinds[kind] for kind in np.unique(self._kind).tolist()]
        return f" (samples with the same {' or '.join(names)} are one problem; --group-field says what counts)"
