# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The set-up of all learning studies: train with the public trainers, measure on held-out pictures, say what with.

A run is one arm of a study with one seed; what it leaves is one line (see `lines.py`).
"""

import functools
import hashlib
import platform
import tempfile
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, TrainerCallback

import mmr1_trl
from mmr1_trl.cli.commands.eval import load_model
from mmr1_trl.data.answers.noise import apply_label_noise
from mmr1_trl.data.figures import load_figures
from mmr1_trl.evaluation.runner import evaluate_model
from mmr1_trl.rewards import accuracy_reward
from studies.starts import start_folder, start_hash


LATE = 0.75  # share of the budget from which on the named metric is read, on more prompts
LIBRARIES = ("torch", "transformers", "trl", "accelerate", "numpy")
# Logged by the trainers and kept with each run, where they exist.
LOGGED = (
    "reward", "entropy", "grad_norm", "frac_reward_zero_std", "kl", "clip_ratio/region_mean",
    "completions/mean_length", "sampler/rejected", "sampler/frac_zero_variance_groups",
    "vas/frac_zero_variance_weighted", "vas/frac_zero_variance_uniform",
    "vas/effective_sample_size", "vas/coverage", "entropy/coef", "entropy/response_mean", "mssr/rho",
    "mssr/value_mean", "study/dropped_share",
)  # fmt: skip


@dataclass(frozen=True)
class Arm:
    """
    One way of training in a study.

    Args:
        name (`str`):
            What tables call it.
        options (`dict`):
            Options of the config class, over those of the study.
        trainer (`type` or `str`, *optional*, defaults to `"RLVRTrainer"`):
            The trainer class, or its name in `mmr1_trl`.
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    trainer: Any = "RLVRTrainer"


@dataclass(frozen=True)
class Setting:
    """
    What all arms of a study have in common.

    Args:
        start (`str`):
            Kind of start, one of `starts.KINDS`.
        options (`dict`):
            Options of the config class. A schedule over the steps needs the `max_steps` that the budget comes to.
        budget (`int`):
            Rollouts after which training stops, those spent on scoring included.
        eval_every (`int`):
            Rollouts between two evaluations.
        num_train_rows (`int`, *optional*, defaults to `512`):
            Training prompts, drawn with the run's seed.
        num_eval_rows (`int`, *optional*, defaults to `300`):
            Held-out prompts, drawn with the run's seed.
        num_late_rows (`int`, *optional*, defaults to `1200`):
            Held-out prompts from 75 % of the budget on, where the named metric is read.
        train_families, eval_families (`tuple[str, ...]`, *optional*):
            Families of pictures. Default to those of [`~mmr1_trl.data.figures.load_figures`].
        levels (`tuple[int, ...]`, *optional*):
            Levels of the training and the held-out prompts. Defaults to all.
        label_noise (`float`, *optional*, defaults to `0.0`):
            Share of training rows with a wrong label.
        label_noise_kind (`str`, *optional*, defaults to `"random"`):
            `"random"` or `"near_miss"`.
        num_starts (`int`, *optional*):
            Number of starts that the seeds share in turn. By default each seed has a start of its own.
        count_trained (`bool`, *optional*, defaults to `False`):
            Whether `budget` and `eval_every` count the rollouts that were trained on, so that arms which throw
            rollouts away make as many updates as the others.
    """

    start: str
    options: dict[str, Any]
    budget: int
    eval_every: int = 1024
    num_train_rows: int = 512
    num_eval_rows: int = 300
    num_late_rows: int = 1200
    train_families: tuple[str, ...] | None = None
    eval_families: tuple[str, ...] | None = None
    levels: tuple[int, ...] | None = None
    label_noise: float = 0.0
    label_noise_kind: str = "random"
    num_starts: int | None = None
    count_trained: bool = False

    def start_of(self, seed: int) -> str:
        """Name of the start that the run with this seed begins with."""
        return f"{self.start}-{seed if self.num_starts is None else seed % self.num_starts}"


class _Measure(TrainerCallback):
    """Evaluates every so many rollouts, and stops the training when the budget is spent."""

    def __init__(self, setting: Setting, seed: int) -> None:
        self.setting, self.seed = setting, seed
        most = max(setting.num_eval_rows, setting.num_late_rows)
        self.rows = load_figures("test", most, seed, setting.eval_families, setting.levels)
        self.trainer: Any = None
        self.curve: list[dict[str, Any]] = []
        self.seconds = 0.0  # of all evaluations

    def measure(self, spent: int) -> None:
        begin = time.perf_counter()
        trainer = self.trainer
        model = trainer.accelerator.unwrap_model(trainer.model)
        length = trainer.args.max_completion_length
        late = spent >= LATE * self.setting.budget
        rows = self.rows.select(range(self.setting.num_late_rows if late else self.setting.num_eval_rows))
        made = trainer.budget.rollouts if spent else 0
        point = {"spent": spent, "rollouts": made, "step": trainer.state.global_step, "late": late}
        self.curve.append(point | accuracies(model, trainer.processing_class, rows, self.seed, length))
        self.seconds += time.perf_counter() - begin

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.measure(0)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # Only when the rollouts at hand are used up: the next step would sample new ones.
        if state.global_step % args.steps_per_generation:
            return
        trained = state.global_step // args.steps_per_generation * args.generation_batch_size
        spent = trained if self.setting.count_trained else self.trainer.budget.rollouts
        finished = spent >= self.setting.budget
        if finished or spent // self.setting.eval_every > self.curve[-1]["spent"] // self.setting.eval_every:
            self.measure(spent)
        control.should_training_stop = control.should_training_stop or finished


def accuracies(model: Any, processor: Any, rows: Any, seed: int, max_new_tokens: int) -> dict[str, Any]:
    """Greedy accuracy, accuracy of one sample per prompt, and greedy accuracy by family."""
    result = evaluate_model(
        model, processor, rows, num_samples=1, max_new_tokens=max_new_tokens, batch_size=250, seed=seed,
        prompt_style="figures", progress=False,
    )  # fmt: skip
    return {
        "greedy": round(result.greedy_accuracy, 4),
        "sampled": round(result.sampled_accuracy or 0.0, 4),
        "family": {name: round(values["greedy_accuracy"], 4) for name, values in result.by["family"].items()},
    }


@functools.cache
def sources_hash() -> str:
    """Twelve digits of the SHA-256 over the package's Python files and their paths."""
    root = Path(mmr1_trl.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def made_with() -> dict[str, Any]:
    """What numbers may depend on beside the start: sources, processor, threads and versions."""
    info = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    versions = {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}
    return {
        "sources": sources_hash(),
        "cpu": names[0] if names else platform.processor(),
        "threads": torch.get_num_threads(),
        "versions": versions,
    }


def train_and_measure(setting: Setting, arm: Arm, seed: int, starts: Path | None = None) -> dict[str, Any]:
    """
    One run: train an arm until its budget of rollouts is spent.

    Args:
        setting ([`Setting`]), arm ([`Arm`]), seed (`int`):
            What is run.
        starts (`Path`, *optional*):
            Folder of packed starts.

    Returns:
        `dict`: `start` (its name and hash), `made` (see [`made_with`]), `curve` (a list of evaluations with
        `rollouts`, `step`, `late`, `greedy`, `sampled`, `family`), `log` (what the trainer logged, by name, beside
        `step`), `seconds` (of training on the clock, evaluations left out) and `core_seconds` (of the processor, with
        them).
    """
    torch.set_num_threads(1)
    begin_core = time.process_time()
    trainer_class = getattr(mmr1_trl, arm.trainer) if isinstance(arm.trainer, str) else arm.trainer
    folder = start_folder(setting.start_of(seed), starts)
    start = {"name": setting.start_of(seed), "hash": start_hash(folder)}
    model, processor = load_model(str(folder))
    model.train()
    measure = _Measure(setting, seed)
    rows = load_figures("train", setting.num_train_rows, seed, setting.train_families, setting.levels)
    if setting.label_noise:
        rows = apply_label_noise(rows, setting.label_noise, seed, setting.label_noise_kind)
    with tempfile.TemporaryDirectory() as output:
        args = trainer_class._config_class(
            output_dir=output, seed=seed, report_to="none", save_strategy="no", disable_tqdm=True,
            lr_scheduler_type="constant", bf16=False, use_cpu=not torch.cuda.is_available(),
            gradient_checkpointing=False,
            **{"max_steps": 1_000_000, "logging_steps": 1} | setting.options | arm.options,
        )  # fmt: skip
        trainer = trainer_class(
            model=model, reward_funcs=accuracy_reward, args=args, train_dataset=rows, processing_class=processor,
            callbacks=[measure],
        )  # fmt: skip
        measure.trainer = trainer
        trainer.remove_callback(PrinterCallback)
        begin = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - begin - measure.seconds
    log: dict[str, list[Any]] = {"step": []}
    for entry in trainer.state.log_history:
        if "reward" in entry:
            log["step"].append(entry["step"])
            for name in LOGGED:
                if name in entry:
                    log.setdefault(name, []).append(round(float(entry[name]), 5))
    spent = {"seconds": round(seconds, 1), "core_seconds": round(time.process_time() - begin_core, 1)}
    return {"start": start, "made": made_with(), "curve": measure.curve, "log": log, **spent}
