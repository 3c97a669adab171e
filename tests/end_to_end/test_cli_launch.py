# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Two processes through the command line: one message, the right exit code, nobody left behind."""

import json
import signal

import pytest
from fixtures.forked import Forked, Started, processes_in, wait_until
from PIL import Image

from mmr1_trl.errors import BadInputError
from mmr1_trl.run_folder import locked


pytestmark = pytest.mark.slow

OPTIONS = [
    "--model_name_or_path", "figures/tiny", "--num_train_rows", "32", "--max_completion_length", "4",
    "--per_device_train_batch_size", "4", "--gradient_checkpointing", "false", "--beta", "0",
    "--tracker_forgetting", "fixed", "--report_to", "none", "--save_steps", "2",
]  # fmt: skip
TWO_PROCESSES = ["-m", "mmr1_trl.cli", "mssr", *OPTIONS, "--num_processes", "2"]
# What `--num_processes 1` does on an accelerator; on a CPU the command line launches nothing for it.
ONE_PROCESS_LAUNCHED = """
import sys
from mmr1_trl.cli import launch, main
from mmr1_trl.cli.commands import train

def run_or_launch(command, argv, launch_args, run):
    words = ["--cpu", "--num_processes", "1"]
    return launch._guarded(lambda argv: launch._accelerate_launch(words, command, argv), argv)

train.run_or_launch = run_or_launch
sys.exit(main(sys.argv[1:]))
"""
ONE_PROCESS = ["-c", ONE_PROCESS_LAUNCHED, "mssr", *OPTIONS]


def test_bad_input_of_one_process_is_the_only_message(tmp_path):
    for number in range(16):
        Image.new("RGB", (56, 56), (number, 0, 0)).save(tmp_path / f"{number}.png")
    (tmp_path / "9.png").write_text("no picture")
    rows = [{"question": "which ?", "image": f"{number}.png", "answer": "1"} for number in range(16)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = [*TWO_PROCESSES, "--dataset_name", "rows.jsonl", "--output_dir", "out", "--max_steps", "2"]
    done = Forked(*words, cwd=tmp_path).finish()
    errors = done.stderr
    assert done.returncode == 2
    assert errors.count("mmr1: error: ") == 1 and "row 9" in errors
    assert "Traceback" not in errors
    assert processes_in(tmp_path) == []


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_no_process_outlives_its_launcher(tmp_path, sent, code):
    process = Forked(*TWO_PROCESSES, "--output_dir", "out", "--max_steps", "100000", cwd=tmp_path)
    wait_until(lambda: list(tmp_path.glob("out/checkpoint-*/rlvr_complete.json")) or process.poll() is not None)
    assert len(processes_in(tmp_path)) >= 3
    with pytest.raises(BadInputError, match="out is in use by mmr1 mssr"), locked(tmp_path / "out"):
        pass  # one of them holds the folder for all
    process.send_signal(sent)
    done = process.finish()
    assert done.returncode == code
    if sent == signal.SIGINT:
        assert done.stderr.rstrip().endswith("--resume_from_checkpoint true")
    wait_until(lambda: processes_in(tmp_path) == [])
    with locked(tmp_path / "out"):
        pass


@pytest.mark.parametrize(
    ("sent", "code", "kind", "words"),
    [
        pytest.param(signal.SIGTERM, 143, Started, TWO_PROCESSES, id="SIGTERM-two"),
        pytest.param(signal.SIGUSR1, 138, Forked, TWO_PROCESSES, id="SIGUSR1-two"),
        pytest.param(signal.SIGTERM, 143, Forked, ONE_PROCESS, id="SIGTERM-one"),
        pytest.param(signal.SIGUSR1, 138, Started, ONE_PROCESS, id="SIGUSR1-one"),
    ],
)
def test_launched_processes_save_on_a_signal(tmp_path, sent, code, kind, words):
    options = ["--output_dir", "out", "--max_steps", "100000", "--save_steps", "100000", "--logging_steps", "1"]
    process = kind(*words, *options, cwd=tmp_path)
    wait_until(lambda: "tokens/s" in process.printed()[0] or process.poll() is not None)
    process.send_signal(sent)
    done = process.finish()
    errors = done.stderr
    assert done.returncode == code, errors
    assert errors.rstrip().endswith("--resume_from_checkpoint true"), errors
    assert errors.count(f"{sent.name}: saved a checkpoint of step") == 1 and "Traceback" not in errors
    (checkpoint,) = tmp_path.glob("out/checkpoint-*")
    assert (checkpoint / "rlvr_complete.json").is_file()
    assert not (tmp_path / "out/model.safetensors").exists(), "a run that was stopped looks finished"
    wait_until(lambda: processes_in(tmp_path) == [])
