# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""
The supervised cold start on the figures, made with TRL's `SFTTrainer`: what reinforcement learning then starts from.

The first two stages teach the tiny model to read the pictures and to answer step by step. The last one hides that
ability on purpose, among answers without thought, wrong procedures and steps with slips: at its end a step-by-step
answer is rare and worth less than a direct one, although done cleanly it is nearly always right. What reinforcement
learning gains from there is the selection and the cleaning-up of a way of answering, found from the answers alone.
"""

import hashlib
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from transformers import PreTrainedModel, ProcessorMixin
from trl import SFTConfig, SFTTrainer

from mmr1_trl.data.figures import HABITS, MIXED, SPREAD, UNEVEN, TraceMixture, figures_traces
from mmr1_trl.data.figures.figure_questions import CHART_FAMILIES, DIGIT_FAMILIES
from mmr1_trl.models.cache import build_once
from mmr1_trl.models.tiny_vlm import build_tiny_vlm


# Part of the cache key: raise it when the pictures, the model or the training change.
RECIPE_VERSION = 1

# What torchrun, accelerate and MPI tell the processes that they start.
_LAUNCHER = (
    "RANK", "WORLD_SIZE", "LOCAL_", "GROUP_", "ROLE_", "MASTER_", "TORCHELASTIC_", "TORCH_ELASTIC_", "ACCELERATE_",
    "FSDP_", "PMI_", "OMPI_COMM_", "MV2_COMM_",
)  # fmt: skip


@dataclass(frozen=True)
class ColdStartStage:
    """
    One stage of the cold start.

    Args:
        mixture ([`TraceMixture`], `tuple[TraceMixture, ...]` or `dict[str, TraceMixture]`):
            Ways of answering to learn from: the same for all, one for each level, or one for each family.
        steps (`int`):
            Optimizer steps.
        learning_rate (`float`):
            Peak learning rate; it falls linearly to zero after a short warm-up.
        num_rows (`int`):
            Rows to draw; they are repeated as needed.
        batch_size (`int`, *optional*, defaults to `32`):
            Rows per step.
        families (`tuple[str, ...]`, *optional*):
            Families of [`~mmr1_trl.data.figures.load_figures`]; defaults to its default.
        levels (`tuple[int, ...]`, *optional*):
            Levels; defaults to all.
    """

    mixture: TraceMixture | tuple[TraceMixture, ...] | dict[str, TraceMixture]
    steps: int
    learning_rate: float
    num_rows: int
    batch_size: int = 32
    families: tuple[str, ...] | None = None
    levels: tuple[int, ...] | None = None


def _default_stages() -> tuple[ColdStartStage, ...]:
    return (
        # Writing down all four values in a fixed order is the quickest way to learn to read the tiles.
        ColdStartStage(TraceMixture(), steps=300, learning_rate=2e-3, num_rows=8000, families=("range",)),
        ColdStartStage(TraceMixture(direct=0.3), steps=700, learning_rate=2e-3, num_rows=16_000),
        ColdStartStage(MIXED, steps=250, learning_rate=6e-4, num_rows=8000),
    )


def spread_stages() -> tuple[ColdStartStage, ...]:
    """Stages of `figures/spread_start`: the same abilities, and habits that differ by level instead of by family."""
    return (*_default_stages()[:2], ColdStartStage(SPREAD, steps=250, learning_rate=6e-4, num_rows=8000))


def uneven_stages() -> tuple[ColdStartStage, ...]:
    """Stages of `figures/uneven_start`: the same abilities, known in two families and hidden in the others."""
    return (*_default_stages()[:2], ColdStartStage(UNEVEN, steps=250, learning_rate=6e-4, num_rows=8000))


def digits_stages() -> tuple[ColdStartStage, ...]:
    """Stages of `figures/digits_start`: those of `figures/cold_start`, about handwritten digits."""
    return _about(("digits_range",), DIGIT_FAMILIES)


def charts_stages() -> tuple[ColdStartStage, ...]:
    """Stages of `figures/charts_start`: those of `figures/cold_start`, about bar charts of real tables."""
    return _about(("charts_range",), CHART_FAMILIES)


def _about(first: tuple[str, ...], families: tuple[str, ...]) -> tuple[ColdStartStage, ...]:
    reading, *answering = _default_stages()
    return (replace(reading, families=first), *(replace(stage, families=families) for stage in answering))


def shapes_stages() -> tuple[ColdStartStage, ...]:
    """
    Stages of `figures/shapes_start`: pointing and naming at the first level, where one shape is alone in the picture.

    Further shapes would have to be told apart by color and form together, which takes many times these steps.
    """
    known = ColdStartStage(
        TraceMixture(), steps=400, learning_rate=2e-3, num_rows=8000, families=("point", "classify"), levels=(1,)
    )
    return (known, replace(known, mixture=HABITS, steps=120, learning_rate=6e-4, num_rows=3000))


@dataclass(frozen=True)
class ColdStartConfig:
    """
    What the cold start is made of; two equal configs give the same weights on the same machine.

    Args:
        stages (`tuple[ColdStartStage, ...]`, *optional*):
            Stages in order. Defaults to reading, answering, and hiding the answering.
        seed (`int`, *optional*, defaults to `0`):
            Seed of the weights, the rows and their order.
    """

    stages: tuple[ColdStartStage, ...] = field(default_factory=_default_stages)
    seed: int = 0


def train_cold_start(
    output_dir: str | Path, config: ColdStartConfig | None = None, progress: bool = True
) -> tuple[PreTrainedModel, ProcessorMixin]:
    """
    Train the tiny model from random weights through all stages and save it with its processor.

    Args:
        output_dir (`str` or `Path`):
            Folder for weights, processor and `cold_start.json`.
        config ([`ColdStartConfig`], *optional*):
            Defaults to `ColdStartConfig()`, a few minutes on two CPU cores.
        progress (`bool`, *optional*, defaults to `True`):
            Whether to show TRL's progress bars.

    Returns:
        `tuple`: The model, in evaluation mode, and the processor.
    """
    config = config or ColdStartConfig()
    model, processor = build_tiny_vlm("qwen2_5_vl", seed=config.seed)
    for number, stage in enumerate(config.stages):
        train_stage(model, processor, stage, output_dir, seed=config.seed + number, progress=progress)
    model.eval()
    model.save_pretrained(output_dir)
    processor.save_pretrained(output_dir)
    Path(output_dir, "cold_start.json").write_text(json.dumps(asdict(config), indent=2) + "\n")
    return model, processor


def build_cold_start(output_dir: str | Path, config: ColdStartConfig, progress: bool = True) -> None:
    """
    Do what [`train_cold_start`] does in one process on one device, whatever this process is part of.

    A process of a distributed run would train together with the others, or wait for them, and one that sees several
    devices would train on larger batches. Where that could be, a process of its own does it.

    Args:
        output_dir (`str` or `Path`), config ([`ColdStartConfig`]), progress (`bool`, *optional*, defaults to `True`):
            As in [`train_cold_start`].
    """
    launched = {name for name in os.environ if name.startswith(_LAUNCHER)}
    if not launched and torch.accelerator.device_count() <= 1:
        train_cold_start(output_dir, config, progress)
        return
    environment = {name: value for name, value in os.environ.items() if name not in launched}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    environment["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    body = "from mmr1_trl.models.cold_start import _train_for_parent; _train_for_parent()"
    with subprocess.Popen([sys.executable, "-P", "-c", body], stdin=subprocess.PIPE, env=environment) as process:
        assert process.stdin is not None
        pickle.dump((str(output_dir), config, progress), process.stdin)
        process.stdin.flush()  # and left open: its end is how the process learns that this one is gone
        process.wait()
    if process.returncode != 0:
        raise RuntimeError(f"The process that trains the cold start failed (exit code {process.returncode}).")


def _train_for_parent() -> None:
    """What the process of [`build_cold_start`] does: train what stdin asks for, and end with its parent."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the parent says what there is to say about Ctrl-C
    output_dir, config, progress = pickle.load(sys.stdin.buffer)

    def end_with_parent() -> None:
        os.read(0, 1)
        os._exit(1)

    threading.Thread(target=end_with_parent, name="end-with-parent", daemon=True).start()
    train_cold_start(output_dir, config, progress)


def train_stage(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    stage: ColdStartStage,
    output_dir: str | Path,
    seed: int = 0,
    progress: bool = True,
) -> None:
    """
    Train a model in place on written-out answers; also the supervised controls of the quickstart are made with this.

    Args:
        model ([`~transformers.PreTrainedModel`]):
            Trained in place.
        processor ([`~transformers.ProcessorMixin`]):
            Its processor.
        stage ([`ColdStartStage`]):
            Rows and steps.
        output_dir (`str` or `Path`):
            Folder that the trainer may write to.
        seed (`int`, *optional*, defaults to `0`):
            Seed of the rows and their order.
        progress (`bool`, *optional*, defaults to `True`):
            Whether to show TRL's progress bar.
    """
    rows = figures_traces(
        stage.num_rows, seed=seed, mixture=stage.mixture, families=stage.families, levels=stage.levels
    )
    args = SFTConfig(
        output_dir=str(output_dir),
        max_steps=stage.steps,
        per_device_train_batch_size=stage.batch_size,
        learning_rate=stage.learning_rate,
        warmup_steps=min(50, stage.steps // 4),
        adam_beta2=0.98,
        max_length=None,
        seed=seed,
        bf16=False,
        gradient_checkpointing=False,
        dataloader_num_workers=1,
        dataloader_pin_memory=False,
        dataloader_drop_last=True,
        logging_steps=100,
        save_strategy="no",
        report_to="none",
        disable_tqdm=not progress,
    )
    SFTTrainer(model, args=args, train_dataset=rows, processing_class=processor).train()


def cold_start_path(config: ColdStartConfig) -> Path:
    """
    Return the folder of a cold start, trained now if the cache does not hold it.

    Args:
        config ([`ColdStartConfig`]):
            Every field of it, and `RECIPE_VERSION`, is part of the cache's key.

    Returns:
        `Path`: A folder with model and processor.
    """
    # Levels are part of the key where a stage names some, so that the older starts keep their entries.
    fields = asdict(config, dict_factory=lambda items: {k: v for k, v in items if (k, v) != ("levels", None)})
    key = hashlib.sha256(json.dumps([RECIPE_VERSION, fields], sort_keys=True).encode()).hexdigest()[:12]

    def build(folder: str) -> None:
        build_cold_start(folder, config)

    return build_once(f"figures-cold_start-{key}", build)
