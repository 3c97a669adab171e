# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The entropy schedule, step by step."""

import pytest

from mmr1_trl.errors import BadInputError
from mmr1_trl.methods.entropy_schedule import EntropySchedule


def coefficients(kind, **kwargs):
    schedule = EntropySchedule(kind, 0.3, 0.1, **kwargs)
    return [pytest.approx(schedule(step, 10)) for step in range(10)]


def test_two_stage_switches_hard_at_four_fifths():
    assert coefficients("two_stage") == [0.3] * 8 + [-0.1] * 2
    schedule = EntropySchedule("two_stage", 1.0, 1.0)
    assert [schedule(step, 1000) for step in (0, 799, 800, 999)] == [1.0, 1.0, -1.0, -1.0]
    assert schedule.switch_step(1000) == 800
    assert [schedule.stage(step, 1000) for step in (799, 800)] == [1, 2]


def test_the_ablations():
    assert coefficients("minimize_then_maximize") == [-0.1] * 8 + [0.3] * 2
    assert coefficients("maximize") == [0.3] * 10
    assert coefficients("minimize") == [-0.1] * 10
    assert coefficients("none") == [0.0] * 10


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0])
def test_the_first_stage_has_its_share_of_the_steps_exactly(fraction):
    schedule = EntropySchedule("two_stage", 1.0, 1.0, switch_fraction=fraction)
    assert sum(schedule(step, 100) > 0 for step in range(100)) == round(fraction * 100)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"kind": "two_stages"},
        {"explore_coef": -0.1},
        {"exploit_coef": -0.1},
        {"switch_fraction": 80},
    ],
)
def test_bad_settings(kwargs):
    with pytest.raises(BadInputError):
        EntropySchedule(**{"kind": "two_stage", "explore_coef": 0.1, "exploit_coef": 0.1, **kwargs})


def test_oracles_treat_rows_with_a_wrong_label_the_other_way_round():
    raised, lowered = EntropySchedule("maximize_noisy", 0.3, 0.1), EntropySchedule("minimize_noisy", 0.3, 0.1)
    for step in (0, 9):
        assert (raised(step, 10, noisy=True), raised(step, 10)) == (0.3, -0.1)
        assert (lowered(step, 10, noisy=True), lowered(step, 10)) == (-0.1, 0.3)
    assert raised.is_oracle and lowered.is_oracle


def test_the_others_do_not_look_at_the_labels():
    for kind in ("two_stage", "minimize_then_maximize", "maximize", "minimize", "none"):
        schedule = EntropySchedule(kind, 0.3, 0.1)
        assert not schedule.is_oracle
        assert all(schedule(step, 10, noisy=True) == schedule(step, 10) for step in range(10))
