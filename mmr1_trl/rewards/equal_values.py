# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Whether two values are equal: numbers, quantities, expressions, equations, ratios, with what they are said of."""

import re
from dataclasses import replace
from fractions import Fraction
from itertools import product

from mmr1_trl.rewards.choices import option_letters
from mmr1_trl.rewards.gold import MathEqual, Question
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
from mmr1_trl.rewards.values.relations import Statement, read_statement, same_name
from mmr1_trl.rewards.values.units import is_degree, is_percent, same_unit, split_unit
from mmr1_trl.rewards.values.words import normalize_text, read_nothing, read_time, same_time


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
    if listed_letters(gold, given):
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
    sides = [text.count("=") == 1 and ":" not in text and looks_like_math(text) for text in (gold, given)]
    if not all(sides):
        return False
    for statement in (right, read):
        if statement.value and not _variables(statement.value):
            return False
    letters = [_variables(text) for text in (gold, given)]
    return letters[0] == letters[1] and math_equal(plain_to_latex(gold), plain_to_latex(given), None, None)


def listed_letters(gold: str, given: str) -> bool:
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


# As a program prints a number: 1.3333333333333333 is 4/3, and 0.333 is not 1/3.
_PRINTED = re.compile(r"[+-]?\d{0,40}\.\d{9,60}(?!\d)")
_PRINTED_TOLERANCE = 1e-10


def _same_expression(question: Question, gold: str, given: str, math_equal: MathEqual) -> bool:
    if compact(gold) == compact(given):
        return True
    exact = question.tolerance is None and question.precision is None
    if exact and (_PRINTED.match(gold) or _PRINTED.match(given)):
        question = replace(question, tolerance=_PRINTED_TOLERANCE)
    right, read = parse_quantity(gold), parse_quantity(given)
    right, read = right or _with_unit_of(read, gold), read or _with_unit_of(right, given)
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


_UNSPACED = re.compile(r"([+-]?[\d.,]++)([A-Za-z])")


def _with_unit_of(other: Quantity | None, text: str) -> Quantity | None:
    """`5.0N` as five newtons where the other side is `5 N`; by itself it is a product."""
    unspaced = _UNSPACED.fullmatch(text)
    return parse_quantity(f"{unspaced[1]} {unspaced[2]}") if unspaced and other and other.unit == unspaced[2] else None


# Numbers side by side, of which a parser would make a sum ("(1) 20" and "1 20" were 21), and a number with an index
# that is no base. Not the thousands of 10 000, the fractions 1 1/2 and \frac 1 2, an index (\log_2 5) and the order of
# a root.
_NO_VALUE = re.compile(
    r"(?<=\d)(?<!_\d)(?<!_\d\d)(?<!frac\d)(?<!frac \d)\s+(?=\d)(?!\d{3}(?!\d))(?!\d+\s?/)"
    r"|\)\s*(?=\d)|(?<!\\sqrt\[\d)(?<!\\sqrt \[\d)\]\s*(?=\d)|(?<=\d)\s*\["
    r"|(?<![\w^}\]])\{\d+\}\s*(?=\d)|dots\s*(?=\d)|(?<![\w^{}.])\d+\s?_"
)


def _algebra(question: Question, gold: str, given: str, factor: Fraction, math_equal: MathEqual) -> bool:
    """What costs nothing first: the values of both sides at a point."""
    gold, given = plain_to_latex(gold), plain_to_latex(given)
    if _NO_VALUE.search(gold) or _NO_VALUE.search(given):
        return False
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
