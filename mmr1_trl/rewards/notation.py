# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
r"""
One notation for all answers: signs, LaTeX commands and markup brought to one form; brackets, lists and words read.

Standard library only: the worker processes of the pool import this module and have to start fast. Every pattern here
and in the modules built on this one takes time linear in any text: it starts with a sign that it never runs over, or
is anchored, and what repeats is possessive or unambiguous.
"""

import re
import unicodedata
from functools import lru_cache


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
        "\u221a": "\\sqrt ",  # before braces; what else it stands before is _ROOT's
        "\u03c0": "\\pi ",
        "\u221e": "\\infty ",
        "\u2264": "\\le ",
        "\u2265": "\\ge ",
        "\u2a7d": "\\le ",
        "\u2a7e": "\\ge ",
        "\u222a": "\\cup ",
        "\u2229": "\\cap ",
        "\u00b1": "\\pm ",
        "\u2248": "\\approx ",
        "\u2208": "\\in ",
        "\u2205": "\\emptyset ",
        "\u211d": "\\mathbb{R} ",
        "\u2236": ":",
        "\u2220": "\\angle ",
        "\u25b3": "\\triangle ",
        "\u22a5": "\\perp ",
        "\u2225": "\\parallel ",
        "\u2260": "\\ne ",
        "\u2019": "'",
        "\u2018": "'",
        "\u201c": '"',
        "\u201d": '"',
        "\u3001": ",",
        "\u3002": ".",
        "\u00a0": " ",
        "\u202f": " ",
        "\u2009": " ",
        "\0": " ",
    }
)
_VULGAR = re.compile(r"(?<=\d)(?=[\u00bc-\u00be\u2150-\u215e])")
_SUPERSCRIPT = re.compile(r"[\u2070\u00b9\u00b2\u00b3\u2074-\u2079\u207b]+")
_ROOT = re.compile(r"\u221a\s*+(\d++|[A-Za-z]|\([^()]*+\))")
# What was escaped twice, or lost a letter to an escape of the program: "\frac" in a Python string
# is a form feed before "rac". Commands of these names, since a row of a matrix can begin behind two backslashes.
_COMMANDS = (
    "alpha|angle|approx|begin|beta|boxed|cap|cdot|circ|cos|cup|degree|[dt]?frac|div|infty|in|left|leq?|ln|log|"
    "mathbb|mathbf|mathrm|neq?|overline|pi|pm|right|sin|sqrt|tan|text|theta|times|geq?|vec"
)
_TWICE = re.compile(rf"\\\\(?:{_COMMANDS})(?![A-Za-z])")
_ESCAPES = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\v": "\\v", "\t": "\\t", "\r": "\\r"}
_LOST = re.compile(
    r"[\a\x08\f\v\t\r](?=(?:(?<=\a)(?:lpha|ngle|pprox)|(?<=\x08)(?:eta|oxed|egin|ar|inom)|(?<=\f)(?:rac|box)|(?<=\v)ec"
    r"|(?<=\t)(?:imes|heta|ext|frac)|(?<=\r)ight)(?![A-Za-z]))"
)
_ARRAY = re.compile(r"\\(begin|end)\s?\{array\}(?:\s?\{[lcr|\s]*+\})?")
_DROPPED = re.compile(
    r"\\(?:!\s*+|[()\[\]]|(?:left|right|[bB]igg?[lrm]?|displaystyle|textstyle|limits|boldsymbol|rm|bf|it)(?![A-Za-z]))"
)
_SPACES = re.compile(r"(?<!\\)\\(?:[,;:> ]|quad(?![A-Za-z])|qquad(?![A-Za-z]))|~|\s+")
_WRAPPER = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|up|normal)?|math(?:rm|bf|it|sf|tt|up|normal)|mbox|operatorname|bm|unit|si)\s*+\{"
)
_DEGREE = re.compile(
    r"(?:\^\s?)?(?:\{\s?)?\\(?:circ|degree)(?![A-Za-z])\s?\}?|(?<=\d)\s?\^\s?(?:\{\s?o\s?\}|o(?![A-Za-z]))"
)
_RENAMED = {
    "\\dfrac": "\\frac",
    "\\tfrac": "\\frac",
    "\\cfrac": "\\frac",
    "\\leqslant": "\\le",
    "\\geqslant": "\\ge",
    "\\leq": "\\le",
    "\\geq": "\\ge",
    "\\neq": "\\ne",
    "\\lt ": "<",
    "\\gt ": ">",
    "\\varnothing": "\\emptyset",
    "<=": "\\le ",
    ">=": "\\ge ",
    "!=": "\\ne ",
    "\\colon": ":",
    "\\lbrace": "\\{",
    "\\rbrace": "\\}",
    "\\lvert": "|",
    "\\rvert": "|",
    "{,}": ",",
    "\\%": "%",
    "\\#": "#",
    "\\_": "_",
    "\\&": "&",
}
_BOLD = re.compile(r"(?<![\w)*])\*\*([^*]++)\*\*(?![\w(*])")  # not the power in 2**3
_MINUS_POWER = re.compile(r"\^\s?-\s?(\d++(?:\.\d++)?|[A-Za-z])")  # TeX would raise the sign alone
_LEAD_IN = re.compile(
    r"\A(?:(?:so|thus|therefore|hence)\b,?\s?)?(?:the )?(?:final |correct )?(?:answer|result)\s?(?:is|:|=)\s?:?\s?"
    r"|\A(?:(?:正确|最终|最后)?(?:的)?(?:答案|结果))\s?(?:应?该?[是为]|:)\s?:?\s?",
    re.IGNORECASE,
)
_INFINITY = re.compile(r"(?<![A-Za-z\\])(?:positive |plus )?infinity(?![A-Za-z])", re.IGNORECASE)
_WORD_LIST = re.compile(r"(?<=[)\]}])\s?(and|or)\s?(?=[(\[{\\])")
_QUOTES = "`\"'\u00ab\u00bb\u300a\u300b\u300c\u300d\u300e\u300f\u3010\u3011"
_STOPS = ".;,"


@lru_cache(maxsize=8192)
def clean(text: str) -> str:
    r"""
    Bring notation to one form: Unicode signs to LaTeX or ASCII, `\dfrac` to `\frac`, `\text{cm}` to `cm`, math
    delimiters, markup, quotes, emoji and the closing dot dropped, white space collapsed.

    Args:
        text (`str`):
            An answer, gold or given.

    Returns:
        `str`: The cleaned text; it still reads as LaTeX.
    """
    text = _SUPERSCRIPT.sub(lambda match: f"^{{{match[0]}}}", escaped_once(text))  # NFKC would drop the power
    text = _ROOT.sub(r"\\sqrt{\1}", _VULGAR.sub(" ", text)).translate(_SYMBOLS)
    text = unicodedata.normalize("NFKC", text).replace("\u2044", "/").replace("\u2212", "-").replace("\\$", "\ue000")
    text = _without_dollars(text).replace("\ue000", "$")
    for old, new in _RENAMED.items():
        text = text.replace(old, new)
    text = _MINUS_POWER.sub(r"^{-\1}", _BOLD.sub(r"\1", text).replace("**", "^"))
    text = _SPACES.sub(" ", _DROPPED.sub(_dropped, _ARRAY.sub(r"\\\1{matrix}", text)))
    text = _DEGREE.sub("°", _unwrapped(text)).replace(" °", "°").replace("°", "° ")
    text = _INFINITY.sub(r"\\infty ", _WORD_LIST.sub(r" \1 ", text))
    text = re.sub(r"\s+", " ", text)
    return _strip_marks(_LEAD_IN.sub("", _strip_marks(text)))


def escaped_once(text: str) -> str:
    r"""
    Undo what escaped a text once more than LaTeX wants, or once less.

    Args:
        text (`str`):
            An answer, gold or given.

    Returns:
        `str`: `\frac{1}{2}` for `\\frac{1}{2}`, when no command there has one backslash, and for a form feed before
        `rac{1}{2}`; else the text as it is.
    """
    if "\\\\" in text and _TWICE.search(text) and all(len(run) % 2 == 0 for run in re.findall(r"\\+", text)):
        text = text.replace("\\\\", "\\")
    return _LOST.sub(lambda match: _ESCAPES[match[0]], text)


def _dropped(match: re.Match[str]) -> str:
    return "" if match[0][1] == "!" else " "  # 10,\!080 is one number


def _unwrapped(text: str) -> str:
    r"""Take commands that only set the type off what they enclose, at any depth: `\mathrm{m\,s^{-2}}`: `m s^{-2}`."""
    out, closing = list(text), _closing_brackets(text, "{}")
    for match in _WRAPPER.finditer(text):
        if (end := closing.get(match.end() - 1)) is not None:
            out[match.start() : match.end()] = [" ", *[""] * (len(match[0]) - 1)]
            out[end] = " "
    return "".join(out)


def _without_dollars(text: str) -> str:
    """Take off math delimiters; a dollar sign beside a number may be money when it has no partner."""
    if text.count("$") % 2 == 0:
        return text.replace("$", " ")
    bare = text.strip()
    if bare.endswith("$") and "\\" in bare and text.count("$") == 1:
        return bare[:-1]
    if bare.startswith("$") and not bare[1:2].isdigit() and bare[1:2] not in ("-", "+", " ", ".", "\ue000"):
        return bare[1:].replace("$", " ")
    return text


def _is_decoration(char: str) -> bool:
    return char in "\ufe0f\u200d\u200b" or (ord(char) >= 0x2600 and unicodedata.category(char) == "So")


def _strip_marks(text: str) -> str:
    """Take quotes, emoji and closing dots off both ends. A lone closing quote stays: it may be a prime or inches."""
    start, end = 0, len(text)
    while start < end:
        first, last = text[start], text[end - 1]
        if first.isspace() or _is_decoration(first):
            start += 1
        elif last.isspace() or last in _STOPS or _is_decoration(last):
            end -= 1
        elif first in _QUOTES:
            start += 1
            end -= last in _QUOTES and end > start
        else:
            break
    return text[start:end]


def compact(text: str) -> str:
    """
    Cleaned text for exact comparison: without white space, save that before a digit ("1 1/2" is not "11/2", nor is
    "1, 234" one number), and without subscript signs and the braces around single characters.
    """
    return re.sub(r"\{(\w)\}|_", r"\1", re.sub(r"\s(?!\d)|(?<![\d,])\s", "", text))


OPENING, CLOSING = "([{", ")]}"
_THOUSANDS = re.compile(r"(?<!\d)\d{1,3}(?:,\d{3})++(?!\d)")
# Only sought from where a separator can begin, so that runs of spaces are crossed once.
_SEPARATOR = re.compile(r"(?<!\s)\s*+(?:,\s?(?:and|or)\b\s*+|(?<=\s)(?:and|or)\s+|[,;和或与]|\\\\)\s*+")


def depths(text: str) -> list[int]:
    """How many brackets are open before each character; escaped braces count like plain ones."""
    depth, before = 0, []
    for char in text:
        before.append(depth)
        if char in OPENING:
            depth += 1
        elif char in CLOSING:
            depth -= 1
    return before


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
    if len(inner) < 2 or inner[0] not in OPENING or inner[-1] not in CLOSING:
        return text, ""
    before = depths(inner)
    if before[-1] != 1 or min(before[1:]) < 1:
        return text, ""
    return inner[1:-1].strip(), inner[0] + inner[-1]


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
    inside = bytearray(len(text) + 1)
    for match in _THOUSANDS.finditer(text) if keep_thousands else ():
        inside[match.start() : match.end()] = b"\1" * (match.end() - match.start())
    before = depths(text)
    parts, start = [], 0
    for match in _SEPARATOR.finditer(text):
        middle = match.start()
        if before[middle] <= 0 and not inside[middle]:
            parts.append(text[start:middle])
            start = match.end()
    return [part.strip() for part in (*parts, text[start:]) if part.strip()]


COMMAND = re.compile(r"\\(?:begin|end)\{[a-z*]+\}|\\[A-Za-z]+|\\.")
_WORD = re.compile(r"[^\W\d_]{3,}")
_FUNCTIONS = frozenset(
    "sin cos tan cot sec csc log exp max min mod gcd lcm det sqrt cbrt abs arcsin arccos arctan asin acos atan".split()
)


def looks_like_math(text: str) -> bool:
    """Whether a cleaned answer may be an expression: it has something to compute with, and no words."""
    bare = COMMAND.sub(" ", text)
    if any(word.lower() not in _FUNCTIONS for word in _WORD.findall(bare)):
        return False
    return re.search(r"[A-Za-z0-9]|\\(?:pi|infty|emptyset)", bare or text) is not None or bare != text


_NAMED = re.compile(r"(?<![\\A-Za-z])(pi|sin|cos|tan|cot|sec|csc|ln|log|arcsin|arccos|arctan)(?![A-Za-z])")
_CALLED = re.compile(r"(?:(?<![\\A-Za-z])(sqrt|cbrt|exp|abs)|\^) ?\(")
_AROUND = {
    None: ("^{", "}"),
    "sqrt": ("\\sqrt{", "}"),
    "cbrt": ("\\sqrt[3]{", "}"),
    "exp": ("e^{", "}"),
    "abs": ("|", "|"),
}


def plain_to_latex(text: str) -> str:
    r"""Write plain functions as LaTeX: `2*sqrt(3)` is `2*\sqrt{3}`, `exp(x)` is `e^{x}`, `2^(n+1)` is `2^{n+1}`."""
    text = re.sub(r"(?<![\\A-Za-z])(sqrt|cbrt)\s?(\d+)", r"\1(\2)", text)
    text = _NAMED.sub(r"\\\1 ", text)
    closing = _closing_brackets(text, "()")
    out = list(text)
    for match in _CALLED.finditer(text):
        if (end := closing.get(match.end() - 1)) is not None:
            out[match.start()], out[end] = _AROUND[match[1]]
            out[match.start() + 1 : match.end()] = [""] * (len(match[0]) - 1)
    return "".join(out)


_BRACKET = re.compile(r"\\.|[(){}]", re.DOTALL)


def _closing_brackets(text: str, pair: str) -> dict[int, int]:
    """Where each bracket of a pair closes; an escaped one opens and closes nothing."""
    opened, closing = [], {}
    for match in _BRACKET.finditer(text):
        if match[0] == pair[0]:
            opened.append(match.start())
        elif match[0] == pair[1] and opened:
            closing[opened.pop()] = match.start()
    return closing
