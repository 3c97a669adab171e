# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Stops a run whose sampler wrote the token that stands for a picture, before the model is given it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accelerate.utils import gather_object

from mmr1_trl.engines.picture_tokens import placeholder_ids
from mmr1_trl.errors import TrainingStopped
from mmr1_trl.models.processing import tokenizer_of
from mmr1_trl.trainers.guards.exhaustion import last_checkpoint
from mmr1_trl.trainers.guards.nonfinite import names


def check_completions(
    trainer: Any,
    prompts: Sequence[Sequence[dict[str, Any]]],
    completion_ids: Sequence[Sequence[int]],
    tool_mask: Sequence[Sequence[int]] | None,
    rows: Sequence[int] | None,
) -> None:
    """
    Refuse completions with a picture's or a video's token: there is no picture that the model could put in its place.

    Args:
        trainer ([`RLVRTrainer`]):
            The trainer that has sampled; every rank must call this.
        prompts (`Sequence[list[dict]]`), completion_ids (`Sequence[list[int]]`):
            The prompts of this rank as conversations, and what was sampled for each.
        tool_mask (`Sequence[list[int]]`, *optional*):
            1 for what was sampled and 0 for what tools have answered, whose pictures are there.
        rows (`Sequence[int]`, *optional*):
            The rows that the prompts are of, where they are those of the training set.

    Raises:
        [`TrainingStopped`]: On all ranks, with the first such completion.
    """
    tokens = set(placeholder_ids(trainer.model.config))
    found = [
        (number, position, token)
        for number, ids in enumerate(completion_ids)
        if not tokens.isdisjoint(ids)
        for position, token in enumerate(ids)
        if token in tokens and (tool_mask is None or tool_mask[number][position])
    ]
    named = []
    for number, position, token in found[:1]:
        text = tokenizer_of(trainer.processing_class).convert_ids_to_tokens(token)
        where = "" if rows is None else f"{names(trainer.train_dataset, rows[number : number + 1])}, "
        named.append(
            f"the sampler wrote {text!r} (token {token}), which stands for a picture or video, at "
            f"place {position + 1} of its completion for {where}{excerpt(prompts[number])!r}"
        )
    named = gather_object(named)
    if named:
        raise TrainingStopped(
            f"Step {trainer.state.global_step + 1}: {named[0]}. There is none to put in its place. The sampler is "
            "told not to write such tokens; something has overruled that, such as a logits processor or "
            "allowed_token_ids in generation_kwargs, or a server that ignores a logit_bias. "
            + last_checkpoint(Path(str(trainer.args.output_dir)))
        )


def excerpt(prompt: Sequence[dict[str, Any]], length: int = 80) -> str:
    """Return the beginning of the last message's text."""
    content = prompt[-1]["content"]
    if not isinstance(content, str):
        content = " ".join(part["text"] for part in content if part["type"] == "text")
    text = " ".join(content.split())
    return text if len(text) <= length else f"{text[:length]} ..."
