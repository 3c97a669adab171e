# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Which tokens of a batch pass through the language model: each distinct prompt once, then every completion.

A batch of rows `[padding | prompt | completion | padding]` becomes one sequence

    prompt a | prompt b | completion of row 0 | completion of row 1 | ...

of real tokens only. A prompt's tokens see their own prompt; a completion's tokens see the prompt of their row and what
comes before them in their completion.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch


def first_equal(keys: Sequence[Hashable], same: Callable[[int, int], bool]) -> list[int]:
    """
    Find the first row that each row equals.

    Args:
        keys (`Sequence`):
            One per row; rows that are equal have equal keys, but not the other way round.
        same (`Callable`):
            Tells whether two rows with the same key are equal.

    Returns:
        `list[int]`: For each row the number of the first one that equals it, its own if there is none.
    """
    owners: list[int] = []
    distinct: dict[Hashable, list[int]] = {}
    for row, key in enumerate(keys):
        seen = distinct.setdefault(key, [])
        owner = next((other for other in seen if same(other, row)), row)
        if owner == row:
            seen.append(row)
        owners.append(owner)
    return owners


@dataclass(frozen=True, eq=False)
class Plan:
    """
    How a batch of `B` rows and `L` columns is packed into one sequence of `N` tokens. Made by [`make_plan`].

    Args:
        shape (`tuple[int, int]`):
            `(B, L)`.
        lengths (`list[int]`):
            Tokens of each segment: the prompts, then the completions. They sum to `N`.
        prompts (`list[int | None]`):
            For each segment the one that its tokens see in full before their own; `None` for the prompts.
        rows, columns (`torch.Tensor` of shape `(N,)`):
            Where each token of the sequence comes from.
        to_rows, to_columns, source (`torch.Tensor` of shape `(M,)`):
            Where its hidden state is read, and which token of the sequence that is: the last token of the prompt and
            the completion of each row.
    """

    shape: tuple[int, int]
    lengths: list[int]
    prompts: list[int | None]
    rows: torch.Tensor
    columns: torch.Tensor
    to_rows: torch.Tensor
    to_columns: torch.Tensor
    source: torch.Tensor

    @property
    def num_tokens(self) -> int:
        """Tokens that pass through the language model."""
        return sum(self.lengths)

    def pack(self, values: torch.Tensor) -> torch.Tensor:
        """Pack `(B, L, ...)` into `(1, N, ...)`."""
        return values[self.rows, self.columns].unsqueeze(0)

    def unpack(self, states: torch.Tensor) -> torch.Tensor:
        """Put the hidden states `(1, N, H)` back into `(B, L, H)`; zeros where nobody reads."""
        rows = states.new_zeros(*self.shape, states.size(-1))
        rows[self.to_rows, self.to_columns] = states[0, self.source]
        return rows

    @cached_property
    def _staircase(self) -> torch.Tensor:
        """What completions see: all of the longest prompt, and of the longest completion what comes before."""
        pairs = [(n, self.lengths[prompt]) for n, prompt in zip(self.lengths, self.prompts) if prompt is not None]
        longest, prefix = max(n for n, _ in pairs), max(n for _, n in pairs)
        return torch.ones(longest, prefix + longest, dtype=torch.bool, device=self.rows.device).tril(prefix)

    def mask(self, segment: int) -> torch.Tensor | None:
        """
        Return what a completion's tokens see of its prompt and itself.

        Returns:
            `torch.Tensor` of shape `(1, 1, C, P + C)`, or `None` where a single token sees everything.
        """
        length, prompt = self.lengths[segment], self.prompts[segment]
        assert prompt is not None
        if length == 1:
            return None
        end = self._staircase.size(1) - self._staircase.size(0)  # where the longest prompt ends
        return self._staircase[None, None, :length, end - self.lengths[prompt] : end + length]

    @cached_property
    def keys(self) -> tuple[torch.Tensor, list[torch.Tensor], tuple[int, int]]:
        """
        What attention over segments of several lengths needs.

        Returns:
            `tuple`: the keys that each segment sees, one segment after the other, as positions of the sequence; where
            the queries and the keys of each segment begin and the last ones end, two of `torch.int32` with a number
            more than there are segments; and the most queries and keys of a segment.
        """
        starts = [sum(self.lengths[:segment]) for segment in range(len(self.lengths))]
        spans = [torch.arange(start, start + length) for start, length in zip(starts, self.lengths)]
        seen = [
            span if prompt is None else torch.cat((spans[prompt], span)) for span, prompt in zip(spans, self.prompts)
        ]
        device, counts = self.rows.device, [len(keys) for keys in seen]
        ends = [torch.tensor([0, *sizes]).cumsum(0).to(device, torch.int32) for sizes in (self.lengths, counts)]
        return torch.cat(seen).to(device), ends, (max(self.lengths), max(counts))


def packed_size(mask: torch.Tensor, prompt_length: int, owners: list[int]) -> tuple[int, int]:
    """
    Count what [`make_plan`] would pack, which is much less work.

    Returns:
        `tuple[int, int]`: The plan's tokens and segments. No owners give fewer than if all rows shared the first
        one's prompt.
    """
    distinct, completions = sorted(set(owners)), mask[:, prompt_length:].sum(1)
    tokens = int(mask[distinct, :prompt_length].sum()) + int(completions.sum())
    return tokens, len(distinct) + int(completions.count_nonzero())


def make_plan(mask: torch.Tensor, prompt_length: int, owners: list[int]) -> Plan:
    """
    Plan how a batch is packed.

    Args:
        mask (`torch.Tensor` of shape `(B, L)`):
            Which tokens are real. Prompts are padded on the left.
        prompt_length (`int`):
            Columns of the prompts, padding included.
        owners (`list[int]`):
            For each row the one whose prompt stands for its own, see [`first_equal`].

    Returns:
        [`Plan`], on the device of the mask.

    Raises:
        `RuntimeError`: Rows that are to share a prompt have prompts of different lengths, or a prompt does not end
        where completions begin.
    """
    real = mask.cpu().bool()
    for row, owner in enumerate(owners):
        if owners[owner] != owner or not torch.equal(real[row, :prompt_length], real[owner, :prompt_length]):
            raise RuntimeError(f"Row {row} cannot share the prompt of row {owner}: their tokens are not the same.")
        if not real[row, prompt_length - 1]:
            raise RuntimeError(f"The prompt of row {row} does not end in column {prompt_length - 1}.")
    distinct = [row for row, owner in enumerate(owners) if row == owner]
    lengths: list[int] = []
    prompts: list[int | None] = []
    tokens: list[tuple[int, torch.Tensor]] = []  # the row of each segment, and its columns
    for row in distinct:
        tokens.append((row, real[row, :prompt_length].nonzero().flatten()))
        lengths.append(len(tokens[-1][1]))
        prompts.append(None)
    ends = torch.tensor(lengths).cumsum(0) - 1
    to: list[tuple[int, torch.Tensor, torch.Tensor]] = []
    for row, owner in enumerate(owners):
        columns = real[row, prompt_length:].nonzero().flatten() + prompt_length
        prompt = distinct.index(owner)
        first = sum(lengths)
        read = torch.cat((torch.tensor([prompt_length - 1]), columns))
        to.append((row, read, torch.cat((ends[prompt : prompt + 1], torch.arange(first, first + len(columns))))))
        if len(columns):
            tokens.append((row, columns))
            lengths.append(len(columns))
            prompts.append(prompt)
    repeated = [torch.full_like(columns, row) for row, columns in tokens]
    index = [
        torch.cat(repeated), torch.cat([columns for _, columns in tokens]),
        torch.cat([torch.full_like(read, row) for row, read, _ in to]), torch.cat([read for _, read, _ in to]),
        torch.cat([source for *_, source in to]),
    ]  # fmt: skip
    return Plan((mask.size(0), mask.size(1)), lengths, prompts, *(part.to(mask.device) for part in index))
