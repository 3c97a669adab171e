# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""
Numbers with units, read exactly.

Numbers are `Fraction`s: nothing is rounded unless the dataset states a tolerance. Standard library only.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from mmr1_trl.rewards.values.units import is_percent, read_unit, same_unit


_SCALES = {"dozen": 12, "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_OF_MONEY = {"k": 10**3, "m": 10**6, "mn": 10**6, "b": 10**9, "bn": 10**9}  # $1.2M; without a currency a unit or name
_CHINESE_SCALES = {"万": 10**4, "亿": 10**8}
_ONES = dict(
    zip(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen".split(),
        range(20),
    )
)
_TENS = dict(zip("twenty thirty forty fifty sixty seventy eighty ninety".split(), range(20, 100, 10)))
_PARTS = {
    "half": 2,
    "halve": 2,
    "third": 3,
    "quarter": 4,
    "fourth": 4,
    "fifth": 5,
    "sixth": 6,
    "eighth": 8,
    "tenth": 10,
}
_NUMBER_WORDS = _ONES.keys() | _TENS.keys()
_DIGITS = 400  # of one number: nobody's answer is longer, and arithmetic on longer ones is a denial of service
_RUN = rf"\d{{1,{_DIGITS}}}+"
_DECIMAL = rf"(?:\d{{1,3}}(?:[,' ]\d{{3}}){{1,130}}+(?!\d)|{_RUN}(?!\d))(?:\.{_RUN})?\.?|\.{_RUN}"
_TEN = r"(?:\\times|\\cdot|\*|x)\s?10\s?\^\s?\{?\s?(?P<ten>[+-]?\d{1,4}+)\s?\}?"
_QUANTITY = re.compile(
    rf"""\A(?P<sign>[+-]?)\s?(?P<currency>[$€£¥₹]|us\$|usd\b|eur\b|rs\b|rmb\b)?\s?(?P<sign2>[+-]?)\s?
    (?:(?P<whole>\d{{1,40}})\s(?P<mixed_top>\d{{1,40}})\s?/\s?(?P<mixed_bottom>\d{{1,40}})(?!\d)
      |(?P<whole2>\d{{1,40}})?\s?\\frac\s?(?:\{{\s?(?P<top_sign>-?)\s?(?P<top>{_DECIMAL})\s?\}}|(?P<top1>\d))
                       \s?(?:\{{\s?(?P<bottom>{_DECIMAL})\s?\}}|(?P<bottom1>\d))
      |(?P<over>{_DECIMAL})\s?/\s?(?P<under>{_DECIMAL})
      |10\s?\^\s?(?:\{{\s?(?P<power>[+-]?\d{{1,4}})\s?\}}|(?P<power1>\d))(?!\d)
      |(?P<mantissa>{_DECIMAL})(?:e(?P<exponent>[+-]?\d{{1,4}}+)|\s?{_TEN})
      |(?P<repeated>\d{{0,40}})\.(?P<fixed>\d{{0,40}})\\(?:overline|dot|bar)\s?\{{\s?(?P<period>\d{{1,40}})\s?\}}
      |(?P<decimal>{_DECIMAL})
    )(?P<rest>.*)""",
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
_ABOUT = re.compile(
    r"\A(?:(?:\\approx|\\sim|about\b|approximately\b|approx\b\.?|roughly\b|around\b|nearly\b|大约|约为|约|="
    r"|(?:in (?:the )?)?year\b(?=\s\d{4}\Z)|in\b(?=\s\d{4}\Z))\s?)+",
    re.I,
)
_NEGATIVE = re.compile(r"\A(?:negative|minus|负)\s?(?=[\d\\a-z])", re.I)
_BASE = re.compile(
    r"\A(-?)\s?\(?\s?(\d[\dA-Fa-f,]{0,60})\s?\)?\s?"
    r"(?:_\s?\{?\s?\(?\s?(?:base[ -]?)?(\d\d?|[a-z]{3,11})\s?\)?\s?\}?|\(?(?:in )?base[ -](\d\d?|[a-z]{3,11})\)?)\Z"
)


@dataclass(frozen=True)
class Quantity:
    """A number, the unit it was written with (`""`: none) and the base of its digits (0: not given)."""

    value: Fraction
    unit: str = ""
    base: int = 0


@lru_cache(maxsize=8192)
def parse_quantity(text: str) -> Quantity | None:
    r"""
    Parse a cleaned answer as one exact number with an optional unit.

    Signs, thousands separators, decimals, fractions, mixed numbers, scientific notation, repeating decimals, percent,
    currencies, scale words (million), number words, number bases and compound measures (2 h 30 min) are understood.

    Args:
        text (`str`):
            Output of [`notation.clean`].

    Returns:
        `Quantity` or `None`: `None` when the text is not one number.
    """
    text = _ABOUT.sub("", text)
    if based := _BASE.match(text):
        return _in_base(based)
    text = _words_to_digits(_NEGATIVE.sub("-", text))
    text = _unbracketed(text)
    match = _QUANTITY.fullmatch(text)
    value = _value(match) if match else None
    if match is None or value is None:
        return None
    rest, currency = match["rest"], match["currency"] or ""
    word, _, after = rest.strip().partition(" ")
    if word.lower() in _SCALES:
        value, rest = value * _SCALES[word.lower()], f" {after}"
    elif currency and word.lower() in _OF_MONEY:
        value, rest = value * _OF_MONEY[word.lower()], f" {after}"
    elif rest[:1] in _CHINESE_SCALES:
        value, rest = value * _CHINESE_SCALES[rest[:1]], rest[1:]
    unit = read_unit(rest)
    if unit is None:
        return _compound(value, rest) if not currency else None
    if unit and currency and same_unit(unit, currency) != (Fraction(1), True):
        return None
    return Quantity(value, unit or currency)


def _unbracketed(text: str) -> str:
    """`(-2)` and `{5}` without their brackets; with a comma inside it is a point."""
    start, end = 0, len(text)
    while end - start > 2 and text[start] in "({" and text[end - 1] in ")}":
        start, end = start + 1, end - 1
    inner = text[start:end]
    return text if any(char in inner for char in "(){},") and start else inner.strip()


_MEASURE = re.compile(r"\A\s?(?:and\s)?(\d{1,40}(?:\.\d{1,40})?)(\s?[^\W\d_]{1,12}|['\"])\s?")
_FIRST_UNIT = re.compile(r"\A(\s?[^\W\d_]{1,12})\s?(?:,\s?)?(?=(?:and\s)?\d)")


def _compound(value: Fraction, rest: str) -> Quantity | None:
    """`2 hours 30 minutes` and `5 feet 3 inches`: measures of one dimension, each smaller than the one before."""
    first = _FIRST_UNIT.match(rest)
    unit = read_unit(f" {first[1].strip()}") if first else None
    if first is None or not unit:
        return None
    rest, size = rest[first.end() :], Fraction(1)
    while measure := _MEASURE.match(rest):
        part = read_unit(f" {measure[2].strip()}")
        factor, agree = same_unit(unit, part or "?")
        if not part or not agree or not 0 < factor < size:
            return None
        value += (-1 if value < 0 else 1) * Fraction(measure[1]) * factor
        rest, size = rest[measure.end() :], factor
    return None if rest else Quantity(value, unit)


def _in_base(match: re.Match[str]) -> Quantity | None:
    sign, digits, subscript, words = match.groups()
    named = (subscript or words).lower()
    base = int(named) if named.isdigit() else _ONES.get(named, 0)
    digits = digits.replace(",", "")
    if not 2 <= base <= 36 or not (base > 10 or digits.isdigit()):
        return None
    # Digits stand for themselves: 204_5 is an answer in base 5, and neither 54 nor 66_8 has been asked for.
    return Quantity(Fraction(int(sign + digits, 16 if not digits.isdigit() else 10)), "", base)


def _words_to_digits(text: str) -> str:
    """Write a number in words at the start of a text with digits: `twenty-one apples` is `21 apples`."""
    first = re.match(r"[A-Za-z]{2,9}", text.lstrip("-+( "))
    if first is None or first[0].lower() not in _NUMBER_WORDS:
        return text
    sign, bare = ("-", text[1:]) if text.startswith("-") else ("", text)
    total, group, end, seen, last = 0, 0, 0, "", ""
    for match in re.finditer(r"(?<![\s-])[\s-]*+([A-Za-z]+)", bare[:200]):
        word = match[1].lower()
        joined = bare[end : match.start(1)]
        if match.start() != end or (seen and not joined.strip(" -") == ""):
            break
        if word in _ONES and last in ("", "tens", "scale", "and"):
            if last == "tens" and _ONES[word] > 9:
                break
            group, last = group + _ONES[word], "ones"
        elif word in _TENS and last in ("", "scale", "and"):
            group, last = group + _TENS[word], "tens"
        elif word == "hundred" and 0 < group < 100:
            group, last = group * 100, "scale"
        elif word in ("thousand", "million", "billion", "trillion") and group:
            total, group, last = total + group * _SCALES[word], 0, "scale"
        elif word == "and" and last == "scale" and _continues(bare, match.end()):
            last = "and"
        elif (
            seen
            and (part := _PARTS.get(word if word == "half" else word.removesuffix("s")))
            and last in ("ones", "tens")
        ):
            if (total + group != 1) == word.endswith("s") or word == "half":
                seen, end = f"{total + group}/{part}", match.end()
                return f"{sign}{seen}{bare[end:]}"
            break
        else:
            break
        seen, end = str(total + group), match.end()
    return f"{sign}{seen}{bare[end:]}" if seen else text


def _continues(text: str, end: int) -> bool:
    following = re.match(r"\s([A-Za-z]{2,9})", text[end : end + 12])
    return following is not None and following[1].lower() in _NUMBER_WORDS


def _number(text: str) -> Fraction:
    return Fraction(re.sub(r"[,' ]", "", text).rstrip("."))


def _value(match: re.Match[str]) -> Fraction | None:
    part = match.groupdict()
    if part["mixed_top"]:
        top, bottom = Fraction(part["mixed_top"]), Fraction(part["mixed_bottom"])
        value = None if bottom == 0 else Fraction(part["whole"]) + top / bottom
    elif part["top"] or part["top1"]:
        top, bottom = _number(part["top"] or part["top1"]), _number(part["bottom"] or part["bottom1"])
        if bottom == 0 or (part["whole2"] and part["top_sign"]):
            return None
        value = Fraction(part["whole2"] or 0) + top / bottom * (-1 if part["top_sign"] else 1)
    elif part["over"]:
        bottom = _number(part["under"])
        value = None if bottom == 0 else _number(part["over"]) / bottom
    elif part["mantissa"] or part["power"] or part["power1"]:
        exponent = int(part["exponent"] or part["ten"] or part["power"] or part["power1"])
        value = _number(part["mantissa"] or "1") * Fraction(10) ** exponent if abs(exponent) <= _DIGITS else None
    elif part["period"]:
        fixed, period = part["fixed"], part["period"]
        tail = Fraction(int(period), (10 ** len(period) - 1) * 10 ** len(fixed))
        value = Fraction(f"{part['repeated'] or 0}.{fixed or 0}") + tail
    else:
        value = _number(part["decimal"])
    if value is None or (part["sign"] and part["sign2"]):
        return None
    return -value if "-" in (part["sign"], part["sign2"]) else value


def same_quantity(
    gold: Quantity | None, given: Quantity | None, tolerance: float | None = None, precision: int | None = None
) -> bool:
    """
    Compare two quantities: exactly, within a relative `tolerance`, or rounded to `precision` decimals.

    A unit, a base or a percent sign that one side leaves out does not count against it; `None` equals nothing.
    """
    if gold is None or given is None:
        return False
    if gold.base and given.base and gold.base != given.base:
        return False
    factor, agree = same_unit(gold.unit, given.unit)
    if not agree:
        return False
    right, read = gold.value, given.value * factor
    # One sign of percent: 50 % is written 50 by some and 0.5 by others.
    pairs = [(right, read)]
    if is_percent(gold.unit) and not given.unit:
        pairs.append((right / 100, read))
    elif is_percent(given.unit) and not gold.unit:
        pairs.append((right, read / 100))
    return any(is_close(a, b, tolerance, precision) for a, b in pairs)


def is_close(gold: Fraction, given: Fraction, tolerance: float | None, precision: int | None) -> bool:
    """Whether two numbers are equal, within a relative tolerance, or to a number of decimals."""
    if gold == given:
        return True
    if tolerance is not None and abs(given - gold) <= Fraction(str(tolerance)) * abs(gold):
        return True
    return precision is not None and round(gold, precision) == round(given, precision)
