# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Datasets as they are published become training rows. The names load on first use, so the import is cheap."""

import importlib
from typing import TYPE_CHECKING, Any


_EXPORTS = {
    "load_data": "mmr1_trl.data.load",
    "mix_rows": "mmr1_trl.data.mixture",
    "prepare_dataset": "mmr1_trl.data.prepare",
    "load_figures": "mmr1_trl.data.figures",
}

__all__ = ["load_data", "load_figures", "mix_rows", "prepare_dataset"]

if TYPE_CHECKING:
    from mmr1_trl.data.figures import load_figures
    from mmr1_trl.data.load import load_data
    from mmr1_trl.data.mixture import mix_rows
    from mmr1_trl.data.prepare import prepare_dataset


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'mmr1_trl.data' has no attribute {name!r}")
    return getattr(importlib.import_module(_EXPORTS[name]), name)
