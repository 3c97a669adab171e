# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Nothing broken goes up: a folder is loaded the way its readers will load it, before the first byte is sent."""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any

from transformers.utils import logging

from mmr1_trl.errors import BadInputError, first_line
from mmr1_trl.run_folder import ADAPTER, RUN_FILE


def check_files(folder: Path) -> None:
    """
    Look at the files of a model or an adapter without building anything: quick, and harmless beside a training.

    Args:
        folder (`Path`):
            Folder of a model or an adapter.

    Raises:
        [`BadInputError`]: Weights, config, processor or chat template are missing, half-written or not finite.
    """
    adapter = (folder / ADAPTER).is_file()
    for name in (ADAPTER,) if adapter else ("config.json",):
        _read_json(folder, name)
    for index in sorted(folder.glob("*.index.json")):
        _weight_files(folder, index.name)
    if not adapter or (folder / "tokenizer_config.json").is_file():
        _require_processor_files(folder)
    _check_weights(folder, adapter)


def check_model(folder: Path, trust_remote_code: bool = False) -> None:
    """
    Load a model folder as a reader would: processor, chat template, generation config, and the weights by name and
    shape (on the meta device, so that no memory is needed).

    Args:
        folder (`Path`):
            Folder of a model.
        trust_remote_code (`bool`, *optional*, defaults to `False`):
            Whether the model's own code may run.

    Raises:
        [`BadInputError`]: Something does not load, or weights are missing, left over or not finite.
    """
    from transformers import AutoConfig, GenerationConfig

    from mmr1_trl.models import load_processor
    from mmr1_trl.models.processing import auto_class

    if (folder / ADAPTER).is_file() and not (folder / "config.json").is_file():
        raise BadInputError(
            f"{folder} holds an adapter, not a model. Upload it by `mmr1 push adapter`, or as a whole model by "
            "--merge_adapter."
        )
    check_files(folder)
    load_processor(folder, trust_remote_code=trust_remote_code)
    try:
        if (folder / "generation_config.json").is_file():
            GenerationConfig.from_pretrained(str(folder)).validate(strict=True)
        config = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
        with _quiet():
            loaded: Any = auto_class(config).from_pretrained(
                folder,
                config=config,
                device_map="meta",
                output_loading_info=True,
                trust_remote_code=trust_remote_code,
            )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise BadInputError(f"{folder} does not load: {first_line(error)}") from error
    loading = loaded[1]
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if loading.get(kind):
            some = ", ".join(sorted(str(key) for key in loading[kind])[:3])
            raise BadInputError(
                f"{folder} does not load: {len(loading[kind])} {kind.replace('_keys', '')} weights ({some}). Save the "
                "model again with `save_pretrained`."
            )


def check_adapter(folder: Path, base_model: str | None = None) -> str:
    """
    Check an adapter folder: weights, processor if there is one, and a base model that others can load as well.

    Args:
        folder (`Path`):
            Folder of a PEFT adapter.
        base_model (`str`, *optional*):
            Hub id to name as the base model instead of the recorded one.

    Returns:
        `str`: The base model's Hub id.

    Raises:
        [`BadInputError`]: It is no adapter, does not load, or was trained on a model that only this machine has.
    """
    if not (folder / ADAPTER).is_file():
        raise BadInputError(f"{folder} holds no adapter (no {ADAPTER}). For a whole model: `mmr1 push model`.")
    check_files(folder)
    base = base_model or str(_read_json(folder, ADAPTER).get("base_model_name_or_path") or "")
    require_public_base(base)
    if (folder / "tokenizer_config.json").is_file() and (folder / "config.json").is_file():
        from mmr1_trl.models import load_processor

        load_processor(folder)
    return base


def require_public_base(base: str) -> None:
    """
    Refuse a base model that cannot be named on the Hub.

    Raises:
        [`BadInputError`]: `base` is empty or a folder.
    """
    if not base or base.startswith(("/", ".", "~")) or "\\" in base or base.count("/") > 1 or Path(base).exists():
        raise BadInputError(
            f"The adapter's base model {base!r} is known on this machine only, so that nobody else could use the "
            "adapter. Upload the base model first (`mmr1 push model FOLDER REPO_ID`) and name it: train with "
            "--model_name_or_path REPO_ID, or give --base_model REPO_ID to `mmr1 push adapter`. Or upload both as "
            "one model: `mmr1 push model --merge_adapter`."
        )


def json_or_empty(path: Path) -> Any:
    """Return the content of a JSON file, an empty `dict` where there is none or it is half-written."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}


def is_text_only(folder: Path, facts: dict[str, Any]) -> bool:
    """Whether the model in a folder reads no pictures: its config says it, else what its run wrote down."""
    config = json_or_empty(folder / "config.json")
    return "vision_config" not in config if config else bool(facts.get("text_only"))


def _require_processor_files(folder: Path) -> None:
    if not is_text_only(folder, json_or_empty(folder / RUN_FILE)) and not any(
        (folder / name).is_file() for name in ("processor_config.json", "preprocessor_config.json")
    ):
        raise BadInputError(
            f"{folder} has no processor (processor_config.json), without which nobody can use the model. Save one "
            "beside the weights with `processor.save_pretrained(folder)`."
        )
    config = _read_json(folder, "tokenizer_config.json")
    if (
        not ((folder / "chat_template.jinja").is_file() or config.get("chat_template"))
        and not (folder / "chat_template.json").is_file()
    ):
        raise BadInputError(f"{folder} has no chat template (chat_template.jinja), so that no prompt can be written.")


def _weight_files(folder: Path, index: str) -> list[str]:
    """Return the files that an index names, which have to be files of its folder."""
    weights = _read_json(folder, index).get("weight_map")
    if not isinstance(weights, dict) or not all(isinstance(name, str) for name in weights.values()):
        raise BadInputError(f"{folder / index} names no files (weight_map). Save the model again.")
    names = sorted(set(weights.values()))
    for name in names:
        if not name or name != PurePath(name).name or "\\" in name or name == "..":
            raise BadInputError(
                f"{folder / index} names {name!r}, which is no file of its folder. Save the model again."
            )
    return names


def _check_weights(folder: Path, adapter: bool) -> None:
    """Open every safetensors file and look for numbers that are none."""
    import torch
    from safetensors import SafetensorError, safe_open

    files = sorted(folder.glob("adapter_model*.safetensors" if adapter else "model*.safetensors"))
    index = folder / "model.safetensors.index.json"
    if index.is_file() and not adapter:
        files = [folder / name for name in _weight_files(folder, index.name)]
    if not files:
        raise BadInputError(
            f"{folder} holds no weights ({'adapter_model' if adapter else 'model'}.safetensors). Name the output_dir "
            "of a finished run, or one of its checkpoint folders."
        )
    for file in files:
        try:
            with safe_open(file, "pt") as weights:
                for name in weights.keys():
                    tensor = weights.get_tensor(name)
                    if tensor.is_floating_point() and tensor.itemsize > 1 and not torch.isfinite(tensor).all():
                        raise BadInputError(
                            f"{file} is broken: {name} holds NaN or infinite numbers. Take an older checkpoint."
                        )
        except (OSError, SafetensorError) as error:
            raise BadInputError(f"{file} is missing or half-written: {first_line(error)}.") from error


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    try:
        value = json.loads((folder / name).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadInputError(f"{folder} has no {name}, so it is not a folder that can be loaded.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise BadInputError(f"{folder / name} is not valid JSON: {error}.") from error
    if not isinstance(value, dict):
        raise BadInputError(f"{folder / name} holds no settings, but a {type(value).__name__}. Save it again.")
    return value


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back the loading report of transformers; what is wrong is said in one line."""
    level, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.set_verbosity(level)
        if has_bars:
            logging.enable_progress_bar()
