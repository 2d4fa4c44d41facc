"""Answers to the problems of an evaluation: from a checkpoint, or the benchmark's own solutions.

Both know the settings that decide their answers, and store finished problems one by one. Judging is in evaluate.py.
"""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from syntaxdiff.eval.benchmarks.config import EvaluationConfig
from syntaxdiff.eval.benchmarks.identity import checkpoint_identity, dtype_of, machine_of
from syntaxdiff.eval.benchmarks.outcome import Machine, Sample
from syntaxdiff.eval.benchmarks.results import ResultsFolder
from syntaxdiff.eval.benchmarks.stored_settings import AnswerSettings, CheckpointIdentity, PromptIdentity
from syntaxdiff.eval.inference.answer import Answer
from syntaxdiff.eval.inference.checkpoint import Unloaded
from syntaxdiff.eval.inference.effect import REFERENCE, effective
from syntaxdiff.eval.inference.repair import find_faults
from syntaxdiff.eval.inference.steps import Cell, steps_of
from syntaxdiff.eval.problems.names import INFILLING
from syntaxdiff.eval.problems.problem import Problem
from syntaxdiff.eval.problems.reader import read_problems
from syntaxdiff.eval.progress import Progress
from syntaxdiff.eval.prompting.extraction import Extracted, extract
from syntaxdiff.eval.prompting.prompts import Prompt, digest, prompter
from syntaxdiff.pipeline.errors import SettingsError

TOO_LONG = "too-long"  # extraction of a prompt that leaves no room for an answer: nothing was generated
HOLE = "<hole>"  # in a stored prompt, where the masks are


class Candidate(NamedTuple):
    """One answer that is to be generated: a problem has as many as there are samples."""

    problem: Problem
    prompt: Prompt
    key: str  # of its random numbers


class TimedAnswer(NamedTuple):
    """A candidate's answer, and the seconds since the one before."""

    answer: Answer
    seconds: float


class References:
    """The benchmark's own solutions as answers."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self._problems = problems
        self.name = REFERENCE
        self.settings = AnswerSettings(checkpoint=CheckpointIdentity(kind=REFERENCE))
        self.machine: Machine | None = None

    def load(self) -> None:
        """There is nothing to load."""

    def generate_into(self, folder: ResultsFolder) -> Iterator[Progress]:
        """Stores the solutions of the problems that are not finished."""
        for problem in self._problems:
            if problem.task_id not in folder.finished:
                prompt = Prompt("", [], "", False)
                extracted = Extracted(problem.reference, REFERENCE)
                folder.append([_sample(problem, prompt, problem.solution, extracted)])
        return iter(())


class ModelAnswers:
    """A checkpoint's answers."""

    def __init__(
        self, benchmark: str, split: str | None, problems: Sequence[Problem], config: EvaluationConfig, checkpoint: Unloaded
    ) -> None:
        """Makes the prompts; the weights are not needed for that.

        Raises:
            SettingsError: the checkpoint cannot have prompts of this preset, or none leaves room for an answer
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
            checkpoint.check_sequences(fitting)
        else:
            checkpoint.check_prompts(fitting, config.generation)
        text = self._prompter.text_with(benchmark)
        self.machine: Machine | None = None
        is_estimated = config.candidates > 1 and checkpoint.abilities.estimates_likelihood
        self.settings = AnswerSettings(
            checkpoint=checkpoint_identity(checkpoint),
            prompt=PromptIdentity(preset=self._prompter.preset, text=text, sha256=digest(text)),
            samples=config.candidates,
            generation=effective(config.generation, checkpoint.kind, is_infilling=self._is_infilling),
            likelihood_samples=config.likelihood_samples if is_estimated else None,
            hole_tokens=(config.hole_tokens or REFERENCE) if self._is_infilling else None,
        )

    def load(self) -> None:
        """Loads the weights, whose precision is the last of the settings."""
        self._model = self._opened.load()
        self.settings = replace(self.settings, dtype=dtype_of(self._model))

    def generate_into(self, folder: ResultsFolder) -> Iterator[Progress]:
        """Answers the unfinished problems, and stores each as soon as it has all candidates; yields after each answer."""
        count, total = self._config.candidates, len(self._problems) * self._config.candidates
        finished, fitting = folder.finished, []
        for problem in self._problems:
            prompt = self._prompts[problem.task_id]
            if problem.task_id in finished:
                continue
            if self._fits(prompt):
                fitting.append(problem)
            else:
                unanswered = _sample(problem, prompt, "", Extracted("", TOO_LONG))
                folder.append([replace(unanswered, sample=number, is_chosen=number == 0) for number in range(count)])
        num_answers = total - len(fitting) * count
        yield Progress("generating", num_answers, total)
        num_tokens = num_forward = 0
        answers: defaultdict[str, list[TimedAnswer]] = defaultdict(list)
        for candidate, timed in self._generate(fitting):
            of_problem = answers[candidate.problem.task_id]
            of_problem.append(timed)
            if len(of_problem) == count:
                folder.append(self._samples(candidate.problem, candidate.prompt, of_problem))
                del answers[candidate.problem.task_id]
            num_answers += 1
            num_tokens += timed.answer.num_generated
            num_forward += timed.answer.num_forward
            yield Progress("generating", num_answers, total, f"{num_forward / max(1, num_tokens):.2f} forward passes a token")

    def _fits(self, prompt: Prompt) -> bool:
        most = self._opened.max_positions
        return most is None or len(prompt.token_ids) + self._num_new <= most

    @property
    def _num_new(self) -> int:
        """Tokens that a prompt adds to the answer's; a canvas has its masks already."""
        return 0 if self._is_infilling else self._config.generation.gen_length

    def _generate(self, problems: Sequence[Problem]) -> Iterator[tuple[Candidate, TimedAnswer]]:
        """Answers of all candidates as they are done. Choosing and storing does not count into their seconds."""
        if not problems:
            return
        candidates = [
            Candidate(problem, self._prompts[problem.task_id], f"{problem.task_id}/{number}")
            for problem in problems
            for number in range(self._config.candidates)
        ]
        ids = [candidate.prompt.token_ids for candidate in candidates]
        batch_size = self._model.batch_size(max(map(len, ids)) + self._num_new, self._config.generation)
        self.machine = machine_of(self._model, min(batch_size, len(ids)))
        generate = self._model.infill if self._is_infilling else self._model.generate
        config = replace(self._config.generation, batch_size=batch_size)
        keys = [candidate.key for candidate in candidates]
        started = time.monotonic()
        for index, answer in generate(ids, config, keys=keys, with_trace=self._config.trace):
            yield candidates[index], TimedAnswer(answer, time.monotonic() - started)
            started = time.monotonic()

    def _samples(self, problem: Problem, prompt: Prompt, timed: Sequence[TimedAnswer]) -> list[Sample]:
        """One problem's candidates as they are stored, the most probable one chosen. Each has an equal share of the time."""
        answers = [answer for answer, _ in timed]
        seconds = sum(seconds for _, seconds in timed)
        nats: list[float | None] = [None] * len(answers)
        if len(answers) > 1:
            nats = list(self._nats_per_token(prompt, answers))
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
                    repair=answer.repair,
                    trace=self._steps(prompt, answer),
                )
            )
        return samples

    def _steps(self, prompt: Prompt, answer: Answer) -> list[list[Cell]] | None:
        if answer.trace is None:
            return None
        ids, mask_id = prompt.token_ids, self._model.token_ids.mask
        start = ids.index(mask_id) if self._is_infilling else len(ids)
        return steps_of(self._model, start, answer.trace)

    def _nats_per_token(self, prompt: Prompt, answers: Sequence[Answer]) -> list[float]:
        """Log-likelihood per token: the whole one would choose the shortest. Equal answers are scored once."""
        different = list(dict.fromkeys(tuple(answer.token_ids) for answer in answers))
        nats = self._model.log_likelihood(
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
    """Whether tree-sitter finds no error in a program; an empty text is not a program."""
    return bool(program.strip()) and find_faults(program.encode("utf-8", "replace"), "python").error_bytes == 0
