# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The names of `extraction` and `types` under the module's old name."""

from mmr1_trl.rewards.extraction import (
    completion_text,
    extract_answer,
    last_tagged,
    located_answer,
    located_text,
    visible_text,
)
from mmr1_trl.rewards.types import ANSWER_TYPES, LOCATED_TYPES, infer_answer_type


__all__ = [
    "ANSWER_TYPES",
    "LOCATED_TYPES",
    "completion_text",
    "extract_answer",
    "infer_answer_type",
    "last_tagged",
    "located_answer",
    "located_text",
    "visible_text",
]
