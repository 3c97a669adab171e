# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Loading processing classes: a processor, with and without torchvision, or the tokenizer of a text-only model."""

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import transformers
from jinja2 import TemplateError
from packaging.version import InvalidVersion, Version
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    ProcessorMixin,
)
from transformers.utils import find_adapter_config_file, is_torchvision_available

from mmr1_trl.errors import BadInputError, did_you_mean, first_line
from mmr1_trl.models.cache import base_model_of, check_model_name, is_built_in
from mmr1_trl.models.chat_template import try_chat_template
from mmr1_trl.models.families import FAMILIES
from mmr1_trl.models.image_only import image_only


ProcessingClass = ProcessorMixin | PreTrainedTokenizerBase  # of a vision-language model, of a text-only one


def takes_pictures(config: PreTrainedConfig) -> bool:
    """Whether a model of this config is a vision-language model; all others are text-only."""
    return type(config) in transformers.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING or hasattr(config, "vision_config")


def auto_class(config: PreTrainedConfig) -> Any:
    """Return the auto class that loads a model of this config: with pictures, or of text alone."""
    return AutoModelForImageTextToText if takes_pictures(config) else AutoModelForCausalLM


def tokenizer_of(processor: Any) -> Any:
    """Return the tokenizer of a processing class: a processor's own, or the tokenizer itself of a text-only model."""
    return processor if isinstance(processor, PreTrainedTokenizerBase) else processor.tokenizer


def as_written_for(processor: Any, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """
    Return messages as the chat template of a processing class takes them: a text-only model's wants texts.

    Args:
        processor ([`~transformers.ProcessorMixin`] or [`~transformers.PreTrainedTokenizerBase`]):
            With the template.
        messages (`list[dict]`):
            Messages whose contents are texts or blocks; of text alone for a tokenizer.

    Returns:
        `list[dict]`: The messages as they are, or with the texts of the blocks as contents.
    """
    if not isinstance(processor, PreTrainedTokenizerBase):
        return messages
    return [
        message | {"content": "\n".join(block["text"] for block in message["content"])}
        if isinstance(message["content"], list)
        else message
        for message in messages
    ]


@contextlib.contextmanager
def unpadded(processor: Any) -> Iterator[None]:
    """
    Let a processor write prompts without padding, for as long as the context lasts.

    Some pad unless they are told otherwise (Gemma 4), and TRL, which does not say, would take the padding for a part
    of the prompts.
    """
    if not isinstance(processor, ProcessorMixin):
        yield
        return
    tools: Any = processor
    tools.apply_chat_template = functools.partial(tools.apply_chat_template, processor_kwargs={"padding": False})
    try:
        yield
    finally:
        del tools.apply_chat_template


def generation_prompt(processor: Any, template_kwargs: Any = None) -> str:
    """
    Read what a chat template writes between the last message and the reply.

    Args:
        processor ([`~transformers.ProcessorMixin`] or [`~transformers.PreTrainedTokenizerBase`]):
            With the template.
        template_kwargs (`dict`, *optional*):
            Passed to the template, such as `enable_thinking`.

    Returns:
        `str`: The text, such as `"<|im_start|>assistant\\n<think>\\n"`; `""` where there is no template, or none that
        takes one message from a user.
    """
    question = "?" * 8
    content = [{"type": "text", "text": question}] if isinstance(processor, ProcessorMixin) else question
    messages = [{"role": "user", "content": content}]
    try:
        text = processor.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, **(template_kwargs or {})
        )
    except (TemplateError, TypeError, ValueError, KeyError):
        return ""  # what is wrong with it is said where a prompt is written
    return str(text).rpartition(question)[2]


def processor_class(model_type: str) -> type:
    """
    Return the class that loads the processor of a model type in this environment.

    Args:
        model_type (`str`):
            `config.model_type`, such as `"qwen2_5_vl"`.

    Returns:
        `type`: [`~transformers.AutoProcessor`], or without torchvision, of families whose processors cannot be built
        then, the same class for images alone.
    """
    name = FAMILIES[model_type].processor if model_type in FAMILIES else None
    return AutoProcessor if name is None or is_torchvision_available() else image_only(name)


def load_config(path: str | Path, trust_remote_code: bool = False, **hub_kwargs: Any) -> PreTrainedConfig:
    """
    Load the config of a model, or of the base model of an adapter.

    Args:
        path (`str` or `Path`):
            Folder or Hub id.
        trust_remote_code (`bool`, *optional*, defaults to `False`):
            Whether to run a config defined by code on the Hub.
        **hub_kwargs:
            Passed to `from_pretrained`, such as `revision`.

    Returns:
        [`~transformers.PreTrainedConfig`]: Its `model_type` names the family.

    Raises:
        BadInputError: If there is none.
    """
    where = str(path)
    check_model_name(where)
    if is_built_in(where):
        return _built_in()[0]
    try:
        config = AutoConfig.from_pretrained(where, trust_remote_code=trust_remote_code, **hub_kwargs)
    except Exception as error:  # what is in a config can make transformers raise anything
        base = _base_model(where, hub_kwargs)
        if base is None:
            if too_new := _too_new(where, trust_remote_code, hub_kwargs):
                raise BadInputError(too_new) from error
            hint = "" if Path(where).exists() else " There is no folder of that name here either."
            raise BadInputError(f"Cannot load a model config from {where!r}: {first_line(error)}{hint}") from error
        try:
            config = AutoConfig.from_pretrained(base, trust_remote_code=trust_remote_code)
        except Exception as absent:
            if too_new := _too_new(base, trust_remote_code, {}):
                raise BadInputError(f"The adapter {where!r} cannot be loaded. {too_new}") from absent
            raise BadInputError(
                f"Cannot load {base!r}, the base model of the adapter {where!r}: {first_line(absent)}"
            ) from absent
    return config


def load_processor(path: str | Path, trust_remote_code: bool = False, **kwargs: Any) -> ProcessingClass:
    """
    Load the processor (tokenizer, image processor, chat template) of a vision-language model, or the tokenizer of a
    text-only one.

    Without torchvision transformers cannot build the Qwen-VL processors, since they contain a video processor; the
    same class without its video part is loaded then. Images give the same inputs either way.

    Args:
        path (`str` or `Path`):
            Folder or Hub id of a model, or of an adapter saved with its processor.
        trust_remote_code (`bool`, *optional*, defaults to `False`):
            Whether to run a processor defined by code on the Hub.
        **kwargs:
            Passed to `from_pretrained`, such as `padding_side`, `revision`, `min_pixels` and `max_pixels`.

    Returns:
        [`~transformers.ProcessorMixin`] or [`~transformers.PreTrainedTokenizerBase`]: Of a vision-language model never
        a bare tokenizer: that would train on text alone without a word.

    Raises:
        BadInputError: If the folder has no config, processor or chat template, or the model writes no text.
    """
    where = str(path)
    hub_kwargs: dict[str, Any] = {name: kwargs[name] for name in ("revision", "token", "cache_dir") if name in kwargs}
    config = load_config(where, trust_remote_code, **hub_kwargs)
    if is_built_in(where):
        processor = _built_in()[1]
        processor.tokenizer.padding_side = kwargs.get("padding_side", "left")
        return processor
    visual = takes_pictures(config)
    part = "processor" if visual else "tokenizer"
    if not visual and type(config) not in transformers.MODEL_FOR_CAUSAL_LM_MAPPING and not hasattr(config, "auto_map"):
        raise BadInputError(
            f"{where!r} is no model that writes text (model type {config.model_type!r}). This package trains "
            "vision-language models such as 'Qwen/Qwen2.5-VL-3B-Instruct' or the built-in 'figures/tiny', and "
            "text-only ones such as 'Qwen/Qwen2.5-1.5B-Instruct'."
        )
    if missing := _missing_files(Path(where), visual):
        raise BadInputError(_no_processor(where, f"missing: {missing}", part))
    kwargs.setdefault("padding_side", "left")
    try:
        kind: Any = processor_class(config.model_type) if visual else AutoTokenizer
        processor = kind.from_pretrained(where, trust_remote_code=trust_remote_code, **kwargs)
    except ImportError as error:
        raise BadInputError(f"The {part} of {where!r} cannot be built here: {first_line(error)}") from error
    except Exception as error:  # the same, and the tokenizers raise nothing narrower
        if since := _saved_by_newer(config.transformers_version):
            raise BadInputError(
                f"The {part} of {where!r} cannot be loaded: {first_line(error)}.{since} Install that one or a newer "
                "one: pip install --upgrade transformers."
            ) from error
        raise BadInputError(_no_processor(where, first_line(error), part)) from error
    if visual and (not isinstance(processor, ProcessorMixin) or not getattr(processor, "image_processor", None)):
        raise BadInputError(_no_processor(where, f"found only a {type(processor).__name__}"))
    tokenizer = tokenizer_of(processor)
    if not visual and tokenizer.pad_token is None:  # Llama's have none; a processor's is part of its model
        tokenizer.pad_token = tokenizer.eos_token
    if not (processor.chat_template or tokenizer.chat_template):
        raise BadInputError(
            f"The {part} of {where!r} has no chat template, so that no prompt can be written. Put the "
            "chat_template.jinja of the model that it was trained from beside it."
        )
    try_chat_template(processor, where)
    return processor


def _built_in() -> tuple[PreTrainedConfig, ProcessorMixin]:
    from mmr1_trl.models.tiny_vlm import tiny_parts

    return tiny_parts()


def _base_model(where: str, hub_kwargs: dict[str, Any]) -> str | None:
    """Return the base model of an adapter, which has no model config of its own; `None` if it is no adapter."""
    try:
        file = find_adapter_config_file(where, **hub_kwargs)
    except (OSError, ValueError):
        return None
    return None if file is None else base_model_of(Path(file))


def _missing_files(folder: Path, visual: bool) -> str:
    """Name what a local folder lacks; transformers would fill some gaps with an empty tokenizer."""
    groups = [("processor_config.json", "preprocessor_config.json")] if visual else []
    groups += [("tokenizer_config.json", "tokenizer.json")]
    if not folder.is_dir():
        return ""
    return "; ".join(" or ".join(group) for group in groups if not any((folder / name).is_file() for name in group))


def _too_new(where: str, trust_remote_code: bool, hub_kwargs: dict[str, Any]) -> str:
    """Say what to do about a model that the installed transformers has no classes for; nothing where it has."""
    try:
        content, _ = PreTrainedConfig.get_config_dict(where, **hub_kwargs)
    except Exception:  # there is no config that could be read: the caller says so
        return ""
    parts = [content, *(part for part in content.values() if isinstance(part, dict))]
    names = [part["model_type"] for part in parts if isinstance(part.get("model_type"), str)]
    unknown = next((name for name in names if name not in transformers.CONFIG_MAPPING), None)
    if unknown is None:
        return ""
    said = f"{where!r} is a {unknown!r} model, which transformers {transformers.__version__} does not know."
    if "auto_map" in content and not trust_remote_code:
        return f"{said} It brings its own code: look at it, and pass --trust_remote_code true."
    since = _saved_by_newer(content.get("transformers_version"))
    near = did_you_mean(unknown, list(transformers.CONFIG_MAPPING))
    return f"{said}{since or near} Install a newer one: pip install --upgrade transformers."


def _saved_by_newer(version: Any) -> str:
    """Say so where a model was saved by a newer transformers than the installed one."""
    try:
        newer = Version(version) > Version(transformers.__version__)
    except (InvalidVersion, TypeError):
        return ""
    return f" It was saved by transformers {version}, and {transformers.__version__} is installed." if newer else ""


def _no_processor(where: str, reason: str, part: str = "processor") -> str:
    return (
        f"{where!r} is a model folder without {part} ({reason}). Save one beside the weights with "
        f"`{part}.save_pretrained(folder)`, or name the folder or Hub id of the model it was trained from."
    )
