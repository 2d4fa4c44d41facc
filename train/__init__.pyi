from syntaxdiff.train.engine.checkpoints import RunState as RunState
from syntaxdiff.train.settings import Settings as Settings
from syntaxdiff.train.trainer import train as train

__version__: str
