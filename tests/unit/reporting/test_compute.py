# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What runs have spent, and whether they may be compared."""

import json

import pytest

from mmr1_trl.reporting.build import runs_report
from mmr1_trl.reporting.compute import compute_table, estimate_flops, spent, unfair
from mmr1_trl.reporting.runs import load_runs


ARGUMENTS = {"steps_per_generation": 4, "gradient_accumulation_steps": 2, "num_iterations": 1, "beta": 0.01}


def write_run(folder, arguments=ARGUMENTS, parameters=1000, **logged):
    folder.mkdir()
    history = [{"step": 10, "loss": 0.0, "num_rollouts": 64.0, "num_tokens": 5000.0, **logged}, {"step": 20}]
    (folder / "trainer_state.json").write_text(json.dumps({"log_history": history}))
    if arguments is not None:
        (folder / "mmr1_run.json").write_text(json.dumps({"arguments": arguments, "parameters": parameters}))
    return folder


@pytest.mark.parametrize(
    "changes, passes",
    [
        ({}, 3 + 1 + 1),  # update, reference, and old log-probs: 2 of 4 micro-steps is no whole generation batch
        ({"beta": 0.0}, 3 + 1),
        ({"gradient_accumulation_steps": 4}, 3 + 1),
        ({"gradient_checkpointing": True}, 4 + 1 + 1),
        ({"num_iterations": 2}, 2 * 3 + 1 + 1),
    ],
)
def test_flops_count_every_pass(changes, passes):
    assert estimate_flops(1000, 5000, 5000, ARGUMENTS | changes) == 2 * 1000 * 5000 * (1 + passes)
    assert estimate_flops(1000, 5000, 2500, ARGUMENTS | changes) == 2 * 1000 * (5000 + passes * 2500)


def test_a_run_says_what_it_spent_as_far_as_it_knows(tmp_path):
    whole, bare = load_runs([write_run(tmp_path / "whole"), write_run(tmp_path / "bare", arguments=None)])
    one = spent(whole)
    assert (one.updates, one.rollouts, one.tokens, one.updates_per_batch) == (20, 64, 5000, 2)
    assert one.flops == 2 * 1000 * 5000 * 6
    assert spent(bare).updates_per_batch is None and spent(bare).flops is None
    (shared,) = load_runs([write_run(tmp_path / "shared", **{"tokens/share_saved": 0.5})])
    assert spent(shared).flops == 2 * 1000 * (5000 + 5 * 2500)
    table = compute_table([whole, bare])
    assert table.rows[0] == ["Optimizer updates", "20", "20"]
    assert table.rows[-1] == ["FLOPs, estimated", "60,000,000", "–"]


def test_a_comparison_of_unequal_updates_is_named(tmp_path):
    names = ("mssr-seed0", "mssr-seed1", "grpo")
    folders = [write_run(tmp_path / name) for name in names[:2]]
    assert unfair(load_runs(folders)) == ""
    folders.append(write_run(tmp_path / names[2], ARGUMENTS | {"gradient_accumulation_steps": 4}))
    runs = load_runs(folders)
    assert "mssr-seed0 2, mssr-seed1 2, grpo 1" in unfair(runs)
    page = runs_report(runs).html()
    assert "differ in updates per generation batch" in page and "FLOPs, estimated" in page
