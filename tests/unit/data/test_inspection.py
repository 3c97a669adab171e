# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
import json

import numpy as np
import pytest
from datasets import Image, List, Value
from fixtures import datasets as published
from trl import ModelConfig

from mmr1_trl import RLVRConfig
from mmr1_trl.cli import main
from mmr1_trl.data import prepare_dataset
from mmr1_trl.data.checks.inspection import inspect_rows, summarize_images, text_histogram
from mmr1_trl.data.token_counts import image_tokens
from mmr1_trl.evaluation.generation import Completion
from mmr1_trl.evaluation.preflight import draw_samples, missing_extras
from mmr1_trl.models import build_tiny_vlm
from mmr1_trl.rewards import accuracy_reward, format_reward


SETTINGS = {"output_dir": "unused", "use_cpu": True, "report_to": "none"}


@pytest.fixture(scope="module", autouse=True)
def model_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMR1_HOME", str(tmp_path_factory.mktemp("models")))
        yield


def broken_rows():
    images = [published.picture(i) for i in range(6)]
    images[2] = {"bytes": images[2]["bytes"][:90], "path": None}  # whole header, cut pixels
    images[4] = {"bytes": b"<html>", "path": None}
    rows = [{"problem": f"q{i}", "answer": str(i), "image": image} for i, image in enumerate(images)]
    dataset = prepare_dataset(published.make(rows, problem=Value("string"), answer=Value("string"), image=Image()))
    solutions = dataset["solution"][:]
    solutions[1] = "quite a lot"
    return dataset.remove_columns("solution").add_column("solution", solutions)


def test_inspect_rows():
    _, processor = build_tiny_vlm()
    report = inspect_rows(broken_rows(), processor, progress=False)
    assert report.num_rows == 6 and report.images_per_row == {1: 6}
    assert report.answer_types == {"number": 6}
    assert list(report.bad_golds) == [1] and "quite a lot" in report.bad_golds[1]
    assert list(report.bad_images) == [2, 4]
    assert report.bad_images[2].startswith("row 2, image 0: ") and "truncated" in report.bad_images[2]
    assert report.usable_rows() == [0, 3, 5]
    assert report.repeated_ids == []


def test_repeated_ids():
    _, processor = build_tiny_vlm()
    dataset = published.contract(4).remove_columns("prompt_id").add_column("prompt_id", ["a", "b", "a", "a"])
    assert inspect_rows(dataset, processor, progress=False).repeated_ids == [2, 3]


def test_summarize_images():
    _, processor = build_tiny_vlm()
    sizes = [(28, 28), (56, 56), (56, 56), (300, 100)]
    rows = [{"problem": "q", "answer": "1", "image": published.picture(i, size)} for i, size in enumerate(sizes)]
    dataset = prepare_dataset(published.make(rows, problem=Value("string"), answer=Value("string"), image=Image()))
    lengths = inspect_rows(dataset, processor, 2000, 10_000, progress=False).lengths
    summary = summarize_images(lengths, processor, 2000, 10_000)
    tokens = sorted(image_tokens(*size, processor, 2000, 10_000) for size in sizes)
    assert summary == {
        "count": 4,
        "smallest": (28, 28),
        "largest": (300, 100),
        "enlarged": 1,
        "reduced": 1,
        "tokens": [tokens[0], int(np.median(tokens)), tokens[-1]],
    }


@pytest.mark.parametrize("values", [[5], [5, 5, 5], [1, 2], list(range(1000)), [0, 10**6]])
def test_histogram_counts_everything(values):
    lines = text_histogram(np.array(values), bins=8, width=20)
    assert 1 <= len(lines) <= 8
    assert sum(int(line.split()[-1]) for line in lines) == len(values)
    assert max(line.count("█") for line in lines) == 20


def test_missing_extras(monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    config = RLVRConfig(**SETTINGS | {"report_to": ["wandb"]}, num_generations=2, use_vllm=True)
    model_args = ModelConfig(use_peft=True, load_in_4bit=True, attn_implementation="flash_attention_2")
    missing = missing_extras(config, model_args, ["--config_file", "zero3.yaml"], use_vllm=True)
    assert missing == [
        "use_vllm needs vllm: pip install 'mmr1-trl[vllm]'",
        "use_peft needs peft: pip install 'mmr1-trl[peft]'",
        "4 or 8 bits needs bitsandbytes: pip install 'mmr1-trl[quantization]'",
        "DeepSpeed needs deepspeed: pip install 'mmr1-trl[deepspeed]'",
        "attn_implementation needs flash_attn: pip install flash_attn",
        "report_to needs wandb: pip install wandb",
    ]
    assert missing_extras(RLVRConfig(**SETTINGS, num_generations=2), ModelConfig(), []) == []


@pytest.mark.parametrize(
    ("optim", "needed"),
    [("adamw_bnb_8bit", True), ("adamw_8bit", True), ("paged_adamw_32bit", True), ("adamw_torch", False)],
)
def test_optimizers_of_bitsandbytes(monkeypatch, optim, needed):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    config = RLVRConfig(**SETTINGS, num_generations=2, optim=optim)
    message = f"optim={optim} needs bitsandbytes: pip install 'mmr1-trl[quantization]'"
    assert missing_extras(config, ModelConfig(), []) == [message] * needed


def test_a_folder_is_not_a_package(monkeypatch, tmp_path):
    (tmp_path / "swanlab").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    config = RLVRConfig(**SETTINGS | {"report_to": ["swanlab"]}, num_generations=2)
    assert missing_extras(config, ModelConfig(), []) == ["report_to needs swanlab: pip install swanlab"]


def test_samples_and_broken_rewards():
    model, processor = build_tiny_vlm()
    dataset = prepare_dataset(published.mmr1_rl(6), prompt_style="mmr1")

    def short_reward(completions, **kwargs):
        return [1.0]

    def broken_reward(completions, **kwargs):
        raise KeyError("nothing")

    samples, problems = draw_samples(
        model,
        processor,
        dataset,
        [1, 3, 4],
        [accuracy_reward, format_reward, short_reward, broken_reward],
        max_new_tokens=5,
    )
    assert [sample.row for sample in samples] == [1, 3, 4]
    assert [sample.solution for sample in samples] == ["B", "D", "A"]
    assert all(
        sample.tokens <= 5 and set(sample.rewards) == {"accuracy_reward", "format_reward"} for sample in samples
    )
    assert len(problems) == 2 and "returned 1 values" in problems[0] and "KeyError" in problems[1]


# ---- The command ----


def check_json(capsys, *words):
    code = main(["check", *words, "--json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.fixture
def jsonl(tmp_path):
    return str(published.write_jsonl(tmp_path / "set", num_rows=8))


def words_for(jsonl, *more):
    base = ["grpo", "--model_name_or_path", "figures/tiny", "--dataset_name", jsonl, "--max_completion_length", "8"]
    return [*base, "--per_device_train_batch_size", "8", "--num_generations", "2", "--report_to", "none", *more]


def test_clean_run_without_samples(jsonl, capsys):
    code, report = check_json(capsys, *words_for(jsonl, "--samples", "0", "--max_steps", "3"))
    assert code == 0 and report["findings"] == []
    sections = report["sections"]
    assert sections["rows"]["answer_types"] == {"number": 8}
    assert sections["batches"]["prompts_per_generation"] == 4 and sections["batches"]["steps"] == 3
    assert sections["config"]["max_steps"] == {"value": 3, "source": "command line"}
    assert sections["config"]["temperature"] == {"value": 1.0, "source": "default"}
    assert "samples" not in sections


@pytest.fixture
def babble(monkeypatch):
    """Let the model talk without an answer: more than a hundred characters on a line are none."""
    import mmr1_trl.evaluation.preflight as preflight

    completion = Completion("word " * 30, 30, False)
    monkeypatch.setattr(preflight, "generate", lambda model, processor, rows, **kwargs: [[completion] for _ in rows])


def test_samples_are_shown_and_a_silent_model_is_a_finding(jsonl, capsys, babble):
    code, report = check_json(capsys, *words_for(jsonl))
    assert code == 1
    assert len(report["sections"]["samples"]) == 4
    assert any("contains an answer" in finding for finding in report["findings"])


def test_text_report(jsonl, capsys, babble):
    main(["check", *words_for(jsonl)])
    text = capsys.readouterr().out
    for line in ("Batches", "Tokens of a prompt", "Estimated memory", "Sample of row 0", "extracted", "Finding: None"):
        assert line in text
    assert "command line" in text and jsonl in text


def test_broken_rows_are_named(tmp_path, capsys):
    folder = tmp_path / "set"
    jsonl = str(published.write_jsonl(folder, num_rows=8))
    (folder / "pictures" / "5.png").write_bytes(published.picture(5)["bytes"][:90])
    (folder / "pictures" / "6.png").unlink()
    code, report = check_json(capsys, *words_for(jsonl, "--samples", "0", "--answer_type", "yes_no"))
    assert code == 1
    golds, images = report["findings"]
    assert golds.startswith("8 gold answers cannot be scored against: row 0: '0'")
    assert images.startswith("2 rows have a bad image: row 5, image 0: ") and "there is no file" in images
    assert set(report["sections"]["rows"]["bad_images"]) == {"5", "6"}
    code, report = check_json(capsys, *words_for(jsonl, "--samples", "0", "--on_bad_row", "skip"))
    assert code == 0 and "2 rows have a bad image" in report["notes"][0]


def test_other_findings(jsonl, tmp_path, capsys):
    few = str(published.write_jsonl(tmp_path / "few", num_rows=2))
    for words, message in (
        (words_for(few, "--samples", "0"), "2 rows, fewer than the 4 prompts of one generation batch"),
        (
            words_for(jsonl, "--samples", "0", "--reward_funcs", "format_reward"),
            "every completion 1.0 under prompt style",
        ),
        (
            words_for(jsonl, "--samples", "0", "--max_completion_length", "100000"),
            "do not fit into the model's context",
        ),
        (words_for(jsonl, "--samples", "0", "--use_vllm", "true"), "use_vllm needs vllm"),
        (
            words_for(
                jsonl,
                "--samples",
                "0",
                "--use_vllm",
                "true",
                "--vllm_mode",
                "colocate",
                "--vllm_max_model_length",
                "9",
            ),
            "vllm_max_model_length=9 is too little for train_dataset: row ",
        ),
    ):
        code, report = check_json(capsys, *words)
        assert code == 1 and any(message in finding for finding in report["findings"])


def test_processes_are_counted_in(jsonl, capsys):
    words = words_for(jsonl, "--samples", "0", "--per_device_train_batch_size", "2", "--num_processes", "4")
    _, report = check_json(capsys, *words)
    batches = report["sections"]["batches"]
    assert (batches["processes"], batches["rollouts_per_generation"]) == (4, 8)
    assert report["sections"]["config"]["per_device_train_batch_size"]["value"] == 2


def test_the_command_comes_from_the_config(capsys):
    code, report = check_json(
        capsys, "--config", "figures/mssr", "--model_name_or_path", "figures/tiny", "--samples", "0"
    )
    assert code == 0 and report["command"] == "mssr"
    assert report["sections"]["config"]["beta"]["source"].endswith("mssr.yaml")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["msr"], "knows no command 'msr'. Did you mean 'mssr'"),
        (["--dataset_name", "figures"], "Say which command to check"),
        (["grpo", "--max_stpes", "3"], "Did you mean 'max_steps'"),
        (["grpo", "--samples", "many"], "--samples"),
        (["grpo", "--samples", "-1"], "--samples must be at least 0"),
        (["grpo", "--dataset_name", "figures"], "--model_name_or_path is missing"),
        (["grpo", "--model_name_or_path", "figures/tiny", "--reward_funcs", "acuracy_reward"], "accuracy_reward"),
        (["grpo", "--model_name_or_path", "figures/tiny", "--dataset_name", "gone.jsonl"], "no file 'gone.jsonl'"),
        (["mssr", "--model_name_or_path", "figures/tiny", "--beta", "0"], "tracker_kl_source"),
    ],
)
def test_bad_input(words, message, capsys):
    assert main(["check", *words]) == 2
    assert message in capsys.readouterr().err


def test_an_adapter_as_the_model_is_one_line(tmp_path, jsonl, capsys):
    model, processor = build_tiny_vlm()
    model.config.save_pretrained(tmp_path / "base")
    processor.save_pretrained(tmp_path / "adapter")
    adapter = {"base_model_name_or_path": str(tmp_path / "base"), "peft_type": "LORA"}
    (tmp_path / "adapter/adapter_config.json").write_text(json.dumps(adapter))
    words = words_for(jsonl, "--samples", "0", "--model_name_or_path", str(tmp_path / "adapter"))
    assert main(["check", *words]) == 2
    message = capsys.readouterr().err.split("mmr1: error: ")[1]
    assert "holds an adapter" in message and str(tmp_path / "adapter") in message and message.count("\n") == 1


def test_a_gold_box_is_shown_in_every_frame(tmp_path, capsys):
    published.screenspot(8).to_parquet(tmp_path / "boxes.parquet")
    words = words_for(str(tmp_path / "boxes.parquet"), "--samples", "0", "--max_pixels", "5000")
    code, report = check_json(capsys, *words)
    places = report["sections"]["places"]
    assert code == 0 and places["coordinates"] == "resized" and places["image_size"] == [200, 100]
    assert places["gold"]["pixels"] == [20, 20, 60, 40] and places["gold"]["thousandths"] == [100, 200, 300, 400]
    assert places["seen_size"] == [112, 56] and places["gold"]["resized"] == [11.2, 11.2, 33.6, 22.4]
    assert main(["check", *words, "--coordinates", "pixels"]) == 0
    printed = capsys.readouterr().out
    assert "read as pixels" in printed and "Note: 8 of 8 pictures are resized" in printed


def test_golds_in_thousandths_that_were_read_as_pixels_are_a_finding(tmp_path, capsys):
    raw = published.screenspot(20, (1400, 1100))
    boxes = [[100 + i, 200, 900, 1000 - i] for i in range(20)]
    raw.remove_columns("bbox").add_column("bbox", boxes).to_parquet(tmp_path / "boxes.parquet")
    words = words_for(str(tmp_path / "boxes.parquet"), "--samples", "0", "--max_pixels", "5000")
    code, report = check_json(capsys, *words)
    assert code == 1 and "--gold_coordinates thousandths" in report["findings"][0]
    assert check_json(capsys, *words, "--gold_coordinates", "thousandths")[0] == 0


def test_mixed_rows_are_fine(tmp_path, capsys):
    pictures = [[published.picture(i)] if i % 2 else [] for i in range(8)]
    rows = [{"problem": f"q{i}", "answer": str(i), "images": images} for i, images in enumerate(pictures)]
    published.make(rows, problem=Value("string"), answer=Value("string"), images=List(Image())).to_parquet(
        tmp_path / "mixed.parquet"
    )
    code, report = check_json(capsys, *words_for(str(tmp_path / "mixed.parquet"), "--samples", "0"))
    assert code == 0 and report["findings"] == []
