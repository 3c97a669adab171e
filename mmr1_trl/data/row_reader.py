# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""One row of a dataset as it was published, read into a training row."""

from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from datasets import ClassLabel, Features

from mmr1_trl.data.answers.accepted import lists_are_alternatives, read_accepted
from mmr1_trl.data.answers.choice_forms import (
    index_base,
    letter_of,
    letter_of_label,
    letter_of_text,
    read_choices,
    require_agreement,
)
from mmr1_trl.data.columns import ACCEPTED, BOX_NAMES, ColumnMap
from mmr1_trl.data.pictures.images import image_size
from mmr1_trl.data.places import Places
from mmr1_trl.data.prompt_style import PromptStyle
from mmr1_trl.data.questions import (
    append_options,
    build_messages,
    earlier_text,
    gold_text,
    option_markers,
    question_text,
    refuse_other_media,
    split_markers,
)
from mmr1_trl.data.turns import read_turns
from mmr1_trl.errors import BadInputError
from mmr1_trl.rewards.choices import option_letters
from mmr1_trl.rewards.gold import require_precision, require_tolerance
from mmr1_trl.rewards.grounding.locations import read_detections
from mmr1_trl.rewards.types import ANSWER_TYPES, LOCATED_TYPES, infer_answer_type


_OTHER_MEDIA = ("video", "videos", "audio", "audios")


class RowReader:
    """Reads the text columns of a table once and makes one training row at a time."""

    def __init__(
        self,
        table: pa.Table,
        features: Features,
        columns: ColumnMap,
        images: pa.ChunkedArray | None,
        style: PromptStyle,
        question: str | None,
        answer_type: str | None,
        tolerance: float | None,
        places: Places,
        answer_lists: str = "auto",
    ) -> None:
        self.unreadable: dict[int, str] = {}

        def values(name: str | None) -> list[Any] | None:
            # A column whose rows differ in type is stored as JSON, its texts in quotes.
            if name is None or name not in table.column_names:
                return None
            stored = table.column(name).to_pylist()
            try:
                return features.decode_column(stored, name)
            except (ValueError, RecursionError):  # JSON that cannot be read, in some row
                return [self._decoded(features, name, index, value) for index, value in enumerate(stored)]

        self.prompts = values(columns.prompt if question is None else None)
        self.answers = values(columns.answer) or []
        self.options = values(columns.options)
        self.types = values("answer_type")
        self.tolerances, self.precisions = values("tolerance" if tolerance is None else None), values("precision")
        self.media = {name: values(name) or [] for name in _OTHER_MEDIA if name in table.column_names}
        self.images = images
        self.counts = None if images is None else pc.list_value_length(images).to_pylist()
        self.alternatives = lists_are_alternatives(columns.answer, answer_lists)
        # Rows that were prepared before have their other answers in a column of their own.
        self.accepted = None if self.alternatives else values(ACCEPTED)
        feature = features[columns.answer]
        self.class_names = feature.names if isinstance(feature, ClassLabel) else None
        # When nobody says what answers are: four numbers in brackets are boxes where most answers are, else lists.
        self.place = "point" if columns.answer in BOX_NAMES else None
        lists = self.place is None and not self.alternatives
        if lists and images is not None and 2 * sum(map(_is_box, self.answers)) > len(self.answers):
            self.place = "box"
        self.style, self.question, self.answer_type, self.places = style, question, answer_type, places

    def find_indices(self, answer_index: str) -> None:
        """Settle whether answers beside choices are their numbers ([`BadInputError`] where that cannot be told)."""
        self.index_base: int | None = None
        if self.options is None or self.class_names is not None or self.answer_type not in (None, "multiple_choice"):
            return
        choices = []
        for index, value in enumerate(self.options):
            stored = None if self.types is None else self.types[index]
            try:
                found = read_choices(value) if stored in (None, "", "multiple_choice") else None
                choices.append(None if found is None or found[1] is not None else found[0])
            except BadInputError:  # said when the row is read
                choices.append(None)
        self.index_base = index_base(self.answers, choices, answer_index)

    def _decoded(self, features: Features, name: str, index: int, value: Any) -> Any:
        try:
            return features.decode_column([value], name)[0]
        except (ValueError, RecursionError) as error:
            self.unreadable[index] = f"column {name!r} cannot be read ({error})"
            return None

    def read(self, index: int) -> dict[str, Any]:
        if index in self.unreadable:
            raise BadInputError(self.unreadable[index])
        prompt = self.question if self.prompts is None else read_turns(self.prompts[index])
        asked, blocks = question_text(prompt)
        refuse_other_media(prompt)
        for name, values in self.media.items():
            if values[index] not in (None, "", []):
                raise BadInputError(f"column {name!r} holds something, and only pictures are read")
        earlier = earlier_text(prompt)
        question, markers = split_markers(asked, earlier)
        choices = None if self.options is None else read_choices(self.options[index])
        options, labels = (None, None) if choices is None else choices
        if options:
            options, in_all = option_markers(options, f"{earlier}\n{asked}")
            markers = markers if in_all is None else in_all
        count = 0 if self.counts is None else self.counts[index]
        markers = blocks or markers
        if markers is not None and markers != count:
            raise BadInputError(f"the question has {markers} <image> markers, and there are {count} images")
        require_tolerance(None if self.tolerances is None else self.tolerances[index])
        require_precision(None if self.precisions is None else self.precisions[index])
        accepted: list[str] = [] if self.accepted is None else self.accepted[index] or []
        answer = self.answers[index]
        if self.alternatives:
            accepted = read_accepted(answer, self._declared_type(index), options)
            answer = accepted[0]
        if labels is not None and (letter := letter_of_label(answer, labels)) is not None:
            solution, answer_type = letter, "multiple_choice"
        else:
            solution, answer_type = self._answer(index, answer, options)
        if options and answer_type == "multiple_choice":
            require_agreement(solution, options)
        size = None
        if answer_type in LOCATED_TYPES and count and self.images is not None:
            size = image_size(self.images[index].as_py()[0], "image 0")
        places = self.places.as_asked(question) if answer_type in LOCATED_TYPES else self.places
        if answer_type in LOCATED_TYPES:
            solution = places.gold(solution or answer, answer_type, size)
            accepted = []  # a place has a tolerance of its own
        if options and answer_type == "multiple_choice":
            question = append_options(question, options)
        messages = build_messages(prompt, question, self.style, places.unit(size))
        for text in (*(message["content"] for message in messages), solution, *accepted, *(options or ())):
            text.encode()  # JSON can hold half of a character, which neither Arrow nor a tokenizer takes
        return {
            "prompt": messages,
            "question": question,
            "solution": solution,
            "answer_type": answer_type,
            "options": options,
            "accepted_answers": accepted if len(accepted) > 1 else None,
            "image_size": size,
            "coordinates": places.coordinates if size else None,
        }

    def _declared_type(self, index: int) -> str | None:
        stored = None if self.types is None else self.types[index]
        # Some benchmarks have a column of that name with words of their own ("integer", "free_form").
        return self.answer_type or (stored if stored in ANSWER_TYPES else None)

    def _answer(self, index: int, answer: Any, options: list[str] | None) -> tuple[str, str]:
        """Return the gold, `""` for a box that is still to be brought into pixels, and its type."""
        answer_type = self._declared_type(index)
        if answer_type in ("point", "box") or (answer_type is None and self.place):
            return "", answer_type or str(self.place)
        if options and self.index_base is not None and answer_type in (None, "multiple_choice"):
            return letter_of(answer, options, self.index_base), "multiple_choice"
        if self.class_names is not None and answer is not None:
            return self.class_names[answer], answer_type or "class_label"
        gold = gold_text(answer)
        if answer_type is None and self.images is not None and _is_detections(gold):
            answer_type = "detections"
        choices = None if options is None else tuple(options)
        if options and answer_type == "text" and self.answer_type is None and option_letters(gold, options):
            answer_type = "multiple_choice"  # MathVista calls the text of a choice so
        inferred = answer_type or _inferred_type(gold, choices)
        if options and answer_type is None and inferred != "multiple_choice":
            if (letter := letter_of_text(gold, options)) is not None:
                return letter, "multiple_choice"
        return gold, "list" if inferred == "box" and answer_type is None else inferred


def _is_box(answer: Any) -> bool:
    if isinstance(answer, list):
        return len(answer) == 4 and all(isinstance(number, int | float) for number in answer)
    return isinstance(answer, str) and _inferred_type(answer, None) == "box"


def _is_detections(gold: str) -> bool:
    found = read_detections(gold) if "{" in gold or "bject" in gold else None
    return found is not None and (bool(found) or "bject" in gold)


_inferred_type = lru_cache(maxsize=65_536)(infer_answer_type)
