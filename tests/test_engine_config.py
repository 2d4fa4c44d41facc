"""The DeepSpeed JSON: checked, completed, and never contradicted in silence."""

import json
from pathlib import Path
from typing import Any

import pytest

from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.train.engine_config import RunFacts, complete, read_json, with_schedule

ROOT = Path(__file__).resolve().parents[1]


def facts(**changes: Any) -> RunFacts:
    values: dict[str, Any] = {
        "world": 2,
        "default_learning_rate": 1e-3,
        "learning_rate": None,
        "micro_batch": None,
        "accumulation": None,
        "warmup_share": 0.1,
        "hidden_size": 64,
        "has_gpu": True,
    }
    return RunFacts(**{**values, **changes})


def test_the_recipe_at_the_root_is_the_papers() -> None:
    """One sample a rank, 16 accumulated, ZeRO-3, bf16; what it leaves open is filled in, and no "auto" is left."""
    recipe = read_json(ROOT / "ds_zero3.json")
    assert recipe["train_micro_batch_size_per_gpu"] == 1
    assert recipe["gradient_accumulation_steps"] == 16
    assert recipe["zero_optimization"]["stage"] == 3
    assert recipe["bf16"]["enabled"]
    config, notes = complete(recipe, facts(world=8))
    config = with_schedule(config, 1000, 0.1)
    assert notes == []
    assert config["train_batch_size"] == 128
    assert config["optimizer"]["params"]["lr"] == 1e-3
    assert config["scheduler"]["params"]["total_num_steps"] == 1000
    assert config["scheduler"]["params"]["warmup_num_steps"] == 100
    assert config["scheduler"]["params"]["warmup_type"] == "linear"
    assert '"auto"' not in json.dumps(config)


def test_an_option_fills_auto_and_nothing_else() -> None:
    """Where the JSON says auto the option holds, where both say the same they hold, where they differ it is an error."""
    assert complete({"optimizer": {"type": "AdamW", "params": {"lr": "auto"}}}, facts(learning_rate=3e-4))[0]["optimizer"][
        "params"
    ]["lr"] == pytest.approx(3e-4)
    fixed = {"optimizer": {"type": "AdamW", "params": {"lr": 1e-4}}, "gradient_accumulation_steps": 4}
    assert complete(fixed, facts(learning_rate=1e-4, accumulation=4))[0]["train_batch_size"] == 8
    with pytest.raises(SettingsError, match=r"--learning-rate 0.001 contradicts lr 0.0001"):
        complete(fixed, facts(learning_rate=1e-3))
    with pytest.raises(SettingsError, match=r"--accumulation 2 contradicts gradient_accumulation_steps 4"):
        complete(fixed, facts(accumulation=2))
    with pytest.raises(SettingsError, match=r"train_batch_size 10, but .* are 8"):
        complete({**fixed, "train_batch_size": 10}, facts())


def test_what_a_cpu_cannot_do_is_adapted_and_said() -> None:
    """fp16, offloading and fused optimizers become what a CPU can; each change is named. A GPU's JSON stays."""
    config = {
        "fp16": {"enabled": True},
        "zero_optimization": {"stage": 3, "offload_optimizer": {"device": "cpu"}},
        "optimizer": {"type": "AdamW", "params": {"lr": 1e-4}},
    }
    adapted, notes = complete(config, facts(has_gpu=False))
    assert adapted["bf16"] == {"enabled": True}
    assert adapted["optimizer"]["params"]["torch_adam"]
    assert "offload_optimizer" not in adapted["zero_optimization"]
    assert len(notes) == 3
    kept, notes = complete(config, facts())
    assert notes == []
    assert kept["fp16"] == {"enabled": True}
    assert kept["zero_optimization"]["offload_optimizer"] == {"device": "cpu"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"zero_optimisation": {}}', "did you mean 'zero_optimization'"),
        ('{"xyzzy": 1}', "'xyzzy', which DeepSpeed does not know"),
        ("[1]", "must hold a JSON object"),
        ("{", "is no JSON"),
    ],
)
def test_a_bad_json_is_refused(tmp_path: Path, text: str, words: str) -> None:
    """Unknown keys, which DeepSpeed ignores in silence, and what is no JSON object."""
    path = tmp_path / "ds.json"
    path.write_text(text)
    with pytest.raises(SettingsError, match=words):
        read_json(path)


def test_a_schedule_without_a_default_for_auto_is_refused() -> None:
    """An "auto" that nothing fills in is named."""
    config, _ = complete({"scheduler": {"type": "OneCycle", "params": {"cycle_min_lr": "auto"}}}, facts())
    with pytest.raises(SettingsError, match=r"cycle_min_lr"):
        with_schedule(config, 10, 0.1)
