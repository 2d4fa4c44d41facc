"""Programs from a model, from Python or the command line: answers to prompts, or the holes of a program filled.

Three lines suffice::

    model = load_checkpoint("out/")
    for index, program in generate(model, ["Add two numbers."]):
        print(program.program)

Nothing is run and nothing is scored here.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from syntaxdiff.eval.inference.canvas import Commit, OnStep
from syntaxdiff.eval.inference.config import FAST, GenerationConfig
from syntaxdiff.eval.inference.language_model import Described, LanguageModel
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
    """What a model wrote for one prompt, or for one program with holes.

    Attributes:
        prompt: as the model saw it; the program, where it has holes
        answer: all that the model wrote
        program: the program in it
        prompt_ids: of the prompt, or of the canvas with its masks
        num_tokens: tokens that the model wrote, up to the end of the answer
        num_forward: forward passes
        trace: what each step wrote, positions counted from the start of ``prompt_ids``; None where it was not asked for
    """

    prompt: str
    answer: str
    program: str
    prompt_ids: list[int]
    num_tokens: int
    num_forward: int
    trace: list[Commit] | None = None


def generate(
    model: LanguageModel,
    prompts: Sequence[str],
    config: GenerationConfig = FAST,
    *,
    preset: str = AUTO,
    with_trace: bool = False,
    on_step: OnStep | None = None,
) -> Iterator[tuple[int, Written]]:
    """Yields what the model wrote for each prompt, with the prompt's index, as soon as its batch is done.

    The longest prompts come first; ``in_order`` of inference's answer.py makes a list.

    Args:
        model: of ``load_checkpoint``
        prompts: what a user says; with a preset without a chat template, the text that the model continues
        config: how to generate
        preset: of presets.PRESETS, or ``auto``
        with_trace: keep what each step wrote
        on_step: is shown the canvases of a batch after each denoising step

    Raises:
        SettingsError: at the call: there are no prompts, the preset does not fit, or a prompt leaves no room for the answer
    """
    problems, shown = _shown(prompter(model, preset, "generate"), prompts)
    answers = model.generate([prompt.token_ids for prompt in shown], config, with_trace=with_trace, on_step=on_step)
    return (
        (
            index,
            Written(
                prompt=shown[index].text,
                answer=answer.text,
                program=extract(answer.text, problems[index], shown[index]).program,
                prompt_ids=shown[index].token_ids,
                num_tokens=answer.num_generated,
                num_forward=answer.num_forward,
                trace=answer.trace,
            ),
        )
        for index, answer in answers
    )


def check_prompts(model: Described, prompts: Sequence[str], config: GenerationConfig, *, preset: str = AUTO) -> str:
    """Refuses what ``generate`` would, before the weights are loaded; returns the preset, by its own name."""
    maker = prompter(model, preset, "generate")
    model.check_prompts([prompt.token_ids for prompt in _shown(maker, prompts)[1]], config)
    return maker.preset


def _shown(maker: Prompter, prompts: Sequence[str]) -> tuple[list[Problem], list[Prompt]]:
    _check_texts(prompts, "prompts")
    if not prompts:
        raise SettingsError("there is no prompt: give one, or a file of them with --prompts")
    problems = [
        Problem(task_id=str(number), benchmark="generate", prompt=prompt, entry_point="", solution="")
        for number, prompt in enumerate(prompts)
    ]
    return problems, [maker.prompt_of(problem) for problem in problems]


def _check_texts(texts: Sequence[str], what: str) -> None:
    """Raises SettingsError for one string, whose characters would each be taken for a text."""
    if isinstance(texts, str):
        raise SettingsError(f"{what} is one string: give a list of strings")


def infill(
    model: LanguageModel,
    programs: Sequence[str],
    config: GenerationConfig = FAST,
    *,
    marker: str = FILL,
    hole_tokens: int = DEFAULT_HOLE_TOKENS,
    preset: str = AUTO,
    with_trace: bool = False,
) -> Iterator[tuple[int, Written]]:
    """Yields each program with its holes filled, with the program's index, as soon as its batch is done.

    Args:
        model: of ``load_checkpoint``
        programs: with ``marker`` where something is to be written
        config: how to generate; its ``gen_length`` and ``early_stop`` have no effect
        marker: text that marks a hole
        hole_tokens: tokens of each hole; a hole is filled with exactly as many
        preset: of presets.PRESETS, or ``auto``
        with_trace: keep what each step wrote

    Raises:
        SettingsError: at the call: a program has no hole or is too long, or the preset or the model cannot fill any
    """
    _check_texts(programs, "programs")
    model.check_infilling()
    parts = [holes(program, marker, hole_tokens) for program in programs]
    canvases = [check_holes(model, program, marker=marker, hole_tokens=hole_tokens, preset=preset) for program in programs]
    answers = model.infill(canvases, config, with_trace=with_trace)
    return (
        (
            index,
            Written(
                prompt=programs[index],
                answer=answer.text,
                program=parts[index][0] + answer.text + parts[index][-1],
                prompt_ids=canvases[index],
                num_tokens=answer.num_generated,
                num_forward=answer.num_forward,
                trace=answer.trace,
            ),
        )
        for index, answer in answers
    )


def holes(text: str, marker: str, hole_tokens: int) -> list[str]:
    """The text before, between and after the holes. Raises SettingsError where there are none."""
    if not marker or marker not in text:
        raise SettingsError(f"the program has no hole: put {marker or 'a marker'} where something is to be written")
    if hole_tokens < 1:
        raise SettingsError(f"--hole-tokens {hole_tokens}: a whole number from 1")
    return text.split(marker)


def check_holes(model: Described, text: str, *, marker: str, hole_tokens: int, preset: str) -> list[int]:
    """The ids of a program with masks for its holes; refuses what ``infill`` would, before the weights are loaded."""
    parts = holes(text, marker, hole_tokens)
    canvas = prompter(model, preset, INFILLING).canvas_of(parts, [hole_tokens] * (len(parts) - 1))
    model.check_sequences([canvas])
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
    """Writes programs as JSON lines; a step of a trace is a pair of positions and ids.

    Raises:
        StorageError: the disk refuses
    """
    write_text(path, "".join(json.dumps(asdict(program)) + "\n" for program in written))
