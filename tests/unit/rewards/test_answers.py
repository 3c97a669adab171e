# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Extraction, answer types and comparison, against a labeled table and by properties."""

import json
import time
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmr1_trl.errors import BadInputError
from mmr1_trl.rewards.extraction import extract_answer
from mmr1_trl.rewards.notation import clean, split_list
from mmr1_trl.rewards.scoring import score_answer, score_answers
from mmr1_trl.rewards.types import ANSWER_TYPES, check_gold, infer_answer_type, is_equal, make_question
from mmr1_trl.rewards.values.quantities import parse_quantity
from mmr1_trl.rewards.values.relations import read_intervals


CASES = [
    json.loads(line)
    for line in (Path(__file__).parents[2] / "data" / "answers.jsonl").read_text(encoding="utf-8").splitlines()
]
PROPERTY = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def _refuse(gold, answer, tolerance, precision):
    raise AssertionError(f"algebra was asked for: {gold!r} against {answer!r}")


def test_every_labeled_case_is_scored_as_labeled():
    assert len(CASES) >= 400
    questions = [
        make_question(c["gold"], c["answer_type"], c["options"], c.get("tolerance"), c.get("precision")) for c in CASES
    ]
    assert {question.answer_type for question in questions} == set(ANSWER_TYPES)
    scores = score_answers([case["completion"] for case in CASES], questions)
    wrong = [
        (case["topic"], case["gold"], score.extracted, case["expected"], score.reason)
        for case, score in zip(CASES, scores)
        if score.correct != case["expected"]
    ]
    assert wrong == []


def test_labeled_table_is_balanced_and_its_golds_are_readable():
    labels = Counter(case["expected"] for case in CASES)
    assert min(labels.values()) > len(CASES) / 3
    reasons = {check_gold(case["gold"], case["answer_type"], case["options"]) for case in CASES}
    assert reasons == {None}


@pytest.mark.parametrize(
    "text, expected",
    [
        (r"<think>\boxed{1}</think>\boxed{2}", "2"),
        (r"\boxed{\frac{a}{b}} then \boxed{", r"\frac{a}{b}"),
        (r"a } b \boxed{x\}y} {", r"x\}y"),
        (r"\boxed{}", None),
        ("<answer> a </answer> <answer>  </answer>", "a"),
        ("<answer>a", None),
        ("<think>5", None),
        ("</think>", None),
        ("The answer is **B**.", "B"),
        ("one\ntwo\nthree", None),
        ("x" * 101, None),
    ],
)
def test_extraction_rule(text, expected):
    assert extract_answer(text) == expected


@pytest.mark.parametrize(
    "gold, expected",
    [
        ("B", "multiple_choice"),
        ("(C)", "multiple_choice"),
        ("A, D", "multiple_choice"),
        ("No", "yes_no"),
        ("12 cm", "number"),
        ("3:4", "ratio"),
        ("5, 7", "set"),
        ("(5, 7)", "list"),
        ("[1, 2)", "interval"),
        ("x > 2", "interval"),
        (r"2\sqrt{3}", "latex"),
        ("AB", "latex"),
        ("red car", "text"),
        ("[1, 2, 3, 4]", "box"),
        ("May 5, 2020", "text"),
        ("2024-01-05", "text"),
        ("01/05/2024", "text"),
        (r"x \in \{1, 2\}", "set"),
        ("infinity", "latex"),
    ],
)
def test_answer_type_is_inferred_from_the_gold(gold, expected):
    assert infer_answer_type(gold) == expected


def test_option_text_as_gold_is_multiple_choice():
    assert infer_answer_type("blue", ["red", "blue"]) == "multiple_choice"
    assert score_answer(r"\boxed{B}", "blue", options=["red", "blue"]).correct == 1.0


# One answer a line, in the notations that datasets and models have.
EQUAL = [
    ["1/2", "0.5", ".5", r"\frac{1}{2}", r"\frac12", "½", "50%", "１／２", "+0.5", "1/2."],
    ["1000", "1,000", "1 000", "1{,}000", "10^3", "1e3", r"1\,000", r"1.0\times10^3", "one thousand"],
    ["-3", "\u22123", "- 3", "(-3)", "minus 3", r"\text{-}3"],
    [r"\sqrt{2}", "√2", "sqrt(2)", "2^{1/2}", r"$\sqrt2$"],
    ["(1,2)", "(1, 2)", r"\left(1,2\right)", "（1，2）"],
    [r"\{1,2\}", "1, 2", "2 and 1", "x=1 or x=2", r"x \in \{1,2\}"],
    ["[1,2)", "1 ≤ x < 2", r"2>x\ge1", r"x\in[1,2)", r"\{x|1\le x<2\}"],
    [r"(-\infty,3]", "x<=3", r"3\ge x", "(-infinity, 3]"],
    [r"\infty", "∞", "infinity", "+infinity", "positive infinity"],
    ["30°", r"30^\circ", "30 degrees", r"30^{\circ}"],
    ["$5", r"\$5", "5 dollars", "US$5", "five dollars"],
    ["x^2+1", "x²+1", "1+x^2", "x**2+1"],
    [r"1\frac{1}{2}", "1 1/2", "3/2", "1.5", "1½"],
    ["0.00035", "3.5e-4", r"3.5\times 10^{-4}", "3.5×10⁻⁴"],
    ["12 h 30 min", "12.5 h", "750 minutes"],
    ["2024-01-05", "January 5, 2024", "5 January 2024", "2024/01/05"],
]


def test_equal_answers_are_equal_in_every_notation_and_both_ways():
    pairs = [(gold, answer) for group in EQUAL for gold in group for answer in group if gold != answer]
    scores = score_answers([f"<answer>{answer}</answer>" for _, answer in pairs], [make_question(g) for g, _ in pairs])
    assert [pair for pair, score in zip(pairs, scores) if not score.correct] == []


INTERVALS = ["(2,3)", "[2,3]", "(2,3]", "[2,3)"]
SIGNED = ["-5", "5", "10", "0"]
SEGMENTS = ["AB", "CD", "AC"]


@pytest.mark.parametrize(
    "options, gold, answer, expected",
    [
        (INTERVALS, "(2,3)", "[2,3)", False),
        (INTERVALS, "(2,3)", "(2, 3)", True),
        (INTERVALS, "(2,3)", r"\left( 2, 3 \right)", True),
        (INTERVALS, "D", "[2, 3)", True),
        (INTERVALS, "(2,3)", "2, 3", False),  # which of the four?
        (SIGNED, "-5", "5", False),
        (SIGNED, "-5", "-5", True),
        (SIGNED, "-5", "\u22125.0", True),
        (SIGNED, "-5", "A", True),
        (SIGNED, "-5", "B", False),
        (SIGNED, "A", "A) -5", True),
        (SEGMENTS, "AB", "A", True),
        (SEGMENTS, "AB", "AB", True),
        (SEGMENTS, "AB", "AC", False),
        (SEGMENTS, "C", "AC", True),
        (["A", "B", "A and B", "neither"], "C", "A and B", True),
        (["A", "B", "C"], "A, C", "C", False),
        (["A", "B", "C"], "A, C", "A and C", True),
        (["red", "red", "blue"], "red", "red", True),
    ],
)
def test_option_texts_that_differ_in_brackets_signs_or_letters_are_told_apart(options, gold, answer, expected):
    assert is_equal(make_question(gold, "multiple_choice", options), answer, _refuse) is expected


@pytest.mark.parametrize(
    "gold, answer, expected",
    [
        ("5", "-5", False),
        ("-5", "- 5", True),
        (".5", "5", False),
        ("1.2", "1:2", False),
        ("1.2", "1.20", True),
        ("room 1.2", "room 1/2", False),
        ("Room 1.2", "the room 1.2.", True),
        ("gate -5", "gate 5", False),
        ("COVID-19", "covid 19", True),
        ("1990\u20131995", "1990-1995", True),
        ("3/4/2020", "3-4-2020", True),
        ("3/4/2020", "3/5/2020", False),
        ("1,234", "1234", True),
        ("U.S.A.", "USA", False),
    ],
)
def test_signs_and_separators_of_numbers_count_in_a_text(gold, answer, expected):
    assert is_equal(make_question(gold, "text"), answer, _refuse) is expected


@pytest.mark.parametrize("answer", ["9" * 200, "-" + "9" * 200, "9" * 400, "-" + "9" * 400])
def test_coordinates_of_any_size_are_only_wrong(answer):
    for answer_type, gold in (("point", "[10, 20]"), ("point", "[10, 20, 30, 40]"), ("box", "[10, 20, 30, 40]")):
        for text in (f"[{answer}, 20]", f"[{answer}, {answer}]", f"[{answer}, 1, {answer.lstrip('-')}, 2]"):
            assert not is_equal(make_question(gold, answer_type, tolerance=5.0), text, _refuse)


def test_letters_words_and_numbers_never_need_algebra():
    cheap = [("B", "c"), ("12", "13"), ("12", "I do not know"), ("yes", "no"), ("3:4", "6:8"), ("5, 7", "7, 5")]
    cheap += [
        ("[1, 2)", "1 <= x < 2"),
        ("red", "blue"),
        ("1/3", r"\frac{2}{6}"),
        ("5 cm", "0.05 m"),
        ("x", "not x at all"),
    ]
    for gold, answer in cheap:
        assert is_equal(make_question(gold), answer, _refuse) in (True, False)


def test_unparseable_golds_are_named():
    assert check_gold("abc def", "number") == "'abc def' cannot be read as number"
    assert check_gold("", None) == "the gold answer is empty"
    assert check_gold("G", "multiple_choice", ["a", "b"]) == "'G' cannot be read as multiple_choice among 2 options"
    assert check_gold("[1, 2, 3]", "box") is not None
    assert check_gold("x" * 2000, None) is not None
    assert check_gold("maybe", "yes_no") is not None
    with pytest.raises(BadInputError, match="Did you mean 'number'"):
        check_gold("5", "nummer")


@pytest.mark.parametrize("value", [Fraction(3, 7), Fraction(-5, 2), Fraction(0), Fraction(123456789, 4)])
def test_quantity_is_exact_in_every_notation(value):
    top, bottom = value.numerator, value.denominator
    written = [f"{top}/{bottom}", rf"\frac{{{top}}}{{{bottom}}}", rf"\dfrac{{{top}}}{{{bottom}}}\text{{ cm}}"]
    if bottom in (1, 2, 4):
        decimal = f"{top / bottom:.2f}"
        written += [decimal, f"{top / bottom:,.2f}", f"${decimal}$", f"{decimal}e0", rf"{decimal} \times 10^{{0}}"]
    for text in written:
        quantity = parse_quantity(clean(text))
        assert quantity is not None and quantity.value == value, text


@PROPERTY
@given(st.integers(-(10**12), 10**12))
def test_integers_are_read_with_and_without_thousands_separators(number):
    for text in (str(number), f"{number:,}", f"{number:,}".replace(",", r"\,"), f"{number}.0"):
        assert parse_quantity(clean(text)).value == number


@PROPERTY
@given(st.lists(st.integers(-999, 999), min_size=2, max_size=6, unique=True), st.randoms())
def test_sets_ignore_order_and_lists_do_not(numbers, random):
    shuffled = random.sample(numbers, len(numbers))
    gold, answer = ", ".join(map(str, numbers)), ", ".join(map(str, shuffled))
    assert is_equal(make_question(gold, "set"), answer, _refuse)
    assert is_equal(make_question(gold, "list"), answer, _refuse) == (shuffled == numbers)
    assert not is_equal(make_question(gold, "set"), str(numbers[-1]), _refuse)


@PROPERTY
@given(
    st.text(max_size=300), st.sampled_from(ANSWER_TYPES), st.sampled_from(["5", "B", "yes", "3:4", r"\sqrt{2}", "a b"])
)
def test_arbitrary_text_neither_crashes_nor_pays_without_an_answer(text, answer_type, gold):
    score = score_answer(text, gold, answer_type)
    assert score.correct in (0.0, 1.0)
    if score.extracted is None:
        assert score.correct == 0.0


LATEX = st.recursive(
    st.sampled_from(["1", "x", r"\pi", "-", "{", "}", r"\text{a}", "^", "_", "$", "\\", "10^9", "!", "\0", "\ud800"]),
    lambda inner: st.builds(
        lambda form, a, b: form.replace("A", a).replace("B", b),
        st.sampled_from(
            [r"\frac{A}{B}", r"\sqrt{A}B", "A^{B}", "(A)+B", r"\left[A,B\right)", "A=B", r"\{A, B\}", "AB"]
        ),
        inner,
        inner,
    ),
    max_leaves=12,
)


@settings(PROPERTY, max_examples=30)
@given(LATEX, st.sampled_from([r"2\sqrt{3}", "x^2+1", r"\pm 2", "(1, x)", r"[0, \pi)"]))
def test_arbitrary_latex_is_scored_within_the_deadline(latex, gold):
    start = time.monotonic()
    score = score_answer(rf"\boxed{{{latex}}}", gold)
    assert score.correct in (0.0, 1.0)
    assert time.monotonic() - start < 20  # the deadline is 3 s per comparison; the first one also starts the workers


@pytest.mark.parametrize(
    "answer",
    [
        "",
        " ",
        "\0",
        "\ud800",
        "{" * 10_000,
        "}" * 10_000,
        r"\boxed{" * 10_000,
        r"\boxed{" * 10_000 + "1" + "}" * 10_000,
        "1" + " " * 900 + "2",
        "1" + "$" * 900 + "2",
        r"1\(" * 300,
        "<answer>" * 10_000,
        "<think>" * 10_000,
        r"\frac{" * 10_000 + "1",
        "(" * 10_000,
        "9" * 1_000_000,
        "a," * 500_000,
        r"\text{" * 100_000,
        "answer is " * 100_000,
        " " * 1_000_000,
        "1 " * 500_000,
        "__import__('os').system('touch /tmp/never')",
        "A and B and " * 70 + "A and so on",
    ],
    ids=range(23),
)
def test_hostile_text_costs_little_and_scores_zero(answer):
    for completion in (
        answer,
        rf"\boxed{{{answer}}}",
        f"<answer>{answer}</answer>",
        f"<answer>{answer[:900]}</answer>",
    ):
        for gold in (r"\sqrt{2}", "5, 7", "[1, 2)", "red", "B"):
            start = time.monotonic()
            assert score_answer(completion, gold).correct == 0.0
            assert time.monotonic() - start < 20


@pytest.mark.parametrize("answer_type", ANSWER_TYPES)
def test_length_of_an_answer_is_capped_before_any_parsing(answer_type):
    gold = {"multiple_choice": "B", "yes_no": "yes", "box": "[1, 2, 3, 4]", "interval": "[1, 2)"}.get(answer_type, "5")
    for filler in ("1", "a", " 1", "a ", "{", "1,", ":", "x<", "(", "\\frac", "^2 "):
        start = time.monotonic()
        score_answer(f"<answer>{(filler * 1000)[:1000]}</answer>", gold, answer_type)
        assert time.monotonic() - start < 5, filler


def test_splitting_respects_brackets_and_thousands():
    assert split_list("(1, 2), (3, 4)") == ["(1, 2)", "(3, 4)"]
    assert split_list("1,200, 5") == ["1,200", "5"]
    assert split_list("1,200") == ["1,200"]
    assert split_list("100,20") == ["100", "20"]


def test_inequalities_and_brackets_read_alike():
    assert read_intervals(r"1 \le x < 2") == ([("1", "2", True, False)], "x")
    assert read_intervals("[1, 2)") == ([("1", "2", True, False)], "")
    assert read_intervals("x >= 3") == ([("3", "\\infty", True, False)], "x")
    assert read_intervals("5 - 2x < 1") == ([("2", "\\infty", False, False)], "x")
    assert read_intervals("5") is None
