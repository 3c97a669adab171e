# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""`mmr1 eval`, `mmr1 score` and bad input with a real vLLM, as a user meets them."""

import os
import subprocess
import sys

import pandas as pd
import pytest
from fixtures.models import build

from mmr1_trl.cli import main


pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "tiny"
    for part in build("qwen2_5_vl"):
        part.save_pretrained(folder)
    return str(folder)


def test_evaluation_gives_the_tokens_of_transformers(model, tmp_path):
    words = ["eval", "--model", model, "--num_rows", "48", "--batch_size", "16", "--max_new_tokens", "12"]
    assert main([*words, "--output_dir", str(tmp_path / "transformers")]) == 0
    assert main([*words, "--use_vllm", "--vllm_max_model_length", "256", "--output_dir", str(tmp_path / "vllm")]) == 0
    first, second = (pd.read_parquet(tmp_path / name / "predictions.parquet") for name in ("transformers", "vllm"))
    assert len(first) == 48 and first["completion"].nunique() > 1
    pd.testing.assert_frame_equal(first, second)


def test_scores_are_made_and_the_end_is_quiet(model, tmp_path):
    """In a process of its own: what is printed when it ends counts."""
    words = ["score", "--model_name_or_path", model, "--dataset_name", "figures", "--num_train_rows", "8"]
    words += ["--reward_funcs", "accuracy_reward", "--vas_rollouts", "4", "--num_generations", "4"]
    words += ["--per_device_train_batch_size", "16", "--max_completion_length", "8", "--report_to", "none"]
    words += ["--use_vllm", "true", "--vllm_mode", "colocate", "--vllm_max_model_length", "256"]
    run = subprocess.run(
        [sys.executable, "-m", "mmr1_trl.cli", *words, "--output_dir", str(tmp_path / "scores")],
        capture_output=True, text=True, env=os.environ,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-2000:]
    assert "Traceback" not in run.stderr and "Invalid process group" not in run.stderr
    table = pd.read_parquet(tmp_path / "scores" / "scores.parquet")
    assert len(table) == 8 and (table["count"] == 4).all()


def test_a_model_that_vllm_does_not_know_and_one_that_it_has_no_room_for(model, tmp_path, capfd, monkeypatch):
    other = tmp_path / "other"
    subprocess.run(["cp", "-r", model, str(other)], check=True)
    config = (other / "config.json").read_text()
    (other / "config.json").write_text(config.replace("Qwen2_5_VLForConditionalGeneration", "NoSuchModel"))
    train = ["grpo", "--dataset_name", "figures", "--num_train_rows", "8", "--num_generations", "2"]
    train += ["--per_device_train_batch_size", "8", "--max_steps", "1", "--reward_funcs", "accuracy_reward"]
    train += ["--use_vllm", "true", "--vllm_mode", "colocate", "--output_dir", str(tmp_path / "run")]
    for words, said in (
        ([*train, "--model_name_or_path", str(other)], "NoSuchModel"),
        (["eval", "--model", str(other), "--num_rows", "2", "--use_vllm"], "NoSuchModel"),
        ([*train, "--model_name_or_path", model, "--vllm_max_model_length", "100000"], "max_model_len (100000)"),
    ):
        assert main(words) == 2
        message = capfd.readouterr().err.strip().splitlines()[-1]
        assert message.startswith("mmr1: error: vLLM cannot serve") and said in message
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "0")  # as much as the share of the memory says
    little = ["--vllm_gpu_memory_utilization", "0.00001", "--vllm_max_model_length", "2048"]
    for words in (
        [*train, "--model_name_or_path", model, *little],
        ["eval", "--model", model, "--num_rows", "2", "--use_vllm", *little],
    ):
        assert main(words) == 2
        message = capfd.readouterr().err.strip().splitlines()[-1]
        assert message.startswith("mmr1: error: vLLM has no room") and "--vllm_max_model_length" in message
