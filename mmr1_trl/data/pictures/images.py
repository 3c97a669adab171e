# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Pictures as datasets store them: opened or measured with one clear error, and scaled to a pixel budget.

Nothing here touches a model. A stored image is a `PIL.Image.Image`, a path, raw bytes, or the
`{"bytes": ..., "path": ...}` mapping of `datasets.Image(decode=False)`.
"""

import math
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

import pyarrow.compute as pc
from datasets import Dataset
from PIL import Image, ImageOps, UnidentifiedImageError

from mmr1_trl.errors import BadInputError


# Every format that image datasets really hold. The list is closed because some of Pillow's other readers start outside
# programs (EPS runs Ghostscript), which a file from a downloaded dataset must not be able to do.
_FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF", "ICO", "TGA")
_ORIENTATION_TAG = 0x0112
MAX_FILE_BYTES = 256 * 2**20  # of one picture on disk; photographs have a few million
_MAX_ASPECT_RATIO = 200  # the Qwen processors raise above it, in the middle of a batch

Image.init()
_READABLE = [name for name in _FORMATS if name in Image.OPEN]  # AVIF depends on how Pillow was built


class BadImageError(BadInputError):
    """A stored image that cannot be used. The message starts with where it is stored and ends with the reason."""


@dataclass(frozen=True)
class ImageFolders:
    """
    Where the paths of a dataset's pictures start from, and where they may lead.

    Args:
        root (`str`, *optional*):
            Folder that relative paths start from and stay below.
        own (`tuple[str, ...]`, *optional*):
            The only folders, beside `root`, that absolute paths may lead into: those that a dataset from the Hub was
            downloaded to, because its author must not choose what is read on this machine. `None` for a local
            dataset, whose paths may lead to any file.
    """

    root: str | None = None
    own: tuple[str, ...] | None = None

    def starting_from(self, root: str | None) -> "ImageFolders":
        """The same with another folder that relative paths start from; without one unchanged."""
        return self if root is None else replace(self, root=root)

    def resolve(self, path: str) -> str:
        """
        Return the file that a stored path means, which need not be there.

        Args:
            path (`str`):
                A path, or the same after `file://`. An address of any other kind is returned as it is.

        Returns:
            `str`: The path to open.

        Raises:
            [`BadImageError`]: The path leads out of the folders.
        """
        name = path
        if path.lower().startswith("file:"):
            parts = urlsplit(path)
            if parts.netloc not in ("", "localhost"):
                raise BadImageError(f"{path[:200]!r} names a file of another machine. Write file:/// and the path.")
            name = unquote(parts.path)
        elif "://" in path:
            return path
        if os.path.isabs(name):
            folders = [*(self.own or ()), *([] if self.root is None else [self.root])]
            if self.own is None or any(_is_below(os.path.realpath(name), os.path.realpath(f)) for f in folders):
                return name
            raise BadImageError(
                f"the path {path[:200]!r} is absolute, and the dataset is not from this machine. If it means a file "
                "here, name its folder by --image_root."
            )
        if self.root is None:
            if self.own is None:
                return name
            raise BadImageError(
                f"the path {path[:200]!r} is relative, and the dataset is not from this machine. Name the folder that "
                "it starts from by --image_root."
            )
        full, root = os.path.normpath(os.path.join(self.root, name)), os.path.normpath(self.root)
        if not _is_below(os.path.abspath(full), os.path.abspath(root)):
            raise BadImageError(
                f"the path {path[:200]!r} leads out of {self.root!r}, where the pictures are. Put the file below it."
            )
        return full


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip(os.sep) + os.sep)


def open_file(path: str | os.PathLike[str], where: str) -> BinaryIO:
    """
    Open a picture's file for reading: a regular one of a reasonable size, so that neither a device nor a pipe can
    hold up a run.

    Args:
        path (`str` or `os.PathLike`):
            The file.
        where (`str`):
            Name of the place for the error message.

    Returns:
        `BinaryIO`: The open file.

    Raises:
        [`BadImageError`]: It is missing, empty, too large, or something else than a file.
    """
    name = os.fspath(path)
    shown = repr(name if len(name) <= 300 else name[:300] + "...")
    if "://" in name:
        raise BadImageError(f"{where}: {shown} is an address. Pictures are not downloaded one by one: store them.")
    try:
        # Looked at before it is opened, since opening alone does something to some devices, and again afterwards.
        if stat.S_ISREG(os.stat(name).st_mode):
            file = open(os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
            found = os.fstat(file.fileno())
            if stat.S_ISREG(found.st_mode) and 0 < found.st_size <= MAX_FILE_BYTES:
                return file
            file.close()
            problem = "is empty (zero bytes)" if not found.st_size else f"has {found.st_size:,} bytes, too many"
            raise BadImageError(f"{where}: the file {shown} {problem}.")
    except (FileNotFoundError, NotADirectoryError):
        raise BadImageError(f"{where}: there is no file {shown}.") from None
    except (OSError, ValueError) as error:  # no permission, a name that is too long or holds a NUL
        if isinstance(error, BadImageError):
            raise
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise BadImageError(f"{where}: the file {shown} cannot be opened ({reason}).") from error
    raise BadImageError(f"{where}: {shown} is not a regular file, but a folder, a device or a pipe.")


def open_image(value: Any, where: str) -> Image.Image:
    """
    Decode one stored image completely, upright and in RGB.

    The EXIF orientation is applied (as `datasets.Image` does when it decodes). Transparent pixels become white,
    because diagrams are often black lines on a transparent ground. 16-bit gray keeps its high byte.

    Args:
        value (`PIL.Image.Image`, `str`, `os.PathLike`, `bytes` or `dict`):
            The stored image. A mapping has `"bytes"` (preferred when present) and `"path"`.
        where (`str`):
            Name of the place, such as `"row 12, image 0"`; the error message starts with it.

    Returns:
        `PIL.Image.Image`: A loaded image in mode `"RGB"`. An upright RGB image that was given loaded is returned as it
        is.

    Raises:
        [`BadImageError`]: The file is missing, empty, truncated, not an image, or a decompression bomb.
    """
    with _opened(value, where) as image:
        orientation = _orientation(image, where)
        try:
            image.load()
            if orientation != 1:
                image = ImageOps.exif_transpose(image)
            image = _to_rgb(image)
            # Of several frames Pillow would read the others later, from a file that is closed by then.
            return image.copy() if image is not value and getattr(image, "is_animated", False) else image
        # On damaged bytes the decoders raise OSError, SyntaxError, ValueError, struct.error, zlib.error and more.
        except Exception as error:
            raise BadImageError(f"{where}: the image is truncated or damaged ({error}).") from error


def image_size(value: Any, where: str) -> tuple[int, int]:
    """
    Read the size of a stored image from its header, without decoding it.

    Args:
        value (`PIL.Image.Image`, `str`, `os.PathLike`, `bytes` or `dict`):
            The stored image, as for [`open_image`].
        where (`str`):
            Name of the place for the error message.

    Returns:
        `tuple[int, int]`: Width and height in pixels, as [`open_image`] would return them: a picture that EXIF turns
        by a quarter has the two swapped.

    Raises:
        [`BadImageError`]: There is no readable header. A file that is cut after its header passes here.
    """
    with _opened(value, where) as image:
        width, height = image.size
        turned = _orientation(image, where) in (5, 6, 7, 8)
    return (height, width) if turned else (width, height)


def require_shape(width: int, height: int, where: str) -> None:
    """
    Refuse a picture that is too narrow for the processors.

    Args:
        width (`int`), height (`int`):
            Size of the picture in pixels.
        where (`str`):
            Name of the place for the error message.

    Raises:
        [`BadImageError`]: One side is more than 200 times as long as the other.
    """
    if max(width, height) > _MAX_ASPECT_RATIO * min(width, height):
        raise BadImageError(f"{where}: a picture of {width} x {height} pixels is too narrow.")


def fit_size(width: int, height: int, min_pixels: int | None = None, max_pixels: int | None = None) -> tuple[int, int]:
    """
    Scale a size so that its area lies between two limits and its aspect ratio stays, up to rounding to whole pixels.

    Args:
        width (`int`):
            Width in pixels.
        height (`int`):
            Height in pixels.
        min_pixels (`int`, *optional*):
            Smallest area in pixels.
        max_pixels (`int`, *optional*):
            Largest area in pixels. It holds also where one side cannot shrink below one pixel; only there the aspect
            ratio gives way.

    Returns:
        `tuple[int, int]`: New width and height; unchanged when the area is inside the limits.
    """
    if min_pixels is not None and max_pixels is not None and min_pixels > max_pixels:
        raise BadInputError(
            f"min_pixels={min_pixels} is larger than max_pixels={max_pixels}. Set min_pixels to {max_pixels} or less."
        )
    if max_pixels is not None and max_pixels < 1:
        raise BadInputError(f"max_pixels={max_pixels} leaves no picture. Set it to 1 or more, or leave it out.")
    area = width * height
    if max_pixels is not None and area > max_pixels:
        scale = math.sqrt(max_pixels / area)
        new_height = min(max(1, math.floor(height * scale)), max_pixels)
        return max(1, min(math.floor(width * scale), max_pixels // new_height)), new_height
    if min_pixels is not None and area < min_pixels:
        scale = math.sqrt(min_pixels / area)
        new_width, new_height = math.ceil(width * scale), math.ceil(height * scale)
        if max_pixels is not None and new_width * new_height > max_pixels:
            # The two limits are closer than one row of pixels: the upper one guards the memory, so it wins.
            return fit_size(new_width, new_height, None, max_pixels)
        return new_width, new_height
    return width, height


def fit_pixels(image: Image.Image, min_pixels: int | None = None, max_pixels: int | None = None) -> Image.Image:
    """
    Scale a picture to an area between two limits (see [`fit_size`]), before the processor sees it.

    Args:
        image (`PIL.Image.Image`):
            The picture.
        min_pixels (`int`, *optional*):
            Smallest area in pixels.
        max_pixels (`int`, *optional*):
            Largest area in pixels.

    Returns:
        `PIL.Image.Image`: The same object when it already fits, else a resampled copy (Lanczos).
    """
    size = fit_size(*image.size, min_pixels, max_pixels)
    return image if size == image.size else image.resize(size, Image.Resampling.LANCZOS)


# The columns of a row that pictures may be in.
IMAGE_COLUMNS = ("images", "image")


def image_column(dataset: Dataset) -> str | None:
    """The column of a dataset's rows that holds their pictures; `None` where there is none."""
    return next((name for name in IMAGE_COLUMNS if name in dataset.column_names), None)


def image_counts(dataset: Dataset) -> list[int]:
    """
    Count the images of every row without reading or decoding one.

    Args:
        dataset (`datasets.Dataset`):
            Rows with an `images` column (lists), an `image` column (one or none), or neither.

    Returns:
        `list[int]`: One number per row; 0 for a text-only row.
    """
    column = image_column(dataset)
    if column is None:
        return [0] * len(dataset)
    counts: list[int] = []
    # The Arrow format hands out slices of the stored table, so the bytes of the images are never copied.
    for table in dataset.select_columns([column]).with_format("arrow").iter(batch_size=10_000):
        values = table.column(column)
        if column == "images":
            counts.extend(pc.fill_null(pc.list_value_length(values), 0).to_pylist())
        else:
            counts.extend(pc.is_valid(values).cast("int32").to_pylist())
    return counts


def stored_images(dataset: Dataset) -> Iterator[list[Any]]:
    """
    Walk over the images of every row as they are stored, whether or not the dataset decodes on access.

    Args:
        dataset (`datasets.Dataset`):
            Rows with an `images` or `image` column, or neither.

    Yields:
        `list`: The stored images of one row, as [`open_image`] and [`image_size`] take them.
    """
    column = image_column(dataset)
    if column is None:
        yield from ([] for _ in range(len(dataset)))
        return
    # Small batches: what has been walked over need not stay in memory.
    for table in dataset.select_columns([column]).with_format("arrow").iter(batch_size=64):
        for value in table.column(column).to_pylist():
            yield [] if value is None else value if isinstance(value, list) else [value]


def without_images(dataset: Dataset) -> Dataset:
    """The rows without their images, so that looking at one decodes nothing."""
    return dataset.remove_columns([name for name in IMAGE_COLUMNS if name in dataset.column_names])


@contextmanager
def _opened(value: Any, where: str) -> Iterator[Image.Image]:
    """Find the data behind `value` and let Pillow read its header; the file is closed afterwards."""
    if isinstance(value, Image.Image):
        yield value
        return
    source: Any = value
    if isinstance(value, Mapping):
        source = value.get("bytes") if value.get("bytes") is not None else value.get("path")
    if isinstance(source, bytes | bytearray | memoryview):
        if not len(source):
            raise BadImageError(f"{where}: the image is empty (zero bytes).")
        name = "the stored data"
        file: BinaryIO = BytesIO(source)
    elif isinstance(source, str | os.PathLike):
        name, file = repr(os.fspath(source)), open_file(source, where)
    else:
        raise BadImageError(
            f"{where}: a {type(value).__name__} is not an image. Expected a PIL image, a path, bytes, or a mapping "
            "with 'bytes' or 'path'."
        )
    with file:
        try:
            image = Image.open(file, formats=_READABLE)
        except UnidentifiedImageError as error:
            raise BadImageError(f"{where}: {name} is not an image in a known format.") from error
        except Image.DecompressionBombError as error:
            raise BadImageError(
                f"{where}: {name} is too large to open safely ({error}). Scale it down beforehand."
            ) from error
        except Exception as error:  # see `open_image`: damaged headers raise anything
            raise BadImageError(f"{where}: {name} is damaged ({error}).") from error
        yield image


def _orientation(image: Image.Image, where: str) -> int:
    """Return the EXIF orientation, 1 to 8, from the header alone."""
    # Pillow would decode a whole PNG in search of an EXIF block behind the pixels; nobody turns a picture with that.
    if "exif" not in image.info:
        return 1
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception as error:  # see `open_image`
        raise BadImageError(f"{where}: the EXIF block of the image is damaged ({error}).") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    # Pillow clips 16-bit values to 255, which turns the picture white. Older versions read such PNGs in mode "I".
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        return image.convert("I").point(lambda value: value / 256).convert("L").convert("RGB")
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(ground, image).convert("RGB")
    return image.convert("RGB")
