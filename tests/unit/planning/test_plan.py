# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Plans of runs: sizes against built models, memory against a measured peak, the search, and the command."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from peft import LoraConfig, get_peft_model
from torch.utils.flop_counter import FlopCounterMode
from transformers import Qwen2_5_VLConfig

from mmr1_trl.cli import main
from mmr1_trl.cli.commands.plan import parse_plan
from mmr1_trl.cli.commands.train import parse_training
from mmr1_trl.models.tiny_lm import build_tiny_lm
from mmr1_trl.models.tiny_vlm import FAMILIES, build_tiny_vlm
from mmr1_trl.planning.cost import completion_flops, estimate_cost, prompt_flops
from mmr1_trl.planning.fit import knobs, nearest
from mmr1_trl.planning.memory import estimate, fits
from mmr1_trl.planning.options import read_options
from mmr1_trl.planning.shapes import read_shapes


ROOT = Path(__file__).parents[3]
# The sizes that the configs of Qwen2.5-VL-3B-Instruct and -7B-Instruct have.
TOWER = {
    "depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "patch_size": 14,
    "spatial_merge_size": 2, "temporal_patch_size": 2, "window_size": 112, "fullatt_block_indexes": [7, 15, 23, 31],
}  # fmt: skip
TEXT = {"max_position_embeddings": 128_000, "rope_parameters": {"rope_type": "default", "mrope_section": [16, 24, 24]}}
SIZES = {
    "3b": {"hidden_size": 2048, "intermediate_size": 11_008, "num_hidden_layers": 36, "num_attention_heads": 16,
           "num_key_value_heads": 2, "vocab_size": 151_936},
    "7b": {"hidden_size": 3584, "intermediate_size": 18_944, "num_hidden_layers": 28, "num_attention_heads": 28,
           "num_key_value_heads": 4, "vocab_size": 152_064},
}  # fmt: skip


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folders = {}
    for size, text in SIZES.items():
        folders[size] = str(tmp_path_factory.mktemp("models") / size)
        Qwen2_5_VLConfig(
            text_config=TEXT | text | {"tie_word_embeddings": size == "3b"},
            vision_config=TOWER | {"out_hidden_size": text["hidden_size"]},
            tie_word_embeddings=size == "3b",
        ).save_pretrained(folders[size])
    return folders


def options_of(config, devices=1, memory=24.0, sharding="none", *words):
    settings, half = parse_plan(["--config", config, *words])
    _, args, model_args = settings.build()
    return read_options(args, model_args, devices, memory, sharding, 512, half)


@pytest.mark.parametrize("family", FAMILIES)
def test_sizes_are_those_of_the_model(family, tmp_path):
    model, processor = build_tiny_vlm(family)
    model.config.save_pretrained(tmp_path)
    shapes = read_shapes(str(tmp_path))
    assert shapes.total == sum(parameter.numel() for parameter in model.parameters())
    assert shapes.parameters["tower"] > 0 and shapes.parameters["merger"] > 0 and shapes.parameters["embedding"] > 0
    text = model.config.get_text_config()
    assert (shapes.text.layers, shapes.text.hidden) == (text.num_hidden_layers, text.hidden_size)
    assert shapes.active <= shapes.parameters["text"]
    assert (shapes.active < shapes.parameters["text"]) == family.endswith("_moe")
    assert shapes.full_attention == (1 if family.startswith("qwen3_5") else shapes.full_attention) > 0
    assert shapes.picture_tokens(50_176) >= 1
    asked = replace(options_of("qwen2_5_vl_7b/grpo", 8, 80.0, "zero3"), micro=2)
    assert fits(memory := estimate(shapes, asked), asked) and memory.needed > memory.parts["weights"] > 0
    assert estimate_cost(shapes, asked, memory).train_flops > 0


def test_a_text_only_model(tmp_path):
    model, _ = build_tiny_lm()
    model.config.save_pretrained(tmp_path)
    shapes = read_shapes(str(tmp_path))
    assert (shapes.vision, shapes.picture_tokens(10**6)) == (None, 0)
    assert shapes.total == sum(parameter.numel() for parameter in model.parameters())
    asked = options_of("qwen2_5_vl_7b/grpo", 8, 80.0, "zero3")
    memory = estimate(shapes, asked)
    assert memory.parts["tower"] == memory.parts["features"] == 0 and estimate_cost(shapes, asked, memory).patches == 0


def test_trained_parameters_are_those_of_peft_and_of_a_frozen_tower(tmp_path):
    model, _ = build_tiny_vlm()
    model.config.save_pretrained(tmp_path)
    shapes = read_shapes(str(tmp_path))
    assert shapes.trainable(False, True) == shapes.total
    towers = sum(p.numel() for name, p in model.named_parameters() if "visual." in name)
    mergers = sum(p.numel() for name, p in model.named_parameters() if "visual.merger." in name)
    assert shapes.total - shapes.trainable(True, True) == towers
    assert shapes.total - shapes.trainable(True, False) == towers - mergers
    for targets in (["q_proj", "v_proj"], ["q_proj", "o_proj"], ["all-linear"]):
        modules = "all-linear" if targets == ["all-linear"] else targets
        adapted = get_peft_model(build_tiny_vlm()[0], LoraConfig(r=4, target_modules=modules))
        assert shapes.adapter(4, targets, False, False) == adapted.get_nb_trainable_parameters()[0]


def test_the_published_sizes(models):
    small, large = (read_shapes(models[size]) for size in ("3b", "7b"))
    assert small.total == 3_754_622_976 and large.total == 8_292_166_656  # as their checkpoints have
    assert small.parameters["head"] == 0 < large.parameters["head"]
    assert small.picture_tokens(1_048_576) == 1337 and small.picture_tokens(4_194_304) == 5349
    assert small.adapter(8, ["q_proj"], True, True) == 36 * 8 * (2048 + 2048)


def test_memory_against_a_measured_peak(monkeypatch):
    """One cell of the benchmark, whose grid and errors are in docs/gpu_training.md."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks" / "costs")
    benchmark = __import__("plan")
    line = benchmark.measure(benchmark.BASE | {"tokens": 64, "completion": 16, "gradient_checkpointing": True})
    for phase in ("update", "sampling"):
        assert line["planned"][phase] / line["measured"][phase] == pytest.approx(1, abs=0.2), (phase, line)
    sys.modules.pop("plan")


def test_every_recorded_peak_is_within_the_stated_error():
    lines = [json.loads(line) for line in (ROOT / "benchmarks/results/plan.jsonl").read_text().splitlines()]
    ratios = [max(line["planned"].values()) / max(line["measured"].values()) for line in lines]
    assert len(lines) == 20 and 0.95 <= min(ratios) and max(ratios) <= 1.01, (min(ratios), max(ratios))


def test_operations_are_those_that_torch_counts(models, tmp_path):
    model, _ = build_tiny_vlm("qwen2_5_vl")
    model.config.save_pretrained(tmp_path)
    shapes = read_shapes(str(tmp_path))
    ids = torch.randint(10, 100, (2, 96))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(input_ids=ids, logits_to_keep=32)
    planned = prompt_flops(shapes, 2, 64) + 2 * completion_flops(shapes, 64, 32)
    assert planned / counter.get_total_flops() == pytest.approx(1, abs=0.15)


def test_each_knob_saves_memory(models):
    shapes = read_shapes(models["7b"])
    options = options_of("qwen2_5_vl_7b/grpo", 8, 80.0, "zero2", "--gradient_checkpointing", "false")
    options = replace(options, vllm_sleep=False, vllm_share=0.6, share_prompts=False)
    turned = list(knobs(shapes, options))
    names = {next(iter(change.settings)) for _, change in turned}
    assert names == {
        "share_prompts", "vllm_enable_sleep_mode", "gradient_checkpointing", "per_device_train_batch_size",
        "accelerate_config", "vllm_gpu_memory_utilization", "freeze_vision_tower", "use_peft", "max_pixels",
        "max_completion_length",
    }  # fmt: skip
    before = estimate(shapes, options)
    for after, change in turned:
        memory = estimate(shapes, after)
        assert memory.update < before.update or memory.sampling < before.sampling, change
        assert after.rollouts == options.rollouts and after.updates == options.updates


def test_the_nearest_options_are_as_near_as_can_be(models):
    shapes = read_shapes(models["7b"])
    asked = options_of("qwen2_5_vl_7b/mssr", 8, 40.0, "zero3")
    assert not fits(estimate(shapes, asked), asked)
    found, changes = nearest(shapes, asked)
    assert fits(estimate(shapes, found), found) and changes
    assert (found.rollouts, found.updates) == (asked.rollouts, asked.updates)
    assert nearest(shapes, found) == (found, [])
    assert nearest(shapes, replace(asked, devices=1, memory=8.0, sharding="none")) is None
    roomy = replace(asked, memory=141.0)
    assert nearest(shapes, roomy) == (roomy, [])


def test_sharing_prompts_and_single_rollouts_cost_what_they_should(models):
    shapes = read_shapes(models["3b"])
    shared = options_of("qwen2_5_vl_3b/grpo", 8, 80.0, "zero3")
    groups = replace(shared, share_prompts=False)
    costs = [estimate_cost(shapes, options, estimate(shapes, options)) for options in (groups, shared)]
    assert 1.2 < costs[0].train_flops / costs[1].train_flops < 4
    assert costs[0].seconds[0] < costs[0].seconds[1] and costs[1].update[0] < costs[0].update[0]
    qwen3_5 = replace(shapes, full_attention=9)  # layers that do not see the whole prompt cannot share it
    same = [estimate_cost(qwen3_5, options, estimate(qwen3_5, options)).train_flops for options in (groups, shared)]
    assert same[0] == same[1]


def test_the_command_writes_a_config_that_loads_and_fits(models, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["plan", models["7b"], "--gpus", "8x40", "--write", "my.yaml", "--config", "qwen2_5_vl_7b/mssr"]
    assert main(words) == 1
    printed = capsys.readouterr().out
    assert "it does not fit as it is" in printed and "Written to my.yaml: mmr1 mssr --config my.yaml" in printed
    written = yaml.safe_load(Path("my.yaml").read_text())
    assert written["model_name_or_path"] == models["7b"] and written["num_processes"] == 8
    _, config, _ = parse_training("mssr", ["--config", "my.yaml"]).build()
    assert config.per_device_train_batch_size * 8 * config.steps_per_generation == 2048
    assert main(["plan", "--config", "my.yaml", "--gpus", "8x40"]) == 0
    assert "it fits" in capsys.readouterr().out
    assert main(words) == 2
    assert "exists already, and is left as it is" in capsys.readouterr().err
    assert main(["plan", models["3b"], "--gpu", "24", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["fits_as_it_is"] and report["memory"]["needed"] < 24 * 2**30
    assert main(
        ["plan", "--config", "qwen2_5_vl_7b/mssr", "--model_name_or_path", models["7b"], "--gpus", "4x80"]
    ) in (0, 1)
    assert "a batch      2,048 rollouts of 2,048 prompts, 16 updates" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Name a model, such as Qwen"),
        (["figures/tiny"], "There is no GPU here to plan for. Name one: --gpu 24"),
        (["figures/tiny", "--gpu", "big"], "--gpu 'big': the memory in GB is wanted, such as --gpu 24"),
        (["figures/tiny", "--gpu", "0"], "--gpu '0'"),
        (["figures/tiny", "--gpu", "8x80"], "--gpu '8x80'"),
        (["figures/tiny", "--gpus", "0x80"], "--gpus '0x80': the memory in GB is wanted, such as --gpus 8x80"),
        (["figures/tiny", "--gpu", "24", "--gpus", "8x80"], "give one of them"),
        (["figures/tiny", "--gpu", "24", "--prompt_tokens", "0"], "--prompt_tokens must be at least 1"),
        (["figures/tiny", "--gpu", "24", "--write", "."], "that is a folder"),
        (["figures/tiny", "--gpu", "1"], "(0.0 billion parameters) does not fit onto one GPU of 1 GB with any knob"),
        (["mssr", "--gpu", "24"], "'mssr' is a method. Name its config by --config"),
        (["nowhere/", "--gpu", "24"], "nowhere/"),
        (["too_new", "--gpu", "24"], "too_new"),
        (["--gpu", "24", "--config", "qwen2_5_vl_3b/mmr1_cold_start"], "The config is for `mmr1 sft`; plans are made"),
        (["figures/tiny", "--gpu", "24", "--learning_rat", "1"], "learning_rat"),
    ],
)
def test_bad_input_is_one_message(words, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    Path("too_new").mkdir()
    Path("too_new/config.json").write_text('{"model_type": "qwen9_vl"}')
    assert main(["plan", *words]) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error and error.count("mmr1: error") == 1
