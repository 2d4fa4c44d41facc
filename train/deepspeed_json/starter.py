"""The DeepSpeed JSON that a run starts from where the user has none: the paper's recipe, the same as the project's own file."""

import json
from pathlib import Path

from syntaxdiff.pipeline.shard import write_text
from syntaxdiff.train.deepspeed_json.help import STARTER
from syntaxdiff.train.deepspeed_json.kinds import DeepSpeedJson

RECIPE: DeepSpeedJson = {
    "train_micro_batch_size_per_gpu": 1,
    "gradient_accumulation_steps": 16,
    "gradient_clipping": 1.0,
    "bf16": {"enabled": "auto"},
    "zero_optimization": {
        "stage": 3,
        "overlap_comm": True,
        "contiguous_gradients": True,
        "reduce_bucket_size": "auto",
        "stage3_prefetch_bucket_size": "auto",
        "stage3_param_persistence_threshold": "auto",
    },
    "optimizer": {
        "type": "AdamW",
        "params": {"lr": "auto", "betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0.1, "torch_adam": True},
    },
    "scheduler": {"type": "WarmupCosineLR", "params": {"total_num_steps": "auto", "warmup_num_steps": "auto"}},
    "steps_per_print": 1_000_000_000,
}


def starter_json(folder: Path) -> Path:
    """The folder's ``ds_zero3.json``, written where there is none. For only one rank to call.

    Raises:
        StorageError: it is missing and cannot be written
    """
    path = folder / STARTER
    if path.exists():
        return path
    write_text(path, json.dumps(RECIPE, indent=2) + "\n")
    print(f"{path} was written: the paper's recipe. Change it as you like, or give another with --ds-config", flush=True)
    return path
