"""Generation as the papers describe it, position by position in plain Python, and the transformer it reads in plain torch.

Rules: LLaDA (Nie et al. 2025): blocks from left to right, equal shares a step, low-confidence remasking, Gumbel noise,
guidance. Fast-dLLM (Wu et al. 2025): confidence threshold, factor, prefix and dual cache. One difference from both, on purpose:
ids that are never written lose their logit before anything is computed.

Shapes: L canvas positions, W computed positions, V vocabulary.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Kept = list[tuple[Tensor, Tensor]]
Logits = Callable[[list[int], list[int], Kept | None], tuple[list[list[float]], Kept]]


def literal_model(network: Any) -> Logits:
    """A Llama that attends both ways, in float64.

    The result takes all ids of a canvas, the positions to compute, and the keys and values of all positions in every layer
    (those of the positions to compute are replaced); it returns a row of logits for every computed position, and keys and
    values.
    """
    config = network.config
    weights = {name: tensor.double() for name, tensor in network.named_parameters()}
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    width = config.hidden_size // heads

    def norm(value: Tensor, name: str) -> Tensor:
        normed: Tensor = value / torch.sqrt((value * value).mean(-1, keepdim=True) + config.rms_norm_eps) * weights[name]
        return normed

    def rotated(value_LE: Tensor, positions: list[int]) -> Tensor:
        half = width // 2
        rates = torch.tensor([10000.0 ** (-2 * pair / width) for pair in range(half)], dtype=torch.float64)
        angle = torch.tensor(positions, dtype=torch.float64)[:, None] * rates
        first, second = value_LE[:, :half], value_LE[:, half:]
        return torch.cat([first * angle.cos() - second * angle.sin(), second * angle.cos() + first * angle.sin()], dim=1)

    def compute(ids: list[int], positions: list[int], kept: Kept | None) -> tuple[list[list[float]], Kept]:
        hidden = weights["model.embed_tokens.weight"][torch.tensor(ids)[positions]]
        after: Kept = []
        for layer in range(config.num_hidden_layers):
            name = f"model.layers.{layer}."
            normed = norm(hidden, name + "input_layernorm.weight")
            query, key, value = (normed @ weights[f"{name}self_attn.{part}_proj.weight"].T for part in "qkv")
            key = torch.cat([rotated(key[:, head * width : (head + 1) * width], positions) for head in range(kv_heads)], dim=1)
            if kept is None:
                assert positions == list(range(len(ids)))
            else:
                all_keys, all_values = kept[layer][0].clone(), kept[layer][1].clone()
                all_keys[positions], all_values[positions] = key, value
                key, value = all_keys, all_values
            after.append((key, value))
            mixed = []
            for head in range(heads):
                group = head // (heads // kv_heads)
                part, kv_part = (slice(value * width, (value + 1) * width) for value in (head, group))
                scores = rotated(query[:, part], positions) @ key[:, kv_part].T / math.sqrt(width)
                mixed.append(scores.softmax(-1) @ value[:, kv_part])
            hidden = hidden + torch.cat(mixed, dim=1) @ weights[name + "self_attn.o_proj.weight"].T
            normed = norm(hidden, name + "post_attention_layernorm.weight")
            gate = torch.nn.functional.silu(normed @ weights[name + "mlp.gate_proj.weight"].T)
            hidden = (
                hidden + (gate * (normed @ weights[name + "mlp.up_proj.weight"].T)) @ weights[name + "mlp.down_proj.weight"].T
            )
        rows: list[list[float]] = (norm(hidden, "model.norm.weight") @ weights["lm_head.weight"].T).tolist()
        return rows, after

    return compute


def softmax(logits: Sequence[float]) -> list[float]:
    largest = max(logits)
    powers = [math.exp(value - largest) for value in logits]
    return [value / sum(powers) for value in powers]


def num_transfer_tokens(num_masked: int, num_steps: int) -> list[int]:
    """LLaDA: the masks of a block over its steps, the first ones one more where they do not divide."""
    counts = [num_masked // num_steps] * num_steps
    for step in range(num_masked % num_steps):
        counts[step] += 1
    return counts


def confidences(logits: list[list[float]], tokens: list[int], measure: str, draws: list[float]) -> list[float]:
    result = []
    for row, token, draw in zip(logits, tokens, draws, strict=True):
        probabilities = softmax(row)
        if measure == "low-confidence":
            result.append(probabilities[token])
        elif measure == "margin":
            ordered = sorted(probabilities)
            result.append(ordered[-1] - ordered[-2])
        elif measure == "entropy":
            nats = -sum(value * math.log(value) for value in probabilities if value > 0)
            result.append(1 - nats / math.log(len(row)))
        else:
            result.append(draw)
    return result


def how_many(confidence: list[float], schedule: str, *, quota: int, threshold: float, factor: float) -> int:
    """Positions to fill, of masked ones with these confidences."""
    ordered = sorted(confidence, reverse=True)
    if schedule == "fixed":
        return min(quota, len(ordered))
    if schedule == "threshold":
        return max(1, len([value for value in ordered if value >= threshold]))
    accepted = [n for n in range(1, len(ordered) + 1) if (n + 1) * (1 - ordered[n - 1]) < factor]
    return max(accepted, default=1)


def literal_generate(
    compute: Logits,
    prompt: list[int],
    *,
    gen_length: int,
    block_length: int,
    num_steps: int,
    mask_id: int,
    never: Sequence[int],
    end_ids: Sequence[int] = (),
    lower_eos: bool = False,
    confidence: str = "low-confidence",
    schedule: str = "fixed",
    threshold: float = 0.9,
    factor: float = 1.0,
    cache: str = "none",
    temperature: float = 0.0,
    guidance: float = 0.0,
    generator: torch.Generator | None = None,
    shift: bool = False,
) -> tuple[list[int], int]:
    """The answer to one prompt, and the number of denoising steps.

    ``gen_length`` is a multiple of ``block_length``, ``num_steps`` of the number of blocks.
    """
    canvas = list(prompt) + [mask_id] * gen_length
    num_blocks = gen_length // block_length
    assert num_blocks * block_length == gen_length
    assert num_steps % num_blocks == 0
    total = 0
    for number in range(num_blocks):
        start = len(prompt) + number * block_length
        end = start + block_length
        quotas = num_transfer_tokens(block_length, num_steps // num_blocks)
        kept: list[Kept | None] = [None, None]
        step = 0
        while mask_id in canvas[start:end]:
            first = max(0, start - shift)
            if cache == "none" or step == 0:
                positions, known = list(range(len(canvas))), list[Kept | None]([None, None])
            else:
                positions, known = list(range(first, len(canvas) if cache == "prefix" else end)), kept
            rows, kept[0] = compute(canvas, positions, known[0])
            if guidance:
                hidden = [mask_id] * len(prompt) + canvas[len(prompt) :]
                free, kept[1] = compute(hidden, positions, known[1])
                rows = [
                    [without + (guidance + 1) * (given - without) for given, without in zip(*pair, strict=True)]
                    for pair in zip(rows, free, strict=True)
                ]
            by_position = dict(zip(positions, rows, strict=True))
            logits = [list(by_position[max(0, place - shift)]) for place in range(start, end)]
            for row in logits:
                for value in never:
                    row[value] = -math.inf
            tokens = [row.index(max(row)) for row in logits]
            if temperature:
                assert generator is not None
                uniform = torch.rand((block_length, len(logits[0])), generator=generator, dtype=torch.float64).tolist()
                noisy = [
                    [
                        math.exp(value) / (-math.log(draw)) ** temperature if value > -math.inf else -math.inf
                        for value, draw in zip(*pair, strict=True)
                    ]
                    for pair in zip(logits, uniform, strict=True)
                ]
                tokens = [row.index(max(row)) for row in noisy]
            draws = [0.0] * block_length
            if confidence == "random":
                assert generator is not None
                draws = torch.rand((block_length,), generator=generator, dtype=torch.float64).tolist()
            sure = confidences(logits, tokens, confidence, draws)
            if lower_eos:
                sure = [value - 2 if token in end_ids else value for value, token in zip(sure, tokens, strict=True)]
            masked = [place for place in range(block_length) if canvas[start + place] == mask_id]
            count = how_many(
                [sure[place] for place in masked], schedule, quota=quotas[step] if schedule == "fixed" else 0,
                threshold=threshold, factor=factor,
            )  # fmt: skip
            for place in sorted(masked, key=lambda place: -sure[place])[:count]:
                canvas[start + place] = tokens[place]
            step += 1
            total += 1
    return canvas[len(prompt) :], total


def literal_log_likelihood(compute: Logits, prompt: list[int], answer: list[int], mask_id: int) -> float:
    """LLaDA's conditional likelihood, exactly: the mean over all numbers of masks and all sets of so many positions."""
    from itertools import combinations

    size = len(answer)
    total = 0.0
    for count in range(1, size + 1):
        sets = list(combinations(range(size), count))
        for chosen in sets:
            canvas = prompt + [mask_id if place in chosen else value for place, value in enumerate(answer)]
            rows, _ = compute(canvas, list(range(len(canvas))), None)
            nats = 0.0
            for place in chosen:
                row = list(rows[len(prompt) + place])
                row[mask_id] = -math.inf
                nats += math.log(softmax(row)[answer[place]])
            total += size / count * nats / len(sets) / size
    return total
