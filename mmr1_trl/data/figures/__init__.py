# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""
The procedural figures: small pictures with questions whose answers can be checked, drawn on the spot from a seed.

Twelve drawn families at four levels. Five ask for two or three steps over four tiles that are named by their place;
two name the tiles by color, which the tiny model does not learn to resolve, so that accuracy has a ceiling there; the
others count, locate, compare, name and point. Nine more ask the questions of the first five about pictures of real
things (`real.py`): handwritten digits and charts of real tables.
"""

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from datasets import Dataset, Features, List, Value
from datasets import Image as ImageFeature
from numpy.typing import NDArray
from PIL import Image

from mmr1_trl.data.columns import MESSAGES
from mmr1_trl.data.figures.figure_questions import (
    FAMILIES,
    LEVELS,
    POSITION_FAMILIES,
    Question,
    asked,
    draw_family,
    shortcut,
    slip,
    steps,
)
from mmr1_trl.errors import BadInputError, did_you_mean


SPLITS = ("train", "validation", "test")
# Constant, so that a shorter data set is a prefix of a longer one.
_CHUNK = 1024


@dataclass(frozen=True)
class TraceMixture:
    """
    How written-out answers are made up; by default all of them are right and written step by step.

    Args:
        direct (`float`, *optional*, defaults to `0.0`):
            Share of right answers without any thought. A small model cannot learn all of them: many take more than
            one step.
        shortcut (`float`, *optional*, defaults to `0.0`):
            Share of consistent answers by a wrong procedure. What remains is written step by step.
        slip (`float`, *optional*, defaults to `0.0`):
            Probability that a step-by-step answer misreads one fact, and is consistent with the misreading.
        swapped (`tuple[str, ...]`, *optional*, defaults to `()`):
            Families (by what they ask) in which the shares of `direct` and `shortcut` change places.
    """

    direct: float = 0.0
    shortcut: float = 0.0
    slip: float = 0.0
    swapped: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("direct", "shortcut", "slip"):
            if not 0 <= getattr(self, name) <= 1:
                raise BadInputError(f"TraceMixture: {name} is a share and must lie in [0, 1], not {vars(self)[name]}.")
        if self.direct + self.shortcut > 1 + 1e-9:
            raise BadInputError(
                f"TraceMixture: direct + shortcut is {self.direct + self.shortcut}; the two shares may add up to 1."
            )


# The last stage of the cold start: the habitual answer is direct in some families and a shortcut in the others, and
# step by step is rare and mostly wrong.
MIXED = TraceMixture(direct=0.6, shortcut=0.25, slip=0.85, swapped=("add", "gap", "sum3"))
# One mixture per level, for a start whose pass rates fall from level to level.
SPREAD = (
    TraceMixture(),
    TraceMixture(direct=0.2, shortcut=0.2, slip=0.3),
    TraceMixture(direct=0.2, shortcut=0.7, slip=0.5),
    TraceMixture(shortcut=0.98),
)
# One mixture per family, for a start at which two families are nearly always right, one is so now and then, and two
# nearly never.
UNEVEN = {
    "add": TraceMixture(),
    "range": TraceMixture(),
    "gap": TraceMixture(direct=0.5, shortcut=0.1, slip=0.3),
    "sum3": TraceMixture(shortcut=0.92),
    "times": TraceMixture(shortcut=0.92),
}
# For a start that is sure of a few ways of answering, of which the most frequent one is wrong.
HABITS = TraceMixture(direct=0.1, shortcut=0.45, slip=0.3)


class _Row(NamedTuple):
    family: str
    level: int
    question: Question
    digest: bytes
    png: bytes


def figure_split(pixels: NDArray[np.uint8], question: str) -> str:
    """
    Tell which split a picture with its question belongs to: the hash of the two decides, so splits cannot overlap.

    Args:
        pixels (`np.ndarray` of shape `(56, 56, 3)`):
            RGB, uint8.
        question (`str`):
            The question's text.

    Returns:
        `str`: `"train"` (four in five), `"validation"` or `"test"` (one in ten each).
    """
    return _split_of(_digest(pixels, question))


def load_figures(
    split: str = "train",
    num_rows: int = 2048,
    seed: int = 0,
    families: Sequence[str] | None = None,
    levels: Sequence[int] | None = None,
) -> Dataset:
    """
    Draw a part of the figures.

    Rows are the same for the same arguments, a smaller `num_rows` gives a prefix, no row is there twice, and no
    picture with its question is in two splits, whatever the seeds.

    Args:
        split (`str`, *optional*, defaults to `"train"`):
            `"train"`, `"validation"` or `"test"`.
        num_rows (`int`, *optional*, defaults to `2048`):
            How many rows.
        seed (`int`, *optional*, defaults to `0`):
            Which rows.
        families (`Sequence[str]`, *optional*):
            Any of `"add"`, `"gap"`, `"sum3"`, `"range"`, `"times"` (tiles named by place), `"color_add"`,
            `"color_gap"` (named by color), `"count"`, `"locate"`, `"longest"`, `"classify"`, `"point"`; the first
            five again as `"digits_add"`, ... (handwritten digits); `"charts_add"`, `"charts_gap"`, `"charts_sum3"`
            and `"charts_range"` (bar charts of real tables). Defaults to the first five.
        levels (`Sequence[int]`, *optional*):
            Any of 1 to 4. Defaults to all.

    Returns:
        [`~datasets.Dataset`]: Columns `prompt` (messages), `images` (a list of one), `solution`, `answer_type`,
        `level`, `family`, `prompt_id` (made from the content), and `options` if a family with options was asked for
        (`None` in the other families).

    Raises:
        BadInputError: If a split, family or level is unknown, or so few different rows exist.
    """
    rows = list(_rows(split, num_rows, seed, families, levels))
    columns = _common_columns(rows) | {
        "solution": [row.question.solution for row in rows],
        "answer_type": [row.question.answer_type for row in rows],
        "prompt_id": [f"figures-{row.digest.hex()}" for row in rows],
    }
    features = _common_features() | {
        "solution": Value("string"),
        "answer_type": Value("string"),
        "prompt_id": Value("string"),
    }
    if any(row.question.options for row in rows):
        columns["options"] = [list(row.question.options) or None for row in rows]
        features["options"] = List(Value("string"))
    return Dataset.from_dict(columns, features=Features(features))


def figures_traces(
    num_rows: int = 8192,
    seed: int = 0,
    mixture: TraceMixture | Sequence[TraceMixture] | Mapping[str, TraceMixture] | None = None,
    families: Sequence[str] | None = None,
    levels: Sequence[int] | None = None,
) -> Dataset:
    """
    Draw rows of the train split with written-out answers, for supervised training with TRL's `SFTTrainer`.

    Args:
        num_rows (`int`, *optional*, defaults to `8192`):
            How many rows.
        seed (`int`, *optional*, defaults to `0`):
            Which rows, and which way of answering each gets.
        mixture ([`TraceMixture`], `Sequence[TraceMixture]` or `Mapping[str, TraceMixture]`, *optional*):
            Shares of the ways of answering, or one mixture per level, or one per family. Defaults to `MIXED`, that of
            the last stage of the cold start.
        families (`Sequence[str]`, *optional*):
            As in [`load_figures`].
        levels (`Sequence[int]`, *optional*):
            As in [`load_figures`].

    Returns:
        [`~datasets.Dataset`]: Columns `prompt`, `completion`, `images`, `level`, `family` and `style` (`"direct"`,
        `"shortcut"` or `"steps"`).
    """
    mixture = mixture or MIXED
    rng = np.random.default_rng([seed, len(SPLITS)])
    rows = list(_rows("train", num_rows, seed, families, levels))
    # Drawn beforehand, so that two mixtures differ in the answers that they must differ in and in no others.
    draws = rng.random((num_rows, 2)).tolist()
    styles, completions = [], []
    for row, (draw, slip_draw) in zip(rows, draws):
        facts, shares = row.question.facts, _mixture_of(row, mixture)
        direct, both = shares.direct, shares.direct + shares.shortcut
        if asked(row.family) in shares.swapped:
            direct = shares.shortcut
        style = "direct" if draw < direct else "shortcut" if draw < both else "steps"
        thoughts, answer = shortcut(row.family, facts) if style == "shortcut" else steps(row.family, facts)
        if style == "steps" and slip_draw < shares.slip:
            thoughts, answer = steps(row.family, slip(row.family, facts, rng))
        styles.append(style)
        completions.append(write_trace("" if style == "direct" else thoughts, answer))
    columns = _common_columns(rows) | {
        "completion": [[{"role": "assistant", "content": text}] for text in completions],
        "style": styles,
    }
    features = _common_features() | {"completion": MESSAGES, "style": Value("string")}
    return Dataset.from_dict(columns, features=Features(features))


def _mixture_of(
    row: _Row, mixture: TraceMixture | Sequence[TraceMixture] | Mapping[str, TraceMixture]
) -> TraceMixture:
    if isinstance(mixture, TraceMixture):
        return mixture
    if isinstance(mixture, Mapping):
        if row.family not in mixture:
            raise BadInputError(
                f"figures: no mixture for the family {row.family!r}; there is one for {list(mixture)}."
            )
        return mixture[row.family]
    return mixture[row.level - 1]


def write_trace(thoughts: str, answer: str) -> str:
    """
    Put thoughts and answer into the figures' format.

    Args:
        thoughts (`str`):
            May be empty.
        answer (`str`):
            The answer.

    Returns:
        `str`: `"<think> 3 + 5 </think> <answer> 8 </answer>"`.
    """
    return " ".join(f"<think> {thoughts} </think> <answer> {answer} </answer>".split())


def _digest(pixels: NDArray[np.uint8], question: str) -> bytes:
    return hashlib.blake2b(pixels.tobytes() + question.encode(), digest_size=12).digest()


def _split_of(digest: bytes) -> str:
    tenth = int.from_bytes(digest[:8], "big") % 10
    return {0: "test", 1: "validation"}.get(tenth, "train")


def _chosen(what: str, given: Sequence[Any] | None, known: tuple[Any, ...], default: tuple[Any, ...]) -> list[Any]:
    if given is None:
        return list(default)
    for one in given:
        if one not in known:
            near = did_you_mean(str(one), map(str, known))
            raise BadInputError(f"figures: unknown {what} {one!r}; known: {', '.join(map(str, known))}.{near}")
    if not given:
        raise BadInputError(f"figures: an empty list of {what} values; known: {', '.join(map(str, known))}.")
    return list(given)


def _rows(
    split: str, num_rows: int, seed: int, families: Sequence[str] | None, levels: Sequence[int] | None
) -> Iterator[_Row]:
    _chosen("split", [split], SPLITS, SPLITS)
    if num_rows < 1 or seed < 0:
        raise BadInputError(
            f"figures: {num_rows} rows of seed {seed} were asked for. Ask for 1 or more, of a seed of 0 or more."
        )
    family_choice = _chosen("family", families, FAMILIES, POSITION_FAMILIES)
    level_choice = np.array(_chosen("level", levels, LEVELS, LEVELS))
    rng = np.random.default_rng([seed, SPLITS.index(split)])
    seen: set[bytes] = set()
    fruitless = 0
    while len(seen) < num_rows:
        before = len(seen)
        for row in _candidates(rng, family_choice, level_choice, split, seen):
            seen.add(row.digest)
            yield row
            if len(seen) == num_rows:
                return
        fruitless = fruitless + 1 if len(seen) == before else 0
        if fruitless == 20:
            raise BadInputError(
                f"figures: only {before} different rows were found for split {split!r}, families {family_choice} and "
                f"levels {level_choice.tolist()}; ask for at most so many."
            )


def _candidates(
    rng: np.random.Generator, families: list[str], levels: NDArray[np.int64], split: str, seen: set[bytes]
) -> Iterator[_Row]:
    """Draw `_CHUNK` pictures, family by family, and yield in random order those that are new and of the split."""
    family_index = rng.integers(0, len(families), _CHUNK)
    level = levels[rng.integers(0, len(levels), _CHUNK)]
    images = np.empty((_CHUNK, 56, 56, 3), dtype=np.uint8)
    questions: list[Any] = [None] * _CHUNK
    for index, family in enumerate(families):
        spots = np.flatnonzero(family_index == index)
        images[spots], drawn = draw_family(family, rng, level[spots], split)
        for spot, question in zip(spots.tolist(), drawn):
            questions[spot] = question
    for spot, question in enumerate(questions):
        digest = _digest(images[spot], question.text)
        if _split_of(digest) == split and digest not in seen:
            yield _Row(families[family_index[spot]], int(level[spot]), question, digest, _png(images[spot]))


def _png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def _common_columns(rows: list[_Row]) -> dict[str, list[Any]]:
    return {
        "prompt": [[{"role": "user", "content": row.question.text}] for row in rows],
        "images": [[{"bytes": row.png, "path": None}] for row in rows],
        "level": [row.level for row in rows],
        "family": [row.family for row in rows],
    }


def _common_features() -> dict[str, Any]:
    return {
        "prompt": MESSAGES,
        "images": List(ImageFeature()),
        "level": Value("int64"),
        "family": Value("string"),
    }
