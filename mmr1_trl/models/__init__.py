# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Models and processors: loading them safely, and the tiny ones that are built locally. Names load on first use."""

import importlib
from typing import TYPE_CHECKING, Any


_EXPORTS = {
    "load_config": "mmr1_trl.models.processing",
    "load_processor": "mmr1_trl.models.processing",
    "build_tiny_lm": "mmr1_trl.models.tiny_lm",
    "build_tiny_vlm": "mmr1_trl.models.tiny_vlm",
    "resolve_model": "mmr1_trl.models.built_in",
    "ColdStartConfig": "mmr1_trl.models.cold_start",
    "train_cold_start": "mmr1_trl.models.cold_start",
}

__all__ = [
    "ColdStartConfig",
    "build_tiny_lm",
    "build_tiny_vlm",
    "load_config",
    "load_processor",
    "resolve_model",
    "train_cold_start",
]

if TYPE_CHECKING:
    from mmr1_trl.models.built_in import resolve_model
    from mmr1_trl.models.cold_start import ColdStartConfig, train_cold_start
    from mmr1_trl.models.processing import load_config, load_processor
    from mmr1_trl.models.tiny_lm import build_tiny_lm
    from mmr1_trl.models.tiny_vlm import build_tiny_vlm


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'mmr1_trl.models' has no attribute {name!r}")
    value = getattr(importlib.import_module(_EXPORTS[name]), name)
    globals()[name] = value
    return value
