"""The command ``syntaxdiff-eval``: which commands there are, and in which module each one is."""

import os

import click

from syntaxdiff.pipeline.command_line import LazyGroup

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads of torch must not spin where others use the cores too

COMMANDS = {
    "humaneval": ("syntaxdiff.eval.benchmarks.command:humaneval", "Pass@1 on HumanEval or HumanEval+."),
    "mbpp": ("syntaxdiff.eval.benchmarks.command:mbpp", "Pass@1 on MBPP or MBPP+."),
    "exercises": ("syntaxdiff.eval.benchmarks.command:exercises", "Pass@1 on exercises that a small model can learn."),
    "infilling": ("syntaxdiff.eval.benchmarks.command:infilling", "Pass@1 on HumanEval's infilling problems."),
    "compare": ("syntaxdiff.eval.benchmarks.command:compare", "Results side by side, with significance and programs."),
    "generate": ("syntaxdiff.eval.prompting.command:generate", "A prompt, or a file of prompts, to programs."),
    "infill": ("syntaxdiff.eval.prompting.command:infill", "A program with holes, filled."),
    "reconstruct": (
        "syntaxdiff.eval.reconstruction.command:reconstruct",
        "How well masked programs of the shards are restored.",
    ),
    "loss": ("syntaxdiff.eval.reconstruction.command:loss", "The validation loss under several kinds of masks."),
    "study": ("syntaxdiff.eval.study.command:study", "The paper's comparison, from data to a page."),
    "syntax": ("syntaxdiff.eval.syntax.command:syntax", "Whether written programs parse and compile."),
    "report": ("syntaxdiff.eval.report.command:report", "One page about training runs and results."),
    "masks": ("syntaxdiff.eval.masks.command:masks", "What the corruption does to one sample."),
}


@click.group(cls=LazyGroup, table=COMMANDS)
@click.version_option(package_name="syntaxdiff")
def main() -> None:
    """Evaluate a model, have it write programs, and look at what it is trained on.

    \b
    syntaxdiff-eval mbpp --ckpt out/
    syntaxdiff-eval humaneval --ckpt out/ --limit 10
    syntaxdiff-eval reconstruct --ckpt out/ --data data/
    syntaxdiff-eval study smoke
    syntaxdiff-eval compare out/eval/mbpp-sanitized-test other/eval/mbpp-sanitized-test
    syntaxdiff-eval report out/ out/eval/humaneval --html report.html
    syntaxdiff-eval generate --ckpt out/ "Write a function that reverses a list."
    syntaxdiff-eval masks data/ --index 3 --strategy random --strategy ast-span --mask-rate 0.3
    """


if __name__ == "__main__":
    main()
