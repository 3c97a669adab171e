# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
r"""
The value of a simple expression, in microseconds and without a parser library.

It spares the pool of workers most comparisons: two rational numbers are decided exactly, and two values that are far
apart are refuted. What it cannot read without doubt it leaves alone. Sums, products, quotients, powers, roots, `\pi`
and letters that stand for given numbers are read; nothing else.
"""

import re
from collections.abc import Mapping
from decimal import Context, Decimal, DecimalException
from fractions import Fraction


_TOKEN = re.compile(
    r"(\d+(?:\.\d+)?|\.\d+)|\\(frac|sqrt|pi|cdot|times|div)(?![A-Za-z])|([A-Za-z])(?![A-Za-z]{2})|(\S)",
    re.DOTALL,
)
_MAX_BITS = 2000  # of a numerator or denominator: keeps every operation as cheap as the first
_DEPTH = 30
_PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640628621")
_E = Decimal("2.71828182845904523536028747135266249775724709369995957496696762772407663035355")
_CONTEXT = Context(prec=60, Emax=100_000, Emin=-100_000)
_FAR = Decimal("1e-20")
Value = Fraction | Decimal


class _Unreadable(Exception):
    pass


def evaluate(text: str, letters: Mapping[str, Fraction] | None = None) -> Value | None:
    """
    Evaluate an expression.

    Args:
        text (`str`):
            A cleaned expression.
        letters (`Mapping[str, Fraction]`, *optional*):
            Values of its letters. One that has none makes the expression unreadable.

    Returns:
        `Fraction` (exact), `Decimal` (to some fifty digits) or `None`: The value, `None` when the text is not such an
        expression or its value is out of all bounds.
    """
    try:
        return _Reader(text, letters or {}).read()
    except (_Unreadable, DecimalException, ZeroDivisionError, OverflowError, ValueError):
        return None


def far_apart(a: Value, b: Value) -> bool:
    """Whether two values certainly differ: exactly for fractions, beyond any rounding else."""
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return a != b
    left, right = _decimal(a), _decimal(b)
    size = max(abs(left), abs(right))
    # A difference that is zero in truth leaves some 1e-60 of rounding.
    return size > _FAR and abs(_CONTEXT.subtract(left, right)) > _FAR * size


def _decimal(value: Value) -> Decimal:
    if isinstance(value, Decimal):
        return value
    return _CONTEXT.divide(Decimal(value.numerator), Decimal(value.denominator))


class _Reader:
    """One pass of recursive descent over the tokens, with a bound on its depth."""

    def __init__(self, text: str, letters: Mapping[str, Fraction]):
        self.tokens: list[tuple[str, str]] = []
        for number, command, letter, other in _TOKEN.findall(text):
            kind = "number" if number else "letter" if letter else "sign"
            self.tokens.append((kind, number or letter or (f"\\{command}" if command else other)))
        self.position, self.depth, self.letters = 0, 0, letters

    def read(self) -> Value:
        value = self._sum()
        if self.position < len(self.tokens):
            raise _Unreadable
        return value

    def _peek(self) -> str:
        return self.tokens[self.position][1] if self.position < len(self.tokens) else ""

    def _kind(self) -> str:
        return self.tokens[self.position][0] if self.position < len(self.tokens) else ""

    def _take(self, *signs: str) -> str:
        if self._kind() != "number" and self._peek() in signs:
            self.position += 1
            return self.tokens[self.position - 1][1]
        return ""

    def _sum(self) -> Value:
        self.depth += 1
        if self.depth > _DEPTH:
            raise _Unreadable
        sign = self._take("+", "-")
        value = self._product()
        if sign == "-":
            value = -value
        while sign := self._take("+", "-"):
            other = self._product()
            value = _combine("+", value, -other if sign == "-" else other)
        self.depth -= 1
        return value

    def _product(self) -> Value:
        value, divided = self._power(), False
        while True:
            if sign := self._take("*", "/", "\\cdot", "\\times", "\\div"):
                divided = sign in ("/", "\\div")
                negative = self._take("-")
                other = self._power()
                value = _combine("/" if divided else "*", value, -other if negative else other)
            elif self._kind() == "letter" or self._peek() in ("(", "\\sqrt", "\\pi", "\\frac"):
                # 1/2x and 1 \frac{1}{2} mean one thing to some and another to others.
                if divided or (self._peek() == "\\frac" and self.tokens[self.position - 1][0] == "number"):
                    raise _Unreadable
                value = _combine("*", value, self._power())
            else:
                return value

    def _power(self) -> Value:
        base = self._atom()
        if self._take("^"):
            exponent = self._group() if self._peek() == "{" else self._atom(single=True)
            base = _raise(base, exponent)
        if self._peek() in ("^", "_", "!", "%", "°", "'"):
            raise _Unreadable
        return base

    def _atom(self, single: bool = False) -> Value:
        kind, token = self._kind(), self._peek()
        self.position += 1
        if kind == "number":
            if single and len(token) > 1:  # 2^10 without braces is 2^1 0 in LaTeX and 2^10 to everybody
                raise _Unreadable
            return _bounded(Fraction(token))
        if kind == "letter":
            if token in self.letters:
                return self.letters[token]
            if token == "e":
                return _E
            raise _Unreadable
        if token == "\\pi":
            return _PI
        if token in ("(", "{"):
            self.position -= 1
            return self._group()
        if token == "\\frac":
            return _combine("/", self._argument(), self._argument())
        if token == "\\sqrt":
            index: Value = Fraction(2)
            if self._take("["):
                index = self._sum()
                if not self._take("]"):
                    raise _Unreadable
            if not isinstance(index, Fraction) or index.denominator != 1 or not 0 < index < 100:
                raise _Unreadable
            return _root(self._argument(), int(index))
        raise _Unreadable

    def _argument(self) -> Value:
        """`{..}`, or one digit or letter; `\\frac12` is a half."""
        if self._peek() == "{":
            return self._group()
        token = self._peek()
        if self._kind() == "number" and len(token) > 1 and token.isdigit():
            self.tokens[self.position] = ("number", token[1:])
            return Fraction(token[0])
        self.depth += 1
        if self.depth > _DEPTH:
            raise _Unreadable
        value = self._atom(single=True)
        self.depth -= 1
        return value

    def _group(self) -> Value:
        closing = {"(": ")", "{": "}"}[self._take("(", "{")]
        value = self._sum()
        if not self._take(closing):
            raise _Unreadable
        return value


def _bounded(value: Fraction) -> Fraction:
    if max(abs(value.numerator).bit_length(), value.denominator.bit_length()) > _MAX_BITS:
        raise _Unreadable
    return value


def _combine(sign: str, a: Value, b: Value) -> Value:
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return _bounded(a + b if sign == "+" else a * b if sign == "*" else a / b)
    left, right = _decimal(a), _decimal(b)
    return {"+": _CONTEXT.add, "*": _CONTEXT.multiply, "/": _CONTEXT.divide}[sign](left, right)


def _raise(base: Value, exponent: Value) -> Value:
    if not isinstance(exponent, Fraction) or abs(exponent.numerator) > 64 or exponent.denominator > 12:
        raise _Unreadable
    if exponent.denominator > 1:
        base = _root(base, exponent.denominator)
    power = exponent.numerator
    if isinstance(base, Fraction):
        if max(base.numerator.bit_length(), base.denominator.bit_length()) * abs(power) > _MAX_BITS:
            raise _Unreadable
        if base == 0 and power <= 0:
            raise _Unreadable
        return _bounded(base**power)
    return _CONTEXT.power(base, Decimal(power))


def _root(value: Value, index: int) -> Value:
    if value < 0:
        raise _Unreadable
    if isinstance(value, Fraction):
        top, bottom = _integer_root(value.numerator, index), _integer_root(value.denominator, index)
        if top is not None and bottom is not None:
            return Fraction(top, bottom)
    number = _decimal(value)
    if index == 2:
        return _CONTEXT.sqrt(number)
    return _CONTEXT.power(number, _CONTEXT.divide(Decimal(1), Decimal(index))) if number else Decimal(0)


def _integer_root(value: int, index: int) -> int | None:
    guess = round(value ** (1 / index)) if value.bit_length() < 900 else 0
    return guess if guess**index == value else None


_PIECE = re.compile(r"\\[A-Za-z]+|\\.|\d+(?:\.\d+)?|[A-Z]{2,}|.", re.DOTALL)
_SCRIPTS = ("^", "_")
_RELATIONS = ("=", "<", ">", "\\le", "\\ge", "\\ne", "\\approx")
_UNORDERED = ("\\cdot", "*")
# Behind these the order of factors may count: operators over what follows, products of vectors and matrices.
_OVER_ALL = ("\\sum", "\\prod")
_IN_ORDER = frozenset(
    r"\sum \prod \int \lim \log \ln \sin \cos \tan \cot \sec \csc \max \min \Delta \partial \nabla \circ".split()
)
_NOT_READ = r"\begin \vec \mathbf \overrightarrow \hat \mid \bmod \pmod : , ; | !".split()


def reorder(text: str) -> str | None:
    r"""
    Write terms and factors in one order: `F_k F_{n-k}` and `F_{n-k} F_k`, or `1 + 2x` and `2x + 1`, become one text.

    Args:
        text (`str`):
            A cleaned expression or equation.

    Returns:
        `str` or `None`: The text in that order, `None` where order may count or the text cannot be followed.
    """
    if any(sign in text for sign in _NOT_READ):
        return None
    pieces = [piece for piece in _PIECE.findall(text) if not piece.isspace()]
    try:
        ordered, end = _ordered(pieces, 0, 0)
    except _Unreadable:
        return None
    return ordered if end == len(pieces) else None


def _ordered(pieces: list[str], start: int, depth: int) -> tuple[str, int]:
    """The pieces from `start` to a closing bracket or the end, and where they end."""
    if depth > _DEPTH:
        raise _Unreadable
    sides: list[str] = []
    terms: list[str] = []
    factors: list[str] = []
    sign = "+"
    position = start
    while position <= len(pieces):
        piece = pieces[position] if position < len(pieces) else ""
        ends = piece in ("", ")", "}", "]") or piece in _RELATIONS
        if ends or (piece in ("+", "-") and (factors or terms)):
            if factors:
                terms.append(sign + _in_order(factors))
            elif terms or not ends:
                raise _Unreadable
            factors, sign = [], piece
            if ends:
                sides.append("".join(sorted(terms)))
                if piece not in _RELATIONS:
                    return "".join(sides), position
                sides.append(piece)
                terms, sign = [], "+"
            position += 1
        elif piece in ("+", "-"):
            sign, position = piece, position + 1
            if position < len(pieces) and pieces[position] in ("+", "-"):
                raise _Unreadable
        else:
            factor, position = _factor(pieces, position, depth)
            if factors and factor[0].isdigit() and factors[-1][0].isdigit():
                raise _Unreadable
            factors.append(factor)
    raise _Unreadable


def _factor(pieces: list[str], position: int, depth: int) -> tuple[str, int]:
    """One factor with its arguments and scripts, the insides of its groups in order."""
    found = pieces[position]
    if found in ("(", "{", "["):
        inner, end = _ordered(pieces, position + 1, depth + 1)
        if end >= len(pieces):
            raise _Unreadable
        found, position = found + inner + pieces[end], end + 1
    else:
        position += 1
    while position < len(pieces):
        if pieces[position] in _SCRIPTS and position + 1 < len(pieces):
            script = pieces[position]
            inner, position = _group_or_piece(pieces, position + 1, depth)
            found += script + inner
        elif pieces[position] in ("{", "[") and found not in _UNORDERED and (found[0] == "\\" or found[-1] == "}"):
            inner, position = _group_or_piece(pieces, position, depth)
            found += inner
        elif pieces[position] == "'":
            found, position = found + "'", position + 1
        elif pieces[position] == "(" and (found[-1].isalpha() or found[-1] == "'"):  # f(x) is not f times x
            inner, end = _ordered(pieces, position + 1, depth + 1)
            if end >= len(pieces):
                raise _Unreadable
            found, position = f"{found}({inner})", end + 1
        else:
            break
    return found, position


def _group_or_piece(pieces: list[str], position: int, depth: int) -> tuple[str, int]:
    if pieces[position] not in ("{", "["):
        if not (pieces[position].isalnum() or pieces[position].startswith("\\")):
            raise _Unreadable
        return "{" + pieces[position] + "}", position + 1
    inner, end = _ordered(pieces, position + 1, depth + 1)
    if end >= len(pieces):
        raise _Unreadable
    return "{" + inner + "}", end + 1


def _in_order(factors: list[str]) -> str:
    """Factors sorted between the operators that they must not cross; a quotient stays as it was written."""
    if any(factor in ("/", "\\div", "\\times") for factor in factors):
        return " ".join(factors)
    ordered: list[str] = []
    run: list[str] = []
    keep = False
    for factor in factors:
        if factor in _UNORDERED:
            continue
        name = re.split(r"[_^{]", factor, maxsplit=1)[0]
        if name in _IN_ORDER:
            ordered += [*(run if keep else sorted(run)), factor]
            run, keep = [], keep or name not in _OVER_ALL
        else:
            run.append(factor)
    return " ".join([*ordered, *(run if keep else sorted(run))])
