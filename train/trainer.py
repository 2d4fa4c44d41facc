"""A training run from top to bottom: ``train``.

Step after step: the next global batch, its micro-batches corrupted on the device and scored, the optimizer, and what is due
(validation, a preview, a checkpoint); at the end the exported model and a picture. What a run is made of is put together in
session.py.
"""

import json
import math
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from syntaxdiff.pipeline.errors import StorageError, SyntaxdiffError
from syntaxdiff.pipeline.shard import write_text
from syntaxdiff.train.corruption.noise import Noise, noise_levels
from syntaxdiff.train.data.loader import GlobalBatch
from syntaxdiff.train.deepspeed_json.starter import starter_json
from syntaxdiff.train.engine import deepspeed_engine as ds
from syntaxdiff.train.engine.checkpoints import PREEMPTED, RunState, name_of
from syntaxdiff.train.engine.interruption import Interruption, interruptible
from syntaxdiff.train.engine.lock import locked
from syntaxdiff.train.model import export
from syntaxdiff.train.model.export_info import TrainingInfo
from syntaxdiff.train.monitor.metrics import StepValues
from syntaxdiff.train.monitor.previews import make_preview
from syntaxdiff.train.monitor.progress import Flops, Progress, draw_curves
from syntaxdiff.train.monitor.validation import Validator, validation_of
from syntaxdiff.train.run_folder import METRICS
from syntaxdiff.train.session import Session
from syntaxdiff.train.settings import Settings

PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40": 181e12, "4090": 165e12, "3090": 71e12}  # dense bf16


class LossNotFiniteError(SyntaxdiffError):
    """The loss, or its gradient, is not a finite number."""


def train(settings: Settings, ds_path: str | Path | None = None) -> RunState:
    """Trains as asked for, or resumes an earlier run; what the command does, this does.

    It joins the processes that a launcher started (ranks.py), or trains alone, and leaves environment and signal handlers as it
    found them.

    Args:
        ds_path: the DeepSpeed JSON; None for ``ds_zero3.json`` of the current folder, which is written where there is none

    Raises:
        SyntaxdiffError: what a user can mend; the last whole checkpoint is intact
    """
    with interruptible() as interruption, ds.processes(), _held(Path(settings.out)):
        return _train(
            Session(settings, Path(ds_path) if ds_path is not None else ds.on_first(lambda: starter_json(Path()))), interruption
        )


def _train(run: Session, interruption: Interruption) -> RunState:
    settings, moved = run.settings, ""
    if run.is_first:
        export.clear_unfinished(run.out)
        if run.resumption.left:
            moved = str(run.checkpoints.set_aside(run.resumption.left, run.out / METRICS))
        run.checkpoints.prepare(settings.keep, run.state)
        write_text(run.out / "settings.json", settings.to_json())
        write_text(run.out / "deepspeed.json", json.dumps(run.ds_config, indent=1) + "\n")
    ds.barrier()
    state = run.state
    progress = Progress(
        run.out,
        run.engine.monitor if run.is_first else None,
        first=state.step,
        total=run.total_steps,
        is_first=run.is_first,
        log_every=settings.log_every,
        flops=_flops(run),
    )
    _announce(run, progress, moved)
    validator = run.validator()
    batches = run.stream.read_ahead(state.consumed)
    is_stopped, interruption.has_begun = False, True
    while state.step < run.total_steps and not is_stopped and not _is_stuck(state, settings):
        batch = next(batches)
        values = optimize(run, batch, state)
        state = replace(state, step=state.step + 1, consumed=batch.consumed)
        progress.step(state.step, values, batch.num_tokens, ds.peak_memory_bytes())
        is_last = state.step == run.total_steps
        if validator and (is_last or _is_due(state.step, settings.validate_every)):
            run.engine.eval()
            validations = validator(run.stepper)
            run.engine.train()
            progress.validation(state.step, validations, run.unigram)
            state = judged(state, validation_of(validations, settings.judge).loss)
        if settings.sample_every and (is_last or _is_due(state.step, settings.sample_every)):
            run.engine.eval()
            progress.preview(state.step, make_preview(run))
            run.engine.train()
        is_stopped = ds.any_rank(interruption.is_asked, run.device)
        is_best = state.best_step == state.step
        is_over = is_last or is_stopped or _is_stuck(state, settings)
        if is_over or is_best or _is_due(state.step, settings.save_every):
            save(run, state)
    batches.close()
    if is_stopped:
        if run.is_first:
            write_text(run.out / PREEMPTED, f"stopped by a signal after step {state.step}; --resume auto resumes\n")
        progress.say(f"stopped by a signal after step {state.step}: the same command resumes from there")
    else:
        if _is_stuck(state, settings):
            progress.say(f"no improvement in {settings.patience} validations: stopped, the best was step {state.best_step}")
        finish(run, state, validator, progress)
    progress.close()
    return state


def optimize(run: Session, batch: GlobalBatch, state: RunState) -> StepValues:
    """One optimizer step.

    Raises:
        LossNotFiniteError: loss or gradient is not finite; the message names the samples
    """
    ceiling_at = state.step / max(1, run.total_steps - 1)
    sums = torch.zeros(5, dtype=torch.float64, device=run.device)  # loss, corrupted, corruptible; nats, scored
    # DeepSpeed averages over ranks and accumulation steps; the loss is a sum over both.
    scale = run.world * run.loader.accumulation / batch.num_corruptible
    learning_rate = float(run.engine.get_lr()[0])
    for micro in batch.micro_batches:
        levels = [
            noise_levels(run.settings.seed, epoch, [ordinal])[0]
            for epoch, ordinal in zip(micro.epochs, micro.ordinals, strict=True)
        ]
        noise = Noise.at(np.array(levels), run.curriculum, ceiling_at)
        losses, corrupted = run.stepper(micro.batch, noise, seed=run.settings.seed, epoch=micro.epochs)
        run.engine.backward(losses.loss * scale)
        run.engine.step()
        sums[0] += losses.loss.detach().double()
        sums[1] += (corrupted.operator_BL > 0).sum()
        sums[2] += float(micro.batch.num_corruptible_B.sum())
        is_scored_N = corrupted.is_scored_BL.flatten()[losses.index_N]
        sums[3] += (losses.nats_N * is_scored_N).sum()
        sums[4] += is_scored_N.sum()
    gradient_norm = ds.gradient_norm(run.engine)
    # Under fp16, DeepSpeed scales the loss and skips steps that overflow, which is not a fault and leaves no norm.
    is_finite = bool(torch.isfinite(sums[0])) and (gradient_norm is None or math.isfinite(gradient_norm))
    if ds.any_rank(not is_finite, run.device):
        ids = [sample_id for micro in batch.micro_batches for sample_id in micro.batch.sample_ids]
        last = run.checkpoints.steps()
        raise LossNotFiniteError(
            f"loss or gradient is not finite at step {state.step + 1}; samples of rank {run.rank}: {', '.join(ids[:8])}"
            f"{' …' if len(ids) > 8 else ''}; last checkpoint: {name_of(last[-1]) if last else 'none'}. "
            "Start again with a lower --learning-rate and another --out, or look at the samples"
        )
    loss, corrupted_tokens, corruptible, nats, num_scored = ds.sum_over_ranks(sums).tolist()
    return StepValues(
        loss=loss / batch.num_corruptible,
        nats=nats / num_scored if num_scored else None,
        mask_rate=corrupted_tokens / corruptible if corruptible else None,
        corrupted_tokens=int(corrupted_tokens),
        ceiling=run.curriculum.ceiling(ceiling_at),
        learning_rate=learning_rate,
        gradient_norm=gradient_norm,
    )


def judged(state: RunState, loss: float | None) -> RunState:
    """The state after a validation; one that scored nothing is not an improvement."""
    if loss is not None and (state.best_loss is None or loss < state.best_loss):
        return replace(state, best_loss=loss, best_step=state.step, bad_validations=0)
    return replace(state, bad_validations=state.bad_validations + 1)


def save(run: Session, state: RunState) -> None:
    """A checkpoint, whole or not there; old ones are removed. All ranks must call it."""
    try:
        ds.save_state(run.engine, run.checkpoints.folder, run.checkpoints.partial(state.step))
    except StorageError:
        run.checkpoints.discard(state.step)
        raise
    ds.barrier()
    if run.is_first:
        run.checkpoints.finish(state)
        run.checkpoints.rotate(run.settings.keep, state.best_step)
    ds.barrier()


def finish(run: Session, state: RunState, validator: Validator | None, progress: Progress) -> None:
    """The model of the best validation, exported, with the losses on the whole grid of rates and a picture."""
    best = state.best_step
    if best is not None and best != state.step:
        if best in run.checkpoints.steps():
            run.load(best)
        else:
            progress.say(f"the checkpoint of the best validation, {name_of(best)}, is gone: the last step's model is exported")
            best = None
    loss = None if best is None else state.best_loss  # of the model that is exported
    grid = {}
    if validator is not None:
        run.engine.eval()
        grid = validator.grid(run.stepper)
        progress.grid(best or state.step, grid)
    weights = export.network_weights(run.engine.module, ds.gathered, keeps=run.is_first, lora_scale=run.lora_scale)
    if run.is_first:
        training = TrainingInfo(
            step=best or state.step,
            validation_loss=loss,
            validation_objectives=validator.objectives if validator is not None else {},
            unigram_nats=run.unigram,
            validation_grid=grid,
            start=run.model_name,
            shift=run.settings.shift,
            settings=asdict(run.settings),
            deepspeed=run.ds_config,
            git_revision=git_revision(),
            total_steps=run.total_steps,
        )
        export.export(run.out, weights, run.network_config, run.manifest, run.data, training, run.settings.export_layout)
        draw_curves(run.out, run.unigram)
        (run.out / PREEMPTED).unlink(missing_ok=True)
    ds.barrier()
    summary = "validation loss not measured"
    if loss is not None and run.unigram is not None:
        summary = (
            f"validation loss {loss:.4f} nats per token under {run.settings.judge} masks; the unigram entropy of the data is "
            f"{run.unigram:.4f}"
        )
    progress.say(f"{run.out}: the model of step {best or state.step}, {summary}")


@contextmanager
def _held(out: Path) -> Iterator[None]:
    """The output folder, for this run alone. All ranks must call it; where the first is refused, all are."""
    with ExitStack() as stack:
        ds.on_first(lambda: stack.enter_context(locked(out)))
        yield


def git_revision() -> str | None:
    """The commit of the source tree that runs, with `+` where it was changed; None outside of one."""
    folder = Path(__file__).resolve().parent
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=40", "--exclude=*"],
            cwd=folder, capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _announce(run: Session, progress: Progress, moved: str) -> None:
    for note in run.notes:
        progress.say(f"DeepSpeed JSON: {note}")
    for step, fault in run.resumption.damaged.items():
        progress.say(f"checkpoint {name_of(step)} cannot be used: {fault}. It was moved to {moved}")
    if run.resumption.abandoned:
        names = ", ".join(map(name_of, run.resumption.abandoned))
        progress.say(
            f"--resume {run.settings.resume} leaves {names} behind: moved to {moved} with a copy of {METRICS}; remove that "
            "folder if you don't need it"
        )
    if run.earlier is not None:
        why = "a signal stopped it" if (run.out / PREEMPTED).exists() else "an earlier run was"
        progress.say(f"resuming from {name_of(run.state.step)}, where {why}")
        if run.kept:
            progress.say(f"the run keeps what it began with: {', '.join(run.kept)}")
        if run.earlier.format == 1:
            progress.say(
                "an older version began this run, so weight decay stays on norms and biases too, and the last step's rate is 0"
            )
        if run.earlier.world != run.world:
            progress.say(
                f"the checkpoint is of {run.earlier.world} ranks and this run has {run.world}: weights, optimizer and place in "
                "the data are carried over; sums are taken in another order, so numbers agree to rounding, not bit for bit"
            )
        if run.earlier.total_steps != run.total_steps:
            progress.say(
                f"the run was to end after {run.earlier.total_steps:,} steps and now ends after {run.total_steps:,}: schedule "
                "and curriculum follow"
            )
    if run.is_first:
        (run.out / PREEMPTED).unlink(missing_ok=True)
    progress.say(
        f"{run.model_name}: {run.num_parameters / 1e6:.1f} M parameters; {run.stream.num_samples:,} samples; "
        f"{run.total_steps - run.state.step:,} steps of {run.loader.global_batch} samples ({run.loader.micro_batch} x "
        f"{run.loader.accumulation} x {run.world}); strategy {run.settings.strategy}"
        + (f"; unigram entropy {run.unigram:.4f} nats" if run.unigram is not None else "")
    )


def _flops(run: Session) -> Flops | None:
    """For the utilisation of GPUs whose peak is known."""
    if run.device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(run.device)
    peak = next((peak * run.world for part, peak in PEAK_FLOPS.items() if part in name), None)
    return None if peak is None else Flops(per_token=6 * run.num_parameters, peak=peak)


def _is_due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _is_stuck(state: RunState, settings: Settings) -> bool:
    """Whether early stopping has had enough."""
    return 0 < settings.patience <= state.bad_validations
