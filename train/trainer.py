"""A training run from top to bottom: ``train``.

Data, model, engine, resume; then step after step: the next global batch, its micro-batches corrupted on the device and scored,
the optimizer, and what is due (validation, a look, a checkpoint); at the end the exported model and a picture.
"""

import json
import math
import signal
import subprocess
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from syntaxdiff.pipeline.errors import SettingsError, SyntaxdiffError
from syntaxdiff.pipeline.shard import TOKENIZER, iter_rows, read_manifest, write_text
from syntaxdiff.train import engine as ds
from syntaxdiff.train import export, memory, start
from syntaxdiff.train.batch import check_row
from syntaxdiff.train.checkpoint import PREEMPTED, Checkpoints, RunState, check_resumable, name_of
from syntaxdiff.train.denoise import denoise
from syntaxdiff.train.engine_config import RunFacts, complete, read_json, with_schedule
from syntaxdiff.train.leaves import leaf_tables
from syntaxdiff.train.llada import llada_config
from syntaxdiff.train.loader import GlobalBatch, LoaderConfig, SampleStream, read_split
from syntaxdiff.train.model import Denoiser, Inputs
from syntaxdiff.train.noise import Noise, noise_levels
from syntaxdiff.train.operators import LeafTables
from syntaxdiff.train.progress import Progress, draw_curves
from syntaxdiff.train.settings import Settings
from syntaxdiff.train.step import Stepper
from syntaxdiff.train.validation import Validator, token_counts, unigram_nats

LOOK_TOKENS, LOOK_STEPS, LOOK_BLOCK = 96, 48, 32  # of a program denoised for a look
UNIGRAM_ROWS = 4096
PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40": 181e12, "4090": 165e12, "3090": 71e12}  # dense bf16
# Settings that may change when a run is resumed. Of them the length alone decides numbers: schedule and curriculum follow it.
FREE = frozenset({"data", "out", "resume", "keep", "save_every", "sample_every", "export_layout", "max_steps", "epochs"})


class LossNotFiniteError(SyntaxdiffError):
    """The loss is no number any more."""


@dataclass
class Due:
    """What a signal asked for."""

    stop: bool = False

    def on_signal(self, *_: Any) -> None:
        """Stops at the end of the step."""
        self.stop = True


class Run:
    """The parts of a run, made once; ``train`` drives them."""

    def __init__(self, settings: Settings, ds_path: Path) -> None:
        self.settings = settings
        self.device = ds.device()
        self.rank, self.world = torch.distributed.get_rank(), torch.distributed.get_world_size()
        self.is_first = self.rank == 0
        self.data, self.out = Path(settings.data), Path(settings.out)
        self.manifest = read_manifest(self.data)
        self.max_length = settings.max_length or int(self.manifest.settings["max_length"])
        self.model_name = settings.init_from or settings.model or start.default_model(self.manifest)
        self.network_config = start.read_config(self.model_name, self.manifest, self.max_length)
        if settings.export_layout == "llada":  # refuse now what the export would refuse after the training
            ids = self.manifest.token_ids
            llada_config(self.network_config, mask_id=ids.mask, eos_id=ids.eos, pad_id=ids.pad)
        facts = RunFacts(
            world=self.world,
            default_learning_rate=start.learning_rate(self.model_name),
            learning_rate=settings.learning_rate,
            micro_batch=settings.micro_batch,
            accumulation=settings.accumulation,
            warmup_share=settings.warmup_share,
            hidden_size=self.network_config.hidden_size,
            has_gpu=self.device.type == "cuda",
        )
        self.ds_config, self.notes = complete(read_json(ds_path), facts)
        self.loader = LoaderConfig(
            seed=settings.seed,
            micro_batch=self.ds_config["train_micro_batch_size_per_gpu"],
            accumulation=self.ds_config["gradient_accumulation_steps"],
            rank=self.rank,
            world=self.world,
            window_rows=settings.window_rows,
            max_length=self.max_length,
            eos_pad=settings.eos_pad,
            group_by_length=settings.group_by_length,
        )
        self.stream = SampleStream(self.data, self.manifest, self.loader)
        steps = settings.max_steps or max(1, math.floor(settings.epochs * self.stream.num_samples / self.loader.global_batch))
        self.total_steps = steps
        self.ds_config = with_schedule(self.ds_config, steps, settings.warmup_share)
        self.num_parameters = start.count_parameters(self.network_config)
        self._check_memory()
        self.engine = ds.make_engine(self._denoiser(), self.ds_config)
        self.stepper = Stepper(
            engine=self.engine,
            device=self.device,
            token_ids=self.manifest.token_ids,
            tables=LeafTables(*(table.to(self.device) for table in leaf_tables(self.data, self.manifest))),
            config=settings.corruption(),
            pack=settings.pack,
            capacity=self.max_length,
        )
        self.curriculum = settings.noise_curriculum()
        self.checkpoints = Checkpoints(self.out)
        self.fixed = {name: value for name, value in asdict(settings).items() if name not in FREE}
        self._validation_rows = read_split(self.data, self.manifest, "validation", settings.validation_samples)
        self.unigram = self._unigram()

    @property
    def lora_scale(self) -> float:
        """Alpha over rank of the adapters."""
        settings = self.settings
        return (settings.lora_alpha or 2.0 * settings.lora_rank) / settings.lora_rank if settings.lora_rank else 1.0

    def _check_memory(self) -> None:
        """Refuses a run that does not fit, before anything is loaded."""
        if self.device.type != "cuda":
            return
        settings, zero = self.settings, self.ds_config["zero_optimization"]
        lora = 2 * settings.lora_rank * 7 * self.network_config.num_hidden_layers * self.network_config.hidden_size
        needed = memory.estimate(
            self.num_parameters,
            self.network_config,
            self.ds_config,
            world=self.world,
            tokens=self.loader.micro_batch * self.max_length,
            lora=lora,
            checkpointing=settings.activation_checkpointing,
        )
        available = torch.cuda.get_device_properties(self.device).total_memory
        if needed.total > available:
            offloads = zero.get("offload_optimizer", {}).get("device", "none") != "none"
            raise SettingsError(
                memory.advice(
                    needed,
                    available,
                    world=self.world,
                    lora=lora,
                    checkpointing=settings.activation_checkpointing,
                    offloads=offloads,
                )
            )

    def _denoiser(self) -> Denoiser:
        """The model with its starting weights, on the CPU."""
        settings = self.settings
        network = start.load_network(self.model_name, self.network_config, self.manifest, settings.seed)
        if settings.activation_checkpointing:
            network.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        denoiser = Denoiser(network, shift=settings.shift, timestep_embedding=settings.timestep_embedding)
        if settings.init_from and denoiser.timestep is not None:
            export.load_timestep(Path(settings.init_from), denoiser.timestep)
        if settings.lora_rank:
            add_adapters(denoiser, settings.lora_rank, self.lora_scale)
        return denoiser

    def _unigram(self) -> float:
        rows = islice((row for shard in self.manifest.splits["train"] for row in iter_rows(self.data, shard)), UNIGRAM_ROWS)
        counts = token_counts(rows, self.manifest.tokenizer["vocab_size"])
        return unigram_nats(self._validation_rows, counts) if self._validation_rows else math.nan

    def validator(self) -> Validator | None:
        """The fixed validation samples; None where the shards have none."""
        if not self._validation_rows:
            return None
        return Validator(
            self._validation_rows,
            self.manifest,
            self.settings.corruption(),
            micro_batch=self.loader.micro_batch,
            rank=self.rank,
            world=self.world,
            total=ds.sum_over_ranks,
        )

    def look(self) -> str:
        """A program denoised behind the first validation prompt; all ranks must call it."""
        from transformers import AutoTokenizer

        rows = self._validation_rows or read_split(self.data, self.manifest, "train", 1)
        row = rows[0]
        code_start, _ = check_row(row, self.manifest.languages)
        prompt = row.input_ids[max(0, code_start - self.max_length + LOOK_TOKENS) : code_start].tolist()

        def logits_of(ids: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                rate = torch.full(ids.shape, 0.5, device=self.device)
                result: torch.Tensor = self.engine(Inputs(ids.to(self.device), rate_BL=rate))
                return result

        canvas = denoise(
            logits_of,
            prompt,
            num_tokens=min(LOOK_TOKENS, len(row.role)),
            num_steps=LOOK_STEPS,
            block=LOOK_BLOCK,
            mask_id=self.manifest.token_ids.mask,
        )
        tokenizer: Any = AutoTokenizer.from_pretrained(self.data / TOKENIZER)
        return str(tokenizer.decode(canvas))


def add_adapters(denoiser: Denoiser, rank: int, scale: float) -> None:
    """Freezes the weights and adds low-rank adapters to every projection of the blocks, in place."""
    from peft import LoraConfig, inject_adapter_in_model

    for parameter in denoiser.network.parameters():
        parameter.requires_grad_(False)
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    config = LoraConfig(
        r=rank,
        lora_alpha=scale * rank,  # type: ignore[arg-type]  # any number will do
        target_modules=targets,
        lora_dropout=0.0,
    )
    inject_adapter_in_model(config, denoiser.network)


def train(settings: Settings, ds_path: Path) -> RunState:
    """Trains as asked for, or goes on where an earlier run was.

    Raises:
        SyntaxdiffError: what a user can mend; the last whole checkpoint is intact
    """
    due = Due()
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, due.on_signal)
    run = Run(settings, ds_path)
    if run.is_first:
        run.out.mkdir(parents=True, exist_ok=True)
        run.checkpoints.prepare()
        write_text(run.out / "settings.json", settings.to_json())
        write_text(run.out / "deepspeed.json", json.dumps(run.ds_config, indent=1) + "\n")
    ds.barrier()
    state = resume(run)
    flops = 6 * run.num_parameters
    progress = Progress(
        run.out,
        run.engine.monitor if run.is_first else None,
        first=state.step,
        total=run.total_steps,
        is_first=run.is_first,
        flops_per_token=flops,
        peak_flops=_peak_flops(run),
    )
    _announce(run, state, progress)
    validator = run.validator()
    batches = run.stream.read_ahead(state.consumed)
    while state.step < run.total_steps:
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
            state = judged(state, validations[0].loss)
        if _is_due(state.step, settings.sample_every) or (is_last and settings.sample_every):
            progress.sample(state.step, run.look())
        stops_early = bool(settings.patience) and state.bad_validations >= settings.patience
        is_stopped = ds.any_rank(due.stop, run.device)
        is_best = state.best_step == state.step
        if _is_due(state.step, settings.save_every) or is_best or is_last or is_stopped or stops_early:
            save(run, state)
        if is_stopped:
            if run.is_first:
                write_text(run.out / PREEMPTED, f"stopped by a signal after step {state.step}; --resume auto goes on\n")
            progress.say(f"stopped by a signal after step {state.step}: the same command goes on from there")
            break
        if stops_early:
            progress.say(f"no improvement in {settings.patience} validations: stopped, the best was step {state.best_step}")
            break
    else:
        is_stopped = False
    batches.close()
    if not is_stopped:
        finish(run, state, validator, progress)
    progress.close()
    return state


def optimize(run: Run, batch: GlobalBatch, state: RunState) -> dict[str, float]:
    """One optimizer step; what it says of itself, summed over ranks.

    Raises:
        LossNotFiniteError: the loss is no number; the message names the samples
    """
    ceiling_at = state.step / max(1, run.total_steps - 1)
    sums = torch.zeros(5, dtype=torch.float64, device=run.device)  # loss, corrupted, corruptible; nats, scored
    # DeepSpeed averages over ranks and accumulation steps; the loss is a sum over both.
    scale = run.world * run.loader.accumulation / batch.num_corruptible
    for micro in batch.micro_batches:
        levels = [
            noise_levels(run.settings.seed, epoch, [ordinal])[0]
            for epoch, ordinal in zip(micro.epochs, micro.ordinals, strict=True)
        ]
        noise = Noise.at(torch.tensor(levels, dtype=torch.float64).numpy(), run.curriculum, ceiling_at)
        losses, corrupted = run.stepper(micro.batch, noise, seed=run.settings.seed, epoch=micro.epochs)
        run.engine.backward(losses.loss * scale)
        run.engine.step()
        sums[0] += losses.loss.detach().double()
        sums[1] += (corrupted.operator_BL > 0).sum()
        sums[2] += float(micro.batch.num_corruptible_B.sum())
        is_scored_N = corrupted.is_scored_BL.flatten()[losses.index_N]
        sums[3] += (losses.nats_N * is_scored_N).sum()
        sums[4] += is_scored_N.sum()
    ids = [sample_id for micro in batch.micro_batches for sample_id in micro.batch.sample_ids]
    if ds.any_rank(not bool(torch.isfinite(sums[0])), run.device):
        last = run.checkpoints.steps()
        raise LossNotFiniteError(
            f"the loss is not finite at step {state.step + 1}; samples of rank {run.rank}: {', '.join(ids[:8])}"
            f"{' …' if len(ids) > 8 else ''}; last checkpoint: {name_of(last[-1]) if last else 'none'}. "
            "Lower the learning rate, or look at the samples"
        )
    loss, corrupted_tokens, corruptible, nats, num_scored = ds.sum_over_ranks(sums).tolist()
    return {
        "loss": loss / batch.num_corruptible,
        "nats": nats / max(1.0, num_scored),
        "mask_rate": corrupted_tokens / max(1.0, corruptible),
        "ceiling": run.curriculum.ceiling(ceiling_at),
        "learning_rate": float(run.engine.get_lr()[0]),
        "gradient_norm": float(run.engine.get_global_grad_norm() or 0.0),
    }


def judged(state: RunState, loss: float) -> RunState:
    """The state after a validation."""
    if state.best_loss is None or loss < state.best_loss:
        return replace(state, best_loss=loss, best_step=state.step, bad_validations=0)
    return replace(state, bad_validations=state.bad_validations + 1)


def save(run: Run, state: RunState) -> None:
    """A checkpoint, whole or not there; old ones are removed. All ranks must call it."""
    ds.save_state(run.engine, run.checkpoints.folder, run.checkpoints.partial(state.step), {})
    ds.barrier()
    if run.is_first:
        run.checkpoints.finish(state)
        run.checkpoints.rotate(run.settings.keep, state.best_step)
    ds.barrier()


def resume(run: Run) -> RunState:
    """Where the run starts: a checkpoint of its own, or the beginning.

    Raises:
        SettingsError: the checkpoint asked for is not there, or is of another run
    """
    fresh = RunState(
        step=0,
        consumed=0,
        total_steps=run.total_steps,
        best_loss=None,
        best_step=None,
        bad_validations=0,
        world=run.world,
        data=run.manifest.fingerprint,
        settings=run.fixed,
    )
    steps = run.checkpoints.steps()
    wanted = run.settings.resume
    if wanted == "never":
        if steps:
            raise SettingsError(f"{run.out} holds checkpoints and --resume is never: give another --out, or remove them")
        return fresh
    if wanted != "auto":
        chosen = [step for step in steps if name_of(step) == Path(wanted).name]
        if not chosen:
            raise SettingsError(f"--resume {wanted}: {run.checkpoints.folder} has {', '.join(map(name_of, steps)) or 'none'}")
        steps = chosen
    if not steps:
        return fresh
    state = run.checkpoints.read(steps[-1])
    check_resumable(state, run.fixed, run.manifest.fingerprint)
    if state.world != run.world:
        raise SettingsError(
            f"the checkpoint is of {state.world} ranks and this run has {run.world}: start it with {state.world}, "
            "or convert it with DeepSpeed's ds_to_universal"
        )
    ds.load_state(run.engine, run.checkpoints.folder, name_of(state.step))
    return replace(state, total_steps=run.total_steps)


def finish(run: Run, state: RunState, validator: Validator | None, progress: Progress) -> None:
    """The model of the best validation, exported, with the losses on the whole grid of rates and a picture."""
    best = state.best_step
    if best is not None and best != state.step and best in run.checkpoints.steps():
        ds.load_state(run.engine, run.checkpoints.folder, name_of(best))
    grid = {}
    if validator is not None:
        run.engine.eval()
        grid = validator.grid(run.stepper)
        progress.note("grid", best or state.step, losses=grid)
    weights = export.network_weights(run.engine.module, ds.gathered, keeps=run.is_first, lora_scale=run.lora_scale)
    if run.is_first:
        info = {
            "step": best or state.step,
            "validation_loss": state.best_loss,
            "unigram_nats": run.unigram,
            "validation_grid": grid,
            "start": run.model_name,
            "shift": run.settings.shift,
            "settings": asdict(run.settings),
            "deepspeed": run.ds_config,
            "git_revision": git_revision(),
        }
        export.export(run.out, weights, run.network_config, run.manifest, run.data, info, run.settings.export_layout)
        draw_curves(run.out, run.unigram)
        (run.out / PREEMPTED).unlink(missing_ok=True)
    ds.barrier()
    best_loss = f"{state.best_loss:.4f}" if state.best_loss is not None else "not measured"
    progress.say(
        f"{run.out}: the model of step {best or state.step}, validation loss {best_loss} nats a token; the unigram entropy of "
        f"the data is {run.unigram:.4f}"
    )


def git_revision() -> str | None:
    """The commit of the source tree that runs, with `+` where it was changed; None outside of one."""
    folder = Path(__file__).resolve().parent
    try:
        told = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=40", "--exclude=*"],
            cwd=folder, capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return None
    return told.stdout.strip()


def _announce(run: Run, state: RunState, progress: Progress) -> None:
    for note in run.notes:
        progress.say(f"on this machine: {note}")
    was_preempted = (run.out / PREEMPTED).exists()
    if state.step:
        why = "stopped by a signal" if was_preempted else "an earlier run was"
        progress.say(f"going on from {name_of(state.step)}, where {why}")
    if run.is_first:
        (run.out / PREEMPTED).unlink(missing_ok=True)
    progress.say(
        f"{run.model_name}: {run.num_parameters / 1e6:.1f} M parameters; {run.stream.num_samples:,} samples; "
        f"{run.total_steps - state.step:,} steps of {run.loader.global_batch} samples ({run.loader.micro_batch} x "
        f"{run.loader.accumulation} x {run.world}); strategy {run.settings.strategy}; unigram entropy {run.unigram:.4f} nats"
    )


def _peak_flops(run: Run) -> float | None:
    if run.device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(run.device)
    return next((flops * run.world for part, flops in PEAK_FLOPS.items() if part in name), None)


def _is_due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
