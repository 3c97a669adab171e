# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Stops a run whose sampler wrote the token that stands for a picture, before the model is given it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from accelerate.utils import gather_object
from transformers import PreTrainedConfig

from mmr1_trl.engines.picture_tokens import placeholder_ids
from mmr1_trl.errors import TrainingStopped
from mmr1_trl.models.processing import ProcessingClass, tokenizer_of
from mmr1_trl.trainers.guards.exhaustion import last_checkpoint
from mmr1_trl.trainers.guards.nonfinite import names


class PictureTokenGuard:
    """
    Looks at every completion, of training, scoring and evaluation.

    Args:
        config ([`~transformers.PreTrainedConfig`]), processing_class ([`ProcessingClass`]):
            Of the model.
        dataset ([`~datasets.Dataset`]):
            The training rows, to name prompts.
        step (`Callable[[], int]`):
            Says how many optimizer steps were made.
        run_dir (`Path`):
            Folder of the run, with its checkpoints.
    """

    def __init__(
        self,
        config: PreTrainedConfig,
        processing_class: ProcessingClass,
        dataset: Any,
        step: Callable[[], int],
        run_dir: Path,
    ) -> None:
        self.tokens = set(placeholder_ids(config))
        self.tokenizer = tokenizer_of(processing_class)
        self.dataset, self.step, self.run_dir = dataset, step, run_dir
        self.rows: Sequence[int] | None = None  # of the prompts that are sampled next, if they are training rows

    def check(
        self,
        prompts: Sequence[Sequence[dict[str, Any]]],
        completion_ids: Sequence[Sequence[int]],
        tool_mask: Sequence[Sequence[int]] | None,
    ) -> None:
        """
        Refuse completions with a picture's or a video's token: the model has no picture to put in its place.

        Args:
            prompts (`Sequence[list[dict]]`), completion_ids (`Sequence[list[int]]`):
                The prompts of this rank as conversations, and what was sampled for each.
            tool_mask (`Sequence[list[int]]`, *optional*):
                1 for what was sampled and 0 for what tools have answered, whose pictures are there.

        Raises:
            [`TrainingStopped`]: On all ranks, which all must call this, with the first such completion.
        """
        rows, self.rows = self.rows, None
        found = [
            (number, position, token)
            for number, ids in enumerate(completion_ids)
            if not self.tokens.isdisjoint(ids)
            for position, token in enumerate(ids)
            if token in self.tokens and (tool_mask is None or tool_mask[number][position])
        ]
        named = []
        for number, position, token in found[:1]:
            text = self.tokenizer.convert_ids_to_tokens(token)
            where = "" if rows is None else f"{names(self.dataset, rows[number : number + 1])}, "
            named.append(
                f"the sampler wrote {text!r} (token {token}), which stands for a picture or video, at "
                f"place {position + 1} of its completion for {where}{excerpt(prompts[number])!r}"
            )
        named = gather_object(named)
        if named:
            raise TrainingStopped(
                f"Step {self.step() + 1}: {named[0]}. There is none to put in its place. The sampler is told not to "
                "write such tokens; something has overruled that, such as a logits processor or allowed_token_ids in "
                f"generation_kwargs, or a server that ignores a logit_bias. {last_checkpoint(self.run_dir)}"
            )


def excerpt(prompt: Sequence[dict[str, Any]], length: int = 80) -> str:
    """Return the beginning of the last message's text."""
    content = prompt[-1]["content"]
    if not isinstance(content, str):
        content = " ".join(part["text"] for part in content if part["type"] == "text")
    text = " ".join(content.split())
    return text if len(text) <= length else f"{text[:length]} ..."
