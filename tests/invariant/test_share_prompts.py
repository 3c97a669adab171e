# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Computing each prompt once changes nothing but the order of sums: log-probs, gradients, trainings."""

import pytest
import torch
from fixtures.rollouts import LONG, SHORT, TEXT, picture, rollouts

from mmr1_trl.trainers.packing.installation import SharedPrompts, find_text_model


A, B = (56, 56), (28, 84)
# prompts, the prompt of each row, tokens of each completion
BATCHES = {
    "groups of spread lengths": ([(LONG, [A]), (SHORT, [B])], [0, 1, 0, 1, 1, 0], [5, 1, 3, 0, 4, 2]),
    "completions of one token": ([(LONG, [A])], [0, 0, 0], [1, 1, 1]),
    "prompts that differ in their picture only": ([(LONG, [A]), (LONG, [A])], [0, 1, 0, 1], [3, 3, 2, 1]),
    "no copies, padding only": ([(LONG, [A]), (SHORT, [B]), (SHORT, [A])], [0, 1, 2], [6, 1, 2]),
}
# These processors take pictures of the Qwen families' kind: several in a prompt, none in another.
MIXED = {
    "several pictures": ([(LONG, [A, B]), (SHORT, [B])], [0, 1, 1, 0], [2, 3, 1, 4]),
    "rows without pictures": ([(LONG, [A]), (LONG, [])], [0, 1, 1, 0], [2, 3, 1, 4]),
    "text only": ([(LONG, []), (SHORT, [])], [0, 1, 1, 0], [2, 3, 1, 4]),
}
QWEN = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
FAMILIES = (*QWEN, "llava", "idefics3", *TEXT)


def states_and_gradients(model, batch, width, sharing=None):
    """Last hidden states where they are read, and the gradients of all parameters of a weighted sum of them."""
    weights = torch.randn(
        *batch["input_ids"].shape, model.config.get_text_config().hidden_size, dtype=torch.float64,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    read = batch["attention_mask"].clone()
    read[:, : width - 1] = 0
    model.zero_grad()
    if sharing is None:
        states = model.base_model(**batch, use_cache=False).last_hidden_state
    else:
        with sharing.completions(width):
            states = model.base_model(**batch, use_cache=False).last_hidden_state
    states = states.double() * read.unsqueeze(-1)
    (states * weights).sum().backward()
    return states.detach(), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("family", FAMILIES)
def test_states_and_gradients_equal_dense_ones_in_float64(family):
    batches = BATCHES | (MIXED if family in QWEN else {})
    for name, (prompts, order, lengths) in batches.items():
        prompts = [(text, [picture(*size, i) for size in sizes]) for i, (text, sizes) in enumerate(prompts)]
        model, batch, width = rollouts(family, prompts, order, lengths)
        single = {key: value.clone() for key, value in model.state_dict().items()}
        double = {key: v.double() if v.is_floating_point() else v for key, v in batch.items()}
        states, gradients = states_and_gradients(model.double(), double, width)
        model.float().load_state_dict(single)
        sharing = SharedPrompts()
        sharing.install(find_text_model(model))
        assert sharing.pop_metrics()["tokens/asked"] == 0
        scale = max(gradient.abs().max() for gradient in gradients.values())
        for reentrant in (None, True, False):
            if reentrant is not None:
                model.gradient_checkpointing_enable({"use_reentrant": reentrant})
                model.enable_input_require_grads()
            packed, mine = states_and_gradients(model, batch, width, sharing)
            different = len({(text, *(p.tobytes() for p in pictures)) for text, pictures in prompts})
            real = batch["attention_mask"][:, :width].sum(1)
            prompts_once = sum(int(real[order.index(i)]) for i in range(different)) if family not in TEXT else None
            counted = sharing.pop_metrics()
            if prompts_once is not None:
                assert counted["tokens/computed"] == prompts_once + sum(lengths), name
            assert counted["tokens/computed"] < counted["tokens/asked"] == batch["input_ids"].numel(), name
            assert (packed - states).abs().max() < 1e-5, name
            assert mine.keys() == gradients.keys()
            for parameter, gradient in gradients.items():
                error = (mine[parameter] - gradient).abs().max() / scale
                assert error < 2e-6, (name, reentrant, parameter, error)
