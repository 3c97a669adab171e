# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The built-in model names and the folder they are kept in."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from mmr1_trl.errors import BadInputError, did_you_mean


TINY, COLD_START = "figures/tiny", "figures/cold_start"
SPREAD_START, UNEVEN_START = "figures/spread_start", "figures/uneven_start"
SHAPES_START = "figures/shapes_start"


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
    folder.parent.mkdir(parents=True, exist_ok=True)
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


def resolve_model(name: str) -> str:
    """
    Turn a built-in model name into a path; any other name is returned as it is.

    Args:
        name (`str`):
            `"figures/tiny"` (a tiny model with random weights), `"figures/cold_start"` (the tiny model after the
            supervised cold start, which takes a few minutes the first time), `"figures/spread_start"` and
            `"figures/uneven_start"` (other cold starts, whose pass rates differ by level or by family),
            `"figures/shapes_start"` (a cold start for `point` and `classify`), a folder or a Hub id.

    Returns:
        `str`: Path of a folder with model and processor, or `name`.

    Raises:
        BadInputError: If `name` begins with `figures/` and is neither a built-in name nor a folder.
    """
    if name == TINY:
        return str(build_once("figures-tiny-v1", _save_tiny))
    if name in (COLD_START, SPREAD_START, UNEVEN_START, SHAPES_START):
        from mmr1_trl.models.cold_start import (
            ColdStartConfig,
            cold_start_path,
            shapes_stages,
            spread_stages,
            uneven_stages,
        )

        configs = {
            COLD_START: ColdStartConfig(),
            SPREAD_START: ColdStartConfig(stages=spread_stages()),
            UNEVEN_START: ColdStartConfig(stages=uneven_stages()),
            SHAPES_START: ColdStartConfig(stages=shapes_stages()),
        }
        return str(cold_start_path(configs[name]))
    if name.startswith("figures/") and not os.path.isdir(name):
        known = (TINY, COLD_START, SPREAD_START, UNEVEN_START, SHAPES_START)
        raise BadInputError(f"Unknown built-in model {name!r}; known: {', '.join(known)}.{did_you_mean(name, known)}")
    return name


def _save_tiny(folder: str) -> None:
    from mmr1_trl.models.tiny_vlm import build_tiny_vlm

    model, processor = build_tiny_vlm("qwen2_5_vl", seed=0)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
