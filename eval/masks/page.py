"""Masks as one HTML file: strategies side by side, a slider over the mask rate. It needs nothing beside itself."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from syntaxdiff.eval.masks.draw import Masks, Subject, draw_masks, pieces
from syntaxdiff.pipeline.shard import Region, write_text
from syntaxdiff.train.corruption.config import CorruptionConfig
from syntaxdiff.train.corruption.noise import Noise

TEMPLATE = Path(__file__).with_name("masks.html")
RATES = tuple(step / 20 for step in range(21))


def write_page(
    path: Path, subject: Subject, configs: Sequence[CorruptionConfig], noise: Noise, *, seed: int, epoch: int
) -> None:
    """Writes the page; it opens at the rate of ``noise`` and steps through RATES, with the same draws at each.

    Raises:
        StorageError: the disk refused
    """
    rate = float(noise.rate_B[0])
    rates = sorted({*RATES, rate})
    panels = []
    for config in configs:
        frames = [
            _frame(subject, draw_masks(subject, config, replace(noise, rate_B=noise.rate_B * 0 + one), seed=seed, epoch=epoch))
            for one in rates
        ]
        panels.append({"strategy": config.strategy, "frames": frames})
    prompt_end = subject.interval(Region.PROMPT)[1]
    code_start = subject.interval(Region.CODE)[0]
    prompt = subject.texts(subject.row.input_ids.tolist(), (0, prompt_end))[0]
    data = {
        "sample_id": subject.row.sample_id,
        "facts": [subject.row.language, f"{subject.row.length:,} tokens", f"seed {seed}", f"epoch {epoch}"],
        "prompt": prompt,
        "has_reasoning": code_start > prompt_end,
        "rates": rates,
        "first": rates.index(rate),
        "panels": panels,
    }
    # `</script>` inside a program must not end the script.
    payload = json.dumps(data, ensure_ascii=True).replace("<", "\\u003c")
    write_text(path, TEMPLATE.read_text("utf-8").replace('"DATA"', payload))


def _frame(subject: Subject, masks: Masks) -> dict[str, Any]:
    """One draw: stretches [text, operator, unit] before the code and from it on, node kinds of the units, counts."""
    code_start, code_end = subject.interval(Region.CODE)
    prompt_end = subject.interval(Region.PROMPT)[1]
    code, total = masks.share(Region.CODE, subject)
    return {
        "before": [list(piece) for piece in pieces(subject, masks, prompt_end, code_start)],
        "code": [list(piece) for piece in pieces(subject, masks, code_start, code_end)],
        "kinds": [unit.kind for unit in masks.units],
        "masked": code,
        "total": total,
    }
