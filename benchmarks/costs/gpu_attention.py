# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""FlashAttention 2 by the kernels that torch brings, for `gpu.py`: flash-attn itself has to be compiled.

The stand-in has the names and signatures of flash-attn that transformers and `trainers/packing/attention.py` call, and
computes by `torch.ops.aten._flash_attention_forward`, which is flash-attn's source as built into torch.
"""

import math
import statistics
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any


STAND_IN = """
import torch


def flash_attn_varlen_func(
    q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, dropout_p=0.0, softmax_scale=None, causal=False
):
    return torch.ops.aten._flash_attention_forward(
        q, k, v, cu_seqlens_q, cu_seqlens_k, int(max_seqlen_q), int(max_seqlen_k), dropout_p, causal, False,
        scale=softmax_scale,
    )[0]


def flash_attn_func(q, k, v, dropout_p=0.0, softmax_scale=None, causal=False):
    return torch.ops.aten._flash_attention_forward(
        q, k, v, None, None, q.size(1), k.size(1), dropout_p, causal, False, scale=softmax_scale
    )[0]


flash_attn_with_kvcache = None  # transformers takes that for a build without it
"""


def write_stand_in(folder: str) -> None:
    """Write the package to `folder`, with what transformers reads to find out that flash-attn is installed."""
    for name, text in {
        "flash_attn/__init__.py": STAND_IN,
        "flash_attn/bert_padding.py": "from transformers.modeling_flash_attention_utils import "
        "_pad_input as pad_input, _unpad_input as unpad_input\n",
        "flash_attn-2.8.3.dist-info/METADATA": "Metadata-Version: 2.1\nName: flash-attn\nVersion: 2.8.3\n",
        "flash_attn-2.8.3.dist-info/top_level.txt": "flash_attn\n",
        "flash_attn-2.8.3.dist-info/RECORD": "flash_attn/__init__.py,,\n",
    }.items():
        file = Path(folder) / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def use_stand_in(folder: str) -> None:
    """Let this process find the stand-in. To be called before transformers is imported."""
    write_stand_in(folder)
    sys.path.insert(0, folder)


def run_attention(cell: dict[str, Any]) -> dict[str, Any]:
    """
    One layer's attention over packed tokens, forward and backward: prompts and rollouts of a cell, heads of
    Qwen2.5-VL-3B. Errors are those of outputs and gradients, relative to SDPA in 32 bits.
    """
    import torch
    from costs.vision_once import synchronize

    from mmr1_trl.trainers.packing.attention import ATTENTIONS
    from mmr1_trl.trainers.packing.plan import make_plan

    device = "cuda" if torch.cuda.is_available() else "cpu"
    prompt, completion, rollouts = cell["prompt"], cell["completion"], cell["rollouts"]
    generator = torch.Generator().manual_seed(0)
    rows = len(prompt) * rollouts
    mask = torch.ones(rows, max(prompt) + completion)
    for row in range(rows):
        mask[row, : max(prompt) - prompt[row // rollouts]] = 0
        if row % rollouts:  # the first completion has all of its length
            mask[row, max(prompt) + int(torch.randint(1, completion, (), generator=generator)) :] = 0
    plan = make_plan(mask.to(device), max(prompt), [row // rollouts * rollouts for row in range(rows)])
    made = [torch.randn(1, heads, plan.num_tokens, 128, generator=generator) for heads in (16, 2, 2)]
    weight = torch.randn(1, plan.num_tokens, 16, 128, generator=generator).to(device)
    module = SimpleNamespace(num_key_value_groups=8, is_causal=True, training=True)

    def passes(name: str, dtype: Any) -> list[Any]:
        leaves = [tensor.detach().to(device, dtype, copy=True).requires_grad_() for tensor in made]
        output = ATTENTIONS[name](module, *leaves, plan, dropout=0.0, scaling=1 / math.sqrt(128))
        output.backward(weight.to(dtype))
        return [output.detach(), *(leaf.grad for leaf in leaves)]

    allowed = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    expected = passes("sdpa", torch.float32)
    torch.backends.cuda.matmul.allow_tf32 = allowed
    found: dict[str, Any] = {"tokens": plan.num_tokens, "segments": len(plan.lengths)}
    for name in cell["attentions"]:
        got = passes(name, torch.bfloat16)
        errors = [float((a.float() - b).norm() / b.norm()) for a, b in zip(got, expected)]
        seconds = []
        for _ in range(cell["repeats"]):
            synchronize()
            start = time.perf_counter()
            passes(name, torch.bfloat16)
            synchronize()
            seconds.append(time.perf_counter() - start)
        found[name] = {"errors": errors, "seconds": statistics.median(seconds)}
    return found
