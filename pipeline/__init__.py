"""Prep: rows of any source in, verified shards out. ``build.py`` reads from top to bottom as the pipeline does.

What all three packages share stands at this level: errors, the shards' schema, JSON lines. The rooms hold the stages:
sources, rows, syntax, tokens, assembly; inspection looks at what they made. No part of prep loads torch.
"""

from typing import TYPE_CHECKING

from syntaxdiff.pipeline.lazy_names import lazy

if TYPE_CHECKING:
    from syntaxdiff.pipeline.build import build_shards as build_shards
    from syntaxdiff.pipeline.config import BuildConfig as BuildConfig
    from syntaxdiff.pipeline.errors import SyntaxdiffError as SyntaxdiffError
    from syntaxdiff.pipeline.inspection.verification import verify as verify
    from syntaxdiff.pipeline.shard import Manifest as Manifest
    from syntaxdiff.pipeline.shard import SampleRow as SampleRow
    from syntaxdiff.pipeline.shard import iter_rows as iter_rows
    from syntaxdiff.pipeline.shard import read_manifest as read_manifest

    __version__: str

__all__ = [
    "BuildConfig",
    "Manifest",
    "SampleRow",
    "SyntaxdiffError",
    "__version__",
    "build_shards",
    "iter_rows",
    "read_manifest",
    "verify",
]

__getattr__ = lazy(
    __name__,
    {
        "BuildConfig": "config",
        "Manifest": "shard",
        "SampleRow": "shard",
        "SyntaxdiffError": "errors",
        "build_shards": "build",
        "iter_rows": "shard",
        "read_manifest": "shard",
        "verify": "inspection.verification",
    },
)
