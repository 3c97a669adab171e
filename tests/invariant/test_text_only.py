# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""A text-only model goes through every command, with rows that never had pictures and with rows that lost them."""

import json
import re
import shutil
from pathlib import Path

import pytest
from datasets import Dataset
from PIL import Image
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

from mmr1_trl.cli import main
from mmr1_trl.hub.collect import collect
from mmr1_trl.models import build_tiny_lm, load_processor


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("text")
    model, tokenizer = build_tiny_lm("qwen2")
    model.save_pretrained(root / "model")
    tokenizer.save_pretrained(root / "model")
    rows = [{"question": f"What is {n} + 5 ?", "answer": n + 5} for n in range(12)]
    Dataset.from_list(rows).to_parquet(root / "rows.parquet")
    Dataset.from_list([row | {"image": None} for row in rows]).to_parquet(root / "null.parquet")
    Image.new("RGB", (28, 28)).save(root / "a.png")
    pictures = [row | {"image": "a.png" if n == 3 else None} for n, row in enumerate(rows)]
    Dataset.from_list(pictures).to_parquet(root / "pictures.parquet")
    talks = [
        {
            "prompt": [{"role": "user", "content": row["question"]}],
            "completion": [{"role": "assistant", "content": "5"}],
        }
        for row in rows
    ]
    Dataset.from_list(talks).to_parquet(root / "talks.parquet")
    return root


def words(folder, output, rows="rows.parquet", **options):
    given = {
        "model_name_or_path": folder / "model", "dataset_name": folder / rows, "output_dir": output, "max_steps": 2,
        "per_device_train_batch_size": 4, "gradient_accumulation_steps": 1, "max_completion_length": 4,
        "disable_tqdm": "true", "report_to": "none", "use_cpu": "true", "bf16": "false",
    } | options  # fmt: skip
    return [word for name, value in given.items() for word in (f"--{name}", str(value))]


RUNS = {
    "grpo": {"num_generations": 2, "image_column": "none"},
    "mssr": {"tracker_forgetting": "fixed", "beta": 0.0, "rows": "null.parquet"},
    "vas": {"num_generations": 2, "vas_rollouts": 2, "save_steps": 1},
    "two-stage": {"num_generations": 2, "use_peft": "true", "lora_r": 2, "lora_target_modules": "all-linear"},
}


@pytest.mark.parametrize("method", RUNS)
def test_training_evaluation_report_and_card(folder, tmp_path, capsys, method):
    output = tmp_path / "run"
    options = RUNS[method]
    assert main([method, *words(folder, output, **options)]) == 0
    card = (output / "README.md").read_text()
    assert "pipeline_tag: text-generation" in card and "AutoModelForCausalLM" in card
    assert "Image" not in card and "processor" not in card
    assert json.loads((output / "mmr1_run.json").read_text())["text_only"] is True
    if method == "two-stage":
        manifest = collect("adapter", output, base_model="someone/text-model")
        assert "adapter_model.safetensors" in {entry.path for entry in manifest.entries}
        return
    assert isinstance(load_processor(output), PreTrainedTokenizerBase)
    if method == "vas":  # goes on with the same weights and prompts
        for name in ("model.safetensors", "tokenizer.json"):
            (output / name).unlink()
        shutil.rmtree(output / "checkpoint-2")
        assert main([method, *words(folder, output, resume_from_checkpoint="true", **options)]) == 0
    AutoModelForCausalLM.from_pretrained(output)
    assert "model.safetensors" in {entry.path for entry in collect("model", output).entries}
    if method != "grpo":
        return
    evaluated = ["--dataset_name", str(folder / "rows.parquet"), "--dataset_split", "train", "--use_cpu", "true"]
    evaluated += ["--max_new_tokens", "4", "--num_samples", "2", "--output_dir", str(tmp_path / "eval")]
    assert main(["eval", "--model", str(output), *evaluated]) == 0
    assert main(["report", str(output), "--output", str(tmp_path / "report.html")]) == 0


def test_check_profile_score_and_sft(folder, tmp_path, capsys):
    short = {"num_generations": 2, "image_column": "none"}
    assert main(["check", "grpo", *words(folder, tmp_path / "check", **short), "--samples", "2"]) in (0, 1)
    assert re.search(r"rows +12\n", capsys.readouterr().out)
    assert main(["profile", "grpo", "--steps", "1", *words(folder, tmp_path / "profile", **short)]) == 0
    score = words(folder, tmp_path / "scores", vas_rollouts=2)
    del score[score.index("--max_steps") : score.index("--max_steps") + 2]
    assert main(["score", *score]) == 0
    sft = words(folder, tmp_path / "sft", rows="talks.parquet")
    del sft[sft.index("--max_completion_length") : sft.index("--max_completion_length") + 2]
    assert main(["sft", *sft]) == 0
    assert "text-generation" in Path(tmp_path, "sft", "README.md").read_text()


def test_pictures_are_refused_before_the_weights_are_loaded(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", lambda *args, **kwargs: pytest.fail("loaded"))
    commands = [
        ["grpo", *words(folder, tmp_path / "a", rows="pictures.parquet", num_generations=2)],
        ["check", "mssr", *words(folder, tmp_path / "b", rows="pictures.parquet")],
        ["eval", "--model", str(folder / "model"), "--dataset_name", str(folder / "pictures.parquet")],
        ["eval", "--model", str(folder / "model"), "--num_rows", "4"],
    ]
    for command in commands:
        assert main(command) == 2
        error = capsys.readouterr().err
        assert "rows have pictures" in error and "text-only" in error and "--image_column none" in error


@pytest.mark.parametrize("family", ["qwen3", "llama"])
def test_other_families_load_and_answer(family, tmp_path):
    from mmr1_trl.evaluation.generation import generate

    model, tokenizer = build_tiny_lm(family)
    tokenizer.pad_token = None  # as Llama's
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded = load_processor(tmp_path)
    assert loaded.pad_token == loaded.eos_token
    talks = [[{"role": "user", "content": "How many"}], [{"role": "user", "content": [{"type": "text", "text": "3"}]}]]
    replies = generate(model.eval(), loaded, talks, max_new_tokens=3, num_samples=2)
    assert [len(each) for each in replies] == [2, 2]
