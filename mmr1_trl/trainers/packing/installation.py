# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Puts packing before the layers of a model's text part, and prompts that are the same into one prefill.

The seam is the `forward` of the text model: what comes in are token embeddings with the pictures' features already in
place, what goes out are hidden states, and nothing above or below needs to know that only distinct tokens passed.
"""

import contextlib
import functools
import types
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from accelerate import Accelerator, DistributedType
from transformers import (
    MODEL_MAPPING,
    Glm4vTextModel,
    LlamaModel,
    MistralModel,
    Qwen2_5_VLTextModel,
    Qwen2Model,
    Qwen2VLTextModel,
    Qwen3Model,
    Qwen3VLTextModel,
)
from transformers.utils import logging

from mmr1_trl.trainers.packing.attention import ATTENTIONS, PLAN, let_attention_pack
from mmr1_trl.trainers.packing.plan import Plan, first_equal, make_plan, packed_size
from mmr1_trl.trainers.rollouts import sum_over_ranks


logger = logging.get_logger(__name__)

TEXT_MODELS = (
    Qwen2VLTextModel, Qwen2_5_VLTextModel, Qwen3VLTextModel, Glm4vTextModel, Qwen2Model, Qwen3Model, LlamaModel,
    MistralModel,
)  # fmt: skip

# A batch is packed if at least this share of its tokens need not be computed, and so many for each of its prompts and
# completions, which attention then takes one by one. With less, packing costs what it saves.
SHARE_SPARED = 0.1
TOKENS_SPARED = 32


class SharedPrompts:
    """
    Computes each distinct prompt once per forward pass, and padding not at all.

    Rows share a prompt if the text model would be given the same for it, number by number: embeddings with the
    pictures' features, positions, and the features that enter deeper layers. Two prompts that differ in their picture
    only are two prompts, and nothing has to be known of where they come from.
    """

    def __init__(self) -> None:
        self.active = False
        self.asked = 0
        self.computed = 0
        self.last = (0, 0)  # of the last forward pass: tokens asked for, tokens computed
        self._completion_length: int | None = None  # while forward passes over completions are made
        self._sampling = False

    def install(self, text_model: Any) -> None:
        """
        Put packing before the layers of a text model.

        Args:
            text_model (one of `TEXT_MODELS`):
                Its attention is one of `ATTENTIONS`.
        """

        @functools.wraps(type(text_model).forward)
        def forward(text_model: Any, *args: Any, **kwargs: Any) -> Any:
            plain = functools.partial(type(text_model).forward, text_model)
            if args or (self._completion_length is None and not self._sampling):
                return plain(*args, **kwargs)
            return self._forward(text_model, plain, kwargs)

        let_attention_pack(text_model.config._attn_implementation)
        text_model.forward = types.MethodType(forward, text_model)  # a method, so that a copy's is the copy's
        self.active = True

    @contextlib.contextmanager
    def completions(self, length: int) -> Iterator[None]:
        """
        Pack the forward passes that are made inside.

        Args:
            length (`int`):
                Columns of the completions, padding included. Those before them are the prompts'.
        """
        self._completion_length = length
        try:
            yield
        finally:
            self._completion_length = None

    @contextlib.contextmanager
    def sampling(self) -> Iterator[None]:
        """Compute the keys and values of each distinct prompt once in the generations that are made inside."""
        self._sampling = True
        try:
            yield
        finally:
            self._sampling = False

    def _forward(self, text_model: Any, plain: Any, kwargs: dict[str, Any]) -> Any:
        cache = kwargs.get("cache", kwargs.get("past_key_values"))
        prefill = self._completion_length is None
        if prefill and (cache is None or cache.get_seq_length() > 0):
            return plain(**kwargs)
        if kwargs.get("inputs_embeds") is None:
            kwargs["inputs_embeds"] = text_model.get_input_embeddings()(kwargs.pop("input_ids"))
        embeds = kwargs["inputs_embeds"]
        inputs = _Inputs(embeds, **{name: kwargs.get(name) for name in _Inputs.OPTIONAL})
        rows, columns = embeds.shape[:2]
        self._count(rows * columns, rows * columns)
        mask = kwargs.get("attention_mask")
        if mask is None:  # which means that nothing is padding
            mask = torch.ones(rows, columns, dtype=torch.long, device=embeds.device)
        known = isinstance(mask, torch.Tensor) and mask.ndim == 2 and (cache is not None) == prefill
        if not known or columns <= TOKENS_SPARED:
            return plain(**kwargs)
        width = columns - (self._completion_length or 0)
        if prefill:
            return self._prefill(plain, kwargs, inputs, inputs.first_equal(mask, width), cache)
        real = mask.cpu().bool()
        # Nothing is compared where even equal prompts would not be worth it.
        if not is_worth_it(real.numel(), *packed_size(real, width, [0] * rows)):
            return plain(**kwargs)
        owners = inputs.first_equal(mask, width)
        if not is_worth_it(real.numel(), *packed_size(real, width, owners)):
            return plain(**kwargs)
        plan = make_plan(mask, width, owners)
        self._count(0, plan.num_tokens - rows * columns)
        # A mask of four dimensions is taken for one that is ready, and none is made. The plan takes its place.
        ready = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=embeds.device)
        output = plain(**kwargs | inputs.packed(plan) | {"attention_mask": ready, "use_cache": False, PLAN: plan})
        output.last_hidden_state = plan.unpack(output.last_hidden_state)
        return output

    def _prefill(self, plain: Any, kwargs: dict[str, Any], inputs: "_Inputs", owners: list[int], cache: Any) -> Any:
        distinct = sorted(set(owners))
        if len(distinct) == len(owners):
            return plain(**kwargs)
        device = inputs.embeds.device
        rows = torch.tensor(distinct, device=device)
        mask = kwargs.get("attention_mask")
        output = plain(**kwargs | inputs.selected(rows) | {"attention_mask": None if mask is None else mask[rows]})
        self._count(0, -(len(owners) - len(distinct)) * inputs.embeds.size(1))
        copies = torch.tensor([distinct.index(owner) for owner in owners], device=device)
        cache.batch_select_indices(copies)
        output.last_hidden_state = output.last_hidden_state[copies]
        return output

    def _count(self, asked: int, computed: int) -> None:
        """Count a forward pass, or that it computes less than was asked for."""
        self.last = (asked, computed) if asked else (self.last[0], self.last[1] + computed)
        self.asked += asked
        self.computed += computed

    @contextlib.contextmanager
    def counted(self, metrics: dict[str, list[float]]) -> Iterator[None]:
        """Add the tokens that all ranks' forward passes inside were asked for, and that they computed, to metrics."""
        before = self.asked, self.computed
        yield
        if self.active:
            asked, computed = sum_over_ranks(
                torch.tensor([self.asked - before[0], self.computed - before[1]])
            ).tolist()
            metrics["tokens/asked"].append(float(asked))
            metrics["tokens/computed"].append(float(computed))

    def share_saved(self, metrics: dict[str, list[float]]) -> dict[str, float]:
        """The share of the counted tokens that was not computed, to be logged."""
        asked = sum(metrics["tokens/asked"]) if self.active else 0.0
        return {"tokens/share_saved": 1 - sum(metrics["tokens/computed"]) / asked} if asked else {}


def is_worth_it(asked: int, computed: int, segments: int) -> bool:
    """Whether a batch spares enough tokens to be packed into so many prompts and completions."""
    return asked - computed >= max(SHARE_SPARED * asked, TOKENS_SPARED * segments)


class _Inputs:
    """What a text model is given for a batch of rows, beside the mask."""

    OPTIONAL = ("position_ids", "visual_pos_masks", "deepstack_visual_embeds")

    def __init__(
        self, embeds: torch.Tensor, position_ids: Any, visual_pos_masks: Any, deepstack_visual_embeds: Any
    ) -> None:
        self.embeds = embeds
        batch, length = embeds.shape[:2]
        if position_ids is None:
            position_ids = torch.arange(length, device=embeds.device).unsqueeze(0)
        # (B, L), or (axes, B, L): time, height and width of a picture's tokens, in some families the text's before
        self.positions = position_ids.expand(*position_ids.shape[:-2], batch, length)
        self.visual = visual_pos_masks
        self.deepstack = deepstack_visual_embeds or []
        if self.visual is not None:
            # Of each position the number of its features, which are listed row by row.
            self.features = (self.visual.flatten().cumsum(0) - 1).view_as(self.visual)

    def first_equal(self, mask: torch.Tensor, prompt_length: int) -> list[int]:
        """For each row the first one with the same prompt."""
        prompts = self.embeds[:, :prompt_length].detach()
        positions = self.positions[..., :prompt_length].movedim(-2, 0)
        # One number of each embedding tells most prompts apart.
        values = torch.stack((prompts[..., 0].float(), mask[:, :prompt_length].float()), dim=1)
        keys = [row.tobytes() for row in values.cpu().numpy()]

        def same(one: int, other: int) -> bool:
            pairs = [(prompts[one], prompts[other]), (positions[one], positions[other])]
            if self.visual is not None:
                places = [self.visual[row, :prompt_length] for row in (one, other)]
                pairs.append((places[0], places[1]))
                first, second = (self.features[row, :prompt_length][at] for row, at in zip((one, other), places))
                pairs += [(layer[first], layer[second]) for layer in self.deepstack]
            return all(torch.equal(*pair) for pair in pairs)

        return first_equal(keys, same)

    def packed(self, plan: Plan) -> dict[str, Any]:
        """The inputs of a plan's tokens, as one row."""
        positions = self.positions[..., plan.rows, plan.columns].unsqueeze(-2)
        packed: dict[str, Any] = {"inputs_embeds": plan.pack(self.embeds), "position_ids": positions}
        if self.visual is not None:
            visual = packed["visual_pos_masks"] = plan.pack(self.visual)
            features = plan.pack(self.features)[visual]
            packed["deepstack_visual_embeds"] = [layer[features] for layer in self.deepstack]
        return packed

    def selected(self, rows: torch.Tensor) -> dict[str, Any]:
        """The inputs of some rows."""
        selected = {"inputs_embeds": self.embeds[rows], "position_ids": self.positions[..., rows, :]}
        if self.visual is not None:
            visual = selected["visual_pos_masks"] = self.visual[rows]
            features = self.features[rows][visual]
            selected["deepstack_visual_embeds"] = [layer[features] for layer in self.deepstack]
        return selected


# ---- Set-up ----


def prepare_sharing(
    args: Any, models: Sequence[torch.nn.Module], accelerator: Accelerator, tools: Any = None
) -> SharedPrompts:
    """
    Let the models of a run compute each distinct prompt once.

    Args:
        args ([`RLVRConfig`]):
            The run's options.
        models (`Sequence[torch.nn.Module]`):
            The policy, and the reference model where there is one; not yet wrapped for training.
        accelerator ([`~accelerate.Accelerator`]):
            What will wrap them.
        tools (`Sequence`, *optional*):
            Tools that completions may call.

    Returns:
        [`SharedPrompts`], not active where models take their own path; the log says why.
    """
    sharing = SharedPrompts()
    if args.share_prompts == "off":
        return sharing
    if (reason := _reason_against(args, models, accelerator, tools)) is not None:
        logger.warning(f"share_prompts: prompts are computed for each rollout, because {reason}.")
        return sharing
    for model in models:
        sharing.install(find_text_model(model))
    return sharing


def find_text_model(model: torch.nn.Module) -> Any:
    """Return the text part of a model, or `None` if it is none of `TEXT_MODELS`."""
    return next((module for module in model.modules() if type(module) in TEXT_MODELS), None)


def expected_tokens(config: Any, prompt: int, completion: int, rows: int, group: int) -> tuple[int, int]:
    """
    Predict the tokens of one micro-batch if all its prompts and completions were of the same length.

    Args:
        config (`PreTrainedConfig`):
            The model's.
        prompt, completion (`int`):
            Tokens of each.
        rows (`int`):
            Completions of the micro-batch.
        group (`int`):
            Completions of a prompt, which are side by side.

    Returns:
        `tuple[int, int]`: Tokens as they are asked for, and as they are computed: no fewer where the model is none of
        those that are packed, or too little is spared.
    """
    prompts = -(-rows // group)
    asked, computed = rows * (prompt + completion), prompts * prompt + rows * completion
    text_config = type(config.get_text_config())
    known = text_config in MODEL_MAPPING and MODEL_MAPPING[text_config] in TEXT_MODELS
    return asked, computed if known and is_worth_it(asked, computed, prompts + rows) else asked


def _reason_against(
    args: Any, models: Sequence[torch.nn.Module], accelerator: Accelerator, tools: Any = None
) -> str | None:
    for model in models:
        text_model = find_text_model(model)
        if text_model is None:
            names = ", ".join(family.__name__ for family in TEXT_MODELS)
            return f"the text part of {type(model).__name__} is none of {names}"
        config = text_model.config
        if config._attn_implementation not in ATTENTIONS:
            return f"attention is {config._attn_implementation!r}, and not one of {', '.join(ATTENTIONS)}"
        windows = getattr(config, "sliding_window", None) if isinstance(text_model, MistralModel) else None
        if windows or set(getattr(config, "layer_types", None) or ["full_attention"]) != {"full_attention"}:
            return "it has layers that do not see the whole prompt"
    if args.torch_compile:
        return "torch.compile would compile anew for each number of tokens"
    if tools:
        return "completions with calls of tools have not been tried"
    if args.use_transformers_continuous_batching:
        return "continuous batching has an attention of its own"
    if accelerator.distributed_type == DistributedType.FSDP and not accelerator.is_fsdp2:
        return "it has been tried with version 2 of FSDP only (fsdp_version: 2)"
    return None
