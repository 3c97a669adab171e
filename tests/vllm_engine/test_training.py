# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Training with a real vLLM in this process: what samples and what is trained stay together.

The difference of their log-probs per token is 0.003 to 0.008 when all is right (vLLM samples in bfloat16 here), and
0.15 to 1.7 with one of the faults that `mmr1_trl/engines` mends.
"""

import pytest
from fixtures.trainers import logged
from peft import LoraConfig

from mmr1_trl import MSSRConfig, MSSRTrainer, VASConfig, VASTrainer
from mmr1_trl.data.decoding import as_conversation
from mmr1_trl.engines.picture_tokens import placeholder_ids
from mmr1_trl.engines.training import TrainingEngine
from mmr1_trl.errors import BadInputError


pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]

DIFFERENCE = "sampling/sampling_logp_difference/mean"


def agree(trainer, batches=5):
    """Whether sampler and trainer agree on every batch, and something is learned."""
    differences = logged(trainer, DIFFERENCE)
    print(f"\n{trainer._name} {DIFFERENCE}", [round(value, 4) for value in differences])
    assert len(differences) == batches and max(differences) < 0.02
    assert max(logged(trainer, "grad_norm")) > 0.1


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen2_vl", "qwen3_vl", "idefics3"])
def test_colocate_with_a_trained_tower(family, make_trainer, rows):
    trainer = make_trainer(rows, family)
    trainer.train()
    agree(trainer)


def test_text_alone(make_trainer, rows):
    trainer = make_trainer(rows.remove_columns("images"))
    trainer.train()
    agree(trainer)


def test_a_family_whose_weights_vllm_cannot_renew_is_refused(make_trainer, rows):
    with pytest.raises(BadInputError, match="cannot sample for a training of llava"):
        make_trainer(rows, "llava")


def test_adapters_in_all_layers(make_trainer, rows):
    adapter = LoraConfig(r=8, target_modules="all-linear")
    trainer = make_trainer(rows, peft_config=adapter, learning_rate=2e-2)
    trainer.train()
    agree(trainer)


def test_initial_rollouts_of_mssr(make_trainer, rows):
    options = {"num_generations": 1, "per_device_train_batch_size": 4, "tracker_initial_rollouts": 4}
    trainer = make_trainer(rows, trainer=MSSRTrainer, config=MSSRConfig, **options)
    trainer.train()
    agree(trainer)
    assert trainer.value_tracker.values(trainer.prompts.numbers).std() > 0  # they were sampled, and counted


def test_scores_by_rollouts_of_vas(make_trainer, rows):
    options = {"vas_refresh": "full", "vas_rollouts": 4, "vas_update_steps": 2}
    trainer = make_trainer(rows, trainer=VASTrainer, config=VASConfig, **options)
    trainer.train()
    agree(trainer)
    assert trainer.budget.scoring == 3 * 4 * 4  # before steps 1, 3 and 5; their pictures are in the cache then


def test_no_placeholder_is_sampled(make_trainer, rows):
    trainer = make_trainer(rows, vllm_max_model_length=512)
    trainer.model.model.language_model.norm.weight.data.zero_()  # all tokens are as likely, the two among them as well
    trainer.engine.generation.generation_kwargs["ignore_eos"] = True
    trainer.engine.generation.max_completion_length = 128
    records = trainer.reader.read([1] * 32)[1]
    completions = trainer._generate([as_conversation(record) for record in records])[1]
    assert sum(map(len, completions)) == 32 * 128
    assert not set(placeholder_ids(trainer.model.config)) & {token for ids in completions for token in ids}


# ---- The faults, put back ----


def test_expanded_prompts_are_named(make_trainer, rows, monkeypatch):
    monkeypatch.setattr("mmr1_trl.engines.training.one_token_per_picture", lambda prompts, *_: prompts)
    trainer = make_trainer(rows)
    with pytest.raises(Exception, match="vLLM reads another prompt than the one that is trained on"):
        trainer.train()
    monkeypatch.setattr(TrainingEngine, "_require_same", lambda *_: None)
    other = make_trainer(rows, max_steps=1, on_mismatch="warn")
    other.train()
    print("\nexpanded prompts", logged(other, DIFFERENCE))
    assert logged(other, DIFFERENCE)[0] > 0.15


def test_old_pictures_part_sampler_and_trainer(make_trainer, rows, monkeypatch):
    monkeypatch.setattr(TrainingEngine, "_reset_encoder_cache", lambda _: None)
    trainer = make_trainer(rows, on_mismatch="warn")
    trainer.train()
    differences = logged(trainer, DIFFERENCE)
    print("\nold pictures", differences)
    assert differences[0] < 0.02 and max(differences) > 0.1
