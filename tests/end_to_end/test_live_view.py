# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""`--report_to trackio`, with trackio itself and a database on disk, without network."""

import json
import os
import subprocess
import sys

import pytest


READER = """
import json
from trackio.sqlite_storage import SQLiteStorage

for line in SQLiteStorage.get_logs("live", "one"):
    if "completions" in line:
        line["completions"] = line["completions"]["_value"]
    print(json.dumps(line, default=str))
"""


def python(environment, *words):
    process = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, timeout=280)
    assert process.returncode == 0, process.stderr
    return process.stdout


def train(folder, environment):
    """A short run of all three methods with an evaluation; return its own log."""
    words = ["-m", "mmr1_trl.cli", "mssr", "--config", "figures/all_three", "--model_name_or_path", "figures/tiny"]
    words += ["--per_device_train_batch_size", "8", "--per_device_eval_batch_size", "8", "--num_train_rows", "32"]
    words += ["--num_eval_rows", "8", "--eval_strategy", "steps", "--eval_steps", "2", "--max_steps", "4"]
    words += ["--save_strategy", "no", "--report_to", "trackio", "--project", "live", "--run_name", "one"]
    words += ["--log_completions", "true", "--num_completions_to_print", "0", "--output_dir", str(folder / "run")]
    python(environment, *words)
    return json.loads((folder / "run" / "trainer_state.json").read_text())["log_history"]


def check(history, logged):
    """Everything that the run logged arrived, and so did completions with pictures."""
    names = {name for entry in history for name in entry} - {"step"}
    methods = {"mssr/rho", "mssr/value_mean", "mssr/bonus_mean", "vas/score_mean", "entropy/coef", "num_rollouts"}
    assert methods <= names
    arrived = {name for line in logged for name in line}
    ends = {"train_runtime", "train_samples_per_second", "train_steps_per_second", "train_loss", "total_flos"}
    for name in names - ends:
        expected = f"eval/{name.removeprefix('eval_')}" if name.startswith("eval_") else f"train/{name}"
        assert expected in arrived, name
    rhos = [line["train/mssr/rho"] for line in logged if "train/mssr/rho" in line]
    assert [float(rho) for rho in rhos] == [entry["mssr/rho"] for entry in history if "mssr/rho" in entry]
    tables = [line["completions"] for line in logged if "completions" in line]
    assert len(tables) >= 2 and all(len(table) > 0 for table in tables)
    columns = {"prompt", "completion", "accuracy_reward", "extracted", "solution", "advantage", "image"}
    assert columns <= tables[0][0].keys() and len(tables[0][0]["image"]) == 1
    return tables


@pytest.mark.slow
def test_all_metrics_and_pictures_reach_trackios_database(tmp_path):
    paths = {"TRACKIO_DIR": str(tmp_path / "trackio"), "MMR1_HOME": str(tmp_path / "home")}
    settings = os.environ | paths | {"PYTHONPATH": os.pathsep.join(sys.path)}
    history = train(tmp_path, settings)
    tables = check(
        history, [json.loads(line) for line in python(settings, "-c", READER).splitlines() if line[0] == "{"]
    )
    files = {path.name for path in (tmp_path / "trackio").rglob("*.png")}
    assert files and all(row["image"][0]["file_path"].rsplit("/")[-1] in files for row in tables[0])
