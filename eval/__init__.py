"""Evaluation: benchmarks by denoising generation and sandboxed tests, reconstruction, syntax validity, reports, studies.

Rooms from the ground up: problems, sandbox, syntax and inference know nothing of those above them; prompting, benchmarks
and reconstruction use them; masks, report and study show and combine. DeepSpeed is never loaded.
"""
