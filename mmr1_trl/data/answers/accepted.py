# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Answers that are lists: several that are right (DocVQA, VQAv2), or the parts of one."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from mmr1_trl.data.literals import read_container
from mmr1_trl.data.questions import gold_text
from mmr1_trl.errors import BadInputError
from mmr1_trl.rewards.types import check_gold


ANSWER_LISTS = ("auto", "alternatives", "parts")
_TEXT_KEYS = ("answer", "text", "value", "raw_answer")  # VQAv2, SQuAD


def lists_are_alternatives(column: str, answer_lists: str = "auto") -> bool:
    """
    Tell whether the lists in an answer column hold several right answers.

    Args:
        column (`str`):
            Its name.
        answer_lists (`str`, *optional*, defaults to `"auto"`):
            `"alternatives"`, `"parts"` (of one answer), or `"auto"`: alternatives in a column whose name ends with
            `answers`.
    """
    return answer_lists == "alternatives" or (answer_lists == "auto" and column.endswith("answers"))


def read_accepted(value: Any, answer_type: str | None = None, options: list[str] | None = None) -> list[str]:
    """
    Read the accepted answers of a row.

    Args:
        value (`Any`):
            A list of texts or numbers, of mappings with `answer` or `text`, a mapping with a list under one of these
            names, a list written as JSON or as a Python literal, or one answer.
        answer_type (`str`, *optional*), options (`list[str]`, *optional*):
            Type and choices, as far as they are known.

    Returns:
        `list[str]`: Each answer once, the most frequent first; those that no completion could equal come last.

    Raises:
        [`BadInputError`]: There is none.
    """
    texts = []
    for answer in _flat(value):
        try:
            texts.append(gold_text(answer))
        except BadInputError:  # an empty one among others
            continue
    if not texts:
        raise BadInputError("there is no gold answer")
    ordered = [text for text, _ in Counter(texts).most_common()]
    return sorted(ordered, key=lambda text: check_gold(text, answer_type, options) is not None)


def _flat(value: Any) -> list[Any]:
    if isinstance(value, str) and (listed := read_container(value)) is not None:
        value = listed
    if isinstance(value, Mapping):
        return next((_flat(value[key]) for key in _TEXT_KEYS if value.get(key) is not None), [])
    if isinstance(value, list | tuple):
        return [answer for entry in value for answer in _flat(entry)]
    return [value]
