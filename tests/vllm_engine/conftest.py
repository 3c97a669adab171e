# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""A real vLLM on a CPU: `make vllm` runs these tests in an environment of their own, `make test` does not see them."""

import os


# Before vLLM is imported: 1 GB of cache, the engine in this process, and no cores of its own.
os.environ |= {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "HF_HUB_OFFLINE": "1",
}

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from datasets import Dataset
from fixtures.models import build
from fixtures.trainers import token_reward

from mmr1_trl import RLVRConfig, RLVRTrainer


@pytest.fixture
def rows() -> Dataset:
    """Four rows: no picture, one, two side by side, three of different sizes."""
    rng = np.random.default_rng(0)
    sizes = [[], [(56, 28)], [(28, 56), (28, 56)], [(56, 56), (84, 56), (28, 112)]]

    def row(i: int) -> dict[str, Any]:
        pictures = [PIL.Image.fromarray(rng.integers(0, 255, (h, w, 3), dtype=np.uint8)) for w, h in sizes[i]]
        return {"prompt": [{"role": "user", "content": f"add {i}"}], "images": pictures, "solution": str(i % 3)}

    return Dataset.from_list([row(i) for i in range(4)])


@pytest.fixture
def make_trainer(tmp_path: Path) -> Iterator[Any]:
    """A trainer with vLLM in this process over a tiny model on the disk; its engine is stopped after the test."""
    made = []

    def make(
        rows: Dataset,
        family: str = "qwen2_5_vl",
        trainer: type = RLVRTrainer,
        config: type = RLVRConfig,
        **options: Any,
    ) -> Any:
        model, processor = build(family)
        folder = tmp_path / family
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
        settings: dict[str, Any] = {
            "output_dir": str(tmp_path / "run"), "use_cpu": True, "bf16": False, "report_to": "none",
            "save_strategy": "no", "disable_tqdm": True, "logging_steps": 1, "learning_rate": 2e-3,
            "per_device_train_batch_size": 8, "num_generations": 2, "max_completion_length": 8, "max_steps": 5,
            "use_vllm": True, "vllm_mode": "colocate", "vllm_max_model_length": 256,
        }  # fmt: skip
        peft = {"peft_config": options.pop("peft_config")} if "peft_config" in options else {}
        built = trainer(
            model=str(folder),
            reward_funcs=token_reward,
            args=config(**(settings | options)),
            train_dataset=rows,
            processing_class=processor,
            **peft,
        )
        made.append(built)
        return built

    yield make
    for one in made:
        if one.engine is not None:
            one.engine.shut_down()
