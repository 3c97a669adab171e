# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Encoding each picture once changes nothing: tokens, losses, gradient norms, weights, checkpoints."""

import json
import logging
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from datasets import Dataset
from fixtures.forked import ON_TWO, run
from safetensors.torch import load_file

from mmr1_trl.errors import BadInputError
from mmr1_trl.trainers.vision import cache
from mmr1_trl.trainers.vision.freezing import is_frozen
from mmr1_trl.trainers.vision.pictures import redeem_tickets


FROZEN = {"freeze_vision_tower": True, "freeze_merger": True}
FOUR_UPDATES = {"steps_per_generation": 4, "gradient_accumulation_steps": 1, "max_steps": 8}


def mixed_rows(num_rows, seed=0):
    """One or two pictures a row, of all sizes."""
    rng = np.random.default_rng(seed)

    def row(i):
        sizes = rng.integers(28, 113, (1 + i % 2, 2))
        return {
            "prompt": [{"role": "user", "content": f"upleft plus lowright is {i % 7} ?"}],
            "images": [PIL.Image.fromarray(rng.integers(0, 255, (h, w, 3), dtype=np.uint8)) for h, w in sizes],
            "solution": str(i % 3),
        }

    return Dataset.from_list([row(i) for i in range(num_rows)])


@pytest.fixture
def train(make_trainer):
    def trained(encode_once, **options):
        trainer = make_trainer(encode_once=encode_once, **({"num_generations": 2, "rows": mixed_rows(16)} | options))
        trainer.train()
        return trainer

    return trained


def history(trainer):
    names = ("step", "loss", "grad_norm", "reward", "entropy", "kl", "eval_loss", "eval_reward")
    return [{name: entry[name] for name in names if name in entry} for entry in trainer.state.log_history]


def lora(**options):
    from peft import LoraConfig

    return LoraConfig(r=2, target_modules="all-linear", **options)


EXACT = {
    "qwen2_5_vl": {"steps_per_generation": 2, "num_iterations": 2, "beta": 0.1},
    "qwen2_vl": {"family": "qwen2_vl", **FOUR_UPDATES},
    "qwen3_vl": {"family": "qwen3_vl", "beta": 0.1, "sync_ref_model": True, "ref_model_sync_steps": 1},
    "qwen3_5": {"family": "qwen3_5", "beta": 0.1, "max_steps": 2},
    "no checkpointing": {"gradient_checkpointing": False},
    "bf16": {"bf16": True, **FOUR_UPDATES},
    "LoRA": {"peft_config": lora(), "beta": 0.1, "steps_per_generation": 2, "gradient_accumulation_steps": 1},
    "evaluation": {"eval_strategy": "steps", "eval_steps": 2, "eval_rows": mixed_rows(4, seed=5), **FOUR_UPDATES},
}


@pytest.mark.parametrize("case", EXACT)
def test_a_frozen_tower_trains_as_without(train, case):
    plain = train(False, **FROZEN, **EXACT[case])
    once = train(True, **FROZEN, **EXACT[case])
    assert plain.vision is None and once.vision is not None and once.vision.encoded < once.vision.asked / 2
    assert history(once) == history(plain)
    for (name, mine), other in zip(once.model.named_parameters(), plain.model.named_parameters()):
        assert name == other[0] and torch.equal(mine, other[1]), name


# Merged copies are summed in another order: steps of SGD show the gradients' difference as it is.
CLOSE = {
    "qwen2_5_vl": {"steps_per_generation": 2, "gradient_accumulation_steps": 1},
    "qwen3_vl, checkpointing": {"family": "qwen3_vl"},
    "LoRA in the tower": {"peft_config": lora(), "beta": 0.1, "learning_rate": 1.0},
    "merger trained": {"freeze_vision_tower": True, **FOUR_UPDATES},
    "qwen3_vl, merger trained": {"freeze_vision_tower": True, "family": "qwen3_vl"},
}


@pytest.mark.parametrize("case", CLOSE)
def test_a_trained_tower_or_merger_differs_by_rounding(train, case):
    options = {"optim": "sgd", "learning_rate": 0.1} | CLOSE[case]
    plain, once = train(False, **options), train(True, **options)
    assert once.vision.encoded < once.vision.asked
    for mine, other in zip(history(once), history(plain)):
        assert mine == pytest.approx(other, rel=1e-4, abs=1e-6)
    for (name, mine), other in zip(once.model.named_parameters(), plain.model.parameters()):
        torch.testing.assert_close(mine, other, atol=1e-6, rtol=1e-5, msg=name)


def test_each_picture_is_decoded_preprocessed_and_encoded_once(train, make_rows):
    rows = make_rows(16)
    images = list(rows["images"])
    images[3] = images[2]  # the same picture under two questions
    rows = Dataset.from_list([row | {"images": images[i]} for i, row in enumerate(rows)])
    trainer = train(True, rows=rows, **FROZEN, **FOUR_UPDATES, num_iterations=2)
    # One generation batch of 8 prompts; 16 pictures each for sampling, old log-probs and two passes of training.
    assert trainer.vision.asked == 16 * 4
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert sum(entry["vision/asked"] for entry in logged) == trainer.vision.asked
    assert sum(entry["vision/encoded"] for entry in logged) == trainer.vision.encoded
    assert all(entry["vision/seconds_saved"] >= 0 for entry in logged) and logged[0]["vision/seconds_saved"] > 0
    rows_drawn = {2, 3} <= set(trainer.sampler.walk.order[:8].tolist())
    assert trainer.reader.decoded == 8
    assert trainer.vision.store.preprocessed == trainer.vision.encoded == 8 - rows_drawn


def test_two_rows_with_one_picture_share_it(train, make_rows):
    first, *others = list(make_rows(8))
    rows = Dataset.from_list([first, *(row | {"images": first["images"]} for row in others)])
    trainer = train(True, rows=rows, **FROZEN, max_steps=2)
    assert trainer.vision.store.preprocessed == trainer.vision.encoded == 2  # one per generation batch


@pytest.mark.parametrize(("family", "merger"), [("qwen2_5_vl", True), ("qwen3_vl", False), ("llava", False)])
def test_a_frozen_tower_is_neither_optimized_nor_adapted(train, family, merger):
    options = {"family": family, "freeze_vision_tower": True, "freeze_merger": merger, "max_steps": 1}
    trainer = train(True, rows=None, **options)
    optimized = {id(p) for group in trainer.optimizer.param_groups for p in group["params"]}
    for name, parameter in trainer.model.named_parameters():
        assert (id(parameter) in optimized) != is_frozen(name, merger), name
    adapted = train(True, rows=None, peft_config=lora(exclude_modules=["lm_head", "v_proj"]), **options)
    names = [name for name, _ in adapted.model.named_parameters() if "lora_" in name]
    assert any("q_proj" in name for name in names) and not any("v_proj" in name for name in names)
    assert not any(is_frozen(name, merger) for name in names)
    assert any(is_frozen(name, True) for name in names) != merger


@pytest.mark.parametrize(("family", "adapters"), [("qwen2_5_vl", True), ("qwen2_5_vl", False), ("llava", False)])
def test_training_does_not_go_back_through_a_frozen_tower(train, make_trainer, make_rows, family, adapters):
    """On the plain path, with gradient checkpointing, and with the hooks that adapters bring."""
    options = {"peft_config": lora()} if adapters else {}
    trainer = make_trainer(
        family=family, rows=make_rows(8), num_generations=2, max_steps=2, encode_once=False, freeze_vision_tower=True,
        gradient_checkpointing=True, **options,
    )  # fmt: skip
    model = trainer.accelerator.unwrap_model(trainer.model)
    block = next(m for n, m in model.named_modules() if is_frozen(n, False) and n.endswith(("blocks.0", "layers.0")))
    seen = []
    block.register_forward_hook(lambda module, args, output: seen.append((torch.is_grad_enabled(), output)))
    trainer.train()
    outputs = [output if isinstance(output, torch.Tensor) else output[0] for enabled, output in seen if enabled]
    assert outputs and not any(output.requires_grad for output in outputs)


def test_models_of_unknown_families_say_that_they_take_the_plain_path(train, caplog, monkeypatch):
    monkeypatch.delitem(cache.FAMILIES, "idefics3")
    logger = logging.getLogger("transformers")
    monkeypatch.setattr(logger, "propagate", True)
    trainer = train(True, family="idefics3", rows=None, max_steps=1, **FROZEN)
    assert trainer.vision is None and "Idefics3ForConditionalGeneration is of none of the families" in caplog.text
    assert not any("vision/asked" in entry for entry in trainer.state.log_history)


def test_freeze_merger_alone_is_refused(make_trainer):
    with pytest.raises(BadInputError, match="freeze_merger has no effect"):
        make_trainer(num_generations=2, freeze_merger=True)


@pytest.mark.parametrize("encode_once", [True, False])
def test_resume_in_mid_window(train, make_trainer, tmp_path, encode_once):
    """With tickets in the buffered rollouts, and by a run that has no use for tickets."""
    options = {**FROZEN, **FOUR_UPDATES, "save_strategy": "steps", "save_steps": 3}
    whole = train(True, output_dir=str(tmp_path / "whole"), **options)
    checkpoints = {step: tmp_path / f"whole/checkpoint-{step}/rlvr_rank_0.safetensors" for step in (3, 8)}
    assert any(name.startswith("state.pictures.") for name in load_file(checkpoints[3]))
    assert not any(name.startswith("state.pictures.") for name in load_file(checkpoints[8]))
    resumed = make_trainer(
        encode_once=encode_once, num_generations=2, rows=mixed_rows(16), output_dir=str(tmp_path / "again"), **options
    )
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole/checkpoint-3"))
    assert history(resumed)[3:-1] == history(whole)[3:-1]
    for (name, mine), other in zip(resumed.model.named_parameters(), whole.model.parameters()):
        assert torch.equal(mine, other), name


def test_pictures_of_former_checkpoints_are_found_again():
    """0.1.0.dev gave every picture a number of its own."""
    pixels = {number: torch.rand(rows, 12) for number, rows in {0: 4, 1: 8, 2: 4}.items()}
    grids = {number: torch.tensor([1, len(rows) // 2, 2]) for number, rows in pixels.items()}
    state = {f"pictures.pixels.{number}": rows for number, rows in pixels.items()}
    state |= {f"pictures.grids.{number}": grid for number, grid in grids.items()}
    tickets = torch.tensor([1] * 8 + [0] * 4 + [0] * 4 + [2] * 4)[:, None]
    batch = {"pixel_values": tickets, "image_grid_thw": torch.stack([grids[n] for n in (1, 0, 0, 2)])}
    redeem_tickets([batch], state)
    assert torch.equal(batch["pixel_values"], torch.cat([pixels[number] for number in (1, 0, 0, 2)]))


def test_tickets_of_other_families_are_not_redeemed():
    state = {"pictures.0.1.pixel_values": torch.rand(1, 3, 8, 8)}
    with pytest.raises(BadInputError, match="Go on with encode_once, or from a checkpoint at the end"):
        redeem_tickets([{"pixel_values": torch.tensor([[0], [0]])}], state)


REWARD = """
def by_tokens(completion_ids, solution, **kwargs):
    return [float((sum(ids) + len(gold)) % 3 == 0) for ids, gold in zip(completion_ids, solution)]
"""


def words(*more):
    return [
        "-m", "mmr1_trl.cli", "grpo", "--model_name_or_path", "figures/tiny", "--num_train_rows", "24",
        "--reward_funcs", "my_reward.by_tokens",
        "--max_completion_length", "6", "--logging_steps", "1", "--report_to", "none", "--disable_tqdm", "true",
        "--learning_rate", "1e-3", "--steps_per_generation", "2", "--gradient_accumulation_steps", "1",
        "--num_generations", "4", "--max_steps", "4", "--save_strategy", "no", "--freeze_vision_tower", "true",
        "--freeze_merger", "true", *map(str, more),
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_on_the_command_line(tmp_path, monkeypatch, processes):
    monkeypatch.setenv("MMR1_HOME", str(tmp_path / "home"))
    (tmp_path / "my_reward.py").write_text(REWARD)
    runs = []
    for name, options in (("once", []), ("plain", ["--encode_once", "false"])):
        options += ["--output_dir", name, "--per_device_train_batch_size", 8 // processes]
        options += ["--num_processes", processes] if processes > 1 else []
        run(*words(*options), cwd=tmp_path)
        logged = json.loads((tmp_path / name / "trainer_state.json").read_text())["log_history"]
        losses = [(entry["loss"], entry["grad_norm"], entry["entropy"]) for entry in logged if "loss" in entry]
        runs.append((losses, load_file(tmp_path / name / "model.safetensors"), logged[0].get("vision/encoded")))
    (losses, weights, encoded), (plain_losses, plain_weights, nothing) = runs
    assert losses == plain_losses and any(loss for loss, *_ in losses)
    assert encoded and nothing is None
    for name in weights:
        assert torch.equal(weights[name], plain_weights[name]), name


@pytest.mark.slow
def test_ranks_with_different_pictures_call_a_sharded_tower_equally_often():
    """
    Two ranks with three and with two distinct pictures: neither waits for the other, and nothing changes. Nor does it
    with prompts that share their tokens.
    """
    families = ["qwen2_5_vl", "qwen3_vl", "llava_next"]
    result = run(*ON_TWO, "-m", "fixtures.sharded_tower", *families, cwd=Path(__file__).parents[1])
    lines = [json.loads(line) for line in result.stdout.splitlines() if line.startswith('{"rank')]
    for family in families:
        ranks = sorted((line for line in lines if line["family"] == family), key=lambda line: line["rank"])
        assert [rank["encoded"] for rank in ranks] == [3, 2], family
        assert all(rank["tower_calls"] == 1 and rank["equal"] == [True] * 3 for rank in ranks), family
        assert all(rank["close"] for rank in ranks) and ranks[1]["share"] < ranks[0]["share"] < 0.9, family
