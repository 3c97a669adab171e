# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""
How an answer is held against a gold: one function for each kind of answer, which [`types`] puts in its table.

Letters, words, numbers, ratios, lists, sets and intervals of numbers are decided here in microseconds. Whatever needs
algebra goes through the `math_equal` callable: the training process passes one that postpones the pair to the pool of
worker processes, and the worker passes one that calls math-verify. So both run this one file.
"""

import math
import re
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product
from typing import Protocol

from mmr1_trl.rewards.choices import matching_options, option_letters, option_texts
from mmr1_trl.rewards.grounding.boxes import STORED_PIXELS, Frame, box_iou, mean_precision, point_in_box
from mmr1_trl.rewards.grounding.locations import locate, read_detections, read_gold
from mmr1_trl.rewards.notation import (
    COMMAND,
    clean,
    compact,
    looks_like_math,
    plain_to_latex,
    split_list,
    strip_brackets,
)
from mmr1_trl.rewards.values.arithmetic import evaluate, far_apart, reorder
from mmr1_trl.rewards.values.quantities import Quantity, parse_quantity, same_quantity
from mmr1_trl.rewards.values.relations import Interval, Statement, read_intervals, read_statement, same_name
from mmr1_trl.rewards.values.units import is_degree, is_percent, same_unit, split_unit
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
            One of [`types.ANSWER_TYPES`].
        options (`tuple[str, ...]`):
            The choices of a multiple-choice question, empty when unknown.
        tolerance (`float`, *optional*):
            Relative tolerance on numbers; `0.05` is ChartQA's relaxed accuracy. For a `point` gold, pixels.
        precision (`int`, *optional*):
            Number of decimals to which numbers are rounded before the comparison (MathVista).
        frame (`Frame`):
            What the coordinates of an answer mean; those of the gold are pixels of the stored picture.
        others (`tuple[Question, ...]`):
            The same with the other accepted answers as golds: an answer that is right by one of them is right.
    """

    gold: str
    answer_type: str
    options: tuple[str, ...] = ()
    tolerance: float | None = None
    precision: int | None = None
    frame: Frame = STORED_PIXELS
    others: tuple["Question", ...] = ()


# Multiple choice, yes/no, words


def same_choice(question: Question, answer: str, math_equal: MathEqual) -> bool:
    """The same letters; else an answer that equals the text of the gold's option, and of no other, by its own type."""
    gold, given = option_letters(question.gold, question.options), option_letters(answer, question.options)
    if given or len(gold) != 1 or not question.options:
        return bool(gold) and gold == given
    text = clean(answer)
    if not looks_like_math(text) or len(text) > 200 or matching_options(answer, question.options)[1]:
        return False
    texts = option_texts(question.options)
    (letter,) = gold
    name = read_statement(text).name
    if len(name) == 1 and "A" <= name < chr(ord("A") + len(texts)):
        return False  # "A = 3" where A is an option and 3 the text of another
    right = ord(letter) - ord("A")
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
    if re.search(r"[<>\[\]]|\\(?:[lg][et]|ne|infty|cup)(?![A-Za-z])", gold) and read_intervals(gold):
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
    if (gold == given and gold) or _listed_letters(clean(question.gold), clean(answer)):
        return True
    date = read_date(question.gold) if any(char.isdigit() for char in gold) else None
    return date is not None and date == read_date(answer)


def same_label(question: Question, answer: str, math_equal: MathEqual) -> bool:
    return normalize_label(question.gold) == normalize_label(answer) != ""


# Numbers and expressions


def same_value(question: Question, answer: str, math_equal: MathEqual) -> bool:
    """
    One value, with what it is said of: the names of both sides must agree, and an equation that names nothing is no
    value.
    """
    gold, given = clean(question.gold), clean(answer)
    if not gold or not given:
        return False
    if compact(gold) == compact(given):
        return True
    if nothing := read_nothing(gold):
        return nothing == read_nothing(given)
    if _listed_letters(gold, given):
        return True
    right, read = read_statement(gold), read_statement(given)
    if not right.value or not read.value:
        return _same_equation(question, gold, given, right, read, math_equal)
    if not same_name(right.name, read.name):
        return False
    pairs = [(a, b) for a in _candidates(right) for b in _candidates(read)]
    if not any(_same_expression(question, a, b, math_equal) for a, b in pairs):
        return False
    links = [(link, None) for link in read.links] + (
        [(read.rounding, _decimals(read.rounding))] if read.rounding else []
    )
    return all(_link_holds(read.value, link, decimals, math_equal) for link, decimals in links)


def _candidates(statement: Statement) -> list[str]:
    return [statement.value, statement.rounding] if statement.rounding else [statement.value]


def _decimals(number: str) -> int:
    digits = re.search(r"\.(\d+)", number)
    return len(digits[1]) if digits else 0


def _link_holds(value: str, link: str, decimals: int | None, math_equal: MathEqual) -> bool:
    """Whether what a chain calls equal is; a rounding may be off by one in its last digit's place."""
    question = Question(value, "latex", (), None, decimals)
    return _same_expression(question, link, value, math_equal)


def _same_equation(
    question: Question, gold: str, given: str, right: Statement, read: Statement, math_equal: MathEqual
) -> bool:
    """Equations of a curve, say; one that is only solved on one side (x = 3, 2x = 6) is no equal answer."""
    if (ordered := reorder(plain_to_latex(gold))) and ordered == reorder(plain_to_latex(given)):
        return True
    sides = [text.count("=") == 1 and looks_like_math(text) for text in (gold, given)]
    if not all(sides):
        return False
    for statement in (right, read):
        if statement.value and not _variables(statement.value):
            return False
    letters = [_variables(text) for text in (gold, given)]
    return letters[0] == letters[1] and math_equal(plain_to_latex(gold), plain_to_latex(given), None, None)


def _listed_letters(gold: str, given: str) -> bool:
    """`ABD` as the gold and `(A), (B) and (D)` as the answer: letters that an answer sets apart are choices."""
    if not (
        2 <= len(gold) <= 6
        and gold.isascii()
        and gold.isupper()
        and gold == "".join(sorted(set(gold)))
        and gold[-1] <= "J"
    ):
        return False
    return not (given.isascii() and given.isalpha()) and option_letters(given) == frozenset(gold)


def _same_expression(question: Question, gold: str, given: str, math_equal: MathEqual) -> bool:
    if compact(gold) == compact(given):
        return True
    right, read = parse_quantity(gold), parse_quantity(given)
    if right and read:
        return same_quantity(right, read, question.tolerance, question.precision)
    if not looks_like_math(gold) or not looks_like_math(given):
        return normalize_text(gold) == normalize_text(given) != "" and not (right or read)
    if (right and right.base) or (read and read.base):
        return False
    # A list is never equal to one value, whatever a parser would make of its last element.
    if (len(split_list(strip_brackets(gold)[0])) > 1) != (len(split_list(strip_brackets(given)[0])) > 1):
        return False
    if ":" in gold or ":" in given:
        return same_ratio(replace(question, gold=gold), given, math_equal)
    golds, answers = _expressions(gold, right), _expressions(given, read)
    factor, agree = same_unit(golds[1], answers[1])
    if not agree:
        return False
    return any(_algebra(question, a, b, factor, math_equal) for a, b in product(golds[0], answers[0]))


_POINTS = [
    dict(zip("abcdefghijklmnopqrstuvwxyz", (Fraction(37 + 10 * i + k * (7 * i + 3), 29) for i in range(26))))
    | dict(zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", (Fraction(301 + 11 * i + k * (5 * i + 2), 31) for i in range(26))))
    for k in (0, 1)
]
for _point in _POINTS:
    del _point["e"], _point["i"], _point["E"]


def _algebra(question: Question, gold: str, given: str, factor: Fraction, math_equal: MathEqual) -> bool:
    """What costs nothing first: the values of both sides at a point."""
    gold, given = plain_to_latex(gold), plain_to_latex(given)
    letters = _variables(gold), _variables(given)
    if bool(letters[0]) != bool(letters[1]):
        return False
    every = _letters(gold), _letters(given)
    if every[0] != every[1] and {c.lower() for c in every[0]} == {c.lower() for c in every[1]}:
        return False  # math-verify does not tell R from r
    if question.tolerance is None and question.precision is None:
        a, b = evaluate(gold, _POINTS[0]), evaluate(given, _POINTS[0])
        if a is not None and b is not None:
            b = b * factor if isinstance(b, Fraction) else b
            if factor == 1 or isinstance(b, Fraction):
                if far_apart(a, b):
                    return False
                if not letters[0] and isinstance(a, Fraction) and isinstance(b, Fraction):
                    return True
    if factor == 1 and question.tolerance is None and (ordered := reorder(gold)) and ordered == reorder(given):
        return True
    scale = "" if factor == 1 else f" \\cdot \\frac{{{factor.numerator}}}{{{factor.denominator}}}"
    return math_equal(gold, given + scale, question.tolerance, question.precision)


_FUNCTION_WORDS = re.compile(r"(?<![A-Za-z])(?:sqrt|exp|pi|sin|cos|tan|ln|log)(?![A-Za-z])")


def _letters(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[A-Za-z]", _FUNCTION_WORDS.sub(" ", COMMAND.sub(" ", text))))


def _variables(text: str) -> frozenset[str]:
    # e and i may be constants; m, g and s may be units.
    letters = _letters(text)
    return letters - set("eimgsEIMGS") if not letters <= set("eimgs") else frozenset()


def _expressions(text: str, quantity: Quantity | None) -> tuple[list[str], str]:
    """What a value may stand for in LaTeX, and its unit. Units and left-hand sides must not reach the parser."""
    if quantity is None:
        text, unit = split_unit(text)
        return [text], unit
    value = quantity.value / 100 if is_percent(quantity.unit) else quantity.value
    number = f"\\frac{{{value.numerator}}}{{{value.denominator}}}" if value.denominator != 1 else str(value)
    if is_degree(quantity.unit):  # 45° against \pi/4, and against 90 - 45
        return [number, f"{number} \\cdot \\frac{{\\pi}}{{180}}"], ""
    return [number], "" if is_percent(quantity.unit) else quantity.unit


_ONE = Fraction(1)
_RATIO_SEPARATOR = re.compile(r"(?<!\s)\s*+(?::|\bto\b)\s*+")


def _terms(text: str) -> list[str] | None:
    statement = read_statement(text)
    if not statement.value or statement.links:
        return None
    return [term for term in _RATIO_SEPARATOR.split(statement.value) if term]


def same_ratio(question: Question, answer: str, math_equal: MathEqual) -> bool:
    """Ratios in any terms; a fraction stands for one, and units of one dimension are converted."""
    gold, given = clean(question.gold), clean(answer)
    if compact(gold) == compact(given):
        return True
    if not same_name(*(read_statement(text).name for text in (gold, given))):
        return False
    right, read = _terms(gold), _terms(given)
    if right is None or read is None:
        return False
    if len(read) <= 2 and (marked := read_time(given)) and not re.fullmatch(r"\d+\s?:\s?\d+", given):
        time = read_time(gold)  # 7:30 may have been a time all along
        return time is not None and same_time(time, marked)
    if len(right) == 1 or len(read) == 1:  # "3/4" stands for the ratio 3:4, a bare 3 for 3:1
        fraction, other = _as_fraction(right), _as_fraction(read)
        if not fraction or not other or ":" in fraction + other:
            return False
        return same_value(replace(question, gold=fraction, answer_type="number"), other, math_equal)
    if len(right) != len(read):
        return False
    rights, reads = [parse_quantity(term) for term in right], [parse_quantity(term) for term in read]
    if None not in rights and None not in reads:
        a, b = _sizes([q for q in rights if q]), _sizes([q for q in reads if q])
        if not a or not b or not _same_units(a[1], b[1]):
            return False
        x, y = a[0], b[0]
        return any(y) and all(x[0] * t == y[0] * s for s, t in zip(x, y)) and (x[0] != 0 or x == y)
    if not all(looks_like_math(term) for term in right + read):
        return False
    return all(
        _algebra(
            Question("", "latex"), f"({right[0]}) \\cdot ({y})", f"({read[0]}) \\cdot ({x})", Fraction(1), math_equal
        )
        for x, y in zip(right[1:], read[1:])
    )


def _as_fraction(terms: list[str]) -> str:
    if len(terms) != 2:
        return terms[0] if len(terms) == 1 else ""
    quantities = [parse_quantity(term) for term in terms]
    if quantities[0] and quantities[1]:
        sizes = _sizes([quantities[0], quantities[1]])
        if not sizes or not sizes[0][1]:
            return ""
        value = sizes[0][0] / sizes[0][1]
        return f"{value.numerator}/{value.denominator}" if value >= 0 else f"-{-value.numerator}/{value.denominator}"
    return f"\\frac{{{terms[0]}}}{{{terms[1]}}}"


def _sizes(terms: list[Quantity]) -> tuple[list[Fraction], list[str]] | None:
    """The terms of a ratio in the unit of the first, when all have one of its dimension."""
    first = terms[0].unit
    units = [same_unit(first, term.unit) for term in terms]
    if first and all(agree and term.unit for term, (_, agree) in zip(terms, units)):
        return [term.value * factor for term, (factor, _) in zip(terms, units)], [""] * len(terms)
    return [term.value for term in terms], [term.unit for term in terms]


def _same_units(gold: list[str], given: list[str]) -> bool:
    return all(same_unit(a, b) == (Fraction(1), True) for a, b in zip(gold, given))


# Lists, sets, intervals


_SET_LEAD = re.compile(
    r"\A(?:the )?(?:solutions?|roots?|zeros?)(?: set)? (?:is|are) ?:? ?|\A[A-Za-z]\s?\\in\s?(?=\\?\{)", re.IGNORECASE
)


def _elements(text: str) -> list[str] | None:
    """The elements of a list or set, without its brackets and its name; `None` for an equation that is no list."""
    text = clean(text)
    text = re.sub(
        r"\A(?:the )?(?:solutions?|roots?|zeros?)(?: set)?(?: of [a-z]{1,12})? (?:is|are) ?:? ?", "", text, flags=re.I
    )
    text = re.sub(r"\A[A-Za-z]\s?\\in\s?(?=\\?\{)", "", text)
    parts = split_list(text)
    if len(parts) == 1:
        statement = read_statement(text)
        if not statement.value or (statement.links and not parse_quantity(statement.value)):
            return None
        parts = split_list(strip_brackets(unnamed_point(statement.value)[1])[0])
    return parts


_NAMED_POINT = re.compile(r"\A(?:point )?([A-Z]['\d]?(?:_\s?\{?\w\}?)?)\s?(?=\()")


def unnamed_point(text: str) -> tuple[str, str]:
    """`A(3, 2)` as the name `A` and the point `(3, 2)`; a text that is no named point has the name `""`."""
    match = _NAMED_POINT.match(text)
    inner, brackets = strip_brackets(text[match.end() :]) if match else ("", "")
    parts = split_list(inner)
    if match is None or brackets != "()" or len(parts) < 2 or not any(re.search(r"\d", part) for part in parts):
        return "", text
    return compact(match[1]), text[match.end() :]


def _element_equal(question: Question, gold: str, answer: str, math_equal: MathEqual) -> bool:
    names, texts = [], []
    for text in (gold, answer):
        statement = read_statement(text)
        if not statement.value:
            return False
        point = unnamed_point(statement.value)
        is_point = strip_brackets(point[1])[1] in ("()", "[]") and len(split_list(strip_brackets(point[1])[0])) > 1
        if is_point and statement.links:
            return False
        names.append(statement.name or point[0])
        texts.append(point[1] if is_point else text)
    if not same_name(*names):
        return False
    if strip_brackets(texts[0])[1] and len(split_list(strip_brackets(texts[0])[0])) > 1:
        return same_list(replace(question, gold=texts[0]), texts[1], math_equal)
    if bounds := read_intervals(texts[0]):
        return bool(bounds) and same_interval(replace(question, gold=texts[0]), texts[1], math_equal)
    return same_value(replace(question, gold=texts[0]), texts[1], math_equal)


def _names(elements: list[str]) -> list[str]:
    return [read_statement(element).name for element in elements]


def same_list(question: Question, answer: str, math_equal: MathEqual) -> bool:
    """The same elements in the same order; a named point is its coordinates."""
    gold, given = _elements(question.gold), _elements(answer)
    if gold is None or given is None or not _same_whole_names(question.gold, answer):
        return False
    if _brackets(question.gold) == "()":  # a point, a pair or an open interval
        if _brackets(answer) in ("[]", "[)", "(]", "{}"):
            return False
        if len(gold) == 2 and len(given) == 1:
            return same_interval(question, answer, math_equal)
    if len(gold) != len(given) or not gold:
        return False
    names = _names(given)
    if not any(_names(gold)) and all(names) and len(set(names)) == len(names):  # y=5, x=7 is the point (7, 5)
        given = [element for _, element in sorted(zip(names, given))]
    return all(_element_equal(question, a, b, math_equal) for a, b in zip(gold, given))


def _same_whole_names(gold: str, answer: str) -> bool:
    names = []
    for text in (clean(gold), clean(answer)):
        statement = read_statement(text) if len(split_list(text)) == 1 else Statement("")
        names.append(statement.name or unnamed_point(text)[0])
    return same_name(*names)


def _brackets(text: str) -> str:
    value = read_statement(clean(text)).value
    return strip_brackets(unnamed_point(value)[1])[1]


_MANY = 60  # elements or pieces: beyond that nobody compares each with each


def same_set(question: Question, answer: str, math_equal: MathEqual) -> bool:
    """The same elements in any order, each as often as one likes."""
    if _brackets(answer) in ("(]", "[)"):
        return False
    if nothing := read_nothing(question.gold):
        return nothing == read_nothing(answer)
    gold, given = _distinct(question.gold), _distinct(answer)
    if not gold or not given or len(gold) != len(given):
        return False
    names = _names(gold)
    if all(names) and len(set(names)) == len(names) > 1 and not any(_names(given)):  # x=1, y=2 is the pair (1, 2)
        gold = [element for _, element in sorted(zip(names, gold))]
        return all(_element_equal(question, a, b, math_equal) for a, b in zip(gold, given))
    same = {compact(element) for element in gold} & {compact(element) for element in given}
    gold, given = ([element for element in side if compact(element) not in same] for side in (gold, given))
    if len(gold) > _MANY:
        return False
    for element in gold:
        match = next((other for other in given if _element_equal(question, element, other, math_equal)), None)
        if match is None:
            return False
        given.remove(match)
    return True


def _distinct(text: str) -> list[str]:
    elements: list[str] = []
    seen: set[object] = set()
    for element in _elements(text) or ():
        signs = ("+", "-") if "\\pm" in element or "\\mp" in element else ("",)
        for sign in signs:
            other = {"+": "-", "-": "+"}.get(sign, "")
            signed = element.replace("\\pm", sign).replace("\\mp", other).strip().removeprefix("+").strip()
            signed = re.sub(r"= ?\+ ?", "= ", signed)
            keys = {compact(signed), parse_quantity(signed) or compact(signed)}
            if not keys & seen:
                elements.append(signed)
            seen |= keys
    return elements


_INFINITE = re.compile(r"([+-]?)\s?(?:\\infty|infinity|inf|oo)", re.IGNORECASE)


def same_interval(question: Question, answer: str, math_equal: MathEqual) -> bool:
    """The same union of intervals, in bracket or inequality notation."""
    gold, given = read_intervals(question.gold), read_intervals(answer)
    if not gold or not given or len(gold[0]) != len(given[0]) or not same_name(gold[1], given[1]):
        return False
    if len(gold[0]) > _MANY:
        return False
    return all(any(_interval_equal(question, a, b, math_equal) for b in given[0]) for a in gold[0])


def _interval_equal(question: Question, gold: Interval, given: Interval, math_equal: MathEqual) -> bool:
    if gold[2:] != given[2:]:
        return False
    for a, b in zip(gold[:2], given[:2]):
        infinite = [_INFINITE.fullmatch(end.strip()) for end in (a, b)]
        if any(infinite):
            if not all(infinite) or len({match[1] == "-" for match in infinite if match}) > 1:
                return False
        elif not same_value(replace(question, gold=a), b, math_equal):
            return False
    return True


# Points and boxes


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
