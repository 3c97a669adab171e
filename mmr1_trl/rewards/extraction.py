# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
r"""
Find the one final answer of a completion, and of a gold that is a whole solution.

The rule, in order:

1. Reasoning never counts. When the text holds `</think>`, only what follows the last one is read; a `<think>` that is
   still open after that means that the model has not answered.
2. The last non-empty `\boxed{}` with balanced braces, or GLM's `<|begin_of_box|>..<|end_of_box|>`. Boxes with a comma,
   "and" or "or" between them are one list: `\boxed{1}` and `\boxed{-2}`.
3. Else the last non-empty `<answer>..</answer>`.
4. Else the "answer" of a reply that is one JSON object.
5. Else what follows the last "answer is", "answer:", "答案是", "故选" or the like within the last 4,000 characters,
   up to the end of its line or sentence, or of a displayed formula; behind a heading ("## Answer") the next line.
   Else, at the very end, the words "option B is correct", a line "#### 5" (GSM8K's form) or the sentence behind
   "Therefore" or the like.
6. Else the whole visible text up to an "Explanation:", when that is one line of at most 100 characters without a box
   or an answer tag that was left empty or open.
7. Else there is no answer.
"""

import json
import re
from functools import lru_cache

from mmr1_trl.rewards.grounding.locations import MAX_CHARS, locate, read_detections
from mmr1_trl.rewards.notation import escaped_once


_BARE_LINE = 100
_STATED_CHARS = 4000
_BRACES = re.compile(r"\\{1,2}(?:boxed|fbox)\s*+\{|\\.|[{}]", re.DOTALL)
_SPACE = r"(?:[\s$~]|\\(?:[()\[\],;:! ]|q?quad(?![a-z])))*+"
_BETWEEN_BOXES = re.compile(
    rf"{_SPACE}(?:(?:[,;，；、和或与]|(?:and|or)\b|\\text\s?\{{\s*+(?:,\s*+)?(?:and|or)\s*+\}}){_SPACE}){{1,2}}+"
)
_MOST_BETWEEN = 40
_TAGS = re.compile(r"</?answer>", re.IGNORECASE)
_BOX_TAGS = re.compile(r"<\|(begin|end)_of_box\|>")
_STATED = re.compile(
    r"(?:(?<!can )(?<!can best )(?<!could )\banswers?\b[*_]?(?: to (?:this|the) (?:question|problem))?"
    r"|\banswer(?= is:? \([A-Z]\))|\bcorrect (?:option|choice)\b|\bans\b\.?(?=[ \t]*+:))"
    r"[ \t]*+(?:\((?:(?P<label>[A-Z])|[^()\n]{1,40})\)[ \t]*+)?"
    r"(?:(?:is|are|was|(?:would|should|must|will|has to) be)\b|[:=\uff1a])[ \t]*+"
    r"(?:(?:therefore|thus|hence|then|clearly|definitely|actually|still|simply|just|indeed|obviously),?[ \t]++)?"
    r"[:\uff1a]?[*_]?[ \t]*+"
    r"|(?:\A|\n)[#>_*\d. \t]*+(?:(?:the|my|final|correct|short) )*+answers?[#_*: \t]*+(?=\n|\$|\\[(\[])"
    r"|(?:答案|结果)[ \t]*+(?:】|应?[该当]?[是为]|选|[:=\uff1a]|(?=\n))[ \t]*+[:\uff1a]?[ \t]*+"
    r"|(?:故|因此|所以|应|因而|应该)(?:本题)?(?:应该?|当)?选(?:择|项)?(?:为|是)?[ \t]*+[:\uff1a]?[ \t]*+"
    r"|正确(?:的)?(?:选项|选择)[ \t]*+(?:[是为]|[:\uff1a])[ \t]*+"
    r"|(?<!不)选(?:项|择)?[ \t]*+[:\uff1a]?[ \t]*+(?=[(\uff08]?[A-H\uff21-\uff28](?![A-Za-z]))",
    re.IGNORECASE,
)
_DISPLAY = {"\\[": "\\]", "$$": "$$"}
_SENTENCE_END = re.compile(r"[.!?](?=\s|\Z)|[。！？]|\uff1b(?=\D)")
_LABEL = re.compile(r"(?:option |choice )?[(\[]?[A-Za-z]", re.IGNORECASE)
# "Hence, option B is the correct answer." as the last words.
_CHOSEN = re.compile(
    r"(?<!nor )(?<!not )(?<!or )(?<!and )(?<!if )(?<!whether )(?<!ption )(?<!hoice )(?<!nswer )(?<![\w'-])"
    r"(?:(?:[Oo]ption|[Cc]hoice|[Aa]nswer) )?[(\[]?[A-Z][)\]]? is "
    r"(?:(?:the )?(?:correct|right)(?: (?:answer|option|choice|one))?|the (?:best )?(?:answer|option|choice))[.!]?\Z"
)
_CONCLUSION = re.compile(
    r"[\n.!?\uff0c\u3002]\s?"
    r"(?:(?:therefore|thus|hence|so|consequently|in conclusion)\b,?|因此，?|所以，?)[ \t]?"
    r"((?:[^\n.!?]|[.!?](?!\s)){1,200}+)[.!?]?\Z",
    re.IGNORECASE,
)
# "We find that $x > 5$.", "\(x > 5\) is the solution"
_STATING = re.compile(
    r"(?:(?:thus|therefore|hence|so|then),? )?(?:(?:we|i) (?:find|get|have|obtain|conclude|see)(?: that)?:? )?"
    r"(\$[^$\n]+\$|\\\([^\n$\\]*+(?:\\[^)\n][^\n$\\]*+)*+\\\))"
    r"(?:,? (?:is|are) (?:the|our|my) (?:(?:final|correct|required|only) )?(?:answer|solution|result)s?)?[.!]?",
    re.IGNORECASE,
)
_EXPLANATION = re.compile(
    r"\n[*_# ]*+(?:explanation|reasoning|rationale|reason|解析|解释|理由)\b[*_ ]*+[:\uff1a\n]", re.IGNORECASE
)
_HASHES = re.compile(r"####[ \t]*+([^\n]+)")


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


def whole_reply(text: str, generation_prompt: str = "") -> str:
    """
    Give a reply the `<think>` back that its chat template has opened for it.

    Args:
        text (`str`):
            A completion.
        generation_prompt (`str`, *optional*, defaults to `""`):
            What the template writes at the start of the assistant's turn, see [`models.generation_prompt`].

    Returns:
        `str`: The text, with `<think>` before it when the prompt ended inside the reasoning.
    """
    opened = generation_prompt.rstrip().endswith("<think>") and not text.lstrip().startswith("<think>")
    return f"<think>{text}" if opened else text


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


def last_boxed(text: str) -> str | None:
    r"""The content of the last `\boxed{}` or `<|begin_of_box|>..` that has some; one pass, linear in any text."""
    stack: list[tuple[bool, int, int]] = []
    boxes: list[str] = []
    found_at, found_end = -1, -1
    for match in _BRACES.finditer(text) if "\\boxed" in text or "\\fbox" in text else ():
        token = match.group()
        if token[-1] == "{" and token != "\\{":
            stack.append((len(token) > 1, match.start(), match.end()))
        elif token == "}" and stack:
            is_boxed, opened, start = stack.pop()
            # A box around another one stands for the inner one.
            if is_boxed and found_at < start and (content := text[start : match.start()].strip()):
                between = text[found_end:opened] if boxes and opened - found_end <= _MOST_BETWEEN else ""
                if not _BETWEEN_BOXES.fullmatch(between):
                    boxes.clear()
                boxes.append(content)
                found_at, found_end = start, match.end()
    found = ", ".join(dict.fromkeys(boxes)) or None
    start = -1
    for tag in _BOX_TAGS.finditer(text) if "_of_box|>" in text else ():
        if tag[1] == "begin":
            start = tag.end()
        elif start >= 0:
            content = text[start : tag.start()].strip()
            if content and not start <= found_at <= tag.start() and found_at < start:
                found, found_at = content, start
            start = -1
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
    marked = last_boxed(visible)
    if marked is None:
        marked = last_tagged(visible)
    if marked is not None:
        return _json_answer(marked) or marked
    if answer := _json_answer(visible):
        return answer
    if (stated := stated_answer(visible)) is not None:
        return stated
    if "\\boxed" in visible or "<answer>" in visible or "_of_box|>" in visible:  # left empty or open
        return None
    bare, *explained = _EXPLANATION.split(visible.strip(), maxsplit=1)
    whole = bare.strip() if bare and len(bare) <= _BARE_LINE and "\n" not in bare.strip() else None
    last = whole if whole and explained else closing_answer(visible) or whole
    stating = _STATING.fullmatch(last) if last else None
    return stating[1] if stating else last


def _json_answer(text: str) -> str | None:
    """The answer of a reply that is one short JSON object, fenced or not: `{"answer": "B"}`."""
    if len(text) > _STATED_CHARS or '"answer"' not in text:
        return None
    try:
        found = json.loads(text.strip().removeprefix("```").removeprefix("json").removesuffix("```"))
    except (ValueError, RecursionError):
        return None
    answer = found.get("answer") if isinstance(found, dict) else None
    return str(answer).strip() if isinstance(answer, str | int | float) else None


def stated_answer(text: str) -> str | None:
    """What follows the last "the answer is" of a text, or `None`; only its last 4,000 characters are read."""
    # A statement stands near the end; a bounded tail keeps megabytes of "answer is" from costing anything.
    tail = text[-_STATED_CHARS:].replace("**", "").replace("\r", "")
    for statement in reversed(list(_STATED.finditer(tail))):
        rest = tail[statement.end() :].lstrip("\n")
        line = rest.split("\n", 1)[0].strip()
        if (closing := _DISPLAY.get(line[:2])) and closing not in line[2:] and closing in rest[2:]:
            return rest[2 : rest.index(closing, 2)].strip()
        for end in _SENTENCE_END.finditer(line):
            last = not line[end.end() :].strip()
            if last or not _LABEL.fullmatch(line[: end.start()].strip()):  # what follows "B." belongs to it
                line = line[: end.start()].strip()
                break
        if line.strip("#*_ :"):  # "the answer (B) is the first one" names B
            return f"({statement['label']}) is {line}" if statement["label"] else line
    return None


def closing_answer(text: str) -> str | None:
    """What the last words of a text state: "option B is correct", a line "#### 5", the sentence behind "Therefore"."""
    tail = f"\n{text}"[-2 * _BARE_LINE :].replace("**", "").rstrip()
    if chosen := _CHOSEN.search(tail):
        return chosen[0]
    ending = tail.rsplit("\n", 1)[-1]
    if ending.startswith("#### "):
        return ending.strip("# \t") or None
    concluded = _CONCLUSION.search(tail)
    return concluded[1].strip() if concluded else None


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
    if not marked and stated_answer(visible) is None:  # "So there are 2 cats." below their boxes
        return visible[-MAX_CHARS:]
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
            One of [`types.LOCATED_TYPES`].

    Returns:
        `str` or `None`: The numbers of the point or the box as `"[x, y]"` or `"[x1, y1, x2, y2]"`, or the text with
        the detections; `None` when there is no answer.
    """
    text = located_text(text)
    if answer_type == "detections":
        return None if read_detections(text) is None else text
    numbers = locate(text, answer_type)
    return None if numbers is None else json.dumps([int(n) if n.is_integer() else n for n in numbers])


@lru_cache(maxsize=8192)
def unwrap_gold(gold: str) -> str:
    r"""
    Take a gold answer out of what its dataset stores around it.

    Args:
        gold (`str`):
            The answer, or the answer in `<answer>` tags, in `\boxed{}`, behind GSM8K's `####`, or at the end of a
            worked solution ("the answer is ..").

    Returns:
        `str`: The answer, stripped; a text that states no answer comes back as it is, and `""` for a box that is
        empty or never closed.

    Example:
    ```python
    >>> unwrap_gold("Half of 6 is 3.\n#### 3")
    '3'
    ```
    """
    text = escaped_once(gold).strip()
    text = text[text.rfind("</think>") + len("</think>") :].strip() if "</think>" in text else text
    if (tagged := last_tagged(text)) is not None:
        text = tagged
    if (boxed := last_boxed(text)) is not None:
        return boxed
    if hashes := _HASHES.findall(text):
        return hashes[-1].strip() or text
    if (stated := stated_answer(text)) is not None:
        return stated
    return "" if "\\boxed" in text else text
