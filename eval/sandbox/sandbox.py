"""Running untrusted programs against tests, with a verdict on each.

    with Sandbox(workers=2) as sandbox:
        limits = golden(problems, sandbox).limits                    # references first; limits derive from their time
        jobs = [Job(problem.program(completion), problem, limits[problem.task_id]) for problem, completion in answers]
        for verdict in sandbox.check_all(jobs): ...

This process runs no line of a program and of no test. A worker has two processes that do nothing but fork (zygote.py), one for
programs and one for tests, each in a jail of its own (jail.py). A program and its tests run in processes of their own that
exchange plain data (candidate.py, tester.py, plain_data.py), and that are gone when the verdict is there (worker.py). What a
program is limited in is CPU time; wall time is a backstop. docs/execution.md says what holds and what does not.
"""

import concurrent.futures
import contextlib
import importlib.util
import os
import queue
import shutil
import sys
import sysconfig
import tempfile
import threading
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from syntaxdiff.eval.problems.problem import Problem
from syntaxdiff.eval.sandbox.jail import GUARANTEES, LAYERS, Layer
from syntaxdiff.eval.sandbox.limits import REFERENCE_LIMITS, Limits, limits_from
from syntaxdiff.eval.sandbox.verdict import Job, Status, Verdict
from syntaxdiff.eval.sandbox.worker import Worker, verdict_of
from syntaxdiff.pipeline.errors import SettingsError

_AHEAD = 32  # jobs a worker that are read before the verdict on the first of them is taken


@dataclass(frozen=True, kw_only=True)
class Isolation:
    """What keeps programs from the host here; part of every result.

    Attributes:
        layers: of jail.LAYERS: whether each is active, and how, or why not
        broken: of jail.GUARANTEES: what was tried from inside and was not stopped
        packages: beyond the standard library, that programs may import
    """

    layers: dict[str, Layer]
    broken: tuple[str, ...]
    packages: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """For a report."""
        layers = {name: layer._asdict() for name, layer in self.layers.items()}
        guarantees = {name: name not in self.broken for name in GUARANTEES}
        return {"layers": layers, "guarantees": guarantees, "packages": list(self.packages)}


@dataclass(frozen=True, kw_only=True)
class Golden:
    """What the references did here.

    Attributes:
        limits: by task_id, derived from what the reference used
        verdicts: by task_id
    """

    limits: dict[str, Limits] = field(default_factory=dict)
    verdicts: dict[str, Verdict] = field(default_factory=dict)

    @property
    def failures(self) -> dict[str, Verdict]:
        """The references that did not pass: a program's failing such a problem says nothing of the program."""
        return {task_id: verdict for task_id, verdict in self.verdicts.items() if not verdict.has_passed}


class Sandbox:
    """Workers that run programs against tests; use as a context manager.

    Attributes:
        isolation: what keeps programs from the host
    """

    def __init__(
        self,
        *,
        workers: int = 1,
        packages: Collection[str] = ("numpy",),
        layers: Collection[str] = LAYERS,
        unsafe: bool = False,
    ) -> None:
        """Starts the workers and tries from inside whether they hold.

        Args:
            workers: programs that run at a time
            packages: what programs may import beyond the standard library, where it is installed
            layers: of jail.LAYERS, those to use where the kernel grants them
            unsafe: go on where something that must hold does not

        Raises:
            SettingsError: something that must hold does not, or this is no Linux
        """
        if sys.platform != "linux":
            raise SettingsError(
                f"programs are run on Linux only, and this is {sys.platform}: use a container or another machine"
            )
        if workers < 1:
            raise SettingsError(f"{workers} workers cannot run programs: ask for at least 1")
        settings = _zygote_settings(packages, layers)
        self._folder = Path(tempfile.mkdtemp(prefix="syntaxdiff-"))
        self._workers: list[Worker] = []
        self._free: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        self._lock = _SharedLock()
        self._is_stopping = False
        try:
            for number in range(workers):
                self._workers.append(Worker(self._folder / str(number), settings))
                self._free.put(self._workers[-1])
            self.isolation = self._try_isolation([name for name, _ in settings["packages"]])
            if self.isolation.broken and not unsafe:
                raise SettingsError(_refusal(self.isolation))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends all processes and removes all folders."""
        for worker in self._workers:
            worker.close()
        self._workers.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def run_tests(self, program: str, problem: Problem, limits: Limits | None = None) -> Verdict:
        """The verdict on one whole program."""
        return self._check(Job(program, problem, limits or Limits()))

    def check_all(self, jobs: Iterable[Job]) -> Iterator[Verdict]:
        """The verdicts on many programs, in their order, on all workers.

        A program that ran out of time while others ran runs again by itself, and that verdict counts.
        """
        pending: deque[concurrent.futures.Future[Verdict]] = deque()

        def take() -> Verdict:
            verdict = pending[0].result()  # Ctrl-C arrives here: what is waited for must be among those that are ended
            pending.popleft()
            return verdict

        pool = concurrent.futures.ThreadPoolExecutor(len(self._workers))
        try:
            for job in jobs:
                pending.append(pool.submit(self._check, job))
                if len(pending) > _AHEAD * len(self._workers):
                    yield take()
            while pending:
                yield take()
        finally:
            self._stop(pending)  # there are some if the caller takes no more verdicts, or at Ctrl-C
            pool.shutdown()

    def _stop(self, pending: Collection[concurrent.futures.Future[Verdict]]) -> None:
        """Gives up jobs, and ends those that run."""
        self._is_stopping = True
        running = [future for future in pending if not future.cancel()]
        while concurrent.futures.wait(running, timeout=0.1).not_done:
            for worker in self._workers:
                worker.kill()
        self._is_stopping = False

    def _check(self, job: Job) -> Verdict:
        worker = self._free.get()
        try:
            with self._lock.shared():
                verdict = self._run(worker, job)
            if verdict.status is Status.TIMEOUT and len(self._workers) > 1 and not self._is_stopping:
                with self._lock.exclusive():
                    verdict = self._run(worker, job)
            return verdict
        finally:
            self._free.put(worker)

    def _run(self, worker: Worker, job: Job) -> Verdict:
        try:
            return worker.run(job)
        except ConnectionError:
            return verdict_of(job, Status.KILLED, "the worker that ran it was ended from outside")

    def _try_isolation(self, packages: list[str]) -> Isolation:
        outside = self._folder / "outside"
        outside.write_text("what no program may read")
        broken = {name for worker in self._workers for name in worker.try_to_break_out(outside)}
        return Isolation(
            layers=self._workers[0].layers,
            broken=tuple(name for name in GUARANTEES if name in broken),
            packages=tuple(packages),
        )


def judge(
    programs: Sequence[str],
    problems: Sequence[Problem],
    *,
    limits: Mapping[str, Limits] | None = None,
    workers: int | None = None,
    packages: Collection[str] = ("numpy",),
    unsafe: bool = False,
) -> list[Verdict]:
    """Runs programs against the tests of their problems, isolated from this process and its host.

    Args:
        programs: whole programs, as ``Problem.program`` makes them of a completion
        problems: for each program, the problem it should solve
        limits: by task_id; without, each problem's reference is run first, and limits derive from what it needed
        workers: programs that run at a time; None: one per core
        packages: what programs may import beyond the standard library, where it is installed
        unsafe: run programs even where the isolation does not hold

    Returns:
        a verdict per program, in their order

    Raises:
        SettingsError: there are not as many programs as problems, a problem has no limits, or programs cannot be isolated here
    """
    if len(programs) != len(problems):
        raise SettingsError(f"{len(programs)} programs and {len(problems)} problems: give one problem per program")
    if not programs:
        return []
    if limits is not None and (missing := {problem.task_id for problem in problems} - limits.keys()):
        raise SettingsError(f"no limits for {', '.join(sorted(missing)[:3])}: give limits for every problem, or for none")
    with Sandbox(workers=workers or os.cpu_count() or 1, packages=packages, unsafe=unsafe) as sandbox:
        if limits is None:
            limits = golden({problem.task_id: problem for problem in problems}.values(), sandbox).limits
        jobs = [Job(program, problem, limits[problem.task_id]) for program, problem in zip(programs, problems, strict=True)]
        return list(sandbox.check_all(jobs))


def golden(problems: Iterable[Problem], sandbox: Sandbox) -> Golden:
    """Runs the reference of each problem: whether it passes here, and how long others may take."""
    problems = list(problems)
    result = Golden()
    jobs = [Job(problem.reference, problem, REFERENCE_LIMITS) for problem in problems]
    for problem, verdict in zip(problems, sandbox.check_all(jobs), strict=True):
        result.verdicts[problem.task_id] = verdict
        result.limits[problem.task_id] = limits_from(
            cpu_seconds=verdict.cpu_seconds, tests_cpu_seconds=verdict.tests_cpu_seconds, peak_bytes=verdict.peak_bytes
        )
    return result


class _SharedLock:
    """A lock that many share, or one holds exclusively."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running = 0
        self._waiting_exclusively = 0

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        """Waits while another holds it exclusively, or waits to."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting_exclusively)
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Waits until no other holds it."""
        with self._changed:
            self._waiting_exclusively += 1
            self._changed.wait_for(lambda: not self._running)
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._waiting_exclusively -= 1
                self._changed.notify_all()


def _zygote_settings(packages: Collection[str], layers: Collection[str]) -> dict[str, Any]:
    """What can be read inside a jail, and which packages are imported beforehand."""
    unknown = set(layers) - set(LAYERS)
    if unknown:
        raise SettingsError(f"unknown layers of isolation: {', '.join(sorted(unknown))}; known: {', '.join(LAYERS)}")
    library = os.path.dirname(os.__file__)
    readable = [library]
    extensions = sysconfig.get_config_var("DESTSHARED")
    if extensions and os.path.isdir(extensions) and not extensions.startswith(library + "/"):
        readable.append(extensions)
    found = []
    for name in packages:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            continue
        own = list(spec.submodule_search_locations or [spec.origin])
        folder = os.path.dirname(own[0])
        found.append([name, folder])
        readable += [path for path in (*own, os.path.join(folder, f"{name}.libs")) if os.path.exists(path)]
    hidden = [os.path.join(library, name) for name in ("site-packages", "dist-packages")]
    return {"packages": found, "jail": {"readable": readable, "hidden": hidden, "layers": list(layers)}}


def _refusal(isolation: Isolation) -> str:
    """One line on what does not hold, and what would make it hold."""
    parts = []
    for name in isolation.broken:
        missing = "; ".join(f"{layer}: {isolation.layers[layer].note}" for layer in GUARANTEES[name])
        parts.append(f"{name} ({missing})" if missing else name)
    return (
        f"programs cannot be isolated here, nothing guards {', '.join(parts)}: "
        "run where the kernel grants one of these layers, or pass --unsafe"
    )
