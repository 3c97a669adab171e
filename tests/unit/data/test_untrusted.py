# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What a dataset can do to the machine that reads it: nothing but be refused, row by row and quickly."""

import json
import os
from pathlib import Path
from time import process_time
from typing import Any

import pyarrow as pa
import pytest
from datasets import Dataset, Features, Json, Value
from PIL import Image

from mmr1_trl.data import load_data, prepare_dataset
from mmr1_trl.data.pictures.images import MAX_FILE_BYTES, BadImageError, ImageFolders, image_size, open_image
from mmr1_trl.errors import BadInputError


DIGITS = "9" * 5000
GOOD: dict[str, Any] = {"problem": "How many?", "answer": "3"}
BLOCKS = [{"type": "text", "text": 7}]
# What a row may hold instead of what it should, and what is said about it.
HOSTILE_ROWS: list[tuple[dict[str, Any], str]] = [
    *(({"tolerance": value}, "is no relative error") for value in (float("inf"), -1.0, 1e6, 1e300, float("nan"))),
    *(({"precision": value}, "is no number of decimals") for value in (float("inf"), -1.0, 1e6, 1e300, float("nan"))),
    ({"precision": 0.5}, "is no number of decimals"),
    ({"options": "[" * 100_000}, "options .* are not a list"),
    ({"options": "{" * 100_000 + "1"}, "options .* are not a list"),
    ({"options": f"[{DIGITS}]"}, "options .* are not a list"),
    ({"options": "-" * 100_000 + "1"}, "options .* are not a list"),
    ({"bbox": [0.0, 0.0, 1.0, float("inf")]}, "not a list of four numbers"),
    ({"bbox": [0.0, 0.0, float("nan"), 5.0]}, "not a list of four numbers"),
    ({"bbox": [0.0, 0.0, 1e308, 1e309]}, "not a list of four numbers"),
    ({"bbox": "[0, 0, Infinity, 5]"}, "not a list of four numbers"),
    ({"bbox": f"[0, 0, {DIGITS}, 5]"}, "not a list of four numbers"),
    ({"bbox": f"[0, 0, {'9' * 400}, 5]"}, "not a list of four numbers"),
    ({"bbox": "[" * 100_000}, "not a list of four numbers"),
    ({"problem": f"<image{DIGITS}>How many?"}, "marker <image999999999999"),
    ({"problem": "<image1>" * 20_000}, "markers"),
    ({"problem": "<image>a" * 20_000}, "20000 <image> markers, and there are 0 images"),
    ({"options": '["\\ud800", "b"]'}, "surrogates"),
    ({"answer": "\\boxed{" * 20_000}, "empty"),
]  # fmt: skip
HOSTILE_PROMPTS: list[tuple[Any, str]] = [
    ([{"role": "user", "content": BLOCKS}], "holds the int 7, not a text"),
    ([{"role": 7, "content": "a"}], "not a text or a list of messages"),
    ([{"role": "user", "content": [5]}], "not a text or a list of messages"),
]


def _rows(bad: dict[str, Any]) -> Dataset:
    """Two good rows around one that differs in a value."""
    good = dict(GOOD)
    for name, value in bad.items():
        if name == "bbox":
            good = {"problem": "Where?", name: "[1, 2, 3, 4]" if isinstance(value, str) else [1.0, 2.0, 3.0, 4.0]}
        elif name not in good:
            good[name] = None
    return Dataset.from_list([good, good | bad, good])


@pytest.mark.parametrize(("bad", "message"), HOSTILE_ROWS, ids=lambda value: str(value)[:40])
def test_a_hostile_value_is_named_counted_and_skippable(bad: dict[str, Any], message: str) -> None:
    rows = _rows(bad)
    start = process_time()
    with pytest.raises(BadInputError, match=f"1 of 3 rows cannot be used: row 1: .*{message}") as refusal:
        prepare_dataset(rows)
    assert len(str(refusal.value)) < 1000
    kept = prepare_dataset(rows, on_bad_row="skip")
    assert len(kept) == 2
    assert process_time() - start < 3


@pytest.mark.parametrize("answer", ["<answer>" * 20_000, "<answer>" * 20_000 + " </answer>" * 20_000])
def test_a_long_answer_is_read_in_no_time(answer: str) -> None:
    start = process_time()
    prepare_dataset(Dataset.from_list([GOOD, GOOD | {"answer": answer}]), on_bad_row="skip")
    assert process_time() - start < 3


@pytest.mark.parametrize(("prompt", "message"), HOSTILE_PROMPTS, ids=lambda value: ascii(value)[:40])
def test_messages_that_are_none(prompt: Any, message: str) -> None:
    column = pa.array(json.dumps(value) for value in ("How many?", prompt, "How many?"))
    features = Features({"prompt": Json(), "answer": Value("string")})
    rows = Dataset(pa.table({"prompt": column.cast(pa.json_()), "answer": ["1", "2", "3"]}), info=None)
    rows = rows.cast(features)
    with pytest.raises(BadInputError, match=f"1 of 3 rows cannot be used: row 1: .*{message}"):
        prepare_dataset(rows)
    assert len(prepare_dataset(rows, on_bad_row="skip")) == 2


def test_a_number_of_thousands_of_digits_in_a_column_of_json() -> None:
    column = pa.array(["3", DIGITS, '"three"']).cast(pa.json_())
    rows = Dataset(pa.table({"problem": ["a", "b", "c"], "answer": column}))
    with pytest.raises(BadInputError, match="1 of 3 rows cannot be used: row 1: column 'answer' cannot be read"):
        prepare_dataset(rows)
    assert prepare_dataset(rows, on_bad_row="skip")["solution"][:] == ["3", "three"]


@pytest.mark.parametrize("tolerance", [float("inf"), float("nan"), -0.1, 2.0])
def test_the_option_tolerance_is_checked_like_the_column(tolerance: float) -> None:
    with pytest.raises(BadInputError, match="is no relative error between 0 and 1"):
        prepare_dataset(Dataset.from_list([GOOD]), tolerance=tolerance)


def test_tolerances_and_precisions_that_are_in_order() -> None:
    rows = Dataset.from_list([GOOD | {"tolerance": value, "precision": 2.0} for value in (0.0, 0.05, 1.0, None)])
    assert len(prepare_dataset(rows)) == 4


# -- paths ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder `data` with pictures and things that are none, beside a picture that is not the dataset's."""
    folder = tmp_path / "data"
    (folder / "sub").mkdir(parents=True)
    for path in (folder / "a.png", folder / "sub/b b.png", tmp_path / "outside.png"):
        Image.new("RGB", (8, 8)).save(path)
    os.mkfifo(folder / "pipe.png")
    (folder / "link.png").symlink_to("/dev/zero")
    (folder / "dangling.png").symlink_to(folder / "nothing")
    (folder / "empty.png").touch()
    with open(folder / "huge.png", "wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)  # takes no space
    return folder


def _write(folder: Path, images: list[str]) -> str:
    file = folder / "set.jsonl"
    file.write_text("".join(json.dumps({"problem": "?", "answer": "1", "image": image}) + "\n" for image in images))
    return str(file)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("/dev/zero", "not a regular file"),
        ("file:///dev/zero", "not a regular file"),
        ("link.png", "not a regular file"),
        ("pipe.png", "not a regular file"),
        ("sub", "not a regular file"),
        ("dangling.png", "there is no file"),
        ("empty.png", "is empty"),
        ("huge.png", "bytes, too many"),
        ("x" * 5000 + ".png", "cannot be opened"),
        ("https://example.org/a.png", "is an address"),
    ],
)
def test_what_is_no_file_is_named_and_never_waited_for(pictures: Path, image: str, message: str) -> None:
    rows = load_data(_write(pictures, ["a.png", image]))  # hashes what it can read
    assert len(rows) == 2
    stored = rows["images"][1][0]
    for read in (open_image, image_size):
        with pytest.raises(BadImageError, match=f"row 1: .*{message}") as refusal:
            read(stored, "row 1")
        assert len(str(refusal.value)) < 500


def test_paths_of_a_local_dataset(pictures: Path) -> None:
    absolute = str(pictures.parent / "outside.png")
    good = [
        "a.png",
        "sub/../a.png",
        "./sub/b b.png",
        absolute,
        f"file://{pictures}/sub/b%20b.png",
        f"FILE://{absolute}",
    ]
    rows = load_data(_write(pictures, good))
    for images in rows["images"]:
        assert image_size(images[0], "row") == (8, 8)
    for image in ("../outside.png", "sub/../../outside.png", "..", "file://elsewhere/a.png"):
        name = _write(pictures, ["a.png", image])
        with pytest.raises(
            BadInputError, match="1 of 2 rows cannot be used: row 1: image 0: .*(leads out|another machine)"
        ):
            load_data(name)
        assert len(load_data(name, on_bad_row="skip")) == 1


def test_paths_of_a_hub_dataset(pictures: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    outside = pictures.parent / "outside.png"
    own = tmp_path / "hub/datasets--owner--set"
    (own / "blobs").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(own / "blobs/1.png")
    (own / "1.png").symlink_to("blobs/1.png")
    (own / "out.png").symlink_to(outside)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))

    def load(*images: str, **options: Any) -> Dataset:
        rows = Dataset.from_list([{"problem": "?", "answer": "1", "image": image} for image in images])
        monkeypatch.setattr("mmr1_trl.data.load.load_dataset", lambda *_, **__: rows)
        return load_data("owner/set", **options)

    assert image_size(load(str(own / "1.png"))["images"][0][0], "row") == (8, 8)
    for image in (str(outside), f"file://{outside}", "/dev/zero", str(own / "out.png"), f"{own}/../../outside.png"):
        with pytest.raises(BadInputError, match="absolute, and the dataset is not from this machine.*--image_root"):
            load(image)
    with pytest.raises(BadInputError, match="relative, and the dataset is not from this machine.*--image_root"):
        load("a.png")
    rows = load("a.png", str(pictures / "a.png"), image_root=str(pictures))
    assert [image_size(images[0], "row") for images in rows["images"]] == [(8, 8), (8, 8)]
    for image in ("../outside.png", str(outside)):
        with pytest.raises(BadInputError, match="row 0: image 0: the path"):
            load(image, image_root=str(pictures))


def test_embedded_pictures_may_have_any_name() -> None:
    folders = ImageFolders(own=())
    data = {"bytes": b"no picture", "path": "/etc/passwd"}
    rows = Dataset.from_list([{"problem": "?", "answer": "1", "image": data}])
    assert prepare_dataset(rows, image_root=folders)["images"][0][0]["bytes"] == b"no picture"
