"""A whole study, small: from rows to its page, cut off on the way, and made again."""

import dataclasses
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from folders import programs
from pages import Page

from syntaxdiff.eval.study.declaration import Data, Source, read_studies
from syntaxdiff.eval.study.sources import usable_sources
from syntaxdiff.eval.study.study import swept_loss
from syntaxdiff.pipeline.errors import SourceError

DECLARED = """
[arms.start]
says = "the start"
[arms.random]
says = "tokens"
strategy = "random"
curriculum = "constant"
[arms.random-matched]
says = "as many tokens"
strategy = "random-matched"
curriculum = "constant"
[arms.ast-span]
says = "subtrees"
strategy = "ast-span"
curriculum = "constant"

[little]
says = "for a test"
method = "ast-span"
references = ["random", "random-matched"]
seeds = [1, 2]
jobs = 2
threads = 1
[little.data]
sources = [
    { src = "rows.jsonl.gz", prompt-field = "asked", response-field = "answer" },
    { src = "absent.jsonl", is-optional = true },
]
options = { tokenizer = "train:400", validation-size = 6 }
[little.start.options]
model = "tiny"
max-steps = 4
validate-every = 0
sample-every = 0
save-every = 1
validation-samples = 6
[little.sweep]
arm = "random"
learning-rates = [1e-4, 1e-2]
options = { max-steps = 1 }
[little.train.options]
objective = "masked-mean"
validation-objective = "inverse-rate"
max-steps = 2
validate-every = 0
sample-every = 0
save-every = 0
validation-samples = 6
[little.evaluate]
loss = { samples = 6 }
reconstruct = { samples = 4, strategy = ["random", "ast-span"], mask-rate = [0.5], steps = 2 }
humaneval = { limit = 2, gen-length = 8 }
benchmark-seeds = [1]
[little.deepspeed]
train_micro_batch_size_per_gpu = 4
gradient_accumulation_steps = 1
zero_optimization = { stage = 1 }
optimizer = { type = "AdamW", params = { lr = "auto", torch_adam = true } }
scheduler = { type = "WarmupCosineLR", params = { total_num_steps = "auto", warmup_num_steps = "auto" } }
steps_per_print = 1000000000
"""


def declare(folder: Path) -> Path:
    """A folder with rows under names of their own, and the declaration of a little study of them."""
    rows = [{"asked": row["prompt"], "answer": f"Like this.\n\n```python\n{row['code']}\n```\n"} for row in programs(60)]
    with gzip.open(folder / "rows.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    (folder / "little.toml").write_text(DECLARED)
    return folder


def begin(folder: Path, out: str, *options: str) -> "subprocess.Popen[str]":
    """The command, from that folder."""
    command = [sys.executable, "-m", "syntaxdiff.eval.cli", "study", "little", "--file", "little.toml", "--out", out, *options]
    return subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, err = process.communicate(timeout=900)
    return process.returncode, out, err


def results_in(folder: Path) -> dict[str, Any]:
    results: dict[str, Any] = json.loads((folder / "study.json").read_text("utf-8"))
    return results


def test_rows_under_other_names_become_chats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fields that a source names are put under prep's own; an optional source that is absent is reported, another refused."""
    declare(tmp_path)
    monkeypatch.chdir(tmp_path)
    little = read_studies(tmp_path / "little.toml")["little"]
    notes: list[str] = []
    (found,) = usable_sources(little, tmp_path / "sources", notes.append)
    lines = Path(found).read_text().splitlines()
    assert len(lines) == 60
    assert [turn["role"] for turn in json.loads(lines[0])["messages"]] == ["user", "assistant"]
    assert len(notes) == 1
    assert "absent.jsonl is not there" in notes[0]
    for src in ("absent.jsonl", "package:no_such_package"):
        needed = Data(sources=(Source(src=src),))
        with pytest.raises(SourceError, match="is not there, and study little needs it"):
            usable_sources(dataclasses.replace(little, data=needed), tmp_path / "sources")


@pytest.mark.slow
def test_a_study_that_was_cut_off_ends_as_one_that_was_not(tmp_path: Path) -> None:
    """Stopped by its time and by SIGTERM while a model is trained, a study goes on, and its study.json is the same bytes."""
    declare(tmp_path)
    whole = begin(tmp_path, "whole")
    code, _, err = ended(whole)
    assert code == 0, err
    assert "learning rate" in err
    results = results_in(tmp_path / "whole")

    code, _, err = ended(begin(tmp_path, "cut", "--minutes", "0.2"))
    assert code == 3, err
    assert "the same command goes on" in err
    stopped = begin(tmp_path, "cut")
    deadline = time.monotonic() + 600
    while not (tmp_path / "cut" / "runs" / "random-1").exists():
        assert stopped.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    stopped.send_signal(signal.SIGTERM)
    assert ended(stopped)[0] == 130
    code, _, err = ended(begin(tmp_path, "cut"))
    assert code == 0, err
    for name in ("study.json", "tables.md"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()

    # What it holds: the same samples and as many corrupted tokens under masks of equal amount, the chosen rate, the page.
    arms = results["arms"]
    assert [run["corrupted_tokens"] for run in arms["ast-span"]["runs"]] == [
        run["corrupted_tokens"] for run in arms["random-matched"]["runs"]
    ]
    assert results["sweep"]["chosen"] == float(min(results["sweep"]["loss"], key=lambda rate: results["sweep"]["loss"][rate]))
    assert swept_loss(tmp_path / "whole" / "sweep" / "0.01") == results["sweep"]["loss"]["0.01"]
    assert "humaneval/parses" in arms["ast-span"]["runs"][0]["measures"]
    assert "humaneval/parses" not in arms["ast-span"]["runs"][1]["measures"]
    for arm in ("random", "ast-span"):
        for run in arms[arm]["runs"]:
            lines = (tmp_path / "whole" / "runs" / f"{arm}-{run['seed']}" / "metrics.jsonl").read_text().splitlines()
            records = list(map(json.loads, lines))
            own = [record["loss"] for record in records if record["kind"] == "validation" and record["strategy"] == arm][-1]
            assert run["measures"]["loss/own"] == pytest.approx(own, abs=1e-3)  # the trainer's, in other batches
    page = Page((tmp_path / "whole" / "report.html").read_text("utf-8"))
    assert "does masking by syntax help?" in page.text

    # Another declaration for the same folder is refused; so is a size that is not declared.
    (tmp_path / "little.toml").write_text(DECLARED.replace("seeds = [1, 2]", "seeds = [1]"))
    code, _, err = ended(begin(tmp_path, "cut"))
    assert code == 2
    assert err.strip().splitlines()[-1].startswith("error: ")
    assert "declares another study" in err.strip().splitlines()[-1]


@pytest.mark.slow
def test_what_is_not_declared_is_refused(tmp_path: Path) -> None:
    """A size that is not there, and a file that is none, are one line; nothing is written."""
    declare(tmp_path)
    command = [sys.executable, "-m", "syntaxdiff.eval.cli", "study"]
    for arguments, message in (
        (["huge"], "there is no study huge: choose from smoke, cpu, one-gpu, paper"),
        (["little", "--file", "rows.jsonl.gz"], "cannot be read as TOML"),
    ):
        done = subprocess.run([*command, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert message in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["little.toml", "rows.jsonl.gz"]
