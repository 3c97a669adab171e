# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The files of a checkpoint.

Beside the weights, the optimizer and transformers' RNG files a checkpoint holds

- `rlvr_state.json`: what the run is (so that another run's checkpoint is refused) and the plain counters;
- `rlvr_state.safetensors`: the tensors that are the same on all ranks (value tracker, scores, and the reference model
  where `sync_ref_model` moves it);
- `rlvr_rank_<i>.safetensors` and `.json`, one pair per rank: rollouts still to be trained on, and what is summed up
  for the next entry of the log;
- `rlvr_complete.json`: written last, once every rank has written everything, with the size and the digest of every
  file. A folder without it is a half-written checkpoint and is passed over; one that differs from it is refused.

Nothing is pickled. Each file is written under another name and then renamed. `run_folder` has the names and the mark.
"""

import contextlib
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from mmr1_trl.errors import BadInputError, TrainingStopped
from mmr1_trl.run_folder import (
    COMPLETE,
    STATE_JSON,
    STATE_TENSORS,
    other_whole,
    rank_files,
    replacing,
    write_json,
)


def write_tensors(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Write a safetensors file so that a reader sees the old file or the new one, never a part."""
    # Cloned, because micro-batches are views of one tensor and safetensors refuses tensors that share memory.
    own = {name: t.detach().cpu().clone(memory_format=torch.contiguous_format) for name, t in tensors.items()}
    with replacing(path) as temporary:
        save_file(own, temporary)


@contextlib.contextmanager
def reading(checkpoint: Path, what: str) -> Iterator[None]:
    """
    Around the loading of a part of a checkpoint: whatever a damaged or foreign file makes fail becomes one message.

    Args:
        checkpoint (`Path`):
            The folder.
        what (`str`):
            The file, or what is read.

    Raises:
        [`BadInputError`]: It could not be taken over.
    """
    try:
        yield
    except (BadInputError, TrainingStopped, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        text = f"it lacks {error}" if isinstance(error, KeyError) else str(error).strip() or repr(error)
        raise BadInputError(
            f"{checkpoint}: {what} cannot be used: {text.splitlines()[0]}. {other_whole(checkpoint)}"
        ) from error


def _unusable(checkpoint: Path, what: str, problem: str) -> BadInputError:
    return BadInputError(f"{checkpoint}: {what} cannot be used: {problem}. {other_whole(checkpoint)}")


def require_like(
    checkpoint: Path, what: str, saved: dict[str, torch.Tensor], fresh: dict[str, torch.Tensor], finite: bool = True
) -> None:
    """
    Refuse tensors of a checkpoint that are not what this run holds in their place.

    Args:
        checkpoint (`Path`), what (`str`):
            As for [`reading`].
        saved (`dict[str, torch.Tensor]`):
            What was read.
        fresh (`dict[str, torch.Tensor]`):
            What this run has now. Where that is empty, as what waits for the end of a batch is, any length is right.
        finite (`bool`, *optional*, defaults to `True`):
            Whether to refuse NaN and infinity, as far as there is neither in the fresh tensor.

    Raises:
        [`BadInputError`]: With the first tensor that is missing, unexpected, of another shape or not finite.
    """
    problem = None
    for name in [*fresh, *(name for name in saved if name not in fresh)]:
        if name not in saved:
            problem = f"it lacks {name}"
        elif name not in fresh:
            problem = f"it holds {name}, which this run has not"
        elif fresh[name].numel() and saved[name].shape != fresh[name].shape:
            problem = f"{name} has the shape {tuple(saved[name].shape)}, and this run needs {tuple(fresh[name].shape)}"
        elif finite and fresh[name].isfinite().all() and not saved[name].isfinite().all():
            bad = int((~saved[name].isfinite()).sum())
            problem = f"{name} holds {bad:,} value{'s' * (bad > 1)} that are not finite (NaN or infinity)"
        if problem:
            raise _unusable(checkpoint, what, problem)


def state_of(parts: dict[str, Any]) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """
    Ask parts for their states.

    Args:
        parts (`dict[str, Any]`):
            Whatever has a `state_dict` of tensors and plain values, by name.

    Returns:
        `tuple[dict, dict[str, torch.Tensor]]`: The plain values under `"parts"` by name, and the tensors, called
        `name.tensor`.
    """
    states = {name: part.state_dict() for name, part in parts.items()}
    plain = {
        name: {key: value for key, value in state.items() if not isinstance(value, torch.Tensor)}
        for name, state in states.items()
    }
    tensors = {
        f"{name}.{key}": value
        for name, state in states.items()
        for key, value in state.items()
        if isinstance(value, torch.Tensor)
    }
    return {"parts": plain}, tensors


def give_back(parts: dict[str, Any], plain: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    """Let parts take back what [`state_of`] returned, out of other tensors as well."""
    for name, part in parts.items():
        own = {k.removeprefix(f"{name}."): t for k, t in tensors.items() if k.startswith(f"{name}.")}
        part.load_state_dict(plain["parts"][name] | own)


def save_shared_state(folder: Path, meta: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    """Write what all ranks share; called on the main process of a node."""
    write_tensors(folder / STATE_TENSORS, tensors)
    write_json(folder / STATE_JSON, meta)


def load_shared_state(folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Read what [`save_shared_state`] wrote."""
    with reading(folder, STATE_JSON):
        plain = json.loads((folder / STATE_JSON).read_text())
    with reading(folder, STATE_TENSORS):
        return plain, load_file(folder / STATE_TENSORS)


def save_rank_state(
    folder: Path, rank: int, batches: Sequence[dict[str, Any]], tensors: dict[str, torch.Tensor], meta: dict[str, Any]
) -> None:
    """
    Write what belongs to one rank.

    Args:
        folder (`Path`):
            Checkpoint folder.
        rank (`int`):
            Process index.
        batches (`Sequence[dict]`):
            TRL's buffered micro-batches, of tensors and lists of numbers; empty when the next step generates anew.
        tensors (`dict[str, torch.Tensor]`), meta (`dict`):
            Further state of this rank.
    """
    stored = {f"state.{name}": tensor for name, tensor in tensors.items()}
    plain: list[dict[str, Any]] = []
    for i, batch in enumerate(batches):
        stored |= {f"batch.{i}.{name}": value for name, value in batch.items() if isinstance(value, torch.Tensor)}
        plain.append({name: value for name, value in batch.items() if not isinstance(value, torch.Tensor)})
    plain_file, tensor_file = rank_files(rank)
    write_tensors(folder / tensor_file, stored)
    write_json(folder / plain_file, {"batches": plain, "meta": meta})


def load_rank_state(
    folder: Path, rank: int, device: torch.device
) -> tuple[list[dict[str, Any]], dict[str, torch.Tensor], dict[str, Any]]:
    """Read what [`save_rank_state`] wrote: batches (on `device`), tensors and plain state (on the CPU)."""
    plain_file, tensor_file = rank_files(rank)
    with reading(folder, plain_file):
        plain = json.loads((folder / plain_file).read_text())
        batches: list[dict[str, Any]] = plain["batches"]
        meta = plain["meta"]
    with reading(folder, tensor_file):
        tensors = {}
        for name, tensor in load_file(folder / tensor_file).items():
            kind, key = name.split(".", 1)
            if kind == "state":
                tensors[key] = tensor
            else:
                number, key = key.split(".", 1)
                batches[int(number)][key] = tensor.to(device)
    return batches, tensors, meta


def prepare_folder(folder: Path) -> None:
    """Take the leftovers of an interrupted save out of the way and withdraw the mark of a finished one."""
    if folder.is_dir():
        if (folder / COMPLETE).is_file():
            (folder / COMPLETE).unlink()
        else:
            shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)


def check_resumable(folder: Path, identity: dict[str, Any]) -> None:
    """
    Refuse a checkpoint that would not continue this run.

    Args:
        folder (`Path`):
            Checkpoint folder, whole.
        identity (`dict`):
            What this run is: dataset fingerprint, numbers of rows and processes, batch arithmetic.

    Raises:
        [`BadInputError`]: The checkpoint is without an optimizer, written by another trainer, or of another run; the
            message names what differs.
    """
    if not (folder / STATE_JSON).is_file():
        raise BadInputError(f"{folder} was not written by mmr1_trl (no {STATE_JSON}), so it cannot be resumed.")
    if not any(folder.glob("rng_state*.pth")):
        raise BadInputError(
            f"{folder} holds the weights alone (save_only_model), so the run cannot be resumed. Start another from "
            f"them: --model_name_or_path {folder}."
        )
    with reading(folder, STATE_JSON):
        saved = dict(json.loads((folder / STATE_JSON).read_text())["identity"])
    differences = [f"{k} was {saved.get(k)}, now {v}" for k, v in identity.items() if saved.get(k) != v]
    if differences:
        raise BadInputError(
            f"{folder} belongs to another run: {'; '.join(differences)}. Give the settings that it was made with "
            "(`mmr1` writes them to mmr1_config.yaml in the output_dir), or start anew in another output_dir."
        )
