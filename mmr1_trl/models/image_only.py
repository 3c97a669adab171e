# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Processors without their parts for videos and sound, for environments without torchvision."""

import inspect
from functools import cache
from typing import Any

import transformers
from transformers import ProcessorMixin

from mmr1_trl.errors import BadInputError


class _ImageOnly(ProcessorMixin):
    """
    What a processor without its parts for videos and sound becomes: those can only be built where torchvision is.

    It comes between a family's processor class and [`~transformers.ProcessorMixin`], which reads the parts of a
    processor from the signature of `__init__`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        left = {name: value for name, value in kwargs.items() if name not in _OTHER_PARTS}
        super().__init__(*args, **left)  # positional ones beyond the parts that are left are not looked at

    @classmethod
    def validate_init_kwargs(cls, processor_config: Any, valid_kwargs: Any) -> Any:
        """Divide what a file says into arguments of `__init__` and others; upstream does by the code of `__init__`."""
        return ProcessorMixin.validate_init_kwargs(processor_config, [*inspect.signature(cls.__init__).parameters])

    def to_dict(self) -> dict[str, Any]:
        """Serialize with a video part, which the class of the same name wants where torchvision is installed."""
        output = super().to_dict()
        image_config = {k: v for k, v in output["image_processor"].items() if k != "image_processor_type"}
        name = type(self).__name__.removesuffix("Processor").replace("Qwen2_5_VL", "Qwen2VL")
        return output | {"video_processor": image_config | {"video_processor_type": f"{name}VideoProcessor"}}


_OTHER_PARTS = ("video_processor", "feature_extractor")


@cache
def image_only(name: str) -> type[ProcessorMixin]:
    """
    Return the class of a family's processor without its parts for videos and sound.

    Args:
        name (`str`):
            Name of the class in transformers, such as `"Qwen2_5_VLProcessor"`. The class here has the same, because
            `save_pretrained` writes it into the files: a folder that is saved here then loads with plain
            `AutoProcessor` elsewhere.
    """
    upstream: Any = getattr(transformers, name)
    signature = inspect.signature(upstream.__init__)
    left = [parameter for parameter in signature.parameters.values() if parameter.name not in _OTHER_PARTS]
    signature = signature.replace(parameters=left)

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        given = signature.bind(self, *args, **kwargs).arguments
        if given.get("tokenizer") is None:
            raise BadInputError("A processor needs a tokenizer.")
        options = given.pop("kwargs", {})
        others = {other: None for other in _OTHER_PARTS if other in inspect.signature(upstream.__init__).parameters}
        upstream.__init__(**given, **others, **options)

    __init__.__signature__ = signature  # type: ignore[attr-defined]
    methods = {"__init__": __init__, "__module__": __name__, "__doc__": upstream.__doc__}
    # That of SmolVLM asks for the video part even where there is no video.
    methods["apply_chat_template"] = ProcessorMixin.apply_chat_template
    return type(name, (upstream, _ImageOnly), methods)
