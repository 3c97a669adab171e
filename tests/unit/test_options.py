# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""All options of our own, by the class that has them: an option more has to be wanted, and is added here by hand."""

import copy
import dataclasses
import pickle

import pytest
import yaml
from trl import GRPOConfig

from mmr1_trl import MSSRConfig, RLVRConfig, TwoStageEntropyConfig, VASConfig
from mmr1_trl.cli.arguments import EvalArguments, RLArguments, SFTArguments, SourceArguments
from mmr1_trl.cli.commands.train import parse_training
from mmr1_trl.errors import BadInputError
from mmr1_trl.trainers.checkpoints.gone_options import GONE
from mmr1_trl.trainers.scorer import ScoreConfig


# class -> (the class whose options it extends, its own options). A new one needs a measurement that shows its worth.
OPTIONS = {
    RLVRConfig: (GRPOConfig, """
        advantage_baseline tracker_forgetting tracker_rho_min tracker_rho_max tracker_target_kl tracker_kl_window
        tracker_kl_source tracker_initial_value tracker_initial_rollouts tracker_smoothing tracker_success_threshold
        entropy_shaping shaping_alpha shaping_kappa entropy_source negatives
        prompt_sampling prompt_scores vas_refresh vas_update_steps vas_rollouts vas_weighted_fraction
        vas_outcome_weight vas_diversity_weight vas_diversity_metric vas_variant
        entropy_schedule explore_coef exploit_coef switch_fraction entropy_low entropy_high entropy_alarm
        share_prompts group_coherent freeze_vision_tower freeze_merger encode_once min_pixels max_pixels coordinates
        label_noise label_noise_seed on_bad_row on_nonfinite on_mismatch verbose_metrics
    """),
    MSSRConfig: (RLVRConfig, ""),
    VASConfig: (RLVRConfig, ""),
    TwoStageEntropyConfig: (RLVRConfig, ""),
    ScoreConfig: (RLVRConfig, "save_completions min_pass_rate max_pass_rate"),
    SourceArguments: (object, """
        dataset_name dataset_config dataset_revision dataset_train_split dataset_test_split num_train_rows
        num_eval_rows figures_families figures_levels figures_seed image_root
    """),
    SFTArguments: (SourceArguments, "figures_traces prompt_column image_column"),
    RLArguments: (SourceArguments, """
        datasets prompt_column image_column answer_column options_column question answer_type answer_index answer_lists
        box_format
        gold_coordinates tolerance max_prompt_tokens prompt_style reward_funcs
    """),
    EvalArguments: (object, """
        model model_revision dataset_name dataset_revision benchmarks benchmarks_folder dataset_config dataset_split
        datasets
        num_rows figures_families figures_levels figures_seed prompt_column image_column answer_column options_column
        image_root prompt_style num_samples temperature max_new_tokens batch_size seed by answer_index answer_lists
        box_format
        gold_coordinates coordinates min_pixels max_pixels dtype trust_remote_code use_cpu use_vllm
        vllm_gpu_memory_utilization vllm_tensor_parallel_size vllm_max_model_length export output_dir
    """),
}  # fmt: skip


@pytest.mark.parametrize("cls", OPTIONS, ids=lambda cls: cls.__name__)
def test_options_are_those_of_the_table(cls):
    base, names = OPTIONS[cls]
    inherited = {field.name for field in dataclasses.fields(base)} if base is not object else set()
    assert {field.name for field in dataclasses.fields(cls)} - inherited == set(names.split())


@pytest.mark.parametrize("name", GONE)
def test_options_that_are_gone_are_told_apart_from_unknown_ones(name, tmp_path):
    default, instead = GONE[name]
    say = rf"{name}=.*the option {name} is gone\. {instead.split('(')[0][:20]}"
    path = tmp_path / "old.yaml"
    for words in ([f"--{name}", "7"], [f"--{name.replace('_', '-')}=x"]):
        with pytest.raises(BadInputError, match=say):
            parse_training("vas", words)
    path.write_text(yaml.safe_dump({name: 7}))
    with pytest.raises(BadInputError, match=say):
        parse_training("vas", ["--config", str(path)])
    with pytest.raises(BadInputError, match=say):
        VASConfig("x", use_cpu=True, **{name: default})
    # The settings of an old run hold it at its default.
    path.write_text(yaml.safe_dump({name: default, "seed": 3}))
    settings = parse_training("vas", ["--config", str(path), f"--{name}", str(default)])
    assert settings.values["seed"] == 3 and name not in settings.values


def test_value_that_is_gone():
    with pytest.raises(BadInputError, match="vas_refresh='subset' is gone. Take vas_refresh='online'"):
        VASConfig("x", use_cpu=True, vas_refresh="subset")


def test_saved_arguments_of_old_runs_load():
    config = VASConfig("x", use_cpu=True, per_device_train_batch_size=16)
    config.__dict__ |= {name: default for name, (default, _) in GONE.items()}  # as its `training_args.bin` has them
    again = pickle.loads(pickle.dumps(config))
    assert again.vas_momentum == 0.0 and copy.deepcopy(again).to_run_identity() == config.to_run_identity()
