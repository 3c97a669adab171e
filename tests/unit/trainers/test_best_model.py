# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The best checkpoint, a longer schedule after a resume, and options that TRL or transformers misread."""

from types import SimpleNamespace

import pytest
import torch
from transformers import TrainerCallback
from trl import ModelConfig

from mmr1_trl import RLVRConfig
from mmr1_trl.cli import main
from mmr1_trl.cli.parts import adapters
from mmr1_trl.errors import BadInputError
from mmr1_trl.evaluation.preflight import missing_extras
from mmr1_trl.rewards import accuracy_reward
from mmr1_trl.trainers.checkpoints.best import check_metric


EVALUATED = {"eval_strategy": "steps", "eval_steps": 1, "save_strategy": "steps", "save_steps": 1}


def of_the_users_own(completions, **kwargs):
    return [0.0] * len(completions)


def config(**options):
    return RLVRConfig(use_cpu=True, report_to="none", per_device_train_batch_size=8, **options)


@pytest.mark.parametrize("kept", [{"load_best_model_at_end": True} | EVALUATED, EVALUATED | {"save_strategy": "best"}])
def test_the_best_checkpoint_is_by_the_reward(kept):
    args = config(**kept)
    assert (args.metric_for_best_model, args.greater_is_better) == ("reward", True)
    args = config(**kept, metric_for_best_model="completions/mean_length", greater_is_better=False)
    assert (args.metric_for_best_model, args.greater_is_better) == ("completions/mean_length", False)
    assert config(**EVALUATED).metric_for_best_model is None


@pytest.mark.parametrize(
    ("metric", "rewards", "parts", "said"),
    [
        ("reward", [accuracy_reward], (), None),
        ("eval_rewards/accuracy_reward/mean", [accuracy_reward], (), None),
        ("rewards/unparsed_frac", [accuracy_reward], (), None),
        ("easy_reward", [accuracy_reward], ("easy", "hard"), None),
        ("anything", [of_the_users_own], (), None),  # it may log what it likes
        ("rewad", [accuracy_reward], (), "Did you mean 'reward'"),
        ("rewards/format_reward/mean", [accuracy_reward], (), "not among the metrics"),
        ("reward", [accuracy_reward], ("easy", "hard"), "There are: easy_loss, easy_reward"),
    ],
)
def test_a_metric_that_no_evaluation_logs_is_refused(metric, rewards, parts, said):
    args = SimpleNamespace(metric_for_best_model=metric, eval_strategy="steps")
    if said is None:
        check_metric(args, rewards, parts)
    else:
        with pytest.raises(BadInputError, match=said):
            check_metric(args, rewards, parts)


def test_an_unknown_metric_is_refused_before_the_model_and_before_the_first_step(make_trainer, make_rows):
    options = EVALUATED | {"num_generations": 2, "max_steps": 1, "eval_rows": make_rows(4), "save_strategy": "no"}
    with pytest.raises(BadInputError, match="Did you mean 'reward'"):
        make_trainer(reward_funcs=accuracy_reward, metric_for_best_model="rewad", **options)
    trainer = make_trainer(metric_for_best_model="of_my_own", **options)
    with pytest.raises(BadInputError, match="'of_my_own' is not among the metrics of the evaluation: .*reward"):
        trainer.train()


class Rates(TrainerCallback):
    def __init__(self):
        self.seen = {}

    def on_pre_optimizer_step(self, args, state, control, optimizer=None, **kwargs):
        self.seen[state.global_step + 1] = [group["lr"] for group in optimizer.param_groups]


def test_going_on_with_a_larger_max_steps_makes_its_first_step_with_the_new_schedules_rate(make_trainer, tmp_path):
    options = {"num_generations": 2, "save_strategy": "steps", "save_steps": 2, "learning_rate": 1e-3}
    whole, longer = Rates(), Rates()
    trainer = make_trainer(max_steps=4, **options | {"save_strategy": "no"}, output_dir=str(tmp_path / "whole"))
    trainer.add_callback(whole)
    trainer.train()
    make_trainer(max_steps=2, **options).train()
    trainer = make_trainer(max_steps=4, **options)
    trainer.add_callback(longer)
    before = {}

    class Weights(TrainerCallback):
        def on_step_begin(self, args, state, control, model=None, **kwargs):
            before[state.global_step] = next(model.parameters()).detach().clone()

    trainer.add_callback(Weights())
    trainer.train(resume_from_checkpoint=True)
    assert longer.seen == {step: whole.seen[step] for step in (3, 4)}  # bit for bit
    assert longer.seen[3][0] > 0 and not torch.equal(before[2], before[3])


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        (["q_proj"], {"q_proj"}),
        (["self_attn.q_proj"], {"self_attn.q_proj"}),
        (["q_proj", "v_proj"], {"q_proj", "v_proj"}),
        (["all-linear"], "all-linear"),
        ([r".*language_model.*\.q_proj"], r".*language_model.*\.q_proj"),
    ],
)
def test_one_name_of_a_module_is_a_name_and_no_pattern(given, taken):
    made = adapters(ModelConfig(use_peft=True, lora_target_modules=given))["peft_config"]
    assert made.target_modules == taken


def test_a_missing_dashboard_is_one_line(capsys):
    args = config()
    args.report_to = ["tensorboard", "comet_ml"]
    assert missing_extras(args, ModelConfig(), []) == [
        f"report_to needs {name}: pip install {name}" for name in ("tensorboard", "comet_ml")
    ]
    words = ["--model_name_or_path", "no/model", "--dataset_name", "no/rows", "--report_to", "tensorboard"]
    assert main(["mssr", *words]) == 2
    assert capsys.readouterr().err == "mmr1: error: report_to needs tensorboard: pip install tensorboard\n"
