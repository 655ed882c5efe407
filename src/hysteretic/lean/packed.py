"""Pack rows into one stream in which responses to the same prompt share it.

Rows [prompt | response] become one stream without padding, in which every distinct prompt occurs once:

    x_1 .. x_{P-1} | x_P y_1 .. y_{L-1} | x_P y'_1 .. y'_{L'-1} | next prompt ...

The last prompt token opens every response, because it predicts y_1. A token sees its prompt and its own response up to
itself, at the positions that it has in its row; so log-probabilities and gradients are those of the padded rows.
Tokens: P - 1 + sum of L, instead of G (P + max L).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

SMALL = 256
"""Up to this many tokens are attended in one masked square: several calls would cost more than the masked part."""


@dataclass(frozen=True)
class Family:
    """A prompt and its responses in the stream.

    prefix: tokens of the prompt without its last. branches: tokens of each response.
    """

    prefix: int
    branches: tuple[int, ...]

    @property
    def tokens(self) -> int:
        """Its length in the stream."""
        return self.prefix + sum(self.branches)


@dataclass(frozen=True)
class _Call:
    """One attention: the queries of a piece of the stream see the keys of some pieces through a mask (None: causally).

    size: tokens of the piece. before: numbers of the pieces that are seen besides the piece itself.
    """

    size: int
    before: tuple[int, ...]
    mask: Tensor | None


@dataclass(frozen=True)
class TreeAttention:
    """Attention of a stream of families (an `StreamAttention`): one call for each piece of the stream, in order."""

    calls: Sequence[_Call]

    @classmethod
    def of(cls, families: Sequence[Family], device: torch.device | str = "cpu") -> TreeAttention:
        """Short families share squares of at most SMALL tokens; in long ones the prompt attends causally, then the
        responses attend in chunks."""
        calls: list[_Call] = []
        square: list[Family] = []
        for family in [*families, None]:
            if square and (family is None or sum(f.tokens for f in [*square, family]) > SMALL):
                calls.append(_Call(sum(f.tokens for f in square), (), _square_mask(square, device)))
                square = []
            if family is not None and family.tokens <= SMALL:
                square.append(family)
            elif family is not None:
                calls += _long_calls(family, len(calls), device)
        return cls(calls)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float, dropout: float) -> Tensor:
        """See StreamAttention."""
        repeats = query.shape[1] // key.shape[1]
        if repeats > 1:
            key, value = key.repeat_interleave(repeats, dim=1), value.repeat_interleave(repeats, dim=1)
        sizes = [call.size for call in self.calls]  # split, not sliced: a slice's gradient is as long as the stream
        queries, keys, values = (states.split(sizes, dim=2) for states in (query, key, value))
        parts = [
            scaled_dot_product_attention(
                queries[i],
                _joined([keys[j] for j in (*call.before, i)]),
                _joined([values[j] for j in (*call.before, i)]),
                attn_mask=call.mask,
                is_causal=call.mask is None,
                dropout_p=dropout,
                scale=scale,
            )
            for i, call in enumerate(self.calls)
        ]
        return _joined(parts).transpose(1, 2)


def _joined(pieces: Sequence[Tensor]) -> Tensor:
    return pieces[0] if len(pieces) == 1 else torch.cat(list(pieces), dim=2)


def _square_mask(families: Sequence[Family], device: torch.device | str) -> Tensor:
    """[N, N], true where query i may see key j: same family, not later, and j in the prompt or in i's own branch."""
    sizes = [size for family in families for size in (family.prefix, *family.branches)]
    counts = torch.tensor([1 + len(family.branches) for family in families])
    lengths = torch.tensor(sizes)
    family_N = torch.arange(len(families)).repeat_interleave(counts).repeat_interleave(lengths).to(device)
    part_N = torch.arange(len(sizes)).repeat_interleave(lengths).to(device)
    first = counts.cumsum(0) - counts
    is_prefix_N = torch.isin(part_N, first.to(device))
    order_N = torch.arange(len(part_N), device=device)
    is_related = (family_N[:, None] == family_N) & (is_prefix_N | (part_N[:, None] == part_N))
    return is_related & (order_N[:, None] >= order_N)


def _long_calls(family: Family, number: int, device: torch.device | str) -> list[_Call]:
    """Calls of one family; number: of its first piece."""
    prefix = (number,) if family.prefix else ()
    calls = [_Call(family.prefix, (), None)] if family.prefix else []
    chunk: list[int] = []
    for length in [*family.branches, None]:
        # Responses of a chunk waste attention on each other; a chunk's call costs a copy of the prompt's keys.
        if chunk and (length is None or sum(chunk) + length > max(SMALL, family.prefix // 4)):
            own = _square_mask([Family(0, (size,)) for size in chunk], device)
            mask = torch.cat([own.new_ones(len(own), family.prefix), own], dim=1)
            calls.append(_Call(len(own), prefix, mask))
            chunk = []
        if length is not None:
            chunk.append(length)
    return calls


@dataclass(frozen=True)
class Packed:
    """A micro-batch as a stream.

    input_ids, position_ids: [1, N]. labels: [1, N], the token that each position predicts, -100 within prompts.
    """

    input_ids: Tensor
    position_ids: Tensor
    labels: Tensor
    attention: TreeAttention
    _shape: tuple[int, int] = field(repr=False)
    _targets: Tensor = field(repr=False)

    @classmethod
    def of(cls, prompt_ids: Tensor, prompt_mask: Tensor, completion_ids: Tensor, completion_mask: Tensor) -> Packed:
        """From padded rows: prompts [B, P] padded on the left, completions [B, T] padded on the right (masks 1 or 0).

        Rows without a completion token are left out. Raises ValueError when no row has one, or a prompt is empty.
        """
        device = completion_ids.device
        prompt_B, length_B = prompt_mask.long().sum(dim=1).tolist(), completion_mask.long().sum(dim=1).tolist()
        if not any(length_B) or not all(prompt_B):
            raise ValueError("A stream needs a prompt token in every row, and at least one completion token in total.")
        width = prompt_ids.shape[1]
        ids, positions, labels, targets, families = [], [], [], [], []
        for rows in same_prompts(prompt_ids, prompt_mask):
            rows = [i for i in rows if length_B[i]]
            if not rows:
                continue
            prefix = prompt_B[rows[0]] - 1
            families.append(Family(prefix, tuple(length_B[i] for i in rows)))
            ids.append(prompt_ids[rows[0], width - 1 - prefix : width - 1])
            labels.append(ids[-1].new_full((prefix,), -100))
            positions.append(torch.arange(prefix))
            for i in rows:
                completion = completion_ids[i, : length_B[i]]
                ids += [prompt_ids[i, -1:], completion[:-1]]
                labels.append(completion)
                positions.append(torch.arange(prefix, prefix + length_B[i]))
                targets.append(torch.arange(i * completion_ids.shape[1], i * completion_ids.shape[1] + length_B[i]))
        return cls(
            torch.cat(ids)[None],
            torch.cat(positions).to(device)[None],
            torch.cat(labels)[None],
            TreeAttention.of(families, device),
            (completion_ids.shape[0], completion_ids.shape[1]),
            torch.cat(targets).to(device),
        )

    def rows(self, stream_N: Tensor) -> Tensor:
        """Values at the stream's predicting positions, [1, N], back in rows [B, T]; 0 at padding."""
        B, T = self._shape
        kept = stream_N[0][self.labels[0] != -100]
        return kept.new_zeros(B * T).index_copy(0, self._targets, kept).view(B, T)


def same_prompts(prompt_ids: Tensor, prompt_mask: Tensor) -> list[list[int]]:
    """Rows by prompt, in the order of their first rows; padded on the left, [B, P]."""
    number_B = prompt_numbers(prompt_ids, prompt_mask)
    by_prompt: dict[int, list[int]] = {}
    for i, number in enumerate(number_B):
        by_prompt.setdefault(number, []).append(i)
    return list(by_prompt.values())


def prompt_numbers(prompt_ids: Tensor, prompt_mask: Tensor) -> list[int]:
    """A number for each row, equal for equal prompts."""
    marked = torch.where(prompt_mask.bool(), prompt_ids, -1)
    return torch.unique(marked, dim=0, return_inverse=True)[1].tolist()
