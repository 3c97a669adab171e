# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Values that a dataset stores as text: JSON, or what Python prints."""

import ast
import json
from typing import Any


def read_literal(text: str) -> Any:
    """
    Read a value that is written as JSON or as a Python literal.

    Args:
        text (`str`):
            Any text.

    Returns:
        `Any`: The value; `None` when the text is neither.
    """
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return None


def read_container(text: str) -> list[Any] | tuple[Any, ...] | dict[str, Any] | None:
    """The list or mapping that a text writes out; `None` for any other text."""
    value = read_literal(text) if text.lstrip()[:1] in ("[", "{", "(") else None
    return value if isinstance(value, list | tuple | dict) else None


def texts_in(text: str) -> list[str] | None:
    """The texts of a list that is written out; `None` if it is anything else."""
    if text[:1] != "[" or not {"'", '"'} & set(text[:3]):
        return None
    found = read_literal(text)
    return found if isinstance(found, list) and all(isinstance(entry, str) for entry in found) else None
