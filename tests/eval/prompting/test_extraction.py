"""The program in an answer: right wherever a model may put it, and never something that stands nowhere."""

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syntaxdiff.eval.problems.problem import Problem
from syntaxdiff.eval.problems.reader import read_problems
from syntaxdiff.eval.prompting.extraction import RULES, extract, preamble
from syntaxdiff.eval.prompting.prompts import Prompt

HEAD = 'from typing import List\n\n\ndef helper(x):\n    return x\n\n\ndef solve(values: List[int]) -> int:\n    """Sum."""\n'
BODY = "    total = 0\n    for value in values:\n        total += helper(value)\n    return total\n"
WHOLE = f"def solve(values: List[int]) -> int:\n{BODY}"
PROBLEM = Problem(
    task_id="T/0", benchmark="humaneval", prompt=HEAD, entry_point="solve", solution=BODY, prefix=HEAD, support=HEAD + BODY
)
STATEMENT = Problem(task_id="T/1", benchmark="mbpp", prompt="Sum.", entry_point="solve", solution=WHOLE)
CHAT = Prompt("", [], "", False)
FENCE = Prompt("", [], "", True)
CONTINUED = Prompt("", [], HEAD, False)
IMPORTS = "from typing import List\n\n\ndef helper(x):\n    return x\n\n\n"


def fenced(code: str, tag: str = "python") -> str:
    return f"```{tag}\n{code}```\n"


@pytest.mark.parametrize(
    ("answer", "prompt", "program", "rule"),
    [
        ("", CHAT, "", "none"),
        ("I cannot do that.", CHAT, "", "none"),
        (fenced(WHOLE), CHAT, IMPORTS + WHOLE, "fenced"),
        ("Sure:\n\n" + fenced(WHOLE, "Python3") + "\nThis sums.", CHAT, IMPORTS + WHOLE, "fenced"),
        (f"<think>\n{fenced('def solve(): wrong')}</think>\n\n{fenced(WHOLE)}", CHAT, IMPORTS + WHOLE, "fenced"),
        (f"<think>\n{fenced(WHOLE)}", CHAT, "", "none"),  # the thought was cut off: its drafts are no answer
        (f"mid-thought</think>{fenced(WHOLE)}", CHAT, IMPORTS + WHOLE, "fenced"),
        (fenced(WHOLE) + "Used so:\n" + fenced("print(solve([1]))\n"), CHAT, IMPORTS + WHOLE, "fenced"),
        (fenced("def solve(x): pass\n") + "Better:\n" + fenced(WHOLE), CHAT, IMPORTS + WHOLE, "fenced"),
        (
            fenced("$ pip install x\n", "bash") + fenced("x = 1\n", "") + fenced("1\n", "text"),
            CHAT,
            IMPORTS + "x = 1\n",
            "fenced",
        ),
        (f"Here:\n```python\n{WHOLE}", CHAT, IMPORTS + WHOLE, "fenced"),  # the answer was cut off in the fence
        (
            f"1. Do\n\n   ```python\n{''.join('   ' + line for line in WHOLE.splitlines(True))}   ```\n",
            CHAT,
            IMPORTS + WHOLE,
            "fenced",
        ),
        (fenced(BODY), CHAT, HEAD + BODY, "body"),
        (BODY, CHAT, HEAD + BODY, "body"),
        (BODY + "\nprint(solve([1]))\n", CHAT, HEAD + BODY, "body"),
        (WHOLE, CHAT, IMPORTS + WHOLE, "unfenced"),
        (f"The function:\n{WHOLE}\nIt works.\nHave fun.", CHAT, IMPORTS + WHOLE, "unfenced"),
        (f"import math\n{WHOLE}", CHAT, IMPORTS + f"import math\n{WHOLE}", "unfenced"),
        ("def solve(:\n  oops", CHAT, IMPORTS + "def solve(:\n  oops\n", "unfenced"),
        (WHOLE + "```\nDone.", FENCE, WHOLE, "continued"),
        (WHOLE, FENCE, WHOLE, "continued"),
        (fenced(WHOLE), FENCE, IMPORTS + WHOLE, "fenced"),  # it opens a fence of its own
        (BODY, CONTINUED, HEAD + BODY, "continued"),
        (BODY + "\n\ndef main():\n    pass\n", CONTINUED, HEAD + BODY + "\n", "continued"),
        (BODY + "```\nprose", CONTINUED, HEAD + BODY, "continued"),
        *[(BODY + stop, CONTINUED, HEAD + BODY.rstrip("\n"), "continued") for stop in ("class A:", "#", "if x:", "print(1)")],
        (BODY.replace("\n", "\r\n"), CONTINUED, HEAD + BODY, "continued"),
    ],
)
def test_forms_of_answers(answer: str, prompt: Prompt, program: str, rule: str) -> None:
    """Each form of answer gives its program by its rule; what a prompt has before its function is kept."""
    assert extract(answer, PROBLEM, prompt) == (program, rule)


FUTURE = "from __future__ import annotations\n"


@pytest.mark.parametrize(
    ("answer", "prompt", "program", "rule"),
    [
        (fenced(FUTURE + WHOLE), CHAT, FUTURE + IMPORTS + WHOLE, "fenced"),
        (fenced(f"'''Sums.'''\n# coding: utf-8\n{FUTURE}\n" + WHOLE), CHAT, None, "fenced"),
        (fenced("'''Sums.'''\n" + WHOLE), CHAT, "'''Sums.'''\n" + IMPORTS + WHOLE, "fenced"),
        (fenced(FUTURE + IMPORTS + WHOLE), CHAT, FUTURE + IMPORTS + IMPORTS + WHOLE, "fenced"),
        (fenced(f"    {FUTURE}\n" + "".join("    " + line for line in WHOLE.splitlines(True))), CHAT, None, "fenced"),
        (fenced("from __future__ import (\n    annotations\n); import math\n" + WHOLE), CHAT, None, "fenced"),
        (FUTURE + WHOLE + "\nIt sums.\n", CHAT, FUTURE + IMPORTS + WHOLE, "unfenced"),
        (fenced(FUTURE + WHOLE), FENCE, FUTURE + IMPORTS + WHOLE, "fenced"),
        (FUTURE + WHOLE + "```\n", Prompt("", [], HEAD, True), FUTURE + HEAD + WHOLE, "continued"),
        (FUTURE + WHOLE + "```\n", FENCE, FUTURE + WHOLE, "continued"),
    ],
)
def test_a_whole_answer_may_begin_with_future_imports(answer: str, prompt: Prompt, program: str | None, rule: str) -> None:
    """By every rule that gives whole programs; they stay first, and what the prompt has before its function goes after them."""
    found = extract(answer, PROBLEM, prompt)
    assert found.rule == rule
    assert program is None or found.program == program
    namespace: dict[str, Any] = {}
    exec(compile(found.program, "<program>", "exec", dont_inherit=True), namespace)
    assert namespace["solve"]([1, 2]) == 3 if "helper" in namespace else prompt is FENCE


@pytest.mark.parametrize("answer", [fenced(BODY), BODY])
def test_a_body_stays_in_its_function(answer: str) -> None:
    """Nothing of it is a header, text at its begin neither."""
    assert extract(answer.replace(BODY, "    'text'\n" + BODY), PROBLEM, CHAT) == (HEAD + "    'text'\n" + BODY, "body")


def test_the_end_of_a_shot_ends_the_program() -> None:
    """What a model writes after the mark that ended the examples is not part of its program."""
    assert extract(f"{WHOLE}[DONE]\n\nYou are an expert", STATEMENT, CHAT) == (WHOLE, "unfenced")


lines = st.sampled_from(
    ["x = 1", "    y", "", "def solve(x):", "```", "````", "~~~", "```python", "<think>", "</think>", "a b", "```x`"]
)


@settings(deadline=None)
@given(st.lists(lines | st.text(max_size=12), max_size=12).map("\n".join), st.sampled_from((CHAT, FENCE, CONTINUED)))
def test_a_program_holds_nothing_but_prompt_and_answer(answer: str, prompt: Prompt) -> None:
    """Whatever a model writes, there is a program, and each of its lines stands in the prompt's code or in the answer."""
    program, rule = extract(answer, PROBLEM, prompt)
    assert rule in RULES
    assert program == "" or rule != "none"
    known = {line.strip() for line in (HEAD + answer.replace("\r\n", "\n")).split("\n")}
    assert all(any(line.strip() in text for text in known) for line in program.split("\n"))


code = st.lists(
    st.sampled_from(["x = 1", "def solve(v):", "    return v", "", "# ``", "s = '~~'"]), min_size=1, max_size=8
).map(lambda lines: "\n".join(lines) + "\n")
prose = st.lists(st.sampled_from(["So:", "", "- `x`", "1. def", "    quoted"]), max_size=4).map(
    lambda lines: "\n".join([*lines, ""])
)


@settings(deadline=None)
@given(prose, code.filter(lambda text: text.strip() != "" and text[0] != " "), prose, st.sampled_from(["```", "````", "~~~"]))
def test_a_fenced_program_comes_back_whole(before: str, text: str, after: str, fence: str) -> None:
    """The one block of an answer is its program, byte for byte, whatever prose stands around it."""
    assert extract(f"{before}{fence}python\n{text}{fence}\n{after}", STATEMENT, CHAT) == (text, "fenced")


def test_every_reference_comes_back(shared_data: Path) -> None:
    """The solutions of HumanEval, in each form that a model may write them in, give programs that hold them and parse."""
    for problem in read_problems("humaneval", file=shared_data / "problems" / "HumanEval.jsonl.gz"):
        assert extract(problem.solution, problem, Prompt("", [], problem.prefix, True)).program == problem.reference
        # References that define a helper behind the function, at the left edge, stop there: Chen et al. stopped so too.
        plain = extract(problem.solution, problem, Prompt("", [], problem.prefix, False)).program
        assert problem.reference.startswith(plain)
        whole = problem.reference[len(preamble(problem)) :]
        assert whole.startswith(f"def {problem.entry_point}(")
        for answer in (f"Here it is.\n\n{fenced(whole)}", whole):
            program = extract(answer, problem, CHAT).program
            assert program.rstrip() == problem.reference.rstrip()
            ast.parse(program)


def test_every_reference_of_mbpp_comes_back(shared_data: Path, rows: Callable[[str], list[dict[str, Any]]]) -> None:
    """Likewise for MBPP, where there is no function to continue."""
    for problem in read_problems("mbpp", split="sanitized", file=shared_data / "problems" / "sanitized-mbpp.json"):
        assert extract(fenced(problem.solution + "\n"), problem, CHAT) == (problem.solution + "\n", "fenced")
        assert extract(problem.solution, problem, FENCE).program == problem.solution
