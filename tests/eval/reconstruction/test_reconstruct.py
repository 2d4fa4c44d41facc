"""Masked programs restored: what is counted against literal definitions, and what a perfect and a useless model score."""

import dataclasses
import json
import math
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from answers import infill
from folders import write_jsonl
from hypothesis import given, settings
from hypothesis import strategies as st
from prepared_tokenizers import METASPACE, Prepared
from rich.console import Console
from tiny_checkpoint import autoregressive, diffusion
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from syntaxdiff.eval.inference.config import GenerationConfig
from syntaxdiff.eval.inference.denoising import DenoisingModel
from syntaxdiff.eval.reconstruction.config import ReconstructionConfig
from syntaxdiff.eval.reconstruction.measures import LENGTH_BINS, length_label, measures
from syntaxdiff.eval.reconstruction.outcome import Cell
from syntaxdiff.eval.reconstruction.reconstruct import RESULT, chosen_rows, draw, reconstruct
from syntaxdiff.eval.reconstruction.recovery import (
    NO_PATTERN,
    UNSEEN,
    Recovery,
    Subject,
    masked_spans,
    read_program,
    read_subject,
    recovery,
)
from syntaxdiff.eval.reconstruction.restoration import Masked, Restored, restore
from syntaxdiff.eval.reconstruction.tables import print_reconstruction
from syntaxdiff.eval.syntax.compiler import Compiler
from syntaxdiff.eval.syntax.config import Size
from syntaxdiff.eval.syntax.shapes import SeenShapes
from syntaxdiff.eval.syntax.tables import with_interval
from syntaxdiff.pipeline.build import build_shards
from syntaxdiff.pipeline.config import BuildConfig
from syntaxdiff.pipeline.errors import SettingsError, StorageError, TokenizerError
from syntaxdiff.pipeline.json_records import from_json, to_json
from syntaxdiff.pipeline.rows.record import Record
from syntaxdiff.pipeline.shard import TOKENIZER, Manifest, Region, SampleRow, iter_shard, read_manifest
from syntaxdiff.pipeline.syntax.grammar import load_grammar
from syntaxdiff.pipeline.tokens.codec import Codec
from syntaxdiff.train.corruption.config import STRATEGIES, CorruptionConfig
from syntaxdiff.train.corruption.corrupt import corrupt, plan
from syntaxdiff.train.corruption.noise import Noise
from syntaxdiff.train.data.batch import collate
from syntaxdiff.train.model.denoiser import Denoiser, Inputs

CODES = {
    "alpha": "def add(a, b):\n    return a + b\n",
    "beta": "def sign(x):\n    if x < 0:\n        return -1\n    return 1\n",
    "gamma": "def count(items):\n    total = 0\n    for item in items:\n        total += 1\n    return total\n",
    "delta": "def last(items):\n    return items[-1]\n",
    "epsilon": "def wait(queue):\n    while queue:\n        queue.pop()\n",
    "zeta": "import math\n\nAREA = math.pi * 2 ** 2\n",
    "eta": "def largest(a, b):\n    return a if a > b else b\n",
    "theta": "class Point:\n    x = 0\n    y = 0\n",
    "iota": "def squares(items):\n    found = []\n    for item in items:\n        found.append(item ** 2)\n    return found\n",
    "kappa": "def head(items):\n    for item in items:\n        return item\n",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of a few programs, four held out; each is identified by its prompt."""
    root = tmp_path_factory.mktemp("reconstruction")
    source = write_jsonl(
        root / "rows.jsonl",
        [{"id": name, "prompt": name, "reasoning": f"It is {name}.", "code": code} for name, code in CODES.items()],
    )
    build_shards(BuildConfig(src=(str(source),), out=root / "data", tokenizer="train:400", validation_size=4, workers=1))
    return root / "data"


@pytest.fixture(scope="module")
def manifest(folder: Path) -> Manifest:
    return read_manifest(folder)


@pytest.fixture(scope="module")
def rows(folder: Path, manifest: Manifest) -> list[SampleRow]:
    return list(iter_shard(folder, manifest.splits["validation"][0]))


@pytest.fixture(scope="module")
def codec(folder: Path) -> Codec:
    return Codec(folder / TOKENIZER, "hf")


@pytest.fixture(scope="module")
def compiler() -> Iterator[Compiler]:
    with Compiler() as made:
        yield made


def checkpoint_of(denoiser: Denoiser, folder: Path, manifest: Manifest, name: str) -> DenoisingModel:
    made: Any = AutoTokenizer
    return DenoisingModel(
        name=name,
        folder=folder,
        model=denoiser.eval(),
        tokenizer=made.from_pretrained(folder / TOKENIZER),
        token_ids=manifest.token_ids,
        shift=False,
        info=None,
    )


def network(manifest: Manifest, max_positions: int = 512) -> Any:
    config = LlamaConfig(
        vocab_size=manifest.tokenizer.vocab_size,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=max_positions,
        tie_word_embeddings=False,
        pad_token_id=None,
        initializer_range=0.08,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made: Any = LlamaForCausalLM(config)
        return made


@pytest.fixture(scope="module")
def useless(folder: Path, manifest: Manifest) -> DenoisingModel:
    """Random weights."""
    return checkpoint_of(Denoiser(network(manifest)), folder, manifest, "useless")


@pytest.fixture(scope="module")
def perfect(folder: Path, manifest: Manifest, rows: list[SampleRow]) -> DenoisingModel:
    """A model that learnt the held-out samples by heart, the one way to be right about every one of them."""
    torch.set_num_threads(1)
    denoiser = Denoiser(network(manifest))
    batch = collate(rows, pad_id=manifest.token_ids.pad, languages=manifest.languages)
    config = CorruptionConfig(strategy="random")
    steps = 300
    optimizer = torch.optim.AdamW(denoiser.parameters(), lr=1e-2, betas=(0.9, 0.98), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=steps, pct_start=0.1)
    is_real = (torch.arange(batch.tensors.input_ids_BL.shape[1]) < torch.from_numpy(batch.length_B)[:, None])[:, None, None]
    for step in range(steps):
        rates = np.array([0.25, 0.5, 0.75, 1.0])[(np.arange(len(rows)) + step) % 4]
        decided = plan(batch, config, Noise(rate_B=rates), seed=1, epoch=step)
        corrupted = corrupt(batch.tensors, decided, config, manifest.token_ids)
        weight = corrupted.is_scored_BL.float()
        losses = denoiser(Inputs(corrupted.input_ids_BL, is_real), batch.tensors.input_ids_BL, weight)
        optimizer.zero_grad()
        (losses.loss / weight.sum()).backward()
        optimizer.step()
        schedule.step()
    return checkpoint_of(denoiser, folder, manifest, "perfect")


SHARES_OF_ALL = (
    "token_accuracy",
    "exact_spans",
    "equal_subtrees",
    "exact_programs",
    "equal_trees",
    "parses",
    "compiles",
    "originals_parse",
    "originals_compile",
)


def test_a_perfect_model_restores_everything(folder: Path, perfect: DenoisingModel, tmp_path: Path) -> None:
    """Every share is 1 under every strategy, in all groups, and a masked token costs next to nothing."""
    config = ReconstructionConfig(strategies=STRATEGIES, mask_rates=(0.4, 0.9), num_steps=4)
    result = reconstruct(perfect, folder, tmp_path, config)
    assert [(cell.strategy, cell.mask_rate) for cell in result.cells] == [
        (strategy, rate) for strategy in STRATEGIES for rate in (0.4, 0.9)
    ]
    assert sum(cell.all.exact_spans.of for cell in result.cells) > 20
    for cell in result.cells:
        missed = [key for key in SHARES_OF_ALL if getattr(cell.all, key).total < getattr(cell.all, key).of]
        assert missed == []
        assert cell.all.parses.of == 4
        assert cell.all.cross_entropy.value is not None
        assert cell.all.cross_entropy.value < 0.1
        for group in (cell.tokens_by_leaf_kind, cell.tokens_by_region, cell.spans_by_node_kind):
            wrong = [
                name
                for name, measures_of_group in group.items()
                if measures_of_group.token_accuracy.total < measures_of_group.token_accuracy.of
            ]
            assert wrong == []
        assert cell.per_sample.masked == cell.per_sample.right
        assert all(cell.per_sample.equal_tree)


def test_a_useless_model_restores_nothing(folder: Path, useless: DenoisingModel, manifest: Manifest, tmp_path: Path) -> None:
    """Random weights: about the vocabulary's logarithm a token, and hardly a token right."""
    result = reconstruct(useless, folder, tmp_path, ReconstructionConfig(mask_rates=(0.9,), num_steps=2))
    for cell in result.cells:
        assert cell.all.token_accuracy.value is not None
        assert cell.all.token_accuracy.value < 0.1
        assert cell.all.cross_entropy.value == pytest.approx(math.log(manifest.tokenizer.vocab_size), rel=0.15)
        assert cell.all.exact_programs.value == cell.all.equal_trees.value == 0
        assert cell.all.originals_parse.value == 1


# --------------------------------------------------------------------------------------------------- what one sample counts


def nothing_seen() -> SeenShapes:
    return SeenShapes(np.zeros(0, dtype=np.uint64), 0)


def subject_of(row: SampleRow, manifest: Manifest, codec: Codec, compiler: Compiler, seen: SeenShapes | None = None) -> Subject:
    return read_subject(row, manifest, codec, seen or nothing_seen(), Size(3, 20), compiler)


def tree_of(node: Any) -> tuple[Any, ...]:
    """A syntax tree by tree-sitter's own nodes: kinds, shape and faults, no words."""
    return (node.type, node.is_named, node.is_missing, node.is_error, tuple(map(tree_of, node.children)))


def parsed(codec: Codec, ids: Any, start: int, end: int) -> Any:
    return load_grammar("python").parse(codec.decode(ids[start:end])).root_node


@given(draw=st.data())
@settings(max_examples=30, deadline=None)
def test_what_came_back_is_counted_as_defined(
    rows: list[SampleRow], manifest: Manifest, codec: Codec, compiler: Compiler, draw: st.DataObject
) -> None:
    """Tokens, spans, the tree and the parse of any restored sample against loops over the definitions."""
    row = rows[draw.draw(st.integers(0, len(rows) - 1))]
    draw_ids = np.random.Generator(np.random.Philox(draw.draw(st.integers(0, 2**32))))
    subject = subject_of(row, manifest, codec, compiler)
    start, end = subject.code
    is_masked = (draw_ids.random(len(row.input_ids)) < draw.draw(st.sampled_from([0.1, 0.6, 0.95]))) & (
        subject.region_L != Region.PROMPT
    )
    is_wrong = is_masked & (draw_ids.random(len(row.input_ids)) < draw.draw(st.sampled_from([0.0, 0.1, 0.5])))
    restored = row.input_ids.astype(np.int64)
    restored[is_wrong] = draw_ids.choice(row.input_ids[start:end], int(is_wrong.sum()))
    nats = np.where(is_masked, draw_ids.random(len(is_masked)), 0.0)
    came = recovery(subject, is_masked, Restored(restored, nats), manifest, codec, compiler)

    right = [bool(restored[place] == row.input_ids[place]) for place in range(len(restored))]
    masked_code = [place for place in range(start, end) if is_masked[place]]
    assert came.num_masked_code == len(masked_code)
    assert came.num_right_code == sum(right[place] for place in masked_code)
    assert came.tokens.is_right_M.tolist() == [right[place] for place in np.flatnonzero(is_masked)]
    assert np.array_equal(came.tokens.nats_M, nats[is_masked])

    before, after = (parsed(codec, ids, start, end) for ids in (row.input_ids, restored))
    assert came.has_equal_tree == (tree_of(before) == tree_of(after))
    assert came.parses == (not after.has_error)
    assert came.compiles == (compiler.compile(codec.decode(restored[start:end])).fault is None)

    whole = [
        index
        for index, (first, last) in enumerate(zip(row.span_start, row.span_end, strict=True))
        if all(is_masked[first:last])
    ]
    outermost = [
        index
        for index in whole
        if not any(
            row.span_start[other] <= row.span_start[index] and row.span_end[index] <= row.span_end[other]
            for other in whole
            if other != index
        )
    ]
    kinds = manifest.languages["python"].node_kinds
    assert came.spans.kind_U.tolist() == [kinds[row.span_kind[index]] for index in outermost]
    assert came.spans.length_U.tolist() == [row.span_end[index] - row.span_start[index] for index in outermost]
    assert came.spans.are_exact().tolist() == [all(right[row.span_start[i] : row.span_end[i]]) for i in outermost]
    for index, is_equal, is_exact in zip(outermost, came.spans.is_equal_U, came.spans.are_exact(), strict=True):
        if is_exact and not is_wrong.any():
            assert is_equal
        interval = (int(row.span_start[index] - start), int(row.span_end[index] - start))
        assert bool(is_equal) == (
            node_tree(codec, row.input_ids, start, end, interval) == node_tree(codec, restored, start, end, interval)
        )


def node_tree(codec: Codec, ids: Any, start: int, end: int, interval: tuple[int, int]) -> tuple[Any, ...] | None:
    """The tree of the first named node, from the outside in, whose tokens are those of an interval."""
    text = b""
    solid = []  # first byte of each token that is no white space
    for token in ids[start:end]:
        piece = codec.decode([token])
        solid.append(len(text) + (len(piece) - len(piece.lstrip(b" \t\n\r\v\f"))) % max(1, len(piece)))
        text += piece
    waiting = [load_grammar("python").parse(text).root_node]
    while waiting:
        node = waiting.pop(0)
        held = [place for place, byte in enumerate(solid) if node.start_byte <= byte < node.end_byte]
        if node.is_named and held and (held[0], held[-1] + 1) == interval:
            return tree_of(node)
        waiting = [*node.children, *waiting]
    return None


def test_a_missing_node_is_no_equal_tree(folder: Path, manifest: Manifest, codec: Codec, compiler: Compiler) -> None:
    """tree-sitter puts a node of the right kind where `items` is gone from `for item in items:`; it does not pass for one."""
    rows = [row for shards in manifest.splits.values() for shard in shards for row in iter_shard(folder, shard)]
    row = next(row for row in rows if "gamma" in codec.decode(row.input_ids).decode())
    subject = subject_of(row, manifest, codec, compiler)
    start, end = subject.code
    ids = row.input_ids.astype(np.int64)
    texts = [codec.decode([token]) for token in ids]
    first = next(place for place in range(start, end) if b"".join(texts[place:end]).startswith(b" items:"))
    last = next(place for place in range(first, end) if b"".join(texts[place:end]).startswith(b":"))
    ids[first:last] = next(token for token in range(400) if codec.decode([token]) == b" ")
    is_masked = ids != row.input_ids
    came = recovery(subject, is_masked, Restored(ids, np.zeros(len(ids))), manifest, codec, compiler)
    nodes = read_program(codec, ids, start, end, "python").nodes
    assert np.array_equal(nodes.kind, subject.program.nodes.kind)
    assert not came.has_equal_tree


def test_masked_spans_are_the_outermost_wholly_masked() -> None:
    """Of spans in one another, the largest with all tokens masked; of neighbours, each."""
    start, end = np.array([0, 0, 2, 4], dtype=np.int32), np.array([6, 4, 4, 6], dtype=np.int32)
    parent = np.array([-1, 0, 1, 0], dtype=np.int32)
    for masked, expected in (
        ([1, 1, 1, 1, 1, 1], [0]),
        ([1, 1, 1, 1, 1, 0], [1]),
        ([0, 1, 1, 1, 1, 1], [2, 3]),
        ([0, 1, 1, 0, 1, 0], []),
    ):
        assert masked_spans(start, end, parent, np.array(masked, dtype=bool)).tolist() == expected


RECORD = Record(
    prompt="p",
    reasoning="r",
    code="def f(total_of_all, é):\n    if é:\n        return [é, 'ü' + total_of_all]\n    x = {1: 2}\n",
    language="python",
    source="test",
    source_id="1",
    problem="p",
)


@pytest.mark.parametrize("name", ["trained", *METASPACE])
def test_a_program_is_read_back_from_its_tokens(prepared: Callable[[str], Prepared], name: str) -> None:
    """With each make of tokenizer: its bytes, and for each candidate span a node that holds just its tokens."""
    tokenizer = prepared(name)
    sample = tokenizer.build([RECORD])[0].sample
    region = np.repeat(sample.region_label, np.diff(sample.region_end, prepend=0))
    start, end = int(np.argmax(region == Region.CODE)), int(np.flatnonzero(region == Region.CODE)[-1]) + 1
    program = read_program(Codec(tokenizer.folder, "hf"), sample.input_ids.astype(np.int64), start, end, "python")
    assert program.parses
    assert program.code.decode().strip() == RECORD.code.strip()
    held = set(zip(program.first_N.tolist(), program.last_N.tolist(), strict=True))
    spans = zip((sample.spans.start - start).tolist(), (sample.spans.end - start).tolist(), strict=True)
    assert set(spans) <= held


@pytest.mark.parametrize("name", METASPACE)
def test_a_space_at_the_start_of_restored_code_stays(prepared: Callable[[str], Prepared], name: str) -> None:
    """Tokenizers that drop a space at the start of a text drop none inside the sequence: the indentation would change."""
    tokenizer = prepared(name)
    sample = tokenizer.build([RECORD])[0].sample
    region = np.repeat(sample.region_label, np.diff(sample.region_end, prepend=0))
    start, end = int(np.argmax(region == Region.CODE)), int(np.flatnonzero(region == Region.CODE)[-1]) + 1
    ids = sample.input_ids.astype(np.int64)
    ids[start] = tokenizer.hub.convert_tokens_to_ids("▁")
    assert read_program(Codec(tokenizer.folder, "hf"), ids, start, end, "python").code.startswith(b" ")


def test_unseen_shapes_are_those_that_training_lacks(
    manifest: Manifest, codec: Codec, rows: list[SampleRow], compiler: Compiler
) -> None:
    """With nothing seen every pattern is unseen, with all shapes of the sample none is; other spans are no patterns."""
    from syntaxdiff.eval.syntax.shapes import row_patterns

    unseen = subject_of(rows[0], manifest, codec, compiler)
    known = np.unique(row_patterns(rows[0], manifest, codec, Size(3, 20)))
    seen = subject_of(rows[0], manifest, codec, compiler, SeenShapes(known, 1))
    assert unseen.has_unseen
    assert not seen.has_unseen
    assert set(unseen.pattern_S.tolist()) == {NO_PATTERN, UNSEEN}
    assert (seen.pattern_S == NO_PATTERN).tolist() == (unseen.pattern_S == NO_PATTERN).tolist()


# -------------------------------------------------------------------------------------------------------------- restoring


def tiny_sequences() -> list[Masked]:
    draw_ids = np.random.Generator(np.random.Philox(3))
    sequences = []
    for length, rate in ((30, 0.5), (22, 0.9), (30, 0.1), (9, 1.0), (12, 0.0)):
        clean = draw_ids.integers(10, 290, length)
        seen = np.where(draw_ids.random(length) < rate, diffusion().token_ids.mask, clean)
        sequences.append(Masked(clean, seen, length))
    return sequences


@pytest.mark.parametrize("num_steps", [1, 3, 50])
@pytest.mark.parametrize("timestep", [False, True])
def test_restoring_is_infilling_in_one_block(num_steps: int, timestep: bool) -> None:
    """The same tokens as the infilling of generation.py with one block over the whole canvas, sequence by sequence."""
    checkpoint = diffusion(timestep=timestep)
    rule = checkpoint.sampler(GenerationConfig()).rule
    for sequence in tiny_sequences():
        first = (
            int(np.argmax(sequence.seen_ids == rule.mask_id))
            if (sequence.seen_ids == rule.mask_id).any()
            else len(sequence.seen_ids)
        )
        sequence = sequence._replace(num_corruptible=len(sequence.seen_ids) - first)  # infilling counts from the first mask
        config = GenerationConfig(block_length=100, num_steps=num_steps)
        (expected,) = infill(checkpoint, [sequence.seen_ids.tolist()], config)
        (restored,) = restore(checkpoint.model, [sequence], rule, num_steps=num_steps, batch_size=1)
        assert restored.ids.tolist() == expected.token_ids


def test_neighbours_in_a_batch_do_not_matter() -> None:
    """In float64, any batch gives each sequence the tokens and nats that it has in a batch of one."""
    checkpoint = diffusion()
    rule = checkpoint.sampler(GenerationConfig()).rule
    batches_done: list[int] = []
    together = restore(checkpoint.model, tiny_sequences(), rule, num_steps=4, batch_size=4, on_done=batches_done.append)
    alone = [restore(checkpoint.model, [sequence], rule, num_steps=4, batch_size=1)[0] for sequence in tiny_sequences()]
    assert batches_done == [4, 1]
    for restored, other in zip(together, alone, strict=True):
        assert restored.ids.tolist() == other.ids.tolist()
        assert np.allclose(restored.nats, other.nats, atol=1e-9)


def test_nats_are_those_of_the_masked_sequence() -> None:
    """Cross entropy of the clean tokens where all masks stand; nothing where there is none; what was seen stays."""
    checkpoint = diffusion()
    rule = checkpoint.sampler(GenerationConfig()).rule
    for sequence, restored in zip(
        tiny_sequences(), restore(checkpoint.model, tiny_sequences(), rule, num_steps=4, batch_size=2), strict=True
    ):
        logits = checkpoint.model(Inputs(torch.from_numpy(sequence.seen_ids)[None]))[0]
        expected = -logits.log_softmax(-1)[torch.arange(len(sequence.clean_ids)), torch.from_numpy(sequence.clean_ids)]
        is_masked = sequence.seen_ids == rule.mask_id
        assert np.allclose(restored.nats, np.where(is_masked, expected.numpy(), 0), atol=1e-9)
        assert np.array_equal(restored.ids[~is_masked], sequence.clean_ids[~is_masked])
        assert not (restored.ids == rule.mask_id).any()


# ------------------------------------------------------------------------------------------------------------ a whole run


def test_masks_are_those_of_training(manifest: Manifest, codec: Codec, rows: list[SampleRow], compiler: Compiler) -> None:
    """The corruption's own for seed and epoch 0; --code-only keeps those of the code and shows the rest."""
    subjects = [subject_of(row, manifest, codec, compiler) for row in rows]
    for strategy in STRATEGIES:
        config = CorruptionConfig(strategy=strategy)
        batch = collate(rows, pad_id=manifest.token_ids.pad, languages=manifest.languages)
        corrupted = corrupt(
            batch.tensors, plan(batch, config, Noise.fixed(0.4, len(rows)), seed=5, epoch=0), config, manifest.token_ids
        )
        drawn = draw(subjects, manifest, ReconstructionConfig(seed=5), strategy, 0.4)
        of_code = draw(subjects, manifest, ReconstructionConfig(seed=5, code_only=True), strategy, 0.4)
        for place, (subject, masked_sample, code) in enumerate(zip(subjects, drawn, of_code, strict=True)):
            length = len(subject.row.input_ids)
            assert np.array_equal(masked_sample.masked.seen_ids, corrupted.input_ids_BL[place, :length].numpy())
            assert np.array_equal(masked_sample.is_masked_L, masked_sample.masked.seen_ids == manifest.token_ids.mask)
            assert np.array_equal(code.is_masked_L, masked_sample.is_masked_L & (subject.region_L == Region.CODE))
            assert np.array_equal(code.masked.seen_ids == manifest.token_ids.mask, code.is_masked_L)


def test_subsets_add_up(manifest: Manifest, codec: Codec, rows: list[SampleRow], compiler: Compiler) -> None:
    """Samples with and without an unseen shape are all samples, groups hold every token and span once."""
    subjects = [subject_of(row, manifest, codec, compiler) for row in rows]
    subjects[0] = dataclasses.replace(subjects[0], has_unseen=False)
    drawn = draw(subjects, manifest, ReconstructionConfig(), "ast-span", 0.6)
    drawn[1] = drawn[1]._replace(is_masked_L=np.zeros_like(drawn[1].is_masked_L))  # nothing masked, nothing to count
    back: list[Recovery] = [
        recovery(
            subject,
            masked_sample.is_masked_L,
            Restored(masked_sample.masked.clean_ids, np.zeros(len(masked_sample.is_masked_L))),
            manifest,
            codec,
            compiler,
        )
        for subject, masked_sample in zip(subjects, drawn, strict=True)
    ]
    cell = measures(subjects, back, "ast-span", 0.6)
    for key in SHARES_OF_ALL:
        of = [getattr(getattr(cell, part), key).of for part in ("all", "with_unseen_shape", "without_unseen_shape")]
        assert of[0] == of[1] + of[2] > of[2] > 0
    assert cell.all.parses.of == len(rows) - 1
    masked = cell.masked_share.total
    assert masked == sum(cell.per_sample.masked) == cell.tokens_by_region["code"].token_accuracy.of
    for group in ("tokens_by_leaf_kind", "tokens_by_depth"):
        assert sum(measures_of_group.token_accuracy.of for measures_of_group in getattr(cell, group).values()) == masked
    num_spans = sum(len(recovered.spans.kind_U) for recovered in back)
    for group in ("spans_by_node_kind", "spans_by_depth", "spans_by_length"):
        assert sum(measures_of_group.exact_spans.of for measures_of_group in getattr(cell, group).values()) == num_spans > 0


def test_lengths_have_bins() -> None:
    """Named by their ends, the last open."""
    labels = [length_label(index) for index in range(len(LENGTH_BINS))]
    assert labels == ["2-3", "4-7", "8-15", "16-31", "32-63", "64+"]


def config_of(**changes: Any) -> ReconstructionConfig:
    values: dict[str, Any] = {"strategies": ("random",), "mask_rates": (0.5,), "num_steps": 2, "num_samples": 3, **changes}
    return ReconstructionConfig(**values)


def test_a_run_goes_on_and_ends_with_the_same_bytes(folder: Path, useless: DenoisingModel, tmp_path: Path) -> None:
    """Cells that stand are kept, whatever their order; the file is that of one run, and of the same run again."""
    reconstruct(useless, folder, tmp_path / "parts", config_of(strategies=("ast-cut",)))
    kept = json.loads((tmp_path / "parts" / RESULT).read_text())
    masked_share = kept["cells"][0]["masked_share"]
    masked_share["total"] += 1  # a mark that a cell made again would not have
    (tmp_path / "parts" / RESULT).write_text(json.dumps(kept))
    parts = reconstruct(useless, folder, tmp_path / "parts", config_of(strategies=("ast-cut", "random")))
    assert parts.cells[1].masked_share.total == masked_share["total"]
    masked_share["total"] -= 1
    parts = dataclasses.replace(parts, cells=(parts.cells[0], from_json(Cell, kept["cells"][0])))
    whole = reconstruct(useless, folder, tmp_path / "whole", config_of(strategies=("random", "ast-cut")))
    assert whole == parts
    again = reconstruct(useless, folder, tmp_path / "again", config_of(strategies=("random", "ast-cut")))
    assert again == whole
    assert (tmp_path / "again" / RESULT).read_bytes() == (tmp_path / "whole" / RESULT).read_bytes()


@pytest.mark.parametrize("most_bytes", [100, 2000])
def test_a_full_disk_is_one_line(most_bytes: int, folder: Path, useless: DenoisingModel, tmp_path: Path) -> None:
    """Whether shapes or results no longer fit: it is said what to do, nothing torn is left, and the run goes on later."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, before[1]))
    try:
        with pytest.raises(StorageError, match="free or allow some space and run the same command again"):
            reconstruct(useless, folder, tmp_path, config_of())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not (tmp_path / "reconstruction.json").exists()
    assert not list(tmp_path.glob(".*"))
    assert reconstruct(useless, folder, tmp_path, config_of()).cells


def test_other_settings_are_refused(folder: Path, useless: DenoisingModel, tmp_path: Path) -> None:
    """A folder holds results of one model, one set of data, one way of restoring; --restart begins from scratch."""
    reconstruct(useless, folder, tmp_path, config_of())
    with pytest.raises(SettingsError, match=r"another --steps \(2, now 3\).*--restart"):
        reconstruct(useless, folder, tmp_path, config_of(num_steps=3))
    other = dataclasses.replace(useless, model=Denoiser(network_with_one_change(useless)).eval())
    with pytest.raises(SettingsError, match="another model"):
        reconstruct(other, folder, tmp_path, config_of())
    assert reconstruct(other, folder, tmp_path, config_of(num_steps=3), restart=True).settings.num_steps == 3
    (tmp_path / RESULT).write_text("{")
    with pytest.raises(SettingsError, match="cannot be read"):
        reconstruct(useless, folder, tmp_path, config_of())


def network_with_one_change(checkpoint: DenoisingModel) -> Any:
    made: Any = LlamaForCausalLM(checkpoint.model.network.config)
    made.load_state_dict(checkpoint.model.network.state_dict())
    with torch.no_grad():
        made.lm_head.weight[0, 0] += 1
    return made


def test_models_that_do_not_fit_are_refused(folder: Path, useless: DenoisingModel, tmp_path: Path) -> None:
    """A model from left to right fills no masks; another tokenizer's ids mean other words."""
    with pytest.raises(SettingsError, match="cannot fill gaps"):
        reconstruct(autoregressive(), folder, tmp_path, config_of())
    with pytest.raises(TokenizerError, match="another tokenizer"):
        reconstruct(diffusion(), folder, tmp_path, config_of())
    ids = dataclasses.replace(useless.token_ids, mask=useless.token_ids.mask + 1)
    with pytest.raises(TokenizerError, match="the mask is another token"):
        reconstruct(dataclasses.replace(useless, token_ids=ids), folder, tmp_path, config_of())
    assert not (tmp_path / RESULT).exists()


def test_samples_that_are_too_long_are_counted(folder: Path, manifest: Manifest, rows: list[SampleRow]) -> None:
    """What the model cannot read is left out and reported; nothing left is an error."""
    shortest, *_, longest = sorted(len(row.input_ids) for row in rows)
    kept, too_long = chosen_rows(folder, manifest, config_of(num_samples=None), longest - 1)
    assert len(kept) + too_long == len(rows)
    assert too_long == sum(len(row.input_ids) == longest for row in rows)
    with pytest.raises(SettingsError, match="no samples of at most"):
        chosen_rows(folder, manifest, config_of(), shortest - 1)


@given(count=st.integers(1, 30))
@settings(max_examples=10, deadline=None)
def test_samples_are_spread_over_the_split(folder: Path, count: int) -> None:
    """So many as asked for, or all, each once, in the split's order and evenly far apart."""
    manifest = read_manifest(folder)
    all_rows = [row.sample_id for shard in manifest.splits["train"] for row in iter_shard(folder, shard)]
    kept, _ = chosen_rows(folder, manifest, config_of(num_samples=count, split="train"), None)
    places = [all_rows.index(row.sample_id) for row in kept]
    assert len(places) == min(count, len(all_rows))
    assert places == sorted(set(places))
    gaps = np.diff(places)
    assert len(gaps) == 0 or gaps.max() - gaps.min() <= 1
    assert len(all_rows) - places[-1] <= -(-len(all_rows) // len(places))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"strategies": ("tokens",)}, "--strategy tokens: choose from"),
        ({"mask_rates": (0.0,)}, "--mask-rate 0.0"),
        ({"mask_rates": (1.5,)}, "--mask-rate 1.5"),
        ({"split": "test"}, "--split test"),
        ({"num_steps": 0}, "--steps 0"),
        ({"num_samples": 0}, "--samples 0"),
        ({"batch_size": 0}, "--batch-size 0"),
        ({"max_span_share": 0.0}, "--max-span-share"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, Any], words: str) -> None:
    """By the name of the option."""
    with pytest.raises(SettingsError, match=words):
        config_of(**changes)


def documented(value: Any) -> Iterator[str]:
    """The fixed keys of a result; groups' own names (kinds, depths, lengths) are none."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            if key.startswith(("tokens_by_", "spans_by_")):
                inner = next(iter(inner.values()), {})
            yield from documented(inner)
    elif isinstance(value, list) and value:
        yield from documented(value[0])


def test_every_key_is_documented(folder: Path, useless: DenoisingModel, tmp_path: Path) -> None:
    """docs/reconstruction.md names all that the files hold, and the tables print."""
    from syntaxdiff.eval.syntax.check import WrittenProgram, syntax
    from syntaxdiff.eval.syntax.tables import print_syntax

    result = reconstruct(useless, folder, tmp_path, config_of())
    checked = syntax([WrittenProgram(code=b"x = (\n", language="python", decided=[None, b"x = (\n"])], {})
    text = (Path(__file__).resolve().parents[3] / "docs" / "reconstruction.md").read_text()
    plain = {**to_json(checked), "tree_errors": {}, "compile_errors": {}, "source": {}}
    named = {*documented(to_json(result)), *documented(plain)}
    assert sorted(key for key in named if f"`{key}`" not in text and "%" not in key) == []
    for width in (80, 100, 160):
        console = Console(width=width, record=True)
        print_syntax(checked, console)
        assert "…" not in console.export_text()


@pytest.mark.parametrize("width", [80, 100, 160])
def test_tables_fit_the_terminal(width: int, folder: Path, useless: DenoisingModel, tmp_path: Path) -> None:
    """Every share stands whole on a line of its group, in as many tables as the width needs."""
    result = reconstruct(useless, folder, tmp_path, config_of(strategies=("random", "ast-span"), mask_rates=(0.2, 0.5, 0.8)))
    console = Console(width=width, record=True)
    print_reconstruction(result, console)
    text = console.export_text()
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    names = ("tokens right", "nats, first step", "exact spans", "equal subtrees", "equal tree", "parse ", "compile")
    assert all(name in text for name in names)
    for cell in result.cells:
        name = f"{cell.strategy} {cell.mask_rate:g}"
        lines = [line for line in text.splitlines() if line.startswith(f"{name} ")]
        assert len(lines) == (4 if width < 120 else 2)
        for measure in ("token_accuracy", "exact_spans", "parses", "compiles"):
            assert any(with_interval(getattr(cell.all, measure)) in line for line in lines)
