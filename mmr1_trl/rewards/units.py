# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Units of measurement: their spelling, and which of them are the same quantity. Standard library only."""

import re
from fractions import Fraction


# unit -> (dimension, size in the dimension's base unit)
UNITS: dict[str, tuple[str, Fraction]] = {}
for _dimension, _table in {
    "length": "mm .001|millimeter .001|cm .01|centimeter .01|dm .1|m 1|meter 1|km 1000|kilometer 1000|in .0254"
    "|inch .0254|inche .0254|ft .3048"  # "inche" is what is left of "inches" without its plural s
    "|foot .3048|feet .3048|yd .9144|yard .9144|mi 1609.344|mile 1609.344",
    "mass": "mg .000001|g .001|gram .001|kg 1|kilogram 1|t 1000|tonne 1000|lb .45359237|oz .028349523125",
    "speed": "m/s 1|km/h 5/18|kmh 5/18|kph 5/18|mph .44704",
    "time": "ms .001|s 1|sec 1|second 1|min 60|minute 60|h 3600|hr 3600|hour 3600",
    "volume": "ml .001|milliliter .001|l 1|liter 1",
    "angle": "° 1|degree 1|deg 1",
    "dollar": "$ 1|usd 1|dollar 1|us$ 1|cent .01|¢ .01",
    "euro": "€ 1|eur 1|euro 1",
    "pound": "£ 1|gbp 1|pound 1",
    "yen": "¥ 1|jpy 1|yen 1",
    "ratio": "% 1|percent 1",
}.items():
    for _entry in _table.split("|"):
        _name, _size = _entry.split()
        UNITS[_name] = (_dimension, Fraction(_size))
for _name in ("mm", "millimeter", "cm", "centimeter", "dm", "m", "meter", "km", "kilometer"):
    for _power, _kind in ((2, "area"), (3, "space")):
        UNITS[f"{_name}^{_power}"] = (_kind, UNITS[_name][1] ** _power)
for _prefix, _power in (("square", 2), ("cubic", 3), ("sq", 2)):
    for _name in ("millimeter", "centimeter", "meter", "kilometer", "cm", "m", "km"):
        UNITS[f"{_prefix} {_name}"] = UNITS[f"{_name}^{_power}"]

# Words that may follow a number without being its unit.
_NOT_UNITS = frozenset(
    "or and to not no if is was but than then times minus plus pi sqrt sin cos tan log ln exp".split()
)
_UNIT = re.compile(r"(?:[A-Za-z°%$€£¥¢]++[.]?(?:\s*\^\s*\{?\s*-?\d\s*\}?)?[\s/*]*+)++")
_PLAIN_UNIT = re.compile(r"(?:square |cubic |sq )?units?(?:\^[23])?")


def read_unit(rest: str) -> str | None:
    """
    Read what follows a number.

    Args:
        rest (`str`):
            The rest of the text, with the space that sets it off.

    Returns:
        `str` or `None`: The normalized unit, `""` for none, `None` when this is not a unit.
    """
    unit = rest.strip().rstrip(".")
    if not unit:
        return ""
    if not _UNIT.fullmatch(unit):
        return None
    words = [_singular(word) for word in re.sub(r"[{}]", "", unit).lower().split()]
    if len(words) > 4 or _NOT_UNITS.intersection(words):
        return None
    name = re.sub(r"\s*([°^])\s*", r"\1", " ".join(words)).replace("metre", "meter").replace("litre", "liter")
    # "3m" and "4ab" are products of a number and letters; "3 m" is a length and "4 apples" a count.
    known, attached = name in UNITS, not rest[0].isspace()
    if not known and (len(unit) == 1 and unit.isalpha() or attached and unit[0].isalpha()):
        return None
    if attached and len(unit) == 1 and unit.isalpha():
        return None
    return "" if _PLAIN_UNIT.fullmatch(name) else name


_TRAILING_UNIT = re.compile(r"\s((?:(?:square|cubic|sq) )?(?:[A-Za-z$€£¥]{2,12}|m)(?:\s*\^\s*\{?[23]\}?)?)$")


def split_unit(text: str) -> tuple[str, str]:
    r"""
    Take a known unit off the end of an expression: `r"16\pi cm^2"` gives `(r"16\pi", "cm^2")`. Of the single
    letters only m counts as a unit, and only behind an expression without variables.
    """
    match = _TRAILING_UNIT.search(text)
    unit = read_unit(f" {match[1]}") if match else None
    if match is None or unit is None or (unit and unit not in UNITS):
        return text, ""
    expression = text[: match.start()].strip()
    if (
        match[1][0] == "m"
        and not match[1][1:2].isalpha()
        and re.search(r"[A-Za-z]", re.sub(r"\\[A-Za-z]+", "", expression))
    ):
        return text, ""
    return expression, unit


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def same_unit(gold: str, answer: str) -> tuple[Fraction, bool]:
    """
    Compare two units.

    Returns:
        `tuple[Fraction, bool]`: The factor that turns the answer's number into the gold's unit, and whether the units
        agree. A unit that one side leaves out agrees with any ("5" for "5 cm"); unknown units agree when the words of
        one contain the other's ("red apple", "apple").
    """
    if not gold or not answer or gold == answer:
        return Fraction(1), True
    known_gold, known_answer = UNITS.get(gold), UNITS.get(answer)
    if known_gold and known_answer:
        return known_answer[1] / known_gold[1], known_gold[0] == known_answer[0]
    words = set(gold.split()), set(answer.split())
    return Fraction(1), not (known_gold or known_answer) and (words[0] <= words[1] or words[1] <= words[0])
