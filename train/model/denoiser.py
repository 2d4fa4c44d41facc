"""The denoiser: a Llama-like transformer that attends both ways, and scores only the positions that the loss asks for.

LLaDA is Llama without the causal mask (llada.py has its names), and any causal model of transformers built like Llama can be
made bidirectional. Where weights come from is in start.py.

Shapes: B batch, L tokens, D width, N scored positions, V vocabulary.
"""

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_outputs import MoeModelOutputWithPast

from syntaxdiff.train.data.batch import rounded_up, shape_multiple

ATTENTION = "syntaxdiff"  # SDPA, both ways, on queries and keys that were rotated in float32
CHUNK_POSITIONS = 512  # of the head: 512 x 126,464 float32 logits are 0.26 GB
NUM_TIMESTEPS = 1000


def attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """SDPA without a causal mask. Without any mask, so that the flash kernels apply, where no sample is padded or packed."""
    options["is_causal"] = False
    if options.get("softcap") is not None:
        return _capped_attention(module, query, key, value, attention_mask, **options), None
    output: tuple[Tensor, None] = sdpa_attention_forward(
        module, query.to(value.dtype), key.to(value.dtype), value, attention_mask, **options
    )
    return output


def _capped_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    softcap: float,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> Tensor:
    """Attention with scores bounded to ±softcap (Gemma 2), which SDPA cannot do. All scores [B, H, L, L] exist at once."""
    groups = query.shape[1] // key.shape[1]
    key, value = (tensor.repeat_interleave(groups, dim=1) for tensor in (key, value))
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = torch.tanh(query @ key.transpose(2, 3) * (scale / softcap)) * softcap
    if attention_mask is not None:
        scores = scores.masked_fill(~attention_mask, float("-inf"))
    weights = functional.dropout(scores.softmax(-1, dtype=torch.float32).to(value.dtype), dropout, module.training)
    return (weights @ value).transpose(1, 2).contiguous()


def _no_mask(*_: Any, **__: Any) -> None:
    """Without a mask of ours all may attend to all, also where a class would ask for a window (agreement.py bounds those)."""


AttentionInterface.register(ATTENTION, attention)
AttentionMaskInterface.register(ATTENTION, _no_mask)


class FloatRotation(nn.Module):
    """A network's own cosines and sines in float32, so that queries and keys are rotated in float32, as LLaDA does.

    The rotation is not a submodule: an engine that casts the model to bfloat16 would cast its frequencies too.
    """

    def __init__(self, rotation: Any) -> None:
        super().__init__()
        self._rotation = (type(rotation)(config=rotation.config),)  # made again: one built on `meta` has no values
        self._device = torch.device("cpu")

    def forward(self, hidden: Tensor, *arguments: Any, **options: Any) -> Any:
        """Cosine and sine, each float32 [B, L, head width]; arguments are those of the network's class."""
        (rotation,) = self._rotation
        if self._device != hidden.device:
            with torch.inference_mode(False):  # tensors made in it could not be changed out of it, as longrope does
                rotation.to(hidden.device)
            self._device = hidden.device
        like = torch.zeros((), dtype=torch.float32, device=hidden.device).expand(hidden.shape)  # only its type is read
        return rotation(like, *arguments, **options)


class ScoringHead(nn.Linear):
    """The language-model head, which turns hidden states into logits, or into cross entropies a few positions at a time."""

    @classmethod
    def replacing(cls, head: nn.Linear) -> "ScoringHead":
        """A scoring head with the weights of a plain one."""
        scoring = cls(head.in_features, head.out_features, bias=head.bias is not None, device="meta")
        scoring.weight, scoring.bias = head.weight, head.bias
        return scoring

    def __init__(self, *sizes: Any, **options: Any) -> None:
        super().__init__(*sizes, **options)
        self.finish: Callable[[Tensor], Tensor] | None = None  # what the network does to logits after its head

    def forward(self, input: Tensor, target_N: Tensor | None = None) -> Tensor:  # noqa: A002, nn.Linear calls it so
        """Logits [..., V]; with targets, the cross entropy of each position in nats, float32 [N].

        The loop over chunks is inside the module, so that ZeRO-3 gathers the weight once for all of them; backward computes
        a chunk's logits again, so that never more than one chunk of them exists. Positions are filled up to few numbers of
        them (batch.shape_multiple).
        """
        if target_N is None:
            logits = super().forward(input)
            return logits if self.finish is None else self.finish(logits)
        count = len(target_N)
        missing = rounded_up(count, shape_multiple(input.device)) - count
        filled_ND = functional.pad(input, (0, 0, 0, missing)) if missing else input
        filled_N = functional.pad(target_N, (0, missing)) if missing else target_N
        losses = [
            checkpoint(self._cross_entropy, hidden, target, use_reentrant=False)
            for hidden, target in zip(*(torch.split(tensor, CHUNK_POSITIONS) for tensor in (filled_ND, filled_N)), strict=True)
        ]
        return torch.cat(losses)[:count]

    def _cross_entropy(self, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        logits_NV = functional.linear(hidden_ND, self.weight, self.bias).float()
        if self.finish is not None:
            logits_NV = self.finish(logits_NV)
        return functional.cross_entropy(logits_NV, target_N, reduction="none")


class _Given(nn.Module):
    """Stands in for a network's body: hands on what it is given."""

    def forward(self, *_: Any, inputs_embeds: Tensor, **__: Any) -> MoeModelOutputWithPast:
        return MoeModelOutputWithPast(last_hidden_state=inputs_embeds)  # the widest of its kind


def logits_finish(network: Any) -> Callable[[Tensor], Tensor] | None:
    """What a network's own forward does to logits after its head, such as scaling or soft-capping; None: nothing.

    It is that forward itself, with body and head left out, so no class need be known. Elementwise, for logits [..., V].
    """
    shell = copy.copy(network)
    shell._modules = {**network._modules, "model": _Given(), "lm_head": nn.Identity()}

    def finish(logits: Tensor) -> Tensor:
        done: Tensor = (
            type(network).forward(shell, inputs_embeds=logits.reshape(1, -1, logits.shape[-1]), use_cache=False).logits
        )
        return done.reshape(logits.shape)

    probe = torch.linspace(-100, 100, network.lm_head.out_features)[None]
    return None if torch.equal(finish(probe), probe) else finish


class Inputs(NamedTuple):
    """What the transformer reads.

    ``attention_mask`` is None where every token may attend to every other; else bool, broadcast to [B, 1, L, L], true where
    attention is allowed. ``position_BL`` is None for 0, 1, 2, …. ``cache`` holds keys and values of a canvas of which the ids
    are a part (eval's cache.py); without one, the ids are all there is.
    """

    ids_BL: Tensor
    attention_mask: Tensor | None = None
    position_BL: Tensor | None = None
    rate_BL: Tensor | None = None  # float, mask rate of the sample that a token belongs to; for the timestep embedding
    cache: Any = None


class Losses(NamedTuple):
    """Sums over the scored positions, and what they are made of."""

    loss: Tensor  # scalar, sum of weight times cross entropy
    nats_N: Tensor  # float32, cross entropy of each scored position, detached
    index_N: Tensor  # int64, the scored positions in the flattened [B, L]


class Denoiser(nn.Module):
    """A transformer of transformers, attending both ways, with the scoring head in place of its own.

    Args:
        network: a causal language model built like Llama (`model`, `lm_head`, rotary positions)
        shift: position i - 1 predicts token i, as the model learnt in causal training (Dream)
        timestep_embedding: add a learned embedding of the mask rate to the inputs (paper, "Optimization objective")
    """

    def __init__(self, network: Any, *, shift: bool = False, timestep_embedding: bool = False) -> None:
        super().__init__()
        network.config.is_causal = False
        network.config.use_cache = False
        network.set_attn_implementation(ATTENTION)
        network.model.rotary_emb = FloatRotation(network.model.rotary_emb)
        network.lm_head = ScoringHead.replacing(network.lm_head)
        network.lm_head.finish = logits_finish(network)
        self.network = network
        self.shift = shift
        self.timestep: nn.Embedding | None = None
        if timestep_embedding:
            self.timestep = nn.Embedding(NUM_TIMESTEPS + 1, network.config.hidden_size)
            nn.init.zeros_(self.timestep.weight)  # starts as the model without it

    def hidden(self, inputs: Inputs) -> Tensor:
        """Hidden states [B, L, D]; with ``shift``, those that predict a position lie at that position."""
        embedded: Tensor = self.network.model.embed_tokens(inputs.ids_BL)
        if self.timestep is not None and inputs.rate_BL is not None:
            embedded = embedded + self.timestep((inputs.rate_BL * NUM_TIMESTEPS).round().long()).to(embedded.dtype)
        hidden: Tensor = self.network.model(
            inputs_embeds=embedded,
            attention_mask=inputs.attention_mask,
            position_ids=inputs.position_BL,
            past_key_values=inputs.cache,
            use_cache=False,
        ).last_hidden_state
        if not self.shift:
            return hidden
        before = torch.cat([hidden[:, :1], hidden[:, :-1]], dim=1)
        if inputs.position_BL is None:
            return before
        # In a packed sequence the first token of a sample has no token of its own before it.
        return torch.where((inputs.position_BL == 0)[..., None], hidden, before)

    def forward(self, inputs: Inputs, target_BL: Tensor | None = None, weight_BL: Tensor | None = None) -> Any:
        """Logits [B, L, V]; with targets and weights, the losses of positions whose weight is not 0.

        Args:
            target_BL: int64, the clean ids
            weight_BL: float32, of the objective

        Returns:
            logits, or Losses. A batch without a scored position runs the head on one position of weight 0: under ZeRO-3 all
            ranks must take part.
        """
        hidden = self.hidden(inputs)
        if target_BL is None or weight_BL is None:
            return self.network.lm_head(hidden)
        index_N = torch.nonzero(weight_BL.flatten()).flatten()  # waits for the corruption, the one time per micro-batch
        if len(index_N) == 0:
            index_N = torch.zeros(1, dtype=torch.int64, device=weight_BL.device)
        nats_N = self.network.lm_head(hidden.flatten(0, 1)[index_N], target_BL.flatten()[index_N])
        loss = (nats_N * weight_BL.flatten()[index_N]).sum()
        return Losses(loss, nats_N.detach(), index_N)


def padding_mask(length_B: Tensor, num_tokens: int) -> Tensor:
    """Mask of attention, bool [B, 1, 1, L]: true for tokens before a sample's end."""
    return (torch.arange(num_tokens, device=length_B.device) < length_B[:, None])[:, None, None, :]
