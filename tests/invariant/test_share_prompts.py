# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Computing each prompt once changes nothing but the order of sums: log-probs, gradients, trainings."""

import pytest
import torch
from datasets import Dataset, Features, Image, List, Value
from fixtures.rollouts import LONG, SHORT, TEXT, picture, rollouts

from mmr1_trl.trainers.guards.exhaustion import out_of_memory_advice
from mmr1_trl.trainers.packing import installation
from mmr1_trl.trainers.packing.installation import SharedPrompts, find_text_model


A, B = (56, 56), (28, 84)
# prompts, the prompt of each row, tokens of each completion
BATCHES = {
    "groups of spread lengths": ([(LONG, [A]), (SHORT, [B])], [0, 1, 0, 1, 1, 0], [5, 1, 3, 0, 4, 2]),
    "completions of one token": ([(LONG, [A])], [0, 0, 0], [1, 1, 1]),
    "prompts that differ in their picture only": ([(LONG, [A]), (LONG, [A])], [0, 1, 0, 1], [3, 3, 2, 1]),
    "no copies, padding only": ([(LONG, [A]), (SHORT, [B]), (SHORT, [A])], [0, 1, 2], [6, 1, 2]),
}
# These processors take pictures of the Qwen families' kind: several in a prompt, none in another.
MIXED = {
    "several pictures": ([(LONG, [A, B]), (SHORT, [B])], [0, 1, 1, 0], [2, 3, 1, 4]),
    "rows without pictures": ([(LONG, [A]), (LONG, [])], [0, 1, 1, 0], [2, 3, 1, 4]),
    "text only": ([(LONG, []), (SHORT, [])], [0, 1, 1, 0], [2, 3, 1, 4]),
}
QWEN = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
FAMILIES = (*QWEN, "llava", "idefics3", *TEXT)


def states_and_gradients(model, batch, width, sharing=None):
    """Last hidden states where they are read, and the gradients of all parameters of a weighted sum of them."""
    weights = torch.randn(
        *batch["input_ids"].shape, model.config.get_text_config().hidden_size, dtype=torch.float64,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    read = batch["attention_mask"].clone()
    read[:, : width - 1] = 0
    model.zero_grad()
    if sharing is None:
        states = model.base_model(**batch, use_cache=False).last_hidden_state
    else:
        with sharing.completions(width):
            states = model.base_model(**batch, use_cache=False).last_hidden_state
    states = states.double() * read.unsqueeze(-1)
    (states * weights).sum().backward()
    return states.detach(), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("family", FAMILIES)
def test_states_and_gradients_equal_dense_ones_in_float64(family):
    batches = BATCHES | (MIXED if family in QWEN else {})
    for name, (prompts, order, lengths) in batches.items():
        prompts = [(text, [picture(*size, i) for size in sizes]) for i, (text, sizes) in enumerate(prompts)]
        model, batch, width = rollouts(family, prompts, order, lengths)
        single = {key: value.clone() for key, value in model.state_dict().items()}
        double = {key: v.double() if v.is_floating_point() else v for key, v in batch.items()}
        states, gradients = states_and_gradients(model.double(), double, width)
        model.float().load_state_dict(single)
        sharing = SharedPrompts()
        sharing.install(find_text_model(model))
        scale = max(gradient.abs().max() for gradient in gradients.values())
        for reentrant in (None, True, False):
            if reentrant is not None:
                model.gradient_checkpointing_enable({"use_reentrant": reentrant})
                model.enable_input_require_grads()
            sharing.asked = sharing.computed = 0
            packed, mine = states_and_gradients(model, batch, width, sharing)
            different = len({(text, *(p.tobytes() for p in pictures)) for text, pictures in prompts})
            real = batch["attention_mask"][:, :width].sum(1)
            prompts_once = sum(int(real[order.index(i)]) for i in range(different)) if family not in TEXT else None
            if prompts_once is not None:
                assert sharing.computed == prompts_once + sum(lengths), name
            assert sharing.computed < sharing.asked == batch["input_ids"].numel(), name
            assert (packed - states).abs().max() < 1e-5, name
            assert mine.keys() == gradients.keys()
            for parameter, gradient in gradients.items():
                error = (mine[parameter] - gradient).abs().max() / scale
                assert error < 2e-6, (name, reentrant, parameter, error)


def lora(**options):
    from peft import LoraConfig

    return LoraConfig(r=2, target_modules="all-linear", **options)


def mixed_rows(num_rows, text_only=lambda row: False):
    """No, one or two pictures a row, of all sizes."""
    texts = (LONG, SHORT, f"{SHORT} upleft")
    records = [
        {
            "prompt": [{"role": "user", "content": texts[i % 3]}],
            "images": [] if text_only(i) else [picture(28 + 28 * (i % 2), 56, i + k) for k in range(1 + i % 2)],
            "solution": str(i % 3),
        }
        for i in range(num_rows)
    ]
    features = Features(
        {
            "prompt": [{"role": Value("string"), "content": Value("string")}],
            "images": List(Image()),
            "solution": Value("string"),
        }
    )
    return Dataset.from_list(records, features=features)


FROZEN = {"freeze_vision_tower": True, "freeze_merger": True}
TWO_UPDATES = {"steps_per_generation": 2, "gradient_accumulation_steps": 1}
LOSSES = ("dapo", "dr_grpo", "bnpo", "cispo", "sapo", "luspo", "vespo")
ACCUMULATED = {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 4}
# Four rollouts of two prompts in each micro-batch; steps of SGD show the gradients' difference as it is.
TRAININGS = {
    **{loss: {"loss_type": loss, **ACCUMULATED} for loss in LOSSES},
    "iterations, reference": {"num_iterations": 2, "beta": 0.1, "loss_type": "grpo", **TWO_UPDATES},
    "accumulation": {"gradient_accumulation_steps": 4, "per_device_train_batch_size": 4, **FROZEN},
    "groups straddle micro-batches": {
        "gradient_accumulation_steps": 2, "steps_per_generation": 4, "per_device_train_batch_size": 6,
    },
    "LoRA, adapters off for the reference": {"peft_config": lora(), "beta": 0.1, **FROZEN},
    "LoRA in the tower, reentrant": {
        "peft_config": lora(), "gradient_checkpointing_kwargs": {"use_reentrant": True}, **TWO_UPDATES
    },
    "entropy of tokens": {"top_entropy_quantile": 0.5, "entropy_coef": 0.01, **ACCUMULATED},
    "entropy schedule": {"entropy_schedule": "two_stage", "explore_coef": 0.1, **ACCUMULATED},
    "shaping, no copies": {
        "num_generations": 1, "advantage_baseline": "value_tracker", "entropy_shaping": True, "beta": 0.05,
        "rows": mixed_rows(16), "max_completion_length": 12,
    },
    "empty completions": {"mask_truncated_completions": True, "reward_funcs": "length"},
    "several pictures, several sizes": {"rows": mixed_rows(16), "family": "qwen3_vl", **TWO_UPDATES},
    "rows without pictures": {"rows": mixed_rows(16, lambda row: row % 2), **TWO_UPDATES},
    "encode_once off": {"encode_once": False},
    "llava": {"family": "llava", "gradient_accumulation_steps": 2},
    "evaluation in mid-window": {
        "eval_strategy": "steps", "eval_steps": 1, "eval_rows": mixed_rows(4), **TWO_UPDATES, **FROZEN
    },
}  # fmt: skip


def history(trainer):
    names = ("loss", "grad_norm", "reward", "entropy", "kl", "eval_loss", "eval_reward", "mssr/bonus_mean")
    return [{name: entry[name] for name in names if name in entry} for entry in trainer.state.log_history]


def by_length(completion_ids, **kwargs):
    return [float(len(set(ids)) + sum(ids) % 3) for ids in completion_ids]


@pytest.fixture(autouse=True)
def pack_the_smallest(monkeypatch):
    monkeypatch.setattr(installation, "TOKENS_SPARED", 0)


@pytest.fixture
def train(make_trainer):
    def trained(share_prompts, **options):
        settings = {"num_generations": 4, "per_device_train_batch_size": 8, "max_steps": 2, "optim": "sgd"}
        settings |= {"learning_rate": 0.1, "share_prompts": share_prompts} | options
        if settings.get("reward_funcs") == "length":
            settings["reward_funcs"] = by_length
        trainer = make_trainer(**settings)
        trainer.train()
        return trainer

    return trained


@pytest.mark.parametrize("case", TRAININGS)
def test_a_training_differs_by_rounding(train, case):
    plain, shared = train("off", **TRAININGS[case]), train("auto", **TRAININGS[case])
    assert not any("tokens/asked" in entry for entry in plain.state.log_history)
    # Where the loss depends on which rows meet in a micro-batch, TRL decides it, and fewer prompts meet.
    few = case in ("bnpo", "entropy of tokens", "shaping, no copies")
    assert shared.sharing.computed < (0.9 if few else 0.65) * shared.sharing.asked
    for mine, other in zip(history(shared), history(plain), strict=True):
        assert mine == pytest.approx(other, rel=1e-4, abs=2e-6, nan_ok=True)
    for (name, mine), other in zip(shared.model.named_parameters(), plain.model.parameters(), strict=True):
        assert torch.allclose(mine, other, atol=2e-6, rtol=1e-5), name


def test_resume_in_mid_window(train, make_trainer, tmp_path):
    options = {
        "num_generations": 4, "per_device_train_batch_size": 8, "share_prompts": "auto", "max_steps": 4,
        "steps_per_generation": 4, "gradient_accumulation_steps": 1, "save_strategy": "steps", "save_steps": 3,
        "rows": mixed_rows(16), "group_coherent": True,
    }  # fmt: skip
    whole = train(optim="adamw_torch", output_dir=str(tmp_path / "whole"), **options)
    again = make_trainer(learning_rate=0.1, output_dir=str(tmp_path / "again"), **options)
    again.train(resume_from_checkpoint=str(tmp_path / "whole/checkpoint-3"))
    assert history(again)[3:-1] == history(whole)[3:-1]
    asked, computed = again.sharing.last
    advice = out_of_memory_advice(again, torch.OutOfMemoryError("full"))
    assert f"last forward pass: {computed} of {asked} tokens" in advice and computed < asked
    assert all(torch.equal(*pair) for pair in zip(whole.model.parameters(), again.model.parameters(), strict=True))


def rollouts_met(train, **options):
    """Rollouts per computed prompt in the micro-batches, and per encoded picture in all passes."""
    trainer = train(num_generations=8, rows=None, max_steps=options.get("steps_per_generation", 1), **options)
    return trainer.vision.asked / trainer.vision.encoded


def test_rollouts_of_a_prompt_meet(train):
    """Sampling, old log-probs where there are several updates, and updates of 32 rollouts of 4 prompts."""
    assert rollouts_met(train, share_prompts="auto", gradient_accumulation_steps=4) == 8
    small = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 8}
    assert rollouts_met(train, share_prompts="auto", **small) == 2 * 32 / (4 + 8)
    assert rollouts_met(train, share_prompts="off", **small) < 3
    several = {"gradient_accumulation_steps": 1, "steps_per_generation": 4}
    assert rollouts_met(train, share_prompts="off", group_coherent=True, **several) == 8
    assert rollouts_met(train, share_prompts="auto", **several) < 5
