# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""
Read answers: clean their notation, parse quantities exactly, split lists.

Only the standard library, since the checker's worker processes import this module and have to start fast. Numbers are
`Fraction`s: nothing is rounded unless the dataset states a tolerance.
"""

import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction

from mmr1_trl.rewards.units import UNITS, read_unit, same_unit


_SYMBOLS = str.maketrans(
    {
        "\u2212": "-",  # minus sign
        "\u2013": "-",  # en dash
        "\u2014": "-",
        "\u00ba": "°",
        "\u00d7": "\\times ",
        "\u00f7": "/",
        "\u00b7": "\\cdot ",
        "\u22c5": "\\cdot ",
        "\u03c0": "\\pi ",
        "\u221e": "\\infty ",
        "\u2264": "\\le ",
        "\u2265": "\\ge ",
        "\u222a": "\\cup ",
        "\u00b1": "\\pm ",
        "\u2248": "\\approx ",
        "\u2208": "\\in ",
        "\u2236": ":",
        "\u2220": "\\angle ",
        "\u25b3": "\\triangle ",
        "\u22a5": "\\perp ",
        "\u2225": "\\parallel ",
        "\u2260": "\\ne ",
        "\u2019": "'",
        "\u00a0": " ",
        "\u202f": " ",
        "\u2009": " ",
    }
)
_VULGAR = re.compile(r"(?<=\d)(?=[\u00bc-\u00be\u2150-\u215e])")
_SUPERSCRIPT = re.compile(r"[\u2070\u00b9\u00b2\u00b3\u2074-\u2079\u207b]+")
_ROOT = re.compile(r"\u221a\s*(\d+|[A-Za-z]|\([^()]*\))")
_DROPPED = re.compile(r"\\(?:left|right|[bB]igg?[lr]?|displaystyle|limits|boldsymbol|[()\[\]])(?![A-Za-z])")
_SPACES = re.compile(r"(?<!\\)\\(?:[,;:!> ]|quad(?![A-Za-z])|qquad(?![A-Za-z]))|~|\s+")
_WRAPPERS = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathit|mathsf|mbox|operatorname)\s*\{([^{}]*)\}")
# Possessive: a run of a thousand spaces must not be split in every way.
_DEGREE = re.compile(r"\s*+(?:\^\s*+)?(?:\{\s*+)?\\(?:circ|degree)(?![A-Za-z])\s*\}?")
_RENAMED = {
    "\\dfrac": "\\frac",
    "\\tfrac": "\\frac",
    "\\cfrac": "\\frac",
    "\\leqslant": "\\le",
    "\\geqslant": "\\ge",
    "\\leq": "\\le",
    "\\geq": "\\ge",
    "<=": "\\le ",
    ">=": "\\ge ",
    "\\colon": ":",
    "\\lbrace": "\\{",
    "\\rbrace": "\\}",
    "{,}": ",",
    "\\%": "%",
    "\\#": "#",
    "\\_": "_",
    "\\&": "&",
}
_BOLD = re.compile(r"(?<![\w)])\*\*([^*]+)\*\*(?![\w(])")  # not the power in 2**3
_LEAD_IN = re.compile(
    r"^(?:so |thus |therefore |hence )?,?\s*(?:the )?(?:final |correct )?(?:answer|result)\s*(?:is|:|=)\s*:?\s*", re.I
)


def clean(text: str) -> str:
    r"""
    Bring notation to one form: Unicode signs to LaTeX or ASCII, `\dfrac` to `\frac`, `\text{cm}` to `cm`, math
    delimiters, markup and the closing dot dropped, white space collapsed.

    Args:
        text (`str`):
            An answer, gold or given.

    Returns:
        `str`: The cleaned text; it still reads as LaTeX.
    """
    text = _SUPERSCRIPT.sub(lambda match: f"^{{{match[0]}}}", text.replace("\0", " "))  # NFKC would drop the power
    text = _ROOT.sub(r"\\sqrt{\1}", _VULGAR.sub(" ", text)).translate(_SYMBOLS)
    text = unicodedata.normalize("NFKC", text).replace("\u2044", "/").replace("\u2212", "-").replace("\\$", "\ue000")
    if text.count("$") % 2 == 0:
        text = text.replace("$", " ")
    text = text.replace("\ue000", "$")
    for old, new in _RENAMED.items():
        text = text.replace(old, new)
    text = _BOLD.sub(r"\1", text).replace("**", "^")
    text = _DEGREE.sub("° ", _DROPPED.sub(" ", text))
    for _ in range(3):  # \text inside \mathbf and the like; deeper nesting is nobody's answer
        text = _WRAPPERS.sub(r" \1 ", text)
    text = _LEAD_IN.sub("", _SPACES.sub(" ", text).strip())
    return re.sub(r"\s+", " ", text).strip("`\"' ").rstrip(".。;,").strip()


def compact(text: str) -> str:
    """
    Cleaned text for exact comparison: without white space, save that before a digit ("1 1/2" is not "11/2", nor is
    "1, 234" one number), and without subscript signs and
    the braces around single characters.
    """
    return re.sub(r"\{(\w)\}|_", r"\1", re.sub(r"\s+(?!\d)|(?<![\d,])\s+", "", text))


_SCALES = {"dozen": 12, "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_WORDS = dict(
    zip(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen twenty".split(),
        range(21),
    )
)
_DECIMAL = r"(?:\d{1,3}(?:[,' ]\d{3})+(?!\d)|\d+)(?:\.\d+)?\.?|\.\d+"
_TEN = r"(?:\\times|\\cdot|\*|x)\s*10\s*\^\s*\{?\s*(?P<ten>[+-]?\d+)\s*\}?"
_QUANTITY = re.compile(
    rf"""(?P<sign>[+-]?)\s*(?P<currency>[$€£¥]|us\$|usd|eur|rs)?\s*(?P<sign2>[+-]?)\s*
    (?:(?P<whole>\d+)\s+(?P<mixed_top>\d+)\s*/\s*(?P<mixed_bottom>\d+)
      |(?P<whole2>\d+)?\s*\\frac\s*(?:\{{\s*(?P<top_sign>-?)\s*(?P<top>{_DECIMAL})\s*\}}|(?P<top1>\d))
                       \s*(?:\{{\s*(?P<bottom>{_DECIMAL})\s*\}}|(?P<bottom1>\d))
      |(?P<over>{_DECIMAL})\s*/\s*(?P<under>{_DECIMAL})
      |10\s*\^\s*(?:\{{\s*(?P<power>[+-]?\d+)\s*\}}|(?P<power1>\d))
      |(?P<mantissa>{_DECIMAL})(?:e(?P<exponent>[+-]?\d+)|\s*{_TEN})
      |(?P<repeated>\d*)\.(?P<fixed>\d*)\\overline\s*\{{\s*(?P<period>\d+)\s*\}}
      |(?P<decimal>{_DECIMAL})
    )(?P<rest>.*)""",
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
# A name ("x", "\\angle ABC", "f(2)") or a computation with numbers ("3 \\times 4"), then the value. Anything else with
# an equals sign is an equation.
_ASSIGNED = re.compile(
    r"^(?:([A-Za-z\\][A-Za-z0-9_'\\{}() ]{0,60}?)|(?:[\d\s.,+*/()-]|\\times|\\cdot|\\div){3,60}?)"
    r"\s*(?:=|\\approx)\s*([^=<>]+)$"
)
_ABOUT = re.compile(r"^(?:\\approx|\\sim|about|approximately|approx\.?|roughly|around|=)\s*", re.I)
_NEGATIVE = re.compile(r"^(?:negative|minus)\s+(?=[\d\\])", re.I)
_MAX_DIGITS = 400  # nobody's answer is longer, and Fraction arithmetic on longer ones is a denial of service


@dataclass(frozen=True)
class Quantity:
    """A number with the unit and the left-hand side it was written with (`""` where there was none)."""

    value: Fraction
    unit: str = ""
    variable: str = ""


def parse_quantity(text: str) -> Quantity | None:
    r"""
    Parse a cleaned answer as one exact number with an optional unit.

    Signs, thousands separators, decimals, fractions, mixed numbers, scientific notation, repeating decimals, percent,
    currencies, scale words (million), number words up to twenty and `x = ..` are understood.

    Args:
        text (`str`):
            Output of [`clean`].

    Returns:
        `Quantity` or `None`: `None` when the text is not one number.
    """
    if len(text) > _MAX_DIGITS:
        return None
    variable = ""
    if assigned := _ASSIGNED.match(text):
        variable, text = compact(assigned[1] or ""), assigned[2].strip()
    text = _NEGATIVE.sub("-", _ABOUT.sub("", text))
    word, _, after = text.partition(" ")
    if word.lower() in _WORDS:
        text = f"{_WORDS[word.lower()]} {after}"
    while len(text) > 2 and text[0] in "({" and text[-1] in ")}" and not re.search(r"[(){}]", text[1:-1]):
        text = text[1:-1].strip()
    match = _QUANTITY.fullmatch(text)
    value = _value(match) if match else None
    if match is None or value is None:
        return None
    rest = match["rest"]
    word, _, after = rest.strip().partition(" ")
    if word.lower() in _SCALES:
        value, rest = value * _SCALES[word.lower()], f" {after}"
    unit = read_unit(rest)
    if unit is None or (unit and match["currency"] and UNITS.get(unit) != UNITS.get(match["currency"].lower())):
        return None
    return Quantity(value, unit or (match["currency"] or "").lower(), variable)


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
        value = _number(part["mantissa"] or "1") * Fraction(10) ** exponent if abs(exponent) <= _MAX_DIGITS else None
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

    A unit or percent sign that one side leaves out does not count against it; `None` equals nothing.
    """
    if gold is None or given is None:
        return False
    if gold.variable and given.variable and gold.variable != given.variable:
        # "AB = 5" and "x = 5" may be one thing; two single letters are two unknowns.
        if len(gold.variable) == len(given.variable) == 1:
            return False
    factor, agree = same_unit(gold.unit, given.unit)
    if not agree:
        return False
    right, read = gold.value, given.value * factor
    # One sign of percent: 50 % is written 50 by some and 0.5 by others.
    percents = [quantity.unit in ("%", "percent") for quantity in (gold, given)]
    pairs = [(right, read)]
    if percents == [True, False] and not given.unit:
        pairs.append((right / 100, read))
    elif percents == [False, True] and not gold.unit:
        pairs.append((right, read / 100))
    return any(_close(a, b, tolerance, precision) for a, b in pairs)


def _close(gold: Fraction, given: Fraction, tolerance: float | None, precision: int | None) -> bool:
    if gold == given:
        return True
    if tolerance is not None and abs(given - gold) <= Fraction(str(tolerance)) * abs(gold):
        return True
    return precision is not None and round(gold, precision) == round(given, precision)


_OPENING, _CLOSING = "([{", ")]}"
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+(?!\d)")
_SEPARATOR = re.compile(r"\s*(?:,?\s+(?:and|or)\s+|[,;\n]|\\\\)\s*")


def strip_brackets(text: str) -> tuple[str, str]:
    r"""
    Take off the one pair of brackets that encloses the whole text.

    Args:
        text (`str`):
            Cleaned text such as `"(1, 2]"` or `r"\{1, 2\}"`.

    Returns:
        `tuple[str, str]`: The inside, and the brackets as two characters (`"(]"`, `"{}"`), `""` when there are none.
    """
    inner = text.replace("\\{", "{").replace("\\}", "}") if text.startswith("\\{") else text
    if len(inner) < 2 or inner[0] not in _OPENING or inner[-1] not in _CLOSING:
        return text, ""
    depth = 0
    for position, char in enumerate(inner):
        depth += (char in _OPENING) - (char in _CLOSING)
        if depth == 0 and position < len(inner) - 1:
            return text, ""
    return (inner[1:-1].strip(), inner[0] + inner[-1]) if depth == 0 else (text, "")


def split_list(text: str) -> list[str]:
    """
    Split at the top-level commas, semicolons, "and" and "or".

    A comma inside a number with thousands separators does not split when some other separator is followed by a space
    ("1,200, 5"), or when the whole text is one such number.

    Args:
        text (`str`):
            Cleaned text without its outer brackets.

    Returns:
        `list[str]`: The parts, stripped, empty ones dropped.
    """
    keep_thousands = _THOUSANDS.fullmatch(text) is not None or re.search(r"[,;] | and | or ", text) is not None
    protected = [match.span() for match in _THOUSANDS.finditer(text)] if keep_thousands else []
    inside = bytearray(len(text) + 1)
    for start, end in protected:
        inside[start:end] = b"\1" * (end - start)
    depth, depths = 0, []
    for char in text:
        depth += (char in _OPENING) - (char in _CLOSING)
        depths.append(depth)
    parts, start = [], 0
    for match in _SEPARATOR.finditer(text):
        middle = match.start()
        if depths[middle] <= 0 and not inside[middle]:
            parts.append(text[start:middle])
            start = match.end()
    return [part.strip() for part in (*parts, text[start:]) if part.strip()]
