"""Answers to prompts: denoising generation and infilling, with everything that can be chosen in one configuration.

How canvases are filled is in canvas.py, what a step decides in train's denoise.py, syntax repair in repair.py. An
autoregressive checkpoint generates through causal.py, with results of the same shape.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from syntaxdiff.eval.inference.batch_size import canvases_at_a_time
from syntaxdiff.eval.inference.canvas import Canvas, Commit, Filler, new_canvas
from syntaxdiff.eval.inference.checkpoint import Checkpoint, Described
from syntaxdiff.eval.inference.config import GenerationConfig
from syntaxdiff.eval.inference.repair import Repair, Repairer, answer_end
from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.pipeline.tokens.codec import Codec
from syntaxdiff.train.model.step_rule import StepRule


class Generated(NamedTuple):
    """An answer.

    Attributes:
        token_ids: of ``generate``: the answer up to its end token, that one too; of ``infill``: the whole canvas
        text: of ``generate``: the answer without its end; of ``infill``: from the first position that was masked to the last
        num_forward: forward passes over this prompt; guidance takes two a step
        num_generated: tokens written: up to the end of the answer; never the prompt's
        trace: what each step wrote, where asked for; positions count from the start of the prompt
        repair: what syntax repair did, where it was asked for
    """

    token_ids: list[int]
    text: str
    num_forward: int
    num_generated: int
    trace: list[Commit] | None = None
    repair: Repair | None = None


OnDone = Callable[[int, Generated], None]


def generate(
    checkpoint: Checkpoint,
    prompts: Sequence[Sequence[int]],
    config: GenerationConfig,
    *,
    keys: Sequence[str] | None = None,
    with_trace: bool = False,
    on_done: OnDone | None = None,
) -> list[Generated]:
    """Answers to prompts, each as if it were alone.

    Args:
        prompts: ids, chat template and all
        keys: of each prompt's random numbers; its index by default. Several samples of one prompt need keys of their own.
        on_done: called with index and answer as soon as a batch is through

    Raises:
        SettingsError: a prompt holds the mask token or unknown ids, or leaves no room for the answer
    """
    if checkpoint.kind == "autoregressive":
        from syntaxdiff.eval.inference.causal import generate_left_to_right

        return generate_left_to_right(checkpoint, prompts, config, keys=keys, with_trace=with_trace, on_done=on_done)
    check_prompts(checkpoint, prompts, config)
    mask_id = checkpoint.token_ids.mask
    canvases = [[*prompt, *[mask_id] * config.gen_length] for prompt in prompts]
    stop_ids = checkpoint.end_ids if config.early_stop else frozenset[int]()

    def answer(canvas: Canvas) -> tuple[list[int], str, int]:
        ids: list[int] = canvas.ids.tolist()
        end = answer_end(ids, canvas.start, checkpoint.end_ids)
        token_ids = ids[canvas.start : end + 1]
        return token_ids, text_between(checkpoint, ids, canvas.start, end), len(token_ids)

    return _fill(checkpoint, canvases, config, answer, stop_ids, checkpoint.end_ids, keys, with_trace, on_done)


def infill(
    checkpoint: Checkpoint,
    canvases: Sequence[Sequence[int]],
    config: GenerationConfig,
    *,
    keys: Sequence[str] | None = None,
    with_trace: bool = False,
    on_done: OnDone | None = None,
) -> list[Generated]:
    """Canvases with their masks filled; what stands between the masks stays. `gen_length` and `early_stop` do not matter.

    Args: as for ``generate``, but the masks are given.

    Raises:
        SettingsError: the model is autoregressive, or a canvas holds unknown ids or too many
    """
    check_infills(checkpoint)

    def filled(canvas: Canvas) -> tuple[list[int], str, int]:
        ids: list[int] = canvas.ids.tolist()
        positions = canvas.is_open.nonzero().flatten().tolist()
        return ids, text_between(checkpoint, ids, canvas.start, positions[-1] + 1) if positions else "", len(positions)

    return _fill(checkpoint, canvases, config, filled, frozenset(), frozenset(), keys, with_trace, on_done)


def step_rule(checkpoint: Checkpoint, config: GenerationConfig) -> StepRule:
    """The rule of a step: never the mask, padding that is no end, or an id that the tokenizer does not know."""
    ids = checkpoint.token_ids
    size = checkpoint.model.network.config.vocab_size
    known = max(checkpoint.tokenizer.get_vocab().values()) + 1
    never = {ids.mask, *range(known, size)} | ({ids.pad} - checkpoint.end_ids)
    return StepRule(
        mask_id=ids.mask,
        never=tuple(sorted(never | (checkpoint.end_ids if config.forbid_eos else frozenset()))),
        end_ids=tuple(sorted(checkpoint.end_ids)),
        lower_end=config.lower_eos,
        confidence=config.confidence,
        schedule=config.schedule,
        threshold=config.threshold,
        factor=config.factor,
        temperature=config.temperature,
    )


def _fill(
    checkpoint: Checkpoint,
    sequences: Sequence[Sequence[int]],
    config: GenerationConfig,
    result: Callable[[Canvas], tuple[list[int], str, int]],
    stop_ids: frozenset[int],
    end_ids: frozenset[int],
    keys: Sequence[str] | None,
    with_trace: bool,
    on_done: OnDone | None,
) -> list[Generated]:
    """Canvases filled, a batch at a time, the longest first, so that canvases of like length stand together."""
    check_sequences(checkpoint, sequences)
    keys = keys if keys is not None else [str(index) for index in range(len(sequences))]
    assert len(keys) == len(sequences)
    filler = Filler(
        denoiser=checkpoint.model,
        rule=step_rule(checkpoint, config),
        block_length=config.block_length,
        num_steps=config.num_steps,
        cache=config.cache,
        cache_refresh=config.cache_refresh,
        guidance=config.guidance,
    )
    repairer = _repairer(checkpoint, filler, end_ids, config.language) if config.syntax_repair else None
    order = sorted(range(len(sequences)), key=lambda index: -len(sequences[index]))
    done: dict[int, Generated] = {}
    batch_size = batch_size_of(checkpoint, max(map(len, sequences), default=1), config)
    for first in range(0, len(order), batch_size):
        batch = order[first : first + batch_size]
        canvases = [
            new_canvas(sequences[index], filler.rule.mask_id, seed=config.seed, key=keys[index], device=checkpoint.device)
            for index in batch
        ]
        filler.fill(canvases, stop_ids=stop_ids)
        repairs = repairer.repair(canvases, config.syntax_repair) if repairer else [None] * len(batch)
        for index, canvas, repair in zip(batch, canvases, repairs, strict=True):
            token_ids, text, num_generated = result(canvas)
            trace = canvas.trace if with_trace else None
            done[index] = Generated(token_ids, text, canvas.num_forward, num_generated, trace, repair)
            if on_done is not None:
                on_done(index, done[index])
    return [done[index] for index in range(len(sequences))]


def batch_size_of(checkpoint: Checkpoint, longest: int, config: GenerationConfig) -> int:
    """How many sequences are written at a time: as many as asked for, or as there is room for.

    Args:
        longest: tokens of the longest of them, prompt and answer
    """
    if checkpoint.kind == "autoregressive" and config.temperature > 0:
        return 1  # each with random numbers of its own
    if config.batch_size is not None:
        return config.batch_size
    count = canvases_at_a_time(checkpoint, longest, config.block_length if checkpoint.kind == "diffusion" else 1)
    return max(1, count // 2) if config.guidance else count  # which reads every canvas twice


def check_prompts(checkpoint: Described, prompts: Sequence[Sequence[int]], config: GenerationConfig) -> None:
    """Raises SettingsError where answers to prompts cannot be written: as ``generate`` does, before the weights are loaded."""
    if checkpoint.token_ids.mask in {token for prompt in prompts for token in prompt}:
        raise SettingsError(f"a prompt holds the mask token {checkpoint.token_ids.mask}: fill given masks by infilling")
    check_sequences(checkpoint, [[*prompt, *[0] * config.gen_length] for prompt in prompts])


def check_infills(checkpoint: Described) -> None:
    """Raises SettingsError where a model fills no masks."""
    if checkpoint.kind == "autoregressive":
        raise SettingsError(f"{checkpoint.name} writes from left to right and cannot fill gaps: give a diffusion model")


def check_sequences(checkpoint: Described, sequences: Sequence[Sequence[int]]) -> None:
    """Raises SettingsError for ids that the model does not know, and for sequences that are longer than it can read."""
    size, most = checkpoint.vocab_size, checkpoint.max_positions
    for sequence in sequences:
        if sequence and not 0 <= min(sequence) <= max(sequence) < size:
            raise SettingsError(f"a prompt holds ids that are none of {checkpoint.name}'s {size}: tokenise with its tokenizer")
        if most is not None and len(sequence) > most:
            raise SettingsError(
                f"prompt and answer have {len(sequence)} tokens and {checkpoint.name} reads {most}: lower --gen-length"
            )


def _repairer(checkpoint: Checkpoint, filler: Filler, end_ids: frozenset[int], language: str) -> Repairer:
    return Repairer(
        filler=filler,
        codec=Codec(checkpoint.folder, "hf"),
        special_ids=frozenset((*checkpoint.tokenizer.all_special_ids, checkpoint.token_ids.mask, *checkpoint.end_ids)),
        end_ids=end_ids,
        header_ids=checkpoint.token_ids.assistant_header,
        language=language,
    )


def text_between(checkpoint: Checkpoint, ids: Sequence[int], start: int, end: int) -> str:
    """Text of ids [start, end) as it stands behind the ids before them: some tokenizers drop a space at the start."""

    def decoded(part: Sequence[int]) -> str:
        return str(checkpoint.tokenizer.decode(part, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    before, whole = decoded(ids[:start]), decoded(ids[:end])
    return whole[len(before) :] if whole.startswith(before) else decoded(ids[start:end])
