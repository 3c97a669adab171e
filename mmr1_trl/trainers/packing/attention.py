# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Attention over packed prompts and completions, by the interfaces that transformers offers for it.

A model's attention gets the [`~packing.plan.Plan`] of its forward pass among the keyword arguments that every layer
hands on. Without one it does what was configured, so that whatever else runs the model (sampling, evaluation) does not
notice.
"""

from functools import partial
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface

from mmr1_trl.trainers.packing.plan import Plan


PLAN = "packing_plan"  # the keyword argument


def _sdpa(module: Any, query: Any, key: Any, value: Any, plan: Plan, **kwargs: Any) -> torch.Tensor:
    """One call per prompt and per completion, each over the keys that it sees and no others."""
    # All segments in one split each: a slice's gradient would be as long as the sequence.
    queries, keys, values = (tensor.split(plan.lengths, dim=2) for tensor in (query, key, value))
    attend, outputs = AttentionInterface()["sdpa"], []
    for segment, prompt in enumerate(plan.prompts):
        own = keys[segment], values[segment]
        seen, mask = own, None
        if prompt is not None:
            seen = torch.cat((keys[prompt], own[0]), dim=2), torch.cat((values[prompt], own[1]), dim=2)
            mask = plan.mask(segment)
        outputs.append(attend(module, queries[segment], *seen, mask, is_causal=True, **kwargs)[0])
    return torch.cat(outputs, dim=1)


def _flash(
    module: Any, query: Any, key: Any, value: Any, plan: Plan, dropout: float = 0.0, scaling: float | None = None
) -> torch.Tensor:
    """One call: a segment's queries are the last ones of the keys that it sees, which is what causal means there."""
    from flash_attn import flash_attn_varlen_func  # where a GPU is

    index, counts = plan.keys
    device = query.device.type
    if query.dtype == torch.float32 and torch.is_autocast_enabled(device):
        query, key, value = (tensor.to(torch.get_autocast_dtype(device)) for tensor in (query, key, value))
    query, key, value = (tensor[0].transpose(0, 1) for tensor in (query, key, value))  # (N, heads, d)
    ends = [torch.tensor([0, *sizes]).cumsum(0).to(query.device, torch.int32) for sizes in (plan.lengths, counts)]
    output = flash_attn_varlen_func(
        query, key[index], value[index], *ends, max(plan.lengths), max(counts),
        dropout_p=dropout, softmax_scale=scaling, causal=True,
    )  # fmt: skip
    return output.unsqueeze(0)


# What may be configured, and how it attends over packed tokens.
ATTENTIONS: dict[str, Any] = {"sdpa": _sdpa, "flash_attention_2": _flash}


def _attend(
    configured: str, module: Any, query: Any, key: Any, value: Any, attention_mask: Any, *args: Any, **kwargs: Any
) -> tuple[torch.Tensor, None]:
    plan = kwargs.pop(PLAN, None)
    if plan is None:
        return AttentionInterface()[configured](module, query, key, value, attention_mask, *args, **kwargs)
    options = {name: kwargs[name] for name in ("dropout", "scaling") if name in kwargs}
    return ATTENTIONS[configured](module, query, key, value, plan, **options), None


def packed_attention(configured: str) -> str:
    """
    Register the attention that can do both, packed and as configured.

    Args:
        configured (`str`):
            One of `ATTENTIONS`.

    Returns:
        `str`: What a model's attention implementation has to be set to.
    """
    # With the configured name inside it, because transformers looks for "flash" in names.
    name = f"packed_{configured}"
    AttentionInterface.register(name, partial(_attend, configured))
    AttentionMaskInterface.register(name, AttentionMaskInterface()[configured])
    return name
