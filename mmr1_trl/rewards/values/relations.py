# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
r"""
What an equation, an approximation or an inequality says. Standard library only.

The right side of an equation stands for the answer when the left side is a name (`x`, `AB`, `\angle ABC`, `f(x)`,
`(x, y)`, "the area") or an expression without unknowns of the same value (`3 \times 4 = 12`), also as links of one
chain (`S = \frac12 \cdot 3 \cdot 4 = 6`). The right side of any other equation (`2x = 6`) answers nothing.
"""

import re
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from mmr1_trl.rewards.notation import CLOSING, OPENING, clean, compact, split_list, strip_brackets
from mmr1_trl.rewards.values.arithmetic import evaluate
from mmr1_trl.rewards.values.units import split_unit


class Statement(NamedTuple):
    """
    A value as it was stated.

    Args:
        value (`str`):
            What it says, `""` when it is an equation that states no value.
        name (`str`):
            What it was said of, `""` when nothing.
        links (`tuple[str, ...]`):
            Expressions without unknowns that were said to equal the value.
        rounding (`str`):
            An approximation given beside the value, `""` for none.
    """

    value: str
    name: str = ""
    links: tuple[str, ...] = ()
    rounding: str = ""


_EQUALS = re.compile(r"\\(?:approx|simeq|fallingdotseq)(?![A-Za-z])|(?<![<>!=])=+(?![<>])|≒")


def _sides(text: str) -> list[tuple[str, str]]:
    """The sides of a chain, each with the sign before it; signs inside brackets do not count."""
    if "=" not in text and "\\approx" not in text and "\\simeq" not in text:
        return [("", text)]
    depth, position, sides, sign, start = 0, 0, [], "", 0
    for match in _EQUALS.finditer(text):
        for char in text[position : match.start()]:
            depth += (char in OPENING) - (char in CLOSING)
        position = match.start()
        if depth <= 0:
            sides.append((sign, text[start:position].strip()))
            sign, start = "=" if "=" in match[0] else "~", match.end()
    sides.append((sign, text[start:].strip()))
    return sides


@lru_cache(maxsize=4096)
def read_statement(text: str) -> Statement:
    """
    Read a cleaned answer as a value with what it was said of.

    Args:
        text (`str`):
            Output of [`notation.clean`], without a list at its top level.

    Returns:
        `Statement`: The value; a text without an equals sign is its own value.
    """
    sides = [side for side in _sides(text) if side[1]]
    if len(sides) < 2:
        return Statement(sides[0][1] if sides else "")
    name = read_name(sides[0][1])
    if not name and len(sides) == 2 and not _has_unknowns(sides[0][1]) and _has_unknowns(sides[1][1]):
        if name := read_name(sides[1][1]):  # 6 = x
            sides = [("", sides[1][1]), (sides[1][0], sides[0][1])]
    if name and not _has_unknowns(sides[0][1]) and len(sides[0][1]) > 1:
        name = ""  # \sin 30° is a value of its own
    if not name and _has_unknowns(sides[0][1]):
        return Statement("")
    body = sides[1:] if name else sides
    exact = [side for sign, side in body if sign != "~"] or [body[0][1]]
    rounded = [side for sign, side in body if sign == "~" and side != exact[-1]]
    links = tuple(side for side in exact[:-1] if not _has_unknowns(side))
    if links and not name and _has_unknowns(exact[-1]):  # 7 = 2a + c
        return Statement("")
    return Statement(exact[-1], name, links, rounded[-1] if rounded else "")


_GREEK = (
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma tau "
    "upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Sigma Phi Psi Omega ell hat bar vec tilde"
).split()
_TRIG = r"\\(?:sin|cos|tan|cot|sec|csc|arcsin|arccos|arctan|ln|log|lg|det|dim|deg|Pr|gcd|lcm|max|min)(?![A-Za-z])"
_INDEX = r"(?:\s?_\s?(?:\{[^{}]{1,20}\}|\w)|'|\s?\^\s?(?:\{\\prime\}|\\prime|\*|'))*+"
_SYMBOL = rf"(?:\\Delta\s?(?=[A-Za-z\\]))?(?:[A-Za-z]|\\(?:{'|'.join(_GREEK)})(?![A-Za-z])){_INDEX}"
_ACCENTED = (
    r"\\(?:overline|overrightarrow|overleftrightarrow|vec|bar|hat|tilde|widehat|mathbf|mathbb|overset\s?\{\\frown\})\s?"
    r"(?:\{[^{}]{1,20}\}|\s?\w)"
)
_POINTS = r"(?:[A-Z]'?){2,6}"
_ANGLE = rf"m?\s?\\(?:angle|measuredangle|triangle|odot|arc)\s?\{{?\s?(?:{_POINTS}|{_SYMBOL}|\d)\s?\}}?"
_FUNCTION = rf"(?:[fghFGHPpuvyrsTCRVAESNDLWQ]|{_SYMBOL}')(?:{_INDEX})(?:\^\s?\{{?-1\}}?)?\s?\([^()=]{{1,40}}\)"
_OTHER_FUNCTION = r"[a-z](?:_\w)?\s?\((?:[A-Z\d]|\d{1,4})\)"
_TRIG_NAME = (
    rf"{_TRIG}(?:\s?\^\s?\{{?-?\d\}}?|\s?_\s?\{{?\w{{1,3}}\}}?)?\s?\{{?\(?\s?(?:\\angle\s?)?"
    rf"(?:{_SYMBOL}|{_POINTS})\s?(?:[+-]\s?{_SYMBOL}\s?)?\)?\}}?"
)
_NAME = re.compile(
    rf"(?:{_SYMBOL}|{_ACCENTED}|{_POINTS}|{_ANGLE}|{_FUNCTION}|{_OTHER_FUNCTION}|{_TRIG_NAME}"
    rf"|\|\s?(?:{_POINTS}|{_ACCENTED})\s?\|)"
)
_WORDS = re.compile(
    r"(?:the )?[^\W\d_]{2,20}(?:[ -](?:of |in |is |to )?(?:\\(?:triangle|angle) )?[^\W\d_]{1,20}){0,8}+"
)
_COMPUTED = frozenset(
    "twice thrice half double triple minus plus negative not times squared square cube cubed sum difference product "
    "over sqrt sin cos tan cot sec csc ln log exp abs if when or and".split()
)


@lru_cache(maxsize=4096)
def read_name(text: str) -> str:
    r"""
    Read a side of an equation as a name.

    Args:
        text (`str`):
            `"x"`, `"AB"`, `r"\angle ABC"`, `"f(x)"`, `r"\cos x"`, `"(x, y)"`, `"a:b"`, `"the area"`.

    Returns:
        `str`: The name in one form, `""` when the text is something else, such as `2x` or `x + 1`.
    """
    text = text.strip()
    if len(text) > 80 or not text:
        return ""
    if _NAME.fullmatch(text):
        return _name_form(text)
    inner, brackets = strip_brackets(text)
    parts = split_list(inner) if brackets in ("()", "[]", "{}") else text.split(":") if ":" in text else []
    if len(parts) > 1 and all(_NAME.fullmatch(part.strip()) for part in parts):
        return ",".join(_name_form(part) for part in parts)
    if (
        _WORDS.fullmatch(text)
        and not _COMPUTED.intersection(text.lower().split())
        and (len(text) > 2 or not text.isascii())
    ):
        return " ".join(word for word in text.lower().split() if word not in ("the", "a", "of", "is"))
    return ""


def _name_form(text: str) -> str:
    text = (
        re.sub(r"\\(?:overline|measuredangle)(?![A-Za-z])", "", text)
        .replace("m\\angle", "\\angle")
        .replace("m \\angle", "\\angle")
    )
    form = compact(text).replace("{", "").replace("}", "").replace("|", "").replace(" ", "")
    points = form.removeprefix("\\angle")
    if points != form and len(points) == 3 and points.isupper():
        return "\\angle" + min(points, points[::-1])
    return min(form, form[::-1]) if len(form) == 2 and form.isupper() else form


_WORDED = re.compile(r"[^\W\d_A-Z]{3,}(?: [^\W\d_]+){0,8}|[\u4e00-\u9fff]{1,20}")
_FUNCTION_OF = re.compile(r"[yfgh]\([a-z]\)|y")


def same_name(gold: str, given: str) -> bool:
    r"""
    Whether two names can be of one thing; where only one side names something they can.

    `y` and `f(x)` agree, a word agrees with a symbol ("radius", `r`), and a symbol with itself without its index.
    """
    if not gold or not given or gold == given:
        return True
    if "y" in (gold, given) and _FUNCTION_OF.fullmatch(gold) and _FUNCTION_OF.fullmatch(given):
        return True
    words = [_WORDED.fullmatch(name) is not None for name in (gold, given)]
    if words[0] != words[1]:
        return True
    if "\\angle" in gold and "\\angle" in given:
        right, left = gold.removeprefix("\\angle"), given.removeprefix("\\angle")
        return {len(right), len(left)} == {1, 3} and (right[1:2] or right) == (left[1:2] or left)
    longer, shorter = sorted((gold, given), key=len, reverse=True)
    return longer.startswith(shorter) and len(longer) == len(shorter) + 1 and longer[-1].isdigit()


_CONSTANTS = re.compile(
    r"\\(?:begin|end)\{[a-z*]+\}|\\(?:frac|sqrt|cdot|times|div|pi|infty|pm|mp|circ|sin|cos|tan|cot|sec|csc|arcsin|arccos|arctan|ln|"
    r"log|lg|exp|binom|left|right|lfloor|rfloor|lceil|rceil|le|ge|ne|cup|cap|in|quad|ldots|dots|cdots|emptyset|mathrm|mod|"
    r"pmod|bmod|max|min|gcd|lcm|det|to|mid|overline|dot|boxed)(?![A-Za-z])|\\[^A-Za-z]"
    r"|(?<![A-Za-z\\])(?:sqrt|cbrt|sin|cos|tan|cot|exp|ln|log|pi|abs|mod|gcd|lcm|max|min|e|i)(?![A-Za-z])"
)
_MEASURED = re.compile(r"(?<=\d)\s?(?:cm|mm|km|dm|m|kg|g|mL|L|s|h|min)(?![A-Za-z])(?:\s?\^\s?\{?[23]\}?)?")


def _has_unknowns(text: str) -> bool:
    text = _CONSTANTS.sub(" ", _MEASURED.sub(" ", split_unit(text)[0]))
    return re.search(r"[A-Za-z]", text) is not None


# Intervals and inequalities

Interval = tuple[str, str, bool, bool]  # low, high, low included, high included
# Without one of these, round brackets are points and pairs.
INTERVAL_SIGN = re.compile(r"[<>\[\]]|\\(?:[lg][et]|ne|infty|cup|in|mathbb)(?![A-Za-z])|\breal", re.IGNORECASE)
_UNION = re.compile(r"(?<!\s)\s*+(?:\\cup(?![A-Za-z])|\bU\b|\bor\b|或|\\lor(?![A-Za-z])|\\vee(?![A-Za-z]))\s*+")
_SIGNS = re.compile(r"<|>|\\(?:[lg][et]|ne)(?![A-Za-z])")
_MEMBER = re.compile(
    r"\A\\?\{?\s?([A-Za-z])\s?(?:\\in\s?(?:\\mathbb\s?\{?\s?R\s?\}?|R\b)?)?\s?(?:\||\\mid(?![A-Za-z])|:)\s?|\A([A-Za-z])\s?\\in\s?"
)
_ALL_REAL = re.compile(
    r"(?:all |the |any )?(?:set of )?(?:all )?real(?:s| numbers?)|\\mathbb\s?\{?\s?R\s?\}?|全体实数|任意实数",
    re.IGNORECASE,
)


@lru_cache(maxsize=4096)
def read_intervals(text: str) -> tuple[list[Interval], str] | None:
    r"""
    Read a union of intervals in bracket or inequality notation.

    Args:
        text (`str`):
            `"[1, 2)"`, `r"(-\infty, 3] \cup (5, \infty)"`, `"1 < x \le 2"`, `"-x > -3"`, `r"x \ne 1"`.

    Returns:
        `tuple[list[tuple[str, str, bool, bool]], str]` or `None`: (low, high, low included, high included) of each,
        and the variable that they bound (`""` in bracket notation).
    """
    text, variables = clean(text), set()
    if not re.search(r"[<>\[\](]|\\[lg]|\\ne|\\in|\\mathbb|real|实数", text):
        return None
    if member := _MEMBER.match(text):
        variables.add(member[1] or member[2])
        text = text[member.end() :]
        if text.endswith("}") and text.count("{") < text.count("}"):
            text = text[:-1].removesuffix("\\").strip()
    elif "=" in text and (statement := read_statement(text)).name and not _SIGNS.search(text):
        text = statement.value
    found: list[Interval] = []
    for part in _UNION.split(text):
        part = part.strip()
        inner, brackets = strip_brackets(part)
        ends = split_list(inner)
        if _ALL_REAL.fullmatch(part):
            found.append(("-\\infty", "\\infty", False, False))
        elif brackets and "{" not in brackets and len(ends) == 2:
            found.append((ends[0], ends[1], brackets[0] == "[", brackets[1] == "]"))
        elif bounds := _read_inequality(part):
            found += bounds[0]
            variables.add(bounds[1])
        else:
            return None
    return (found, "".join(variables)) if len(variables) < 2 else None


_FLIPPED = {"<": ">", ">": "<", "\\le": "\\ge", "\\ge": "\\le", "\\ne": "\\ne", "\\lt": "\\gt", "\\gt": "\\lt"}


def _read_inequality(text: str) -> tuple[list[Interval], str] | None:
    signs = _SIGNS.findall(text)
    sides = [side.strip() for side in _SIGNS.split(text)]
    if not 1 <= len(signs) <= 2 or not all(sides):
        return None
    signs = [{"\\lt": "<", "\\gt": ">"}.get(sign, sign) for sign in signs]
    if len(signs) == 2:
        if len(sides[1]) != 1 or not sides[1].isalpha() or signs[0][-2:] == "ne" or signs[1][-2:] == "ne":
            return None
        if signs[0] in (">", "\\ge"):
            sides, signs = sides[::-1], [_FLIPPED[sign] for sign in signs[::-1]]
        if signs[0] not in ("<", "\\le") or signs[1] not in ("<", "\\le"):
            return None
        return [(sides[0], sides[2], signs[0] == "\\le", signs[1] == "\\le")], sides[1]
    bound = _one_sided(sides[0], signs[0], sides[1])
    if bound is None:
        return None
    variable, sign, end = bound
    if sign == "\\ne":
        return [("-\\infty", end, False, False), (end, "\\infty", False, False)], variable
    if sign in (">", "\\ge"):
        return [(end, "\\infty", sign == "\\ge", False)], variable
    return [("-\\infty", end, False, sign == "\\le")], variable


def _one_sided(left: str, sign: str, right: str) -> tuple[str, str, str] | None:
    """An inequality solved for its variable: name, sign, bound. Sides that are linear with rational numbers, or -x."""
    for a, b, turned in ((left, right, sign), (right, left, _FLIPPED[sign])):
        bare = a.replace(" ", "")
        if not bare[-1:].isalpha() or len(bare) > 2 or bare[-1] in b:
            continue
        if len(bare) == 1 and not (len(b) == 1 and b.isalpha() and b < bare):  # of a < b, a is the variable
            return bare, turned, b
        if bare[0] == "-" and not _has_unknowns(b):
            simple = b.startswith("-") and not re.search(r"[+-]", b[1:])
            return bare[1], _FLIPPED[turned], b[1:].strip() if simple else f"-({b})"
    letters = set(re.findall(r"[A-Za-z]", re.sub(r"\\[A-Za-z]+", "", left + " " + right)))
    if len(letters) != 1:
        return None
    (name,) = letters
    gaps: list[Fraction] = []
    for point in (Fraction(0), Fraction(1), Fraction(2), Fraction(7, 3)):
        values = evaluate(left, {name: point}), evaluate(right, {name: point})
        if not isinstance(values[0], Fraction) or not isinstance(values[1], Fraction):
            return None
        gaps.append(values[0] - values[1])
    slope = gaps[1] - gaps[0]
    if not slope or gaps[2] != gaps[0] + 2 * slope or gaps[3] != gaps[0] + Fraction(7, 3) * slope:
        return None
    root = -gaps[0] / slope
    return (
        name,
        sign if slope > 0 else _FLIPPED[sign],
        f"{root.numerator}/{root.denominator}" if root.denominator > 1 else str(root),
    )
