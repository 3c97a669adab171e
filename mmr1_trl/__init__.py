# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Single-rollout, variance-aware and two-stage-entropy RLVR for vision-language models, as TRL trainers.

The public names are loaded on first use, so that `import mmr1_trl` (and with it `mmr1 --help`) imports neither torch
nor transformers.
"""

import importlib
from typing import TYPE_CHECKING, Any


__version__ = "0.1.0.dev0"

_EXPORTS = {
    "RLVRConfig": "mmr1_trl.trainers.config",
    "RLVRTrainer": "mmr1_trl.trainers.trainer",
    "MSSRConfig": "mmr1_trl.trainers.mssr",
    "MSSRTrainer": "mmr1_trl.trainers.mssr",
    "VASConfig": "mmr1_trl.trainers.vas",
    "VASTrainer": "mmr1_trl.trainers.vas",
    "TwoStageEntropyConfig": "mmr1_trl.trainers.two_stage",
    "TwoStageEntropyTrainer": "mmr1_trl.trainers.two_stage",
}

__all__ = [
    "MSSRConfig",
    "MSSRTrainer",
    "RLVRConfig",
    "RLVRTrainer",
    "TwoStageEntropyConfig",
    "TwoStageEntropyTrainer",
    "VASConfig",
    "VASTrainer",
    "__version__",
]

if TYPE_CHECKING:
    from mmr1_trl.trainers.config import RLVRConfig
    from mmr1_trl.trainers.mssr import MSSRConfig, MSSRTrainer
    from mmr1_trl.trainers.trainer import RLVRTrainer
    from mmr1_trl.trainers.two_stage import TwoStageEntropyConfig, TwoStageEntropyTrainer
    from mmr1_trl.trainers.vas import VASConfig, VASTrainer


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'mmr1_trl' has no attribute {name!r}")
    value = getattr(importlib.import_module(_EXPORTS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
