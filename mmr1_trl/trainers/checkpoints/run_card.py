# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The card of a run, written beside its checkpoints in place of TRL's, and what the run says about itself in it."""

import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase
from transformers.utils import is_peft_available, logging

from mmr1_trl.hub.render import named
from mmr1_trl.run_folder import RUN_FILE, write_json
from mmr1_trl.trainers.budget import Budget
from mmr1_trl.trainers.config import RLVRConfig
from mmr1_trl.trainers.method_table import METHODS


logger = logging.get_logger(__name__)

PACKAGES = ("trl", "transformers", "torch", "accelerate", "datasets", "peft", "huggingface_hub")

# The options that decide what a run learns, in the order of the card. The last groups only with their switch on.
ARGUMENTS = (
    "learning_rate", "lr_scheduler_type", "warmup_steps", "optim", "weight_decay", "max_grad_norm", "max_steps",
    "num_train_epochs", "generation_batch_size", "num_generations", "steps_per_generation", "num_iterations",
    "per_device_train_batch_size", "gradient_accumulation_steps", "loss_type", "scale_rewards", "beta", "epsilon",
    "epsilon_high", "delta", "entropy_coef", "temperature", "top_p", "top_k", "max_completion_length", "max_length",
    "min_pixels", "max_pixels", "freeze_vision_tower", "gradient_checkpointing", "bf16", "fp16", "use_vllm", "seed",
    "label_noise",
)  # fmt: skip
TRACKER = (
    "tracker_forgetting", "tracker_rho_min", "tracker_rho_max", "tracker_target_kl", "tracker_kl_window",
    "tracker_kl_source", "tracker_initial_value", "tracker_initial_rollouts", "tracker_smoothing",
    "tracker_success_threshold",
)  # fmt: skip
SHAPING = ("shaping_alpha", "shaping_kappa", "entropy_source")
SAMPLING = (
    "prompt_sampling", "vas_weighted_fraction", "vas_refresh", "vas_update_steps", "vas_rollouts",
    "vas_outcome_weight", "vas_diversity_weight", "vas_diversity_metric", "vas_variant",
)  # fmt: skip
SCHEDULE = ("entropy_schedule", "explore_coef", "exploit_coef", "switch_fraction")


class CardMixin:
    """
    Goes before a trainer of TRL, which calls `create_model_card` at every checkpoint, at uploads and at the end.

    Attributes:
        base_model_name (`str`, *optional*), dataset_name (`str`, *optional*):
            What the user calls the model that training starts from and its rows, where the trainer cannot know it. The
            command line sets them.
    """

    args: Any
    base_model_name: str | None = None
    dataset_name: str | None = None
    _card_failed = False

    def create_model_card(
        self, model_name: str | None = None, dataset_name: str | None = None, tags: str | list[str] | None = None
    ) -> None:
        """
        Write `README.md`, `mmr1_run.json` and the log history so far into the output folder; the curves at the end,
        and whenever they are uploaded. Whatever goes wrong is warned about once; no training fails because of it.

        Args:
            model_name (`str`, *optional*):
                Unused: the card is headed by the name of the repository or of the folder.
            dataset_name (`str`, *optional*):
                What the training rows are called, if not `self.dataset_name`.
            tags (`str` or `list[str]`, *optional*):
                Further tags.
        """
        trainer: Any = self
        if not trainer.is_world_process_zero():
            return
        try:
            from mmr1_trl.hub.model_card import write_model_card

            folder = Path(str(self.args.output_dir))
            folder.mkdir(parents=True, exist_ok=True)
            trainer.save_state()
            write_json(folder / RUN_FILE, self.describe_run(dataset_name or self.dataset_name, tags))
            write_model_card(folder, repo_id=trainer.hub_model_id)
        except Exception as error:  # a card is never worth a run
            if not self._card_failed:
                logger.warning(
                    f"The model card could not be written ({type(error).__name__}: {error}). Training goes on; this "
                    "is said once."
                )
            self._card_failed = True

    def describe_run(self, dataset_name: str | None = None, tags: str | list[str] | None = None) -> dict[str, Any]:
        """
        Say what this trains, on what, how, and how far it is. No path, token or name of a person is in it.

        Args:
            dataset_name (`str`, *optional*):
                What the user calls the training rows.
            tags (`str` or `list[str]`, *optional*):
                Further tags of the card.

        Returns:
            `dict`: Plain values.
        """
        trainer: Any = self
        model = trainer.accelerator.unwrap_model(trainer.model)
        base_model = self.base_model_name or model.config.name_or_path
        facts: dict[str, Any] = {
            "trainer": type(self).__name__,
            "base_model": named(base_model),
            "dataset": named(dataset_name),
            "rows": len(trainer.train_dataset),
            "prompt_style": _prompt_style(trainer.train_dataset),
            "model_type": model.config.model_type,
            "text_only": isinstance(trainer.processing_class, PreTrainedTokenizerBase),
            "adapter": _adapter(model),
            "parameters": sum(p.numel() for p in model.parameters()),
            "step": trainer.state.global_step,
            "planned_steps": trainer.state.max_steps,
            "processes": trainer.accelerator.num_processes,
            "hardware": _hardware(trainer.accelerator),
            "versions": {"mmr1-trl": version("mmr1-trl")} | _versions(),
            "method_tags": ["trl", "mmr1-trl", "sft"],
            "tags": [tags] if isinstance(tags, str) else sorted(tags or []),
        }
        if isinstance(self.args, RLVRConfig):
            rewards = trainer.reward_func_names, trainer.reward_weights.tolist()
            facts |= _method_facts(self.args, trainer.prompts.count, trainer.budget, *rewards)
        return facts | {"arguments": _arguments(self.args)}


def _arguments(args: Any) -> dict[str, Any]:
    """The options that decide what a run learns, those that are not set left out."""
    names: tuple[str, ...] = ARGUMENTS
    if isinstance(args, RLVRConfig):
        names += TRACKER if args.advantage_baseline == "value_tracker" else ()
        names += SHAPING if args.entropy_shaping else ()
        names += SAMPLING if args.prompt_sampling in ("variance_aware", "uncertainty") else ()
        names += SCHEDULE if args.entropy_schedule != "none" else ()
    values = args.to_dict()
    arguments = {name: values[name] for name in names if name in values}
    arguments = {name: value for name, value in arguments.items() if value is not None and value is not False}
    del arguments["num_train_epochs" if args.max_steps > 0 else "max_steps"]
    return arguments


def _method_facts(
    args: RLVRConfig, prompts: int, budget: Budget, rewards: list[str], weights: list[float]
) -> dict[str, Any]:
    used = [method for method in METHODS.values() if method.is_on(args)]
    return {
        "switches": {
            "value_tracker": args.advantage_baseline == "value_tracker",
            "baseline": args.advantage_baseline,
            "negatives": args.negatives,
            "shaping": args.entropy_shaping,
            "sampling": args.prompt_sampling,
            "schedule": args.entropy_schedule,
        },
        "methods": [method.title for method in used],
        "method_tags": sorted({tag for method in used for tag in method.tags}),
        "papers": [dict(method.paper) for method in used],
        "prompts": prompts,
        "rewards": [str(name) for name in rewards],
        "reward_weights": weights,
        "rollouts": {"training": budget.training, "scoring": budget.scoring, "initial": budget.initial},
    }


def _prompt_style(dataset: Any) -> str | None:
    """The style that all prompts have; of the drawn pictures it is known by their columns."""
    if "prompt_style" in dataset.column_names:
        return dataset.select_columns("prompt_style")[0]["prompt_style"]
    return "figures" if {"family", "level"} <= set(dataset.column_names) else None


def _adapter(model: Any) -> dict[str, Any] | None:
    """The settings of a PEFT model's adapter, in words of its `adapter_config.json`."""
    if not is_peft_available():
        return None
    from peft import PeftModel

    if not isinstance(model, PeftModel):
        return None
    config = model.peft_config[model.active_adapter].to_dict()
    targets = config.get("target_modules")
    return {
        "peft_type": str(getattr(config["peft_type"], "value", config["peft_type"])),
        "r": config.get("r"),
        "lora_alpha": config.get("lora_alpha"),
        "target_modules": targets if isinstance(targets, str) else sorted(targets or []),
    }


def _hardware(accelerator: Any) -> str:
    processes = accelerator.num_processes
    if accelerator.device.type != "cuda":
        what = "CPU" if accelerator.device.type == "cpu" else accelerator.device.type
        return f"{what}, {os.cpu_count()} cores" + (f", {processes} processes" if processes > 1 else "")
    properties = torch.cuda.get_device_properties(accelerator.device)
    return f"{processes} x {properties.name} ({properties.total_memory / 2**30:.0f} GiB)"


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            pass
    return found
