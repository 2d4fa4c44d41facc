"""Prompts: the ids that training data has in the same place, and texts that a result can be held to."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from parameters import slow_but
from prepared_tokenizers import BYTE_LEVEL, METASPACE, QUICK, Prepared
from tiny_checkpoint import export_tiny, token_ids

from syntaxdiff.eval.inference.checkpoint import load_checkpoint
from syntaxdiff.eval.inference.denoising import DenoisingModel
from syntaxdiff.eval.problems.problem import Problem
from syntaxdiff.eval.problems.reader import read_problems
from syntaxdiff.eval.prompting.presets import PRESETS
from syntaxdiff.eval.prompting.prompts import SHOTS, digest, digest_of_problems, prompter
from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.pipeline.rows.record import Record
from syntaxdiff.train.model.export_info import ExportInfo

FUNCTION = Problem(
    task_id="T/0",
    benchmark="humaneval",
    prompt='def f(x):\n    """Ü."""\n',
    entry_point="f",
    solution="",
    prefix='def f(x):\n    """Ü."""\n',
)
STATEMENT = Problem(task_id="T/1", benchmark="mbpp", prompt="Sum a list, e\u0301.\n", entry_point="f", solution="")
SMALL = ("trained", *METASPACE)  # the others take seconds to load


def checkpoint_of(prepared: Prepared, **changes: Any) -> DenoisingModel:
    """A checkpoint that has a tokenizer and nothing else."""
    ids = {"mask": prepared.hub.mask_token_id, "eos": prepared.hub.eos_token_id}
    values = {"name": "made", "folder": prepared.folder, "model": None, "shift": False, "info": None}
    return DenoisingModel(**{**values, "tokenizer": prepared.hub, "token_ids": token_ids(**ids), **changes})


def sample_ids(prepared: Prepared, prompt: str, code: str) -> list[int]:
    record = Record(prompt=prompt, reasoning="", code=code, language="python", source="", source_id="", problem="")
    return prepared.build([record])[0].ids


@pytest.mark.parametrize("name", slow_but(SMALL, BYTE_LEVEL))
def test_prompts_are_the_ids_of_training_samples(name: str, prepared: Callable[[str], Prepared]) -> None:
    """What stands before the program in a sample of the same statement is, id by id, the prompt."""
    tokenizer = prepared(name)
    checkpoint = checkpoint_of(tokenizer)
    sample = sample_ids(tokenizer, STATEMENT.prompt.strip(), "def f(x):\n    return sum(x)")
    for preset in ("chat", "chat-code"):
        prompt = prompter(checkpoint, preset, "mbpp").prompt_of(STATEMENT)
        assert sample[: len(prompt.token_ids)] == prompt.token_ids
        assert prompt.in_fence == (preset == "chat-code")
    assert len(prompt.token_ids) > 10
    alone = sample_ids(tokenizer, "", FUNCTION.prefix + "    return x")
    prompt = prompter(checkpoint, "program", "humaneval").prompt_of(FUNCTION)
    assert alone[: len(prompt.token_ids)] == prompt.token_ids
    assert prompt.begun == FUNCTION.prefix


@pytest.mark.parametrize("name", slow_but(SMALL, QUICK))
def test_prompts_decode_to_their_text(name: str, prepared: Callable[[str], Prepared]) -> None:
    """With any tokenizer the ids are the text, composed as the tokenizer composes it."""
    tokenizer = prepared(name)
    checkpoint = checkpoint_of(tokenizer)
    for preset in PRESETS:
        for problem in (FUNCTION, STATEMENT):
            if preset in ("mbpp-tests", "chat-signature"):
                continue
            prompt = prompter(checkpoint, preset, problem.benchmark).prompt_of(problem)
            text = tokenizer.hub.decode(prompt.token_ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
            expected = tokenizer.codec.normalize(prompt.text)
            assert "".join(text.split()) == "".join(expected.split())
            assert problem.prompt.strip()[:9] in prompt.text


@pytest.mark.parametrize("name", slow_but(SMALL, QUICK))
def test_a_canvas_is_the_program_with_masks(name: str, prepared: Callable[[str], Prepared]) -> None:
    """Between the parts of a program stand as many masks as asked for, and nowhere else; the text is the program's."""
    tokenizer = prepared(name)
    checkpoint = checkpoint_of(tokenizer)
    parts = ["def f(x):\n    return ", "\n\nprint(f(", "))\n"]
    for preset in ("program", "completion"):
        ids = prompter(checkpoint, preset, "humaneval-infilling").canvas_of(parts, [3, 2])
        mask = checkpoint.token_ids.mask
        text = tokenizer.hub.decode([token for token in ids if token != mask], clean_up_tokenization_spaces=False)
        assert "".join("".join(parts).split()) in "".join(text.split())
        runs = "".join("m" if token == mask else "." for token in ids).split(".")
        assert [len(run) for run in runs if run] == [3, 2]
        assert (preset == "program") == (ids[-1] == checkpoint.token_ids.eos)


def test_llada_does_not_declare_its_mask_token(prepared: Callable[[str], Prepared]) -> None:
    """A tokenizer that names no mask token makes the same prompts; so does that of a causal model, which has none."""
    tokenizer = prepared("trained")
    expected = prompter(checkpoint_of(tokenizer), "chat-code", "mbpp").prompt_of(STATEMENT)
    from transformers import AutoTokenizer

    undeclared: Any = AutoTokenizer.from_pretrained(tokenizer.folder)
    undeclared.mask_token = None
    for mask in (tokenizer.hub.mask_token_id, -1):
        ids = token_ids(mask=mask, eos=tokenizer.hub.eos_token_id)
        checkpoint = checkpoint_of(tokenizer, tokenizer=undeclared, token_ids=ids)
        assert prompter(checkpoint, "chat-code", "mbpp").prompt_of(STATEMENT) == expected


def test_the_default_goes_by_the_chat_template(prepared: Callable[[str], Prepared]) -> None:
    """A chat model gets its fence opened, a plain one goes on with the text, and MBPP's examples are shown where they are."""
    tokenizer = prepared("trained")
    from transformers import AutoTokenizer

    plain: Any = AutoTokenizer.from_pretrained(tokenizer.folder)
    plain.chat_template = None
    chat, bare = checkpoint_of(tokenizer), checkpoint_of(tokenizer, tokenizer=plain)
    shots = [Problem(task_id=task_id, benchmark="mbpp", prompt="", entry_point="", solution="") for task_id in SHOTS]
    assert prompter(chat, "auto", "humaneval").preset == "chat-code"
    assert prompter(chat, "auto", "humaneval-infilling").preset == "program"
    assert prompter(bare, "auto", "humaneval").preset == "completion"
    assert prompter(bare, "auto", "mbpp", shots).preset == "mbpp-tests"
    assert prompter(bare, "auto", "mbpp", shots[:2]).preset == "completion"
    assert prompter(bare, "auto", "humaneval-infilling").preset == "completion"


def test_the_default_goes_by_what_the_model_was_trained_on(prepared: Callable[[str], Prepared]) -> None:
    """A model of programs alone is shown programs; one that mostly saw problems, or does not say, is asked in a turn."""
    trained = {
        share: checkpoint_of(prepared("trained"), info=ExportInfo(token_ids=token_ids(), programs_alone=share))
        for share in (1.0, 0.51, 0.5, 0.0)
    }
    presets = {share: prompter(checkpoint, "auto", "mbpp").preset for share, checkpoint in trained.items()}
    assert presets == {1.0: "program", 0.51: "program", 0.5: "chat-code", 0.0: "chat-code"}
    assert prompter(trained[1.0], "chat", "mbpp").preset == "chat"
    assert prompter(checkpoint_of(prepared("trained")), "auto", "mbpp").preset == "chat-code"


@pytest.mark.parametrize(
    ("preset", "benchmark", "message"),
    [
        ("none", "mbpp", "choose from auto, chat"),
        ("mbpp-tests", "humaneval", "MBPP/2, MBPP/3, MBPP/4"),
        ("chat", "humaneval-infilling", "program or completion"),
        ("chat-signature", "mbpp", "is for exercises"),
        ("chat", "mbpp", "no chat template"),
    ],
)
def test_presets_that_cannot_be_had(preset: str, benchmark: str, message: str, prepared: Callable[[str], Prepared]) -> None:
    """A preset that does not fit benchmark or tokenizer is refused with what fits."""
    from transformers import AutoTokenizer

    plain: Any = AutoTokenizer.from_pretrained(prepared("trained").folder)
    plain.chat_template = None
    with pytest.raises(SettingsError, match=message):
        prompter(checkpoint_of(prepared("trained"), tokenizer=plain), preset, benchmark)


def test_examples_of_mbpp_are_solved_and_the_problem_is_not(shared_data: Path, tmp_path: Path) -> None:
    """The three examples stand before the problem with their solutions, each closed by the mark that ends an answer."""
    problems = read_problems("mbpp", split="sanitized", file=shared_data / "problems" / "sanitized-mbpp.json")
    maker = prompter(load_checkpoint(str(export_tiny(tmp_path))), "mbpp-tests", "mbpp", problems)
    problem = next(problem for problem in problems if problem.task_id == "MBPP/11")
    text = maker.prompt_of(problem).text
    assert text.count("[DONE]") == 3
    assert text.endswith("[BEGIN]\n")
    assert problem.solution.strip() not in text
    for shot in (candidate for candidate in problems if candidate.task_id in SHOTS):
        assert text.index(shot.solution.strip()) < text.index(problem.prompt.strip())


def test_an_exercise_says_what_its_function_is_called(prepared: Callable[[str], Prepared]) -> None:
    """Where that is asked for: models that were trained on exercises know it."""
    checkpoint = checkpoint_of(prepared("trained"))
    problem = next(problem for problem in read_problems("exercises") if "def solve(xs, n):" in problem.solution)
    plain, named = (
        prompter(checkpoint, preset, "exercises").prompt_of(problem).text for preset in ("chat-code", "chat-signature")
    )
    assert "solve" not in plain
    assert f"{problem.prompt}\n\nWrite the Python function `solve(xs, n)`." in named
    text = prompter(checkpoint, "chat-signature", "exercises").text_with("exercises")
    assert text.index("{prompt}") < text.index("{signature}")


def test_text_and_hash_distinguish_prompts(prepared: Callable[[str], Prepared]) -> None:
    """The stored text of a preset shows where the problem goes; different presets have different hashes."""
    checkpoint = checkpoint_of(prepared("trained"))
    makers = [prompter(checkpoint, preset, "humaneval") for preset in PRESETS if preset not in ("mbpp-tests", "chat-signature")]
    texts = [maker.text_with("humaneval") for maker in makers]
    assert all("{prompt}" in text for text in texts)
    assert len({digest(text) for text in texts}) == len(texts)
    assert digest_of_problems([FUNCTION]) != digest_of_problems([STATEMENT])
