# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The parts that read an answer: statements, names, units, clock times, values of expressions, wrapped golds."""

import random
from fractions import Fraction

import pytest

from mmr1_trl.rewards import accuracy_reward
from mmr1_trl.rewards.choices import option_letters
from mmr1_trl.rewards.extraction import extract_answer, unwrap_gold
from mmr1_trl.rewards.notation import clean, plain_to_latex
from mmr1_trl.rewards.types import check_gold, infer_answer_type
from mmr1_trl.rewards.values.arithmetic import evaluate, far_apart, reorder
from mmr1_trl.rewards.values.relations import read_name, read_statement, same_name
from mmr1_trl.rewards.values.units import read_unit, same_unit
from mmr1_trl.rewards.values.words import is_clock_time, read_time


@pytest.mark.parametrize(
    "text, value, name",
    [
        ("x = 6", "6", "x"),
        ("6 = x", "6", "x"),
        (r"S = \frac12 \cdot 3 \cdot 4 = 6", "6", "S"),
        (r"3 \times 4 = 12", "12", ""),
        ("(x, y) = (5, 8)", "(5, 8)", "x,y"),
        ("a:b = 3:4", "3:4", "a,b"),
        (r"m\angle CBA = 30", "30", r"\angleABC"),
        ("BA = 5", "5", "AB"),
        ("2x = 6", "", ""),
        ("x + 1 = 6", "", ""),
        (r"\frac{x}{2} = 3", "", ""),
        ("|x| = 3", "", ""),
        (r"\frac{40}{3} \approx 13.33", r"\frac{40}{3}", ""),
    ],
)
def test_statements_name_their_value_or_state_none(text, value, name):
    statement = read_statement(clean(text))
    assert (statement.value, statement.name) == (value, name)


def test_names_agree_only_with_themselves():
    names = [read_name(clean(text)) for text in ("x", "y", "AB", r"\cos x", r"\sin x", "f(x)", "x_1", "area of ABC")]
    assert all(names)
    agreeing = {(a, b) for a in names for b in names if a != b and same_name(a, b)}
    words = names[-1]
    assert {pair for pair in agreeing if words not in pair} == {("y", "f(x)"), ("f(x)", "y"), ("x", "x1"), ("x1", "x")}
    for text in ("2x", "x+1", "-x", "x^2", r"\sqrt{x}", "xy", "3AB", "x(x+1)", "x/2", "twice the radius", ""):
        assert read_name(clean(text)) == "", text


@pytest.mark.parametrize(
    "a, b, factor",
    [
        ("km/h", "m/s", Fraction(18, 5)),
        ("N", "kg m/s^2", 1),
        ("N·m", "J", 1),
        ("km per hour", "kph", 1),
        ("square meters", "cm^2", Fraction(1, 10_000)),
        ("平方米", "m^2", 1),
        ("kJ", "J", Fraction(1, 1000)),
        ("J/(kg K)", "J/kg/K", 1),
        ("meters per second squared", "m/s^2", 1),
        ("degrees Celsius", "°C", 1),
        ("Ω", "V/A", 1),
        (r"\frac{\text{km}}{\text{h}}", "km/h", 1),
        (r"\mathrm{m\,s^{-2}}", r"\frac{m}{s^{2}}", 1),
        (r"\frac{J}{kg K}", "J/(kg K)", 1),
    ],
)
def test_units_are_products_of_the_table(a, b, factor):
    units = [read_unit(f" {clean(text)}") for text in (a, b)]
    assert all(units)
    assert same_unit(units[0], units[1]) == (factor, True)


def test_units_that_differ_disagree_and_letters_beside_digits_are_no_units():
    for a, b in (
        ("cm", "cm^2"),
        ("N", "J"),
        ("°C", "K"),
        ("apples", "pears"),
        ("$", "€"),
        ("mW", "MW/s"),
        ("cm", "apples"),
    ):
        assert not same_unit(read_unit(f" {a}"), read_unit(f" {b}"))[1], (a, b)
    assert [read_unit(text) for text in ("N", "C", "x", "ab", " x", " or 6", " (no)", " maybe")] == [None] * 8
    assert (read_unit(" N"), read_unit("cm"), read_unit(" units"), read_unit("个")) == ("N", "cm", "", "")


def test_clock_times_are_told_from_ratios():
    assert all(map(is_clock_time, ("9:30", "12:30", "10:00", "2:05", "7 o'clock", "3 PM", "15:45", "1:05:30")))
    assert not any(map(is_clock_time, ("5:12", "3:4", "7", "25:30", "9:75", "1:2:3", "5:12:13")))
    for hour in range(24):
        for minute in (0, 7, 30):
            half = "AM" if hour < 12 else "PM"
            assert read_time(f"{hour}:{minute:02}").seconds == (hour * 60 + minute) * 60
            assert read_time(f"{hour % 12 or 12}:{minute:02} {half}").seconds == (hour * 60 + minute) * 60


def _random_expression(generator: random.Random, depth: int = 0) -> tuple[str, Fraction]:
    if depth > 3 or generator.random() < 0.3:
        number = generator.randint(0, 9)
        return str(number), Fraction(number)
    (a, x), (b, y) = (_random_expression(generator, depth + 1) for _ in range(2))
    form = generator.choice("+-*/fp")
    if form == "+":
        return f"({a} + {b})", x + y
    if form == "-":
        return f"({a} - {b})", x - y
    if form == "*":
        return rf"{{{a}}} \cdot {{{b}}}", x * y
    if form in "/f" and y:
        return (rf"\frac{{{a}}}{{{b}}}" if form == "f" else f"({a}) / ({b})"), x / y
    return f"({a})^2", x**2


def test_values_of_random_expressions_are_exact():
    generator = random.Random(0)
    for _ in range(300):
        text, value = _random_expression(generator)
        found = evaluate(text)
        assert found is None or found == value, text
    assert evaluate(r"2\sqrt{3} \cdot \sqrt{3}") is not None
    assert not far_apart(evaluate(r"2\sqrt{3}"), evaluate(r"\sqrt{12}")) and far_apart(
        evaluate(r"\pi"), Fraction(22, 7)
    )
    unread = (
        "1/2x",
        "1 1/2",
        "2^10",
        "5!",
        "ab",
        "",
        "(",
        "9^{9^{9^{9}}}",
        "3 4",
        "f(2)",
        r"\sqrt" * 5000,
        "(" * 5000,
    )
    assert [evaluate(text) for text in unread] == [None] * len(unread)


def test_order_of_terms_and_factors_is_all_that_reorder_forgets():
    generator = random.Random(1)
    for _ in range(100):
        terms = [generator.sample(["x", "y_1", "3", r"\frac{a}{b}", "z^{2}"], 2) for _ in range(3)]
        texts = []
        for _ in range(2):
            generator.shuffle(terms)
            texts.append(" + ".join(" ".join(generator.sample(term, len(term))) for term in terms))
        assert reorder(texts[0]) == reorder(texts[1]) is not None
    different = [
        "a-b",
        "b-a",
        "a/b",
        "b/a",
        r"\log_2 5",
        r"\log_5 2",
        "x^y",
        "y^x",
        r"\sin x y",
        "f(x)",
        "x(f)",
        "AB",
        "BA",
    ]
    assert len({reorder(text) for text in different}) == len(different)


@pytest.mark.parametrize(
    "gold, answer",
    [
        ("<answer>5</answer>", "5"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        ("Half of 6 is 3.\n#### 3", "3"),
        ("We add 2 and 3. The answer is 5.", "5"),
        ("<think>5+5</think><answer>10</answer>", "10"),
        ("故选：C。", "C"),
        ("12 cm", "12 cm"),
        ("# of apples", "# of apples"),
    ],
)
def test_golds_are_unwrapped_in_the_reward_itself(gold, answer):
    assert unwrap_gold(gold) == answer
    assert accuracy_reward([rf"\boxed{{{answer}}}", r"\boxed{77}"], [gold] * 2) == [1.0, 0.0]


def test_a_paragraph_that_states_no_answer_is_a_bad_gold():
    paragraph = (
        "The triangle has two equal sides. We drop the height from the top, and then halve the base to find it."
    )
    assert "paragraph" in check_gold(paragraph)
    assert check_gold(f"{paragraph} The answer is 12.") is None
    assert check_gold("a man with a red umbrella") is None
    assert infer_answer_type("We halve 12. The answer is 6.") == "number"


def test_letters_are_read_from_the_label_and_never_from_two():
    for text in ("(B)", "“B”", "B ✅", "选项B", "B - 15 cm", "B. 15 cm", "<B>", "Ｂ", "option B", "B because it fits"):
        assert option_letters(text) == {"B"}, text
    for text in ("(A) or (B)", "A) 5 B) 6", "(A) is wrong; (B) is right", "A, or maybe B", "not A", "neither A nor B"):
        assert option_letters(text) == frozenset(), text


def test_statements_of_the_answer_in_chinese_and_behind_headings():
    for text in (
        "推理。答案是B。",
        "故选B",
        "答案：（B）",
        "【答案】B",
        "Working.\n\n## Final Answer\n\nB",
        "**Answer**\nB",
    ):
        assert extract_answer(text).strip("（）") == "B", text
    assert extract_answer("<|begin_of_box|>B<|end_of_box|>") == "B"
    assert plain_to_latex("2*sqrt(3) + exp(16) - pi/2^(n+1)") == r"2*\sqrt{3} + e^{16} - \pi /2^{n+1}"
