# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""With every switch off the trainer is TRL's: same prompts, completions, rewards, losses, gradient norms, weights."""

import pytest
import torch
from trl import GRPOConfig, GRPOTrainer

from mmr1_trl.engines.picture_tokens import placeholder_ids


def video_token(trainer):
    """TRL forbids transformers to sample the picture token; we forbid the video token as well."""
    return {"generation_kwargs": {"suppress_tokens": placeholder_ids(trainer.model.config)}}


def series(trainer, *names):
    return [{name: entry.get(name) for name in names} for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.parametrize(
    "options",
    [
        {"gradient_accumulation_steps": 2},
        {"steps_per_generation": 4, "gradient_accumulation_steps": 1},
        {"num_iterations": 2, "beta": 0.05, "gradient_accumulation_steps": 2},
        {"max_steps": 14, "per_device_train_batch_size": 8, "gradient_accumulation_steps": 1},  # three epochs
        {"shuffle_dataset": False, "scale_rewards": "batch", "loss_type": "grpo"},
    ],
    ids=["aligned", "misaligned", "iterations-and-reference", "epochs", "unshuffled"],
)
def test_same_run(make_trainer, make_rows, options, tmp_path, monkeypatch):
    options = {"num_generations": 2, "log_completions": True, "num_completions_to_print": 0} | options
    if options.get("beta"):  # TRL itself loads the reference model from disk only
        from mmr1_trl.models import tiny_vlm

        build = tiny_vlm.build_tiny_vlm

        def from_disk(family="qwen2_5_vl", seed=0):
            model, processor = build(family, seed)
            model.save_pretrained(tmp_path / "model")
            return type(model).from_pretrained(tmp_path / "model").train(), processor

        monkeypatch.setattr("fixtures.trainers.build", from_disk)
    seen = []

    def reward(completion_ids, solution, **kwargs):
        seen.append((tuple(solution), tuple(map(tuple, completion_ids))))
        return [float((sum(ids) + int(gold)) % 3 == 0) for ids, gold in zip(completion_ids, solution)]

    rows = make_rows(18 if "max_steps" in options else 16)
    # A trained vision tower: merged copies would give the same gradients but for the order of their sums.
    off = {"encode_once": False, "share_prompts": "off"}
    ours = make_trainer(rows=rows, reward_funcs=reward, **off, **options)
    seen.clear()  # of the trial on two rows
    ours.train()
    seen_by_ours = list(seen)
    seen.clear()
    theirs = make_trainer(
        GRPOTrainer, GRPOConfig, rows=rows, reward_funcs=reward, bf16=False, **video_token(ours), **options
    )
    theirs.train()
    assert seen_by_ours == seen
    names = ("loss", "grad_norm", "reward", "reward_std", "frac_reward_zero_std", "entropy", "completions/mean_length")
    assert series(ours, *names) == series(theirs, *names)
    for (name, mine), other in zip(ours.model.named_parameters(), theirs.model.parameters()):
        assert torch.equal(mine, other), name


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl"])
def test_same_run_with_a_frozen_tower(make_trainer, make_rows, family):
    options = {"num_generations": 2, "steps_per_generation": 2, "gradient_accumulation_steps": 1, "num_iterations": 2}
    options |= {"family": family, "rows": make_rows(16, images_per_row=2)}
    ours = make_trainer(freeze_vision_tower=True, freeze_merger=True, share_prompts="off", **options)
    ours.train()
    theirs = make_trainer(GRPOTrainer, GRPOConfig, bf16=False, **video_token(ours), **options)
    theirs.model.model.visual.requires_grad_(False)
    theirs.train()
    names = ("loss", "grad_norm", "reward", "entropy")
    assert series(ours, *names) == series(theirs, *names)
    for (name, mine), other in zip(ours.model.named_parameters(), theirs.model.parameters()):
        assert torch.equal(mine, other), name


def test_pictures_are_decoded_once_per_generation(make_trainer, make_rows):
    options = {"num_generations": 2, "steps_per_generation": 4, "num_iterations": 2, "max_steps": 16}
    trainer = make_trainer(rows=make_rows(16), gradient_accumulation_steps=1, **options)
    trainer.train()
    generations = 16 // (4 * 2)
    prompts_per_generation = 4 * 4 // 2
    assert trainer.reader.decoded == generations * prompts_per_generation
