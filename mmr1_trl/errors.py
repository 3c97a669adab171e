# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""How a run ends other than well: by bad input, by a limit that it met, by a signal; and the "did you mean"."""

import difflib
import signal
from collections.abc import Iterable


class BadInputError(ValueError):
    """
    Something the user gave cannot be used: a config key, a column, an image, an answer, a checkpoint, a batch size.

    The message says what is wrong, where, and the nearest valid value or command. The command line prints it without
    a traceback and exits with code 2; in Python it is a `ValueError` like TRL's own.
    """


class TrainingStopped(RuntimeError):
    """
    Training met something that it cannot go on from: values that are not finite, no memory, no room on the disk.

    The message says what, with the numbers of the run, and what to change. What was saved before is whole. The command
    line prints it without a traceback and exits with code 3.
    """


class Preempted(SystemExit):
    """
    A signal ended the run, after a checkpoint was saved that resumes it exactly.

    It is a `SystemExit`, so that a script ends where the signal would have ended it, with the code of that signal.

    Args:
        signum (`int`):
            The signal; the exit code is 128 more, 143 for SIGTERM and 138 for SIGUSR1.
        checkpoint (`str`):
            Folder of the checkpoint.
    """

    def __init__(self, signum: int, checkpoint: str) -> None:
        super().__init__(128 + signum)
        self.signal = signal.Signals(signum)
        self.checkpoint = checkpoint


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
    known = list(known)
    # `model_name_or_path` where the name is `model`, or the other way round
    words = [other for other in known if min(len(name), len(other)) > 3 and f"{name}_".startswith(f"{other}_")]
    words = words or [other for other in known if len(name) > 3 and other.startswith(f"{name}_")]
    near = sorted(words, key=len)[:1] or difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near else ""


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, or its name where it says nothing; at most 300 characters."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0] if len(lines[0]) <= 300 else f"{lines[0][:300]} ..."
