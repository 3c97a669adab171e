# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Whether a checkpoint is what was saved: every file with its size and digest, or a refusal that names it."""

import contextlib
import hashlib
import json
import os
import re
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mmr1_trl.errors import BadInputError, first_line
from mmr1_trl.run_folder.checkpoints import complete_checkpoints, is_complete
from mmr1_trl.run_folder.files import (
    COMPLETE,
    OPTIMIZER,
    SCHEDULER,
    STATE_JSON,
    STATE_TENSORS,
    TRAINER_STATE,
    UNREAD,
    flush_to_disk,
    rank_files,
    write_json,
)


def describe_files(checkpoint: Path, rank: int = 0, ranks: int = 1) -> dict[str, dict[str, Any]]:
    """
    Bring the files of a checkpoint to the disk and return what each of them holds, for [`seal`].

    Args:
        checkpoint (`Path`):
            The folder, with all of its files.
        rank (`int`, *optional*, defaults to `0`), ranks (`int`, *optional*, defaults to `1`):
            Which share to read, of how many.

    Returns:
        `dict[str, dict]`: Size in bytes and SHA-256 by name.
    """
    files = [path for path in checkpoint.rglob("*") if path.is_file() and path.suffix != ".tmp"]
    names = [path.relative_to(checkpoint).as_posix() for path in files if path.name not in (*UNREAD, COMPLETE)]
    names = _share({name: (checkpoint / name).stat().st_size for name in names}, rank, ranks)
    for name in names:
        flush_to_disk(checkpoint / name)
    return dict(zip(names, _in_threads(describe_file, [checkpoint / name for name in names])))


def describe_file(file: Path | bytes) -> dict[str, Any]:
    """Return size and SHA-256 of a file or of its content."""
    if isinstance(file, bytes):
        return {"size": len(file), "sha256": hashlib.sha256(file).hexdigest()}
    with open(file, "rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
        return {"size": content.tell(), "sha256": digest}


def _share(sizes: dict[str, int], rank: int, ranks: int) -> list[str]:
    return sorted(sizes, key=lambda name: (-sizes[name], name))[rank::ranks]


def _in_threads(function: Any, items: list[Any]) -> list[Any]:
    with ThreadPoolExecutor(min(4, len(items) or 1)) as pool:  # hashing and reading leave the interpreter free
        return list(pool.map(function, items))


def seal(checkpoint: Path, step: int, files: dict[str, dict[str, Any]]) -> None:
    """Declare a checkpoint whole; `files` is what [`describe_files`] returned, of all ranks."""
    flush_to_disk(checkpoint)
    write_json(checkpoint / COMPLETE, mark_of(step, files))


def mark_of(step: int, files: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the mark of a checkpoint: its step, the list of its files, and the digest of both."""
    mark = {"global_step": step, "files": dict(sorted(files.items()))}
    return mark | {"sha256": hashlib.sha256(json.dumps(mark).encode()).hexdigest()}


def require_whole(checkpoint: Path, find: Callable[[Path], str | None] | None = None) -> None:
    """
    Refuse a checkpoint that is not what was saved, before anything is loaded from it.

    Args:
        checkpoint (`Path`):
            The folder.
        find (`Callable`, *optional*):
            What reads it, [`find_damage`] by default.

    Raises:
        [`BadInputError`]: It is missing, half-written or damaged. The message names the file, and the newest
            checkpoint of the run that is whole.
    """
    if not checkpoint.is_dir():
        raise BadInputError(f"No checkpoint folder {checkpoint}.")
    if not is_complete(checkpoint):
        if not (checkpoint / STATE_JSON).is_file():
            raise BadInputError(f"{checkpoint} is no checkpoint (no {TRAINER_STATE}): not written by mmr1_trl.")
        raise BadInputError(
            f"{checkpoint} is half-written (no {COMPLETE}): its save was interrupted. {other_whole(checkpoint)}"
        )
    found = (find or find_damage)(checkpoint)
    if found is not None:
        raise BadInputError(f"{checkpoint} is damaged: {found}. {other_whole(checkpoint)}")


def other_whole(checkpoint: Path) -> str:
    """Say which checkpoint of the run can be resumed in the place of one that cannot."""
    for path in reversed(complete_checkpoints(checkpoint.absolute().parent)):
        if not os.path.samefile(path, checkpoint) and find_damage(path) is None:
            return f"The newest whole checkpoint is {path.name}: --resume_from_checkpoint {path}."
    return "There is no whole checkpoint beside it: take it from a copy, or start anew in another folder."


_whole: dict[str, tuple[Any, ...]] = {}  # what this process has read to the end: folder -> names, sizes and times


def find_damage(checkpoint: Path, rank: int = 0, ranks: int = 1) -> str | None:
    """
    Compare a complete checkpoint with what was saved.

    A mark of this version lists every file with its digest, so that any change is found. Without the list (checkpoints
    of earlier versions) whatever is missing, empty, cut off or not readable is found, and bit errors in what torch
    wrote; not those within safetensors and JSON, nor a file of another run in the place of this one's.

    Args:
        checkpoint (`Path`):
            The folder.
        rank (`int`, *optional*, defaults to `0`), ranks (`int`, *optional*, defaults to `1`):
            Which share of the contents to read, of how many.

    Returns:
        `str` or `None`: The damaged file and what is wrong with it; `None` for a whole checkpoint.
    """
    try:
        signature = _signature(checkpoint)
    except OSError as error:
        return str(error)
    key = os.path.realpath(checkpoint)
    if _whole.get(key) == signature:
        return None
    found = _damage(checkpoint, rank, ranks)
    if found is None and ranks == 1:
        _whole[key] = signature
    return found


def _signature(checkpoint: Path) -> tuple[Any, ...]:
    files = sorted(path for path in checkpoint.rglob("*") if path.is_file())
    stats = [path.stat() for path in files]
    return tuple((str(path), s.st_size, s.st_mtime_ns, s.st_ino) for path, s in zip(files, stats))


def _damage(checkpoint: Path, rank: int, ranks: int) -> str | None:
    processes = 0  # of a supervised run, whose checkpoints hold nothing of ours
    steps: dict[str, int] = {}
    listed: Any = None
    mark: Any = None
    for name in (COMPLETE, TRAINER_STATE, STATE_JSON):
        if name != TRAINER_STATE and not (checkpoint / name).is_file():
            continue  # of a supervised run
        try:
            value = json.loads((checkpoint / name).read_bytes())
        except (OSError, ValueError) as error:
            return f"{name} cannot be read ({first_line(error)})"
        if not isinstance(value, dict):
            return f"{name} holds no JSON object"
        if name == COMPLETE:
            listed, mark = value.get("files"), value
        if name == STATE_JSON:
            identity = value.get("identity")
            count: Any = identity.get("processes") if isinstance(identity, dict) else None
            if not isinstance(count, int) or count < 1:
                return f"{name} does not say what run it is of"
            processes = count
        else:
            step: Any = value.get("global_step")
            if not isinstance(step, int) or step < 0:
                return f"{name} says global_step {step!r}"
            steps[name] = step
    if len(set(steps.values())) > 1:
        return f"{COMPLETE} is of step {steps[COMPLETE]} and {TRAINER_STATE} of step {steps[TRAINER_STATE]}"
    if listed is not None:
        if not isinstance(listed, dict) or mark_of(steps[COMPLETE], listed) != mark:
            return f"{COMPLETE} is not what was saved (its own SHA-256 differs)"
        return _unlike_list(checkpoint, listed, rank, ranks)
    return _unreadable(checkpoint, processes)


def _unlike_list(checkpoint: Path, listed: Any, rank: int, ranks: int) -> str | None:
    try:
        sizes = {str(name): int(facts["size"]) for name, facts in listed.items()}
        digests = {name: str(listed[name]["sha256"]) for name in sizes}
    except (AttributeError, KeyError, TypeError, ValueError):
        return f"{COMPLETE} holds no list of files"
    for name, size in sizes.items():
        if not (checkpoint / name).is_file():
            return f"{name} is missing"
        if (found := (checkpoint / name).stat().st_size) != size:
            return f"{name} has {found:,} bytes, and {size:,} were saved"
    share = _share(sizes, rank, ranks)
    try:
        contents = _in_threads(describe_file, [checkpoint / name for name in share])
    except OSError as error:
        return f"{error.filename} cannot be read ({error.strerror})"
    changed = [name for name, facts in zip(share, contents) if facts["sha256"] != digests[name]]
    return f"{changed[0]} is not what was saved (its SHA-256 differs)" if changed else None


def _unreadable(checkpoint: Path, processes: int) -> str | None:
    """Look at the files of a checkpoint that are on no list, as far as they say themselves whether they are whole."""
    names = {path.relative_to(checkpoint).as_posix() for path in checkpoint.rglob("*") if path.is_file()}
    needed = {STATE_JSON, STATE_TENSORS} if processes or rank_files(0)[0] in names else set()
    for rank in range(processes):
        needed |= set(rank_files(rank))
    rng = {"rng_state.pth"} if processes < 2 else {f"rng_state_{rank}.pth" for rank in range(processes)}
    sharded = any("/" in name for name in names)  # engines that shard have a layout of their own
    if names & (rng | {OPTIMIZER, SCHEDULER}):  # else it is of `save_only_model`
        needed |= rng | (set() if sharded else {OPTIMIZER, SCHEDULER})
    if not sharded and not any(
        re.fullmatch(r"(adapter_)?model.*\.safetensors|pytorch_model.*\.bin", n) for n in names
    ):
        return "the weights are missing"
    for name in sorted(name for name in names if name.endswith(".index.json")):
        with contextlib.suppress(ValueError, AttributeError):  # said below
            needed |= set(json.loads((checkpoint / name).read_bytes())["weight_map"].values())
    if missing := sorted(needed - names):
        return f"{missing[0]} is missing"
    for name in sorted(names):
        path = checkpoint / name
        try:
            if name.endswith(".json"):
                json.loads(path.read_bytes())
            elif name.endswith(".safetensors"):
                _require_all_tensors(path)
            elif name.endswith((".pt", ".pth", ".bin")):
                with zipfile.ZipFile(path) as parts:
                    if (bad := parts.testzip()) is not None:
                        raise ValueError(f"{bad} in it is damaged")
        except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
            return f"{name} cannot be read ({first_line(error)})"
    return None


def _require_all_tensors(path: Path) -> None:
    """Refuse a safetensors file that is shorter or longer than its header says."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        size = os.fstat(file.fileno()).st_size
        if not 2 <= length <= size - 8:
            raise ValueError("its header is cut off")
        tensors = [part for name, part in json.loads(file.read(length)).items() if name != "__metadata__"]
    end = 8 + length + max((part["data_offsets"][1] for part in tensors), default=0)
    if end != size:
        raise ValueError(f"it has {size:,} bytes, and its tensors need {end:,}")
