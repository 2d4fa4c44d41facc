from syntaxdiff.pipeline.build import build_shards as build_shards
from syntaxdiff.pipeline.config import BuildConfig as BuildConfig
from syntaxdiff.pipeline.errors import SyntaxdiffError as SyntaxdiffError
from syntaxdiff.pipeline.inspection.verification import verify as verify
from syntaxdiff.pipeline.shard import Manifest as Manifest
from syntaxdiff.pipeline.shard import SampleRow as SampleRow
from syntaxdiff.pipeline.shard import iter_rows as iter_rows
from syntaxdiff.pipeline.shard import read_manifest as read_manifest

__version__: str
