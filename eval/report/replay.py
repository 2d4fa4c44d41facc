"""Training runs on their own validation samples, in a report: what strategies mask of one, and how a model writes others.

Both need the run's shards where its settings say they are, and a replay the exported model. Masks are those of draw.py.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

from syntaxdiff.eval.inference.answer import in_order
from syntaxdiff.eval.inference.checkpoint import load_checkpoint
from syntaxdiff.eval.inference.config import GenerationConfig
from syntaxdiff.eval.inference.steps import HIDDEN, SPECIAL, Cell, Steps, steps_of
from syntaxdiff.eval.masks.draw import Masks, Subject, draw_masks, pieces, read_subject
from syntaxdiff.eval.report.findings import Training
from syntaxdiff.eval.report.markup import Content, Html, element, embedded, joined, preformatted
from syntaxdiff.pipeline.errors import ShardError, SyntaxdiffError
from syntaxdiff.pipeline.inspection.display import visible
from syntaxdiff.pipeline.shard import Manifest, Region, SampleRow, iter_shard, read_manifest
from syntaxdiff.train.corruption.config import CorruptionConfig
from syntaxdiff.train.corruption.noise import Noise
from syntaxdiff.train.corruption.operators import Operator

SPLIT = "validation"
CODE_TOKENS = range(40, 160)  # of a sample to look at, where there is one: the trainer's preview takes the same
MASK_RATES = (0.3, 0.7)
BESIDE = ("random", "ast-span")  # strategies that are shown whatever the runs had
REPLAY = GenerationConfig(gen_length=128, num_steps=64)  # 64 forward passes: seconds for a small model on a CPU
TINTED = "Tokens are coloured by the step that wrote them, from first to last: "
TINTS = 6  # classes t0 to t5 of the page, by when a token was written
_LINE_STARTS = re.compile(r"(\n[ \t]*)")


class Shards(NamedTuple):
    """The data that a run was trained on."""

    folder: Path
    manifest: Manifest


def shards_of(run: Training) -> Shards:
    """The shards of a run.

    Raises:
        ShardError: they are not where the run's settings say, or are others by now
    """
    folder = Path(str(run.settings.data))
    manifest = read_manifest(folder)
    if run.info.data_fingerprint not in (None, manifest.fingerprint):
        raise ShardError(f"{folder} holds other shards than {run.name} was trained on")
    if manifest.num_samples(SPLIT) == 0:
        raise ShardError(f"{folder} holds no {SPLIT} samples")
    return Shards(folder, manifest)


# ---------------------------------------------------------------------------------------------------------------------- masks


def mask_panels(shards: Shards, runs: Sequence[Training]) -> Html:
    """One validation sample as the strategies of runs on the same data mask it, each at two rates; never one strategy alone."""
    configs = {strategy: CorruptionConfig(strategy=strategy) for strategy in BESIDE}
    for run in runs:
        if strategy := run.settings.strategy:
            configs[strategy] = CorruptionConfig(strategy=strategy, max_span_share=run.settings.max_span_share)
    return masked_sample(shards, list(configs.values()), seed=runs[0].settings.seed)


def masked_sample(shards: Shards, configs: Sequence[CorruptionConfig], *, seed: int) -> Html:
    """The first validation sample of a good size to look at, as each configuration masks it at two rates."""
    lengths = (len(row.role) for row in _rows(shards))
    index = next((place for place, length in enumerate(lengths) if length in CODE_TOKENS), 0)
    subject = read_subject(shards.folder, SPLIT, index)
    panels = [
        _masked_panel(subject, draw_masks(subject, config, Noise.fixed(rate, 1), seed=seed, epoch=0))
        for config in configs
        for rate in MASK_RATES
    ]
    return joined(
        (
            element("h3", f"Masks of one sample of {shards.folder}"),
            element("p", f"{subject.row.sample_id}, {subject.row.language}. ", *_LEGEND, class_="remark"),
            element("div", *panels, class_="panels"),
        )
    )


_LEGEND = (element("mark", "masked subtree", class_="o1"), " ", element("mark", "masked token", class_="token"))


def _masked_panel(subject: Subject, masks: Masks) -> Html:
    count, total = masks.share(Region.CODE, subject)
    drawn: list[Content] = []
    for text, operator, unit in pieces(subject, masks, *subject.interval(Region.CODE)):
        # Line ends and indentation stay plain, except where a stretch begins in it.
        for part in _LINE_STARTS.split(text):
            if operator == Operator.NONE or part.startswith("\n") or not part:
                drawn.append(part)
            elif unit < 0:
                drawn.append(element("mark", part, class_="token"))
            else:
                drawn.append(element("mark", part, class_="o1", title=masks.units[unit].kind))
    head = element("h4", f"{masks.strategy}, rate {masks.mask_rate:g}", element("small", f"{count} of {total} code tokens"))
    return element("div", head, element("pre", *drawn), class_="panel")


def _rows(shards: Shards) -> Iterator[SampleRow]:
    """The validation samples in order."""
    return chain.from_iterable(iter_shard(shards.folder, shard) for shard in shards.manifest.splits[SPLIT])


# -------------------------------------------------------------------------------------------------------------------- replays


def replay_panels(run: Training, shards: Shards, count: int, device: str) -> Html:
    """How the exported model writes programs, step by step: each behind all that stands before a validation sample's code.

    Raises:
        SettingsError: the run has no exported model, or the model has no room
        TokenizerError: its tokenizer cannot be read
    """
    checkpoint = load_checkpoint(str(run.folder), device=device)
    most = checkpoint.max_positions
    fitting = (
        (row.sample_id, prompt)
        for row in _rows(shards)
        if (prompt := _before_code(row)) and (most is None or len(prompt) + REPLAY.gen_length <= most)
    )
    chosen = list(islice(fitting, count))
    if not chosen:
        raise SyntaxdiffError(f"no {SPLIT} sample of {shards.folder} leaves {run.name} room for {REPLAY.gen_length} tokens")
    prompts = [prompt for _, prompt in chosen]
    answers = in_order(checkpoint.generate(prompts, REPLAY, with_trace=True))
    panels = []
    for (sample_id, prompt), answer in zip(chosen, answers, strict=True):
        assert answer.trace is not None
        steps = steps_of(checkpoint, len(prompt), answer.trace)
        panels.append(steps_panel(sample_id, checkpoint.text_between(prompt, 0, len(prompt)), steps))
    return joined(
        (
            element("h3", f"Denoising, step by step, {run.name}"),
            element("p", _REMARK, tint_legend(), class_="remark"),
            element("div", *panels, class_="panels"),
        )
    )


_REMARK = (
    f"Up to {REPLAY.gen_length} tokens in {REPLAY.num_steps} steps, blocks of {REPLAY.block_length}, the most confident first. "
    f"{TINTED}"
)


def _before_code(row: SampleRow) -> list[int]:
    """Prompt, reasoning and opening fence; nothing for a sample without code."""
    (runs,) = (row.region_label == Region.CODE).nonzero()
    if not len(runs) or runs[0] == 0:
        return []
    start = int(row.region_end[runs[0] - 1])
    ids: list[int] = row.input_ids[:start].tolist()
    return ids


def steps_panel(title: str, prompt: str, steps: Steps) -> Html:
    """The answer as it is in the end, each token tinted by its step; the page's script goes through the steps."""
    last: dict[int, tuple[int, Cell]] = {}
    for number, step in enumerate(steps):
        for one in step:
            last[one.offset] = (number, one)
    drawn = [_token(number * TINTS // len(steps), number, one) for _, (number, one) in sorted(last.items())]
    slider = element("input", type="range", min=0, max=len(steps), value=len(steps), step=1, aria_label="denoising step")
    return element(
        "div",
        element("h4", title, element("small", f"{len(steps)} steps")),
        element("details", element("summary", "what stood before"), preformatted(prompt, "wrapped")) if prompt else None,
        element("div", element("button", "Play", type="button"), slider, element("output"), class_="control", hidden=True),
        element("pre", *drawn, class_="canvas"),
        embedded([[(one.offset, visible(one.text), one.kind) for one in step] for step in steps]),
        class_="panel replay",
    )


def _token(tint: int, number: int, one: Cell) -> Html:
    kind = {HIDDEN: "hidden", SPECIAL: f"special t{tint}"}.get(one.kind, f"t{tint}")
    return element("span", visible(one.text) or " ", class_=kind, title=f"step {number + 1}")


def tint_legend() -> Html:
    """The colours of steps, from the first to the last."""
    return element("span", *(element("span", " ", class_=f"swatch t{tint}") for tint in range(TINTS)), class_="swatches")
