# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The one table of answer types: for each, which golds can be read and how an answer is held against them."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from mmr1_trl.errors import BadInputError, did_you_mean
from mmr1_trl.rewards import comparison
from mmr1_trl.rewards.choices import option_letters
from mmr1_trl.rewards.equal_lists import same_interval, same_list, same_set, unnamed_point, unnamed_set
from mmr1_trl.rewards.equal_values import same_ratio, same_value
from mmr1_trl.rewards.extraction import unwrap_gold
from mmr1_trl.rewards.gold import MathEqual, Question, require_precision, require_tolerance
from mmr1_trl.rewards.grounding.boxes import STORED_PIXELS, Frame, frame_of
from mmr1_trl.rewards.grounding.locations import read_detections, read_gold
from mmr1_trl.rewards.notation import clean, looks_like_math, split_list, strip_brackets
from mmr1_trl.rewards.values.quantities import parse_quantity
from mmr1_trl.rewards.values.relations import INTERVAL_SIGN, read_intervals, read_statement
from mmr1_trl.rewards.values.words import is_clock_time, read_nothing, read_sentence, read_time, read_yes_no


MAX_ANSWER_CHARS = 1000


class AnswerType(NamedTuple):
    """
    What the rewards know of a type of answer.

    Args:
        readable (`Callable[[Question], object]`):
            Truthy when some answer could be right by this gold.
        equal (`Callable[[Question, str, MathEqual], bool]`):
            Whether an answer is right.
    """

    readable: Callable[[Question], object]
    equal: Callable[[Question, str, MathEqual], bool]


def _braces_match(latex: str) -> bool:
    bare = latex.replace("\\{", "").replace("\\}", "")
    return bare.count("{") == bare.count("}")


def _is_value(question: Question) -> bool:
    text = clean(question.gold)
    return bool(read_statement(text).value) and (parse_quantity(text) is not None or looks_like_math(text))


TYPES: dict[str, AnswerType] = {
    "multiple_choice": AnswerType(lambda q: option_letters(q.gold, q.options), comparison.same_choice),
    "yes_no": AnswerType(lambda q: read_yes_no(q.gold) is not None, comparison.same_answer_yes_no),
    "number": AnswerType(_is_value, same_value),
    "ratio": AnswerType(lambda q: re.search(":|\\bto\\b", clean(q.gold)) or parse_quantity(clean(q.gold)), same_ratio),
    "time": AnswerType(lambda q: read_time(q.gold), comparison.same_clock_time),
    "list": AnswerType(lambda q: split_list(strip_brackets(clean(q.gold))[0]), same_list),
    "set": AnswerType(lambda q: split_list(strip_brackets(clean(q.gold))[0]) or read_nothing(q.gold), same_set),
    "interval": AnswerType(lambda q: read_intervals(q.gold), same_interval),
    "latex": AnswerType(lambda q: clean(q.gold) and _braces_match(q.gold), same_value),
    "text": AnswerType(lambda q: clean(q.gold), comparison.same_text),
    "point": AnswerType(lambda q: read_gold(q.gold), comparison.same_point),
    "box": AnswerType(lambda q: len(read_gold(q.gold) or ()) == 4, comparison.same_box),
    "detections": AnswerType(lambda q: read_detections(q.gold) is not None, comparison.same_detections),
    "class_label": AnswerType(lambda q: clean(q.gold), comparison.same_label),
}
ANSWER_TYPES = tuple(TYPES)
# Answers that are places in a picture, which models write in forms of their own.
LOCATED_TYPES = ("point", "box", "detections")


def is_equal(question: Question, answer: str, math_equal: MathEqual) -> bool:
    """
    Compare one extracted answer with the gold, and where that differs with the other accepted answers.

    Args:
        question (`Question`):
            Gold, type, options and tolerance.
        answer (`str`):
            The extracted answer.
        math_equal (`Callable`):
            Decides pairs that need algebra; whatever it raises passes through.

    Returns:
        `bool`: Whether the answer is right.
    """
    if len(answer) > MAX_ANSWER_CHARS and question.answer_type != "detections":
        return False
    equal = TYPES[question.answer_type].equal
    said = read_sentence(answer) if question.answer_type not in LOCATED_TYPES else ""
    return any(equal(question, words, math_equal) for words in (answer, said) if words) or any(
        is_equal(other, answer, math_equal) for other in question.others
    )


_LETTERED = re.compile(r"[(\[]?([A-J])[)\].:]?|\([a-j]\)|\(([A-J])\)\s.*|([A-J])[.):]\s.*", re.DOTALL)
_LETTERS = re.compile(r"\(?[A-J]\)?(?:(?:\s?(?:[,;&]|and\b)\s?)\(?[A-J]\)?)+")
_DATE = re.compile(r"\d{1,2}([-./])\d{1,2}\1\d{4}|\d{4}([-./])\d{1,2}\2\d{1,2}")  # 2024-01-05 is no difference
_MONTH = re.compile(r"\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\b", re.IGNORECASE)
_COORDINATES = re.compile(r"\[\s?-?[\d.]+(?:\s?,\s?-?[\d.]+){3}\s?\]")


def infer_answer_type(gold: str, options: Sequence[str] | None = None) -> str:
    r"""
    Choose the answer type from the gold alone; the same gold always gives the same type.

    The first that fits: letters or the text of one option (`multiple_choice`), yes/no/true/false, a clock time, a
    number with or without unit, four numbers in square brackets (`box`), `a:b` (`ratio`), an interval or inequality
    (round brackets around two finite numbers are a `list`, in order), braces or bare commas (`set`, in any order), an
    expression (`latex`), else `text`. A dataset column overrides all of it.

    Args:
        gold (`str`):
            The gold answer.
        options (`Sequence[str]`, *optional*):
            The choices, when the question has some.

    Returns:
        `str`: One of `ANSWER_TYPES`.
    """
    text = clean(unwrap_gold(gold))
    if options and option_letters(unwrap_gold(gold), options):
        return "multiple_choice"
    if _LETTERED.fullmatch(text) or _LETTERS.fullmatch(text):
        return "multiple_choice"
    if text.lower() in ("yes", "no", "true", "false"):
        return "yes_no"
    if is_clock_time(text):
        return "time"
    statement = read_statement(text) if len(split_list(text)) == 1 else None
    if parse_quantity(statement.value if statement else text):
        return "number"
    if _COORDINATES.fullmatch(text):
        return "box"
    if _DATE.fullmatch(text) or (_MONTH.search(text) and re.search(r"\d", text)):
        return "text"
    value = unnamed_set(unnamed_point(statement.value)[1] if statement and statement.value else text)
    inner, brackets = strip_brackets(value)
    parts = split_list(inner)
    if ":" in value and looks_like_math(value) and "\\" not in value.replace("\\sqrt", "").replace("\\frac", ""):
        return "ratio"
    if INTERVAL_SIGN.search(text) and read_intervals(text) and not (brackets == "[]" and _falls(parts)):
        return "interval"
    is_call = re.search(r"[A-Za-z]\s?\(", value) and len(split_list(value)) == 1
    if "\\begin" in text or (is_call and not brackets):
        return "latex" if looks_like_math(text) else "text"
    if len(parts) > 1 and brackets in ("()", "[]"):
        return "list"
    if read_nothing(text):
        return "text"
    if brackets == "{}" or "\\pm" in text or (len(split_list(text)) > 1 and len(text) <= 200):
        return "set"
    return "latex" if looks_like_math(text) else "text"


def _falls(parts: list[str]) -> bool:
    ends = [parse_quantity(part) for part in parts]
    return len(ends) == 2 and ends[0] is not None and ends[1] is not None and ends[0].value > ends[1].value


def make_question(
    gold: str,
    answer_type: str | None = None,
    options: Sequence[str] | None = None,
    tolerance: float | None = None,
    precision: float | None = None,
    frame: Frame = STORED_PIXELS,
    accepted: Sequence[str] | None = None,
) -> Question:
    """
    Build a `Question`: unwrap the gold and infer its type when there is none (arguments as in [`Question`]).

    `accepted` are other answers that are right as well. Each has the type of the gold where that was declared, else
    what it says itself: "2" is a number and "two people" a text.
    """
    options = tuple(map(str, options or ()))
    gold = str(gold) if answer_type in LOCATED_TYPES else unwrap_gold(str(gold))
    others = [other for other in accepted or () if other and other != gold]
    inferred = infer_answer_type(gold, options) if others or not answer_type else None
    answer_type = answer_type or str(inferred)
    if answer_type not in TYPES:
        raise BadInputError(
            f"Unknown answer type {answer_type!r}.{did_you_mean(answer_type, ANSWER_TYPES)} "
            f"Known types: {', '.join(ANSWER_TYPES)}."
        )
    # Tolerance and precision come from float columns, where an empty cell may be NaN.
    tolerance, precision = (None if number != number else number for number in (tolerance, precision))
    if answer_type not in LOCATED_TYPES:  # of a point it is in pixels
        require_tolerance(tolerance)
    require_precision(precision)
    digits = None if precision is None else int(precision)
    others_type = None if answer_type == inferred else answer_type
    rest = (options, tolerance, precision, frame)
    questions = [make_question(other, others_type, *rest) for other in dict.fromkeys(others)]
    return Question(gold, answer_type, options, tolerance, digits, frame, tuple(questions))


def row_question(row: Mapping[str, Any]) -> Question:
    """Build the `Question` of a prepared row from the columns that it has."""
    cells: dict[str, Any] = {name: row.get(name) for name in ("answer_type", "options", "tolerance", "precision")}
    question = make_question(row["solution"], **cells, accepted=row.get("accepted_answers"))
    if question.answer_type not in LOCATED_TYPES:
        return question
    return replace(question, frame=frame_of(row.get("coordinates"), row.get("image_size"), row.get("seen_size")))


_PARAGRAPH_WORDS = 25


def check_gold(gold: str, answer_type: str | None = None, options: Sequence[str] | None = None) -> str | None:
    """
    Tell what is wrong with a gold answer, before training meets it.

    Args:
        gold (`str`):
            The gold answer of a row.
        answer_type (`str`, *optional*):
            Its declared type. Inferred by default.
        options (`Sequence[str]`, *optional*):
            The choices of a multiple-choice question.

    Returns:
        `str` or `None`: Why no completion could be scored against it, or `None` when it is fine.
    """
    if not isinstance(gold, str) or not gold.strip():
        return "the gold answer is empty"
    question = make_question(gold, answer_type, options)
    if not question.gold.strip():
        return "the gold answer is empty"
    if question.answer_type in ("text", "latex", "set") and _is_paragraph(question.gold):
        return f'{gold[:80]!r} is a paragraph that does not state its answer ("the answer is ..")'
    if len(question.gold) > MAX_ANSWER_CHARS and question.answer_type != "detections":
        return f"the gold answer has {len(question.gold)} characters, more than {MAX_ANSWER_CHARS}"
    if TYPES[question.answer_type].readable(question):
        return None
    among = f" among {len(question.options)} options" if question.options else ""
    return f"{gold[:80]!r} cannot be read as {question.answer_type}{among}"


def _is_paragraph(gold: str) -> bool:
    words = [word for word in gold.split() if word.isalpha()]
    sentences = len(re.findall(r"[.!?。]\s+(?=[A-Z\u4e00-\u9fff])", gold))
    return len(words) > _PARAGRAPH_WORDS or (sentences > 0 and len(words) > 12)
