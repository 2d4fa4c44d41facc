"""The settings of a training run: one frozen dataclass, from the command line, a file, or both; stored in the output folder.

Optimizer, schedule, precision, ZeRO, batch sizes and monitors are in the DeepSpeed JSON (config.py).
"""

import argparse
import dataclasses
import json
import tomllib
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.train.corruption.config import (
    CURRICULA,
    OBJECTIVES,
    STRATEGIES,
    VALIDATION_OBJECTIVES,
    CorruptionConfig,
    Curriculum,
    OperatorShares,
    default_objective,
)
from syntaxdiff.train.deepspeed_json.help import AUTO_HELP, STARTER
from syntaxdiff.train.model.sizes import PRESETS

LAYOUTS = ("llama", "llada")
BEST_BY = ("random", "strategy")
DEFAULT = "default"
_BEFORE = {"best_by": "strategy", "validation_objective": "inverse-rate"}  # of runs older than the options


def _option(group: str, text: str, default: Any, *, choices: Sequence[str] | None = None) -> Any:
    return field(default=default, metadata={"group": group, "help": text, "choices": choices})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a run is asked to do; every field is a long option of the same name."""

    data: str = _option("data", "folder of shards", "data")
    out: str = _option("data", "folder that receives checkpoints, metrics and the model", "out")
    max_length: int | None = _option("data", "most tokens of a sample [the shards' own]", None)
    window_rows: int = _option("data", "rows that are shuffled among each other", 2048)
    group_by_length: bool = _option("data", "put samples of like length into one micro-batch", False)
    pack: bool = _option("data", "put several samples of a micro-batch into one sequence, without attention across them", False)
    eos_pad: int = _option("data", "append a random number of up to N end tokens to each sample", 0)

    model: str | None = _option(
        "model",
        f"preset ({', '.join(PRESETS)}), folder, or hub name [LLaDA-8B-Instruct for shards with its tokenizer, else tiny]",
        None,
    )
    init_from: str | None = _option("model", "start from the weights of this exported model, with a fresh optimizer", None)
    shift: bool = _option("model", "position i - 1 predicts token i, for models trained so (Dream)", False)
    timestep_embedding: bool = _option("model", "add a learned embedding of the mask rate", False)
    activation_checkpointing: bool = _option(
        "model", "compute activations again in backward: less memory, a third slower", False
    )
    lora_rank: int = _option("model", "train low-rank adapters of this rank instead of all weights", 0)
    lora_alpha: float = _option("model", "scale of the adapters [twice the rank]", 0.0)

    strategy: str = _option("corruption", "how code is masked", "ast-span", choices=STRATEGIES)
    objective: str | None = _option(
        "corruption",
        "what is scored, with which weights [region-share for ast-span and random-matched, whose marginals are unknown; "
        "else inverse-rate]",
        None,
        choices=OBJECTIVES,
    )
    max_span_share: float = _option("corruption", "leave out spans longer than this share of the code", 1.0)
    curriculum: str = _option("corruption", "how the ceiling of the mask rate moves", "low-noise-first", choices=CURRICULA)
    low_ceiling: float = _option("corruption", "the ceiling where there is least noise", 0.2)
    drop: float = _option("corruption", "share of subtrees whose tokens become padding", 0.0)
    shuffle: float = _option("corruption", "share in which sibling subtrees of equal length change places", 0.0)
    relabel: float = _option("corruption", "share replaced by others of the same kind, arity and length", 0.0)
    placeholder: float = _option("corruption", "share whose names and literals become fillers", 0.0)

    epochs: float = _option("length", "passes over the data", 1.0)
    max_steps: int | None = _option("length", "optimizer steps, instead of epochs", None)
    seed: int = _option("length", "of weights, order, noise and masks", 0)
    learning_rate: float | None = _option("length", "peak [5e-5 for pretrained weights, a preset's own]", None)
    warmup_share: float = _option("length", "share of the steps that warm up", 0.1)
    micro_batch: int | None = _option("length", "samples of a forward pass, where the JSON says auto", None)
    accumulation: int | None = _option("length", "forward passes of a step, where the JSON says auto", None)

    validate_every: int = _option("validation", "steps between validations; 0: only at the end", 50)
    validation_samples: int | None = _option(
        "validation", "samples of the validation split that are used [1000, or fewer: a tenth of the cost of training]", None
    )
    validation_objective: str | None = _option(
        "validation",
        "weights of the validation loss; `default`: of each strategy its own default objective [default]",
        None,
        choices=(DEFAULT, *VALIDATION_OBJECTIVES),
    )
    best_by: str | None = _option(
        "validation",
        "masks whose validation loss chooses the best checkpoint and stops early: uniform, or those of --strategy [random]",
        None,
        choices=BEST_BY,
    )
    patience: int = _option("validation", "stop after so many validations without improvement; 0: never", 5)
    sample_every: int = _option("validation", "steps between programs denoised for a look; 0: never", 200)
    log_every: int = _option("validation", "steps between printed lines where there is no terminal for a bar; 0: never", 10)

    save_every: int = _option("checkpoints", "steps between checkpoints; 0: only at the end", 200)
    keep: int = _option("checkpoints", "newest checkpoints that are kept, besides the best", 2)
    resume: str = _option(
        "checkpoints", "`auto`: go on from the newest whole checkpoint; `never`; or a checkpoint's folder", "auto"
    )
    export_layout: str = _option("checkpoints", "names of the exported tensors", "llama", choices=LAYOUTS)

    def __post_init__(self) -> None:
        for entry in dataclasses.fields(self):
            value, choices = getattr(self, entry.name), entry.metadata["choices"]
            if choices and value is not None and value not in choices:
                raise SettingsError(f"{_flag(entry.name)} {value}: choose from {', '.join(choices)}")
        at_least_one = ("window_rows", "keep", "max_length", "max_steps", "micro_batch", "accumulation")
        every = ("validate_every", "sample_every", "log_every", "save_every")
        counts = ("eos_pad", "lora_rank", "validation_samples", "patience", *every)
        for name in (*at_least_one, *counts):
            value = getattr(self, name)
            least = 1 if name in at_least_one else 0
            if value is not None and value < least:
                raise SettingsError(f"{_flag(name)} {value} must be at least {least}")
        if self.epochs <= 0:
            raise SettingsError(f"--epochs {self.epochs} must be more than 0")
        if not 0 <= self.warmup_share < 1:
            raise SettingsError(f"--warmup-share {self.warmup_share} is not in [0, 1)")
        if self.init_from and self.model:
            raise SettingsError("--init-from and --model both say where to start: leave one out")
        if self.export_layout == "llada" and self.timestep_embedding:
            raise SettingsError("--export-layout llada is for LLaDA's tools, which know no --timestep-embedding: leave one out")
        if self.export_layout == "llada" and self.shift:
            raise SettingsError(
                "--export-layout llada is for LLaDA's tools, which predict each token at its own place: leave --shift out, or "
                "export with --export-layout llama"
            )
        self.corruption()
        self.noise_curriculum()

    def settled(self, earlier: dict[str, Any] | None) -> "Settings":
        """The settings with a value for each weight and choice of the loss that was not given.

        Args:
            earlier: as the checkpoint stores them that the run resumes from: it keeps its own; None: a run that begins
        """
        defaults = {"objective": default_objective(self.strategy), "validation_objective": DEFAULT, "best_by": BEST_BY[0]}
        values = defaults if earlier is None else defaults | completed(earlier)
        unset: dict[str, Any] = {name: values[name] for name in defaults if getattr(self, name) is None}
        return dataclasses.replace(self, **unset)

    def kept(self, earlier: dict[str, Any]) -> list[str]:
        """Options that were not given, and have another value by the checkpoint than in a run that begins."""
        begun, resumed = self.settled(None), self.settled(earlier)
        names = [entry.name for entry in dataclasses.fields(self) if getattr(begun, entry.name) != getattr(resumed, entry.name)]
        return [f"{_flag(name)} {getattr(resumed, name)}" for name in names]

    @property
    def judge(self) -> str:
        """The strategy whose validation loss chooses the best checkpoint."""
        return self.strategy if self.best_by == "strategy" else "random"

    @property
    def validation_weights(self) -> str | None:
        """The objective that weighs every strategy's validation loss; None: each strategy's default."""
        return None if self.validation_objective == DEFAULT else self.validation_objective

    def corruption(self) -> CorruptionConfig:
        """How training samples are corrupted."""
        shares = OperatorShares(drop=self.drop, shuffle=self.shuffle, relabel=self.relabel, placeholder=self.placeholder)
        return CorruptionConfig(
            strategy=self.strategy, objective=self.objective or "", max_span_share=self.max_span_share, operators=shares
        )

    def noise_curriculum(self) -> Curriculum:
        """How the mask rate moves."""
        return Curriculum(kind=self.curriculum, low=self.low_ceiling)

    def to_json(self) -> str:
        """The settings as they are stored."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"


def completed(stored: dict[str, Any]) -> dict[str, Any]:
    """Settings as a checkpoint stores them, with what held before an option was there: its default, or as _BEFORE says."""
    return {entry.name: entry.default for entry in dataclasses.fields(Settings)} | _BEFORE | stored


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _plain_type(annotation: Any) -> type:
    """The type of a field, without None."""
    if isinstance(annotation, types.UnionType):
        annotation = next(one for one in typing.get_args(annotation) if one is not type(None))
    return annotation  # type: ignore[no-any-return]


def parser() -> argparse.ArgumentParser:
    """The command line: every field of Settings, grouped, and what only the command knows."""
    made = argparse.ArgumentParser(
        prog="deepspeed train/run.py",
        usage="deepspeed [launcher options] train/run.py [--ds-config FILE] [--config FILE] [options]\n"
        "       deepspeed [launcher options] --module syntaxdiff.train.run [options]     (installed from a wheel)\n"
        "       torchrun, srun or python -m syntaxdiff.train.run [options]",
        description="Train a diffusion language model on shards of syntaxdiff-prep. Optimizer, schedule, precision, ZeRO, "
        "batch sizes and monitors are in the DeepSpeed JSON.",
        epilog=AUTO_HELP,
        allow_abbrev=False,
    )
    made.add_argument(
        "--ds-config", "--deepspeed_config", metavar="FILE", help=f"the DeepSpeed JSON [{STARTER}, written where there is none]"
    )
    made.add_argument(
        "--config", metavar="FILE", help="YAML or TOML with the same names as these options; options go before it"
    )
    made.add_argument("--local_rank", type=int, default=-1, help=argparse.SUPPRESS)  # the launcher's
    annotations = typing.get_type_hints(Settings)
    groups: dict[str, Any] = {}
    for entry in dataclasses.fields(Settings):
        name = entry.metadata["group"]
        if name not in groups:
            groups[name] = made.add_argument_group(name)
        group = groups[name]
        kind, text = _plain_type(annotations[entry.name]), entry.metadata["help"].replace("%", "%%")
        if kind is bool:
            group.add_argument(_flag(entry.name), action=argparse.BooleanOptionalAction, default=None, help=text)
            continue
        if entry.default is not None:
            text += f" [{entry.default}]"
        choices = entry.metadata["choices"]
        metavar = {int: "N", float: "X", str: "NAME"}[kind] if choices is None else None
        group.add_argument(_flag(entry.name), type=kind, default=None, choices=choices, metavar=metavar, help=text)
    return made


def read_settings(given: argparse.Namespace) -> Settings:
    """Settings of a parsed command line and the file that it names.

    Raises:
        SettingsError: the file is none, or holds an unknown name or a value of another type
    """
    values: dict[str, Any] = {} if given.config is None else _from_file(Path(given.config))
    known = {entry.name for entry in dataclasses.fields(Settings)}
    values |= {name: value for name, value in vars(given).items() if name in known and value is not None}
    return Settings(**values)


def _from_file(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text("utf-8")
        loaded = tomllib.loads(text) if path.suffix == ".toml" else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise SettingsError(f"--config {path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(loaded, dict):
        raise SettingsError(f"--config {path} must hold names and values")
    annotations = typing.get_type_hints(Settings)
    values = {}
    for key, value in loaded.items():
        name = str(key).replace("-", "_")
        if name not in annotations:
            raise SettingsError(f"--config {path} has {key!r}, which is no option: see --help")
        kind = _plain_type(annotations[name])
        whole = float(value) if kind is float and isinstance(value, int) and not isinstance(value, bool) else value
        if whole is not None and type(whole) is not kind:
            raise SettingsError(f"--config {path}: {key} must be {kind.__name__}, not {value!r}")
        values[name] = whole
    return values
