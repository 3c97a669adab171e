# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What an upload consists of: the files that go up, under which names, and those that stay here, with the reason."""

import json
import os
import shutil
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from mmr1_trl.errors import BadInputError
from mmr1_trl.run_folder import ARGUMENTS, CHECKPOINT, COMPLETE, SCHEDULER, describe_file, mark_of


WEIGHTS = "*.safetensors"
# What only a resumed training needs: gigabytes that nobody loads, unless a checkpoint is uploaded for resuming.
TRAINING_STATE = (
    "optimizer*.pt", "optimizer*.bin", SCHEDULER, "scaler.pt", "rng_state*.pth", "rlvr_*", "latest",
)  # fmt: skip
SUFFIXES = {
    ".safetensors", ".json", ".jinja", ".txt", ".model", ".tiktoken", ".md", ".yaml", ".yml", ".png", ".jpg", ".svg",
    ".html", ".parquet", ".bib",
}  # fmt: skip


@dataclass
class Entry:
    """
    One file of an upload.

    Args:
        path (`str`):
            Its name in the repository.
        source (`Path` or `bytes`):
            The file, or what is uploaded in its place.
        note (`str`, *optional*):
            What was done to it.
    """

    path: str
    source: Path | bytes
    note: str = ""

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size

    def read(self) -> bytes:
        """Return the content."""
        return self.source if isinstance(self.source, bytes) else self.source.read_bytes()


@dataclass
class Manifest:
    """The files of an upload, and what is left out: `(name, bytes, reason)`."""

    entries: list[Entry] = field(default_factory=list)
    left_out: list[tuple[str, int, str]] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(entry.size for entry in self.entries)

    def add_folder(self, folder: Path, prefix: str = "", resume: bool = False, exclude: Iterable[str] = ()) -> None:
        """
        Take in the files of a folder.

        Args:
            folder (`Path`):
                Where they are.
            prefix (`str`, *optional*):
                Folder in the repository, such as `"last-checkpoint"`.
            resume (`bool`, *optional*, defaults to `False`):
                Whether the optimizer and the other state of training go up as well.
            exclude (`Iterable[str]`, *optional*):
                Patterns of names that the user wants left out.

        Raises:
            [`BadInputError`]: What would go up is a link out of the folder or to nothing, a device or a pipe.
        """
        for place, folders, files in os.walk(folder):
            here = Path(place).relative_to(folder)
            for name in sorted(folders):
                reason = _folder_stays(here / name)
                if reason is None and (Path(place) / name).is_symlink():
                    reason = "a link to a folder, which is not followed"
                if reason is not None:
                    folders.remove(name)
                    label = str(PurePosixPath(prefix) / (here / name).as_posix())
                    self.left_out.append((f"{label}/", _size_of(Path(place) / name), reason))
            folders.sort()
            for name in sorted(files):
                relative = PurePosixPath((here / name).as_posix())
                reason = _file_stays(relative, resume)
                if any(fnmatch(str(relative), pattern) for pattern in exclude):
                    reason = "left out by --exclude"
                file = Path(place) / name
                if reason is None:
                    _require_file(file, folder)
                    self.entries.append(Entry(str(PurePosixPath(prefix) / relative), file))
                else:
                    self.left_out.append((str(PurePosixPath(prefix) / relative), file.lstat().st_size, reason))

    def replace(self, path: str, content: bytes, note: str = "") -> None:
        """Upload `content` as the file `path`, in place of one that is there already."""
        self.entries = [entry for entry in self.entries if entry.path != path]
        self.entries.append(Entry(path, content, note))

    def reseal(self) -> None:
        """
        Let the mark of a checkpoint speak of its files as they go up: in some of them local paths are shortened, and
        what only this machine needs stays here. The files of engines that shard are kept on the list: without them
        the checkpoint cannot be resumed, and says so.
        """
        there = {entry.path: entry for entry in self.entries}
        for path in [path for path in there if PurePosixPath(path).name == COMPLETE]:
            mark, folder = json.loads(there[path].read()), PurePosixPath(path).parent
            listed = mark.get("files")
            if listed is None:
                continue
            files = {name: facts for name, facts in listed.items() if str(folder / name) in there or "/" in name}
            for name in files:
                entry = there.get(str(folder / name))
                if entry is not None and isinstance(entry.source, bytes):
                    files[name] = describe_file(entry.source)
            if files != listed:
                sealed = json.dumps(mark_of(mark["global_step"], files), indent=1).encode()
                self.replace(path, sealed, "of the files as uploaded")

    def freeze(self, folder: Path, immutable: Path) -> None:
        """
        Set the files apart, so that training may go on writing and deleting while they are uploaded.

        Args:
            folder (`Path`):
                Where to put them; created, and to be removed by the caller.
            immutable (`Path`):
                Files below it are never written again and are linked instead of copied, which takes no space.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for number, entry in enumerate(self.entries):
            if isinstance(entry.source, bytes):
                continue
            copy = folder / f"{number}-{entry.source.name}"
            try:
                if not entry.source.is_relative_to(immutable):
                    raise OSError("may change")
                os.link(entry.source, copy)
            except OSError:  # it may change, or this file system has no links
                shutil.copyfile(entry.source, copy)
            entry.source = copy

    def table(self) -> str:
        """Return the list of files with their sizes for a person to read."""
        groups: dict[str, list[Entry]] = {}
        for entry in self.entries:
            top = entry.path.split("/")[0] + "/" if "/" in entry.path else entry.path
            groups.setdefault(top, []).append(entry)
        rows = []
        for name, entries in groups.items():
            notes = sorted({entry.note for entry in entries if entry.note})
            if name.endswith("/"):
                notes.insert(0, f"{len(entries)} file{'s' * (len(entries) != 1)}")
            rows.append((name, sum(entry.size for entry in entries), ", ".join(notes)))
        rows.append((f"total: {len(self.entries)} files", self.size, ""))
        lines = [f"  {name:<44} {readable(size):>10}  {note}".rstrip() for name, size, note in rows]
        if self.left_out:
            lines += ["", "Not uploaded:"]
            lines += [f"  {name:<44} {readable(size):>10}  {reason}" for name, size, reason in self.left_out]
        return "\n".join(lines)


def readable(size: int) -> str:
    """Return a number of bytes as `"2.8 MB"`."""
    value, unit = float(size), "B"
    for larger in ("kB", "MB", "GB"):
        if value >= 1000:
            value, unit = value / 1000, larger
    return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"


def require_folder(folder: str | Path, exclude: Iterable[str] = ()) -> Path:
    """
    Return `folder` as a path.

    Raises:
        [`BadInputError`]: There is no such folder, or it holds links out of it, devices or pipes among what would go
            up. Nothing in it is opened before that is known.
    """
    path = Path(folder)
    if not path.is_dir():
        raise BadInputError(f"There is no folder {str(folder)!r}. The order is: mmr1 push KIND FOLDER REPO_ID.")
    Manifest().add_folder(path, exclude=exclude)
    return path


def _require_file(file: Path, folder: Path) -> None:
    """Refuse what is no regular file, or no file of this folder: reading it could take forever, or leak another."""
    if file.is_symlink():
        if not file.exists():
            raise BadInputError(f"{file} is a link to nothing. Remove it, or leave it out by --exclude {file.name}.")
        if not file.resolve().is_relative_to(folder.resolve()):
            raise BadInputError(
                f"{file} is a link out of {folder}. Put the file itself there (`cp -L`), or leave it out by --exclude "
                f"{file.name}."
            )
    if not stat.S_ISREG(file.stat().st_mode):
        raise BadInputError(f"{file} is a device or a pipe, not a file. Leave it out by --exclude {file.name}.")


def _folder_stays(relative: Path) -> str | None:
    name = relative.name
    if name.startswith((".", "_")):
        return "hidden or temporary"
    if name.startswith(CHECKPOINT):
        return "a checkpoint; --with_checkpoint uploads the newest one"
    if fnmatch(name, "global_step*"):
        return "state of training"
    return "a tracker's log" if name in ("wandb", "runs", "trackio", "tensorboard") else None


def _file_stays(relative: PurePosixPath, resume: bool) -> str | None:
    name = relative.name
    if name == ARGUMENTS:  # absolute paths, the host, and the Hub token in clear; nothing reads it back
        return "pickled arguments: token and local paths may be inside"
    if any(fnmatch(name, pattern) for pattern in TRAINING_STATE):
        return None if resume else "state of training, for --with_checkpoint"
    if name.startswith((".", "_")) or name.endswith(".tmp"):
        return "hidden or temporary"
    if relative.suffix in (".bin", ".pt", ".pth", ".pkl", ".ckpt"):
        return "pickled; only safetensors are uploaded"
    return None if relative.suffix in SUFFIXES or name == "LICENSE" else "not a file of a model, its card or its run"


def _size_of(folder: Path) -> int:
    return 0 if folder.is_symlink() else sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
