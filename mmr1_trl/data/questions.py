# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""One row's question, choices and gold answer, brought into the form that the trainers and the rewards read."""

import itertools
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from mmr1_trl.data.literals import texts_in
from mmr1_trl.data.prompt_style import PromptStyle
from mmr1_trl.errors import BadInputError
from mmr1_trl.rewards.choices import bare_options
from mmr1_trl.rewards.extraction import unwrap_gold


# <image>, <image1>, <image 1>, <image_1>, <IMAGE>, <img>, [image], [image 1]; no Markdown link with that text
_MARKER = re.compile(r"(?:<(?:image|img)|(?<!!)\[image)[ _]?(\d*)(?:>|\](?!\())", re.IGNORECASE)
_MARKER_DIGITS = 4
_MEDIA = re.compile(r"<(?:video|audio)[ _]?\d*>", re.IGNORECASE)
_MEDIA_BLOCKS = ("video", "video_url", "input_video", "audio", "audio_url", "input_audio")
_INVISIBLE = "\u200b\u200c\u2060\ufeff"
_TEXT_BLOCKS, IMAGE_BLOCKS = ("text", "input_text"), ("image", "image_url", "input_image")
_LEADING_MARKERS = re.compile(rf"\s*+(?:{_MARKER.pattern}\s*+)++")
_SPACES = re.compile(r" {2,}")
_SPACE_BEFORE_SIGN = re.compile(r" ([.,;:?!)])")
_EMPTY_LINES = re.compile(r"\n ?(?:\n ?)+")
_CHOICE_LETTER = re.compile(r"(?<!\w)([A-Za-z])\s*+[.:)\]][\s*]*+")
_GOES_ON = re.compile(r"\w|[.,]\d")
_BULLETS = " \t\r*•-"


def split_markers(text: str, earlier: str = "") -> tuple[str, int | None]:
    """
    Take the `<image>` markers out of a question.

    The trainers put the pictures in front of the text, in order. So a marker at the start, on a line of its own, or at
    the end of a question with one picture just goes; inside a sentence it becomes words ("the image", "image 2"),
    because "compare <image> with <image>" must still say what to compare.

    Args:
        text (`str`):
            The question. Markers are `<image>`, `<img>` and `[image]`, also numbered: `<image1>`, `<image 2>`, ...
        earlier (`str`, *optional*):
            The turns before it, whose markers are counted as well and stay there.

    Returns:
        `tuple[str, int | None]`: The text without markers, and the number of images that they stand for; `None` when
        there are no markers.
    """
    return _split(text, _Markers().and_those_of(earlier))


def split_turns(texts: list[str]) -> tuple[list[str], int | None]:
    """[`split_markers`] of each turn of a conversation, whose markers are counted together."""
    markers, split = _Markers(), []
    for text in texts:
        split.append(_split(text, markers)[0])
        markers = markers.and_those_of(text)
    return split, markers.images if markers.number else None


class _Markers(NamedTuple):
    """How many markers there were so far, whether all of them had a number, and the highest."""

    number: int = 0
    numbered: bool = True
    highest: int = 0

    def and_those_of(self, text: str) -> "_Markers":
        found = _MARKER.findall(text)
        if long := next((number for number in found if len(number) > _MARKER_DIGITS), None):
            raise BadInputError(f"the question has a marker <image{long[:12]}...>: no row has so many images")
        highest = max(self.highest, *(int(number or 0) for number in found), 0)
        return _Markers(self.number + len(found), self.numbered and all(found), highest)

    @property
    def images(self) -> int:
        """The images that they stand for: numbered ones may refer to one several times."""
        return self.highest if self.numbered else self.number


def _split(text: str, before: _Markers) -> tuple[str, int | None]:
    markers = before.and_those_of(text)
    if not markers.number:
        return text, None
    count = markers.images
    leading = _LEADING_MARKERS.match(text)
    rest = text[leading.end() :] if leading else text
    inner = len(_MARKER.findall(rest))
    if not inner:
        return (rest.strip() if leading or rest != text else text), count
    first = markers.number - inner + 1
    lines = []
    for line in rest.split("\n"):
        lines.append(_line_without_markers(line, first, count))
        first += len(_MARKER.findall(line))
    rest = _SPACE_BEFORE_SIGN.sub(r"\1", _SPACES.sub(" ", "\n".join(lines))).replace(" \n", "\n")
    return _EMPTY_LINES.sub("\n\n", rest).strip(), count


def option_markers(options: list[str], question: str) -> tuple[list[str], int | None]:
    """
    Put words in the place of the markers in choices that are pictures (MMMU): "<image 2>" becomes "image 2".

    Args:
        options (`list[str]`):
            The choices.
        question (`str`):
            The question as the dataset has it.

    Returns:
        `tuple[list[str], int | None]`: The choices, and the number of images that question and choices stand for;
        `None` when no choice has a marker.
    """
    before = _Markers().and_those_of(question)
    markers = before.and_those_of("\n".join(options))
    if markers.number == before.number:
        return options, None
    numbers = itertools.count(before.number + 1)
    worded = [_MARKER.sub(lambda match: f"image {match[1] or next(numbers)}", option) for option in options]
    return worded, markers.images


def _line_without_markers(line: str, first: int, count: int) -> str:
    """Put words in the place of a line's markers, the first of which is the question's number `first` of `count`."""
    begin, end = len(line) - len(line.lstrip()), len(line.rstrip())
    parts, done = [], 0
    for number, match in enumerate(_MARKER.finditer(line), first):
        before, after = match.start() > begin, match.end() < end
        parts.append(line[done : match.start()])
        if count > 1 and (before or after):
            parts.append(f" image {match[1] or number} ")
        elif before and after:
            parts.append(" " if parts[-1].rstrip().endswith(":") else " the image ")
        elif before or after:
            parts.append(" ")
        done = match.end()
    return "".join([*parts, line[done:]])


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
    text, _ = _flatten(users[-1]["content"])
    return text, sum(_flatten(message["content"])[1] for message in prompt)


def earlier_text(prompt: Any) -> str:
    """The texts of the messages before the last one, which is the question."""
    if isinstance(prompt, str):
        return ""
    return "\n".join(_flatten(message["content"])[0] for message in prompt[:-1])


def refuse_other_media(prompt: Any) -> None:
    """
    Refuse a prompt with a video or a sound, without which the question could not be answered ([`BadInputError`]).

    Args:
        prompt (`str` or `list[dict]`):
            A question, or messages.
    """
    contents = [prompt] if isinstance(prompt, str) else [message["content"] for message in prompt]
    for content in contents:
        blocks = content if isinstance(content, list) else [{"type": "text", "text": content}]
        for block in blocks:
            found = _MEDIA.search(str(block.get("text") or ""))
            if found or block.get("type") in _MEDIA_BLOCKS:
                raise BadInputError(
                    f"the question has a {found[0] if found else block['type']}, and only pictures are read"
                )


def build_messages(prompt: Any, question: str, style: PromptStyle, unit: str = "") -> list[dict[str, str]]:
    """
    Write the messages of a row.

    Args:
        prompt (`str` or `list[dict]`):
            The prompt as the dataset has it.
        question (`str`):
            Its question without markers, from [`split_markers`].
        style ([`~mmr1_trl.data.prompt_style.PromptStyle`]):
            How to ask. Applied to the last user message.
        unit (`str`, *optional*):
            What the style's instruction says about coordinates.

    Returns:
        `list[dict[str, str]]`: Messages with plain string contents.

    Raises:
        [`BadInputError`]: The style brings a system message, and the prompt has one already.
    """
    if isinstance(prompt, str):
        return style.messages(question, unit)
    last = max(index for index, message in enumerate(prompt) if message["role"] == "user")
    if last != len(prompt) - 1:
        raise BadInputError("the prompt does not end with a user message")
    texts, _ = split_turns([_flatten(message["content"])[0] for message in prompt[:last]])
    earlier = [{"role": message["role"], "content": text} for message, text in zip(prompt, texts)]
    messages = style.messages(question, unit)
    if earlier and messages[0]["role"] == "system":
        if earlier[0]["role"] == "system":
            raise BadInputError(f"the prompt has a system message already, and prompt style {style.name!r} adds one")
        return [messages[0], *earlier, *messages[1:]]
    return earlier + messages


def append_options(question: str, options: list[str]) -> str:
    """Write the choices below a question that does not offer them, as `(A) first` and so on, one to a line."""
    texts = [text.strip() for text in bare_options(options)]
    choices = [(chr(ord("A") + index), text) for index, text in enumerate(texts)]
    if all(letter == text for letter, text in choices):  # what they are is in the picture (MathVision)
        return question
    if _offers(question, choices):
        return question
    if other := _offered_otherwise(question, choices):
        raise BadInputError(
            f"the question offers {other[1]!r} as {other[2]}, and the column of choices as {other[0]}: no letter "
            "would say which is meant"
        )
    return "\n".join([question, *(f"({letter}) {text}" for letter, text in choices)])


def _offers(question: str, choices: list[tuple[str, str]]) -> bool:
    """
    Whether a question has every choice, behind its letter or on a line of its own; within a sentence it is a word.

    Letters and lines are looked up once, and each choice by a search for its text: linear in the length of the row.
    """
    letters = {match.end(): match[1].upper() for match in _CHOICE_LETTER.finditer(question)}
    lines: set[str] = set()
    for line in question.split("\n"):
        line = line.strip()
        lines |= {line, line[1:].lstrip() if line[:1] in _BULLETS else line, line.lstrip(_BULLETS)}

    def offered(letter: str, text: str) -> bool:
        if text in lines:
            return True
        text = text.lstrip("* \t\r\n")  # passed over behind a letter
        at = question.find(text) if letter <= "Z" and text else -1
        while at >= 0:
            if letters.get(at) == letter and not _GOES_ON.match(question, at + len(text)):
                return True
            at = question.find(text, at + len(text))
        return False

    return all(offered(letter, text) for letter, text in choices if text)


def _offered_otherwise(question: str, choices: list[tuple[str, str]]) -> tuple[str, str, str] | None:
    """A choice that a question has behind another letter, if it has all of them behind letters."""
    letters = {match.end(): match[1].upper() for match in _CHOICE_LETTER.finditer(question)}
    moved = None
    for letter, text in choices:
        at = [place for place in letters if text and question.startswith(text, place)]
        at = [place for place in at if not _GOES_ON.match(question, place + len(text))]
        if not at:
            return None
        if all(letters[place] != letter for place in at):
            moved = (letter, text, letters[at[0]])
    return moved


def gold_text(value: Any) -> str:
    r"""
    Bring a gold answer into its plain form.

    Args:
        value (`str`, `int`, `float`, `bool`, `list` or `dict`):
            The stored answer. Of a text with `<answer>` tags only the content of the last pair counts, of a text that
            is or ends with `\boxed{...}` only the content of the last box, of a worked solution what it states as its
            answer. A list with one entry is that entry, a longer list of texts is written with commas, any other list
            or mapping as JSON.

    Returns:
        `str`: The answer.

    Raises:
        [`BadInputError`]: There is none.
    """
    if isinstance(value, str):
        value = value.strip(_INVISIBLE + " \t\r\n")
        value = texts_in(value) or value
    if isinstance(value, list) and len(value) == 1 and not isinstance(value[0], list | dict):
        value = value[0]
    if isinstance(value, list) and value and all(isinstance(entry, str) for entry in value):
        value = ", ".join(value)
    if value is None or value == [] or value == {} or value != value:  # an empty cell of a column of numbers is NaN
        raise BadInputError("there is no gold answer")
    if isinstance(value, list | dict):
        return json.dumps(value, default=str)
    text = unwrap_gold(str(value))
    if not text:
        raise BadInputError("the gold answer is empty")
    return text


def _is_message(message: Any) -> bool:
    if not isinstance(message, Mapping) or not {"role", "content"} <= message.keys():
        return False
    content = message["content"]
    blocks = content if isinstance(content, list) else []
    return (
        isinstance(message["role"], str)
        and (content is None or isinstance(content, str | list))
        and all(isinstance(block, Mapping) for block in blocks)
    )


def _flatten(content: Any) -> tuple[str, int]:
    """Return the text of a message's content and the number of its image blocks."""
    if isinstance(content, str):
        return content, 0
    blocks = content or []
    texts = [block["text"] for block in blocks if block.get("type") in _TEXT_BLOCKS and block.get("text")]
    for text in texts:
        if not isinstance(text, str):
            raise BadInputError(f"a block of type text holds the {type(text).__name__} {text!r:.60}, not a text")
    return "\n".join(texts), sum(block.get("type") in IMAGE_BLOCKS for block in blocks)
