"""Sizes of models from scratch by name, with the learning rates that suit them. Their weights are in presets.py."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A model from scratch, with the learning rate that suits it."""

    layers: int
    width: int
    inner: int
    heads: int
    learning_rate: float


PRESETS = {
    "nano": Preset(layers=3, width=128, inner=352, heads=4, learning_rate=4e-3),
    "tiny": Preset(layers=4, width=256, inner=704, heads=4, learning_rate=2e-3),
    "small": Preset(layers=8, width=512, inner=1408, heads=8, learning_rate=1e-3),
    "base": Preset(layers=12, width=768, inner=2048, heads=12, learning_rate=6e-4),
    "1b": Preset(layers=22, width=2048, inner=5632, heads=16, learning_rate=3e-4),
}
