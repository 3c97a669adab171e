# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The folder of a run: files that grow by one line per finished piece of work, so that a killed job goes on."""

import json
import os
from pathlib import Path
from typing import Any


class Journal:
    """
    JSON lines: the first says what the work is, each other one is a finished piece of it.

    Args:
        path (`Path`):
            The file; its folder is created.
        identity (`dict`):
            What the work depends on. Pieces of other work are never taken for this one's.
    """

    def __init__(self, path: Path, identity: dict[str, Any]) -> None:
        self.path = path
        # Through JSON, so that it compares equal to what is read back (tuples are lists there).
        self.identity = json.loads(json.dumps(identity))

    def _lines(self) -> list[bytes]:
        """The complete lines; what a kill cut off in the middle has no line end."""
        content = self.path.read_bytes() if self.path.is_file() else b""
        return content.split(b"\n")[:-1]

    def differences(self) -> list[str]:
        """
        Compare with the file.

        Returns:
            `list[str]`: How the work in the file differs from this one, e.g. `"seed was 0, now 1"`; empty when it is
            the same or when there is no file.
        """
        lines = self._lines()
        if not lines:
            return []
        found = json.loads(lines[0])
        names = dict.fromkeys([*found, *self.identity])
        return [
            f"{name} was {found.get(name)}, now {self.identity.get(name)}"
            for name in names
            if found.get(name) != self.identity.get(name)
        ]

    def resume(self) -> list[Any]:
        """
        Make the file ready for [`~Journal.append`], which starts anew where the file is another work's.

        Returns:
            `list`: The finished pieces, in the order in which they were appended.
        """
        lines = self._lines()
        kept = lines if lines and not self.differences() else [json.dumps(self.identity).encode()]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(self.path.name + ".tmp")
        temporary.write_bytes(b"\n".join(kept) + b"\n")
        os.replace(temporary, self.path)
        return [json.loads(line) for line in kept[1:]]

    def append(self, piece: Any) -> None:
        """Add a finished piece; when this returns, it is on the disk."""
        with open(self.path, "ab") as file:
            file.write(json.dumps(piece).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
