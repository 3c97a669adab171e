# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The tables of the learning studies on made-up runs, and the settings of their arms."""

import json
import re
import sys
from pathlib import Path

import pytest


sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

from studies import claims, lines, mssr, setup, starts, two_stage

import mmr1_trl
from mmr1_trl.errors import BadInputError


ROOT = Path(__file__).parents[3]


def run(part, arm, seed, *accuracies, budget=mssr.SETTING.budget):
    """A run whose evaluations are evenly spaced."""
    last = len(accuracies) - 1
    curve = [
        {"rollouts": budget * i // last, "step": i, "greedy": value, "sampled": value / 2}
        for i, value in enumerate(accuracies)
    ]
    log = {"step": [1, 2], "entropy": [0.4, 0.2], "clip_ratio/region_mean": [0.0, 0.1]}
    return {"part": part, "arm": arm, "seed": seed, "curve": curve, "log": log, "seconds": 30.0 + seed}


@pytest.fixture
def results(tmp_path, monkeypatch):
    for module in (lines, mssr, two_stage):
        monkeypatch.setattr(module, "RESULTS", tmp_path)

    def write(name, runs):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in runs))
        return tmp_path

    return write


def test_mssr_tables(results, monkeypatch):
    folder = results(
        "study_mssr",
        [run("controls", "supervised, clean", seed, 0.4, 0.9) for seed in (0, 1)]
        + [run("stability", "GRPO, 2", seed, 0.4, 0.6, 0.8) for seed in (0, 1)]
        + [run("stability", "MVSR, 2", seed, 0.4, 0.7, 0.9 + seed / 10) for seed in (0, 1)],
    )
    monkeypatch.setattr("sys.argv", ["mssr.py", "--tables"])
    mssr.main()
    text = (folder / "study_mssr.md").read_text()
    assert "| start | 40.0 (40.0 to 40.0) | 20.0 (20.0 to 20.0)" in text
    assert "| supervised, clean | 90.0 (90.0 to 90.0) | 45.0" in text
    # from 60 to 80 % and 70 to 90 or 100 %, straight: the mean over the second half lies in the middle
    assert "| GRPO, 2 | 70.0 (70.0 to 70.0) | 35.0 (35.0 to 35.0) | 80.0 (80.0 to 80.0)" in text
    half, whole = mssr.SETTING.budget // 2, mssr.SETTING.budget
    assert f"| {half:,} | {whole:,} | - (0 of 2) | 0.300 | 0.050 | 30 | 2 |" in text
    assert "| MVSR, 2 against GRPO, 2 | +12.5 (-19.3 to +44.3) | +6.3 (-9.6 to +22.1) |" in text
    assert (folder / "study_mssr.png").stat().st_size > 10_000
    assert "speed" not in text.split("##", 1)[1]  # a command without runs has no table


def test_two_stage_tables_compare_runs_of_the_same_seed(results):
    budget = two_stage.SETTING.budget
    names = [arm.name for arm in two_stage.COMMANDS["switch"]]
    folder = results(
        "two_stage",
        [
            run("point 50%", name, seed, 0.1, 0.5 + 0.01 * i, budget=budget)
            for i, name in enumerate(names)
            for seed in (0, 1)
        ]
        + [run("point 50%", "GRPO", 2, 0.1, 0.9, budget=budget)],
    )
    two_stage.write_tables("switch", ["point"], [0.5])
    text = (folder / "two_stage_switch.md").read_text()
    assert "50% noise (2 seeds)" in text  # the third seed has GRPO alone
    assert "| GRPO | 50.0 (50.0 to 50.0) |  |" in text
    assert "| switch at 90% | 54.0 (54.0 to 54.0) | +4.0 (+4.0 to +4.0) |" in text
    assert (folder / "two_stage_switch.png").stat().st_size > 10_000


def test_an_oracle_without_two_kinds_of_labels_is_a_constant_schedule():
    maximize_noisy, minimize_noisy = two_stage.ORACLES
    assert two_stage.same_run(maximize_noisy, 0.5) == maximize_noisy.name
    assert two_stage.same_run(maximize_noisy, 1.0) == "maximize"  # all labels are wrong
    assert two_stage.same_run(maximize_noisy, 0.0) == "minimize"
    assert two_stage.same_run(minimize_noisy, 1.0) == "minimize"


@pytest.mark.parametrize("command", [name for name in mssr.COMMANDS if name != "controls"])
def test_arms_spend_the_same_rollouts_and_differ_by_name(command, tmp_path):
    for setting, arms in mssr.COMMANDS[command].values():
        assert len({arm.name for arm in arms}) == len(arms)
        for arm in arms:
            trainer = getattr(mmr1_trl, arm.trainer) if isinstance(arm.trainer, str) else arm.trainer
            args = trainer._config_class(output_dir=str(tmp_path), use_cpu=True, **setting.options | arm.options)
            assert args.generation_batch_size == mssr.ROLLOUTS
            batches = args.max_steps / args.steps_per_generation
            assert batches * args.generation_batch_size == setting.budget


def test_the_summary_is_what_the_raw_lines_say(tmp_path, monkeypatch, capsys):
    published = (claims.RESULTS / "claims.md").read_text()
    monkeypatch.setattr("common.RESULTS", tmp_path)
    monkeypatch.setattr(claims, "RESULTS", tmp_path)
    monkeypatch.setattr(claims, "plot", lambda rows, path: None)
    claims.main()
    assert (tmp_path / "claims.md").read_text() == published
    rows = json.loads((tmp_path / "claims.json").read_text())
    for row in rows:  # no verdict without its numbers
        told = row["low"] > 0 or row["high"] < 0
        assert told == (row["verdict"] in ("holds", "does not hold")) and len(row["values"]) >= 5
        assert row["p"] <= row["p_holm"]


def intervals(text):
    found = re.findall(r"\(([-+]?[\d.]+)\s+to\s+([-+]?[\d.]+)\)", text)
    return {(float(low), float(high)) for low, high in found}


def test_every_interval_in_the_docs_is_in_the_results():
    results = "\n".join(path.read_text() for path in sorted((ROOT / "benchmarks" / "results").glob("*.md")))
    pages = [ROOT / "docs" / f"{page}.md" for page in ("two_stage", "figures", "mssr", "vas", "speed")]
    for page in (*pages, *(ROOT / "docs" / "reproduction").glob("*.md")):
        assert intervals(page.read_text()) <= intervals(results), page


def test_a_start_that_is_not_the_published_one_is_named_before_anything_runs(tmp_path, monkeypatch):
    for name in ("cold-0", "cold-1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(name.encode())
    hashes = {name: starts.start_hash(tmp_path / name) for name in ("cold-0", "cold-1")}
    assert len(set(hashes.values())) == 2
    monkeypatch.setattr(starts, "PUBLISHED", tmp_path / "starts.json")
    starts.PUBLISHED.write_text(json.dumps(hashes))
    starts.check_starts(["cold-0", "cold-1"], tmp_path)
    (tmp_path / "cold-1" / "model.safetensors").write_bytes(b"other weights")
    ran = []
    jobs = [("part", mssr.SETTING, mssr.GRID[0], seed) for seed in (0, 1, 2)]
    with pytest.raises(BadInputError, match=rf"cold-1 is \w+, not {hashes['cold-1']}; cold-2 is not there"):
        lines.run_study("no study", jobs, 1, run=ran.append, starts=tmp_path)
    assert not ran
    with pytest.raises(BadInputError, match="no start 'colt-0'"):
        starts.config_of("colt-0")


def test_a_line_says_what_it_was_made_with():
    made = setup.made_with()
    assert re.fullmatch(r"[0-9a-f]{12}", made["sources"]) and made["cpu"] and made["threads"] >= 1
    assert set(made["versions"]) == {"python", *setup.LIBRARIES}


def test_starts_are_noted_once_and_packed_as_noted(tmp_path, monkeypatch, capsys):
    cache, packed = tmp_path / "cache", tmp_path / "packed"
    for name in ("cold-0", "digits-3"):
        (cache / name).mkdir(parents=True)
        (cache / name / "model.safetensors").write_bytes(name.encode())
    monkeypatch.setattr(starts, "PUBLISHED", tmp_path / "starts.json")
    monkeypatch.setattr(starts, "cold_start_path", lambda config: cache / by_seed[config.seed])
    by_seed = {0: "cold-0", 3: "digits-3"}
    starts.note(["cold-0", "digits-3", "cold-0"])
    starts.pack(packed)
    starts.check_starts(["cold-0", "digits-3"], packed)
    assert sorted(path.name for path in packed.iterdir()) == ["cold-0", "digits-3"]
    (cache / "cold-0" / "model.safetensors").write_bytes(b"made on another machine")
    starts.note(["cold-0"])
    assert "cold-0 is " in capsys.readouterr().out and len(starts.published()) == 2
    starts.check_starts(["cold-0"], None)  # made here: said and not refused
    assert "other than the published ones" in capsys.readouterr().out
    with pytest.raises(BadInputError, match="cold-0 is .* in this cache"):
        starts.pack(packed)
