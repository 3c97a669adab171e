# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The folder of a run: never overwritten, and its settings lie beside it."""

import json

import pytest
import yaml
from safetensors import SafetensorError

from mmr1_trl.cli.commands.train import parse_training
from mmr1_trl.cli.launch import LAUNCHED, hand_to_launcher, run_or_launch
from mmr1_trl.cli.output import (
    refuse_to_overwrite,
    report_interrupt,
    require_writable,
    resume_argument,
    write_settings,
)
from mmr1_trl.cli.parts import refusals
from mmr1_trl.cli.rows import load_rows
from mmr1_trl.errors import BadInputError
from mmr1_trl.models import build_tiny_vlm


def settings_of(*argv):
    return parse_training("mssr", ["--model_name_or_path", "figures/tiny", *map(str, argv)])


@pytest.mark.parametrize(
    "trained", ["checkpoint-4/rlvr_complete.json", "model.safetensors", "adapter_model.safetensors"]
)
def test_a_trained_run_is_not_overwritten(tmp_path, trained):
    (tmp_path / trained).parent.mkdir(exist_ok=True)
    (tmp_path / trained).touch()
    with pytest.raises(BadInputError, match="--resume_from_checkpoint true, or choose another --output_dir"):
        refuse_to_overwrite(settings_of("--output_dir", tmp_path))
    resumed = settings_of("--output_dir", tmp_path, "--resume_from_checkpoint", "true")
    refuse_to_overwrite(resumed)
    with pytest.raises(BadInputError):
        refused = settings_of("--output_dir", tmp_path, "--resume_from_checkpoint", "false")
        refuse_to_overwrite(refused)


def test_a_trained_run_is_not_overwritten_by_another_ones_checkpoint(tmp_path):
    for run in ("mine", "other"):
        (tmp_path / run / "checkpoint-4").mkdir(parents=True)
        (tmp_path / run / "checkpoint-4/rlvr_complete.json").touch()

    def start(checkpoint):
        words = ("--output_dir", tmp_path / "mine", "--resume_from_checkpoint", checkpoint)
        refuse_to_overwrite(settings_of(*words))

    start(tmp_path / "mine" / "checkpoint-4")
    for elsewhere in (tmp_path / "other" / "checkpoint-4", "someone/a-model@step-4"):
        with pytest.raises(BadInputError, match=f"already holds a trained run .*{elsewhere} would overwrite"):
            start(elsewhere)


def test_an_empty_or_half_written_run_may_start_again(tmp_path):
    refuse_to_overwrite(settings_of("--output_dir", tmp_path / "new"))
    (tmp_path / "checkpoint-4").mkdir()
    (tmp_path / "checkpoint-4/rlvr_state.json").touch()
    (tmp_path / "checkpoint-4/trainer_state.json").touch()
    refuse_to_overwrite(settings_of("--output_dir", tmp_path))


@pytest.mark.parametrize(
    ("word", "argument"),
    [("true", True), ("True", True), ("yes", True), ("false", None), (None, None), ("runs/x/checkpoint-3",) * 2],
)
def test_the_word_true_is_no_folder(word, argument):
    class Config:
        resume_from_checkpoint = word

    assert resume_argument(Config()) == argument


def test_written_settings_load_again_without_the_token(tmp_path):
    given = ["--learning_rate", "1e-6", "--reward_funcs", "accuracy_reward", "format_reward", "--max_pixels", "none"]
    given += ["--question", 'what "is" it: # 5?', "--model_init_kwargs", '{"use_cache": false}', "--beta", "0.5"]
    settings = settings_of(*given, "--hub_token", "hf_secret", "--num_processes", "2", "--output_dir", tmp_path)
    write_settings(settings, str(tmp_path))
    text = (tmp_path / "mmr1_config.yaml").read_text()
    assert "hf_secret" not in text and "hub_token" not in text
    assert "# launched with --num_processes 2" in text and "# command line" in text
    assert "use_cpu" not in yaml.safe_load(text)  # this machine's, not the run's
    again = parse_training("mssr", ["--config", str(tmp_path / "mmr1_config.yaml")])
    settings.values.pop("hub_token")
    assert again.values == settings.values
    assert again.origin("beta") == str(tmp_path / "mmr1_config.yaml")


def test_written_settings_of_any_kind_load_again(tmp_path):
    values = {
        "small": 1e-6,
        "none": None,
        "list": [1, 2e-7, None],
        "on": True,
        "word": "a: b # \u00e9 'c' \n" + "x" * 200,
    }
    settings = settings_of("--output_dir", tmp_path)
    settings.values["model_init_kwargs"] = values
    settings.values["adam_epsilon"] = 1e-8
    write_settings(settings, str(tmp_path))
    written = yaml.safe_load((tmp_path / "mmr1_config.yaml").read_text())
    assert written["model_init_kwargs"] == values and written["adam_epsilon"] == 1e-8
    assert written["model_name_or_path"] == "figures/tiny"


def test_launch_flags_on_a_cpu(monkeypatch):
    monkeypatch.setattr("torch.accelerator.is_available", lambda: False)
    monkeypatch.delenv(LAUNCHED, raising=False)
    assert run_or_launch("mssr", [], [], lambda: 7) == 7
    assert run_or_launch("mssr", [], ["--cpu", "--num_processes", "1"], lambda: 7) == 7
    with pytest.raises(BadInputError, match="--accelerate_config needs an accelerator"):
        run_or_launch("mssr", [], ["--config_file", "zero2.yaml"], lambda: 7)
    with pytest.raises(BadInputError, match="unexpected word '3'"):
        run_or_launch("mssr", [], ["--num_processes", "2", "3"], lambda: 7)
    with pytest.raises(BadInputError, match="--multi_gpu needs an accelerator"):
        run_or_launch("mssr", [], ["--multi_gpu", "--num_processes", "2"], lambda: 7)
    with pytest.raises(BadInputError, match="--num_processes"):
        run_or_launch("mssr", [], ["--num_processes", "two"], lambda: 7)
    with pytest.raises(BadInputError, match="at least 1"):
        run_or_launch("mssr", [], ["--num_processes", "0"], lambda: 7)


def test_only_launched_processes_hand_their_message_over(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "error.json"))
    monkeypatch.delenv(LAUNCHED, raising=False)
    assert not hand_to_launcher(BadInputError("row 3"))
    monkeypatch.setenv(LAUNCHED, "1")
    assert hand_to_launcher(BadInputError("row 3"))
    assert json.loads((tmp_path / "error.json").read_text())["message"] == "row 3"


def test_rows_without_pictures_must_be_asked_for(tmp_path):
    _, processor = build_tiny_vlm("qwen2_5_vl", seed=0)
    rows = [{"question": f"{i} plus 1 is ?", "bild": "a.png", "answer": str(i + 1)} for i in range(4)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data_args, config, _ = settings_of("--dataset_name", path).build()
    with pytest.raises(BadInputError, match="'bild'.*--image_column none"):
        load_rows(data_args, config, "train", None, processor)
    data_args.image_column = "none"
    assert "images" not in load_rows(data_args, config, "train", 3, processor).column_names


def test_a_folder_that_cannot_be_written_is_refused_before_any_work(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file/sub"):
        with pytest.raises(BadInputError, match="file is a file. Choose another folder"):
            refuse_to_overwrite(settings_of("--output_dir", folder))
    assert require_writable(tmp_path / "new/run") == tmp_path / "new/run"
    assert not (tmp_path / "new").exists()
    assert not [path for path in tmp_path.iterdir() if path.name != "file"]
    with pytest.raises(BadInputError, match="/proc/x cannot be written: /proc: .*Choose another folder"):
        require_writable("/proc/x")  # where not even root may write, although `os.access` says so
    with pytest.raises(BadInputError, match="longer than 255 bytes"):
        require_writable(tmp_path / "new" / ("\u00e9" * 200))


def test_what_the_making_of_a_trainer_refuses_is_one_line():
    for raised, message in [
        (ValueError("Number of reward weights (2) must match"), "cannot be used: Number of reward weights"),
        (
            OSError("no file named model.safetensors\nand more"),
            "The model 'm' cannot be loaded: no file.*safetensors$",
        ),
        (SafetensorError("header"), "The model 'm' cannot be loaded: header"),
        (NotImplementedError("`sync_ref_model=True` with PEFT"), "cannot be used: `sync_ref_model=True`"),
        (BadInputError("row 3"), "^row 3$"),
    ]:
        with pytest.raises(BadInputError, match=message), refusals("m"):
            raise raised
    with pytest.raises(TypeError), refusals("m"):
        raise TypeError("a bug")


def test_after_an_interrupt_only_a_checkpoint_is_gone_on_from(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("signal.signal", lambda *args: None)
    settings = settings_of("--output_dir", tmp_path)
    report_interrupt(["--seed", "1"], settings)
    assert "before the first checkpoint. The same command begins again" in capsys.readouterr().err
    (tmp_path / "checkpoint-4").mkdir()
    (tmp_path / "checkpoint-4/rlvr_complete.json").touch()
    report_interrupt(["--seed", "1"], settings)
    assert "mmr1 mssr --seed 1 --resume_from_checkpoint true" in capsys.readouterr().err
    older = ["--output_dir", str(tmp_path), "--resume_from_checkpoint", "checkpoint-2"]
    for argv, said in [
        (older, f"{' '.join(older)} --resume_from_checkpoint true"),
        ([*older[:3], "true"], f"{' '.join(older[:3])} true"),
    ]:
        report_interrupt(argv, settings_of(*argv))
        assert capsys.readouterr().err.endswith(f": mmr1 mssr {said}\n")


@pytest.mark.parametrize("token", [["--hub_token", "hf_secret"], ["--hub-token", "hf_secret"],
                                   ["--hub_token=hf_secret"], ["--hub-token=hf_secret"]])  # fmt: skip
def test_the_command_to_go_on_does_not_show_the_token(tmp_path, capsys, monkeypatch, token):
    monkeypatch.setattr("signal.signal", lambda *args: None)
    (tmp_path / "checkpoint-4").mkdir()
    (tmp_path / "checkpoint-4/rlvr_complete.json").touch()
    argv = ["--seed", "1", *token, "--output_dir", str(tmp_path)]
    report_interrupt(argv, settings_of(*argv))
    errors = capsys.readouterr().err
    assert "hf_secret" not in errors and "with your --hub_token" in errors
    assert errors.endswith(f": mmr1 mssr --seed 1 --output_dir {tmp_path} --resume_from_checkpoint true\n")
