# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""No wrong answer is paid: every gold of the labeled table, changed in one place or hedged, is refused."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmr1_trl.rewards.gold import Question
from mmr1_trl.rewards.notation import clean, split_list, strip_brackets
from mmr1_trl.rewards.scoring import score_answers
from mmr1_trl.rewards.types import LOCATED_TYPES, make_question


TABLE = Path(__file__).parents[2] / "data" / "answers.jsonl"
UNITS = {
    "cm": "kg", "km/h": "km", "m^2": "m^3", "hours": "minutes", "apples": "pears", "Ω": "V", "\\Omega": "V",
    "°C": "°F", "PM": "AM", "miles": "km", "元": "美元", "厘米": "毫米", "平方米": "立方米", "%": " cm", "\\$": "€",
    "cents": "dollars", "^\\circ": "\\text{ cm}", "o'clock": "hours", "m:4": "kg:4",
}  # fmt: skip
HEDGES = (
    "{0} or {1}", "{0}, or maybe {1}", "{0} and {1}", "{0} or possibly {1}", "{1} or {0}", "not {0}", "{0}, {1}",
    "{0} (or {1})", "either {0} or {1}", "{0} / {1}", "{0} maybe {1}", "{0}; {1}", "{0} is wrong, {1} is right",
    "{0}? No, {1}", "{0}或{1}", "{0} \\text{{ or }} {1}", "{0} = {1}", "{1} = {0}", "{0} vs {1}",
)  # fmt: skip
# Changes that say something else than the number: an equation not solved, a product, a list, an interval.
AROUND = (
    "2x = {0}", "-x = {0}", "x + 1 = {0}", "{0}x", "{0} + 1", "2({0})", "-({0})", "{0}^2+5", "\\frac{{1}}{{{0}}}+3",
    "({0}, {0})", "{0}:7", "x < {0}", "[{0}, 9)",
)  # fmt: skip
# What the change leaves right: zero times anything, an even function, a sign under plus or minus, infinity and one.
STILL_RIGHT = {
    "0 / 77", "2(0)", "-(0)", "0:7", "\\cos(-207^\\circ) \\approx -0.891", "\\pm -2", "\\infty + 1", "\\infty:7",
    "2x + 3y - 7 = 0 / 77", "2x + 3y - 7 = 0:7", "5x - 7y + 11z + 4 = 0x", "5x - 7y + 11z + 4 = 0:7",
}  # fmt: skip
LETTERED_TEXT = re.compile(r".*[A-J]\W+\d+")  # of "C) 15" the letter counts, whatever number follows


def golds() -> list[Question]:
    cases = [json.loads(line) for line in TABLE.read_text(encoding="utf-8").splitlines()]
    exact = [case for case in cases if not case.get("tolerance") and not case.get("precision")]
    keys = dict.fromkeys((case["gold"], case["answer_type"], tuple(case["options"] or ())) for case in exact)
    questions = [make_question(gold, kind, options) for gold, kind, options in keys]
    return [question for question in questions if question.answer_type not in LOCATED_TYPES]


def changed_digits(question: Question) -> Iterator[str]:
    gold = question.gold
    if question.answer_type == "multiple_choice" and LETTERED_TEXT.fullmatch(gold):
        return
    for match in list(re.finditer(r"\d", gold))[:4]:
        yield gold[: match.start()] + str((int(match[0]) + 1) % 10) + gold[match.end() :]


def changed_signs(question: Question) -> Iterator[str]:
    gold = question.gold
    if question.answer_type == "multiple_choice" and LETTERED_TEXT.fullmatch(gold):
        return
    for match in list(re.finditer(r"(?<![\d.^_{a-zA-Z])\d+", gold))[:2]:
        before = gold[: match.start()].rstrip()
        if before.endswith(("-", "\u2212")):
            yield before[:-1] + gold[match.start() :]
        elif int(match[0]):
            yield f"{gold[: match.start()]}-{gold[match.start() :]}"


def changed_letters(question: Question) -> Iterator[str]:
    gold = question.gold
    if re.fullmatch(r"[(\[]?[A-J][)\].]?", gold):
        letter = next(filter(str.isalpha, gold))
        yield gold.replace(letter, "ABCDEFGHIJA"["ABCDEFGHIJ".index(letter) + 1])
        return
    for match in list(re.finditer(r"(?<![A-Za-z\\])[A-Za-z](?![A-Za-z])", gold))[:3]:
        yield gold[: match.start()] + ("w" if match[0].islower() else "W") + gold[match.end() :]
        if question.answer_type == "latex":
            yield gold[: match.start()] + match[0].swapcase() + gold[match.end() :]


def changed_order(question: Question) -> Iterator[str]:
    gold = question.gold
    inner, brackets = strip_brackets(clean(gold))
    parts = split_list(inner)
    if len(parts) > 1 and len(set(parts)) > 1:
        opened, closed = brackets or ("", "")
        if question.answer_type not in ("set", "multiple_choice"):
            yield opened + ", ".join(parts[::-1]) + closed
        yield opened + ", ".join(parts[:-1]) + closed
        yield opened + ", ".join([*parts, "77"]) + closed
    if ":" in gold:
        yield ":".join(gold.split(":")[::-1])
    for sign in "-/^":
        if gold.count(sign) == 1 and not gold.startswith(sign):
            yield sign.join(gold.split(sign)[::-1])


def hedged(question: Question) -> Iterator[str]:
    gold, kind = question.gold, question.answer_type
    other = "blue" if kind in ("text", "class_label") else "77"
    if kind == "yes_no":
        other = "no" if gold.lower() in ("yes", "true") else "yes"
    elif kind == "multiple_choice":
        other = next(letter for letter in "ABCDEFG" if letter not in gold)
    start = sum(map(ord, gold)) % 3  # every third hedge for one gold, all of them over the table
    for hedge in HEDGES[start::3]:
        if hedge != "{1} = {0}" or kind not in ("multiple_choice", "text"):
            yield hedge.format(gold, other)


def around(question: Question) -> Iterator[str]:
    if question.answer_type in ("number", "latex"):
        yield from (form.format(question.gold) for form in AROUND[sum(map(ord, question.gold)) % 2 :: 2])


CHANGES = {
    "digit": changed_digits,
    "sign": changed_signs,
    "letter": changed_letters,
    "unit": lambda q: (q.gold.replace(unit, other, 1) for unit, other in UNITS.items() if unit in q.gold),
    "order": changed_order,
    "hedge": hedged,
    "around": around,
}


@pytest.mark.parametrize("change", CHANGES)
def test_no_changed_gold_is_paid(change: str) -> None:
    pairs = [(question, text) for question in golds() for text in dict.fromkeys(CHANGES[change](question))]
    pairs = [(question, text) for question, text in pairs if text not in STILL_RIGHT and text != question.gold]
    assert len(pairs) >= 30
    scores = score_answers([f"<answer>{text}</answer>" for _, text in pairs], [question for question, _ in pairs])
    assert [(q.gold, q.answer_type, text) for (q, text), score in zip(pairs, scores) if score.correct] == []
