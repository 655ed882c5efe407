"""Sampling that reads each prompt once and stops computing finished responses.

Every distinct prompt is read once, as part of a packed stream. Each step then pushes the last tokens of the unfinished
responses through the model: a token attends to its prompt's states, stored once for all responses to it, and to the
states of its own response. Tokens are drawn exactly as `generate` draws them, with the same random numbers: the same
seed gives the same responses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from hysteretic.lean.attention import packed_attention
from hysteretic.lean.packed import Family, TreeAttention

PREFILL_TOKENS = 8192
"""Prompt tokens per forward pass (or one prompt, if it is longer)."""
FIRST_CAPACITY = 64
"""Response tokens for which memory is allocated at first; doubled when they are used up."""
SHORT_PROMPT = 32
"""Up to this many tokens, copying a prompt's states to each response is cheaper than sharing them."""
TINY = torch.finfo(torch.float32).tiny
"""A probability whose logarithm is finite."""


@dataclass(frozen=True)
class Sampled:
    """Responses in the order of the prompts, each with its end token if it has one.

    entropy: one number per response, the sum over its tokens of the entropy (nats) of the distribution at the sampling
    temperature, before top-k, top-p and min-p.
    """

    tokens: list[list[int]]
    entropy: list[float]


@torch.no_grad()
def sample(
    model: nn.Module,
    config: Any,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    end_tokens: Sequence[int],
    temperature: float = 1.0,
    warpers: Callable[[Tensor], Tensor] = lambda scores: scores,
    shares_prompts: bool = True,
    drops_finished: bool = True,
) -> Sampled:
    """Sample one response to every prompt (with shares_prompts, equal prompts are read once).

    model, config: a causal language model of transformers and its config. temperature: 0 takes the most likely tokens,
    and draws no random numbers. warpers: a function of scores [R, V], row by row, applied after the temperature.
    drops_finished: leave finished responses out of later steps.
    Raises ValueError when there is no prompt, an empty one, or no token to sample; FloatingPointError when
    probabilities are not finite.
    """
    if not prompts or not all(prompts):
        empty = [i for i, prompt in enumerate(prompts) if not prompt]
        what = f"prompts {empty[:8]} of {len(prompts)} are empty" if prompts else "there are no prompts"
        raise ValueError(f"Prompts need at least one token, but {what}; fix the data.")
    if max_new_tokens < 1:
        raise ValueError(f"max_new_tokens is {max_new_tokens}; set it to at least 1.")
    device = next(model.parameters()).device
    ends = torch.tensor(list(end_tokens), device=device)
    numbers: dict[tuple[int, ...] | int, int] = {}
    prompt_R = torch.tensor(
        [numbers.setdefault(tuple(p) if shares_prompts else i, len(numbers)) for i, p in enumerate(prompts)]
    ).to(device)
    distinct = [list(key) if isinstance(key, tuple) else list(prompts[key]) for key in numbers]
    R = len(prompts)
    lengths = torch.full((R,), max_new_tokens)
    tokens = torch.zeros(R, max_new_tokens, dtype=torch.long, device=device)
    entropy = torch.zeros(R, device=device)
    with packed_attention(config):
        states, logits_UV = _read(model, distinct, device)
        logits = logits_UV[prompt_R]
        decoding = Decoding(states, prompt_R, max_new_tokens)
        position = torch.tensor([len(p) for p in distinct], device=device)[prompt_R]
        active = torch.arange(R, device=device)
        is_going = torch.ones(R, dtype=torch.bool, device=device)
        for t in range(max_new_tokens):
            scores = logits.float() / temperature if temperature not in (0, 1) else logits.float()
            unwarped = scores.softmax(dim=-1)
            warped = warpers(scores)
            probabilities = unwarped if warped is scores else warped.softmax(dim=-1)
            if temperature == 0:
                drawn = scores.argmax(dim=-1)
            else:  # as torch.multinomial draws
                drawn = (probabilities / exponential_noise(scores, active, R)).argmax(dim=-1)
            entropy[active] -= (unwarped * unwarped.clamp_min(TINY).log()).sum(dim=-1) * is_going
            tokens[active, t] = drawn
            is_ended = is_going & torch.isin(drawn, ends)
            lengths[active[is_ended].cpu()] = t + 1
            is_going &= ~is_ended
            going, is_sound = torch.stack([is_going.sum(), probabilities.sum().isfinite()]).tolist()
            if not is_sound:
                raise FloatingPointError(
                    f"The model gave NaN or infinite probabilities for token {t + 1} of the responses; its weights are "
                    "probably broken by too large an update (lower learning_rate or max_grad_norm)."
                )
            if going == 0 or t + 1 == max_new_tokens:
                break
            if drops_finished and going <= 0.9 * len(active):
                keep = is_going.nonzero().squeeze(1)
                active, drawn, position, is_going = active[keep], drawn[keep], position[keep], is_going[keep]
                decoding.keep(keep)
            logits = model(
                input_ids=drawn[None], position_ids=(position + t)[None], stream_attention=decoding, use_cache=False
            ).logits[0]
            decoding.advance()
    rows = tokens.tolist()
    return Sampled([row[:n] for row, n in zip(rows, lengths.tolist(), strict=True)], entropy.tolist())


def exponential_noise(scores: Tensor, active: Tensor, rows: int) -> Tensor:
    """What torch.multinomial would divide the probabilities of so many rows by, for the active rows, [active, V].

    The random numbers of finished rows are drawn too, so that the others keep theirs. On a CPU `exponential_` takes a
    logarithm after each draw, one by one; where it is known to give the same numbers, all are drawn before, and
    logarithms are taken of the active rows only.
    """
    shape = (rows, scores.shape[1])
    if scores.device.type == "cpu" and exponential_is_log_of_uniform():
        uniform = torch.empty(shape, dtype=torch.double).uniform_()
        return -(-(uniform if len(active) == rows else uniform[active])).log1p_().to(scores.dtype)
    noise = scores.new_empty(shape).exponential_()
    return noise if len(active) == rows else noise[active]


@cache
def exponential_is_log_of_uniform() -> bool:
    """Whether this build of torch draws exponential numbers on a CPU as -log(1 - u) from u in double precision."""
    one, other = torch.Generator().manual_seed(0), torch.Generator().manual_seed(0)
    noise = torch.empty(4096).exponential_(generator=one)
    uniform = torch.empty(4096, dtype=torch.double).uniform_(generator=other)
    return torch.equal(noise, -(-uniform).log1p_().float()) and torch.equal(one.get_state(), other.get_state())


@dataclass
class PromptStates:
    """Keys and values of the prompts by layer, [U, K, P, d]; is_there: which of the P are not padding, [U, P]."""

    keys: dict[int, Tensor]
    values: dict[int, Tensor]
    is_there: Tensor

    def keep(self, prompts: Tensor) -> None:
        """Keep the states of these prompts only."""
        self.keys = {layer: states[prompts] for layer, states in self.keys.items()}
        self.values = {layer: states[prompts] for layer, states in self.values.items()}
        self.is_there = self.is_there[prompts]


class _Reading:
    """Attention of prompts that follow each other in a stream; stores the states of each."""

    def __init__(self, lengths: list[int], attention: TreeAttention, kept: PromptStates, first: int, of: int) -> None:
        self.lengths, self.attention, self.kept, self.first, self.of = lengths, attention, kept, first, of

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float, dropout: float) -> Tensor:
        for kept, states in ((self.kept.keys, key), (self.kept.values, value)):
            if layer not in kept:
                kept[layer] = states.new_zeros(self.of, states.shape[1], self.kept.is_there.shape[1], states.shape[3])
            for u, part in enumerate(states[0].split(self.lengths, dim=1), start=self.first):
                kept[layer][u, :, : part.shape[1]] = part
        return self.attention.attend(layer, query, key, value, scale, dropout)


def _read(model: nn.Module, prompts: list[list[int]], device: torch.device) -> tuple[PromptStates, Tensor]:
    """The states of the prompts, and the logits after each, [U, V]."""
    length_U = torch.tensor([len(prompt) for prompt in prompts], device=device)
    is_there = torch.arange(int(length_U.max()), device=device) < length_U[:, None]
    states = PromptStates({}, {}, is_there)
    logits, first = [], 0
    while first < len(prompts):
        last, total = first + 1, len(prompts[first])
        while last < len(prompts) and total + len(prompts[last]) <= PREFILL_TOKENS:
            total += len(prompts[last])
            last += 1
        lengths = [len(prompt) for prompt in prompts[first:last]]
        attention = TreeAttention.of([Family(length, ()) for length in lengths], device)
        ids = torch.tensor([token for prompt in prompts[first:last] for token in prompt], device=device)
        positions = torch.cat([torch.arange(length) for length in lengths]).to(device)
        output = model(
            input_ids=ids[None],
            position_ids=positions[None],
            stream_attention=_Reading(lengths, attention, states, first, len(prompts)),
            use_cache=False,
            logits_to_keep=torch.tensor(lengths, device=device).cumsum(0) - 1,
        )
        logits.append(output.logits[0])
        first = last
    return states, torch.cat(logits)


class Decoding:
    """Attention of one new token for each unfinished response (an `StreamAttention`).

    Long prompts are attended to by all their responses together, in slots, so that a prompt's states are read once:

        out = (e^a out_prompt + e^b out_own) / (e^a + e^b)      a, b: log-sum-exp of the two parts' scores
    """

    def __init__(self, prompts: PromptStates, prompt_R: Tensor, max_tokens: int) -> None:
        self.prompts = prompts
        self.t = 0
        self.own: dict[int, tuple[Tensor, Tensor]] = {}
        width = prompts.is_there.shape[1]
        self.is_copied = width <= SHORT_PROMPT
        self.before = width if self.is_copied else 0
        self.most = self.before + max_tokens
        self.is_seen: Tensor | None = None
        if self.is_copied:
            self.own = {
                layer: (keys[prompt_R], prompts.values[layer][prompt_R]) for layer, keys in prompts.keys.items()
            }
            if not bool(prompts.is_there.all()):
                responses = prompts.is_there.new_ones(len(prompt_R), max_tokens)
                self.is_seen = torch.cat([prompts.is_there[prompt_R], responses], dim=1)[:, None, None]
        self._assign(prompt_R)

    def _assign(self, prompt_R: Tensor) -> None:
        """Slot u S + s for the s-th response to prompt u."""
        self.prompt_R = prompt_R
        order = torch.argsort(prompt_R, stable=True)
        count_U = torch.bincount(prompt_R, minlength=len(self.prompts.is_there))
        first_U = count_U.cumsum(0) - count_U
        rank_R = torch.empty_like(order)
        rank_R[order] = torch.arange(len(order), device=order.device) - first_U[prompt_R[order]]
        self.slots = int(count_U.max())
        self.slot_R = prompt_R * self.slots + rank_R

    def keep(self, rows: Tensor) -> None:
        """Continue with these responses only, and their prompts."""
        self.own = {
            layer: (keys.index_select(0, rows), values.index_select(0, rows))
            for layer, (keys, values) in self.own.items()
        }
        if self.is_copied:
            self.is_seen = None if self.is_seen is None else self.is_seen[rows]
            return
        left, prompt_R = torch.unique(self.prompt_R[rows], return_inverse=True)
        if len(left) < len(self.prompts.is_there):
            self.prompts.keep(left)
        self._assign(prompt_R)

    def advance(self) -> None:
        """Move to the next token, once all layers have seen this one."""
        self.t += 1

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float, dropout: float) -> Tensor:
        """See StreamAttention; the stream's N tokens are the responses' last ones."""
        keys, values = self._remember(layer, key[0].transpose(0, 1), value[0].transpose(0, 1))
        H, R, d = query.shape[1:]
        K = key.shape[1]
        query = (query[0].transpose(0, 1) * scale).reshape(R, K, H // K, d)
        if self.is_copied:
            scores = (query @ keys.transpose(-1, -2)).float()
            if self.is_seen is not None:
                scores = scores.masked_fill(~self.is_seen[..., : keys.shape[2]], float("-inf"))
            return (scores.softmax(dim=-1).to(values.dtype) @ values).reshape(1, R, H, value.shape[-1])
        own, own_lse = _attend(query, keys, values)

        U, S = len(self.prompts.is_there), self.slots
        in_slots = query.new_zeros(U * S, K, H // K, d).index_copy(0, self.slot_R, query)
        grouped = in_slots.view(U, S, K, H // K, d).transpose(1, 2).reshape(U, K, S * (H // K), d)
        is_there = self.prompts.is_there[:, None, None, :]
        prompt, prompt_lse = _attend(grouped, self.prompts.keys[layer], self.prompts.values[layer], is_there)
        prompt, prompt_lse = (
            part.view(U, K, S, H // K, -1).transpose(1, 2).reshape(U * S, K, H // K, -1)[self.slot_R]
            for part in (prompt, prompt_lse)
        )
        lse = torch.logaddexp(own_lse, prompt_lse)
        mixed = own * (own_lse - lse).exp() + prompt * (prompt_lse - lse).exp()
        return mixed.to(value.dtype).reshape(1, R, H, value.shape[-1])

    def _remember(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Store the new token's states, [R, K, d]; returns all so far, [R, K, before + t + 1, d]."""
        column = self.before + self.t
        keys, values = self.own.get(layer) or (key[:, :, None][:, :, :0], value[:, :, None][:, :, :0])
        if column >= keys.shape[2]:
            keys, values = (torch.cat([old, self._room(old, column)], dim=2) for old in (keys, values))
            self.own[layer] = (keys, values)
        keys[:, :, column], values[:, :, column] = key, value
        return keys[:, :, : column + 1], values[:, :, : column + 1]

    def _room(self, states: Tensor, taken: int) -> Tensor:
        wanted = min(max(taken, FIRST_CAPACITY), self.most - taken)
        return states.new_empty(states.shape[0], states.shape[1], wanted, states.shape[3])


def _attend(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Attention of scaled queries [..., q, d] in float32, and the log-sum-exp of its scores [..., q, 1]."""
    scores = (query @ keys.transpose(-1, -2)).float()
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    lse = scores.logsumexp(dim=-1, keepdim=True)
    return ((scores - lse).exp().to(values.dtype) @ values).float(), lse
