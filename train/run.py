"""``deepspeed train/run.py --ds-config ds_zero3.json``: parses, trains, says in one line what went wrong.

Of an installed package: ``python -m syntaxdiff.train.run``, or ``deepspeed --module syntaxdiff.train.run``.
"""

import os
import sys
import warnings

# Started as a script, its own folder comes first on the path, where a room (`data`, `model`) would be found as a package.
if sys.path and sys.path[0] == os.path.dirname(os.path.abspath(__file__)):
    del sys.path[0]
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # ranks that share cores must not spin
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from syntaxdiff.pipeline.errors import SyntaxdiffError
from syntaxdiff.train.settings import parser, read_settings


def main() -> int:
    """Trains; 0, or 2 for what a user can mend, or 130 for a second Ctrl-C."""
    arguments = parser().parse_args()
    try:
        settings = read_settings(arguments)
        # DeepSpeed takes seconds to import: --help and a wrong option do not wait for it.
        from syntaxdiff.train.trainer import train

        train(settings, arguments.ds_config)
    except SyntaxdiffError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
        return 2
    except KeyboardInterrupt:
        print("interrupted: the same command resumes from the last checkpoint", file=sys.stderr, flush=True)
        return 130
    return 0


if __name__ == "__main__":
    warnings.filterwarnings("ignore", category=FutureWarning)
    sys.exit(main())
