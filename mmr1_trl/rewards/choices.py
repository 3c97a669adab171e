# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Answers to multiple-choice questions: letters, and the texts of the options. Standard library only."""

import re
from collections.abc import Sequence
from functools import lru_cache

from mmr1_trl.rewards.notation import clean, compact
from mmr1_trl.rewards.values.quantities import parse_quantity, same_quantity
from mmr1_trl.rewards.values.words import normalize_text, read_yes_no


LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LEAD = re.compile(
    r"\A(?:(?:the )?(?:correct )?(?:answer|option|choice)s?(?: is| are|:)? ?(?:option |choice |\(?letter\)? )?"
    r"|(?:正确)?(?:的)?(?:答案|选项|选择)?(?:应?[该当]?[是为选]|:)? ?(?:选项|选)? ?)",
    re.IGNORECASE,
)
_OPEN, _CLOSE = r"[(\[{<]", r"[)\]}>]"
_SINGLE = re.compile(rf"{_OPEN}?\s?([A-Za-z])\s?{_CLOSE}?\s?[.:)!]?")
_ITEM = rf"{_OPEN}?[A-Z](?:\s?{_CLOSE})?[.]?"
_SEVERAL = re.compile(rf"\A{_OPEN}?{_ITEM}(?:(?:[\s,;&/+]|and\b|和|与|及)++{_ITEM})++{_CLOSE}?\Z")
_BRACKETED = re.compile(r"(?:\([A-Z]\)\s?){2,}")
# A label in front of more text. In "A - 5" and "A 5 cm" only what follows tells the label from an article or a point.
_LABEL = re.compile(
    r"(?:\(([A-Za-z])\)|\[([A-Za-z])\]|\{([A-Za-z])\}|([A-Z])\s?(?:\)|\.(?![A-Z])|:(?![A-Za-z]))|([a-z])[.):](?=\s|\Z)"
    r"|([A-Z])(?:\s?[,;]|\s(?=[(\[]\w)|\s--?\s"
    r"|(?=\s(?:because|since|which|is (?:the )?(?:correct|right|best|answer))\b)|(?=[\u4e00-\u9fff])"
    r"|(?=\s[\d$\\])))\s?"
)
# Other labels behind the first one: bracketed or with a bracket anywhere, with a dot where an item begins, or after a
# word that offers another choice.
_OTHER_LABEL = re.compile(
    r"(?<![\w\\])\(([A-Z])\)|(?<![\w(\\])([A-Z])\)|(?<![\w\\])\[([A-Z])\]|(?<![\w\\])([A-Z])[.:](?=\s|\Z)"
    r"|(?:\b(?:or|maybe|perhaps|possibly|not|than|either|neither|nor|also)\s|[或和、/]\s?)"
    r"(?:option |choice )?([A-Z])(?![\w'])"
)
_DENIED = re.compile(
    r"(?:is|are|was|would be|seems|looks)? ?"
    r"(?:not\b|wrong|incorrect|false|no\b|impossible|out\b|ruled out|eliminated|不|错|非)|(?:is|are)n't\b",
    re.IGNORECASE,
)
_ELSEWHERE = re.compile(
    r"\b(?:is|are) (?:wrong|incorrect|not (?:right|correct))\b|(?:[,;=]|\b(?:vs|and)\b\.?)\s?[A-Z]\s?\Z"
)
_BRACKET_LABEL = re.compile(r"(?<!\w)\((?:option |choice )?([A-Z])\)")
_DOUBT = re.compile(
    r"\b(?:not|no|wrong|incorrect|false|except|neither|nor|or|rather|unlike|than|but|instead|maybe|perhaps|possibly)\b|n't\b",
    re.IGNORECASE,
)
_BARE_LETTER = re.compile(
    r"(?:=|vs\b\.?|\?|!)?\s?(?:[Nn]o\b,?\s?)?[A-Z]"
    r"|[A-Za-z](?:(?:\s?[,;/&]\s?|\s)(?:(?:and|or)\s)?[A-Za-z](?!\w))++"
)
_REASON = re.compile(r",?\s?(?:because|since)\b", re.IGNORECASE)
_OFFERS_MORE = re.compile(
    r"(?:and|or|&|/|或|和|与)\s?(?:option |choice )?[(\[]?(?:[A-Z](?!\w)|[a-z](?=\s?[,;.)\]]|\s?\Z|\s(?:and|or)\b))"
)
_PREFIX = re.compile(r"\A\s*+(?:[(\[]([A-Za-z])[)\]]|([A-Za-z])\s?[.):、：])\s*+")


def split_label(option: str) -> tuple[str, str]:
    """The letter in front of a text, in upper case, and the rest: `B` and `12 cm` of "(b) 12 cm"."""
    match = _PREFIX.match(option)
    return ((match[1] or match[2]).upper(), option[match.end() :]) if match else ("", option)


def bare_options(options: Sequence[str]) -> list[str]:
    """The options without the letters "A.", "B." where all of them carry theirs."""
    labels = [split_label(option) for option in options]
    lettered = all(letter == LETTERS[index % 26] for index, (letter, _) in enumerate(labels))
    return [text for _, text in labels] if lettered else list(options)


@lru_cache(maxsize=8192)
def option_texts(options: tuple[str, ...]) -> tuple[str, ...]:
    """The texts of the options, cleaned, see [`bare_options`]."""
    # A single sign is all that there is of its option, even if it were a full stop elsewhere.
    return tuple(clean(text) or text.strip() for text in bare_options(options))


def option_letters(text: str, options: Sequence[str] = ()) -> frozenset[str]:
    """
    Read an answer as option letters.

    Args:
        text (`str`):
            "B", "(B)", "B. 12 cm", "A, C", "ACD" or, when the options are known, the text of exactly one of them.
        options (`Sequence[str]`, *optional*):
            The choices in order.

    Returns:
        `frozenset[str]`: Upper-case letters, empty when the text names no option, or several of which one is meant
        ("A or B").
    """
    options = tuple(options)
    equal, similar = matching_options(text, options)
    last = LETTERS[min(len(options), 26) - 1] if options else "Z"
    if equal:  # before letters: "B", "AC" and "A and B" may be the text of an option
        return frozenset(equal)
    letters = named_letters(text, options)
    if letters:
        return letters if max(letters) <= last else frozenset()
    return frozenset(similar if len(similar) == 1 else "")  # of several similar ones none is named


def named_letters(text: str, options: tuple[str, ...] = ()) -> frozenset[str]:
    """The letters that a text names by themselves or as the labels of what follows; empty for none."""
    text = clean(text)
    bare = _LEAD.sub("", text)
    if letter := _label_of_its_text(bare, options):
        return frozenset(letter)
    for candidate in (text, bare):
        if single := _SINGLE.fullmatch(candidate):
            return frozenset(single[1].upper())
    if _SEVERAL.match(bare) or _BRACKETED.fullmatch(bare):
        return frozenset(re.findall(r"[A-Z]", bare.replace("and", "")))
    if 1 < len(bare) <= 10 and bare.isascii() and bare.isupper() and bare.isalpha() and len(set(bare)) == len(bare):
        return frozenset(bare)
    label = _LABEL.match(bare)
    if label is None:
        return frozenset(_only_label(text) if options else "")
    letter = next(filter(None, label.groups())).upper()
    rest = bare[label.end() :]
    if _REASON.match(rest):
        return frozenset(letter)
    if letter == "A" and label[6] and bare[1:2] == " " and rest[:1] not in "([":  # "A 5-sided figure"
        return frozenset()
    # "(B) No, there is none" denies nothing when the text of option B begins with No.
    index = LETTERS.index(letter)
    option = option_texts(options)[index] if index < len(options) else ""
    own = normalize_text(option).split()[:1] == normalize_text(rest).split()[:1]
    if not own and _DENIED.match(rest):
        return frozenset()
    if label[0].rstrip().endswith((",", ";")) and len(rest) == 1:  # "A, b"
        return frozenset()
    if _OFFERS_MORE.match(rest) or _BARE_LETTER.fullmatch(rest) or _ELSEWHERE.search(rest):
        return frozenset()
    others = {next(filter(None, match.groups())) for match in _OTHER_LABEL.finditer(f" {rest}")}
    return frozenset() if others - {letter} else frozenset(letter)


def _label_of_its_text(text: str, options: tuple[str, ...]) -> str:
    """The letter of `(B) 15 cm`, `B 15 cm` and `B15 cm` where that is the text of option B, letters and all."""
    letter, rest = split_label(text)
    if not letter:
        letter, rest = text[:1], text[1:].strip()
        if text[1:2] != " " and rest[:1].isalpha():
            return ""
    index = LETTERS.find(letter) if letter else -1
    if not 0 <= index < len(options):
        return ""
    option = option_texts(options)[index]
    return letter if compact(option) == compact(rest) or normalize_text(option) == normalize_text(rest) != "" else ""


def _only_label(text: str) -> str:
    """The one letter in brackets in a sentence: "They are (A) Philip and Mary.", "It has a vault (option A)."."""
    letters = set(_BRACKET_LABEL.findall(text))
    return letters.pop() if len(letters) == 1 and not _DOUBT.search(text) else ""


def matching_options(text: str, options: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """The letters of the options that are the text up to spaces, and of those that say the same with other signs."""
    if not options:
        return [], []
    equal, similar = [], []
    stripped, text = text.strip(), clean(text) or text.strip()
    tight, words, quantity, said = _without_spaces(text), normalize_text(text), parse_quantity(text), read_yes_no(text)
    for letter, option in zip(LETTERS, option_texts(options)):
        if _without_spaces(option) == tight != "":
            equal.append(letter)
        alike = normalize_text(option) == words != "" or same_quantity(parse_quantity(option), quantity)
        if alike or (said is not None and read_yes_no(option) == said):
            similar.append(letter)
    exact = [letter for letter, raw in zip(LETTERS, options) if raw.strip() == stripped]
    return exact or equal, similar


def _without_spaces(text: str) -> str:
    return re.sub(r",\s", ",", compact(text))
