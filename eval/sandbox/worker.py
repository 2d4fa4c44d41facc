"""One program and its tests while they run: the processes, the pipes between them, and how it ended.

A worker is a pair of processes that fork (zygote.py), one for programs and one for tests, each in a jail of its own. Which
programs run, how many at a time, and within which limits, is in sandbox.py.
"""

import contextlib
import json
import math
import os
import select
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from syntaxdiff.eval.sandbox.jail import GUARANTEES, Layer
from syntaxdiff.eval.sandbox.limits import Limits
from syntaxdiff.eval.sandbox.plain_data import encode
from syntaxdiff.eval.sandbox.verdict import Job, Status, Verdict
from syntaxdiff.pipeline.errors import SettingsError

_BOOTSTRAP = """
import json, socket, sys, types
control = socket.socket(fileno=0)
settings = json.loads(control.recv(1 << 16))
for name, path in (("syntaxdiff", []), ("syntaxdiff.eval", []), ("syntaxdiff.eval.sandbox", [settings["source"]])):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = path
from syntaxdiff.eval.sandbox.surroundings import hide_source
from syntaxdiff.eval.sandbox.zygote import main
hide_source(settings["source"])
main(control, settings)
"""
_ENVIRONMENT = {
    "PYTHONHASHSEED": "0",  # sets of strings are walked in the same order each time, so that a verdict can be had again
    "PYTHONUTF8": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",  # each thread would reserve 64 MiB of the address space that is limited
}
_GRACE_SECONDS = 2.0  # between a program's closing its channel and its end


class Worker:
    """Two processes that fork: one for programs, one for tests."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        folder.mkdir()
        self._folder, self._settings = folder, settings
        self._start()

    def _start(self) -> None:
        self._programs = Zygote(self._folder / "program", self._settings)
        self._tests = Zygote(self._folder / "tests", self._settings)
        try:
            self.layers = self._programs.wait_until_ready()
            self._tests.wait_until_ready()
        except BaseException:
            self.close()
            raise
        self._is_closed = False

    def close(self) -> None:
        """Ends both processes and all that they started; the next run starts them again."""
        self._is_closed = True
        self._programs.close()
        self._tests.close()

    def kill(self) -> None:
        """Ends what runs now."""
        self._programs.kill()
        self._tests.kill()

    def try_to_break_out(self, outside_file: Path) -> set[str]:
        """What a confined process can do that it must not."""
        read, write = os.pipe()
        null = os.open(os.devnull, os.O_RDWR)
        request = {"run": "probe", "outside_file": str(outside_file), "outside_pid": os.getpid()}
        self._programs.start(request, Limits(), [null, write])
        os.close(write)
        os.close(null)
        with os.fdopen(read, "rb") as file:
            answer = file.read()
        self._programs.wait_for_end()
        return set(json.loads(answer)) if answer else set(GUARANTEES)

    def run(self, job: Job) -> Verdict:
        """Runs one program against its tests.

        Raises:
            ConnectionError: a process of this worker was ended from outside
        """
        if self._is_closed:
            self._start()
        try:
            return self._run(job)
        except BaseException:  # Ctrl-C too: what still runs must not answer the next request
            self.close()
            raise

    def _run(self, job: Job) -> Verdict:
        started = time.monotonic()
        limits = job.limits
        trial = Trial(self._programs, self._tests)
        requests_read, requests_write = os.pipe()
        replies_read, replies_write = os.pipe()
        output_read, output_write = os.pipe()
        verdict_read, verdict_write = os.pipe()
        null = os.open(os.devnull, os.O_RDWR)
        job_fd = _in_memory(_job_of(job))
        try:
            self._programs.start({"run": "candidate"}, limits, [output_write, requests_read, replies_write])
            self._tests.start(
                {"run": "tester"}, _limits_of_tests(limits), [null, job_fd, replies_read, requests_write, verdict_write]
            )
        finally:
            for descriptor in (
                requests_read,
                requests_write,
                replies_read,
                replies_write,
                output_write,
                verdict_write,
                null,
                job_fd,
            ):
                os.close(descriptor)
        with contextlib.ExitStack() as stack:
            for descriptor in (output_read, verdict_read):
                stack.callback(os.close, descriptor)
            trial.watch(output_read, verdict_read, deadline=started + limits.wall_seconds, output_bytes=limits.output_bytes)
        status, detail = trial.judge(limits)
        return verdict_of(job, status, detail, trial, time.monotonic() - started)


class Trial:
    """One program and its tests while they run."""

    def __init__(self, programs: "Zygote", tests: "Zygote") -> None:
        self._programs, self._tests = programs, tests
        self.program_end: dict[str, Any] = {}
        self.tests_end: dict[str, Any] = {}
        self._said = b""  # by the tests' process
        self._stopped: tuple[Status, str] | None = None  # by us
        self._lingers = False

    def watch(self, output_fd: int, verdict_fd: int, *, deadline: float, output_bytes: int) -> None:
        """Returns when both processes have ended."""
        poll = select.poll()
        programs_fd, tests_fd = self._programs.fileno(), self._tests.fileno()
        for descriptor in (output_fd, verdict_fd, programs_fd, tests_fd):
            poll.register(descriptor, select.POLLIN)
        printed = 0
        while not (self.program_end and self.tests_end):
            milliseconds = None if deadline == math.inf else max(0.0, deadline - time.monotonic()) * 1000
            ready = {descriptor for descriptor, _ in poll.poll(milliseconds)}
            if not ready:
                if self._said and not self._lingers:  # the tests found the channel closed, and the program goes on
                    self._lingers = True
                else:
                    self._stop(Status.TIMEOUT, "by the clock: it waited, or was not given a CPU")
                self._kill()
                deadline = math.inf
                continue
            if output_fd in ready:
                part = os.read(output_fd, 1 << 16)
                printed += len(part)
                if printed > output_bytes:
                    self._stop(Status.OUTPUT_LIMIT, f"printed more than {output_bytes} bytes")
                    self._kill()
                if not part or printed > output_bytes:
                    poll.unregister(output_fd)
            if verdict_fd in ready:
                part = os.read(verdict_fd, 1 << 16)
                self._said += part
                if not part:
                    poll.unregister(verdict_fd)
                    if self._outcome()[0] == "gone":
                        deadline = min(deadline, time.monotonic() + _GRACE_SECONDS)
                    else:
                        self._kill()
            if programs_fd in ready:
                self.program_end = self._programs.receive_end() or self.program_end
            if tests_fd in ready:
                self.tests_end = self._tests.receive_end() or self.tests_end

    def judge(self, limits: Limits) -> tuple[Status, str]:
        """Status and detail."""
        said, detail = self._outcome()
        if self._stopped and said in ("", "gone"):
            return self._stopped
        if said == "gone":
            return self._how_it_ended(limits)
        if said == "":
            number = os.WTERMSIG(self.tests_end["status"])
            if number in (signal.SIGXCPU, signal.SIGKILL):
                return Status.TIMEOUT, "of the tests, with what the program returned"
            return Status.KILLED, f"the tests' process, by {_signal_name(number)}, with what the program returned"
        return Status(said), detail

    def _how_it_ended(self, limits: Limits) -> tuple[Status, str]:
        """A program that ended before its tests did."""
        if self._lingers:
            return Status.BROKEN_PROTOCOL, "closed its channel and went on"
        status = self.program_end["status"]
        if not os.WIFSIGNALED(status):
            return Status.EARLY_EXIT, f"ended with exit code {os.waitstatus_to_exitcode(status)} before its tests did"
        number = os.WTERMSIG(status)
        # The limit is kept by another clock than the one that is read at the end: 0.14 s of 1 s apart were seen.
        share = {int(signal.SIGXCPU): 0.5, int(signal.SIGKILL): 0.9}.get(number, math.inf)
        if self.program_end["cpu_seconds"] >= share * limits.cpu_seconds:
            return Status.TIMEOUT, f"more than {limits.cpu_seconds} s of CPU time"
        if number == signal.SIGSYS:
            return Status.FORBIDDEN, "a system call that no program needs"
        return Status.KILLED, f"by {_signal_name(number)}"

    def _outcome(self) -> tuple[str, str]:
        """What the tests' process said: nothing, or a status and a detail."""
        if not self._said:
            return "", ""
        outcome = json.loads(self._said)
        return outcome["status"], outcome["detail"]

    def _stop(self, status: Status, detail: str) -> None:
        self._stopped = self._stopped or (status, detail)

    def _kill(self) -> None:
        self._programs.kill()
        self._tests.kill()


class Zygote:
    """A process that forks others, and the connection to it (zygote.py)."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        folder.mkdir(exist_ok=True)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket = ours
        # Not as arguments, which a process can read of itself.
        source = str(Path(__file__).parent)
        message = {**settings, "source": source, "jail": {**settings["jail"], "mount_point": str(folder)}}
        ours.send(json.dumps(message).encode())
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-s", "-S", "-B", "-c", _BOOTSTRAP],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=_ENVIRONMENT,
                cwd=folder,
                start_new_session=True,  # Ctrl-C is ours to handle
            )

    def fileno(self) -> int:
        """Where messages arrive."""
        return self._socket.fileno()

    def wait_until_ready(self) -> dict[str, Layer]:
        """The layers of its jail."""
        try:
            message = self._receive()
        except ConnectionError:
            raise SettingsError(f"{sys.executable} does not start bare (options -P -s -S)") from None
        if "failed" in message:
            raise SettingsError(f"a jail for programs cannot be made here: {message['failed'].strip().splitlines()[-1]}")
        return {name: Layer(*layer) for name, layer in message["layers"].items()}

    def start(self, request: dict[str, Any], limits: Limits, descriptors: list[int]) -> None:
        """Has it fork a process, which gets these descriptors."""
        message = json.dumps({**request, "limits": asdict(limits)}).encode()
        socket.send_fds(self._socket, [message], descriptors)

    def kill(self) -> None:
        """Ends the process that runs, if one does."""
        with contextlib.suppress(OSError):
            self._socket.send(b'{"kill":true}')

    def receive_end(self) -> dict[str, Any]:
        """Status, CPU time and memory of the process if it has ended, nothing if it has begun."""
        message = self._receive()
        if "failed" in message:
            raise RuntimeError(f"a process could not be confined: {message['failed']}")
        return message if "status" in message else {}

    def wait_for_end(self) -> dict[str, Any]:
        """Status, CPU time and memory of the process once it has ended."""
        while not (end := self.receive_end()):
            pass
        return end

    def close(self) -> None:
        """Hangs up, on which it ends with all that it started."""
        self._socket.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _receive(self) -> dict[str, Any]:
        data = self._socket.recv(1 << 16)
        if not data:
            raise ConnectionResetError
        message: dict[str, Any] = json.loads(data)
        return message


def verdict_of(job: Job, status: Status, detail: str, trial: Trial | None = None, wall_seconds: float = 0.0) -> Verdict:
    """The verdict on a job, with what its processes used."""
    program_end = trial.program_end if trial else {}
    return Verdict(
        task_id=job.problem.task_id,
        status=status,
        detail=detail,
        cpu_seconds=program_end.get("cpu_seconds", 0.0),
        tests_cpu_seconds=trial.tests_end.get("cpu_seconds", 0.0) if trial else 0.0,
        wall_seconds=wall_seconds,
        peak_bytes=program_end.get("peak_bytes", 0),
    )


def _job_of(job: Job) -> bytes:
    """What the tests' process reads."""
    problem = job.problem
    return json.dumps(
        {
            "program": job.program,
            "support": problem.support,
            "tests": problem.tests,
            "proxied": problem.proxied,
            "entry_point": problem.entry_point,
            "inputs": None if problem.inputs is None else encode(problem.inputs),
            "tolerance": problem.tolerance,
            "suite": problem.benchmark.split("-")[0],
        }
    ).encode("ascii")


def _limits_of_tests(limits: Limits) -> Limits:
    """Tests may take longer: those of HumanEval+ and MBPP+ run the reference as well as the program."""
    return replace(limits, cpu_seconds=2 * limits.cpu_seconds + 10, memory_bytes=max(limits.memory_bytes, 2 << 30))


def _in_memory(data: bytes) -> int:
    """A descriptor to read bytes from, which no process has to be waited for to take."""
    descriptor = os.memfd_create("job")
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _signal_name(number: int) -> str:
    return signal.Signals(number).name if number in list(signal.Signals) else f"signal {number}"
