# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Intervals in bracket and in inequality notation. Standard library only."""

import re

from mmr1_trl.rewards.values import clean, split_list, strip_brackets


_UNION = re.compile(r"\s*(?:\\cup|\bU\b|\bor\b|\\text\{or\})\s*")
_MEMBER = re.compile(
    r"^\\?\{?\s*[A-Za-z]\s*(?:\\in\s*(?:\\mathbb\s*\{?R\}?|R)?)?\s*(?:\||\\mid|:)\s*|^[A-Za-z]\s*\\in\s*"
)
_LESS, _MORE = r"(<|\\l[et](?![a-z]))", r"(>|\\g[et](?![a-z]))"
_CHAIN = re.compile(rf"(.+?)\s*{_LESS}\s*[A-Za-z]\s*{_LESS}\s*(.+)")
_CHAIN_DOWN = re.compile(rf"(.+?)\s*{_MORE}\s*[A-Za-z]\s*{_MORE}\s*(.+)")
_BOUND = re.compile(r"[A-Za-z]\s*([<>]|\\[lg][et](?![a-z]))\s*(.+)")
_BOUND_LEFT = re.compile(r"(.+?)\s*([<>]|\\[lg][et](?![a-z]))\s*[A-Za-z]")
Interval = tuple[str, str, bool, bool]  # low, high, low included, high included


def parse_intervals(text: str) -> list[Interval] | None:
    r"""
    Read a union of intervals in bracket or inequality notation.

    Args:
        text (`str`):
            `"[1, 2)"`, `r"(-\infty, 3] \cup (5, \infty)"`, `"1 < x \le 2"`, `"x > 3"`.

    Returns:
        `list[tuple[str, str, bool, bool]]` or `None`: (low, high, low included, high included) of each, or `None`.
    """
    text = clean(text)
    if member := _MEMBER.match(text):
        text = text[member.end() :]
        if text.endswith("}") and text.count("{") < text.count("}"):
            text = text[:-1].removesuffix("\\")
    found: list[Interval] = []
    for part in _UNION.split(text):
        inner, brackets = strip_brackets(part.strip())
        ends = split_list(inner)
        if brackets and "{" not in brackets and len(ends) == 2:
            found.append((ends[0], ends[1], brackets[0] == "[", brackets[1] == "]"))
        elif chain := _CHAIN.fullmatch(part):
            found.append((chain[1], chain[4], chain[2] == "\\le", chain[3] == "\\le"))
        elif chain := _CHAIN_DOWN.fullmatch(part):
            found.append((chain[4], chain[1], chain[3] == "\\ge", chain[2] == "\\ge"))
        elif bound := _BOUND.fullmatch(part):
            included = bound[1] in ("\\le", "\\ge")
            low = bound[1] in (">", "\\ge", "\\gt")
            found.append((bound[2], "\\infty", included, False) if low else ("-\\infty", bound[2], False, included))
        elif bound := _BOUND_LEFT.fullmatch(part):
            included = bound[2] in ("\\le", "\\ge")
            low = bound[2] in ("<", "\\le", "\\lt")
            found.append((bound[1], "\\infty", included, False) if low else ("-\\infty", bound[1], False, included))
        else:
            return None
    return found
