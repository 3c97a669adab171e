# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The folder of a run: nothing trained is overwritten, and the settings lie beside it."""

import contextlib
import math
import os
import shlex
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

import yaml

from mmr1_trl import __version__
from mmr1_trl.cli.config_file import METHOD
from mmr1_trl.cli.launch import LAUNCHED, take_token
from mmr1_trl.cli.parsing import NO_ACCELERATOR, Settings
from mmr1_trl.errors import BadInputError
from mmr1_trl.run_folder import (
    SETTINGS_FILE,
    STATE_JSON,
    complete_checkpoints,
    locked,
    require_whole,
    write_text,
)


LONGEST_NAME = 255  # bytes, on every file system in use
DEFAULT_FOLDER = "trainer_output"  # transformers' own


def require_writable(path: str | Path) -> Path:
    """
    Return `path` if a folder of that name can be written, without making it yet.

    Raises:
        [`BadInputError`]: It, or what it would lie in, is a file or read-only.
    """
    folder = Path(path)
    if too_long := next((part for part in folder.parts if len(os.fsencode(part)) > LONGEST_NAME), None):
        raise BadInputError(f"The name {too_long[:40]!r}... of a folder is longer than {LONGEST_NAME} bytes.")
    there = next(place for place in (folder, *folder.absolute().parents) if os.path.lexists(place))
    try:
        if there.is_dir():
            with tempfile.TemporaryDirectory(dir=there, prefix=".mmr1-"):
                pass  # only trying tells of read-only file systems, quotas and /proc
    except OSError as error:
        raise BadInputError(
            f"{folder} cannot be written: {there}: {error.strerror}. Choose another folder."
        ) from error
    if not there.is_dir():
        raise BadInputError(f"{folder} cannot be the output folder: {there} is a file. Choose another folder.")
    return folder


def require_usable(command: str, checkpoint: Path) -> None:
    """Refuse a checkpoint that is not whole, or of a kind that the command cannot go on with."""
    if command == "sft" and (checkpoint / STATE_JSON).is_file():
        raise BadInputError(
            f"{checkpoint} is of a reinforcement learning run, which `mmr1 sft` cannot go on with. To start from its "
            f"weights: --model_name_or_path {checkpoint}."
        )
    require_whole(checkpoint)
    if command != "sft" and not (checkpoint / STATE_JSON).is_file():
        raise BadInputError(
            f"{checkpoint} was not written by mmr1_trl's reinforcement learning (no {STATE_JSON}), so that `mmr1 "
            f"{command}` cannot go on with it. To start from its weights: --model_name_or_path {checkpoint}."
        )


def hold(folder: str | Path, command: str) -> contextlib.AbstractContextManager[None]:
    """Be the only command that writes in a folder; of several processes the first one holds it for all."""
    return contextlib.nullcontext() if int(os.environ.get("RANK", "0")) else locked(folder, f"mmr1 {command}")


def output_folder(settings: Settings) -> Path:
    """Return the output folder of a command, as it is given or as it is by default."""
    return Path(settings.value("output_dir") or DEFAULT_FOLDER)


def hold_folder(settings: Settings) -> contextlib.AbstractContextManager[None]:
    """[`hold`] the output folder of a command."""
    return hold(output_folder(settings), settings.command)


def refuse_to_overwrite(settings: Settings) -> None:
    """
    Refuse a fresh run, or another run's checkpoint, in a folder that holds a trained run, and any run in a folder that
    cannot be written.

    Args:
        settings ([`Settings`]):
            What the user asked for. Looked at before any process is launched, and not again by the launched ones.

    Raises:
        [`BadInputError`]: With the two ways out.
    """
    if LAUNCHED in os.environ:
        return
    folder = require_writable(output_folder(settings))
    checkpoint = resume_word(settings.values.get("resume_from_checkpoint"))
    if checkpoint == "true" or (checkpoint and Path(checkpoint).absolute().is_relative_to(folder.absolute())):
        return
    trained = complete_checkpoints(folder) + sorted(folder.glob("*.safetensors"))
    if trained:
        raise BadInputError(
            f"{folder} already holds a trained run ({trained[-1].name}), and {checkpoint or 'a new one'} would "
            "overwrite it. Go on with it by --resume_from_checkpoint true, or choose another --output_dir."
        )


def resume_argument(config: Any) -> str | Literal[True] | None:
    """Return `config.resume_from_checkpoint` as `Trainer.train` wants it: the word "true" is no folder."""
    word = resume_word(config.resume_from_checkpoint)
    return True if word == "true" else word


def resume_word(value: Any) -> str | None:
    """Return the folder that `resume_from_checkpoint` names, `"true"` for the newest, or `None`."""
    word = str(value)
    if word.lower() in ("none", "false", "no", "0", ""):
        return None
    return "true" if word.lower() in ("true", "yes", "1") else word


def report_interrupt(argv: list[str], settings: Settings) -> None:
    """Say after Ctrl-C or another signal how the run goes on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the launcher passes Ctrl-C on to those who have it already
    if LAUNCHED in os.environ:  # the launcher says it once for all its processes
        return
    folder = output_folder(settings)
    if not complete_checkpoints(folder):
        print("\nmmr1: interrupted before the first checkpoint. The same command begins again.", file=sys.stderr)
    else:
        newest = resume_word(settings.values.get("resume_from_checkpoint")) == "true"
        words, _ = take_token(argv)  # what is printed ends up in logs
        again = " (with your --hub_token again)" if len(words) < len(argv) else ""
        words += [] if newest else ["--resume_from_checkpoint", "true"]  # the last one counts
        command = f"mmr1 {settings.command} {shlex.join(words)}"
        print(f"\nmmr1: interrupted. To go on from the last checkpoint{again}: {command}", file=sys.stderr)


def write_settings(settings: Settings, output_dir: str) -> None:
    """Write what was given, by command line and YAML, as a file that `--config` takes. No Hub token."""
    lines = [f"# mmr1 {settings.command}, mmr1-trl {__version__}. Everything else had its default."]
    lines.append(f"{METHOD}: {settings.command}")
    if settings.launch_args:
        lines.append(f"# launched with {shlex.join(settings.launch_args)}")
    for name, value in sorted(settings.values.items()):
        if name not in ("hub_token", "resume_from_checkpoint"):
            # On one line whatever it holds; not JSON, in which PyYAML reads the number 1e-06 as a word.
            entry = yaml.safe_dump(
                {name: value}, default_flow_style=True, allow_unicode=True, sort_keys=False, width=math.inf
            )[1:-2]
            origin = settings.origin(name)
            # What this machine made necessary is told, but not carried to the next machine.
            lines.append(f"# {entry}  ({origin})" if origin == NO_ACCELERATOR else f"{entry}  # {origin}")
    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / SETTINGS_FILE, "\n".join(lines) + "\n")
