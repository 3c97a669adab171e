# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The options of a run that decide what it needs, apart from everything else that a run is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any


WEIGHTS = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0}


@dataclass(frozen=True)
class Options:
    """
    What memory, work and time depend on.

    Args:
        devices (`int`), memory (`float`):
            Number of devices, and the memory of each in GiB.
        sharding (`str`):
            `"none"`, `"zero2"` (gradients and optimizer) or `"zero3"` (weights and reference too; FSDP2 is the same).
        weight_bytes (`float`), half (`bool`):
            Bytes of a stored weight, and whether the passes compute in 16 bits.
        adapters (`bool`), rank (`int`), targets (`tuple[str, ...]`):
            LoRA.
        freeze_tower (`bool`), freeze_merger (`bool`), checkpointing (`bool`), share_prompts (`bool`):
            As the trainer's options.
        reference (`bool`):
            Whether there is a KL term (`beta` above 0).
        state_bytes (`float`):
            Bytes of the optimizer per byte of a trained weight: 2 for AdamW.
        micro (`int`), steps_per_generation (`int`), accumulation (`int`), iterations (`int`), group (`int`):
            Rollouts of a pass per device, passes of a generation batch and of an update, uses of a batch, and rollouts
            of a prompt.
        text_tokens (`int`), max_pixels (`int`, *optional*), completion (`int`):
            Tokens of a question, largest picture, longest completion.
        vllm (`str`), vllm_share (`float`), vllm_sleep (`bool`), vllm_length (`int`):
            `"colocate"`, `"server"` or `"none"`; its share of the memory; whether it gives it back; longest context.
        old_logps (`bool`):
            Whether the policy that sampled is passed over once more.
    """

    devices: int
    memory: float
    sharding: str
    weight_bytes: float
    half: bool
    adapters: bool
    rank: int
    targets: tuple[str, ...]
    freeze_tower: bool
    freeze_merger: bool
    checkpointing: bool
    share_prompts: bool
    reference: bool
    state_bytes: float
    micro: int
    steps_per_generation: int
    accumulation: int
    iterations: int
    group: int
    text_tokens: int
    max_pixels: int | None
    completion: int
    vllm: str
    vllm_share: float
    vllm_sleep: bool
    vllm_length: int
    old_logps: bool

    @property
    def rollouts(self) -> int:
        """Rollouts of a generation batch, over all devices."""
        return self.micro * self.devices * self.steps_per_generation

    @property
    def updates(self) -> float:
        """Updates of a generation batch."""
        return self.steps_per_generation * self.iterations / self.accumulation


def read_options(
    config: Any, model_args: Any, devices: int, memory: float, sharding: str, text_tokens: int, half: bool
) -> Options:
    """
    Take the options out of those of a training command.

    Args:
        config ([`~mmr1_trl.trainers.config.RLVRConfig`]), model_args ([`~trl.ModelConfig`]):
            What the command would train with.
        devices (`int`), memory (`float`), sharding (`str`), text_tokens (`int`), half (`bool`):
            As in [`Options`].

    Returns:
        [`Options`]
    """
    targets = model_args.lora_target_modules or ["q_proj", "v_proj"]
    stored = WEIGHTS.get(str(model_args.dtype), 4.0)
    stored = 0.56 if model_args.load_in_4bit else 1.0 if model_args.load_in_8bit else stored
    return Options(
        devices=devices,
        memory=memory,
        sharding=sharding,
        weight_bytes=stored,
        half=half,
        adapters=bool(model_args.use_peft),
        rank=model_args.lora_r,
        targets=tuple([targets] if isinstance(targets, str) else targets),
        freeze_tower=config.freeze_vision_tower,
        freeze_merger=config.freeze_merger,
        checkpointing=bool(config.gradient_checkpointing),
        share_prompts=config.share_prompts == "auto",
        reference=config.beta > 0,
        state_bytes=0.5 if "8bit" in str(config.optim) else 2.0,
        micro=config.per_device_train_batch_size,
        steps_per_generation=config.steps_per_generation,
        accumulation=config.gradient_accumulation_steps,
        iterations=config.num_iterations,
        group=config.num_generations,
        text_tokens=text_tokens,
        max_pixels=config.max_pixels,
        completion=config.max_completion_length,
        vllm=config.vllm_mode if config.use_vllm else "none",
        vllm_share=config.vllm_gpu_memory_utilization,
        vllm_sleep=bool(config.vllm_enable_sleep_mode),
        vllm_length=config.vllm_max_model_length or 0,
        old_logps=config.computes_old_logps,
    )


def smaller_passes(options: Options) -> Options | None:
    """The same generation batch and updates in passes of half the rollouts; `None` where a pass is one rollout."""
    if options.micro == 1 or options.micro % 2:
        return None
    return replace(
        options,
        micro=options.micro // 2,
        steps_per_generation=2 * options.steps_per_generation,
        accumulation=2 * options.accumulation,
    )
