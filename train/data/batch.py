"""Samples as the corruption takes them: padded tensors, on any device, and the few facts that the host keeps.

What is checked here, on the host and once a sample, the device then relies on: regions are whole, spans lie in the code, and
nest. How samples are chosen and read is not here.

Shapes: B batch, L tokens, R region runs, C code tokens, S candidate spans; each the largest of its batch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from syntaxdiff.pipeline.errors import ShardError
from syntaxdiff.pipeline.shard import LanguageKinds, Region, Role, SampleRow

Array = npt.NDArray[Any]


class SampleTensors(NamedTuple):
    """A batch on a device. Positions of spans and code tokens count from the first code token of their sample.

    Padding: ids are the pad id, region labels PROMPT, roles and leaf kinds 0; spans are empty and begin after all code.
    """

    input_ids_BL: Tensor  # int64, the clean ids
    region_label_BR: Tensor  # uint8
    region_end_BR: Tensor  # int64, exclusive
    code_start_B: Tensor  # int64, 0 where there is no code
    num_code_B: Tensor  # int64
    role_BC: Tensor  # uint8
    leaf_kind_BC: Tensor  # int64
    span_start_BS: Tensor  # int64, in pre-order
    span_end_BS: Tensor  # int64, exclusive
    span_parent_BS: Tensor  # int64, -1 at the top
    span_kind_BS: Tensor  # int64
    span_arity_BS: Tensor  # int64
    language_B: Tensor  # int64, index into the manifest's languages, sorted by name


@dataclass(frozen=True)
class Batch:
    """Tensors, and what the host knows of them without asking the device.

    Attributes:
        tensors: the samples
        sample_ids: B names, of which the random draws are made
        length_B: tokens of each sample; the attention mask comes from here, never from ids
        num_code_B: code tokens
        num_corruptible_B: tokens outside the prompt: the normaliser of the loss sums them over the global batch
    """

    tensors: SampleTensors
    sample_ids: tuple[str, ...]
    length_B: npt.NDArray[np.int64]
    num_code_B: npt.NDArray[np.int64]
    num_corruptible_B: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.sample_ids)

    def to(self, device: torch.device | str) -> "Batch":
        """The batch on a device; the host does not wait for the copies to a GPU."""
        return replace(self, tensors=SampleTensors(*(copied(tensor, device) for tensor in self.tensors)))


def copied(tensor: Tensor, device: torch.device | str) -> Tensor:
    """A tensor on a device, copied without waiting where that is a GPU."""
    if torch.device(device).type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def shape_multiple(device: torch.device | str) -> int:
    """What lengths are rounded up to on a device, so that few shapes of matrices occur.

    On a CPU oneDNN generates code for each new shape of a bfloat16 product and keeps it: where every batch has a length of its
    own, that takes a third of a small model's time, and memory grows while lengths are new (benchmarks/cpu_shapes.py). A GPU
    has kernels for all shapes, and where a lone sample were padded its flash attention, which takes no mask, would be lost.
    """
    return 64 if torch.device(device).type == "cpu" else 1


def rounded_up(count: int, multiple: int) -> int:
    """The smallest multiple that is not below a count."""
    return -(-count // multiple) * multiple


def collate(
    rows: Sequence[SampleRow], *, pad_id: int, languages: Mapping[str, LanguageKinds], pad_to_multiple: int = 1
) -> Batch:
    """Samples as a padded batch on the CPU, each checked.

    Args:
        rows: at least one sample, as shards hold them
        pad_id: what stands behind a sample's end
        languages: the manifest's; a sample's index is into their names, sorted
        pad_to_multiple: L becomes a multiple of this, so that fewer shapes occur

    Raises:
        ShardError: a sample's columns contradict each other; the message names the sample
    """
    codes = [check_row(row, languages) for row in rows]
    longest = max(len(row.input_ids) for row in rows)
    num_tokens = rounded_up(longest, pad_to_multiple)
    num_code = np.array([end - start for start, end in codes], dtype=np.int64)
    code_start = np.array([start for start, _ in codes], dtype=np.int64)
    widest = max(1, int(num_code.max()))
    tensors = SampleTensors(
        input_ids_BL=_padded([row.input_ids for row in rows], num_tokens, pad_id),
        region_label_BR=_padded([row.region_label for row in rows], 1, Region.PROMPT, torch.uint8),
        region_end_BR=_padded([row.region_end for row in rows], 1, num_tokens),
        code_start_B=torch.from_numpy(code_start),
        num_code_B=torch.from_numpy(num_code),
        role_BC=_padded([row.role for row in rows], widest, Role.OTHER, torch.uint8),
        leaf_kind_BC=_padded([row.leaf_kind for row in rows], widest, 0),
        span_start_BS=_padded([row.span_start - start for row, (start, _) in zip(rows, codes, strict=True)], 1, widest),
        span_end_BS=_padded([row.span_end - start for row, (start, _) in zip(rows, codes, strict=True)], 1, widest),
        span_parent_BS=_padded([row.span_parent for row in rows], 1, -1),
        span_kind_BS=_padded([row.span_kind for row in rows], 1, 0),
        span_arity_BS=_padded([row.span_arity for row in rows], 1, 0),
        language_B=torch.tensor([sorted(languages).index(row.language) for row in rows]),
    )
    length = np.array([len(row.input_ids) for row in rows], dtype=np.int64)
    return Batch(
        tensors=tensors,
        sample_ids=tuple(row.sample_id for row in rows),
        length_B=length,
        num_code_B=num_code,
        num_corruptible_B=np.array([num_corruptible(row) for row in rows], dtype=np.int64),
    )


def num_corruptible(row: SampleRow) -> int:
    """Tokens of a sample outside its prompt, from the region runs."""
    lengths = np.diff(row.region_end, prepend=0)
    return int(lengths[row.region_label != Region.PROMPT].sum())


def _padded(values: Sequence[Array], at_least: int, fill: int, dtype: torch.dtype = torch.int64) -> Tensor:
    """Rows of different lengths as one tensor, filled up to the longest, and to ``at_least`` columns."""
    width = max(at_least, *(len(value) for value in values))
    out = torch.full((len(values), width), fill, dtype=dtype)
    view = out.numpy()
    for row, value in zip(view, values, strict=True):
        row[: len(value)] = value
    return out


def check_row(row: SampleRow, languages: Mapping[str, LanguageKinds]) -> tuple[int, int]:
    """The code's token interval of a sample whose columns fit each other.

    Raises:
        ShardError: they do not; the message names the sample
    """
    fault = _fault(row, languages)
    if fault is not None:
        raise ShardError(f"sample {row.sample_id}: {fault}; run `syntaxdiff-prep verify`, or build the shards again")
    return _code(row)


def _code(row: SampleRow) -> tuple[int, int]:
    (run,) = np.nonzero(row.region_label == Region.CODE)
    if len(run) == 0:
        return 0, 0
    return int(row.region_end[run[0] - 1]) if run[0] else 0, int(row.region_end[run[0]])


def _fault(row: SampleRow, languages: Mapping[str, LanguageKinds]) -> str | None:
    """What is wrong with a sample's columns, None where nothing is."""
    if row.language not in languages:
        return f"its language {row.language!r} is not in the manifest"
    ends = row.region_end.astype(np.int64)
    if len(ends) != len(row.region_label) or len(ends) == 0 or (np.diff(ends, prepend=0) <= 0).any():
        return "its region runs are damaged"
    if ends[-1] != len(row.input_ids):
        return f"its regions end at token {ends[-1]} and the sequence has {len(row.input_ids)}"
    if row.region_label.max() > max(Region) or (row.region_label == Region.CODE).sum() > 1:
        return "a region label is unknown, or the code is in several runs"
    code_start, code_end = _code(row)
    if not len(row.role) == len(row.leaf_kind) == code_end - code_start:
        return f"{len(row.role)} roles and {len(row.leaf_kind)} leaf kinds for {code_end - code_start} code tokens"
    num_kinds = len(languages[row.language].node_kinds)
    if row.role.max(initial=0) > max(Role) or max(row.leaf_kind.max(initial=0), row.span_kind.max(initial=0)) >= num_kinds:
        return "a role or a node kind is unknown"
    return _span_fault(row, code_start, code_end)


def _span_fault(row: SampleRow, code_start: int, code_end: int) -> str | None:
    """What is wrong with a sample's spans: they must lie in the code, stand in pre-order, and nest as their parents say.

    Siblings that are disjoint, and lie in a parent that stands before them, make a family without crossings: by induction
    over the depth.
    """
    start, end, parent = (column.astype(np.int64) for column in (row.span_start, row.span_end, row.span_parent))
    if not len(start) == len(end) == len(parent) == len(row.span_kind) == len(row.span_arity):
        return "its span columns are of different lengths"
    if len(start) == 0:
        return None
    index = np.arange(len(start))
    checks = (
        ("{} is empty", start >= end),
        (f"{{}} lies outside the code [{code_start}, {code_end})", (start < code_start) | (end > code_end)),
        ("{} has a parent that does not stand before it", (parent < -1) | (parent >= index)),
    )
    for what, is_wrong in checks:
        if is_wrong.any():
            return what.format(_name(start, end, int(is_wrong.argmax())))
    inner = np.nonzero(parent >= 0)[0]
    outside = inner[(start[inner] < start[parent[inner]]) | (end[inner] > end[parent[inner]])]
    if len(outside):
        child = int(outside[0])
        return f"{_name(start, end, child)} crosses or leaves its parent {_name(start, end, int(parent[child]))}"
    order = np.lexsort((index, parent))
    same_parent = parent[order][1:] == parent[order][:-1]
    overlapping = np.nonzero(same_parent & (start[order][1:] < end[order][:-1]))[0]
    if len(overlapping):
        first, second = int(order[overlapping[0]]), int(order[overlapping[0] + 1])
        return f"{_name(start, end, first)} and {_name(start, end, second)} cross, or their parents are wrong"
    if ((np.diff(start) < 0) | ((np.diff(start) == 0) & (np.diff(end) > 0))).any():
        return "its spans are not in pre-order"
    return None


def _name(start: Array, end: Array, index: int) -> str:
    return f"span {index} [{start[index]}, {end[index]})"
