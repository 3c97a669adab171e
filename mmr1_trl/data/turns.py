# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Questions inside conversations, and columns inside columns: brought beside the others, for whoever reads them."""

from collections.abc import Mapping
from typing import Any

from datasets import Dataset

from mmr1_trl.data.columns import ANSWER_NAMES, PROMPT_NAMES, STORED_IMAGES, picture_column
from mmr1_trl.data.literals import read_container
from mmr1_trl.data.pictures.text import picture_from_text
from mmr1_trl.data.questions import IMAGE_BLOCKS
from mmr1_trl.errors import BadInputError, did_you_mean


_ROLES = {"human": "user", "gpt": "assistant", "bot": "assistant", "model": "assistant"}
_NESTED_ANSWERS = ("reward_model.ground_truth",)  # verl


def read_turns(prompt: Any) -> Any:
    """
    Bring a conversation into messages of `role` and `content`, without the reply at its end.

    Args:
        prompt (`Any`):
            A text, messages, turns of `from` and `value`, one such message, or a JSON text with them.

    Returns:
        `Any`: The messages; a text, or something that is no conversation, as it is.
    """
    turns = _turns(prompt)
    if turns is None:
        return prompt
    while len(turns) > 1 and turns[-1]["role"] == "assistant":
        turns = turns[:-1]
    return turns


def last_reply(prompt: Any) -> str | None:
    """The text of the assistant's turn that a conversation ends with; `None` if it ends otherwise."""
    turns = _turns(prompt)
    if not turns or turns[-1]["role"] != "assistant":
        return None
    content = turns[-1]["content"]
    if isinstance(content, list):
        content = "\n".join(str(block.get("text") or "") for block in content if isinstance(block, Mapping))
    return content


def _turns(prompt: Any) -> list[dict[str, Any]] | None:
    if isinstance(prompt, str):
        prompt = read_container(prompt)
    turns = [prompt] if isinstance(prompt, Mapping) else prompt
    if not isinstance(turns, list) or not turns:
        return None
    messages = []
    for turn in turns:
        if not isinstance(turn, Mapping) or not {"content", "value"} & turn.keys():
            return None
        role, content = (turn.get(a) if turn.get(a) is not None else turn.get(b) for a, b in _KEYS)
        if not isinstance(role, str):
            return None
        messages.append({"role": _ROLES.get(role.lower(), role), "content": content})
    return messages


_KEYS = (("role", "from"), ("content", "value"))


def unfold(
    dataset: Dataset,
    prompt_column: str | None = None,
    image_column: str | None = None,
    answer_column: str | None = None,
    options_column: str | None = None,
) -> Dataset:
    """
    Bring what a dataset keeps inside other columns beside them.

    Args:
        dataset ([`~datasets.Dataset`]):
            Rows as published.
        prompt_column (`str`, *optional*), image_column (`str`, *optional*), answer_column (`str`, *optional*),
        options_column (`str`, *optional*):
            Names as given; with dots for a column inside a column.

    Returns:
        [`~datasets.Dataset`]: With a column for every dotted name; where there are no others, with `answer` from
        `reward_model.ground_truth` or the reply that a conversation ends with, and `images` from its content blocks.

    Raises:
        [`BadInputError`]: A dotted name leads nowhere.
    """
    for name in (prompt_column, image_column, answer_column, options_column):
        if name and name not in dataset.column_names and name.split(".")[0] in dataset.column_names:
            dataset = dataset.add_column(name, _inside(dataset, name))
    has_answer = bool(answer_column or set(ANSWER_NAMES) & set(dataset.column_names))
    for name in () if has_answer else _NESTED_ANSWERS:
        outer, inner = name.split(".")
        if isinstance(feature := dataset.features.get(outer), dict) and inner in feature:
            dataset = dataset.add_column("answer", _inside(dataset, name))
            has_answer = True
    prompt = prompt_column or next((name for name in PROMPT_NAMES if name in dataset.column_names), None)
    has_images = image_column or picture_column(dataset)
    if prompt is None or prompt not in dataset.column_names or (has_answer and has_images):
        return dataset
    conversations = dataset[prompt][:]
    if not has_answer and any(replies := [last_reply(turns) for turns in conversations]):
        dataset = dataset.add_column("answer", replies)
    if not has_images and any(pictures := [_pictures(turns) for turns in conversations]):
        dataset = dataset.add_column("images", pictures, feature=STORED_IMAGES)
    return dataset


def _inside(dataset: Dataset, name: str) -> list[Any]:
    outer, *path = name.split(".")
    found, known = [], set()
    for value in dataset[outer][:]:
        for key in path:
            value = read_container(value) if isinstance(value, str) else value
            known |= set(value) if isinstance(value, Mapping) else set()
            value = value.get(key) if isinstance(value, Mapping) else None
        found.append(value)
    if all(value is None for value in found):
        raise BadInputError(
            f"{name}: there is no such column inside {outer!r}.{did_you_mean(path[-1], known)} "
            f"It holds {sorted(known)}."
        )
    return found


def _pictures(prompt: Any) -> list[dict[str, Any]]:
    """The pictures in the blocks of a conversation, as `{"bytes", "path"}`."""
    found = []
    for turn in _turns(prompt) or []:
        for block in turn["content"] if isinstance(turn["content"], list) else ():
            if not isinstance(block, Mapping) or block.get("type") not in IMAGE_BLOCKS:
                continue
            value = next((block[key] for key in ("image", "image_url", "url", "path") if block.get(key)), None)
            value = value.get("url") or value if isinstance(value, Mapping) else value
            if isinstance(value, str):
                value = picture_from_text(value)
            if isinstance(value, Mapping):
                found.append({"bytes": value.get("bytes"), "path": value.get("path")})
            elif value is not None:
                found.append(
                    {"bytes": value, "path": None} if isinstance(value, bytes) else {"bytes": None, "path": value}
                )
    return found
