# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What a training prints: one line per log step, a summary at its end, and how many threads it computes on."""

import re

import pytest
import torch
from transformers import PrinterCallback, ProgressCallback, Trainer, TrainerControl, TrainerState, TrainingArguments

from mmr1_trl.cli import parts
from mmr1_trl.reporting.terminal import Bar, TrainingTable, duration, gain, use_table


LOGS = {
    "loss": 0.1,
    "reward": 0.25,
    "rewards/accuracy_reward/mean": 0.5,
    "entropy": 1.5,
    "num_tokens": 4000.0,
    "kl": 0.0,
}


def table_of(*all_logs, max_steps=100, main=True):
    state = TrainerState(max_steps=max_steps, is_world_process_zero=main)
    arguments, control = TrainingArguments("unused", use_cpu=True), TrainerControl()
    callback = TrainingTable()
    callback.on_train_begin(arguments, state, control)
    for step, logs in enumerate(all_logs, 1):
        state.global_step = step
        callback.on_log(arguments, state, control, logs=logs)


def test_a_log_step_is_one_line_of_the_main_metrics(capsys):
    evaluation = {"eval_reward": 0.75, "eval_loss": 0.0, "eval_entropy": 1.25}
    table_of(LOGS, LOGS | {"num_tokens": 9000.0}, evaluation, {"train_runtime": 3.0})
    titles, *lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert titles == ["step", "reward", "accuracy", "entropy", "tokens/s", "left"]
    assert [line[:4] for line in lines[:2]] == [["1", "0.250", "0.500", "1.500"], ["2", "0.250", "0.500", "1.500"]]
    assert all(float(line[4]) > 0 for line in lines[:2])
    assert lines[2:] == [["eval", "0.750", "1.250"]]


def test_a_step_without_a_generation_has_neither_rewards_nor_a_speed(capsys):
    table_of(LOGS, {"loss": 0.1, "entropy": 1.0}, LOGS | {"num_tokens": 9000.0})
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert len(lines[2]) == 4 and lines[2][:2] == ["2", "1.000"]
    assert len(lines[3]) == 7 and float(lines[3][4]) > 0


def test_titles_come_again_and_other_ranks_are_silent(capsys):
    table_of(*[LOGS] * 60)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()].count("step") == 3
    table_of(LOGS, main=False)
    assert capsys.readouterr().out == ""


def test_columns_stay_where_a_value_is_missing_or_huge(capsys):
    without = {name: value for name, value in LOGS.items() if name != "reward"}
    table_of(LOGS, without, LOGS | {"reward": -123456.789, "entropy": float("nan")})
    lines = capsys.readouterr().out.splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[3].split()[1] == "-1.23e+05" and "nan" in lines[3]


def test_it_takes_the_place_of_the_printed_dictionaries(tmp_path):
    for kind, bar in ((ProgressCallback, True), (PrinterCallback, False)):
        trainer = Trainer(torch.nn.Linear(1, 1), TrainingArguments(str(tmp_path), use_cpu=True, disable_tqdm=not bar))
        assert kind in map(type, trainer.callback_handler.callbacks)
        use_table(trainer.callback_handler)
        shown = [type(c) for c in trainer.callback_handler.callbacks]
        assert TrainingTable in shown and (Bar in shown) == bar and kind not in shown


def test_the_gain_is_between_tenths():
    history = [{"reward": float(i), "entropy": 2.0} for i in range(20)] + [{"eval_reward": 9.0}]
    assert gain(history) == "reward 0.500 -> 18.500, entropy 2.000 -> 2.000"
    assert gain(history[:1]) == ""


@pytest.mark.parametrize("seconds, said", [(12.4, "12 s"), (59.4, "59 s"), (185, "3:05"), (7800, "2:10:00")])
def test_durations(seconds, said):
    assert duration(seconds) == said


@pytest.mark.parametrize(
    "model, threads, wanted", [("figures/tiny", None, 1), ("figures/tiny", "2", 2), ("somebody/large", None, 2)]
)
def test_small_models_take_one_thread_unless_told(model, threads, wanted, monkeypatch, capsys):
    chosen = [2]
    monkeypatch.setattr(torch, "get_num_threads", lambda: chosen[-1])
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if threads:
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
    parts.spare_threads(model)
    assert chosen[-1] == wanted
    assert bool(re.search("One CPU thread", capsys.readouterr().out)) == (wanted == 1)
