"""Speed and memory of a training step, and what the loader and the corruption cost beside it.

    python benchmarks/train_step.py                 # 3 to 5 minutes on two free cores; builds its shards itself
    python benchmarks/train_step.py --quick         # a smoke run; its figures mean nothing
    python benchmarks/train_step.py --data data/ --length 4096 --device cuda --json figures.json

Three variants take the same samples in turns, in one process, so that a busy machine slows all alike; figures are medians over
rounds. Ours is the trainer's whole step: samples from the thread that reads ahead, corrupted on the device, packed, scored
where the loss asks for it. Full logits is the same step as usual trainers take it: padded, float32 logits of every position.
Bare is forward and backward of what the corruption made in ours, without loader, corruption and optimizer. Mask rates are
those of a run's end, even over (0, 1), where ours has most to score. The model has LLaDA's vocabulary and random weights.

Each variant's memory is measured in a process of its own. That of the loss is the most that head and loss hold at once in
forward and backward of a batch, the mean over some, beyond the weights, their gradients and the hidden states: bytes of
tensors, counted by torch, because resident memory depends on what the allocator keeps. Peak resident memory of the whole step,
or the GPU's, stands beside it.

Utilisation (on a GPU, or with --utilisation) is of samples of the full length, padded with end tokens as --eos-pad does. Model
FLOPs are 6 a weight and token in the blocks, 6 a weight and *scored position* in the head, and 12 x layers x width x length a
token for attention; none for embeddings, and none for what checkpointing computes again.
"""

import argparse
import gc
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from corruption import peak_bytes, seconds_of
from report import machine, plain, print_machine, print_table, verdict
from step_variants import PlainEngine, Setup, deepspeed_engine, full_logits, noise_of, scored_positions, train_step
from torch import nn

from syntaxdiff.pipeline.build import build_shards
from syntaxdiff.pipeline.config import BuildConfig
from syntaxdiff.pipeline.errors import SyntaxdiffError
from syntaxdiff.pipeline.shard import Manifest, read_manifest
from syntaxdiff.train.corruption.config import CorruptionConfig
from syntaxdiff.train.corruption.corrupt import corrupt, plan
from syntaxdiff.train.data.batch import collate
from syntaxdiff.train.data.loader import GlobalBatch, MicroBatch, read_split, with_end_tokens
from syntaxdiff.train.model.denoiser import Denoiser
from syntaxdiff.train.model.sizes import PRESETS

PACKAGES = ("torch", "transformers", "deepspeed", "pyarrow", "numpy")
LLADA_VOCABULARY = 126_464
OURS, FULL, BARE, OPTIMIZER, ENGINE = "ours", "full logits", "bare", "optimizer alone", "ours, DeepSpeed"
SCORES = {OURS: scored_positions, FULL: full_logits}
MOST_SHARE_OF_STEP = 1.0  # per cent
LEAST_OF_LOSS_MEMORY = 4.0
LEAST_UTILISATION = 45.0  # per cent, of an H100
CORRUPTED_BATCHES = 20
MEMORY_BATCHES = 8
LOADER_SAMPLES = 8192  # at most, of a pass


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is measured: rounds of all variants, passes of the loader over the data, steps of the utilisation."""

    rounds: int
    loader_passes: int
    utilisation_steps: int


# ---------------------------------------------------------------------------------------------------------------- memory


@dataclass(frozen=True, kw_only=True)
class MemoryFigures:
    """Bytes at most: of head and loss alone, the mean over some batches, and of the process, or on the GPU, in a whole step.

    How many positions are scored is drawn anew for every batch, so one batch says little of the head.
    """

    loss_bytes: int
    step_bytes: int


def in_process(variant: str, setup: Setup) -> MemoryFigures:
    """``measure_memory`` in a fresh process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure_memory, variant, setup).result()


def measure_memory(variant: str, setup: Setup) -> MemoryFigures:
    """Peaks of one variant at the first batches; nothing else may have run in this process."""
    manifest = setup.manifest()
    denoiser = setup.denoiser(manifest)
    engine = PlainEngine(denoiser, SCORES[variant])
    stepper = setup.stepper(engine, manifest, pack=variant == OURS)
    train_step(stepper, setup.first_batch(manifest, 1), setup.seed)  # after it the optimizer has its states
    train_step(stepper, setup.first_batch(manifest), setup.seed)
    step_bytes = torch.cuda.max_memory_allocated() if setup.device == "cuda" else peak_resident_bytes()
    loss_bytes = []
    for batch in islice(setup.stream(manifest).batches(), MEMORY_BATCHES):
        (micro,) = batch.micro_batches
        with torch.no_grad():
            stepper(micro.batch, noise_of(micro, setup.seed), seed=setup.seed, epoch=micro.epochs)
        loss_bytes.append(loss_memory(engine, setup.device))
    return MemoryFigures(loss_bytes=round(statistics.mean(loss_bytes)), step_bytes=step_bytes)


def loss_memory(engine: PlainEngine, device: str) -> int:
    """Bytes at most that head and loss of the last micro-batch hold, forward and backward."""
    assert engine.seen is not None
    denoiser = engine.denoiser
    with torch.no_grad():
        hidden_BLD = denoiser.hidden(engine.seen[0])
    hidden_BLD.requires_grad_()
    weight: nn.Parameter = denoiser.network.lm_head.weight
    hidden_BLD.grad, weight.grad = torch.zeros_like(hidden_BLD), torch.zeros_like(weight)
    with patch.object(denoiser, "hidden", lambda inputs: hidden_BLD):  # what is left is head and loss
        return peak_bytes(engine.repeat, device)


def peak_resident_bytes() -> int:
    """Most resident memory of this process; ``ru_maxrss`` would count its parent's, from before the program was loaded."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("Linux tells VmHWM")


# ------------------------------------------------------------------------------------------------- loader and corruption


@dataclass(frozen=True, kw_only=True)
class HostFigures:
    """Loader and corruption, each alone; CPU time is of all threads.

    Attributes:
        loader_tokens_per_second: wall time
        loader_seconds: CPU time, of a step's samples
        corruption_tokens_per_second: wall time
        corruption_seconds: CPU time of plan and corruption of a step's samples; on a GPU wall time, until it is done
    """

    loader_tokens_per_second: float
    loader_seconds: float
    corruption_tokens_per_second: float
    corruption_seconds: float


def measure_host(setup: Setup, manifest: Manifest, scale: Scale) -> HostFigures:
    """The loader over the data, and the corruption of its first batches."""
    stream = setup.stream(manifest)
    num_steps = min(stream.num_samples, LOADER_SAMPLES) // setup.micro_batch
    rates, loader_seconds, taken = [], [], list(islice(stream.batches(), CORRUPTED_BATCHES))
    for _ in range(scale.loader_passes):
        wall, cpu = time.perf_counter(), time.process_time()
        num_tokens = sum(batch.num_tokens for batch in islice(stream.batches(), num_steps))
        rates.append(num_tokens / (time.perf_counter() - wall))
        loader_seconds.append((time.process_time() - cpu) / num_steps)

    def corrupt_one(micro: MicroBatch) -> None:
        config, noise = CorruptionConfig(), noise_of(micro, setup.seed)
        decided = plan(micro.batch, config, noise, seed=setup.seed, epoch=micro.epochs).to(setup.device)
        corrupt(micro.batch.to(setup.device).tensors, decided, config, manifest.token_ids)

    corrupt_one(taken[0].micro_batches[0])
    wall_rates, corruption_seconds = [], []
    for batch in taken:
        cpu = time.process_time()
        wall = seconds_of(partial(corrupt_one, batch.micro_batches[0]), setup.device)
        corruption_seconds.append(wall if setup.device == "cuda" else time.process_time() - cpu)
        wall_rates.append(batch.num_tokens / wall)
    return HostFigures(
        loader_tokens_per_second=statistics.median(rates),
        loader_seconds=statistics.median(loader_seconds),
        corruption_tokens_per_second=statistics.median(wall_rates),
        corruption_seconds=statistics.median(corruption_seconds),
    )


# ----------------------------------------------------------------------------------------------------------------- steps


class Seconds(NamedTuple):
    """Of the wall clock, and CPU time of all threads, which a busy machine changes less."""

    wall: float
    cpu: float


class Stopwatch:
    """Time since it was made or last read; reading waits for the device."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> Seconds:
        """The time; it starts anew."""
        if self._device == "cuda":
            torch.cuda.synchronize()
        wall, cpu = time.perf_counter(), time.process_time()
        passed = Seconds(wall - self._wall, cpu - self._cpu)
        self._wall, self._cpu = wall, cpu
        return passed


@dataclass(frozen=True, kw_only=True)
class Round:
    """One step's samples, taken by every variant.

    Attributes:
        seconds: by variant; ours with the wait for the samples
        num_tokens, num_scored: of the samples, without padding
        num_packed, num_padded: positions that the model computes in ours, and with full logits
        disagreement: of the two losses, relative
    """

    seconds: dict[str, Seconds]
    num_tokens: int
    num_scored: int
    num_packed: int
    num_padded: int
    disagreement: float


def measure_steps(setup: Setup, manifest: Manifest, scale: Scale, *, with_engine: bool) -> list[Round]:
    """All variants on the same samples, in turns."""
    denoiser = setup.denoiser(manifest)
    engine, full = PlainEngine(denoiser), PlainEngine(denoiser, full_logits)
    steppers = {OURS: setup.stepper(engine, manifest, pack=True), FULL: setup.stepper(full, manifest, pack=False)}
    if with_engine:
        steppers[ENGINE] = setup.stepper(deepspeed_engine(setup, setup.denoiser(manifest)), manifest, pack=True)
    short = setup.first_batch(manifest, 1)
    for stepper in steppers.values():  # the optimizer makes its states
        train_step(stepper, short, setup.seed)
    batches = setup.stream(manifest).read_ahead()
    rounds = []
    for _ in range(scale.rounds):
        watch = Stopwatch(setup.device)
        batch = next(batches)
        waited = watch.read()
        seconds: dict[str, Seconds] = {}
        losses: dict[str, float] = {}
        num_scored = 0
        for name, stepper in steppers.items():
            watch = Stopwatch(setup.device)
            scored = train_step(stepper, batch, setup.seed)
            seconds[name] = watch.read()
            losses[name] = float(scored.losses.loss.detach())
            num_scored = int(scored.corrupted.is_scored_BL.sum())
            del scored  # it holds what backward has not freed
        seconds[OURS] = Seconds(seconds[OURS].wall + waited.wall, seconds[OURS].cpu + waited.cpu)
        assert engine.seen is not None
        assert full.seen is not None
        watch = Stopwatch(setup.device)
        engine.repeat()
        seconds[BARE] = watch.read()
        engine.step()
        seconds[OPTIMIZER] = watch.read()
        rounds.append(
            Round(
                seconds=seconds,
                num_tokens=batch.num_tokens,
                num_scored=num_scored,
                num_packed=engine.seen[1].numel(),
                num_padded=full.seen[1].numel(),
                disagreement=abs(losses[FULL] / losses[OURS] - 1),
            )
        )
    batches.close()
    return rounds


# ----------------------------------------------------------------------------------------------------------- utilisation


@dataclass(frozen=True, kw_only=True)
class UtilisationFigures:
    """Whole steps on samples of the full length; memory is the device's, 0 on a CPU."""

    name: str
    step_seconds: float
    tokens_per_second: float
    model_flops_per_second: float
    peak_bytes: int


class ModelFlops(NamedTuple):
    """Of forward and backward; what counts is in the docstring of this module."""

    per_token: int
    per_scored: int

    @classmethod
    def of(cls, denoiser: Denoiser, length: int) -> "ModelFlops":
        """Of a model on samples of so many tokens."""
        network = denoiser.network
        num_head, num_embedding = network.lm_head.weight.numel(), network.model.embed_tokens.weight.numel()
        num_blocks = sum(weight.numel() for weight in network.parameters()) - num_head - num_embedding
        attention = 12 * network.config.num_hidden_layers * network.config.hidden_size * length
        return cls(6 * num_blocks + attention, 6 * num_head)


def full_length_batch(setup: Setup, manifest: Manifest) -> GlobalBatch:
    """The longest samples, brought to the full length by end tokens."""
    rows = sorted(read_split(setup.data, manifest, "train", LOADER_SAMPLES), key=lambda row: -row.length)[: setup.micro_batch]
    full = [with_end_tokens(row, setup.length - row.length, manifest.token_ids.eos) for row in rows]
    batch = collate(full, pad_id=manifest.token_ids.pad, languages=manifest.languages)
    micro = MicroBatch(batch, (0,) * len(full), tuple(range(len(full))))
    return GlobalBatch((micro,), int(batch.num_corruptible_B.sum()), int(batch.length_B.sum()), len(full))


def measure_utilisation(
    name: str, setup: Setup, manifest: Manifest, scale: Scale, *, checkpointing: bool = False, in_deepspeed: bool = False
) -> UtilisationFigures:
    """Steps of one model, one after the other."""
    on_gpu, held_before = setup.device == "cuda", 0
    if on_gpu:
        gc.collect()  # engines refer to themselves
        torch.cuda.reset_peak_memory_stats()
        held_before = torch.cuda.memory_allocated()
    denoiser = setup.denoiser(manifest, checkpointing=checkpointing)
    flops = ModelFlops.of(denoiser, setup.length)  # before ZeRO-3 takes the weights' shapes away
    engine = deepspeed_engine(setup, denoiser) if in_deepspeed else PlainEngine(denoiser)
    stepper = setup.stepper(engine, manifest, pack=False)
    batch = full_length_batch(setup, manifest)
    seconds, num_scored = [], 0
    for _ in range(1 + scale.utilisation_steps):
        start = time.perf_counter()
        scored = train_step(stepper, batch, setup.seed)
        num_scored = int(scored.corrupted.is_scored_BL.sum())  # waits for the device
        seconds.append(time.perf_counter() - start)
    step_seconds = statistics.median(seconds[1:])  # the first is warm-up
    return UtilisationFigures(
        name=name,
        step_seconds=step_seconds,
        tokens_per_second=batch.num_tokens / step_seconds,
        model_flops_per_second=(flops.per_token * batch.num_tokens + flops.per_scored * num_scored) / step_seconds,
        peak_bytes=torch.cuda.max_memory_allocated() - held_before if on_gpu else 0,
    )


def peak_flops(setup: Setup) -> float | None:
    """What the GPU is sold to do in bf16, dense; None for others, other precisions, and CPUs."""
    if setup.device != "cuda" or setup.dtype != "bfloat16":
        return None
    from syntaxdiff.train.trainer import PEAK_FLOPS  # imports DeepSpeed, which takes seconds

    return next((flops for part, flops in PEAK_FLOPS.items() if part in torch.cuda.get_device_name()), None)


# -------------------------------------------------------------------------------------------------------------- printing


def print_steps(rounds: Sequence[Round], setup: Setup) -> None:
    """Table 1: the variants."""

    def per_step(counts: Sequence[int]) -> str:
        return f"{statistics.mean(counts):,.0f}"

    positions = {FULL: per_step([measured.num_padded for measured in rounds]), OPTIMIZER: "-"}
    rows = []
    for name in rounds[0].seconds:
        rate = statistics.median(measured.num_tokens / measured.seconds[name].wall for measured in rounds)
        rows.append(
            [
                name,
                f"{statistics.median(measured.seconds[name].wall for measured in rounds):.3f}",
                "-" if name == OPTIMIZER else f"{rate:,.0f}",
                positions.get(name, per_step([measured.num_packed for measured in rounds])),
                f"{statistics.median(measured.seconds[name].wall / measured.seconds[OURS].wall for measured in rounds):.3f}",
                f"{statistics.median(measured.seconds[name].cpu / measured.seconds[OURS].cpu for measured in rounds):.3f}",
            ]
        )
    print_table(
        f"1. A step of `{setup.preset}` with {setup.vocabulary:,} ids: {setup.micro_batch} samples of up to {setup.length} "
        f"tokens, {setup.dtype} on {setup.device}, median of {len(rounds)} rounds",
        ["variant", "seconds", "tokens/s", "positions", "time over ours", "CPU time"],
        rows,
    )
    tokens, scored = (per_step([getattr(measured, name) for measured in rounds]) for name in ("num_tokens", "num_scored"))
    disagreement = max(measured.disagreement for measured in rounds)
    print(f"  A step has {tokens} tokens, of which {scored} are scored. Positions are those of the transformer, padding too.")
    print(f"  The losses of ours and of full logits differ by at most {disagreement:.1e} of themselves.")


def print_host(host: HostFigures, rounds: Sequence[Round]) -> None:
    """Table 2: loader and corruption as a share of forward and backward."""
    bare = statistics.median(measured.seconds[BARE].wall for measured in rounds)
    rows = []
    for name, tokens_per_second, seconds in (
        ("loader", host.loader_tokens_per_second, host.loader_seconds),
        ("plan and corruption", host.corruption_tokens_per_second, host.corruption_seconds),
    ):
        rows.append([name, f"{tokens_per_second:,.0f}", f"{1e3 * seconds:.2f}", f"{100 * seconds / bare:.3f}", ""])
    both = host.loader_seconds + host.corruption_seconds
    share = 100 * both / bare
    rows.append(["both", "", f"{1e3 * both:.2f}", f"{share:.3f}", verdict(share, most=MOST_SHARE_OF_STEP)])
    print_table(
        "2. Loader and corruption alone: CPU time of all threads for the samples of a step, over the bare step's wall time",
        ["", "tokens/s", "CPU ms a step", "% of bare", "aim, %"],
        rows,
    )


def print_memory(memory: dict[str, MemoryFigures], setup: Setup) -> None:
    """Table 3: memory of the loss and of a step."""
    ratio = memory[FULL].loss_bytes / memory[OURS].loss_bytes
    rows = [
        [name, f"{figures.loss_bytes / 2**20:,.0f}", f"{figures.step_bytes / 2**20:,.0f}", ""]
        for name, figures in memory.items()
    ]
    steps = memory[FULL].step_bytes / memory[OURS].step_bytes
    rows.append(["full over ours", f"{ratio:.2f}", f"{steps:.2f}", verdict(ratio, least=LEAST_OF_LOSS_MEMORY)])
    of_step = "step, GPU" if setup.device == "cuda" else "step, resident"
    print_table(
        "3. Peak memory, MiB: of head and loss alone, and of a whole step", ["", "loss", of_step, "aim of the loss"], rows
    )


def print_utilisation(figures: Sequence[UtilisationFigures], peak: float | None, setup: Setup) -> None:
    """Table 4: whole steps at the full length."""
    rows = []
    for measured in figures:
        percent = None if peak is None else 100 * measured.model_flops_per_second / peak
        rows.append(
            [
                measured.name,
                f"{measured.step_seconds:.3f}",
                f"{measured.tokens_per_second:,.0f}",
                f"{measured.model_flops_per_second / 1e12:,.3f}",
                "-" if percent is None else f"{percent:.1f}",
                f"{measured.peak_bytes / 2**30:.1f}" if measured.peak_bytes else "-",
                "-" if percent is None or measured is not figures[0] else verdict(percent, least=LEAST_UTILISATION),
            ]
        )
    print_table(
        f"4. Whole steps of `{setup.preset}`, {setup.micro_batch} x {setup.length} tokens without padding, {setup.dtype}",
        ["", "seconds", "tokens/s", "model TFLOP/s", "% of peak", "GPU GiB", "aim, %"],
        rows,
    )


# ------------------------------------------------------------------------------------------------------------------- run


def run(setup: Setup, scale: Scale, *, with_engine: bool, with_utilisation: bool) -> dict[str, Any]:
    """Measures everything, and prints each table when it is there."""
    facts = machine(PACKAGES) | {"threads": torch.get_num_threads(), "device": setup.device}
    if setup.device == "cuda":
        facts["device"] = torch.cuda.get_device_name()
    print_machine(facts)
    manifest = setup.manifest()
    print(f"device: {facts['device']}; threads: {facts['threads']}; {manifest.num_samples('train'):,} samples in the shards")
    memory = {name: in_process(name, setup) for name in SCORES}  # first, while a GPU is empty
    host = measure_host(setup, manifest, scale)
    rounds = measure_steps(setup, manifest, scale, with_engine=with_engine)
    print_steps(rounds, setup)
    print_host(host, rounds)
    print_memory(memory, setup)
    utilisation: list[UtilisationFigures] = []
    if with_utilisation:
        utilisation = [
            measure_utilisation("plain", setup, manifest, scale),
            measure_utilisation("activation checkpointing", setup, manifest, scale, checkpointing=True),
        ]
        if with_engine:
            utilisation.append(measure_utilisation("DeepSpeed", setup, manifest, scale, in_deepspeed=True))
        print_utilisation(utilisation, peak_flops(setup), setup)
    figures = {"rounds": rounds, "host": host, "memory": memory, "utilisation": utilisation}
    return {"machine": facts, "setup": setup, "scale": scale, **figures}


def built_shards(out: Path, length: int, num_samples: int, validation_size: int = 0) -> Path:
    """Shards of the standard library, as the demo's."""
    build_shards(
        BuildConfig(
            src=("stdlib",),
            out=out,
            tokenizer="train:4096",
            max_length=length,
            limit=num_samples,
            validation_size=validation_size,
        )
    )
    return out


def refused(reason: str) -> int:
    """One line that says why nothing was measured, and the exit code."""
    print(f"train_step.py: {' '.join(reason.split())}", file=sys.stderr)
    return 2


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of shards; default: built from the standard library, for this run")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: a GPU where there is one")
    parser.add_argument(
        "--dtype",
        choices=("bfloat16", "float32"),
        default="bfloat16",
        help="(%(default)s, as ds_zero3.json has it; processors without bfloat16 arithmetic are faster in float32)",
    )
    parser.add_argument("--preset", choices=tuple(PRESETS), help="default: small, on a GPU 1b")
    parser.add_argument("--vocabulary", type=int, help=f"ids of the model; default: LLaDA's {LLADA_VOCABULARY}")
    parser.add_argument("--length", type=int, help="most tokens of a sample; default: of --data; else 256, on a GPU 4096")
    parser.add_argument("--micro-batch", type=int, help="samples of a step; default: 16, on a GPU 4")
    parser.add_argument("--steps", type=int, help="rounds; default: 3, on a GPU 20")
    parser.add_argument("--engine", action="store_true", help="our step in DeepSpeed's engine too, with ds_zero3.json")
    parser.add_argument("--utilisation", action="store_true", help="table 4 on a CPU too")
    parser.add_argument("--quick", action="store_true", help="a smoke run of `tiny` on short samples")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    return parser.parse_args()


def main() -> int:
    """Measure what the options ask for."""
    start = time.perf_counter()
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # else torch's profiler reports each start
    options = parse()
    has_gpu = torch.cuda.is_available()
    device = ("cuda" if has_gpu else "cpu") if options.device == "auto" else options.device
    if device == "cuda" and not has_gpu:
        return refused("no GPU is there: --device cpu measures without")
    if options.engine and find_spec("deepspeed") is None:
        return refused("--engine needs DeepSpeed, which is not installed")
    for name in ("length", "micro_batch", "steps"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            return refused(f"--{name.replace('_', '-')} is at least 1")
    defaults: dict[str, Any] = {"preset": "small", "length": 256, "micro_batch": 16, "steps": 3}
    if device == "cuda":
        defaults = {"preset": "1b", "length": 4096, "micro_batch": 4, "steps": 20}
    num_samples, vocabulary = 1000, LLADA_VOCABULARY
    if options.quick:
        print("A smoke run: a tiny model and few samples; its figures, `met` and `MISSED` mean nothing.\n")
        defaults = {"preset": "tiny", "length": 128, "micro_batch": 4, "steps": 1}
        num_samples, vocabulary = 100, 8192
    chosen = {name: getattr(options, name) or default for name, default in defaults.items()}
    rounds = chosen.pop("steps")
    with tempfile.TemporaryDirectory(prefix="train-step-benchmark-") as folder, ExitStack() as stack:
        try:
            if options.engine:
                from syntaxdiff.train.engine.deepspeed_engine import processes

                stack.enter_context(processes())
            if options.data and not options.length:
                chosen["length"] = int(read_manifest(options.data).settings.max_length)
            setup = Setup(
                data=options.data or built_shards(Path(folder) / "shards", chosen["length"], num_samples),
                vocabulary=options.vocabulary or vocabulary,
                device=device,
                dtype=options.dtype,
                **chosen,
            )
            scale = Scale(rounds=rounds, loader_passes=1 if options.quick else 5, utilisation_steps=rounds)
            with_utilisation = device == "cuda" or options.utilisation
            figures = run(setup, scale, with_engine=options.engine, with_utilisation=with_utilisation)
        except SyntaxdiffError as error:
            return refused(str(error))
        except torch.OutOfMemoryError:
            return refused("the GPU's memory is full: lower --micro-batch, or --length for shards of shorter samples")
    figures["seconds"] = time.perf_counter() - start
    load = ", ".join(f"{load:.2f}" for load in os.getloadavg())
    print(f"\n{figures['seconds']:.0f} s, building shards included; load average at the end: {load}")
    if options.json:
        options.json.write_text(json.dumps(plain(figures), indent=1, default=str) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    warnings.filterwarnings("ignore", category=FutureWarning)  # of torch, at every step in DeepSpeed's engine
    sys.exit(main())
