"""How well a model restores masked programs: fixed samples, fixed masks by strategy and rate, one JSON file of what came back.

Read ``reconstruct`` first. The masks are the corruption's own for (seed, epoch 0, sample, rate), so every checkpoint gets the
same. Each *cell*, a strategy at a rate, is kept as soon as it is done; the same command resumes. Keys of the file
are in docs/reconstruction.md, restoring in restoration.py, what came back of one sample in recovery.py,
sums over samples in measures.py.

Shapes: S samples, M masked tokens, U masked spans, of all samples one after the other.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer

from syntaxdiff.eval.inference.config import GenerationConfig
from syntaxdiff.eval.inference.language_model import Described, LanguageModel
from syntaxdiff.eval.progress import OnProgress, Progress
from syntaxdiff.eval.reconstruction.config import ReconstructionConfig
from syntaxdiff.eval.reconstruction.measures import measures
from syntaxdiff.eval.reconstruction.outcome import (
    RECONSTRUCTION,
    RECONSTRUCTION_VERSION,
    Cell,
    MeasuredCheckpoint,
    MeasuredData,
    ReconstructedSamples,
    ReconstructionOrigin,
    ReconstructionResults,
    ReconstructionSettings,
    TrainingShapes,
    read_reconstruction,
)
from syntaxdiff.eval.reconstruction.recovery import Subject, read_subject, recovery
from syntaxdiff.eval.reconstruction.restoration import Masked, restore
from syntaxdiff.eval.syntax.compiler import Compiler
from syntaxdiff.eval.syntax.config import Size
from syntaxdiff.eval.syntax.shapes import seen_shapes
from syntaxdiff.pipeline.errors import SettingsError, SourceError, TokenizerError
from syntaxdiff.pipeline.json_records import json_text
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

RESULT = RECONSTRUCTION
_CORRUPTED_AT_ONCE = 32
_OPTIONS = {"num_samples": "--samples", "num_steps": "--steps", "weights_sha256": "model", "fingerprint": "set of shards"}


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
) -> ReconstructionResults:
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
    origin = _origin(checkpoint.name, weights_sha256(checkpoint.model), manifest, config, rows, too_long)
    with storage_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    cells = {} if restart else finished_cells(out / RESULT, origin)

    sampler = checkpoint.sampler(GenerationConfig())
    unknown = range(codec.vocab_size, checkpoint.vocab_size)  # to the shards' tokenizer
    rule = replace(sampler.rule, never=tuple(sorted({*sampler.rule.never, *unknown})))
    size = Size(*config.shape_nodes)
    with Compiler() as compiler:
        on_rows = _counter("training shapes", manifest.num_samples("train"), on_progress)
        seen = seen_shapes(data, manifest, codec, size, shapes or out, on_rows)
        subjects = [read_subject(row, manifest, codec, seen, size, compiler) for row in rows]

        def results() -> ReconstructionResults:
            order = sorted(cells, key=lambda cell: (STRATEGIES.index(cell[0]), cell[1]))
            return ReconstructionResults(
                **{own.name: getattr(origin, own.name) for own in fields(origin)},
                shapes=TrainingShapes(
                    min_nodes=size.min_nodes,
                    max_nodes=size.max_nodes,
                    training_samples=seen.num_samples,
                    training_shapes=len(seen.hashes),
                ),
                per_sample=ReconstructedSamples(
                    sample_id=tuple(subject.row.sample_id for subject in subjects),
                    has_unseen_shape=tuple(subject.has_unseen for subject in subjects),
                ),
                cells=tuple(cells[cell] for cell in order),
            )

        todo = [cell for cell in _grid(config) if cell not in cells]
        on_samples = _counter("reconstruction", len(todo) * len(subjects), on_progress)
        for strategy, rate in todo:
            drawn = draw(subjects, manifest, config, strategy, rate)
            restored = restore(
                sampler.denoiser,
                [masks.masked for masks in drawn],
                rule,
                num_steps=config.num_steps,
                batch_size=config.batch_size,
                on_done=on_samples,
            )
            recoveries = [
                recovery(subject, masks.is_masked_L, back, manifest, codec, compiler)
                for subject, masks, back in zip(subjects, drawn, restored, strict=True)
            ]
            cells[strategy, rate] = measures(subjects, recoveries, strategy, rate)
            write_text(out / RESULT, json_text(results()))
    finished = results()
    write_text(out / RESULT, json_text(finished))
    return finished


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
        finished_cells(out / RESULT, _origin(checkpoint.name, None, manifest, config, rows, too_long))


def _counter(stage: str, total: int, on_progress: OnProgress | None) -> Callable[[int], None]:
    """Counts finished samples and reports the progress of the stage."""
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
    built_with: dict[str, int] = Tokenizer.from_file(str(data / TOKENIZER / "tokenizer.json")).get_vocab()
    known = checkpoint.tokenizer.get_vocab()
    strange = next((piece for piece, number in built_with.items() if known.get(piece) != number), None)
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
        batch = collate([subject.row for subject in part], pad_id=manifest.token_ids.pad, languages=manifest.languages)
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


# ------------------------------------------------------------------------------------------------------- the result's file


def _grid(config: ReconstructionConfig) -> list[tuple[str, float]]:
    return [(strategy, rate) for strategy in dict.fromkeys(config.strategies) for rate in sorted(set(config.mask_rates))]


def _origin(
    name: str,
    sha256: str | None,
    manifest: Manifest,
    config: ReconstructionConfig,
    rows: Sequence[SampleRow],
    too_long: int,
) -> ReconstructionOrigin:
    """What a result is of. ``sha256`` is that of the weights, None where they are not loaded yet."""
    return ReconstructionOrigin(
        version=RECONSTRUCTION_VERSION,
        checkpoint=MeasuredCheckpoint(name=name, weights_sha256=sha256),
        data=MeasuredData(fingerprint=manifest.fingerprint, split=config.split),
        settings=ReconstructionSettings(**{own.name: getattr(config, own.name) for own in fields(ReconstructionSettings)}),
        num_samples=len(rows),
        num_too_long=too_long,
    )


def weights_sha256(model: torch.nn.Module) -> str:
    """SHA-256 over names, types and values of a model's weights, wherever they come from."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().contiguous().cpu().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def finished_cells(path: Path, origin: ReconstructionOrigin) -> dict[tuple[str, float], Cell]:
    """The cells of an earlier run of the same model, data and settings.

    Raises:
        SettingsError: the file is of others, of another version, or damaged
    """
    if not path.exists():
        return {}
    advice = "choose another --out, or start from scratch with --restart"
    try:
        earlier = read_reconstruction(path, advice=advice)
    except SourceError as error:
        raise SettingsError(str(error)) from error
    was, now = _identity(earlier), _identity(origin)
    for name, value in now.items():
        is_unknown = name == "weights_sha256" and value is None
        if not is_unknown and was[name] != value:
            option = _OPTIONS.get(name, name)
            raise SettingsError(f"{path} is of another {option} ({was[name]}, now {value}): {advice}")
    return {(cell.strategy, cell.mask_rate): cell for cell in earlier.cells}


def _identity(origin: ReconstructionOrigin) -> dict[str, object]:
    """All that must be equal for cells to be equal, by name."""
    parts = (origin.checkpoint, origin.data, origin.settings)
    named = {own.name: getattr(part, own.name) for part in parts for own in fields(part)}
    del named["name"]  # the weights decide, whatever their folder is called
    return named
