"""Whether all of the project works on this machine's GPU: one command, a line a check, exit code 1 if one fails.

    python benchmarks/device_check.py --json check.json            # on a GPU where there is one
    python benchmarks/device_check.py --device cpu                 # the same, smaller: 2 to 5 minutes on one core
    python benchmarks/device_check.py --only corruption --only waits --only train-tiny --only resume --minutes 9
    python benchmarks/device_check.py --only generation --only head-memory --only train --minutes 9

Where a command must end within ten minutes, the last two together are all checks, what matters most first. A check that what is
left of --minutes is too short for is skipped, and named. Shards are built of the standard library of the Python that runs this.
A checkpoint of `1b` takes 20 GB of the temporary folder for a moment (TMPDIR).

    corruption    every strategy, objective and operator makes the same bits on the device as on the CPU
    waits         no host synchronisation in any of them; launches and milliseconds of a batch (GPUs alone)
    train-PRESET  `deepspeed train/run.py` for a few steps: loss, peak and estimated memory, utilisation
    resume        a run that SIGTERM stops and the same command ends has the numbers and weights of one that never stopped
    generation    caches refreshed at every step change nothing, a batch changes nothing (float64); speed of all ways
    head-memory   head and loss of scored positions alone take a quarter of the memory of full logits, over batches

Without an installation, `import syntaxdiff` needs a folder `syntaxdiff` of links on PYTHONPATH, and the packages, as in

    mkdir -p /tmp/path/syntaxdiff && ln -s "$PWD"/{pipeline,train,eval} /tmp/path/syntaxdiff/
    PYTHONPATH=/tmp/path:/folder/of/packages python benchmarks/device_check.py
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import torch
from device_corruption import figures_of_one_sample, pairs, waiting_place
from device_runs import RunError, Runs, difference, step_records
from generate import AIMED, PLAIN, agreement, measure, prompts_of
from report import machine, plain, print_machine, print_table
from step_variants import DEEPSPEED_JSON, Setup
from train_step import FULL, LEAST_OF_LOSS_MEMORY, LLADA_VOCABULARY, OURS, SCORES, in_process

from syntaxdiff.eval.inference.answer import in_order
from syntaxdiff.eval.inference.checkpoint import load_checkpoint
from syntaxdiff.eval.inference.config import GenerationConfig
from syntaxdiff.eval.inference.language_model import LanguageModel
from syntaxdiff.pipeline.shard import read_manifest
from syntaxdiff.train.deepspeed_json.config import read_json
from syntaxdiff.train.deepspeed_json.engine_settings import engine_settings
from syntaxdiff.train.engine.memory import GIB, estimate
from syntaxdiff.train.model.denoiser import Inputs
from syntaxdiff.train.model.sizes import PRESETS
from syntaxdiff.train.model.start import count_parameters, read_config

PACKAGES = ("torch", "transformers", "deepspeed", "numpy")
PASSED, FAILED, SKIPPED = "passed", "FAILED", "skipped"
RESUMED_STEPS, STOPPED_AFTER = 8, 4
SECONDS = {  # about what a check takes: seen on one core of a server; for a GPU a guess, which --minutes needs no better
    "cpu": {"corruption": 20, "train-tiny": 25, "resume": 60, "generation": 30, "head-memory": 60},
    "cuda": {
        "corruption": 30,
        "waits": 20,
        "train-tiny": 45,
        "resume": 120,
        "generation": 60,
        "head-memory": 90,
        "train-small": 45,
        "train-base": 60,
        "train-1b": 150,
    },
}
# A model that has hardly learnt takes the commonest token everywhere; with noise a small change of its logits shows.
NOISY: dict[str, Any] = {"confidence": "margin", "temperature": 0.7, "threshold": 0.02, "forbid_eos": True}
MOST_LOGITS_APART = 1e-3  # in float64; the rotations are float32
CHECKPOINT_BYTES = 18  # a weight: its float32 copy and two moments, and bfloat16 in the checkpoint and in the export


class Found(NamedTuple):
    """What a check says: in a few words, and in full for the JSON."""

    figure: str
    details: Any = None
    outcome: str = PASSED


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of the table. ``trouble``: the end of what was printed or raised, where a check failed."""

    name: str
    outcome: str
    figure: str
    seconds: float
    details: Any = None
    trouble: str | None = None


Check: TypeAlias = Callable[[Runs], Found]


# ------------------------------------------------------------------------------------------------------------- corruption


def check_corruption(runs: Runs) -> Found:
    """Every tensor made on the device equals that made on the CPU."""
    found, tried = [], 0
    for case, config in pairs(runs):
        tried += 1
        here, there = case.made_on("cpu", config), case.made_on(runs.device, config)
        apart = [name for name in here._fields if not torch.equal(getattr(here, name), getattr(there, name).cpu())]
        found += [f"{', '.join(apart)}: {config} on {len(case.batch)} samples"] if apart else []
    if found:
        return Found(f"{len(found)} of {tried} differ: {found[0]}", found, FAILED)
    return Found(f"{tried} batches equal in every bit" + (" (the CPU with itself)" if runs.device == "cpu" else ""), tried)


def check_waits(runs: Runs) -> Found:
    """No copy of a batch, no plan and no corruption makes the host wait."""
    if runs.device == "cpu":
        return Found("no CUDA device", outcome=SKIPPED)
    waits = [f"{place}: {config}" for case, config in pairs(runs) if (place := waiting_place(case, config))]
    figures = figures_of_one_sample()
    summary = ", ".join(
        f"{name} {figure['us'] / 1e3:.2f} ms, {figure['launches']} launches" for name, figure in figures.items()
    )
    details = {"waits": waits, "figures": figures}
    return Found(f"waits at {waits[0]}", details, FAILED) if waits else Found(f"1 x 4096 tokens: {summary}", details)


# --------------------------------------------------------------------------------------------------------------- training


def check_training(runs: Runs, preset: str) -> Found:
    """A preset trains for a few steps by the command."""
    if runs.device == "cpu" and preset != "tiny":
        return Found("no CUDA device", outcome=SKIPPED)
    scale, manifest = runs.scale, read_manifest(runs.shards())
    network = read_config(preset, manifest, scale.length)
    num_parameters = count_parameters(network)
    needed = estimate(
        num_parameters,
        network,
        engine_settings(read_json(DEEPSPEED_JSON)),
        world=1,
        tokens=scale.micro_batch * scale.length,
        lora=0,
        checkpointing=False,
    ).total
    if runs.device == "cuda" and needed > (has := torch.cuda.get_device_properties(0).total_memory):
        return Found(f"needs about {needed / GIB:.0f} GiB, the GPU has {has / GIB:.0f}", outcome=SKIPPED)
    if CHECKPOINT_BYTES * num_parameters > (free := shutil.disk_usage(runs.folder).free):
        wanted = CHECKPOINT_BYTES * num_parameters / GIB
        return Found(f"its checkpoint takes {wanted:.0f} GiB of disk, {free / GIB:.0f} are free", outcome=SKIPPED)
    out = runs.whole(f"train-{preset}", preset, scale.steps)
    steps = step_records(out)
    if preset != "tiny":  # generation reads that one
        shutil.rmtree(out)
    if len(steps) != scale.steps:
        return Found(f"{len(steps)} of {scale.steps} steps are in metrics.jsonl", steps, FAILED)
    last, kind = steps[-1], "GPU" if runs.device == "cuda" else "resident"
    settled = steps[len(steps) // 2 :]

    def usual(name: str) -> float:
        return float(statistics.median(record[name] for record in settled))

    parts = [
        f"{num_parameters / 1e6:.0f} M weights, {steps[0]['nats']:.2f} to {last['nats']:.2f} nats",
        f"peak {last['peak_memory_bytes'] / GIB:.1f} GiB {kind} ({needed / GIB:.1f} estimated for a GPU)",
        f"{usual('tokens_per_second'):,.0f} tok/s",
    ]
    if "model_flops_utilisation" in last:  # of a GPU whose peak is known
        parts.append(f"MFU {usual('model_flops_utilisation'):.1%}")
    return Found("; ".join(parts), {"estimated_bytes": needed, "num_parameters": num_parameters, "steps": steps})


def check_resume(runs: Runs) -> Found:
    """A run that was stopped and went on has the numbers of one that was not."""
    whole = runs.whole("whole", "tiny", RESUMED_STEPS)
    done = runs.stopped("stopped", "tiny", RESUMED_STEPS, STOPPED_AFTER)
    resumed = runs.whole("stopped", "tiny", RESUMED_STEPS)
    apart = difference(whole, resumed)
    if apart is None:
        return Found(f"{RESUMED_STEPS} steps, stopped after {done}: metrics and weights equal in every bit")
    repeated = difference(whole, runs.whole("again", "tiny", RESUMED_STEPS))
    blame = "two runs never stopped agree" if repeated is None else "two runs never stopped differ too"
    return Found(f"differs in {apart}; {blame}", {"resumed": apart, "repeated": repeated}, FAILED)


# ------------------------------------------------------------------------------------------------------------- generation


def check_generation(runs: Runs) -> Found:
    """Exact caches are exact, batches change nothing, every way runs."""
    folder = runs.folder / "train-tiny"
    if not (folder / "config.json").exists():
        runs.whole(folder.name, "tiny", runs.scale.steps)
    length, block = (32, 16) if runs.device == "cpu" else (128, 32)
    prompts = prompts_of(runs.shards(), "validation", 3, runs.scale.length - length)
    exact, on_cpu = (load_checkpoint(str(folder), device=device, dtype="float64") for device in (runs.device, "cpu"))
    wrong, changed = inexact(exact, prompts, GenerationConfig(gen_length=length, block_length=block, **NOISY))
    wrong += inexact(exact, prompts, GenerationConfig(gen_length=length, block_length=block, schedule="threshold", **NOISY))[0]
    ids_1L = torch.tensor(prompts[:1])
    with torch.inference_mode():
        apart = float((exact.model(Inputs(ids_1L.to(runs.device))).cpu() - on_cpu.model(Inputs(ids_1L))).abs().max())
    if apart > MOST_LOGITS_APART:
        wrong.append(f"logits {apart:.1e} from the CPU's")
    options = {"block_length": block, "forbid_eos": True}
    ways = measure(load_checkpoint(str(folder), device=runs.device), prompts[:1], length, 1, options)
    speeds = [f"{name} {ways[name].tokens_per_second:,.0f} tok/s" for name in (PLAIN, AIMED)]
    details = {"wrong": wrong, "changed": changed, "logits_apart": apart, "ways": ways}
    if wrong:
        return Found(f"not the same: {'; '.join(wrong)}", details, FAILED)
    # That a cache which is kept changes tokens shows that a fault would, too.
    return Found("; ".join([f"refreshed caches and batches exact (a kept cache changes {changed:.0%})", *speeds]), details)


def inexact(checkpoint: LanguageModel, prompts: list[list[int]], plain_way: GenerationConfig) -> tuple[list[str], float]:
    """What ought to write the same step by step, and does not; and the share of tokens that a kept cache changes."""
    dual = replace(plain_way, cache="dual")
    ways = {
        "no cache": plain_way,
        "prefix cache refreshed": replace(plain_way, cache="prefix", cache_refresh=1),
        "dual cache refreshed": replace(dual, cache_refresh=1),
        "batch": replace(plain_way, batch_size=len(prompts)),
        "dual cache": dual,
        "batch, dual cache": replace(dual, batch_size=len(prompts)),
    }
    answers = {name: in_order(checkpoint.generate(prompts, way, with_trace=True)) for name, way in ways.items()}
    wanted = dict.fromkeys(("prefix cache refreshed", "dual cache refreshed", "batch"), "no cache")
    wanted["batch, dual cache"] = "dual cache"
    wrong = [f"{way} and {other}, {plain_way.schedule}" for way, other in wanted.items() if answers[way] != answers[other]]
    return wrong, 1 - statistics.mean(map(agreement, answers["no cache"], answers["dual cache"]))


def check_head_memory(runs: Runs) -> Found:
    """Head and loss of the scored positions alone take a fraction of the memory of full logits."""
    preset, vocabulary = ("tiny", 8192) if runs.device == "cpu" else ("1b", LLADA_VOCABULARY)
    setup = Setup(
        data=runs.shards(),
        preset=preset,
        vocabulary=vocabulary,
        length=runs.scale.length,
        micro_batch=4,
        device=runs.device,
        dtype="bfloat16",
    )
    memory = {name: in_process(name, setup) for name in SCORES}
    ratio = memory[FULL].loss_bytes / memory[OURS].loss_bytes
    summary = (
        f"{memory[OURS].loss_bytes / 2**20:,.0f} MiB against {memory[FULL].loss_bytes / 2**20:,.0f}, {ratio:.1f} times less"
    )
    outcome = PASSED if ratio >= LEAST_OF_LOSS_MEMORY else FAILED
    return Found(f"{summary} (at least {LEAST_OF_LOSS_MEMORY:g})", {"setup": setup, "memory": memory}, outcome)


# -------------------------------------------------------------------------------------------------------------------- run


def checks() -> dict[str, Check]:
    """All checks by name, in the order in which they run."""

    def training(preset: str) -> Check:
        return lambda runs: check_training(runs, preset)

    tiny, *others = (name for name in PRESETS if name != "nano")  # that one is for CPUs
    return {
        "corruption": check_corruption,
        "waits": check_waits,
        f"train-{tiny}": training(tiny),
        "resume": check_resume,
        "generation": check_generation,
        "head-memory": check_head_memory,
        **{f"train-{preset}": training(preset) for preset in others},
    }


def is_asked_for(name: str, only: list[str]) -> bool:
    """Whether a check is named, or the group before its hyphen is; all are where nothing is."""
    return not only or name in only or name.split("-")[0] in only


def line_of(name: str, check: Check, runs: Runs) -> Line:
    """Runs a check, unless the time that is left is too short; whatever it raises is a failure of this check alone."""
    start, expected = time.monotonic(), SECONDS[runs.device].get(name, 0)
    if expected > (left := runs.deadline - start):
        reason = f"takes about {expected} s, {max(left, 0):.0f} s of --minutes are left"
        return Line(name=name, outcome=SKIPPED, figure=reason, seconds=0.0)
    trouble = None
    try:
        found = check(runs)
    except RunError as error:
        first, _, trouble = str(error).partition("\n")
        found = Found(first, outcome=FAILED)
    except Exception as error:  # a check may find anything, and the others still have something to say
        found = Found(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}", outcome=FAILED)
        trouble = traceback.format_exc()
    if runs.device == "cuda":
        with contextlib.suppress(RuntimeError):  # where the check broke the device for this process
            torch.cuda.empty_cache()  # the runs are processes of their own, and need the room
    seconds = time.monotonic() - start
    return Line(
        name=name, outcome=found.outcome, figure=found.figure, seconds=seconds, details=found.details, trouble=trouble or None
    )


def show(lines: list[Line], device: str) -> int:
    """Prints the table; the exit code."""
    widest = max(len(line.figure) for line in lines)
    rows = [[line.name, line.outcome, f"{line.seconds:.0f}", line.figure.ljust(widest)] for line in lines]
    print_table(f"The project on {device}", ["check", "outcome", "s", "figure".ljust(widest)], rows)
    counts = {outcome: sum(line.outcome == outcome for line in lines) for outcome in (PASSED, FAILED, SKIPPED)}
    print("\n" + ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count))
    return 1 if counts[FAILED] else 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = dict.fromkeys(["train", *checks()])
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: a GPU where there is one")
    parser.add_argument(
        "--only", action="append", default=[], choices=names, help="a check, or train for all presets; again for more"
    )
    parser.add_argument("--minutes", type=float, default=float("inf"), metavar="N", help="skip what would take longer in all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there, after each check")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Check what the options ask for."""
    start = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a run that is under way ends with it
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # else torch's profiler reports each start
    options = parse(arguments)
    device = ("cuda" if torch.cuda.is_available() else "cpu") if options.device == "auto" else options.device
    if device == "cuda" and not torch.cuda.is_available():
        print("device_check.py: torch sees no GPU: --device cpu checks without", file=sys.stderr)
        return 2
    facts = machine(PACKAGES) | {"device": torch.cuda.get_device_name() if device == "cuda" else "CPU"}
    print_machine(facts)
    lines: list[Line] = []
    with tempfile.TemporaryDirectory(prefix="device-check-") as folder:
        runs = Runs(folder=Path(folder), device=device, deadline=start + 60 * options.minutes)
        for name, check in checks().items():
            if not is_asked_for(name, options.only):
                continue
            lines.append(line_of(name, check, runs))
            print(f"{name}: {lines[-1].outcome}, {lines[-1].figure}", flush=True)
            if options.json:
                report = {"machine": facts, "seconds": time.monotonic() - start, "checks": lines}
                options.json.write_text(json.dumps(plain(report), indent=1, default=str) + "\n", encoding="utf-8")
    return show(lines, facts["device"])


if __name__ == "__main__":
    sys.exit(main())
