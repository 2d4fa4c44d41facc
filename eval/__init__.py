"""Evaluation: benchmarks by denoising generation and sandboxed tests, reconstruction, syntax validity, reports, studies.

Rooms from the ground up: problems, then sandbox; inference; prompting, which uses problems and inference; syntax, which writes
the programs that it checks by prompting; benchmarks and reconstruction; masks, report and study show and combine. stats.py has
intervals and tests, pages.py the environment of the HTML templates. DeepSpeed is never loaded.
"""

from syntaxdiff.pipeline.lazy_names import public_names

__all__, __getattr__ = public_names(__name__, __file__)
