# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Answers in words: option letters, yes and no, free text, dates, class names. Standard library only."""

import re
import unicodedata
from collections.abc import Sequence
from datetime import datetime

from mmr1_trl.rewards.values import clean, compact, parse_quantity, same_quantity


_LETTER = re.compile(r"(?:option|choice|answer)?\s*[(\[{]?\s*([A-Za-z])\s*[)\]}]?\s*[.:]?", re.IGNORECASE)
_LETTER_AND_TEXT = re.compile(
    r"(?:option |choice )?(?:\(([A-Za-z])\)|\[([A-Za-z])\]|([A-Za-z])\s?[.):,])(?:\s+|$)", re.I
)
# Possessive and unambiguous: an answer may hold thousands of letters.
_SEVERAL = re.compile(r"\A[(\[{]?[A-Z](?:(?:[\s,;&/]|and\b)++\(?[A-Z]\)?)++[)\]}]?\.?")
_OPTION_PREFIX = re.compile(r"^\s*(?:\(([A-Z])\)|([A-Z])\s?[.):])\s*")


def option_letters(text: str, options: Sequence[str] = ()) -> frozenset[str]:
    """
    Read an answer as option letters.

    Args:
        text (`str`):
            "B", "(B)", "B. 12 cm", "A, C", "ACD" or, when the options are known, the text of exactly one of them.
        options (`Sequence[str]`, *optional*):
            The choices in order.

    Returns:
        `frozenset[str]`: Upper-case letters, empty when the text names no option.
    """
    text = clean(text)
    equal, similar = _matching_options(text, options)
    named = equal or (similar if len(similar) == 1 else [])  # of several similar ones none is named
    letters = ""
    if single := _LETTER.fullmatch(text):
        letters = single[1].upper()
    elif equal:  # before several letters: "AC" and "A and B" may be the text of an option
        return frozenset(equal)
    elif _SEVERAL.fullmatch(text):
        letters = "".join(re.findall(r"[A-Z]", re.sub(r"and", "", text)))
    elif 1 < len(text) <= 10 and text.isascii() and text.isupper() and text.isalpha() and len(set(text)) == len(text):
        letters = text
    elif not named and (lettered := _LETTER_AND_TEXT.match(text)):
        letters = (lettered[1] or lettered[2] or lettered[3]).upper()
    last = chr(ord("A") + len(options) - 1) if options else "Z"
    return frozenset(letters if letters and max(letters) <= last else named)


def _matching_options(text: str, options: Sequence[str]) -> tuple[list[str], list[str]]:
    """The options that are the text up to spaces, and those that say the same with other signs around it."""
    equal, similar = [], []
    tight, words, quantity = _without_spaces(text), normalize_text(text), parse_quantity(text)
    for letter, option in zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", options):
        option = clean(_OPTION_PREFIX.sub("", option))
        if _without_spaces(option) == tight != "":
            equal.append(letter)
        if normalize_text(option) == words != "" or same_quantity(parse_quantity(option), quantity):
            similar.append(letter)
    return equal, similar


def _without_spaces(text: str) -> str:
    return re.sub(r",\s+", ",", compact(text))


_YES_NO = {"yes": True, "true": True, "no": False, "false": False}


def read_yes_no(text: str) -> bool | None:
    """`True` for yes/true, `False` for no/false, `None` for anything else or for both ("yes and no")."""
    words = re.findall(r"[a-z]+", clean(text).lower())
    if not words or words[0] not in _YES_NO or {"yes", "no"} <= set(words) or {"true", "false"} <= set(words):
        return None
    return _YES_NO[words[0]]


_DATE_FORMATS = ("%Y-%m-%d", "%Y/%m/%d", "%B %d %Y", "%d %B %Y", "%b %d %Y", "%d %b %Y")


def normalize_text(text: str) -> str:
    """
    Case, accents kept apart, articles, punctuation and spaces taken out of the comparison. The sign and the separators
    of a number stay, save those of a date, which everybody writes with others.
    """
    text = unicodedata.normalize("NFKC", clean(text)).casefold()
    text = re.sub(r"(?<!\d)(\d+)[./-](\d+)[./-](\d+)(?!\d)", r"\1 \2 \3", text)
    text = re.sub(r"(?<=\w)-|-(?!\.?\d)|(?<!\d)[.:/]|[.:/](?!\d)|[^\w\s%$€£+<>=.:/-]|_", " ", text)
    return " ".join(word for word in text.split() if word not in ("a", "an", "the"))


def read_date(text: str) -> datetime | None:
    """The day that a text names in one of the common ways of writing it, else `None`."""
    text = re.sub(r"(?<=\d)(?:st|nd|rd|th)\b", "", clean(text)).replace(",", "").replace(".", "")
    for form in _DATE_FORMATS:
        try:
            return datetime.strptime(text, form)
        except ValueError:
            continue
    return None


def normalize_label(text: str) -> str:
    """A class name without case, spaces, underscores, hyphens and punctuation: "Maine_Coon" is "maine coon"."""
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", clean(text)).casefold())
