# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Rewards of confidence, against the dense logits of the policy that sampled."""

import pytest
import torch
from peft import LoraConfig
from transformers import LlamaConfig, LlamaForCausalLM

from mmr1_trl import RLVRTrainer
from mmr1_trl.errors import BadInputError
from mmr1_trl.rewards import negative_entropy_reward, self_certainty_reward
from mmr1_trl.trainers.entropy import SelfCertainty, check_head


REWARDS = pytest.mark.parametrize("reward", [negative_entropy_reward, self_certainty_reward])


TWO_UPDATES = {"num_generations": 2, "gradient_accumulation_steps": 1, "steps_per_generation": 2}


def dense_entropy(logps):
    return -(logps.exp() * logps).sum(-1)


def dense_self_certainty(logps):
    """KL(U || p), from its definition."""
    uniform = torch.full_like(logps, 1 / logps.shape[-1])
    return (uniform * (uniform.log() - logps)).sum(-1)


@pytest.mark.parametrize(
    ("reward", "sign", "dense", "options"),
    [
        (negative_entropy_reward, -1, dense_entropy, {}),
        (negative_entropy_reward, -1, dense_entropy, {"entropy_shaping": True}),
        (self_certainty_reward, 1, dense_self_certainty, {}),
        (self_certainty_reward, 1, dense_self_certainty, {"entropy_shaping": True, "beta": 0.1}),
        (self_certainty_reward, 1, dense_self_certainty, {"peft_config": LoraConfig(target_modules=["q_proj"])}),
    ],
)
def test_reward_is_the_dense_mean(make_trainer, monkeypatch, reward, sign, dense, options):
    trainer = make_trainer(reward_funcs=reward, max_steps=2, temperature=1.3, **TWO_UPDATES, **options)
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
        values = dense((logits[:, -length - 1 : -1].double() / 1.3).log_softmax(-1))
        mask = output["completion_mask"]
        expected = sign * (values * mask).sum(-1) / mask.sum(-1)
        seen.append((self.captured.rewards[:, 0].clone(), expected.float(), mask.sum(-1)))
        return output

    monkeypatch.setattr(RLVRTrainer, "_generate_and_score_completions", watched)
    trainer.train()
    (rewards, expected, lengths), *_ = seen
    assert len(lengths.unique()) > 1 and len(rewards.unique()) == len(rewards)
    torch.testing.assert_close(rewards, expected, rtol=1e-4, atol=1e-5)


def test_self_certainty_reads_a_head_with_a_bias_and_passes_in_parts():
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(vocab_size=50, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)
    )
    model.lm_head.bias = torch.nn.Parameter(torch.randn(50))
    ids = torch.randint(50, (5, 9))
    with SelfCertainty(torch.nn.Sequential(model), 0.7, length=4) as certainty, torch.no_grad():
        logits = torch.cat([model(input_ids=part).logits for part in ids.split(2)])
    logps = (logits[:, -5:-1].double() / 0.7).log_softmax(-1)
    sampled = logps.gather(-1, ids[:, -4:].unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(
        certainty.per_token(ids, sampled), dense_self_certainty(logps).float(), rtol=1e-4, atol=1e-5
    )
    assert not model.base_model._forward_hooks


def test_self_certainty_of_capped_logits_is_refused(make_trainer, monkeypatch):
    trainer = make_trainer(reward_funcs=negative_entropy_reward, **TWO_UPDATES)
    trainer.model.config.get_text_config().final_logit_softcapping = 30.0
    with pytest.raises(BadInputError, match="changed by final_logit_softcapping"):
        check_head(trainer.model.config, sharded=False)


@REWARDS
def test_evaluation_has_the_reward_too(make_trainer, make_rows, reward):
    trainer = make_trainer(reward_funcs=reward, max_steps=1, eval_rows=make_rows(4, seed=9), **TWO_UPDATES)
    assert (trainer.evaluate()["eval_reward"] > 0) == (reward is self_certainty_reward)


@REWARDS
def test_one_update_per_batch_is_refused(make_trainer, reward):
    with pytest.raises(BadInputError, match="num_iterations=2"):
        make_trainer(reward_funcs=reward, num_generations=2, gradient_accumulation_steps=2)


@REWARDS
def test_outside_the_trainer_it_says_so(reward):
    with pytest.raises(BadInputError, match=f"{reward.__name__} reads .*mmr1 eval"):
        reward(["<answer>3</answer>"])


def test_completion_without_a_token_has_no_reward():
    assert negative_entropy_reward(["a", ""], mean_entropy=[0.5, None]) == [-0.5, None]
    assert self_certainty_reward(["a", ""], mean_self_certainty=[0.5, None]) == [0.5, None]
