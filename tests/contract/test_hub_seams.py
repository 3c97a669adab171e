# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What the uploads rely on in transformers: when it pushes, what it waits for, and what it pickles."""

import inspect
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import torch
from transformers import Trainer, TrainingArguments
from transformers.utils import PushInProgress
from trl import GRPOTrainer, SFTTrainer

from mmr1_trl.trainers.checkpoints.resume import ResumableTrainer
from mmr1_trl.trainers.checkpoints.uploads import SafePushes
from mmr1_trl.trainers.sft import SupervisedTrainer


def test_saving_pushes_by_the_method_that_is_replaced_and_only_when_asked_to():
    source = inspect.getsource(Trainer._save_checkpoint)
    assert "if self.args.push_to_hub:\n            self._push_from_checkpoint(output_dir)" in source
    assert source.index("_push_from_checkpoint") < source.index("rotate_checkpoints")
    assert list(inspect.signature(Trainer._push_from_checkpoint).parameters) == ["self", "checkpoint_folder"]
    for name in ("_push_from_checkpoint", "init_hf_repo", "push_to_hub"):
        for trainer in (ResumableTrainer, SupervisedTrainer):
            assert getattr(trainer, name) is getattr(SafePushes, name)
        assert name not in vars(GRPOTrainer) and name not in vars(SFTTrainer)


def test_the_repository_is_opened_in_the_constructor_and_uploads_are_waited_for_at_the_end():
    assert "if self.args.push_to_hub:\n            self.init_hf_repo()" in inspect.getsource(Trainer.__init__)
    assert "self._finish_current_push()" in inspect.getsource(Trainer)
    release = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        pushes = PushInProgress()
        assert pushes.is_done()
        pushes.jobs += [pool.submit(release.wait, 30)]
        assert not pushes.is_done()
        threading.Timer(0.2, release.set).start()
        Trainer._finish_current_push(SimpleNamespace(push_in_progress=pushes))
        assert pushes.is_done()


def test_the_pickled_arguments_hold_the_token(tmp_path):
    """The reason why `training_args.bin` never goes up. Once this fails, that can be thought over."""
    token = "hf_" + "a" * 34
    torch.save(TrainingArguments(output_dir=str(tmp_path), hub_token=token), tmp_path / "training_args.bin")
    assert token.encode() in (tmp_path / "training_args.bin").read_bytes()
