# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""
The process behind [`pool.VerifyPool`]: reads one question per line on stdin, writes one verdict per line.

It imports math-verify once and then forks a child that does the work. The child arms a kernel timer whose default
action is death before every item, so that nothing, not even a C loop inside a power of integers, outlives the
deadline; the parent of the two then reports the item and forks a fresh child in milliseconds. Started as a program of
its own, it inherits neither CUDA nor threads nor locks of the training process.
"""

import json
import logging
import mmap
import os
import re
import resource
import signal
import sys
from fractions import Fraction
from typing import Any

from latex2sympy2_extended import NormalizationConfig
from math_verify import LatexExtractionConfig, parse, verify
from sympy import Basic, Equality, Expr, Float, I, Product, Rational, Sum, nan, simplify, zoo

from mmr1_trl.rewards.gold import Question
from mmr1_trl.rewards.grounding.boxes import STORED_PIXELS
from mmr1_trl.rewards.types import is_equal
from mmr1_trl.rewards.values.quantities import is_close


_MAX_LATEX_CHARS = 500
_MAX_NESTING = 60
# units=False: as a unit remover math-verify takes the letters off 4ab and 4cd alike; ours has run before.
_EXTRACTION = LatexExtractionConfig(
    normalization_config=NormalizationConfig(
        basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none", equations=False
    ),
    boxed_match_priority=-1,
)
_TRIG = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![A-Za-z])")
# Digits to which two numbers must agree, relative to their size and never to 1: 1/2004! is not 1/2006!.
_DIGITS = 40
_FLOAT_ROUNDING = 10


def math_equal(gold: str, answer: str, tolerance: float | None, precision: int | None) -> bool:
    """Compare two LaTeX expressions with math-verify; within `tolerance` or `precision` by their numerical values."""
    for text in (gold, answer):
        if len(text) > _MAX_LATEX_CHARS or text.count("{") + text.count("(") > _MAX_NESTING:
            return False
    parsed = [_parse(text) for text in (gold, answer)]
    if not all(parsed):
        return False
    right, given = (_prepared(expressions[0]) for expressions in parsed)
    if any(isinstance(side, Basic) and side.has(zoo, nan) for side in (right, given)):
        return False  # all divisions by zero are one to sympy
    if right == given:
        return True
    if any(
        isinstance(side, Basic) and side.has(Sum, Product) and "_" in str(side.free_symbols) for side in (right, given)
    ):
        return False  # to sympy a_k is a name of its own, and a sum over k of it n times that
    if isinstance(right, Equality) and isinstance(given, Equality):
        return _same_curve(right, given)
    if tolerance is None and precision is None:
        verdict = _compare_values(right, given)
        if verdict is not None:
            return verdict
        return bool(
            verify(
                [right, *parsed[0][1:]], [given, *parsed[1][1:]], float_rounding=_FLOAT_ROUNDING, timeout_seconds=None
            )
        )
    numbers = _number(right), _number(given)
    if numbers[0] is None or numbers[1] is None:
        return False
    return is_close(numbers[0], numbers[1], tolerance, precision)


def _parse(text: str) -> list[Any]:
    degree = " \\cdot \\frac{\\pi}{180} " if _TRIG.search(text) else " "
    return parse(f"${text.replace('°', degree)}$", extraction_config=[_EXTRACTION], parsing_timeout=None)


def _prepared(expression: Any) -> Any:
    """The letter i as the imaginary unit, whatever assumption the parser made of it, and decimals as fractions."""
    if not isinstance(expression, Basic) or isinstance(expression, Sum):
        return expression
    changes: dict[Any, Any] = {symbol: I for symbol in expression.free_symbols if str(symbol) == "i"}
    changes |= {number: Rational(str(number)) for number in expression.atoms(Float)}
    return expression.xreplace(changes) if changes else expression


def _compare_values(gold: Any, answer: Any) -> bool | None:
    """
    Decide numbers by their digits, and refute identities by their values at one fixed point, which spares most wrong
    answers a costly simplification. `None` where that does not decide.
    """
    if not isinstance(gold, Expr) or not isinstance(answer, Expr):
        return None
    symbols = sorted(gold.free_symbols | answer.free_symbols, key=str)
    point = {symbol: Rational(37 + 10 * index, 29) for index, symbol in enumerate(symbols)}
    try:
        values = [expression.subs(point).evalf(_DIGITS + 10) for expression in (gold, answer)]
        if not all(value.is_number and value.is_finite for value in values):
            return None
        size = max(abs(value) for value in values)
        if size < Float(f"1e-{_DIGITS}") and any(_is_noise(value) for value in values):
            return None  # zero, computed in a roundabout way
        close = abs(values[0] - values[1]) <= Float(f"1e-{_DIGITS}") * size
    except (TypeError, ValueError, AttributeError, ArithmeticError):
        return None  # not a function of its symbols; the full comparison decides
    return (True if not symbols else None) if close else False


def _is_noise(value: Any) -> bool:
    return value.has(Float) and any(number._prec < _DIGITS for number in value.atoms(Float)) or value == 0


def _same_curve(gold: Any, answer: Any) -> bool:
    """Whether two equations are one, up to their order and a factor that is not zero."""
    gaps = [(equation.lhs - equation.rhs) for equation in (gold, answer)]
    symbols = sorted(gaps[0].free_symbols, key=str)
    if not symbols or set(symbols) != gaps[1].free_symbols:
        return False
    point = {symbol: Rational(37 + 10 * index, 29) for index, symbol in enumerate(symbols)}
    values = [gap.subs(point) for gap in gaps]
    if any(value == 0 for value in values):
        return False
    return bool(simplify(gaps[0] * values[1] - gaps[1] * values[0]) == 0)


def _number(expression: Any) -> Fraction | None:
    if not getattr(expression, "is_number", False) or not expression.is_real:
        return None
    return Fraction(str(expression.evalf(30)))


def _serve(requests: Any, reply: Any, busy: mmap.mmap, deadline: float) -> None:
    for line in requests:
        request = json.loads(line)
        busy[0] = 1
        signal.setitimer(signal.ITIMER_REAL, deadline)
        try:
            fields = request["question"]
            question = Question(**fields | {"options": tuple(fields["options"]), "frame": STORED_PIXELS, "others": ()})
            status = "equal" if is_equal(question, request["answer"], math_equal) else "different"
        except MemoryError:
            status = "memory"
        except (RecursionError, ArithmeticError, ValueError, TypeError, AttributeError, KeyError, IndexError):
            status = "unreadable"  # a parser's way of saying that this is not mathematics
        except Exception as error:
            status = f"error {type(error).__name__}"
        signal.setitimer(signal.ITIMER_REAL, 0)
        busy[0] = 0
        reply.write(json.dumps({"status": status}) + "\n")
        reply.flush()
        if status == "memory":
            os._exit(3)  # the heap is fragmented: start over from the clean parent


def main(deadline: float, memory_bytes: int) -> None:
    """Serve until stdin closes."""
    logging.disable(logging.CRITICAL)
    # Whatever a parser prints must not reach the protocol.
    reply = os.fdopen(os.dup(1), "w")
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    # The first comparison builds the parser's tables; every forked child then starts with them.
    math_equal("\\frac{x+1}{2}", "\\sqrt{y}", None, None)
    reply.write(json.dumps({"status": "ready"}) + "\n")
    reply.flush()
    os.dup2(quiet, 2)
    busy = mmap.mmap(-1, 1)
    while True:
        child = os.fork()
        if child == 0:
            with os.fdopen(0, "r", closefd=False) as requests:
                _serve(requests, reply, busy, deadline)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0:
            return  # end of input
        if busy[0]:
            busy[0] = 0
            timed_out = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM
            reply.write(json.dumps({"status": "timeout" if timed_out else "crash"}) + "\n")
            reply.flush()


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))
