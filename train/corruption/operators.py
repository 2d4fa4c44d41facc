"""What happens to a corrupted unit: the mask token, or one of the operators of the paper's background section.

    drop         its tokens become the pad token; the length stays
    shuffle      inside it, sibling subtrees of equal token length change places
    relabel      it becomes another subtree of the same kind, arity and token length, with other tokens; a leaf becomes
                 another leaf of its kind, an operator sign another sign of its class
    placeholder  its names and literals become the commonest token of their kind; keywords and punctuation stay

Donors come from the same sample, so that a sample's corruption does not depend on its batch. A unit to which an operator
cannot be applied with any effect is masked. Only whole subtrees are touched; a single token counts as one where its leaf has
no other token. Paper, "Abstract Syntax Tree": (i) drop or shuffle whole subtrees, (ii) replace node labels while preserving
arity, (iii) inject type-consistent placeholders.

Shapes: B batch, C code tokens, S candidate spans, G languages, K node kinds.
"""

from enum import IntEnum
from typing import NamedTuple

import torch
from torch import Tensor

from syntaxdiff.pipeline.shard import TokenIds
from syntaxdiff.train.corruption.config import OperatorShares
from syntaxdiff.train.corruption.strategies import Code, Units, covered, owner, stabbing_sum
from syntaxdiff.train.randomness import mix

_NOBODY = torch.iinfo(torch.int64).max  # the group of what takes no part
_FACTOR = 0x5851F42D4C957F2D  # odd, so that it has an inverse modulo 2^64
_INVERSE_FACTOR = pow(_FACTOR, -1, 2**64) - (pow(_FACTOR, -1, 2**64) >> 63 << 64)  # as int64


class Operator(IntEnum):
    """What happened to a position; NONE is untouched.

    Where tensors are compared with a member, write ``.value``: torch.compile takes a comparison with an enum for a bool.
    """

    NONE = 0
    MASK = 1
    DROP = 2
    SHUFFLE = 3
    RELABEL = 4
    PLACEHOLDER = 5


class LeafTables(NamedTuple):
    """What a leaf can become, by language and leaf kind; int64 [G, K], -1 where there is nothing."""

    filler_GK: Tensor  # token id that stands for the kind
    class_GK: Tensor  # kinds of one class replace each other


class Leaves(NamedTuple):
    """The code tokens as leaves of the syntax tree."""

    ids_BC: Tensor  # int64, clean
    is_whole_BC: Tensor  # bool: the token is all of its leaf
    filler_BC: Tensor
    class_BC: Tensor


class SpanLabels(NamedTuple):
    """What the spans are; padded spans have any label."""

    kind_BS: Tensor
    arity_BS: Tensor


class OperatorDraws(NamedTuple):
    """Random numbers of the operators."""

    span_BS: Tensor  # float64 in [0, 1)
    leaf_BC: Tensor  # float64 in [0, 1)
    siblings_BS: Tensor  # int64, an order
    donor_B: Tensor  # int64


class Operated(NamedTuple):
    """The corrupted code."""

    ids_BC: Tensor  # int64, clean where nothing happened
    operator_BC: Tensor  # uint8, of Operator


def leaves_of(ids_BC: Tensor, leaf_kind_BC: Tensor, language_B: Tensor, tables: LeafTables | None) -> Leaves:
    """The leaves of a batch."""
    if tables is None:
        filler_BC = class_BC = torch.full_like(leaf_kind_BC, -1)
    else:
        filler_BC, class_BC = (table[language_B[:, None], leaf_kind_BC] for table in tables)
    return Leaves(ids_BC=ids_BC, is_whole_BC=is_whole_leaf(leaf_kind_BC), filler_BC=filler_BC, class_BC=class_BC)


def is_whole_leaf(leaf_kind_BC: Tensor) -> Tensor:
    """Whether a token is all of its leaf, bool [B, C]: no other token's anchor lies in the leaf.

    Certain where neither neighbour's leaf is of the same kind; two neighbouring leaves of one kind are passed over. As
    everywhere here, a node holds the tokens whose anchor lies in it: of `._` and `name`, the leaf `_name` is the second.
    """
    differs = leaf_kind_BC[:, 1:] != leaf_kind_BC[:, :-1]
    from_left, from_right = (torch.nn.functional.pad(differs, pad, value=True) for pad in ((1, 0), (0, 1)))
    return (leaf_kind_BC > 0) & from_left & from_right


def mask_units(units: Units, ids_BC: Tensor, mask_id: int, code: Code) -> Operated:
    """Every unit becomes mask tokens."""
    touched_BC = covered(units.span_BS, code) | units.token_BC
    return Operated(torch.where(touched_BC, mask_id, ids_BC), touched_BC.to(torch.uint8) * Operator.MASK.value)


def operate(
    units: Units,
    leaves: Leaves,
    labels: SpanLabels,
    code: Code,
    draws: OperatorDraws,
    shares: OperatorShares,
    ids: TokenIds,
) -> Operated:
    """Every unit becomes mask tokens, or what the operator makes of it that its draw says; ``ids`` has mask and pad."""
    ids_BC = leaves.ids_BC
    owner_BC = owner(units.span_BS, code)
    in_span_BC = owner_BC >= 0
    # Asked for by the draw; a leaf has no siblings inside it to shuffle.
    asked_BS = torch.where(units.span_BS, _asked(draws.span_BS, shares), Operator.NONE.value)
    is_leaf_BC = units.token_BC & leaves.is_whole_BC
    asked_BC = torch.where(is_leaf_BC, _asked(draws.leaf_BC, shares), Operator.MASK.value)
    asked_BC = torch.where(in_span_BC, asked_BS.gather(1, owner_BC.clamp(min=0)), asked_BC)
    asked_BC = torch.where(in_span_BC | units.token_BC, asked_BC, Operator.NONE.value)

    changed_BC = torch.where(asked_BC == Operator.DROP.value, ids.pad, ids.mask)
    if shares.shuffle:
        changed_BC = torch.where(
            asked_BC == Operator.SHUFFLE.value, _shuffled(ids_BC, asked_BS, draws.siblings_BS, code), changed_BC
        )
    if shares.relabel:
        relabelled_BC = torch.where(
            in_span_BC,
            _relabelled_spans(ids_BC, owner_BC, labels, draws.donor_B, code),
            _relabelled_leaves(leaves, draws.donor_B),
        )
        changed_BC = torch.where(asked_BC == Operator.RELABEL.value, relabelled_BC, changed_BC)
    if shares.placeholder:
        filled_BC = torch.where(leaves.filler_BC >= 0, leaves.filler_BC, ids_BC)
        changed_BC = torch.where(asked_BC == Operator.PLACEHOLDER.value, filled_BC, changed_BC)
    changed_BC = torch.where(asked_BC == Operator.NONE.value, ids_BC, changed_BC)

    # What an operator left as it was is masked instead, the whole unit.
    differs_BC = changed_BC != ids_BC
    has_effect_BC = torch.where(in_span_BC, _any_in_span(differs_BC, code).gather(1, owner_BC.clamp(min=0)), differs_BC)
    fails_BC = (asked_BC != Operator.NONE.value) & ~has_effect_BC
    return Operated(
        ids_BC=torch.where(fails_BC, ids.mask, changed_BC),
        operator_BC=torch.where(fails_BC, Operator.MASK.value, asked_BC).to(torch.uint8),
    )


def _asked(uniform: Tensor, shares: OperatorShares) -> Tensor:
    """The operator of each draw, int64: [0, drop) drops, the next share shuffles, and so on; the rest masks."""
    asked = torch.full_like(uniform, Operator.MASK.value, dtype=torch.int64)
    upper = 0.0
    for operator in (Operator.DROP, Operator.SHUFFLE, Operator.RELABEL, Operator.PLACEHOLDER):
        lower, upper = upper, upper + float(getattr(shares, operator.name.lower()))
        asked = torch.where((uniform >= lower) & (uniform < upper), operator.value, asked)
    return asked


def _any_in_span(flag_BC: Tensor, code: Code) -> Tensor:
    """Whether a flag is set anywhere in each span, bool [B, S]."""
    sums = torch.nn.functional.pad(flag_BC.long().cumsum(dim=1), (1, 0))
    return sums.gather(1, code.end_BS) > sums.gather(1, code.start_BS)


def _shuffled(ids_BC: Tensor, asked_BS: Tensor, siblings_BS: Tensor, code: Code) -> Tensor:
    """The code with sibling subtrees of equal length moved round in a random cycle, in all units that are to be shuffled.

    Subtrees move as they are, and what moves inside them moves along: a token's way is the sum of the moves around it.
    """
    index_S = torch.arange(asked_BS.shape[1], device=asked_BS.device)
    unit_before_BS = torch.where(asked_BS == Operator.SHUFFLE.value, index_S, -1).cummax(dim=1).values
    unit_before_BS = torch.nn.functional.pad(unit_before_BS[:, :-1], (1, 0), value=-1)
    unit_end_BS = code.end_BS.gather(1, unit_before_BS.clamp(min=0))
    moves_BS = (unit_before_BS >= 0) & (unit_end_BS > code.start_BS) & (code.length_BS > 0)
    group_BS = torch.where(moves_BS, (code.parent_BS + 1) << 32 | code.length_BS, _NOBODY)
    next_BS = _next_in_cycle(group_BS, siblings_BS)
    move_BS = torch.where(moves_BS, code.start_BS.gather(1, next_BS) - code.start_BS, 0)
    target_BC = torch.arange(ids_BC.shape[1], device=ids_BC.device) + stabbing_sum(move_BS, code)
    return torch.empty_like(ids_BC).scatter_(1, target_BC, ids_BC)


def _relabelled_spans(ids_BC: Tensor, owner_BC: Tensor, labels: SpanLabels, donor_B: Tensor, code: Code) -> Tensor:
    """The code with each unit replaced by a donor of its kind, arity and length with other tokens; itself without one."""
    shape_BS = (labels.kind_BS << 8 | labels.arity_BS) << 32 | code.length_BS
    group_BS = torch.where(code.length_BS > 0, shape_BS, _NOBODY)
    donor_BS = _next_content(group_BS, mix(_content(ids_BC, code) ^ donor_B[:, None]))
    move_BS = code.start_BS.gather(1, donor_BS) - code.start_BS
    source_BC = torch.arange(ids_BC.shape[1], device=ids_BC.device) + move_BS.gather(1, owner_BC.clamp(min=0))
    return ids_BC.gather(1, torch.where(owner_BC >= 0, source_BC, 0))


def _relabelled_leaves(leaves: Leaves, donor_B: Tensor) -> Tensor:
    """Each whole leaf as another of its class: one name everywhere becomes one other name. Itself where there is no other."""
    group_BC = torch.where(leaves.is_whole_BC & (leaves.class_BC >= 0), leaves.class_BC, _NOBODY)
    donor_BC = _next_content(group_BC, mix(leaves.ids_BC ^ donor_B[:, None]))
    return torch.where(group_BC < _NOBODY, leaves.ids_BC.gather(1, donor_BC), leaves.ids_BC)


def _content(ids_BC: Tensor, code: Code) -> Tensor:
    """A 64-bit hash of each span's tokens, int64 [B, S]: a polynomial of their mixed ids modulo 2^64, from prefix sums."""
    count = ids_BC.shape[1] + 1
    up_C, down_C = (torch.full((count,), factor, device=ids_BC.device).cumprod(dim=0) for factor in (_FACTOR, _INVERSE_FACTOR))
    sums_BC = torch.nn.functional.pad((mix(ids_BC) * up_C[:-1]).cumsum(dim=1), (1, 0))
    return (sums_BC.gather(1, code.end_BS) - sums_BC.gather(1, code.start_BS)) * down_C[code.start_BS]


def _sorted_by(group_BN: Tensor, then_BN: Tensor) -> tuple[Tensor, Tensor]:
    """Order by group and then by a second key, and the groups in that order."""
    by_second = torch.argsort(then_BN, dim=1, stable=True)
    sorted_group_BN, by_group = torch.sort(group_BN.gather(1, by_second), dim=1, stable=True)
    return by_second.gather(1, by_group), sorted_group_BN


def _opens(sorted_BN: Tensor) -> Tensor:
    """Whether a value differs from the one before it, bool [B, N]."""
    return torch.nn.functional.pad(sorted_BN[:, 1:] != sorted_BN[:, :-1], (1, 0), value=True)


def _after(opens_BN: Tensor) -> Tensor:
    """For each place the next place at which something opens, N where nothing does, int64 [B, N]."""
    count = opens_BN.shape[1]
    index_N = torch.arange(count, device=opens_BN.device)
    here = torch.where(opens_BN, index_N, count)
    from_here = here.flip(1).cummin(dim=1).values.flip(1)
    return torch.nn.functional.pad(from_here[:, 1:], (0, 1), value=count)


def _first(opens_BN: Tensor) -> Tensor:
    """For each place the last place at or before it at which something opens, int64 [B, N]."""
    return torch.where(opens_BN, torch.arange(opens_BN.shape[1], device=opens_BN.device), 0).cummax(dim=1).values


def _unsorted(value_BN: Tensor, order_BN: Tensor) -> Tensor:
    return torch.empty_like(value_BN).scatter_(1, order_BN, value_BN)


def _next_in_cycle(group_BN: Tensor, key_BN: Tensor) -> Tensor:
    """For each element the next of its group, in the order of the keys and wrapping around; int64 [B, N]."""
    order_BN, sorted_group_BN = _sorted_by(group_BN, key_BN)
    opens_BN = _opens(sorted_BN=sorted_group_BN)
    after_BN = torch.arange(group_BN.shape[1], device=group_BN.device) + 1
    next_BN = torch.where(after_BN < _after(opens_BN), after_BN, _first(opens_BN))
    return _unsorted(order_BN.gather(1, next_BN), order_BN)


def _next_content(group_BN: Tensor, content_BN: Tensor) -> Tensor:
    """For each element the first element of the next content in its group, wrapping around; of its own if there is no other."""
    order_BN, sorted_group_BN = _sorted_by(group_BN, content_BN)
    group_opens_BN = _opens(sorted_group_BN)
    content_opens_BN = group_opens_BN | _opens(content_BN.gather(1, order_BN))
    next_BN = _after(content_opens_BN)
    next_BN = torch.where(next_BN < _after(group_opens_BN), next_BN, _first(group_opens_BN))
    return _unsorted(order_BN.gather(1, next_BN), order_BN)
