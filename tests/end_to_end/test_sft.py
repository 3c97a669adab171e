# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""`mmr1 sft`: the stages of the cold start, and supervised training with one's own options."""

import pytest

from mmr1_trl.cli import main
from mmr1_trl.data.figures import TraceMixture
from mmr1_trl.models import cold_start, load_processor


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MMR1_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_config_trains_the_stages_of_the_cold_start(folder, monkeypatch, capsys):
    stages = (cold_start.ColdStartStage(TraceMixture(), steps=2, learning_rate=1e-3, num_rows=16, batch_size=4),)
    monkeypatch.setattr(cold_start.ColdStartConfig, "__init__", lambda self, seed: vars(self).update(
        stages=stages, seed=seed))  # fmt: skip
    assert main(["sft", "--config", "figures/sft", "--disable_tqdm", "true"]) == 0
    assert (folder / "runs/figures_sft/model.safetensors").is_file()
    assert load_processor(folder / "runs/figures_sft").tokenizer is not None
    assert main(["sft", "--config", "figures/sft"]) == 2  # nothing trained is overwritten
    assert "already holds a trained run" in capsys.readouterr().err


def test_options_that_the_stages_would_ignore_are_refused(capsys):
    assert main(["sft", "--config", "figures/sft", "--max_steps", "5"]) == 2
    message = capsys.readouterr().err
    assert "does not take max_steps (given by command line)" in message and "Traceback" not in message


def test_ones_own_options(folder):
    words = [
        "--model_name_or_path", "figures/tiny", "--figures_traces", "clean", "--max_steps", "2", "--num_train_rows",
        "16", "--per_device_train_batch_size", "4", "--max_length", "null", "--output_dir", "own",
        "--report_to", "none",
    ]  # fmt: skip
    assert main(["sft", *words]) == 0
    assert (folder / "own/model.safetensors").is_file()
