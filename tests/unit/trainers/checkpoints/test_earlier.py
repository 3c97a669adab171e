# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Checkpoints of earlier versions resume: `tests/data/earlier_checkpoints` has the state files of two, as written.

They are of the version before each part of a trainer kept its own state, after step 3 of 4 and in the middle of a
generation batch, with the options below. The weights beside them are of this version's run, since they are larger.
"""

import copy
import math
import shutil
from pathlib import Path

import pytest
import torch
from fixtures.trainers import picture_rows, token_reward
from safetensors.torch import load_file

from mmr1_trl import MSSRConfig, MSSRTrainer, VASConfig, VASTrainer
from mmr1_trl.run_folder import COMPLETE


EARLIER = Path(__file__).parents[3] / "data" / "earlier_checkpoints"
BOTH = {
    "per_device_train_batch_size": 4, "steps_per_generation": 2, "gradient_accumulation_steps": 1, "max_steps": 4,
    "save_strategy": "steps", "save_steps": 3, "num_generations": 2, "beta": 0.0,
}  # fmt: skip
MSSR = {
    "prompt_sampling": "variance_aware", "vas_diversity_weight": 0.2, "tracker_initial_rollouts": 2,
    "tracker_kl_source": "policy",
}  # fmt: skip
VAS = {"vas_refresh": "full", "vas_rollouts": 2, "vas_update_steps": 2}


def same(tensor, other):
    return torch.equal(tensor.nan_to_num(-1.0), other.nan_to_num(-1.0))


@pytest.mark.parametrize(
    ("name", "trainer_class", "config_class", "options"),
    [("mssr_online", MSSRTrainer, MSSRConfig, MSSR), ("vas_full", VASTrainer, VASConfig, VAS)],
)
def test_a_checkpoint_of_an_earlier_version_resumes(
    make_trainer, tmp_path, monkeypatch, name, trainer_class, config_class, options
):
    def make(folder):
        options_of_run = {"rows": picture_rows(12), "reward_funcs": token_reward, "output_dir": str(tmp_path / folder)}
        return make_trainer(trainer_class, config_class, **BOTH | options | options_of_run)

    make("run").train()
    checkpoint = tmp_path / "run" / "checkpoint-3"
    for file in (EARLIER / name).iterdir():
        shutil.copy(file, checkpoint / file.name)
    (checkpoint / COMPLETE).write_text('{"global_step": 3}')  # without digests, as it was
    resumed, states = make("resumed"), {}

    def first_step(model, inputs, *args):
        if not states:
            parts = {"sampler": resumed.sampler, "baseline": resumed.baseline, "budget": resumed.budget}
            states.update({part: copy.deepcopy(each.state_dict()) for part, each in parts.items()})
        return step(model, inputs, *args)

    step = resumed.training_step
    monkeypatch.setattr(resumed, "training_step", first_step)
    resumed.train(resume_from_checkpoint=str(checkpoint))

    saved = load_file(EARLIER / name / "rlvr_state.safetensors")
    assert states["sampler"]["batches_drawn"] == 2
    for tensor in ("scores", "last_draw", "diversity"):
        assert same(states["sampler"][tensor], saved[f"scores.{tensor}"]), tensor
    if name == "mssr_online":
        for tensor in ("tracker.alpha", "tracker.beta", "clock_at_visit", "pending_outcomes"):
            assert same(states["baseline"][tensor], saved[tensor]), tensor
        assert states["budget"] == {"training": 16, "rejected": 0, "initial": 24, "scoring": 0, "refreshes": 0}
        assert states["sampler"]["population_moments"] == pytest.approx((0.4525, 0.2275))
        # The step that was left of the batch has been trained on, and its outcomes counted.
        assert (resumed.value_tracker.alpha != saved["tracker.alpha"]).any()
    else:
        assert states["budget"] == {"training": 16, "rejected": 0, "initial": 0, "scoring": 48, "refreshes": 2}
        assert (states["sampler"]["last_refresh"], states["sampler"]["origin"]) == (2, "cec52f0a0e61c346")
    last = [entry for entry in resumed.state.log_history if "loss" in entry][-1]
    assert last["step"] == 4 and math.isfinite(last["loss"]) and last["grad_norm"] > 0
