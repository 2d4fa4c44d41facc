"""Answers that are none, for problems that compare with the reference's: what they hold, or how they compare, is not plain.

Arrays of which all elements are equal because there are none, values that are equal to nothing or to everything, and objects
whose comparison gives something that is no bool.
"""

from textwrap import dedent

from syntaxdiff.eval.problems.problem import Problem

# A name and an expression; what it needs is defined below.
ANSWERS = {
    "array without elements, seven axes": "np.empty((0, 1, 1, 1, 1, 1, 1), dtype=object)",
    "array without elements, one axis": "np.empty(0)",
    "array without elements, many": "np.empty((0, 7))",
    "array without elements, two in a row": "np.empty((1, 0))",
    "array without elements, of texts": "np.array([], dtype=str)",
    "array without elements, of complex numbers": "np.empty(0, dtype=complex)",
    "array without elements in a list": "[np.empty(0)]",
    "array without elements in lists": "[[np.empty((0, 1), dtype=object)]]",
    "array without elements in a tuple": "(np.empty(0),) * 2",
    "array without elements in a dictionary": "{'a': np.empty(0), 'b': np.empty(0)}",
    "array without elements in an array": "holding(np.empty(0, dtype=object))",
    "array of arrays without elements": "np.array([holding(np.empty(0))], dtype=object)",
    "array without axes": "np.array(None, dtype=object)",
    "array of NaN": "np.full(1, np.nan)",
    "array of nothing": "np.empty(1, dtype=object)",
    "array of ones": "np.ones(3)",
    "array of True": "np.ones((1, 1, 1), dtype=bool)",
    "matrix without elements": "np.matrix(np.empty((0, 1)))",
    "masked array": "np.ma.masked_all(3)",
    "masked array without elements": "np.ma.empty(0)",
    "masked number": "np.ma.masked",
    "structured array": "np.zeros(1, dtype=[('a', int)])",
    "structured array without elements": "np.zeros(0, dtype=[('a', int)])",
    "structured number": "np.zeros(1, dtype=[('a', int)])[0]",
    "record array": "np.rec.array([(1,)], dtype=[('a', int)])",
    "character array": "np.char.array([])",
    "array of dates without elements": "np.array([], dtype='M8[D]')",
    "no time": "np.datetime64('NaT')",
    "array that is always true": "np.empty(0).view(AlwaysTrue)",
    "array that is equal to everything": "np.ones(1).view(EqualArray)",
    "array that takes over the comparison": "np.ones(1).view(OwnRules)",
    "NaN": "float('nan')",
    "NaN of numpy": "np.float64('nan')",
    "NaN in a list": "[math.nan]",
    "NaN in a tuple": "(math.nan, math.nan)",
    "complex NaN": "complex('nan')",
    "decimal NaN": "decimal.Decimal('NaN')",
    "signalling NaN": "decimal.Decimal('sNaN')",
    "infinity": "math.inf",
    "compares as a list": "ComparesAs([1])",
    "compares as a text": "ComparesAs('no')",
    "compares as an array": "ComparesAs(np.ones(3))",
    "compares as an array without elements": "ComparesAs(np.empty(0))",
    "equal to everything in a list": "[ComparesAs(True)]",
    "number that compares as a list": "NumberComparesAs(7)",
    "key that is equal to everything": "{ComparesAs(True): ComparesAs(True)}",
    "set of what is equal to everything": "{ComparesAs(True)}",
    "not implemented": "NotImplemented",
    "ellipsis": "...",
    "an iterator without elements": "iter(())",
    "a generator of what is equal to everything": "(ComparesAs(True) for _ in range(3))",
    "a list within nothing": "[[]]",
    "lists within nothing": "[[], []]",
    "a view": "{}.values()",
    "a range": "range(0)",
    "a counter of nothing": "collections.Counter()",
    "a type": "int",
    "a function": "print",
    "a namespace": "types.SimpleNamespace()",
}
_HEAD = dedent(
    """
    import collections, decimal, math, types
    import numpy as np
    def holding(one):
        array = np.empty((), dtype=object)
        array[()] = one
        return array
    class ComparesAs:
        def __init__(self, outcome): self.outcome = outcome
        def __eq__(self, other): return self.outcome
        def __ne__(self, other): return False
        def __hash__(self): return 0
        def __le__(self, other): return True
        def __sub__(self, other): return self
        def __abs__(self): return self
        def __float__(self): return 0.0
    class NumberComparesAs(int):
        def __eq__(self, other): return [1]
        __hash__ = int.__hash__
    class AlwaysTrue(np.ndarray):
        def __bool__(self): return True
        def all(self, *arguments, **named): return True
    class EqualArray(np.ndarray):
        def __eq__(self, other): return True
    class OwnRules(np.ndarray):
        def __array_ufunc__(self, *arguments, **named): return True
        def __array_function__(self, *arguments, **named): return True
    """
)


def program_of(answer: str, name: str) -> str:
    """A program whose function gives an answer, whatever it is asked."""
    return f"{_HEAD}\ndef {name}(*a, **k): return {answer}\n"


# A reference for each type that references return, and for each rule of its own; the tolerance, and the inputs.
_REFERENCES = (
    ("humaneval", "def number(x): return x + 1", 0.0, [[1], [-1], [0]]),
    ("humaneval", "def real(x): return x / 3", 0.0, [[1.0], [0.0]]),
    ("humaneval", "def near(x): return x / 3", 1e-6, [[1.0], [0.0]]),
    ("humaneval", "def text(x): return x * 2", 0.0, [["a"], [""]]),
    ("humaneval", "def truth(x): return x > 0", 0.0, [[1], [0]]),
    ("humaneval", "def maybe(x): return x or None", 0.0, [[0], [2]]),
    ("humaneval", "def numbers(x): return x", 0.0, [[[]], [[5]], [[5, 6, 7]]]),
    ("humaneval", "def one_real(x): return [x / 3]", 0.0, [[1.0], [2.0]]),
    ("humaneval", "def near_numbers(x): return x", 1e-6, [[[5]], [[5, 6]]]),
    ("humaneval", "def pair(x): return x, x / 3", 0.0, [[1.0], [2.0]]),
    ("humaneval", "def find_zero(xs): return 0.5", 1e-4, [[[-1.0, 2.0]], [[-0.5, 1.0]]]),
    ("mbpp", "def rows(x): return [[x], [x]]", 0.0, [[1], [2]]),
    ("mbpp", "def table(x): return {'a': x, 'b': x}", 0.0, [[1], [2]]),
    ("mbpp", "def group(x): return {x}", 0.0, [[1], [2]]),
    ("mbpp", "import collections\ndef count(x): return collections.Counter(x)", 0.0, [["a"], ["bb"]]),
    ("mbpp", "def Diff(x): return [x]", 0.0, [[1], [2]]),
    ("mbpp", "def larg_nnum(x): return [x / 3]", 0.0, [[1.0], [2.0]]),
    ("mbpp", "import re\ndef check_str(x): return re.search('a', x)", 0.0, [["a"], ["b"]]),
    ("mbpp", "def sum_div(x): return x + 1", 0.0, [[1], [2]]),
    ("mbpp", "def surface_Area(x, y): return round(2 * x * y + x ** 2)", 0.0, [[3, 4], [4, 5]]),
    ("mbpp", "def digit_distance_nums(x, y): return abs(x - y)", 0.0, [[1, 3], [5, 9]]),
)


def _problem(benchmark: str, reference: str, tolerance: float, inputs: list[list[object]]) -> Problem:
    name = reference.rpartition("def ")[2].partition("(")[0]
    return Problem(
        task_id=name,
        benchmark=f"{benchmark}-plus",
        prompt="",
        entry_point=name,
        solution=reference,
        support=reference,
        inputs=inputs,
        tolerance=tolerance,
    )


PROBLEMS = tuple(_problem(*parts) for parts in _REFERENCES)
