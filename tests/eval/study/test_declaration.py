"""Declarations of studies: the one that comes with syntaxdiff, and what is refused of others."""

from pathlib import Path

import click
import pytest

from syntaxdiff.eval.cli import main as eval_main
from syntaxdiff.eval.study.declaration import START, Study, read_studies
from syntaxdiff.eval.study.estimate import hours, planned
from syntaxdiff.eval.study.study import Folders, comparison, preparation
from syntaxdiff.pipeline.cli import main as prep_main
from syntaxdiff.pipeline.command_line import SettingsCommand
from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.train.settings import parser, read_settings

SMALL = """
[arms.start]
says = "the start"
[arms.random]
says = "tokens"
strategy = "random"
[arms.ast-span]
says = "subtrees"
strategy = "ast-span"

[little]
says = "for a test"
method = "ast-span"
references = ["random"]
seeds = [1, 2]
jobs = 2
threads = 1
[little.data]
sources = [{ src = "rows.jsonl" }]
options = { limit = 100, validation-size = 10 }
[little.start]
options = { model = "tiny", max-steps = 4 }
[little.train]
options = { max-steps = 2 }
[little.evaluate]
loss = {}
reconstruct = {}
[little.deepspeed]
train_micro_batch_size_per_gpu = 2
gradient_accumulation_steps = 1
"""


def read(tmp_path: Path, text: str) -> dict[str, Study]:
    path = tmp_path / "studies.toml"
    path.write_text(text)
    return read_studies(path)


def test_every_shipped_size_can_be_planned(tmp_path: Path) -> None:
    """Each size that comes with syntaxdiff names all arms of the issue or those of the paper, and its plan has all commands."""
    studies = read_studies()
    assert list(studies) == ["smoke", "cpu", "one-gpu", "paper"]
    for study in studies.values():
        plan = planned(study, tmp_path)
        for arm in study.arms:
            for seed in study.seeds:
                assert f"--init-from {tmp_path}/start" in plan
                assert (f"--out {tmp_path}/runs/{arm}-{seed} " in plan) == (arm != START)
        assert "Estimate: " in plan
        assert all(part > 0 for part in hours(study))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", list(read_studies()))
def test_every_planned_command_is_one(size: str, tmp_path: Path) -> None:
    """The commands of each size are accepted by the parsers of the programs that they call, options and values."""
    declared, folders = read_studies()[size], Folders(out=tmp_path / "with a space")
    assert declared.sweep is not None
    rate = declared.sweep.learning_rates[0]
    mains = {"syntaxdiff.pipeline.cli": prep_main, "syntaxdiff.eval.cli": eval_main}
    sources = [source.src for source in declared.data.sources]
    jobs = [*preparation(declared, folders, sources), *comparison(declared, folders, rate)]
    for job in jobs:
        module = next(name for name in (*mains, "syntaxdiff.train.run", "syntaxdiff.train.imports.gguf") if name in job.command)
        arguments = list(job.command[job.command.index(module) + 1 :])
        if module == "syntaxdiff.train.run":
            settings = read_settings(parser().parse_args(arguments))
            assert settings.data == str(folders.data)
        elif module in mains:
            command = mains[module].get_command(click.Context(mains[module]), arguments[0])
            assert isinstance(command, SettingsCommand)
            command.arguments(command.make_context(arguments[0], arguments[1:]).params)
    assert len({job.name for job in jobs}) == len(jobs)


def test_arms_differ_by_their_masks_alone() -> None:
    """Trained arms set a strategy and a curriculum and nothing else, so that they see the same samples for as many steps."""
    for study in read_studies().values():
        for name, arm in study.arms.items():
            assert set(arm.options) == (set() if name == START else {"strategy", "curriculum"})


def test_a_declaration_is_read(tmp_path: Path) -> None:
    """Tables become what they say; a size without a list of arms has all of them."""
    study = read(tmp_path, SMALL)["little"]
    assert list(study.arms) == [START, "random", "ast-span"]
    assert study.seeds == (1, 2)
    assert study.arms["random"].options == {"strategy": "random"}
    assert study.data.sources[0].src == "rows.jsonl"
    assert study.sweep is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds = [1, 2]", 'seeds = "0"', "seeds must be a list"),
        ("seeds = [1, 2]", "seeds = []", "seeds must be at least one"),
        ("seeds = [1, 2]", "seeds = [0, 1]", "the start's seed is among the seeds"),
        ("jobs = 2", "jobs = 2\nworkers = 3", "'workers' is not known"),
        ("jobs = 2", "jobs = 2.5", "jobs must be int"),
        ("jobs = 2\n", "", "jobs"),
        ('method = "ast-span"', 'method = "ast"', "method names ast, which is no arm"),
        ('references = ["random"]', 'references = ["none"]', "references names none, which is no arm"),
        ("jobs = 2", 'jobs = 2\narms = ["start", "nothing"]', "nothing is no arm"),
        ("jobs = 2", 'jobs = 2\narms = ["random", "ast-span"]', "an arm start"),
        ("max-steps = 2 }", "max-step = 2 }", "max_step is no option of the trainer"),
        ("max-steps = 2 }", "max-steps = 0 }", "--max-steps 0: a whole number from 1"),
        ('strategy = "random"', 'strategy = "rando"', "--strategy rando"),
        ('src = "rows.jsonl"', 'src = "rows.jsonl", prompt-field = "p"', "prompt-field and response-field, or neither"),
        ("[little.start]", "[little.begin]", "'begin' is not known"),
        ('says = "the start"', "", "arm start"),
        ("[little.train]", "[little.train", "cannot be read as TOML"),
        ("[little.train]", '[little.sweep]\narm = "no"\nlearning-rates = [1e-3]\n[little.train]', "sweep names no"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    """A wrong declaration is refused in one line that names the place."""
    assert SMALL.count(old) == 1
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, SMALL.replace(old, new))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "factor"),
    [({"seeds = [1, 2]": "seeds = [1, 2, 3]"}, 16 / 12), ({"max-steps = 2 }": "max-steps = 4 }"}, 20 / 12), ({}, 1.0)],
)
def test_the_estimate_follows_the_steps(tmp_path: Path, change: dict[str, str], factor: float) -> None:
    """Training costs as its steps: 4 of the start and 2 of each of two arms with two seeds."""
    text = SMALL
    for old, new in change.items():
        text = text.replace(old, new)
    before, after = (hours(read(tmp_path, declaration)["little"]).training for declaration in (SMALL, text))
    assert after == pytest.approx(factor * before)


def test_epochs_become_steps(tmp_path: Path) -> None:
    """An arm of one epoch takes as many steps as its samples fill: 90 of them, two a step."""
    steps, epochs = (
        hours(read(tmp_path, text)["little"]).training for text in (SMALL, SMALL.replace("max-steps = 2 }", "epochs = 1 }"))
    )
    assert epochs / steps == pytest.approx((4 + 4 * 45) / (4 + 4 * 2))


def test_shifted_starts_stay_shifted() -> None:
    """A start that keeps its model's shift is trained on with it in every arm."""
    for study in read_studies().values():
        assert study.start.options.get("shift", False) == study.train.options.get("shift", False)
