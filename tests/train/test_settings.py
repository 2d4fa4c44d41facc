"""What weighs the loss and chooses the best checkpoint: given, by default, or as the run that is resumed had it."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.pipeline.options import StoredOptions
from syntaxdiff.train.corruption.config import STRATEGIES
from syntaxdiff.train.engine.checkpoints import RunState
from syntaxdiff.train.engine.resumption import check_resumable
from syntaxdiff.train.session import FREE
from syntaxdiff.train.settings import Settings, completed, parser, read_settings

# As checkpoints stored them before there was a choice: `objective` by its default, nothing of the validation's weights.
OLD: dict[str, Any] = {
    "max_length": None,
    "window_rows": 2048,
    "group_by_length": False,
    "pack": False,
    "eos_pad": 0,
    "model": None,
    "init_from": None,
    "shift": False,
    "timestep_embedding": False,
    "activation_checkpointing": False,
    "lora_rank": 0,
    "lora_alpha": 0.0,
    "strategy": "ast-span",
    "objective": "inverse-rate",
    "max_span_share": 1.0,
    "curriculum": "low-noise-first",
    "low_ceiling": 0.2,
    "drop": 0.0,
    "shuffle": 0.0,
    "relabel": 0.0,
    "placeholder": 0.0,
    "seed": 0,
    "warmup_share": 0.1,
    "validate_every": 50,
    "validation_samples": None,
}


def state(settings: StoredOptions) -> RunState:
    """A checkpoint with some settings."""
    return RunState(
        step=4,
        consumed=16,
        total_steps=8,
        best_loss=7.0,
        best_step=4,
        bad_validations=0,
        world=1,
        data="f",
        settings=settings,
        json={},
    )


def stored(settings: Settings) -> dict[str, Any]:
    """What a checkpoint holds of settings."""
    return {name: value for name, value in dataclasses.asdict(settings).items() if name not in FREE}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_run_that_begins_has_the_defaults(strategy: str) -> None:
    """Region shares where marginals are unknown, each strategy's own weights in validation, and uniform masks to judge by."""
    settled = Settings(strategy=strategy).settled(None)
    assert settled.objective == ("region-share" if strategy in ("ast-span", "random-matched") else "inverse-rate")
    assert (settled.validation_objective, settled.best_by) == ("default", "random")
    assert (settled.validation_weights, settled.judge) == (None, "random")
    assert settled.corruption() == Settings(strategy=strategy).corruption()


def test_what_is_given_stays() -> None:
    """No default and no stored value overrides an option."""
    given = Settings(objective="masked-mean", validation_objective="region-share", best_by="strategy")
    assert given.settled(None) == given
    assert given.settled(OLD) == given
    assert (given.validation_weights, given.judge) == ("region-share", "ast-span")


def test_a_run_from_before_keeps_its_weights() -> None:
    """A checkpoint that knows no weights of the validation resumes with inverse rates, judged by its strategy's masks."""
    settled = Settings().settled(OLD)
    assert (settled.objective, settled.validation_objective, settled.best_by) == ("inverse-rate", "inverse-rate", "strategy")
    assert (settled.validation_weights, settled.judge) == ("inverse-rate", "ast-span")
    assert settled.corruption().objective == "inverse-rate"
    check_resumable(state(completed(OLD)), state(stored(settled)))
    assert Settings().kept(OLD) == [
        "--objective inverse-rate", "--validation-objective inverse-rate", "--best-by strategy"
    ]  # fmt: skip
    assert Settings(objective="inverse-rate", best_by="strategy").kept(OLD) == ["--validation-objective inverse-rate"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"objective": "region-share"}, "--objective inverse-rate, not region-share"),
        ({"best_by": "random"}, "--best-by strategy, not random"),
        ({"validation_objective": "default"}, "--validation-objective inverse-rate, not default"),
        ({"strategy": "random"}, "--strategy ast-span, not random"),
    ],
)
def test_a_run_from_before_does_not_change_its_weights(options: dict[str, Any], words: str) -> None:
    """An option that contradicts what the run had is refused by its name."""
    with pytest.raises(SettingsError, match=words):
        check_resumable(state(completed(OLD)), state(stored(Settings(**options).settled(OLD))))


def test_what_a_run_stores_it_resumes_with() -> None:
    """Settled settings, stored and read again, settle to themselves, also where they are not the defaults."""
    for begun in (
        Settings().settled(None),
        Settings(strategy="random").settled(None),
        Settings(objective="paper", best_by="strategy", validation_objective="masked-mean").settled(None),
    ):
        again = Settings(strategy=begun.strategy).settled(stored(begun))
        assert again == begun
        check_resumable(state(completed(stored(begun))), state(stored(again)))
    assert Settings().kept(stored(Settings().settled(None))) == []


@pytest.mark.parametrize("options", [{"objective": "elbo"}, {"best_by": "ast-span"}, {"validation_objective": "reveal"}])
def test_unknown_choices_are_refused(options: dict[str, str]) -> None:
    """Also by a file, which argparse does not check."""
    with pytest.raises(SettingsError, match="choose from"):
        Settings(**options)  # type: ignore[arg-type]


def test_the_command_and_a_file_leave_the_choice_open(tmp_path: Path) -> None:
    """Nothing given, or null in a file, is nothing given; a name is that."""
    assert read_settings(parser().parse_args([])).objective is None
    path = tmp_path / "run.yaml"
    path.write_text("objective: null\nbest-by: strategy\n")
    read = read_settings(parser().parse_args(["--config", str(path)]))
    assert (read.objective, read.best_by) == (None, "strategy")
    assert read_settings(parser().parse_args(["--config", str(path), "--best-by", "random"])).best_by == "random"
