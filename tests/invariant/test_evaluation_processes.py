# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""One process or two, killed or not: the same evaluation."""

import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest


WORDS = ["--model", "figures/tiny", "--num_rows", "96", "--batch_size", "2", "--num_samples", "2"]
WORDS += ["--max_new_tokens", "48"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


def start(home, folder, *words):
    command = [sys.executable, "-m", "mmr1_trl.cli", "eval", *WORDS, "--output_dir", str(folder), *words]
    environment = os.environ | {"MMR1_HOME": str(home)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process):
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    return output


def predictions(folder):
    return pd.read_parquet(folder / "predictions.parquet")


@pytest.mark.slow
def test_two_processes_and_a_kill_change_nothing(home, tmp_path):
    finish(start(home, tmp_path / "one"))
    output = finish(start(home, tmp_path / "two", "--num_processes", "2"))
    assert output.count("Greedy accuracy") == 1
    pd.testing.assert_frame_equal(predictions(tmp_path / "one"), predictions(tmp_path / "two"))

    process = start(home, tmp_path / "killed", "--num_processes", "2")
    logs = [tmp_path / "killed" / name for name in ("unfinished.jsonl", "unfinished.1.jsonl")]
    while process.poll() is None and not all(log.is_file() and log.read_text().count("\n") > 1 for log in logs):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    time.sleep(2.0)  # the processes end within a second of their launcher
    kept = sum(log.read_text().count("\n") - 1 for log in logs)
    assert 0 < kept < 144 and not (tmp_path / "killed" / "summary.json").exists()
    finish(start(home, tmp_path / "killed"))  # with one process what two had begun
    pd.testing.assert_frame_equal(predictions(tmp_path / "one"), predictions(tmp_path / "killed"))
    assert not any(log.exists() for log in logs)
