"""Bars on standard error while shards are read or verified."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from syntaxdiff.pipeline.inspection.verification import Verified
from syntaxdiff.pipeline.shard import read_manifest


class VerifyBar:
    """A bar for a verification on standard error: samples, and tokens a second."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None

    def __enter__(self) -> "VerifyBar":
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, verified: Verified) -> None:
        """Shows a state."""
        if self._bar is None:
            self._bar = tqdm(
                total=verified.total, unit=" samples", desc="verifying", leave=False, disable=None, dynamic_ncols=True
            )
        seconds = self._bar.format_dict["elapsed"] or 1e-9
        self._bar.set_postfix_str(f"{verified.tokens / seconds / 1e6:.2f} Mtok/s", refresh=False)
        self._bar.update(verified.samples - self._bar.n)


@contextmanager
def shard_bar(folder: Path, verb: str) -> Iterator[Callable[[str], None]]:
    """A bar over the shards of a folder; the function to call when one is through."""
    manifest = read_manifest(folder)
    with tqdm(total=sum(map(len, manifest.splits.values())), desc=verb, unit=" shards", leave=False, disable=None) as bar:
        yield lambda shard: bar.update()
