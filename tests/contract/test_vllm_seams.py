# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What `mmr1_trl/engines` leans on in TRL, and what it is there for.

The last test fails when TRL mends one of the three faults itself: take out of `engines/` what it then does twice.
What is leaned on in vLLM itself, `make vllm` runs.
"""

import inspect

import pytest
from fixtures.models import build
from fixtures.trainers import build_trainer, picture_rows
from fixtures.vllm_stand_in import LLM, install
from trl import GRPOConfig, GRPOTrainer
from trl.generation import vllm_client, vllm_generation
from trl.generation.vllm_generation import VLLMGeneration

from mmr1_trl.engines.packages import check_version
from mmr1_trl.errors import BadInputError


def parameters(function):
    return list(inspect.signature(function).parameters)


def test_what_is_wrapped():
    assert parameters(VLLMGeneration.generate) == ["self", "prompts", "images", "num_generations", "profiler"]
    assert parameters(VLLMGeneration.sync_weights) == ["self"]
    source = inspect.getsource(GRPOTrainer)
    assert source.count("self.vllm_generation = ") == 1
    for call in ("self.vllm_generation.generate(", "self.vllm_generation.sync_weights()"):
        assert call in source
    names = set(VLLMGeneration.__init__.__code__.co_names)
    assert {"mode", "processing_class", "generation_kwargs", "accelerator", "_init_vllm"} <= names
    assert {"llm", "vllm_client"} <= set(VLLMGeneration._init_vllm.__code__.co_names)
    assert "generation_kwargs" in VLLMGeneration.generate.__code__.co_names  # read at each call
    assert "_post" in inspect.getsource(vllm_client.VLLMClient) and "self.session = " in inspect.getsource(vllm_client)
    assert 'generation_kwargs["suppress_tokens"]' in source and "self.generation_kwargs = generation_kwargs" in source


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "llava", "idefics3"])
def test_processors_count_the_tokens_of_pictures(family):
    processor = build(family)[1]
    counts = processor._get_num_multimodal_tokens(image_sizes=[(56, 84), (28, 28)]).num_image_tokens
    assert len(counts) == 2 and min(counts) >= 1


def test_the_versions_that_trl_supports_are_read_off_its_own_requirements(monkeypatch):
    for version, fine in (("0.21.2", False), ("0.22.0", True), ("0.31.0+cpu", True), ("0.32.0", False), (None, True)):
        monkeypatch.setattr("mmr1_trl.engines.packages.vllm_version", lambda version=version: version)
        if fine:
            check_version()
        else:
            with pytest.raises(BadInputError, match=f"vLLM {version} is installed, and TRL works with"):
                check_version()
    source = inspect.getsource(vllm_generation.is_vllm_available)
    assert "Version(" in source


def test_the_faults_are_still_there(monkeypatch, tmp_path):
    install(monkeypatch)
    model, processor = build("qwen2_5_vl")
    for part in (model, processor):
        part.save_pretrained(tmp_path / "model")
    monkeypatch.setattr("fixtures.trainers.build", lambda _: (str(tmp_path / "model"), processor))
    options = {"use_vllm": True, "vllm_mode": "colocate", "output_dir": str(tmp_path / "run"), "bf16": False}
    trainer = build_trainer(
        GRPOTrainer, GRPOConfig, rows=picture_rows(4), per_device_train_batch_size=8, num_generations=2, max_steps=1,
        **options,
    )  # fmt: skip
    trainer.train()
    engine = LLM.made[-1]
    prompts, sampling = engine.calls[0]
    pictures = [prompt["prompt_token_ids"].count(processor.image_token_id) for prompt in prompts]
    assert min(pictures) > 1, (
        "TRL gives vLLM one token per picture: engines/picture_tokens.one_token_per_picture can go"
    )
    assert engine.forgot == 0, "TRL has the cache of encoded pictures emptied: TrainingEngine.sync_weights can go"
    assert not sampling.logit_bias, (
        "TRL forbids vLLM the picture token: engines/picture_tokens.without_placeholders can go"
    )
