"""Evaluation: benchmarks by denoising generation and sandboxed tests, reconstruction, syntax validity, reports, studies.

Rooms from the ground up: problems, then sandbox; inference; prompting, which uses problems and inference; syntax, which
writes the programs that it checks by prompting; benchmarks and reconstruction; masks, report and study show and combine.
DeepSpeed is never loaded.
"""

from typing import TYPE_CHECKING

from syntaxdiff.pipeline.lazy_names import lazy

if TYPE_CHECKING:
    from syntaxdiff.eval.benchmarks.compare import compare as compare
    from syntaxdiff.eval.benchmarks.config import EvaluationConfig as EvaluationConfig
    from syntaxdiff.eval.benchmarks.evaluate import evaluate as evaluate
    from syntaxdiff.eval.inference.checkpoint import load_checkpoint as load_checkpoint
    from syntaxdiff.eval.inference.config import GenerationConfig as GenerationConfig
    from syntaxdiff.eval.problems.problem import Problem as Problem
    from syntaxdiff.eval.problems.reader import read_problems as read_problems
    from syntaxdiff.eval.prompting.programs import generate as generate
    from syntaxdiff.eval.prompting.programs import infill as infill
    from syntaxdiff.eval.sandbox.sandbox import judge as judge
    from syntaxdiff.eval.sandbox.verdict import Verdict as Verdict

    __version__: str

__all__ = [
    "EvaluationConfig",
    "GenerationConfig",
    "Problem",
    "Verdict",
    "__version__",
    "compare",
    "evaluate",
    "generate",
    "infill",
    "judge",
    "load_checkpoint",
    "read_problems",
]

__getattr__ = lazy(
    __name__,
    {
        "EvaluationConfig": "benchmarks.config",
        "GenerationConfig": "inference.config",
        "Problem": "problems.problem",
        "Verdict": "sandbox.verdict",
        "compare": "benchmarks.compare",
        "evaluate": "benchmarks.evaluate",
        "generate": "prompting.programs",
        "infill": "prompting.programs",
        "judge": "sandbox.sandbox",
        "load_checkpoint": "inference.checkpoint",
        "read_problems": "problems.reader",
    },
)
