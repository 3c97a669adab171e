# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Penalties on the form of a completion: repetition and length."""

from collections.abc import Sequence
from typing import Any

from mmr1_trl.rewards.accuracy import Completions
from mmr1_trl.rewards.extraction import completion_text


def repetition_penalty(
    completions: Completions, ngram_size: int = 40, max_penalty: float = -0.5, **kwargs: Any
) -> list[float | None]:
    r"""
    Penalize repeated word n-grams: `(1 - unique / total) * max_penalty`, as the released code of MMR1
    (arXiv 2509.21268) does with 40-grams.

    Args:
        completions (`Sequence[str | list[dict]]`):
            Completions, plain or conversational.
        ngram_size (`int`, *optional*, defaults to `40`):
            Length of the n-grams in words.
        max_penalty (`float`, *optional*, defaults to `-0.5`):
            Reward of a completion that only repeats itself.

    Returns:
        `list[float | None]`: Penalties in `[max_penalty, 0]`; 0 for texts shorter than one n-gram.
    """
    return [_repetition(completion_text(c).lower().split(), ngram_size, max_penalty) for c in completions]


def _repetition(words: list[str], size: int, max_penalty: float) -> float:
    total = len(words) - size + 1
    if total < 1:
        return 0.0
    unique = len({tuple(words[start : start + size]) for start in range(total)})
    return (1 - unique / total) * max_penalty if unique < total else 0.0


def length_penalty(
    completions: Completions,
    completion_ids: Sequence[Sequence[int]],
    max_length: int = 1280,
    margin: int = 256,
    **kwargs: Any,
) -> list[float | None]:
    """
    Penalize overlong completions: 0 up to `max_length - margin` tokens, then linearly down to -1 at `max_length`
    (DAPO, arXiv 2503.14476, Eq. 13).

    Args:
        completions (`Sequence[str | list[dict]]`):
            Not read; the length is counted in tokens.
        completion_ids (`Sequence[Sequence[int]]`):
            Token ids, passed by the trainer.
        max_length (`int`, *optional*, defaults to `1280`):
            Length in tokens at which the penalty is complete. The defaults are those of TRL's command line.
        margin (`int`, *optional*, defaults to `256`):
            Width of the slope in tokens.

    Returns:
        `list[float | None]`: Penalties in [-1, 0].
    """
    return [-min(1.0, max(0, len(ids) - (max_length - margin)) / margin) for ids in completion_ids]
