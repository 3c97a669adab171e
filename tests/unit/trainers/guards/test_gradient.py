# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""A run that trains on nothing says so; a token that stands for a picture is named before the model gets it."""

import logging

import pytest
import torch
from transformers.utils import logging as transformers_logging
from trl import GRPOTrainer

from mmr1_trl import MSSRConfig, MSSRTrainer, RLVRConfig, RLVRTrainer
from mmr1_trl.errors import TrainingStopped
from mmr1_trl.trainers.guards.gradient import GradientGuard


@pytest.fixture
def warned(caplog, monkeypatch):
    monkeypatch.setattr(transformers_logging.get_logger("transformers"), "propagate", True)
    caplog.set_level(logging.WARNING)
    return lambda: [r.getMessage() for r in caplog.records if r.name == "mmr1_trl.trainers.guards.gradient"]


NAN = float("nan")


# rewards and advantages of the generation batches, gradients -> how many of the updates in a row are said to be empty
@pytest.mark.parametrize(
    ("rewards", "advantages", "norms", "said"),
    [
        ([0.0, 1.0], [-1.0, 1.0], [0.0] * 13, [3, 6, 12]),
        ([0.0, 1.0], [-1.0, 1.0], [7.6e-6] * 3, [3]),
        ([0.0, 1.0], [-1.0, 1.0], [0.0, 0.0, 1e-3, 0.0, 0.0], []),
        ([0.0, 1.0], [-1.0, 1.0], [1e-3] * 9, []),
        ([0.0, 1e-3], [-5e-4, 5e-4], [1e-6] * 9, []),  # unscaled: the gradient is as small as the advantages
        ([0.0, 1.0], [-1.0, 1.0], [float("nan"), float("inf")] * 3, []),  # the business of another guard
        ([NAN, NAN], [0.0, 0.0], [0.0] * 9, []),
    ],
)
def test_updates_without_a_gradient_are_counted(warned, rewards, advantages, norms, said):
    guard = GradientGuard(2, lambda: 0)
    for norm in norms:
        guard.generated(torch.tensor(advantages), torch.tensor(rewards))
        guard.check(norm)
    lost = [message for message in warned() if "the gradient has been nothing" in message]
    assert [int(message.split(" updates")[0].split()[-1]) for message in lost] == said
    assert all("rewards from 0 to 1" in message and "(1 on average" in message for message in lost)


@pytest.mark.parametrize(
    ("rewards", "group_size", "said", "words"),
    [
        ([1.0, 1.0, 0.0, 0.0], 2, 3, "rewards from 0 to 1, the same for all completions of a prompt"),
        ([1.0, 1.0, NAN, 0.5], 2, 3, "rewards from 0.5 to 1"),
        ([0.0, 0.0, 0.0, 0.0], None, 3, "rewards from 0 to 0, the same for all completions of a batch"),
        ([NAN] * 4, 2, 3, "no rewards at all"),
        ([1.0, 1.0, 0.0, 0.0], None, 0, None),
        ([1.0, 0.5, 0.0, 0.0], 2, 0, None),
    ],
)
def test_rewards_that_do_not_differ_are_named(warned, rewards, group_size, said, words):
    guard = GradientGuard(group_size, lambda: 0)
    for _ in range(5):
        guard.generated(torch.zeros(4), torch.tensor(rewards))
    assert [f"{said} generation batches in a row" in message and words in message for message in warned()] == [
        True
    ] * (said // 3)


def test_a_run_that_trains_on_nothing_says_so_and_again_at_its_end(make_trainer, warned):
    """All completions are cut and masked, so no token is left in the loss, whatever the rewards are."""
    trainer = make_trainer(num_generations=2, mask_truncated_completions=True, max_completion_length=1, beta=0.0)
    before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
    trainer.train()
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.model.parameters()))
    during, end = warned()
    assert (
        during.startswith("Step 2: the gradient has been nothing for 3 updates, 0 at last")
        and "rewards from" in during
    )
    assert end.startswith("Step 4: 4 of 4 updates had no gradient")


@pytest.mark.parametrize(
    ("config", "trainer_class", "options"),
    [
        (RLVRConfig, RLVRTrainer, {"num_generations": 2}),
        (MSSRConfig, MSSRTrainer, {"tracker_forgetting": "fixed", "beta": 0.0}),
    ],
)
def test_constant_rewards_are_said_aloud(make_trainer, warned, config, trainer_class, options):
    trainer = make_trainer(
        trainer_class, config, reward_funcs=lambda completions, **_: [0.0] * len(completions), **options
    )
    trainer.train()
    assert "nothing could be learned from 3 generation batches in a row: rewards from 0 to 0" in warned()[0]


def test_a_run_that_learns_says_nothing(make_trainer, warned):
    make_trainer(num_generations=2).train()
    assert warned() == []


# ---- A picture's token in a completion ----


@pytest.fixture
def written(monkeypatch):
    """Let the sampler write a token at the third place of the last completion."""

    def written(token):
        sample = GRPOTrainer._generate_single_turn

        def sampled(self, *args, **kwargs):
            completion_ids, logprobs = sample(self, *args, **kwargs)
            completion_ids[-1] = [9, 9, token, 9]
            return completion_ids, logprobs

        monkeypatch.setattr(GRPOTrainer, "_generate_single_turn", sampled)

    return written


def test_a_pictures_token_is_named_with_its_prompt_before_the_forward_pass(
    make_trainer, make_rows, written, monkeypatch
):
    rows = make_rows(16).add_column("prompt_id", [f"picture-{i:02d}" for i in range(16)])
    trainer = make_trainer(num_generations=2, rows=rows)
    written(trainer.model.config.image_token_id)
    passes = []
    monkeypatch.setattr(
        GRPOTrainer, "_get_per_token_logps_and_entropies", lambda self, *args, **kwargs: passes.append(1)
    )
    with pytest.raises(TrainingStopped) as stopped:
        trainer.train()
    message = str(stopped.value)
    token = trainer.model.config.image_token_id
    assert f"Step 1: the sampler wrote '<|image_pad|>' (token {token}), which stands for a picture or video" in message
    assert "at place 3 of its completion for prompt picture-" in message and "'upleft plus lowright is " in message
    assert passes == [] and trainer.state.global_step == 0


def test_a_videos_token_is_named_as_well(make_trainer, written):
    trainer = make_trainer(num_generations=2)
    written(trainer.model.config.video_token_id)
    with pytest.raises(TrainingStopped, match=r"wrote '<\|video_pad\|>'"):
        trainer.train()


def test_evaluation_and_scoring_name_it_as_well(make_trainer, make_rows, written):
    trainer = make_trainer(num_generations=2, eval_rows=make_rows(4))
    written(trainer.model.config.image_token_id)
    with pytest.raises(TrainingStopped, match="completion for 'upleft plus"):
        trainer.evaluate()
    with pytest.raises(TrainingStopped, match="completion for 'upleft plus"):
        trainer.score_rows(torch.tensor([0, 1]))


def test_what_tools_answer_may_hold_pictures(make_trainer):
    trainer = make_trainer(num_generations=2)
    token = trainer.model.config.image_token_id
    prompts = [[{"role": "user", "content": "a"}]]
    guard = trainer.guards.picture_tokens
    guard.check(prompts, [[9, token, 9]], [[1, 0, 1]])
    with pytest.raises(TrainingStopped, match="at place 2"):
        guard.check(prompts, [[9, token, 9]], [[1, 1, 1]])
