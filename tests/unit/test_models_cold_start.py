# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The supervised cold start: a short one learns something, is cached whole, and is repeatable."""

import json

import pytest
import torch
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
