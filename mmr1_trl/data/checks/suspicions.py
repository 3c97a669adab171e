# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What runs and is probably wrong: rows that can be trained on, and say something else than was meant."""

import json
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from datasets import Dataset, List, Value

from mmr1_trl.data.columns import ACCEPTED, ANSWER_NAMES, values_of
from mmr1_trl.data.literals import texts_in
from mmr1_trl.data.pictures.arrow_columns import content_ids
from mmr1_trl.data.pictures.images import image_counts, image_size, stored_images
from mmr1_trl.data.prompt_style import PROMPT_STYLES
from mmr1_trl.errors import BadInputError
from mmr1_trl.rewards.choices import named_letters


MIN_SIDE = 8  # pixels; a patch of any model has more
_FEW = 4  # rows below which nothing can be said of all of them
_CONTEXT = ("hint", "context", "passage", "background", "premise", "caption", "scenario")
_OF_PICTURES = re.compile(r"\b(?:image|picture|figure|diagram|photo|chart|graph)s?\b|图", re.IGNORECASE)
_YES_OR_NO = re.compile(
    r"\s*(?:is|are|was|were|do|does|did|has|have|had|can|could|will|would|should)\b(?!.*\bhow many\b)", re.IGNORECASE
)
_MISSING = ("n/a", "na", "nan", "null", "none", "unknown", "-", "--", "?", "tbd", "todo", "undefined", "[]", "{}")
_SAYS_ANSWER = re.compile(r"(?:answer|solution|答案)\s*+(?:is|:|：|=)", re.IGNORECASE)
_WORD = re.compile(r"\w++")
_PATH = re.compile(r"\.(?:png|jpe?g|webp|gif|bmp|tiff?)\Z", re.IGNORECASE)
_NUMBERED_CHOICE = re.compile(r"(?:option|choice|ending|answer|sol)[_ ]?\d")


class Suspicion(NamedTuple):
    """
    Something about rows that is probably wrong.

    Args:
        what (`str`):
            What is wrong, and what to do; `{rows}` stands for the rows.
        rows (`dict[int, str]`):
            Their numbers, with the reasons; empty where it is about all of them.
    """

    what: str
    rows: dict[int, str]


def _of_rows(what: str, found: dict[int, str]) -> Suspicion | None:
    """A suspicion about some rows; `None` where there are none."""
    return Suspicion(what, found) if found else None


def suspicions(dataset: Dataset) -> list[Suspicion]:
    """
    Look for what is silently wrong in prepared rows. Pictures are hashed and measured, and not decoded.

    Args:
        dataset ([`~datasets.Dataset`]):
            Training rows, see [`~mmr1_trl.data.prepare.prepare_dataset`].

    Returns:
        `list[Suspicion]`: In the order of what they cost.
    """
    rows = _Rows(dataset)
    looks: tuple[Callable[[_Rows], Suspicion | None], ...] = (
        _letters_without_choices, _same_choices, _different_answers, _numbers_for_yes, _one_answer, _answer_in_prompt,
        _missing_words, _mappings, _lists_of_parts, _class_numbers, _unread_choices, _unread_context,
        _unread_pictures, _absent_pictures, _one_picture, _tiny_pictures,
    )  # fmt: skip
    return [found for look in looks if (found := look(rows)) is not None]


class _Rows:
    """The columns of prepared rows, as far as they are there."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset, self.names = dataset, dataset.column_names
        prompts = [_last_text(prompt) for prompt in dataset["prompt"][:]]
        self.prompts = [_without_style(*pair) for pair in zip(prompts, self.column("prompt_style"))]
        self.solutions: list[Any] = self.column("solution")
        self.types: list[Any] = self.column("answer_type")
        self.options: list[Any] = self.column("options")
        self.counts = image_counts(dataset)

    def column(self, name: str) -> list[Any]:
        return values_of(self.dataset, name)

    def texts(self, name: str) -> dict[int, str]:
        """The rows with a text in a column."""
        return {row: value for row, value in enumerate(self.column(name)) if isinstance(value, str) and value.strip()}


def _last_text(prompt: Any) -> str:
    if isinstance(prompt, str):
        return prompt
    content = prompt[-1]["content"]
    if isinstance(content, str):
        return content
    return "\n".join(str(block.get("text") or "") for block in content)


def _without_style(prompt: str, style: Any) -> str:
    """The question in a prompt, without the words that its style puts around it."""
    before, _, after = _words_of(style) if style in PROMPT_STYLES else ("", "", "")
    return prompt.removeprefix(before).removesuffix(after)


@lru_cache
def _words_of(style: str) -> tuple[str, str, str]:
    return PROMPT_STYLES[style].messages("\0")[-1]["content"].partition("\0")


def _letters_without_choices(rows: _Rows) -> Suspicion | None:
    found = {}
    for row, (kind, gold, options, prompt) in enumerate(zip(rows.types, rows.solutions, rows.options, rows.prompts)):
        letters = named_letters(str(gold)) if kind == "multiple_choice" and not options else ()
        if letters and not set(letters) & set(_WORD.findall(prompt)):
            found[row] = f"the answer is {str(gold)[:40]!r}, and no choices are offered"
    return _of_rows("{rows} have a letter as answer, and offer no choices. Name their --options_column.", found)


def _same_choices(rows: _Rows) -> Suspicion | None:
    found = {}
    for row, options in enumerate(rows.options):
        texts = [text.strip().casefold() for text in options or ()]
        if len(set(texts)) < len(texts):
            found[row] = f"{max(texts, key=texts.count)!r}"
    return _of_rows("{rows} offer the same choice under several letters, of which one is right.", found)


def _numbers_for_yes(rows: _Rows) -> Suspicion | None:
    asking = sum(bool(_YES_OR_NO.match(prompt)) for prompt in rows.prompts)
    if not {str(gold) for gold in rows.solutions} <= {"0", "1", "0.0", "1.0"} or 2 * asking <= len(rows.prompts):
        return None
    return Suspicion("The answers are 0 and 1, and the questions ask for yes or no. Write the answers as words.", {})


def _different_answers(rows: _Rows) -> Suspicion | None:
    table = rows.dataset.with_format("arrow")
    images = table[:].column("images") if "images" in rows.names and any(rows.counts) else None
    keys = [key.partition("-")[0] for key in content_ids(rows.prompts, images)]
    first: dict[str, int] = {}
    found = {}
    accepted = rows.column(ACCEPTED)
    for row, key in enumerate(keys):
        other = first.setdefault(key, row)
        golds = {str(rows.solutions[other]).casefold(), *(str(text).casefold() for text in accepted[other] or ())}
        if other != row and str(rows.solutions[row]).casefold() not in golds:
            found[row] = f"{str(rows.solutions[row])[:40]!r}, and {str(rows.solutions[other])[:40]!r} in row {other}"
    return _of_rows("{rows} repeat an earlier question with its pictures, and answer it otherwise.", found)


def _one_answer(rows: _Rows) -> Suspicion | None:
    golds = {str(gold).casefold() for gold in rows.solutions}
    if len(rows.solutions) < _FEW or len(golds) > 1:
        return None
    return Suspicion(
        f"All {len(rows.solutions)} answers are {str(rows.solutions[0])[:40]!r}: a model learns to say that. Is it "
        "the right column (--answer_column)?",
        {},
    )


def _answer_in_prompt(rows: _Rows) -> Suspicion | None:
    found = {}
    for row, (prompt, gold) in enumerate(zip(rows.prompts, rows.solutions)):
        end = prompt[-200:]
        *_, said = (None, *_SAYS_ANSWER.finditer(end))
        if said and gold is not None and _bare(end[said.end() :]) == _bare(str(gold)):
            found[row] = f"it ends with {end[said.start() :].strip()[:60]!r}"
    return _of_rows("{rows} have their answer in the question.", found)


def _bare(answer: str) -> str:
    return answer.strip(" \n\t$*.。").casefold()


def _missing_words(rows: _Rows) -> Suspicion | None:
    found = {
        row: f"the answer is {gold!r}"
        for row, (gold, options, kind) in enumerate(zip(rows.solutions, rows.options, rows.types))
        if isinstance(gold, str) and gold.strip().casefold() in _MISSING and not options and kind != "detections"
    }
    return _of_rows("{rows} have an answer that looks like a missing one. Leave them out, if so.", found)


def _mappings(rows: _Rows) -> Suspicion | None:
    found = {}
    for row, (gold, kind) in enumerate(zip(rows.solutions, rows.types)):
        if isinstance(gold, str) and gold.startswith(('{"', '[{"')) and kind != "detections":
            try:
                value = json.loads(gold)
            except ValueError:
                continue
            found[row] = f"it has {list(value[0] if isinstance(value, list) else value)[:5]}"
    return _of_rows("{rows} have a mapping as answer. Name what is meant inside it, --answer_column NAME.KEY.", found)


def _lists_of_parts(rows: _Rows) -> Suspicion | None:
    if ACCEPTED in rows.names:
        return None
    for name in ANSWER_NAMES:
        feature = rows.dataset.features.get(name)
        if not (_holds_texts(feature) or (isinstance(feature, Value) and feature.dtype == "string")):
            continue
        found = {}
        for row, (value, kind) in enumerate(zip(rows.column(name), rows.types)):
            parts = texts_in(value.strip()) if isinstance(value, str) else value
            if parts and len(parts) > 1 and kind not in ("box", "point", "multiple_choice"):
                found[row] = f"{parts!r:.80}"
        if found:
            return Suspicion(
                "{rows} have a list as answer, of which every part has to be named. If one is enough, pass "
                "--answer_lists alternatives.",
                found,
            )
    return None


def _holds_texts(feature: Any) -> bool:
    return isinstance(feature, List) and isinstance(feature.feature, Value) and feature.feature.dtype == "string"


def _class_numbers(rows: _Rows) -> Suspicion | None:
    feature = rows.dataset.features.get("label")
    if not isinstance(feature, Value) or not feature.dtype.startswith(("int", "uint")):
        return None
    labels = rows.column("label")
    if [str(label) for label in labels] != rows.solutions or len(set(labels)) > len(labels) / 2:
        return None
    return Suspicion(
        "The answers are the whole numbers of the column 'label': are they numbers of classes? Then "
        "write their names.",
        {},
    )


def _unread_choices(rows: _Rows) -> Suspicion | None:
    if "options" in rows.names:
        return None
    numbered = [name for name in rows.names if _NUMBERED_CHOICE.fullmatch(name)]
    lists = []
    for name, feature in rows.dataset.features.items():
        if _holds_texts(feature):
            values = rows.column(name)
            inside = sum(str(gold) in value for gold, value in zip(rows.solutions, values) if value and len(value) > 2)
            lists += [name] if name not in (*ANSWER_NAMES, ACCEPTED) and 2 * inside > len(values) else []
    named = numbered if len(numbered) > 1 else lists
    if not named:
        return None
    return Suspicion(
        f"The columns {named} look like choices, which the questions do not offer. Name one list of them by "
        "--options_column.",
        {},
    )


def _unread_context(rows: _Rows) -> Suspicion | None:
    for name in _CONTEXT:
        texts = {row: text for row, text in rows.texts(name).items() if text.strip()[:200] not in rows.prompts[row]}
        if texts:
            found = {row: f"{text.strip()[:60]!r}" for row, text in texts.items()}
            return Suspicion(
                "{rows} have a text in the column "
                f"{name!r} that is not in the question, which may need it. Write it in front of the questions, if so.",
                found,
            )
    return None


def _unread_pictures(rows: _Rows) -> Suspicion | None:
    if any(rows.counts):
        return None
    for name, feature in rows.dataset.features.items():
        if not isinstance(feature, Value) or feature.dtype not in ("string", "large_string"):
            continue
        found = {row: f"{text[:60]!r}" for row, text in rows.texts(name).items() if _PATH.search(text)}
        if 2 * len(found) > len(rows.prompts):
            return Suspicion(
                f"{{rows}} have a path of a picture in the column {name!r}, which is not looked at. Name it by "
                "--image_column.",
                found,
            )
    return None


def _absent_pictures(rows: _Rows) -> Suspicion | None:
    found = {
        row: f"it asks {prompt[:60]!r}"
        for row, (prompt, count) in enumerate(zip(rows.prompts, rows.counts))
        if not count and _OF_PICTURES.search(prompt)
    }
    if not found or not any(rows.counts):
        return None
    return Suspicion("{rows} speak of a picture and have none. Leave them out, if it is needed.", found)


def _one_picture(rows: _Rows) -> Suspicion | None:
    if len(rows.counts) < _FEW or not all(rows.counts):
        return None
    first = next(iter(stored_images(rows.dataset)))[0]
    if any(images[0] != first for images in stored_images(rows.dataset)):
        return None
    return Suspicion(
        f"All {len(rows.counts)} rows have the same picture. Is it the right column (--image_column)?", {}
    )


def _tiny_pictures(rows: _Rows) -> Suspicion | None:
    found: dict[int, str] = {}
    for row, images in enumerate(stored_images(rows.dataset)):
        for number, image in enumerate(images):
            try:
                width, height = image_size(image, "")
            except BadInputError:  # listed with the pictures that cannot be read
                continue
            if min(width, height) < MIN_SIDE:
                found.setdefault(row, f"image {number} has {width} x {height} pixels")
    return _of_rows("{rows} have a picture on which nothing can be seen.", found)
