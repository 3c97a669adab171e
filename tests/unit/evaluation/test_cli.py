# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""`mmr1 eval` and the parts of `mmr1 quickstart` that need no training."""

import io
import json
import re
import shlex
from pathlib import Path

import pandas as pd
import pytest
from datasets import Dataset
from PIL import Image

from mmr1_trl.cli import main
from mmr1_trl.cli.commands.eval import parse_eval
from mmr1_trl.cli.commands.quickstart import QuickstartArguments, _State
from mmr1_trl.cli.commands.report import parse_report
from mmr1_trl.errors import BadInputError
from mmr1_trl.evaluation.benchmarks import BENCHMARKS, get_benchmark


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMR1_HOME", str(tmp_path_factory.mktemp("home")))
        yield


def png(color):
    buffer = io.BytesIO()
    Image.new("RGB", (56, 56), color).save(buffer, format="PNG")
    return buffer.getvalue()


def test_figures_are_evaluated_and_written(tmp_path, capsys):
    folder = tmp_path / "eval"
    words = ["--model", "figures/tiny", "--num_rows", "12", "--num_samples", "2", "--max_new_tokens", "8"]
    assert main(["eval", *words, "--figures_families", "add", "gap", "--output_dir", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert "12 prompts" in printed and "Sampled accuracy (mean of 2)" in printed and "judge" in printed
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["num_prompts"] == 12 and set(summary["by"]["family"]) <= {"add", "gap"}
    predictions = pd.read_parquet(folder / "predictions.parquet")
    assert len(predictions) == 36 and sorted(predictions["sample"].unique()) == [-1, 0, 1]
    page = (folder / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 12


def test_a_file_with_other_columns_and_a_broken_picture(tmp_path, capsys):
    path = tmp_path / "rows.parquet"
    Dataset.from_dict(
        {
            "query": ["upleft ?", "largest ?", "lowright ?"],
            "photo": [[{"bytes": data, "path": None}] for data in (png("red"), png("red")[:60], png("blue"))],
            "gold": ["3", "4", "5"],
            "kind": ["a", "a", "b"],
        }
    ).to_parquet(str(path))
    words = ["--model", "figures/tiny", "--dataset_name", str(path), "--max_new_tokens", "4", "--by", "kind"]
    columns = ["--prompt_column", "query", "--image_column", "photo", "--answer_column", "gold"]
    assert main(["eval", *words, *columns]) == 0
    printed = capsys.readouterr().out
    assert "2 prompts" in printed and "left out because they cannot be used: 1\n" in printed and "row 1" in printed
    assert main(["eval", *words, "--prompt_column", "querry", *columns[2:]]) == 2
    assert "query" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--model is missing"),
        (["--model", "figures/tinny"], "figures/tiny"),
        (["--model", "./no/such/folder"], "no/such/folder"),
        (["--model", "figures/tiny", "--num_row", "3"], "num_rows"),
        (["--model", "figures/tiny", "--num_rows", "0"], "at least 1"),
        (["--model", "figures/tiny", "--temperature", "0"], "above 0"),
        (["--model", "figures/tiny", "--temperature", "nan"], "above 0"),
        (["--model", "figures/tiny", "--max_new_tokens", "-1"], "--max_new_tokens must be at least 1, got -1"),
        (["--model", "figures/tiny", "--max_new_tokens", "0"], "--max_new_tokens must be at least 1, got 0"),
        (["--model", "figures/tiny", "--seed", "-1", "--num_samples", "4"], "--seed and --figures_seed must be at"),
        (["--model", "figures/tiny", "--dtype", "half"], "float32"),
        (["--model", "figures/tiny", "--num_rows", "4", "--by", "famly"], "Did you mean 'family'"),
        (["--model", "figures/tiny", "--num_rows", "4", "--prompt_style", "figure"], "figures"),
        (["--model", "figures/tiny", "--num_rows", "4", "--prompt_style", "mssr"], "leave out --prompt_style"),
        (["--model", "figures/tiny", "--answer_column", "a", "--image_column", "b"], "--image_column, --answer"),
        (["--model", "figures/tiny", "--num_processes", "0"], "at least 1"),
        (["--model", "figures/tiny", "--export", "lmms-eval"], "Did you mean 'lmms_eval'"),
        (["--model", "figures/tiny", "--export", "lmms_eval"], "--output_dir"),
        (["--model", "figures/tiny", "--benchmarks_folder", "x"], "--benchmarks"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(words, message, capsys, monkeypatch):
    if "--num_processes" in words:  # where there is a GPU, accelerate would start the processes, and one for none
        monkeypatch.setattr("torch.accelerator.is_available", lambda: True)
    assert main(["eval", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("mmr1: error: ") and message in error and "Traceback" not in error


def test_a_quickstart_folder_keeps_its_settings_its_phases_and_their_times(tmp_path):
    calls = []
    state = _State(tmp_path, {"output_dir": "x", "seed": 0, "eval_rows": 10})
    state.once("training", lambda: calls.append("training"))
    with pytest.raises(KeyboardInterrupt):
        state.once("evaluation", interrupt)
    again = _State(tmp_path, {"output_dir": "y", "seed": 0, "eval_rows": 10})
    assert set(again.seconds) == {"training", "evaluation"} and again.seconds == state.seconds
    again.once("training", lambda: calls.append("training again"))
    again.once("evaluation", lambda: calls.append("evaluation"))
    assert calls == ["training", "evaluation"]
    assert again.seconds["training"] == state.seconds["training"]
    assert again.seconds["evaluation"] > state.seconds["evaluation"]
    with pytest.raises(BadInputError, match="seed 0"):
        _State(tmp_path, {"output_dir": "x", "seed": 1, "eval_rows": 10})


@pytest.mark.parametrize("code", [1, 130, 143])
def test_a_quickstart_whose_training_stopped_trains_again(tmp_path, monkeypatch, capsys, code):
    calls = []
    monkeypatch.setattr("mmr1_trl.cli.commands.quickstart._evaluate", lambda *_: calls.append("evaluation"))
    monkeypatch.setattr("mmr1_trl.cli.commands.quickstart._report", lambda *_: calls.append("report"))
    monkeypatch.setattr("mmr1_trl.cli.commands.train.train", lambda *_: calls.append("training") or code)
    words = ["quickstart", "--output_dir", str(tmp_path), "--model", "figures/tiny"]
    assert main(words) == code
    assert f"to go on: mmr1 quickstart --output_dir {tmp_path}" in capsys.readouterr().out
    assert calls == ["evaluation", "training"]
    monkeypatch.setattr("mmr1_trl.cli.commands.train.train", lambda *_: calls.append("training") or 0)
    assert main(words) == 0
    assert calls == ["evaluation", "training", "training", "evaluation", "report"]


def test_quickstart_refuses_bad_numbers():
    with pytest.raises(BadInputError, match="at least 1"):
        QuickstartArguments(eval_rows=0)
    with pytest.raises(BadInputError, match="--pictures digit: .*Did you mean 'digits'"):
        QuickstartArguments(pictures="digit")
    assert QuickstartArguments().model == "figures/cold_start"
    assert QuickstartArguments(pictures="charts").model == "figures/charts_start"
    assert QuickstartArguments(pictures="charts", model="mine").model == "mine"
    assert main(["quickstart", "--max_step", "3"]) == 2


def blocks(language):
    text = (Path(__file__).parents[3] / "docs" / "evaluation.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("line", [line for block in blocks("bash") for line in block.splitlines()])
def test_the_commands_of_the_guide_are_understood(line):
    mmr1, command, *words = shlex.split(line)
    assert mmr1 == "mmr1"
    if command == "eval":
        args = parse_eval(words).build()[0]
        assert all(name == "figures" or get_benchmark(name) for name in args.benchmarks or [])
    else:
        assert command == "report" and parse_report(words).runs


def test_the_python_of_the_guide_runs(capsys):
    exec("".join(blocks("python")), {})
    assert "(0.0, " in capsys.readouterr().out


def test_the_guide_names_every_benchmark():
    text = (Path(__file__).parents[3] / "docs" / "evaluation.md").read_text()
    for name, benchmark in BENCHMARKS.items():
        assert f"| `{name}` | `{benchmark.sources[0][0]}`" in text


def interrupt():
    raise KeyboardInterrupt
