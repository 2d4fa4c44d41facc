"""The trainer: shards in, a denoiser out. ``trainer.train`` reads from top to bottom as a run does.

``run.py`` is the script that DeepSpeed's launcher starts, ``session.py`` puts a run together. The rooms: data, corruption,
model, engine, deepspeed_json, monitor; imports brings weights from other programs' files.
"""

from typing import TYPE_CHECKING

from syntaxdiff.pipeline.lazy_names import lazy

if TYPE_CHECKING:
    from syntaxdiff.train.engine.checkpoints import RunState as RunState
    from syntaxdiff.train.settings import Settings as Settings
    from syntaxdiff.train.trainer import train as train

    __version__: str

__all__ = [
    "RunState",
    "Settings",
    "__version__",
    "train",
]

__getattr__ = lazy(
    __name__,
    {
        "RunState": "engine.checkpoints",
        "Settings": "settings",
        "train": "trainer",
    },
)
