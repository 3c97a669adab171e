# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Rows with and without pictures in one training set and in one batch."""

import pytest
import torch
from fixtures.resuming import history, run_and_resume
from fixtures.trainers import build_trainer, partly_pictured_rows

from mmr1_trl import RLVRConfig, RLVRTrainer, VASConfig, VASTrainer
from mmr1_trl.data.decoding import as_conversation
from mmr1_trl.errors import BadInputError
from mmr1_trl.trainers.vision import mixed


ROWS = partly_pictured_rows(16)
# Micro-batches of two completions of one prompt: some have a picture, some have none.
SMALL = {"num_generations": 2, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}


def logps(trainer, rows):
    """Log-probs of the rows' prompts behind a few fixed tokens, as TRL computes them."""
    _, records = trainer.reader.read(rows)
    prompts = [as_conversation(record) for record in records]
    ids, images, fields = trainer._tokenize_prompts(prompts)
    length = max(map(len, ids)) + 3
    inputs = torch.full((len(ids), length), trainer._tokenizer.pad_token_id)
    kinds = torch.zeros_like(inputs)
    for i, row in enumerate(ids):
        inputs[i, length - 3 - len(row) :] = torch.tensor([*row, 9, 10, 11])
        kinds[i, length - 3 - len(row) : -3] = torch.tensor(fields["mm_token_type_ids"][i])
    pixels = {name: torch.as_tensor(fields[name]) for name in ("pixel_values", "image_grid_thw") if name in fields}
    counts = {"num_images": [len(each) for each in images]} if images else {}
    with torch.no_grad():
        return trainer._get_per_token_logps_and_entropies(
            trainer.model, inputs, (inputs != trainer._tokenizer.pad_token_id).long(), 3,
            batch_size=1, mm_token_type_ids=kinds, **pixels, **counts,
        )[0]  # fmt: skip


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl"])
def test_a_row_is_the_same_in_any_company(tmp_path, family):
    trainer = build_trainer(family=family, rows=ROWS, output_dir=str(tmp_path), encode_once=False, **SMALL)
    together = logps(trainer, [0, 1, 2, 3])
    for row in range(4):
        assert torch.allclose(logps(trainer, [row])[0], together[row], atol=1e-5), row
    bare = build_trainer(
        family=family, rows=partly_pictured_rows(8, lambda row: True), output_dir=str(tmp_path), **SMALL
    )
    assert torch.allclose(logps(bare, [1])[0], together[1], atol=1e-5)


def test_encode_once_differs_by_rounding(tmp_path):
    options = {"rows": ROWS, "beta": 0.05, "num_iterations": 2, "optim": "sgd", "learning_rate": 0.1, **SMALL}
    plain = build_trainer(output_dir=str(tmp_path / "plain"), encode_once=False, **options)
    plain.train()
    once = build_trainer(output_dir=str(tmp_path / "once"), **options)  # sets the seed
    once.train()
    for mine, other in zip(history(once, after=0), history(plain, after=0), strict=True):
        assert all(mine[name] == pytest.approx(value, rel=1e-4, abs=1e-5) for name, value in other.items())
    assert 0 < once.vision.encoded < once.vision.asked


def test_resumed_in_mid_window_with_scores_of_prompts(tmp_path):
    def make(trainer_class, config_class, **options):
        return build_trainer(
            trainer_class, config_class, rows=partly_pictured_rows(16, lambda row: row > 4), **options
        )

    options = {"num_generations": 2, "per_device_train_batch_size": 2, "steps_per_generation": 4}
    options |= {"gradient_accumulation_steps": 1, "vas_refresh": "full", "vas_rollouts": 2, "vas_update_steps": 2}
    whole, _ = run_and_resume(make, VASTrainer, VASConfig, 3, tmp_path, **options)
    assert any(entry["grad_norm"] > 0 for entry in history(whole, after=0))


@pytest.mark.parametrize("family", ["llava", "idefics3"])
def test_other_families(tmp_path, family):
    trainer = build_trainer(family=family, rows=ROWS, output_dir=str(tmp_path), max_steps=2, **SMALL)
    trainer.train()
    assert [entry["step"] for entry in history(trainer, after=0)] == [1, 2]


def test_weights_that_are_spread_over_processes_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(mixed, "shards_weights", lambda accelerator: True)
    with pytest.raises(BadInputError, match="rows with and rows without pictures.*ZeRO-2"):
        build_trainer(RLVRTrainer, RLVRConfig, rows=ROWS, output_dir=str(tmp_path), **SMALL)
