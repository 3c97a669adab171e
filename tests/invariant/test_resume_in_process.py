# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""A resumed run is the uninterrupted run: tokens, losses, tracker and weights, bit for bit on a CPU."""

import pytest
import torch
from fixtures.resuming import run_and_resume

from mmr1_trl import MSSRConfig, MSSRTrainer, RLVRConfig, RLVRTrainer, TwoStageEntropyConfig, TwoStageEntropyTrainer


MSSR = {"tracker_kl_source": "reference", "beta": 0.05}
CASES = {
    "grpo-aligned": (RLVRTrainer, RLVRConfig, {"num_generations": 2, "gradient_accumulation_steps": 2}, 2),
    "grpo-mid-window": (
        RLVRTrainer,
        RLVRConfig,
        {"num_generations": 2, "steps_per_generation": 4, "gradient_accumulation_steps": 1},
        3,
    ),
    "mssr-aligned": (MSSRTrainer, MSSRConfig, MSSR | {"gradient_accumulation_steps": 2}, 2),
    "mssr-mid-window": (
        MSSRTrainer,
        MSSRConfig,
        MSSR | {"steps_per_generation": 4, "gradient_accumulation_steps": 1},
        3,
    ),
    "mssr-iterations-policy-kl": (
        MSSRTrainer,
        MSSRConfig,
        {
            "beta": 0.0, "tracker_kl_source": "policy", "tracker_forgetting": "per_prompt", "num_iterations": 2,
            "steps_per_generation": 2, "gradient_accumulation_steps": 1, "tracker_initial_rollouts": 1,
        },
        3,
    ),
    "grpo-moving-reference": (
        RLVRTrainer,
        RLVRConfig,
        {"num_generations": 2, "beta": 0.1, "sync_ref_model": True, "ref_model_sync_steps": 1},
        2,
    ),
    "mssr-between-two-logs": (
        MSSRTrainer,
        MSSRConfig,
        # What the vision tower did before a resume is not counted in the log after it, as seconds are not.
        {"gradient_accumulation_steps": 2, "logging_steps": 3, "encode_once": False},
        4,
    ),
    "two-stage-mid-window": (
        TwoStageEntropyTrainer,
        TwoStageEntropyConfig,
        {"num_generations": 2, "steps_per_generation": 4, "gradient_accumulation_steps": 1},
        5,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_resumed_equals_uninterrupted(make_trainer, make_rows, tmp_path, case):
    trainer_class, config_class, options, at = CASES[case]
    options = {"max_steps": 8} | options
    whole, resumed = run_and_resume(make_trainer, trainer_class, config_class, at, tmp_path, **options)
    if whole.value_tracker is not None:
        for name, value in whole.value_tracker.state_dict().items():
            assert torch.equal(value, resumed.value_tracker.state_dict()[name]), name


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl", "llava", "idefics3"])
def test_weights_come_back_in_every_family(make_trainer, tmp_path, family):
    options = {"num_generations": 2, "max_steps": 4, "save_strategy": "steps", "save_steps": 2, "family": family}
    whole = make_trainer(output_dir=str(tmp_path / "whole"), **options)
    whole.train()
    resumed = make_trainer(output_dir=str(tmp_path / "resumed"), **options)
    with torch.no_grad():
        for parameter in resumed.model.parameters():
            parameter.zero_()
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-2"))
    for (name, mine), other in zip(resumed.model.named_parameters(), whole.model.parameters()):
        assert torch.equal(mine, other), name


def test_best_model_is_really_loaded(make_trainer, make_rows, tmp_path):
    trainer = make_trainer(
        num_generations=2, max_steps=4, save_strategy="steps", save_steps=1, eval_strategy="steps", eval_steps=1,
        load_best_model_at_end=True, metric_for_best_model="eval_reward", greater_is_better=False,
        eval_rows=make_rows(4, seed=9),
    )  # fmt: skip
    trainer.train()
    best = type(trainer.model).from_pretrained(trainer.state.best_model_checkpoint)
    assert trainer.state.best_global_step < 4, "the last step is the best one: this seed proves nothing"
    for (name, mine), other in zip(trainer.model.named_parameters(), best.parameters()):
        assert torch.equal(mine, other), name
