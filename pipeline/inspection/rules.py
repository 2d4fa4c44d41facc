"""Rules that the columns of one sample keep among themselves, whatever its text: lengths, ranges, order, nesting."""

from typing import Any

import numpy as np

from syntaxdiff.pipeline.inspection.fault import BrokenInvariantError, hold
from syntaxdiff.pipeline.shard import LanguageKinds, Region, Role, SampleRow
from syntaxdiff.pipeline.syntax.spans import MIN_SPAN_TOKENS, nesting


def check_regions(row: SampleRow) -> None:
    """Runs that are whole and in order. Raises BrokenInvariantError."""
    ends, labels = row.region_end.astype(np.int64), row.region_label
    whole = len(ends) == len(labels) > 0 and ends[-1] == row.length
    hold(whole, "the region runs do not end at length", column="region_end", expected=row.length, found=_last(ends))
    is_run = (np.diff(ends, prepend=0) > 0) & (np.diff(labels.astype(int), prepend=-1) != 0)
    hold(is_run.all(), "a region run is empty or not maximal", column=f"region_end[{int(np.argmin(is_run))}]")
    hold(labels.max() <= max(Region), "an unknown region label", column="region_label", found=labels.max())
    first = labels[0]
    hold(
        first == Region.PROMPT, "the sequence does not open with the prompt", column="region_label[0]", expected=0, found=first
    )
    for once in (Region.PROMPT, Region.REASONING, Region.CODE):
        hold((labels == once).sum() <= 1, f"{once.name.lower()} is in several runs", column="region_label")
    closed = (labels == Region.CODE).any() and labels[-1] == Region.SCAFFOLD
    hold(closed, "there is no code, or nothing after it", column="region_label")


def check_spans(row: SampleRow, kinds: LanguageKinds) -> None:
    """Roles, leaf kinds and spans of a sample whose regions are sound. Raises BrokenInvariantError."""
    code_run = int(np.argmax(row.region_label == Region.CODE))
    first, end_of_code = (int(row.region_end[code_run - 1]) if code_run else 0), int(row.region_end[code_run])
    size = end_of_code - first
    for name, per_token in (("role", row.role), ("leaf_kind", row.leaf_kind)):
        hold(
            len(per_token) == size,
            "role or leaf_kind is not one a code token",
            column=name,
            expected=size,
            found=len(per_token),
        )
    hold((row.role <= max(Role)).all(), "an unknown role", column="role", found=row.role.max(initial=0))
    num_kinds = len(kinds.node_kinds)
    inside = (row.leaf_kind < num_kinds).all()
    hold(inside, "a leaf kind outside the manifest's list", column="leaf_kind", found=row.leaf_kind.max(initial=0))
    start, end = row.span_start.astype(np.int64), row.span_end.astype(np.int64)
    columns = {name: getattr(row, name) for name in ("span_start", "span_end", "span_kind", "span_arity", "span_parent")}
    for name, column in columns.items():
        hold(
            len(column) == len(start), "span columns of different lengths", column=name, expected=len(start), found=len(column)
        )
    inside = (row.span_kind < num_kinds).all()
    hold(inside, "a span kind outside the manifest's list", column="span_kind", found=row.span_kind.max(initial=0))
    hold((end - start >= MIN_SPAN_TOKENS).all(), f"a span of under {MIN_SPAN_TOKENS} tokens", column="span_end")
    hold(len(start) == 0 or (start.min() >= first and end.max() <= end_of_code), "a span outside the code", column="span_start")
    forward = (np.diff(start) > 0) | ((np.diff(start) == 0) & (np.diff(end) < 0))
    hold(forward.all(), "spans are not in pre-order, or one is there twice", column="span_start")
    parent, depth = nesting(start, end)
    at = int(np.argmax(parent != row.span_parent)) if len(parent) else 0
    if not np.array_equal(parent, row.span_parent):
        raise BrokenInvariantError(
            "span_parent is not the smallest span around",
            column=f"span_parent[{at}]",
            expected=parent[at],
            found=row.span_parent[at],
        )
    inner = parent >= 0
    hold((end[inner] <= end[parent[inner]]).all(), "spans cross", column="span_end")
    what = f"span_depth is {row.span_depth}, the spans nest {depth} deep"
    hold(depth == row.span_depth, what, column="span_depth", expected=depth, found=row.span_depth)


def _last(values: Any) -> Any:
    return values[-1] if len(values) else "no run"
