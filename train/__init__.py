"""The trainer: shards in, a denoiser out. ``trainer.train`` reads from top to bottom as a run does.

``run.py`` is the script that DeepSpeed's launcher starts, ``session.py`` puts a run together. The rooms: data, corruption,
model, engine, deepspeed_json, monitor; imports brings weights from other programs' files. ``randomness.py`` has the random
numbers of masks, ``settings.py`` the options.
"""

from syntaxdiff.pipeline.lazy_names import public_names

__all__, __getattr__ = public_names(__name__, __file__)
