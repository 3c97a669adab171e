# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The processors of the Qwen-VL families without their video part, for environments without torchvision."""

from typing import Any

import transformers
from transformers import PreTrainedTokenizerBase, ProcessorMixin

from mmr1_trl.errors import BadInputError


class _ImageOnlyMixin:
    """
    A Qwen processor without the video part, whose class can only be built where torchvision is installed.

    transformers reads the parts of a processor from the signature of `__init__`, hence one without `video_processor`.
    """

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        chat_template: str | None = None,
        **kwargs: Any,
    ):
        if tokenizer is None:
            raise BadInputError("A processor needs a tokenizer.")
        self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
        self.vision_start_token, self.vision_end_token = "<|vision_start|>", "<|vision_end|>"
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
        self.video_token_id = tokenizer.convert_tokens_to_ids(self.video_token)
        self.vision_start_token_id = tokenizer.convert_tokens_to_ids(self.vision_start_token)
        self.vision_end_token_id = tokenizer.convert_tokens_to_ids(self.vision_end_token)
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, Any]:
        """Serialize with a video part, which the class of the same name wants where torchvision is installed."""
        output = ProcessorMixin.to_dict(self)  # type: ignore[arg-type]
        image_config = {k: v for k, v in output["image_processor"].items() if k != "image_processor_type"}
        kind = "Qwen3VLVideoProcessor" if isinstance(self, transformers.Qwen3VLProcessor) else "Qwen2VLVideoProcessor"
        return output | {"video_processor": image_config | {"video_processor_type": kind}}


# The subclasses carry the upstream names, because `save_pretrained` writes the class name into the files: a folder
# that is saved here then loads with plain `AutoProcessor` elsewhere.
class Qwen2VLProcessor(_ImageOnlyMixin, transformers.Qwen2VLProcessor): ...


class Qwen2_5_VLProcessor(_ImageOnlyMixin, transformers.Qwen2_5_VLProcessor): ...


class Qwen3VLProcessor(_ImageOnlyMixin, transformers.Qwen3VLProcessor): ...


# By `config.model_type`.
IMAGE_ONLY: dict[str, type[ProcessorMixin]] = {
    "qwen2_vl": Qwen2VLProcessor,
    "qwen2_5_vl": Qwen2_5_VLProcessor,
    "qwen3_vl": Qwen3VLProcessor,
    "qwen3_vl_moe": Qwen3VLProcessor,
}
