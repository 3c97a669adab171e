# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""`mmr1 quickstart` from start to report, interrupted before the training, on an untrained model and two steps."""

import json

import pytest

from mmr1_trl.cli import main


@pytest.mark.slow
def test_an_interrupted_quickstart_goes_on_to_its_report(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MMR1_HOME", str(tmp_path / "home"))
    folder = tmp_path / "quickstart"
    words = ["quickstart", "--output_dir", str(folder), "--model", "figures/tiny", "--max_steps", "2"]
    words += ["--eval_rows", "8"]

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mmr1_trl.cli.commands.train.train", interrupt)
        assert main(words) == 130
    assert f"to go on: mmr1 quickstart --output_dir {folder}" in capsys.readouterr().out
    first = (folder / "before" / "predictions.parquet").stat().st_mtime_ns

    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "evaluation before: done before" in printed and str(folder / "report.html") in printed
    assert (folder / "before" / "predictions.parquet").stat().st_mtime_ns == first
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["before"]["num_prompts"] == summary["after"]["num_prompts"] == 8
    assert summary["before"]["num_samples"] == 4
    assert set(summary["seconds"]) == {"cold start", "evaluation before", "training", "evaluation after"}
    assert (folder / "curves.png").stat().st_size > 10_000
    assert "| Greedy accuracy |" in (folder / "summary.md").read_text()
    page = (folder / "report.html").read_text()
    assert page.count("data:image/png;base64,") >= 8 and "Value estimate" in page

    assert main([*words, "--seed", "1"]) == 2
    assert "seed 0" in capsys.readouterr().err
