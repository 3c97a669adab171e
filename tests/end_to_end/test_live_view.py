# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""`--report_to trackio`, without network: with a stand-in package, and with trackio itself where it is installed."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest


STAND_IN = """
import json, os, types
from pathlib import Path

class Config(dict):
    def update(self, values, allow_val_change=False):
        super().update(values)

class Image:
    def __init__(self, value, caption=None):
        self.size = list(value.size)

class Table:
    def __init__(self, dataframe=None):
        self.rows = dataframe.to_dict("records")

FILE = Path(os.environ["TRACKIO_DIR"]) / "log.jsonl"
config = Config()
nothing = types.SimpleNamespace(get=lambda: None)
context_vars = types.SimpleNamespace(current_space_id=nothing, current_run=nothing)

def init(project, name, **options):
    assert (project, name) == ("live", "one")

def write(value):
    return value.rows if isinstance(value, Table) else {"size": value.size} if isinstance(value, Image) else str(value)

def log(metrics, step=None):
    with FILE.open("a") as file:
        file.write(json.dumps(metrics, default=write) + "\\n")

def finish(): pass
"""

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


def environment(folder, *paths):
    (folder / "trackio").mkdir()
    path = os.pathsep.join([*map(str, paths), *sys.path])
    return os.environ | {"TRACKIO_DIR": str(folder / "trackio"), "MMR1_HOME": str(folder / "home"), "PYTHONPATH": path}


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
def test_all_metrics_and_pictures_reach_a_stand_in(tmp_path):
    site = tmp_path / "site"
    (site / "trackio").mkdir(parents=True)
    (site / "trackio" / "__init__.py").write_text(STAND_IN)
    (site / "trackio-0.43.0.dist-info").mkdir()
    (site / "trackio-0.43.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: trackio\nVersion: 0.43.0\n"
    )
    history = train(tmp_path, environment(tmp_path, site))
    logged = [json.loads(line) for line in (tmp_path / "trackio" / "log.jsonl").read_text().splitlines()]
    tables = check(history, logged)
    assert all(min(row["image"][0]["size"]) > 20 for row in tables[0])


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("trackio") is None, reason="needs trackio, which holds Pillow back")
def test_all_metrics_and_pictures_reach_trackios_database(tmp_path):
    settings = environment(tmp_path)
    history = train(tmp_path, settings)
    tables = check(
        history, [json.loads(line) for line in python(settings, "-c", READER).splitlines() if line[0] == "{"]
    )
    files = {path.name for path in (tmp_path / "trackio").rglob("*.png")}
    assert files and all(row["image"][0]["file_path"].rsplit("/")[-1] in files for row in tables[0])
