# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Whether two lists, sets or unions of intervals are equal: element by element."""

import re
from dataclasses import replace

from mmr1_trl.rewards.equal_values import same_value
from mmr1_trl.rewards.gold import MathEqual, Question
from mmr1_trl.rewards.notation import clean, compact, split_list, strip_brackets
from mmr1_trl.rewards.values.quantities import parse_quantity
from mmr1_trl.rewards.values.relations import Interval, Statement, read_intervals, read_statement, same_name
from mmr1_trl.rewards.values.words import read_nothing


_SET_LEAD = re.compile(
    r"\A(?:the )?(?:solutions?|roots?|zeros?)(?: set)?(?: of [a-z]{1,12})? (?:is|are) ?:? ?", re.IGNORECASE
)
_MEMBER_OF = re.compile(r"\A[A-Za-z]\s?\\in\s?(?=\\?\{)")


def unnamed_set(text: str) -> str:
    r"""A cleaned set without what it is said of: `x \in \{1, 2\}`, "the solutions are 1 and 2"."""
    return _MEMBER_OF.sub("", _SET_LEAD.sub("", text))


def _elements(text: str) -> list[str] | None:
    """The elements of a list or set, without its brackets and its name; `None` for an equation that is no list."""
    text = unnamed_set(clean(text))
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


_INFINITE = re.compile(r"([+-]?)\s?(?:\\infty|inf|oo)", re.IGNORECASE)


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
