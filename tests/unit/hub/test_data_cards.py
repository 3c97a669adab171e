# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Cards of prepared rows and of scores, and that the wheel carries the templates."""

import re
import zipfile
from pathlib import Path

import pytest
from datasets import load_dataset
from huggingface_hub import DatasetCard, metadata_load

from mmr1_trl.data.figures import load_figures
from mmr1_trl.data.prompts import fingerprint
from mmr1_trl.data.score_table import write_table
from mmr1_trl.errors import BadInputError
from mmr1_trl.hub.cards import BINS, _histogram, write_dataset_card, write_score_card


METADATA = {
    "model": "/srv/private/models/mine",
    "revision": "main",
    "dataset": "hiyouga/geometry3k (train)",
    "fingerprint": "ab12",
    "rewards": ["accuracy_reward", "<img src=x>"],
    "vas_rollouts": 8,
    "temperature": 1.0,
    "generation_kwargs": {"no_repeat": "a|b"},
}


def test_the_card_of_figures(tmp_path):
    train, test = load_figures("train", num_rows=20), load_figures("test", num_rows=6)
    train.to_parquet(str(tmp_path / "train-00000-of-00001.parquet"))
    test.to_parquet(str(tmp_path / "test.parquet"))
    path = write_dataset_card(tmp_path, repo_id="someone/figures", source="figures")
    header, text = metadata_load(path), path.read_text()
    assert header["license"] == "apache-2.0" and header["size_categories"] == "n<1K"
    assert header["task_categories"] == ["image-text-to-text"]
    assert DatasetCard.load(path).data.pretty_name == "figures"
    assert f"| train | 20 | {len(set(train['prompt_id']))} | `{fingerprint(train)}` |" in text
    assert f"| test | 6 | {len(set(test['prompt_id']))} | `{fingerprint(test)}` |" in text
    assert "| `images` | `list of Image` |" in text and "drawn by a program" in text
    assert 'load_dataset("someone/figures", split="train")' in text
    # The header's configuration is what `datasets` loads the folder by.
    assert len(load_dataset(str(tmp_path), split="test", cache_dir=str(tmp_path / "cache"))) == 6


def test_the_card_of_rows_from_elsewhere(tmp_path):
    rows = load_figures("train", num_rows=5).remove_columns(["family", "level"])
    rows = rows.add_column("a|<b>", list("abcde"))
    rows.to_parquet(str(tmp_path / "data.parquet"))
    path = write_dataset_card(tmp_path, source="/srv/private/rows.jsonl", license="cc-by-4.0")
    text = path.read_text()
    assert metadata_load(path)["license"] == "cc-by-4.0" and "source_datasets" not in metadata_load(path)
    assert "from `rows.jsonl`" in text and "private" not in text and "drawn by a program" not in text
    assert r"| `a\|<b>` | `string` |" in text
    assert metadata_load(write_dataset_card(tmp_path))["license"] == "cc-by-4.0"  # carried over


def test_no_rows_no_card(tmp_path):
    with pytest.raises(BadInputError, match=r"no \.parquet file"):
        write_dataset_card(tmp_path)
    (tmp_path / "train.parquet").write_bytes(b"PAR1 cut off")
    with pytest.raises(BadInputError, match="cannot be read"):
        write_dataset_card(tmp_path)


def test_the_card_of_scores(tmp_path):
    columns = {"prompt_id": list("abcd"), "pass_rate": [0.0, 0.25, 0.5, 1.0], "score": [0.1, 0.2, 0.3, 0.0]}
    write_table(tmp_path / "scores.parquet", columns, METADATA)
    path = write_score_card(tmp_path, repo_id="someone/scores")
    header, text = metadata_load(path), path.read_text()
    assert header["configs"] == [
        {"config_name": "default", "data_files": [{"split": "train", "path": "scores.parquet"}]}
    ]
    assert header["source_datasets"] == ["hiyouga/geometry3k"]
    assert "`mine`" in text and "private" not in text and "8 rollouts" in text
    assert "The mean pass rate is 0.438." in text
    assert "--prompt_scores someone/scores" in text and "`accuracy_reward, <img src=x>`" in text
    assert "±0.35" in text
    load_figures("train", num_rows=4).to_parquet(str(tmp_path / "kept.parquet"))
    assert [config["config_name"] for config in metadata_load(write_score_card(tmp_path))["configs"]] == [
        "default",
        "kept",
    ]
    cache = str(tmp_path / "cache")
    assert load_dataset(str(tmp_path), split="train", cache_dir=cache)["pass_rate"][:] == columns["pass_rate"]
    assert len(load_dataset(str(tmp_path), "kept", split="train", cache_dir=cache)) == 4


def test_scores_of_nobody(tmp_path):
    with pytest.raises(BadInputError, match="mmr1 score"):
        write_score_card(tmp_path)
    load_figures("train", num_rows=2).to_parquet(str(tmp_path / "scores.parquet"))
    with pytest.raises(BadInputError, match="not written by `mmr1 score`"):
        write_score_card(tmp_path)


def test_histogram_by_brute_force():
    rates = [i / 16 for i in range(17)]
    counts = dict.fromkeys(BINS, 0)
    for rate in rates:
        bounds = [(rate == 0), 0 < rate <= 0.25, 0.25 < rate <= 0.5, 0.5 < rate <= 0.75, 0.75 < rate < 1, rate == 1]
        counts[BINS[bounds.index(True)]] += 1
    assert [(label, count) for label, count, _ in _histogram(rates)] == list(counts.items())
    assert sum(share for *_, share in _histogram(rates)) == pytest.approx(1)


def test_the_wheel_carries_the_templates(tmp_path):
    hatchling = pytest.importorskip("hatchling.builders.wheel")
    root = Path(__file__).parents[3]
    (wheel,) = hatchling.WheelBuilder(str(root)).build(directory=str(tmp_path), versions=["standard"])
    names = set(zipfile.ZipFile(wheel).namelist())
    templates = {path.name for path in (root / "cards").iterdir()}
    assert {f"mmr1_trl/cards/{name}" for name in templates} <= names
    used = {
        name
        for path in (root / "mmr1_trl" / "hub").glob("*.py")
        for name in re.findall(r'"(\w+\.md\.jinja)"', path.read_text())
    }
    used |= set(re.findall(r'include "([^"]+)"', (root / "cards" / "model_card.md.jinja").read_text()))
    assert used == templates
