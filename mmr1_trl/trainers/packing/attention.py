# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Attention over packed prompts and completions, by the interfaces that transformers offers for it.

A model's attention gets the [`~packing.plan.Plan`] of its forward pass among the keyword arguments that every layer
hands on. Without one it does what was configured, so that whatever else runs the model (sampling, evaluation) does not
notice.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from transformers import AttentionInterface
from transformers.modeling_flash_attention_utils import lazy_import_flash_attention

from mmr1_trl.trainers.packing.plan import Plan


PLAN = "packing_plan"  # the keyword argument


def _sdpa(
    module: Any, query: Any, key: Any, value: Any, plan: Plan, dropout: float = 0.0, scaling: float | None = None
) -> torch.Tensor:
    """One call where torch has a kernel for it, else one per prompt and per completion, over the keys that it sees."""
    if _torch_has_flash(*(cast := _in_autocast(query, key, value))):
        return _in_one_call(_torch_varlen, *cast, plan, dropout, scaling)
    # All segments in one split each: a slice's gradient would be as long as the sequence.
    queries, keys, values = (tensor.split(plan.lengths, dim=2) for tensor in (query, key, value))
    attend, outputs = AttentionInterface()["sdpa"], []
    for segment, prompt in enumerate(plan.prompts):
        own = keys[segment], values[segment]
        seen, mask = own, None
        if prompt is not None:
            seen = torch.cat((keys[prompt], own[0]), dim=2), torch.cat((values[prompt], own[1]), dim=2)
            mask = plan.mask(segment)
        outputs.append(attend(module, queries[segment], *seen, mask, dropout, scaling, is_causal=True)[0])
    return torch.cat(outputs, dim=1)


def _in_one_call(
    varlen: Callable[..., torch.Tensor], query: Any, key: Any, value: Any, plan: Plan, dropout: float,
    scaling: float | None,
) -> torch.Tensor:  # fmt: skip
    """By a function of flash-attn: a segment's queries are the last ones of the keys that it sees, hence causal."""
    index, ends, longest = plan.keys
    query, key, value = (tensor[0].transpose(0, 1) for tensor in (query, key, value))  # (N, heads, d)
    output = varlen(
        query, key[index], value[index], *ends, *longest, dropout_p=dropout, softmax_scale=scaling, causal=True
    )
    return output.unsqueeze(0)


def _flash(
    module: Any, query: Any, key: Any, value: Any, plan: Plan, dropout: float = 0.0, scaling: float | None = None
) -> torch.Tensor:
    varlen = lazy_import_flash_attention("flash_attention_2")[0][1]  # flash-attn's, or one from the Hub in its place
    return _in_one_call(varlen, *_in_autocast(query, key, value), plan, dropout, scaling)


def _in_autocast(query: Any, key: Any, value: Any) -> tuple[Any, Any, Any]:
    """In the type that autocast has attention computed in."""
    device = query.device.type
    if query.dtype == torch.float32 and torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        return query.to(dtype), key.to(dtype), value.to(dtype)
    return query, key, value


def _torch_has_flash(query: Any, key: Any, value: Any) -> bool:
    """Whether SDPA would take the kernel of FlashAttention that torch brings, were these rows and not segments."""
    if not query.is_cuda or torch.version.cuda is None:
        return False
    rows = torch.backends.cuda.SDPAParams(query, key, value, None, 0.0, True, True)
    return torch.backends.cuda.can_use_flash_attention(rows)


def _torch_varlen(
    q: Any, k: Any, v: Any, ends_q: Any, ends_k: Any, most_q: int, most_k: int, *, dropout_p: float,
    softmax_scale: float | None, causal: bool,
) -> torch.Tensor:  # fmt: skip
    return torch.ops.aten._flash_attention_forward(
        q, k, v, ends_q, ends_k, most_q, most_k, dropout_p, causal, False, scale=softmax_scale
    )[0]


# What may be configured, and how it attends over packed tokens.
ATTENTIONS: dict[str, Any] = {"sdpa": _sdpa, "flash_attention_2": _flash}


def _attend(
    plain: Callable[..., Any], packed: Callable[..., torch.Tensor], module: Any, query: Any, key: Any, value: Any,
    attention_mask: Any, *args: Any, **kwargs: Any,
) -> tuple[torch.Tensor, Any]:  # fmt: skip
    plan = kwargs.pop(PLAN, None)
    if plan is None:
        return plain(module, query, key, value, attention_mask, *args, **kwargs)
    options = {name: kwargs[name] for name in ("dropout", "scaling") if name in kwargs}
    return packed(module, query, key, value, plan, **options), None


def let_attention_pack(configured: str) -> None:
    """
    Let an attention of transformers take packed tokens as well.

    It keeps its name, which transformers reads in a model's config to load FlashAttention, and does what it did for
    every forward pass without a plan.

    Args:
        configured (`str`):
            One of `ATTENTIONS`.
    """
    plain = AttentionInterface()[configured]
    if not (isinstance(plain, partial) and plain.func is _attend):
        AttentionInterface.register(configured, partial(_attend, plain, ATTENTIONS[configured]))
