# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Questions over the procedural figures: what is asked, the answer, and ways to write down how one comes to it."""

import json
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmr1_trl.data.figures.draw import COLORS, SHAPES, draw_bars, draw_shapes, draw_tiles
from mmr1_trl.data.figures.real import BARS, TALLEST, chart_values, draw_chart, draw_digits


PLACES = ("topleft", "topright", "bottomleft", "bottomright")
POSITION_FAMILIES = ("add", "gap", "sum3", "range", "times")
COLOR_FAMILIES = ("color_add", "color_gap")
SHAPE_FAMILIES = ("count", "locate", "longest", "classify", "point")
# The same questions about handwritten digits, and about bar charts of real tables.
DIGIT_FAMILIES = tuple(f"digits_{name}" for name in POSITION_FAMILIES)
CHART_FAMILIES = ("charts_add", "charts_gap", "charts_sum3", "charts_range")
FAMILIES = (*POSITION_FAMILIES, *COLOR_FAMILIES, *SHAPE_FAMILIES, *DIGIT_FAMILIES, *CHART_FAMILIES)
LEVELS = (1, 2, 3, 4)

# The largest value of a tile, by level.
_LARGEST = np.array([3, 4, 5, 6])


class Question(NamedTuple):
    """
    One question about one picture.

    Args:
        text (`str`):
            The question; the same number of tokens for all questions of a family.
        solution (`str`):
            The answer; for a point the box it must lie in, as a JSON list of pixels.
        answer_type (`str`):
            How the answer is scored.
        facts (`tuple[int, ...]`):
            What has to be read off the picture; [`steps`] and [`shortcut`] turn it into a written-out answer.
        options (`tuple[str, ...]`, *optional*, defaults to `()`):
            The choices of a multiple choice question, or the class names.
    """

    text: str
    solution: str
    answer_type: str
    facts: tuple[int, ...]
    options: tuple[str, ...] = ()


Batch = tuple[NDArray[np.uint8], list[Question]]


def asked(family: str) -> str:
    """What a family asks, whatever its pictures are: `"digits_add"` and `"charts_add"` ask what `"add"` asks."""
    return family.split("_")[1] if family in (*DIGIT_FAMILIES, *CHART_FAMILIES, *COLOR_FAMILIES) else family


def draw_family(family: str, rng: np.random.Generator, levels: NDArray[np.int64], split: str = "train") -> Batch:
    """
    Draw one picture and ask one question per entry of `levels`.

    Args:
        family (`str`):
            One of `FAMILIES`.
        rng (`np.random.Generator`):
            Source of everything random.
        levels (`np.ndarray` of shape `(N,)`):
            Difficulty from 1 to 4.
        split (`str`, *optional*, defaults to `"train"`):
            Whose handwriting and tables are drawn, in the families that have some.

    Returns:
        `tuple`: The pictures `(N, 56, 56, 3)` as uint8, and the `N` questions.
    """
    if asked(family) in POSITION_FAMILIES:
        return _tiles(family, rng, levels, split)
    return {"count": _count, "locate": _find, "point": _find, "longest": _longest, "classify": _classify}[family](
        family, rng, levels
    )


def steps(family: str, facts: tuple[int, ...]) -> tuple[str, str]:
    """
    Write down the right procedure on the given facts: the answer is wrong exactly as far as the facts are.

    Args:
        family (`str`):
            One of `FAMILIES`.
        facts (`tuple[int, ...]`):
            [`Question.facts`], or the same with a slip.

    Returns:
        `tuple[str, str]`: The thoughts and the answer.
    """
    match asked(family), facts:
        case "add", (a, b):
            return f"{a} + {b}", str(a + b)
        case "gap", (a, b):
            return f"{a} - {b}", str(abs(a - b))
        case "times", (a, b):
            return f"{a} * {b}", str(a * b)
        case "sum3", (a, b, c):
            return f"{a} + {b} = {a + b} + {c}", str(a + b + c)
        case "range", values:
            return f"{' '.join(map(str, values))} max {max(values)} min {min(values)}", str(max(values) - min(values))
        case "count", rows:
            return " + ".join(map(str, rows)), str(sum(rows))
        case "locate", (place,):
            return f"row {place // 2 + 1}", PLACES[place]
        case "longest", (option, color):
            return f"max {COLORS[color]}", "ABCD"[option]
        case "classify", (kind,):
            return "shape", SHAPES[kind]
        case _, (x, y):
            return PLACES[2 * (y >= 28) + (x >= 28)], f"[ {x} , {y} ]"
    raise AssertionError(family)


def shortcut(family: str, facts: tuple[int, ...]) -> tuple[str, str]:
    """
    Write down a wrong procedure: an operand is forgotten, or two things are confused. It can hit by accident.

    Args:
        family (`str`):
            One of `FAMILIES`.
        facts (`tuple[int, ...]`):
            [`Question.facts`].

    Returns:
        `tuple[str, str]`: The thoughts and the answer.
    """
    match asked(family), facts:
        case "add", (a, _):
            return f"{a}", str(a)
        case "gap", (_, b):
            return f"{b}", str(b)
        case "times", (a, b):
            return f"{a} + {b}", str(a + b)
        case "sum3", (a, b, _):
            return f"{a} + {b}", str(a + b)
        case "range", values:
            return f"max {max(values)}", str(max(values))
        case "count", rows:
            return f"{rows[0]} + {rows[1]}", str(rows[0] + rows[1])
        case "locate", (place,):
            return "shape", PLACES[place ^ 1]
        case "longest", (option, color):
            return f"min {COLORS[color]}", "ABCD"[option ^ 1]
        case "classify", (kind,):
            return "name", SHAPES[(kind + 3) % 6]
        case _:
            return "tile", "[ 28 , 28 ]"


def slip(family: str, facts: tuple[int, ...], rng: np.random.Generator) -> tuple[int, ...]:
    """
    Misread one fact: a value is off by one, a place or class is another one, a point is half a tile away.

    Args:
        family (`str`):
            One of `FAMILIES`.
        facts (`tuple[int, ...]`):
            [`Question.facts`].
        rng (`np.random.Generator`):
            Chooses what is misread.

    Returns:
        `tuple[int, ...]`: Facts that differ in one place.
    """
    spot = int(rng.integers(len(facts)))
    old = facts[spot]
    if family == "locate":
        new = (old + int(rng.integers(1, 4))) % 4
    elif family == "longest":
        spot, new = 0, (facts[0] + int(rng.integers(1, 4))) % 4
    elif family == "classify":
        new = (old + int(rng.integers(1, 6))) % 6
    elif family == "point":
        new = (old + 28) % 56
    else:
        low, high = (0, 4) if family == "count" else (0, TALLEST[-1]) if family in CHART_FAMILIES else (1, 6)
        new = old + 1 if old == low or (old < high and rng.random() < 0.5) else old - 1
    return (*facts[:spot], new, *facts[spot + 1 :])


def _permutations(rng: np.random.Generator, count: int, items: int) -> NDArray[np.int64]:
    return np.argsort(rng.random((count, items)), axis=1)


def _tiles(family: str, rng: np.random.Generator, levels: NDArray[np.int64], split: str) -> Batch:
    """Four values, as blocks or pips, as handwritten digits, or as the bars of a chart."""
    count = len(levels)
    if family in CHART_FAMILIES:
        values = chart_values(rng, levels, split)
    else:
        values = 1 + (rng.random((count, 4)) * _LARGEST[levels - 1, None]).astype(np.int64)
    colors, order = _permutations(rng, count, 4), _permutations(rng, count, 4)
    if family in CHART_FAMILIES:
        images = draw_chart(rng, values)
    elif family in DIGIT_FAMILIES:
        images = draw_digits(rng, values, colors, split)
    else:
        images = draw_tiles(rng, values, colors, rng.integers(0, 3, count))
    names: list[tuple[str, ...]] = [BARS if family in CHART_FAMILIES else PLACES] * count
    if family in COLOR_FAMILIES:
        names = [tuple(COLORS[color] for color in row) for row in colors.tolist()]
    questions = []
    for value, name, picks in zip(values.tolist(), names, order.tolist()):
        a, b, c = (name[pick] for pick in picks[:3])
        match asked(family):
            case "add":
                text, used = f"add {a} and {b} ?", picks[:2]
            case "gap":
                text, used = f"gap {a} to {b} ?", picks[:2]
            case "times":
                text, used = f"multiply {a} and {b} ?", picks[:2]
            case "sum3":
                text, used = f"sum {a} {b} {c} ?", picks[:3]
            case _:
                text, used = "largest minus smallest value ?", [0, 1, 2, 3]
        facts = tuple(value[pick] for pick in used)
        questions.append(Question(text, steps(family, facts)[1], "number", facts))
    return images, questions


def _count(family: str, rng: np.random.Generator, levels: NDArray[np.int64]) -> Batch:
    count = len(levels)
    wanted = rng.integers(np.array([1, 2, 3, 5])[levels - 1], np.array([3, 5, 7, 10])[levels - 1])
    others = np.array([0, 2, 4, 6])[levels - 1]
    target = rng.integers(0, 4, count)
    rank = np.argsort(_permutations(rng, count, 16), axis=1)
    is_target = rank < wanted[:, None]
    kinds = np.where(rank < (wanted + others)[:, None], rng.integers(0, len(SHAPES), (count, 16)), -1)
    other_colors = (target[:, None] + rng.integers(1, 4, (count, 16))) % 4
    colors = np.where(is_target, target[:, None], other_colors)
    images, _ = draw_shapes(rng, kinds, colors, np.full(count, 5.5), np.ones(count))
    rows = is_target.reshape(count, 4, 4).sum(axis=2).tolist()
    return images, [
        Question(f"how many {COLORS[color]} shapes ?", str(sum(row)), "number", tuple(row))
        for color, row in zip(target.tolist(), rows)
    ]


def _find(family: str, rng: np.random.Generator, levels: NDArray[np.int64]) -> Batch:
    """One shape is asked for among up to three others; from level 3 on, the others share its color or its form."""
    count, index = len(levels), np.arange(len(levels))
    order = _permutations(rng, count, 4)
    kind, color = rng.integers(0, len(SHAPES), count), rng.integers(0, 4, count)
    kinds = (kind[:, None] + rng.integers(1, len(SHAPES), (count, 4))) % len(SHAPES)
    colors = (color[:, None] + rng.integers(1, 4, (count, 4))) % 4
    confusing = (levels >= 3)[:, None] & (rng.random((count, 4)) < 0.7)
    same_color = rng.random((count, 4)) < 0.5
    colors = np.where(confusing & same_color, color[:, None], colors)
    kinds = np.where(confusing & ~same_color, kind[:, None], kinds)
    kinds = np.where(np.argsort(order, axis=1) < levels[:, None], kinds, -1)
    place = order[:, 0]
    kinds[index, place], colors[index, place] = kind, color
    radius = np.array([11.0, 10.0, 9.0, 8.0])[levels - 1]
    images, boxes = draw_shapes(rng, kinds, colors, radius, np.ones(count))
    questions = []
    for k, c, p, box in zip(kind.tolist(), color.tolist(), place.tolist(), boxes[index, place].tolist()):
        thing = f"{COLORS[c]} {SHAPES[k]}"
        if family == "locate":
            questions.append(Question(f"where is {thing} ?", PLACES[p], "text", (p,)))
        else:
            middle = ((box[0] + box[2]) // 2, (box[1] + box[3]) // 2)
            questions.append(Question(f"point at {thing} ?", json.dumps(box), "point", middle))
    return images, questions


def _longest(family: str, rng: np.random.Generator, levels: NDArray[np.int64]) -> Batch:
    count, index = len(levels), np.arange(len(levels))
    longest = rng.integers(30, 49, count)
    lengths = longest[:, None] - np.array([16, 9, 5, 2])[levels - 1, None] - rng.integers(0, 12, (count, 4))
    colors, options = _permutations(rng, count, 4), _permutations(rng, count, 4)
    winner = rng.integers(0, 4, count)
    lengths[index, winner] = longest
    images = draw_bars(rng, lengths, colors, rng.random(count) < 0.5)
    questions = []
    for color, choice in zip(colors[index, winner].tolist(), options.tolist()):
        names = tuple(COLORS[c] for c in choice)
        text = "longest bar ? " + " ".join(f"{letter} {name}" for letter, name in zip("ABCD", names))
        answer = choice.index(color)
        questions.append(Question(text, "ABCD"[answer], "multiple_choice", (answer, color), names))
    return images, questions


def _classify(family: str, rng: np.random.Generator, levels: NDArray[np.int64]) -> Batch:
    count = len(levels)
    kinds, colors = rng.integers(0, len(SHAPES), (count, 1)), rng.integers(0, 4, (count, 1))
    radius = np.array([20.0, 14.0, 9.0, 6.0])[levels - 1]
    images, _ = draw_shapes(rng, kinds, colors, radius, np.array([1.0, 1.0, 0.7, 0.4])[levels - 1])
    return images, [
        Question("name the drawn shape ?", SHAPES[kind], "class_label", (kind,), SHAPES)
        for kind in kinds[:, 0].tolist()
    ]
