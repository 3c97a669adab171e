# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Training with vLLM, on a stand-in that does to prompts and pictures what the real one does."""

import pytest
import torch
from fixtures.models import build_attentive
from fixtures.trainers import build_trainer, logged, picture_rows
from fixtures.vllm_stand_in import LLM, install
from peft import LoraConfig

from mmr1_trl import MSSRConfig, MSSRTrainer, VASConfig, VASTrainer
from mmr1_trl.engines.training import TrainingEngine
from mmr1_trl.errors import TrainingStopped


DIFFERENCE = "sampling/sampling_logp_difference/mean"
# The sampler's probabilities are those of all tokens but two, which take under a percent each in an untrained model.
AGREE = 0.02


@pytest.fixture
def make(monkeypatch, tmp_path):
    """A trainer over four rows with two pictures each, so that every batch has pictures that vLLM knows."""
    install(monkeypatch)
    model, processor = build_attentive()
    for part in (model, processor):
        part.save_pretrained(tmp_path / "model")
    monkeypatch.setattr("fixtures.trainers.build", lambda _: (str(tmp_path / "model"), processor))

    def make(*classes, pictures=2, **options):
        settings = {"per_device_train_batch_size": 8, "num_generations": 2, "learning_rate": 2e-3, "bf16": False}
        settings |= {"use_vllm": True, "vllm_mode": "colocate", "output_dir": str(tmp_path / "run")}
        rows = options.pop("rows", None) or picture_rows(4, images_per_row=pictures)
        return build_trainer(*classes, rows=rows, **(settings | options))

    return make


@pytest.mark.parametrize(
    ("classes", "options"),
    [
        ((), {}),
        ((), {"peft_config": LoraConfig(r=8, target_modules="all-linear"), "learning_rate": 2e-2}),
        (
            (MSSRTrainer, MSSRConfig),
            {"num_generations": 1, "per_device_train_batch_size": 4, "tracker_initial_rollouts": 2},
        ),
        ((VASTrainer, VASConfig), {"vas_refresh": "full", "vas_rollouts": 2, "vas_update_steps": 2}),
    ],
    ids=["grpo", "adapters", "mssr with initial rollouts", "vas full"],
)
def test_sampler_and_trainer_agree(make, classes, options):
    trainer = make(*classes, **options)
    trainer.train()
    differences = logged(trainer, DIFFERENCE)
    assert len(differences) == 4 and max(differences) < AGREE
    engine = LLM.made[-1]
    image = trainer.processing_class.image_token_id
    for prompts, _ in engine.calls:
        assert all(prompt["prompt_token_ids"].count(image) == 2 for prompt in prompts)
    assert engine.forgot >= 4  # once a step


def test_rows_with_and_without_pictures_in_one_batch(make):
    rows = picture_rows(4).map(lambda row, i: {"images": row["images"][: i % 2]}, with_indices=True)
    trainer = make(rows=rows)
    trainer.train()
    assert max(logged(trainer, DIFFERENCE)) < AGREE
    assert {"multi_modal_data" in prompt for prompts, _ in LLM.made[-1].calls for prompt in prompts} == {True, False}


def test_pictures_that_no_update_changes_stay_encoded(make):
    trainer = make(freeze_vision_tower=True, freeze_merger=True)
    trainer.train()
    assert LLM.made[-1].forgot == 0 and max(logged(trainer, DIFFERENCE)) < AGREE


# ---- The faults that TRL has, put back ----


def test_expanded_prompts_are_caught(make, monkeypatch):
    monkeypatch.setattr("mmr1_trl.engines.training.one_token_per_picture", lambda prompts, *_: prompts)
    with pytest.raises(TrainingStopped, match="vLLM reads another prompt than the one that is trained on"):
        make(pictures=1).train()
    monkeypatch.setattr(TrainingEngine, "_require_same", lambda *_: None)
    with pytest.raises(TrainingStopped, match="^Step [1-4]: the sampler"):
        make(pictures=1, learning_rate=0.0).train()


def test_old_pictures_are_caught(make, monkeypatch):
    monkeypatch.setattr(TrainingEngine, "_reset_encoder_cache", lambda _: None)
    trainer = make(learning_rate=1e-2)
    with pytest.raises(TrainingStopped, match="^Step [234]: the sampler"):
        trainer.train()


def test_picture_tokens_in_completions_are_caught(make, monkeypatch):
    trainer = make(max_steps=1)
    monkeypatch.setattr(LLM, "favorite", trainer.processing_class.image_token_id)
    trainer.train()  # is told not to
    trainer.engine.generation.generation_kwargs.clear()
    with pytest.raises(TrainingStopped, match="wrote '<|image_pad|>'"):
        trainer._generate_and_score_completions([{}] * 8)


# ---- What ends a run ----


def test_a_failure_of_vllm_in_the_middle_is_one_message(make, monkeypatch):
    trainer = make(max_steps=4, save_strategy="steps", save_steps=1)
    generate, calls = LLM.generate, []

    def fails(self, *args, **kwargs):
        calls.append(args)
        if len(calls) == 3:
            raise ValueError("The decoder prompt (length 530) is longer than the maximum model length of 512.\nMore.")
        return generate(self, *args, **kwargs)

    monkeypatch.setattr(LLM, "generate", fails)
    with pytest.raises(TrainingStopped) as stopped:
        trainer.train()
    assert "vLLM failed while sampling: The decoder prompt (length 530)" in str(stopped.value)
    assert "The last complete checkpoint, checkpoint-2, is untouched." in str(stopped.value)
    assert "--vllm_max_model_length" in str(stopped.value) and "More" not in str(stopped.value)


def test_memory_that_runs_out_is_left_to_the_message_about_memory(make, monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB.")

    trainer = make()
    monkeypatch.setattr(LLM, "generate", full)
    with pytest.raises(TrainingStopped, match="Out of memory in generation"):
        trainer.train()
