# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The nearest options that fit: knobs from the least to the most intrusive, and no more of them than needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from mmr1_trl.planning.memory import GIB, VLLM_OWN, Memory, estimate, fits, kv_bytes
from mmr1_trl.planning.options import Options, smaller_passes
from mmr1_trl.planning.shapes import LARGEST_PICTURE, Shapes


_SMALLEST_PICTURE = 200_704  # 256 tokens of Qwen2.5-VL
_SHORTEST = 256  # tokens of a completion


@dataclass(frozen=True)
class Change:
    """One knob that was turned: what to write into a config, and what it costs."""

    settings: dict[str, Any]
    effect: str


def nearest(shapes: Shapes, options: Options) -> tuple[Options, list[Change]] | None:
    """
    Find options that fit.

    Args:
        shapes ([`Shapes`]), options ([`Options`]):
            The model, and the run as it is asked for.

    Returns:
        `tuple[Options, list[Change]]` or `None`: The options and what was changed, nothing where the run fits; `None`
        where no knob is enough.
    """
    if fits(estimate(shapes, options), options):
        return options, []
    steps: list[tuple[Options, Options, Change]] = []
    current = options
    for _ in range(60):
        turned = next(knobs(shapes, current), None)
        if turned is None:
            return None
        steps.append((current, turned[0], turned[1]))
        current = turned[0]
        if fits(estimate(shapes, current), current):
            break
    else:
        return None
    # What was turned on the way and is not needed in the end goes back, the most intrusive first.
    kept = list(range(len(steps)))
    for index in reversed(range(len(steps))):
        without = [other for other in kept if other != index]
        tried = _apply(options, [steps[other] for other in without])
        if fits(estimate(shapes, tried), tried):
            kept, current = without, tried
    return current, _merged([steps[index][2] for index in kept])


def _apply(options: Options, steps: list[tuple[Options, Options, Change]]) -> Options:
    """Take over what each step changed, whatever the others did."""
    for before, after, _ in steps:
        changed = {name: value for name, value in vars(after).items() if value != vars(before)[name]}
        if "micro" in changed:
            smaller = smaller_passes(options)
            options = smaller if smaller is not None else options
        else:
            options = replace(options, **changed)
    return options


def _merged(changes: list[Change]) -> list[Change]:
    """One change for each knob: of a knob that was turned several times the last."""
    by_knob: dict[str, Change] = {}
    for change in changes:
        by_knob[next(iter(change.settings))] = change
    return list(by_knob.values())


def knobs(shapes: Shapes, options: Options) -> Iterator[tuple[Options, Change]]:
    """Yield the knobs that can still be turned, in order."""
    memory = estimate(shapes, options)
    if options.group > 1 and not options.share_prompts and shapes.shares_prompts:
        yield replace(options, share_prompts=True), Change({"share_prompts": "auto"}, "nothing: the same numbers")
    if options.vllm == "colocate" and not options.vllm_sleep:
        yield (
            replace(options, vllm_sleep=True),
            Change({"vllm_enable_sleep_mode": True}, "some seconds to wake up, each generation batch"),
        )
    if not options.checkpointing:
        yield (
            replace(options, checkpointing=True),
            Change({"gradient_checkpointing": True}, "a third more computing in updates"),
        )
    if (smaller := smaller_passes(options)) is not None:
        settings: dict[str, Any] = {
            "per_device_train_batch_size": smaller.micro,
            "steps_per_generation": smaller.steps_per_generation,
            "gradient_accumulation_steps": smaller.accumulation,
        }
        yield smaller, Change(settings, "more and smaller passes; the same batches and updates")
    if options.devices > 1 and options.sharding != "zero3":
        yield (
            replace(options, sharding="zero3"),
            Change({"accelerate_config": "zero3"}, "weights travel each pass"),
        )
    if options.vllm == "colocate" and (share := _smaller_share(shapes, options, memory)) is not None:
        yield (
            replace(options, vllm_share=share),
            Change({"vllm_gpu_memory_utilization": share}, "fewer sequences are sampled at once"),
        )
    if shapes.vision is not None and not options.freeze_tower:
        yield (
            replace(options, freeze_tower=True),
            Change({"freeze_vision_tower": True}, "the vision tower stays as it is"),
        )
    if not options.adapters:
        adapted = replace(options, adapters=True, rank=32, targets=("all-linear",), weight_bytes=2.0)
        settings = {
            "use_peft": True, "lora_r": 32, "lora_alpha": 64, "lora_target_modules": "all-linear",
            "dtype": "bfloat16", "learning_rate": 1.0e-5,
        }  # fmt: skip
        yield adapted, Change(settings, "adapters are trained in place of the weights, which are stored in 16 bits")
    elif options.weight_bytes > 2:
        yield replace(options, weight_bytes=2.0), Change({"dtype": "bfloat16"}, "frozen weights are stored in 16 bits")
    pixels = options.max_pixels or LARGEST_PICTURE
    if not shapes.fixed_tokens and shapes.vision is not None and pixels > _SMALLEST_PICTURE:
        less = max(_SMALLEST_PICTURE, pixels // 2)
        saved = shapes.picture_tokens(pixels) - shapes.picture_tokens(less)
        shorter, settings = _shorter(options, saved, {"max_pixels": less})
        yield replace(shorter, max_pixels=less), Change(settings, "small details of large pictures are lost")
    if options.completion > _SHORTEST:
        half = max(_SHORTEST, options.completion // 2)
        shorter, settings = _shorter(options, options.completion - half, {"max_completion_length": half})
        yield replace(shorter, completion=half), Change(settings, "longer answers are cut, and get no reward")


def _shorter(options: Options, saved: int, settings: dict[str, Any]) -> tuple[Options, dict[str, Any]]:
    """Let vLLM's longest context shrink by the tokens that a knob saves."""
    if options.vllm == "none" or options.vllm_length <= saved:
        return options, settings
    length = options.vllm_length - saved
    return replace(options, vllm_length=length), settings | {"vllm_max_model_length": length}


def _smaller_share(shapes: Shapes, options: Options, memory: Memory) -> float | None:
    """The share that holds vLLM's weights and four of the longest sequences, or what is missing of it."""
    length = options.text_tokens + shapes.picture_tokens(options.max_pixels) + options.completion
    length = max(length, options.vllm_length)
    least = shapes.total * 2.0 + VLLM_OWN + 4 * length * kv_bytes(shapes, half=True)
    share = round(least / (options.memory * GIB) + 0.005, 2)
    too_small = memory.sequences < 2 and share > options.vllm_share
    return share if share <= 0.9 and (share < options.vllm_share or too_small) else None
