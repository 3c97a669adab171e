# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The sizes of a model, read off its config and a build without weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from mmr1_trl.errors import BadInputError, first_line
from mmr1_trl.models.families import FAMILIES, Family


LARGEST_PICTURE = 1_003_520  # pixels: the limit of Qwen2-VL's processor class, where a run has none
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")


@dataclass(frozen=True)
class Linear:
    """A linear layer that an adapter may sit on: its part of the model, last name and two sizes."""

    part: str
    name: str
    inputs: int
    outputs: int


@dataclass(frozen=True)
class Stack:
    """Layers of one kind: their number and sizes."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int


@dataclass(frozen=True)
class Shapes:
    """
    The sizes of a model.

    Args:
        model (`str`), model_type (`str`):
            What the user calls it, and its family.
        parameters (`dict[str, int]`):
            Numbers of `tower`, `merger`, `text` (its layers), `embedding` and `head` (0 where it is the embedding).
        active (`int`):
            Parameters of the text layers that a token passes through: fewer than `text` for mixtures of experts.
        text (`Stack`), vision (`Stack`, *optional*):
            The layers.
        full_attention (`int`):
            Text layers whose keys and values are kept; the others have a state of constant size.
        vocabulary (`int`), context (`int`):
            Words, and the longest sequence in tokens.
        patch (`int`), merge (`int`):
            Pixels of a side of a patch, and patches of a side of a token.
        patch_values (`int`):
            Numbers that a patch is read from.
        fixed_tokens (`int`):
            Tokens of a picture in a family that brings all to one size; 0 where they depend on the size.
        linears (`tuple[Linear, ...]`):
            Where adapters may sit.
    """

    model: str
    model_type: str
    parameters: dict[str, int]
    active: int
    text: Stack
    vision: Stack | None
    full_attention: int
    vocabulary: int
    context: int
    patch: int
    merge: int
    patch_values: int
    fixed_tokens: int
    linears: tuple[Linear, ...]

    @property
    def total(self) -> int:
        """All parameters."""
        return sum(self.parameters.values())

    def picture_tokens(self, pixels: int | None) -> int:
        """Tokens of the largest picture under a limit of its area in pixels."""
        if self.vision is None:
            return 0
        if self.fixed_tokens or pixels is None:
            return self.fixed_tokens or self.picture_tokens(LARGEST_PICTURE)
        return max(1, pixels // (self.patch * self.merge) ** 2)

    @property
    def shares_prompts(self) -> bool:
        """Whether a prompt can pass once for its group: every text layer keeps its keys and values."""
        return self.full_attention == self.text.layers

    def trainable(self, freeze_tower: bool, freeze_merger: bool) -> int:
        """Parameters that full fine-tuning trains."""
        return self.total - sum(self.parameters[part] for part in _frozen(freeze_tower, freeze_merger))

    def adapter(self, rank: int, targets: list[str], freeze_tower: bool, freeze_merger: bool) -> int:
        """Parameters of LoRA adapters of a rank on the linear layers of these names, or on `["all-linear"]`."""
        frozen = _frozen(freeze_tower, freeze_merger)
        return sum(
            rank * (linear.inputs + linear.outputs)
            for linear in self.linears
            if linear.part not in frozen and ("all-linear" in targets or linear.name in targets)
        )


def _frozen(freeze_tower: bool, freeze_merger: bool) -> tuple[str, ...]:
    return ("tower",) * freeze_tower + ("merger",) * (freeze_tower and freeze_merger)


def read_shapes(model: str, trust_remote_code: bool = False, **hub_kwargs: str) -> Shapes:
    """
    Read the sizes of a model without its weights.

    Args:
        model (`str`):
            A folder, a model that is built here, or an id on the Hub, of which only the config is looked up.
        trust_remote_code (`bool`, *optional*, defaults to `False`):
            Whether to run code that its repository brings along.
        **hub_kwargs:
            Such as `revision`.

    Returns:
        [`Shapes`]

    Raises:
        [`BadInputError`]: There is no such config, or the installed transformers has no model for it.
    """
    from accelerate import init_empty_weights

    from mmr1_trl.models.processing import auto_class, load_config

    config = load_config(model, trust_remote_code, **hub_kwargs)
    try:
        with init_empty_weights(include_buffers=True):
            built = auto_class(config).from_config(config, trust_remote_code=trust_remote_code)
    except Exception as error:  # what is in a config can make a model's class raise anything
        raise BadInputError(
            f"The config of {model!r} (model_type {config.model_type!r}) makes no model with the installed "
            f"transformers: {first_line(error)}"
        ) from error
    family = FAMILIES.get(config.model_type, Family("", ""))
    text = config.get_text_config().to_dict()
    sizes, linears = _parameters(built, family, text)
    kinds = text.get("layer_types") or ["full_attention"] * text["num_hidden_layers"]
    vision = getattr(config, "vision_config", None)
    vision_values = {} if vision is None else vision.to_dict()
    patch = _side(vision_values.get("patch_size") or 1)
    merge = vision_values.get("spatial_merge_size") or 1
    return Shapes(
        model=model,
        model_type=config.model_type,
        parameters=sizes,
        active=sizes["text"] - _idle(built, text),
        text=_stack(text),
        vision=_stack(vision_values) if vision_values else None,
        full_attention=sum(kind == "full_attention" for kind in kinds),
        vocabulary=text["vocab_size"],
        context=text.get("max_position_embeddings") or 0,
        patch=patch,
        merge=merge,
        patch_values=3 * patch**2 * (vision_values.get("temporal_patch_size") or 1),
        fixed_tokens=0 if family.size_counts and config.model_type in FAMILIES else _fixed(config, vision_values),
        linears=linears,
    )


def _parameters(model: Any, family: Family, text: dict[str, Any]) -> tuple[dict[str, int], tuple[Linear, ...]]:
    sizes = dict.fromkeys(("tower", "merger", "text", "embedding", "head"), 0)
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()

    def part(name: str) -> str:
        inside = f".{name}."
        if any(f".{merger}." in inside for merger in family.merger):
            return "merger"
        return "tower" if any(f".{tower}." in inside for tower in family.tower) else "text"

    tied = head is not None and head.weight is embedding.weight or bool(text.get("tie_word_embeddings"))
    for name, parameter in model.named_parameters():
        if parameter is embedding.weight:
            sizes["embedding"] += parameter.numel()
        elif head is not None and parameter is head.weight:
            sizes["head"] += 0 if tied else parameter.numel()
        else:
            sizes[part(name)] += parameter.numel()
    linears = tuple(
        Linear(part(name), name.rsplit(".", 1)[-1], module.in_features, module.out_features)
        for name, module in model.named_modules()
        if type(module).__name__ == "Linear" and module is not head
    )
    return sizes, linears


def _idle(model: Any, text: dict[str, Any]) -> int:
    """Parameters of the experts that a token does not pass through."""
    number, used = next((text[name] for name in _EXPERTS if text.get(name)), 0), text.get("num_experts_per_tok") or 0
    experts = sum(p.numel() for name, p in model.named_parameters() if ".experts." in name)
    return round(experts * (1 - used / number)) if number else 0


def _stack(values: dict[str, Any]) -> Stack:
    def first(*names: str) -> int:
        return next((int(values[name]) for name in names if isinstance(values.get(name), int | float)), 0)

    hidden = first("embed_dim", "hidden_size")
    heads = first("num_attention_heads", "num_heads") or 1
    return Stack(
        layers=first("num_hidden_layers", "depth"),
        hidden=hidden,
        intermediate=first("intermediate_size", "moe_intermediate_size")
        or round(hidden * (values.get("mlp_ratio") or 4)),
        heads=heads,
        kv_heads=first("num_key_value_heads") or heads,
        head_dim=first("head_dim") or hidden // heads,
    )


def _fixed(config: Any, vision: dict[str, Any]) -> int:
    values = config.to_dict()
    for name in ("image_seq_length", "mm_tokens_per_image"):
        if isinstance(values.get(name), int):
            return values[name]
    if not vision:
        return 0
    per_side = _side(vision.get("image_size") or 0) // _side(vision.get("patch_size") or 1)
    shrink = values.get("scale_factor") or 1
    return max(1, math.ceil(per_side**2 / float(shrink) ** 2)) if per_side else 256


def _side(value: Any) -> int:
    return int(value[0] if isinstance(value, list | tuple) else value)
