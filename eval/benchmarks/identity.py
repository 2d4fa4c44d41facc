"""What identifies the model of an evaluation, and the machine that its times and last digits depend on.

Settings of generation are not covered here: they are in effect.py.
"""

from hashlib import sha256

import torch

from syntaxdiff.eval.benchmarks.outcome import Machine
from syntaxdiff.eval.benchmarks.stored_settings import CheckpointIdentity
from syntaxdiff.eval.inference.language_model import Described, LanguageModel

_FINGERPRINT_BYTES = 1 << 20  # of both ends of a file of weights


def checkpoint_identity(model: Described) -> CheckpointIdentity:
    """Identifies a checkpoint wherever it is: kind, step, and a digest of both ends of its files of weights."""
    content = sha256((model.folder / "config.json").read_bytes())
    for path in sorted((*model.folder.glob("*.safetensors"), *model.folder.glob("*.bin"))):
        with path.open("rb") as file:
            size = path.stat().st_size
            content.update(f"{path.name} {size}\n".encode() + file.read(_FINGERPRINT_BYTES))
            file.seek(max(0, size - _FINGERPRINT_BYTES))
            content.update(file.read())
    return CheckpointIdentity(
        kind=model.kind,
        step=None if model.info is None else model.info.step,
        sha256=content.hexdigest(),
        programs_alone=None if model.info is None else model.info.programs_alone,  # decides the preset `auto`
    )


def machine_of(model: LanguageModel, batch_size: int) -> Machine:
    """Device, precision, threads and batch size: what times, and the last digits of numbers, depend on besides the settings."""
    device = model.device
    return Machine(
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        dtype=dtype_of(model),
        threads=torch.get_num_threads(),
        batch_size=batch_size,
    )


def dtype_of(model: LanguageModel) -> str:
    """Precision of the weights, by its name in torch."""
    return str(next(model.model.parameters()).dtype).removeprefix("torch.")
