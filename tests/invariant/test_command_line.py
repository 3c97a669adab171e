# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Through the command line: two processes equal one, and a killed and resumed run equals the undisturbed one."""

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch
from fixtures import forked
from fixtures.forked import Forked, Started
from safetensors.torch import load_file

from mmr1_trl.run_folder import COMPLETE, list_checkpoints


pytestmark = pytest.mark.slow

REWARD = """
def by_tokens(completion_ids, solution, **kwargs):
    return [float((sum(ids) + len(gold)) % 3 == 0) for ids, gold in zip(completion_ids, solution)]


def some_unscored(completion_ids, **kwargs):
    return [None if sum(ids) % 3 == 1 else float(sum(ids) % 3) / 2 for ids in completion_ids]
"""

COMMON = [
    "--model_name_or_path", "figures/tiny", "--num_train_rows", "24", "--reward_funcs", "my_reward.by_tokens",
    "--max_completion_length", "6", "--logging_steps", "1", "--report_to", "none", "--disable_tqdm", "true",
    "--learning_rate", "1e-3", "--beta", "0.05", "--steps_per_generation", "2", "--gradient_accumulation_steps", "1",
]  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "my_reward.py").write_text(REWARD)
    monkeypatch.setenv("MMR1_HOME", str(tmp_path / "home"))
    return tmp_path


def mmr1(*words):
    return ["-m", "mmr1_trl.cli", *words]


def run(folder, *words):
    return forked.run(*mmr1(*words), cwd=folder)


def losses(output_dir):
    history = json.loads((output_dir / "trainer_state.json").read_text())["log_history"]
    return [(entry["step"], entry["loss"], entry["grad_norm"]) for entry in history if "loss" in entry]


def final_state(output_dir):
    return load_file(list_checkpoints(output_dir)[-1] / "rlvr_state.safetensors")


def test_two_processes_equal_one(folder):
    # Greedy sampling, because each process has its own random numbers; SGD, because Adam blows up rounding; updates
    # over the whole generation batch, because TRL shuffles it over its micro-batches within each process.
    options = [
        "--max_steps", 6, "--save_steps", 6, "--top_k", 1, "--optim", "sgd", "--learning_rate", "0.5",
        "--steps_per_generation", 1, "--num_iterations", 2,
    ]  # fmt: skip
    run(folder, "mssr", *COMMON, *options, "--output_dir", "one", "--per_device_train_batch_size", 4)
    two = mmr1(
        "mssr", *COMMON, *options, "--output_dir", "two", "--per_device_train_batch_size", 2, "--num_processes", 2
    )
    done = Started(*two, cwd=folder).finish()  # to the end of three interpreters
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = load_file(folder / "one/model.safetensors"), load_file(folder / "two/model.safetensors")
    start = load_file(next((folder / "home").rglob("model.safetensors")))
    assert any(not torch.equal(one[name], start[name]) for name in one)
    for name in one:
        torch.testing.assert_close(one[name], two[name], atol=2e-5, rtol=1e-4)
    one, two = final_state(folder / "one"), final_state(folder / "two")
    for name, tolerance in {"alpha": 1e-4, "beta": 1e-4, "visits": 0.0, "kl_window": 1e-6}.items():
        name = f"baseline.tracker.{name}"
        relative = 1e-3 if name.endswith("kl_window") else 0.0
        # rho follows a float KL
        torch.testing.assert_close(one[name], two[name], atol=tolerance, rtol=relative, msg=name)


def test_two_processes_equal_one_with_an_entropy_schedule(folder):
    # Completions without a reward are masked, so that the two processes hold different numbers of tokens.
    options = [
        "--entropy_schedule", "two_stage", "--switch_fraction", 0.5, "--explore_coef", 0.5, "--exploit_coef", 0.5,
        "--max_steps", 4, "--top_k", 1, "--optim", "sgd", "--learning_rate", 0.5, "--max_grad_norm", 0,
        "--steps_per_generation", 1, "--reward_funcs", "my_reward.some_unscored", "--save_strategy", "no",
    ]  # fmt: skip
    run(folder, "mssr", *COMMON, *options, "--output_dir", "one", "--per_device_train_batch_size", 8)
    run(
        folder, "mssr", *COMMON, *options, "--output_dir", "two", "--per_device_train_batch_size", 4,
        "--num_processes", 2,
    )  # fmt: skip
    one, two = (
        [e for e in json.loads((folder / name / "trainer_state.json").read_text())["log_history"] if "loss" in e]
        for name in ("one", "two")
    )
    assert [entry["entropy/coef"] for entry in one] == [0.5, 0.5, -0.5, -0.5]
    assert any(e["entropy/response_mean"] < 0.9 * e["entropy/token_mean"] for e in one), "nothing was masked"
    for name in (
        "grad_norm",
        "entropy",
        *(key for key in one[0] if key.startswith("entropy/") and "share" not in key),
    ):
        assert [e[name] for e in one] == pytest.approx([e[name] for e in two], rel=1e-4), name
    one, two = load_file(folder / "one/model.safetensors"), load_file(folder / "two/model.safetensors")
    for name in one:
        torch.testing.assert_close(one[name], two[name], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("seed", [0, 1])
def test_killed_and_resumed_equals_undisturbed(folder, seed):
    options = [
        "--max_steps", 12, "--save_steps", 1, "--per_device_train_batch_size", 4,
        "--seed", seed,
    ]  # fmt: skip
    run(folder, "mssr", *COMMON, *options, "--output_dir", "whole")
    dice = random.Random(seed)
    output_dir = folder / "killed"
    words = mmr1("mssr", *COMMON, *options, "--output_dir", "killed")
    for _ in range(2):
        resume = ["--resume_from_checkpoint", "true"] if usable(output_dir) else []
        before = len(usable(output_dir))
        process = Forked(*words, *resume, cwd=folder)
        deadline = time.monotonic() + 120
        while len(usable(output_dir)) <= before and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(dice.random() * 0.5)  # in the middle of a step or of a save
        process.send_signal(signal.SIGKILL)
        assert process.finish().returncode in (-signal.SIGKILL, 0), process.printed()
    assert usable(output_dir), "the run was killed before anything could be resumed"
    run(folder, "mssr", *COMMON, *options, "--output_dir", "killed", "--resume_from_checkpoint", "true")
    whole, killed = load_file(folder / "whole/model.safetensors"), load_file(folder / "killed/model.safetensors")
    assert all(torch.equal(whole[name], killed[name]) for name in whole)
    whole, killed = final_state(folder / "whole"), final_state(folder / "killed")
    assert all(torch.equal(whole[name], killed[name]) for name in whole)
    assert losses(folder / "whole") == losses(folder / "killed")


def test_two_processes_resume_in_the_middle_of_a_window(folder):
    options = ["--max_steps", 6, "--save_steps", 3, "--per_device_train_batch_size", 2, "--num_processes", 2]
    run(folder, "mssr", *COMMON, *options, "--output_dir", "whole")
    (folder / "part").mkdir()
    os.rename(folder / "whole/checkpoint-3", folder / "part/checkpoint-3")
    run(folder, "mssr", *COMMON, *options, "--output_dir", "part", "--resume_from_checkpoint", "true")
    whole, part = load_file(folder / "whole/model.safetensors"), load_file(folder / "part/model.safetensors")
    assert all(torch.equal(whole[name], part[name]) for name in whole)
    alone = ["--max_steps", 6, "--per_device_train_batch_size", 4, "--resume_from_checkpoint", "part/checkpoint-3"]
    refused = Forked(*mmr1("mssr", *COMMON, *alone, "--output_dir", "alone"), cwd=folder).finish()
    assert refused.returncode == 2 and "processes was 2, now 1" in refused.stderr, refused.stderr[-2000:]


def usable(output_dir: Path) -> list[Path]:
    return [path for path in list_checkpoints(output_dir) if (path / COMPLETE).is_file()]
