# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""`mmr1 grpo` and `mmr1 mssr` on a user's own files, from the command line to the saved model and its report."""

import json

import pandas as pd
import PIL.Image
import pytest

from mmr1_trl.cli import main


OPTIONS = [
    "--model_name_or_path", "figures/tiny", "--max_completion_length", "6", "--per_device_train_batch_size", "4",
    "--max_steps", "2", "--logging_steps", "1", "--report_to", "none", "--learning_rate", "1e-3",
    "--disable_tqdm", "true",
]  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A JSONL file beside its pictures: row 3's picture is cut off, row 5's question is very long."""
    monkeypatch.setenv("MMR1_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    rows = []
    for i in range(12):
        PIL.Image.effect_noise((56, 56), 10.0 * i).convert("RGB").save(f"{i}.png")
        question = "add " * (200 if i == 5 else 3) + "<image> ?"
        rows.append({"problem": question, "answer": str(100 + i), "images": [f"{i}.png"]})
    whole = (tmp_path / "3.png").read_bytes()
    (tmp_path / "3.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


def history(folder):
    return json.loads((folder / "run" / "trainer_state.json").read_text())["log_history"]


def test_a_run_with_bad_pictures_long_prompts_noise_and_tolerance(folder, capsys):
    code = main([
        "mssr", *OPTIONS, "--dataset_name", "rows.jsonl", "--output_dir", "run", "--beta", "0",
        "--tracker_forgetting", "fixed", "--on_bad_row", "skip", "--max_prompt_tokens", "100", "--tolerance", "0.05",
        "--label_noise", "0.5", "--shuffle_dataset", "false", "--max_steps", "3",
        "--log_completions", "true", "--num_completions_to_print", "0",
        "--save_steps", "1",
    ])  # fmt: skip
    assert code == 0
    entries = [entry for entry in history(folder) if "loss" in entry]
    assert len(entries) == 3 and "rewards/clean_accuracy" in entries[0]
    table = pd.concat(pd.read_parquet(path) for path in sorted(folder.glob("run/completions/*.parquet")))
    assert {"extracted", "solution", "picture"} <= set(table.columns)
    state = json.loads((folder / "run/checkpoint-1/rlvr_state.json").read_text())
    assert state["identity"]["rows"] == 11  # without the long one
    assert sum(entry.get("data/bad_rows", 0) for entry in entries) >= 1
    assert "# run\n" in (folder / "run/README.md").read_text()
    capsys.readouterr()
    assert main(["report", "run"]) == 0
    assert main(["mssr", *OPTIONS, "--dataset_name", "rows.jsonl", "--output_dir", "run"]) == 2
    assert "--resume_from_checkpoint" in capsys.readouterr().err


def test_the_same_file_is_refused_by_default(folder, capsys):
    code = main(["grpo", *OPTIONS, "--dataset_name", "rows.jsonl", "--output_dir", "run", "--num_generations", "2",
                 "--max_steps", "8"])  # fmt: skip
    assert code == 2
    message = capsys.readouterr().err
    assert "row 3" in message and "truncated" in message and "on_bad_row" in message, message


def test_answers_that_cannot_be_read_are_named_before_training(folder, capsys):
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    words = ["grpo", *OPTIONS, "--dataset_name", "rows.jsonl", "--output_dir", "run", "--num_generations", "2",
             "--on_bad_row", "skip", "--answer_type", "interval", "--max_steps", "1"]  # fmt: skip
    assert main(words) == 2
    assert "can read none of the answers (row 0: '100' cannot be read as interval" in capsys.readouterr().err
    for row in rows[1:]:
        row["answer"] = "[1, 2)"
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert main(words) == 0
    assert "1 of 12 answers cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--answer_column", "answr"], "answer"),
        (["--dataset_name", "row.jsonl"], "rows.jsonl"),
        (["--num_generations", "3"], "Nearest"),
        (["--reward_funcs", "acuracy_reward"], "accuracy_reward"),
        (["--model_name_or_path", "empty"], "empty"),
        (["--config", "bad.yaml"], "not a YAML mapping"),
        (["--max_prompt_tokens", "2"], "Every prompt is longer"),
        (["--label_noise", "1.5"], "at least 0 and at most 1"),
    ],
)
def test_bad_input_ends_in_one_message(folder, capsys, words, expected):
    (folder / "empty").mkdir()
    (folder / "bad.yaml").write_text("- a list\n")
    code = main(["grpo", *OPTIONS, "--dataset_name", "rows.jsonl", "--output_dir", "run", "--num_generations", "2",
                 *words])  # fmt: skip
    error = capsys.readouterr().err
    assert code == 2 and expected in error
    assert "Traceback" not in error and error.count("mmr1: error:") == 1
