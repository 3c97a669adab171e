# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Freezes vision towers, keeps the backward pass out of them, and encodes each picture of a generation batch once.

Whatever is particular to a model family is here, and pinned by `tests/contract/test_vision_seams.py`:

- the names of towers and of the projections ("mergers") behind them;
- `get_input_embeddings` of a tower, where gradient checkpointing hooks in;
- `get_image_features` of the Qwen-VL families, through which generation and forward passes both go.
"""

import contextlib
import copy
import functools
import re
import time
import types
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedModel, Qwen2_5_VLModel, Qwen2VLModel, Qwen3VLModel
from transformers.integrations import is_deepspeed_zero3_enabled
from transformers.utils import logging

from mmr1_trl.errors import BadInputError
from mmr1_trl.trainers.rows import IMAGE_COLUMNS
from mmr1_trl.trainers.vision.pictures import PictureStore, picture_numbers, redeem_tickets


logger = logging.get_logger(__name__)

FAMILIES = (Qwen2VLModel, Qwen2_5_VLModel, Qwen3VLModel)

_MERGER = r"visual\.(?:merger|deepstack_merger_list)|multi_modal_projector|connector"
_TOWER = r"visual|vision_tower|vision_model"


# ---- Freezing ----


def is_frozen(name: str, freeze_merger: bool) -> bool:
    """
    Tell whether `freeze_vision_tower` freezes a module or a parameter.

    Args:
        name (`str`):
            Full name, as in `named_parameters` or `named_modules`.
        freeze_merger (`bool`):
            Whether the projection behind the tower is frozen as well.
    """
    if re.search(rf"(?:^|\.)(?:{_MERGER})(?:\.|$)", name):
        return freeze_merger
    return re.search(rf"(?:^|\.)(?:{_TOWER})(?:\.|$)", name) is not None


def freeze_vision_tower(model: torch.nn.Module, freeze_merger: bool) -> None:
    """
    Freeze the vision tower of a model, adapters in it included.

    Raises:
        [`BadInputError`]: The model has none that we know.
    """
    frozen = [parameter for name, parameter in model.named_parameters() if is_frozen(name, freeze_merger)]
    if not frozen:
        raise BadInputError(f"freeze_vision_tower: no vision tower found in {type(model).__name__}.")
    for parameter in frozen:
        parameter.requires_grad_(False)


def keep_adapters_out(peft_config: Any, freeze_merger: bool) -> Any:
    """
    Leave the frozen parts out of an adapter's targets.

    Args:
        peft_config ([`~peft.LoraConfig`]):
            Adapter configuration; what it excludes already stays excluded. Adapters of another kind are left as they
            are, and those of their parameters that end up in the tower are frozen.
        freeze_merger (`bool`):
            Whether the projection is frozen as well.

    Returns:
        A copy of the configuration.
    """
    from peft import LoraConfig  # not installed everywhere

    if not isinstance(peft_config, LoraConfig):
        return peft_config
    inside = r"" if freeze_merger else r"(?!merger\.|deepstack_merger_list\.)"
    pattern = rf"(?:.*\.)?(?:{_TOWER})\.{inside}.*"
    if freeze_merger:
        pattern += rf"|(?:.*\.)?(?:{_MERGER})\..*"
    peft_config, own = copy.copy(peft_config), peft_config.exclude_modules
    if isinstance(own, str):
        pattern += f"|{own}"
    elif own:  # PEFT excludes listed modules by the end of their names
        pattern += rf"|(?:.*\.)?(?:{'|'.join(map(re.escape, own))})"
    peft_config.exclude_modules = pattern
    return peft_config


def _no_input_embeddings() -> None:
    return None


def _detach(module: torch.nn.Module, args: Any, output: torch.Tensor) -> torch.Tensor:
    return output.detach()


def spare_frozen_towers(model: torch.nn.Module) -> None:
    """
    Keep the backward pass out of vision towers of which nothing is trained.

    Gradient checkpointing makes every input embedding require a gradient, the patch embedding of a frozen tower too,
    which is then recomputed and passed through backward for nothing.
    """
    towers = [module for name, module in model.named_modules() if is_frozen(name, False)]
    for tower in towers:
        if isinstance(tower, PreTrainedModel) and not _tower_trains(tower):
            with contextlib.suppress(NotImplementedError):  # the families that transformers passes over as well
                tower.get_input_embeddings().register_forward_hook(_detach)  # whoever has hooked in before
            vars(tower)["get_input_embeddings"] = _no_input_embeddings  # and nobody will from now on


def _trains(parameters: Iterable[tuple[str, torch.nn.Parameter]]) -> bool:
    """Whether any parameter is trained. One of an adapter counts in any case: there is a policy with and without."""
    return any(parameter.requires_grad or "lora_" in name for name, parameter in parameters)


def _tower_trains(tower: torch.nn.Module) -> bool:
    own = [(name, p) for name, p in tower.named_parameters() if is_frozen(f"visual.{name}", False)]
    return _trains(own)


# ---- Encoding ----


class Encoded(NamedTuple):
    """What one vision tower made of pictures in one precision."""

    output: type  # class of the tower's output
    pictures: dict[int, list[torch.Tensor]]  # by number: the features, then those of the deepstack layers
    splits_deepstack: bool = True  # whether the model wants those per picture; older transformers does not


def _mergers(core: Any) -> list[torch.nn.Module]:
    """The projections of a tower, in the order of its outputs."""
    visual = core.visual
    if not isinstance(core, Qwen3VLModel):
        return [visual.merger]
    layers = visual.deepstack_visual_indexes
    return [visual.merger, *(visual.deepstack_merger_list[layers.index(layer)] for layer in sorted(layers))]


@contextlib.contextmanager
def _unmerged(mergers: list[torch.nn.Module]) -> Iterator[None]:
    """Let projections return what they are given, the patches of a token side by side."""

    def give_back(module: Any, args: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        return args[0].reshape(len(output), -1)

    hooks = [merger.register_forward_hook(give_back) for merger in mergers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class VisionCache:
    """
    Encodes each distinct picture once per generation batch, precision and model.

    With a frozen tower all pictures of a generation batch go through it together, the first time that any of them is
    asked for, and their features are kept until the batch is over. That is the same place on every rank, whatever
    pictures a rank has, so that a tower whose weights are spread over ranks meets the same calls on all of them. Where
    the projection is trained, what comes before it is kept. With a trained tower the copies of a picture within one
    forward pass share their features, and the gradients of the copies are summed before the tower instead of in it.

    Pixels that did not come through `generation` take the model's own path.

    Args:
        image_processor ([`~transformers.BaseImageProcessor`]):
            That of the trainer's processor.
    """

    def __init__(self, image_processor: Any) -> None:
        self.image_processor = image_processor
        self.store = PictureStore()
        self.asked = 0
        self.encoded = 0
        self.seconds = 0.0  # spent in encoding
        self._reported = (0, 0)

    def install(self, core: Any, like: Any = None, reference: bool = False) -> None:
        """
        Put the cache before a model's vision tower.

        Args:
            core ([`~transformers.Qwen2_5_VLModel`] or another of `FAMILIES`):
                The module that holds the tower.
            like (`FAMILIES`, *optional*):
                A model with the same tower, whose features serve this one too.
            reference (`bool`, *optional*, defaults to `False`):
                Whether the model is never trained.
        """

        @functools.wraps(type(core).get_image_features)  # `generate` reads the signature
        def get_image_features(core: Any, pixel_values: Any, image_grid_thw: Any = None, **kwargs: Any) -> Any:
            if pixel_values.is_floating_point():
                return type(core).get_image_features(core, pixel_values, image_grid_thw, **kwargs)
            numbers = picture_numbers(pixel_values, image_grid_thw)
            owner = like if like is not None else core
            return self._features(core, owner, reference, numbers, image_grid_thw.device, kwargs)

        # A method, so that in a deep copy of the model it is the copy's tower that encodes.
        core.get_image_features = types.MethodType(get_image_features, core)

    def _features(
        self, core: Any, owner: Any, reference: bool, numbers: list[int], device: torch.device, kwargs: dict[str, Any]
    ) -> Any:
        self.asked += len(numbers)
        distinct = list(dict.fromkeys(numbers))
        if not reference and _tower_trains(core.visual):
            encoded = self._encode(core, distinct, device, kwargs)
        else:
            autocast = torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else None
            merge = not reference and any(_trains(merger.named_parameters()) for merger in _mergers(core))
            encoded = self._cached(core, (id(owner), autocast, merge), distinct, device, kwargs)
            if merge:
                encoded = self._merge(core, distinct, encoded)
        first, *deepstack = zip(*(encoded.pictures[number] for number in numbers))
        layers: list[Any] = list(deepstack) if encoded.splits_deepstack else [torch.cat(layer) for layer in deepstack]
        return encoded.output(pooler_output=first, **({"deepstack_features": layers} if layers else {}))

    def _cached(
        self, core: Any, key: Any, numbers: list[int], device: torch.device, kwargs: dict[str, Any]
    ) -> Encoded:
        batch = self.store.batch_of(numbers[0])
        if key not in batch.features or any(number not in batch.features[key].pictures for number in numbers):
            known = batch.features[key].pictures if key in batch.features else {}
            todo = [number for number in batch.pixels if number not in known]
            with torch.no_grad(), _unmerged(_mergers(core)) if key[-1] else contextlib.nullcontext():
                new = self._encode(core, todo, device, kwargs)
            batch.features[key] = new._replace(pictures=known | new.pictures)
        return batch.features[key]

    def _encode(self, core: Any, numbers: list[int], device: torch.device, kwargs: dict[str, Any]) -> Encoded:
        batch = self.store.batch_of(numbers[0])
        self.encoded += len(numbers)
        start = _now(device)
        output = type(core).get_image_features(
            core,
            torch.cat([batch.pixels[number] for number in numbers]).to(device),
            torch.stack([batch.grids[number] for number in numbers]).to(device),
            **kwargs,
        )
        self.seconds += _now(device) - start
        deepstack = output.get("deepstack_features") or ()
        split = not any(isinstance(layer, torch.Tensor) for layer in deepstack)
        if not split:
            deepstack = [layer.split([len(part) for part in output.pooler_output]) for layer in deepstack]
        layers = [output.pooler_output, *deepstack]
        return Encoded(type(output), {number: list(parts) for number, parts in zip(numbers, zip(*layers))}, split)

    @staticmethod
    def _merge(core: Any, numbers: list[int], states: Encoded) -> Encoded:
        layers = []
        for merger, parts in zip(_mergers(core), zip(*(states.pictures[number] for number in numbers))):
            patches = torch.cat(parts).unflatten(-1, (core.visual.spatial_merge_size**2, -1)).flatten(0, 1)
            layers.append(merger(patches).split([len(part) for part in parts]))
        return states._replace(pictures={number: list(parts) for number, parts in zip(numbers, zip(*layers))})

    @contextlib.contextmanager
    def generation(self, name: str) -> Iterator[None]:
        """Pre-process the pictures of one generation once; see [`PictureStore.preprocess_once`]."""
        with self.store.preprocess_once(self.image_processor, name):
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


def _now(device: torch.device) -> float:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter()


# ---- Set-up ----


def prepare_vision(trainer: Any) -> VisionCache | None:
    """
    Freeze what is to be frozen, spare what is frozen, and put a cache before the vision towers of a trainer.

    Args:
        trainer ([`RLVRTrainer`]):
            Trainer whose models are built and not yet wrapped for training.

    Returns:
        The cache, or `None` where pictures take the model's own path; the log says why.

    Raises:
        [`BadInputError`]: `freeze_vision_tower` on a model without a vision tower that we know.
    """
    args = trainer.args
    model = trainer.accelerator.unwrap_model(trainer.model)
    if args.freeze_vision_tower:
        freeze_vision_tower(model, args.freeze_merger)
    spare_frozen_towers(model)
    if not args.encode_once or not any(name in trainer.train_dataset.column_names for name in IMAGE_COLUMNS):
        return None
    if (reason := _reason_against(trainer, model)) is not None:
        logger.warning(f"encode_once: pictures are encoded for each rollout, because {reason}.")
        return None
    core = _find_core(model)
    cache = VisionCache(trainer.processing_class.image_processor)
    cache.install(core)
    if trainer.ref_model is not None:
        reference = _find_core(trainer.accelerator.unwrap_model(trainer.ref_model))
        shared = not (shards_weights(trainer) or args.sync_ref_model) and _same_frozen_tower(core, reference)
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
    return next((module for module in model.modules() if isinstance(module, FAMILIES)), None)


def shards_weights(trainer: Any) -> bool:
    """Whether each process holds a part of the weights only (FSDP, ZeRO-3)."""
    return trainer.is_fsdp_enabled or (trainer.is_deepspeed_enabled and is_deepspeed_zero3_enabled())


def _reason_against(trainer: Any, model: torch.nn.Module) -> str | None:
    if _find_core(model) is None:
        return f"{type(model).__name__} is none of the Qwen-VL models"
    if trainer.is_fsdp_enabled and trainer.accelerator.state.fsdp_plugin.fsdp_version != 2:
        return "it has been tried with version 2 of FSDP only (fsdp_version: 2)"
    if shards_weights(trainer) and trainer.tools:
        return "tools may add pictures on one rank and not on another, which sharded towers do not forgive"
    return None


def _same_frozen_tower(policy: Any, reference: Any) -> bool:
    """Whether the policy's tower and projection are the reference model's and will stay so."""
    ours, theirs = policy.visual.state_dict(), reference.visual.state_dict()
    return not _trains(policy.visual.named_parameters()) and all(
        ours[name].dtype == theirs[name].dtype and torch.equal(ours[name], theirs[name].to(ours[name].device))
        for name in theirs
    )
