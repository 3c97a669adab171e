# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Evaluation through vLLM, with a stand-in of the same calls and outputs: vLLM itself is never installed here."""

import sys
import types

import pandas as pd
import pytest
from transformers import AutoModelForImageTextToText

from mmr1_trl.cli import main
from mmr1_trl.evaluation.generation import generate
from mmr1_trl.models import load_processor


@pytest.fixture(autouse=True, scope="module")
def home(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMR1_HOME", str(tmp_path_factory.mktemp("home")))
        yield


class SamplingParams:
    def __init__(self, **options):
        self.__dict__.update(options)


class LLM:
    """Generates by transformers, from what vLLM would be given: a text and pictures."""

    made: list["LLM"] = []

    def __init__(self, model, **options):
        self.model = AutoModelForImageTextToText.from_pretrained(model).eval()
        self.processor = load_processor(model)
        self.options, self.calls = options, []
        LLM.made.append(self)

    def generate(self, prompts, sampling, use_tqdm=True):
        self.calls.append((prompts, sampling))
        return [self._one(prompt, sampling) for prompt in prompts]

    def _one(self, prompt, sampling):
        images = prompt.get("multi_modal_data", {}).get("image", [])
        assert prompt["prompt"].count("<|image_pad|>") == len(images)
        question = prompt["prompt"].split("<|vision_end|>")[-1].removesuffix(" <|im_start|>")
        content = [{"type": "image", "image": image} for image in images] + [{"type": "text", "text": question}]
        conversation = [{"role": "user", "content": content}]
        assert (
            self.processor.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True)
            == (prompt["prompt"])
        )
        replies = generate(
            self.model,
            self.processor,
            [conversation],
            max_new_tokens=sampling.max_tokens,
            num_samples=None if sampling.temperature == 0 else sampling.n,
        )[0]
        outputs = [
            types.SimpleNamespace(
                text=reply.text,
                token_ids=[0] * reply.length,
                finish_reason="length" if reply.truncated else "stop",
            )
            for reply in replies
        ]
        return types.SimpleNamespace(outputs=outputs)


@pytest.fixture
def vllm(monkeypatch):
    LLM.made.clear()
    module = types.ModuleType("vllm")
    module.LLM, module.SamplingParams = LLM, SamplingParams
    monkeypatch.setitem(sys.modules, "vllm", module)


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
    (_, first_batch), (_, second_batch), (_, sampled), *_ = LLM.made[0].calls
    assert (first_batch.temperature, first_batch.n, first_batch.max_tokens) == (0.0, 1, 5)
    assert (first_batch.seed, second_batch.seed) == (0, 1)
    assert (sampled.temperature, sampled.n, sampled.top_p, sampled.top_k) == (1.0, 2, 1.0, -1)


def test_without_vllm_the_way_to_get_it_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "vllm", None)
    assert main([*WORDS, "--use_vllm"]) == 2
    assert "pip install 'mmr1-trl[vllm]'" in capsys.readouterr().err
    assert main([*WORDS, "--use_vllm", "--num_processes", "2"]) == 2
    assert "--vllm_tensor_parallel_size" in capsys.readouterr().err


def test_an_adapter_is_refused(vllm, tmp_path, capsys, monkeypatch):
    (tmp_path / "adapter_config.json").write_text("{}")
    monkeypatch.setattr("mmr1_trl.models.load_processor", lambda *_, **__: None)
    assert main(["eval", "--model", str(tmp_path), "--num_rows", "2", "--use_vllm"]) == 2
    assert "holds an adapter" in capsys.readouterr().err
