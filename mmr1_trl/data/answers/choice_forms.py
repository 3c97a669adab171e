# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The choices of a question in the forms that datasets have, and answers that are the number or label of one."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from datasets import Dataset

from mmr1_trl.data.columns import OPTION_NAMES
from mmr1_trl.data.literals import read_literal
from mmr1_trl.errors import BadInputError
from mmr1_trl.rewards.choices import LETTERS, option_texts, split_label
from mmr1_trl.rewards.notation import clean


ANSWER_INDICES = ("auto", "zero_based", "one_based", "off")


_TEXT_KEYS, _LABEL_KEYS = (
    ("text", "texts", "value", "content", "choice", "option"),
    ("label", "labels", "key", "id", "letter"),
)
_COLUMN = re.compile(r"(?:(?:option|choice|opt|answer)[_ ]?([A-Ha-h])|([A-H]))")


def read_choices(value: Any) -> tuple[list[str], list[str] | None] | None:
    """
    Read the choices of a multiple-choice question.

    Args:
        value (`list`, `dict` or `str`):
            A list of texts, also with letters in front; a list of mappings with `text` and `label`; a mapping from
            letters to texts, or with lists of `text` and `label`; any of these as JSON or as a Python literal; or
            lines that begin with letters.

    Returns:
        `tuple[list[str], list[str] | None]` or `None`: The texts in order, and what the dataset calls them where that
        is not "A", "B" and so on in order; `None` when there are no choices.

    Raises:
        [`BadInputError`]: It is something else.
    """
    if isinstance(value, str) and value.strip():
        value = _from_text(value.strip())
    labels: list[Any] | None = None
    if isinstance(value, Mapping):
        texts = next((value[key] for key in _TEXT_KEYS if isinstance(value.get(key), list)), None)
        if texts is not None:
            labels = next((value[key] for key in _LABEL_KEYS if isinstance(value.get(key), list)), None)
            value = texts
        else:
            # Arrow gives every mapping of a column the same keys, and None for those that a row does not have.
            labels = sorted(
                (key for key in value if value[key] is not None), key=lambda key: (len(str(key)), str(key))
            )
            value = [value[key] for key in labels]  # 10 comes after 9
    if not value:
        return None
    if not isinstance(value, list | tuple):
        raise BadInputError(f"the options {str(value)[:60]!r} are not a list")
    if all(isinstance(option, Mapping) for option in value):
        found = [next((option[key] for key in _LABEL_KEYS if option.get(key) is not None), None) for option in value]
        labels = None if None in found else found
        value = [next((option[key] for key in _TEXT_KEYS if option.get(key) is not None), None) for option in value]
        if None in value:
            raise BadInputError(f"the options have none of {', '.join(_TEXT_KEYS)}")
    if any(isinstance(option, Mapping | list) for option in value):
        raise BadInputError(f"the options {str(value)[:60]!r} are not a list of texts")
    texts = ["" if option is None else str(option) for option in value]
    if labels is None:
        while texts and not texts[-1].strip():  # columns of one length, filled up
            texts.pop()
        if not texts:
            return None
    if labels is None and all(letter for letter, _ in map(split_label, texts)):
        labels = [letter for letter, _ in map(split_label, texts)]
        if labels != list(LETTERS[: len(texts)]) and len(set(labels)) == len(labels):
            texts = [text for _, text in map(split_label, texts)]
    names = None if labels is None else [str(label).strip() for label in labels]
    ordered = names is None or [name.upper() for name in names] == list(LETTERS[: len(texts)])
    if ordered or names is None or len(names) != len(texts) or len(set(names)) < len(names):
        return texts, None
    return texts, names


def read_options(value: Any) -> list[str] | None:
    """The texts of [`read_choices`]; `None` when there are none."""
    choices = read_choices(value)
    return None if choices is None else choices[0]


def _from_text(text: str) -> Any:
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) > 1 and all(all(split_label(line)) for line in lines):
        return lines
    if (value := read_literal(text)) is None:
        raise BadInputError(f"the options {text[:60]!r} are not a list")
    return value


def merge_lettered(dataset: Dataset) -> Dataset:
    """
    Make one column `options` of the columns `A`, `B`, ... (MMBench) or `choice_a`, `choice_b`, ... (SEED-Bench).

    Args:
        dataset ([`~datasets.Dataset`]):
            Rows as published.

    Returns:
        [`~datasets.Dataset`]: As it was where it has a column of choices, or no such columns.
    """
    found = {
        (match[1] or match[2]).upper(): name for name in dataset.column_names if (match := _COLUMN.fullmatch(name))
    }
    if set(OPTION_NAMES) & set(dataset.column_names) or not {"A", "B"} <= found.keys():
        return dataset
    columns = {letter: dataset[found[letter]][:] for letter in sorted(found)}
    rows = [
        {
            letter: None if (text := columns[letter][row]) in (None, "") or text != text else str(text)
            for letter in columns
        }
        for row in range(len(dataset))
    ]
    return dataset.add_column("options", rows)


def letter_of_label(answer: Any, labels: Sequence[str]) -> str | None:
    """The letter of the choice that an answer names by the dataset's own label; `None` if it names none so."""
    text = str(answer).strip().strip("()[].: ").upper()
    names = [label.upper() for label in labels]
    return LETTERS[names.index(text)] if text in names else None


def letter_of_text(answer: str, options: Sequence[str]) -> str | None:
    """The letter of the one choice whose text an answer is in another case; `None` if it is not."""
    texts = [text.casefold() for text in option_texts(tuple(options))]
    said = clean(answer).casefold()
    return LETTERS[texts.index(said)] if said and texts.count(said) == 1 and len(texts) <= len(LETTERS) else None


def require_agreement(answer: str, options: Sequence[str]) -> None:
    """
    Refuse an answer such as "B. cat" where B is another choice, and "cat" the text of one ([`BadInputError`]).

    Args:
        answer (`str`):
            The gold.
        options (`Sequence[str]`):
            The texts of the choices.
    """
    named, text = split_label(answer)
    letter = letter_of_text(text, options) if named else None
    if letter not in (None, named):
        raise BadInputError(f"the answer {answer[:60]!r} names a letter, and the text of choice {letter}")


def index_base(answers: Sequence[Any], options: Sequence[list[str] | None], answer_index: str = "auto") -> int | None:
    """
    Tell from what number a dataset counts its choices.

    Args:
        answers (`Sequence`):
            The answers as stored, of the rows that may be multiple choice.
        options (`Sequence[list[str]]`):
            The choices of these rows, `None` for a row without.
        answer_index (`str`, *optional*, defaults to `"auto"`):
            `"zero_based"`, `"one_based"`, `"off"` (answers are letters or texts), or `"auto"`: indices where every
            answer is a whole number from 0 to the number of choices, counted from 0 where one is 0, and from 1 where
            one equals the number of choices.

    Returns:
        `int` or `None`: 0 or 1; `None` when answers are no indices.

    Raises:
        [`BadInputError`]: They may be, and nothing says which.
    """
    if answer_index in ("zero_based", "one_based"):
        return int(answer_index == "one_based")
    rows = [(whole_number(answer), choices) for answer, choices in zip(answers, options, strict=True) if choices]
    if answer_index == "off" or not rows:
        return None
    numbers = [(number, len(choices)) for number, choices in rows if number is not None]
    if len(numbers) < len(rows) or any(not 0 <= number <= count for number, count in numbers):
        return None
    from_zero, from_one = any(number == 0 for number, _ in numbers), any(number == count for number, count in numbers)
    if from_zero and from_one:
        return None
    as_text = all(str(number) in {choice.strip() for choice in choices} for number, choices in rows)
    if as_text or not (from_zero or from_one):
        low, high = min(numbers)[0], max(numbers)[0]
        raise BadInputError(
            f"The answers are whole numbers from {low} to {high} beside choices, "
            + ("and each is also the text of a choice" if as_text else "and nothing says where they count from")
            + ". Pass --answer_index zero_based or one_based if they are indices, or off if they are texts."
        )
    return 0 if from_zero else 1


def whole_number(value: Any) -> int | None:
    """Read a whole number, also one stored as text or float; `None` if it is none."""
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < 9:
        return int(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and value in range(10**6):
        return int(value)
    return None


def letter_of(answer: Any, options: list[str], base: int) -> str:
    """
    Turn an index into the letter of its choice.

    Raises:
        [`BadInputError`]: There is no such choice.
    """
    number = whole_number(answer)
    count = min(len(options), len(LETTERS))
    if number is None or not 0 <= number - base < count:
        last = count - 1 + base
        raise BadInputError(f"the answer {str(answer)[:40]!r} is no index from {base} to {last} of the choices")
    return LETTERS[number - base]
