# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Every combination of the switches trains, logs without clashes and resumes exactly in the middle of a window.

As a script it is one of two processes that go through most of them: `torchrun --nproc_per_node=2 FILE FOLDER`.
"""

import itertools
import math
import sys
from pathlib import Path

import pytest
import torch
from fixtures import forked
from fixtures.ranks import leave_together
from fixtures.trainers import build_trainer, picture_rows
from peft import LoraConfig

from mmr1_trl.cli.commands.train import parse_training
from mmr1_trl.trainers.checkpoints.state import state_of
from mmr1_trl.trainers.packing import installation


BASELINES = {
    "group": {"num_generations": 2},
    "tracker": {"num_generations": 1, "advantage_baseline": "value_tracker", "beta": 0.05, "entropy_shaping": True},
}
SAMPLING = {name: {"prompt_sampling": name} for name in ("uniform", "variance_aware", "uncertainty")}
SCHEDULES = {"none": {}, "two_stage": {"entropy_schedule": "two_stage", "switch_fraction": 0.5}}
WEIGHTS = {"lora": {"peft_config": LoraConfig(r=4, target_modules=["q_proj", "v_proj"])}, "full": {}}
TABLES = (BASELINES, SAMPLING, SCHEDULES, WEIGHTS)
COMBINATIONS = [
    names
    for names in itertools.product(*TABLES)
    if names[:2] != ("group", "uncertainty")  # it draws by the tracker
]
# In these the choices of any three switches all occur; one process tries the choices of all four.
ON_TWO_PROCESSES = [
    names
    for names in COMBINATIONS
    if names[1] == "uncertainty" or sum(list(table).index(name) for table, name in zip(TABLES, names)) % 2 == 0
]
PREFIXES = {"tracker": "mssr/", "variance_aware": "vas/", "uncertainty": "vas/", "two_stage": "entropy/"}
TIMES = {"train_runtime", "train_samples_per_second", "train_steps_per_second", "step_time", "train_loss"}


def history(trainer):
    """What was logged, without what it took: times, and the pictures that a resumed run encodes again."""
    entries = [entry for entry in trainer.state.log_history if "loss" in entry]
    return [{k: v for k, v in e.items() if k not in TIMES and not k.startswith("vision/")} for e in entries]


def check_combination(names, folder, processes=1):
    options = {
        "max_steps": 4, "save_strategy": "steps", "save_steps": 3, "steps_per_generation": 2,
        "gradient_accumulation_steps": 1, "max_completion_length": 4, "rows": picture_rows(8),
        "per_device_train_batch_size": 4 // processes,
    }  # fmt: skip
    for table, name in zip(TABLES, names):
        options |= table[name]
    if processes > 1 and names[:2] == ("group", "uniform"):
        options["num_generations"] = 8  # a group of which each process has half

    whole = build_trainer(output_dir=str(folder / "whole"), **options)
    start = {name: p.detach().clone() for name, p in whole.model.named_parameters()}
    whole.train()
    entries = history(whole)
    assert names[0] == "tracker" or whole.sharing.computed < whole.sharing.asked
    assert len(entries) == 4 and all(math.isfinite(e["loss"]) for e in entries)
    assert any(e["grad_norm"] > 0 for e in entries)  # not each: the two rollouts of a group may be worth the same
    moved = {name for name, p in whole.model.named_parameters() if not torch.equal(p, start[name])}
    assert moved and all(("lora_" in name) == (names[3] == "lora") for name in moved)

    logged = set().union(*entries)
    for prefix in set(PREFIXES.values()):
        expected = any(PREFIXES.get(name) == prefix for name in names)
        assert any(key.startswith(prefix) for key in logged) == expected, prefix
    if names[2] == "two_stage":
        assert [entry["entropy/stage"] for entry in entries] == [1, 1, 2, 2]

    # Step 3 is in the middle of the second generation batch. The second trainer starts from other weights, so that
    # nothing but the checkpoint can make it equal.
    resumed = build_trainer(output_dir=str(folder / "resumed"), **options)
    with torch.no_grad():
        for name, parameter in resumed.model.named_parameters():
            if names[3] == "full" or "lora_" in name:
                parameter.add_(0.1)
    resumed.train(resume_from_checkpoint=str(folder / "whole" / "checkpoint-3"))
    assert history(resumed) == entries
    for (name, mine), other in zip(resumed.model.named_parameters(), whole.model.parameters()):
        assert torch.equal(mine, other), name
    (plain, tensors), (again, others) = state_of(whole.shared_parts()), state_of(resumed.shared_parts())
    assert again == plain
    for name, value in others.items():
        torch.testing.assert_close(value, tensors[name], rtol=0, atol=0, equal_nan=True, msg=name)


@pytest.fixture(autouse=True)
def pack_the_smallest(monkeypatch):
    monkeypatch.setattr(installation, "TOKENS_SPARED", 0)


@pytest.mark.parametrize("names", COMBINATIONS, ids="-".join)
def test_combination_trains_logs_and_resumes(tmp_path, names):
    check_combination(names, tmp_path)


@pytest.mark.slow
def test_combinations_on_two_processes(tmp_path):
    assert all(
        {tuple(names[i] for i in three) for names in ON_TWO_PROCESSES}
        == {tuple(names[i] for i in three) for names in COMBINATIONS}
        for three in itertools.combinations(range(4), 3)
    )
    result = forked.run(*forked.ON_TWO, __file__, tmp_path, cwd=Path(__file__).parents[1])
    assert result.stdout.count("trained and resumed") == 2 * len(ON_TWO_PROCESSES)


def test_the_shipped_config_turns_all_three_switches():
    _, config, _ = parse_training("mssr", ["--config", "figures/all_three", "--bf16", "false", "--use_cpu"]).build()
    switches = (config.advantage_baseline, config.prompt_sampling, config.entropy_schedule)
    assert switches == ("value_tracker", "variance_aware", "two_stage")
    assert config.entropy_shaping and config.num_generations == 1


def go_through_all(folder):
    """What each of the two processes does."""
    installation.TOKENS_SPARED = 0
    for names in ON_TWO_PROCESSES:
        check_combination(names, folder / "-".join(names), processes=2)
        print("-".join(names), "trained and resumed", flush=True)
    leave_together()


if __name__ == "__main__":
    go_through_all(Path(sys.argv[1]))
