# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The files of a dataset repository: the pictures of the rows inside, and nothing else of this machine."""

import json
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from datasets import Audio, Dataset, Features, List, Value
from datasets import Image as ImageFeature
from PIL import Image

from mmr1_trl.data import load_data
from mmr1_trl.errors import BadInputError
from mmr1_trl.hub.collect import write_splits


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "set"
    folder.mkdir()
    Image.new("RGB", (8, 8)).save(folder / "a.png")
    (tmp_path / "secret.txt").write_text("what nobody should see")
    os.mkfifo(folder / "pipe.png")
    return folder


def _load(source: Path, *images: str, **options: str) -> Dataset:
    rows = [{"problem": f"{number}?", "answer": "1", "image": image} for number, image in enumerate(images)]
    (source / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_data(str(source / "train.jsonl"), **options)


def test_pictures_go_up_inside_and_their_folders_do_not(source: Path, tmp_path: Path) -> None:
    rows = _load(source, "a.png", f"file://{source}/a.png", str(source / "a.png"))
    write_splits({"train": rows}, tmp_path / "out")
    (file,) = (tmp_path / "out/data").glob("*.parquet")
    for pictures in pq.read_table(file).column("images").to_pylist():
        assert pictures == [{"bytes": (source / "a.png").read_bytes(), "path": "a.png"}]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("pipe.png", "row 1, image 0: .* is not a regular file"),
        ("/dev/zero", "row 1, image 0: .* is not a regular file"),
        ("nothing.png", "row 1, image 0: there is no file"),
        ("SECRET", "row 1: .*secret.txt|row 1: the stored data is not an image"),
    ],
)
def test_what_is_no_picture_does_not_go_up(source: Path, tmp_path: Path, image: str, message: str) -> None:
    rows = _load(source, "a.png", image.replace("SECRET", str(tmp_path / "secret.txt")))
    with pytest.raises(BadInputError, match=f"train: {message}"):
        write_splits({"train": rows}, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.parquet"))


@pytest.mark.parametrize("feature", [Audio(), List(Audio()), {"inner": ImageFeature()}])
def test_other_columns_of_files_are_refused(tmp_path: Path, feature: object) -> None:
    rows = Dataset.from_dict(
        {"prompt": ["a"], "sound": [None]}, features=Features({"prompt": Value("string"), "sound": feature})
    )
    with pytest.raises(BadInputError, match="column 'sound' holds files"):
        write_splits({"train": rows}, tmp_path / "out")
