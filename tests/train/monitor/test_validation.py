"""The validation's rates, what it says of few samples, and which of its losses judges."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syntaxdiff.train.corruption.config import MIN_RATE
from syntaxdiff.train.monitor.progress import Progress
from syntaxdiff.train.monitor.validation import LEAST_EFFECTIVE, Validation, sample_rates, validation_of
from syntaxdiff.train.settings import Settings


def validation(strategy: str, effective_samples: float, loss: float = 3.0) -> Validation:
    """Losses of one strategy."""
    objective = "region-share" if strategy == "ast-span" else "inverse-rate"
    return Validation(
        strategy=strategy, objective=objective, loss=loss, effective_samples=effective_samples, by_rate={}, by_region={}
    )


@given(st.integers(1, 500))
def test_rates_are_stratified(num_samples: int) -> None:
    """Each of as many equal parts of (0, 1] as there are samples has one rate; a count fixes them."""
    rates = sample_rates(num_samples)
    part = np.floor((rates - MIN_RATE) / (1 - MIN_RATE) * num_samples).astype(int)
    assert sorted(part.tolist()) == list(range(num_samples))
    assert (rates == sample_rates(num_samples)).all()


def test_few_effective_samples_are_named() -> None:
    """Below the threshold there is a warning with the figure, the masks and the weights; from it on there is none."""
    assert validation("random", LEAST_EFFECTIVE).warning is None
    warning = validation("ast-span", 2.53).warning
    assert warning is not None
    assert all(words in warning for words in ("under ast-span masks", "region-share", "2.5 effective samples"))


def test_the_warning_is_printed_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Masks are fixed, so that a run's validations all stand on the same samples: once is enough, for each strategy."""
    progress = Progress(tmp_path, None, first=0, total=9, is_first=True, flops=None)
    for step in (3, 6, 9):
        progress.validation(step, [validation("ast-span", 2.5), validation("random", 150)], None)
    progress.close()
    printed = capsys.readouterr().out
    assert printed.count("effective samples") == 1
    assert printed.count("validation loss ast-span 3.0000, random 3.0000") == 3


def test_the_judge_is_named_and_not_the_first() -> None:
    """Uniform masks choose the best checkpoint unless the strategy's are asked for, in whichever order losses come."""
    losses = [validation("ast-span", 99, loss=1.0), validation("random", 99, loss=2.0)]
    for several in (losses, losses[::-1]):
        assert validation_of(several, Settings().settled(None).judge).loss == 2.0
        assert validation_of(several, Settings(best_by="strategy").settled(None).judge).loss == 1.0
    assert validation_of(losses, Settings(strategy="random", best_by="strategy").settled(None).judge).loss == 2.0
