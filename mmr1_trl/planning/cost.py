# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Work and time of a generation batch and its updates: operations, bytes, and a range of seconds."""

from __future__ import annotations

from dataclasses import dataclass

from mmr1_trl.planning.memory import Memory, kv_bytes, trained_parameters
from mmr1_trl.planning.options import Options
from mmr1_trl.planning.shapes import Shapes


# Dense bf16 operations per second and bytes per second of what is sold with so much memory (GiB): the slowest and the
# fastest card. 24: RTX 3090 and 4090; 32: V100 and RTX 5090; 48: A40 and L40S; 80: A100 and H100; 141: H200.
_CARDS = {
    16: ((65e12, 165e12), (0.32e12, 0.74e12)),
    24: ((71e12, 165e12), (0.6e12, 1.01e12)),
    32: ((112e12, 210e12), (0.9e12, 1.79e12)),
    48: ((150e12, 362e12), (0.7e12, 0.96e12)),
    80: ((312e12, 989e12), (1.9e12, 3.35e12)),
    141: ((989e12, 989e12), (4.8e12, 4.8e12)),
    192: ((2250e12, 2250e12), (8.0e12, 8.0e12)),
}
_UTILIZATION = (0.15, 0.45)  # of the peak that training reaches
_BANDWIDTH = (0.3, 0.75)  # of the memory's that decoding reaches
_LAUNCH = (2e-4, 8e-4)  # seconds per layer and token that generation by transformers waits for launches


@dataclass(frozen=True)
class Cost:
    """
    Of one generation batch, over all devices, unless marked.

    Args:
        text_tokens (`float`), patches (`float`):
            Tokens that pass through the text layers for training, every pass counted, and patches through the tower.
        train_flops (`float`), sample_flops (`float`), update_flops (`float`):
            Operations of training and of sampling, and of training per update.
        traffic (`float`):
            Bytes that a device sends per update: gradients, and with sharded weights the weights of every pass.
        seconds (`tuple[float, float]`), sampling (`tuple[float, float]`), update (`tuple[float, float]`):
            Shortest and longest: of all, of sampling, and per update (sampling shared out over the updates).
    """

    text_tokens: float
    patches: float
    train_flops: float
    sample_flops: float
    update_flops: float
    traffic: float
    seconds: tuple[float, float]
    sampling: tuple[float, float]
    update: tuple[float, float]


def estimate_cost(shapes: Shapes, options: Options, memory: Memory) -> Cost:
    """
    Estimate the work and the time of a generation batch whose completions all have the greatest length.

    Args:
        shapes ([`Shapes`]), options ([`Options`]), memory ([`Memory`]):
            The model, the run, and what the run's memory came to.

    Returns:
        [`Cost`]
    """
    rollouts, prompts = options.rollouts, options.rollouts / options.group
    pictures = shapes.picture_tokens(options.max_pixels)
    prompt = options.text_tokens + pictures
    copies = prompts if options.share_prompts and shapes.shares_prompts else rollouts
    forward = prompt_flops(shapes, copies, prompt) + rollouts * completion_flops(shapes, prompt, options.completion)
    passes = _passes(options)
    tower, encoded = _tower(shapes, options, rollouts, prompts, pictures)
    train = forward * passes + tower
    sample = prompt_flops(shapes, prompts if options.vllm != "none" else rollouts, prompt)
    sample += rollouts * completion_flops(shapes, prompt, options.completion)

    (slow, fast), _ = _card(options.memory)
    updating = tuple(
        train / options.devices / (peak * used) for peak, used in zip((fast, slow), reversed(_UTILIZATION))
    )
    sampling = _sampling(shapes, options, memory, prompt)
    updates = options.updates
    return Cost(
        text_tokens=(copies * prompt + rollouts * options.completion) * passes,
        patches=encoded,
        train_flops=train,
        sample_flops=sample,
        update_flops=train / updates,
        traffic=_traffic(shapes, options),
        seconds=(updating[0] + sampling[0], updating[1] + sampling[1]),
        sampling=sampling,
        update=((updating[0] + sampling[0]) / updates, (updating[1] + sampling[1]) / updates),
    )


def prompt_flops(shapes: Shapes, sequences: float, length: float) -> float:
    """Operations of a forward pass of the text layers over whole sequences."""
    width = shapes.text.heads * shapes.text.head_dim
    return sequences * length * (2 * shapes.active + shapes.full_attention * 2 * width * length)


def completion_flops(shapes: Shapes, prompt: float, completion: float) -> float:
    """Operations of a forward pass over a completion behind its prompt, the projection onto words included."""
    width = shapes.text.heads * shapes.text.head_dim
    seen = prompt + completion / 2
    head = shapes.vocabulary * shapes.text.hidden
    return completion * (2 * (shapes.active + head) + shapes.full_attention * 4 * width * seen)


def _passes(options: Options) -> int:
    """Forward passes that the training on a batch costs, a backward pass counted in them."""
    # Backward costs twice a forward pass, once where weights are frozen; checkpoints are computed again.
    trained = 1 + (1 if options.adapters else 2) + options.checkpointing
    return options.iterations * trained + options.old_logps + options.reference


def _tower(shapes: Shapes, options: Options, rollouts: float, prompts: float, pictures: int) -> tuple[float, float]:
    """Operations of the vision tower, and patches: a frozen one sees each picture once, a trained one every pass."""
    if shapes.vision is None:
        return 0.0, 0.0
    patches = pictures * shapes.merge**2
    width = shapes.vision.heads * shapes.vision.head_dim
    weights = shapes.parameters["tower"] + shapes.parameters["merger"]
    forward = patches * (2 * weights + shapes.vision.layers * 4 * width * patches)
    if options.freeze_tower:
        return prompts * forward, prompts * patches
    # Rollouts of a prompt meet in a pass as far as a pass holds them, and share its encoding there.
    seen = rollouts / min(options.micro, options.group)
    return seen * forward * _passes(options), seen * patches * _passes(options)


def _traffic(shapes: Shapes, options: Options) -> float:
    if options.devices == 1:
        return 0.0
    trained, _ = trained_parameters(shapes, options)
    if options.sharding == "zero3":  # weights before the forward and the backward pass, and gradients after it
        return options.accumulation * (2 * shapes.total * options.weight_bytes + trained * 4.0)
    return 2 * trained * 4.0


def _sampling(shapes: Shapes, options: Options, memory: Memory, prompt: float) -> tuple[float, float]:
    """Seconds of decoding: every step reads the weights, and the keys and values of all sequences at once."""
    _, (narrow, broad) = _card(options.memory)
    held = options.rollouts / options.devices
    length = prompt + options.completion / 2
    if options.vllm == "colocate":
        room = max(memory.engine_room, 0.0)
        together = min(held, max(1.0, room / (length * kv_bytes(shapes, half=True))))
    else:
        together = held
    steps = options.completion * max(1.0, held / together)
    moved = 2.0 * (shapes.active + shapes.parameters["head"] + shapes.parameters["embedding"])
    moved += together * length * kv_bytes(shapes, half=True)
    shortest, longest = steps * moved / (broad * _BANDWIDTH[1]), steps * moved / (narrow * _BANDWIDTH[0])
    if options.vllm == "none":
        shortest += steps * shapes.text.layers * _LAUNCH[0]
        longest += steps * shapes.text.layers * _LAUNCH[1]
    return shortest, longest


def _card(memory: float) -> tuple[tuple[float, float], tuple[float, float]]:
    return _CARDS[min(_CARDS, key=lambda size: abs(size - memory))]
