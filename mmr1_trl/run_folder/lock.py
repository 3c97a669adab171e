# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The lock of a run's folder: one process at a time writes and deletes there."""

import contextlib
import fcntl
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmr1_trl.errors import BadInputError
from mmr1_trl.run_folder.files import LOCK


logger = logging.getLogger(__name__)

_held: set[tuple[int, str]] = set()  # (process, folder): a forked child holds nothing


@contextlib.contextmanager
def locked(folder: str | Path, command: str = "a training") -> Iterator[None]:
    """
    Be the only process that writes or deletes in the folder of a run.

    The lock is the kernel's (POSIX, which NFS passes on to its server), so that it ends with the process however that
    ends, and its children do not keep it. Within a process it may be taken again. Reading needs no lock.

    Args:
        folder (`str` or `Path`):
            The folder; made if it is not there, and removed if nothing is in it afterwards.
        command (`str`, *optional*):
            Who holds it, for the message.

    Raises:
        [`BadInputError`]: Another process holds it; or the folder cannot be written.
    """
    folder = Path(folder)
    key = (os.getpid(), os.path.realpath(folder))
    if key in _held:
        yield
        return
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = _take(folder, command)
    except OSError as error:
        raise BadInputError(f"{folder} cannot be written ({error.strerror}). Choose another output folder.") from error
    _held.add(key)
    try:
        yield
    finally:
        _held.discard(key)
        with contextlib.suppress(OSError):
            (folder / LOCK).unlink()  # before the lock ends: whoever opened it meanwhile sees that it is gone
        file.close()
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()


def _take(folder: Path, command: str) -> Any:
    path = folder / LOCK
    while True:
        file = open(path, "a+", encoding="utf-8")
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            with file:
                raise BadInputError(
                    f"{folder} is in use by {_holder(file)}. Wait for it to end, stop it, or choose another "
                    "output folder."
                ) from error
        except OSError as error:  # a file system without locks
            logger.warning(f"{folder} cannot be locked ({error.strerror}): do not start a second run in it.")
            break
        try:
            if os.path.samestat(os.stat(path), os.fstat(file.fileno())):
                break
        except FileNotFoundError:
            pass
        file.close()  # its last holder removed it before it ended: take the one that is there now
    now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    file.truncate(0)
    file.write(json.dumps({"command": command, "pid": os.getpid(), "host": socket.gethostname(), "since": now}))
    file.flush()
    return file


def _holder(file: Any) -> str:
    for _ in range(20):
        file.seek(0)
        try:
            holder = json.loads(file.read())
            return f"{holder['command']} (process {holder['pid']} on {holder['host']}, since {holder['since']})"
        except (ValueError, KeyError, TypeError):
            time.sleep(0.01)  # it has the lock and is about to write its name
    return "another process"
