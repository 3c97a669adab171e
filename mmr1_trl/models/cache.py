# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The built-in model names and the folder they are kept in."""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmr1_trl.errors import BadInputError, did_you_mean
from mmr1_trl.run_folder import ADAPTER


TINY, COLD_START = "figures/tiny", "figures/cold_start"
SPREAD_START, UNEVEN_START = "figures/spread_start", "figures/uneven_start"
SHAPES_START = "figures/shapes_start"
DIGITS_START, CHARTS_START = "figures/digits_start", "figures/charts_start"
STARTS = (COLD_START, SPREAD_START, UNEVEN_START, SHAPES_START, DIGITS_START, CHARTS_START)
BUILT_IN = (TINY, *STARTS)
_HUB_ID = re.compile(r"[\w.-]{1,96}(/[\w.-]{1,96})?")


def is_built_in(name: str) -> bool:
    """Whether a name stands for a model that is built here (a folder of the same name wins)."""
    return name in BUILT_IN and not os.path.isdir(name)


def check_model_name(name: str, whole: bool = False) -> None:
    """
    Refuse a name that is neither a built-in model, nor the folder of one, nor of the form of a Hub id.

    Nothing is built, loaded or imported for it.

    Args:
        name (`str`):
            As given to [`~mmr1_trl.models.resolve_model`].
        whole (`bool`, *optional*, defaults to `False`):
            Whether to refuse the folder of an adapter as well.

    Raises:
        [`BadInputError`]: With the nearest name.
    """
    if os.path.isdir(name):
        _check_folder(name, whole)
    elif name.startswith("figures/"):
        if name not in BUILT_IN:
            near = did_you_mean(name, BUILT_IN)
            raise BadInputError(f"Unknown built-in model {name!r}; known: {', '.join(BUILT_IN)}.{near}")
    elif os.path.exists(name):
        raise BadInputError(f"{name} is a file. A model is a folder, a Hub id or a built-in name.")
    elif name.startswith((".", "/", "~")):
        raise BadInputError(f"There is no model folder {name[:200]!r}.")
    elif not _HUB_ID.fullmatch(name):
        raise BadInputError(
            f"{name[:200]!r} is neither a model folder here nor a model id of the Hub such as "
            "Qwen/Qwen2.5-VL-3B-Instruct (its branch or tag: --model_revision)."
        )


def _check_folder(name: str, whole: bool) -> None:
    if os.path.isfile(os.path.join(name, "config.json")):
        read_json_file(Path(name, "config.json"))
    elif not os.path.isfile(os.path.join(name, ADAPTER)):
        raise BadInputError(f"The folder {name} holds no model (no config.json).")
    elif whole:
        raise BadInputError(
            f"{name} holds an adapter, and a training starts from a whole model. Go on with its run by "
            "--resume_from_checkpoint, or merge it into its base model first (`merge_and_unload` of PEFT)."
        )
    else:
        base_model_of(Path(name, ADAPTER))


def read_json_file(path: Path) -> dict[str, Any]:
    """
    Return the JSON object in a file of a model.

    Raises:
        [`BadInputError`]: The file cannot be read, or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise BadInputError(f"{path} is nested too deeply to be the config of a model.") from None
    except (OSError, ValueError) as error:
        raise BadInputError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise BadInputError(f"{path} holds a {type(content).__name__}, not a JSON object.")
    return content


def base_model_of(path: Path) -> str:
    """
    Return the base model that an `adapter_config.json` names.

    Raises:
        [`BadInputError`]: It names none.
    """
    base = read_json_file(path).get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise BadInputError(f"{path} names no base model (`base_model_name_or_path`): the adapter cannot be loaded.")
    return base


def cache_dir() -> Path:
    """
    Return the folder for models that are built here: `$MMR1_HOME`, or `~/.cache/mmr1_trl`.

    Returns:
        `Path`: The folder; it need not exist yet.
    """
    return Path(os.environ.get("MMR1_HOME") or Path.home() / ".cache" / "mmr1_trl").expanduser()


def build_once(name: str, build: Callable[[str], None]) -> Path:
    """
    Return the cached folder `name`, and build it first when it is not there.

    The folder is built beside its place and moved there when it is complete, so that an interrupted build leaves no
    entry, and of two builds at once one wins and both callers find a whole folder.

    Args:
        name (`str`):
            Name of the entry; whatever changes the content must be part of it.
        build (`Callable[[str], None]`):
            Fills the empty folder whose path it is given.

    Returns:
        `Path`: The complete folder.
    """
    folder = cache_dir() / name
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryDirectory(dir=folder.parent).cleanup()
    except OSError as error:
        raise BadInputError(
            f"The folder for models that are built here, {folder.parent}, cannot be written: {error.strerror}. Set "
            "MMR1_HOME to one that can."
        ) from error
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
        unfinished = os.path.join(scratch, "model")
        os.mkdir(unfinished)
        build(unfinished)
        try:
            os.replace(unfinished, folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process was faster, and its folder is as good
                raise
            shutil.rmtree(unfinished)
    return folder
