# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The one exception that a user can cause, and the "did you mean" that goes with it."""

import difflib
from collections.abc import Iterable


class BadInputError(ValueError):
    """
    Something the user gave cannot be used: a config key, a column, an image, an answer, a checkpoint, a batch size.

    The message says what is wrong, where, and the nearest valid value or command. The command line prints it without
    a traceback and exits with code 2; in Python it is a `ValueError` like TRL's own.
    """


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """
    Return `" Did you mean 'learning_rate'?"` for a near miss of `name` among `known`, or an empty string.

    Args:
        name (`str`):
            What the user wrote.
        known (`Iterable[str]`):
            The valid spellings.

    Returns:
        `str`: A sentence that starts with a space, or `""` when nothing is near.
    """
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near else ""
