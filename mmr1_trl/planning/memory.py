# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""
Memory of one device, part by part, in the two phases of a run: sampling and updating.

What a layer keeps for the backward pass is counted from the operations of transformers' layers with SDPA: the two
residual sums, two norms of two tensors each, the attention's queries, keys, values and output, and four tensors of the
MLP's width. `benchmarks/costs/plan.py` compares the sums with measured peaks.
"""

from __future__ import annotations

from dataclasses import dataclass

from mmr1_trl.planning.options import Options
from mmr1_trl.planning.shapes import Shapes, Stack


GIB = 2**30
_TILE, _TILE_WORDS = 4096, 32_768  # tokens that TRL's head projects at once, and onto how many words
_CONTEXT = 1.0e9  # bytes of CUDA's context and libraries
_SLACK = 0.08  # of what PyTorch holds, for what its allocator cannot use
_VLLM_LEFT = 0.6e9  # bytes that a sleeping engine keeps: graphs, buffers, its own context
VLLM_OWN = 1.5e9  # bytes beside weights and cache that an engine takes while it is awake


@dataclass(frozen=True)
class Memory:
    """
    Bytes of one device.

    Args:
        parts (`dict[str, float]`):
            Of what there is: `weights`, `gradients`, `optimizer`, `reference`, `gathered` (layers that sharding brings
            together), `activations` (what the text layers keep for the backward pass), `tower` (what a trained vision
            tower keeps), `moment` (the largest of the passing moments: the head with its tile of words, the backward
            pass of one layer, the vision tower at work), `features` (what a frozen tower made of the pictures),
            `cache` (keys and values while sampling), `engine` (vLLM's share).
        update (`float`), sampling (`float`):
            Sums of the two phases, without the allocator's slack.
        needed (`float`):
            The larger of the two with the slack and CUDA's context.
        engine_room (`float`):
            Bytes of vLLM's share that are left for keys and values beside its weights; negative where it cannot start.
        sequences (`float`):
            Longest sequences that fit into that room.
    """

    parts: dict[str, float]
    update: float
    sampling: float
    needed: float
    engine_room: float
    sequences: float


def layer_bytes(stack: Stack, half: bool, weight_bytes: float, gated: bool = True) -> float:
    """Bytes that one layer keeps per token for the backward pass."""
    width = 2 * (stack.heads + stack.kv_heads) * stack.head_dim
    inner = (4 if gated else 2) * stack.intermediate
    if not half:
        return 4.0 * (6 * stack.hidden + width + inner)
    # In 16 bits; norms are computed in 32, and the residual stream has the weights' precision.
    norms = 20 if weight_bytes > 2 else 16
    return (norms + (8 if weight_bytes > 2 else 4)) * stack.hidden + 2.0 * (width + inner)


def kv_bytes(shapes: Shapes, half: bool) -> float:
    """Bytes of keys and values per token."""
    return 2.0 * (2 if half else 4) * shapes.full_attention * shapes.text.kv_heads * shapes.text.head_dim


def pass_tokens(shapes: Shapes, options: Options) -> tuple[float, float]:
    """
    Tokens of one training pass on a device.

    Returns:
        `tuple[float, float]`: All of them, and prompts in it: one for each rollout, or with `share_prompts` one for
        each group that is in the pass.
    """
    prompt = options.text_tokens + shapes.picture_tokens(options.max_pixels)
    prompts: float = options.micro
    if options.share_prompts and shapes.shares_prompts:
        prompts = max(1.0, options.micro / options.group)
    return prompts * prompt + options.micro * options.completion, prompts


def estimate(shapes: Shapes, options: Options) -> Memory:
    """
    Estimate the memory of one device.

    Args:
        shapes ([`Shapes`]), options ([`Options`]):
            The model and the run.

    Returns:
        [`Memory`]
    """
    whole = options.devices if options.sharding == "zero3" else 1
    states = options.devices if options.sharding in ("zero2", "zero3") else 1
    passed = 2.0 if options.half else 4.0  # bytes of what the passes make
    residual = 2.0 if options.half and options.weight_bytes <= 2 else 4.0
    stored = shapes.total * options.weight_bytes
    trained, of_trained = trained_parameters(shapes, options)
    tokens, _ = pass_tokens(shapes, options)
    pictures = shapes.picture_tokens(options.max_pixels)
    text = shapes.text

    layer = layer_bytes(text, options.half, options.weight_bytes)
    whole_layers = text.hidden * residual if options.checkpointing else layer
    # The gradients of one layer's inner tensors are there beside what it keeps.
    inner = (layer if options.checkpointing else 0) + passed * (3 * text.intermediate + 2 * text.hidden)
    per_layer = shapes.parameters["text"] / text.layers
    largest = max(per_layer, shapes.parameters["embedding"], shapes.parameters["head"])
    scored = options.micro * (options.text_tokens + pictures + options.completion)  # the head sees every token
    head = (scored * text.hidden + min(scored, _TILE) * _TILE_WORDS) * passed + scored * text.hidden * 4
    # A picture is encoded once in a pass, whichever of its prompt's rollouts are in it.
    distinct = min(options.micro, _distinct_pictures(options))
    tower, at_work = _tower(shapes, options, distinct, passed, residual)
    parts = {
        "weights": stored / whole + (trained * of_trained if options.adapters else 0),
        "gradients": trained * of_trained / states,
        "optimizer": trained * of_trained * options.state_bytes / states,
        "reference": stored / whole if options.reference and not options.adapters else 0.0,
        "gathered": 2 * largest * options.weight_bytes if options.sharding == "zero3" else 0.0,
        "activations": tokens * text.layers * whole_layers,
        "tower": tower,
        "moment": max(head, tokens * inner, 0.0 if options.freeze_tower else at_work),
        "features": _features(shapes, options, pictures, passed),
        "cache": 0.0,
        "engine": 0.0,
    }
    if options.vllm == "none":
        held = options.micro * options.steps_per_generation
        length = options.text_tokens + pictures + options.completion
        parts["cache"] = held * length * kv_bytes(shapes, options.half)
    elif options.vllm == "colocate":
        parts["engine"] = options.vllm_share * options.memory * GIB
    fixed = sum(parts[name] for name in ("weights", "gradients", "optimizer", "reference", "features"))
    asleep = min(_VLLM_LEFT, parts["engine"]) if options.vllm_sleep else parts["engine"]
    update = fixed + asleep + sum(parts[name] for name in ("gathered", "activations", "tower", "moment"))
    without_gradients = fixed - parts["gradients"]  # dropped when an update is done
    # Where log-probs of the rollouts are asked for before the first update, a pass computes them and keeps nothing.
    scored_before = options.old_logps or options.reference
    scoring = without_gradients + asleep + parts["gathered"] + max(head if scored_before else 0.0, at_work)
    generating = without_gradients + parts["engine"] + parts["cache"]
    sampling, awake = max((generating, parts["engine"]), (scoring, asleep))
    room = parts["engine"] - shapes.total * 2.0 - VLLM_OWN
    length = options.vllm_length or options.text_tokens + pictures + options.completion
    return Memory(
        parts=parts,
        update=update,
        sampling=sampling,
        needed=max(update + _SLACK * (update - asleep), sampling + _SLACK * (sampling - awake)) + _CONTEXT,
        engine_room=room,
        sequences=max(0.0, room) / (length * kv_bytes(shapes, half=True)),
    )


def fits(memory: Memory, options: Options) -> bool:
    """Whether a run fits, and an engine in the same memory can hold its weights and two of the longest sequences."""
    engine = options.vllm != "colocate" or memory.sequences >= 2
    return memory.needed <= options.memory * GIB and engine


def trained_parameters(shapes: Shapes, options: Options) -> tuple[float, float]:
    """Return the trained parameters, and the bytes of one of them: adapters are kept in 32 bits."""
    if options.adapters:
        return shapes.adapter(options.rank, list(options.targets), options.freeze_tower, options.freeze_merger), 4.0
    return shapes.trainable(options.freeze_tower, options.freeze_merger), options.weight_bytes


def _tower(shapes: Shapes, options: Options, pictures: float, passed: float, residual: float) -> tuple[float, float]:
    """What the vision tower keeps of the pictures of one pass, and what it takes while it works."""
    if shapes.vision is None:
        return 0.0, 0.0
    stack = shapes.vision
    patches = pictures * shapes.picture_tokens(options.max_pixels) * shapes.merge**2
    working = patches * passed * (3 * stack.intermediate + 2 * stack.hidden)
    if options.freeze_tower:
        return 0.0, working
    layer = patches * layer_bytes(stack, options.half, options.weight_bytes)
    pixels = patches * shapes.patch_values * 4.0
    if options.checkpointing:
        return pixels + patches * stack.layers * stack.hidden * residual, layer + working
    return pixels + stack.layers * layer, working


def _distinct_pictures(options: Options) -> float:
    """Pictures of a generation batch on one device, each counted once for its group."""
    return max(1.0, options.micro * options.steps_per_generation / options.group)


def _features(shapes: Shapes, options: Options, pictures: int, passed: float) -> float:
    """What a frozen tower made of the distinct pictures of a generation batch, kept for all its passes."""
    if not options.freeze_tower or shapes.vision is None:
        return 0.0
    return _distinct_pictures(options) * pictures * shapes.text.hidden * passed
