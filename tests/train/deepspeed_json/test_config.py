"""The DeepSpeed JSON: checked, completed, and never contradicted in silence."""

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.train.deepspeed_json.config import RunFacts, complete, read_json, with_schedule
from syntaxdiff.train.deepspeed_json.schema import known_keys
from syntaxdiff.train.deepspeed_json.sections import NOT_USED, REFUSED_WHERE_ON
from syntaxdiff.train.settings import Settings, parser, read_settings

ROOT = Path(__file__).resolve().parents[3]


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


def completed(config: dict[str, Any], **changes: Any) -> tuple[dict[str, Any], list[str]]:
    config, notes = complete(config, facts(**changes))
    return with_schedule(config, 1000, 0.1), notes


def test_the_recipe_at_the_root_is_the_papers() -> None:
    """One sample a rank, 16 accumulated, ZeRO-3, bf16; what it leaves open is filled in, and no "auto" is left."""
    recipe = read_json(ROOT / "ds_zero3.json")
    assert recipe["train_micro_batch_size_per_gpu"] == 1
    assert recipe["gradient_accumulation_steps"] == 16
    assert recipe["zero_optimization"]["stage"] == 3
    assert recipe["bf16"]["enabled"]
    config, notes = completed(recipe, world=8)
    assert len(notes) == 1
    assert notes[0].startswith('"auto" becomes')
    assert config["train_batch_size"] == 128
    assert config["optimizer"]["params"]["lr"] == 1e-3
    assert config["scheduler"]["params"]["total_num_steps"] == 1001  # so that the last step's rate is not 0
    assert config["scheduler"]["params"]["warmup_num_steps"] == 100
    assert config["scheduler"]["params"]["warmup_type"] == "linear"
    assert '"auto"' not in json.dumps(config)


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.json")), ids=lambda path: path.name)
def test_the_examples_are_complete(path: Path) -> None:
    """Every key is used, or filled in where it is left open."""
    config, notes = completed(read_json(path))
    assert '"auto"' not in json.dumps(config)
    assert all("becomes" in note for note in notes), notes


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.toml")), ids=lambda path: path.name)
def test_the_example_settings_are_settings(path: Path) -> None:
    """Names and values are those of options."""
    assert read_settings(parser().parse_args(["--config", str(path)])) != Settings()


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
    peak = {"scheduler": {"type": "WarmupLR", "params": {"warmup_max_lr": 1e-4}}}
    with pytest.raises(SettingsError, match=r"--learning-rate 0.001 contradicts scheduler.params.warmup_max_lr 0.0001"):
        complete(peak, facts(learning_rate=1e-3))


@pytest.mark.parametrize(
    ("given", "options", "expected"),
    [
        ({}, {}, (1, 16, 32)),
        ({"train_batch_size": "auto"}, {"micro_batch": 3}, (3, 16, 96)),
        ({"train_batch_size": 24, "train_micro_batch_size_per_gpu": 3}, {}, (3, 4, 24)),
        ({"train_batch_size": 24, "gradient_accumulation_steps": 3}, {}, (4, 3, 24)),
        ({"train_batch_size": 24, "gradient_accumulation_steps": "auto"}, {}, (12, 1, 24)),
        ({"train_batch_size": 24, "gradient_accumulation_steps": "auto"}, {"micro_batch": 6}, (6, 2, 24)),
        ({"train_batch_size": 24.0}, {"accumulation": 2}, (6, 2, 24)),
        ({"train_batch_size": 25}, {}, "train_batch_size 25, but 12 a micro-batch x 1 accumulated x 2 ranks are 24"),
        ({"train_batch_size": 24, "train_micro_batch_size_per_gpu": 5}, {}, "train_batch_size 24, but .* are 20"),
        ({"train_batch_size": 10}, {"micro_batch": 1, "accumulation": 4}, "train_batch_size 10, but .* are 8"),
    ],
)
def test_two_batch_sizes_decide_the_third(
    given: dict[str, Any], options: dict[str, Any], expected: tuple[int, int, int] | str
) -> None:
    """Micro-batch, accumulation and whole batch on two ranks, inferred as DeepSpeed does; what does not divide is refused."""
    keys = ("train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "train_batch_size")
    if isinstance(expected, str):
        with pytest.raises(SettingsError, match=expected):
            complete(given, facts(**options))
        return
    config, _ = complete(given, facts(**options))
    assert tuple(config[key] for key in keys) == expected


@pytest.mark.parametrize(
    ("bf16", "fp16", "machine", "expected"),
    [
        ("auto", "auto", {}, (True, False)),
        ("auto", None, {}, (True, None)),
        (None, "auto", {}, (True, False)),
        ("auto", "auto", {"has_bf16": False}, (False, True)),
        (False, "auto", {}, (False, True)),
        ("auto", True, {}, (False, True)),
        (True, "auto", {"has_bf16": False}, (True, False)),  # which DeepSpeed refuses
        ("auto", None, {"has_bf16": False}, (False, None)),
        ("auto", "auto", {"has_gpu": False}, (True, False)),
        (False, "auto", {"has_gpu": False}, (False, False)),
        (None, True, {"has_gpu": False}, (True, False)),
        (None, None, {}, (None, None)),
    ],
)
def test_auto_precision_is_what_the_hardware_has(
    bf16: Any, fp16: Any, machine: dict[str, Any], expected: tuple[Any, Any]
) -> None:
    """bfloat16 where the hardware has it and it is not switched off, else float16 on a GPU; float32 is never unnamed."""
    given = {name: {"enabled": value} for name, value in (("bf16", bf16), ("fp16", fp16)) if value is not None}
    config, notes = complete(given, facts(**machine))
    assert tuple(config.get(name, {}).get("enabled") for name in ("bf16", "fp16")) == expected
    for name, value in (("bf16", bf16), ("fp16", fp16)):
        if value == "auto":
            assert any(f"{name}.enabled {str(config[name]['enabled']).lower()}" in note for note in notes)


def test_every_auto_is_filled_in_or_refused_by_its_key() -> None:
    """With "auto" in the place of each value that DeepSpeed knows, none is left, or the message has the dotted key."""

    def places(keys: Any, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
        for name, kind in keys.items():
            yield (*prefix, name)
            yield from places(kind.keys or {}, (*prefix, name))

    found = list(places(known_keys()))
    parameters = ("lr", "betas", "eps", "weight_decay", "amsgrad", "torch_adam", "foreach")
    found += [("optimizer", "params", name) for name in parameters]
    schedule = (
        "total_num_steps",
        "warmup_num_steps",
        "warmup_min_ratio",
        "warmup_type",
        "cos_min_ratio",
        "last_batch_iteration",
    )
    found += [("scheduler", "params", name) for name in schedule]
    assert len(found) > 100
    for place in found:
        config: dict[str, Any] = {"aio": {}}
        inner = config
        for name in place[:-1]:
            inner = inner.setdefault(name, {})
        inner[place[-1]] = "auto"
        refusal: str | None = None
        done: dict[str, Any] = {}
        try:
            done, _ = completed(config)
        except SettingsError as error:
            refusal = str(error)
        if refusal is not None:
            assert ".".join(place) in refusal
            continue
        done.get("data_types", {}).pop("keep_in_fp32_modules", None)  # here "auto" is DeepSpeed's own word
        done["zero_optimization"].pop("zenflow", None)  # and here
        assert '"auto"' not in json.dumps(done), place


def test_the_optimizer_and_the_clipping_have_their_defaults() -> None:
    """Those of transformers: betas, eps, no weight decay, clipping at 1."""
    auto = dict.fromkeys(("lr", "betas", "eps", "weight_decay"), "auto")
    config, _ = completed({"gradient_clipping": "auto", "optimizer": {"type": "AdamW", "params": auto}})
    assert config["optimizer"]["params"] == {"lr": 1e-3, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.0}
    assert config["gradient_clipping"] == 1.0


@pytest.mark.parametrize(
    "key", ["comms_config", "_comment", "#remark", "// why", "comment", "zero3_init_flag", "monitor_config"]
)
def test_what_deepspeed_does_not_read_is_named(key: str) -> None:
    """At the top and in sections; it does not reach DeepSpeed."""
    config, notes = completed({key: {"enabled": True}, "zero_optimization": {"stage": 2, "_comment": "x"}})
    assert key not in config
    assert "_comment" not in config["zero_optimization"]
    assert any(note.startswith(f"{key} is not used") for note in notes)
    assert any(note.startswith("zero_optimization._comment is not used") for note in notes)


@pytest.mark.parametrize("name", [*NOT_USED, *REFUSED_WHERE_ON])
def test_a_section_is_used_named_or_refused(name: str) -> None:
    """What is switched off is named; what asks for another training is refused where it is on."""
    _, notes = completed({name: {"sparse_attention": {}, "sequence_parallel_size": 1}.get(name, {"enabled": False})})
    assert any(note.startswith(f"{name} is not used") for note in notes)
    if name in REFUSED_WHERE_ON:
        on: Any = {"tensor_parallel": {"autotp_size": 2}, "sequence_parallel_size": 2, "sparse_gradients": True}
        with pytest.raises(SettingsError, match=f"asks for {name}: "):
            completed({name: on.get(name, {"enabled": True})})


REFUSALS = [
    ({"zero_optimisation": {}}, "did you mean 'zero_optimization'"),
    ({"gradient_clip": 1}, "'gradient_clip', .* did you mean 'gradient_clipping'"),
    ({"zero_optimization": {"stag": 3}}, "'zero_optimization.stag', .* did you mean 'stage'"),
    ({"zero_optimization": {"offload_optimizer": {"devise": "cpu"}}}, "'zero_optimization.offload_optimizer.devise'"),
    ({"zero_optimization": {"stage": "3"}}, 'zero_optimization.stage "3": it must be 0, 1, 2 or 3'),
    ({"zero_optimization": {"stage": 4}}, "zero_optimization.stage 4"),
    ({"zero_optimization": {"stage": True}}, "zero_optimization.stage true"),
    ({"zero_optimization": None}, "zero_optimization null: it must be an object"),
    ({"zero_optimization": {"overlap_comm": "true"}}, 'overlap_comm "true": it must be true or false'),
    ({"zero_optimization": {"mics_shard_size": 2}}, "zero_optimization.mics_shard_size"),
    ({"zero_optimization": {"stage": 3, "zero_hpz_partition_size": 3}}, "zero_hpz_partition_size 3, which does not divide 2"),
    ({"zero_optimization": {"stage": 3, "offload_param": {"device": "nvme"}}}, "offload_param.nvme_path"),
    ({"train_micro_batch_size_per_gpu": 2.5}, "train_micro_batch_size_per_gpu 2.5: it must be a whole number of at least 1"),
    ({"train_micro_batch_size_per_gpu": 0}, "train_micro_batch_size_per_gpu 0"),
    ({"gradient_accumulation_steps": "4"}, 'gradient_accumulation_steps "4"'),
    ({"gradient_clipping": None}, "gradient_clipping null"),
    ({"gradient_clipping": -1}, "gradient_clipping -1: it must be a number of at least 0"),
    ({"steps_per_print": 0}, "steps_per_print 0"),
    ({"bf16": True}, "bf16 true: it must be an object"),
    ({"bf16": {"enabled": "yes"}}, 'bf16.enabled "yes"'),
    ({"bf16": {"enabled": True}, "fp16": {"enabled": True}}, "bf16.enabled and fp16.enabled true"),
    ({"bf16": {}, "bfloat16": {}}, "both bf16 and bfloat16"),
    ({"fp16": {"enabled": True, "loss_scale": "dynamic"}}, "fp16.loss_scale"),
    ({"optimizer": "AdamW"}, 'optimizer "AdamW": it must be an object'),
    ({"optimizer": {"type": 3}}, "optimizer.type 3"),
    ({"optimizer": {"type": "AdamW", "params": []}}, "optimizer.params"),
    ({"optimizer": {"type": "AdanW"}}, "optimizer.type \"AdanW\": did you mean 'AdamW'"),
    ({"optimizer": {"type": "OneBitAdam"}}, "no longer has 1-bit optimizers"),
    ({"optimizer": {"type": "FusedAdam"}}, 'optimizer.type "FusedAdam"'),
    ({"optimizer": {"type": "SGD"}}, '"zero_allow_untested_optimizer" is true'),
    ({"optimizer": {"type": "AdamW", "params": {"lr": "1e-4"}}}, 'optimizer.params.lr "1e-4": it must be a number'),
    ({"optimizer": {"type": "AdamW", "params": {"lr": None}}}, "optimizer.params.lr null"),
    ({"optimizer": {"type": "AdamW", "params": {"betas": [0.9]}}}, "optimizer.params.betas .* a list of 2 numbers below 1"),
    ({"optimizer": {"type": "AdamW", "params": {"beta": [0.9, 0.95]}}}, "optimizer.params.beta', .* did you mean 'betas'"),
    ({"optimizer": {"type": "AdamW", "params": {"momentum": 0.9}}}, "optimizer.params.momentum, which the optimizer AdamW"),
    ({"optimizer": {"type": "AdamW", "params": {"max_grad_norm": 1.0}}}, "gradient_clipping instead"),
    ({"scheduler": {"type": "WarmupDecay"}}, "did you mean 'WarmupDecayLR'"),
    ({"scheduler": {"type": "CosineAnnealingLR"}}, 'scheduler.type "CosineAnnealingLR"'),
    ({"scheduler": {"type": "WarmupLR", "params": {"warmup_num_steps": "10"}}}, 'scheduler.params.warmup_num_steps "10"'),
    ({"scheduler": {"type": "WarmupLR", "params": {"warmup_type": "cosine"}}}, "scheduler.params.warmup_type"),
    ({"scheduler": {"type": "WarmupLR", "params": {"total_num_steps": 9}}}, "scheduler.params.total_num_steps, which the"),
    ({"scheduler": {"type": "OneCycle", "params": {"cycle_min_lr": "auto"}}}, 'scheduler.params.cycle_min_lr "auto"'),
    ({"data_types": {"grad_accum_dtype": "fp8"}}, "data_types.grad_accum_dtype"),
    ({"zero_optimization": {"stage": 0}, "bf16": {"enabled": True}, "data_types": {"grad_accum_dtype": "fp32"}}, "stage 1"),
    ({"wandb": {"enabled": True}}, "wandb.enabled true, but the package wandb is not installed"),
    ({"wandb": True}, "wandb true: it must be an object"),
    ({"gradient_allreduce_op": "sum"}, "gradient_allreduce_op"),
    ({"managed_gradient_accumulation": False}, "managed_gradient_accumulation"),
]  # fmt: skip


@pytest.mark.parametrize(("config", "words"), REFUSALS)
def test_what_cannot_be_is_refused_by_its_key(config: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Misspelt keys, values of another kind, and what DeepSpeed or the trainer cannot do: one line with the dotted key."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "wandb" else find(name, *rest))
    with pytest.raises(SettingsError, match=words) as caught:
        completed(config)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("zero", "expected"),
    [
        (True, {"stage": 1}),
        ({"stage": 2, "cpu_offload": True}, {"stage": 2, "offload_optimizer": {"device": "cpu"}}),
        ({"stage": 2, "cpu_offload": False}, {"stage": 2}),
        ({"stage": 3, "elastic_checkpoint": True}, {"stage": 3}),
        ({"stage": 3, "sub_group_size": 1e9}, {"stage": 3, "sub_group_size": 1_000_000_000}),
        ({"stage": 1, "compute_grad_norm": False}, {"stage": 1, "compute_grad_norm": True}),
        ({"stage": 2, "offload_param": {"device": "cpu"}}, {"stage": 2}),
        (
            {"stage": 3, "stage3_gather_fp16_weights_on_model_save": True},
            {"stage": 3, "stage3_gather_16bit_weights_on_model_save": True},
        ),
    ],
)
def test_old_ways_to_write_zero_are_understood(zero: Any, expected: dict[str, Any]) -> None:
    """They become what DeepSpeed 0.19 reads."""
    assert completed({"zero_optimization": zero})[0]["zero_optimization"] == expected


def test_a_stage_that_computes_something_else_is_replaced_by_name() -> None:
    """float16 under stage 0, float32 accumulation under stage 1, Adagrad under stage 0."""
    cases: list[tuple[dict[str, Any], int]] = [
        ({"fp16": {"enabled": True}, "zero_optimization": {"stage": 0}}, 1),
        ({"bf16": {"enabled": True}, "zero_optimization": {"stage": 1}, "data_types": {"grad_accum_dtype": "fp32"}}, 2),
        ({"bf16": {"enabled": True}, "zero_optimization": {"stage": 0}, "optimizer": {"type": "Adagrad"}}, 1),
        ({"bf16": {"enabled": True}, "zero_optimization": {"stage": 0}}, 0),
    ]
    for given, stage in cases:
        config, notes = completed(given)
        assert config["zero_optimization"]["stage"] == stage
        assert any(f"becomes {stage}" in note for note in notes) == (stage != given["zero_optimization"]["stage"])


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
    with pytest.raises(SettingsError, match="needs a GPU"):
        complete({"optimizer": {"type": "Lion"}}, facts(has_gpu=False))


@pytest.mark.parametrize("kind", ["WarmupCosineLR", "WarmupDecayLR", "WarmupLR"])
@pytest.mark.parametrize(("total", "share"), [(1, 0.1), (2, 0.5), (3, 0.0), (10, 0.1), (1000, 0.1)])
def test_no_step_is_taken_at_a_rate_of_zero(kind: str, total: int, share: float) -> None:
    """DeepSpeed's own schedules, stepped as the engine steps them: every rate of the run is above 0, and at most the peak."""
    config, _ = complete({"scheduler": {"type": kind, "params": {}}}, facts())
    rates = _rates(with_schedule(config, total, share), total)
    assert all(0 < rate <= 1e-3 + 1e-12 for rate in rates), rates


def test_an_older_schedule_ends_at_zero() -> None:
    """With ends_at_zero the numbers are those of runs begun before: the last rate is 0."""
    config, _ = complete({}, facts())
    rates = _rates(with_schedule(config, 10, 0.1, ends_at_zero=True), 10)
    assert rates[-1] == pytest.approx(0, abs=1e-12)
    assert rates[-2] > 0


def _rates(config: dict[str, Any], total: int) -> list[float]:
    from deepspeed.runtime import lr_schedules

    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=config["optimizer"]["params"]["lr"])
    schedule = getattr(lr_schedules, config["scheduler"]["type"])(optimizer, **config["scheduler"]["params"])
    rates = []
    for _ in range(total):
        schedule.step()
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1]", "must hold a JSON object"),
        ("{", "is not JSON"),
        ('{"bf16": {}, "bf16": {}}', "has the key 'bf16' twice"),
    ],
)
def test_a_bad_json_is_refused(tmp_path: Path, text: str, words: str) -> None:
    """What is not a JSON object, or says the same twice."""
    path = tmp_path / "ds.json"
    path.write_text(text)
    with pytest.raises(SettingsError, match=words):
        read_json(path)


def test_json_with_remarks_is_read_as_deepspeed_reads_it(tmp_path: Path) -> None:
    """Comments and trailing commas are Hjson's; a byte order mark is no content."""
    path = tmp_path / "ds.json"
    path.write_text('\ufeff{\n  // the stage\n  "zero_optimization": {"stage": 2},\n}\n', "utf-8")
    assert read_json(path) == {"zero_optimization": {"stage": 2}}
