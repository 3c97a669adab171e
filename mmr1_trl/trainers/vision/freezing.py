# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Freezes vision towers, and keeps adapters and the backward pass out of them.

What towers and the projections ("mergers") behind them are called is in [`~mmr1_trl.models.families`], and pinned by
`tests/contract/test_vision_seams.py`, with `get_input_embeddings` of a tower, where gradient checkpointing hooks in.
"""

import contextlib
import copy
import functools
import re
from collections.abc import Iterable
from typing import Any

import torch
from transformers import PreTrainedModel

from mmr1_trl.errors import BadInputError
from mmr1_trl.models.families import FAMILIES


def _any_of(names: Iterable[str]) -> str:
    return "|".join(re.escape(name) for name in dict.fromkeys(names))


_TOWERS = [name for family in FAMILIES.values() for name in family.tower]
_MERGERS = [name for family in FAMILIES.values() for name in family.merger]
_TOWER, _MERGER = _any_of(_TOWERS), _any_of(_MERGERS)
_MERGER_IN_TOWER = _any_of(name.partition(".")[2] for name in _MERGERS if name.partition(".")[0] in _TOWERS)


@functools.lru_cache(maxsize=65_536)  # asked about every parameter in every forward pass
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
    inside = "" if freeze_merger else rf"(?!(?:{_MERGER_IN_TOWER})\.)"
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
        if isinstance(tower, PreTrainedModel) and not tower_trains(tower, "visual."):
            with contextlib.suppress(NotImplementedError):  # the families that transformers passes over as well
                tower.get_input_embeddings().register_forward_hook(_detach)  # whoever has hooked in before
            vars(tower)["get_input_embeddings"] = _no_input_embeddings  # and nobody will from now on


def trains(parameters: Iterable[tuple[str, torch.nn.Parameter]]) -> bool:
    """Whether any parameter is trained. One of an adapter counts in any case: there is a policy with and without."""
    return any(parameter.requires_grad or "lora_" in name for name, parameter in parameters)


def tower_trains(module: torch.nn.Module, prefix: str = "") -> bool:
    """Whether anything before the projection is trained, in a model or (with its name as `prefix`) in a tower."""
    return trains((n, parameter) for n, parameter in module.named_parameters() if is_frozen(f"{prefix}{n}", False))


def merger_trains(core: torch.nn.Module) -> bool:
    """Whether anything of the projection is trained."""
    return trains(
        (n, parameter) for n, parameter in core.named_parameters() if is_frozen(n, True) and not is_frozen(n, False)
    )
