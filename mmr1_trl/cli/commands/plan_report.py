# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""How a plan of `mmr1 plan` is written, for people and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from mmr1_trl.planning.cost import Cost
    from mmr1_trl.planning.fit import Change
    from mmr1_trl.planning.memory import Memory
    from mmr1_trl.planning.options import Options
    from mmr1_trl.planning.shapes import Shapes


_NAMES = {
    "weights": "weights", "gradients": "gradients", "optimizer": "optimizer states", "reference": "reference model",
    "gathered": "layers that sharding gathers", "activations": "activations of the text layers",
    "tower": "activations of the vision tower", "moment": "the largest passing moment",
    "features": "features of the pictures", "cache": "keys and values while sampling", "engine": "vLLM's share",
}  # fmt: skip
_HONEST = (
    "Computed, not measured: for the longest prompt and completions of full length. docs/gpu_training.md has the\n"
    "errors against measured peaks. The range of seconds is that of the cards sold with this memory."
)


def devices_of(options: Options) -> str:
    """Say how many devices of which size a plan is for."""
    return f"{options.devices} x {options.memory:g} GB" if options.devices > 1 else f"one GPU of {options.memory:g} GB"


def report_lines(shapes: Shapes, asked: Options, fitting: Options, changes: list[Change]) -> list[str]:
    """
    Return a plan as lines of text.

    Args:
        shapes ([`Shapes`]), asked ([`Options`]), fitting ([`Options`]), changes (`list[Change]`):
            The model, the run as it is asked for and as it fits, and what is between the two.
    """
    from mmr1_trl.planning.cost import estimate_cost
    from mmr1_trl.planning.memory import estimate

    before, memory = estimate(shapes, asked), estimate(shapes, fitting)
    cost = estimate_cost(shapes, fitting, memory)
    lines = [f"{shapes.model} on {devices_of(asked)}: " + _verdict(before, asked, changes)]
    for change in changes:
        settings = "  ".join(f"{name}: {value}" for name, value in change.settings.items())
        lines.append(f"  {settings}\n      ({change.effect})")
    lines += ["", *_model_lines(shapes, fitting), "", *_memory_lines(memory, fitting), "", *_cost_lines(fitting, cost)]
    return [*lines, "", _HONEST]


def _verdict(memory: Memory, options: Options, changes: list[Change]) -> str:
    from mmr1_trl.planning.memory import GIB

    if not changes:
        return "it fits."
    if memory.needed > options.memory * GIB:
        return f"it does not fit as it is ({memory.needed / GIB:.0f} GiB). It does with"
    return "vLLM's share does not hold its weights and two long sequences. It fits with"


def _model_lines(shapes: Shapes, options: Options) -> list[str]:
    from mmr1_trl.planning.memory import pass_tokens, trained_parameters

    parts = ", ".join(f"{name} {count / 1e6:,.0f}" for name, count in shapes.parameters.items() if count)
    tokens, prompts = pass_tokens(shapes, options)
    picture = shapes.picture_tokens(options.max_pixels)
    trained = "adapters" if options.adapters else "weights"
    number = trained_parameters(shapes, options)[0]
    return [
        f"parameters   {shapes.total / 1e6:,.0f} million ({parts}); {number / 1e6:,.0f} million {trained} trained",
        f"a pass       {options.micro} rollouts, {prompts:g} prompts of {options.text_tokens} + {picture} tokens of a "
        f"picture, completions of {options.completion}: {tokens:,.0f} tokens",
        f"a batch      {options.rollouts:,} rollouts of {options.rollouts // options.group:,} prompts, "
        f"{options.updates:g} updates",
    ]


def _memory_lines(memory: Memory, options: Options) -> list[str]:
    from mmr1_trl.planning.memory import GIB

    lines = ["memory of each device, GiB"]
    lines += [f"  {_NAMES[name]:<32}{value / GIB:>7.1f}" for name, value in memory.parts.items() if value >= 5e7]
    lines.append(f"  {'while updating':<32}{memory.update / GIB:>7.1f}")
    lines.append(f"  {'while sampling':<32}{memory.sampling / GIB:>7.1f}")
    lines.append(f"  {'with slack and context':<32}{memory.needed / GIB:>7.1f} of {options.memory:g}")
    if options.vllm == "colocate":
        lines.append(f"  vLLM holds {max(memory.sequences, 0):,.0f} of the longest sequences at once")
    return lines


def _cost_lines(options: Options, cost: Cost) -> list[str]:
    lines = [
        f"work         {cost.train_flops / 1e15:,.1f} PFLOP training and {cost.sample_flops / 1e15:,.1f} sampling a "
        f"batch; {cost.update_flops / 1e15:,.1f} PFLOP an update",
        f"             {cost.text_tokens:,.0f} tokens through the text layers, {cost.patches:,.0f} patches "
        "through the tower",
    ]
    if cost.traffic:
        lines.append(f"traffic      {cost.traffic / 1e9:,.1f} GB from each device an update")
    low, high = cost.update
    return [*lines, f"time         {_time(low)} to {_time(high)} an update, sampling included "
            f"({_time(cost.sampling[0])} to {_time(cost.sampling[1])} a batch)"]  # fmt: skip


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def as_json(shapes: Shapes, asked: Options, fitting: Options, changes: list[Change]) -> dict[str, Any]:
    """Return a plan for `--json`; the arguments are those of [`report_lines`]."""
    from dataclasses import asdict

    from mmr1_trl.planning.cost import estimate_cost
    from mmr1_trl.planning.memory import estimate

    memory = estimate(shapes, fitting)
    return {
        "model": {name: value for name, value in asdict(shapes).items() if name != "linears"},
        "fits_as_it_is": not changes,
        "asked": asdict(asked) | {"memory_bytes": estimate(shapes, asked).needed},
        "options": asdict(fitting),
        "changes": [asdict(change) for change in changes],
        "memory": asdict(memory),
        "cost": asdict(estimate_cost(shapes, fitting, memory)),
    }
