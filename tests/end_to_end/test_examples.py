# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The scripts and the notebook of `examples/`, run as they are with a tiny model."""

import os
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from packaging.requirements import Requirement


EXAMPLES = Path(__file__).parents[2] / "examples"
TINY = ["--model_name_or_path", "figures/tiny", "--max_steps", "1", "--num_train_rows", "64"]
TINY += ["--per_device_train_batch_size", "8", "--max_completion_length", "4", "--save_strategy", "no"]


@pytest.mark.parametrize("name", ["mssr", "vas", "two_stage"])
def test_a_script_trains_with_a_shipped_config(name, tmp_path, monkeypatch):
    script, config = EXAMPLES / f"train_{name}.py", EXAMPLES.parent / "configs/figures" / f"{name}.yaml"
    words = ["--config", str(config), *TINY, "--output_dir", str(tmp_path / "run")]
    monkeypatch.setattr(sys, "argv", [str(script), *words])
    runpy.run_path(str(script), run_name="__main__")
    assert (tmp_path / "run" / "model.safetensors").is_file()


def test_the_job_asks_for_extras_that_exist_and_hands_its_words_on(tmp_path, monkeypatch):
    script = EXAMPLES / "hf_job.py"
    header = script.read_text().split("# ///")[1].removeprefix(" script\n")
    metadata = tomllib.loads("\n".join(line.removeprefix("# ") for line in header.splitlines()))
    project = tomllib.loads((EXAMPLES.parent / "pyproject.toml").read_text())["project"]
    (requirement,) = map(Requirement, metadata["dependencies"])
    assert requirement.name == project["name"] and requirement.extras <= set(project["optional-dependencies"])
    assert metadata["requires-python"] == project["requires-python"]
    words = ["--config", "figures/mssr", *TINY, "--output_dir", str(tmp_path / "run")]
    monkeypatch.setattr(sys, "argv", [str(script), *words])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(script), run_name="__main__")
    assert end.value.code == 0 and (tmp_path / "run" / "model.safetensors").is_file()


@pytest.mark.slow
def test_a_script_is_launched_by_accelerate(tmp_path):
    words = ["accelerate.commands.launch", "--cpu", "--num_processes", "1", EXAMPLES / "train_mssr.py"]
    words += [*TINY, "--steps_per_generation", "1", "--output_dir", tmp_path / "run"]
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "model.safetensors").is_file()


@pytest.mark.slow
def test_the_notebook_runs_and_shows_plots_and_pictures(tmp_path):
    notebook = nbformat.read(EXAMPLES / "first_run.ipynb", as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in cells), "strip the outputs"
    assert cells[0].metadata.tags == ["parameters"]
    cells[0].source = f"MODEL, STEPS, EVAL_ROWS, OUTPUT = 'figures/tiny', 2, 8, {str(tmp_path / 'run')!r}"
    (training,) = [cell for cell in cells if "trainer.train()\n" not in cell.source and "MSSRConfig(" in cell.source]
    training.source = training.source.replace("batch_size=128", "batch_size=8").replace(
        "logging_steps=10", "logging_steps=1"
    )
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    NotebookClient(notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute(
        env=environment
    )
    shown = [output.get("data", {}) for cell in cells for output in cell.outputs]
    assert sum("image/png" in data for data in shown) == 3
    text = "".join(output.get("text", "") for cell in cells for output in cell.outputs)
    assert "greedy accuracy" in text and "tokens/s" in text
