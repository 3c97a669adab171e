# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""NaN, full memory, full disk and signals: one message, the right prompts, and nothing trained is lost."""

import errno
import os
import resource
import signal

import pytest
import torch
from fixtures.resuming import history
from transformers import TrainerCallback
from trl import GRPOTrainer

from mmr1_trl import MSSRConfig, MSSRTrainer, RLVRConfig, RLVRTrainer
from mmr1_trl.cli import main
from mmr1_trl.errors import BadInputError, Preempted, TrainingStopped
from mmr1_trl.trainers.guards import nonfinite
from mmr1_trl.trainers.guards.exhaustion import disk_is_full, part_of_step


GROUPS = {"num_generations": 2, "max_steps": 4}


def parameters_of(trainer):
    return [parameter.detach().clone() for parameter in trainer.model.parameters()]


class Snapshots(TrainerCallback):
    """The weights after every optimizer step."""

    def __init__(self):
        self.weights = []

    def on_step_end(self, args, state, control, model=None, **kwargs):
        self.weights.append([parameter.detach().clone() for parameter in model.parameters()])


@pytest.fixture
def rows(make_rows):
    rows = make_rows(16)
    return rows.add_column("prompt_id", [f"picture-{i:02d}" for i in range(16)])


@pytest.fixture
def poison(monkeypatch):
    """Make the log-probs of one row's completions NaN in the forward pass of the loss."""

    def poison(row):
        forward = GRPOTrainer._get_per_token_logps_and_entropies

        def poisoned(self, *args, **kwargs):
            logps, *others = forward(self, *args, **kwargs)
            if self.captured.phase == "loss":
                bad = self.captured.micro_batch["rows"].unsqueeze(1) == row
                logps = torch.where(bad, torch.nan, logps)
            return logps, *others

        monkeypatch.setattr(GRPOTrainer, "_get_per_token_logps_and_entropies", poisoned)

    return poison


# ---- Values that are not finite ----


def test_a_nan_stops_before_the_weights_change_and_names_its_prompt(make_trainer, rows, poison):
    poison(5)
    trainer = make_trainer(rows=rows, **GROUPS | {"max_steps": 8})
    snapshots = Snapshots()
    trainer.add_callback(snapshots)
    with pytest.raises(TrainingStopped) as stopped:
        trainer.train()
    message = str(stopped.value)
    assert "Found in the completions of prompt picture-05 (row 5)." in message
    assert f"Step {trainer.state.global_step + 1}: the log-ratio and the loss is not" in message
    assert "on_nonfinite='skip'" in message
    assert all(torch.equal(now, last) for now, last in zip(parameters_of(trainer), snapshots.weights[-1]))


@pytest.mark.parametrize(("config", "trainer_class"), [(RLVRConfig, RLVRTrainer), (MSSRConfig, MSSRTrainer)])
def test_a_skipped_step_changes_neither_weights_nor_optimizer(make_trainer, rows, poison, config, trainer_class):
    poison(5)
    options = GROUPS if config is RLVRConfig else {"max_steps": 4, "tracker_forgetting": "fixed", "beta": 0.0}
    trainer = make_trainer(
        trainer_class, config, rows=rows, on_nonfinite="skip", weight_decay=0.1,
        **options | {"max_steps": 8 if config is RLVRConfig else 4},
    )  # fmt: skip
    snapshots = Snapshots()
    trainer.add_callback(snapshots)
    start = parameters_of(trainer)
    trainer.train()
    skipped = [e["guard/skipped_steps"] for e in trainer.state.log_history if "guard/skipped_steps" in e]
    assert sum(skipped) == 1  # one epoch: the prompt comes once
    weights = [start, *snapshots.weights]
    for step, was_skipped in enumerate(skipped):
        same = all(torch.equal(a, b) for a, b in zip(weights[step], weights[step + 1]))
        assert same == bool(was_skipped), step
    steps = {int(state["step"]) for state in trainer.optimizer.state.values()}
    assert steps == {len(skipped) - 1}
    assert all(torch.isfinite(parameter).all() for parameter in trainer.model.parameters())


def overflow(trainer):
    next(p for p in trainer.model.parameters() if p.requires_grad).register_hook(lambda g: g * float("inf"))


def test_a_gradient_alone_is_found(make_trainer, rows):
    trainer = make_trainer(rows=rows, **GROUPS)
    overflow(trainer)
    with pytest.raises(TrainingStopped, match=r"Step 1: the gradient is not .* No completion stands out.*picture-"):
        trainer.train()


def test_skipping_for_ever_is_no_training(make_trainer, rows, monkeypatch):
    monkeypatch.setattr(nonfinite, "MAX_SKIPPED", 3)
    trainer = make_trainer(rows=rows, on_nonfinite="skip", **GROUPS)
    overflow(trainer)
    with pytest.raises(TrainingStopped, match="Step 3: .* in a row that is skipped"):
        trainer.train()
    assert trainer.state.global_step == 2


def test_a_kl_that_is_no_number_leaves_the_tracker_alone(make_trainer, rows):
    trainer = make_trainer(MSSRTrainer, MSSRConfig, rows=rows, max_steps=1, beta=0.05)
    trainer.kl.sums = torch.tensor([float("nan"), 4.0], dtype=torch.float64)
    kl = trainer.kl.finish()
    assert kl is None and not trainer.kl.sums.any()
    trainer.baseline.finish(kl)
    assert torch.isfinite(trainer.baseline._clock) and 0 < trainer.value_tracker.rho < 1


def test_skipping_is_refused_with_deepspeed(tmp_path):
    args = RLVRConfig(str(tmp_path), use_cpu=True, on_nonfinite="skip")
    with pytest.raises(BadInputError, match="DeepSpeed"):
        nonfinite.NonFiniteGuard(args, None, deepspeed=True)


# ---- No memory ----


def test_out_of_memory_says_what_to_turn(make_trainer, rows):
    def hungry(completions, trainer_state, **kwargs):
        if not trainer_state.max_steps:  # the trial before training
            return [0.0] * len(completions)
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore.")

    trainer = make_trainer(rows=rows, reward_funcs=hungry, max_pixels=200_000, **GROUPS)
    with pytest.raises(TrainingStopped) as stopped:
        trainer.train()
    message = str(stopped.value)
    for part in (
        "Out of memory in the rewards, after step 0: CUDA out of memory. Tried to allocate 2.00 GiB.",
        "micro-batch 4",
        "--per_device_train_batch_size 2 --steps_per_generation 2 --gradient_accumulation_steps 2",
        "--max_pixels 100000",
        "--max_completion_length 3",
        "no complete checkpoint yet",
    ):
        assert part in message, message


def test_the_traceback_tells_the_part_of_a_step():
    def _compute_loss(then):
        then()

    def backward():
        raise torch.OutOfMemoryError

    def forward():
        raise torch.OutOfMemoryError

    for then, part in ((backward, "the backward pass"), (forward, "the forward pass")):
        with pytest.raises(torch.OutOfMemoryError) as error:
            _compute_loss(then)
        assert part_of_step(error.value) == part


def test_the_command_line_prints_one_line_and_exits_with_3(monkeypatch, capsys):
    def stop(command, argv):
        raise TrainingStopped("Out of memory in generation.")

    monkeypatch.setattr("mmr1_trl.cli.commands.train.train", stop)
    assert main(["grpo"]) == 3
    assert capsys.readouterr().err == "mmr1: error: Out of memory in generation.\n"


# ---- No room on the disk ----


@pytest.mark.parametrize("limit", [200, 300_000, 900_000], ids=["state", "weights", "optimizer"])
def test_a_full_disk_leaves_the_last_checkpoint(make_trainer, tmp_path, monkeypatch, limit):
    options = GROUPS | {"save_strategy": "steps", "save_steps": 1, "save_total_limit": 1}
    whole = make_trainer(output_dir=str(tmp_path / "whole"), **options)
    whole.train()
    trainer = make_trainer(**options)
    rank_state = trainer.rank_state

    def limited():  # the first thing that a save asks for
        if trainer.state.global_step == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        return rank_state()

    monkeypatch.setattr(trainer, "rank_state", limited)
    try:
        with pytest.raises(TrainingStopped) as stopped:
            trainer.train()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    message = str(stopped.value)
    assert "The checkpoint of step 3 could not be written" in message
    assert "The last complete checkpoint, checkpoint-2, is untouched." in message
    assert [path.name for path in (tmp_path / "run").glob("checkpoint-*")] == ["checkpoint-2"]
    again = make_trainer(**options)
    again.train(resume_from_checkpoint=True)
    assert all(torch.equal(a, b) for a, b in zip(again.model.parameters(), whole.model.parameters()))


def test_a_full_disk_while_logging_is_one_message_too(make_trainer):
    class Full(TrainerCallback):
        def on_log(self, args, state, control, **kwargs):
            raise OSError(errno.ENOSPC, "No space left on device")

    trainer = make_trainer(**GROUPS)
    trainer.add_callback(Full())
    with pytest.raises(TrainingStopped, match="A file of the run could not be written to .*no space left"):
        trainer.train()


def test_which_errors_mean_a_full_disk():
    assert disk_is_full(OSError(errno.ENOSPC, "No space left on device")) == "no space left"
    assert disk_is_full(RuntimeError("I/O error: No space left on device (os error 28)")) == "no space left on device"
    assert disk_is_full(RuntimeError("[enforce fail] . PytorchStreamWriter failed writing file data/3")) is not None
    assert disk_is_full(OSError(errno.EACCES, "Permission denied")) is None
    assert disk_is_full(ValueError("shapes differ")) is None


# ---- Signals ----


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGUSR1, 138)])
def test_a_signal_saves_at_the_end_of_the_step_and_the_resumed_run_is_the_same(make_trainer, tmp_path, sent, code):
    before = signal.getsignal(sent)
    options = {
        "max_steps": 6, "save_strategy": "steps", "save_steps": 100, "steps_per_generation": 2, "logging_steps": 4,
        "gradient_accumulation_steps": 1, "tracker_forgetting": "fixed", "beta": 0.0, "encode_once": False,
    }  # fmt: skip
    calls = []

    def reward(completion_ids, **kwargs):
        calls.append(1)
        if len(calls) == 3:  # after the trial on two rows; in the third of six steps, in the middle of a window
            os.kill(os.getpid(), sent)
        return [float(sum(ids) % 2) for ids in completion_ids]

    trainer = make_trainer(MSSRTrainer, MSSRConfig, reward_funcs=reward, **options)
    with pytest.raises(Preempted) as preempted:
        trainer.train()
    assert preempted.value.code == code and preempted.value.checkpoint.endswith("run/checkpoint-3")
    assert signal.getsignal(sent) == before
    again = make_trainer(MSSRTrainer, MSSRConfig, reward_funcs=reward, **options)
    again.train(resume_from_checkpoint=True)
    whole = make_trainer(MSSRTrainer, MSSRConfig, reward_funcs=reward, output_dir=str(tmp_path / "whole"), **options)
    whole.train()
    assert [entry["step"] for entry in history(again, after=0)] == [4], "the signal broke an entry of the log in two"
    assert history(again, after=0) == history(whole, after=0)
    assert all(torch.equal(a, b) for a, b in zip(again.model.parameters(), whole.model.parameters()))
    for name, value in whole.value_tracker.state_dict().items():
        assert torch.equal(value, again.value_tracker.state_dict()[name]), name


def test_a_signal_in_the_last_step_is_the_end_of_training(make_trainer):
    def reward(completion_ids, trainer_state, **kwargs):
        if trainer_state.max_steps:  # not in the trial before training
            os.kill(os.getpid(), signal.SIGTERM)
        return [float(sum(ids) % 2) for ids in completion_ids]

    trainer = make_trainer(reward_funcs=reward, **GROUPS | {"max_steps": 1})
    assert trainer.train().global_step == 1


def test_a_signal_does_not_cut_the_last_save_short(tmp_path, make_trainer):
    """Beside the checkpoints there is the result; a kill in the middle of writing it would leave half a model."""
    from mmr1_trl.cli.commands.train import finish, parse_training

    trainer = make_trainer(**GROUPS | {"max_steps": 1, "save_strategy": "no"})
    saved = []

    def save_model(folder):
        os.kill(os.getpid(), signal.SIGTERM)
        saved.append(folder)

    trainer.save_model = save_model
    words = ["--model_name_or_path", "figures/tiny", "--output_dir", str(tmp_path / "run")]
    finish(trainer, parse_training("grpo", words), "figures")
    assert saved == [str(tmp_path / "run")] and (tmp_path / "run" / "README.md").is_file()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
