"""What a model is shown of a problem: presets by name, and the ids that they make with a checkpoint's tokenizer.

A chat preset makes the ids that prep makes of the same text: the same template, the same day, text between special tokens
tokenised at once. What is taken for the program in the answer is in extraction.py. docs/evaluation.md shows every preset.
"""

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from itertools import chain
from types import SimpleNamespace
from typing import NamedTuple

from syntaxdiff.eval.inference.language_model import Described
from syntaxdiff.eval.problems.problem import Problem
from syntaxdiff.eval.prompting.presets import AUTO, PRESETS, Preset, check_preset
from syntaxdiff.pipeline.assembly.sample import Run, parts_of
from syntaxdiff.pipeline.errors import SettingsError, TokenizerError
from syntaxdiff.pipeline.shard import Region
from syntaxdiff.pipeline.tokens.codec import Codec
from syntaxdiff.pipeline.tokens.template import Piece, Template, read_template

FENCE = "```python\n"
FENCE_END = "\n```"
DONE = "[DONE]"  # ends a program in the prompts of the MBPP paper
SHOTS = ("MBPP/2", "MBPP/3", "MBPP/4")  # the examples of the MBPP paper's prompt (Austin et al. 2021, section 3)

_FUNCTION_TURN = "Complete this Python function. Answer with the whole function in one fenced block.\n\n```python\n{}\n```"
_SIGNATURE_TURN = "{}\n\nWrite the Python function `{}`. Answer with the whole function in one fenced block."
_SHOT = "You are an expert Python programmer, and here is your task: {}\n[BEGIN]\n"


class Prompt(NamedTuple):
    """A problem as a model sees it.

    Attributes:
        text: all of it, the chat template's marks too
        begun: the part of the program that stands in it, which the answer continues
        in_fence: a fence is open where the answer begins
    """

    text: str
    token_ids: list[int]
    begun: str
    in_fence: bool


def default_preset(checkpoint: Described, benchmark: str, problems: Sequence[Problem] = ()) -> str:
    """The preset for a checkpoint where none is named.

    With a chat template the fence is opened for the model: the reasoning that it may have learned to write first is longer
    than an answer is here (R1's median trace has 27,800 characters; 512 tokens hold about 2,000). A model that was trained on
    programs alone, most of all, is shown what those samples begin with; older exports do not say so.
    """
    has_template = bool(checkpoint.tokenizer.chat_template)
    if benchmark == "humaneval-infilling":
        return "program" if has_template else "completion"
    if has_template:
        share = None if checkpoint.info is None else checkpoint.info.programs_alone
        return "program" if share is not None and share > 0.5 else "chat-code"
    return "mbpp-tests" if {problem.task_id for problem in problems}.issuperset(SHOTS) else "completion"


@dataclass(frozen=True, eq=False)
class Prompter:
    """Makes the prompts of one preset for one checkpoint.

    Attributes:
        preset: its name
        shots: solved problems, for presets that show some
    """

    checkpoint: Described
    preset: str
    template: Template | None
    shots: tuple[Problem, ...] = ()

    @cached_property
    def codec(self) -> Codec:
        """What tokenises text between special tokens, as in prep."""
        return Codec(self.checkpoint.folder, "hf")

    def prompt_of(self, problem: Problem) -> Prompt:
        """The prompt of a problem. Raises TokenizerError where its tokens do not account for its text."""
        preset = PRESETS[self.preset]
        begun = problem.prefix if preset.in_code or preset.in_fence else ""
        opening = FENCE if preset.in_fence else ""
        if preset.has_shots:
            opening = "".join(_shot(shot) + shot.solution.strip() + f"\n{DONE}\n\n" for shot in self.shots) + _shot(problem)
        elif preset.in_code and not begun:
            opening += _docstring(problem.prompt)
        pieces = self._pieces(_turn(problem, preset), opening + begun)
        text = "".join(piece.text for piece in pieces)
        return Prompt(text, self._ids(pieces), begun, preset.in_fence)

    def canvas_of(self, parts: Sequence[str], hole_tokens: Sequence[int]) -> list[int]:
        """A program with holes as ids with masks.

        Args:
            parts: the text before, between and after the holes
            hole_tokens: masks of each hole
        """
        mask_id = self.checkpoint.token_ids.mask
        in_fence = PRESETS[self.preset].in_fence
        first, *rest = parts
        ids = self._ids(self._pieces("", (FENCE if in_fence else "") + first))
        for number, part in enumerate(rest):
            is_last = number == len(rest) - 1
            pieces = [Piece(part + (FENCE_END if in_fence and is_last else ""), Region.CODE)]
            if is_last and self.template is not None:
                pieces += self.template.end
            ids += [mask_id] * hole_tokens[number] + self._ids(pieces, opens_sequence=False)
        return ids

    def num_tokens(self, text: str) -> int:
        """Tokens of a text inside of a sequence."""
        return len(self._ids([Piece(text, Region.CODE)], opens_sequence=False))

    def text_with(self, benchmark: str) -> str:
        """The prompt's text for any problem of a benchmark, which stands in it as ``{prompt}``."""
        has_function = benchmark.startswith("humaneval")
        blank = Problem(
            task_id="",
            benchmark=benchmark,
            prompt="{prompt}",
            entry_point="",
            solution="",
            prefix="{prompt}" if has_function else "",
        )
        return self.prompt_of(blank).text

    def _pieces(self, turn: str, answer: str) -> list[Piece]:
        if self.template is None:
            return [Piece(answer, Region.PROMPT)]
        return [
            *self.template.head,
            Piece(turn, Region.PROMPT),
            *self.template.middle,
            Piece(answer, Region.PROMPT),
        ]

    def _ids(self, pieces: Sequence[Piece], *, opens_sequence: bool = True) -> list[int]:
        if self.template is None and opens_sequence:  # with the start token that the tokenizer sets, if it does
            ids = list(self.checkpoint.tokenizer.encode(pieces[0].text)) if pieces[0].text else []
            return ids[:-1] if ids and ids[-1] == self.checkpoint.token_ids.eos else ids
        ids = []
        for column, part in enumerate(parts_of(pieces)):
            if isinstance(part, Run):
                text = self.codec.normalize(part.text)
                (tokens,) = self.codec.encode_batch([text], opens_sequence=opens_sequence and column == 0)
                if tokens is None:
                    raise TokenizerError(f"the tokenizer of {self.checkpoint.name} loses text of a prompt: {text[:60]!r}")
                ids += tokens.ids.tolist()
            else:
                assert part.token_id is not None
                ids.append(part.token_id)
        return ids


def prompter(checkpoint: Described, preset: str, benchmark: str, problems: Sequence[Problem] = ()) -> Prompter:
    """What makes the prompts of a benchmark for a checkpoint.

    Args:
        preset: of PRESETS, or AUTO
        problems: all of the file, from which presets with solved examples take theirs

    Raises:
        SettingsError: there is no such preset, or it cannot be had for this checkpoint or benchmark
        TokenizerError: the chat template cannot be used
    """
    check_preset(preset, benchmark)
    if preset == AUTO:
        preset = default_preset(checkpoint, benchmark, problems)
    wanted = PRESETS[preset]
    shots = tuple(problem for problem in problems if problem.task_id in SHOTS) if wanted.has_shots else ()
    if wanted.has_shots and len(shots) < len(SHOTS):
        raise SettingsError(f"--preset {preset} shows {', '.join(SHOTS)}, which these problems lack: choose another")
    template = None
    if wanted.is_chat:
        if not checkpoint.tokenizer.chat_template:
            raise SettingsError(f"--preset {preset}: the tokenizer of {checkpoint.name} has no chat template, use completion")
        template = read_template(_with_mask(checkpoint))
    return Prompter(checkpoint, preset, template, shots)


def digest(text: str) -> str:
    """SHA-256 of a text."""
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def digest_of_problems(problems: Sequence[Problem]) -> str:
    """SHA-256 over all that decides a score: what is shown and what is run."""
    fields = (vars(problem).items() for problem in problems)
    return digest("\n".join(f"{name}={value!r}" for name, value in chain.from_iterable(fields) if name != "groups"))


def _with_mask(checkpoint: Described) -> SimpleNamespace:
    """What a template is read with. LLaDA's own tokenizer declares no mask token, and a causal model has none."""
    tokenizer, mask_id = checkpoint.tokenizer, checkpoint.token_ids.mask
    return SimpleNamespace(
        apply_chat_template=tokenizer.apply_chat_template,
        added_tokens_decoder=tokenizer.added_tokens_decoder,
        mask_token_id=mask_id,
        mask_token=tokenizer.convert_ids_to_tokens(mask_id) if mask_id >= 0 else None,
        eos_token=tokenizer.eos_token,
        eos_token_id=tokenizer.eos_token_id,
    )


def _turn(problem: Problem, preset: Preset) -> str:
    """The user's turn."""
    if not preset.has_turn:
        return ""
    if preset.names_function:
        return _SIGNATURE_TURN.format(_statement(problem.prompt), _signature(problem))
    if problem.prefix:
        return _FUNCTION_TURN.format(problem.prompt.strip("\n"))
    return _statement(problem.prompt)


def _statement(prompt: str) -> str:
    """The problem in words: MBPP+ has it in quotes."""
    return prompt.strip().removeprefix('"""').removesuffix('"""').strip()


def _signature(problem: Problem) -> str:
    """Name and parameters of the function that is asked for, as the benchmark's own program has them."""
    if not problem.solution:
        return "{signature}"  # of the blank problem that stands for all
    functions = (node for node in ast.parse(problem.solution).body if isinstance(node, ast.FunctionDef))
    asked = next(node for node in functions if node.name == problem.entry_point)
    return f"{asked.name}({ast.unparse(asked.args)})"


def _docstring(prompt: str) -> str:
    """The problem at the head of a file."""
    return '"""\n' + _statement(prompt).replace('"""', "'''") + '\n"""\n'


def _shot(problem: Problem) -> str:
    return _SHOT.format(_statement(problem.prompt))
