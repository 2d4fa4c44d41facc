"""Prep: rows of any source in, verified shards out. ``build.py`` reads from top to bottom as the pipeline does.

What all three packages share stands at this level: errors, the shards' schema and manifest, JSON lines and records, the
progress bar. The rooms hold the stages: sources, rows, syntax, tokens, assembly; inspection looks at what they made. No part
of prep loads torch.
"""

from syntaxdiff.pipeline.lazy_names import public_names

__all__, __getattr__ = public_names(__name__, __file__)
