# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Encodes each picture of a generation batch once.

`get_image_features` is the one method that generation and forward passes both go through; it is pinned for every
family by `tests/contract/test_vision_seams.py`, with the order of the projections that Qwen3-VL has inside its tower.
"""

import contextlib
import functools
import inspect
import itertools
import time
import types
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator, DistributedType
from transformers import PreTrainedModel
from transformers.integrations import is_deepspeed_zero3_enabled
from transformers.utils import logging

from mmr1_trl.data.pictures.images import image_column, image_counts
from mmr1_trl.errors import BadInputError
from mmr1_trl.models.families import FAMILIES, Family
from mmr1_trl.trainers.vision.freezing import (
    freeze_vision_tower,
    is_frozen,
    merger_trains,
    spare_frozen_towers,
    tower_trains,
    trains,
)
from mmr1_trl.trainers.vision.pictures import PictureStore, collate, count, redeem_tickets


logger = logging.get_logger(__name__)

Parts = tuple[torch.Tensor, ...]


class Encoded(NamedTuple):
    """What one vision tower made of prompts' pictures in one precision."""

    output: type  # class of the tower's output
    kinds: tuple[type, ...]  # by layer, the features first: a tensor of all pictures, or a list or tuple of them
    prompts: dict[int, list[Parts]]  # by number: by layer, one part for each picture (or tile, or for all of them)


def _mergers(core: Any) -> list[torch.nn.Module]:
    """The projections inside a tower, in the order of its outputs; none where they come behind it."""
    mergers = FAMILIES[core.config.model_type].merger
    if "visual.merger" not in mergers:
        return []
    visual = core.visual
    if "visual.deepstack_merger_list" not in mergers:
        return [visual.merger]
    layers = visual.deepstack_visual_indexes
    return [visual.merger, *(visual.deepstack_merger_list[layers.index(layer)] for layer in sorted(layers))]


@contextlib.contextmanager
def _unmerged(mergers: list[torch.nn.Module]) -> Iterator[None]:
    """Let projections return what they are given, the patches of a token side by side."""

    def give_back(module: Any, args: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        return args[0].reshape(len(output), -1, args[0].shape[-1])

    hooks = [merger.register_forward_hook(give_back) for merger in mergers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class VisionCache:
    """
    Encodes the pictures of each distinct prompt once per generation batch, precision and model.

    With a frozen tower all pictures of a generation batch go through it together, the first time that any of them is
    asked for, and their features are kept until the batch is over. That is the same place on every rank, whatever
    pictures a rank has, so that a tower whose weights are spread over ranks meets the same calls on all of them. Where
    the projection is trained and inside the tower (the Qwen-VL line), what comes before it is kept. With a trained
    tower, or a trained projection behind it, the copies of a prompt within one forward pass share their features, and
    the gradients of the copies are summed before the tower instead of in it.

    Pixels that did not come through `generation` take the model's own path.

    Args:
        processor ([`~transformers.ProcessorMixin`]):
            That of the trainer.
    """

    def __init__(self, processor: Any) -> None:
        self.processor = processor
        self.store = PictureStore()
        self.asked = 0
        self.encoded = 0
        self.seconds = 0.0  # spent in encoding
        self._reported = (0, 0)

    def install(self, core: Any, like: Any = None, reference: bool = False) -> None:
        """
        Put the cache before a model's vision tower.

        Args:
            core ([`~transformers.PreTrainedModel`]):
                The module that holds the tower, of one of `FAMILIES`.
            like ([`~transformers.PreTrainedModel`], *optional*):
                A model with the same tower, whose features serve this one too.
            reference (`bool`, *optional*, defaults to `False`):
                Whether the model is never trained.
        """

        @functools.wraps(type(core).get_image_features)  # `generate` reads the signature
        def get_image_features(core: Any, pixel_values: Any, *args: Any, **kwargs: Any) -> Any:
            if pixel_values.is_floating_point():
                return type(core).get_image_features(core, pixel_values, *args, **kwargs)
            given = inspect.signature(type(core).get_image_features).bind_partial(core, pixel_values, *args, **kwargs)
            options = dict(given.arguments)
            options |= options.pop("kwargs", {})
            owner = like if like is not None else core
            return self._features(core, owner, reference, pixel_values, options)

        # A method, so that in a deep copy of the model it is the copy's tower that encodes.
        core.get_image_features = types.MethodType(get_image_features, core)

    def _features(self, core: Any, owner: Any, reference: bool, tickets: torch.Tensor, options: dict[str, Any]) -> Any:
        numbers = self.store.numbers(tickets)
        self.asked += self._pictures(numbers)
        distinct, device = list(dict.fromkeys(numbers)), tickets.device
        in_tower = bool(_mergers(core))
        if not reference and (tower_trains(core) or (merger_trains(core) and not in_tower)):
            encoded = self._encode(core, distinct, device, options)
        else:
            autocast = torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else None
            merge = not reference and merger_trains(core)
            encoded = self._cached(core, (id(owner), autocast, merge), distinct, device, options)
            if merge:
                encoded = self._merge(core, distinct, encoded)
        layers = []
        for kind, prompts in zip(encoded.kinds, zip(*(encoded.prompts[number] for number in numbers))):
            parts = [part for prompt in prompts for part in prompt]
            layers.append(torch.cat(parts) if kind is torch.Tensor else kind(parts))
        first, *deepstack = layers
        return encoded.output(pooler_output=first, **({"deepstack_features": deepstack} if deepstack else {}))

    def _pictures(self, numbers: list[int]) -> int:
        return sum(len(self.store.batch_of(number).texts[number]) for number in numbers)

    def _cached(
        self, core: Any, key: Any, numbers: list[int], device: torch.device, options: dict[str, Any]
    ) -> Encoded:
        batch = self.store.batch_of(numbers[0])
        if key not in batch.features or any(number not in batch.features[key].prompts for number in numbers):
            known = batch.features[key].prompts if key in batch.features else {}
            todo = [number for number in batch.inputs if number not in known]
            with torch.no_grad(), _unmerged(_mergers(core)) if key[-1] else contextlib.nullcontext():
                new = self._encode(core, todo, device, options)
            batch.features[key] = new._replace(prompts=known | new.prompts)
        return batch.features[key]

    def _encode(self, core: Any, numbers: list[int], device: torch.device, options: dict[str, Any]) -> Encoded:
        batch = self.store.batch_of(numbers[0])
        self.encoded += self._pictures(numbers)
        inputs = [batch.inputs[number] for number in numbers]
        taken = inspect.signature(type(core).get_image_features).parameters
        fields = {name: tensor.to(device) for name, tensor in collate(inputs).items() if name in taken}
        start = _now(device)
        output = type(core).get_image_features(**options | {"self": core} | fields)
        self.seconds += _now(device) - start
        first, lengths = output.pooler_output, [count(each) for each in inputs]
        deepstack = list(output.get("deepstack_features") or ())
        kinds = tuple(
            torch.Tensor if isinstance(layer, torch.Tensor) else type(layer) for layer in [first, *deepstack]
        )
        # Older transformers returns the deepstack layers of all pictures in one.
        tokens = [len(part) for part in first] if deepstack else []
        deepstack = [layer.split(tokens) if isinstance(layer, torch.Tensor) else layer for layer in deepstack]
        pieces = [_split(layer, lengths) for layer in (first, *deepstack)]
        return Encoded(type(output), kinds, {number: list(parts) for number, parts in zip(numbers, zip(*pieces))})

    @staticmethod
    def _merge(core: Any, numbers: list[int], states: Encoded) -> Encoded:
        layers = []
        for merger, prompts in zip(_mergers(core), zip(*(states.prompts[number] for number in numbers))):
            parts = [part for prompt in prompts for part in prompt]
            merged = merger(torch.cat(parts).flatten(0, 1))
            pictures = merged.split([len(part) for part in parts])
            layers.append(_split(pictures, [len(prompt) for prompt in prompts]))
        return states._replace(prompts={number: list(parts) for number, parts in zip(numbers, zip(*layers))})

    @contextlib.contextmanager
    def generation(self, name: str) -> Iterator[None]:
        """Pre-process the pictures of one generation once; see [`PictureStore.preprocess_once`]."""
        with self.store.preprocess_once(self.processor, name):
            yield

    def pop_metrics(self) -> dict[str, float]:
        """
        Return what happened since the last call: pictures that the model asked for, pictures that were encoded, and
        the seconds that the difference would have taken in forward passes.
        """
        asked, encoded = self.asked - self._reported[0], self.encoded - self._reported[1]
        self._reported = self.asked, self.encoded
        saved = (asked - encoded) * self.seconds / max(1, self.encoded)
        return {"vision/asked": asked, "vision/encoded": encoded, "vision/seconds_saved": saved}


def _split(layer: Any, lengths: list[int]) -> list[Parts]:
    """Divide what a tower returned, or a list of its parts, among prompts."""
    if isinstance(layer, torch.Tensor):
        return [(part,) for part in layer.split(lengths)]
    parts = iter(layer)
    return [tuple(itertools.islice(parts, length)) for length in lengths]


def _now(device: torch.device) -> float:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter()


# ---- Set-up ----


def prepare_vision(
    args: Any,
    models: Sequence[torch.nn.Module],
    processing_class: Any,
    datasets: Sequence[Any],
    accelerator: Accelerator,
    tools: Any = None,
) -> VisionCache | None:
    """
    Freeze what is to be frozen, spare what is frozen, and put a cache before the vision towers of a run's models.

    Args:
        args ([`RLVRConfig`]):
            The run's options.
        models (`Sequence[torch.nn.Module]`):
            The policy, and the reference model where there is one; not yet wrapped for training.
        processing_class ([`~transformers.ProcessorMixin`]):
            Their processor.
        datasets (`Sequence[~datasets.Dataset]`):
            The training rows, and those of evaluations.
        accelerator ([`~accelerate.Accelerator`]):
            What will wrap the models.
        tools (`Sequence`, *optional*):
            Tools that completions may call.

    Returns:
        The cache, or `None` where pictures take the model's own path; the log says why.

    Raises:
        [`BadInputError`]: `freeze_vision_tower` on a model without a vision tower that we know; or pictures that TRL
            would mix up on the model's own path.
    """
    model: Any = models[0]
    if args.freeze_vision_tower:
        freeze_vision_tower(model, args.freeze_merger)
    spare_frozen_towers(model)
    if image_column(datasets[0]) is None:
        return None
    family = FAMILIES.get(model.config.model_type)
    if family is not None and not family.size_counts and (args.min_pixels or args.max_pixels):
        logger.warning(
            f"min_pixels and max_pixels change how sharp pictures are, not how long prompts are: the processor of "
            f"{model.config.model_type} brings every picture to sizes of its own."
        )
    reason = _reason_against(model, accelerator, tools) if args.encode_once else "encode_once is off"
    if reason is not None:
        _check_plain_path(datasets, model.config.model_type, family, reason)
        if args.encode_once:
            logger.warning(f"encode_once: pictures are encoded for each rollout, because {reason}.")
        return None
    core = _find_core(model)
    cache = VisionCache(processing_class)
    cache.install(core)
    for reference in map(_find_core, models[1:]):
        shared = not (shards_weights(accelerator) or args.sync_ref_model) and _same_frozen_tower(core, reference)
        cache.install(reference, like=core if shared else None, reference=True)
    return cache


def restore_pictures(
    cache: VisionCache | None, micro_batches: Iterable[dict[str, Any]], tensors: dict[str, torch.Tensor]
) -> None:
    """Take back the pictures of a checkpoint: into the cache, or in place of their tickets where there is none."""
    if cache is not None:
        cache.store.load_state_dict(tensors)
    else:
        redeem_tickets(micro_batches, tensors)


def _find_core(model: torch.nn.Module) -> Any:
    """The module that holds the tower, where the family is known."""
    for module in model.modules():
        if isinstance(module, PreTrainedModel) and (family := FAMILIES.get(module.config.model_type)) is not None:
            if any(name in family.tower for name, _ in module.named_children()):
                return module
    return None


def shards_weights(accelerator: Accelerator) -> bool:
    """Whether each process holds a part of the weights only (FSDP, ZeRO-3)."""
    kind = accelerator.distributed_type
    return kind == DistributedType.FSDP or (kind == DistributedType.DEEPSPEED and is_deepspeed_zero3_enabled())


def _reason_against(model: torch.nn.Module, accelerator: Accelerator, tools: Any) -> str | None:
    if _find_core(model) is None:
        return f"{type(model).__name__} is of none of the families that this was tried with: {', '.join(FAMILIES)}"
    if accelerator.distributed_type == DistributedType.FSDP and not accelerator.is_fsdp2:
        return "it has been tried with version 2 of FSDP only (fsdp_version: 2)"
    if shards_weights(accelerator) and tools:
        return "tools may add pictures on one rank and not on another, which sharded towers do not forgive"
    return None


def _check_plain_path(datasets: Sequence[Any], model_type: str, family: Family | None, reason: str) -> None:
    """Refuse rows whose pictures TRL would give to the wrong prompts, or not as the processor meant them."""
    if family is None or not (family.padded_per_prompt or family.alone_counts):
        return
    counts = {n for rows in datasets for n in image_counts(rows)}
    if family.alone_counts and max(counts, default=0) > 1:
        trouble = "does not hand on how many pictures a prompt has, by which the model tells tiles from pictures"
    elif family.padded_per_prompt and 0 in counts and max(counts) > 1:
        trouble = (
            "takes the pixels of a prompt for those of a picture where it counts as many of the one as of the other"
        )
    else:
        return
    raise BadInputError(
        f"Rows with {sorted(counts)} pictures cannot be trained with {model_type} where pictures are not encoded once "
        f"({reason}): TRL {trouble}. Leave encode_once on, or give every row one picture."
    )


def _same_frozen_tower(policy: Any, reference: Any) -> bool:
    """Whether the policy's tower and projection are the reference model's and will stay so."""
    ours, theirs = (
        {name: parameter for name, parameter in core.named_parameters() if is_frozen(name, True)}
        for core in (policy, reference)
    )
    return not trains(ours.items()) and all(
        name in ours and ours[name].dtype == theirs[name].dtype
        and torch.equal(ours[name], theirs[name].to(ours[name].device))
        for name in theirs
    )  # fmt: skip
