# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Several datasets in one run: their columns, ids and weights, and the commands with them."""

import io
import json

import pytest
import yaml
from datasets import ClassLabel, Dataset, Features, Value
from PIL import Image

from mmr1_trl.cli import main
from mmr1_trl.data import mix_rows, prepare_dataset
from mmr1_trl.data.answers.noise import apply_label_noise
from mmr1_trl.data.mixture import read_entries, row_names
from mmr1_trl.data.pictures.images import image_counts
from mmr1_trl.data.prompts import Prompts
from mmr1_trl.errors import BadInputError


def picture(color):
    file = io.BytesIO()
    Image.new("RGB", (56, 56), color).save(file, "PNG")
    return {"bytes": file.getvalue(), "path": None}


def geometry(count=4):
    rows = [{"problem": f"<image>What is {n} + 1 ?", "answer": str(n + 1), "image": picture((n, 9, 9)), "level": n}
            for n in range(count)]  # fmt: skip
    return Dataset.from_list(rows)


def arithmetic(count=6):
    rows = [{"frage": f"What is {n} + 2 ?", "antwort": n + 2, "level": "easy", "source": "book"} for n in range(count)]
    return Dataset.from_list(rows)


def mixed(weights=None):
    parts = {
        "geo": prepare_dataset(geometry()),
        "math": prepare_dataset(arithmetic(), prompt_column="frage", answer_column="antwort"),
    }
    return mix_rows(parts, weights)


def test_columns_are_those_of_all_in_one_type():
    rows = mixed()
    assert len(rows) == 10 and rows["source"][:] == ["geo"] * 4 + ["math"] * 6
    assert rows["source_row"][:] == [0, 1, 2, 3, 0, 1, 2, 3, 4, 5]
    assert image_counts(rows) == [1] * 4 + [0] * 6 and rows[7]["images"] == []
    assert rows["solution"][:] == ["1", "2", "3", "4", "2", "3", "4", "5", "6", "7"]
    assert rows["level"][:] == ["0", "1", "2", "3"] + ["easy"] * 6  # numbers here and words there
    assert rows["published_source"][:] == [None] * 4 + ["book"] * 6
    assert row_names(rows)(6) == "row 6 (row 2 of math)"
    labels = Features({"prompt": Value("string"), "kind": ClassLabel(names=["cat", "dog"])})
    first = Dataset.from_dict({"prompt": ["a"], "kind": [1]}, features=labels)
    second = Dataset.from_dict({"prompt": ["b"], "kind": ["cow"], "odd": [[1]]})
    third = Dataset.from_dict({"prompt": ["c"], "odd": ["x"]})
    together = mix_rows({"1": first, "2": second, "3": third})
    assert together["kind"][:] == ["dog", "cow", None] and "odd" not in together.column_names


def test_weights_and_ids():
    rows = mixed({"geo": 2.5, "math": 0.5})
    assert rows["source"][:].count("geo") == 10 and rows["source"][:].count("math") == 3
    assert Prompts.of(rows).count == 4 + 3  # a row that is taken twice is one prompt
    assert mixed({"math": 0.5})["prompt_id"][:] == mixed({"math": 0.5})["prompt_id"][:]
    own = [
        Dataset.from_dict({"prompt": ["a", "b"], "solution": ["1", "2"], "prompt_id": ids}) for ids in ([0, 1], [1, 1])
    ]
    assert mix_rows({"x": own[0], "y": own[1]})["prompt_id"][:] == ["0", "1", "1-2", "1-2"]
    with pytest.raises(BadInputError, match="geo: weight 0.01 of 4 rows is none"):
        mixed({"geo": 0.01})
    noisy = apply_label_noise(mixed(), 0.5, 0)
    assert sum(noisy["is_noisy"]) == 5


@pytest.mark.parametrize(
    ("datasets", "words"),
    [
        ([], "must be a list"),
        ([3], "entry 0 must be a name or a mapping"),
        ([{"split": "train"}], "entry 0 has no `name`"),
        (["a", {"name": "b", "wieght": 2}], "entry 1: unknown key 'wieght'.*Did you mean 'weight'"),
        ([{"path": "a", "name": "b"}], "TRL's `path` is `name` here"),
        ([{"name": "a", "weight": 0}], "weight=0 is no number above 0"),
        ([{"name": "a", "weight": float("nan")}], "weight=nan"),
        ([{"name": "a", "num_rows": 0}], "num_rows=0"),
        (["a", "a"], "2 entries are called 'a'.*`source: NAME`"),
    ],
)
def test_entries_that_are_none(datasets, words):
    with pytest.raises(BadInputError, match=words):
        read_entries(datasets, ("config", "prompt_column"))


@pytest.fixture
def config(tmp_path):
    geometry().to_parquet(tmp_path / "geo.parquet")
    arithmetic().to_parquet(tmp_path / "math.parquet")
    math = {"name": str(tmp_path / "math.parquet"), "source": "math", "weight": 2, "image_column": "none"}
    settings = {
        "method": "vas", "model_name_or_path": "figures/tiny", "output_dir": str(tmp_path / "run"),
        "datasets": [str(tmp_path / "geo.parquet"), math | {"prompt_column": "frage", "answer_column": "antwort"}],
        "num_generations": 2, "per_device_train_batch_size": 8, "gradient_accumulation_steps": 1, "max_steps": 2,
        "save_steps": 1, "max_completion_length": 4, "use_cpu": True, "bf16": False, "report_to": "none",
        "disable_tqdm": True, "eval_strategy": "steps", "eval_steps": 1, "per_device_eval_batch_size": 4,
        "advantage_baseline": "value_tracker", "tracker_forgetting": "fixed", "beta": 0.0,
    }  # fmt: skip
    path = tmp_path / "mixture.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def test_training_resume_check_and_evaluation(config, tmp_path, capsys):
    settings = yaml.safe_load(config.read_text())
    assert main(["vas", "--config", str(config)]) == 0
    run = tmp_path / "run"
    logged = json.loads((run / "trainer_state.json").read_text())["log_history"]
    written = yaml.safe_load((run / "mmr1_config.yaml").read_text())
    assert written["datasets"] == settings["datasets"] and len([e for e in logged if "eval_reward" in e]) == 2
    assert "geo.parquet + math.parquet" in (run / "README.md").read_text()
    assert main(["vas", "--config", str(config), "--max_steps", "3", "--resume_from_checkpoint", "true"]) == 0
    settings["datasets"][1]["weight"] = 1
    config.write_text(yaml.safe_dump(settings))
    capsys.readouterr()
    assert main(["vas", "--config", str(config), "--max_steps", "4", "--resume_from_checkpoint", "true"]) == 2
    assert "rows" in capsys.readouterr().err

    settings["datasets"][1]["answer_column"] = "source"
    config.write_text(yaml.safe_dump(settings))
    main(["check", "--config", str(config), "--samples", "0", "--output_dir", str(tmp_path / "none")])
    said = capsys.readouterr()
    assert "geo.parquet: 4, math: 6" in said.out
    command = ["eval", "--config", str(tmp_path / "eval.yaml"), "--model", "figures/tiny", "--use_cpu", "true"]
    settings["datasets"][1]["answer_column"] = "antwort"
    (tmp_path / "eval.yaml").write_text(yaml.safe_dump({"datasets": settings["datasets"], "dataset_split": "train"}))
    assert main([*command, "--max_new_tokens", "4", "--output_dir", str(tmp_path / "eval"), "--by", "source"]) == 0
    by = json.loads((tmp_path / "eval" / "summary.json").read_text())["by"]["source"]
    assert {name.rpartition("/")[2]: entry["num_prompts"] for name, entry in by.items()} == {
        "geo.parquet": 4,
        "math": 6,
    }


def test_a_bad_row_is_named_with_its_dataset(config, tmp_path, capsys):
    rows = arithmetic().to_list()
    rows[4]["antwort"] = None
    Dataset.from_list(rows).to_parquet(tmp_path / "math.parquet")
    assert main(["check", "--config", str(config), "--samples", "0"]) == 2
    assert "math.parquet (train): 1 of 6 rows cannot be used: row 4: there is no gold" in capsys.readouterr().err
    assert main(["vas", "--config", str(config), "--dataset_name", "figures2"]) == 2
    assert "datasets are both given" in capsys.readouterr().err
