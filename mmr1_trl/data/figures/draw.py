# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Drawing for the procedural figures: whole batches of 56x56 pictures with NumPy, positions and colors jittered."""

import numpy as np
from numpy.typing import NDArray


SIZE = 56
COLORS = ("red", "green", "blue", "yellow")
SHAPES = ("circle", "square", "triangle", "cross", "diamond", "ring")
_RGB = np.array([[208, 48, 48], [44, 160, 60], [56, 84, 216], [226, 200, 44]])
# CLIP's mean color: after the image processor's normalization the background is close to zero.
_BACKGROUND = np.array([122, 116, 104])
# Pips of the dice faces 1 to 6 on a 3x3 grid, row by row.
_PIPS = np.array(
    [
        [0, 0, 0, 0, 1, 0, 0, 0, 0],
        [1, 0, 0, 0, 0, 0, 0, 0, 1],
        [1, 0, 0, 0, 1, 0, 0, 0, 1],
        [1, 0, 1, 0, 0, 0, 1, 0, 1],
        [1, 0, 1, 0, 1, 0, 1, 0, 1],
        [1, 0, 1, 1, 0, 1, 1, 0, 1],
    ],
    dtype=bool,
)


def _canvas(rng: np.random.Generator, count: int) -> NDArray[np.float32]:
    background = _BACKGROUND + rng.integers(-6, 7, (count, 3))
    return np.broadcast_to(background[:, None, None, :], (count, SIZE, SIZE, 3)).astype(np.float32)


def _inks(rng: np.random.Generator, colors: NDArray[np.int64], contrast: NDArray[np.float64]) -> NDArray[np.float32]:
    """Colors `(N, C)` -> jittered RGB `(N, C, 3)`, pulled towards the background where the contrast is below 1."""
    jittered = _RGB[colors] + rng.integers(-6, 7, (*colors.shape, 3))
    return (_BACKGROUND + contrast[:, None, None] * (jittered - _BACKGROUND)).astype(np.float32)


def _paint(region: NDArray[np.float32], mask: NDArray[np.bool_], ink: NDArray[np.float32]) -> None:
    """Color the masked pixels of `(N, h, w, 3)` in place; `mask` is `(N, h, w)` and `ink` is `(N, 3)`."""
    np.copyto(region, ink[:, None, None, :], where=mask[..., None])


def _finish(canvas: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.clip(np.rint(canvas), 0, 255).astype(np.uint8)


def _between(axis: NDArray[np.int64], start: NDArray[np.int64], length: NDArray[np.int64]) -> NDArray[np.bool_]:
    return (axis >= start[:, None]) & (axis < (start + length)[:, None])


def _tile_mask(rng: np.random.Generator, values: NDArray[np.int64], drawing: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Masks `(N, 28, 28)` of one tile: blocks upright (0), blocks lying (1) or dice pips (2), as many as the value."""
    count, axis = len(values), np.arange(28)
    # A block has 3x8 pixels and a pip 5x5: the inked area tells the value, in all three drawings alike.
    length, width = 4 * values - 1, np.full(count, 8)
    start = rng.integers(2, 27 - length)
    # A bar is a row of 3-pixel blocks one pixel apart: they can be counted, whichever way the bar lies.
    along = _between(axis, start, length) & ((axis - start[:, None]) % 4 != 3)
    across = _between(axis, rng.integers(3, 26 - width), width)
    vertical = along[:, :, None] & across[:, None, :]
    horizontal = across[:, :, None] & along[:, None, :]
    top, left = rng.integers(1, 7, (2, count))
    pips = np.zeros((count, 28, 28), dtype=bool)
    for spot in range(9):
        rows = _between(axis, top + 8 * (spot // 3), np.full(count, 5))
        columns = _between(axis, left + 8 * (spot % 3), np.full(count, 5))
        pips |= rows[:, :, None] & columns[:, None, :] & _PIPS[values - 1, spot][:, None, None]
    choice = drawing[:, None, None]
    return np.where(choice == 0, vertical, np.where(choice == 1, horizontal, pips))


def draw_tiles(
    rng: np.random.Generator,
    values: NDArray[np.int64],
    colors: NDArray[np.int64],
    drawing: NDArray[np.int64],
) -> NDArray[np.uint8]:
    """
    Draw pictures with one value from 1 to 6 in each quadrant.

    Args:
        rng (`np.random.Generator`):
            Source of the jitter.
        values, colors (`np.ndarray` of shape `(N, 4)`):
            Value and index into `COLORS` of the tiles top left, top right, bottom left, bottom right.
        drawing (`np.ndarray` of shape `(N,)`):
            0 for upright rows of blocks, 1 for lying ones, 2 for dice pips; the same in all four tiles.
    Returns:
        `np.ndarray` of shape `(N, 56, 56, 3)`: RGB, uint8.
    """
    canvas = _canvas(rng, len(values))
    inks = _inks(rng, colors, np.ones(len(values)))
    for tile in range(4):
        row, column = 28 * (tile // 2), 28 * (tile % 2)
        mask = _tile_mask(rng, values[:, tile], drawing)
        _paint(canvas[:, row : row + 28, column : column + 28], mask, inks[:, tile])
    return _finish(canvas)


def _shape_mask(
    size: int, kinds: NDArray[np.int64], x: NDArray[np.float64], y: NDArray[np.float64], radius: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Masks `(N, size, size)` of the shapes with the given centers and half widths, in pixels of the cell."""
    axis = np.arange(size) + 0.5
    r = radius[:, None, None]
    dx, dy = axis[None, None, :] - x[:, None, None], axis[None, :, None] - y[:, None, None]
    box = (np.abs(dx) <= r) & (np.abs(dy) <= r)
    distance = dx**2 + dy**2
    masks = (
        distance <= r**2,
        box,
        box & (2 * np.abs(dx) <= dy + r),
        box & ((np.abs(dx) <= 0.34 * r) | (np.abs(dy) <= 0.34 * r)),
        np.abs(dx) + np.abs(dy) <= r,
        (distance <= r**2) & (distance >= (0.55 * r) ** 2),
    )
    return np.select([(kinds == kind)[:, None, None] for kind in range(len(SHAPES))], masks, default=False)


def draw_shapes(
    rng: np.random.Generator,
    kinds: NDArray[np.int64],
    colors: NDArray[np.int64],
    radius: NDArray[np.float64],
    contrast: NDArray[np.float64],
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """
    Draw one shape, or none, in each cell of a square grid.

    Args:
        rng (`np.random.Generator`):
            Source of the jitter.
        kinds (`np.ndarray` of shape `(N, C)`):
            Index into `SHAPES`, or -1 for an empty cell; `C` is 1, 4 or 16 cells, row by row.
        colors (`np.ndarray` of shape `(N, C)`):
            Index into `COLORS`.
        radius (`np.ndarray` of shape `(N,)`):
            Half the shapes' width in pixels.
        contrast (`np.ndarray` of shape `(N,)`):
            1 for full color, towards 0 for the background's.

    Returns:
        `tuple`: The pictures `(N, 56, 56, 3)` as uint8, and the shapes' boxes `(N, C, 4)` as x1, y1, x2, y2 in pixels.
    """
    count, cells = kinds.shape
    grid = round(cells**0.5)
    size = SIZE // grid
    canvas = _canvas(rng, count)
    inks = _inks(rng, colors, contrast)
    slack = (size / 2 - 1 - radius)[:, None]
    x = size / 2 + slack * rng.uniform(-1, 1, (count, cells))
    y = size / 2 + slack * rng.uniform(-1, 1, (count, cells))
    for cell in range(cells):
        row, column = size * (cell // grid), size * (cell % grid)
        mask = _shape_mask(size, kinds[:, cell], x[:, cell], y[:, cell], radius)
        _paint(canvas[:, row : row + size, column : column + size], mask, inks[:, cell])
    index = np.arange(cells)
    left, top = x + size * (index % grid), y + size * (index // grid)
    corners = [left - radius[:, None], top - radius[:, None], left + radius[:, None], top + radius[:, None]]
    return _finish(canvas), np.rint(np.stack(corners, axis=-1)).astype(np.int64)


def draw_bars(
    rng: np.random.Generator,
    lengths: NDArray[np.int64],
    colors: NDArray[np.int64],
    vertical: NDArray[np.bool_],
) -> NDArray[np.uint8]:
    """
    Draw four bars side by side.

    Args:
        rng (`np.random.Generator`):
            Source of the jitter.
        lengths, colors (`np.ndarray` of shape `(N, 4)`):
            Length in pixels, at most 50, and index into `COLORS` of each bar.
        vertical (`np.ndarray` of shape `(N,)`):
            Whether the bars stand (on the same ground) or lie (from the same left edge).

    Returns:
        `np.ndarray` of shape `(N, 56, 56, 3)`: RGB, uint8.
    """
    count, axis = len(lengths), np.arange(SIZE)
    canvas = _canvas(rng, count)
    inks = _inks(rng, colors, np.ones(count))
    edge = rng.integers(1, 5, count)
    for bar in range(4):
        along = _between(axis, edge, lengths[:, bar])
        width = rng.integers(6, 10, count)
        across = _between(axis, 14 * bar + rng.integers(1, 14 - width), width)
        lying = across[:, :, None] & along[:, None, :]
        standing = along[:, ::-1, None] & across[:, None, :]
        _paint(canvas, np.where(vertical[:, None, None], standing, lying), inks[:, bar])
    return _finish(canvas)
