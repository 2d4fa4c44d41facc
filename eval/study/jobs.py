"""Commands with their needs, run as processes, several at a time; what is done is not run again.

A job that succeeded leaves ``NAME.json`` in the folder of its jobs, with the command, so that a later call skips it; its
output is in ``NAME.log``. When the time is over, or at Ctrl-C, running jobs get SIGTERM: training runs save a checkpoint at
the end of a step, evaluations keep what is finished, and the next call resumes both.
"""

import contextlib
import fcntl
import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from syntaxdiff.pipeline.errors import SettingsError, SyntaxdiffError
from syntaxdiff.pipeline.shard import storage_errors, write_text

POLL_SECONDS = 0.2
LOG_LINES_SHOWN = 12


class JobFailedError(SyntaxdiffError):
    """A command ended with an error."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A command.

    Attributes:
        name: of its files; may hold slashes
        command: program and arguments
        makes: a file that is there once the command did its work; a training run that a signal ended lacks it
        is_whole: what it makes appears whole, so the file alone says that it is done
        ends_by: the signal that has it save and end
        needs: names of jobs that must be done before
        afterwards: called once it ended well
    """

    name: str
    command: tuple[str, ...]
    makes: Path
    needs: tuple[str, ...] = ()
    is_whole: bool = False
    ends_by: signal.Signals = signal.SIGTERM
    afterwards: Callable[[], None] | None = None

    def __str__(self) -> str:
        return shlex.join(self.command)


Running: TypeAlias = "subprocess.Popen[bytes]"
OnJobs = Callable[[int, int, Sequence[str]], None]  # done, of how many, names of those that run


@dataclass(frozen=True, kw_only=True)
class Runner:
    """Runs jobs.

    Attributes:
        folder: of logs and of what is done
        root: of everything that commands name; another spelling or place of it makes no other command
        slots: processes at a time
        environment: of all of them, added to this process's own
        grace_seconds: that a command has to save and end
        deadline: of ``time.monotonic``, None for no end
        on_jobs: called with the number of jobs that are done, of all, and the names of those that run
    """

    folder: Path
    root: Path
    slots: int
    environment: dict[str, str]
    grace_seconds: float = 120.0
    deadline: float | None = None
    on_jobs: OnJobs = lambda done, total, running: None

    def is_done(self, job: Job) -> bool:
        """Whether an earlier call ended the same command well."""
        try:
            record = json.loads(self._record(job).read_text("utf-8"))
        except (OSError, ValueError):
            return job.is_whole and job.makes.exists()
        return bool(record.get("command") == self._portable_command(job)) and job.makes.exists()

    def _portable_command(self, job: Job) -> list[str]:
        """A command without the interpreter's place and the root's."""
        return [argument.replace(str(self.root), "OUT") for argument in job.command[1:]]

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Within the block no other process runs these jobs, nor does one that an earlier call left behind.

        Raises:
            SettingsError: one does
        """
        path = self.folder / "lock"
        with storage_errors(path):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = path.open("w")
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise SettingsError(f"commands of {self.root} still run: wait for them, or end them") from error
            os.set_inheritable(lock.fileno(), True)  # held until the last command ends, also where this process is killed
            yield

    def seconds(self, job: Job) -> float | None:
        """What a job took that is done, with what it took before it was cut off; None where it was not measured."""
        try:
            return float(json.loads(self._record(job).read_text("utf-8"))["seconds"])
        except FileNotFoundError:
            return None

    def run(self, jobs: Sequence[Job]) -> bool:
        """Runs what is not done, in the order of the list as far as needs and slots allow.

        Returns:
            whether all are done; False where the time was over before

        Raises:
            JobFailedError: one ended with an error; the others were stopped
            StorageError: the disk refused
        """
        done = {job.name for job in jobs if self.is_done(job)}
        waiting = [job for job in jobs if job.name not in done]
        running: dict[str, tuple[Job, Running, float]] = {}
        try:
            while waiting or running:
                self.on_jobs(len(done), len(jobs), list(running))
                is_over = self.deadline is not None and time.monotonic() > self.deadline
                if is_over:
                    return False
                ready = [job for job in waiting if done.issuperset(job.needs)]
                for job in ready[: self.slots - len(running)]:
                    waiting.remove(job)
                    running[job.name] = job, self._start(job), time.monotonic()
                time.sleep(POLL_SECONDS)
                for name, (job, process, since) in list(running.items()):
                    if process.poll() is None:
                        continue
                    del running[name]
                    self._end(job, process, time.monotonic() - since)
                    done.add(name)
            self.on_jobs(len(done), len(jobs), [])
            return True
        finally:
            self._stop(running)

    def _start(self, job: Job) -> Running:
        log = self._log(job)
        with storage_errors(log):
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("ab") as output:
                output.write(f"$ {job}\n".encode())
                output.flush()
                return subprocess.Popen(
                    job.command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **self.environment},
                    start_new_session=True,  # a group of its own: signals reach all of its processes, and only those
                    close_fds=False,  # the lock stays open
                )

    def _end(self, job: Job, process: Running, seconds: float) -> None:
        seconds += self._time_before(job)
        if process.returncode != 0 or not job.makes.exists():
            self._keep_time(job, seconds)
            log = self._log(job).read_text(
                "utf-8", errors="replace"
            )  # a carriage return, of a progress bar, is a line feed too
            lines = [line for line in log.split("\n") if line.strip()]
            errors = [line for line in lines[-LOG_LINES_SHOWN:] if line.startswith("error:")]
            ended = f"it ended with {process.returncode} and left no {job.makes}"
            why = errors[-1].removeprefix("error:").strip() if errors else ended
            raise JobFailedError(f"{job.name}: {why}; its output is in {self._log(job)}, and the same command goes on")
        record = {"command": self._portable_command(job), "seconds": round(seconds, 1)}
        write_text(self._record(job), json.dumps(record, indent=1) + "\n")
        self._time(job).unlink(missing_ok=True)
        if job.afterwards is not None:
            job.afterwards()

    def _stop(self, running: dict[str, tuple[Job, Running, float]]) -> None:
        """Ends what runs, and waits for it."""
        for job, process, _ in running.values():
            _signal(process, job.ends_by)
        end = time.monotonic() + self.grace_seconds
        for job, process, since in running.values():
            while _runs(process) and time.monotonic() < end:
                time.sleep(POLL_SECONDS)
            _signal(process, signal.SIGKILL)
            seconds = time.monotonic() - since
            if process.wait() == 0 and job.makes.exists():
                self._end(job, process, seconds)
            else:
                self._keep_time(job, seconds + self._time_before(job))

    def _record(self, job: Job) -> Path:
        return self.folder / f"{job.name}.json"

    def _log(self, job: Job) -> Path:
        return self.folder / f"{job.name}.log"

    def _time(self, job: Job) -> Path:
        """Seconds that a job took before it was cut off."""
        return self.folder / f"{job.name}.seconds"

    def _time_before(self, job: Job) -> float:
        try:
            return float(self._time(job).read_text("utf-8"))
        except (OSError, ValueError):
            return 0.0

    def _keep_time(self, job: Job, seconds: float) -> None:
        write_text(self._time(job), f"{seconds:.1f}\n")


def _runs(process: Running) -> bool:
    """Whether any process of the group is left; a launcher may be gone before its ranks."""
    process.poll()  # else the child itself would stay as a zombie
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def _signal(process: Running, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
