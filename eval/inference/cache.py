"""Keys and values of a canvas kept between denoising steps, so that a step computes only a window of positions.

Fast-dLLM (Wu et al. 2025): a block's first step computes the whole canvas; later steps compute the block and all after it
(``prefix``) or only the block (``dual``), and attend to what was kept of the rest. With attention both ways this is an
approximation: kept keys and values do not see what was filled since. transformers' attention layers call ``update`` as they
would of their own caches. When a cache is refreshed is up to sampler.py.

Shapes: B canvases, H key-value heads, L positions, W positions of the window, E head width.
"""

from torch import Tensor


class KeyValues:
    """Keys and values of all positions of a batch of canvases, in every layer."""

    def __init__(self) -> None:
        self._layers: list[tuple[Tensor, Tensor]] = []
        self._window: Tensor | slice | None = None

    def select(self, window: Tensor | slice | None) -> None:
        """Names the positions that the next forward computes.

        Args:
            window: [B, W], or a slice of positions that is the same for all canvases (quicker to write); None: all of them,
                which are kept from then on
        """
        self._window = window
        if window is None:
            self._layers = []

    def keep_rows(self, rows: Tensor) -> None:
        """Keeps only some of the canvases, by index."""
        self._layers = [(keys[rows], values[rows]) for keys, values in self._layers]

    def update(self, keys_BHWE: Tensor, values_BHWE: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Puts a window's keys and values among those of its canvas, and returns the canvas's, [B, H, L, E].

        Keys are kept as attention takes them, in the precision of the values: they were rotated in float32.
        """
        keys_BHWE = keys_BHWE.to(values_BHWE.dtype)
        if self._window is None:
            assert layer == len(self._layers)
            self._layers.append((keys_BHWE.contiguous(), values_BHWE.contiguous()))
            return self._layers[layer]
        for kept, new in zip(self._layers[layer], (keys_BHWE, values_BHWE), strict=True):
            if isinstance(self._window, slice):
                kept[:, :, self._window] = new
            else:
                kept.scatter_(2, self._window[:, None, :, None].expand_as(new), new)
        return self._layers[layer]

    def get_query_offset(self, layer: int) -> int:
        """For transformers' masks, of which none is built: attention goes both ways."""
        return 0

    def get_mask_sizes(self, num_queries: int, layer: int) -> tuple[int, int]:
        """Number of keys and their offset, for the same."""
        return (self._layers[layer][0].shape[2] if self._window is not None else num_queries), 0
