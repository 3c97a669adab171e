# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What `pip install` gives: the built wheel in an environment of its own, which sees the dependencies of this one."""

import json
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import mmr1_trl


ROOT = Path(__file__).parents[2]
# One process, because each would import torch again.
INSIDE = """
import contextlib, io, json, os, pathlib, sys
import mmr1_trl
from mmr1_trl import cli
from mmr1_trl.cli.shipped_configs import config_names

out = {"file": mmr1_trl.__file__, "help": {}, "names": list(config_names())}
shown = (["configs", "ls"], ["configs", "show", "figures/mssr"])
for words in (["--help"], *([name, "--help"] for name in cli.COMMANDS), *shown):
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        try:
            code = cli.main(words)
        except SystemExit as end:
            code = end.code
    out["help"][" ".join(words)] = [code or 0, text.getvalue()]
out["cards"] = sorted(p.name for p in pathlib.Path(mmr1_trl.__file__).with_name("cards").iterdir())
json.dump(out, open("out.json", "w"))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    words = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", folder, ROOT]
    built = subprocess.run(words, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_holds_what_the_package_reads(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert mmr1_trl.__version__ in wheel.name
    for kind in ("configs", "cards"):
        files = {f"mmr1_trl/{path.relative_to(ROOT)}" for path in (ROOT / kind).rglob("*") if path.is_file()}
        assert files and files <= names
    assert {f"{path.relative_to(ROOT)}" for path in (ROOT / "mmr1_trl").rglob("*.py")} <= names
    assert not any(name.startswith(("tests/", "benchmarks/", "docs/")) for name in names)


@pytest.mark.slow
def test_an_installed_wheel_has_all_commands_configs_and_cards(wheel, tmp_path):
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=False)
    python = environment / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run(pip, check=True)
    (packages,) = environment.glob("lib/python3*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    subprocess.run([python, "-I", "-c", INSIDE], cwd=tmp_path, check=True)
    out = json.loads((tmp_path / "out.json").read_text())
    assert Path(out["file"]).is_relative_to(environment)
    assert all(code == 0 and text for code, text in out["help"].values()), out["help"]
    assert out["help"]["configs show figures/mssr"][1] == (ROOT / "configs/figures/mssr.yaml").read_text()
    assert sorted(out["names"]) == sorted(
        str(p.relative_to(ROOT / "configs"))[:-5] for p in ROOT.glob("configs/*/*.yaml")
    )
    assert out["cards"] == sorted(path.name for path in (ROOT / "cards").iterdir())
    # The command itself, installed beside its interpreter.
    said = subprocess.run([environment / "bin" / "mmr1", "--version"], capture_output=True, text=True, cwd=tmp_path)
    assert said.stdout.strip() == mmr1_trl.__version__
