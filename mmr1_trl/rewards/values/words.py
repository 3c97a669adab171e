# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Answers in words: yes and no, free text, dates, clock times, class names, "no solution". Standard library only."""

import re
import unicodedata
from datetime import datetime
from math import gcd
from typing import NamedTuple

from mmr1_trl.rewards.notation import clean


_YES_NO = {"yes": True, "true": True, "correct": True, "no": False, "false": False, "incorrect": False}
_YES_NO |= dict.fromkeys(("是", "对", "正确", "是的"), True)
_YES_NO |= dict.fromkeys(("否", "不是", "错", "错误", "不对"), False)
_UNSURE = frozenset("maybe perhaps possibly probably unsure unclear or wrong".split())
_NO_ANSWER = frozenset("answer clue clues data idea image information one picture way".split())  # "no idea"
_SHORT = 3


def read_yes_no(text: str) -> bool | None:
    """`True` for yes/true, `False` for no/false, `None` for anything else or for both ("yes and no")."""
    text = clean(text)
    if text in _YES_NO:
        return _YES_NO[text]
    words = re.findall(r"[a-z]+", text.lower())
    if not words or words[0] not in _YES_NO or _UNSURE.intersection(words):
        return None
    if words[0] == "no" and _NO_ANSWER.intersection(words[1:2]):
        return None
    if {"yes", "no"} <= set(words) or {"true", "false"} <= set(words) or {"correct", "incorrect"} <= set(words):
        return None
    if len(words) <= _SHORT and len({_YES_NO[word] for word in words if word in _YES_NO}) > 1:
        return None  # "true and no"
    return _YES_NO[words[0]] if len(words) == 1 or words[0] not in ("correct", "incorrect") else None


_SENTENCE = re.compile(
    r"(?:based on [^,.]{1,60}, ?)?"
    r"(?P<subject>(?:the|its|their|his|her|this|that) [^,;:=<>?!.]{1,120}?|it|this|that|there)"
    r"(?: is| are| was| were| equals| (?:must|should|would|will) be|'s)(?: equal to)? (?P<said>.+)",
    re.IGNORECASE,
)
_SECOND_CLAUSE = re.compile(
    r"\b(?:is|are|was|were|equals|no|not|nor|neither|if|when|unless|whether)\b|n't\b", re.IGNORECASE
)


def read_sentence(text: str) -> str:
    """
    What a sentence says of its subject: `60` of "The value of x is 60.", `3 dots` of "There are 3 dots.".

    Args:
        text (`str`):
            An answer.

    Returns:
        `str`: The predicate, `""` when the text is no such sentence, or one with a condition, a denial or two verbs.
    """
    sentence = _SENTENCE.fullmatch(clean(text))
    if sentence is None or any(_SECOND_CLAUSE.search(part) for part in sentence.groups()):
        return ""
    return sentence["said"]


def normalize_text(text: str) -> str:
    """
    Case, accents kept apart, articles, punctuation and spaces taken out of the comparison. The sign and the separators
    of a number stay, save those of a date, which everybody writes with others.
    """
    text = unicodedata.normalize("NFKC", clean(text)).casefold()
    text = re.sub(r"(?<!\d)(\d{1,4})[./-](\d{1,4})[./-](\d{1,4})(?!\d)", r"\1 \2 \3", text)
    text = re.sub(r"(?<=\w)-|-(?!\.?\d)|(?<!\d)[.:/]|[.:/](?!\d)|[^\w\s%$€£+<>=.:/-]|_", " ", text)
    words = text.split()
    # An article stands before a word: the last one of "red, A" is a letter.
    return " ".join([*(word for word in words[:-1] if word not in ("a", "an", "the")), *words[-1:]])


_DATE_FORMATS = ("%Y-%m-%d", "%Y/%m/%d", "%Y年%m月%d日", "%B %d %Y", "%d %B %Y", "%b %d %Y", "%d %b %Y")
_LONGEST_DATE = 40


def read_date(text: str) -> datetime | None:
    """The day that a text names in one of the common ways of writing it, else `None`."""
    text = clean(text)
    if len(text) > _LONGEST_DATE:
        return None
    text = re.sub(r"(?<=\d)(?:st|nd|rd|th)\b", "", text).replace(",", "").replace(".", "")
    for form in _DATE_FORMATS:
        try:
            return datetime.strptime(text, form)
        except ValueError:
            continue
    return None


def normalize_label(text: str) -> str:
    """A class name without case, spaces, underscores, hyphens and punctuation: "Maine_Coon" is "maine coon"."""
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", clean(text)).casefold())


class ClockTime(NamedTuple):
    """A time of day in seconds; `half` is "am" or "pm", `""` when only the hour tells (or does not)."""

    seconds: int
    half: str


_HALF = r"(?P<half>[ap]\s?\.?\s?m\b\.?|noon|midnight|in the (?:morning|afternoon|evening))"
_CLOCK = re.compile(
    r"\A(?:at )?(?P<before>上午|早上|凌晨|中午|下午|晚上)?\s?(?P<hour>\d{1,2})"
    r"(?:\s?(?P<sign>[:点时h])\s?(?P<minute>\d\d)分?(?::(?P<second>\d\d))?|\s?点整?|(?P<dot>\.\d\d)(?=\s?[ap]))?"
    rf"(?P<clock>\s?o\s?'?\s?clock)?\s?{_HALF}?\Z",
    re.IGNORECASE,
)
_CLOCK_WORDS = re.compile(
    r"\A(?P<part>half|(?:a )?quarter|\d{1,2} minutes) (?P<side>past|after|to|before) (?P<hour>\d{1,2}|[a-z]{3,6})"
    rf"(?: o\s?'?\s?clock)?\s?{_HALF}?\Z",
    re.IGNORECASE,
)
_HOURS = "twelve one two three four five six seven eight nine ten eleven".split()


def read_time(text: str) -> ClockTime | None:
    """
    Read a clock time: `7 o'clock`, `3:45 PM`, `15:45`, `half past nine`, `noon`.

    Args:
        text (`str`):
            An answer.

    Returns:
        `ClockTime` or `None`.
    """
    text = clean(text)
    if len(text) > _LONGEST_DATE:
        return None
    word, _, after = text.partition(" ")
    if word.lower() in ("noon", "midnight") and not after:
        return ClockTime(12 * 3600, "pm") if word.lower() == "noon" else ClockTime(0, "am")
    if word.lower() in _HOURS and after:
        text = f"{_HOURS.index(word.lower()) or 12} {after}"
    if match := _CLOCK.match(text):
        part = match.groupdict()
        marked = part["sign"] or part["clock"] or part["half"] or part["before"] or part["dot"] or text[-1] in "点整"
        minute = int(part["minute"] or (part["dot"] or ".0")[1:])
        hour, second = int(part["hour"]), int(part["second"] or 0)
        if not marked:
            return None
    elif match := _CLOCK_WORDS.match(text):
        part = match.groupdict()
        named = part["hour"].lower()
        if not named.isdigit() and named not in _HOURS:
            return None
        hour = int(named) if named.isdigit() else _HOURS.index(named) or 12
        size = (
            part["part"].lower().split()[-1] if "quarter" in part["part"].lower() else part["part"].split()[0].lower()
        )
        minute, second = {"half": 30, "quarter": 15}.get(size) or int(size), 0
        if part["side"].lower() in ("to", "before"):
            hour, minute = (hour - 1) % 12 or 12, 60 - minute
        part["before"] = None
    else:
        return None
    if hour > 24 or minute > 59 or second > 59 or (hour == 24 and minute + second):
        return None
    half = _half_of_day(part["half"], part["before"])
    if half and hour > 12:
        half = "" if half == "pm" else "wrong"
    elif half:
        hour = hour % 12 + (12 if half == "pm" else 0)
    return None if half == "wrong" else ClockTime((hour * 60 + minute) * 60 + second, half)


def _half_of_day(after: str | None, before: str | None) -> str:
    if before:
        return "pm" if before in ("中午", "下午", "晚上") else "am"
    after = (after or "").lower()
    if not after:
        return ""
    if after.startswith("in the"):
        return "am" if after.endswith("morning") else "pm"
    return "am" if after[0] == "a" or after == "midnight" else "pm"


_BARE_TIME = re.compile(r"(\d{1,2})\s?:\s?(\d\d)(?::(\d\d))?")


def is_clock_time(text: str) -> bool:
    """
    Whether a cleaned gold is a clock time by itself.

    A bare `h:mm` or `h:mm:ss` is one when it is not in lowest terms, or when its minutes or seconds start with 0;
    `5:12` and `5:12:13` stay ratios.
    """
    if read_time(text) is None:
        return False
    bare = _BARE_TIME.fullmatch(text)
    parts = [part for part in bare.groups() if part] if bare else []
    return bare is None or any(part[0] == "0" for part in parts[1:]) or gcd(*map(int, parts)) > 1


def same_time(gold: ClockTime, given: ClockTime) -> bool:
    """Whether two clock times agree; morning or afternoon counts where both sides or a 24-hour clock tell it."""
    if bool(gold.half) != bool(given.half):
        bare = given if gold.half else gold
        if bare.seconds < 13 * 3600:  # 3:45 may be in the afternoon, 15:45 cannot be in the morning
            return gold.seconds % 43200 == given.seconds % 43200
    return gold.seconds % 86400 == given.seconds % 86400


_NOTHING = re.compile(
    r"(?:there (?:is|are) )?no (?:real |integer |such |possible |valid )?(?:solutions?|roots?|zeros?)(?: exists?)?|"
    r"(?:the )?empty set|(?:the )?null set|no real (?:number )?solutions?|\\emptyset|\\?\{ ?\\?\}|"
    r"(?:方程)?无(?:实数)?解|空集|无实根",
    re.IGNORECASE,
)
_UNDEFINED = re.compile(r"(?:it )?does not exist|dne|undefined|不存在|not defined|is undefined", re.IGNORECASE)


def read_nothing(text: str) -> str:
    """`"empty"` for "no solution" and the empty set, `"undefined"` for "does not exist", else `""`."""
    text = clean(text)
    _, _, value = text.replace("\\in ", "=").rpartition("=")
    if len(text) > _LONGEST_DATE:
        return ""
    for phrase in (text, value.strip()):
        if _NOTHING.fullmatch(phrase):
            return "empty"
        if _UNDEFINED.fullmatch(phrase):
            return "undefined"
    return ""
