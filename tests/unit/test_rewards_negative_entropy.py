# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Minus the mean token entropy as a reward: against the dense logits of the policy that sampled."""

import pytest
import torch

from mmr1_trl import RLVRTrainer
from mmr1_trl.errors import BadInputError
from mmr1_trl.rewards import negative_entropy_reward


TWO_UPDATES = {"num_generations": 2, "gradient_accumulation_steps": 1, "steps_per_generation": 2}


@pytest.mark.parametrize("shaping", [False, True])
def test_reward_is_the_dense_mean_entropy(make_trainer, monkeypatch, shaping):
    trainer = make_trainer(
        reward_funcs=negative_entropy_reward, max_steps=2, temperature=1.3, entropy_shaping=shaping, **TWO_UPDATES
    )
    trainer.generation_config.sequence_bias = [[[trainer.processing_class.tokenizer.eos_token_id], 3.0]]
    seen = []
    generate = RLVRTrainer._generate_and_score_completions

    def watched(self, inputs):
        output = generate(self, inputs)
        with torch.no_grad():
            logits = self.model(
                input_ids=torch.cat([output["prompt_ids"], output["completion_ids"]], dim=1),
                attention_mask=torch.cat([output["prompt_mask"], output["completion_mask"]], dim=1),
                **{name: output[name] for name in ("pixel_values", "image_grid_thw", "mm_token_type_ids")},
            ).logits
        length = output["completion_ids"].shape[1]
        entropies = torch.distributions.Categorical(logits=logits[:, -length - 1 : -1] / 1.3).entropy()
        mask = output["completion_mask"]
        seen.append((self._rewards[:, 0].clone(), -(entropies * mask).sum(-1) / mask.sum(-1), mask.sum(-1)))
        return output

    monkeypatch.setattr(RLVRTrainer, "_generate_and_score_completions", watched)
    trainer.train()
    (rewards, expected, lengths), *_ = seen
    assert len(lengths.unique()) > 1
    torch.testing.assert_close(rewards, expected, rtol=1e-4, atol=1e-5)


def test_evaluation_has_the_reward_too(make_trainer, make_rows):
    trainer = make_trainer(
        reward_funcs=negative_entropy_reward, max_steps=1, eval_rows=make_rows(4, seed=9), **TWO_UPDATES
    )
    assert trainer.evaluate()["eval_reward"] < 0


def test_one_update_per_batch_is_refused(make_trainer):
    with pytest.raises(BadInputError, match="num_iterations=2"):
        make_trainer(reward_funcs=negative_entropy_reward, num_generations=2, gradient_accumulation_steps=2)


def test_outside_the_trainer_it_says_so():
    with pytest.raises(BadInputError, match="mmr1 eval"):
        negative_entropy_reward(["<answer>3</answer>"])


def test_completion_without_a_token_has_no_reward():
    assert negative_entropy_reward(["a", ""], mean_entropy=[0.5, None]) == [-0.5, None]
