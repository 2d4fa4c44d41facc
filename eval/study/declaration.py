"""What a study compares, as it is declared in studies.toml or in a file of that form: arms, and sizes at which to run them.

Only reading and checking is here; what is made of it is in study.py.
"""

import dataclasses
import tomllib
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.pipeline.json_records import Json
from syntaxdiff.train.settings import Settings

STUDIES = Path(__file__).with_name("studies.toml")
START = "start"  # the arm that is not trained
PACKAGE = "package:"  # before the name of an installed package, whose Python files are a source
Options: TypeAlias = dict[str, Json]  # of a command: names without dashes before them, and values


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A way to mask.

    Attributes:
        says: in a sentence, for who reads the outcome
        options: of the trainer; none for START
    """

    says: str
    options: Options = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where programs come from.

    Attributes:
        src: as of ``syntaxdiff-prep build --src``; or ``package:NAME``, the Python files of an installed package
        prompt_field, response_field: of a file of JSON lines whose names prep does not know
        is_optional: leave it out where it is absent
    """

    src: str
    prompt_field: str | None = None
    response_field: str | None = None
    is_optional: bool = False

    def __post_init__(self) -> None:
        if (self.prompt_field is None) != (self.response_field is None):
            raise SettingsError(f"source {self.src}: name prompt-field and response-field, or neither")


@dataclass(frozen=True, kw_only=True)
class Data:
    """Shards: sources, and options of ``syntaxdiff-prep build``."""

    sources: tuple[Source, ...]
    options: Options = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Start:
    """What all arms go on from.

    Attributes:
        weights: a name of ``gguf_import``, turned into a folder first, whose tokenizer the shards get too
        options: of the trainer
    """

    weights: str | None = None
    options: Options


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Learning rates that are tried on one arm; all arms then train at the one of the least loss under uniform masks.

    Attributes:
        tolerance: nats; of rates that come so close to the least loss the largest is taken, for it moves models furthest
    """

    arm: str
    learning_rates: tuple[float, ...]
    tolerance: float = 0.0
    options: Options = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Training:
    """Options of the trainer for every arm."""

    options: Options


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Options of ``syntaxdiff-eval`` commands; one that is absent is not run.

    Attributes:
        benchmark_seeds: seeds whose models write programs for humaneval and mbpp; None: all
    """

    loss: Options
    reconstruct: Options
    humaneval: Options | None = None
    mbpp: Options | None = None
    benchmark_seeds: tuple[int, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """What a size was made for, and the figures of its estimate.

    Attributes:
        gpus: of one training run; 0: a CPU
        parameters: of the model
        tokens_a_sample: mean length
        flops: of dense bf16 of one GPU, or of one core, a second
        utilisation: share of them that the work reaches
        price: of a GPU and hour, in dollars; 0: none
    """

    gpus: int = 0
    parameters: float = 5.3e6
    tokens_a_sample: int = 150
    flops: float = 1e12
    utilisation: float = 0.1
    price: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """One size: everything that decides its figures, as results keep it, whatever this version would accept.

    Attributes:
        says: for whom it is, in a sentence
        method, references: the arm that claims something, and those that it is compared with
        seeds: of order, noise and masks; each arm runs with each
        jobs: processes at a time
        threads: of each on a CPU: figures are reproduced only with the same number
        arms: by name, in the order in which they are shown
        deepspeed: the JSON of every training run
    """

    name: str
    says: str
    method: str
    references: tuple[str, ...]
    seeds: tuple[int, ...]
    jobs: int
    threads: int
    data: Data
    start: Start
    train: Training
    evaluate: Evaluation
    deepspeed: Options
    arms: dict[str, Arm]
    sweep: Sweep | None = None
    hardware: Hardware = field(default_factory=Hardware)


@dataclass(frozen=True, kw_only=True)
class Study(Declaration):
    """A declaration that can be run. Raises SettingsError where it names what there is not."""

    def __post_init__(self) -> None:
        for what, name in (("method", self.method), *(("references", name) for name in self.references)):
            if name not in self.arms:
                raise SettingsError(f"study {self.name}: {what} names {name}, which is no arm ({', '.join(self.arms)})")
        if self.start.options.get("seed", 0) in self.seeds:
            raise SettingsError(
                f"study {self.name}: the start's seed is among the seeds: an arm would see its samples and masks again"
            )
        if self.sweep is not None and self.sweep.arm not in self.arms:
            raise SettingsError(f"study {self.name}: sweep names {self.sweep.arm}, which is no arm")
        for what in ("seeds", "jobs", "threads"):
            if not getattr(self, what):
                raise SettingsError(f"study {self.name}: {what} must be at least one")
        trained = [arm for name, arm in self.arms.items() if name != START]
        if START not in self.arms or not trained:
            raise SettingsError(f"study {self.name}: an arm {START} and one other at least are needed")
        for options in (self.start.options, *(self.train.options | arm.options for arm in trained)):
            self.check(options)
        if self.sweep is not None:
            self.check(self.train.options | self.sweep.options)

    def check(self, options: Options) -> None:
        """Raises SettingsError where the trainer would refuse its options."""
        known = {entry.name for entry in dataclasses.fields(Settings)}
        named = {name.replace("-", "_"): value for name, value in options.items()}
        if unknown := sorted(set(named) - known):
            raise SettingsError(f"study {self.name}: {unknown[0]} is no option of the trainer")
        Settings(**typing.cast(Any, named))


def read_studies(path: Path = STUDIES) -> dict[str, Study]:
    """The sizes of a file, by name.

    Raises:
        SettingsError: the file cannot be read, or declares what cannot be
    """
    try:
        declared = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} cannot be read as TOML: {' '.join(str(error).split())}") from error
    arms = {name: _arm(name, table) for name, table in declared.pop("arms", {}).items()}
    studies = {}
    for name, table in declared.items():
        chosen = table.pop("arms", list(arms)) if isinstance(table, dict) else []
        if unknown := [arm for arm in chosen if arm not in arms]:
            raise SettingsError(f"study {name}: {unknown[0]} is no arm ({', '.join(arms)})")
        studies[name] = _read(Study, table, f"study {name}", name=name, arms={arm: arms[arm] for arm in chosen})
    return studies


def _arm(name: str, table: Any) -> Arm:
    if not isinstance(table, dict) or "says" not in table:
        raise SettingsError(f"arm {name}: a table with `says` and options of the trainer is needed")
    return Arm(says=table["says"], options={key: value for key, value in table.items() if key != "says"})


def _read(kind: Any, table: Any, where: str, **given: Any) -> Any:
    """A dataclass of a TOML table, with dashes for underscores; tables inside it likewise."""
    if not isinstance(table, dict):
        raise SettingsError(f"{where} must be a table")
    kinds = typing.get_type_hints(kind)
    values = dict(given)
    for key, value in table.items():
        name = key.replace("-", "_")
        if name not in kinds or name in given:
            raise SettingsError(f"{where}: {key!r} is not known; {', '.join(sorted(kinds.keys() - given))} are")
        values[name] = _value(kinds[name], value, f"{where}, {key}")
    try:
        return kind(**values)
    except TypeError as error:
        raise SettingsError(f"{where}: {error}") from error


def _value(kind: Any, value: Any, where: str) -> Any:
    options = [option for option in typing.get_args(kind) if option is not type(None)]
    origin = typing.get_origin(kind)
    if origin is tuple:
        if not isinstance(value, list):
            raise SettingsError(f"{where} must be a list")
        return tuple(_value(options[0], item, where) for item in value)
    if origin is dict:
        if not isinstance(value, dict):
            raise SettingsError(f"{where} must be a table")
        return value
    if origin is not None:  # a union with None
        return _value(options[0], value, where)
    if dataclasses.is_dataclass(kind):
        return _read(kind, value, where)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise SettingsError(f"{where} must be {kind.__name__}, not {value!r}")
    return value
