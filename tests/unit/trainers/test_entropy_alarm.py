# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The alarm on token entropy."""

import logging

import pytest
from transformers import TrainerControl, TrainerState
from transformers.utils import logging as transformers_logging

from mmr1_trl import RLVRConfig
from mmr1_trl.errors import BadInputError
from mmr1_trl.trainers.guards.entropy_alarm import EntropyAlarm


SMALL = {"num_generations": 2, "max_completion_length": 4, "max_steps": 3}


@pytest.fixture
def warnings(caplog, monkeypatch):
    monkeypatch.setattr(transformers_logging.get_logger("transformers"), "propagate", True)
    caplog.set_level(logging.WARNING)
    return lambda: [r.getMessage() for r in caplog.records if "token entropy" in r.getMessage()]


def test_each_departure_from_the_band_is_told_once(warnings):
    alarm, control = EntropyAlarm(low=1.0, high=3.0), TrainerControl()
    for step, entropy in enumerate([2.0, 0.9, 0.5, 2.0, 3.5, float("nan"), None, 1.0, 3.0]):
        alarm.on_log(None, TrainerState(global_step=step), control, {"entropy": entropy})
    alarm.on_log(None, TrainerState(global_step=9), control, {"eval_entropy": 9.0})
    assert [message.split(":")[0] for message in warnings()] == ["Step 1", "Step 4"]
    assert not control.should_training_stop and not control.should_save


@pytest.mark.parametrize(("low", "high"), [(None, 2.0), (2.0, None)])
def test_one_side_may_be_open(warnings, low, high):
    alarm = EntropyAlarm(low, high)
    for entropy in (1.0, 3.0):
        alarm.on_log(None, TrainerState(), TrainerControl(), {"entropy": entropy})
    assert len(warnings()) == 1


def test_a_run_says_where_the_completions_are_and_stops_with_a_checkpoint(make_trainer, tmp_path, warnings):
    trainer = make_trainer(
        entropy_low=100.0, entropy_alarm="stop", log_completions=True, num_completions_to_print=0, **SMALL
    )
    trainer.train()
    assert trainer.state.global_step == 1
    assert (tmp_path / "run" / "checkpoint-1" / "rlvr_complete.json").is_file()
    table = tmp_path / "run" / "completions" / "completions_00001.parquet"
    assert table.is_file()
    (message,) = warnings()
    assert "Step 1" in message and str(table) in message and "training stops" in message


def test_a_run_inside_the_band_is_left_alone(make_trainer, warnings):
    trainer = make_trainer(entropy_low=0.0, entropy_high=100.0, entropy_alarm="stop", **SMALL)
    trainer.train()
    assert trainer.state.global_step == 3 and not warnings()


@pytest.mark.parametrize(
    "options", [{"entropy_low": 2.0, "entropy_high": 1.0}, {"entropy_alarm": "stop"}, {"entropy_alarm": "ring"}]
)
def test_bad_settings(tmp_path, options):
    with pytest.raises(BadInputError, match="entropy_"):
        RLVRConfig(output_dir=str(tmp_path), use_cpu=True, num_generations=2, **options)
