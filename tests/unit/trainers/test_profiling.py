# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""A profile gives every second to one part, and names the parts that took place."""

import inspect
import json
import threading
import time

import pytest
from trl import GRPOTrainer
from trl.extras.profiling import ProfilingContext

from mmr1_trl import MSSRConfig, MSSRTrainer
from mmr1_trl.cli import main
from mmr1_trl.cli.config_file import method_of_config
from mmr1_trl.reporting.profile import draw_profile, profile_table
from mmr1_trl.trainers import profiling
from mmr1_trl.trainers.profiling import FORWARD, PARTS, TRL_PARTS, StepTimer


def test_times_are_exclusive(monkeypatch):
    clock = iter([0.0, 1.0, 3.0, 6.0, 10.0, 15.0])
    monkeypatch.setattr(profiling.time, "perf_counter", lambda: next(clock))
    peaks = iter([5, 1, 9, 2, 3])
    timer = StepTimer(lambda: next(peaks))
    timer.enter("forward")  # at 1
    timer.enter("vision")  # at 3
    timer.leave()  # at 6
    timer.leave()  # at 10
    timer.settle()  # at 15
    assert timer.seconds == {"other": 1 + 5, "forward": 2 + 4, "vision": 3}
    assert timer.peaks == {"other": 5, "forward": 2, "vision": 9}
    assert timer.calls == {"forward": 1, "vision": 1}


def test_other_threads_are_not_the_step():
    timer = StepTimer(lambda: 0)
    thread = threading.Thread(target=timer.timed("data", lambda: time.sleep(0.01)))
    thread.start()
    thread.join()
    assert "data" not in timer.seconds and timer._stack == ["other"]


def test_the_parts_of_a_step_sum_to_its_wall_time(make_trainer, tmp_path):
    enter = ProfilingContext.__enter__
    trainer = make_trainer(
        MSSRTrainer, MSSRConfig, max_steps=6, beta=0.05, steps_per_generation=2, gradient_accumulation_steps=1
    )
    measured = trainer.step_profile(warm_up=2)
    with measured.measuring():
        trainer.train()
    assert ProfilingContext.__enter__ is enter and "read" not in vars(trainer.reader)
    summary = measured.summary()
    assert [step["step"] for step in measured.steps] == [3, 4, 5, 6]
    for step in measured.steps:
        assert sum(step["seconds"].values()) == pytest.approx(step["wall"], rel=0.02)
    assert sum(part["share"] for part in summary["parts"].values()) == pytest.approx(1.0, rel=0.02)
    expected = {
        "data", "pre-processing", "generation", "vision", "rewards", "old and reference log-probs", "scoring",
        "batches", "forward", "loss", "backward", "optimizer", "logging", "other",
    }  # fmt: skip
    assert set(summary["parts"]) == expected <= set(PARTS)
    logged = [entry for entry in trainer.state.log_history if "tokens/asked" in entry]
    assert summary["tokens"]["asked"] == sum(entry["tokens/asked"] for entry in logged[2:]) / 4 > 0
    assert summary["parts"]["backward"]["calls"] == 1 and summary["parts"]["generation"]["calls"] == 0.5
    assert "generation" in measured.steps[0]["seconds"] and "generation" not in measured.steps[1]["seconds"]
    assert summary["parts"]["other"]["share"] < 0.5
    assert all(part["peak"] > 0 for part in summary["parts"].values())
    draw_profile(summary, tmp_path / "profile.png", "test")
    assert (tmp_path / "profile.png").read_bytes().startswith(b"\x89PNG")
    assert profile_table(summary, PARTS).row_count == len(expected)


def test_trl_still_times_what_we_listen_to():
    from trl.trainer import grpo_trainer

    source = inspect.getsource(grpo_trainer)
    for name in TRL_PARTS:
        timed = f'profiling_context(self, "{name}")' in source or hasattr(
            getattr(GRPOTrainer, name, None), "__wrapped__"
        )
        assert timed, name
    assert hasattr(getattr(GRPOTrainer, FORWARD), "__wrapped__")


def test_the_config_says_which_method(tmp_path):
    assert method_of_config(["--config", "figures/mvsr"]) == "mssr"
    assert method_of_config(["--config", "qwen2_5_vl_3b/vas_paper"]) == "vas"
    assert method_of_config(["--config", "figures/two_stage"]) == "two-stage"
    # What a comment mentions decides nothing.
    (tmp_path / "mine.yaml").write_text("# compare with mmr1 grpo\n\nmethod: vas\nseed: 1\n")
    assert method_of_config(["--config", str(tmp_path / "mine.yaml")]) == "vas"
    (tmp_path / "mine.yaml").write_text("# mmr1 grpo\n\nseed: 1\n")
    assert method_of_config(["--config", str(tmp_path / "mine.yaml")]) is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--steps", "4"], "Say which method to profile: mmr1 profile grpo|mssr|vas|two-stage"),
        (["mssr", "--steps", "0"], "--steps must be at least 1"),
        (["mssr", "--steps", "many"], "invalid int value"),
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
        (["mssr", "--stepz", "4", "--config", "figures/mssr"], "stepz"),
    ],
)
def test_wrong_words_are_refused(capsys, words, message):
    assert main(["profile", *words]) == 2
    assert message in capsys.readouterr().err


def test_help_is_short(capsys):
    assert main(["profile", "--help"]) == 0
    assert "--steps N" in capsys.readouterr().out


@pytest.mark.slow
def test_profile_through_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["profile", "--config", "figures/mssr", "--model_name_or_path", "figures/tiny", "--steps", "1"]
    words += ["--per_device_train_batch_size", "8", "--num_train_rows", "32", "--max_completion_length", "4"]
    words += ["--eval_strategy", "steps", "--eval_on_start", "true"]  # of a run, which a profile is not
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "old and reference log-probs" in printed and "mean of 2 steps" in printed  # one generation batch
    numbers = json.loads((tmp_path / "runs/profile/profile.json").read_text())
    assert numbers["parts"]["backward"]["seconds"] > 0
    assert sorted(path.name for path in (tmp_path / "runs/profile").iterdir()) == ["profile.json", "profile.png"]
