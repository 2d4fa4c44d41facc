"""The measures of one cell, a strategy at a mask rate: sums over samples of what came back of each (recovery.py).

Shapes: S samples, M masked tokens, U masked spans, of all samples one after the other.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from syntaxdiff.eval.reconstruction.outcome import Cell, CellSamples, SampleMeasures, SpanMeasures, TokenMeasures
from syntaxdiff.eval.reconstruction.recovery import SEEN, UNSEEN, Recovery, SpanColumns, Subject, TokenColumns
from syntaxdiff.eval.stats import Share, pooled_mean, pooled_share, share_of
from syntaxdiff.pipeline.shard import Region

LENGTH_BINS = (2, 4, 8, 16, 32, 64)  # lower ends, in tokens
DEEPEST = 10  # what lies deeper is counted there
Measured = TypeVar("Measured", TokenMeasures, SpanMeasures)


def measures(subjects: Sequence[Subject], recoveries: Sequence[Recovery], strategy: str, rate: float) -> Cell:
    """One cell of the result: all measures, over all samples, over those with and without an unseen pattern, and by group."""
    num_samples = len(subjects)
    tokens = TokenColumns(
        *(np.concatenate(column) for column in zip(*(restored.tokens for restored in recoveries), strict=True))
    )
    spans = SpanColumns(*(np.concatenate(column) for column in zip(*(restored.spans for restored in recoveries), strict=True)))
    sample_M = np.repeat(np.arange(num_samples), [len(restored.tokens.region_M) for restored in recoveries])
    sample_U = np.repeat(np.arange(num_samples), [len(restored.spans.kind_U) for restored in recoveries])
    is_exact_U = spans.are_exact()
    num_code = [subject.code[1] - subject.code[0] for subject in subjects]

    def sums(sample_X: npt.NDArray[np.int64], value_X: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        return np.bincount(sample_X, weights=value_X, minlength=num_samples).astype(np.float64)

    def of_tokens(is_in_M: npt.NDArray[np.bool_]) -> TokenMeasures:
        sample = sample_M[is_in_M]
        counts = sums(sample, np.ones(len(sample)))
        return TokenMeasures(
            token_accuracy=pooled_share(sums(sample, tokens.is_right_M[is_in_M]), counts),
            cross_entropy=pooled_mean(sums(sample, tokens.nats_M[is_in_M]), counts),
        )

    def of_spans(is_in_U: npt.NDArray[np.bool_]) -> SpanMeasures:
        sample = sample_U[is_in_U]
        counts = sums(sample, np.ones(len(sample)))
        lengths = sums(sample, spans.length_U[is_in_U])
        return SpanMeasures(
            exact_spans=pooled_share(sums(sample, is_exact_U[is_in_U]), counts),
            equal_subtrees=pooled_share(sums(sample, spans.is_equal_U[is_in_U]), counts),
            token_accuracy=pooled_share(sums(sample, spans.num_right_U[is_in_U]), lengths),
        )

    def of_samples(is_in_S: npt.NDArray[np.bool_]) -> SampleMeasures:
        in_code_M = (tokens.region_M == Region.CODE) & is_in_S[sample_M]
        chosen = [
            (subject, restored)
            for subject, restored, is_in in zip(subjects, recoveries, is_in_S.tolist(), strict=True)
            if is_in and restored.num_masked_code
        ]
        compiled = [(subject, restored) for subject, restored in chosen if restored.compiles is not None]
        by_token, by_span = of_tokens(in_code_M), of_spans(is_in_S[sample_U])
        return SampleMeasures(
            token_accuracy=by_token.token_accuracy,
            cross_entropy=by_token.cross_entropy,
            exact_spans=by_span.exact_spans,
            equal_subtrees=by_span.equal_subtrees,
            exact_programs=_share(restored.num_right_code == restored.num_masked_code for _, restored in chosen),
            equal_trees=_share(restored.has_equal_tree for _, restored in chosen),
            parses=_share(restored.parses for _, restored in chosen),
            compiles=_share(restored.compiles for _, restored in compiled),
            originals_parse=_share(subject.program.parses for subject, _ in chosen),
            originals_compile=_share(subject.compiles for subject, _ in compiled),
        )

    def groups(label_X: npt.NDArray[Any], measure: Callable[[npt.NDArray[np.bool_]], Measured]) -> dict[str, Measured]:
        return {str(label): measure(label_X == label) for label in np.unique(label_X).tolist() if label not in ("", -1)}

    has_unseen_S = np.array([subject.has_unseen for subject in subjects])
    bin_U = np.searchsorted(LENGTH_BINS, spans.length_U, side="right") - 1
    return Cell(
        strategy=strategy,
        mask_rate=rate,
        masked_share=pooled_share([restored.num_masked_code for restored in recoveries], num_code),
        all=of_samples(np.ones(num_samples, dtype=bool)),
        with_unseen_shape=of_samples(has_unseen_S),
        without_unseen_shape=of_samples(~has_unseen_S),
        spans_by_shape={"unseen": of_spans(spans.pattern_U == UNSEEN), "seen": of_spans(spans.pattern_U == SEEN)},
        tokens_by_region={
            region.name.lower(): of_tokens(tokens.region_M == region) for region in Region if region != Region.PROMPT
        },
        tokens_by_leaf_kind=groups(tokens.leaf_kind_M, of_tokens),
        tokens_by_depth=groups(np.minimum(tokens.depth_M, DEEPEST), of_tokens),
        spans_by_node_kind=groups(spans.kind_U, of_spans),
        spans_by_depth=groups(np.minimum(spans.depth_U, DEEPEST), of_spans),
        spans_by_length={length_label(index): of_spans(bin_U == index) for index in range(len(LENGTH_BINS))},
        per_sample=CellSamples(
            masked=tuple(restored.num_masked_code for restored in recoveries),
            right=tuple(restored.num_right_code for restored in recoveries),
            equal_tree=tuple(restored.has_equal_tree for restored in recoveries),
            parses=tuple(restored.parses for restored in recoveries),
        ),
    )


def _share(holds: Iterable[bool | None]) -> Share:
    """A share of programs."""
    flags = [bool(flag) for flag in holds]
    return share_of(sum(flags), len(flags))


def length_label(index: int) -> str:
    """Name of a bin of LENGTH_BINS: ``4-7``, the last ``64+``."""
    is_last = index == len(LENGTH_BINS) - 1
    return f"{LENGTH_BINS[index]}+" if is_last else f"{LENGTH_BINS[index]}-{LENGTH_BINS[index + 1] - 1}"
