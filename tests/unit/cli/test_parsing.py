# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""YAML and command line become settings, or one clear message."""

import os
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError

import pytest

from mmr1_trl.cli.parsing import Settings, parse
from mmr1_trl.errors import BadInputError


def load_classes():
    from trl import ModelConfig

    from mmr1_trl.cli.arguments import RLArguments
    from mmr1_trl.trainers.mssr import MSSRConfig

    return RLArguments, MSSRConfig, ModelConfig


def settings_of(*argv):
    return parse("mssr", list(argv), load_classes)


@pytest.fixture
def write(tmp_path):
    def write_config(text):
        path = tmp_path / "config.yaml"
        path.write_text(text)
        return str(path)

    return write_config


def test_command_line_wins_over_yaml_which_wins_over_the_default(write):
    path = write("learning_rate: 1.0e-5\nbeta: 0.5\nreward_funcs: [accuracy_reward, format_reward]\n")
    settings = settings_of("--config", path, "--beta", "0.25", "--use_cpu", "--bf16", "false")
    data_args, config, model_args = settings.build()
    assert (config.learning_rate, config.beta, config.epsilon) == (1e-5, 0.25, 0.2)
    assert data_args.reward_funcs == ["accuracy_reward", "format_reward"]
    assert model_args.model_name_or_path is None
    assert [settings.origin(name) for name in ("learning_rate", "beta", "epsilon")] == [
        path,
        "command line",
        "default",
    ]


def test_yaml_values_are_read_like_words_of_the_command_line(write):
    path = write(
        "learning_rate: 1e-5\n"  # YAML 1.1 reads this as a string
        "eval_strategy: no\n"  # and this as false
        "max_steps: -1\n"
        "entropy_shaping: false\n"
        "figures_levels: [1, 2]\n"
        "model_init_kwargs: {use_cache: false}\n"
        "scale_rewards: false\n"
        "max_pixels: null\n"
        "reward_weights: [0.5, -0.5]\n"
    )
    data_args, config, _ = settings_of("--config", path, "--use_cpu", "--bf16=false").build()
    assert config.learning_rate == 1e-5
    assert config.eval_strategy.value == "no"
    assert config.max_steps == -1
    assert config.entropy_shaping is False
    assert data_args.figures_levels == [1, 2]
    assert config.model_init_kwargs == {"use_cache": False}
    assert config.scale_rewards == "none"
    assert config.max_pixels is None
    assert config.reward_weights == [0.5, -0.5]


def test_hyphens_and_negated_flags_work_as_in_trl():
    settings = settings_of("--learning-rate", "1e-4", "--no_entropy_shaping", "--max_pixels", "none")
    assert settings.values == {"learning_rate": 1e-4, "entropy_shaping": False, "max_pixels": None}


def test_the_environment_mapping_is_set(write, monkeypatch):
    monkeypatch.setenv("MMR1_TRL_TEST_VARIABLE", "before")
    settings_of("--config", write("env: {MMR1_TRL_TEST_VARIABLE: 1}\nbeta: 0.5\n"))
    assert os.environ["MMR1_TRL_TEST_VARIABLE"] == "1"


def test_flags_of_accelerate_launch_pass_through(write):
    path = write("num_processes: 4\nbeta: 0.1\n")
    settings = settings_of("--config", path, "--num_processes=2", "--main_process_port", "29501", "--beta", "0.2")
    assert settings.launch_args == ["--num_processes", "4", "--num_processes=2", "--main_process_port", "29501"]
    assert settings.values == {"beta": 0.2}


def test_accelerate_config_takes_presets_and_paths(write):
    preset = settings_of("--accelerate_config", "zero2").launch_args
    assert preset[0] == "--config_file" and preset[1].endswith("accelerate_configs/zero2.yaml")
    path = write("num_processes: 1\n")
    assert settings_of("--accelerate_config", path).launch_args == ["--config_file", path]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--learning_rat", "1"], ["'learning_rat'", "'learning_rate'"]),
        (["--learning", "1"], ["'learning'", "'learning_rate'"]),  # argparse would take it as an abbreviation
        (["--num_proceses", "2"], ["'num_processes'"]),
        (["figures/mssr"], ["'figures/mssr'", "--config"]),
        (["--num_generations", "many"], ["num_generations", "'many'"]),
        (["--box_format", "center"], ["box_format", "'xywh'"]),
        (["--config"], ["--config"]),
        (["--config", "figure/mssr"], ["'figure/mssr'", "'figures/mssr'", "mmr1 configs ls"]),
        (["--config", "missing.yaml"], ["'missing.yaml'", "neither a file nor a shipped config"]),
        (["--accelerate_config", "zero9"], ["'zero9'", "'zero", "fsdp2"]),
        (["--model", "x"], ["'model'", "'model_name_or_path'"]),
        (["--chat_template_kwargs", "3"], ["--chat_template_kwargs", "JSON object", "'3'"]),
        (["--model_init_kwargs", "{a: 1"], ["--model_init_kwargs", "JSON object", "'{a: 1'"]),
        (["--liger_kernel_config", "[1]"], ["--liger_kernel_config", "JSON object"]),
        (["--deepspeed", "nowhere.json"], ["--deepspeed", "'nowhere.json'"]),
    ],
)
def test_bad_words_are_refused_with_the_nearest_valid_one(argv, words):
    with pytest.raises(BadInputError) as error:
        settings_of(*argv)
    assert [word for word in words if word not in str(error.value)] == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("learning_rat: 1.0\n", ["'learning_rat'", "'learning_rate'"]),
        ("- a\n- b\n", ["list", "mapping"]),
        ("just words\n", ["str", "mapping"]),
        ("beta: [1\n", ["not valid YAML"]),
        ("beta: much\n", ["beta", "'much'"]),
        ("max_steps: true\n", ["max_steps", "invalid int value", "'True'"]),
        ("num_generations: [1, 2]\n", ["num_generations", "one value"]),
        ("env: [A]\n", ["`env`", "mapping"]),
        ('env: {A: "x\\0y"}\n', ["`env`", "'A'", "NUL"]),
        ("env: {A=B: 1}\n", ["`env`", "'A=B'"]),
        ("env: {A: [1]}\n", ["`env`", "'A'"]),
        ("output_dir: {a: 1}\n", ["output_dir", "one value", "dict"]),
        ("output_dir: true\n", ["output_dir", "quotes"]),
        ('output_dir: "a\\0b"\n', ["output_dir", "NUL"]),
        ("max_steps: null\n", ["max_steps", "no value"]),
        ("vas_refresh: off\n", ["vas_refresh", "quotes"]),
        ("beta: 1\nseed: 2\nbeta: 3\n", ["line 3", "'beta'", "first in line 1"]),
        ("model_init_kwargs: {a: 1, a: 2}\n", ["'a'", "second time"]),
        ("chat_template_kwargs: 3\n", ["chat_template_kwargs", "JSON object", "'3'"]),
        (
            "a: &a [1, 1]\n" + "".join(f"x{i}: &{chr(98 + i)} [*{chr(97 + i)}, *{chr(97 + i)}]\n" for i in range(20)),
            ["aliases written out", "10,000"],
        ),
        ("beta: &a [*a]\n", ["in itself"]),
        ("beta: " + "[" * 30 + "]" * 30 + "\n", ["nested deeper than 20"]),
        ("beta: " + "[" * 100_000 + "\n", ["nested too deeply"]),
        ("max_steps: " + "9" * 5000 + "\n", ["not valid YAML", "digits"]),
        ("run_name: 2024-13-45\n", ["not valid YAML", "month"]),
        ("run_name: !!python/name:os.system\n", ["not valid YAML"]),
        ("seed: 1\n---\nseed: 2\n", ["not valid YAML"]),
        ("method: vas\nbeta: 0\n", ["config of `mmr1 vas`", "`mmr1 mssr`"]),
        ("method: msr\n", ["'msr'", "'mssr'"]),
    ],
)
def test_bad_yaml_is_refused_with_its_path(write, text, words):
    path = write(text)
    with pytest.raises(BadInputError) as error:
        settings_of("--config", path).build()
    assert [word for word in [path, *words] if word not in str(error.value)] == []


def test_what_a_dataclass_refuses_is_bad_input():
    settings = settings_of(
        "--use_cpu", "--bf16", "false", "--generation_batch_size", "8", "--steps_per_generation", "2"
    )
    with pytest.raises(BadInputError, match="can not be both configured"):
        settings.build()


def test_a_package_that_a_dataclass_misses_is_bad_input():
    @dataclass
    class WithDeepSpeed:  # as transformers' arguments with --deepspeed
        def __post_init__(self):
            raise PackageNotFoundError("deepspeed>=0.9.3 was not found\n")

    with pytest.raises(BadInputError, match="WithDeepSpeed refuses .*deepspeed>=0.9.3 was not found$"):
        Settings("mssr", (WithDeepSpeed,), {}, {}, []).build()
