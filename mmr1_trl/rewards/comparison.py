# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""
How an answer is held against a gold: one function for each kind of answer, which [`types`] puts in its table; those of
values are in [`equal_values`], those of lists, sets and intervals in [`equal_lists`].

Letters, words, numbers, ratios, lists, sets and intervals of numbers are decided here in microseconds. Whatever needs
algebra goes through the `math_equal` callable: the training process passes one that postpones the pair to the pool of
worker processes, and the worker passes one that calls math-verify. So both run these files.
"""

import math
import re
from dataclasses import replace

from mmr1_trl.rewards.choices import LETTERS, matching_options, option_letters, option_texts
from mmr1_trl.rewards.equal_lists import same_interval, same_list, same_set
from mmr1_trl.rewards.equal_values import listed_letters, same_ratio, same_value
from mmr1_trl.rewards.gold import MathEqual, Question
from mmr1_trl.rewards.grounding.boxes import box_iou, mean_precision, point_in_box
from mmr1_trl.rewards.grounding.locations import locate, read_detections, read_gold
from mmr1_trl.rewards.notation import clean, looks_like_math, split_list, strip_brackets
from mmr1_trl.rewards.values.quantities import parse_quantity, same_quantity
from mmr1_trl.rewards.values.relations import INTERVAL_SIGN, read_intervals, read_statement
from mmr1_trl.rewards.values.words import (
    normalize_label,
    normalize_text,
    read_date,
    read_nothing,
    read_time,
    read_yes_no,
    same_time,
)


IOU_CORRECT = 0.5


def same_choice(question: Question, answer: str, math_equal: MathEqual) -> bool:
    """The same letters; else an answer that equals the text of the gold's option, and of no other, by its own type."""
    gold, given = option_letters(question.gold, question.options), option_letters(answer, question.options)
    equal = matching_options(answer, question.options)[0]
    if len(gold) == 1 and gold < set(equal) and len(equal) < len(question.options):
        return True  # options of one text, and not letters: the text does not tell them apart, nor do they differ
    if given or len(gold) != 1 or not question.options:
        return bool(gold) and gold == given
    text = clean(answer)
    if not looks_like_math(text) or len(text) > 200 or matching_options(answer, question.options)[1]:
        return False
    texts = option_texts(question.options)
    (letter,) = gold
    name = read_statement(text).name
    if len(name) == 1 and name in LETTERS[: len(texts)]:
        return False  # "A = 3" where A is an option and 3 the text of another
    right = LETTERS.index(letter)
    if not looks_like_math(texts[right]) or not _same_option(question, texts[right], answer, math_equal):
        return False
    others = [other for index, other in enumerate(texts) if index != right and looks_like_math(other)]
    return not any(_same_option(question, other, answer, math_equal) for other in others)


def _same_option(question: Question, option: str, answer: str, math_equal: MathEqual) -> bool:
    compare = same_ratio if re.search(r"\d\s?:\s?\d", option) else same_any
    return compare(replace(question, gold=option, options=()), answer, math_equal)


def same_any(question: Question, answer: str, math_equal: MathEqual) -> bool:
    """Compare as a value, a list or an interval, whichever the gold is."""
    gold = clean(question.gold)
    if INTERVAL_SIGN.search(gold) and read_intervals(gold):
        return same_interval(question, answer, math_equal)
    inner, brackets = strip_brackets(gold)
    if len(split_list(inner)) > 1:
        return (same_list if brackets in ("()", "[]") else same_set)(question, answer, math_equal)
    return same_value(question, answer, math_equal)


def same_answer_yes_no(question: Question, answer: str, math_equal: MathEqual) -> bool:
    given = read_yes_no(answer)
    return given is not None and given == read_yes_no(question.gold)


def same_clock_time(question: Question, answer: str, math_equal: MathEqual) -> bool:
    gold, given = read_time(question.gold), read_time(answer)
    return gold is not None and given is not None and same_time(gold, given)


def same_text(question: Question, answer: str, math_equal: MathEqual) -> bool:
    right, read = parse_quantity(clean(question.gold)), parse_quantity(clean(answer))
    if right and read:
        return same_quantity(right, read)
    gold, given = normalize_text(question.gold), normalize_text(answer)
    if nothing := read_nothing(question.gold):
        return nothing == read_nothing(answer)
    if (gold == given and gold) or listed_letters(clean(question.gold), clean(answer)):
        return True
    date = read_date(question.gold) if any(char.isdigit() for char in gold) else None
    return date is not None and date == read_date(answer)


def same_label(question: Question, answer: str, math_equal: MathEqual) -> bool:
    return normalize_label(question.gold) == normalize_label(answer) != ""


def same_point(question: Question, answer: str, math_equal: MathEqual) -> bool:
    gold, given = read_gold(question.gold), locate(answer, "point")
    point = question.frame.place_point(given) if given else None
    if gold is None or point is None:
        return False
    if len(gold) == 4:
        return point_in_box(point, gold)
    return math.hypot(point[0] - gold[0], point[1] - gold[1]) <= (question.tolerance or 0.0)


def same_box(question: Question, answer: str, math_equal: MathEqual) -> bool:
    gold, given = read_gold(question.gold), locate(answer, "box")
    box = question.frame.place_box(given) if given else None
    return gold is not None and len(gold) == 4 and box is not None and box_iou(gold, box) >= IOU_CORRECT


def same_detections(question: Question, answer: str, math_equal: MathEqual) -> bool:
    gold, given = read_detections(question.gold), read_detections(answer)
    if gold is None or given is None or len(gold) != len(given):
        return False
    return mean_precision(gold, question.frame.place_detections(given)) == 1.0
