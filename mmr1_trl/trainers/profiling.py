# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Where the time and the memory of a training step go: every second belongs to exactly one part."""

import functools
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from accelerate import PartialState
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from transformers import TrainerCallback
from trl.extras import profiling

from mmr1_trl.trainers.vision.freezing import is_frozen


# What TRL times by itself (`profiling/Time taken: ...`) -> the part it belongs to; a contract test looks for them.
TRL_PARTS = {
    "transformers.generate": "generation",
    "transformers.generate_batch": "generation",
    "vLLM.generate": "generation",
    "sync_weights": "weights to vLLM",
    "_calculate_rewards": "rewards",
    "_prepare_inputs": "batches",
    "compute_loss": "loss",
}
# What is timed beside that: whose method, its name, and the part it belongs to.
PLACES = (
    ("reader", "read", "data"),
    ("baseline", "prepare", "scoring"), ("baseline", "advantages", "scoring"), ("baseline", "finish", "scoring"),
    ("sampler", "next_batch", "scoring"), ("sampler", "observe", "scoring"),
    ("processor class", "__call__", "pre-processing"), ("processor class", "apply_chat_template", "pre-processing"),
    ("accelerator", "backward", "backward"), ("accelerator", "clip_grad_norm_", "optimizer"),
    ("trainer", "log", "logging"),
)  # fmt: skip
FORWARD = "_get_per_token_logps_and_entropies"
COLLECTIVES = ("all_gather", "all_gather_into_tensor", "all_reduce", "broadcast", "barrier", "reduce_scatter_tensor")
OTHER = "other"
# part -> what it is, in the order of a step
PARTS = {
    "data": "rows read, pictures decoded",
    "pre-processing": "processor: chat template, tokens, pixels",
    "generation": "sampling, without its vision tower",
    "weights to vLLM": "the policy's weights sent to vLLM",
    "vision": "vision tower, forward only, in whichever pass",
    "rewards": "reward functions",
    "old and reference log-probs": "forward passes without a gradient",
    "scoring": "prompt draw, value tracker, advantages",
    "batches": "what TRL does around them: padding, shuffling, metrics",
    "forward": "language model with a gradient",
    "loss": "loss and its metrics",
    "backward": "backward pass, recomputation included",
    "optimizer": "clipping and update",
    "waiting": "collective calls between processes",
    "logging": "logs",
    OTHER: "everything else, the training loop included",
}


class StepTimer:
    """
    Exclusive times: a part that is entered stops the clock of the part around it.

    Args:
        memory (`Callable`):
            Returns the peak memory since its last call, in bytes.
    """

    def __init__(self, memory: Callable[[], int]) -> None:
        self._memory = memory
        self._thread = threading.get_ident()  # decoding threads and the like are not the step
        self._stack = [OTHER]
        self._last = time.perf_counter()
        self.clear()

    def clear(self) -> None:
        """Forget what was measured; the parts that are open stay open."""
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.calls: defaultdict[str, int] = defaultdict(int)
        self.peaks: defaultdict[str, int] = defaultdict(int)

    def settle(self) -> None:
        """Give the time since the last change to the part that is open."""
        if torch.accelerator.is_available():
            torch.accelerator.synchronize()
        now, part = time.perf_counter(), self._stack[-1]
        self.seconds[part] += now - self._last
        self.peaks[part] = max(self.peaks[part], self._memory())
        self._last = now

    def enter(self, part: str) -> None:
        """Open a part."""
        if threading.get_ident() == self._thread:
            self.settle()
            if self._stack[-1] != part:
                self.calls[part] += 1
            self._stack.append(part)

    def leave(self) -> None:
        """Close the part that was opened last."""
        if threading.get_ident() == self._thread:
            self.settle()
            self._stack.pop()

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return `function` inside a part."""

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self.enter(part)
            try:
                return function(*args, **kwargs)
            finally:
                self.leave()

        return wrapped


def peak_memory() -> int:
    """Peak memory since the last call, in bytes: of the accelerator, or of this process (Linux only, else 0)."""
    if torch.cuda.is_available():
        peak = torch.cuda.max_memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        return peak
    try:
        status = Path("/proc/self/status").read_text()
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # forgets the high-water mark
    except OSError:
        return 0
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


class StepProfile(TrainerCallback):
    """
    Measures the steps of a trainer.

    Args:
        owners (`dict[str, Any]`):
            What `PLACES` names.
        models (`Sequence[torch.nn.Module]`):
            Models whose vision towers are timed.
        tokens (`Callable[[], tuple[int, int]]`):
            Says how many tokens the language model was asked for and computed so far.
        warm_up (`int`):
            Optimizer steps that are not counted.
    """

    def __init__(
        self,
        owners: dict[str, Any],
        models: Sequence[torch.nn.Module],
        tokens: Callable[[], tuple[int, int]],
        warm_up: int,
    ) -> None:
        self.owners, self.models, self.tokens = owners, models, tokens
        self.warm_up = warm_up
        self.timer = StepTimer(peak_memory)
        self.steps: list[dict[str, Any]] = []  # of each step: wall time, and seconds, calls and peaks by part
        self._begun = 0.0
        self._tokens = (0, 0)  # before the measured steps

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.timer.settle()
        now = time.perf_counter()
        if state.global_step == self.warm_up:
            self._tokens = self.tokens()
        if state.global_step > self.warm_up:
            timer = self.timer
            self.steps.append(
                {
                    "step": state.global_step,
                    "wall": now - self._begun,
                    "seconds": dict(timer.seconds),
                    "calls": dict(timer.calls),
                    "peaks": dict(timer.peaks),
                }
            )
        self.timer.clear()
        self._begun = now

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Put the clocks in their places, and take them away again."""
        places = [(self.owners[owner], name, part) for owner, name, part in PLACES]
        if PartialState().num_processes > 1:
            places += [(torch.distributed, name, "waiting") for name in COLLECTIVES]
        with ExitStack() as stack:
            stack.enter_context(self._clocks_of_trl())
            for owner, name, part in places:
                stack.enter_context(patch.object(owner, name, self.timer.timed(part, getattr(owner, name))))
            hooks: list[Any] = [
                register_optimizer_step_pre_hook(lambda *_: self.timer.enter("optimizer")),
                register_optimizer_step_post_hook(lambda *_: self.timer.leave()),
            ]
            for tower in (tower for model in self.models for tower in vision_towers(model)):
                hooks.append(tower.register_forward_pre_hook(lambda *_: self.timer.enter("vision")))
                hooks.append(tower.register_forward_hook(lambda *_: self.timer.leave(), always_call=True))
            try:
                yield
            finally:
                for hook in hooks:
                    hook.remove()

    @contextmanager
    def _clocks_of_trl(self) -> Iterator[None]:
        """Hear of the beginning and end of everything that TRL times."""
        context = profiling.ProfilingContext
        enter, leave, timer = context.__enter__, context.__exit__, self.timer

        def part_of(own: Any) -> str:
            name = own.name.partition(".")[2]
            if name == FORWARD:
                return "forward" if torch.is_grad_enabled() else "old and reference log-probs"
            return TRL_PARTS.get(name, "rewards")  # the others are called by the reward functions' own names

        def entering(own: Any) -> Any:
            timer.enter(part_of(own))
            return enter(own)

        def leaving(own: Any, *error: Any) -> Any:
            try:
                return leave(own, *error)
            finally:
                timer.leave()

        with patch.object(context, "__enter__", entering), patch.object(context, "__exit__", leaving):
            yield

    def summary(self) -> dict[str, Any]:
        """
        Mean over the measured steps.

        Returns:
            `dict`: `wall` (seconds per step), `device`, `tokens` (`asked` and `computed` by the language model per
            step, in all passes but decoding; 0 where prompts are not shared), and `parts` with `seconds`, `share`,
            `calls` per step and `peak` (bytes) of each part that took place. The seconds of all parts sum to `wall`.
        """
        count = len(self.steps)
        wall = sum(step["wall"] for step in self.steps) / count
        parts = {}
        for part in PARTS:
            if not any(part in step["seconds"] for step in self.steps):
                continue
            seconds = sum(step["seconds"].get(part, 0.0) for step in self.steps) / count
            parts[part] = {
                "seconds": seconds,
                "share": seconds / wall,
                "calls": sum(step["calls"].get(part, 0) for step in self.steps) / count,
                "peak": max(step["peaks"].get(part, 0) for step in self.steps),
            }
        counted = [(now - then) / count for now, then in zip(self.tokens(), self._tokens)]
        tokens = dict(zip(("asked", "computed"), counted))
        about = {"steps": count, "wall": wall, "device": device_name(), "tokens": tokens}
        return about | {"parts": parts, "each": self.steps}


def vision_towers(model: torch.nn.Module) -> list[torch.nn.Module]:
    """Return the outermost modules that [`is_frozen`] calls a vision tower."""
    towers: dict[str, torch.nn.Module] = {}
    for name, module in model.named_modules():
        if is_frozen(name, False) and not any(name.startswith(f"{outer}.") for outer in towers):
            towers[name] = module
    return list(towers.values())


def device_name() -> str:
    """Return what the step ran on."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"CPU, {torch.get_num_threads()} thread{'s' * (torch.get_num_threads() != 1)} of {os.cpu_count()} cores"
