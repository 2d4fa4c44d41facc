"""What a person sees of a model in training: one program with masks, restored; and one written after a prompt.

The program, its masks and the prompt are fixed, so that previews at different steps, and of runs with different strategies,
show the same task.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import AutoTokenizer

from syntaxdiff.pipeline.shard import TOKENIZER, Manifest, SampleRow
from syntaxdiff.train.corruption.config import CorruptionConfig
from syntaxdiff.train.corruption.corrupt import corrupt, plan
from syntaxdiff.train.corruption.noise import Noise
from syntaxdiff.train.data.batch import check_row, collate
from syntaxdiff.train.data.loader import SampleStream
from syntaxdiff.train.model.denoiser import Inputs
from syntaxdiff.train.model.denoising_config import StepRule
from syntaxdiff.train.model.denoising_step import denoise, denoise_step, transfer_counts
from syntaxdiff.train.monitor.validation import SEED
from syntaxdiff.train.step import Stepper

CODE_TOKENS = range(40, 160)  # of the program that is shown, where there is such a one
MASK_RATE = 0.3
RESTORING_STEPS = 16
WRITTEN_TOKENS, WRITING_STEPS, BLOCK = 96, 48, 32
RIGHT, WRONG = ("⟦", "⟧"), ("⟪", "⟫")


class PreviewedRun(Protocol):
    """What a preview needs of a run, which is a session.Session.

    Attributes:
        data: the folder of shards
        engine: called with denoiser.Inputs
        validation_rows: to restore the first fitting one of; where there are none, the stream's next
    """

    data: Path
    manifest: Manifest
    device: torch.device
    engine: Any
    stepper: Stepper
    stream: SampleStream
    validation_rows: list[SampleRow]
    max_length: int


@dataclass(frozen=True)
class Preview:
    """What the weights of the time restore and write.

    Attributes:
        restored: the program; what was masked stands in ⟦ ⟧ where it came back right, in ⟪ ⟫ where it did not
        num_masked, num_right: tokens
        written: a program after the prompt, only from masks
    """

    restored: str
    num_masked: int
    num_right: int
    written: str

    def __str__(self) -> str:
        legend = f"{RIGHT[0]}right{RIGHT[1]} {WRONG[0]}wrong{WRONG[1]}"
        head = f"{self.num_right} of {self.num_masked} masked tokens restored: {legend}"
        return f"{head}\n{self.restored}\n- written from the prompt only:\n{self.written}"


def make_preview(run: PreviewedRun) -> Preview:
    """Restores and writes. Every rank must call it: under ZeRO-3 all take part in a forward pass."""
    rows = run.validation_rows or [next(run.stream.items()).row]
    tokenizer: Any = AutoTokenizer.from_pretrained(run.data / TOKENIZER)
    row = next((row for row in rows if len(row.role) in CODE_TOKENS), rows[0])
    code = slice(*check_row(row, run.manifest.languages))
    ids, is_masked = _masked(run, row)
    restored = _restore(run, ids)
    is_right = restored == torch.from_numpy(row.input_ids.astype("int64"))
    return Preview(
        restored=_marked(tokenizer, restored[code], is_masked[code], is_right[code]),
        num_masked=int(is_masked.sum()),
        num_right=int((is_masked & is_right).sum()),
        written=_write(run, tokenizer, row.input_ids[: code.start].tolist()),
    )


def _logits_of(run: PreviewedRun, rate: float) -> Callable[[Tensor], Tensor]:
    """The model on the run's device, for ids [1, L] of a mask rate; logits [1, L, V] on the CPU."""

    def logits_of(ids: Tensor) -> Tensor:
        with torch.no_grad():
            rate_BL = torch.full(ids.shape, rate, device=run.device)
            result: Tensor = run.engine(Inputs(ids.to(run.device), rate_BL=rate_BL))
            return result.cpu()

    return logits_of


def _masked(run: PreviewedRun, row: SampleRow) -> tuple[Tensor, Tensor]:
    """A sample with tokens masked at random, whatever the run's strategy: ids [L], and where the masks are."""
    config = CorruptionConfig(strategy="random")
    batch = collate([row], pad_id=run.manifest.token_ids.pad, languages=run.manifest.languages)
    decided = plan(batch, config, Noise.fixed(MASK_RATE, 1), seed=SEED, epoch=0).to(run.device)
    corrupted = corrupt(batch.to(run.device).tensors, decided, config, run.manifest.token_ids, run.stepper.tables)
    ids = corrupted.input_ids_BL[0].cpu()
    return ids, ids == run.manifest.token_ids.mask


def _restore(run: PreviewedRun, ids: Tensor) -> Tensor:
    """A canvas without its masks, the most confident positions filled first, wherever they are."""
    mask_id = run.manifest.token_ids.mask
    rule = StepRule(mask_id=mask_id, never=(mask_id,))
    logits_of = _logits_of(run, MASK_RATE)
    canvas = ids[None]
    for count in transfer_counts(int((ids == mask_id).sum()), RESTORING_STEPS):
        canvas = denoise_step(canvas, logits_of(canvas), rule, torch.tensor([count])).ids_BN
    return canvas[0]


def _write(run: PreviewedRun, tokenizer: Any, prompt: list[int]) -> str:
    """A program after the end of a prompt."""
    num_tokens = min(WRITTEN_TOKENS, run.max_length - 1)
    prompt = prompt[-(run.max_length - num_tokens) :]
    canvas = denoise(
        _logits_of(run, 0.5),
        prompt,
        num_tokens=num_tokens,
        num_steps=WRITING_STEPS,
        block=BLOCK,
        mask_id=run.manifest.token_ids.mask,
    )
    return str(tokenizer.decode(canvas))


def _marked(tokenizer: Any, ids: Tensor, is_masked: Tensor, is_right: Tensor) -> str:
    """Text of some tokens, with marks around what was masked."""
    states = (is_masked.int() + (is_masked & is_right).int()).tolist()  # 0 seen, 1 wrong, 2 right
    pieces, first = [], 0
    for last in range(1, len(states) + 1):
        if last < len(states) and states[last] == states[first]:
            continue
        opening, closing = (("", ""), WRONG, RIGHT)[states[first]]
        pieces.append(opening + str(tokenizer.decode(ids[first:last].tolist())) + closing)
        first = last
    return "".join(pieces)
