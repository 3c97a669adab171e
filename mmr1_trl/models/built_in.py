# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""From the name of a model to its folder: the built-in ones are built when they are first asked for."""

from mmr1_trl.models.cache import (
    CHARTS_START,
    COLD_START,
    DIGITS_START,
    SHAPES_START,
    SPREAD_START,
    STARTS,
    TINY,
    UNEVEN_START,
    build_once,
    check_model_name,
)


def resolve_model(name: str) -> str:
    """
    Turn a built-in model name into a path; any other name is returned as it is.

    Args:
        name (`str`):
            `"figures/tiny"` (a tiny model with random weights), `"figures/cold_start"` (the tiny model after the
            supervised cold start, which takes a few minutes the first time), `"figures/spread_start"` and
            `"figures/uneven_start"` (other cold starts, whose pass rates differ by level or by family),
            `"figures/shapes_start"` (a cold start for `point` and `classify`), `"figures/digits_start"` and
            `"figures/charts_start"` (for handwritten digits and for charts of real tables), a folder or a Hub id.

    Returns:
        `str`: Path of a folder with model and processor, or `name`.

    Raises:
        BadInputError: If `name` begins with `figures/` and is neither a built-in name nor a folder.
    """
    if name == TINY:
        return str(build_once("figures-tiny-v1", _save_tiny))
    if name in STARTS:
        from mmr1_trl.models.cold_start import (
            ColdStartConfig,
            charts_stages,
            cold_start_path,
            digits_stages,
            shapes_stages,
            spread_stages,
            uneven_stages,
        )

        configs = {
            COLD_START: ColdStartConfig(),
            SPREAD_START: ColdStartConfig(stages=spread_stages()),
            UNEVEN_START: ColdStartConfig(stages=uneven_stages()),
            SHAPES_START: ColdStartConfig(stages=shapes_stages()),
            DIGITS_START: ColdStartConfig(stages=digits_stages()),
            CHARTS_START: ColdStartConfig(stages=charts_stages()),
        }
        return str(cold_start_path(configs[name]))
    check_model_name(name)
    return name


def _save_tiny(folder: str) -> None:
    from mmr1_trl.models.tiny_vlm import build_tiny_vlm

    model, processor = build_tiny_vlm("qwen2_5_vl", seed=0)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
