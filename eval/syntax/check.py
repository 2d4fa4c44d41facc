"""Whether the programs that a model writes parse and compile, and whether what is decided holds together while denoising.

Programs come from a file of results, or are generated here from prompts.

*While denoising*: of the answer's longest start without a mask, the program in it (as syntax repair finds it, in repair.py),
cut after its last whole line, either compiles or would with more text after it. CPython's own parser says so, as it does for
an interactive prompt; tree-sitter cannot distinguish unfinished from wrong, hence only Python. Masks are not replaced by
anything: what to put there would decide.
"""

import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from syntaxdiff.eval.inference.canvas import Commit
from syntaxdiff.eval.inference.config import GenerationConfig
from syntaxdiff.eval.inference.language_model import Described, LanguageModel
from syntaxdiff.eval.inference.repair import find_program
from syntaxdiff.eval.prompting import programs
from syntaxdiff.eval.prompting.presets import AUTO
from syntaxdiff.eval.stats import pooled_share, share_of
from syntaxdiff.eval.syntax.compiler import COMPILED_LANGUAGE, Compiler
from syntaxdiff.eval.syntax.outcome import RESULT_VERSION, DenoisingSteps, SyntaxResults
from syntaxdiff.eval.syntax.validity import check_program, counted, decided_lines
from syntaxdiff.pipeline.errors import SettingsError, SourceError
from syntaxdiff.pipeline.json_records import Json
from syntaxdiff.pipeline.jsonlines import read_json_lines
from syntaxdiff.pipeline.syntax.languages import LANGUAGES

QUARTERS = ("0-25 %", "25-50 %", "50-75 %", "75-100 %")  # of an answer's steps


@dataclass(frozen=True, kw_only=True)
class WrittenProgram:
    """A program of a model.

    Attributes:
        code: empty where the answer holds none
        language: of grammar.LANGUAGES
        decided: the decided part after every denoising step, None where there was no whole line yet; None if not traced
    """

    code: bytes
    language: str
    decided: list[bytes | None] | None = None


def syntax(written: Sequence[WrittenProgram], source: Mapping[str, Json]) -> SyntaxResults:
    """Parse rate, compile rate, kinds of errors, and the share of denoising steps at which the decided part holds together.

    A program without a word (no code, or white space) counts in neither rate as right.

    Args:
        written: at least one program
        source: where they come from, plain values, kept in the result
    """
    with Compiler() as compiler:
        checked = [(program, check_program(program.code, program.language, compiler)) for program in written]
        denoising = _denoising([program.decided for program in written if program.decided is not None], compiler)
    solid = [(program, validity) for program, validity in checked if program.code.strip()]
    faults = [validity.compiled.fault for _, validity in solid if validity.compiled is not None]
    num_compilable = sum(program.language == COMPILED_LANGUAGE for program in written)
    return SyntaxResults(
        version=RESULT_VERSION,
        source=source,
        python=platform.python_version(),
        num_programs=len(written),
        num_empty=len(written) - len(solid),
        parses=share_of(sum(validity.parses for _, validity in solid), len(written)),
        compiles=share_of(sum(fault is None for fault in faults), num_compilable),
        tree_errors=counted([validity.tree_errors for _, validity in solid]),
        compile_errors=counted([[fault] for fault in faults if fault is not None]),
        denoising=denoising,
    )


def _denoising(traces: Sequence[list[bytes | None]], compiler: Compiler) -> DenoisingSteps | None:
    """Over all traced answers: at which steps the decided part holds together."""
    if not traces:
        return None
    known: dict[bytes, bool] = {}
    right = [[0] * len(traces) for _ in QUARTERS]
    of = [[0] * len(traces) for _ in QUARTERS]
    for row, trace in enumerate(traces):
        for step, text in enumerate(trace):
            if text is None:
                continue
            if text not in known:
                known[text] = compiler.compile(text).is_prefix
            quarter = step * len(QUARTERS) // len(trace)
            of[quarter][row] += 1
            right[quarter][row] += known[text]
    return DenoisingSteps(
        num_answers=len(traces),
        steps=pooled_share([sum(row) for row in zip(*right, strict=True)], [sum(row) for row in zip(*of, strict=True)]),
        by_progress={name: pooled_share(right[quarter], of[quarter]) for quarter, name in enumerate(QUARTERS)},
    )


def read_programs(path: Path, *, field: str = "program", language: str = COMPILED_LANGUAGE) -> list[WrittenProgram]:
    """The programs of a file of JSON lines, plain or compressed, such as the ``samples.jsonl`` of an evaluation.

    Args:
        field: that holds the program; ``language``, where a row has it, holds its language
        language: of rows that name none

    Raises:
        SourceError: the file cannot be read, or a row lacks the field
        SettingsError: there is no such language
    """
    rows = read_json_lines(path, what="a row", advice="it cannot be read as JSON lines, name a file such as samples.jsonl")
    if not rows:
        raise SourceError(f"{path} holds no rows: name a file such as samples.jsonl")
    found = []
    for place, row in rows:
        if not isinstance(row.get(field), str):
            raise SourceError(f"{path}, {place}, has no text under {field!r}: name the field that holds it with --field")
        named = row.get("language") or language
        if named not in LANGUAGES:
            raise SettingsError(f"{path}, {place}: unknown language {named!r}, choose from {', '.join(LANGUAGES)}")
        found.append(WrittenProgram(code=row[field].encode("utf-8", "surrogatepass"), language=named))
    return found


def write_programs(
    model: LanguageModel, prompts: Sequence[str], config: GenerationConfig, *, preset: str = AUTO
) -> Iterator[tuple[int, WrittenProgram]]:
    """Programs for prompts, by index, as ``programs.generate`` yields them; traced where a denoising model writes Python.

    Args:
        prompts: what a user says
        preset: how it is shown, of prompts.PRESETS

    Raises:
        SettingsError: as ``programs.generate`` does
    """
    traces = model.abilities.denoises_in_steps and config.language == COMPILED_LANGUAGE
    for index, written in programs.generate(model, prompts, config, preset=preset, with_trace=traces):
        trace = written.trace
        yield (
            index,
            WrittenProgram(
                code=written.program.encode("utf-8", "surrogatepass"),
                language=config.language,
                decided=None if trace is None else decided_parts(model, written.prompt_ids, trace, config.language),
            ),
        )


def decided_parts(checkpoint: Described, prompt: Sequence[int], trace: Sequence[Commit], language: str) -> list[bytes | None]:
    """The decided part of the program after each step: whole lines without a mask before or in them; None for no line yet."""
    canvas: dict[int, int] = {}
    parts: list[bytes | None] = []
    answer: list[int] | None = None
    for commit in trace:
        canvas.update(zip(commit.positions, commit.token_ids, strict=True))
        start: list[int] = []
        while (token := canvas.get(len(prompt) + len(start))) is not None and token != checkpoint.token_ids.mask:
            start.append(token)
            if token in checkpoint.end_ids:
                break
        if start == answer:
            parts.append(parts[-1])
            continue
        answer = start
        found = program_in(checkpoint, prompt, start, language)
        is_python = found is not None and found[1] == COMPILED_LANGUAGE
        parts.append((decided_lines(found[0]) or None) if found is not None and is_python else None)
    return parts


def program_in(checkpoint: Described, prompt: Sequence[int], answer: Sequence[int], language: str) -> tuple[bytes, str] | None:
    """The program that an answer holds or continues, and its language; None where there is none."""
    ids = [*prompt, *answer]
    header = list(checkpoint.token_ids.assistant_header)
    starts = range(len(prompt) - len(header), -1, -1) if header else range(0)
    turn = next((first + len(header) for first in starts if ids[first : first + len(header)] == header), None)

    def between(start: int, end: int) -> bytes:
        return checkpoint.text_between(ids, start, end).encode()

    asked = between(0, turn or 0) + between(turn or 0, len(prompt))
    text = asked + between(len(prompt), len(ids))
    turn_from = None if turn is None else len(between(0, turn))
    found = find_program(text, turn_from, len(asked), language)
    return None if found is None else (text[found.start_byte : found.end_byte], found.language)
