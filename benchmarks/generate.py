"""Speed of the ways to generate, beside LLaDA's plain rule on the same model and prompts in one run.

    python benchmarks/generate.py --ckpt out/ --data data/
    python benchmarks/generate.py --ckpt out/ --data data/ --whole      # answers may not end before the canvas does
    python benchmarks/generate.py --ckpt out/ --data data/ --quick      # a smoke run; its figures mean nothing

The plain rule is low-confidence remasking with one token a step and no cache, by the same code as the rest (the head runs on
the block alone there too). Prompts are those of the shards that the model was trained on; what counts is tokens of the answer
up to its end, never those of the prompt. Every prompt goes through all ways in turn before the next one
comes, so that a busy machine slows all alike; the time of a way is the sum over prompts of its median over rounds.

Agreement is the share of positions that hold the same token as the plain rule's answer, of the longer of the two. A fast way
that writes worse text is no gain, so each has the answers whose program parses, and the share of the programs' bytes that are
under an error. Only a trained model says something: a random one is never confident, and its answers depend on the last digit.
"""

import argparse
import dataclasses
import json
import statistics
import sys
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from report import machine, plain, print_machine, print_table, verdict

from syntaxdiff.eval.inference.answer import Answer, in_order
from syntaxdiff.eval.inference.checkpoint import load_checkpoint
from syntaxdiff.eval.inference.config import GenerationConfig
from syntaxdiff.eval.inference.language_model import LanguageModel
from syntaxdiff.eval.inference.repair import find_faults
from syntaxdiff.eval.syntax.check import program_in
from syntaxdiff.pipeline.errors import SettingsError, SyntaxdiffError
from syntaxdiff.pipeline.shard import Region, iter_shard, read_manifest
from syntaxdiff.pipeline.splits import SPLITS

PLAIN = "plain rule"
AIMED = "threshold, dual cache"
LEAST_SPEEDUP = 8
WAYS: dict[str, dict[str, Any]] = {
    PLAIN: {},
    "half the steps": {"num_steps": 0.5},
    "prefix cache": {"cache": "prefix"},
    "dual cache": {"cache": "dual"},
    "threshold": {"schedule": "threshold"},
    "factor": {"schedule": "factor"},
    "threshold, prefix cache": {"schedule": "threshold", "cache": "prefix"},
    AIMED: {"schedule": "threshold", "cache": "dual"},
    "factor, dual cache": {"schedule": "factor", "cache": "dual"},
}


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What one way of generating took.

    Attributes:
        agreement: mean over prompts of the share of tokens that are the plain rule's
        parsing: answers that hold a program without an error
        program_bytes, error_bytes: of all answers' programs, and those of them that are under an error
    """

    tokens: int
    forwards: int
    seconds: float
    agreement: float
    answers: int
    parsing: int
    program_bytes: int
    error_bytes: int

    @property
    def tokens_per_second(self) -> float:
        """Of the answers alone."""
        return self.tokens / self.seconds


def prompts_of(data: Path, split: str, count: int, longest: int) -> list[list[int]]:
    """Prompts of the first samples of a split, of at most so many tokens."""
    rows = (row for shard in read_manifest(data).splits[split] for row in iter_shard(data, shard))
    prompts = (row.input_ids[: int(row.region_end[0])].tolist() for row in rows if row.region_label[0] == Region.PROMPT)
    found = list(islice((prompt for prompt in prompts if len(prompt) <= longest), count))
    if not found:
        raise SettingsError(f"{data} holds no prompt of at most {longest} tokens: give other shards, or lower --length")
    return found


def agreement(first: Answer, other: Answer) -> float:
    """Share of positions with the same token, of the longer answer."""
    same = sum(a == b for a, b in zip(first.token_ids, other.token_ids, strict=False))
    return same / max(len(first.token_ids), len(other.token_ids))


def written_programs(checkpoint: LanguageModel, prompts: list[list[int]], answers: list[Answer]) -> dict[str, int]:
    """How sound the programs of some answers are, as Figures has it; code that no fence names is read as Python."""
    pairs = zip(prompts, answers, strict=True)
    found = [program_in(checkpoint, prompt, answer.token_ids, "python") for prompt, answer in pairs]
    programs = [program for program in found if program is not None and program[0].strip()]
    faults = [find_faults(code, language).error_bytes for code, language in programs]
    return {
        "answers": len(answers),
        "parsing": faults.count(0),
        "program_bytes": sum(len(code) for code, _ in programs),
        "error_bytes": sum(faults),
    }


def measure(
    checkpoint: LanguageModel, prompts: list[list[int]], length: int, rounds: int, options: dict[str, Any]
) -> dict[str, Figures]:
    """Every prompt through every way, in turns."""
    configs = {}
    for name, way in WAYS.items():
        steps = {"num_steps": max(1, int(length * way["num_steps"]))} if "num_steps" in way else {}
        configs[name] = GenerationConfig(gen_length=length, **(options | way | steps))
    in_order(checkpoint.generate(prompts[:1], GenerationConfig(gen_length=8, block_length=8, cache="dual")))  # warms up
    answers: dict[str, list[Answer]] = {name: [] for name in WAYS}
    seconds = dict.fromkeys(WAYS, 0.0)
    for number, prompt in enumerate(prompts):
        taken: dict[str, list[float]] = {name: [] for name in WAYS}
        for _ in range(rounds):
            for name, config in configs.items():
                start = time.perf_counter()
                ((_, answer),) = checkpoint.generate([prompt], config)
                if checkpoint.device.type == "cuda":
                    torch.cuda.synchronize()
                taken[name].append(time.perf_counter() - start)
                if len(taken[name]) == 1:
                    answers[name].append(answer)
        for name, times in taken.items():
            seconds[name] += statistics.median(times)
        print(f"prompt {number + 1} of {len(prompts)}", file=sys.stderr)
    return {
        name: Figures(
            tokens=sum(answer.num_generated for answer in answers[name]),
            forwards=sum(answer.num_forward for answer in answers[name]),
            seconds=seconds[name],
            agreement=statistics.mean(map(agreement, answers[name], answers[PLAIN])),
            **written_programs(checkpoint, prompts, answers[name]),
        )
        for name in WAYS
    }


@dataclass(frozen=True, kw_only=True)
class RepairFigures:
    """What syntax repair did to the answers of one way.

    Attributes:
        answers: with a program in them
        tried: whose program had errors
        helped: with fewer error bytes afterwards
        sound: with none
        error_bytes_before, error_bytes_after: of all answers
        forwards_before, forwards_after: forward passes without repair, and with it
    """

    answers: int
    tried: int
    helped: int
    sound: int
    error_bytes_before: int
    error_bytes_after: int
    forwards_before: int
    forwards_after: int


def measure_repair(
    checkpoint: LanguageModel, prompts: list[list[int]], length: int, rounds: int, options: dict[str, Any]
) -> RepairFigures:
    """The prompts once more by the fast way, with syntax repair and without."""
    config = GenerationConfig(gen_length=length, **(options | WAYS[AIMED]))
    before = in_order(checkpoint.generate(prompts, config))
    after = in_order(checkpoint.generate(prompts, dataclasses.replace(config, syntax_repair=rounds)))
    repairs = [answer.repair for answer in after if answer.repair is not None and answer.repair.language is not None]
    tried = [repair for repair in repairs if repair.rounds]
    return RepairFigures(
        answers=len(repairs),
        tried=len(tried),
        helped=sum(repair.error_bytes_after < repair.error_bytes_before for repair in tried),
        sound=sum(repair.error_bytes_after == 0 for repair in tried),
        error_bytes_before=sum(repair.error_bytes_before for repair in tried),
        error_bytes_after=sum(repair.error_bytes_after for repair in tried),
        forwards_before=sum(answer.num_forward for answer in before),
        forwards_after=sum(answer.num_forward for answer in after),
    )


def show_repair(figures: RepairFigures, rounds: int) -> None:
    """What repair did, in a line of a table."""
    print_table(
        f"Syntax repair, at most {rounds} rounds ({AIMED})",
        ("programs", "with errors", "helped", "sound then", "error bytes", "forward passes"),
        [
            (
                str(figures.answers),
                str(figures.tried),
                str(figures.helped),
                str(figures.sound),
                f"{figures.error_bytes_before} -> {figures.error_bytes_after}",
                f"{figures.forwards_before} -> {figures.forwards_after}",
            )
        ],
    )


def show(figures: dict[str, Figures], length: int) -> None:
    """The table, and the aim."""
    base = figures[PLAIN]
    print_table(
        f"Generation, at most {length} tokens an answer",
        ("way", "tokens", "tokens/s", "against plain", "forwards a token", "agreement", "parse", "error bytes"),
        [
            (
                name,
                f"{measured.tokens:,}",
                f"{measured.tokens_per_second:,.1f}",
                f"{measured.tokens_per_second / base.tokens_per_second:.2f}x",
                f"{measured.forwards / measured.tokens:.3f}",
                f"{measured.agreement:.3f}",
                f"{measured.parsing} of {measured.answers}",
                f"{measured.error_bytes / measured.program_bytes:.0%}" if measured.program_bytes else "-",
            )
            for name, measured in figures.items()
        ],
    )
    ratio = figures[AIMED].tokens_per_second / base.tokens_per_second
    print(f"\n{AIMED}: {ratio:.2f} times the tokens a second of the {PLAIN}; {verdict(ratio, least=LEAST_SPEEDUP)}")


def main() -> int:
    """Parse the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ckpt", metavar="NAME", help="a trained diffusion model")
    parser.add_argument("--data", type=Path, default=Path("data"), help="the shards it was trained on (%(default)s)")
    parser.add_argument("--split", choices=SPLITS, default="validation", help="of the prompts (%(default)s)")
    parser.add_argument("--length", type=int, default=256, help="most tokens of an answer (%(default)s)")
    parser.add_argument("--block-length", type=int, default=32, help="of all ways (%(default)s)")
    parser.add_argument("--threshold", type=float, default=0.9, help="(%(default)s)")
    parser.add_argument("--factor", type=float, default=1.0, help="(%(default)s)")
    parser.add_argument("--prompts", type=int, default=4, help="(%(default)s)")
    parser.add_argument("--rounds", type=int, default=1, help="(%(default)s)")
    parser.add_argument("--repair", type=int, default=3, metavar="ROUNDS", help="of syntax repair, 0 for none (%(default)s)")
    parser.add_argument("--repair-prompts", type=int, default=16, help="(%(default)s)")
    parser.add_argument("--whole", action="store_true", help="forbid ends, so that every answer has the full length")
    parser.add_argument("--threads", type=int, default=1, help="of torch, on a CPU (%(default)s)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda (%(default)s)")
    parser.add_argument("--dtype", default="auto", help="auto: as the weights are stored (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="a smoke run: one short answer")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    options = parser.parse_args()
    if options.ckpt is None:
        print(
            "generate.py: --ckpt is missing: give the --out folder of a training run; docs/generation.md has the commands "
            "that make one in 45 minutes",
            file=sys.stderr,
        )
        return 2
    torch.set_num_threads(options.threads)
    length, num_prompts = (64, 1) if options.quick else (options.length, options.prompts)
    try:
        checkpoint = load_checkpoint(options.ckpt, device=options.device, dtype=options.dtype)
        checkpoint.check_infilling()  # a causal model has no steps to compare
        longest = (checkpoint.max_positions or sys.maxsize) - length
        found = prompts_of(options.data, options.split, num_prompts, longest)
        to_repair = prompts_of(options.data, options.split, 1 if options.quick else options.repair_prompts, longest)
        if options.quick:
            print("A smoke run: one short answer; its figures, `met` and `MISSED` mean nothing.\n")
        is_gpu = checkpoint.device.type == "cuda"
        device = torch.cuda.get_device_name(checkpoint.device) if is_gpu else str(checkpoint.device)
        facts = machine(("torch", "transformers")) | {"device": device}
        print_machine(facts)
        million = sum(parameter.numel() for parameter in checkpoint.model.parameters()) / 1e6
        sizes = [len(prompt) for prompt in found]
        print(
            f"{options.ckpt}: {million:.1f} M parameters on {device}; {len(found)} prompts of {min(sizes)} to "
            f"{max(sizes)} tokens, {options.split} split"
        )
        common = {
            "block_length": options.block_length,
            "threshold": options.threshold,
            "factor": options.factor,
            "forbid_eos": options.whole,
        }
        figures = measure(checkpoint, found, length, options.rounds, common)
        show(figures, length)
        repair = None
        if options.repair:
            repair = measure_repair(checkpoint, to_repair, length, options.repair, common)
            show_repair(repair, options.repair)
    except SyntaxdiffError as error:
        print(f"generate.py: {error}", file=sys.stderr)
        return 2
    if options.json:
        asked = vars(options) | {"data": str(options.data), "json": str(options.json)}
        report = {"machine": facts, "options": asked, "ways": plain(figures), "repair": plain(repair)}
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
