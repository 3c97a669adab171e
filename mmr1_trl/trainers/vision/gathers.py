# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Keeps pictures out of what the processes tell each other for the tables of completions.

After the rewards TRL gathers the prompts of all ranks, pictures included, and keeps those of the last generation batch
on every rank, whether or not a table is written. With pictures of 1024 pixels that is 3 MB per completion.
"""

import copyreg
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import PIL.Image


def _placeholder(picture: PIL.Image.Image) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    return PIL.Image.new, (picture.mode, (1, 1))


def _picture_types() -> list[type]:
    """Every class of picture that is loaded: an opened file has one of its own format."""
    found: list[type] = [PIL.Image.Image]
    for kind in found:
        found += kind.__subclasses__()
    return found


class LeanGathers:
    """
    Lets pictures be pickled as a single pixel, from the end of the rewards to the end of a generation.

    Not before: a reward function may send pictures to processes of its own, and copies are made by the same means.

    Args:
        active (`bool`):
            Whether nobody will look at the pictures.
    """

    def __init__(self, active: bool) -> None:
        self.active = active
        self._stack: ExitStack | None = None

    @contextmanager
    def generation(self) -> Iterator[None]:
        """Around TRL's generation and scoring of a batch."""
        with ExitStack() as self._stack:
            try:
                yield
            finally:
                stack, self._stack = self._stack, None
                stack.close()

    def rewards_are_done(self) -> None:
        """From here on only logs are gathered, if a generation is under way."""
        if self.active and self._stack is not None:
            for kind in _picture_types():
                copyreg.pickle(kind, _placeholder)
                self._stack.callback(copyreg.dispatch_table.pop, kind, None)
