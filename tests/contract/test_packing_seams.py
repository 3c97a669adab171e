# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What `trainers/packing/` leans on in transformers and TRL. A failure says which upstream change to follow."""

import inspect

import pytest
import torch
from fixtures import flash_attention
from fixtures.rollouts import TEXT, text_model
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache
from transformers.integrations.flash_attention import flash_attention_forward
from transformers.modeling_flash_attention_utils import lazy_import_flash_attention
from trl.trainer import grpo_trainer

from mmr1_trl.models import build_tiny_vlm
from mmr1_trl.trainers.packing import attention
from mmr1_trl.trainers.packing.attention import ATTENTIONS, PLAN, let_attention_pack
from mmr1_trl.trainers.packing.installation import TEXT_MODELS, find_text_model


@pytest.mark.parametrize("text_class", TEXT_MODELS)
def test_arguments_of_text_models(text_class):
    """Keyword arguments, a cache under one of two names (`past_key_values` before transformers 5.24), and the rest."""
    names = inspect.signature(text_class.forward).parameters
    assert {"input_ids", "attention_mask", "position_ids", "inputs_embeds", "use_cache"} <= names.keys()
    assert ("cache" in names) != ("past_key_values" in names)
    assert any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in names.values())
    # What else comes in row by row would have to be packed as well.
    known = {"self", "input_ids", "attention_mask", "position_ids", "inputs_embeds", "use_cache", "cache", "kwargs"}
    known |= {"past_key_values", "visual_pos_masks", "deepstack_visual_embeds", "cache_position"}
    assert names.keys() <= known


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl", "glm4v", *TEXT])
def test_layers_hand_the_plan_to_the_attention_and_leave_a_ready_mask_alone(family):
    model = find_text_model(text_model(family) if family in TEXT else build_tiny_vlm(family)[0])
    seen = []

    def probe(module, query, key, value, attention_mask, **kwargs):
        seen.append((attention_mask, kwargs.get(PLAN), "scaling" in kwargs, key.shape[2]))
        return AttentionInterface()["sdpa"](module, query, key, value, None, scaling=kwargs["scaling"])

    AttentionInterface.register("probe", probe)
    AttentionMaskInterface.register("probe", AttentionMaskInterface()["sdpa"])
    model.config._attn_implementation = "probe"
    ready, plan = torch.ones(1, 1, 1, 1, dtype=torch.bool), object()
    embeds = torch.randn(1, 5, model.config.hidden_size)
    positions = torch.tensor([[3, 0, 1, 0, 1]])  # which would be taken for packed sequences, and a mask of its own
    output = model(inputs_embeds=embeds, attention_mask=ready, position_ids=positions, use_cache=False, **{PLAN: plan})
    assert output.last_hidden_state.shape == embeds.shape
    assert len(seen) == model.config.num_hidden_layers
    assert all(mask is ready and own is plan and scaled and n == 5 for mask, own, scaled, n in seen)


@pytest.mark.parametrize("configured", ATTENTIONS)
def test_attention_that_packs_keeps_its_name(configured):
    """Another name would not do: FlashAttention is loaded by the name in the config, when it is first called."""
    let_attention_pack(configured)
    registered = AttentionInterface()[configured]
    let_attention_pack(configured)
    assert AttentionInterface()[configured] is registered  # once
    assert callable(AttentionMaskInterface()[configured])


def test_where_flash_attention_is_loaded(monkeypatch):
    """By the name in the config of the module; of what is loaded the second one is for segments of several lengths."""
    source = inspect.getsource(flash_attention_forward)
    assert "attn_implementation=module.config._attn_implementation" in source
    flash_attention.install(monkeypatch)
    assert lazy_import_flash_attention("flash_attention_2")[0][1] is flash_attention.flash_attn_varlen_func


def test_the_kernel_that_torch_brings():
    """What `_torch_varlen` hands on by position, and what is asked before it; there is no kernel for a CPU."""
    schema = torch.ops.aten._flash_attention_forward.default._schema
    names = [argument.name for argument in schema.arguments]
    assert names[:10] == [
        "query", "key", "value", "cum_seq_q", "cum_seq_k", "max_q", "max_k", "dropout_p", "is_causal",
        "return_debug_mask",
    ]  # fmt: skip
    assert "scale" in names and schema.returns[0].name == "output"
    rows = [torch.zeros(1, heads, 3, 8, dtype=torch.bfloat16) for heads in (4, 2, 2)]
    assert torch.backends.cuda.SDPAParams(*rows, None, 0.0, True, True).is_causal
    assert callable(torch.backends.cuda.can_use_flash_attention) and not attention._torch_has_flash(*rows)


def test_a_cache_repeats_its_rows():
    cache = DynamicCache()
    keys = torch.randn(2, 1, 3, 4)
    assert cache.get_seq_length() == 0
    cache.update(keys, -keys, 0)
    cache.batch_select_indices(torch.tensor([0, 0, 1]))
    again, values = cache.update(keys[[0, 0, 1]], keys[[0, 0, 1]], 0)
    assert cache.get_seq_length() == 6
    assert torch.equal(again[:, :, :3], keys[[0, 0, 1]]) and torch.equal(values[:, :, :3], -keys[[0, 0, 1]])


def test_shuffle_of_a_generation_batch():
    """One draw of the global generator, looked up in the trainer's module at each generation batch."""
    torch.manual_seed(0)
    shuffled = grpo_trainer.shuffle_sequence_dict({"x": torch.arange(7), "y": None, "z": torch.tensor(3)})
    after = torch.rand(())
    torch.manual_seed(0)
    assert torch.equal(shuffled["x"], torch.randperm(7)) and shuffled["y"] is None and shuffled["z"] == 3
    assert torch.rand(()) == after
    source = inspect.getsource(grpo_trainer.GRPOTrainer._prepare_inputs)
    assert source.count("shuffle_sequence_dict(") == 1 and "_generate_and_score_completions" in source


def test_what_a_loss_normalizes_within_a_micro_batch():
    """All but `bnpo` divide by numbers that do not depend on which rows meet in a micro-batch."""
    source = inspect.getsource(grpo_trainer.GRPOTrainer._compute_loss)
    assert source.count("/ mask.sum().clamp(min=1.0)") == 1
    own_terms = ("get_high_entropy_mask", "effective_mask.sum()")
    assert all(term in source for term in own_terms)
