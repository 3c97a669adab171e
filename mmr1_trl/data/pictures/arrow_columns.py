# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Columns of pictures as Arrow holds them: brought into one form, hashed, and embedded, without copying bytes."""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, Features, Image, Json, List

from mmr1_trl.data.columns import STORED_IMAGES
from mmr1_trl.data.literals import texts_in
from mmr1_trl.data.pictures.images import BadImageError, ImageFolders, open_file
from mmr1_trl.data.pictures.text import encoded_bytes, picture_from_text
from mmr1_trl.errors import BadInputError


_TEXT_FIELDS = ("url", "image_url", "image", "base64", "b64_json", "data", "file_name", "filename", "file", "name")
_NUMBERED = re.compile(r"image_?(\d{1,2})")


def picture_lists(
    dataset: Dataset, table: pa.Table, name: str, folders: ImageFolders
) -> tuple[pa.ChunkedArray, dict[int, str]]:
    """
    Turn a column of images, paths or lists of them into lists of `{"bytes", "path"}`, without copying bytes.

    Args:
        dataset ([`~datasets.Dataset`]), table (`pa.Table`):
            Rows, and the Arrow table of the same.
        name (`str`):
            The column.
        folders ([`~mmr1_trl.data.pictures.images.ImageFolders`]):
            Where its paths start from and may lead.

    Returns:
        `tuple[pa.ChunkedArray, dict[int, str]]`: The lists, and the rows with a path that must not be opened, with the
        reason. Such a path is left out of the lists.

    Raises:
        [`BadInputError`]: The column holds something else.
    """
    chunks, first = [], 0
    bad: dict[int, str] = {}
    for chunk in _without_json(table.column(name), dataset.features, name).chunks:
        chunk = _without_lists_as_text(chunk)
        if pa.types.is_list(chunk.type) or pa.types.is_large_list(chunk.type):
            counts = pc.fill_null(pc.list_value_length(chunk), 0).to_numpy(zero_copy_only=False)
            flat = chunk.flatten()
        else:
            counts = chunk.is_valid().to_numpy(zero_copy_only=False)
            flat = chunk.drop_null()
        flat = _without_mapping(flat)
        if pa.types.is_large_string(flat.type) or pa.types.is_null(flat.type):
            flat = flat.cast(pa.string())
        is_image = pa.types.is_struct(flat.type) and bool({"bytes", "path"} & _fields(flat.type))
        if not (pa.types.is_string(flat.type) or is_image or _is_binary(flat.type)):
            raise BadInputError(
                f"Column {name!r} holds {flat.type}, not images or paths. Name another one with --image_column."
            )
        flat, counts = _without_empty(flat, counts)
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        flat, unreadable = _without_text(flat)
        stored, problems = _resolved(Image(decode=False).cast_storage(flat), folders)
        problems = unreadable | problems
        for position, reason in problems.items():
            row = int(np.searchsorted(offsets, position, side="right")) - 1
            bad.setdefault(first + row, f"image {position - offsets[row]}: {reason}")
        chunks.append(pa.ListArray.from_arrays(pa.array(offsets), stored))
        first += len(chunk)
    return pa.chunked_array(chunks, type=pa.list_(Image(decode=False).pa_type)), bad


def _fields(type_: pa.StructType) -> set[str]:
    return {type_.field(index).name for index in range(type_.num_fields)}


def _without_lists_as_text(chunk: pa.Array) -> pa.Array:
    """Read lists of paths that are written as JSON or as Python literals."""
    if not (pa.types.is_string(chunk.type) or pa.types.is_large_string(chunk.type)):
        return chunk
    texts = chunk.to_pylist()
    found = [texts_in(text.strip()) if text else None for text in texts]
    if not any(found):
        return chunk
    lists = [[text] if found[i] is None and text else found[i] or [] for i, text in enumerate(texts)]
    return pa.array(lists, pa.list_(pa.string()))


def _without_mapping(flat: pa.Array) -> pa.Array:
    """Take the address or the text of a picture out of a mapping such as `{"url": ...}`."""
    if not pa.types.is_struct(flat.type) or {"bytes", "path"} & _fields(flat.type):
        return flat
    for name in _TEXT_FIELDS:
        index = flat.type.get_field_index(name)
        if index >= 0 and pa.types.is_string(flat.type.field(index).type):
            return pc.if_else(pc.is_valid(flat), flat.field(name), pa.scalar(None, pa.string()))
    return flat


def _without_empty(flat: pa.Array, counts: Any) -> tuple[pa.Array, Any]:
    """Leave out what stands for no picture: nothing, an empty text, a mapping without bytes and path."""
    paths = flat.field("path") if pa.types.is_struct(flat.type) and flat.type.get_field_index("path") >= 0 else flat
    empty = pc.is_null(flat)
    if pa.types.is_string(paths.type):
        empty = pc.or_(empty, pc.fill_null(pc.equal(paths, ""), True))
    elif pa.types.is_null(paths.type):
        empty = pa.array([True] * len(flat))
    if pa.types.is_struct(flat.type) and flat.type.get_field_index("bytes") >= 0:
        has_path = paths is not flat
        empty = pc.and_(empty, pc.is_null(flat.field("bytes"))) if has_path else pc.is_null(flat.field("bytes"))
    keep = ~empty.to_numpy(zero_copy_only=False)
    if keep.all():
        return flat, counts
    rows = np.repeat(np.arange(len(counts)), counts)
    return flat.filter(pa.array(keep)), np.bincount(rows[keep], minlength=len(counts))


def _without_text(flat: pa.Array) -> tuple[pa.Array, dict[int, str]]:
    """Decode pictures that are written as text; a string that is none is a path."""
    bad: dict[int, str] = {}
    data: list[Any]

    def read(position: int, decode: Callable[[str], bytes | str], text: str | None) -> Any:
        try:
            return None if text is None else decode(text)
        except BadImageError as error:
            bad[position] = str(error)
            return None

    if pa.types.is_string(flat.type):
        found = [read(position, picture_from_text, text) for position, text in enumerate(flat.to_pylist())]
        if all(isinstance(value, str) for value in found):
            return flat if found == flat.to_pylist() else pa.array(found, pa.string()), bad
        data = [value if isinstance(value, bytes) else None for value in found]
        paths = [value if isinstance(value, str) else None for value in found]
    elif pa.types.is_struct(flat.type) and _is_text(flat.type, "bytes"):
        texts = flat.field("bytes").to_pylist()
        data = [read(position, encoded_bytes, text) for position, text in enumerate(texts)]
        paths = flat.field("path").to_pylist() if flat.type.get_field_index("path") >= 0 else [None] * len(texts)
        paths = [path if isinstance(path, str) else None for path in paths]
    else:
        return flat, bad
    return pa.StructArray.from_arrays(
        [pa.array(data, pa.binary()), pa.array(paths, pa.string())], ["bytes", "path"]
    ), bad


def _is_text(type_: pa.StructType, name: str) -> bool:
    index = type_.get_field_index(name)
    return index >= 0 and (
        pa.types.is_string(type_.field(index).type) or pa.types.is_large_string(type_.field(index).type)
    )


def merge_numbered(dataset: Dataset) -> Dataset:
    """
    Make one column `images` of the columns `image_1`, `image_2`, ... (MMMU), without the empty ones of a row.

    Args:
        dataset ([`~datasets.Dataset`]):
            Rows as published.

    Returns:
        [`~datasets.Dataset`]: As it was where there are no two such columns, or a column of pictures beside them.
    """
    numbered = {match[1]: name for name in dataset.column_names if (match := _NUMBERED.fullmatch(name))}
    names = [numbered[number] for number in sorted(numbered, key=int)]
    if len(names) < 2 or {"images", "image"} & set(dataset.column_names):
        return dataset
    table = dataset.with_format("arrow")[:]
    arrays = []
    for name in names:
        values = table.column(name).combine_chunks()
        values = values.cast(pa.string()) if pa.types.is_null(values.type) else values
        arrays.append(Image(decode=False).cast_storage(values))
    valid = np.stack([array.is_valid().to_numpy(zero_copy_only=False) for array in arrays], axis=1)
    rows, columns = np.nonzero(valid)
    pictures = pa.concat_arrays(arrays).take(pa.array(columns * len(dataset) + rows))
    offsets = np.concatenate([[0], np.cumsum(valid.sum(axis=1))]).astype(np.int32)
    lists = pa.ListArray.from_arrays(pa.array(offsets), pictures)
    return dataset.remove_columns(names).add_column("images", lists, feature=STORED_IMAGES)


def _resolved(stored: pa.StructArray, folders: ImageFolders) -> tuple[pa.StructArray, dict[int, str]]:
    """Replace the paths of pictures that are not embedded by the files that they mean."""
    data, paths = stored.field("bytes"), stored.field("path").to_pylist()
    bad: dict[int, str] = {}
    for position, embedded in enumerate(data.is_valid().to_pylist()):
        if paths[position] is not None and not embedded:
            try:
                paths[position] = folders.resolve(paths[position])
            except BadImageError as error:
                bad[position], paths[position] = str(error), None
    return pa.StructArray.from_arrays([data, pa.array(paths, pa.string())], ["bytes", "path"]), bad


def _without_json(column: pa.ChunkedArray, features: Features, name: str) -> pa.ChunkedArray:
    """Turn images that are stored as JSON, a path here and a list of paths there, into lists."""
    feature = features[name]
    if not isinstance(feature.feature if isinstance(feature, List) else feature, Json):
        return column
    values = features.decode_column(column.to_pylist(), name)
    try:
        return pa.chunked_array([[v if v is None or isinstance(v, list) else [v] for v in values]])
    except pa.ArrowException as error:
        raise BadInputError(
            f"Column {name!r} holds images in several forms ({error}). Write them all as paths or lists of paths, or "
            "name another column with --image_column."
        ) from error


def _is_binary(type_: pa.DataType) -> bool:
    return pa.types.is_binary(type_) or pa.types.is_large_binary(type_)


def content_ids(questions: Iterable[str], images: pa.ChunkedArray | None) -> list[str]:
    """
    Hash question and pictures of every row to 16 hexadecimal digits; a second row of the same content gets `-2`.

    Args:
        questions (`Iterable[str]`):
            The question of every row.
        images (`pa.ChunkedArray`, *optional*):
            Its pictures, from [`picture_lists`].

    Returns:
        `list[str]`: One id per row.
    """
    seen: Counter[str] = Counter()
    ids = []
    lists: Iterable[Any] | None = None if images is None else (row for chunk in images.chunks for row in chunk)
    for question, pictures in ((q, None) for q in questions) if lists is None else zip(questions, lists):
        digest = hashlib.blake2b(question.encode(errors="surrogatepass"), digest_size=8)
        for picture in () if pictures is None else pictures.values:
            data = picture["bytes"].as_buffer()
            if data is None:
                data = _file_content(picture["path"].as_py() or "")
            digest.update(len(data).to_bytes(8, "big"))
            digest.update(data)
        key = digest.hexdigest()
        seen[key] += 1
        ids.append(key if seen[key] == 1 else f"{key}-{seen[key]}")
    return ids


def _file_content(path: str) -> bytes:
    """The bytes of a picture's file; of one that cannot be read its name, or its address, on any machine the same."""
    try:
        with open_file(path, "") as file:
            return file.read()
    except (OSError, BadImageError):
        return (path if "://" in path else os.path.basename(path)).encode(errors="surrogatepass")


def embed(images: pa.ChunkedArray, first: int = 0) -> pa.ChunkedArray:
    """
    Put the files that pictures are paths of inside; of their paths only the names are kept.

    Args:
        images (`pa.ChunkedArray`):
            Lists of `{"bytes", "path"}`.
        first (`int`, *optional*, defaults to `0`):
            Number of the first row, for messages.

    Returns:
        `pa.ChunkedArray`: The same with all bytes inside.

    Raises:
        [`BadImageError`]: A file cannot be read.
    """
    rows = []
    for number, pictures in enumerate(images.to_pylist(), first):
        for position, picture in enumerate(pictures or ()):
            if picture["bytes"] is None:
                with open_file(picture["path"] or "", f"row {number}, image {position}") as file:
                    picture["bytes"] = file.read()
            picture["path"] = None if picture["path"] is None else os.path.basename(picture["path"])
        rows.append(pictures)
    return pa.chunked_array([pa.array(rows, images.type)])
