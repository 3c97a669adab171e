# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The weights of a checkpoint: a model, an adapter, the moments of an optimizer; taken over whole or not at all."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_model
from transformers import PreTrainedModel
from transformers.utils import SAFE_WEIGHTS_NAME

from mmr1_trl.run_folder import OPTIMIZER
from mmr1_trl.trainers.captured import swapped
from mmr1_trl.trainers.checkpoints.state import reading, require_like


ADAPTER_WEIGHTS = "adapter_model.safetensors"


@contextlib.contextmanager
def on_disk(model: "str | PreTrainedModel") -> Iterator[None]:
    """TRL loads the reference model from where the policy came from; give a model built in memory such a place."""
    if isinstance(model, str) or model.config.name_or_path:
        yield
        return
    with tempfile.TemporaryDirectory() as folder:
        # On every rank, and in a place of its own: `save_pretrained` leaves the folder of all but the first one empty.
        model.config.architectures = [type(model).__name__]
        model.config.save_pretrained(folder)
        save_model(model, os.path.join(folder, SAFE_WEIGHTS_NAME), metadata={"format": "pt"})
        with swapped(model.config, name_or_path=folder):
            yield


def reload_weights(model: PreTrainedModel, folder: Path) -> None:
    """
    Load the weights of a checkpoint into a model, all of them or none.

    transformers saves several vision-language families under the names of the Hub's files and reads a checkpoint back
    with `load_state_dict(strict=False)`, which matches nothing for them and only warns. `from_pretrained` converts the
    names, so the weights make the detour through a fresh model on the CPU.

    Args:
        model ([`~transformers.PreTrainedModel`]):
            Model to fill, unwrapped.
        folder (`Path`):
            Folder with `config.json` and weights.

    Raises:
        [`BadInputError`]: A tensor is missing, unexpected, of another shape or not finite.
    """
    with reading(folder, "the model"):
        # Not `dtype="auto"`: the checkpoint's tensors go into this model's, whatever precision it trains in. What is
        # missing or does not fit is filled at random, and told in a table and in `info`.
        loading: Any = type(model)  # its annotation knows nothing of the second value
        fresh, info = loading.from_pretrained(
            folder, dtype=next(model.parameters()).dtype, config=model.config, output_loading_info=True,
            ignore_mismatched_sizes=True,
        )  # fmt: skip
        for problem, names in (
            ("lack", info["missing_keys"]),
            ("hold what this model has not,", info["unexpected_keys"]),
            ("hold in another shape", [name for name, *_ in info["mismatched_keys"]]),
        ):
            if names:
                more = f" and {len(names) - 1} more" if len(names) > 1 else ""
                raise ValueError(f"its weights {problem} {sorted(names)[0]}{more}")
        weights = fresh.state_dict()
        require_like(folder, "the model", weights, model.state_dict())
        model.load_state_dict(weights)


def require_own_adapter(model: Any, folder: Path) -> None:
    """
    Refuse the adapter of a checkpoint unless it is this model's, tensor by tensor: PEFT loads what it finds.

    Args:
        model ([`~peft.PeftModel`]):
            The model that trains.
        folder (`Path`):
            Folder with `adapter_model.safetensors`.

    Raises:
        [`BadInputError`]: A tensor is missing, unexpected, of another shape or not finite.
    """
    from peft import get_peft_model_state_dict

    with reading(folder, ADAPTER_WEIGHTS):
        saved = load_file(folder / ADAPTER_WEIGHTS)
        require_like(folder, ADAPTER_WEIGHTS, saved, get_peft_model_state_dict(model))


def require_own_moments(optimizer: torch.optim.Optimizer, folder: Path) -> None:
    """
    Refuse moments of an optimizer that are not finite, or not of the shape of their parameters.

    Args:
        optimizer (`torch.optim.Optimizer`):
            The optimizer, loaded.
        folder (`Path`):
            The checkpoint that it was loaded from.

    Raises:
        [`BadInputError`]: With the first one.
    """
    is_torchs = type(optimizer).__module__.startswith("torch.optim")  # others factorize or quantize theirs
    for number, (parameter, moments) in enumerate(optimizer.state.items()):
        tensors = {name: t for name, t in moments.items() if isinstance(t, torch.Tensor) and t.dim()}
        fresh = {name: parameter.detach() if is_torchs else t.new_zeros(t.shape) for name, t in tensors.items()}
        require_like(folder, f"{OPTIMIZER} (parameter {number})", tensors, fresh)
