# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The seams of TRL and transformers that the trainer leans on. A failure here says which upstream change to follow."""

import inspect
import re

import pytest
import torch
from transformers import Trainer
from transformers.trainer_utils import rotate_checkpoints
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import RepeatSampler

from mmr1_trl import MSSRConfig, MSSRTrainer
from mmr1_trl.trainers.checks import UPSTREAM_CHOICES
from mmr1_trl.trainers.samplers.base import RowWalk


def parameters(function):
    return list(inspect.signature(function).parameters)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("get_train_dataloader", ["self"]),
        ("_generate_and_score_completions", ["self", "inputs"]),
        ("_generate", ["self", "prompts"]),
        ("_tokenize_prompts", ["self", "prompts"]),
        ("_calculate_rewards", ["self", "inputs", "prompts", "completions", "completion_ids_list"]),
        ("_compute_loss", ["self", "model", "inputs"]),
        ("training_step", ["self", "model", "inputs", "num_items_in_batch"]),
        ("_get_grad_norm", ["self", "model", "grad_norm"]),
        ("_save_checkpoint", ["self", "model", "trial"]),
        ("_load_optimizer_and_scheduler", ["self", "checkpoint"]),
        ("_load_from_checkpoint", ["self", "resume_from_checkpoint", "model"]),
        ("_load_best_model", ["self"]),
        ("_get_output_dir", ["self", "trial"]),
        ("create_model_card", ["self", "model_name", "dataset_name", "tags"]),
    ],
)
def test_method_signatures(method, expected):
    assert parameters(getattr(GRPOTrainer, method)) == expected


def test_cards_are_written_with_every_checkpoint_and_from_the_paper_of_the_class():
    assert "self.create_model_card(" in inspect.getsource(GRPOTrainer._save_checkpoint)
    assert {"title", "id", "citation"} <= set(GRPOTrainer._paper)


def test_forward_seam_takes_compute_entropy():
    names = parameters(GRPOTrainer._get_per_token_logps_and_entropies)
    assert names[:7] == [
        "self", "model", "input_ids", "attention_mask", "logits_to_keep", "batch_size", "compute_entropy",
    ]  # fmt: skip


def test_a_prompt_without_pictures_among_others_still_needs_an_empty_list():
    source = inspect.getsource(GRPOTrainer._tokenize_prompts)
    assert "images.append(prompt_images if prompt_images else None)" in source, "`_tokenize_prompts` may go"
    gathers = inspect.getsource(GRPOTrainer._generate_and_score_completions)
    assert "if images is not None and self.log_multimodal:" in gathers, "`vision/mixed.py` may leave log_multimodal be"


def test_sums_for_the_log_are_reset_before_the_first_epoch():
    source = inspect.getsource(Trainer._inner_training_loop)
    names = ("_tr_loss = ", "_total_loss_scalar = ", "_globalstep_last_logged = ")
    assert max(source.index(f"self.{name}") for name in names) < source.index("self._run_epoch("), "nothing to restore"
    assert "self._metrics[mode].clear()" in inspect.getsource(GRPOTrainer.log)


def test_choices_that_are_refused_early_are_upstreams():
    source = inspect.getsource(GRPOTrainer)
    for name, choices in UPSTREAM_CHOICES.items():
        compared = re.findall(rf"self\.{name} (?:==|in) (.*?):?\n", source)
        assert set(re.findall(r'"(\w+)"', " ".join(compared))) == set(choices), name


def test_rotation_is_a_function_of_its_own():
    assert {"output_dir", "save_total_limit", "best_model_checkpoint", "use_mtime"} <= set(
        parameters(rotate_checkpoints)
    )
    source = inspect.getsource(Trainer._save_checkpoint)
    assert source.index("save_to_json") < source.index("rotate_checkpoints"), "rotation is no longer the last act"


def test_grpo_config_still_refuses_one_generation_and_nothing_else_about_it():
    with pytest.raises(ValueError, match="at least 2 generations"):
        GRPOConfig("x", use_cpu=True, bf16=False, num_generations=1)
    config = MSSRConfig("x", use_cpu=True)
    assert type(config.num_generations) is int and config.num_generations == 1
    assert config.to_dict()["num_generations"] == 1


def test_uniform_order_is_the_repeat_samplers():
    sampler = RepeatSampler(range(11), mini_repeat_count=1, batch_size=3, repeat_count=1, shuffle=True, seed=5)
    walk = RowWalk(11, seed=5)
    for epoch in range(4):
        assert [row for i in range(3) for row in walk.rows(3 * epoch + i, 3).tolist()] == list(sampler)


def test_order_goes_on_after_a_jump():
    walk, other = RowWalk(11, seed=5), RowWalk(11, seed=5)
    batches = [walk.rows(number, 3).tolist() for number in range(12)]
    for start in (11, 4, 0):  # forward and backward
        assert other.rows(start, 3).tolist() == batches[start]


def test_generated_batch_has_the_keys_and_shapes_we_edit(make_trainer, monkeypatch):
    batches = []
    generate = GRPOTrainer._generate_and_score_completions
    monkeypatch.setattr(
        GRPOTrainer,
        "_generate_and_score_completions",
        lambda self, x: batches.append(generate(self, x)) or batches[-1],
    )
    trainer = make_trainer(MSSRTrainer, MSSRConfig, max_steps=2, steps_per_generation=2, gradient_accumulation_steps=1)
    trainer.train()
    batch = batches[0]
    size, length = batch["completion_ids"].shape
    assert size == 8
    assert batch["completion_mask"].shape == batch["old_per_token_logps"].shape == (size, length)
    assert batch["ref_per_token_logps"].shape == (size, length)
    assert batch["num_images"] == [1] * size
    assert batch["num_items_in_batch"].dim() == 0


def test_first_pass_of_a_generation_is_the_sampling_policys(make_trainer, monkeypatch):
    """Shaping at generation takes its entropies from the first forward, which must be the one of the old log-probs."""
    calls, batches = [], []
    forward = GRPOTrainer._get_per_token_logps_and_entropies
    generate = GRPOTrainer._generate_and_score_completions

    def counted(self, model, *args, **kwargs):
        result = forward(self, model, *args, **kwargs)
        calls.append((model, result[0]))
        return result

    def marked(self, inputs):
        calls.clear()
        output = generate(self, inputs)
        batches.append((output, list(calls)))
        return output

    monkeypatch.setattr(GRPOTrainer, "_get_per_token_logps_and_entropies", counted)
    monkeypatch.setattr(GRPOTrainer, "_generate_and_score_completions", marked)
    trainer = make_trainer(MSSRTrainer, MSSRConfig, max_steps=1, steps_per_generation=2, gradient_accumulation_steps=1)
    trainer.train()
    output, passes = batches[0]
    assert len(passes) == 2  # the sampling policy, then the reference
    assert passes[0][0] is trainer.model
    assert passes[0][1] is output["old_per_token_logps"]


def test_loss_reads_the_advantages_after_its_forward(make_trainer, monkeypatch):
    """Shaping in the loss replaces `advantages` during the forward; TRL must not have read them before."""
    trainer = make_trainer(MSSRTrainer, MSSRConfig, max_steps=1)
    order = []

    class Watched(dict):
        def __getitem__(self, key):
            if key == "advantages":
                order.append("advantages")
            return super().__getitem__(key)

    forward = GRPOTrainer._get_per_token_logps_and_entropies
    compute = GRPOTrainer._compute_loss

    def watched_forward(self, *args, **kwargs):
        order.append("forward")
        return forward(self, *args, **kwargs)

    def watched_compute(self, model, inputs):
        order.clear()
        return compute(self, model, Watched(inputs))

    monkeypatch.setattr(GRPOTrainer, "_get_per_token_logps_and_entropies", watched_forward)
    monkeypatch.setattr(GRPOTrainer, "_compute_loss", watched_compute)
    trainer.train()
    assert order[0] == "forward" and "advantages" in order


def test_entropies_of_the_loss_forward_carry_a_gradient(make_trainer, monkeypatch):
    seen = []
    forward = GRPOTrainer._get_per_token_logps_and_entropies

    def watched(self, *args, **kwargs):
        result = forward(self, *args, **kwargs)
        if kwargs.get("compute_entropy") and torch.is_grad_enabled():
            seen.append(result[1].requires_grad)
        return result

    monkeypatch.setattr(GRPOTrainer, "_get_per_token_logps_and_entropies", watched)
    make_trainer(num_generations=2, max_steps=1).train()
    assert seen and all(seen)


def test_the_gradient_norm_is_asked_for_before_the_step_can_be_stopped():
    """The guard against NaN decides in `_get_grad_norm` and acts in `on_pre_optimizer_step`."""
    source = inspect.getsource(Trainer._run_epoch)
    order = ["self._get_grad_norm(", "on_pre_optimizer_step(", "self.optimizer.step()", "on_step_end(", "_maybe_log_"]
    assert [source.index(part) for part in order] == sorted(source.index(part) for part in order)


def test_trainer_attributes(make_trainer):
    trainer = make_trainer(num_generations=2, max_steps=1)
    assert trainer._step == 0 and trainer._buffered_inputs is None
    assert trainer._logs["advantages"] is not None and set(trainer._metrics) == {"train", "eval"}
    assert not trainer._pending_metrics and not trainer._pending_extra_logs
    trainer.train()
    assert trainer._step == 1 and isinstance(trainer._buffered_inputs, list)
