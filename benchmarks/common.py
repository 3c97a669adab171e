# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What all benchmarks share: where results go, the machine in words, the rows and the reward that cost nothing."""

import json
import platform
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from datasets import Dataset

from mmr1_trl.data.figures import load_figures


RESULTS = Path(__file__).parent / "results"


def write_results(name: str, text: str, numbers: Any) -> None:
    """Write `results/NAME.md` to be read and `results/NAME.json` to be computed with, and print the former."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(text.rstrip("\n") + "\n")
    (RESULTS / f"{name}.json").write_text(json.dumps(numbers, indent=1) + "\n")
    print(text)


def machine() -> str:
    """Say what this runs on: device, Python and torch."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    return f"{device}, Python {platform.python_version()}, torch {torch.__version__}"


def reward(completion_ids: list[list[int]], **kwargs: Any) -> list[float]:
    """A reward that differs within groups, of any model."""
    return [float(sum(ids) % 3 == 0) for ids in completion_ids]


def rows(pixels: int | None, num_rows: int = 32) -> Dataset:
    """Figures as they are, or enlarged with noise to the size of a photograph."""
    figures = load_figures("train", num_rows=num_rows)
    if pixels is None:
        return figures
    rng = np.random.default_rng(0)

    def enlarge(row: dict[str, Any]) -> dict[str, Any]:
        picture = np.asarray(row["images"][0].resize((pixels, pixels)).convert("RGB"), dtype=np.int16)
        noisy = np.clip(picture + rng.integers(-6, 7, picture.shape), 0, 255).astype(np.uint8)
        return {"images": [PIL.Image.fromarray(noisy)]}

    return figures.map(enlarge)
