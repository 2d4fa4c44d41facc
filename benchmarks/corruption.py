"""Speed and memory of the corruption, beside a sequential loop and beside a training step.

    python benchmarks/corruption.py                      # under 4 minutes on two cores
    python benchmarks/corruption.py --quick              # a smoke run; its figures mean nothing
    python benchmarks/corruption.py --device cuda --json figures.json

A sample is a prompt of an eighth of its tokens and code to its end, with random spans that nest as syntax trees do: all
code, because only there do strategies differ. Rates are spread evenly over (0, 1) within a batch, 1/2 at batch size 1. What
is compared runs in one process, in turns, so that a busy machine slows all alike; times are medians over rounds.

Tables 1 to 3 use --threads threads, 1 by default: more gain little below 32 samples and lose much where cores are shared.
A training step uses all, and so does the corruption beside it.

The loop is Algorithm 1 as the paper prints it, on the host, as one would write it with care: numpy draws and coins, a Python
loop over the surviving spans that ends at the budget, a bytearray whose `find` looks for masked tokens. It makes the masked
ids alone, `corrupt` also what the loss scores and weighs. The same loop is compiled where numba is installed.
"""

import argparse
import heapq
import json
import os
import random
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from report import machine, plain, print_machine, print_table, verdict
from torch.profiler import ProfilerActivity, profile

from syntaxdiff.pipeline.shard import LanguageKinds, Region, SampleRow, TokenIds
from syntaxdiff.pipeline.syntax.spans import nesting
from syntaxdiff.train.corruption.config import STRATEGIES, CorruptionConfig
from syntaxdiff.train.corruption.corrupt import Plan, corrupt, plan
from syntaxdiff.train.corruption.noise import Noise
from syntaxdiff.train.data.batch import Batch, collate

PACKAGES = ("torch", "transformers", "numpy", "numba")
VOCABULARY = 4096
IDS = TokenIds(mask=1, pad=0, eos=2, bos=None, end_of_turn=(), assistant_header=())
KINDS = LanguageKinds(node_kinds=tuple(map(str, range(300))), named=(True,) * 300, grammar="benchmark")
LANGUAGES = {"python": KINDS}
NUM_SPANS_OF_REAL_CODE = 1000  # of so many tokens; 0.27 spans a token in files of the standard library
SPLIT_SHAPES = ((0.5, 2), (0.35, 3), (0.15, 4))  # share of nodes, and number of their parts
MOST_SHARE_OF_STEP = 1.0  # per cent
MOST_MS_ON_GPU = 1.0  # at batch size 1

Array: TypeAlias = npt.NDArray[Any]
Call: TypeAlias = Callable[[], Any]
MaskSpans: TypeAlias = Callable[[Array, Array, Array, int], int]


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is measured: tokens of a sample, batch sizes with rounds of each, spans a sample, training steps."""

    num_tokens: int
    rounds: dict[int, int]
    span_counts: tuple[int, ...]
    steps: int


@dataclass
class Point:
    """Figures of one batch size and number of spans."""

    batch_size: int
    num_spans: int
    depth: int
    ms: dict[str, float]  # by what ran: strategies, plan, collate, loop, numba
    loop_over: dict[str, float]  # time of the loop over time of a strategy, median over rounds
    peak_mib: dict[str, float]
    gpu: dict[str, dict[str, Any]] = field(default_factory=dict)  # by strategy


# --------------------------------------------------------------------------------------------------------------- samples


def random_spans(num_code: int, num_spans: int, rng: random.Random) -> tuple[Array, Array]:
    """A nested family in pre-order: the whole code, split again and again at random places, the longest parts first."""
    spans: list[tuple[int, int]] = []
    heap = [(-float(num_code), 0, num_code)]
    while heap and len(spans) < num_spans:
        _, start, end = heapq.heappop(heap)
        spans.append((start, end))
        (num_parts,) = rng.choices([parts for _, parts in SPLIT_SHAPES], [share for share, _ in SPLIT_SHAPES])
        cuts = rng.sample(range(start + 1, end), min(num_parts, end - start) - 1)
        bounds = [start, *sorted(cuts), end]
        for part_start, part_end in pairwise(bounds):
            if part_end - part_start >= 2:
                heapq.heappush(heap, ((part_start - part_end) * rng.uniform(0.02, 1), part_start, part_end))
    spans.sort(key=lambda span: (span[0], -span[1]))
    start_S, end_S = np.array(spans).T
    return start_S, end_S


def random_row(name: str, num_tokens: int, num_spans: int) -> SampleRow:
    """A sample, decided by its name."""
    rng, generator = random.Random(name), np.random.default_rng(list(name.encode()))
    num_prompt = num_tokens // 8
    num_code = num_tokens - num_prompt
    start, end = random_spans(num_code, num_spans, rng)
    assert len(start) == num_spans, f"{num_code} tokens were too few for {num_spans} spans"
    parent, depth = nesting(start, end)
    return SampleRow(
        sample_id=name,
        input_ids=generator.integers(3, VOCABULARY, num_tokens),
        region_label=np.array([Region.PROMPT, Region.CODE]),
        region_end=np.array([num_prompt, num_tokens]),
        role=generator.integers(0, 4, num_code),
        leaf_kind=generator.integers(1, 200, num_code),
        span_start=start + num_prompt,
        span_end=end + num_prompt,
        span_kind=generator.integers(1, 200, num_spans),
        span_arity=generator.integers(1, 6, num_spans),
        span_parent=parent,
        length=num_tokens,
        span_depth=int(depth),
        language="python",
        source="random",
        truncated=False,
        has_error=False,
    )


# -------------------------------------------------------------------------------------------------------------- the loop


def mask_spans_in_python(start_S: Array, end_S: Array, masked_C: Array, budget: int) -> int:
    """Lines 6 to 15 of Algorithm 1, for shuffled spans that survived their coins; tokens masked."""
    masked, count = bytearray(len(masked_C)), 0
    for start, end in zip(start_S.tolist(), end_S.tolist(), strict=True):
        if masked.find(1, start, end) < 0:
            masked[start:end] = b"\1" * (end - start)
            count += end - start
            if count > budget:
                break
    masked_C[:] = np.frombuffer(masked, dtype=np.uint8)
    return count


def mask_spans_to_compile(start_S: Array, end_S: Array, masked_C: Array, budget: int) -> int:
    """The same, as numba wants it."""
    count = 0
    for index in range(len(start_S)):
        start, end = start_S[index], end_S[index]
        is_free = True
        for position in range(start, end):
            if masked_C[position]:
                is_free = False
                break
        if is_free:
            masked_C[start:end] = 1
            count += end - start
            if count > budget:
                break
    return count


def sequential(rows: Sequence[SampleRow], noise: Noise, mask_spans: MaskSpans, device: str) -> torch.Tensor:
    """Masked ids of samples of one length by Algorithm 1, sample by sample, span by span."""
    generator = np.random.default_rng(0)
    ids_BL = np.stack([row.input_ids for row in rows])
    for row, ids_L, rate in zip(rows, ids_BL, noise.rate_B.tolist(), strict=True):
        code_start, num_code = int(row.region_end[0]), len(row.role)
        start_S, end_S = row.span_start - code_start, row.span_end - code_start
        survives_S = generator.random(len(start_S)) >= (1 - rate) ** (end_S - start_S)
        order_S = generator.permutation(len(start_S))
        order_S = order_S[survives_S[order_S]]
        masked_C, budget = np.zeros(num_code, dtype=np.uint8), int(rate * num_code)
        needed = budget - mask_spans(start_S[order_S], end_S[order_S], masked_C, budget)
        if needed > 0:
            masked_C[generator.choice(np.flatnonzero(masked_C == 0), needed, replace=False, shuffle=False)] = 1
        ids_L[code_start:][masked_C != 0] = IDS.mask
    return torch.from_numpy(ids_BL).long().to(device)


def loops() -> dict[str, MaskSpans]:
    """The loop, and the compiled one where numba is installed."""
    found: dict[str, MaskSpans] = {"loop": mask_spans_in_python}
    if find_spec("numba") is not None:
        found["numba"] = import_module("numba").njit(mask_spans_to_compile)
    return found


# ------------------------------------------------------------------------------------------------------------- measuring


def seconds_of(call: Call, device: str) -> float:
    """Wall time of one call, until the device is done."""
    if device == "cuda":
        torch.cuda.synchronize()  # with what came before
    start = time.perf_counter()
    call()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def in_turns(calls: dict[str, Call], rounds: int, device: str) -> dict[str, list[float]]:
    """Seconds of each call in each round, after one call that does not count."""
    for call in calls.values():
        seconds_of(call, device)
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            seconds[name].append(seconds_of(call, device))
    return seconds


def peak_bytes(call: Call, device: str) -> int:
    """Most bytes of tensors that a call holds at once, its result among them and its arguments not."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        return int(torch.cuda.max_memory_allocated() - before)
    with tempfile.TemporaryDirectory(prefix="corruption-benchmark-") as folder:
        trace = Path(folder) / "trace.json"
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            kept = call()
        del kept
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
    allocations = sorted(
        (event["ts"], event["args"]["Ev Idx"], event["args"]["Bytes"]) for event in events if event["name"] == "[memory]"
    )
    return int(np.cumsum([0, *(size for _, _, size in allocations)]).max())


def corruptions(batch: Batch, plan_of: Callable[[CorruptionConfig], Plan], device: str) -> dict[str, Call]:
    """One call a strategy, on the device."""
    samples = batch.to(device).tensors

    def call_of(config: CorruptionConfig) -> Call:
        planned = plan_of(config).to(device)
        return lambda: corrupt(samples, planned, config, IDS)

    return {strategy: call_of(CorruptionConfig(strategy=strategy)) for strategy in STRATEGIES}


def measure_point(batch_size: int, num_spans: int, scale: Scale, device: str, *, compiles: bool) -> Point:
    """All figures of one batch size and number of spans."""
    rows = [random_row(f"{num_spans}-{index}", scale.num_tokens, num_spans) for index in range(batch_size)]
    noise = Noise(rate_B=(np.arange(batch_size) + 0.5) / batch_size)
    batch = collate(rows, pad_id=IDS.pad, languages=LANGUAGES)
    strategies = corruptions(batch, lambda config: plan(batch, config, noise, seed=0, epoch=0), device)

    def loop_of(mask_spans: MaskSpans) -> Call:
        return lambda: sequential(rows, noise, mask_spans, device)

    others: dict[str, Call] = {
        "plan": lambda: plan(batch, CorruptionConfig(), noise, seed=0, epoch=0).to(device),
        "collate": lambda: collate(rows, pad_id=IDS.pad, languages=LANGUAGES).to(device),
        **{name: loop_of(mask_spans) for name, mask_spans in loops().items()},
    }
    seconds = in_turns(strategies | others, scale.rounds[batch_size], device)
    return Point(
        batch_size=batch_size,
        num_spans=num_spans,
        depth=max(row.span_depth for row in rows),
        ms={name: 1e3 * statistics.median(values) for name, values in seconds.items()},
        loop_over={
            name: statistics.median(np.divide(seconds["loop"], seconds[name]).tolist()) for name in [*strategies, *others]
        },
        peak_mib={name: peak_bytes(call, device) / 2**20 for name, call in strategies.items()},
        gpu={name: gpu_figures(call, compiles) for name, call in strategies.items()} if device == "cuda" else {},
    )


# ------------------------------------------------------------------------------------------------------------------- GPU


def gpu_figures(call: Call, compiles: bool) -> dict[str, Any]:
    """Kernel launches and microseconds of a call, eager and compiled, and whether it waits for the device."""
    figures: dict[str, Any] = {"waits": where_it_waits(call)}
    figures["launches"], figures["us"] = launches_of(call), amortised_us(call)
    if compiles:
        torch.compiler.reset()
        compiled = torch.compile(call, fullgraph=True, dynamic=False)
        try:
            compiled()
        except (RuntimeError, TypeError) as error:
            figures["compile_error"] = str(error)
        else:
            figures["compiled_launches"], figures["compiled_us"] = launches_of(compiled), amortised_us(compiled)
    return figures


def where_it_waits(call: Call) -> str | None:
    """File and line at which the host first synchronises with the device during a call; None where it does not."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        call()
    except RuntimeError as error:
        if "synchroniz" not in str(error):
            raise
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"{Path(place.filename).name}:{place.lineno}"
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return None


def launches_of(call: Call) -> int:
    """Kernels that a call launches."""
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        call()
        torch.cuda.synchronize()
    return sum(event.count for event in profiler.key_averages() if "LaunchKernel" in event.key)


def amortised_us(call: Call, repetitions: int = 50) -> float:
    """Microseconds a call where many follow each other, as in a training step that does not wait."""
    call()
    make_event: Any = torch.cuda.Event  # has no types
    start, end = make_event(enable_timing=True), make_event(enable_timing=True)
    start.record()
    for _ in range(repetitions):
        call()
    end.record()
    end.synchronize()
    return 1e3 * float(start.elapsed_time(end)) / repetitions


# ----------------------------------------------------------------------------------------------------------------- a step


def step_of_30m(num_tokens: int, device: str) -> tuple[Call, int]:
    """Forward and backward of a transformer of 30 M random weights at batch size 1, and how many they are."""
    from transformers import LlamaConfig, LlamaForCausalLM

    shape: Any = LlamaConfig(
        hidden_size=512,
        num_hidden_layers=8,
        num_attention_heads=8,
        num_key_value_heads=8,
        intermediate_size=1376,
        vocab_size=VOCABULARY,
        max_position_embeddings=num_tokens,
    )
    shape.is_causal = False
    torch.manual_seed(0)
    model: Any = LlamaForCausalLM(shape)
    model = model.to(device, torch.bfloat16 if device == "cuda" else torch.float32)
    ids_1L = torch.randint(VOCABULARY, (1, num_tokens), device=device)

    def step() -> None:
        logits_LV = model(input_ids=ids_1L, use_cache=False).logits[0]
        loss: Any = torch.nn.functional.cross_entropy(logits_LV, ids_1L[0])
        loss.backward()
        model.zero_grad()

    return step, sum(weight.numel() for weight in model.parameters())


def measure_step(scale: Scale, device: str) -> dict[str, Any]:
    """A step, and what corrupting its sample takes, in turns."""
    step, num_weights = step_of_30m(scale.num_tokens, device)
    num_spans = NUM_SPANS_OF_REAL_CODE if NUM_SPANS_OF_REAL_CODE in scale.span_counts else scale.span_counts[0]
    batch = collate([random_row("step", scale.num_tokens, num_spans)], pad_id=IDS.pad, languages=LANGUAGES)
    noise = Noise.fixed(0.5, 1)

    def plan_of(config: CorruptionConfig) -> Plan:
        return plan(batch, config, noise, seed=0, epoch=0)

    calls = corruptions(batch, plan_of, device) | {"plan": lambda: plan_of(CorruptionConfig()).to(device)}
    if device == "cuda":
        seconds_of(step, device)
    step_seconds, seconds = [], []
    for _ in range(scale.steps):
        step_seconds.append(seconds_of(step, device))
        seconds.append(in_turns(calls, 11, device))
    ms = {name: 1e3 * statistics.median([value for turn in seconds for value in turn[name]]) for name in calls}
    return {"num_weights": num_weights, "num_spans": num_spans, "step_ms": 1e3 * statistics.median(step_seconds), "ms": ms}


# --------------------------------------------------------------------------------------------------------------- printing


def print_points(points: Sequence[Point], scale: Scale, device: str) -> None:
    """Tables 1 to 3: time, the loop's time over it, memory."""
    names = list(points[0].ms)
    places = [f"{point.batch_size} x {scale.num_tokens}, {point.num_spans} spans, depth {point.depth}" for point in points]
    print_table(
        f"1. Milliseconds a batch on {device}, median of {'/'.join(map(str, scale.rounds.values()))} rounds",
        ["batch", *names],
        [[place, *(f"{point.ms[name]:.2f}" for name in names)] for place, point in zip(places, points, strict=True)],
    )
    names = [name for name in points[0].loop_over if name in STRATEGIES or name == "numba"]
    print_table(
        "2. The loop's time over it: above 1 is faster than the loop, which makes Algorithm 1 (ast-span) alone",
        ["batch", *names],
        [[place, *(f"{point.loop_over[name]:.2f}" for name in names)] for place, point in zip(places, points, strict=True)],
    )
    print_table(
        "3. Peak memory of one call, MiB, its result among it and the batch not",
        ["batch", *STRATEGIES],
        [[place, *(f"{point.peak_mib[name]:.1f}" for name in STRATEGIES)] for place, point in zip(places, points, strict=True)],
    )


def print_gpu(points: Sequence[Point]) -> None:
    """Table 5: launches and microseconds on a GPU, eager and compiled, synchronisation, and the aim at batch size 1."""
    rows = []
    for point in points:
        for strategy, figures in point.gpu.items():
            absent = "fails" if "compile_error" in figures else "-"
            compiled = [f"{figures[key]:.0f}" if key in figures else absent for key in ("compiled_launches", "compiled_us")]
            aim = verdict(figures["us"] / 1e3, most=MOST_MS_ON_GPU) if point.batch_size == 1 else "-"
            numbers = [f"{figures['launches']}", f"{figures['us']:.0f}", *compiled, figures["waits"] or "no", aim]
            rows.append([f"{point.batch_size}, {point.num_spans} spans, {strategy}", *numbers])
    header = ["batch", "launches", "us", "compiled: launches", "us", "host waits", "aim, eager, ms"]
    print_table("5. On the GPU, one call of many in a row", header, rows)


def print_step(figures: dict[str, Any], scale: Scale, device: str) -> None:
    """Table 4: corruption as a share of a training step."""
    planned = figures["ms"]["plan"]
    rows = []
    for strategy in STRATEGIES:
        total = figures["ms"][strategy] + planned
        share = 100 * total / figures["step_ms"]
        rows.append([strategy, f"{total:.2f}", f"{share:.3f}", verdict(share, most=MOST_SHARE_OF_STEP)])
    print_table(
        f"4. Forward and backward of {figures['num_weights'] / 1e6:.1f} M weights, 1 x {scale.num_tokens} tokens, "
        f"{'bfloat16' if device == 'cuda' else 'float32'}: {figures['step_ms']:,.0f} ms (median of {scale.steps}); "
        f"plan and corruption of its sample, {figures['num_spans']} spans",
        ["strategy", "ms", "% of the step", "aim, %"],
        rows,
    )


def run(scale: Scale, device: str, threads: int) -> dict[str, Any]:
    """Measures and prints all."""
    start = time.perf_counter()
    facts = machine(PACKAGES) | {"threads": threads, "device": device}
    if device == "cuda":
        facts["device"] = torch.cuda.get_device_name()
    print_machine(facts)
    print(f"device: {facts['device']}; threads: {threads}; numba {'is' if 'numba' in loops() else 'is not'} installed")
    all_threads = torch.get_num_threads()
    torch.set_num_threads(threads)
    points = [
        measure_point(batch_size, num_spans, scale, device, compiles=batch_size == 1 and num_spans == NUM_SPANS_OF_REAL_CODE)
        for batch_size in scale.rounds
        for num_spans in scale.span_counts
    ]
    print_points(points, scale, device)
    torch.set_num_threads(all_threads)
    step = measure_step(scale, device)
    print_step(step, scale, device)
    if device == "cuda":
        print_gpu(points)
    seconds = time.perf_counter() - start
    print(f"\n{seconds:.0f} s; load average at the end: {', '.join(f'{load:.2f}' for load in os.getloadavg())}")
    return {"machine": facts, "scale": scale, "points": points, "step": step, "seconds": seconds}


def main() -> int:
    """Parse the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: a GPU where there is one")
    parser.add_argument("--threads", type=int, default=1, help="of tables 1 to 3 (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="a smoke run on short samples")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    options = parser.parse_args()
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        print("corruption.py: no GPU is there: --device cpu measures without", file=sys.stderr)
        return 2
    scale = Scale(
        num_tokens=4096, rounds={1: 21, 8: 11, 32: 5}, span_counts=(200, 1000, 2000), steps=2 if device == "cpu" else 20
    )
    if options.quick:
        print("A smoke run: short samples and few rounds; its figures, `met` and `MISSED` mean nothing.\n")
        scale = Scale(num_tokens=1024, rounds={1: 3, 8: 2}, span_counts=(200,), steps=1)
    figures = run(scale, device, options.threads)
    if options.json:
        options.json.write_text(json.dumps(plain(figures), indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
