# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""One process or two, killed or not: the same evaluation."""

import signal
import time

import pandas as pd
import pytest
from fixtures.forked import Forked, processes_in, wait_until


WORDS = ["--model", "figures/tiny", "--num_rows", "48", "--batch_size", "2", "--num_samples", "2"]
WORDS += ["--max_new_tokens", "24"]


def start(folder, *words):
    return Forked("-m", "mmr1_trl.cli", "eval", *WORDS, "--output_dir", folder, *words, cwd=folder.parent)


def finish(process):
    done = process.finish()
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def predictions(folder):
    return pd.read_parquet(folder / "predictions.parquet")


@pytest.mark.slow
def test_two_processes_and_a_kill_change_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("MMR1_HOME", str(tmp_path / "home"))
    finish(start(tmp_path / "one"))
    output = finish(start(tmp_path / "two", "--num_processes", "2"))
    assert output.count("Greedy accuracy") == 1
    pd.testing.assert_frame_equal(predictions(tmp_path / "one"), predictions(tmp_path / "two"))

    process = start(tmp_path / "killed", "--num_processes", "2")
    logs = [tmp_path / "killed" / name for name in ("unfinished.jsonl", "unfinished.1.jsonl")]
    while process.poll() is None and not all(log.is_file() and log.read_text().count("\n") > 1 for log in logs):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.finish()
    wait_until(lambda: processes_in(tmp_path) == [])  # those that it launched see that it has gone
    kept = sum(log.read_text().count("\n") - 1 for log in logs)
    assert 0 < kept < 72 and not (tmp_path / "killed" / "summary.json").exists()
    finish(start(tmp_path / "killed"))  # with one process what two had begun
    pd.testing.assert_frame_equal(predictions(tmp_path / "one"), predictions(tmp_path / "killed"))
    assert not any(log.exists() for log in logs)
