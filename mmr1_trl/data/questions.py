# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""One row's question, choices and gold answer, brought into the form that the trainers and the rewards read."""

import ast
import json
import re
from collections.abc import Mapping
from typing import Any

from mmr1_trl.data.prompt_style import PromptStyle
from mmr1_trl.errors import BadInputError
from mmr1_trl.rewards.answers import extract_answer, last_tagged


_MARKER = re.compile(r"<image(\d*)>")
_LEADING_MARKERS = re.compile(rf"\s*(?:{_MARKER.pattern}\s*)+")


def split_markers(text: str) -> tuple[str, int | None]:
    """
    Take the `<image>` markers out of a question.

    The trainers put the pictures in front of the text, in order. So a marker at the start, on a line of its own, or at
    the end of a question with one picture just goes; inside a sentence it becomes words ("the image", "image 2"),
    because "compare <image> with <image>" must still say what to compare.

    Args:
        text (`str`):
            The question. Markers are `<image>` or, numbered, `<image1>`, `<image2>`, ...

    Returns:
        `tuple[str, int | None]`: The text without markers, and the number of images that they stand for; `None` when
        there are no markers.
    """
    found = _MARKER.findall(text)
    if not found:
        return text, None
    # Numbered markers may refer to a picture several times.
    count = max(int(number) for number in found) if all(found) else len(found)
    leading = _LEADING_MARKERS.match(text)
    rest = text[leading.end() :] if leading else text
    inner = len(_MARKER.findall(rest))
    if not inner:
        return rest.strip(), count
    position = len(found) - inner

    def words(match: re.Match[str]) -> str:
        nonlocal position
        position += 1
        before = rest[: match.start()].rsplit("\n", 1)[-1].strip()
        after = rest[match.end() :].split("\n", 1)[0].strip()
        if not before and not after:
            return ""
        if count > 1:
            return f" image {match.group(1) or position} "
        return " the image " if before and after and not before.endswith(":") else " "

    rest = _MARKER.sub(words, rest)
    rest = re.sub(r" +([.,;:?!)])", r"\1", re.sub(r" {2,}", " ", rest))
    return re.sub(r" *\n *(?:\n *)+", "\n\n", re.sub(r" +\n", "\n", rest)).strip(), count


def question_text(prompt: Any) -> tuple[str, int]:
    """
    Reduce a prompt to the user's question.

    Args:
        prompt (`str` or `list[dict]`):
            A question, or messages whose contents are strings or lists of content blocks.

    Returns:
        `tuple[str, int]`: The text of the last user message, and the number of explicit image blocks.

    Raises:
        [`BadInputError`]: The prompt is something else, is empty or has no user message.
    """
    if isinstance(prompt, str):
        if not prompt.strip():
            raise BadInputError("the question is empty")
        return prompt, 0
    if prompt and not (isinstance(prompt, list) and all(_is_message(message) for message in prompt)):
        raise BadInputError(
            f"the prompt is the {type(prompt).__name__} {str(prompt)[:80]}, not a text or a list of messages with "
            "'role' and 'content'"
        )
    users = [message for message in prompt or [] if message["role"] == "user"]
    if not users:
        raise BadInputError("the prompt is empty" if not prompt else "the prompt has no user message")
    return _flatten(users[-1]["content"])


def build_messages(prompt: Any, question: str, style: PromptStyle) -> list[dict[str, str]]:
    """
    Write the messages of a row.

    Args:
        prompt (`str` or `list[dict]`):
            The prompt as the dataset has it.
        question (`str`):
            Its question without markers, from [`split_markers`].
        style ([`~mmr1_trl.data.prompt_style.PromptStyle`]):
            How to ask. Applied to the last user message.

    Returns:
        `list[dict[str, str]]`: Messages with plain string contents.

    Raises:
        [`BadInputError`]: The style brings a system message, and the prompt has one already.
    """
    if isinstance(prompt, str):
        return style.messages(question)
    last = max(index for index, message in enumerate(prompt) if message["role"] == "user")
    if last != len(prompt) - 1:
        raise BadInputError("the prompt does not end with a user message")
    earlier = [{"role": message["role"], "content": _flatten(message["content"])[0]} for message in prompt[:last]]
    messages = style.messages(question)
    if earlier and messages[0]["role"] == "system":
        if earlier[0]["role"] == "system":
            raise BadInputError(f"the prompt has a system message already, and prompt style {style.name!r} adds one")
        return [messages[0], *earlier, *messages[1:]]
    return earlier + messages


def read_options(value: Any) -> list[str] | None:
    """
    Read the choices of a multiple-choice question.

    Args:
        value (`list`, `dict` or `str`):
            A list, a mapping from letters to texts, or either of the two written as JSON or as a Python literal.

    Returns:
        `list[str]` or `None`: The texts in order; `None` when there are none.

    Raises:
        [`BadInputError`]: A string that is neither.
    """
    if isinstance(value, str) and value.strip():
        text = value.strip()
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            try:
                value = ast.literal_eval(text)
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                raise BadInputError(f"the options {text[:60]!r} are not a list") from None
    if isinstance(value, Mapping):
        # Arrow gives every mapping of a column the same keys, and None for those that a row does not have.
        letters = sorted(value, key=lambda letter: (len(str(letter)), str(letter)))  # 10 comes after 9
        value = [value[letter] for letter in letters if value[letter] is not None]
    if not value:
        return None
    if not isinstance(value, list | tuple):
        raise BadInputError(f"the options {str(value)[:60]!r} are not a list")
    return [str(option) for option in value]


def append_options(question: str, options: list[str]) -> str:
    """Write the choices below a question that does not offer them, as `(A) first` and so on, one to a line."""
    texts = [re.sub(r"^\s*\(?[A-Z][).:]\s*", "", option).strip() for option in options]
    choices = [(chr(ord("A") + index), text) for index, text in enumerate(texts)]
    if all(_offers(question, letter, text) for letter, text in choices if text):
        return question
    return "\n".join([question, *(f"({letter}) {text}" for letter, text in choices)])


def _offers(question: str, letter: str, text: str) -> bool:
    """Whether a question has a choice behind its letter or on a line of its own; within a sentence it is a word."""
    text = re.escape(text)
    lettered = rf"(?<!\w)(?i:{re.escape(letter)})\s*[.:)\]][\s*]*{text}(?!\w|[.,]\d)"
    return re.search(rf"{lettered}|^[\s*•-]*{text}\s*$", question, re.MULTILINE) is not None


def gold_text(value: Any) -> str:
    r"""
    Bring a gold answer into its plain form.

    Args:
        value (`str`, `int`, `float`, `bool`, `list` or `dict`):
            The stored answer. Of a text with `<answer>` tags only the content of the last pair counts, of a text that
            is or ends with `\boxed{...}` only the content of the last box. A list with one entry is that entry, a
            longer list of texts is written with commas, any other list or mapping as JSON.

    Returns:
        `str`: The answer.

    Raises:
        [`BadInputError`]: There is none.
    """
    if isinstance(value, list) and len(value) == 1 and not isinstance(value[0], list | dict):
        value = value[0]
    if isinstance(value, list) and value and all(isinstance(entry, str) for entry in value):
        value = ", ".join(value)
    if value is None or value == [] or value == {} or value != value:  # an empty cell of a column of numbers is NaN
        raise BadInputError("there is no gold answer")
    if isinstance(value, list | dict):
        return json.dumps(value)
    text = str(value)
    if (tagged := last_tagged(text)) is not None:
        text = tagged
    if r"\boxed" in text:
        text = extract_answer(text) or ""
    text = text.strip()
    if not text:
        raise BadInputError("the gold answer is empty")
    return text


def box_text(value: Any, size: tuple[int, int] | None, box_format: str = "xyxy") -> str:
    """
    Bring a gold box into pixels of the stored image.

    Args:
        value (`list[float]` or `str`):
            Four numbers, or the same as JSON. When none exceeds 1 they are fractions of width and height.
        size (`tuple[int, int]`, *optional*):
            Width and height of the image in pixels; needed for fractions.
        box_format (`str`, *optional*, defaults to `"xyxy"`):
            `"xyxy"` (left, top, right, bottom) or `"xywh"` (left, top, width, height).

    Returns:
        `str`: The JSON list `[left, top, right, bottom]`, rounded to hundredths of a pixel.

    Raises:
        [`BadInputError`]: Not four numbers, or a box without area.
    """
    try:
        numbers = [float(number) for number in (json.loads(value) if isinstance(value, str) else value)]
        left, top, right, bottom = numbers
    except (TypeError, ValueError):
        raise BadInputError(f"the box {str(value)[:60]!r} is not a list of four numbers") from None
    if box_format == "xywh":
        right, bottom = left + right, top + bottom
    if not (0 <= left < right and 0 <= top < bottom):
        raise BadInputError(
            f"the box {numbers} has no area between left < right and top < bottom (read as {box_format}; the "
            "other reading is --box_format " + ("xyxy" if box_format == "xywh" else "xywh") + ")"
        )
    if max(numbers) <= 1:
        if size is None:
            raise BadInputError(f"the box {numbers} is a fraction of the image, and the row has no image")
        left, right, top, bottom = left * size[0], right * size[0], top * size[1], bottom * size[1]
    return json.dumps([round(number, 2) for number in (left, top, right, bottom)])


def _is_message(message: Any) -> bool:
    if not isinstance(message, Mapping) or not {"role", "content"} <= message.keys():
        return False
    content = message["content"]
    blocks = content if isinstance(content, list) else []
    return (content is None or isinstance(content, str | list)) and all(isinstance(b, Mapping) for b in blocks)


def _flatten(content: Any) -> tuple[str, int]:
    """Return the text of a message's content and the number of its image blocks."""
    if isinstance(content, str):
        return content, 0
    blocks = content or []
    texts = [block["text"] for block in blocks if block.get("type") == "text" and block.get("text")]
    return "\n".join(texts), sum(block.get("type") == "image" for block in blocks)
