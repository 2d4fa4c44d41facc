"""What the DeepSpeed JSON may hold: every key that DeepSpeed reads, the values it takes, and what "auto" stands for.

Sections that DeepSpeed describes by pydantic models are those of the installed version; the others are written down here.
Whether a section is used at all is sections.py's; optimizers and schedulers are optimizer.py's.
"""

import difflib
import functools
import json
from collections.abc import Collection, Mapping
from typing import Any

from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.train.deepspeed_json.kinds import (
    REQUIRED,
    DeepSpeedJson,
    Kind,
    choice,
    flag,
    listed,
    number,
    of_model,
    optional,
    section,
    text,
    whole,
)

AUTO = "auto"
SIMILAR = 0.75  # from here a key that is not known is taken for a misspelt one (difflib's ratio)
REMARKS = ("comment", "comments", "description", "note", "notes", "name", "version", "$schema")
DTYPES = ("fp32", "float32", "float", "torch.float32", "bf16", "bfloat16", "torch.bfloat16", "fp16", "float16", "half")


@functools.cache
def known_keys() -> Mapping[str, Kind]:
    """Top-level keys that are handed to DeepSpeed."""
    from deepspeed.comm.config import CommsLoggerConfig
    from deepspeed.monitor.config import CometConfig, CSVConfig, TensorBoardConfig, WandbConfig
    from deepspeed.runtime.precision_config import DeepSpeedBF16Config, DeepSpeedFP16Config
    from deepspeed.runtime.zero.config import DeepSpeedZeroConfig

    model = {
        "bf16": DeepSpeedBF16Config, "fp16": DeepSpeedFP16Config, "zero_optimization": DeepSpeedZeroConfig,
        "tensorboard": TensorBoardConfig, "wandb": WandbConfig, "csv_monitor": CSVConfig, "comet": CometConfig,
        "comms_logger": CommsLoggerConfig,
    }  # fmt: skip
    return (
        {name: section(of_model(declared)) for name, declared in model.items()}
        | {
            "train_batch_size": whole(least=1),
            "train_micro_batch_size_per_gpu": whole(least=1),
            "gradient_accumulation_steps": whole(least=1),
            "gradient_clipping": number(1.0, least=0),
            "optimizer": section({"type": text("AdamW"), "params": section({}), "legacy_fusion": flag(False)}),
            "scheduler": section({"type": text("WarmupCosineLR"), "params": section({})}),
            "steps_per_print": optional(whole(None, least=1)),
            "prescale_gradients": flag(False),
            "gradient_predivide_factor": number(1.0, least=0),
            "gradient_allreduce_op": choice("mean", default="mean"),
            "communication_data_type": optional(choice("fp32", "fp16", "bf16")),
            "disable_allgather": flag(False),
            "disable_python_gc": flag(False),
            "dump_state": flag(False),
            "wall_clock_breakdown": flag(False),
            "memory_breakdown": flag(False),
            "zero_allow_untested_optimizer": flag(False),
            "zero_force_ds_cpu_optimizer": flag(True),
            "log_level": optional(text()),
            "checkpoint": section(
                {"tag_validation": choice("Warn", "Ignore", "Fail", "WARN", "IGNORE", "FAIL", default="Warn")}
            ),
            "data_types": section(
                {
                    "grad_accum_dtype": optional(choice(*DTYPES)),
                    "param_dtype": optional(choice(*DTYPES)),
                    "buffer_dtype": optional(choice(*DTYPES)),
                    "keep_in_fp32_modules": listed(str, "a list of strings", default=AUTO),
                }
            ),
            "torch_autocast": section(
                {
                    "enabled": flag(False),
                    "dtype": optional(choice(*DTYPES)),
                    "lower_precision_safe_modules": optional(listed(str, "a list of strings")),
                }
            ),
        }
        | _diagnostics()
    )


def _diagnostics() -> dict[str, Kind]:
    """Keys of what is measured on the way, and of asynchronous input and output."""
    from deepspeed.utils.config import DeepSpeedThroughputTimerConfig

    return {
        "flops_profiler": section(
            {
                "enabled": flag(False),
                "recompute_fwd_factor": number(0.0, least=0),
                "profile_step": whole(1, least=1),
                "module_depth": whole(-1),
                "top_modules": whole(1, least=1),
                "detailed": flag(True),
                "output_file": optional(text(None)),
            }
        ),
        "aio": section(
            {name: whole(least=1) for name in ("block_size", "queue_depth", "intra_op_parallelism", "thread_count")}
            | {name: flag() for name in ("single_submit", "overlap_events", "use_gds")}
        ),
        "timers": section({"throughput": section(of_model(DeepSpeedThroughputTimerConfig))}),
    }


def checked(given: DeepSpeedJson, keys: Mapping[str, Kind], notes: list[str], prefix: str = "") -> DeepSpeedJson:
    """A section with its values checked: 5e8 becomes a whole number where one is due, "auto" stays, unknown keys are left out.

    Args:
        notes: receives what is left out
        prefix: of the section's keys, for messages

    Raises:
        SettingsError: a misspelt key, or a value of another kind
    """
    kept = {}
    for key, value in given.items():
        name = f"{prefix}{key}"
        if key not in keys:
            unread(name, key, keys, notes)
            continue
        kind = keys[key]
        if value == AUTO:
            kept[key] = value
        elif not kind.accepts(value):
            raise SettingsError(f"the DeepSpeed JSON has {name} {_shown(value)}: it must be {kind.words}")
        elif kind.keys and isinstance(value, dict):
            kept[key] = checked(value, kind.keys, notes, f"{name}.")
        else:
            kept[key] = int(value) if kind.is_whole and value is not None else value
    return kept


def unread(name: str, key: str, keys: Collection[str], notes: list[str]) -> None:
    """Notes a key that is not read. Raises SettingsError where it looks like a misspelt one."""
    if not is_remark(key):
        near = difflib.get_close_matches(key, keys, 1, SIMILAR)
        if near:
            raise SettingsError(
                f"the DeepSpeed JSON has the key {name!r}, which DeepSpeed does not know: did you mean {near[0]!r}?"
            )
    notes.append(f"{name} is not used: DeepSpeed does not read it")


def is_remark(key: str) -> bool:
    """Whether a key holds a remark, for which JSON has no syntax."""
    return key.startswith(("_", "#", "//")) or key.lower() in REMARKS


def fill_defaults(config: DeepSpeedJson, keys: Mapping[str, Kind], prefix: str = "") -> None:
    """Replaces what is still "auto" by the default, in place; a default of None leaves the key out.

    Raises:
        SettingsError: nothing says what "auto" would be
    """
    for key, value in list(config.items()):
        kind = keys.get(key)
        if isinstance(value, dict) and kind is not None and kind.keys:
            fill_defaults(value, kind.keys, f"{prefix}{key}.")
        elif value == AUTO and kind is not None:
            if kind.default is REQUIRED:
                raise SettingsError(f'the DeepSpeed JSON has {prefix}{key} "auto", which nothing fills in: give a value')
            if kind.default is None:
                del config[key]
            else:
                config[key] = kind.default


def autos(config: DeepSpeedJson, prefix: str = "") -> list[str]:
    """Dotted names of the values that are "auto"."""
    found = []
    for key, value in config.items():
        if isinstance(value, dict):
            found += autos(value, f"{prefix}{key}.")
        elif value == AUTO:
            found.append(f"{prefix}{key}")
    return found


def _shown(value: Any) -> str:
    return json.dumps(value)[:60]
