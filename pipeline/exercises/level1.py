"""Level 1: one list of numbers, filtered, mapped and reduced. About what a model of a few million weights learns in minutes."""

from syntaxdiff.pipeline.exercises.pieces import Domain, Filter, Map, Reduction

NUMBERS = Domain(
    name="numbers",
    parameters=("xs",),
    kind="int",
    noun=("number", "numbers"),
    where="in xs",
    loops=("for x in xs",),
    variables=(("x",), ("value",), ("item",), ("num",)),
    is_list=True,
)

FILTERS = (
    Filter(
        name="even", kind="int", before=("even",), after=("divisible by two",), condition="x % 2 == 0", opposite="x % 2 != 0"
    ),
    Filter(
        name="odd", kind="int", before=("odd",), after=("not divisible by two",), condition="x % 2 == 1", opposite="x % 2 != 1"
    ),
    Filter(
        name="positive", kind="int", before=("positive",), after=("greater than zero",), condition="x > 0", opposite="x <= 0"
    ),
    Filter(name="negative", kind="int", before=("negative",), after=("less than zero",), condition="x < 0", opposite="x >= 0"),
    Filter(name="nonzero", kind="int", before=("nonzero",), after=("other than zero",), condition="x != 0", opposite="x == 0"),
    Filter(
        name="above", kind="int", parameters=("n",), after=("greater than n", "above n"), condition="x > n", opposite="x <= n"
    ),
    Filter(name="below", kind="int", parameters=("n",), after=("less than n", "below n"), condition="x < n", opposite="x >= n"),
    Filter(
        name="multiple", kind="int", parameters=("n",), after=("divisible by n",), condition="x % n == 0", opposite="x % n != 0"
    ),
    Filter(name="one-digit", kind="int", after=("with one digit",), condition="abs(x) < 10", opposite="abs(x) >= 10"),
)

MAPS = (
    Map(name="square", kind="int", result="int", wordings=("the squares of {}",), expression="x * x"),
    Map(name="double", kind="int", result="int", wordings=("twice {}", "the doubles of {}"), expression="2 * x"),
    Map(name="negate", kind="int", result="int", wordings=("the negatives of {}",), expression="-x"),
    Map(name="absolute", kind="int", result="int", wordings=("the absolute values of {}",), expression="abs(x)"),
    Map(name="plus", kind="int", result="int", parameters=("n",), wordings=("n plus {}", "n added to {}"), expression="x + n"),
    Map(name="last-digit", kind="int", result="int", wordings=("the last digits of {}",), expression="abs(x) % 10"),
    Map(name="cube", kind="int", result="int", wordings=("the cubes of {}",), expression="x ** 3"),
    Map(name="half", kind="int", result="int", wordings=("the rounded halves of {}",), expression="x // 2"),
)

REDUCTIONS = (
    Reduction(
        name="sum",
        result="int",
        wordings=("Return the sum of {}.", "Add up {}."),
        names=("total",),
        start=("ACC = 0",),
        step=("ACC += E",),
        end="ACC",
        whole="sum(S)",
    ),
    Reduction(
        name="distinct",
        result="int",
        wordings=("Return how many different values there are among {}.", "Count {} without repeats."),
        names=("seen",),
        start=("ACC = set()",),
        step=("ACC.add(E)",),
        end="len(ACC)",
        whole="len(set(S))",
    ),
    Reduction(
        name="largest",
        result="int or None",
        wordings=("Return the largest of {}, or None.", "Find the maximum of {}, or None."),
        singular=("Return the largest {}, or None.",),
        names=("best",),
        start=("ACC = None",),
        step=("if ACC is None or E > ACC:", "    ACC = E"),
        end="ACC",
        whole="max(S, default=None)",
    ),
    Reduction(
        name="smallest",
        result="int or None",
        wordings=("Return the smallest of {}, or None.", "Find the minimum of {}, or None."),
        singular=("Return the smallest {}, or None.",),
        names=("best",),
        start=("ACC = None",),
        step=("if ACC is None or E < ACC:", "    ACC = E"),
        end="ACC",
        whole="min(S, default=None)",
    ),
    Reduction(
        name="list",
        result="list",
        wordings=("Return a list of {}.", "Collect {}."),
        start=("ACC = []",),
        step=("ACC.append(E)",),
        end="ACC",
        whole="[S]",
    ),
    Reduction(
        name="reversed",
        result="list",
        wordings=("Return {} in reverse order.",),
        start=("ACC = []",),
        step=("ACC.append(E)",),
        end="ACC[::-1]",
        whole="[S][::-1]",
    ),
    Reduction(
        name="sorted",
        result="list",
        wordings=("Return {} in ascending order.", "Sort {}."),
        start=("ACC = []",),
        step=("ACC.append(E)",),
        end="sorted(ACC)",
        whole="sorted(S)",
    ),
    Reduction(
        name="product",
        result="int",
        wordings=("Return the product of {}.", "Multiply {}."),
        names=("total",),
        start=("ACC = 1",),
        step=("ACC *= E",),
        end="ACC",
        whole="math.prod(S)",
        imports="math",
    ),
    Reduction(
        name="mean",
        result="float",
        wordings=("Return the mean of {}, or 0.",),
        names=("total",),
        start=("ACC = 0", "count = 0"),
        step=("ACC += E", "count += 1"),
        end="ACC / count if count else 0",
    ),
    Reduction(
        name="any-above-ten",
        result="bool",
        wordings=("Return whether any of {} is larger than 10.",),
        step=("if E > 10:", "    return True"),
        end="False",
        whole="any(v > 10 for v in S)",
    ),
)
