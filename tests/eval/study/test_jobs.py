"""Commands as jobs: their order, what is not run again, what ends with the time, and what is reported of one that fails."""

import json
import sys
import time
from pathlib import Path

import pytest

from syntaxdiff.eval.study.jobs import Job, JobFailedError, Runner


def writing(folder: Path, name: str, needs: tuple[str, ...] = (), code: str = "") -> Job:
    """A job that notes its start in `order` and writes a file of its name."""
    noting = f"open({str(folder / 'order')!r}, 'a').write({name!r} + '\\n')"
    program = f"{noting}\n{code}\nopen({str(folder / name)!r}, 'w').write('made')\n"
    return Job(name=name, command=(sys.executable, "-c", program), makes=folder / name, needs=needs)


def runner(folder: Path, slots: int = 1, seconds: float | None = None) -> Runner:
    deadline = None if seconds is None else time.monotonic() + seconds
    return Runner(folder=folder / "jobs", root=folder, slots=slots, environment={}, deadline=deadline)


def started(folder: Path) -> list[str]:
    return (folder / "order").read_text().split()


def test_needs_come_first_and_nothing_runs_twice(tmp_path: Path) -> None:
    """A job waits for what it needs, wherever it stands in the list; a second call runs what its file is gone of."""
    jobs = [writing(tmp_path, "c", ("a", "b")), writing(tmp_path, "a"), writing(tmp_path, "b", ("a",))]
    assert runner(tmp_path).run(jobs)
    assert started(tmp_path) == ["a", "b", "c"]
    assert runner(tmp_path).run(jobs)
    assert started(tmp_path) == ["a", "b", "c"]
    (tmp_path / "b").unlink()
    assert runner(tmp_path).run(jobs)
    assert started(tmp_path) == ["a", "b", "c", "b"]


def test_another_command_of_the_same_name_is_run(tmp_path: Path) -> None:
    """What is done is known by its command, not by its name."""
    assert runner(tmp_path).run([writing(tmp_path, "a")])
    assert runner(tmp_path).run([writing(tmp_path, "a", code="pass")])
    assert started(tmp_path) == ["a", "a"]


def test_slots_bound_what_runs_at_a_time(tmp_path: Path) -> None:
    """With two slots two jobs run at a time, never three, and their environment is the runner's."""
    counting = (
        f"import os, time, pathlib; here = pathlib.Path({str(tmp_path)!r}); mine = here / (str(os.getpid()) + '.running')\n"
        "mine.touch(); time.sleep(0.3)\n"
        "print(len(list(here.glob('*.running'))), os.environ['SLOT_TEST'], flush=True); mine.unlink()"
    )
    jobs = [writing(tmp_path, f"job{number}", code=counting) for number in range(6)]
    reported: list[tuple[int, int, int]] = []
    made = Runner(
        folder=tmp_path / "jobs",
        root=tmp_path,
        slots=2,
        environment={"SLOT_TEST": "here"},
        on_jobs=lambda done, total, running: reported.append((done, total, len(running))),
    )
    assert made.run(jobs)
    lines = [(tmp_path / "jobs" / f"{job.name}.log").read_text().splitlines()[-1].split() for job in jobs]
    assert max(int(count) for count, _ in lines) == 2
    assert {word for _, word in lines} == {"here"}
    assert reported[-1] == (6, 6, 0)
    assert max(running for *_, running in reported) == 2


def test_a_failure_is_reported_in_a_line_and_ends_the_others(tmp_path: Path) -> None:
    """The error says the job, what it said itself, and where its output is; another that runs is ended, and goes on later."""
    slow = writing(tmp_path, "slow", code="import time; time.sleep(60)")
    bad = writing(tmp_path, "bad", code="import sys; print('error: no such thing', file=sys.stderr); sys.exit(2)")
    since = time.monotonic()
    with pytest.raises(JobFailedError, match=r"^bad: no such thing; its output is in .*bad\.log"):
        runner(tmp_path, slots=2).run([slow, bad])
    assert time.monotonic() - since < 30
    assert not (tmp_path / "slow").exists()
    assert not runner(tmp_path).is_done(slow)


def test_an_end_without_the_work_is_a_failure(tmp_path: Path) -> None:
    """A process that ends well and leaves no file did not do its work: so ends a training run that a signal stopped."""
    job = Job(name="a", command=(sys.executable, "-c", "pass"), makes=tmp_path / "a")
    with pytest.raises(JobFailedError, match="left no"):
        runner(tmp_path).run([job])
    assert not runner(tmp_path).is_done(job)


def test_the_time_is_over_and_the_next_call_goes_on(tmp_path: Path) -> None:
    """At the deadline running jobs get SIGTERM and time to save; what they took counts when they are done later."""
    saving = (
        f"import pathlib, signal, sys, time; saved = pathlib.Path({str(tmp_path / 'saved')!r})\n"
        "def stop(*_):\n    saved.write_text('half')\n    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "if not saved.exists():\n    time.sleep(60)"
    )
    jobs = [writing(tmp_path, "first"), writing(tmp_path, "long", code=saving), writing(tmp_path, "last")]
    assert not runner(tmp_path, seconds=3).run(jobs)
    assert (tmp_path / "saved").read_text() == "half"
    assert started(tmp_path) == ["first", "long"]
    assert runner(tmp_path).run(jobs)
    assert started(tmp_path) == ["first", "long", "long", "last"]
    assert json.loads((tmp_path / "jobs" / "long.json").read_text())["seconds"] > 2


def test_afterwards_comes_once_the_work_is_done(tmp_path: Path) -> None:
    """What is to be done after a job is done once, and not for a job that failed."""
    calls: list[str] = []
    good = writing(tmp_path, "good")
    good = Job(name=good.name, command=good.command, makes=good.makes, afterwards=lambda: calls.append("good"))
    bad = Job(name="bad", command=(sys.executable, "-c", "raise SystemExit(1)"), makes=tmp_path / "bad", needs=("good",))
    bad = Job(name="bad", command=bad.command, makes=bad.makes, needs=bad.needs, afterwards=lambda: calls.append("bad"))
    for _ in range(2):
        with pytest.raises(JobFailedError, match="ended with 1"):
            runner(tmp_path).run([good, bad])
    assert calls == ["good"]
