# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The supervised cold start: a short one learns something, is cached whole, and is repeatable."""

import json
from pathlib import Path

import pytest
import torch
from fixtures.forked import ON_TWO, run
from fixtures.short_cold_start import STAGES
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

from mmr1_trl.data.figures import MIXED, TraceMixture
from mmr1_trl.models import ColdStartConfig, load_processor
from mmr1_trl.models.cold_start import ColdStartStage, cold_start_path, train_cold_start


def _short(seed: int = 0) -> ColdStartConfig:
    stages = (
        ColdStartStage(TraceMixture(), steps=12, learning_rate=2e-3, num_rows=64, batch_size=16, families=("range",)),
        ColdStartStage(MIXED, steps=4, learning_rate=1e-3, num_rows=64, batch_size=16),
    )
    return ColdStartConfig(stages=stages, seed=seed)


@pytest.mark.slow
def test_short_cold_start_learns_the_format_and_is_cached(tmp_path, monkeypatch):
    monkeypatch.setenv("MMR1_HOME", str(tmp_path / "home"))
    folder = cold_start_path(_short())
    stamp = (folder / "model.safetensors").stat().st_mtime_ns
    assert cold_start_path(_short()) == folder and (folder / "model.safetensors").stat().st_mtime_ns == stamp
    assert [entry.name for entry in (tmp_path / "home").iterdir()] == [folder.name]
    assert json.loads((folder / "cold_start.json").read_text())["seed"] == 0

    model, processor = AutoModelForImageTextToText.from_pretrained(folder), load_processor(folder)
    tag = processor.tokenizer("add topleft and topright ?<|im_start|>", return_tensors="pt")
    with torch.no_grad():
        following = model(**tag).logits[0, -1]
    assert processor.tokenizer.decode(following.argmax()) == "<think>"

    again, _ = train_cold_start(tmp_path / "again", _short(), progress=False)
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(weight, again.state_dict()[name], rtol=0, atol=0)


def test_the_config_decides_the_cache_entry(tmp_path, monkeypatch):
    monkeypatch.setenv("MMR1_HOME", str(tmp_path))
    built = []

    def pretend(folder, config, progress=True):
        built.append(config)

    monkeypatch.setattr("mmr1_trl.models.cold_start.train_cold_start", pretend)
    assert cold_start_path(_short(0)) == cold_start_path(_short(0))
    assert cold_start_path(_short(0)) != cold_start_path(_short(1))
    assert built == [_short(0), _short(1)]


@pytest.mark.slow
@pytest.mark.parametrize("command", ["grpo", "score"])
def test_a_distributed_run_builds_what_one_process_builds(tmp_path, monkeypatch, command):
    options = [
        "--model_name_or_path", "figures/cold_start", "--num_train_rows", "8", "--max_completion_length", "4",
        "--per_device_train_batch_size", "2", "--gradient_accumulation_steps", "1", "--report_to", "none",
        "--output_dir", str(tmp_path / "run"), "--max_steps", "1", "--num_generations", "2", "--vas_rollouts", "1",
    ]  # fmt: skip
    monkeypatch.setenv("MMR1_HOME", str(tmp_path / "ranks"))
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    run(*ON_TWO, "-m", "fixtures.short_cold_start", command, *options, cwd=Path(__file__).parents[2])
    monkeypatch.setenv("MMR1_HOME", str(tmp_path / "alone"))
    alone = load_file(cold_start_path(ColdStartConfig(stages=STAGES)) / "model.safetensors")
    (entry,) = (tmp_path / "ranks").iterdir()
    together = load_file(entry / "model.safetensors")
    assert together.keys() == alone.keys()
    assert all(torch.equal(together[name], alone[name]) for name in alone)
