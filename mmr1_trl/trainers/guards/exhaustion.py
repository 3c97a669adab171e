# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What to say when the accelerator's memory or the disk is full: the numbers of this run and what to turn."""

import errno
import shutil
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from mmr1_trl.errors import BadInputError, TrainingStopped
from mmr1_trl.run_folder import COMPLETE, newest_complete


GB = 1e9
FULL = {errno.ENOSPC: "no space left", errno.EDQUOT: "quota exceeded", errno.EFBIG: "the file size limit is reached"}
# safetensors and torch write through Rust and C++ and keep only the text of the error.
FULL_TEXTS = ("No space left on device", "Disk quota exceeded", "File too large", "PytorchStreamWriter failed writing")


def disk_is_full(error: BaseException) -> str | None:
    """
    Return how an error says that a disk, a quota or a limit is exhausted; `None` when it is about something else.

    Args:
        error (`BaseException`):
            Anything that writing a file may raise.
    """
    if isinstance(error, OSError) and error.errno in FULL:
        return FULL[error.errno]
    text = next((text for text in FULL_TEXTS if text in str(error)), None)
    if text is None and error.__context__ is not None:
        return disk_is_full(error.__context__)
    return "writing failed" if text == FULL_TEXTS[-1] else text and text[0].lower() + text[1:]


@contextmanager
def saving(what: str, folder: Path, run_dir: Path) -> Iterator[None]:
    """
    Around the writing of something: a full disk becomes one message that says what is still whole.

    Args:
        what (`str`):
            What is written, for the message.
        folder (`Path`):
            Where it goes. If it lies in `run_dir`, what could be written of it is removed, to give the room back.
        run_dir (`Path`):
            Folder of the run, with its checkpoints.

    Raises:
        [`TrainingStopped`]: The disk, the quota or the limit is exhausted.
    """
    try:
        yield
    except TrainingStopped:
        raise
    except Exception as error:
        reason = disk_is_full(error)
        if reason is None:
            raise
        free = shutil.disk_usage(run_dir).free / GB
        if folder != run_dir and not (folder / COMPLETE).is_file():
            shutil.rmtree(folder, ignore_errors=True)
        raise TrainingStopped(
            f"{what} could not be written to {folder}: {reason} ({free:.3g} GB were free). {last_checkpoint(run_dir)} "
            "Make room, or keep fewer checkpoints (--save_total_limit 2), and resume."
        ) from error


def last_checkpoint(run_dir: Path) -> str:
    """Say which checkpoint of a run can be resumed."""
    try:
        return f"The last complete checkpoint, {newest_complete(run_dir)[0].name}, is untouched."
    except BadInputError:
        return "There is no complete checkpoint yet."


def out_of_memory_advice(
    error: BaseException,
    args: Any,
    step: int,
    *,
    batch: dict[str, Any] | None = None,
    tokens: tuple[int, int] = (0, 0),
    may_spread: bool = False,
) -> str:
    """
    Say what filled the accelerator's memory and what to turn, in the order of what it costs.

    Args:
        error (`torch.OutOfMemoryError`):
            What was raised; its traceback says in which part of a step.
        args ([`RLVRConfig`]), step (`int`):
            The run's options, and how many optimizer steps were made.
        batch (`dict`, *optional*):
            The last micro-batch that was generated.
        tokens (`tuple[int, int]`, *optional*):
            Tokens that the last forward pass was asked for and that it computed, where prompts are shared.
        may_spread (`bool`, *optional*, defaults to `False`):
            Whether there are several processes, each with all of the weights.

    Returns:
        `str`: One message.
    """
    where = part_of_step(error)
    numbers = [f"micro-batch {args.per_device_train_batch_size}"]
    if batch is not None:
        numbers.append(
            f"last batch: prompts of {batch['prompt_ids'].shape[1]} tokens, completions of "
            f"{batch['completion_ids'].shape[1]}"
        )
    numbers.append(f"max_completion_length {args.max_completion_length}")
    asked, computed = tokens
    if asked:
        numbers.append(f"last forward pass: {computed:,} of {asked:,} tokens, each prompt once")
    if batch is not None and batch.get("pixel_values") is not None:
        numbers.append(f"pixel values {'x'.join(map(str, batch['pixel_values'].shape))}")
    numbers.append(f"max_pixels {args.max_pixels or 'unlimited'}")
    numbers.append(f"gradient checkpointing {'on' if args.gradient_checkpointing else 'off'}")
    if args.use_vllm and args.vllm_mode == "colocate":
        numbers.append(f"vLLM's share {args.vllm_gpu_memory_utilization:g}")
    knobs = []
    if args.share_prompts == "off":
        knobs.append("--share_prompts auto (each prompt once in a forward pass, no padding)")
    if not args.gradient_checkpointing and where in ("the forward pass", "the backward pass"):
        knobs.append("--gradient_checkpointing true (about a third more time)")
    if args.use_vllm and args.vllm_mode == "colocate":
        less = max(0.1, round(args.vllm_gpu_memory_utilization - 0.1, 2))
        if args.vllm_gpu_memory_utilization > less:
            knobs.append(f"--vllm_gpu_memory_utilization {less:g}")
        if not args.vllm_enable_sleep_mode:
            knobs.append("--vllm_enable_sleep_mode true")
    if args.per_device_train_batch_size > 1:
        half, steps = args.per_device_train_batch_size // 2, args.steps_per_generation * 2
        knobs.append(
            f"--per_device_train_batch_size {half} --steps_per_generation {steps} --gradient_accumulation_steps "
            f"{args.gradient_accumulation_steps * 2} (the same updates in smaller parts)"
        )
    knobs.append(f"--max_pixels {args.max_pixels // 2 if args.max_pixels else 1_048_576}")
    knobs.append(f"--max_completion_length {max(1, args.max_completion_length // 2)}")
    if may_spread:
        knobs.append("--accelerate_config fsdp2 or zero3 (weights and optimizer over all GPUs)")
    reason = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else "out of memory"
    return (
        f"Out of memory in {where}, after step {step}: {reason}. {_device_memory()}This run: "
        f"{'; '.join(numbers)}. Turn one of these: {'; '.join(knobs)}. {last_checkpoint(Path(str(args.output_dir)))}"
    )


# A function in the traceback -> the part of a step that it stands for; the first that is found counts.
PARTS = {
    "backward": "the backward pass",
    "_compute_loss": "the forward pass",
    "_get_per_token_logps_and_entropies": "the log-probs of a generation batch",
    "_generate": "generation",
    "_calculate_rewards": "the rewards",
    "step": "the optimizer step",
}


def part_of_step(error: BaseException) -> str:
    """Return in which part of a training step an error was raised, by the functions of its traceback."""
    names = {frame.name for frame in traceback.extract_tb(error.__traceback__)}
    return next((part for name, part in PARTS.items() if name in names), "set-up")


def _device_memory() -> str:
    if not torch.cuda.is_available():
        return ""
    free, total = torch.cuda.mem_get_info()
    return (
        f"Of {total / GB:.1f} GB this process has allocated {torch.cuda.max_memory_allocated() / GB:.1f} GB at its "
        f"peak and reserved {torch.cuda.max_memory_reserved() / GB:.1f} GB; {free / GB:.1f} GB are free. "
    )
