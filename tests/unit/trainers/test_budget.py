# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The plan of a run against what the run really does."""

import re

import pytest
from fixtures.trainers import logged

from mmr1_trl import MSSRConfig, MSSRTrainer, VASConfig
from mmr1_trl.trainers.budget import describe_cost, plan_run


SETTINGS = {"output_dir": "unused", "use_cpu": True, "report_to": "none"}


@pytest.mark.parametrize(
    "options",
    [
        {"num_generations": 2, "num_train_epochs": 2},
        {"num_generations": 4, "steps_per_generation": 4, "gradient_accumulation_steps": 2},
        {"num_generations": 2, "steps_per_generation": 3, "gradient_accumulation_steps": 2, "num_train_epochs": 1},
        {"num_generations": 2, "num_iterations": 2, "gradient_accumulation_steps": 1},
        {"num_generations": 2, "max_steps": 7},
    ],
)
def test_plan_equals_a_real_run(options, make_trainer, make_rows):
    options = {"max_steps": -1, "num_train_epochs": 1, **options}
    trainer = make_trainer(rows=make_rows(13), **options)
    plan = plan_run(trainer.args, 13, 13)
    calls = []
    generate = trainer._generate_and_score_completions
    trainer._generate_and_score_completions = lambda inputs: calls.append(len(inputs)) or generate(inputs)
    trainer.train()
    assert trainer.state.global_step == plan.steps
    assert len(calls) == plan.generations
    assert sum(calls) == plan.training_rollouts == plan.total_rollouts
    assert plan_run(trainer.args, 13, 13, steps=plan.steps) == plan


def test_plan_without_a_full_batch_and_with_initial_rollouts():
    config = MSSRConfig(**SETTINGS, per_device_train_batch_size=8, tracker_initial_rollouts=3, max_steps=5)
    assert plan_run(config, 7, 7).total_rollouts == 21
    plan = plan_run(config, 20, 20)
    assert (plan.prompts_per_generation, plan.generations_per_epoch) == (8, 2)
    assert (plan.initial_rollouts, plan.total_rollouts) == (60, 100)


def test_initial_rollouts_are_made_for_prompts_not_for_rows(make_trainer, make_rows):
    rows = make_rows(20).add_column("prompt_id", [i // 2 for i in range(20)])
    trainer = make_trainer(
        MSSRTrainer, MSSRConfig, rows=rows, num_generations=1, tracker_initial_rollouts=1, max_steps=1, beta=0.0,
        tracker_forgetting="fixed",
    )  # fmt: skip
    plan = plan_run(trainer.args, 20, 10)
    trainer.train()
    assert plan.initial_rollouts == 10
    assert logged(trainer, "num_rollouts") == [plan.total_rollouts]


# Of `update_steps` 1 and windows of two updates only every second step has a generation batch, and so a refresh.
@pytest.mark.parametrize("refresh", ["full", "online"])
@pytest.mark.parametrize("update_steps", [1, 3])
def test_scoring_rollouts_equal_a_real_run(refresh, update_steps, make_trainer, make_rows, capsys):
    trainer = make_trainer(
        rows=make_rows(12).add_column("prompt_id", [i % 8 for i in range(12)]),
        num_generations=2,
        steps_per_generation=2,
        gradient_accumulation_steps=1,
        max_steps=8,
        prompt_sampling="variance_aware",
        vas_refresh=refresh,
        vas_update_steps=update_steps,
        vas_rollouts=2,
    )
    plan = plan_run(trainer.args, 12, 8)
    trainer.train()
    assert logged(trainer, "vas/scoring_rollouts")[-1] == plan.scoring_rollouts
    assert (plan.scoring_rollouts > 0) == (refresh != "online")
    (line,) = [line for line in capsys.readouterr().out.splitlines() if f"VAS ({refresh}): " in line]
    said = re.search(r"make ([\d,]+), and training makes about ([\d,]+)\.", line)
    made = logged(trainer, "vas/training_rollouts")[-1]
    if refresh == "online":
        assert f"about {made:,.0f}." in line
    else:
        assert said is not None and said.groups() == (f"{plan.scoring_rollouts:,}", f"{made:,.0f}")


def test_cost_is_said_before_a_run():
    config = VASConfig(
        **SETTINGS, num_generations=4, per_device_train_batch_size=8, vas_refresh="full", vas_rollouts=4, max_steps=4,
        vas_update_steps=1, steps_per_generation=2, gradient_accumulation_steps=1, beta=0.0,
    )  # fmt: skip
    text = describe_cost(config, plan_run(config, 6, 4), 4)
    assert "4 prompts x 4 rollouts = 16 rollouts; about 2 in this run make 32" in text  # four steps, two generations
