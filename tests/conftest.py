# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What all tests share: offline, one thread, small rows with pictures and a trainer on them."""

import os
from functools import partial
from pathlib import Path
from typing import Any


os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import PIL.Image
import pytest
import torch
from datasets import Dataset

from mmr1_trl import RLVRConfig, RLVRTrainer
from mmr1_trl.models import build_tiny_vlm


torch.set_num_threads(1)


def picture_rows(num_rows: int, seed: int = 0, images_per_row: int = 1) -> Dataset:
    """Rows with distinct noise pictures; the solution is the row number modulo 3."""
    rng = np.random.default_rng(seed)

    def row(i: int) -> dict[str, Any]:
        pictures = [
            PIL.Image.fromarray(rng.integers(0, 255, (28, 56, 3), dtype=np.uint8)) for _ in range(images_per_row)
        ]
        content = f"upleft plus lowright is {i % 7} ?"
        return {"prompt": [{"role": "user", "content": content}], "images": pictures, "solution": str(i % 3)}

    return Dataset.from_list([row(i) for i in range(num_rows)])


def token_reward(completion_ids: list[list[int]], solution: list[str], **kwargs: Any) -> list[float]:
    """A 0/1 reward that varies between completions of a random model and depends on the prompt's solution."""
    return [float((sum(ids) + int(gold)) % 3 == 0) for ids, gold in zip(completion_ids, solution)]


@pytest.fixture
def make_rows() -> Any:
    return picture_rows


@pytest.fixture
def reward() -> Any:
    return token_reward


def build_trainer(
    trainer_class: type = RLVRTrainer,
    config_class: type = RLVRConfig,
    *,
    family: str = "qwen2_5_vl",
    rows: Dataset | None = None,
    reward_funcs: Any = token_reward,
    eval_rows: Dataset | None = None,
    peft_config: Any = None,
    **options: Any,
) -> Any:
    """Build a trainer over a fresh tiny model with fast settings; keyword arguments go to the config."""
    model, processor = build_tiny_vlm(family)
    settings: dict[str, Any] = {
        "use_cpu": True,
        "per_device_train_batch_size": 4,
        "per_device_eval_batch_size": 4,
        "max_completion_length": 6,
        "learning_rate": 1e-3,
        "max_steps": 4,
        "logging_steps": 1,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
    }
    return trainer_class(
        model=model,
        reward_funcs=reward_funcs,
        args=config_class(**(settings | options)),
        train_dataset=picture_rows(16) if rows is None else rows,
        eval_dataset=eval_rows,
        processing_class=processor,
        **({"peft_config": peft_config} if peft_config is not None else {}),
    )


@pytest.fixture
def make_trainer(tmp_path: Path) -> Any:
    """[`build_trainer`] with a folder of the test's own."""
    return partial(build_trainer, output_dir=str(tmp_path / "run"))
