# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
import struct
import time
import zlib
from io import BytesIO

import numpy as np
import psutil
import pytest
from datasets import Dataset, Features, Sequence, Value
from datasets import Image as ImageFeature
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmr1_trl.data.pictures.images import BadImageError, fit_pixels, fit_size, image_counts, image_size, open_image
from mmr1_trl.errors import BadInputError


def encode(image, format="PNG", **options):
    buffer = BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def photo(width=64, height=48):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def bomb_png(width=60_000, height=60_000):
    """A PNG header that promises 3.6 gigapixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["pil", "bytes", "path", "pathlib", "dict_bytes", "dict_path"])
def test_every_stored_form_opens(kind, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encode(photo()))
    value = {
        "pil": photo(),
        "bytes": path.read_bytes(),
        "path": str(path),
        "pathlib": path,
        "dict_bytes": {"bytes": path.read_bytes(), "path": "gone.png"},
        "dict_path": {"bytes": None, "path": str(path)},
    }[kind]
    assert image_size(value, "row 0") == (64, 48)
    image = open_image(value, "row 0")
    assert image.mode == "RGB"
    assert image.tobytes() == photo().tobytes()


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
def test_common_formats(format):
    data = encode(photo(), format)
    assert image_size(data, "row 0") == (64, 48)
    assert open_image(data, "row 0").size == (64, 48)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("kept", [0.3, 0.7])
def test_truncated_file(format, kept, tmp_path):
    data = encode(photo(200, 200), format)
    path = tmp_path / "cut.img"
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(BadImageError, match=r"^row 7, image 0: .*(truncated|damaged|not an image)"):
        open_image(str(path), "row 7, image 0")


def test_header_survives_truncation():
    data = encode(photo(200, 100), "JPEG")
    assert image_size(data[: len(data) // 2], "row 0") == (200, 100)


def test_text_file_named_png(tmp_path):
    path = tmp_path / "a.png"
    path.write_text("<html>404 Not Found</html>")
    for reader in (open_image, image_size):
        with pytest.raises(BadImageError, match=r"^row 3: .*a\.png' is not an image"):
            reader(str(path), "row 3")


def test_postscript_is_not_opened():
    program = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
    with pytest.raises(BadImageError, match="not an image"):
        open_image(program, "row 0")


def test_missing_path(tmp_path):
    with pytest.raises(BadImageError, match=r"^row 3: there is no file .*gone\.png"):
        open_image({"bytes": None, "path": str(tmp_path / "gone.png")}, "row 3")


def test_zero_bytes(tmp_path):
    (tmp_path / "empty.png").write_bytes(b"")
    with pytest.raises(BadImageError, match="zero bytes"):
        open_image(b"", "row 0")
    with pytest.raises(BadImageError, match="zero bytes"):
        image_size(str(tmp_path / "empty.png"), "row 0")


@pytest.mark.parametrize("value", [None, 3, {"bytes": None, "path": None}, {}])
def test_not_a_stored_image(value):
    with pytest.raises(BadImageError, match="row 0: a .* is not an image"):
        open_image(value, "row 0")


def test_decompression_bomb():
    for reader in (open_image, image_size):
        with pytest.raises(BadImageError, match=r"^row 1: .*too large to open safely.*3600000000 pixels"):
            reader(bomb_png(), "row 1")


@given(st.binary(min_size=1, max_size=200), st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"]))
def test_garbage_after_a_real_header_is_named_or_opens(garbage, format):
    data = encode(photo(16, 16), format)[:40] + garbage
    try:
        assert open_image(data, "row 5").mode == "RGB"
    except BadImageError as error:
        assert str(error).startswith("row 5: ")


def test_transparency_becomes_white():
    ink = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    ink.putpixel((1, 1), (0, 0, 0, 255))
    palette = ink.convert("P")
    palette.info["transparency"] = palette.getpixel((0, 0))
    gray = Image.new("LA", (4, 4), (0, 0))
    for image in (ink, gray):
        assert open_image(encode(image), "row 0").getpixel((0, 0)) == (255, 255, 255)
    assert open_image(encode(ink), "row 0").getpixel((1, 1)) == (0, 0, 0)
    assert open_image(encode(palette), "row 0").getpixel((3, 3)) == (255, 255, 255)


def test_palette_and_gray_keep_their_colors():
    red = Image.new("RGB", (4, 4), (200, 10, 10)).quantize(4)
    assert open_image(encode(red), "row 0").getpixel((0, 0)) == (200, 10, 10)
    assert open_image(encode(Image.new("L", (4, 4), 77)), "row 0").getpixel((0, 0)) == (77, 77, 77)
    assert open_image(encode(Image.new("1", (4, 4), 1)), "row 0").getpixel((0, 0)) == (255, 255, 255)


def test_cmyk():
    data = encode(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100)
    red, green, blue = open_image(data, "row 0").getpixel((4, 4))
    assert red > 240 and green < 20 and blue < 20


def test_sixteen_bit_gray_keeps_its_high_byte():
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    data = encode(Image.fromarray(ramp))
    opened = np.asarray(open_image(data, "row 0"))[..., 0]
    np.testing.assert_allclose(opened, ramp // 256, atol=1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_matches_the_size_and_datasets(orientation, format):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(photo(64, 32), format, exif=exif)
    opened = open_image(data, "row 0")
    assert opened.size == ((32, 64) if orientation >= 5 else (64, 32))
    assert image_size(data, "row 0") == opened.size
    decoded = ImageFeature().decode_example({"bytes": data, "path": None})
    assert opened.tobytes() == decoded.convert("RGB").tobytes()


def test_loaded_rgb_is_returned_as_it_is():
    image = photo()
    assert open_image(image, "row 0") is image
    assert image_size(image, "row 0") == (64, 48)
    assert image.getpixel((0, 0)) is not None  # measuring does not close a caller's image


def test_size_reads_only_the_header():
    data = encode(photo(2000, 1500), compress_level=1)
    start = time.process_time()
    for _ in range(20):
        image_size(data, "row 0")
    measured = time.process_time() - start
    start = time.process_time()
    open_image(data, "row 0")
    assert measured < time.process_time() - start


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 10**7), st.integers(1, 10**7))
def test_fit_size_respects_the_limits(width, height, a, b):
    low, high = min(a, b), max(a, b)
    new_width, new_height = fit_size(width, height, low, high)
    assert new_width >= 1 and new_height >= 1
    assert new_width * new_height <= high
    if low <= width * height <= high:
        assert (new_width, new_height) == (width, height)
    elif min(new_width, new_height) >= 50:
        assert new_width / new_height == pytest.approx(width / height, rel=0.05)
        assert new_width * new_height == pytest.approx(low if width * height < low else high, rel=0.1)
    if high > 2 * (low + new_width + new_height):  # with room for rounding, the lower limit holds as well
        assert new_width * new_height >= low or width * height > high


def test_fit_pixels():
    image = photo(64, 48)
    assert fit_pixels(image) is image
    assert fit_pixels(image, 64 * 48, 64 * 48) is image
    assert fit_pixels(image, None, 32 * 24).size == (32, 24)
    assert fit_pixels(image, 128 * 96, None).size == (128, 96)


def test_bad_limits():
    with pytest.raises(BadInputError, match="min_pixels=200 is larger than max_pixels=100"):
        fit_size(10, 10, 200, 100)
    with pytest.raises(BadInputError, match="max_pixels=0"):
        fit_size(10, 10, None, 0)


def test_image_counts():
    stored = {"bytes": encode(photo(4, 4)), "path": None}
    features = Features({"images": Sequence(ImageFeature(decode=False)), "n": Value("int64")})
    rows = [{"images": [stored] * n if n is not None else None, "n": n or 0} for n in (1, 0, 3, None, 2)]
    dataset = Dataset.from_list(rows, features=features)
    assert image_counts(dataset) == [1, 0, 3, 0, 2]
    shuffled = dataset.shuffle(seed=1)
    assert image_counts(shuffled) == shuffled["n"][:]
    single = Dataset.from_list(
        [{"image": stored}, {"image": None}], features=Features({"image": ImageFeature(decode=False)})
    )
    assert image_counts(single) == [1, 0]
    assert image_counts(Dataset.from_dict({"prompt": ["a", "b"]})) == [0, 0]


def test_image_counts_does_not_decode():
    broken = {"bytes": b"not an image", "path": None}
    dataset = Dataset.from_list(
        [{"images": [broken]}], features=Features({"images": Sequence(ImageFeature(decode=True))})
    )
    assert image_counts(dataset) == [1]


@pytest.mark.parametrize("kind", ["TIFF", "MPO", "PNG", "GIF", "WEBP"])
def test_no_file_stays_open(tmp_path, kind):
    path = str(tmp_path / "picture")
    frames = [Image.new("RGB", (16, 16), color) for color in ("red", "blue")]
    frames[0].save(path, kind, save_all=True, append_images=frames[1:])
    pictures = [open_image(path, "row 0") for _ in range(3)]
    assert path not in [file.path for file in psutil.Process().open_files()]
    assert all(picture.getpixel((8, 8))[0] > 200 for picture in pictures)
