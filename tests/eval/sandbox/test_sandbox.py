"""Verdicts: references pass, wrong programs do not, whatever travels between a program and its tests, and under any load."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from execution_data import problem_of, verdict
from parameters import slow

from syntaxdiff.eval.problems.problem import Problem
from syntaxdiff.eval.problems.reader import read_problems
from syntaxdiff.eval.sandbox.jail import GUARANTEES, LAYERS
from syntaxdiff.eval.sandbox.limits import LEAST_CPU_SECONDS, Limits, limits_from
from syntaxdiff.eval.sandbox.sandbox import Sandbox, _SharedLock, golden, judge
from syntaxdiff.eval.sandbox.verdict import Job, Status, Verdict
from syntaxdiff.pipeline.errors import SettingsError

SETS = {
    "humaneval": ("humaneval", None, "HumanEval.jsonl.gz"),
    "humaneval-plus": ("humaneval", None, "HumanEvalPlus.jsonl.gz"),
    "humaneval-infilling": ("humaneval-infilling", None, "HumanEval-SingleLineInfilling.jsonl.gz"),
    "mbpp-full": ("mbpp", "full", "mbpp.jsonl"),
    "mbpp-sanitized": ("mbpp", "sanitized", "sanitized-mbpp.json"),
    "mbpp-plus": ("mbpp", "plus", "MbppPlus.jsonl.gz"),
}
# References that do not pass here, and why; docs/execution.md says more.
KNOWN_FAILURES = {"Mbpp/255": "one of its answers has 1,663,740 tuples of 77: 0.9 GB, more than a message may have"}
SLOW = (
    "HumanEval/130",
    "HumanEval/15",
    "HumanEval/139",
    "Mbpp/599",
    "Mbpp/392",
    "Mbpp/271",
    "Mbpp/123",
    "MBPP/123",
    "Mbpp/255",
)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(workers=2) as sandbox:
        yield sandbox


@pytest.fixture(params=SETS)
def problems(request: pytest.FixtureRequest, shared_data: Path) -> list[Problem]:
    benchmark, split, file = SETS[request.param]
    return read_problems(benchmark, split=split, file=shared_data / "problems" / file)


def sample(problems: list[Problem], every: int) -> list[Problem]:
    """Some problems: those that tests and prompts make special, and one in so many."""
    special = [problem for problem in problems if len(problem.proxied) > 1 or problem.entry_point in ("find_zero", "check_str")]
    return [
        problem for problem in {p.task_id: p for p in (*special, *problems[3::every])}.values() if problem.task_id not in SLOW
    ]


def wrong(problem: Problem) -> str:
    """A program that defines what it should and solves nothing."""
    return "\n".join(f"def {name}(*a, **k): return object()" for name in (problem.proxied or (problem.entry_point,)))


# ----------------------------------------------------------------------------------------------------------- the benchmarks


def test_references_pass(sandbox: Sandbox, problems: list[Problem]) -> None:
    """A sample of each benchmark's own programs."""
    result = golden(sample(problems, 40), sandbox)
    assert result.failures == {}


@pytest.mark.slow
def test_all_references_pass(sandbox: Sandbox, problems: list[Problem]) -> None:
    """But for those that are listed."""
    failures = golden(problems, sandbox).failures
    assert failures.keys() == {problem.task_id for problem in problems} & KNOWN_FAILURES.keys(), failures


def outcomes(sandbox: Sandbox, problems: list[Problem]) -> dict[str, list[tuple[str, Verdict]]]:
    """Verdicts on empty, wrong and broken programs."""
    limits = Limits(cpu_seconds=LEAST_CPU_SECONDS)
    kinds = {
        "empty": [Job("", problem, limits) for problem in problems],
        "wrong": [Job(wrong(problem), problem, limits) for problem in problems],
        "broken": [Job(problem.reference + "\ndef f(:\n", problem, limits) for problem in problems],
    }
    return {
        kind: [(job.problem.task_id, verdict) for job, verdict in zip(jobs, sandbox.check_all(jobs), strict=True)]
        for kind, jobs in kinds.items()
    }


def assert_none_passes(found: dict[str, list[tuple[str, Verdict]]]) -> None:
    assert [pair for verdicts in found.values() for pair in verdicts if pair[1].has_passed] == []
    assert {verdict.status for _, verdict in found["broken"]} == {Status.SYNTAX_ERROR}
    assert {verdict.status for _, verdict in found["empty"]} == {Status.ERROR}


# MBPP+ counts any answer as right for Mbpp/164, as its authors do; and an object, being something, for a match.
ANY_ANSWER = ("Mbpp/164",)


def test_programs_that_solve_nothing_do_not_pass(sandbox: Sandbox, problems: list[Problem]) -> None:
    """Empty, wrong, and with an error of syntax; a sample."""
    assert_none_passes(outcomes(sandbox, sample(problems, 80)))


@pytest.mark.slow
def test_no_program_that_solves_nothing_passes(sandbox: Sandbox, problems: list[Problem]) -> None:
    """None of all problems, but one whose authors let any answer count."""
    found = outcomes(sandbox, [problem for problem in problems if problem.task_id not in KNOWN_FAILURES])
    for verdicts in found.values():
        verdicts[:] = [pair for pair in verdicts if pair[0] not in ANY_ANSWER]
    assert_none_passes(found)


def test_helpers_of_the_prompt_are_the_benchmark_s(sandbox: Sandbox, shared_data: Path) -> None:
    """A program that redefines them in its favour gains nothing: the tests use their own."""
    found = {p.task_id: p for p in read_problems("humaneval", file=shared_data / "problems" / "HumanEval.jsonl.gz")}
    cheat = "def poly(xs, x): return 0.0\ndef find_zero(xs): return 1.0\n"
    assert sandbox.run_tests(cheat, found["HumanEval/32"]).status is Status.WRONG
    cheat = "def encode_shift(s): return s\ndef decode_shift(s): return s\n"
    assert sandbox.run_tests(cheat, found["HumanEval/50"]).status is Status.WRONG


@pytest.mark.slow
def test_verdicts_do_not_depend_on_load(shared_data: Path) -> None:
    """1,000 references and as many wrong programs get the same verdicts while other processes keep both cores busy."""
    file = shared_data / "problems" / "mbpp.jsonl"
    found = [problem for problem in read_problems("mbpp", split="full", file=file) if problem.task_id not in SLOW]
    found += found[: 1000 - len(found)]
    jobs = [job for problem in found for job in (Job(problem.reference, problem), Job(wrong(problem), problem))]
    code = "while True: pass"
    busy = [subprocess.Popen([sys.executable, "-S", "-c", code]) for _ in range(2 * len(os.sched_getaffinity(0)))]
    try:
        with Sandbox(workers=4) as sandbox:
            verdicts = list(sandbox.check_all(jobs))
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert [verdict for verdict in verdicts[::2] if not verdict.has_passed] == []
    assert [verdict for verdict in verdicts[1::2] if verdict.status is Status.TIMEOUT or verdict.has_passed] == []


# ------------------------------------------------------------------------------------------------------------- limits


def test_limits_are_of_cpu_time() -> None:
    """A program that waits longer than it may compute passes; the clock is a backstop."""
    with Sandbox(packages=()) as sandbox:
        program = "import time\ndef f(): time.sleep(1.3); return 1"
        found = verdict(sandbox, program, "assert f() == 1", limits=Limits(cpu_seconds=1, wall_seconds=20))
        assert found.has_passed
        assert found.cpu_seconds < 0.5
        assert found.wall_seconds >= 1.3
        started = time.monotonic()
        found = verdict(sandbox, program, "assert f() == 1", limits=Limits(cpu_seconds=1, wall_seconds=0.5))
        assert found.status is Status.TIMEOUT
        assert "clock" in found.detail
        assert time.monotonic() - started < 1.3


def test_limits_derive_from_the_reference() -> None:
    """A slow reference gives more time, a large one more memory; none gets less than the least."""
    fast = limits_from(cpu_seconds=0.01, tests_cpu_seconds=0.01, peak_bytes=1 << 20)
    slow = limits_from(cpu_seconds=4.9, tests_cpu_seconds=0.01, peak_bytes=3 << 30)
    assert fast.cpu_seconds == LEAST_CPU_SECONDS
    assert slow.cpu_seconds == 25
    assert slow.wall_seconds > 6 * 25
    assert slow.memory_bytes == 6 << 30 > fast.memory_bytes == Limits().memory_bytes


@pytest.mark.parametrize("name", ["cpu_seconds", "wall_seconds", "memory_bytes", "output_bytes"])
def test_limits_are_positive(name: str) -> None:
    """A limit of nothing is a mistake."""
    with pytest.raises(SettingsError):
        Limits(**{name: 0})


def test_memory_is_limited_where_it_says(sandbox: Sandbox) -> None:
    """Half of the limit can be had, twice the limit cannot."""
    limits = Limits(memory_bytes=256 << 20)
    program = "def f(n): return len(bytearray(n << 20))"
    assert verdict(sandbox, program, "assert f(128)", limits=limits).has_passed
    assert verdict(sandbox, program, "assert f(512)", limits=limits).status is Status.OUT_OF_MEMORY


def test_output_is_limited_where_it_says(sandbox: Sandbox) -> None:
    """Below the limit output is no matter, above it is the verdict."""
    limits = Limits(output_bytes=1 << 16)
    program = "def f(n): print('x' * n, flush=True); return 1"
    assert verdict(sandbox, program, "assert f(60000)", limits=limits).has_passed
    assert verdict(sandbox, program, "for _ in range(100): f(60000)", limits=limits).status is Status.OUTPUT_LIMIT


def test_a_timeout_next_to_others_is_tried_again_exclusively() -> None:
    """While one holds it exclusively no other runs, and it waits for those that run."""
    lock = _SharedLock()
    running: list[str] = []
    seen: list[list[str]] = []

    def share() -> None:
        for _ in range(20):
            with lock.shared():
                running.append("shared")
                time.sleep(0.001)
                running.remove("shared")

    def hold() -> None:
        for _ in range(5):
            with lock.exclusive():
                running.append("exclusive")
                seen.append(list(running))
                time.sleep(0.002)
                seen.append(list(running))
                running.remove("exclusive")

    threads = [threading.Thread(target=target) for target in (share, share, share, hold, hold)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [["exclusive"]] * 20


# ---------------------------------------------------------------------------------------------------------- many, and the end


def test_verdicts_come_in_the_order_of_the_jobs(sandbox: Sandbox) -> None:
    """Also where a later program is faster than an earlier one."""
    problem = problem_of("assert f() == 1")
    jobs = [Job(f"import time\ndef f(): time.sleep({0.2 * (n == 0)}); return {n % 2}", problem) for n in range(100)]
    statuses = [verdict.status for verdict in sandbox.check_all(jobs)]
    assert statuses == [Status.PASSED if n % 2 else Status.WRONG for n in range(100)]


def test_jobs_are_taken_as_they_are_needed(sandbox: Sandbox) -> None:
    """An endless list of jobs gives its first verdicts, and giving up ends what runs."""
    problem = problem_of("assert f() == 1")

    def jobs() -> Iterator[Job]:
        yield Job("def f(): return 1", problem)
        while True:
            yield Job("def f():\n while True: pass", problem, Limits(cpu_seconds=60))

    verdicts = sandbox.check_all(jobs())
    assert next(verdicts).has_passed
    started = time.monotonic()
    verdicts.close()  # type: ignore[attr-defined]
    assert time.monotonic() - started < 10
    assert sandbox.run_tests("def f(): return 1", problem).has_passed


def descendants() -> list[psutil.Process]:
    return list(psutil.Process().children(recursive=True))


def test_nothing_is_left_behind() -> None:
    """No process and no folder, whatever ran; and a worker that was ended from outside is replaced."""
    before = set(descendants())
    with Sandbox(workers=1, packages=()) as sandbox:
        folder = sandbox._folder
        problem = problem_of("assert f() == 1")
        own = set(descendants()) - before
        assert own
        for process in own:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        assert sandbox.run_tests("def f(): return 1", problem).status is Status.KILLED
        assert sandbox.run_tests("def f(): return 1", problem).has_passed
    assert set(descendants()) <= before
    assert not folder.exists()


ENDLESS = """
import sys
from syntaxdiff.eval.sandbox.sandbox import Sandbox
from syntaxdiff.eval.problems.problem import Problem
from syntaxdiff.eval.sandbox.verdict import Job, Limits
problem = Problem(task_id="", benchmark="mbpp", prompt="", entry_point="f", solution="", tests="f()", proxied=("f",))
jobs = [Job("def f():\\n while True: pass", problem, Limits(cpu_seconds=100, wall_seconds=100))] * 9
with Sandbox(workers=2, packages=()) as sandbox:
    print("started", flush=True)
    print(list(sandbox.check_all(jobs)) if sys.argv[1] == "many" else sandbox.run_tests(*jobs[0]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("how", ["many", slow("one")])
def test_an_interrupt_leaves_no_process_behind(number: signal.Signals, how: str, tmp_path: Path) -> None:
    """Ctrl-C, and the end of the process that cannot clean up; Ctrl-C leaves no folder either."""
    with subprocess.Popen(
        [sys.executable, "-c", ENDLESS, how],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "started\n"
        time.sleep(0.5)
        own = psutil.Process(process.pid).children(recursive=True)
        assert len(own) >= 4
        process.send_signal(number)
        process.communicate(timeout=20)
    assert process.returncode in (-number, 1)
    _, alive = psutil.wait_procs(own, timeout=10)
    assert alive == []
    assert number == signal.SIGKILL or not list(tmp_path.iterdir())


# ----------------------------------------------------------------------------------------------------------- the isolation


def test_the_isolation_is_recorded(sandbox: Sandbox) -> None:
    """Each layer, how or why not; each guarantee as it was tried from inside."""
    record = sandbox.isolation.to_dict()
    assert record["layers"].keys() == set(LAYERS)
    assert all(layer["note"] for layer in record["layers"].values())
    assert record["guarantees"] == dict.fromkeys(GUARANTEES, True)


@pytest.mark.parametrize(
    ("layers", "unguarded"),
    [
        ((), ["network", "files", "processes"]),
        (("seccomp",), ["files"]),
        (("landlock",), ["network", "processes"]),
        (("user", "mount-namespace"), ["network", "processes"]),
        (("user", "net-namespace", "landlock"), ["processes"]),
    ],
)
def test_missing_isolation_is_refused(layers: tuple[str, ...], unguarded: list[str]) -> None:
    """In one line that names what is not guarded and what would guard it; not if unsafe is asked for, which is recorded."""
    with pytest.raises(SettingsError) as refusal:
        Sandbox(layers=layers, packages=())
    line = str(refusal.value)
    assert "\n" not in line
    assert "--unsafe" in line
    assert [name for name in GUARANTEES if f" {name} (" in line] == unguarded
    assert all(layer in line for name in unguarded for layer in GUARANTEES[name])
    with Sandbox(layers=layers, packages=(), unsafe=True) as sandbox:
        assert list(sandbox.isolation.broken) == unguarded
        assert verdict(sandbox, "def f(): return 1", "assert f() == 1").has_passed


def test_what_cannot_be_asked_for_is_refused() -> None:
    """No workers, unknown layers."""
    with pytest.raises(SettingsError, match="at least 1"):
        Sandbox(workers=0)
    with pytest.raises(SettingsError, match="known: user"):
        Sandbox(layers=("firejail",))


def test_packages_are_those_asked_for() -> None:
    """What is not asked for cannot be imported; what is not installed is not promised."""
    with Sandbox(packages=("no_such_package",)) as sandbox:
        assert sandbox.isolation.packages == ()
        assert verdict(sandbox, "import numpy", "pass").status is Status.ERROR


def test_judge_takes_programs_with_their_problems() -> None:
    """A verdict per program, in order; limits as they are given; what does not fit together is refused."""
    problem = problem_of("assert f(2) == 4", "def f(x): return x * x")
    other = replace(problem, task_id="other", tests="assert f(3) == 6", solution="def f(x): return x + x")
    programs = [problem.reference, other.reference, other.reference]
    found = judge(programs, [problem, other, replace(problem, tests="assert f(3) == 9")], workers=2)
    assert [verdict.status for verdict in found] == [Status.PASSED, Status.PASSED, Status.WRONG]
    assert [verdict.task_id for verdict in found] == ["test", "other", "test"]
    (verdict,) = judge(["while True: pass"], [problem], limits={"test": Limits(cpu_seconds=1)}, workers=1)
    assert verdict.status is Status.TIMEOUT
    assert verdict.cpu_seconds < LEAST_CPU_SECONDS
    assert judge([], []) == []
    with pytest.raises(SettingsError, match="2 programs and 1 problems"):
        judge(["", ""], [problem])
    with pytest.raises(SettingsError, match="no limits for other"):
        judge(["", ""], [problem, other], limits={"test": Limits()})


@pytest.mark.slow
def test_judge_takes_limits_from_references() -> None:
    """Which leave every program some seconds, so that a slow machine fails nobody."""
    problem = problem_of("assert f(2) == 4", "def f(x): return x * x")
    (verdict,) = judge(["while True: pass"], [problem], workers=1)
    assert verdict.status is Status.TIMEOUT
    assert verdict.cpu_seconds > LEAST_CPU_SECONDS - 1  # the kernel may end it a moment before
