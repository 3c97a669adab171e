# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Computing each prompt once changes nothing but the order of sums: log-probs, gradients, trainings."""

import copy
import inspect
import logging
import re
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset, Features, Image, List, Value
from fixtures.models import build
from fixtures.rollouts import LONG, SHORT, TEXT, picture, rollouts, text_model
from trl import GRPOTrainer

from mmr1_trl.models.families import FAMILIES
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
# These processors take several pictures in a prompt, and none in another.
MIXED = {
    "several pictures": ([(LONG, [A, B]), (SHORT, [B])], [0, 1, 1, 0], [2, 3, 1, 4]),
    "rows without pictures": ([(LONG, [A]), (LONG, [])], [0, 1, 1, 0], [2, 3, 1, 4]),
    "text only": ([(LONG, []), (SHORT, [])], [0, 1, 1, 0], [2, 3, 1, 4]),
}
PATCHED = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "glm4v")
OFF = ("qwen3_vl_moe", "qwen3_5", "qwen3_5_moe", "glm4v_moe", "gemma3", "gemma4")
# Those whose text part is one of these.
OTHERS = ("internvl", "llava", "llava_next", "llava_onevision", "idefics3", "smolvlm")


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
        with sharing.completions(batch["input_ids"].size(1) - width):
            states = model.base_model(**batch, use_cache=False).last_hidden_state
    states = states.double() * read.unsqueeze(-1)
    (states * weights).sum().backward()
    return states.detach(), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def test_every_family_and_every_loss_has_its_row():
    assert {*PATCHED, *OTHERS, *OFF} == set(FAMILIES)
    source = inspect.getsource(GRPOTrainer._compute_loss)
    losses = re.findall(r"self\.loss_type (?:==|in) (\S+|\[.*?\]):", source)
    assert set(re.findall(r"\w+", " ".join(losses))) == {*LOSSES, "grpo"}


@pytest.mark.parametrize("family", [*PATCHED, *TEXT, *OTHERS])
def test_states_and_gradients_equal_dense_ones_in_float64(family):
    batches = BATCHES | (MIXED if family in PATCHED else {})
    if family in OTHERS:
        batches = {name: BATCHES[name] for name in list(BATCHES)[::2]}
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
        everything = family not in OTHERS and name == "groups of spread lengths"
        for reentrant in (None, True, False) if everything else (False,):
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
    **{loss: {"loss_type": loss, "max_steps": 1, **ACCUMULATED} for loss in LOSSES},
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
    advice = again.advice_on(torch.OutOfMemoryError("full"))
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
    several = {"gradient_accumulation_steps": 1, "steps_per_generation": 4}
    assert rollouts_met(train, share_prompts="off", group_coherent=True, **several) == 8


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl", "glm4v", "llava", "qwen2"])
def test_sampled_tokens_are_the_same_and_each_prompt_is_filled_in_once(family):
    prompts = [(LONG, [picture(*A, 0)]), (LONG, [picture(*A, 1)]), (SHORT, [picture(*B, 2)])]
    model, batch, width = rollouts(family, prompts, [0, 0, 0, 1, 1, 2], [0] * 6)
    batch = {
        name: v[:, :width] if name in ("input_ids", "attention_mask", "mm_token_type_ids") else v
        for name, v in batch.items()
    }
    text = find_text_model(model)
    seen = []
    text.layers[0].register_forward_hook(lambda module, args, output: seen.append(args[0].shape[:2]))
    sharing = SharedPrompts()
    sharing.install(text)

    def sample():
        seen.clear()
        torch.manual_seed(0)
        return model.generate(
            **batch, do_sample=True, max_new_tokens=5, output_logits=True, return_dict_in_generate=True
        )

    with torch.no_grad():
        plain = sample()
        assert seen[0] == (6, width) and seen[1] == (6, 1)
        with sharing.sampling():
            shared = sample()
    assert seen[0] == (3, width) and seen[1] == (6, 1)
    assert torch.equal(plain.sequences, shared.sequences)
    for mine, other in zip(shared.logits, plain.logits, strict=True):
        assert torch.allclose(mine, other, rtol=1e-4, atol=1e-6)


def test_where_it_is_off(caplog):
    def reason(model, **options):
        accelerator = SimpleNamespace(distributed_type="NO")
        settings = {"torch_compile": False, "use_transformers_continuous_batching": False, "share_prompts": "auto"}
        args = SimpleNamespace(**settings | options)
        caplog.clear()
        with caplog.at_level("WARNING"):
            sharing = installation.prepare_sharing(args, [model], accelerator, tools=None)
        assert sharing.active != bool(caplog.records) or args.share_prompts == "off"
        return caplog.text

    logger = logging.getLogger("transformers")
    logger.addHandler(caplog.handler)
    try:
        assert not reason(text_model("qwen2"))
        assert not reason(text_model("qwen2"), share_prompts="off")
        for family in OFF:  # experts, whose load is balanced over tokens, linear attention, bidirectional attention
            model = build(family)[0]
            assert f"the text part of {type(model).__name__} is none of" in reason(model)
        assert "layers that do not see the whole prompt" in reason(text_model("mistral", sliding_window=8))
        windows = {"use_sliding_window": True, "max_window_layers": 0, "sliding_window": 8}
        assert "layers that do not see the whole prompt" in reason(text_model("qwen2", **windows))
        assert "attention is 'eager'" in reason(text_model("llama", attn_implementation="eager"))
        assert "torch.compile" in reason(text_model("llama"), torch_compile=True)
        assert "continuous batching" in reason(text_model("llama"), use_transformers_continuous_batching=True)
    finally:
        logger.removeHandler(caplog.handler)


def test_a_copy_is_packed_by_its_own_weights():
    model, batch, width = rollouts("llama", [(LONG, [])], [0, 0], [3, 2])
    sharing = SharedPrompts()
    sharing.install(find_text_model(model))
    other = copy.deepcopy(model)
    for parameter in model.parameters():
        parameter.data.zero_()
    states, _ = states_and_gradients(other, batch, width, sharing)
    plain, _ = states_and_gradients(other, batch, width)
    assert sharing.computed < sharing.asked and states.abs().max() > 0
    assert torch.allclose(states, plain, atol=1e-5)
    assert not states_and_gradients(model, batch, width, sharing)[0].any()


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl", "qwen3"])
def test_under_bf16_autocast_it_is_as_exact_as_without(family):
    prompts, order, lengths = BATCHES["groups of spread lengths"]
    prompts = [(text, [picture(*size, i) for size in sizes]) for i, (text, sizes) in enumerate(prompts)]
    model, batch, width = rollouts(family, prompts, order, lengths)
    exact = states_and_gradients(model, batch, width)
    sharing = SharedPrompts()
    sharing.install(find_text_model(model))
    with torch.autocast("cpu", torch.bfloat16):
        plain = states_and_gradients(model, batch, width)
        shared = states_and_gradients(model, batch, width, sharing)
    assert sharing.computed < 0.6 * sharing.asked

    def error(one):
        pairs = [(one[0], exact[0]), *((one[1][name], gradient) for name, gradient in exact[1].items())]
        return sum((mine - other).double().square().sum() for mine, other in pairs).sqrt()

    assert 0 < error(shared) < 1.5 * error(plain)
