"""The order of training: rank-disjoint, shuffled, resumable, with nothing lost at an epoch's end."""

import threading
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from folders import programs, write_jsonl

from syntaxdiff.pipeline.build import build_shards
from syntaxdiff.pipeline.config import BuildConfig
from syntaxdiff.pipeline.errors import SettingsError, ShardError
from syntaxdiff.pipeline.shard import Region, iter_shard, read_manifest
from syntaxdiff.train.data.loader import LoaderConfig, SampleStream

NUM_ROWS = 500


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Several shards of several row groups."""
    root = tmp_path_factory.mktemp("loader")
    source = write_jsonl(root / "rows.jsonl", programs(NUM_ROWS))
    build_shards(
        BuildConfig(src=(str(source),), out=root / "data", tokenizer="train:400", validation_size=0, shard_rows=200, workers=1)
    )
    return root / "data"


def stream(folder: Path, **changes: Any) -> SampleStream:
    values: dict[str, Any] = {"seed": 3, "micro_batch": 2, "accumulation": 3, "window_rows": 150}
    return SampleStream(folder, read_manifest(folder), LoaderConfig(**{**values, **changes}))


def ids_of(made: SampleStream, steps: int, consumed: int = 0) -> list[list[str]]:
    """Sample ids of each step, in the order of the micro-batches."""
    return [
        [sample_id for micro in batch.micro_batches for sample_id in micro.batch.sample_ids]
        for batch in islice(made.batches(consumed), steps)
    ]


def test_an_epoch_holds_every_sample_once_in_another_order(folder: Path) -> None:
    """Each epoch is a permutation of the samples, of its own, that depends on the seed alone."""
    manifest = read_manifest(folder)
    stored = [row.sample_id for shard in manifest.splits["train"] for row in iter_shard(folder, shard)]
    items = list(islice(stream(folder).items(), 3 * len(stored)))
    epochs = [[item.row.sample_id for item in items[i * len(stored) : (i + 1) * len(stored)]] for i in range(3)]
    assert all(sorted(epoch) == sorted(stored) for epoch in epochs)
    assert len({tuple(epoch) for epoch in [stored, *epochs]}) == 4
    assert [item.ordinal for item in items] == [*range(len(stored))] * 3
    assert epochs[0] == [item.row.sample_id for item in islice(stream(folder, micro_batch=5).items(), len(stored))]
    assert epochs[0] != [item.row.sample_id for item in islice(stream(folder, seed=4).items(), len(stored))]


def test_the_order_mixes_shards(folder: Path) -> None:
    """With a window of all rows, neighbours in the order are not neighbours in the files."""
    manifest = read_manifest(folder)
    place = {row.sample_id: i for i, row in enumerate(r for s in manifest.splits["train"] for r in iter_shard(folder, s))}
    order = [place[item.row.sample_id] for item in islice(stream(folder, window_rows=10**6).items(), len(place))]
    assert abs(np.corrcoef(order, range(len(order)))[0, 1]) < 0.2


def test_padded_lengths_are_multiples(folder: Path) -> None:
    """The same samples in the same places, in batches of few widths."""
    plain, padded = (next(stream(folder, pad_to_multiple=multiple).batches()) for multiple in (1, 32))
    for first, second in zip(plain.micro_batches, padded.micro_batches, strict=True):
        width, wider = (each.batch.tensors.input_ids_BL.shape[1] for each in (first, second))
        assert wider == -(-width // 32) * 32
        assert torch.equal(first.batch.tensors.input_ids_BL, second.batch.tensors.input_ids_BL[:, :width])
        assert first.batch.sample_ids == second.batch.sample_ids


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_ranks_share_each_step_and_nothing_else(folder: Path, world: int) -> None:
    """The ranks' samples of a step are the stream's next ones, none twice, as many for each; the normaliser is the same."""
    made = [stream(folder, rank=rank, world=world) for rank in range(world)]
    steps = 2 * NUM_ROWS // (6 * world) + 2  # over the border of an epoch
    whole = [item.row.sample_id for item in islice(made[0].items(), steps * 6 * world)]
    parts = [ids_of(share, steps) for share in made]
    for step in range(steps):
        expected = whole[step * 6 * world : (step + 1) * 6 * world]
        assert [parts[place % world][step][place // world] for place in range(6 * world)] == expected
    normalisers = [[batch.num_corruptible for batch in islice(share.batches(), 5)] for share in made]
    assert all(counts == normalisers[0] for counts in normalisers)
    sums = [
        sum(int(micro.batch.num_corruptible_B.sum()) for share in made for micro in next(share.batches()).micro_batches)
        for _ in range(1)
    ]
    assert sums == [normalisers[0][0]]


def test_a_step_is_the_same_however_it_is_cut(folder: Path) -> None:
    """Ranks and accumulation change who takes a sample, not which samples, at which noise level, a step has."""
    cuts = [(12, 1, 1), (6, 2, 1), (1, 12, 1), (3, 2, 2), (1, 3, 4)]
    seen = set()
    for micro, accumulation, world in cuts:
        chosen: list[tuple[int, int, str]] = []
        for rank in range(world):
            batches = stream(folder, micro_batch=micro, accumulation=accumulation, rank=rank, world=world).batches()
            next(batches)
            for part in next(batches).micro_batches:
                chosen += zip(part.epochs, part.ordinals, part.batch.sample_ids, strict=True)
        seen.add(tuple(sorted(chosen)))
    assert len(seen) == 1


@pytest.mark.parametrize("after", [1, 7, 83, 84, 200])
def test_resuming_goes_on_at_the_sample(folder: Path, after: int) -> None:
    """From the number of samples used up, the stream continues as if it had not been cut off."""
    batches = list(islice(stream(folder).batches(), after + 3))
    assert ids_of(stream(folder), 3, batches[after - 1].consumed) == ids_of(stream(folder), after + 3)[after:]


def test_by_length_changes_the_cut_alone(folder: Path) -> None:
    """Grouping by length keeps a step's samples, and sorts them into micro-batches."""
    plain, grouped = (next(stream(folder, accumulation=20, group_by_length=flag).batches()) for flag in (False, True))
    ids = [sorted(i for micro in batch.micro_batches for i in micro.batch.sample_ids) for batch in (plain, grouped)]
    assert ids[0] == ids[1]
    lengths = [int(length) for micro in grouped.micro_batches for length in micro.batch.length_B]
    assert lengths == sorted(lengths)


def test_end_tokens_are_scaffold_and_counted(folder: Path) -> None:
    """With eos_pad, a random number of end tokens from 0 to it, the same for every rank and restart, region scaffold."""
    manifest = read_manifest(folder)
    plain = list(islice(stream(folder).items(), 200))
    padded = list(islice(stream(folder, eos_pad=5).items(), 200))
    added: Counter[int] = Counter()
    for before, after in zip(plain, padded, strict=True):
        count = after.row.length - before.row.length
        added[count] += 1
        assert after.row.input_ids[: before.row.length].tolist() == before.row.input_ids.tolist()
        assert set(after.row.input_ids[before.row.length :].tolist()) <= {manifest.token_ids.eos}
        assert after.row.region_end[-1] == after.row.length == len(after.row.input_ids)
        assert after.row.region_label[-1] == Region.SCAFFOLD
    assert set(added) == {0, 1, 2, 3, 4, 5}
    longest = max(item.row.length for item in plain)
    tight = islice(stream(folder, eos_pad=5, max_length=longest).items(), 200)
    assert max(item.row.length for item in tight) == longest


def test_read_ahead_gives_the_same_and_ends(folder: Path) -> None:
    """The thread makes the same batches, and is gone when its reader is."""
    ahead = stream(folder).read_ahead(12)
    direct = stream(folder).batches(12)
    for _ in range(5):
        assert next(ahead).micro_batches[0].batch.sample_ids == next(direct).micro_batches[0].batch.sample_ids
    ahead.close()
    assert not any(thread.name == "read-ahead" for thread in threading.enumerate())


def test_errors_of_the_thread_are_raised(folder: Path) -> None:
    """A sample that is too long stops the reader with its name."""
    with pytest.raises(ShardError, match=r"sample row-.* more than --max-length 20"):
        next(stream(folder, max_length=20).read_ahead())


def test_too_few_samples_and_torn_shards_are_refused(folder: Path, tmp_path: Path) -> None:
    """Fewer samples than a step, a truncated file, a missing one: one line that says what to do."""
    with pytest.raises(SettingsError, match=r"has 500 train samples and a step takes 600"):
        stream(folder, accumulation=300)
    import shutil

    copy = tmp_path / "data"
    shutil.copytree(folder, copy)
    shard = copy / read_manifest(copy).splits["train"][0].file
    shard.write_bytes(shard.read_bytes()[:-200])
    with pytest.raises(ShardError, match="cannot be read"):
        stream(copy)
    shard.unlink()
    with pytest.raises(ShardError, match="cannot be read"):
        stream(copy)
