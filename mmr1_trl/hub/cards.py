# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The cards that an upload carries: of a model, of a dataset, of scores. The texts are the templates in `cards/`."""

from mmr1_trl.hub.dataset_card import write_dataset_card
from mmr1_trl.hub.model_card import write_model_card
from mmr1_trl.hub.score_card import write_score_card


__all__ = ["write_dataset_card", "write_model_card", "write_score_card"]
