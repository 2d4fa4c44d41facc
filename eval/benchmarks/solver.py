"""Who writes the candidates of an evaluation: a checkpoint, or the benchmark itself with its own solutions.

Both tell what decides what they write, and put finished problems on the disk one by one. What follows is in evaluate.py.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from hashlib import sha256
from typing import Any

import torch

from syntaxdiff.eval.benchmarks.config import EvaluationConfig
from syntaxdiff.eval.benchmarks.results import ResultsFolder, Sample
from syntaxdiff.eval.inference.checkpoint import Checkpoint, Described, Unloaded
from syntaxdiff.eval.inference.config import GenerationConfig
from syntaxdiff.eval.inference.effect import REFERENCE, effective
from syntaxdiff.eval.inference.generation import (
    Generated,
    OnDone,
    batch_size_of,
    check_prompts,
    check_sequences,
    generate,
    infill,
)
from syntaxdiff.eval.inference.likelihood import log_likelihood
from syntaxdiff.eval.inference.repair import find_faults
from syntaxdiff.eval.inference.steps import Cell, steps_of
from syntaxdiff.eval.problems.names import INFILLING
from syntaxdiff.eval.problems.problem import Problem, read_problems
from syntaxdiff.eval.progress import OnProgress, Progress
from syntaxdiff.eval.prompting.extraction import Extracted, extract
from syntaxdiff.eval.prompting.prompts import Prompt, digest, prompter
from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.train.model.export import PROGRAMS_ALONE

TOO_LONG = "too-long"  # a prompt that leaves no room for the answer: nothing was written
HOLE = "<hole>"  # in a stored prompt, where the masks stood
_FINGERPRINT_BYTES = 1 << 20  # of both ends of a file of weights


class References:
    """Writes the benchmark's own solutions."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self._problems = problems
        self.name = REFERENCE
        self.settings: dict[str, Any] = {"checkpoint": {"kind": REFERENCE}}
        self.machine: dict[str, Any] | None = None

    def load(self) -> None:
        """There is nothing to load."""

    def write(self, folder: ResultsFolder, on_progress: OnProgress) -> None:
        """The solutions of the problems that are not finished."""
        for problem in self._problems:
            if problem.task_id not in folder.finished:
                prompt = Prompt("", [], "", False)
                extracted = Extracted(problem.reference, REFERENCE)
                folder.append([_sample(problem, prompt, problem.solution, extracted)])


class Model:
    """Writes a checkpoint's answers."""

    def __init__(
        self, benchmark: str, split: str | None, problems: Sequence[Problem], config: EvaluationConfig, checkpoint: Unloaded
    ) -> None:
        """Makes the prompts; the weights are not needed for that.

        Raises:
            SettingsError: prompts of this preset cannot be had for the checkpoint, or none leaves room for an answer
            TokenizerError: the chat template cannot be used, or the tokenizer loses text
        """
        self._problems, self._config = problems, config
        self._is_infilling = benchmark == INFILLING
        self._opened = checkpoint
        self.name = checkpoint.name
        shown = problems
        if benchmark == "mbpp" and split != "plus":
            whole = "sanitized" if split is not None and split.startswith("sanitized") else "full"
            shown = read_problems(benchmark, split=whole, file=config.problems)  # it holds those that serve as examples
        self._prompter = prompter(checkpoint, config.preset, benchmark, shown)
        self._prompts = {
            problem.task_id: self._canvas(problem) if self._is_infilling else self._prompter.prompt_of(problem)
            for problem in problems
        }
        fitting = [prompt.token_ids for prompt in self._prompts.values() if self._fits(prompt)]
        if not fitting:
            raise SettingsError(f"no prompt leaves {checkpoint.name} room for an answer: lower --gen-length")
        if self._is_infilling:
            check_sequences(checkpoint, fitting)
        else:
            check_prompts(checkpoint, fitting, config.generation)
        text = self._prompter.text_with(benchmark)
        self.machine: dict[str, Any] | None = None
        self.settings: dict[str, Any] = {
            "checkpoint": _identity(checkpoint),
            "prompt": {"preset": self._prompter.preset, "text": text, "sha256": digest(text)},
            "samples": config.candidates,
            "generation": effective(_decisive(config.generation), checkpoint.kind, is_infilling=self._is_infilling),
        }
        if config.candidates > 1 and checkpoint.kind == "diffusion":
            self.settings["likelihood_samples"] = config.likelihood_samples
        if self._is_infilling:
            self.settings["hole_tokens"] = config.hole_tokens or REFERENCE

    def load(self) -> None:
        """Loads the weights, whose precision is the last of the settings."""
        self._checkpoint = self._opened.load()
        self.settings["dtype"] = _dtype(self._checkpoint)

    def write(self, folder: ResultsFolder, on_progress: OnProgress) -> None:
        """Answers to the problems that are not finished, each on the disk as soon as it is there."""
        left = [problem for problem in self._problems if problem.task_id not in folder.finished]
        count = self._config.candidates
        done = len(self._problems) - len(left)
        shown = [(problem, self._prompts[problem.task_id]) for problem in left]
        fitting = [(problem, prompt) for problem, prompt in shown if self._fits(prompt)]
        for problem, prompt in shown:
            if not self._fits(prompt):
                unanswered = _sample(problem, prompt, "", Extracted("", TOO_LONG))
                folder.append([replace(unanswered, sample=number, is_chosen=number == 0) for number in range(count)])
                done += 1
        on_progress(Progress("generating", done * count, len(self._problems) * count))
        left, prompts = [problem for problem, _ in fitting], [prompt for _, prompt in fitting]
        waiting: dict[int, list[Generated]] = {}
        seconds: dict[int, float] = {}
        total = Counter({"answers": done * count})
        last = time.monotonic()

        def on_done(index: int, generated: Generated) -> None:
            nonlocal last
            place = index // count
            waiting.setdefault(place, []).append(generated)
            seconds[place] = seconds.get(place, 0.0) + time.monotonic() - last
            total.update(answers=1, tokens=generated.num_generated, forward=generated.num_forward)
            if len(waiting[place]) == count:
                folder.append(self._samples(left[place], prompts[place], waiting.pop(place), seconds.pop(place)))
            note = f"{total['forward'] / max(1, total['tokens']):.2f} forward passes a token"
            on_progress(Progress("generating", total["answers"], len(self._problems) * count, note))
            last = time.monotonic()  # what it took to choose and to store is no generation

        if left:
            self._generate(left, prompts, on_done)

    def _fits(self, prompt: Prompt) -> bool:
        most = self._opened.max_positions
        room = 0 if self._is_infilling else self._config.generation.gen_length
        return most is None or len(prompt.token_ids) + room <= most

    def _generate(self, problems: Sequence[Problem], prompts: Sequence[Prompt], on_done: OnDone) -> None:
        """Candidates of all problems, those of one beside each other; each has random numbers of its own."""
        config = self._config
        keys = [f"{problem.task_id}/{number}" for problem in problems for number in range(config.candidates)]
        ids = [prompt.token_ids for prompt in prompts for _ in range(config.candidates)]
        longest = max(map(len, ids), default=1) + (0 if self._is_infilling else config.generation.gen_length)
        batch_size = batch_size_of(self._checkpoint, longest, config.generation)
        self.machine = {**_machine(self._checkpoint), "batch_size": min(batch_size, len(ids))}
        write = infill if self._is_infilling else generate
        settled = replace(config.generation, batch_size=batch_size)
        write(self._checkpoint, ids, settled, keys=keys, with_trace=config.trace, on_done=on_done)

    def _samples(self, problem: Problem, prompt: Prompt, answers: list[Generated], seconds: float) -> list[Sample]:
        """One problem's candidates as they are stored, the most probable one chosen."""
        nats: list[float | None] = [None] * len(answers)
        if len(answers) > 1:
            nats = list(self._nats_a_token(prompt, answers))
        best = max(range(len(answers)), key=lambda number: (nats[number] or 0.0, -number))
        samples = []
        for number, answer in enumerate(answers):
            extracted = extract(answer.text, problem, prompt)
            if self._is_infilling:
                extracted = Extracted(problem.program(answer.text), "filled")
            sample = _sample(problem, prompt, answer.text, extracted)
            samples.append(
                replace(
                    sample,
                    sample=number,
                    num_tokens=answer.num_generated,
                    num_forward=answer.num_forward,
                    seconds=round(seconds / len(answers), 6),
                    log_likelihood=nats[number],
                    is_chosen=number == best,
                    repair=answer.repair._asdict() if answer.repair else None,
                    trace=self._steps(prompt, answer),
                )
            )
        return samples

    def _steps(self, prompt: Prompt, answer: Generated) -> list[list[Cell]] | None:
        if answer.trace is None:
            return None
        ids, mask_id = prompt.token_ids, self._checkpoint.token_ids.mask
        start = ids.index(mask_id) if self._is_infilling else len(ids)
        return steps_of(self._checkpoint, start, answer.trace)

    def _nats_a_token(self, prompt: Prompt, answers: Sequence[Generated]) -> list[float]:
        """Log-likelihood a token: the whole one would choose the shortest. Equal answers are asked about once."""
        different = list(dict.fromkeys(tuple(answer.token_ids) for answer in answers))
        nats = log_likelihood(
            self._checkpoint,
            prompt.token_ids,
            different,
            num_samples=self._config.likelihood_samples,
            seed=self._config.generation.seed,
        )
        nats_of = {ids: total / max(1, len(ids)) for ids, total in zip(different, nats, strict=True)}
        return [nats_of[tuple(answer.token_ids)] for answer in answers]

    def _canvas(self, problem: Problem) -> Prompt:
        size = self._config.hole_tokens or self._prompter.num_tokens(problem.solution)
        ids = self._prompter.canvas_of([problem.prefix, problem.suffix], [size])
        return Prompt(problem.prefix + HOLE + problem.suffix, ids, problem.prefix, False)


def _sample(problem: Problem, prompt: Prompt, answer: str, extracted: Extracted) -> Sample:
    """A sample that is chosen and not yet judged."""
    return Sample(
        task_id=problem.task_id,
        sample=0,
        prompt=prompt.text,
        answer=answer,
        program=extracted.program,
        extraction=extracted.rule,
        num_tokens=0,
        num_forward=0,
        seconds=0.0,
        log_likelihood=None,
        is_chosen=True,
        repair=None,
        parses=_parses(extracted.program),
    )


def _parses(program: str) -> bool:
    """Whether tree-sitter finds no error in a program; an empty one is none."""
    return bool(program.strip()) and find_faults(program.encode("utf-8", "replace"), "python").error_bytes == 0


def _decisive(config: GenerationConfig) -> dict[str, Any]:
    """What decides tokens: in exact arithmetic the batch size does not, so a run may go on with another."""
    return {name: value for name, value in asdict(config).items() if name != "batch_size"}


def _machine(checkpoint: Checkpoint) -> dict[str, Any]:
    """What times, and the last digits of numbers, depend on beside the settings."""
    device = checkpoint.device
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "dtype": _dtype(checkpoint),
        "threads": torch.get_num_threads(),
    }


def _dtype(checkpoint: Checkpoint) -> str:
    return str(next(checkpoint.model.parameters()).dtype).removeprefix("torch.")


def _identity(checkpoint: Described) -> dict[str, Any]:
    """What tells a checkpoint from others, wherever it lies: step, and a digest of both ends of its files of weights."""
    content = sha256((checkpoint.folder / "config.json").read_bytes())
    for path in sorted((*checkpoint.folder.glob("*.safetensors"), *checkpoint.folder.glob("*.bin"))):
        with path.open("rb") as file:
            size = path.stat().st_size
            content.update(f"{path.name} {size}\n".encode() + file.read(_FINGERPRINT_BYTES))
            file.seek(max(0, size - _FINGERPRINT_BYTES))
            content.update(file.read())
    told = {
        "kind": checkpoint.kind,
        "step": checkpoint.info.get("step"),
        "sha256": content.hexdigest(),
    }
    if PROGRAMS_ALONE in checkpoint.info:
        told[PROGRAMS_ALONE] = checkpoint.info[PROGRAMS_ALONE]  # what the preset `auto` goes by
    return told
