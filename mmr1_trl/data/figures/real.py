# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""
Pictures of real things: tiles with handwritten digits, and bar charts of real tables.

`digits.npz` holds the digits 1 to 6 of the test set of "Optical Recognition of Handwritten Digits" (E. Alpaydin and
C. Kaynak, 1998, UCI Machine Learning Repository, https://doi.org/10.24432/C50P49, CC BY 4.0), 8x8 pixels of 0 to 16.
`tables.json` holds series of the NOAA, the U.S. Energy Information Administration and the U.S. Bureau of Labor
Statistics, all in the public domain, as vega-datasets gives them.

A tenth of the digits and of the windows over the tables is kept for the test split and another for validation, so that
a held-out picture shows handwriting and data that training never saw.
"""

import functools
import json
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmr1_trl.data.figures.draw import SIZE, _between, _canvas, _finish, _inks, _paint


BARS = ("first", "second", "third", "last")
TALLEST = (3, 5, 8, 12)  # units of the tallest bar that a table can have, by level
_HERE = files(str(__package__))


def _of_split(split: str, count: int) -> NDArray[np.bool_]:
    tenth = np.arange(count) % 10
    return {"test": tenth == 0, "validation": tenth == 1}.get(split, tenth > 1)


@functools.cache
def handwriting(split: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """
    Return the handwritten digits of a split.

    Args:
        split (`str`):
            `"train"`, `"validation"` or `"test"`.

    Returns:
        `tuple`: Ink `(N, 8, 8)` from 0 to 1, and the digits `(N,)`, 1 to 6.
    """
    with (_HERE / "digits.npz").open("rb") as file, np.load(file) as found:
        images, labels = found["images"] / 16, found["labels"].astype(np.int64)
    mine = _of_split(split, len(labels))
    return images[mine], labels[mine]


@functools.cache
def tables() -> list[dict[str, Any]]:
    """Return the tables: `name`, `unit`, `source`, `labels` and `values`."""
    found: list[dict[str, Any]] = json.loads((_HERE / "tables.json").read_text(encoding="utf-8"))
    return found


@functools.cache
def windows(split: str, level: int) -> NDArray[np.int64]:
    """
    Return four successive entries of a table, for all tables and places of a split.

    Args:
        split (`str`):
            `"train"`, `"validation"` or `"test"`.
        level (`int`):
            1 to 4; a table is shown in units of which its largest value has `TALLEST[level - 1]`.

    Returns:
        `np.ndarray` of shape `(N, 4)`: Rounded to whole units; windows of four equal values are left out.
    """
    found = []
    for table in tables():
        values = np.array(table["values"])
        units = np.floor(values * TALLEST[level - 1] / values.max() + 0.5).astype(np.int64)
        found.append(np.lib.stride_tricks.sliding_window_view(units, 4))
    every = np.concatenate(found)
    return every[_of_split(split, len(every)) & (np.ptp(every, axis=1) > 0)]


def draw_digits(
    rng: np.random.Generator, values: NDArray[np.int64], colors: NDArray[np.int64], split: str
) -> NDArray[np.uint8]:
    """
    Draw pictures with one handwritten digit in each quadrant.

    Args:
        rng (`np.random.Generator`):
            Chooses the handwriting and the jitter.
        values, colors (`np.ndarray` of shape `(N, 4)`):
            Digit, 1 to 6, and index into `COLORS` of each tile.
        split (`str`):
            Whose handwriting.

    Returns:
        `np.ndarray` of shape `(N, 56, 56, 3)`: RGB, uint8.
    """
    ink, labels = handwriting(split)
    places = np.argsort(labels, kind="stable")
    first = np.searchsorted(labels[places], np.arange(1, 8))
    canvas = _canvas(rng, len(values))
    inks = _inks(rng, colors, np.ones(len(values)))
    chosen = places[rng.integers(first[values - 1], first[values])]
    top, left = rng.integers(1, 4, (2, *values.shape))
    for tile in range(4):
        for row in range(len(values)):
            y, x = 28 * (tile // 2) + top[row, tile], 28 * (tile % 2) + left[row, tile]
            region = canvas[row, y : y + 24, x : x + 24]
            share = np.kron(ink[chosen[row, tile]], np.ones((3, 3)))[..., None]
            region += (share * (inks[row, tile] - region)).astype(np.float32)
    return _finish(canvas)


def draw_chart(rng: np.random.Generator, values: NDArray[np.int64]) -> NDArray[np.uint8]:
    """
    Draw charts of four standing bars of one color, each a pile of blocks of one unit.

    Args:
        rng (`np.random.Generator`):
            Source of color and jitter.
        values (`np.ndarray` of shape `(N, 4)`):
            Height in units, 0 to 12.

    Returns:
        `np.ndarray` of shape `(N, 56, 56, 3)`: RGB, uint8.
    """
    count, axis = len(values), np.arange(SIZE)
    canvas = _canvas(rng, count)
    inks = _inks(rng, rng.integers(0, 4, (count, 1)), np.ones(count))
    ground = rng.integers(1, 5, count)
    for bar in range(4):
        above = axis - ground[:, None]
        along = _between(axis, ground, 4 * values[:, bar]) & (above % 4 != 3)
        width = rng.integers(6, 10, count)
        across = _between(axis, 14 * bar + rng.integers(1, 14 - width), width)
        _paint(canvas, along[:, ::-1, None] & across[:, None, :], inks[:, 0])
    return _finish(canvas)


def chart_values(rng: np.random.Generator, levels: NDArray[np.int64], split: str) -> NDArray[np.int64]:
    """
    Choose a window over a table for each level.

    Returns:
        `np.ndarray` of shape `(N, 4)`: See [`windows`].
    """
    draws = rng.random(len(levels))
    pools = {level: windows(split, level) for level in range(1, 5)}
    return np.array([pools[level][int(draw * len(pools[level]))] for level, draw in zip(levels.tolist(), draws)])
