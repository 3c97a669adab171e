# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Training with a real vLLM in this process: what samples and what is trained agree, on and on."""

import pytest
from fixtures.trainers import logged


pytestmark = pytest.mark.vllm

DIFFERENCE = "sampling/sampling_logp_difference/mean"


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen2_vl", "qwen3_vl", "llava", "idefics3"])
def test_colocate_with_a_trained_tower(family, make_trainer, rows):
    trainer = make_trainer(rows, family)
    trainer.train()
    differences = logged(trainer, DIFFERENCE)
    print(family, differences, logged(trainer, "grad_norm"))
    assert len(differences) == 5 and max(differences) < 0.02
    assert min(logged(trainer, "grad_norm")) > 1e-3
