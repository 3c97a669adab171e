# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Pictures that are written as text: base64 and data URIs."""

import base64
import binascii
from typing import Any

from mmr1_trl.data.pictures.images import BadImageError


_SHORTEST = 32  # characters: no picture takes fewer
# What the bytes of a picture begin with: PNG, JPEG, GIF, RIFF (WebP), BMP, TIFF.
_SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"BM", b"II*\x00", b"MM\x00*")


def picture_from_text(text: str) -> bytes | str:
    """
    Read a picture that is written as text.

    Args:
        text (`str`):
            A path, a `file://` URI, a data URI, or base64.

    Returns:
        `bytes` or `str`: The picture's data, or a path or `file://` URI as it is.

    Raises:
        [`BadImageError`]: A data URI that holds no base64. The message does not repeat it.
    """
    if text[:5].lower() == "data:":
        head, _, data = text.partition(",")
        if not head.lower().endswith(";base64"):
            raise BadImageError(f"the data URI of {len(text):,} characters has no base64 in it")
        return _decoded(data, f"the data URI of {len(text):,} characters")
    if len(text) >= _SHORTEST and _looks_encoded(text):
        return _decoded(text, f"the text of {len(text):,} characters")
    return text


def encoded_bytes(value: Any) -> bytes:
    """Decode the base64 that stands for a picture's bytes ([`BadImageError`] where it is none)."""
    return _decoded(value, f"the text of {len(value):,} characters in 'bytes'")


def _looks_encoded(text: str) -> bool:
    try:
        return base64.b64decode(text[:_SHORTEST], validate=True).startswith(_SIGNATURES)
    except (binascii.Error, ValueError):
        return False


def _decoded(text: str, what: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadImageError(f"{what} is no base64 ({error})") from None
