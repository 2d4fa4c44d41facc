"""The corruption of a batch as a whole: the same wherever a sample lies, and without a word to the host."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from corruption_data import IDS, TABLES, Programs, batch_of, corrupted, leetcode, positions
from corruption_reference import random_rows, row_of
from parameters import slow, slow_but

from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.pipeline.shard import SampleRow
from syntaxdiff.train.corruption.config import (
    OBJECTIVES,
    SPAN_STRATEGIES,
    STRATEGIES,
    CorruptionConfig,
    OperatorShares,
    default_objective,
)
from syntaxdiff.train.corruption.corrupt import Corrupted, Plan, corrupt, plan
from syntaxdiff.train.corruption.noise import Noise
from syntaxdiff.train.corruption.operators import LeafTables
from syntaxdiff.train.data.batch import SampleTensors, collate

NONE = OperatorShares()
OPERATORS = {
    "mask": NONE,
    **{name: OperatorShares(**{name: 0.9}) for name in ("drop", "shuffle", "relabel", "placeholder")},
    "mixed": OperatorShares(drop=0.2, shuffle=0.2, relabel=0.2, placeholder=0.2),
}


def configs() -> Iterator[CorruptionConfig]:
    """Every strategy with every objective, and with every operator that it may have."""
    for strategy in STRATEGIES:
        for objective in OBJECTIVES:
            for shares in OPERATORS.values() if strategy in SPAN_STRATEGIES else [NONE]:
                yield CorruptionConfig(strategy=strategy, objective=objective, operators=shares)


def name_of(config: CorruptionConfig) -> str:
    used = "+".join(name for name, share in dataclasses.asdict(config.operators).items() if share)
    return "-".join(filter(None, [config.strategy, config.objective, used]))


MANY = [
    *(CorruptionConfig(strategy=strategy) for strategy in STRATEGIES),
    *(CorruptionConfig(objective=objective) for objective in OBJECTIVES if objective != default_objective("ast-span")),
    *(CorruptionConfig(strategy="ast-cut", operators=shares) for name, shares in OPERATORS.items() if name != "mask"),
]
many = pytest.mark.parametrize("config", MANY, ids=name_of)


# ------------------------------------------------------------------------------------------- where a sample lies is nothing

Trimmed = dict[str, list[torch.Tensor]]


def rate_of(row: SampleRow) -> float:
    """A rate of the sample's own, so that batches mix rates."""
    return (sum(map(ord, row.sample_id)) * 37 % 100 + 0.5) / 100


def trimmed(batches: Sequence[Sequence[SampleRow]], config: CorruptionConfig, pad_to_multiple: int = 1) -> Trimmed:
    """What becomes of every sample of some batches, without the padding."""
    made = {}
    for rows in batches:
        batch = batch_of(rows, pad_to_multiple)
        result = corrupted(batch, config, [rate_of(row) for row in rows], seed=4, epoch=1, ceiling=0.7)
        for index, row in enumerate(rows):
            made[row.sample_id] = [
                tensor[index, : len(row.span_start) if name == "unit_BS" else len(row.input_ids)]
                for name, tensor in result._asdict().items()
            ]
    return made


def cut_up(rows: Sequence[SampleRow], size: int) -> list[Sequence[SampleRow]]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def assert_equal(first: Trimmed, second: Trimmed) -> None:
    assert first.keys() == second.keys()
    for sample_id, tensors in first.items():
        for mine, theirs in zip(tensors, second[sample_id], strict=True):
            assert torch.equal(mine, theirs), sample_id


def check_grouping(rows: Sequence[SampleRow], config: CorruptionConfig) -> None:
    """Every grouping of samples into batches corrupts each as if it were alone."""
    alone = trimmed(cut_up(rows, 1), config)
    assert_equal(alone, trimmed(cut_up(rows, 8), config))
    assert_equal(alone, trimmed(cut_up(rows[::-1], 8), config))
    ranks = [trimmed(cut_up(rows[rank::4], 3), config) for rank in range(4)]
    assert_equal(alone, {sample_id: tensors for rank in ranks for sample_id, tensors in rank.items()})
    assert_equal(alone, trimmed([rows], config, pad_to_multiple=512))


@many
def test_grouping_does_not_matter(config: CorruptionConfig) -> None:
    """A sample is corrupted alike alone, in a batch of 8, in reverse order, on 4 ranks, and padded further."""
    check_grouping(random_rows(24, seed=1), config)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_grouping_does_not_matter_for_real_programs(shared_data: Path, strategy: str) -> None:
    """Real programs, too, are corrupted alike however they are grouped."""
    check_grouping(leetcode(shared_data).rows[:400:25], CorruptionConfig(strategy=strategy))


@many
def test_seed_epoch_and_sample_id_matter(config: CorruptionConfig) -> None:
    """Another seed, epoch or sample id is another corruption; the same again is the same."""
    row = random_rows(1, seed=3, max_code=200)[0]
    batch, renamed = batch_of([row]), batch_of([row._replace(sample_id="another")])
    first = corrupted(batch, config, 0.5, seed=1, epoch=1)
    others = [
        corrupted(batch, config, 0.5, seed=2, epoch=1),
        corrupted(batch, config, 0.5, seed=1, epoch=2),
        corrupted(batch, config, 0.5, seed=-1, epoch=1),
        corrupted(renamed, config, 0.5, seed=1, epoch=1),
    ]
    assert all(map(torch.equal, first, corrupted(batch, config, 0.5, seed=1, epoch=1)))
    assert all(positions(first) != positions(other) for other in others)


def test_a_batch_may_hold_samples_of_two_epochs() -> None:
    """At the border of two epochs, each sample has the masks of its own, as it has beside others of its epoch."""
    batch = batch_of(random_rows(4))
    config, noise = CorruptionConfig(), Noise.fixed(0.4, 4)
    first, second = (plan(batch, config, noise, seed=1, epoch=epoch).keys_BK for epoch in (6, 7))
    mixed = plan(batch, config, noise, seed=1, epoch=(6, 6, 7, 7)).keys_BK
    assert torch.equal(mixed, torch.cat([first[:2], second[2:]]))
    assert not torch.equal(first, second)


def test_the_input_is_left_alone() -> None:
    """Corrupting a batch changes neither its tensors nor the plan."""
    batch = batch_of(random_rows(8, seed=2))
    for config in MANY:
        planned = plan(batch, config, Noise.fixed(0.6, len(batch)), seed=0, epoch=0)
        before = [tensor.clone() for tensor in (*batch.tensors, *planned)]
        corrupt(batch.tensors, planned, config, IDS, TABLES)
        assert all(map(torch.equal, before, (*batch.tensors, *planned)))


def test_the_mask_is_the_same_for_every_objective_that_has_no_steps() -> None:
    """Objectives weigh; they do not move a mask."""
    batch = batch_of(random_rows(12, seed=7))
    for strategy in STRATEGIES:
        results = [
            corrupted(batch, CorruptionConfig(strategy=strategy, objective=objective), 0.44).input_ids_BL
            for objective in OBJECTIVES  # 0.44 is a step's rate, so that reveal's masks are the same as well
        ]
        assert all(torch.equal(results[0], result) for result in results)


# ---------------------------------------------------------------------------------------------- no word between host and device


def synchronises(function: Callable[..., Any], *tensors: torch.Tensor) -> bool:
    """Whether a function needs a tensor's values on the host: on the meta device there are none to be had."""
    try:
        function(*(tensor.to("meta") for tensor in tensors))
    except (NotImplementedError, RuntimeError):
        return True
    return False


GUILTY: dict[str, Callable[[torch.Tensor], Any]] = {
    "item": lambda x: x + x.sum().item(),
    "nonzero": lambda x: x.nonzero(),
    "boolean index": lambda x: x[x > 0],
    "branch": lambda x: x if x.sum() > 0 else -x,
    "tolist": lambda x: torch.tensor(x.tolist()),
    "masked_select": lambda x: x.masked_select(x > 0),
    "unique_consecutive": lambda x: torch.unique_consecutive(x),
    "repeat_interleave": lambda x: x.repeat_interleave(x),
}


@pytest.mark.parametrize("guilty", GUILTY.values(), ids=GUILTY.keys())
def test_the_guard_finds_functions_that_ask_the_device(guilty: Callable[[torch.Tensor], Any]) -> None:
    """Reading a value on the host, and shapes that depend on values, are found out."""
    assert synchronises(guilty, torch.arange(5))
    assert not synchronises(lambda x: torch.where(x > 0, x, 0).cumsum(0), torch.arange(5))


@pytest.mark.parametrize("several", [MANY, slow(list(configs()))], ids=["each", "every combination"])
def test_corruption_does_not_ask_the_device(several: list[CorruptionConfig]) -> None:
    """Every strategy, objective and operator runs where tensors have no values, and yields the shapes that it must."""
    batch = batch_of(random_rows(5, seed=9))
    tables = LeafTables(*(table.to("meta") for table in TABLES))
    for config in several:
        planned = plan(batch, config, Noise.fixed(0.5, len(batch)), seed=0, epoch=0)
        result = corrupt(batch.to("meta").tensors, planned.to("meta"), config, IDS, tables)
        real = corrupt(batch.tensors, planned, config, IDS, TABLES)
        for name, mine, theirs in zip(Corrupted._fields, result, real, strict=True):
            assert mine.device.type == "meta"
            assert (mine.shape, mine.dtype) == (theirs.shape, theirs.dtype), (name_of(config), name)


@pytest.mark.parametrize("config", slow_but([*MANY[: len(STRATEGIES)], MANY[-1]], MANY), ids=name_of)
def test_corruption_is_one_graph(config: CorruptionConfig) -> None:
    """The compiler traces the whole corruption without a break, and the graph computes what eager execution does."""
    torch.compiler.reset()
    batch = batch_of(random_rows(6, seed=10))
    planned = plan(batch, config, Noise.fixed(0.5, len(batch)), seed=0, epoch=0)

    def run(samples: SampleTensors, planned: Plan) -> Corrupted:
        return corrupt(samples, planned, config, IDS, TABLES)

    traced = torch.compile(run, fullgraph=True, backend="eager")(batch.tensors, planned)
    assert all(map(torch.equal, traced, run(batch.tensors, planned)))


def test_a_graph_with_a_break_is_refused() -> None:
    """The compiler's whole-graph mode does fail for a function that branches on a value."""
    torch.compiler.reset()
    compiled: Callable[[torch.Tensor], torch.Tensor] = torch.compile(GUILTY["branch"], fullgraph=True, backend="eager")
    with pytest.raises(torch._dynamo.exc.Unsupported, match="branching"):
        compiled(torch.arange(5))


# ------------------------------------------------------------------------------------------------------------------ settings


@pytest.mark.parametrize("rate", [-0.001, 1.0000001, math.nan, math.inf, -math.inf])
def test_impossible_rates_are_refused(rate: float) -> None:
    """A rate outside [0, 1] is the user's mistake, and the message names the sample."""
    rows = random_rows(3)
    with pytest.raises(SettingsError, match="sample row-1: the mask rate"):
        corrupted(batch_of(rows), CorruptionConfig(), [0.5, rate, 0.5])


@pytest.mark.parametrize("count", [0, 1, 2, 4])
def test_rates_must_be_as_many_as_samples(count: int) -> None:
    """A wrong number of rates is refused; one rate does not stand for all."""
    batch = batch_of(random_rows(3))
    with pytest.raises(SettingsError, match=f"3 samples and {count} mask rates"):
        plan(batch, CorruptionConfig(), Noise.fixed(0.5, count), seed=0, epoch=0)


@pytest.mark.parametrize("ceiling", [-0.1, 1.1, math.nan])
def test_impossible_ceilings_are_refused(ceiling: float) -> None:
    """A ceiling outside [0, 1] is refused."""
    with pytest.raises(SettingsError, match="ceiling"):
        corrupted(batch_of(random_rows(1)), CorruptionConfig(strategy="ast-token"), 0.5, ceiling=ceiling)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strategy": "ast"}, "strategy 'ast'"),
        ({"strategy": ""}, "strategy ''"),
        ({"objective": "elbo"}, "objective 'elbo'"),
        ({"max_span_share": 0.0}, "max-span-share"),
        ({"max_span_share": 1.1}, "max-span-share"),
        ({"max_span_share": math.nan}, "max-span-share"),
        ({"role_rates": (0.1, 0.2, 0.3)}, "role rates"),
        ({"role_rates": (0.1, 0.2, 0.3, 1.4)}, "role rates"),
        ({"role_rates": (0.1, 0.2, 0.3, math.nan)}, "role rates"),
        ({"strategy": "random", "operators": OperatorShares(drop=0.1)}, "random"),
        ({"strategy": "ast-token", "operators": OperatorShares(shuffle=0.1)}, "ast-token"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    """Unknown names, and shares and rates that are no probabilities, are the user's mistake."""
    with pytest.raises(SettingsError, match=message):
        CorruptionConfig(**settings)


@pytest.mark.parametrize(
    "shares", [{"drop": 0.6, "shuffle": 0.5}, {"relabel": 1.01}, {"drop": -0.1}, {"placeholder": math.nan}]
)
def test_operator_shares_are_probabilities(shares: dict[str, float]) -> None:
    """Shares outside [0, 1], or over 1 together, are refused."""
    with pytest.raises(SettingsError, match="operator shares"):
        OperatorShares(**shares)


@pytest.mark.parametrize("name", ["relabel", "placeholder"])
def test_operators_that_need_tables_say_so(name: str) -> None:
    """Relabel and placeholder without the tables of leaves are refused; drop and shuffle need none."""
    batch = batch_of([row_of(9, [(0, 9)])])
    with pytest.raises(SettingsError, match="tables"):
        corrupted(batch, CorruptionConfig(operators=OperatorShares(**{name: 0.5})), 0.5, tables=None)
    corrupted(batch, CorruptionConfig(operators=OperatorShares(drop=0.5, shuffle=0.5)), 0.5, tables=None)


def test_operators_run_on_real_programs(shared_data: Path) -> None:
    """With the tables of the shards every operator happens to real programs, and only inside corrupted positions."""
    programs: Programs = leetcode(shared_data)
    rows, ids = programs.rows[:200:10], programs.manifest.token_ids
    batch = collate(rows, pad_id=ids.pad, languages=programs.manifest.languages)
    config = CorruptionConfig(operators=OPERATORS["mixed"])
    planned = plan(batch, config, Noise.fixed(0.5, len(batch)), seed=0, epoch=0)
    result = corrupt(batch.tensors, planned, config, ids, programs.tables)
    assert set(result.operator_BL.flatten().tolist()) == {0, 1, 2, 3, 4, 5}
    is_changed_BL = result.input_ids_BL != batch.tensors.input_ids_BL
    assert not (is_changed_BL & (result.operator_BL == 0)).any()
