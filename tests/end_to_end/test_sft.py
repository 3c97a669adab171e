# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""`mmr1 sft`: the stages of the cold start, and supervised training with one's own options."""

import json
import os
import re
import shutil
import signal

import pytest
import torch
from fixtures import datasets as published
from safetensors.torch import load_file

from mmr1_trl.cli import main
from mmr1_trl.data.figures import TraceMixture
from mmr1_trl.data.supervised import load_supervised
from mmr1_trl.models import cold_start, load_processor, resolve_model
from mmr1_trl.trainers.sft import SupervisedTrainer


OWN_OPTIONS = [
    "sft", "--model_name_or_path", "figures/tiny", "--figures_traces", "clean", "--num_train_rows", "16",
    "--per_device_train_batch_size", "4", "--max_length", "null", "--report_to", "none",
]  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MMR1_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_config_trains_the_stages_of_the_cold_start(folder, monkeypatch, capsys):
    stages = (cold_start.ColdStartStage(TraceMixture(), steps=2, learning_rate=1e-3, num_rows=16, batch_size=4),)
    monkeypatch.setattr(cold_start.ColdStartConfig, "__init__", lambda self, seed: vars(self).update(
        stages=stages, seed=seed))  # fmt: skip
    assert main(["sft", "--config", "figures/sft", "--disable_tqdm", "true"]) == 0
    assert (folder / "runs/figures_sft/model.safetensors").is_file()
    assert load_processor(folder / "runs/figures_sft").tokenizer is not None
    assert main(["sft", "--config", "figures/sft"]) == 2  # nothing trained is overwritten
    assert "already holds a trained run" in capsys.readouterr().err


def test_options_that_the_stages_would_ignore_are_refused(capsys):
    assert main(["sft", "--config", "figures/sft", "--max_steps", "5"]) == 2
    message = capsys.readouterr().err
    assert "does not take max_steps (given by command line)" in message and "Traceback" not in message


@pytest.mark.parametrize("launched", [["--num_processes", "2"], []])
def test_the_cold_start_is_refused_several_processes(folder, monkeypatch, capsys, launched):
    if not launched:  # somebody's own launcher
        monkeypatch.setattr("trl.SFTConfig.world_size", 2)
    assert main(["sft", "--config", "figures/sft", *launched]) == 2
    assert "figures_traces cold_start is trained in one process" in capsys.readouterr().err


@pytest.mark.parametrize("number", ["0", "-3"])
def test_no_rows_are_refused(folder, capsys, number):
    (folder / "rows.jsonl").write_text('{"prompt": "1 plus 1 ?", "completion": "2"}\n')
    options = [*OWN_OPTIONS, "--dataset_name", "rows.jsonl", "--num_train_rows", number, "--output_dir", "own"]
    assert main(options) == 2
    assert f"{number} rows of 'rows.jsonl' were asked for. Ask for 1 or more" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ("7", r"Column 'images' holds int64, not images or paths. Name another one with --image_column"),
        ('["0.png"]', r"rows.jsonl row 1, image 0: the file '0.png' is empty \(zero bytes\)"),
        ('"0.png"', r"rows.jsonl row 1, image 0: the file '0.png' is empty \(zero bytes\)"),
    ],
)
def test_pictures_that_cannot_be_read_are_refused(folder, capsys, images, message):
    (folder / "0.png").touch()
    first = "[]" if images.startswith("[") else "null"
    rows = [f'{{"prompt": "1 plus 1 ?", "completion": "2", "images": {entry}}}\n' for entry in (first, images)]
    (folder / "rows.jsonl").write_text("".join(rows))
    assert main([*OWN_OPTIONS, "--dataset_name", "rows.jsonl", "--output_dir", "own"]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error) and "Traceback" not in error


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "other is no checkpoint (no trainer_state.json)"),
        (["trainer_state.json", "rlvr_state.json"], "start from its weights: --model_name_or_path other"),
    ],
)
def test_another_kind_of_checkpoint_is_refused(folder, capsys, files, message):
    (folder / "other").mkdir()
    for name in files:
        (folder / "other" / name).write_text("{}")
    assert main([*OWN_OPTIONS, "--output_dir", "own", "--resume_from_checkpoint", "other"]) == 2
    assert message in capsys.readouterr().err


def test_conversations_as_they_are_published(folder, capsys):
    """MMR1-SFT's shape: only the reply is learned, and the pictures are where a flag says."""
    (folder / "set").mkdir()
    published.write_mmr1_sft(folder / "set")
    rows = json.loads((folder / "set/sft.json").read_text())
    for row in rows:
        row["photo"] = row.pop("images")[0]
    (folder / "set/other.json").write_text(json.dumps(rows))
    words = [*OWN_OPTIONS[:-1], "none", "--output_dir", "own", "--dataset_name", "set/other.json"]
    assert main(words) == 2
    assert (
        "1 <image> markers, and there are 0 images; name their column with --image_column" in capsys.readouterr().err
    )
    assert main([*words, "--image_column", "photos"]) == 2
    assert "--image_column photos: there is no such column. Did you mean 'photo'?" in capsys.readouterr().err
    trained = load_supervised("set/other.json", image_column="photo")
    assert trained.column_names == ["prompt", "completion", "images"]
    assert trained[1]["prompt"][0]["content"].startswith("Solve it") and trained[1]["images"][0].size == (56, 42)
    assert trained[1]["completion"][0]["content"].endswith(r"<answer>\boxed{2}</answer>")
    for change, message in (
        ({"conversations": rows[0]["conversations"][:1]}, "row 0: no conversation of texts that ends with a reply"),
        ({"photo": "nowhere.png"}, "row 0, image 0: there is no file"),
    ):
        (folder / "set/other.json").write_text(json.dumps([rows[0] | change, rows[1]]))
        assert main([*words, "--image_column", "photo"]) == 2
        assert message in capsys.readouterr().err


def test_an_adapter_is_no_model_to_start_from(folder, capsys):
    shutil.copytree(resolve_model("figures/tiny"), folder / "adapter")
    (folder / "adapter/config.json").unlink()
    (folder / "adapter/adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": resolve_model("figures/tiny"), "peft_type": "LORA"})
    )
    assert main([*OWN_OPTIONS, "--model_name_or_path", "adapter", "--output_dir", "own"]) == 2
    assert "adapter holds an adapter, and a training starts from a whole model" in capsys.readouterr().err


def test_no_step_is_refused(folder, capsys):
    assert main([*OWN_OPTIONS, "--max_steps", "0", "--output_dir", "own"]) == 2
    assert "max_steps=0 and num_train_epochs=3 leave nothing to train" in capsys.readouterr().err


def test_ones_own_options(folder):
    assert main([*OWN_OPTIONS, "--max_steps", "2", "--output_dir", "own"]) == 0
    assert (folder / "own/model.safetensors").is_file()


@pytest.mark.parametrize("adapter", [[], ["--use_peft", "true", "--lora_target_modules", "all-linear"]])
def test_nothing_to_resume_is_one_message(folder, capsys, adapter):
    assert main([*OWN_OPTIONS, *adapter, "--output_dir", "own", "--resume_from_checkpoint", "true"]) == 2
    assert capsys.readouterr().err.startswith("mmr1: error: No complete checkpoint in own. Leave out")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sent", "code", "adapter"),
    [(signal.SIGTERM, 143, []), (signal.SIGUSR1, 138, ["--use_peft", "true", "--lora_target_modules", "all-linear"])],
)
def test_a_signal_saves_and_the_resumed_run_is_the_same(folder, monkeypatch, capsys, caplog, sent, code, adapter):
    options = [*OWN_OPTIONS, *adapter, "--max_steps", "6", "--save_steps", "100"]  # one and a half epochs
    assert main([*options, "--output_dir", "undisturbed"]) == 0
    step, calls = SupervisedTrainer.training_step, []

    def training_step(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 5:
            os.kill(os.getpid(), sent)
        return step(self, *args, **kwargs)

    monkeypatch.setattr(SupervisedTrainer, "training_step", training_step)
    before, words = signal.getsignal(sent), [*options, "--output_dir", "own"]
    capsys.readouterr()
    assert main(words) == code
    errors = capsys.readouterr().err
    assert f"{sent.name}: saved a checkpoint of step 5" in caplog.text and "Traceback" not in errors
    assert errors.endswith(
        f"To go on from the last checkpoint: mmr1 {' '.join(words)} --resume_from_checkpoint true\n"
    )
    assert signal.getsignal(sent) == before
    weights = "adapter_model.safetensors" if adapter else "model.safetensors"
    assert (folder / "own/checkpoint-5" / weights).is_file()
    assert not (folder / "own" / weights).exists(), "a run that was stopped looks finished"
    assert main([*words, "--resume_from_checkpoint", "true"]) == 0
    assert len(calls) == 6
    resumed, undisturbed = (load_file(folder / run / weights) for run in ("own", "undisturbed"))
    assert resumed.keys() == undisturbed.keys()
    assert all(torch.equal(resumed[name], undisturbed[name]) for name in resumed)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("../0.png", "rows.jsonl (train): row 1, image 0: the path '../0.png' leads out of"),
        ("/dev/zero", "rows.jsonl row 1, image 0: '/dev/zero' is not a regular file"),
        ("https://a.org/0.png", "is an address"),
    ],
)
def test_pictures_come_from_the_folder_of_the_rows(folder, capsys, image, message):
    (folder / "set").mkdir()
    entries = ["[]", f'["{image}"]']
    rows = [f'{{"prompt": "1 plus 1 ?", "completion": "2", "images": {entry}}}\n' for entry in entries]
    (folder / "set/rows.jsonl").write_text("".join(rows))
    assert main([*OWN_OPTIONS, "--dataset_name", "set/rows.jsonl", "--output_dir", "own"]) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
