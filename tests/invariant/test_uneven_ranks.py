# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Every rank makes the same number of forwards, generations and collective calls, whatever the others meet."""

import json
from pathlib import Path

import pytest
from fixtures.forked import ON_TWO, run


@pytest.mark.slow
def test_a_rank_in_trouble_does_as_much_as_the_others(tmp_path):
    run(*ON_TWO, "-m", "fixtures.uneven_ranks", tmp_path, cwd=Path(__file__).parents[1])  # a hang would end here
    results = {path.stem.rpartition("-"): json.loads(path.read_text()) for path in tmp_path.glob("*.json")}
    methods = {method for method, _, _ in results}
    assert methods == {"grpo", "mssr", "mssr-policy-kl", "mixed", "vas-full", "two-stage", "all"}
    for method in methods:
        first, second = results[method, "-", "0"], results[method, "-", "1"]
        assert first == second, method
        assert first["steps"] == 4 and first["generations"] >= 2 and first["forwards"] >= 4
        assert first["all_gather_object"] + first.get("all_gather_into_tensor", 0) + first.get("all_gather", 0) > 0
