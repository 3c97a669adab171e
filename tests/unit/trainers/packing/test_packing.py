# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Packing plans and attention over them, against dense attention over each row."""

from types import SimpleNamespace

import pytest
import torch
from fixtures import flash_attention
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Gemma3Config, Qwen2_5_VLConfig

from mmr1_trl.trainers.packing.attention import ATTENTIONS
from mmr1_trl.trainers.packing.installation import expected_tokens
from mmr1_trl.trainers.packing.order import coherent_order
from mmr1_trl.trainers.packing.plan import first_equal, make_plan, packed_size


def test_first_equal():
    values = [3, 5, 3, 13, 5, 3]
    asked = []

    def same(one, other):
        asked.append((one, other))
        return values[one] == values[other]

    assert first_equal([value % 10 for value in values], same) == [0, 1, 0, 3, 1, 0]
    assert (0, 1) not in asked  # other keys
    assert first_equal("abc", lambda *_: True) == [0, 1, 2]


def batch_of(prompts, order, lengths):
    """The mask of a batch whose rows have the numbered prompts' lengths, and its owners."""
    width, columns = max(prompts), max(*lengths, 1)
    mask = torch.zeros(len(order), width + columns, dtype=torch.long)
    for row, (prompt, length) in enumerate(zip(order, lengths)):
        mask[row, width - prompts[prompt] : width + length] = 1
    return mask, width, [order.index(prompt) for prompt in order]


BATCHES = st.integers(1, 3).flatmap(
    lambda d: st.tuples(
        st.lists(st.integers(1, 5), min_size=d, max_size=d),
        st.lists(st.tuples(st.integers(0, d - 1), st.integers(0, 4)), min_size=1, max_size=6),
    )
)


@settings(max_examples=60, deadline=None)
@given(BATCHES)
def test_every_token_is_packed_once_and_read_where_it_belongs(batch):
    prompts, rows = batch
    order, lengths = [prompt for prompt, _ in rows], [length for _, length in rows]
    mask, width, owners = batch_of(prompts, order, lengths)
    plan = make_plan(mask, width, owners)
    assert plan.num_tokens == sum(prompts[i] for i in set(order)) + sum(lengths) == plan.rows.numel()
    assert packed_size(mask.bool(), width, owners) == (plan.num_tokens, len(plan.lengths))
    assert packed_size(mask, width, [0] * len(order)) <= packed_size(mask, width, owners)
    content = torch.arange(mask.numel(), dtype=torch.float).view(*mask.shape, 1)
    for row, owner in enumerate(owners):  # rows that share a prompt hold the same
        content[row, :width] = content[owner, :width]
    unpacked = plan.unpack(plan.pack(content))
    read = mask.clone()
    read[:, : width - 1] = 0
    assert torch.equal(unpacked, content * read.unsqueeze(-1))


def attend_by_row(query, key, value, mask):
    """Dense causal attention of each row over its real tokens, (B, heads, L, d)."""
    repeats = query.size(1) // key.size(1)
    key, value = key.repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1)
    scores = query @ key.transpose(-1, -2) * 0.3
    seen = torch.ones(mask.size(1), mask.size(1)).tril().bool() & mask.bool()[:, None, None, :]
    return scores.masked_fill(~seen, -1e9).softmax(-1) @ value


@pytest.mark.parametrize("name", ATTENTIONS)
def test_attention_and_its_gradients_equal_those_of_the_rows(monkeypatch, name):
    flash_attention.install(monkeypatch)
    torch.manual_seed(0)
    # Completions of one token, of none, prompts of one token, rows of a prompt apart from each other.
    for prompts, order, lengths in (
        ([5, 3], [0, 1, 0, 1, 0], [4, 1, 0, 3, 2]), ([1], [0, 0], [1, 1]), ([4, 2], [1, 0], [0, 0]),
    ):  # fmt: skip
        mask, width, owners = batch_of(prompts, order, lengths)
        plan = make_plan(mask, width, owners)
        dense = [torch.randn(len(order), heads, mask.size(1), 8, dtype=torch.float64) for heads in (4, 2, 2)]
        for tensor in dense:
            for row, owner in enumerate(owners):
                tensor[row, :, :width] = tensor[owner, :, :width]
        packed = [plan.pack(t.transpose(1, 2)).transpose(1, 2).requires_grad_() for t in dense]
        expected = [tensor.clone().requires_grad_() for tensor in dense]
        # Each token of a prompt counts once, wherever it is read.
        weight = torch.zeros(len(order), mask.size(1), 4, 8, dtype=torch.float64)
        weight[plan.rows, plan.columns] = torch.randn(plan.num_tokens, 4, 8, dtype=torch.float64)
        module = SimpleNamespace(num_key_value_groups=2, is_causal=True)
        output = ATTENTIONS[name](module, *packed, plan, dropout=0.0, scaling=0.3)
        reference = attend_by_row(*expected, mask).transpose(1, 2)
        assert torch.allclose(output[0], reference[plan.rows, plan.columns])
        (output[0] * weight[plan.rows, plan.columns]).sum().backward()
        (reference * weight).sum().backward()
        for mine, other in zip(packed, expected):
            total = other.grad.clone()
            for row, owner in enumerate(owners):  # of a shared prompt the sum over its rows
                if row != owner:
                    total[owner, :, :width] += other.grad[row, :, :width]
            assert torch.allclose(mine.grad[0].transpose(0, 1), total.transpose(1, 2)[plan.rows, plan.columns])


def test_wrong_plans_are_refused():
    mask, width, owners = batch_of([5, 3], [0, 1, 0], [2, 2, 2])
    with pytest.raises(RuntimeError, match="Row 1 cannot share the prompt of row 0"):
        make_plan(mask, width, [0, 0, 0])
    with pytest.raises(RuntimeError, match="cannot share"):
        make_plan(mask, width, [2, 1, 0])  # no row stands for itself
    mask[1, width - 1] = 0
    with pytest.raises(RuntimeError, match="The prompt of row 1 does not end"):
        make_plan(mask, width, owners)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 6), st.integers(0, 10**6))
def test_coherent_order(updates, micro_batches, size, seed):
    generator = torch.Generator().manual_seed(seed)
    rows_per_update = micro_batches * size
    total = updates * rows_per_update
    prompts = torch.randint(0, max(1, total // 3), (total,), generator=generator)
    permutation = torch.randperm(total, generator=generator)
    order = coherent_order(permutation, prompts, rows_per_update)
    for mine, drawn in zip(order.split(rows_per_update), permutation.split(rows_per_update), strict=True):
        assert set(mine.tolist()) == set(drawn.tolist())  # an update sees the rows that it would see
        runs = torch.unique_consecutive(prompts[mine])
        assert len(runs) == len(set(runs.tolist()))  # and a prompt's rows are side by side
    whole = coherent_order(permutation, prompts, rows_per_update, whole_groups=True)
    assert sorted(whole.tolist()) == list(range(total))
    assert len(torch.unique_consecutive(prompts[whole])) == len(set(prompts.tolist()))


def test_expected_tokens_are_those_of_a_plan():
    known = Qwen2_5_VLConfig()
    for rows, group in ((8, 4), (6, 4), (4, 8)):
        mask, width, owners = batch_of([90] * rows, [row // group for row in range(rows)], [3] * rows)
        expected = mask.numel(), make_plan(mask, width, owners).num_tokens
        assert expected_tokens(known, 90, 3, rows, group) == expected
        assert expected_tokens(Gemma3Config(), 90, 3, rows, group) == (mask.numel(),) * 2
    # Too little is spared: by the rows of the figures, and where a prompt has one completion.
    assert expected_tokens(known, 12, 32, 128, 8) == (128 * 44,) * 2
    assert expected_tokens(known, 90, 3, 3, 1) == (3 * 93,) * 2
