# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Sharing of prompts where attention over segments of several lengths is one call, of which there are stand-ins here.

Everything around it is transformers' own: how flash-attn's functions are found, masks, padding, generation.
"""

import pytest
import torch
from fixtures import flash_attention
from fixtures.rollouts import LONG, SHORT, picture, rollouts

from mmr1_trl.trainers.packing import attention, installation
from mmr1_trl.trainers.packing.installation import SharedPrompts, find_text_model


@pytest.fixture(autouse=True)
def small_and_flash(monkeypatch):
    monkeypatch.setattr(installation, "TOKENS_SPARED", 0)
    flash_attention.install(monkeypatch)


@pytest.mark.parametrize("configured", ["flash_attention_2", "sdpa"])
@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "glm4v", "llava", "qwen2", "mistral"])
def test_packed_plain_and_sampled_passes_equal_those_of_sdpa(family, configured, monkeypatch):
    prompts = [(LONG, [picture(56, 56, 0)]), (SHORT, [picture(28, 84, 1)])]
    model, batch, width = rollouts(family, prompts, [0, 1, 0, 1, 1], [5, 1, 3, 0, 4])
    text, sharing = find_text_model(model), SharedPrompts()
    prompt = {
        name: v[:, :width] if name in ("input_ids", "attention_mask", "mm_token_type_ids") else v
        for name, v in batch.items()
    }
    read = batch["attention_mask"].clone()
    read[:, : width - 1] = 0

    def passes():
        model.zero_grad()
        states = model.base_model(**batch, use_cache=False).last_hidden_state * read.unsqueeze(-1)
        states.square().sum().backward()
        gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        return states.detach(), gradients

    def sample():
        with torch.no_grad():
            return model.generate(**prompt, do_sample=False, max_new_tokens=4, min_new_tokens=4)

    assert text.config._attn_implementation == "sdpa"
    states, gradients = passes()
    sampled = sample()
    calls = []

    def varlen(q, k, v, ends_q, ends_k, *args, **kwargs):
        calls.append(len(ends_q) - 1)
        return flash_attention.flash_attn_varlen_func(q, k, v, ends_q, ends_k, *args, **kwargs)

    if configured == "sdpa":  # on a GPU, with what torch brings
        monkeypatch.setattr(attention, "_torch_has_flash", lambda *tensors: tensors[0].dtype == torch.float32)
        monkeypatch.setattr(attention, "_torch_varlen", varlen)
    text.config._attn_implementation = configured
    sharing.install(text)
    plain = passes()
    with sharing.completions(batch["input_ids"].size(1) - width):
        packed = passes()
    assert sharing.computed < 0.8 * sharing.asked
    assert calls == ([2 + 4] * text.config.num_hidden_layers if configured == "sdpa" else [])
    scale = max(gradient.abs().max() for gradient in gradients.values())
    for mine, own in (plain, packed):
        assert torch.allclose(mine, states, atol=1e-5)
        assert own.keys() == gradients.keys()
        assert all((own[name] - gradient).abs().max() < 1e-5 * scale for name, gradient in gradients.items())
    assert torch.equal(sample(), sampled)
    with sharing.sampling():
        assert torch.equal(sample(), sampled)
