"""``deepspeed train/run.py --ds-config ds_zero3.json``: parses, trains, says in one line what went wrong."""

import os
import sys
import warnings
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # ranks that share cores must not spin
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from syntaxdiff.pipeline.errors import SyntaxdiffError
from syntaxdiff.train.settings import parser, read_settings


def main() -> int:
    """Trains; 0, or 2 for what a user can mend."""
    arguments = parser().parse_args()
    try:
        settings = read_settings(arguments)
        # DeepSpeed takes seconds to import: --help and a wrong option do not wait for it.
        from syntaxdiff.train.engine import start_processes, stop_processes
        from syntaxdiff.train.trainer import train

        start_processes()
        try:
            train(settings, Path(arguments.ds_config))
        finally:
            stop_processes()
    except SyntaxdiffError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
        return 2
    return 0


if __name__ == "__main__":
    warnings.filterwarnings("ignore", category=FutureWarning)
    sys.exit(main())
