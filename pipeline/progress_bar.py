"""A bar on standard error, for prep, the trainer and evaluations alike."""

from typing import Any

from tqdm import tqdm


class ProgressBar:
    """How far something is, its rate and the time left, on standard error.

    The bar appears with the first ``show``, and a new one with each other description or total. Where standard error is not a
    terminal, nothing is drawn. What was done before the first ``show`` does not count into the rate.

    Args:
        stays: whether the finished bar remains on the screen
    """

    def __init__(self, *, stays: bool = True) -> None:
        self._stays = stays
        self._bar: tqdm[Any] | None = None
        self._shown: tuple[str, int | None] = ("", None)  # description and total

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def is_drawn(self) -> bool:
        """Whether a person sees the bar: it has appeared, and standard error is a terminal."""
        return self._bar is not None and not self._bar.disable

    @property
    def seconds(self) -> float:
        """Time since the bar appeared; more than 0."""
        return (0.0 if self._bar is None else self._bar.format_dict["elapsed"]) or 1e-9

    def show(self, done: int, total: int | None, description: str, *, unit: str = "it", note: str = "") -> None:
        """Shows a state.

        Args:
            done: units that are done, those of an earlier run among them
            total: number of units; None where it is unknown
            description: what is being done, in front of the bar
            unit: what is counted; ``bytes`` are written with prefixes
            note: what came out so far, after the bar
        """
        if self._bar is None or self._shown != (description, total):
            self.close()
            self._shown = description, total
            self._bar = tqdm(
                total=total,
                initial=done,
                unit={"it": "it", "bytes": "B"}.get(unit, f" {unit}"),
                unit_scale=unit == "bytes",
                desc=description,
                leave=self._stays,
                dynamic_ncols=True,
                disable=None,  # not drawn into a log
            )
        has_advanced = done > self._bar.n
        self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(done - self._bar.n)
        if not has_advanced:
            self._bar.refresh()

    def close(self) -> None:
        """Ends the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
