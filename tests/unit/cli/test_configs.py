# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Every shipped config loads through the real parser, and says the batch that it trains on."""

import re
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import launch_command_parser
from transformers import Qwen2VLImageProcessorPil

from mmr1_trl import cli
from mmr1_trl.cli.commands import configs, sft
from mmr1_trl.cli.commands.eval import parse_eval
from mmr1_trl.cli.commands.train import parse_training
from mmr1_trl.cli.config_file import method_of_config
from mmr1_trl.cli.shipped_configs import config_names, find_config
from mmr1_trl.data.pictures.images import fit_size
from mmr1_trl.data.prompt_style import get_prompt_style
from mmr1_trl.errors import BadInputError
from mmr1_trl.evaluation.benchmarks import get_benchmark
from mmr1_trl.rewards.resolve import resolve_rewards


PAPER_SCALE = [f"qwen2_5_vl_{size}/{method}" for size in ("3b", "7b") for method in ("grpo", "mssr", "mvsr")]


def settings_of(name, *argv):
    words, command = ["--config", name, "--use_cpu", *argv], method_of_config(["--config", name])
    if command == "eval":
        return parse_eval(words)
    words += ["--bf16", "false"]
    return sft.parse_sft(words) if command == "sft" else parse_training(command, words)


def test_the_promised_configs_are_there():
    promised = {f"figures/{method}" for method in ("sft", "grpo", "mssr", "mvsr")}
    promised |= {f"qwen2_5_vl_{size}/{method}" for size in ("3b", "7b") for method in ("grpo", "mssr", "mvsr")}
    assert promised <= set(config_names())


@pytest.mark.parametrize("name", config_names())
def test_every_config_builds(name):
    settings = settings_of(name)
    assert method_of_config(["--config", name]) == settings.command
    text = find_config(name).read_text()
    assert f"--config {name}\n" in text or f"--config {name} " in text
    assert max(map(len, text.splitlines())) <= 120
    given = {key for key in settings.values if settings.origin(key).endswith(f"{name}.yaml")}
    if settings.command == "eval":
        (args,) = settings.build()
        assert [get_benchmark(benchmark).name for benchmark in args.benchmarks] == args.benchmarks
        assert args.output_dir.startswith("runs/") and get_prompt_style(args.prompt_style)
        return
    data_args, config, model_args = settings.build()
    assert model_args.model_name_or_path
    assert config.output_dir.startswith("runs/")
    assert {"model_name_or_path", "dataset_name"} <= given
    if settings.command != "sft":
        resolve_rewards(data_args.reward_funcs)
        assert {"learning_rate", "max_steps"} <= given


@pytest.mark.parametrize("name", [name for name in config_names() if name.split("/")[0] != "figures"])
def test_every_large_config_says_where_its_values_are_from(name):
    """A paper, and what of it could not be established; or that it is ours. And that nothing was measured."""
    text = " ".join(line.lstrip("# ") for line in find_config(name).read_text().splitlines())
    assert re.search(r"arXiv \d{4}\.\d{5}", text) and re.search(r"GPU|no judge", text)
    if "two_stage" in name or "mmr1_" in name:
        assert "Could not be established" in text
        for value in ("explore_coef: 0.003  # ours", "exploit_coef: 0.03  # ours") if "two_stage" in name else ():
            assert value in text
    if name.startswith("qwen3"):
        assert "a recipe of ours" in text and "No paper trains this model" in text


def test_the_page_of_recipes_lists_every_large_config():
    page = (Path(__file__).parents[3] / "docs/recipes.md").read_text()
    listed = set(re.findall(r"`(q\w+/\w+)`", page))
    assert listed == {name for name in config_names() if not name.startswith("figures/")}


@pytest.mark.parametrize("name", [name for name in config_names() if "/two_stage_" in name])
def test_the_noise_experiments_are_one_flag_each(name):
    """Three shares of wrong labels and five schedules, on the batch of the frameworks that the authors built on."""
    for flag, values in (
        ("label_noise", (0.0, 0.5, 1.0)),
        ("entropy_schedule", ("none", "minimize", "maximize", "two_stage", "minimize_then_maximize")),
    ):
        for value in values:
            _, config, _ = settings_of(name, f"--{flag}", str(value)).build()
            assert getattr(config, flag) == value
    data_args, config, _ = settings_of(name).build()
    assert (config.label_noise, config.entropy_schedule, config.switch_fraction) == (0.5, "two_stage", 0.8)
    assert (
        config.per_device_train_batch_size * 8 * config.steps_per_generation == 16 * 8 == 16 * config.num_generations
    )
    assert config.steps_per_generation == config.gradient_accumulation_steps
    assert data_args.reward_funcs[1] == "format_reward"


@pytest.mark.parametrize("size", ["3b", "7b"])
def test_what_mssr_is_compared_with_trains_on_as_many_rollouts(size):
    grpo, rloo, single = (
        settings_of(f"qwen2_5_vl_{size}/{name}").build()[1] for name in ("grpo", "rloo", "reinforce_pp")
    )
    different = {name for name, value in vars(grpo).items() if vars(rloo).get(name) != value}
    assert different <= {"output_dir", "logging_dir", "run_name", "advantage_baseline", "distributed_state"}
    assert (rloo.advantage_baseline, single.advantage_baseline) == ("leave_one_out", "batch_mean")
    assert single.per_device_train_batch_size * 8 * single.steps_per_generation == 2048
    assert single.steps_per_generation // single.gradient_accumulation_steps == 16
    assert (single.max_grad_norm, single.top_p, single.num_generations) == (1.0, 0.99, 1)


@pytest.mark.parametrize("size", ["3b", "7b"])
def test_the_cold_start_of_mmr1(size):
    settings = settings_of(f"qwen2_5_vl_{size}/mmr1_cold_start")
    _, config, _ = settings.build()
    assert settings.launch_args[-2:] == ["--num_processes", "8"]
    assert config.per_device_train_batch_size * 8 * config.gradient_accumulation_steps == 32
    assert (config.learning_rate, config.lr_scheduler_type, config.warmup_steps) == (1e-5, "cosine", 0.1)
    assert (config.num_train_epochs, config.weight_decay, config.max_grad_norm, config.max_length) == (3, 0, 1, 16384)
    assert config.get_warmup_steps(1000) == 100
    (args,) = settings_of(f"qwen2_5_vl_{size}/mmr1_eval").build()
    assert args.benchmarks == ["mathverse", "mathvista", "mathvision", "logicvista", "chartqa"]
    assert args.model == f"MMR1/MMR1-{size.upper()}-RL"


@pytest.mark.parametrize("name", PAPER_SCALE)
def test_paper_scale_batches(name):
    settings = settings_of(name)
    _, config, _ = settings.build()
    assert settings.launch_args[-2:] == ["--num_processes", "8"]
    rollouts = config.per_device_train_batch_size * 8 * config.steps_per_generation
    updates, rest = divmod(config.steps_per_generation, config.gradient_accumulation_steps)
    assert (rollouts, rest) == (2048, 0)
    assert (updates, config.num_generations) == ((2, 8) if name.endswith("grpo") else (16, 1))
    assert config.max_steps == 120 * updates
    assert config.save_steps % updates == 0
    if not name.endswith("grpo"):
        assert config.advantage_baseline == "value_tracker"
        assert config.entropy_shaping == name.endswith("mssr")


@pytest.mark.parametrize(
    ("name", "refresh", "rollouts", "steps", "weights"),
    [
        ("vas", "online", None, None, (0.8, 0.2)),
        ("vas_paper", "full", 32, 35, (0.8, 0.2)),
        ("7b/vas_paper", "full", 32, 35, (0.8, 0.2)),
        ("vas_table6", "full", 16, 56, (0.8, 0.2)),
        ("vas_ablation", "full", 8, 28, (0.5, 0.5)),
        ("vas_released", "full", 8, 4, (1.0, 0.0)),
    ],
)
def test_vas_configs(name, refresh, rollouts, steps, weights):
    _, config, _ = settings_of(f"qwen2_5_vl_{name if '/' in name else f'3b/{name}'}").build()
    assert config.per_device_train_batch_size * 8 * config.steps_per_generation == 4096
    assert config.steps_per_generation == config.gradient_accumulation_steps
    assert config.vas_refresh == refresh and config.vas_weighted_fraction == 0.5
    assert (config.vas_outcome_weight, config.vas_diversity_weight) == weights
    if refresh == "full":
        assert (config.vas_rollouts, config.vas_update_steps) == (rollouts, steps)
    assert config.vas_variant == ("released_code" if name == "vas_released" else "paper")


def test_the_largest_picture_a_long_question_and_the_completion_fit_into_vllm():
    processor = Qwen2VLImageProcessorPil()  # of Qwen2.5-VL: patches of 14 pixels, four of them a token
    checked = []
    for name in config_names():
        settings = settings_of(name)
        if settings.command in ("sft", "eval"):
            continue
        _, config, _ = settings.build()
        if not config.use_vllm or config.vllm_mode != "colocate":
            continue
        pictures = 0
        for ratio in (1, 1.5, 2, 4, 8):
            width, height = fit_size(int(9000 * ratio**0.5), int(9000 / ratio**0.5), None, config.max_pixels)
            patches = processor.get_number_of_image_patches(height, width)
            pictures = max(pictures, patches // processor.merge_size**2)
        pictures //= 1 if "qwen2" in name else 32**2 / 28**2  # a token of the Qwen3 families covers more pixels
        assert config.vllm_max_model_length >= pictures + 512 + config.max_completion_length, (name, pictures)
        checked.append(name)
        if config.top_p < 1:  # or the ratio of a sequence shrinks with its length
            assert config.vllm_importance_sampling_mode == "token_truncate", name
    assert len(checked) >= 12, checked


def test_the_server_is_started_directly():
    text = find_config("qwen2_5_vl_3b/mssr_server").read_text()
    for word in ("VLLM_SERVER_DEV_MODE=1 vllm serve Qwen/Qwen2.5-VL-3B-Instruct", "--enable-scale-out", "nccl"):
        assert word in text
    _, config, _ = settings_of("qwen2_5_vl_3b/mssr_server").build()
    limit = int(text.split("--max-model-len ")[1].split()[0])
    assert limit >= config.max_pixels / 784 + 512 + config.max_completion_length


def test_one_gpu_of_24_gb_trains_adapters_only():
    settings = settings_of("qwen2_5_vl_3b/mssr_24gb")
    _, config, model_args = settings.build()
    assert settings.launch_args[-2:] == ["--num_processes", "1"]
    assert model_args.use_peft and model_args.dtype == "bfloat16" and config.freeze_vision_tower
    assert config.per_device_train_batch_size * config.steps_per_generation == 256
    assert config.steps_per_generation // config.gradient_accumulation_steps == 4


def test_six_gpus_and_a_server_train_on_nearly_the_same_batches():
    settings = settings_of("qwen2_5_vl_3b/mssr_server")
    _, config, _ = settings.build()
    assert settings.launch_args[-2:] == ["--num_processes", "6"] and config.vllm_mode == "server"
    assert config.per_device_train_batch_size * 6 * config.steps_per_generation == 2040
    assert divmod(config.steps_per_generation, config.gradient_accumulation_steps) == (17, 0)
    _, alone, _ = settings_of("qwen2_5_vl_3b/mssr").build()
    different = {name for name, value in vars(alone).items() if vars(config).get(name) != value}
    assert different <= {
        "output_dir", "logging_dir", "steps_per_generation", "gradient_accumulation_steps", "max_steps", "save_steps",
        "vllm_mode", "vllm_server_host", "vllm_server_port", "vllm_gpu_memory_utilization",
        "vllm_enable_sleep_mode", "vllm_max_model_length", "generation_batch_size", "run_name",
        "distributed_state",
    }  # fmt: skip


def test_the_slurm_example_loads_and_keeps_the_batch():
    script = Path(__file__).parents[3] / "examples" / "slurm_multi_node.sbatch"
    subprocess.run(["bash", "-n", script], check=True)
    call = script.read_text().partition("exec mmr1 mssr ")[2].partition("'")[0]
    for variable, value in {
        '"$0"': "qwen2_5_vl_3b/mssr", '"$1"': "runs/x", '"$SLURM_NNODES"': "2", "$((8 * SLURM_NNODES))": "16",
        '"$SLURM_NODEID"': "1", '"$2"': "node1", '"$3"': "29500", '"${@:4}"': "--seed 2", "\\\n": " ",
    }.items():  # fmt: skip
        assert variable in call, variable
        call = call.replace(variable, value)
    settings = parse_training("mssr", [*call.split(), "--bf16", "false", "--use_cpu"])
    _, config, _ = settings.build()
    assert config.per_device_train_batch_size * 16 * config.steps_per_generation == 2048
    assert config.steps_per_generation // config.gradient_accumulation_steps == 16
    assert "--machine_rank" in settings.launch_args and settings.launch_args[1].endswith("fsdp2.yaml")


@pytest.mark.parametrize("name", ["fsdp2", "zero3"])
def test_the_launch_files_for_two_nodes_load_and_keep_the_batch(name):
    path = Path(__file__).parents[3] / f"examples/two_nodes_{name}.yaml"
    command = path.read_text().partition("#   mmr1 mssr ")[2].partition("\n#\n")[0].replace("\\\n#", " ")
    words = [str(path) if word.endswith(".yaml") else word for word in command.split()]
    settings = parse_training("mssr", [*words, "--bf16", "false", "--use_cpu"])
    _, config, _ = settings.build()
    assert config.per_device_train_batch_size * 16 * config.steps_per_generation == 2048
    assert config.steps_per_generation // config.gradient_accumulation_steps == 16
    launched = launch_command_parser().parse_args([*settings.launch_args, "script.py"])
    assert (launched.num_processes, launched.machine_rank, launched.main_process_ip) == (16, 0, "node0")
    ours, preset = (
        load_config_from_file(str(path)),
        load_config_from_file(str(files("trl.accelerate_configs") / f"{name}.yaml")),
    )
    assert (ours.num_machines, ours.num_processes) == (2, 16)
    assert (ours.fsdp_config, ours.deepspeed_config) == (preset.fsdp_config, preset.deepspeed_config)


@pytest.mark.parametrize("preset", ["zero2", "zero3", "fsdp2", "multi_gpu"])
def test_presets_load_into_accelerates_config(preset):
    settings = settings_of("qwen2_5_vl_3b/mssr", "--accelerate_config", preset)
    path = settings.launch_args[settings.launch_args.index("--config_file") + 1]
    config = load_config_from_file(path)
    assert config.num_processes == 8 and str(config.distributed_type.value) in {"DEEPSPEED", "FSDP", "MULTI_GPU"}
    if preset.startswith("zero"):
        assert config.deepspeed_config["zero_stage"] == int(preset[-1])
    if preset == "fsdp2":
        assert config.fsdp_config["fsdp_version"] == 2


def test_configs_ls_show_and_cp(tmp_path, capsys, monkeypatch):
    assert configs.run(["ls"]) == 0
    listed = capsys.readouterr().out
    assert all(line.split()[0] in config_names() and len(line.split()) > 3 for line in listed.splitlines())
    assert configs.run(["show", "figures/mssr"]) == 0
    text = find_config("figures/mssr").read_text()
    assert capsys.readouterr().out == text
    monkeypatch.chdir(tmp_path)
    assert configs.run(["cp", "figures/mssr"]) == 0
    assert configs.run(["cp", "figures/mssr", "deep/mine.yaml"]) == 0
    assert (tmp_path / "mssr.yaml").read_text() == (tmp_path / "deep/mine.yaml").read_text() == text


def test_configs_cp_never_overwrites(tmp_path):
    target = tmp_path / "mine.yaml"
    target.write_text("beta: 0.5\n")
    with pytest.raises(BadInputError, match="exists already"):
        configs.run(["cp", "figures/mssr", str(target)])
    assert target.read_text() == "beta: 0.5\n"


def test_a_file_wins_over_a_shipped_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures/mssr").write_text("beta: 0.5\n")
    assert find_config("figures/mssr").read_text() == "beta: 0.5\n"
    assert find_config("figures/mvsr.yaml") == config_names()["figures/mvsr"]


def test_copying_into_a_file_is_refused(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert cli.main(["configs", "cp", "figures/mssr", str(tmp_path / "file/my.yaml")]) == 2
    assert "is a file. Choose another folder" in capsys.readouterr().err


def test_supervised_training_needs_something_to_imitate():
    with pytest.raises(BadInputError, match=r"set.jsonl: .*`messages`.*\['problem', 'image', 'answer'\]"):
        sft._require_texts(["problem", "image", "answer"], "text", "set.jsonl")
    for columns in (["messages", "images"], ["prompt", "completion"], ["story"]):
        sft._require_texts(columns, "story", "set.jsonl")
