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
