"""Programs for whoever asks: behind prompts, or in the holes of a program. Nothing is run and nothing is scored."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from syntaxdiff.eval.inference import generation
from syntaxdiff.eval.inference.canvas import Commit
from syntaxdiff.eval.inference.checkpoint import Checkpoint, Described
from syntaxdiff.eval.inference.config import GenerationConfig
from syntaxdiff.eval.inference.generation import OnDone
from syntaxdiff.eval.problems.names import INFILLING
from syntaxdiff.eval.problems.problem import Problem
from syntaxdiff.eval.prompting.config import DEFAULT_HOLE_TOKENS, FILL
from syntaxdiff.eval.prompting.extraction import extract
from syntaxdiff.eval.prompting.presets import AUTO
from syntaxdiff.eval.prompting.prompts import Prompt, Prompter, prompter
from syntaxdiff.pipeline.errors import SettingsError, SourceError
from syntaxdiff.pipeline.jsonlines import data_suffix, read_lines, read_rows
from syntaxdiff.pipeline.shard import write_text

JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")


@dataclass(frozen=True, kw_only=True)
class Written:
    """What came of one prompt, or of one program with holes.

    Attributes:
        prompt: as the model saw it; of a program with holes: the program
        answer: all that the model wrote
        program: the program in it
        prompt_ids: of the prompt, or of the canvas with its masks
        trace: what each step wrote, positions counted from the start of ``prompt_ids``; None where it was not asked for
    """

    prompt: str
    answer: str
    program: str
    prompt_ids: list[int]
    num_tokens: int
    num_forward: int
    trace: list[Commit] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; a step of the trace is a pair of positions and ids."""
        return asdict(self)


def generate(
    checkpoint: Checkpoint,
    prompts: Sequence[str],
    config: GenerationConfig,
    *,
    preset: str = AUTO,
    with_trace: bool = False,
    on_done: OnDone | None = None,
) -> list[Written]:
    """Programs behind prompts.

    Args:
        prompts: what a user says; with a preset without a chat template, the text that the model goes on with
        preset: of presets.PRESETS
        with_trace: keep what each step wrote

    Raises:
        SettingsError: no prompts are given, the preset does not fit, or a prompt leaves no room for the answer
    """
    maker = prompter(checkpoint, preset, "generate")
    problems, shown = _shown(maker, prompts)
    answers = generation.generate(
        checkpoint, [prompt.token_ids for prompt in shown], config, with_trace=with_trace, on_done=on_done
    )
    return [
        Written(
            prompt=prompt.text,
            answer=answer.text,
            program=extract(answer.text, problem, prompt).program,
            prompt_ids=prompt.token_ids,
            num_tokens=answer.num_generated,
            num_forward=answer.num_forward,
            trace=answer.trace,
        )
        for problem, prompt, answer in zip(problems, shown, answers, strict=True)
    ]


def check_prompts(checkpoint: Described, prompts: Sequence[str], config: GenerationConfig, *, preset: str = AUTO) -> str:
    """Refuses what ``generate`` would, before the weights are loaded; returns the preset, by its own name."""
    maker = prompter(checkpoint, preset, "generate")
    generation.check_prompts(checkpoint, [prompt.token_ids for prompt in _shown(maker, prompts)[1]], config)
    return maker.preset


def _shown(maker: Prompter, prompts: Sequence[str]) -> tuple[list[Problem], list[Prompt]]:
    if not prompts:
        raise SettingsError("there is no prompt: give one, or a file of them with --prompts")
    problems = [
        Problem(task_id=str(number), benchmark="generate", prompt=prompt, entry_point="", solution="")
        for number, prompt in enumerate(prompts)
    ]
    return problems, [maker.prompt_of(problem) for problem in problems]


def infill(
    checkpoint: Checkpoint,
    text: str,
    config: GenerationConfig,
    *,
    marker: str = FILL,
    hole_tokens: int = DEFAULT_HOLE_TOKENS,
    preset: str = AUTO,
    with_trace: bool = False,
) -> Written:
    """A program with its holes filled.

    Args:
        text: the program, with ``marker`` where something is to be written
        hole_tokens: tokens of each hole; a hole is filled with exactly as many

    Raises:
        SettingsError: there is no hole, the preset or the model cannot fill any, or the program is too long
    """
    parts = holes(text, marker, hole_tokens)
    canvas = check_holes(checkpoint, text, marker=marker, hole_tokens=hole_tokens, preset=preset)
    (filled,) = generation.infill(checkpoint, [canvas], config, with_trace=with_trace)
    return Written(
        prompt=text,
        answer=filled.text,
        program=parts[0] + filled.text + parts[-1],
        prompt_ids=canvas,
        num_tokens=filled.num_generated,
        num_forward=filled.num_forward,
        trace=filled.trace,
    )


def holes(text: str, marker: str, hole_tokens: int) -> list[str]:
    """What stands before, between and behind the holes. Raises SettingsError where there are none."""
    if not marker or marker not in text:
        raise SettingsError(f"the program has no hole: put {marker or 'a marker'} where something is to be written")
    if hole_tokens < 1:
        raise SettingsError(f"--hole-tokens {hole_tokens}: a whole number from 1")
    return text.split(marker)


def check_holes(checkpoint: Described, text: str, *, marker: str, hole_tokens: int, preset: str) -> list[int]:
    """The ids of a program with masks for its holes; refuses what ``infill`` would, before the weights are loaded."""
    parts = holes(text, marker, hole_tokens)
    canvas = prompter(checkpoint, preset, INFILLING).canvas_of(parts, [hole_tokens] * (len(parts) - 1))
    generation.check_sequences(checkpoint, [canvas])
    return canvas


def read_program(file: Path) -> str:
    """A program's text with its own line ends; of standard input for ``-``. Raises SourceError where it cannot be read."""
    try:
        return (sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{file} cannot be read: {error}") from error


def read_prompts(file: Path) -> list[str]:
    """Prompts of a file: each line of text that is not blank, or the field ``prompt`` of each row of JSON.

    A name with a suffix of JSON_SUFFIXES says that it is JSON, lines or one array; both may be compressed.

    Raises:
        SourceError: it cannot be read, holds no prompt, or a row has none
    """
    expected = 'expected JSON with a field "prompt" that is text'
    if data_suffix(file) in JSON_SUFFIXES:
        rows = read_rows(file, what="a prompt", advice=expected)
        for place, row in rows:
            if not isinstance(row.get("prompt"), str):
                raise SourceError(f"{file}, {place}: {expected}")
        prompts = [row["prompt"] for _, row in rows]
    else:
        try:
            lines = [line.decode("utf-8-sig").removesuffix("\r") for line in read_lines(file, advice="name a file of prompts")]
        except UnicodeDecodeError as error:
            raise SourceError(f"{file} cannot be read: {error}") from error
        prompts = [line for line in lines if line.strip()]
    if not prompts:
        raise SourceError(f"{file} holds no prompts: write one a line, or rows of JSON with a field prompt")
    return prompts


def write_programs(path: Path, written: Sequence[Written]) -> None:
    """Writes what came out as JSON lines. Raises StorageError where the disk refuses."""
    write_text(path, "".join(json.dumps(one.to_dict()) + "\n" for one in written))
