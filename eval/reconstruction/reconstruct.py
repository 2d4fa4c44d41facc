"""How well a model restores masked programs: fixed samples, fixed masks by strategy and rate, one JSON file of what came back.

Read ``reconstruct`` first. The masks are the corruption's own for (seed, epoch 0, sample, rate), so every checkpoint gets the
same. Each *cell*, a strategy at a rate, is kept as soon as it is done; the same command goes on where it was. Keys of the file
are in docs/reconstruction.md, restoring in restoration.py, what came back of one sample in recovery.py.

Shapes: S samples, M masked tokens, U masked spans, of all samples one after the other.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer

from syntaxdiff.eval.inference.config import GenerationConfig
from syntaxdiff.eval.inference.language_model import Described, LanguageModel
from syntaxdiff.eval.progress import OnProgress, Progress
from syntaxdiff.eval.reconstruction.config import ReconstructionConfig
from syntaxdiff.eval.reconstruction.recovery import (
    SEEN,
    UNSEEN,
    Recovery,
    SpanColumns,
    Subject,
    TokenColumns,
    read_subject,
    recovery,
)
from syntaxdiff.eval.reconstruction.restoration import Masked, restore
from syntaxdiff.eval.stats import pooled_mean, pooled_share, share_of
from syntaxdiff.eval.syntax.compiler import Compiler
from syntaxdiff.eval.syntax.config import Size
from syntaxdiff.eval.syntax.shapes import seen_shapes
from syntaxdiff.pipeline.errors import SettingsError, TokenizerError
from syntaxdiff.pipeline.shard import (
    TOKENIZER,
    Manifest,
    Region,
    SampleRow,
    iter_row_groups,
    read_manifest,
    rows_of,
    storage_errors,
    write_text,
)
from syntaxdiff.pipeline.tokens.codec import Codec
from syntaxdiff.train.corruption.config import STRATEGIES, CorruptionConfig
from syntaxdiff.train.corruption.corrupt import corrupt, plan
from syntaxdiff.train.corruption.noise import Noise
from syntaxdiff.train.data.batch import collate, num_corruptible

RESULT = "reconstruction.json"
RESULT_VERSION = 1
LENGTH_BINS = (2, 4, 8, 16, 32, 64)  # lower ends, in tokens
DEEPEST = 10  # what lies deeper is counted there
_CORRUPTED_AT_ONCE = 32
_OPTIONS = {"num_samples": "--samples", "num_steps": "--steps", "weights_sha256": "model", "fingerprint": "set of shards"}
_GRID = ("strategies", "mask_rates")  # may differ between runs that share a folder


class Drawn(NamedTuple):
    """One sample's masks: bool [L], and the sequence to restore."""

    is_masked_L: npt.NDArray[np.bool_]
    masked: Masked


def reconstruct(
    checkpoint: LanguageModel,
    data: Path,
    out: Path,
    config: ReconstructionConfig,
    *,
    restart: bool = False,
    shapes: Path | None = None,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Masks samples, restores them, and writes what came back to ``out / RESULT``; cells that stand there are kept.

    Args:
        shapes: where the shapes of the training samples are kept, for several models of the same data; None: in ``out``

    Returns:
        what was written

    Raises:
        SettingsError: the model cannot fill masks, or ``out`` holds results under other settings and ``restart`` is not given
        TokenizerError: shards and checkpoint have different vocabularies
        ShardError: the shards are missing or damaged, or the split is empty
        StorageError: the disk refused
    """
    manifest = read_manifest(data)
    codec = Codec(data / TOKENIZER, "hf")
    check_fit(checkpoint, manifest, data)
    rows, too_long = chosen_rows(data, manifest, config, checkpoint.max_positions)
    head = _head(checkpoint.name, weights_sha256(checkpoint.model), manifest, config, rows, too_long)
    with storage_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    cells = {} if restart else finished_cells(out / RESULT, head)

    sampler = checkpoint.sampler(GenerationConfig())
    unknown = range(codec.vocab_size, checkpoint.vocab_size)  # to the shards' tokenizer
    rule = replace(sampler.rule, never=tuple(sorted({*sampler.rule.never, *unknown})))
    size = Size(*config.shape_nodes)
    with Compiler() as compiler:
        told = _counter("training shapes", manifest.num_samples("train"), on_progress)
        seen = seen_shapes(data, manifest, codec, size, shapes or out, told)
        subjects = [read_subject(row, manifest, codec, seen, size, compiler) for row in rows]
        head["shapes"] = {
            "min_nodes": size.min_nodes,
            "max_nodes": size.max_nodes,
            "training_samples": seen.num_samples,
            "training_shapes": len(seen.hashes),
        }
        head["per_sample"] = {
            "sample_id": [subject.row.sample_id for subject in subjects],
            "has_unseen_shape": [subject.has_unseen for subject in subjects],
        }
        todo = [cell for cell in _grid(config) if cell not in cells]
        told = _counter("reconstruction", len(todo) * len(subjects), on_progress)
        for strategy, rate in todo:
            drawn = draw(subjects, manifest, config, strategy, rate)
            restored = restore(
                sampler.denoiser,
                [one.masked for one in drawn],
                rule,
                num_steps=config.num_steps,
                batch_size=config.batch_size,
                on_done=told,
            )
            recoveries = [
                recovery(subject, one.is_masked_L, back, manifest, codec, compiler)
                for subject, one, back in zip(subjects, drawn, restored, strict=True)
            ]
            cells[strategy, rate] = measures(subjects, recoveries, strategy, rate)
            _write(out / RESULT, head, cells)
    return _write(out / RESULT, head, cells)


def check(
    checkpoint: Described, data: Path, manifest: Manifest, out: Path, config: ReconstructionConfig, *, restart: bool
) -> None:
    """Refuses what ``reconstruct`` would, before the weights are loaded; their digest is compared when they are.

    Raises:
        as ``reconstruct``
    """
    check_fit(checkpoint, manifest, data)
    rows, too_long = chosen_rows(data, manifest, config, checkpoint.max_positions)
    if not restart:
        finished_cells(out / RESULT, _head(checkpoint.name, None, manifest, config, rows, too_long))


def _counter(stage: str, total: int, on_progress: OnProgress | None) -> Callable[[int], None]:
    """What is told how many more samples are done, and tells how far the stage is."""
    done = 0

    def more(count: int) -> None:
        nonlocal done
        done += count
        if on_progress is not None:
            on_progress(Progress(stage, done, total))

    return more


def check_fit(checkpoint: Described, manifest: Manifest, data: Path) -> None:
    """Raises SettingsError where a model cannot fill masks, TokenizerError where its ids are not those of the shards."""
    checkpoint.check_infilling()
    told: dict[str, int] = Tokenizer.from_file(str(data / TOKENIZER / "tokenizer.json")).get_vocab()
    known = checkpoint.tokenizer.get_vocab()
    strange = next((piece for piece, one in told.items() if known.get(piece) != one), None)
    if strange is not None or manifest.token_ids.mask != checkpoint.token_ids.mask:
        what = f"{strange!r} is another token" if strange is not None else "the mask is another token"
        raise TokenizerError(
            f"{data} was built with another tokenizer than {checkpoint.name}'s ({what}): build the shards with it"
        )


def chosen_rows(
    data: Path, manifest: Manifest, config: ReconstructionConfig, max_positions: int | None
) -> tuple[list[SampleRow], int]:
    """Samples spread evenly over a split, and how many of them were left out because the model reads no so long ones."""
    available = manifest.num_samples(config.split)
    count = available if config.num_samples is None else min(config.num_samples, available)
    wanted = {index * available // count for index in range(count)}
    rows: list[SampleRow] = []
    index = 0
    for shard in manifest.splits[config.split]:
        for table in iter_row_groups(data, shard):
            rows += [row for place, row in enumerate(rows_of(table), index) if place in wanted]
            index += table.num_rows
    short = [row for row in rows if max_positions is None or len(row.input_ids) <= max_positions]
    if not short:
        reason = (
            "holds no samples" if not rows else f"holds no samples of at most the {max_positions} tokens that the model reads"
        )
        raise SettingsError(f"--split {config.split}: {data} {reason}; build shards with --validation-size and --max-length")
    return short, len(rows) - len(short)


def draw(
    subjects: Sequence[Subject], manifest: Manifest, config: ReconstructionConfig, strategy: str, rate: float
) -> list[Drawn]:
    """The masks of one cell, as training would draw them for the seed in its first epoch."""
    corruption = CorruptionConfig(strategy=strategy, max_span_share=config.max_span_share)
    drawn = []
    for first in range(0, len(subjects), _CORRUPTED_AT_ONCE):
        part = subjects[first : first + _CORRUPTED_AT_ONCE]
        batch = collate([one.row for one in part], pad_id=manifest.token_ids.pad, languages=manifest.languages)
        decided = plan(batch, corruption, Noise.fixed(rate, len(part)), seed=config.seed, epoch=0)
        corrupted = corrupt(batch.tensors, decided, corruption, manifest.token_ids)
        for subject, seen_L, operator_L in zip(part, corrupted.input_ids_BL, corrupted.operator_BL, strict=True):
            length = len(subject.row.input_ids)
            is_masked_L, seen_ids = operator_L[:length].numpy() != 0, seen_L[:length].numpy()
            clean_ids = subject.row.input_ids.astype(np.int64)
            if config.code_only:
                is_masked_L = is_masked_L & (subject.region_L == Region.CODE)
                seen_ids = np.where(is_masked_L, seen_ids, clean_ids)
            drawn.append(Drawn(is_masked_L, Masked(clean_ids, seen_ids, num_corruptible(subject.row))))
    return drawn


# ---------------------------------------------------------------------------------------------------- sums over samples


def measures(subjects: Sequence[Subject], recoveries: Sequence[Recovery], strategy: str, rate: float) -> dict[str, Any]:
    """One cell of the result: all measures, over all samples, over those with and without an unseen pattern, and by group."""
    num_samples = len(subjects)
    tokens = TokenColumns(*(np.concatenate(column) for column in zip(*(one.tokens for one in recoveries), strict=True)))
    spans = SpanColumns(*(np.concatenate(column) for column in zip(*(one.spans for one in recoveries), strict=True)))
    sample_M = np.repeat(np.arange(num_samples), [len(one.tokens.region_M) for one in recoveries])
    sample_U = np.repeat(np.arange(num_samples), [len(one.spans.kind_U) for one in recoveries])
    is_exact_U = spans.are_exact()
    num_code = [subject.code[1] - subject.code[0] for subject in subjects]

    def sums(sample_X: npt.NDArray[np.int64], value_X: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        return np.bincount(sample_X, weights=value_X, minlength=num_samples).astype(np.float64)

    def of_tokens(is_in_M: npt.NDArray[np.bool_]) -> dict[str, Any]:
        sample = sample_M[is_in_M]
        counts = sums(sample, np.ones(len(sample)))
        return {
            "token_accuracy": pooled_share(sums(sample, tokens.is_right_M[is_in_M]), counts)._asdict(),
            "cross_entropy": pooled_mean(sums(sample, tokens.nats_M[is_in_M]), counts)._asdict(),
        }

    def of_spans(is_in_U: npt.NDArray[np.bool_]) -> dict[str, Any]:
        sample = sample_U[is_in_U]
        counts = sums(sample, np.ones(len(sample)))
        lengths = sums(sample, spans.length_U[is_in_U])
        return {
            "exact_spans": pooled_share(sums(sample, is_exact_U[is_in_U]), counts)._asdict(),
            "equal_subtrees": pooled_share(sums(sample, spans.is_equal_U[is_in_U]), counts)._asdict(),
            "token_accuracy": pooled_share(sums(sample, spans.num_right_U[is_in_U]), lengths)._asdict(),
        }

    def of_samples(is_in_S: npt.NDArray[np.bool_]) -> dict[str, Any]:
        in_code_M = (tokens.region_M == Region.CODE) & is_in_S[sample_M]
        chosen = [
            (subject, one)
            for subject, one, is_in in zip(subjects, recoveries, is_in_S.tolist(), strict=True)
            if is_in and one.num_masked_code
        ]
        compiled = [(subject, one) for subject, one in chosen if one.compiles is not None]

        def share(holds: Iterable[bool | None]) -> dict[str, Any]:
            flags = [bool(flag) for flag in holds]
            return share_of(sum(flags), len(flags))._asdict()

        by_span = of_spans(is_in_S[sample_U])
        return {
            **of_tokens(in_code_M),
            "exact_spans": by_span["exact_spans"],
            "equal_subtrees": by_span["equal_subtrees"],
            "exact_programs": share(one.num_right_code == one.num_masked_code for _, one in chosen),
            "equal_trees": share(one.has_equal_tree for _, one in chosen),
            "parses": share(one.parses for _, one in chosen),
            "compiles": share(one.compiles for _, one in compiled),
            "originals_parse": share(subject.program.parses for subject, _ in chosen),
            "originals_compile": share(subject.compiles for subject, _ in compiled),
        }

    def groups(label_X: npt.NDArray[Any], measure: Callable[[npt.NDArray[np.bool_]], dict[str, Any]]) -> dict[str, Any]:
        return {str(label): measure(label_X == label) for label in np.unique(label_X).tolist() if label not in ("", -1)}

    has_unseen_S = np.array([subject.has_unseen for subject in subjects])
    bin_U = np.searchsorted(LENGTH_BINS, spans.length_U, side="right") - 1
    return {
        "strategy": strategy,
        "mask_rate": rate,
        "masked_share": pooled_share([one.num_masked_code for one in recoveries], num_code)._asdict(),
        "all": of_samples(np.ones(num_samples, dtype=bool)),
        "with_unseen_shape": of_samples(has_unseen_S),
        "without_unseen_shape": of_samples(~has_unseen_S),
        "spans_by_shape": {"unseen": of_spans(spans.pattern_U == UNSEEN), "seen": of_spans(spans.pattern_U == SEEN)},
        "tokens_by_region": {
            region.name.lower(): of_tokens(tokens.region_M == region) for region in Region if region != Region.PROMPT
        },
        "tokens_by_leaf_kind": groups(tokens.leaf_kind_M, of_tokens),
        "tokens_by_depth": groups(np.minimum(tokens.depth_M, DEEPEST), of_tokens),
        "spans_by_node_kind": groups(spans.kind_U, of_spans),
        "spans_by_depth": groups(np.minimum(spans.depth_U, DEEPEST), of_spans),
        "spans_by_length": {length_label(index): of_spans(bin_U == index) for index in range(len(LENGTH_BINS))},
        "per_sample": {
            "masked": [one.num_masked_code for one in recoveries],
            "right": [one.num_right_code for one in recoveries],
            "equal_tree": [one.has_equal_tree for one in recoveries],
            "parses": [one.parses for one in recoveries],
        },
    }


def length_label(index: int) -> str:
    """Name of a bin of LENGTH_BINS: ``4-7``, the last ``64+``."""
    is_last = index == len(LENGTH_BINS) - 1
    return f"{LENGTH_BINS[index]}+" if is_last else f"{LENGTH_BINS[index]}-{LENGTH_BINS[index + 1] - 1}"


# ------------------------------------------------------------------------------------------------------- the result's file


def _grid(config: ReconstructionConfig) -> list[tuple[str, float]]:
    return [(strategy, rate) for strategy in dict.fromkeys(config.strategies) for rate in sorted(set(config.mask_rates))]


def _head(
    name: str,
    sha256: str | None,
    manifest: Manifest,
    config: ReconstructionConfig,
    rows: Sequence[SampleRow],
    too_long: int,
) -> dict[str, Any]:
    """What a result is of: equal heads, equal cells. ``sha256`` is that of the weights, None where they are not loaded yet."""
    settings = {name: value for name, value in asdict(config).items() if name not in _GRID}
    return {
        "version": RESULT_VERSION,
        "checkpoint": {"name": name, "weights_sha256": sha256},
        "data": {"fingerprint": manifest.fingerprint, "split": config.split},
        "settings": {**settings, "shape_nodes": list(config.shape_nodes)},
        "num_samples": len(rows),
        "num_too_long": too_long,
    }


def weights_sha256(model: torch.nn.Module) -> str:
    """SHA-256 over names, types and values of a model's weights, wherever they come from."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().contiguous().cpu().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def finished_cells(path: Path, head: dict[str, Any]) -> dict[tuple[str, float], dict[str, Any]]:
    """The cells of an earlier run of the same model, data and settings.

    Raises:
        SettingsError: the file is of others, or damaged
    """
    advice = "choose another --out, or start anew with --restart"
    try:
        earlier = json.loads(path.read_text("utf-8"))
        cells = {(cell["strategy"], cell["mask_rate"]): cell for cell in earlier["cells"]}
        was, now = ({**one["checkpoint"], **one["data"], **one["settings"]} for one in (earlier, head))
        is_same_version = earlier["version"] == head["version"]
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SettingsError(f"{path} cannot be read ({type(error).__name__}: {error}): {advice}") from error
    if not is_same_version:
        raise SettingsError(f"{path} was written by another version of syntaxdiff: {advice}")
    for name in now:
        is_unknown = name == "weights_sha256" and now[name] is None
        if name != "name" and not is_unknown and was.get(name) != now[name]:
            option = _OPTIONS.get(name, name)
            raise SettingsError(f"{path} is of another {option} ({was.get(name)}, now {now[name]}): {advice}")
    return cells


def _write(path: Path, head: dict[str, Any], cells: dict[tuple[str, float], dict[str, Any]]) -> dict[str, Any]:
    order = sorted(cells, key=lambda cell: (STRATEGIES.index(cell[0]), cell[1]))
    result = {**head, "cells": [cells[cell] for cell in order]}
    write_text(path, json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    return result
