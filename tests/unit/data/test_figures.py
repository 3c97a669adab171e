# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The procedural figures: splits, determinism, and pictures and answers that agree with each other."""

import hashlib
import json
import time
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from mmr1_trl.data.figures import SPREAD, UNEVEN, TraceMixture, figure_split, figures_traces, load_figures
from mmr1_trl.data.figures.draw import COLORS
from mmr1_trl.data.figures.figure_questions import (
    CHART_FAMILIES,
    DIGIT_FAMILIES,
    FAMILIES,
    LEVELS,
    PLACES,
    POSITION_FAMILIES,
    asked,
    slip,
    steps,
)
from mmr1_trl.data.figures.real import BARS, handwriting, tables
from mmr1_trl.errors import BadInputError
from mmr1_trl.models.tiny_tokenizer import build_tokenizer


def _content(row) -> bytes:
    pixels = np.asarray(row["images"][0].convert("RGB"))
    return hashlib.sha256(pixels.tobytes() + row["prompt"][0]["content"].encode()).digest()


def test_splits_are_disjoint_and_free_of_duplicates_over_20k_rows():
    contents = {
        (split, seed): [_content(row) for row in load_figures(split, rows, seed=seed, families=FAMILIES)]
        for split, rows, seed in [
            ("train", 9500, 0), ("train", 9000, 1), ("validation", 700, 0), ("test", 500, 0), ("test", 300, 7)
        ]
    }  # fmt: skip
    for part in contents.values():
        assert len(set(part)) == len(part)
    train = {*contents["train", 0], *contents["train", 1]}
    validation = set(contents["validation", 0])
    test = {*contents["test", 0], *contents["test", 7]}
    assert not train & validation and not train & test and not validation & test
    assert len(train) > 17000


def test_the_content_alone_decides_the_split():
    for split in ("train", "validation", "test"):
        for row in load_figures(split, 30, seed=4, families=FAMILIES):
            pixels = np.asarray(row["images"][0].convert("RGB"))
            assert figure_split(pixels, row["prompt"][0]["content"]) == split


def test_rows_depend_on_the_arguments_alone():
    first, again = load_figures("train", 200, seed=3), load_figures("train", 200, seed=3)
    assert first[:] == again[:]
    assert load_figures("train", 50, seed=3)["prompt_id"][:] == first["prompt_id"][:50]
    assert set(load_figures("train", 200, seed=4)["prompt_id"]).isdisjoint(first["prompt_id"][:])


def test_columns_are_those_of_the_training_rows():
    dataset = load_figures("train", 400, families=FAMILIES)
    row = dataset[0]
    assert [message["role"] for message in row["prompt"]] == ["user"] and isinstance(row["prompt"][0]["content"], str)
    assert len(row["images"]) == 1 and isinstance(row["images"][0], Image.Image) and row["images"][0].size == (56, 56)
    assert len(set(dataset["prompt_id"])) == 400
    assert set(dataset["level"]) == {1, 2, 3, 4} and set(dataset["family"]) == set(FAMILIES)
    kinds = {(row["family"], row["answer_type"]) for row in dataset.remove_columns("images")}
    assert {
        ("longest", "multiple_choice"),
        ("classify", "class_label"),
        ("point", "point"),
        ("add", "number"),
    } <= kinds
    assert "options" not in load_figures("train", 10).column_names
    assert set(load_figures("train", 100)["family"]) == set(POSITION_FAMILIES)
    for row in dataset.remove_columns("images"):
        if row["family"] == "longest":
            names = row["prompt"][0]["content"].removeprefix("longest bar ? ").split()
            assert names[1::2] == row["options"] and names[::2] == ["A", "B", "C", "D"]
        assert (row["options"] is None) == (row["family"] not in ("longest", "classify"))


# Readers that know the drawing code's palette but none of its parameters: they look at the pixels.
_PALETTE = {"red": (208, 48, 48), "green": (44, 160, 60), "blue": (56, 84, 216), "yellow": (226, 200, 44)}


def _foreground(pixels: np.ndarray) -> np.ndarray:
    values, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_counts=True)
    return (pixels != values[counts.argmax()]).any(axis=-1)


def _components(mask: np.ndarray) -> int:
    """Count the 4-connected regions by flood fill."""
    left, regions = {tuple(spot) for spot in np.argwhere(mask)}, 0
    while left:
        regions, stack = regions + 1, [left.pop()]
        while stack:
            y, x = stack.pop()
            for spot in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if spot in left:
                    left.discard(spot)
                    stack.append(spot)
    return regions


def _tile_values(pixels: np.ndarray) -> list[int]:
    mask = _foreground(pixels)
    return [_components(mask[y : y + 28, x : x + 28]) for y in (0, 28) for x in (0, 28)]


def _tile_colors(pixels: np.ndarray) -> list[str]:
    """Name the color of each tile by its direction from the background, which contrast does not change."""
    mask, names = _foreground(pixels), list(_PALETTE)
    background = pixels[~mask][0].astype(float)
    directions = np.array(list(_PALETTE.values())) - background
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    found = []
    for y, x in ((0, 0), (0, 28), (28, 0), (28, 28)):
        ink = pixels[y : y + 28, x : x + 28][mask[y : y + 28, x : x + 28]][0] - background
        found.append(names[int(np.argmax(directions @ ink))])
    return found


def _bar_heights(pixels: np.ndarray) -> list[int]:
    mask = _foreground(pixels)
    return [_components(mask[:, x : x + 14]) for x in range(0, 56, 14)]


def _written(pixels: np.ndarray, split: str) -> list[int]:
    """Read each tile as the handwritten digit of the split that its ink agrees with, wherever in the tile it is."""
    ink, labels = handwriting(split)
    wanted = np.kron(ink, np.ones((3, 3))).reshape(len(ink), -1)
    wanted = wanted - wanted.mean(axis=1, keepdims=True)
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    values, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_counts=True)
    distance = np.abs(pixels.astype(float) - values[counts.argmax()]).sum(-1)
    found = []
    for y, x in ((0, 0), (0, 28), (28, 0), (28, 28)):
        spots = [distance[y + i : y + i + 24, x + j : x + j + 24].ravel() for i in (1, 2, 3) for j in (1, 2, 3)]
        seen = np.array([(s - s.mean()) / np.linalg.norm(s - s.mean()) for s in spots])
        likeness = (wanted @ seen.T).max(axis=1)
        assert likeness.max() > 0.99
        found.append(int(labels[likeness.argmax()]))
    return found


@pytest.mark.parametrize("family", [*POSITION_FAMILIES, "color_add", "color_gap", *DIGIT_FAMILIES, *CHART_FAMILIES])
def test_tile_answers_follow_from_the_pixels(family):
    kind = family.split("_")[0]
    tallest = {1: 3, 2: 5, 3: 8, 4: 12} if kind == "charts" else {1: 3, 2: 4, 3: 5, 4: 6}
    for row in load_figures("train", 60, families=[family], seed=11):
        pixels, words = np.asarray(row["images"][0]), row["prompt"][0]["content"].split()
        names = {"color": _tile_colors, "charts": lambda _: list(BARS)}.get(kind, lambda _: list(PLACES))(pixels)
        values = {"charts": _bar_heights, "digits": lambda p: _written(p, "train")}.get(kind, _tile_values)(pixels)
        if kind == "color":
            assert sorted(names) == sorted(COLORS)
        read = [values[names.index(word)] for word in words if word in names]
        match family.split("_")[-1]:
            case "add" | "sum3":
                expected = sum(read)
            case "gap":
                expected = abs(read[0] - read[1])
            case "times":
                expected = read[0] * read[1]
            case _:
                expected = max(values) - min(values)
        assert row["solution"] == str(expected)
        assert max(values) <= tallest[row["level"]]


def test_real_pictures_show_in_each_split_what_the_others_never_show():
    shown = {split: {i.tobytes() for i in handwriting(split)[0]} for split in ("train", "validation", "test")}
    assert not shown["train"] & shown["test"] and not shown["train"] & shown["validation"]
    assert all(set(handwriting(split)[1].tolist()) == {1, 2, 3, 4, 5, 6} for split in shown)
    for row in load_figures("test", 20, families=["digits_range"]):
        values = _written(np.asarray(row["images"][0]), "test")
        assert row["solution"] == str(max(values) - min(values))
    for table in tables():  # a chart shows four successive entries of a table, in units that its largest entry sets
        assert table["source"].endswith("public domain") and len(table["labels"]) == len(table["values"])
    for level, units in {1: 3, 4: 12}.items():
        every = [[round(v * units / max(t["values"]) + 1e-9) for v in t["values"]] for t in tables()]
        runs = {tuple(values[i : i + 4]) for values in every for i in range(len(values) - 3)}
        for row in load_figures("train", 40, families=["charts_range"], levels=[level]):
            assert tuple(_bar_heights(np.asarray(row["images"][0]))) in runs


def test_count_and_locate_and_point_follow_from_the_pixels():
    for row in load_figures("train", 150, families=["count"], seed=11):
        pixels, color = np.asarray(row["images"][0]).astype(int), row["prompt"][0]["content"].split()[2]
        names, palette = list(_PALETTE), np.array(list(_PALETTE.values()))
        mask = _foreground(pixels)
        nearest = np.abs(pixels[:, :, None, :] - palette).sum(-1).argmin(-1)
        cells = [(slice(y, y + 14), slice(x, x + 14)) for y in range(0, 56, 14) for x in range(0, 56, 14)]
        of_color = sum(bool((mask[cell] & (nearest[cell] == names.index(color))).any()) for cell in cells)
        assert row["solution"] == str(of_color)
    for row in load_figures("train", 100, families=["locate", "point"], levels=[1], seed=11):
        ys, xs = np.nonzero(_foreground(np.asarray(row["images"][0])))
        if row["family"] == "locate":
            assert row["solution"] == PLACES[2 * int(ys.mean() >= 28) + int(xs.mean() >= 28)]
        else:
            x1, y1, x2, y2 = json.loads(row["solution"])
            assert np.allclose([x1, y1, x2, y2], [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], atol=2)


def test_longest_bar_follows_from_the_pixels():
    for row in load_figures("train", 150, families=["longest"], seed=11):
        pixels = np.asarray(row["images"][0]).astype(int)
        mask = _foreground(pixels)
        nearest = np.abs(pixels[:, :, None, :] - np.array(list(_PALETTE.values()))).sum(-1).argmin(-1)
        reach = [np.argwhere(mask & (nearest == index)) for index in range(4)]
        lengths = [int((spots.max(axis=0) - spots.min(axis=0)).max()) for spots in reach]
        color = list(_PALETTE)[int(np.argmax(lengths))]
        assert row["options"]["ABCD".index(row["solution"])] == color


@pytest.mark.parametrize("family", FAMILIES)
def test_clean_traces_end_in_the_right_answer(family):
    exact = TraceMixture(direct=0.3, shortcut=0.0, slip=0.0)
    traces = figures_traces(60, seed=5, mixture=exact, families=[family])
    for trace, row in zip(traces, load_figures("train", 60, seed=5, families=[family])):
        assert trace["prompt"] == row["prompt"] and _content(trace) == _content(row)
        answer = trace["completion"][0]["content"].split("<answer> ")[1].split(" </answer>")[0]
        if family == "point":
            (x, y), (x1, y1, x2, y2) = json.loads(answer), json.loads(row["solution"])
            assert x1 <= x < x2 and y1 <= y < y2
        else:
            assert answer == row["solution"]
        assert (trace["style"] == "direct") == ("<think> </think>" in trace["completion"][0]["content"])


def test_mixture_shares_are_kept():
    traces = figures_traces(3000, seed=1, mixture=TraceMixture(direct=0.5, shortcut=0.3, slip=1.0))
    share = {style: traces["style"][:].count(style) / 3000 for style in ("direct", "shortcut", "steps")}
    assert abs(share["direct"] - 0.5) < 0.03 and abs(share["shortcut"] - 0.3) < 0.03
    swapped = figures_traces(3000, seed=1, mixture=TraceMixture(direct=0.5, shortcut=0.3, swapped=("add", "gap")))
    styles = [style for style, family in zip(swapped["style"], swapped["family"]) if family in ("add", "gap")]
    assert abs(styles.count("direct") / len(styles) - 0.3) < 0.05
    assert abs(styles.count("shortcut") / len(styles) - 0.5) < 0.05
    right = figures_traces(3000, seed=1, mixture=TraceMixture(direct=0.5, shortcut=0.3, slip=0.0))
    differing = [
        (a["style"], a["completion"] != b["completion"])
        for a, b in zip(traces.remove_columns("images"), right.remove_columns("images"))
    ]
    assert {style for style, differs in differing if differs} == {"steps"}
    assert all(differs for style, differs in differing if style == "steps")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_slip_changes_one_fact_and_the_trace(family):
    rng = np.random.default_rng(0)
    facts = {"range": (3, 5, 1, 6), "sum3": (1, 6, 3), "count": (0, 4, 1, 2), "locate": (2,), "classify": (5,)}.get(
        asked(family), (3, 1)
    )
    for _ in range(50):
        slipped = slip(family, facts, rng)
        assert sum(a != b for a, b in zip(facts, slipped)) == 1
        assert steps(family, slipped) != steps(family, facts)


def test_every_text_is_in_the_vocabulary_and_prompts_of_a_family_have_one_length():
    tokenizer = build_tokenizer([])
    traces = figures_traces(3000, seed=2, mixture=TraceMixture(0.2, 0.2, 0.5), families=FAMILIES)
    lengths: dict[str, set[int]] = {}
    for row in traces.remove_columns("images"):
        prompt = tokenizer(row["prompt"][0]["content"])["input_ids"]
        completion = tokenizer(row["completion"][0]["content"])["input_ids"]
        assert tokenizer.unk_token_id not in prompt + completion
        assert tokenizer.decode(completion) == row["completion"][0]["content"] and len(completion) < 20
        lengths.setdefault(row["family"], set()).add(len(prompt))
    assert lengths == {family: {11 if family == "longest" else 5} for family in FAMILIES}


def test_drawing_is_fast():
    start = time.perf_counter()
    load_figures("train", 3000, seed=9)
    assert time.perf_counter() - start < 30


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "dev"}, "unknown split 'dev'"),
        ({"families": ["ad"]}, "Did you mean 'add'"),
        ({"families": []}, "empty list of family"),
        ({"levels": [5]}, "unknown level 5; known: 1, 2, 3, 4"),
        ({"num_rows": 0}, "0 rows of seed 0 were asked for. Ask for 1 or more"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(BadInputError, match=message):
        load_figures(**arguments)


def test_impossible_mixtures_are_named():
    with pytest.raises(BadInputError, match="slip is a share"):
        TraceMixture(slip=1.5)
    with pytest.raises(BadInputError, match=r"direct \+ shortcut"):
        TraceMixture(direct=0.7, shortcut=0.7)


def test_a_mixture_per_level():
    rows = figures_traces(2000, seed=3, mixture=SPREAD)
    pairs = list(zip(rows["level"], rows["style"]))
    styles = {level: [style for other, style in pairs if other == level] for level in LEVELS}
    assert set(styles[1]) == {"steps"}
    shares = {level: styles[level].count("shortcut") / len(styles[level]) for level in LEVELS}
    assert shares[1] < shares[2] < shares[3] < shares[4] and shares[4] > 0.9


def test_a_mixture_per_family():
    rows = figures_traces(2000, seed=3, mixture=UNEVEN)
    styles = {family: Counter() for family in UNEVEN}
    for family, style in zip(rows["family"], rows["style"]):
        styles[family][style] += 1
    assert styles["add"].keys() == styles["range"].keys() == {"steps"}
    for family in ("sum3", "times"):
        assert styles[family]["shortcut"] / styles[family].total() == pytest.approx(0.92, abs=0.04)
    assert styles["gap"]["direct"] / styles["gap"].total() == pytest.approx(0.5, abs=0.08)
    with pytest.raises(BadInputError, match="'count'.*add"):
        figures_traces(50, mixture=UNEVEN, families=["count"])
