"""What a training run is made of, put together once: data, model, engine, and where an earlier run stopped.

``trainer.train`` drives it. Whatever can be refused is refused before weights are loaded.
"""

import math
import shutil
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.pipeline.shard import iter_rows, read_manifest
from syntaxdiff.train.corruption.leaves import leaf_tables
from syntaxdiff.train.corruption.operators import LeafTables
from syntaxdiff.train.data.batch import shape_multiple
from syntaxdiff.train.data.loader import LoaderConfig, SampleStream, read_split
from syntaxdiff.train.deepspeed_json.config import RunFacts, complete, decisive, read_json, with_schedule
from syntaxdiff.train.deepspeed_json.engine_settings import engine_settings
from syntaxdiff.train.engine import deepspeed_engine as ds
from syntaxdiff.train.engine import memory
from syntaxdiff.train.engine.checkpoints import FORMAT, Checkpoints, RunState, name_of
from syntaxdiff.train.engine.resumption import check_resumable, choose
from syntaxdiff.train.model import export, start
from syntaxdiff.train.model.adapters import add_adapters, num_adapter_parameters
from syntaxdiff.train.model.denoiser import Denoiser
from syntaxdiff.train.model.llada_check import check_llada_layout
from syntaxdiff.train.monitor.validation import RankBatches, Validator, token_counts, unigram_nats
from syntaxdiff.train.settings import Settings, completed
from syntaxdiff.train.step import Stepper

UNIGRAM_ROWS = 4096
REPORTED_BYTES = 4 * 2**30  # of a checkpoint that takes so long to read that it is said
VALIDATION_SAMPLES, MIN_VALIDATION_SAMPLES = 1000, 64  # the paper's, on 128 samples a step; and at least
VALIDATION_SHARE = 0.1  # of the cost of the training between two validations
# Settings that may change when a run is resumed. Of them only the length decides numbers: schedule and curriculum follow it.
# The batch and the learning rate are compared as the completed JSON has them.
FREE = frozenset(
    ("data", "out", "resume", "keep", "save_every", "sample_every", "export_layout", "max_steps", "epochs", "patience")
) | {"micro_batch", "accumulation", "learning_rate", "log_every"}


class Session:
    """The parts of a run.

    Attributes:
        settings: as given, with the weights and choices of the loss settled
        resumption: which checkpoint the run resumes from, and which newer ones it does not
        earlier: that checkpoint, as it was written; None where the run begins
        kept: options that were not given and that the checkpoint decided otherwise than the defaults
        state: where the run stands when it starts
        total_steps: the schedule's end
        engine: DeepSpeed's, with weights and optimizer of ``state``
        stepper: corrupts and scores a micro-batch
        unigram: nats per token of a model that knows only token frequencies; None without validation samples
        notes: what was adapted, for a person to read
    """

    def __init__(self, settings: Settings, ds_path: Path) -> None:
        self.settings = settings
        self.device = ds.device()
        self.rank, self.world = torch.distributed.get_rank(), torch.distributed.get_world_size()
        self.is_first = self.rank == 0
        self.data, self.out = Path(settings.data), Path(settings.out)
        self.manifest = read_manifest(self.data)
        self.max_length = settings.max_length or self.manifest.settings.max_length
        self.model_name = settings.init_from or settings.model or start.default_model(self.manifest)
        option = "--init-from" if settings.init_from else "--model"
        self.network_config = start.read_config(self.model_name, self.manifest, self.max_length, option)
        start.check_tokenizer(self.model_name, self.data, option)
        if settings.export_layout == "llada":  # refuse now what the export would refuse after the training
            check_llada_layout(self.network_config, self.manifest.token_ids, f"{option} {self.model_name}")
        self.checkpoints = Checkpoints(self.out)
        self.resumption = choose(self.checkpoints, settings.resume, self._fault)
        self.earlier, self.kept = self.resumption.state, []
        if self.earlier is not None:
            self.earlier = replace(self.earlier, settings=completed(self.earlier.settings))
            self.kept = settings.kept(self.earlier.settings)
        self.ds_config, self.notes = complete(read_json(ds_path), self._facts())
        self.engine_settings = engine_settings(self.ds_config)
        if self.device.type == "cpu" and self.engine_settings.is_bf16 and not ds.has_bf16():
            self.notes.append(
                'bf16.enabled is slow here: this CPU has no instructions for bfloat16, and float32 (false, or "auto") is faster'
            )
        self.loader = self._loader_config()
        self.stream = SampleStream(self.data, self.manifest, self.loader)
        self.settings = settings = settings.settled(None if self.earlier is None else self.earlier.settings)
        fresh = self._fresh()
        if self.earlier is not None:
            check_resumable(self.earlier, fresh)
        self.state = fresh if self.earlier is None else _carried_on(self.earlier, fresh)
        self.total_steps = self._total_steps()
        self.state = replace(self.state, total_steps=self.total_steps)
        is_of_old = self.state.format == 1
        length = self.engine_settings.scheduled_steps
        if length not in (None, self.total_steps, self.total_steps + 1):
            self.notes.append(
                f"scheduler.params.total_num_steps is {length:,} and the run has {self.total_steps:,} steps: the learning rate "
                "follows the former"
            )
        self.ds_config = with_schedule(self.ds_config, self.total_steps, settings.warmup_share, ends_at_zero=is_of_old)
        ds.check_config(self.ds_config)
        self.num_parameters = start.count_parameters(self.network_config)
        self._check_memory()
        self.engine = self._engine(is_of_old=is_of_old)
        if self.earlier is not None:
            self.load(self.earlier.step)
        self.stepper = self._stepper()
        self.curriculum = settings.noise_curriculum()
        self.validation_rows = read_split(self.data, self.manifest, "validation", self._num_validation_samples())
        self.unigram = self._unigram()

    def _loader_config(self) -> LoaderConfig:
        settings = self.settings
        return LoaderConfig(
            seed=settings.seed,
            micro_batch=self.engine_settings.micro_batch,
            accumulation=self.engine_settings.accumulation,
            rank=self.rank,
            world=self.world,
            window_rows=settings.window_rows,
            max_length=self.max_length,
            eos_pad=settings.eos_pad,
            group_by_length=settings.group_by_length,
            pad_to_multiple=shape_multiple(self.device),
        )

    def _engine(self, *, is_of_old: bool) -> Any:
        """DeepSpeed's engine around the model with its starting weights."""
        denoiser = self._denoiser()
        block = None if self.settings.lora_rank else type(denoiser.network.model.layers[0])
        return ds.make_engine(denoiser, self.ds_config, block, decays_all=is_of_old)

    def _stepper(self) -> Stepper:
        return Stepper(
            engine=self.engine,
            device=self.device,
            token_ids=self.manifest.token_ids,
            tables=LeafTables(*(table.to(self.device) for table in leaf_tables(self.data, self.manifest))),
            config=self.settings.corruption(),
            pack=self.settings.pack,
            capacity=self.max_length,
        )

    def _facts(self) -> RunFacts:
        settings = self.settings
        return RunFacts(
            world=self.world,
            default_learning_rate=start.learning_rate(self.model_name),
            learning_rate=settings.learning_rate,
            micro_batch=settings.micro_batch,
            accumulation=settings.accumulation,
            warmup_share=settings.warmup_share,
            hidden_size=self.network_config.hidden_size,
            has_gpu=self.device.type == "cuda",
            # A run keeps its precision on another machine. Before "auto" was filled in, it meant float32.
            has_bf16=ds.has_bf16() if self.earlier is None else bool(self.earlier.json.get("bf16.enabled", False)),
        )

    def _fresh(self) -> RunState:
        return RunState(
            step=0,
            consumed=0,
            total_steps=0,
            best_loss=None,
            best_step=None,
            bad_validations=0,
            world=self.world,
            data=self.manifest.fingerprint,
            settings={name: value for name, value in asdict(self.settings).items() if name not in FREE},
            json=decisive(self.ds_config),
            format=FORMAT,
        )

    def _fault(self, step: int) -> str | None:
        """What is damaged in a checkpoint, on every rank; each reads its share of the files. All ranks must call it."""
        if self.is_first and (size := self.checkpoints.num_bytes(step)) > REPORTED_BYTES:
            print(f"checking {name_of(step)}, {size / 2**30:,.0f} GiB", flush=True)
        found = ds.of_every_rank(self.checkpoints.fault(step, self.rank, self.world))
        return next((fault for fault in found if fault is not None), None)

    def _total_steps(self) -> int:
        """The schedule's end: what was asked for, or the steps that the samples left over of the epochs make.

        Raises:
            SettingsError: it lies before the step that the run has reached
        """
        if self.settings.max_steps:
            if self.settings.max_steps < self.state.step:
                raise SettingsError(
                    f"--max-steps {self.settings.max_steps} is less than the {self.state.step} steps that this run has taken: "
                    f"give more, or --resume with an earlier checkpoint ({', '.join(map(name_of, self.checkpoints.steps()))})"
                )
            return self.settings.max_steps
        left = self.settings.epochs * self.stream.num_samples - self.state.consumed
        return max(1, self.state.step + max(0, math.floor(left / self.loader.global_batch)))

    def _num_validation_samples(self) -> int:
        """Samples that a validation scores, twice: what was asked for, else the paper's 1,000 where that costs little."""
        if self.settings.validation_samples is not None:
            return self.settings.validation_samples
        trained = (self.settings.validate_every or self.total_steps) * self.loader.global_batch
        cost_of_two_passes, cost_of_training = 2, 3  # in forward passes
        affordable = math.ceil(VALIDATION_SHARE * trained * cost_of_training / cost_of_two_passes)
        return min(VALIDATION_SAMPLES, max(MIN_VALIDATION_SAMPLES, affordable))

    def load(self, step: int) -> None:
        """Brings the engine to a checkpoint, of however many ranks. All ranks must call it.

        Raises:
            SettingsError: the checkpoint is damaged
            StorageError: no room for its conversion
        """
        folder, tag = self.checkpoints.folder, name_of(step)
        # Without ZeRO a checkpoint is whole, and fits any number of ranks as it is.
        if self.checkpoints.read(step).world == self.world or not self.engine.zero_optimization():
            ds.load_state(self.engine, folder, tag)
            return
        universal = self.checkpoints.universal(step)
        if self.is_first:
            shutil.rmtree(folder / universal, ignore_errors=True)
            ds.write_universal(folder / tag, folder / universal)
        ds.barrier()
        ds.load_state(self.engine, folder, universal, is_universal=True)
        ds.barrier()
        if self.is_first:
            shutil.rmtree(folder / universal)

    @property
    def lora_scale(self) -> float:
        """Alpha over rank of the adapters."""
        settings = self.settings
        return (settings.lora_alpha or 2.0 * settings.lora_rank) / settings.lora_rank if settings.lora_rank else 1.0

    def _check_memory(self) -> None:
        """Refuses a run that does not fit, before anything is loaded."""
        if self.device.type != "cuda":
            return
        settings = self.settings
        lora = num_adapter_parameters(self.network_config, settings.lora_rank)
        needed = memory.estimate(
            self.num_parameters,
            self.network_config,
            self.engine_settings,
            world=self.world,
            tokens=self.loader.micro_batch * self.max_length,
            lora=lora,
            checkpointing=settings.activation_checkpointing,
        )
        available = torch.cuda.get_device_properties(self.device).total_memory
        if needed.total > available:
            raise SettingsError(
                memory.advice(
                    needed,
                    available,
                    world=self.world,
                    lora=lora,
                    checkpointing=settings.activation_checkpointing,
                    offloads=self.engine_settings.offloads_optimizer,
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
            add_adapters(denoiser, settings.lora_rank, self.lora_scale, seed=settings.seed)
        return denoiser

    def _unigram(self) -> float | None:
        if not self.validation_rows:
            return None
        rows = islice(iter_rows(self.data), UNIGRAM_ROWS)
        counts = token_counts(rows, self.manifest.tokenizer.vocab_size)
        return unigram_nats(self.validation_rows, counts)

    def validator(self) -> Validator | None:
        """The fixed validation samples; None where the shards have none."""
        if not self.validation_rows:
            return None
        return Validator(
            self.validation_rows,
            self.manifest,
            self.settings.corruption(),
            (self.settings.strategy, "random"),
            objective=self.settings.validation_weights,
            batches=RankBatches(self.loader.micro_batch, self.rank, self.world, self.loader.pad_to_multiple),
            total=ds.sum_over_ranks,
        )


def _carried_on(earlier: RunState, fresh: RunState) -> RunState:
    """Where an earlier run stood, as a state of this one, which may have another number of ranks and another batch."""
    return replace(earlier, world=fresh.world, settings=fresh.settings, json=fresh.json)
