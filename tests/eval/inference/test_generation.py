"""Generation: the tokens of the literal rules, each answer independent of its batch, and given tokens unchanged."""

import copy
import dataclasses
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from answers import generate, infill
from generation_reference import literal_generate, literal_model
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_checkpoint import autoregressive, diffusion, token_ids, tokenizer
from torch import Tensor

from syntaxdiff.eval.inference import batch_size as batching
from syntaxdiff.eval.inference.answer import Answer
from syntaxdiff.eval.inference.cache import KeyValues
from syntaxdiff.eval.inference.canvas import blocks_of, new_canvas, stream_seed
from syntaxdiff.eval.inference.config import CACHES, MOST, GenerationConfig
from syntaxdiff.eval.inference.denoising import DenoisingModel
from syntaxdiff.eval.inference.sampler import OutputIds, Sampler
from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.train.model.denoiser import Inputs
from syntaxdiff.train.model.denoising_config import CONFIDENCES

IDS = token_ids()
NEVER = (IDS.mask, *range(300, 310))
PROMPTS: tuple[list[int], ...] = ([7, 9, 30, 12], [40], [101, 102, 103, 104, 105, 106, 107, 108, 109], [])


def config(**changes: Any) -> GenerationConfig:
    """Short answers that go on to the end of the canvas."""
    values: dict[str, Any] = {"gen_length": 24, "block_length": 8, "early_stop": False, **changes}
    return GenerationConfig(**values)


def whole_answers(
    checkpoint: DenoisingModel, prompts: Sequence[Sequence[int]], options: GenerationConfig, **more: Any
) -> list[list[int]]:
    """Every token that was written, those behind an end too."""
    canvases = [[*prompt, *[IDS.mask] * options.gen_length] for prompt in prompts]
    filled = infill(checkpoint, canvases, options, **more)
    return [answer.token_ids[len(prompt) :] for answer, prompt in zip(filled, prompts, strict=True)]


RULES: dict[str, dict[str, Any]] = {
    "plain": {},
    "eight steps": {"num_steps": 12},
    "margin": {"confidence": "margin"},
    "entropy": {"confidence": "entropy"},
    "random": {"confidence": "random"},
    "threshold": {"schedule": "threshold", "threshold": 0.3},
    "threshold of margins": {"schedule": "threshold", "threshold": 0.2, "confidence": "margin"},
    "factor": {"schedule": "factor", "factor": 3.0},
    "noise": {"temperature": 0.8},
    "noise, random order": {"temperature": 0.8, "confidence": "random"},
    "guidance": {"guidance": 1.5},
    "lowered ends": {"lower_eos": True},
}


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("name", RULES)
def test_the_literal_rules_give_the_same_tokens(name: str, cache: str) -> None:
    """LLaDA's and Fast-dLLM's rules on a literal model, which knows nothing of transformers or batches: equal tokens."""
    checkpoint = diffusion(seed=3)
    options = config(cache=cache, **RULES[name])
    prompt = PROMPTS[0]
    changes = {key: value for key, value in RULES[name].items() if key != "num_steps"}
    expected, num_steps = literal_generate(
        literal_model(checkpoint.model.network), prompt, gen_length=24, block_length=8, num_steps=options.num_steps or 24,
        mask_id=IDS.mask, never=NEVER, end_ids=tuple(checkpoint.end_ids), cache=cache,
        generator=torch.Generator().manual_seed(stream_seed(0, "0")), **changes,
    )  # fmt: skip
    (filled,) = infill(checkpoint, [[*prompt, *[IDS.mask] * 24]], options)
    assert filled.token_ids == prompt + expected
    assert filled.num_forward == num_steps * (2 if "guidance" in changes else 1)


@pytest.mark.parametrize("cache", CACHES)
def test_the_literal_rules_with_shift(cache: str) -> None:
    """A model whose position i - 1 predicts token i reads one position more, cached or not."""
    checkpoint = diffusion(seed=4, shift=True)
    expected, _ = literal_generate(
        literal_model(checkpoint.model.network), PROMPTS[0], gen_length=24, block_length=8, num_steps=24,
        mask_id=IDS.mask, never=NEVER, cache=cache, shift=True,
    )  # fmt: skip
    assert whole_answers(checkpoint, [PROMPTS[0]], config(cache=cache)) == [expected]


def test_a_cache_is_no_ornament() -> None:
    """On a random model, where all depends on all, kept keys and values change the answer: the tests above say something."""
    for cache in ("prefix", "dual"):
        assert whole_answers(diffusion(seed=3), [PROMPTS[0]], config(cache=cache)) != whole_answers(
            diffusion(seed=3), [PROMPTS[0]], config()
        )


@pytest.mark.parametrize("cache", ["prefix", "dual"])
@pytest.mark.parametrize("options", [{}, {"schedule": "threshold", "threshold": 0.3}, {"guidance": 1.0}], ids=str)
@pytest.mark.parametrize("model", [{}, {"shift": True}, {"timestep": True}], ids=str)
def test_a_cache_that_is_always_fresh_is_none(cache: str, options: dict[str, Any], model: dict[str, bool]) -> None:
    """Refreshed every step, a cache gives the answers of none."""
    checkpoint, prompts = diffusion(**model), PROMPTS[:2]
    short = config(gen_length=12, block_length=5, batch_size=2, **options)
    plain = generate(checkpoint, prompts, short, with_trace=True)
    fresh = dataclasses.replace(short, cache=cache, cache_refresh=1)
    assert generate(checkpoint, prompts, fresh, with_trace=True) == plain


@pytest.mark.parametrize("window", [(0, 12), (3, 7), (5, 12), (0, 1)])
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_a_window_of_an_unchanged_canvas_is_exact(window: tuple[int, int], kv_heads: int) -> None:
    """As long as no id changed, computing a window against the kept rest gives the hidden states of the whole."""
    checkpoint = diffusion(kv_heads=kv_heads)
    ids = torch.randint(300, (2, 12), generator=torch.Generator().manual_seed(0))
    positions = torch.arange(*window).expand(2, -1)
    cache = KeyValues()
    whole = checkpoint.model.hidden(Inputs(ids))
    cache.select(None)
    again = checkpoint.model.hidden(Inputs(ids, position_BL=torch.arange(12).expand(2, -1), cache=cache))
    torch.testing.assert_close(again, whole, rtol=0, atol=1e-12)
    cache.select(positions)
    part = checkpoint.model.hidden(Inputs(ids[:, window[0] : window[1]], position_BL=positions, cache=cache))
    torch.testing.assert_close(part, whole[:, window[0] : window[1]], rtol=0, atol=1e-6)


MODELS: tuple[dict[str, bool], ...] = ({}, {"shift": True}, {"timestep": True})
BATCHED: tuple[dict[str, Any], ...] = (
    {},
    {"schedule": "threshold", "threshold": 0.3},
    {"temperature": 0.8},
    {"confidence": "random", "temperature": 0.3},
    {"guidance": 1.0},
    {"guidance": 1.0, "schedule": "threshold", "threshold": 0.3},
    {"early_stop": True, "schedule": "factor", "factor": 3.0},
)


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("number", range(len(BATCHED)))
def test_answers_do_not_depend_on_their_neighbours(cache: str, number: int) -> None:
    """In float64, prompts of several lengths get the same tokens, steps and forward passes alone, together, and reordered."""
    checkpoint = diffusion(seed=5, **MODELS[(number + CACHES.index(cache)) % len(MODELS)])
    options = config(gen_length=13, block_length=5, cache=cache, **BATCHED[number])
    # Without a prompt all positions look the same to the model: a true tie, which rounding decides.
    prompts, keys = [*PROMPTS[:3], [55, 56]], ["a", "b", "c", "d"]
    alone = [
        generate(checkpoint, [prompt], options, keys=[key], with_trace=True)[0]
        for prompt, key in zip(prompts, keys, strict=True)
    ]
    together = generate(checkpoint, prompts, dataclasses.replace(options, batch_size=4), keys=keys, with_trace=True)
    assert together == alone
    in_threes = dataclasses.replace(options, batch_size=3)
    reverse = generate(checkpoint, prompts[::-1], in_threes, keys=keys[::-1], with_trace=True)
    assert reverse[::-1] == alone


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("model", MODELS, ids=str)
def test_gaps_do_not_depend_on_their_neighbours(cache: str, model: dict[str, bool]) -> None:
    """Canvases whose gaps lie elsewhere and are longer or shorter are filled in a batch as alone, and as confidently."""
    mask, checkpoint = IDS.mask, diffusion(seed=6, **model)
    output_ids = OutputIds(mask=mask, ends=frozenset(), never=frozenset(NEVER))
    sampler = Sampler(denoiser=checkpoint.model, output_ids=output_ids, config=GenerationConfig(block_length=6, cache=cache))
    sequences = [
        [7, 9, mask, mask, mask, 11],
        [mask] * 20 + [30, 31],
        [20] * 6 + [mask, 21, 22, mask, mask, mask, mask, mask, 23, 24],
        [40, mask],
        [50, 51, 52],
    ]
    alone, together = (
        [new_canvas(ids, mask, seed=0, key="", device=torch.device("cpu")) for ids in sequences] for _ in range(2)
    )
    for canvas in alone:
        sampler.fill([canvas])
    sampler.fill(together)
    for canvas, other in zip(alone, together, strict=True):
        assert (canvas.ids.tolist(), canvas.trace) == (other.ids.tolist(), other.trace)
        torch.testing.assert_close(canvas.confidence, other.confidence, rtol=0, atol=1e-9)


def test_sampling_follows_seed_and_key() -> None:
    """Equal seeds and keys give equal answers; another seed or key gives others; torch's own generator is left alone."""
    state = torch.get_rng_state()

    def answers(seed: int, *keys: str) -> list[list[int]]:
        options = config(temperature=1.0, seed=seed, batch_size=2)
        return [answer.token_ids for answer in generate(diffusion(), [PROMPTS[0]] * len(keys), options, keys=keys)]

    first, second = answers(0, "task/0", "task/1")
    assert first != second
    assert answers(0, "task/1", "task/0") == [second, first]
    assert answers(1, "task/0") != [first]
    assert torch.equal(torch.get_rng_state(), state)


options_of = st.fixed_dictionaries(
    {
        "gen_length": st.integers(1, 14),
        "block_length": st.integers(1, 16),
        "cache": st.sampled_from(CACHES),
        "cache_refresh": st.sampled_from([None, 1, 2]),
        "early_stop": st.booleans(),
        "lower_eos": st.booleans(),
        "forbid_eos": st.booleans(),
        "guidance": st.sampled_from([0.0, 0.5]),
        "temperature": st.sampled_from([0.0, 1.0]),
        "batch_size": st.integers(1, 3),
    }
)
schedules = st.one_of(
    st.fixed_dictionaries(
        {
            "schedule": st.just("fixed"),
            "num_steps": st.sampled_from([None, 1, 2, 3, 5, 14, 40]),
            "confidence": st.sampled_from(CONFIDENCES),
        }
    ),
    st.fixed_dictionaries({"schedule": st.just("threshold"), "threshold": st.sampled_from([0.01, 0.5, 1.0])}),
    st.fixed_dictionaries({"schedule": st.just("factor"), "factor": st.sampled_from([0.01, 2.0, 50.0])}),
)


@settings(deadline=None, max_examples=80)
@given(options=options_of, schedule=schedules, seed=st.integers(0, 5))
def test_every_answer_is_whole(options: dict[str, Any], schedule: dict[str, Any], seed: int) -> None:
    """Whatever the lengths and rules: no mask and no unknown id is left, the trace replays to the answer, counts add up."""
    checkpoint, prompts = diffusion(seed=seed), PROMPTS[:3]
    settings_ = GenerationConfig(**options, **schedule)
    for prompt, answer in zip(prompts, generate(checkpoint, prompts, settings_, with_trace=True), strict=True):
        assert 1 <= len(answer.token_ids) <= settings_.gen_length
        assert not set(NEVER) & set(answer.token_ids)
        ends = [place for place, token in enumerate(answer.token_ids) if token in checkpoint.end_ids]
        assert ends in ([], [len(answer.token_ids) - 1])
        assert not (ends and settings_.forbid_eos)
        assert answer.num_generated == len(answer.token_ids)
        check_trace(prompt, answer, settings_)


def check_trace(prompt: Sequence[int], answer: Answer, options: GenerationConfig) -> None:
    """A replay of the trace gives the answer; steps and forward passes are as many as they may be."""
    assert answer.trace is not None
    written: dict[int, int] = {}
    for commit in answer.trace:
        assert commit.positions
        assert not set(commit.positions) & set(written)  # nothing is written twice
        assert min(commit.positions) >= len(prompt)
        written |= dict(zip(commit.positions, commit.token_ids, strict=True))
    if not options.early_stop:
        assert sorted(written) == list(range(len(prompt), len(prompt) + options.gen_length))
    assert [written[len(prompt) + place] for place in range(len(answer.token_ids))] == answer.token_ids
    steps = answer.num_forward // (2 if options.guidance else 1)
    assert steps == len(answer.trace) <= len(written)
    if options.schedule == "fixed" and options.num_steps is not None:
        num_blocks = -(-options.gen_length // options.block_length)
        assert steps <= max(options.num_steps, num_blocks)


@settings(deadline=None, max_examples=60)
@given(data=st.data(), options=options_of, schedule=schedules)
def test_what_stands_between_gaps_stays(data: st.DataObject, options: dict[str, Any], schedule: dict[str, Any]) -> None:
    """Infilling writes to the masks and to nothing else, and to all of them, wherever they are; ends do not stop it."""
    sizes = data.draw(st.lists(st.integers(1, 12), min_size=1, max_size=3))
    tokens = st.one_of(st.just(IDS.mask), st.integers(6, 299), st.just(IDS.eos))
    canvases = [data.draw(st.lists(tokens, min_size=size, max_size=size)) for size in sizes]
    for canvas, answer in zip(canvases, infill(diffusion(), canvases, GenerationConfig(**options, **schedule)), strict=True):
        num_masks = canvas.count(IDS.mask)
        assert len(answer.token_ids) == len(canvas)
        assert all(new == old for new, old in zip(answer.token_ids, canvas, strict=True) if old != IDS.mask)
        assert not set(NEVER) & {new for new, old in zip(answer.token_ids, canvas, strict=True) if old == IDS.mask}
        assert answer.num_generated == num_masks
        assert (answer.num_forward == 0) == (num_masks == 0)


@given(
    masks=st.lists(st.booleans(), max_size=40),
    block_length=st.integers(1, 12),
    num_steps=st.one_of(st.none(), st.integers(1, 60)),
)
def test_blocks_hold_every_mask_once(masks: list[bool], block_length: int, num_steps: int | None) -> None:
    """Blocks lie in order, do not overlap and hold all masks; their steps fill all of them, and are as many as asked for."""
    ids = [9 if is_mask else 5 for is_mask in masks]
    canvas = new_canvas(ids, 9, seed=0, key="", device=torch.device("cpu"))
    blocks = blocks_of(canvas, 9, block_length, num_steps)
    assert all(block.end <= other.start for block, other in pairwise(blocks))
    held = [place for block in blocks for place in range(block.start, block.end) if masks[place]]
    assert held == [place for place, is_mask in enumerate(masks) if is_mask]
    assert [sum(block.counts) for block in blocks] == [sum(masks[block.start : block.end]) for block in blocks]
    assert all(0 < block.end - block.start <= block_length for block in blocks)
    asked = sum(masks) if num_steps is None else min(num_steps, sum(masks))
    assert sum(len(block.counts) for block in blocks) == max(asked, len(blocks))


def test_steps_are_shared_as_lladas_where_blocks_are_equal() -> None:
    """24 positions in blocks of 8 with 12 steps: four steps of two positions in each."""
    canvas = new_canvas([9] * 24, 9, seed=0, key="", device=torch.device("cpu"))
    assert [block.counts for block in blocks_of(canvas, 9, 8, 12)] == [[2, 2, 2, 2]] * 3


def with_logits(checkpoint: DenoisingModel, rewrite: Callable[[Tensor], Tensor]) -> DenoisingModel:
    """The checkpoint with what its head says changed."""
    model = copy.deepcopy(checkpoint.model)
    model.network.lm_head.register_forward_hook(lambda module, given, result: rewrite(result))
    return dataclasses.replace(checkpoint, model=model)


def likes(token: int, amount: float = 50.0) -> Callable[[Tensor], Tensor]:
    """A bonus for one token."""

    def rewrite(logits: Tensor) -> Tensor:
        logits = logits.clone()
        logits[..., token] += amount
        return logits

    return rewrite


@pytest.mark.parametrize("token", [IDS.eos, IDS.end_of_turn[0]])
def test_generation_stops_behind_a_block_with_an_end(token: int) -> None:
    """With early stop one block is written, without it all; the answer is the same, and forbidden ends are written nowhere."""
    checkpoint = with_logits(diffusion(), likes(token))
    (stopped,) = generate(checkpoint, [PROMPTS[0]], config(early_stop=True))
    (whole,) = generate(checkpoint, [PROMPTS[0]], config())
    assert stopped.token_ids == whole.token_ids == [token]
    assert (stopped.text, stopped.num_generated) == ("", 1)
    assert (stopped.num_forward, whole.num_forward) == (8, 24)
    (forbidden,) = generate(checkpoint, [PROMPTS[0]], config(early_stop=True, forbid_eos=True))
    assert len(forbidden.token_ids) == 24
    (lowered,) = generate(checkpoint, [PROMPTS[0]], config(early_stop=True, lower_eos=True))
    assert lowered.token_ids == [token]  # it is what every position wants: last, but written


def test_lowered_ends_come_last() -> None:
    """Positions that want an end wait for the others of their block, although they are surer."""
    checkpoint = diffusion(seed=3)
    plain_logits = checkpoint.model(Inputs(torch.tensor([[*PROMPTS[0], *[IDS.mask] * 8]])))
    assert plain_logits.shape[1] == 12
    first_only = with_logits(
        checkpoint,
        lambda logits: logits.index_put(
            (torch.tensor(0), torch.tensor(0), torch.tensor(IDS.eos)), torch.tensor(99.0, dtype=torch.float64)
        ),
    )
    options = config(gen_length=8, cache="none")
    (sure,) = generate(first_only, [PROMPTS[0]], options, with_trace=True)
    (waits,) = generate(first_only, [PROMPTS[0]], dataclasses.replace(options, lower_eos=True), with_trace=True)
    assert sure.trace is not None
    assert waits.trace is not None
    assert (sure.trace[0].positions, waits.trace[-1].positions) == ([4], [4])
    assert waits.trace[-1].token_ids == [IDS.eos]


def test_padding_that_is_no_end_is_never_written() -> None:
    """A model that wants padding everywhere writes something else; padding that is the end's own token stays an end."""
    pad = 77
    (answer,) = generate(with_logits(diffusion(pad=pad), likes(pad)), [PROMPTS[0]], config())
    assert pad not in answer.token_ids
    assert IDS.pad == IDS.eos


def test_the_mask_rate_reaches_the_timestep_embedding() -> None:
    """A model with a timestep embedding gets the share of the canvas after the prompt that is still masked."""
    checkpoint = diffusion(timestep=True)
    heard: list[float] = []
    hook = checkpoint.model.timestep.register_forward_hook(
        lambda module, given, result: heard.extend((given[0] / 1000).flatten().tolist())
    )
    generate(checkpoint, [PROMPTS[0]], config(gen_length=8, block_length=4, num_steps=4))
    hook.remove()
    assert heard == [1.0, 0.75, 0.5, 0.25]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gen_length": 0}, "--gen-length 0"),
        ({"block_length": -1}, "--block-length -1"),
        ({"num_steps": 0}, "--num-steps 0"),
        ({"temperature": -0.1}, "--temperature -0.1"),
        ({"temperature": float("nan")}, "--temperature nan"),
        ({"threshold": 0.0}, "--threshold 0.0"),
        ({"threshold": 1.5}, "--threshold 1.5"),
        ({"factor": 0.0}, "--factor 0.0"),
        ({"schedule": "cosine"}, "choose from fixed, threshold, factor"),
        ({"confidence": "high"}, "choose from low-confidence"),
        ({"cache": "all"}, "choose from none, prefix, dual"),
        ({"language": "cobol"}, "choose from python"),
        ({"confidence": "random", "schedule": "threshold"}, "--confidence random does not say"),
        ({"num_steps": 8, "schedule": "factor"}, "--num-steps is for --schedule fixed"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], words: str) -> None:
    """One line that names the option and what it may be."""
    with pytest.raises(SettingsError, match=words) as caught:
        GenerationConfig(**changes)
    assert "\n" not in str(caught.value)


def test_prompts_that_cannot_be_are_refused() -> None:
    """Masks in a prompt, ids the model does not know, and more tokens than it reads are three messages."""
    for prompt, words in (([5, IDS.mask], "infilling"), ([310], "none of tiny's 310"), ([5] * 489, "lower --gen-length")):
        with pytest.raises(SettingsError, match=words):
            generate(diffusion(), [prompt], config())
    with pytest.raises(SettingsError, match="cannot fill gaps"):
        infill(autoregressive(), [[5]], config())
    with pytest.raises(SettingsError, match="cannot fill gaps"):
        autoregressive().sampler(config())
    with pytest.raises(SettingsError, match="lower --gen-length"):
        diffusion().generate([[5] * 489], config())  # at the call, before an answer is asked for


def test_answers_are_reported_as_they_come() -> None:
    """Every index once, the longest prompts first; a batch is computed when its first answer is asked for, and not before."""
    model = diffusion()
    calls: list[int] = []
    hook = model.model.network.lm_head.register_forward_hook(lambda module, given, result: calls.append(len(given[0])))
    stream = model.generate(PROMPTS, config(batch_size=2, num_steps=3))
    assert calls == []
    found, num_calls = [], []
    for index, answer in stream:
        found.append((index, answer))
        num_calls.append(len(calls))
    hook.remove()
    assert [index for index, _ in found] == [2, 0, 1, 3]
    assert num_calls == [3, 3, 6, 6]
    assert [answer for _, answer in sorted(found)] == generate(model, PROMPTS, config(batch_size=2, num_steps=3))
    assert generate(model, [], config()) == []


def test_text_is_what_the_tokens_say() -> None:
    """The text of an answer is its tokens' without its end; of a filled gap, from the first gap to the last."""
    wanted = tokenizer().encode("total += value", add_special_tokens=False)
    prompt = tokenizer().encode("for value in values:\n", add_special_tokens=False)
    canvas = [*prompt, IDS.mask, *wanted, IDS.mask, *prompt]
    (answer,) = infill(with_logits(diffusion(), likes(wanted[0])), [canvas], config())
    first = tokenizer().decode(wanted[:1])
    assert answer.text == f"{first}total += value{first}"
    (answer,) = generate(with_logits(diffusion(), likes(wanted[0])), [prompt], config())
    assert answer.text == first * 24


def test_a_batch_is_as_large_as_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no size is asked for: what half of the free memory holds, from 1 to the most of the device; half with guidance."""
    checkpoint, free = diffusion(), config(batch_size=None, block_length=8)
    bytes_of_sequence = checkpoint.sequence_bytes(40, 8)
    for count, expected in ((0, 1), (1, 1), (5, 5), (1000, MOST["cpu"])):
        monkeypatch.setattr(batching, "_free_bytes", lambda device, count=count: 2 * count * bytes_of_sequence)
        assert checkpoint.batch_size(40, free) == expected
        assert checkpoint.batch_size(40, dataclasses.replace(free, guidance=1.0)) == max(1, expected // 2)
    assert checkpoint.batch_size(40, config(batch_size=3)) == 3
    assert checkpoint.sequence_bytes(80, 8) > 1.5 * bytes_of_sequence
    assert 1 <= autoregressive().batch_size(40, free) <= MOST["cpu"]
    assert autoregressive().batch_size(40, dataclasses.replace(free, temperature=1.0)) == 1
    alone = generate(checkpoint, PROMPTS[:3], config(gen_length=8, block_length=8))
    assert generate(checkpoint, PROMPTS[:3], dataclasses.replace(free, gen_length=8)) == alone
