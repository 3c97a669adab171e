# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""MSSR inside the trainer, against brute force over the model's full logits."""

import math

import pytest
import torch
from trl import GRPOTrainer

import mmr1_trl.trainers.baselines as baselines_module
from mmr1_trl import MSSRConfig, MSSRTrainer
from mmr1_trl.errors import BadInputError
from mmr1_trl.trainers.baselines import normalize_advantages, row_kl


ALIGNED = {"gradient_accumulation_steps": 1, "per_device_train_batch_size": 8}
MISALIGNED = {"gradient_accumulation_steps": 1, "per_device_train_batch_size": 4, "steps_per_generation": 2}


def watch_losses(monkeypatch):
    """Record the inputs of each loss as TRL's loss finally sees them, with the model's dense entropies."""
    seen = []
    compute = GRPOTrainer._compute_loss

    def watched(self, model, inputs):
        ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
        mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
        with torch.no_grad():
            logits = model(
                input_ids=ids,
                attention_mask=mask,
                pixel_values=inputs["pixel_values"],
                image_grid_thw=inputs["image_grid_thw"],
                mm_token_type_ids=inputs["mm_token_type_ids"],
            ).logits.double()
        length = inputs["completion_ids"].shape[1]
        logps = torch.log_softmax(logits[:, -length - 1 : -1], dim=-1)
        dense = {
            "entropies": -(logps.exp() * logps).sum(-1),
            "logps": logps.gather(-1, inputs["completion_ids"].unsqueeze(-1)).squeeze(-1),
        }
        before = inputs["advantages"]
        loss = compute(self, model, inputs)
        seen.append({"before": before, "after": inputs["advantages"], "loss": loss.detach(), **inputs, **dense})
        return loss

    monkeypatch.setattr(GRPOTrainer, "_compute_loss", watched)
    return seen


@pytest.mark.parametrize("source", ["full", "sampled_token"])
@pytest.mark.parametrize("layout", [ALIGNED, MISALIGNED], ids=["aligned", "misaligned"])
def test_shaped_advantages_equal_the_formula(make_trainer, monkeypatch, source, layout):
    seen = watch_losses(monkeypatch)
    trainer = make_trainer(
        MSSRTrainer, MSSRConfig, beta=0.0, tracker_forgetting="fixed", entropy_source=source, max_steps=1, **layout
    )
    trainer.train()
    first = seen[0]  # before any update, so the model that scored is the one that sampled
    shaped = first["after"]
    assert shaped.shape == first["completion_ids"].shape
    entropy = first["entropies"] if source == "full" else -first["logps"].exp() * first["logps"]
    # The unshaped advantage is what is left of a token's value without its bonus.
    for row in range(shaped.shape[0]):
        for token in range(int(first["completion_mask"][row].sum())):
            bonus_free = first["before"][row] if first["before"].dim() == 1 else None
            h = entropy[row, token].item()
            value = shaped[row, token].item()
            if bonus_free is not None:
                a = bonus_free.item()
                assert value == pytest.approx(a + min(0.4 * h, abs(a) / 2.0), abs=1e-5)
            else:  # shaped at generation: solve for the advantage, which all tokens of the row must share
                candidates = [value - 0.4 * h, value / 1.5, value / 0.5]
                assert any(abs(c + min(0.4 * h, abs(c) / 2.0) - value) < 1e-5 for c in candidates)


def test_aligned_and_misaligned_shaping_agree_before_the_first_update(make_trainer, monkeypatch):
    """The same first batch, shaped in the loss and shaped at generation."""
    values = []
    for layout in (ALIGNED, ALIGNED | {"num_iterations": 2}):
        seen = watch_losses(monkeypatch)
        trainer = make_trainer(
            MSSRTrainer, MSSRConfig, beta=0.0, tracker_forgetting="fixed", max_steps=1, shuffle_dataset=False, **layout
        )
        trainer.train()
        order = seen[0]["completion_ids"].sum(-1).argsort(stable=True)
        values.append((seen[0]["after"] * seen[0]["completion_mask"])[order])
        monkeypatch.undo()
    torch.testing.assert_close(values[0].sort(0).values, values[1].sort(0).values, atol=1e-5, rtol=1e-5)


def test_advantage_uses_the_value_before_the_update(make_trainer, make_rows, monkeypatch):
    trainer = make_trainer(
        MSSRTrainer, MSSRConfig, rows=make_rows(8), beta=0.0, tracker_forgetting="fixed", entropy_shaping=False,
        max_steps=2, shuffle_dataset=False, **ALIGNED,
    )  # fmt: skip
    rewards, advantages = [], []
    original = trainer.baseline.advantages

    def watched(batch):
        result = original(batch)
        rewards.append(dict(zip(batch.prompts.tolist(), batch.rewards.tolist())))
        advantages.append(dict(zip(batch.prompts.tolist(), result.tolist())))
        return result

    trainer.baseline.advantages = watched
    trainer.train()
    alpha = dict.fromkeys(range(8), 4.0)  # N0 = 8 at 0.5
    beta = dict(alpha)
    for batch, seen in zip(rewards, advantages):
        raw = {slot: r - alpha[slot] / (alpha[slot] + beta[slot]) for slot, r in batch.items()}
        mean = sum(raw.values()) / len(raw)
        variance = sum((a - mean) ** 2 for a in raw.values()) / len(raw)
        for slot, a in raw.items():
            assert seen[slot] == pytest.approx((a - mean) / math.sqrt(max(variance, 1e-6)), abs=1e-5)
        for slot, r in batch.items():
            alpha[slot], beta[slot] = 0.96 * alpha[slot] + r, 0.96 * beta[slot] + 1 - r
    values = trainer.value_tracker.values(list(range(8)))
    expected = [alpha[s] / (alpha[s] + beta[s]) for s in range(8)]
    torch.testing.assert_close(values, torch.tensor(expected), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("loss_type", ["grpo", "bnpo", "dr_grpo", "dapo", "luspo", "cispo", "sapo", "vespo"])
@pytest.mark.parametrize("layout", [ALIGNED, MISALIGNED], ids=["aligned", "misaligned"])
def test_every_loss_type_learns_from_shaped_advantages(make_trainer, loss_type, layout):
    options = {"importance_sampling_level": "sequence"} if loss_type == "luspo" else {}
    if loss_type == "cispo":
        options["epsilon_high"] = 5.0
    trainer = make_trainer(
        MSSRTrainer, MSSRConfig, loss_type=loss_type, beta=0.0, tracker_forgetting="fixed", max_steps=2,
        **options, **layout,
    )  # fmt: skip
    before = [p.detach().clone() for p in trainer.model.parameters()]
    trainer.train()
    entries = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert all(math.isfinite(entry["loss"]) and entry["grad_norm"] > 0 for entry in entries)
    assert any(not torch.equal(a, b) for a, b in zip(before, trainer.model.parameters()))


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl", "llava", "idefics3"])
@pytest.mark.parametrize("images", [1, 2])
def test_every_family_trains(make_trainer, make_rows, family, images):
    trainer = make_trainer(
        MSSRTrainer, MSSRConfig, family=family, rows=make_rows(16, images_per_row=images), max_steps=2, **MISALIGNED
    )
    trainer.train()
    assert all(entry["grad_norm"] > 0 for entry in trainer.state.log_history if "loss" in entry)


def test_lora_trains_only_the_adapter_and_resumes(make_trainer, tmp_path):
    from peft import LoraConfig

    options = {"save_strategy": "steps", "save_steps": 1, "max_steps": 2, **MISALIGNED}
    lora = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    whole = make_trainer(MSSRTrainer, MSSRConfig, peft_config=lora, output_dir=str(tmp_path / "a"), **options)
    base = {n: p.detach().clone() for n, p in whole.model.named_parameters() if "lora_" not in n}
    whole.train()
    assert all(torch.equal(p, base[n]) for n, p in whole.model.named_parameters() if n in base)
    resumed = make_trainer(MSSRTrainer, MSSRConfig, peft_config=lora, output_dir=str(tmp_path / "b"), **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "a" / "checkpoint-1"))
    for (name, mine), other in zip(resumed.model.named_parameters(), whole.model.parameters()):
        assert torch.equal(mine, other), name


def test_unscorable_completions_do_nothing(make_trainer, make_rows):
    def reward(completions, **kwargs):
        return [None] * len(completions)

    trainer = make_trainer(
        MSSRTrainer, MSSRConfig, rows=make_rows(8), reward_funcs=reward, max_steps=1, weight_decay=0.0, **ALIGNED
    )
    before = [p.detach().clone() for p in trainer.model.parameters()]
    trainer.train()
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.model.parameters()))
    assert trainer.value_tracker.frac_unseen == 1.0


def test_partly_unscorable_batch_ignores_those_rows(make_trainer, make_rows, monkeypatch):
    def reward(completions, solution, **kwargs):
        return [None if gold == "0" else float(gold == "1") for gold in solution]

    seen = watch_losses(monkeypatch)
    trainer = make_trainer(
        MSSRTrainer, MSSRConfig, rows=make_rows(8), reward_funcs=reward, max_steps=1, entropy_shaping=False,
        beta=0.0, tracker_forgetting="fixed", **ALIGNED,
    )  # fmt: skip
    trainer.train()
    advantages, masks = seen[0]["after"], seen[0]["completion_mask"].sum(-1)
    assert (advantages == 0).sum() == (masks == 0).sum() == 3  # rows 0, 3 and 6
    scored = advantages[masks > 0]
    assert scored.mean().abs() < 1e-6 and scored.std(correction=0) == pytest.approx(1, abs=1e-5)


def test_non_binary_rewards_meet_the_threshold(make_trainer, make_rows):
    def reward(completions, solution, **kwargs):
        return [0.3 * int(gold) for gold in solution]  # 0, 0.3 or 0.6

    trainer = make_trainer(
        MSSRTrainer, MSSRConfig, rows=make_rows(8), reward_funcs=reward, max_steps=1, beta=0.0,
        tracker_forgetting="fixed", tracker_success_threshold=0.25, **ALIGNED,
    )  # fmt: skip
    trainer.train()
    values = trainer.value_tracker.values(list(range(8))).tolist()
    assert [v > 0.5 for v in values] == [i % 3 > 0 for i in range(8)]


def test_initial_rollouts_and_smoothing(make_trainer, make_rows):
    calls = []

    def reward(completions, solution, **kwargs):
        calls.append(len(completions))
        return [float(gold == "1") for gold in solution]

    for smoothing, low in ((False, 0.0), (True, 0.5 / 4)):
        trainer = make_trainer(
            MSSRTrainer, MSSRConfig, rows=make_rows(10), reward_funcs=reward, max_steps=1, beta=0.0,
            tracker_forgetting="fixed", tracker_initial_rollouts=3, tracker_smoothing=smoothing, **ALIGNED,
        )  # fmt: skip
        calls.clear()
        seen = []
        original = trainer.baseline.tracker.initialize
        trainer.baseline.tracker.initialize = lambda ids, rates, seen=seen, f=original: (
            seen.append(rates),
            f(ids, rates),
        )
        trainer.train()
        assert sum(calls[:-1]) == 30 and calls[-1] == 8
        assert trainer.state.log_history[0]["num_rollouts"] == 38
        expected = torch.tensor([1 - low if i % 3 == 1 else low for i in range(10)], dtype=torch.float64)
        torch.testing.assert_close(seen[0], expected)


def double(number: int) -> int:
    """
    Double a number.

    Args:
        number: The number.
    """
    return 2 * number


def test_initial_rollouts_with_tools_are_refused(make_trainer):
    options = {"beta": 0.0, "tracker_forgetting": "fixed", "tracker_initial_rollouts": 1}
    trainer = make_trainer(MSSRTrainer, MSSRConfig, **ALIGNED | options)
    trainer.tools = [double]
    with pytest.raises(BadInputError, match="made without tools"):
        trainer.train()


def test_the_group_baseline_makes_no_initial_rollouts(make_trainer):
    """An ablation of a YAML with the tracker needs no further option."""
    trainer = make_trainer(MSSRTrainer, MSSRConfig, advantage_baseline="group", tracker_initial_rollouts=1,
                           num_generations=4, max_steps=1, **ALIGNED)  # fmt: skip
    trainer.train()
    assert trainer.state.log_history[0]["num_rollouts"] == 8
    assert trainer.describe_run()["rollouts"] == {"training": 8, "scoring": 0, "initial": 0}


@pytest.mark.parametrize("where", ["column", "parquet", "jsonl"])
def test_initial_values_from_scores(make_trainer, make_rows, tmp_path, where):
    from datasets import Dataset

    rates = [i / 16 for i in range(16)]
    rows = make_rows(16).add_column("prompt_id", [f"p{i}" for i in range(16)])
    source = "rate"
    if where == "column":
        rows = rows.add_column("rate", rates)
    else:
        table = Dataset.from_dict({"prompt_id": [f"p{i}" for i in range(8)], "pass_rate": rates[:8]})
        source = str(tmp_path / f"scores.{where}")
        table.to_parquet(source) if where == "parquet" else table.to_json(source)
    rows = rows.shuffle(seed=3)
    trainer = make_trainer(MSSRTrainer, MSSRConfig, rows=rows, prompt_scores=source)
    values = trainer.value_tracker.values(trainer.prompts.numbers).tolist()
    for row, value in zip(rows["prompt_id"], values):
        number = int(row[1:])
        assert value == pytest.approx(rates[number] if where == "column" or number < 8 else 0.5)


def test_metrics_say_what_matters_and_nothing_else(make_trainer):
    trainer = make_trainer(MSSRTrainer, MSSRConfig, max_steps=2, **MISALIGNED)
    trainer.train()
    logged = set().union(*trainer.state.log_history)
    assert {
        "mssr/value_mean", "mssr/rho", "mssr/kl", "mssr/bonus_mean", "mssr/advantage_std", "mssr/frac_unseen",
    } <= logged  # fmt: skip
    assert "frac_reward_zero_std" not in logged


def test_normalize_advantages_floor_and_empty():
    same = normalize_advantages(torch.full((4,), 0.3), torch.ones(4, dtype=torch.bool))
    assert torch.equal(same, torch.zeros(4))
    assert torch.equal(normalize_advantages(torch.ones(3), torch.zeros(3, dtype=torch.bool)), torch.zeros(3))


def test_row_kl_is_k3_per_row_then_mean():
    torch.manual_seed(0)
    logps, other = -torch.rand(3, 5), -torch.rand(3, 5)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]])
    total, count = row_kl(logps, other, mask)
    expected = 0.0
    for row in range(2):
        terms = [
            math.exp(o - p) - (o - p) - 1 for p, o, m in zip(logps[row].tolist(), other[row].tolist(), mask[row]) if m
        ]
        expected += sum(terms) / len(terms)
    assert count == 2 and total.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("source", ["reference", "policy"])
def test_the_kl_leaves_out_what_tools_have_answered(make_trainer, monkeypatch, source):
    options = {"tracker_kl_source": source, "beta": 0.05, "max_steps": 2}
    trainer = make_trainer(MSSRTrainer, MSSRConfig, **MISALIGNED | options)
    generate, masks = trainer._generate, []

    def with_tools(prompts):
        output = list(generate(prompts))
        output[2] = [[1] * (len(ids) - 2) + [0, 0] for ids in output[1]]
        return tuple(output)

    def watched(logps, other_logps, mask):
        masks.append(mask)
        return row_kl(logps, other_logps, mask)

    trainer._generate = with_tools
    monkeypatch.setattr(baselines_module, "row_kl", watched)
    trainer.train()
    # Random weights hardly ever end a completion of six tokens early.
    assert masks and all((mask[:, 4:] == 0).all() and mask[:, :3].any() for mask in masks)


def test_tables_of_completions_hold_some_pictures(make_trainer, tmp_path):
    import io

    import pandas as pd
    import PIL.Image

    trainer = make_trainer(
        MSSRTrainer, MSSRConfig, max_steps=1, log_completions=True, num_completions_to_print=0, **MISALIGNED
    )
    trainer.train()
    table = pd.read_parquet(tmp_path / "run" / "completions" / "completions_00001.parquet")
    assert len(table) == 8 and table["picture"].notna().all()
    assert PIL.Image.open(io.BytesIO(table["picture"][0])).size == (56, 28)
