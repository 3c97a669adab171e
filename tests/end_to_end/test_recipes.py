# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The papers' configs on rows in the shape of their datasets: checked, and trained for one update."""

import json

import pytest
from fixtures import datasets as published

from mmr1_trl.cli import main
from mmr1_trl.cli.commands import sft
from mmr1_trl.cli.commands.train import build_trainer, parse_training
from mmr1_trl.cli.config_file import method_of_config


# On a small model in one process: a batch of sixteen rollouts for one update.
SMALL = [
    "--model_name_or_path", "figures/tiny", "--use_vllm", "false", "--per_device_train_batch_size", "16",
    "--steps_per_generation", "1", "--gradient_accumulation_steps", "1", "--gradient_checkpointing", "false",
    "--max_completion_length", "4", "--max_steps", "1", "--save_strategy", "no", "--report_to", "none", "--use_cpu",
    "--bf16", "false", "--min_pixels", "3136", "--disable_tqdm", "true", "--accelerate_config", "single_gpu",
    "--num_processes", "1",
]  # fmt: skip
RUNS = {
    "qwen2_vl_2b/two_stage_gui": ("ui_r1", "point", {"label_noise": 0.5, "coordinates": "resized"}),
    "qwen2_vl_2b/two_stage_pets37": ("virft_pets", "class_label", {"label_noise": 1.0}),
    "qwen2_vl_2b/two_stage_coco": ("virft_coco", "detections", {"label_noise": 1.0, "coordinates": "thousandths"}),
    "qwen2_5_vl_3b/vas": ("mmr1_rl", "multiple_choice", {}),
    "qwen2_5_vl_3b/mssr": ("vision_r1", "multiple_choice", {}),
    "qwen2_5_vl_3b/rloo": ("vision_r1", "multiple_choice", {}),
    "qwen2_5_vl_3b/reinforce_pp": ("vision_r1", "multiple_choice", {}),
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch, tmp_path_factory):
    monkeypatch.setenv("MMR1_HOME", str(tmp_path_factory.getbasetemp() / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", RUNS)
def test_a_config_of_a_paper_on_the_shape_of_its_dataset(folder, capsys, name):
    shape, answer_type, expected = RUNS[name]
    if shape == "ui_r1":
        (folder / "rows").mkdir()
        rows = published.write_ui_r1(folder / "rows", 24)
    else:
        rows = folder / "rows.parquet"
        getattr(published, shape)(24).to_parquet(str(rows))
    words = ["--config", name, "--dataset_name", str(rows), *SMALL, "--output_dir", "run"]
    if "label_noise" in expected:
        words += ["--label_noise", str(expected["label_noise"])]
    code = main(["check", *words, "--samples", "0", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert (code, report["findings"]) == (0, [])
    assert list(report["sections"]["rows"]["answer_types"]) == [answer_type]
    trainer, _ = build_trainer(parse_training(method_of_config(words), words))
    if "coordinates" in expected:
        assert set(trainer.train_dataset["coordinates"]) == {expected["coordinates"]}
    if "label_noise" in expected:
        noisy = trainer.train_dataset["is_noisy"][:]
        assert sum(noisy) == round(expected["label_noise"] * len(noisy))
    assert len(trainer.train_dataset) == (18 if shape == "ui_r1" else 24)  # a quarter are no clicks
    trainer.train()
    log = trainer.state.log_history[0]
    assert trainer.state.global_step == 1 and log["completions/mean_length"] > 0 and "reward" in log


def test_the_cold_start_of_mmr1_on_the_shape_of_its_dataset(folder):
    published.write_mmr1_sft(folder, 16)
    words = ["--config", "qwen2_5_vl_3b/mmr1_cold_start", "--model_name_or_path", "figures/tiny", "--dataset_name"]
    words += ["sft.json", "--max_steps", "1", "--report_to", "none", "--use_cpu", "--bf16", "false", "--save_strategy"]
    words += ["no", "--disable_tqdm", "true", "--gradient_checkpointing", "false", "--output_dir", "run"]
    words += ["--accelerate_config", "single_gpu", "--num_processes", "1"]
    assert sft._train(sft.parse_sft(words)) == 0
    assert (folder / "run/model.safetensors").is_file()
