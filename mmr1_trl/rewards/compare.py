# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""
Decide whether an answer equals the gold, by answer type.

Letters, words, numbers, ratios, lists, sets and intervals of numbers are decided here in microseconds. Whatever needs
algebra goes through the `math_equal` callable: the training process passes one that postpones the pair to the pool of
worker processes, and the worker passes one that calls math-verify. So both run this one file.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product
from typing import Protocol

from mmr1_trl.rewards.boxes import STORED_PIXELS, Frame, box_iou, mean_precision, point_in_box
from mmr1_trl.rewards.intervals import Interval, parse_intervals
from mmr1_trl.rewards.locations import locate, read_detections, read_gold
from mmr1_trl.rewards.units import same_unit, split_unit
from mmr1_trl.rewards.values import (
    Quantity,
    clean,
    compact,
    parse_quantity,
    same_quantity,
    split_list,
    strip_brackets,
)
from mmr1_trl.rewards.words import normalize_label, normalize_text, option_letters, read_date, read_yes_no


MAX_ANSWER_CHARS = 1000
IOU_CORRECT = 0.5


class MathEqual(Protocol):
    """Whether two LaTeX expressions are equal, exactly or within the question's tolerance."""

    def __call__(self, gold: str, answer: str, tolerance: float | None, precision: int | None) -> bool: ...


@dataclass(frozen=True)
class Question:
    r"""
    Everything that an answer is held against. Hashable, so that it can be a cache key.

    Args:
        gold (`str`):
            The right answer.
        answer_type (`str`):
            One of [`answers.ANSWER_TYPES`].
        options (`tuple[str, ...]`):
            The choices of a multiple-choice question, empty when unknown.
        tolerance (`float`, *optional*):
            Relative tolerance on numbers; `0.05` is ChartQA's relaxed accuracy. For a `point` gold, pixels.
        precision (`int`, *optional*):
            Number of decimals to which numbers are rounded before the comparison (MathVista).
        frame (`Frame`):
            What the coordinates of an answer mean; those of the gold are pixels of the stored picture.
    """

    gold: str
    answer_type: str
    options: tuple[str, ...] = ()
    tolerance: float | None = None
    precision: int | None = None
    frame: Frame = STORED_PIXELS


def is_equal(question: Question, answer: str, math_equal: MathEqual) -> bool:
    """
    Compare one extracted answer with the gold.

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
    return _COMPARISONS[question.answer_type](question, answer, math_equal)


# Multiple choice, yes/no, words


def _choice(question: Question, answer: str, math_equal: MathEqual) -> bool:
    gold, given = option_letters(question.gold, question.options), option_letters(answer, question.options)
    return bool(gold) and gold == given


def _yes_no(question: Question, answer: str, math_equal: MathEqual) -> bool:
    given = read_yes_no(answer)
    return given is not None and given == read_yes_no(question.gold)


def _text(question: Question, answer: str, math_equal: MathEqual) -> bool:
    right, read = parse_quantity(clean(question.gold)), parse_quantity(clean(answer))
    if right and read:
        return same_quantity(right, read)
    gold, given = normalize_text(question.gold), normalize_text(answer)
    if gold == given and gold:
        return True
    date = read_date(question.gold) if any(char.isdigit() for char in gold) else None
    return date is not None and date == read_date(answer)


def _label(question: Question, answer: str, math_equal: MathEqual) -> bool:
    return normalize_label(question.gold) == normalize_label(answer) != ""


_COMMAND = re.compile(r"\\(?:begin|end)\{[a-z*]+\}|\\[A-Za-z]+|\\.")
_WORD = re.compile(r"[A-Za-z]{3,}")
_FUNCTIONS = frozenset("sin cos tan cot sec csc log exp max min mod gcd lcm det arcsin arccos arctan sqrt".split())


def looks_like_math(text: str) -> bool:
    """Whether a cleaned answer may be an expression: it has something to compute with, and no words."""
    bare = _COMMAND.sub(" ", text)
    if any(word.lower() not in _FUNCTIONS for word in _WORD.findall(bare)):
        return False
    return re.search(r"[A-Za-z0-9]|\\(?:pi|infty|emptyset|varnothing)", bare or text) is not None or bare != text


# Numbers and expressions


def _value(question: Question, answer: str, math_equal: MathEqual) -> bool:
    gold, given = clean(question.gold), clean(answer)
    if not gold or not given:
        return False
    if compact(gold) == compact(given):
        return True
    right, read = parse_quantity(gold), parse_quantity(given)
    if right and read:
        return same_quantity(right, read, question.tolerance, question.precision)
    if not looks_like_math(gold) or not looks_like_math(given):
        return normalize_text(gold) == normalize_text(given) != "" and not (right or read)
    # A list is never equal to one value, whatever a parser would make of its last element.
    if (len(split_list(strip_brackets(gold)[0])) > 1) != (len(split_list(strip_brackets(given)[0])) > 1):
        return False
    if ":" in gold or ":" in given:
        return _ratio(question, answer, math_equal)
    golds, answers = _expressions(gold, right), _expressions(given, read)
    factor, agree = same_unit(golds[1], answers[1])
    if not agree or ("=" not in gold + given and _has_variables(golds[0][0]) != _has_variables(answers[0][0])):
        return False
    scale = "" if factor == 1 else f" \\cdot \\frac{{{factor.numerator}}}{{{factor.denominator}}}"
    return any(
        math_equal(a, b + scale, question.tolerance, question.precision) for a, b in product(golds[0], answers[0])
    )


def _has_variables(text: str) -> bool:
    # e and i may be constants; m, g and s may be units.
    letters = set("".join(re.findall(r"[A-Za-z]+", _COMMAND.sub(" ", text))).lower())
    return bool(letters - set("eimgs"))


def _expressions(text: str, quantity: Quantity | None) -> tuple[list[str], str]:
    """What a value may stand for in LaTeX, and its unit. Units and left-hand sides must not reach the parser."""
    if quantity is None:
        text, unit = split_unit(text)
        return [text], unit
    value = quantity.value / 100 if quantity.unit in ("%", "percent") else quantity.value
    number = f"\\frac{{{value.numerator}}}{{{value.denominator}}}"
    if quantity.unit in ("°", "degree", "deg"):  # 45° against \pi/4, and against 90 - 45
        return [number, f"{number} \\cdot \\frac{{\\pi}}{{180}}"], ""
    return [number], quantity.unit


_RATIO_SEPARATOR = re.compile(r"\s*(?::|\bto\b)\s*")


def _terms(text: str) -> list[str]:
    if assigned := re.fullmatch(r"[^=]{1,60}=\s*([^=]+)", text):
        text = assigned[1]
    return [term for term in _RATIO_SEPARATOR.split(text) if term]


def _ratio(question: Question, answer: str, math_equal: MathEqual) -> bool:
    gold, given = clean(question.gold), clean(answer)
    right, read = _terms(gold), _terms(given)
    if len(right) == 1 or len(read) == 1:  # "3/4" stands for the ratio 3:4, a bare 3 for 3:1
        fraction = f"\\frac{{{right[0]}}}{{{right[1]}}}" if len(right) == 2 else right[0] if right else ""
        other = f"\\frac{{{read[0]}}}{{{read[1]}}}" if len(read) == 2 else read[0] if read else ""
        if max(len(right), len(read)) > 2 or not fraction or not other or ":" in fraction + other:
            return False
        return _value(replace(question, gold=fraction, answer_type="number"), other, math_equal)
    if len(right) != len(read):
        return False
    rights, reads = [parse_quantity(term) for term in right], [parse_quantity(term) for term in read]
    if None not in rights and None not in reads:
        a, b = [q.value for q in rights if q], [q.value for q in reads if q]
        return any(b) and all(a[0] * y == b[0] * x for x, y in zip(a, b)) and (a[0] != 0 or a == b)
    if not all(looks_like_math(term) for term in right + read):
        return False
    return all(
        math_equal(f"({right[0]}) \\cdot ({y})", f"({read[0]}) \\cdot ({x})", None, None)
        for x, y in zip(right[1:], read[1:])
    )


# Lists, sets, intervals


def _elements(text: str) -> list[str]:
    text = clean(text)
    text = re.sub(r"^[A-Za-z]\s*\\in\s*(?=\\?\{)", "", text)
    return split_list(strip_brackets(text)[0])


def _element_equal(question: Question, gold: str, answer: str, math_equal: MathEqual) -> bool:
    if strip_brackets(gold)[1] and len(split_list(strip_brackets(gold)[0])) > 1:
        return _list(replace(question, gold=gold), answer, math_equal)
    return _value(replace(question, gold=gold), answer, math_equal)


def _list(question: Question, answer: str, math_equal: MathEqual) -> bool:
    gold, given = _elements(question.gold), _elements(answer)
    if strip_brackets(clean(question.gold))[1] == "()":  # a point, a pair or an open interval
        if strip_brackets(clean(answer))[1] in ("[]", "[)", "(]", "{}"):
            return False
        if len(gold) == 2 and len(given) == 1:
            return _interval(question, answer, math_equal)
    if len(gold) != len(given) or not gold:
        return False
    return all(_element_equal(question, a, b, math_equal) for a, b in zip(gold, given))


def _set(question: Question, answer: str, math_equal: MathEqual) -> bool:
    if strip_brackets(clean(answer))[1] in ("(]", "[)"):
        return False
    gold, given = _distinct(question.gold), _distinct(answer)
    if len(gold) != len(given) or not gold:
        return False
    for element in gold:
        match = next((other for other in given if _element_equal(question, element, other, math_equal)), None)
        if match is None:
            return False
        given.remove(match)
    return True


def _distinct(text: str) -> list[str]:
    elements: list[str] = []
    for element in _elements(text):
        signs = ("+", "-") if "\\pm" in element else ("",)
        for sign in signs:
            signed = element.replace("\\pm", sign).strip().removeprefix("+").strip()
            if not any(_cheaply_equal(signed, other) for other in elements):
                elements.append(signed)
    return elements


def _cheaply_equal(a: str, b: str) -> bool:
    left, right = parse_quantity(a), parse_quantity(b)
    return compact(a) == compact(b) or (left is not None and left == right)


_INFINITE = re.compile(r"([+-]?)\s*(?:\\infty|infinity|inf|oo)", re.IGNORECASE)


def _interval(question: Question, answer: str, math_equal: MathEqual) -> bool:
    gold, given = parse_intervals(question.gold), parse_intervals(answer)
    if not gold or not given or len(gold) != len(given):
        return False
    return all(any(_interval_equal(question, a, b, math_equal) for b in given) for a in gold)


def _interval_equal(question: Question, gold: Interval, given: Interval, math_equal: MathEqual) -> bool:
    if gold[2:] != given[2:]:
        return False
    for a, b in zip(gold[:2], given[:2]):
        infinite = [_INFINITE.fullmatch(end.strip()) for end in (str(a), str(b))]
        if any(infinite):
            if not all(infinite) or len({match[1] == "-" for match in infinite if match}) > 1:
                return False
        elif not _value(replace(question, gold=str(a)), str(b), math_equal):
            return False
    return True


# Points and boxes


def _point(question: Question, answer: str, math_equal: MathEqual) -> bool:
    gold, given = read_gold(question.gold), locate(answer, "point")
    point = question.frame.place_point(given) if given else None
    if gold is None or point is None:
        return False
    if len(gold) == 4:
        return point_in_box(point, gold)
    return math.hypot(point[0] - gold[0], point[1] - gold[1]) <= (question.tolerance or 0.0)


def _box(question: Question, answer: str, math_equal: MathEqual) -> bool:
    gold, given = read_gold(question.gold), locate(answer, "box")
    box = question.frame.place_box(given) if given else None
    return gold is not None and len(gold) == 4 and box is not None and box_iou(gold, box) >= IOU_CORRECT


def _detections(question: Question, answer: str, math_equal: MathEqual) -> bool:
    gold, given = read_detections(question.gold), read_detections(answer)
    if gold is None or given is None or len(gold) != len(given):
        return False
    return mean_precision(gold, question.frame.place_detections(given)) == 1.0


_COMPARISONS: dict[str, Callable[[Question, str, MathEqual], bool]] = {
    "multiple_choice": _choice,
    "yes_no": _yes_no,
    "number": _value,
    "ratio": _ratio,
    "list": _list,
    "set": _set,
    "interval": _interval,
    "latex": _value,
    "text": _text,
    "point": _point,
    "box": _box,
    "detections": _detections,
    "class_label": _label,
}
