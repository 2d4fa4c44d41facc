"""The settings of a training run: one frozen dataclass, from the command line, a file, or both; stored in the output folder.

Optimizer, schedule, precision, ZeRO, batch sizes and monitors are in the DeepSpeed JSON (config.py).
"""

import argparse
import dataclasses
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.pipeline.options import OptionValue, StoredOptions, check_options, flag_of, kind_of, option, options_of
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

# Values by the names of options or of argparse's parameters: each declares its type, which is checked where they are used.
Given: TypeAlias = dict[str, Any]
LAYOUTS = ("llama", "llada")
BEST_BY = ("random", "strategy")
DEFAULT = "default"
_BEFORE = {"best_by": "strategy", "validation_objective": "inverse-rate"}  # of runs older than the options


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a run is asked to do; every field is a long option of the same name."""

    data: str = option("folder of shards", "data", section="data")
    out: str = option("folder that receives checkpoints, metrics and the model", "out", section="data")
    max_length: int | None = option(
        "maximum number of tokens of a sample", None, section="data", minimum=1, default_text="the shards' own"
    )
    window_rows: int = option("rows that are shuffled among each other", 2048, section="data", minimum=1)
    group_by_length: bool = option("put samples of like length into one micro-batch", False, section="data")
    pack: bool = option(
        "put several samples of a micro-batch into one sequence, without attention across them", False, section="data"
    )
    eos_pad: int = option("append a random number of up to N end tokens to each sample", 0, section="data", minimum=0)

    model: str | None = option(
        f"preset ({', '.join(PRESETS)}), folder, or hub name",
        None,
        section="model",
        default_text="LLaDA-8B-Instruct for shards with its tokenizer, else tiny",
    )
    init_from: str | None = option(
        "start from the weights of this exported model, with a fresh optimizer", None, section="model"
    )
    shift: bool = option("position i - 1 predicts token i, for models trained so (Dream)", False, section="model")
    timestep_embedding: bool = option("add a learned embedding of the mask rate", False, section="model")
    activation_checkpointing: bool = option(
        "compute activations again in backward: less memory, a third slower", False, section="model"
    )
    lora_rank: int = option("train low-rank adapters of this rank instead of all weights", 0, section="model", minimum=0)
    lora_alpha: float = option("scale of the adapters", 0.0, section="model", default_text="twice the rank")

    strategy: str = option("how code is masked", "ast-span", section="corruption", choices=STRATEGIES)
    objective: str | None = option(
        "what is scored, with which weights",
        None,
        section="corruption",
        choices=OBJECTIVES,
        default_text="region-share for ast-span and random-matched, whose marginals are unknown; else inverse-rate",
    )
    max_span_share: float = option("leave out spans longer than this share of the code", 1.0, section="corruption")
    curriculum: str = option(
        "how the ceiling of the mask rate moves", "low-noise-first", section="corruption", choices=CURRICULA
    )
    low_ceiling: float = option("the ceiling where there is least noise", 0.2, section="corruption")
    drop: float = option("share of subtrees whose tokens become padding", 0.0, section="corruption")
    shuffle: float = option("share in which sibling subtrees of equal length change places", 0.0, section="corruption")
    relabel: float = option("share replaced by others of the same kind, arity and length", 0.0, section="corruption")
    placeholder: float = option("share whose names and literals become fillers", 0.0, section="corruption")

    epochs: float = option("passes over the data", 1.0, section="length", above=0)
    max_steps: int | None = option("optimizer steps, instead of epochs", None, section="length", minimum=1)
    seed: int = option("of weights, order, noise and masks", 0, section="length")
    learning_rate: float | None = option(
        "peak", None, section="length", default_text="5e-5 for pretrained weights, a preset's own"
    )
    warmup_share: float = option("share of the steps that warm up", 0.1, section="length", minimum=0, below=1)
    micro_batch: int | None = option("samples of a forward pass, where the JSON says auto", None, section="length", minimum=1)
    accumulation: int | None = option("forward passes of a step, where the JSON says auto", None, section="length", minimum=1)

    validate_every: int = option("steps between validations; 0: only at the end", 50, section="validation", minimum=0)
    validation_samples: int | None = option(
        "samples of the validation split that are used",
        None,
        section="validation",
        minimum=0,
        default_text="1000, or fewer: a tenth of the cost of training",
    )
    validation_objective: str | None = option(
        "weights of the validation loss; `default`: of each strategy its own default objective",
        None,
        section="validation",
        choices=(DEFAULT, *VALIDATION_OBJECTIVES),
        default_text="default",
    )
    best_by: str | None = option(
        "masks whose validation loss chooses the best checkpoint and stops early: uniform, or those of --strategy",
        None,
        section="validation",
        choices=BEST_BY,
        default_text="random",
    )
    patience: int = option("stop after so many validations without improvement; 0: never", 5, section="validation", minimum=0)
    sample_every: int = option(
        "steps between previews: a program restored, and one written; 0: never", 200, section="validation", minimum=0
    )
    log_every: int = option(
        "steps between printed lines where there is no terminal for a bar; 0: never", 10, section="validation", minimum=0
    )

    save_every: int = option("steps between checkpoints; 0: only at the end", 200, section="checkpoints", minimum=0)
    keep: int = option("newest checkpoints that are kept, besides the best", 2, section="checkpoints", minimum=1)
    resume: str = option(
        "`auto`: resume from the newest whole checkpoint; `never`; or a checkpoint's folder", "auto", section="checkpoints"
    )
    export_layout: str = option("names of the exported tensors", "llama", section="checkpoints", choices=LAYOUTS)

    def __post_init__(self) -> None:
        check_options(self)
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

    def settled(self, earlier: StoredOptions | None) -> "Settings":
        """The settings with a value for each weight and choice of the loss that was not given.

        Args:
            earlier: as the checkpoint stores them that the run resumes from: it keeps its own; None: a run that begins
        """
        defaults = {"objective": default_objective(self.strategy), "validation_objective": DEFAULT, "best_by": BEST_BY[0]}
        values = defaults if earlier is None else defaults | completed(earlier)
        unset: Given = {name: values[name] for name in defaults if getattr(self, name) is None}
        return dataclasses.replace(self, **unset)

    def kept(self, earlier: StoredOptions) -> list[str]:
        """Options that were not given, and have another value by the checkpoint than in a run that begins."""
        begun, resumed = self.settled(None), self.settled(earlier)
        entries = [entry for entry in dataclasses.fields(self) if getattr(begun, entry.name) != getattr(resumed, entry.name)]
        return [f"{flag_of(entry)} {getattr(resumed, entry.name)}" for entry in entries]

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


def completed(stored: StoredOptions) -> dict[str, OptionValue]:
    """Settings as a checkpoint stores them, with what held before an option was there: its default, or as _BEFORE says."""
    defaults: Given = {entry.name: entry.default for entry in dataclasses.fields(Settings)}
    return defaults | _BEFORE | dict(stored)


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
    groups: dict[str, argparse._ArgumentGroup] = {}
    for entry, declared in options_of(Settings):
        if declared.section not in groups:
            groups[declared.section] = made.add_argument_group(declared.section)
        group, kind = groups[declared.section], kind_of(entry.type)
        shown = declared.default_text or ("" if kind is bool or entry.default is None else str(entry.default))
        text = f"{declared.help} [{shown}]" if shown else declared.help
        settings: Given = {"default": None, "help": text.replace("%", "%%")}
        if kind is bool:
            group.add_argument(flag_of(entry), action=argparse.BooleanOptionalAction, **settings)
            continue
        if declared.choices is None:
            settings["metavar"] = {int: "N", float: "X", str: "NAME"}[kind]
        group.add_argument(flag_of(entry), type=kind, choices=declared.choices, **settings)
    return made


def read_settings(given: argparse.Namespace) -> Settings:
    """Settings of a parsed command line and the file that it names.

    Raises:
        SettingsError: it is not a file, or it holds an unknown name or a value of another type
    """
    values: Given = {} if given.config is None else _from_file(Path(given.config))
    known = {entry.name for entry in dataclasses.fields(Settings)}
    values |= {name: value for name, value in vars(given).items() if name in known and value is not None}
    return Settings(**values)


def _from_file(path: Path) -> Given:
    import yaml  # --help does not wait for it

    try:
        text = path.read_text("utf-8")
        loaded = tomllib.loads(text) if path.suffix == ".toml" else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise SettingsError(f"--config {path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(loaded, dict):
        raise SettingsError(f"--config {path} must hold names and values")
    kinds = {entry.name: entry.type for entry in dataclasses.fields(Settings)}
    values: Given = {}
    for key, value in loaded.items():
        name = str(key).replace("-", "_")
        if name not in kinds:
            raise SettingsError(f"--config {path} has {key!r}, which is not an option: see --help")
        kind = kind_of(kinds[name])
        whole = float(value) if kind is float and isinstance(value, int) and not isinstance(value, bool) else value
        if whole is not None and type(whole) is not kind:
            raise SettingsError(f"--config {path}: {key} must be {kind.__name__}, not {value!r}")
        values[name] = whole
    return values
