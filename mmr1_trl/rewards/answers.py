# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
r"""
Find the one final answer of a completion.

The rule, in order:

1. Reasoning never counts. When the text holds `</think>`, only what follows the last one is read; a `<think>` that is
   still open after that means that the model has not answered.
2. The last non-empty `\boxed{}` with balanced braces.
3. Else the last non-empty `<answer>..</answer>`.
4. Else what follows the last "answer is", "answer:" or the like within the last 4,000 characters, up to the end of its
   line or sentence.
5. Else the whole visible text, when it is one line of at most 100 characters without a box or an answer tag that was
   left empty or open.
6. Else there is no answer.
"""

import json
import re
from collections.abc import Sequence

from mmr1_trl.rewards.compare import looks_like_math
from mmr1_trl.rewards.intervals import parse_intervals
from mmr1_trl.rewards.locations import MAX_CHARS, locate, read_detections
from mmr1_trl.rewards.values import clean, parse_quantity, split_list, strip_brackets
from mmr1_trl.rewards.words import option_letters


ANSWER_TYPES = (
    "multiple_choice",
    "yes_no",
    "number",
    "ratio",
    "list",
    "set",
    "interval",
    "latex",
    "text",
    "point",
    "box",
    "detections",
    "class_label",
)
# Answers that are places in a picture, which models write in forms of their own.
LOCATED_TYPES = ("point", "box", "detections")

_BARE_LINE = 100
_STATED_CHARS = 4000
_BRACES = re.compile(r"\\(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)
_TAGS = re.compile(r"</?answer>", re.IGNORECASE)
_STATED = re.compile(
    r"(?:\banswer\b(?:\s+to\s+(?:this|the)\s+(?:question|problem))?|\bcorrect\s+(?:option|choice)\b)"
    r"[ \t]*(?:is|are|was|:|=|\uff1a)[ \t]*:?[ \t]*",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.!?](?:\s|$)")


def completion_text(completion: str | list[dict]) -> str:
    """
    Return the text of a completion in either of the forms that TRL passes to reward functions.

    Args:
        completion (`str` or `list[dict]`):
            Plain text, or messages of which the last one holds the reply; content may be a list of typed blocks.

    Returns:
        `str`: The text, `""` when there is none.
    """
    if isinstance(completion, str):
        return completion
    content = completion[-1].get("content") if completion else None
    if isinstance(content, list):
        return "".join(block.get("text") or "" for block in content if isinstance(block, dict))
    return content or ""


def visible_text(text: str) -> str | None:
    """
    Cut the reasoning away.

    Args:
        text (`str`):
            A completion.

    Returns:
        `str` or `None`: What follows the last `</think>` (the whole text when there is none), or `None` when a
        `<think>` is still open at the end.
    """
    end = text.rfind("</think>")
    rest = text[end + len("</think>") :] if end >= 0 else text
    return None if "<think>" in rest else rest


def _last_boxed(text: str) -> str | None:
    # One pass with a stack: linear even over thousands of braces that never close, or of boxes in one another.
    stack: list[tuple[bool, int]] = []
    found, found_at = None, -1
    for match in _BRACES.finditer(text):
        token = match.group()
        if token[-1] == "{" and token != "\\{":
            stack.append((len(token) > 1, match.end()))
        elif token == "}" and stack:
            is_boxed, start = stack.pop()
            # A box around another one stands for the inner one.
            if is_boxed and found_at < start and (content := text[start : match.start()].strip()):
                found, found_at = content, start
    return found


def last_tagged(text: str) -> str | None:
    """The content of the last `<answer>..</answer>` that has some; one pass, linear in any text."""
    found, start = None, -1
    for tag in _TAGS.finditer(text):
        if not tag.group().startswith("</"):
            start = tag.end()
        elif start >= 0:
            found, start = text[start : tag.start()].strip() or found, -1
    return found


def extract_answer(text: str) -> str | None:
    r"""
    Extract the final answer of a completion by the rule at the top of this module.

    Args:
        text (`str`):
            A completion.

    Returns:
        `str` or `None`: The answer as the model wrote it, stripped, or `None` when there is none.

    Example:
    ```python
    >>> extract_answer(r"<think>\boxed{3}? No.</think> So \boxed{\frac{1}{2}}.")
    '\\frac{1}{2}'
    ```
    """
    visible = visible_text(text)
    if visible is None:
        return None
    boxed = _last_boxed(visible)
    if boxed is not None:
        return boxed
    tagged = last_tagged(visible)
    if tagged is not None:
        return tagged
    return _stated_answer(visible)


def _stated_answer(visible: str) -> str | None:
    # A statement stands near the end; a bounded tail keeps megabytes of "answer is" from costing anything.
    tail = visible[-_STATED_CHARS:].replace("**", "")
    for statement in reversed(list(_STATED.finditer(tail))):
        line = tail[statement.end() :].lstrip("\n").split("\n", 1)[0]
        if end := _SENTENCE_END.search(line):
            line = line[: end.start()]
        if line.strip():
            return line.strip()
    bare = visible.strip()
    unfinished = "\n" in bare or "\\boxed" in bare or "<answer>" in bare
    return bare if bare and len(bare) <= _BARE_LINE and not unfinished else None


_LETTERED = re.compile(r"[(\[]?([A-J])[)\].:]?|\(([A-J])\)\s.*|([A-J])[.):]\s.*", re.DOTALL)
_LETTERS = re.compile(r"[A-J](?:\s*(?:,|;|&|and)\s*[A-J])+")
_MONTH = re.compile(r"\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\b", re.IGNORECASE)
_COORDINATES = re.compile(r"\[\s*-?[\d.]+(?:\s*,\s*-?[\d.]+){3}\s*\]")


def located_text(text: str) -> str:
    """
    Cut out the part of a completion in which a point, a box or detections are to be read.

    Args:
        text (`str`):
            A completion.

    Returns:
        `str`: The final answer where there is one that holds numbers, else everything after the reasoning: models
        often give boxes as bare JSON over several lines, which no rule for short answers would pick up.
    """
    visible, answer = visible_text(text) or "", extract_answer(text)
    marked = "<answer>" in visible or "\\boxed" in visible
    if answer is not None and (marked or any(char in "0123456789" for char in answer)):
        return answer[-MAX_CHARS:]
    return visible[-MAX_CHARS:]


def located_answer(text: str, answer_type: str) -> str | None:
    """
    Extract the final answer of a completion to a question for a point, a box or detections.

    Args:
        text (`str`):
            A completion.
        answer_type (`str`):
            One of `LOCATED_TYPES`.

    Returns:
        `str` or `None`: The numbers of the point or the box as `"[x, y]"` or `"[x1, y1, x2, y2]"`, or the text with
        the detections; `None` when there is no answer.
    """
    text = located_text(text)
    if answer_type == "detections":
        return None if read_detections(text) is None else text
    numbers = locate(text, answer_type)
    return None if numbers is None else json.dumps([int(n) if n.is_integer() else n for n in numbers])


def infer_answer_type(gold: str, options: Sequence[str] | None = None) -> str:
    r"""
    Choose the answer type from the gold alone; the same gold always gives the same type.

    The first that fits: letters or the text of one option (`multiple_choice`), yes/no/true/false, a number with or
    without unit, four numbers in square brackets (`box`), `a:b` (`ratio`), an interval or inequality (round brackets
    around two finite numbers are a `list`, in order), braces or bare commas (`set`, in any order), an expression
    (`latex`), else `text`. A dataset column overrides all of it.

    Args:
        gold (`str`):
            The gold answer.
        options (`Sequence[str]`, *optional*):
            The choices, when the question has some.

    Returns:
        `str`: One of `ANSWER_TYPES`.
    """
    text = clean(gold)
    if options and option_letters(gold, options):
        return "multiple_choice"
    if _LETTERED.fullmatch(text) or _LETTERS.fullmatch(text):
        return "multiple_choice"
    if text.lower() in ("yes", "no", "true", "false"):
        return "yes_no"
    if parse_quantity(text):
        return "number"
    if _COORDINATES.fullmatch(text):
        return "box"
    if _MONTH.search(text) and re.search(r"\d", text):
        return "text"
    inner, brackets = strip_brackets(text)
    parts = split_list(inner)
    if ":" in text and looks_like_math(text) and "\\" not in text.replace("\\sqrt", "").replace("\\frac", ""):
        return "ratio"
    if parse_intervals(text) and (brackets != "()" or "infty" in text) and not (brackets == "[]" and _falls(parts)):
        return "interval"
    if "\\begin" in text or re.search(r"[A-Za-z]\s*\(", text) and len(split_list(text)) == 1:
        return "latex" if looks_like_math(text) else "text"
    if len(parts) > 1 and brackets in ("()", "[]"):
        return "list"
    if brackets == "{}" or "\\pm" in text or (len(parts) > 1 and len(text) <= 200):
        return "set"
    return "latex" if looks_like_math(text) else "text"


def _falls(parts: list[str]) -> bool:
    ends = [parse_quantity(part) for part in parts]
    return len(ends) == 2 and ends[0] is not None and ends[1] is not None and ends[0].value > ends[1].value
