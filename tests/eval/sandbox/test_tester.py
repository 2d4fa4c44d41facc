"""What a program and its tests see of each other: as if they stood side by side, and no more."""

from collections.abc import Iterator

import pytest
from execution_data import verdict

from syntaxdiff.eval.sandbox.sandbox import Sandbox
from syntaxdiff.eval.sandbox.verdict import Status


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.mark.parametrize(
    ("program", "tests"),
    [
        ("def f(x): x.append(1)", "x = [0]\nassert f(x) is None\nassert x == [0, 1]"),
        ("def f(x): x.clear(); x.update(a=1)", "x = {'b': 2}\nf(x)\nassert x == {'a': 1}"),
        ("def f(x): x.add(1)", "x = {0}\nf(x)\nassert x == {0, 1}"),
        ("def f(x): x.popleft()", "from collections import deque\nx = deque([1, 2])\nf(x)\nassert x == deque([2])"),
        ("def f(x): x[0] = 7", "import numpy as np\nx = np.arange(2)\nf(x)\nassert x.tolist() == [7, 1]"),
        ("def f(g, x): return [g(one) for one in x]", "assert f(lambda one: one + 1, [1, 2]) == [2, 3]"),
        ("def f(x, key=None): return sorted(x, key=key)", "assert f([1, -2], key=abs) == [1, -2]"),
        ("def f(g):\n try: g()\n except Exception: return 'caught'", "def g(): raise ValueError\nassert f(g) == 'caught'"),
        ("def f(g): return g", "def g(): pass\nassert f(g) is g"),
        ("def f(n): return f(n - 1) if n else 'end'", "assert f(3) == 'end'"),
        ("def f(n): return (i for i in range(n))", "assert list(f(3)) == [0, 1, 2]\nassert sum(f(4)) == 6"),
        ("def f(n):\n while True: yield n", "import itertools\nassert list(itertools.islice(f(1), 3)) == [1, 1, 1]"),
        ("def f(n): return map(str, range(n))", "assert f(2) != ['0', '1']\nassert list(f(2)) == ['0', '1']"),
        ("def f(x): return lambda y: x + y", "assert f(1)(2) == 3"),
        (
            "class Pair:\n def __init__(self, a): self.a = a\ndef f(p): return p.a",
            "assert f(Pair(5)) == 5\nassert Pair(6).a == 6",
        ),
        (
            "class Pair:\n def __init__(self): self.next = None\ndef f(p): return p.next.next is p",
            "a = Pair()\na.next = Pair()\na.next.next = a\nassert f(a)",
        ),
        ("class Pair:\n pass\np = Pair()\ndef f(): return p", "a = f()\nassert a != f.__class__\nassert a is a"),
        ("class Pair:\n def get(self, x=1): return [x]\ndef f(): return Pair()", "assert f().get(x=3) == [3]"),
        (
            "def f(): raise ValueError('no', 3)",
            "try: f()\nexcept ValueError as e: assert e.args == ('no', 3)\nelse: assert False",
        ),
        ("class E(KeyError): pass\ndef f(): raise E", "try: f()\nexcept LookupError: pass\nelse: assert False"),
        ("def f(): return {1: (2.0, {3}), None: b'x'}", "assert f() == {1: (2.0, {3}), None: b'x'}"),
        ("from collections import namedtuple\nP = namedtuple('P', 'x')\ndef f(): return [P(1)]", "assert f() == [(1,)]"),
        (
            "import numpy as np\ndef f(): return np.float64(1.5), np.arange(2)",
            "a, b = f()\nassert a == 1.5 and list(b) == [0, 1]",
        ),
        ("import re\ndef f(s): return re.search('b', s)", "assert f('abc') and not f('x') and f('abc').start() == 1"),
        ("def f(): return 10 ** 5000", "assert f() == 10 ** 5000"),
        ("import json, __future__\ndef f(): return __name__ == '__main__'", "assert not f()"),
        (
            "from __future__ import annotations\nimport dataclasses\n"
            "@dataclasses.dataclass\nclass Pair:\n a: int\ndef f(): return Pair(1).a",
            "assert f() == 1",
        ),
        ("import random\nA = random.random()\ndef f(): return A", "assert f() == 0.8444218515250481"),
        ("def f(): return list({'a', 'b', 'c', 'd'})", "assert f() == list({'a', 'b', 'c', 'd'})"),
        (
            "import threading\nfound = []\ndef f():\n t = threading.Thread(target=found.append, args=(1,))\n"
            " t.start()\n t.join()\n return found",
            "assert f() == [1]",
        ),
        ("import os\ndef f():\n open('a', 'w').write('x')\n return os.listdir()", "assert f() == ['a']"),
        ("import os\ndef f(): return dict(os.environ), os.listdir()", "assert f() == ({}, [])"),
        ("import asyncio\nasync def g(): return 3\ndef f(): return asyncio.run(g())", "assert f() == 3"),
        (
            "import statistics, hashlib, decimal, csv, zoneinfo, difflib\ndef f(): return hashlib.md5(b'').hexdigest()[:4]",
            "assert f() == 'd41d'",
        ),
    ],
    ids=range(34),
)
def test_a_program_behaves_as_if_it_shared_a_module_with_its_tests(sandbox: Sandbox, program: str, tests: str) -> None:
    """Arguments changed in place, functions handed over, the program's own classes, generators, exceptions, any numbers."""
    if "threading" in program and not sandbox.isolation.layers["user"].is_active:
        pytest.skip("threads cannot be bounded here")
    if "'a', 'w'" in program and not sandbox.isolation.layers["mount-namespace"].is_active:
        pytest.skip("no folder of bounded size can be had here")
    found = verdict(sandbox, program, tests)
    assert found.has_passed, found


@pytest.mark.parametrize(
    ("program", "tests", "status", "detail"),
    [
        ("def f(): return 2", "s = '''\x0c\u2028\x85'''\nassert f() == 1", Status.WRONG, "assert f() == 1"),
        ("def f(): return 4", "assert True\nassert f() == 5, 'five'", Status.WRONG, "assert f() == 5, 'five': five"),
        ("def f(): return None", "assert len(f()) == 5", Status.ERROR, "in the tests: assert len(f()) == 5"),
        ("def f(): return 1 / 0", "f()", Status.ERROR, "ZeroDivisionError: division by zero"),
        ("class Odd(ValueError): pass\ndef f(): raise Odd('x')", "f()", Status.ERROR, "Odd: x"),
        ("x = 1", "f()", Status.ERROR, "NameError: name 'f' is not defined"),
        ("def g(): return undefined\ng()", "pass", Status.ERROR, "NameError: name 'undefined' is not defined"),
        ("def f(:", "pass", Status.SYNTAX_ERROR, "invalid syntax"),
        ("x = '\0'", "pass", Status.SYNTAX_ERROR, "null bytes"),
        ("x = '\ud800'", "pass", Status.SYNTAX_ERROR, "UnicodeEncodeError"),
        ("x = " + "(" * 300 + ")" * 300, "pass", Status.SYNTAX_ERROR, "too many nested parentheses"),
        ("def f(): exec('(')", "f()", Status.ERROR, "SyntaxError"),
        (
            "import signal\ndef f(): signal.setitimer(signal.ITIMER_REAL, 0.1)",
            "import time\nf()\ntime.sleep(0.5)\nf()",
            Status.KILLED,
            "by SIGALRM",
        ),
        ("import torch", "pass", Status.ERROR, "ModuleNotFoundError: No module named 'torch'"),
    ],
)
def test_a_verdict_says_what_happened(sandbox: Sandbox, program: str, tests: str, status: Status, detail: str) -> None:
    """The assertion's line, the exception's name and message, and where it came from."""
    found = verdict(sandbox, program, tests)
    assert found.status is status
    assert detail in found.detail


@pytest.mark.parametrize(
    ("program", "tests"),
    [
        (
            "import enum\nclass C(enum.IntEnum):\n A = 2\ndef f(): return C.A",
            "assert f() == 2 and f() in (1, 2) and {2: 1}[f()]",
        ),
        ("import enum\nclass C(enum.StrEnum):\n A = 'a'\ndef f(): return [C.A]", "assert f() == ['a'] and ''.join(f()) == 'a'"),
        ("class I(int): pass\ndef f(x): x.append(I(3))", "x = []\nf(x)\nassert x == [3]"),
        ("class I(int): pass\ndef f(g): return g(I(3), key=I(4))", "assert f(lambda x, key: [x, key]) == [3, 4]"),
        ("class I(int): pass\ndef f():\n yield I(3)", "assert list(f()) == [3]"),
        ("class L(list): pass\nclass I: pass\ni = I()\ni.x = L([1])\ndef f(): return i", "assert f().x == [1]"),
        ("class I(int): pass\ndef f(): raise ValueError(I(3))", "try: f()\nexcept ValueError as e: assert e.args == (3,)"),
        ("class f(int):\n def __new__(cls, a, b): return int.__new__(cls, a + b)", "assert f(1, 2) == 3"),
        # Objects of a class that the tests name are for the program: what its class has is kept.
        (
            "from collections import namedtuple\nPair = namedtuple('Pair', 'a b')\ndef f(p): return p[0].b",
            "assert f([Pair(1, 2)]) == 2",
        ),
        ("class Pair(list):\n def last(self): return self[-1]\ndef f(p): return p.last()", "assert f(Pair([1, 2])) == 2"),
        ("class I(int): pass\ndef Pair(): return I(3)\ndef f(): pass", "assert Pair() == 3"),
    ],
    ids=range(11),
)
def test_results_of_subclasses_are_their_plain_values(sandbox: Sandbox, program: str, tests: str) -> None:
    """In whatever way they get to the tests; objects that the tests make of the program's classes stay objects."""
    found = verdict(sandbox, program, tests)
    assert found.has_passed, found


def test_objects_of_the_program_are_equal_to_themselves_alone(sandbox: Sandbox) -> None:
    """Not by their class's word, in either order."""
    program = "class Pair:\n def __eq__(self, other): return True\ndef f(): return Pair()"
    for tests in ("assert f() == 5", "assert 5 == f()", "assert f() == f()", "assert f() in [1, 2]", "assert [f()] == [3]"):
        assert verdict(sandbox, program, tests).status is Status.WRONG


def test_nothing_is_left_for_the_next_program(sandbox: Sandbox) -> None:
    """What one program patched, wrote or printed is not there for the next, on the same worker."""
    first = """
        import builtins, math, sys, os
        math.pi = 3
        builtins.mark = sys.mark = 1
        sys.path.clear()
        try: open("mark", "w").write("x")
        except PermissionError: pass
        def f(): return 1
    """
    second = """
        import builtins, math, sys, os, calendar, turtledemo
        def f(): return math.pi > 3, hasattr(builtins, "mark"), hasattr(sys, "mark"), os.listdir(), bool(sys.path)
    """
    for _ in range(3):
        assert verdict(sandbox, first, "assert f() == 1").has_passed
    for _ in range(3):
        found = verdict(sandbox, second, "assert f() == (True, False, False, [], True)")
        assert found.has_passed, found
