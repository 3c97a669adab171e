# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Evaluation through vLLM, with a stand-in of the same calls and outputs: vLLM itself is never installed here."""

import sys

import pandas as pd
import pytest
from fixtures.vllm_stand_in import LLM, install

from mmr1_trl.cli import main


@pytest.fixture(autouse=True, scope="module")
def home(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMR1_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture
def vllm(monkeypatch):
    install(monkeypatch)


WORDS = ["eval", "--model", "figures/tiny", "--num_rows", "6", "--batch_size", "4", "--max_new_tokens", "5"]


def test_the_same_completions_come_out_of_vllm(vllm, tmp_path):
    assert main([*WORDS, "--output_dir", str(tmp_path / "transformers")]) == 0
    words = [
        "--use_vllm",
        "--vllm_gpu_memory_utilization",
        "0.5",
        "--vllm_max_model_length",
        "512",
        "--num_samples",
        "2",
    ]
    assert main([*WORDS, *words, "--output_dir", str(tmp_path / "vllm")]) == 0
    first, second = (pd.read_parquet(tmp_path / name / "predictions.parquet") for name in ("transformers", "vllm"))
    greedy = second[second["sample"] == -1].reset_index(drop=True)
    pd.testing.assert_frame_equal(first, greedy)
    assert len(second) == 3 * len(first)
    options = LLM.made[0].options
    assert (options["gpu_memory_utilization"], options["max_model_len"]) == (0.5, 512)
    assert options["dtype"] == "float32"  # as transformers here; vLLM would take bfloat16
    (_, first_batch), (_, second_batch), (_, sampled), *_ = LLM.made[0].calls
    assert (first_batch.temperature, first_batch.n, first_batch.max_tokens) == (0.0, 1, 5)
    assert (first_batch.seed, second_batch.seed) == (0, 1)
    processor = LLM.made[0].processor
    assert first_batch.stop_token_ids == [processor.tokenizer.eos_token_id]
    assert set(first_batch.logit_bias) == {processor.image_token_id, processor.video_token_id}
    assert (sampled.temperature, sampled.n, sampled.top_p, sampled.top_k) == (1.0, 2, 1.0, -1)


def test_without_vllm_the_way_to_get_it_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "vllm", None)
    assert main([*WORDS, "--use_vllm"]) == 2
    assert "pip install 'mmr1-trl[vllm]'" in capsys.readouterr().err
    assert main([*WORDS, "--use_vllm", "--num_processes", "2"]) == 2
    assert "--vllm_tensor_parallel_size" in capsys.readouterr().err


def test_an_adapter_is_refused(vllm, tmp_path, capsys, monkeypatch):
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "figures/tiny"}')
    monkeypatch.setattr("mmr1_trl.models.load_processor", lambda *_, **__: None)
    assert main(["eval", "--model", str(tmp_path), "--num_rows", "2", "--use_vllm"]) == 2
    assert "holds an adapter" in capsys.readouterr().err
