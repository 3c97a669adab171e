# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What the files of an upload say: everything that can hold a text, decoded, whatever it is wrapped in."""

import base64
import codecs
import html
import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from mmr1_trl.errors import BadInputError
from mmr1_trl.hub.manifest import Entry


MAX_HEADER = 100_000_000  # bytes of the header of a safetensors file, the limit of the format
MAX_CHUNK = 1 << 26  # bytes that a compressed text of a PNG file may unpack to
_ROUNDS = 4  # a JSON text inside a JSON text inside ...
_BOMS = {
    codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|x([0-9A-Fa-f]{2})|(.))", re.DOTALL)
_PHOTOS = (b"\xff\xd8\xff", b"RIFF", b"GIF8", b"BM", b"II*\0", b"MM\0*")
_PNG = b"\x89PNG\r\n\x1a\n"


def texts(entry: Entry) -> Iterator[str | bytes]:
    """
    Yield what is to be searched in a file: texts, and bytes that are none, such as an encoded photograph.

    Args:
        entry ([`~mmr1_trl.hub.manifest.Entry`]):
            A file of an upload.

    Yields:
        `str` or `bytes`: Texts as their readers will see them: a JSON or YAML file as it is and then its strings, of
        weights the header, of a table all columns, of a PNG file all but its pixels.

    Raises:
        [`BadInputError`]: The file cannot be read, or holds columns that nobody can search.
    """
    yield entry.path
    suffix = PurePosixPath(entry.path).suffix
    if suffix == ".safetensors":
        yield from _of_weights(entry)
    elif suffix == ".parquet":
        yield from _of_table(entry)
    elif suffix in (".pt", ".pth", ".bin"):
        yield from _of_pickle(entry)
    else:
        data = entry.read()
        yield from of_bytes(data)
        if suffix == ".json":
            yield from _of_json(entry.path, data)
        elif suffix in (".yaml", ".yml"):
            yield from _of_yaml(data)


def pieces(entry: Entry, overlap: int = 4096) -> Iterator[bytes]:
    """
    Yield a file as it is on disk, in pieces, so that gigabytes of weights can be searched for what is known.

    Args:
        entry ([`~mmr1_trl.hub.manifest.Entry`]):
            A file of an upload.
        overlap (`int`, *optional*, defaults to `4096`):
            How many bytes a piece begins before the end of the one before it.

    Yields:
        `bytes`: At most 16 MiB and the overlap.
    """
    with _opened(entry) as file:
        rest = b""
        while part := file.read(1 << 24):
            yield rest + part
            rest = (rest + part)[-overlap:]


def _opened(entry: Entry) -> BinaryIO:
    return io.BytesIO(entry.source) if isinstance(entry.source, bytes) else open(entry.source, "rb")


def views(text: str) -> Iterator[str]:
    r"""
    Yield a text as it is, and then without the escapes of JSON, YAML, Python, Markdown (`\n`, `\u0041`, `\_`), HTML
    (`&#65;`) and addresses (`%41`), as often as there are some.

    Args:
        text (`str`):
            Any text.

    Yields:
        `str`: Up to five readings of it, each a text of its own.
    """
    yield text
    for _ in range(_ROUNDS):
        plain = unquote(html.unescape(_ESCAPE.sub(_unescaped, text)))
        if plain == text:
            return
        yield plain
        text = plain


def _unescaped(match: re.Match[str]) -> str:
    code = match[1] or match[2] or match[3]
    if code:
        return chr(int(code, 16)) if int(code, 16) < 0x110000 else " "
    # A line break or the like ends a word; the backslash before any other sign just goes.
    return " " if match[4] in "nrtbfva0" else match[4]


def of_bytes(data: bytes) -> Iterator[str | bytes]:
    """
    Yield what some bytes say: of a PNG file its texts, of a photograph the bytes, else the text.

    Args:
        data (`bytes`):
            A whole file, or the value of a cell.
    """
    if data.startswith(_PNG):
        yield from _of_png(data)
        return
    plain = data.replace(b"\0", b"")  # UTF-16 and UTF-32 without a mark at their beginning, and inside other things
    if (data.startswith(_PHOTOS) or data[4:8] in (b"ftyp", b"jP  ")) and b"\0" in data[:64]:
        yield data
        yield plain
        return
    encoding = next((name for bom, name in _BOMS.items() if data.startswith(bom)), "utf-8")
    yield data.decode(encoding, "replace")
    if len(plain) < len(data):
        yield plain.decode("latin-1")


def _of_png(data: bytes) -> Iterator[str | bytes]:
    """Yield the chunks, those of texts unpacked, and what follows the picture."""
    at = len(_PNG)
    while at + 12 <= len(data):
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        chunk = data[at + 8 : at + 8 + size]
        at += 12 + size
        if kind == b"IEND":
            break
        if kind in (b"IDAT", b"fdAT") or chunk.startswith(_PNG):  # pixels
            yield chunk
            continue
        yield from of_bytes(chunk)
        if kind in (b"zTXt", b"iTXt", b"iCCP"):
            # A keyword, some bytes about what follows, and then the compressed text.
            for start in range(chunk.find(b"\0") + 1, len(chunk) - 1):
                if chunk[start] & 15 == 8 and int.from_bytes(chunk[start : start + 2], "big") % 31 == 0:
                    try:
                        yield from of_bytes(zlib.decompressobj().decompress(chunk[start:], MAX_CHUNK))
                        break
                    except zlib.error:
                        continue
    yield data[at:].decode("latin-1")


def _of_json(path: str, data: bytes) -> Iterator[str]:
    strings: list[str] = []

    def members(pairs: list[tuple[str, Any]]) -> None:  # of a name that repeats, `json` would keep the last one
        for name, value in pairs:
            strings.append(name)
            collect(value)

    def collect(value: Any) -> None:
        if isinstance(value, str):
            strings.append(value)
        elif isinstance(value, list):
            for part in value:
                collect(part)

    try:
        collect(json.loads(data, object_pairs_hook=members))
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"{path} is not valid JSON ({error}). Save the model again.") from error
    yield "\n".join(strings)


def _of_yaml(data: bytes) -> Iterator[str]:
    try:  # events, in which no alias is expanded
        events = yaml.parse(data, Loader=yaml.SafeLoader)
        yield "\n".join(event.value for event in events if isinstance(event, yaml.ScalarEvent))
    except (yaml.YAMLError, ValueError, RecursionError):
        return  # nobody can read it; what it says as a text was searched


def _of_weights(entry: Entry) -> Iterator[str | bytes]:
    with _opened(entry) as file:
        size = int.from_bytes(file.read(8), "little")
        if size > MAX_HEADER:
            raise BadInputError(f"{entry.path} has a header of {size} bytes, which is none. Save the model again.")
        header = file.read(size)
    yield from of_bytes(header)
    yield from _of_json(entry.path, header)


def _of_pickle(entry: Entry) -> Iterator[bytes]:
    """Yield the state of a training piece by piece; `torch.save` writes an archive that is not compressed."""
    with _opened(entry) as file:
        if zipfile.is_zipfile(file) and any(part.compress_type for part in zipfile.ZipFile(file).infolist()):
            raise BadInputError(f"{entry.path} is compressed, so that it cannot be searched for tokens. Leave it out.")
    yield from pieces(entry)


def _of_table(entry: Entry) -> Iterator[str | bytes]:
    """Yield the names, the metadata and all columns of a parquet file, which are compressed on disk."""
    try:
        file = pq.ParquetFile(_opened(entry))
    except (OSError, pa.ArrowException) as error:
        raise BadInputError(f"{entry.path} is no parquet file that can be read ({error}).") from error
    with file:
        yield str(file.metadata.created_by)
        for name, value in (file.metadata.metadata or {}).items():
            yield from of_bytes(name)
            yield from of_bytes(value)
            if name == b"ARROW:schema":
                yield from of_bytes(base64.b64decode(value))
        yield from _of_fields(file.schema_arrow, file.schema_arrow.metadata)
        try:
            for batch in file.iter_batches(batch_size=512):
                for name, column in zip(batch.schema.names, batch.columns):
                    yield from _of_array(column, f"{entry.path}, column {name!r},")
        except (pa.ArrowException, OSError) as error:
            raise BadInputError(f"{entry.path} cannot be read ({error}).") from error


def _of_fields(fields: Iterable[pa.Field], metadata: dict[bytes, bytes] | None) -> Iterator[str | bytes]:
    for pair in (metadata or {}).items():
        for part in pair:
            yield from of_bytes(part)
    for field in fields:
        yield field.name
        yield from _of_fields([field.type.field(i) for i in range(field.type.num_fields)], field.metadata)


def _of_array(array: Any, where: str) -> Iterator[str | bytes]:
    """Yield the texts and bytes inside an Arrow array."""
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        yield from _of_array(array.storage, where)
    elif pa.types.is_dictionary(kind):
        yield from _of_array(array.dictionary, where)
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        yield "\n".join(value for value in array.to_pylist() if value)
    elif pa.types.is_fixed_size_binary(kind) or any(
        check(kind) for check in (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
    ):
        for value in array.to_pylist():
            yield from of_bytes(value or b"")
    elif pa.types.is_map(kind):
        yield from _of_array(array.keys, where)
        yield from _of_array(array.items, where)
    elif pa.types.is_struct(kind):
        for part in range(kind.num_fields):
            yield from _of_array(array.field(part), where)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        yield from _of_array(array.flatten(), where)
    elif pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        yield from _of_array(array.flatten(), where)
    elif pa.types.is_int8(kind) or pa.types.is_uint8(kind):  # bytes under another name
        yield from of_bytes(bytes((value or 0) & 255 for value in array.to_pylist()))
    elif not (pa.types.is_primitive(kind) or pa.types.is_null(kind) or pa.types.is_decimal(kind)):
        raise BadInputError(
            f"{where} holds {kind}, which cannot be searched for tokens. Drop it, or write it as text."
        )
