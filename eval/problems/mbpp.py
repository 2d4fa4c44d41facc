"""MBPP (Austin et al. 2021): a function is written from one sentence and a few assertions. Its files, subsets and splits."""

import ast
import warnings

from syntaxdiff.eval.problems.problem import Problem
from syntaxdiff.eval.problems.row_format import RowFormat
from syntaxdiff.pipeline.errors import SourceError
from syntaxdiff.pipeline.json_records import Row

MBPP_ON_THE_HUB = "google-research-datasets/mbpp"
_TEST_NUMBERS = range(11, 511)  # prompt 1-10, test 11-510, validation 511-600, train 601-974 (Austin et al. 2021)


def mbpp_problem(row: Row) -> Problem:
    """MBPP's harness runs the program, then the setup and the assertions of ``test_list``, all in one namespace.

    The few ``challenge_test_list`` are not part of its score. The prompt has the statement and all assertions (Austin et al.
    2021, section 3). What the tests call of the program are the names that the reference defines and they use.
    """
    imports = "\n".join(row.get("test_imports", []))
    setup = row.get("test_setup_code", "")
    tests = "\n".join(part.replace("\r\n", "\n") for part in (imports, setup, *row["test_list"]) if part)
    code = row["code"].replace("\r\n", "\n")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "\\w" in old programs
        tree, tree_of_tests = ast.parse(code), ast.parse(tests)
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    classes = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
    used = {node.id for node in ast.walk(tree_of_tests) if isinstance(node, ast.Name)}
    proxied = tuple(dict.fromkeys(name for name in (*functions, *classes) if name in used))
    imported = [ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    statement = row["text"] if "text" in row else row["prompt"]
    shown = "\n".join(part.replace("\r\n", "\n").strip() for part in row["test_list"])
    return Problem(
        task_id=f"MBPP/{row['task_id']}",
        benchmark="mbpp",
        prompt=f"{statement.strip()}\nYour code should pass these tests:\n\n{shown}\n",
        entry_point=proxied[0],
        solution=code,
        support="\n".join(imported),
        tests=tests,
        proxied=proxied,
    )


FULL_MBPP = RowFormat(
    name="MBPP",
    listed="task_id, text, code, test_list, test_setup_code",
    fields=frozenset(("task_id", "text", "code", "test_list", "test_setup_code")),
    parse=mbpp_problem,
)
SANITIZED_MBPP = RowFormat(
    name="sanitized MBPP",
    listed="task_id, prompt, code, test_list, test_imports",
    fields=frozenset(("task_id", "prompt", "code", "test_list", "test_imports")),
    parse=mbpp_problem,
)


def rows_in_split(rows: list[Row], split: str) -> list[Row]:
    """The rows of a split of MBPP_SPLITS but ``plus``, by number, out of all rows of its subset."""
    if split in ("sanitized-test", "test"):
        rows = [row for row in rows if row["task_id"] in _TEST_NUMBERS]
    return sorted(rows, key=lambda row: int(row["task_id"]))


def rows_on_the_hub(subset: str) -> list[Row]:
    """All splits of a subset of MBPP, ``full`` or ``sanitized``. Raises SourceError where the hub cannot be reached."""
    import datasets

    try:
        splits = datasets.load_dataset(MBPP_ON_THE_HUB, subset)
    except Exception as error:  # datasets raises ValueError, ConnectionError, FileNotFoundError and kinds of its own
        reason = " ".join(str(error).split())
        raise SourceError(f"{MBPP_ON_THE_HUB} cannot be had from the hub ({reason}): name a file with --problems") from error
    return [dict(row) for rows in splits.values() for row in rows]
