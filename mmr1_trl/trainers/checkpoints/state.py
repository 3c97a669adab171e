# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The files of a checkpoint.

Beside the weights, the optimizer and transformers' RNG files a checkpoint holds

- `rlvr_state.json`: what the run is (so that another run's checkpoint is refused) and the plain counters;
- `rlvr_state.safetensors`: the tensors that are the same on all ranks (value tracker, scores, and the reference model
  where `sync_ref_model` moves it);
- `rlvr_rank_<i>.safetensors` and `.json`, one pair per rank: rollouts still to be trained on, and what is summed up
  for the next entry of the log;
- `rlvr_complete.json`: written last, once every rank has written everything. A folder without it is a half-written
  checkpoint and is passed over.

Nothing is pickled. Each file is written under another name and then renamed.
"""

import json
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from mmr1_trl.errors import BadInputError


STATE_JSON = "rlvr_state.json"
STATE_TENSORS = "rlvr_state.safetensors"
COMPLETE = "rlvr_complete.json"


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that a reader sees the old file or the new one, never a part."""
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "w") as file:
        json.dump(value, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def write_tensors(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Write a safetensors file so that a reader sees the old file or the new one, never a part."""
    temporary = path.with_name(path.name + ".tmp")
    # Cloned, because micro-batches are views of one tensor and safetensors refuses tensors that share memory.
    own = {name: t.detach().cpu().clone(memory_format=torch.contiguous_format) for name, t in tensors.items()}
    save_file(own, temporary)
    os.replace(temporary, path)


def save_shared_state(folder: Path, meta: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    """Write what all ranks share; called on the main process of a node."""
    write_tensors(folder / STATE_TENSORS, tensors)
    write_json(folder / STATE_JSON, meta)


def load_shared_state(folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Read what [`save_shared_state`] wrote."""
    return json.loads((folder / STATE_JSON).read_text()), load_file(folder / STATE_TENSORS)


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
    write_tensors(folder / f"rlvr_rank_{rank}.safetensors", stored)
    write_json(folder / f"rlvr_rank_{rank}.json", {"batches": plain, "meta": meta})


def load_rank_state(
    folder: Path, rank: int, device: torch.device
) -> tuple[list[dict[str, Any]], dict[str, torch.Tensor], dict[str, Any]]:
    """Read what [`save_rank_state`] wrote: batches (on `device`), tensors and plain state (on the CPU)."""
    stored = load_file(folder / f"rlvr_rank_{rank}.safetensors")
    plain = json.loads((folder / f"rlvr_rank_{rank}.json").read_text())
    batches: list[dict[str, Any]] = plain["batches"]
    tensors = {}
    for name, tensor in stored.items():
        kind, key = name.split(".", 1)
        if kind == "state":
            tensors[key] = tensor
        else:
            number, key = key.split(".", 1)
            batches[int(number)][key] = tensor.to(device)
    return batches, tensors, plain["meta"]


def mark_complete(folder: Path, step: int) -> None:
    """Declare a checkpoint usable."""
    write_json(folder / COMPLETE, {"global_step": step})


def prepare_folder(folder: Path) -> None:
    """Take the leftovers of an interrupted save out of the way and withdraw the mark of a finished one."""
    if folder.is_dir():
        if (folder / COMPLETE).is_file():
            (folder / COMPLETE).unlink()
        else:
            shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)


def list_checkpoints(output_dir: str | Path) -> list[Path]:
    """Checkpoint folders of a run, complete or not, oldest step first."""
    pattern = re.compile(rf"^{PREFIX_CHECKPOINT_DIR}-(\d+)$")
    output_dir = Path(output_dir)
    if not output_dir.is_dir():
        return []
    found = [(int(match[1]), path) for path in output_dir.iterdir() if (match := pattern.match(path.name))]
    return [path for _, path in sorted(found)]


def newest_complete_checkpoint(output_dir: str | Path) -> tuple[Path, list[Path]]:
    """
    Find the checkpoint to resume from.

    Args:
        output_dir (`str` or `Path`):
            Folder of the run.

    Returns:
        `tuple[Path, list[Path]]`: The newest complete checkpoint, and the newer, half-written ones passed over.

    Raises:
        [`BadInputError`]: There is none.
    """
    skipped: list[Path] = []
    for path in reversed(list_checkpoints(output_dir)):
        if (path / COMPLETE).is_file():
            return path, skipped
        skipped.append(path)
    half = f" {skipped[0].name} is half-written (no {COMPLETE})." if skipped else ""
    raise BadInputError(
        f"No complete checkpoint in {output_dir}.{half} Leave out resume_from_checkpoint to start from the beginning."
    )


def check_resumable(folder: Path, identity: dict[str, Any]) -> None:
    """
    Refuse a checkpoint that would not continue this run.

    Args:
        folder (`Path`):
            Checkpoint folder.
        identity (`dict`):
            What this run is: dataset fingerprint, numbers of rows and processes, batch arithmetic.

    Raises:
        [`BadInputError`]: The folder is missing, half-written, without an optimizer, written by another trainer, or of
            another run; the message names what differs.
    """
    if not folder.is_dir():
        raise BadInputError(f"No checkpoint folder {folder}.")
    if not (folder / COMPLETE).is_file():
        if not (folder / STATE_JSON).is_file():
            raise BadInputError(f"{folder} was not written by mmr1_trl (no {STATE_JSON}), so it cannot be resumed.")
        raise BadInputError(f"{folder} is half-written (no {COMPLETE}): its save was interrupted. Take an older one.")
    if not any(folder.glob("rng_state*.pth")):
        raise BadInputError(
            f"{folder} holds the weights alone (save_only_model), so the run cannot be resumed. Start another from "
            f"them: --model_name_or_path {folder}."
        )
    saved = load_shared_state(folder)[0]["identity"]
    differences = [f"{k} was {saved.get(k)}, now {v}" for k, v in identity.items() if saved.get(k) != v]
    if differences:
        raise BadInputError(
            f"{folder} belongs to another run: {'; '.join(differences)}. Give the settings that it was made with "
            "(`mmr1` writes them to mmr1_config.yaml in the output_dir), or start anew in another output_dir."
        )
