"""Syntax repair: the program is found, its faults land on tokens, and only a better version of what was written stays."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from answers import generate, infill
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_checkpoint import diffusion, export_tiny, token_ids, tokenizer
from torch import Tensor, nn

from syntaxdiff.eval.inference.answer import Repair
from syntaxdiff.eval.inference.canvas import new_canvas
from syntaxdiff.eval.inference.checkpoint import load_checkpoint
from syntaxdiff.eval.inference.config import GenerationConfig
from syntaxdiff.eval.inference.language_model import LanguageModel
from syntaxdiff.eval.inference.repair import Diagnosis, find_faults, find_program, to_hide
from syntaxdiff.train.model.denoiser import Inputs

IDS = token_ids()
PROMPT = [5, *tokenizer().encode("sum", add_special_tokens=False), *IDS.assistant_header]
GOOD = "```python\ndef solve(values):\n    return values\n```"
BROKEN = "```python\ndef solve(values:\n    return values\n```"


@pytest.mark.parametrize(
    ("text", "turn_from", "written_from", "expected"),
    [
        ("x = 1", None, 0, ("x = 1", "python")),
        ("x = 1", 0, 0, None),
        ("a\n```python\nx\n```\nb", 0, 0, ("x\n", "python")),
        ("```cpp\nx\n```", 0, 0, ("x\n", "cpp")),
        ("```\nx\n```", 0, 0, ("x\n", "python")),
        ("```haskell\nx\n```", 0, 0, None),
        ("```haskell\nx\n```", None, 0, None),
        ("```python\nx", 0, 0, ("x", "python")),
        ("```python", 0, 0, ("", "python")),
        ("```python\n", 0, 10, None),  # nothing was written
        ("```python\nx", 0, 10, ("x", "python")),
        ("```python\nask\n```\nanswer", 0, 20, None),
        ("```python\nask\n```\n```python\nx\n```", 0, 20, ("x\n", "python")),
        ("```python\na\n```\n```text\nb\n```\n", 0, 0, ("a\n", "python")),
        ("<think>\n```python\na\n```\n</think>\n```python\nb\n```", 0, 0, ("b\n", "python")),
        ("<think>\n```python\na\n</think>\n```python\nb\n```", 0, 0, ("b\n", "python")),
        ("[assistant] ```python\nx\n```", 12, 12, ("x\n", "python")),  # the turn begins within a line
        ("ask:\n```\n\n```python\nx\n```", 9, 9, ("x\n", "python")),  # the question's fence never closes
        ("````python\n```\n````", 0, 0, ("```\n", "python")),
        ("~~~python\nx\n~~~", 0, 0, ("x\n", "python")),
    ],
)
def test_the_program_is_found(text: str, turn_from: int | None, written_from: int, expected: tuple[str, str] | None) -> None:
    """The last fenced block of a known language that the answer is part of; the whole text where there are no turns."""
    found = find_program(text.encode(), turn_from, written_from, "python")
    assert (found and (text[found.start_byte : found.end_byte], found.language)) == expected


def test_sound_code_has_no_faults() -> None:
    """Nothing to mend in code that parses, empty code included."""
    for code in (b"", b"x = 1\n", "def f():\n    return 'é'\n".encode()):
        faults = find_faults(code, "python")
        assert faults.error_bytes == 0
        assert not faults.is_faulty.any()
        assert not faults.missing


def test_faults_spare_sound_subtrees() -> None:
    """An ERROR counts all its bytes, and blames those outside of sound subtrees; a missing token is a place."""
    code = b"def f(x):\n    return g(x, y)\n\ndef ) h():\n    pass\n"
    faults = find_faults(code, "python")
    assert faults.error_bytes > 0
    blamed = {code[place : place + 1] for place in np.flatnonzero(faults.is_faulty)}
    assert b")" in blamed
    assert not faults.is_faulty[: code.index(b"\n\n")].any()
    missing = find_faults(b"x = (1 + 2\n", "python")
    assert missing.error_bytes >= 1
    assert missing.missing or missing.is_faulty.any()


@settings(deadline=None, max_examples=100)
@given(code=st.text(alphabet="def f(x):\n =+'\"é", max_size=40))
def test_faults_of_any_text(code: str) -> None:
    """Error bytes are 0 exactly where nothing is at fault, and never more than the text and what it misses."""
    faults = find_faults(code.encode(), "python")
    at_fault = bool(faults.is_faulty.any()) or bool(faults.missing)
    assert at_fault == (faults.error_bytes > 0)
    assert faults.error_bytes <= len(code.encode()) + len(faults.missing)


@settings(deadline=None, max_examples=100)
@given(
    faulty=st.lists(st.booleans(), min_size=1, max_size=30),
    is_open=st.lists(st.booleans(), min_size=30, max_size=30),
    near=st.integers(1, 8),
    seed=st.integers(0, 99),
)
def test_what_is_hidden(faulty: list[bool], is_open: list[bool], near: int, seed: int) -> None:
    """All written tokens at fault, and of the written ones near a fault as many of the least confident, two at least.

    Of all these the less confident, where they are more than half of what was written.
    """
    size = len(faulty)
    canvas = new_canvas([5] * (size + 3), 9, seed=0, key="", device=torch.device("cpu"))
    canvas.is_open = torch.tensor([False] * 3 + is_open[:size])
    canvas.confidence = torch.rand(size + 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    diagnosis = Diagnosis(start=3, end=size + 3, language="python", error_bytes=1, is_faulty_T=np.array(faulty))
    hidden = to_hide(canvas, diagnosis, near)
    assert all(canvas.is_open[place] for place in hidden)
    at_fault = [place for place in range(size) if faulty[place] and is_open[place]]
    around = [
        place
        for place in range(size)
        if is_open[place] and place not in at_fault and any(faulty[max(0, place - near) : place + near + 1])
    ]
    wanted = min(len(around), max(2, len(at_fault)))
    ordered = sorted(around, key=lambda place: float(canvas.confidence[place + 3]))
    all_wanted = at_fault + ordered[:wanted]
    most = -(-sum(is_open[:size]) // 2)
    all_wanted.sort(key=lambda place: float(canvas.confidence[place + 3]))
    assert hidden == sorted(place + 3 for place in all_wanted[:most])


class Oracle(nn.Module):
    """A denoiser that knows a text: it writes ``first`` while most is masked, and ``later`` once most is there.

    It is less sure of what the texts do not share, and would write it last: tests fill a block in one step.
    """

    def __init__(self, first: list[int], later: list[int]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.shift, self.timestep = False, None
        self.texts = torch.tensor([first, later])
        self.network = SimpleNamespace(config=SimpleNamespace(vocab_size=310, max_position_embeddings=512), lm_head=self.logits)

    def hidden(self, inputs: Inputs) -> Tensor:
        assert inputs.position_BL is not None
        is_late = (inputs.ids_BL == IDS.mask).double().mean(dim=1, keepdim=True) < 0.5
        return torch.stack([inputs.position_BL.double(), is_late.expand(inputs.ids_BL.shape).double()], dim=-1)

    def logits(self, hidden_BND: Tensor) -> Tensor:
        place_BN, is_late_BN = hidden_BND.long().unbind(-1)
        token_BN = self.texts[is_late_BN, place_BN]
        is_shared_BN = self.texts[0, place_BN] == self.texts[1, place_BN]
        return nn.functional.one_hot(token_BN, 310) * torch.where(is_shared_BN, 20.0, 6.0)[..., None]


def encoded(text: str) -> list[int]:
    """One token a character, so that texts of equal length have equally many."""
    ids: list[int] = []
    for character in text:
        ids += tokenizer().encode(character, add_special_tokens=False)
    return ids


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_tiny(tmp_path_factory.mktemp("repair"))


def scripted(export: Path, first: str, later: str, *, ends: bool = True) -> tuple[LanguageModel, int]:
    """A checkpoint that writes a text, and the number of tokens to write."""
    assert len(encoded(first)) == len(encoded(later))
    end = list(IDS.end_of_turn) if ends else []
    model = Oracle([*PROMPT, *encoded(first), *end], [*PROMPT, *encoded(later), *end])
    return dataclasses.replace(diffusion(), model=model, folder=export), len(encoded(first)) + len(end)


@pytest.mark.parametrize("cache", ["none", "prefix", "dual"])
@pytest.mark.parametrize("early_stop", [False, True])
@pytest.mark.parametrize("batch_size", [1, 2])
def test_a_model_that_knows_better_mends_its_program(export: Path, cache: str, early_stop: bool, batch_size: int) -> None:
    """A wrong token is hidden and predicted again with the rest in view; the report says so, and the trace replays to it."""
    wrong = GOOD.replace("values):", "values::")
    checkpoint, size = scripted(export, wrong, GOOD)
    options = GenerationConfig(
        gen_length=size, block_length=64, num_steps=1, cache=cache, early_stop=early_stop, batch_size=batch_size
    )
    (plain,) = generate(checkpoint, [PROMPT], options)
    assert plain.text == wrong
    assert plain.repair is None
    repaired = generate(checkpoint, [PROMPT] * 2, dataclasses.replace(options, syntax_repair=2), with_trace=True)
    for answer in repaired:
        assert answer.text == GOOD
        assert answer.repair is not None
        assert (answer.repair.language, answer.repair.rounds, answer.repair.error_bytes_after) == ("python", 1, 0)
        assert answer.repair.error_bytes_before > 0
        assert answer.num_forward > plain.num_forward
        written: dict[int, int] = {}
        for commit in answer.trace or []:
            written |= dict(zip(commit.positions, commit.token_ids, strict=True))
        assert [written[len(PROMPT) + place] for place in range(len(answer.token_ids))] == answer.token_ids


def test_a_model_that_knows_no_better_keeps_its_program(export: Path) -> None:
    """Rounds are bounded, and what they write is dropped where it has no fewer error bytes."""
    for later in (BROKEN, BROKEN.replace("return", "re(urn")):
        checkpoint, size = scripted(export, BROKEN, later)
        options = GenerationConfig(gen_length=size, block_length=64, num_steps=1, syntax_repair=3)
        (answer,) = generate(checkpoint, [PROMPT], options)
        assert answer.text == BROKEN
        assert answer.repair is not None
        assert answer.repair.rounds == 3
        assert answer.repair.error_bytes_after == answer.repair.error_bytes_before > 0


def test_a_shorter_program_is_no_better(export: Path) -> None:
    """A fence that closes early would leave fewer bytes to be wrong: that version is dropped."""
    first = "```python\nx = 1\n=(( = 2)\n    zz\n```"
    later = "```python\nx = 1\n```\n= 2)\n    zz\n```"
    checkpoint, size = scripted(export, first, later)
    (answer,) = generate(checkpoint, [PROMPT], GenerationConfig(gen_length=size, block_length=64, num_steps=1, syntax_repair=3))
    assert answer.text == first


def test_repair_of_a_stopped_answer_stays_before_its_end(export: Path) -> None:
    """What was never written behind an early end is not written by the rounds either."""
    wrong, end = GOOD.replace("values):", "values::"), [IDS.eos] * 200
    model = Oracle([*PROMPT, *encoded(wrong), *end], [*PROMPT, *encoded(GOOD), *end])
    checkpoint = dataclasses.replace(diffusion(), model=model, folder=export)
    options = GenerationConfig(gen_length=160, block_length=32, num_steps=5, syntax_repair=2)
    (answer,) = generate(checkpoint, [PROMPT], options, with_trace=True)
    assert answer.text == GOOD
    assert max(place for commit in answer.trace or [] for place in commit.positions) < len(PROMPT) + 64


def test_repair_writes_no_ends(export: Path) -> None:
    """A model that would rather end the answer within its program has to write something else there."""
    size = len(PROMPT) + len(encoded(BROKEN))
    model = Oracle([*PROMPT, *encoded(BROKEN)], [IDS.eos] * size)
    checkpoint = dataclasses.replace(diffusion(), model=model, folder=export)
    options = GenerationConfig(gen_length=size - len(PROMPT), block_length=64, num_steps=1, syntax_repair=1)
    (answer,) = generate(checkpoint, [PROMPT], options, with_trace=True)
    assert answer.repair is not None
    assert answer.repair.num_hidden > 0
    assert not checkpoint.end_ids & {token for commit in answer.trace or [] for token in commit.token_ids}


def test_programs_without_errors_are_left_alone(export: Path) -> None:
    """No round for a program that parses, and none for an answer without a program."""
    for text, language in ((GOOD, "python"), ("no program", None)):
        checkpoint, size = scripted(export, text, text)
        (answer,) = generate(checkpoint, [PROMPT], GenerationConfig(gen_length=size, syntax_repair=3))
        assert answer.repair == Repair(language=language, rounds=0, num_hidden=0, error_bytes_before=0, error_bytes_after=0)


def test_given_code_is_never_hidden(export: Path) -> None:
    """Infilling in broken code: the rounds touch what was masked, and nothing else."""
    text = "def f(x:\n    return (x)\ny = [2\n"
    ids = encoded(text)
    gap = range(13, 19)
    canvas = [IDS.mask if place in gap else token for place, token in enumerate(ids)]
    checkpoint = dataclasses.replace(diffusion(), folder=export)
    (answer,) = infill(checkpoint, [canvas], GenerationConfig(syntax_repair=2), with_trace=True)
    assert answer.repair is not None
    assert answer.repair.rounds == 2
    assert all(new == old for new, old in zip(answer.token_ids, canvas, strict=True) if old != IDS.mask)
    assert IDS.mask not in answer.token_ids
    assert {place for commit in answer.trace or [] for place in commit.positions} == set(gap)


@settings(deadline=None, max_examples=8)
@given(
    seed=st.integers(0, 3),
    cache=st.sampled_from(["none", "dual"]),
    temperature=st.sampled_from([0.0, 1.0]),
    early_stop=st.booleans(),
    rounds=st.integers(1, 3),
)
def test_repair_keeps_every_promise(
    export: Path, seed: int, cache: str, temperature: float, early_stop: bool, rounds: int
) -> None:
    """On a model that writes nonsense: never more error bytes, no masks, no growth, and no dependence on neighbours."""
    checkpoint = dataclasses.replace(diffusion(seed=seed), folder=export)
    fence = tokenizer().encode("```python\n", add_special_tokens=False)
    prompts: list[list[int]] = [[*PROMPT, *fence], encoded("def f(x):\n"), [*PROMPT, *fence, *encoded("x = (")]]
    options: dict[str, Any] = {
        "gen_length": 14, "block_length": 6, "cache": cache, "temperature": temperature, "early_stop": early_stop,
    }  # fmt: skip
    plain = generate(checkpoint, prompts, GenerationConfig(**options))
    alone = generate(checkpoint, prompts, GenerationConfig(**options, syntax_repair=rounds))
    assert generate(checkpoint, prompts, GenerationConfig(**options, syntax_repair=rounds, batch_size=3)) == alone
    for answer, before in zip(alone, plain, strict=True):
        assert answer.repair is not None
        assert answer.repair.rounds <= rounds
        assert answer.repair.error_bytes_after <= answer.repair.error_bytes_before
        assert IDS.mask not in answer.token_ids
        assert len(answer.token_ids) == len(before.token_ids)
        if answer.repair.error_bytes_after == answer.repair.error_bytes_before:
            assert answer.token_ids == before.token_ids


def test_repair_reads_a_loaded_checkpoint(export: Path) -> None:
    """The tokenizer's codec comes from the checkpoint's own folder."""
    (answer,) = generate(load_checkpoint(str(export)), [encoded("x = (")], GenerationConfig(gen_length=8, syntax_repair=1))
    assert answer.repair is not None
    assert answer.repair.language == "python"
