# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The folder of a run: one process at a time, files whole or not there, checkpoints in the order of their steps."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmr1_trl.cli import main
from mmr1_trl.cli.first_look import look_at_folder
from mmr1_trl.errors import BadInputError
from mmr1_trl.reporting.runs import load_run
from mmr1_trl.run_folder import (
    COMPLETE,
    LOCK,
    STATE_JSON,
    TRAINER_STATE,
    Journal,
    complete_checkpoints,
    list_checkpoints,
    locked,
    newest_complete,
    rotate,
    write_json,
    write_text,
)


HOLD = """
import os, sys, time
from mmr1_trl.run_folder import locked
with locked(sys.argv[1], "mmr1 mssr"):
    if os.fork() == 0:  # a child, such as a worker that reads data, outlives its parent
        time.sleep(30)
        os._exit(0)
    print("held", flush=True)
    time.sleep(60)
"""


def checkpoint(run: Path, step: int, complete: bool = True) -> Path:
    folder = run / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    write_json(folder / STATE_JSON, {})
    write_json(folder / TRAINER_STATE, {"global_step": step, "log_history": [{"step": step, "loss": 0.0}]})
    if complete:
        write_json(folder / COMPLETE, {"global_step": step})
    return folder


def steps(run: Path) -> list[int]:
    return [int(path.name.split("-")[1]) for path in list_checkpoints(run)]


def test_the_lock_names_its_holder_and_ends_with_it(tmp_path, monkeypatch):
    run = tmp_path / "run"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(run)], stdout=subprocess.PIPE, text=True)
    child = None
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        child = int(Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()[0])
        said = rf"in use by mmr1 mssr \(process {holder.pid} on {os.uname().nodename}, since \d{{4}}-.* UTC\)"
        with pytest.raises(BadInputError, match=said), locked(run):
            pass
        with pytest.raises(BadInputError, match=said):
            look_at_folder("mssr", ["--output_dir", str(run)])
        monkeypatch.setenv("RANK", "1")  # under somebody's own torchrun rank 0 looks and holds for all
        look_at_folder("mssr", ["--output_dir", str(run)])
        checkpoint(run, 4)
        assert load_run(run).history  # reading needs no lock
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with locked(run), locked(run):  # again within a process; the child that lives on holds nothing
            assert json.loads((run / LOCK).read_text())["pid"] == os.getpid()
        assert not (run / LOCK).exists()
    finally:
        holder.kill()
        holder.wait()
        if child is not None:
            os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("command", ["mssr", "sft", "quickstart", "score"])
def test_every_command_that_writes_there_is_refused_before_a_model_loads(tmp_path, capsys, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    words = ["--output_dir", "run"]
    if command in ("mssr", "sft", "score"):
        words += ["--model_name_or_path", "no/model", "--dataset_name", "no/rows"]
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        begun = time.monotonic()
        code = main([command, *words])
        seconds = time.monotonic() - begun
        os.killpg(holder.pid, signal.SIGKILL)
    errors = capsys.readouterr().err
    assert code == 2 and f"run is in use by mmr1 mssr (process {holder.pid} on" in errors, errors
    assert "Traceback" not in errors and seconds < 60


def test_a_used_folder_and_a_damaged_checkpoint_are_refused_before_torch_is_imported(tmp_path):
    damaged = checkpoint(tmp_path / "damaged", 4)
    (damaged / TRAINER_STATE).write_text('{"global_step": ')
    code = (
        "import sys; from mmr1_trl.cli import main; from mmr1_trl.run_folder import locked\n"
        f"print(main(['mssr', '--output_dir', {str(tmp_path / 'damaged')!r}, '--resume_from_checkpoint', 'true']),"
        "'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "2 False\n", done.stderr
    assert "checkpoint-4 is damaged: trainer_state.json cannot be read" in done.stderr


def test_a_folder_that_nothing_was_written_to_is_not_left_behind(tmp_path):
    with locked(tmp_path / "new/run"):
        assert (tmp_path / "new/run" / LOCK).is_file()
    assert not (tmp_path / "new/run").exists()
    (tmp_path / "file").touch()
    with pytest.raises(BadInputError, match="file cannot be written"), locked(tmp_path / "file"):
        pass


def test_a_file_system_without_locks_is_said_aloud(tmp_path, monkeypatch, caplog):
    def refuse(*args):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.lockf", refuse)
    with locked(tmp_path / "run"):
        pass
    assert "cannot be locked (Function not implemented): do not start a second run" in caplog.text


def test_rotation_goes_by_steps_and_not_by_times(tmp_path):
    run = tmp_path / "run"
    for step in (9, 10, 100):
        checkpoint(run, step)
    future = time.time() + 1e6
    os.utime(run / "checkpoint-9", (future, future))  # the clock was set back since, or a copy touched it
    rotate(run, 2, run / "checkpoint-100", best=None)
    assert steps(run) == [10, 100]


@pytest.mark.parametrize(
    ("there", "half", "saved", "best", "limit", "left"),
    [
        ((1, 2, 3), (), 3, None, None, [1, 2, 3]),
        ((1, 2, 3), (), 3, 1, 1, [1, 3]),  # the best one and the one just saved stay whatever the limit
        ((1, 2, 3), (), 3, 1, 2, [1, 3]),
        ((1, 2, 3), (2,), 3, None, 2, [1, 3]),  # what cannot be resumed goes before what can
        ((2, 5, 8), (), 5, None, 1, [5, 8]),  # gone on from an earlier one: the later work of before stays
        ((2, 3, 8), (8,), 3, None, 1, [3, 8]),
        ((3,), (), 3, None, 1, [3]),
    ],
)
def test_rotation_never_deletes_the_newest_work(tmp_path, there, half, saved, best, limit, left):
    for step in there:
        checkpoint(tmp_path, step, complete=step not in half)
    best_folder = None if best is None else tmp_path / "." / f"checkpoint-{best}"
    rotate(tmp_path, limit, tmp_path / f"checkpoint-{saved}", best_folder)
    assert steps(tmp_path) == left


def test_the_newest_complete_checkpoint_is_that_of_the_highest_step(tmp_path):
    with pytest.raises(BadInputError, match="No complete checkpoint"):
        newest_complete(tmp_path / "nowhere")
    checkpoint(tmp_path, 100, complete=False)
    with pytest.raises(BadInputError, match="checkpoint-100 is half-written"):
        newest_complete(tmp_path)
    for step in (10, 9):
        checkpoint(tmp_path, step)
    (tmp_path / "checkpoint-best").mkdir()
    newest, skipped = newest_complete(tmp_path)
    assert newest.name == "checkpoint-10" and [path.name for path in skipped] == ["checkpoint-100"]
    (tmp_path / "checkpoint-100" / STATE_JSON).unlink()  # as supervised runs of earlier versions left theirs
    assert [path.name for path in complete_checkpoints(tmp_path)][-1] == "checkpoint-100"


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "state.json"
    write_json(path, {"step": 1})
    with pytest.raises(TypeError):
        write_json(path, {"step": object()})

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_text(path, "new")
    assert json.loads(path.read_text()) == {"step": 1} and os.listdir(tmp_path) == ["state.json"]


def test_nobody_else_spells_a_file_name_of_a_run():
    import ast

    import mmr1_trl
    from mmr1_trl.run_folder import files

    names = {value for name, value in vars(files).items() if name.isupper() and isinstance(value, str)}
    names -= {files.COMPLETIONS}  # TRL's word for what is sampled, too
    package = Path(mmr1_trl.__file__).parent
    found = []
    for path in sorted(package.rglob("*.py")):
        if path.parent.name == "run_folder":
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        texts = [
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
        found += [f"{path.relative_to(package)}: {text}" for text in texts if Path(text).name in names]
    assert not found, found


@pytest.mark.parametrize("content", [b"{\n", b"[1]\n", b"\xff\xfe\n", b'{"seed": 0}\n{"a": \n"b"\n'])
def test_a_damaged_journal_is_named(tmp_path, content):
    path = tmp_path / "journal.jsonl"
    path.write_bytes(content)
    for read in ("differences", "pieces", "resume"):
        with pytest.raises(BadInputError, match="journal.jsonl is damaged: .*Delete it"):
            getattr(Journal(path, {"seed": 0}), read)()
    assert path.read_bytes() == content
