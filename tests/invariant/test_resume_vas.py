# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""With prompts drawn by score a resumed run is the uninterrupted run, bit for bit on a CPU, in every mode."""

import textwrap
from pathlib import Path

import pytest
import torch
from fixtures.forked import ON_TWO, run
from fixtures.resuming import run_and_resume

from mmr1_trl import MSSRConfig, MSSRTrainer, VASConfig, VASTrainer
from mmr1_trl.errors import BadInputError, TrainingStopped


def first_token_reward(completion_ids, solution, **kwargs):
    return [float(ids[0] % 2 == int(gold) % 2) for ids, gold in zip(completion_ids, solution)]


VAS = {"beta": 0.0, "num_generations": 2}
MID = {"steps_per_generation": 4, "gradient_accumulation_steps": 1, "per_device_train_batch_size": 4}
SCORING = {"vas_rollouts": 2, "vas_update_steps": 2}
CASES = {
    "online-aligned": (VASTrainer, VASConfig, VAS | {"gradient_accumulation_steps": 2}, 2),
    "online-mid-window": (VASTrainer, VASConfig, VAS | MID, 3),
    "full-before-a-refresh": (
        VASTrainer,
        VASConfig,
        VAS | SCORING | {"vas_refresh": "full", "gradient_accumulation_steps": 2},
        2,
    ),
    "full-released-code": (
        VASTrainer,
        VASConfig,
        VAS | SCORING | MID | {"vas_refresh": "full", "vas_variant": "released_code"},
        3,
    ),
    "full-iterations": (
        VASTrainer,
        VASConfig,
        VAS
        | SCORING
        | {"vas_refresh": "full", "num_iterations": 2, "steps_per_generation": 2, "gradient_accumulation_steps": 1},
        3,
    ),
    "mssr-online": (
        MSSRTrainer,
        MSSRConfig,
        {"prompt_sampling": "variance_aware", "tracker_kl_source": "policy", "beta": 0.0} | MID,
        3,
    ),
    "mssr-uncertainty": (
        MSSRTrainer,
        MSSRConfig,
        {"prompt_sampling": "uncertainty", "tracker_forgetting": "fixed", "beta": 0.0},
        2,
    ),
    "fixed": (VASTrainer, VASConfig, VAS | {"vas_refresh": "off", "prompt_scores": "pass_rate"}, 2),
}


@pytest.mark.parametrize("case", CASES)
def test_resumed_equals_uninterrupted(make_trainer, make_rows, tmp_path, case):
    trainer_class, config_class, options, at = CASES[case]
    rows = make_rows(16).add_column("pass_rate", [i / 15 for i in range(16)])
    options = options | {"max_steps": 6, "rows": rows, "reward_funcs": first_token_reward}
    whole, resumed = run_and_resume(make_trainer, trainer_class, config_class, at, tmp_path, **options)
    expected = whole.sampler.state_dict()
    assert expected.keys() == resumed.sampler.state_dict().keys()
    for name, value in resumed.sampler.state_dict().items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value.nan_to_num(-1.0), expected[name].nan_to_num(-1.0)), name
        else:
            assert value == expected[name], name
    assert resumed.budget == whole.budget


def test_finished_refresh_is_not_repeated_after_a_resume(make_trainer, tmp_path):
    """Killed after a refresh and before the next checkpoint: the journal has every prompt."""
    calls = []

    def reward(completion_ids, **kwargs):
        calls.append(len(completion_ids))
        if len(calls) == killed_at:
            raise OSError("killed")
        return [float(ids[0] % 2) for ids in completion_ids]

    options = VAS | SCORING | {
        "vas_refresh": "full", "max_steps": 6, "save_strategy": "steps", "save_steps": 1, "reward_funcs": reward,
        "gradient_accumulation_steps": 1, "per_device_train_batch_size": 8,
    }  # fmt: skip
    # Before each of the steps 1, 3 and 5 there is a refresh of 16 prompts x 2 rollouts, in 4 calls of 8.
    killed_at = 4 + 1 + 1 + 4 + 1  # the training rollouts of step 3, after its refresh
    trainer = make_trainer(VASTrainer, VASConfig, **options)
    calls.clear()  # of the trial on two rows
    with pytest.raises(TrainingStopped, match="killed"):
        trainer.train()
    killed_at = -1
    resumed = make_trainer(VASTrainer, VASConfig, **options)
    calls.clear()
    resumed.train(resume_from_checkpoint=True)
    assert sum(calls) == 4 * 8 + 16 * 2  # steps 3 to 6, and the refresh before step 5 alone
    whole = make_trainer(VASTrainer, VASConfig, output_dir=str(tmp_path / "whole"), **options)
    whole.train()
    assert torch.equal(resumed.sampler.scores, whole.sampler.scores)
    for mine, other in zip(resumed.model.parameters(), whole.model.parameters()):
        assert torch.equal(mine, other)


def test_checkpoint_of_another_sampling_is_refused(make_trainer, tmp_path):
    options = VAS | {"max_steps": 1, "save_strategy": "steps", "save_steps": 1}
    make_trainer(VASTrainer, VASConfig, **options).train()
    other = make_trainer(VASTrainer, VASConfig, prompt_sampling="uniform", **options)
    with pytest.raises(BadInputError, match="prompt_sampling was variance_aware, now uniform"):
        other.train(resume_from_checkpoint=True)


SCRIPT = """
    import torch
    from fixtures.ranks import leave_together
    from fixtures.trainers import picture_rows
    from mmr1_trl import VASConfig, VASTrainer
    from mmr1_trl.models import build_tiny_vlm

    def reward(completion_ids, **kwargs):
        return [float(ids[0] % 2) for ids in completion_ids]

    def run(mode, name, resume=None):
        model, processor = build_tiny_vlm("qwen2_5_vl")
        trainer = VASTrainer(
            model=model, reward_funcs=reward, train_dataset=picture_rows(12), processing_class=processor,
            args=VASConfig(
                output_dir={folder!r} + "/" + name, use_cpu=True, beta=0.0, num_generations=2, max_steps=4,
                per_device_train_batch_size=4, gradient_accumulation_steps=1, max_completion_length=6,
                learning_rate=1e-3, vas_refresh=mode, vas_rollouts=2, vas_update_steps=2, save_steps=1,
                report_to="none", disable_tqdm=True,
            ),
        )
        drawn, draw = [], trainer.sampler.next_batch
        trainer.sampler.next_batch = lambda: (drawn.append(draw()), drawn[-1])[1]
        trainer.train(resume_from_checkpoint=resume)
        mine = torch.cat([torch.stack([rows for rows, _ in drawn]).double().flatten(), trainer.sampler.scores])
        both = trainer.accelerator.gather(mine).view(2, -1)
        assert torch.equal(both[0], both[1])
        return mine, [p.detach().clone() for p in trainer.model.parameters()]

    for mode in ("online", "full"):
        whole, weights = run(mode, mode)
        part, again = run(mode, mode + "_resumed", {folder!r} + "/" + mode + "/checkpoint-1")
        assert torch.equal(whole[4:], part), mode
        assert all(torch.equal(a, b) for a, b in zip(weights, again)), mode
    print("equal on both ranks", flush=True)
    leave_together()
"""


@pytest.mark.slow
def test_two_processes_draw_the_same_and_resume(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT).format(folder=str(tmp_path)))
    result = run(*ON_TWO, script, cwd=Path(__file__).parents[1])
    assert result.stdout.count("equal on both ranks") == 2
