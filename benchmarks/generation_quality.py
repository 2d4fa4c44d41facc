"""What each way of generating costs in solved exercises, and what it saves: pass@1 on both test sets beside tokens a second.

    python benchmarks/generation_quality.py --ckpt demo/out --out ways/           # 400 problems a way; goes on where it was
    python benchmarks/generation_quality.py --ckpt demo/out --out ways/ --limit 40

The model must have been trained on exercises. Every way is an evaluation of its own in a folder under --out, judged by the
benchmark's tests (syntaxdiff-eval exercises), one after the other on the same machine: let nothing else run beside. Differences
from the plain rule (one token a step, nothing kept) are of problems, paired: interval by bootstrap, p by McNemar, exact.

The aim is a way that is 10 times as fast and not shown to solve fewer.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch
from report import machine, plain, print_machine, print_table, verdict

from syntaxdiff.eval.benchmarks.compare import compare
from syntaxdiff.eval.benchmarks.config import EvaluationConfig
from syntaxdiff.eval.benchmarks.evaluate import exercises
from syntaxdiff.eval.benchmarks.outcome import BenchmarkResults
from syntaxdiff.eval.inference.config import GenerationConfig
from syntaxdiff.pipeline.errors import SettingsError, SyntaxdiffError

PLAIN = "plain rule"
LEAST_SPEEDUP = 10
SURE = 0.05  # p below which a difference counts as shown
FAST: dict[str, Any] = {"schedule": "threshold", "cache": "dual"}
WAYS: dict[str, dict[str, Any]] = {
    PLAIN: {},
    "half the steps": {"num_steps": 0.5},
    "prefix cache": {"cache": "prefix"},
    "dual cache": {"cache": "dual"},
    "threshold .9": {"schedule": "threshold"},
    "threshold .8, dual cache": FAST | {"threshold": 0.8},
    "threshold .9, dual cache": FAST,
    "threshold .9, dual cache, blocks of 8": FAST | {"block_length": 8},
    "threshold .9, dual cache, blocks of 16": FAST | {"block_length": 16},
    "threshold .95, dual cache": FAST | {"threshold": 0.95},
    "threshold .98, dual cache": FAST | {"threshold": 0.98},
    "threshold .9, dual cache, refreshed every 4": FAST | {"cache_refresh": 4},
    "threshold .9, dual cache, 2 rounds of repair": FAST | {"syntax_repair": 2},
    "factor 1, dual cache": {"schedule": "factor", "cache": "dual"},
    "factor .5, dual cache": {"schedule": "factor", "cache": "dual", "factor": 0.5},
}


def evaluated(ckpt: str, out: Path, way: dict[str, Any], options: argparse.Namespace) -> BenchmarkResults:
    """The results of one way, from ``out`` where they are there."""
    settings = {"gen_length": options.gen_length, "block_length": options.block_length, "batch_size": options.batch_size} | way
    if "num_steps" in settings:
        settings["num_steps"] = int(options.gen_length * settings["num_steps"])
    config = EvaluationConfig(ckpt=ckpt, limit=options.limit, generation=GenerationConfig(**settings))
    return exercises(config, out, split=options.split, workers=2)


def speed(results: BenchmarkResults) -> float:
    """Tokens of the answers a second."""
    return (results.generation.tokens_per_second if results.generation else None) or 0.0


def main() -> int:
    """Measure what the options ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ckpt", metavar="NAME", required=True, help="a model that was trained on exercises")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="of the evaluations")
    parser.add_argument("--split", default="level1", help="of the exercises (%(default)s)")
    parser.add_argument("--limit", type=int, help="only the first problems")
    parser.add_argument("--gen-length", type=int, default=64, help="most tokens of an answer (%(default)s)")
    parser.add_argument("--block-length", type=int, default=32, help="(%(default)s)")
    parser.add_argument("--batch-size", type=int, default=8, help="prompts at a time, in every way (%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of torch, on a CPU (%(default)s)")
    parser.add_argument(
        "--way", action="append", metavar="NAME", help="only this one, beside the plain rule; may be given again"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    facts = machine(("torch", "transformers"))
    print_machine(facts)
    found: dict[str, BenchmarkResults] = {}
    try:
        if unknown := set(options.way or ()) - WAYS.keys():
            raise SettingsError(f"--way {', '.join(sorted(unknown))}: choose from {', '.join(WAYS)}")
        for name, way in WAYS.items():
            if name != PLAIN and options.way and name not in options.way:
                continue
            found[name] = evaluated(options.ckpt, options.out / name.replace(" ", "-"), way, options)
            print(f"{name}: {found[name].pass_at_1.count} of {found[name].pass_at_1.total}", file=sys.stderr, flush=True)
        folders = [options.out / name.replace(" ", "-") for name in found]
        pairs = compare(folders, list(found)).pairs if len(found) > 1 else []
    except SyntaxdiffError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    by_name = {pair.other: pair for pair in pairs}
    base = speed(found[PLAIN])
    sets = list((found[PLAIN].groups or {}).get("set", {}))
    rows = []
    for name, results in found.items():
        pair, counts = by_name.get(name), results.generation
        of_sets = (results.groups or {}).get("set", {})
        rows.append(
            [
                name,
                f"{speed(results):,.0f}",
                f"{speed(results) / base:.1f}",
                f"{(counts.forward_passes_per_token if counts else None) or 0:.2f}",
                *(f"{of_sets[one].value:.1%}" if one in of_sets else "-" for one in sets),
                f"{results.parses.value:.1%}",
                "" if pair is None else f"{pair.difference:+.1%}",
                "" if pair is None or pair.interval is None else f"[{pair.interval.low:+.1%}, {pair.interval.high:+.1%}]",
                "" if pair is None else f"{pair.p_value:.2g}",
            ]
        )
    header = ["way", "tokens/s", "times plain", "passes a token", *sets, "parse", "difference", "95 % interval", "p"]
    print_table(f"{found[PLAIN].num_problems} exercises, {options.split}, at most {options.gen_length} tokens", header, rows)
    equal = [name for name, pair in by_name.items() if pair.difference >= 0 or pair.p_value >= SURE]
    if equal:
        best = max(equal, key=lambda name: speed(found[name]))
        ratio = speed(found[best]) / base
        print(f"fastest that is not shown to solve fewer: {best}, {ratio:.1f} times; {verdict(ratio, least=LEAST_SPEEDUP)}")
    if options.json:
        options.json.write_text(json.dumps({"machine": facts, "ways": plain(found)}, indent=1, default=str))
    return 0


if __name__ == "__main__":
    sys.exit(main())
