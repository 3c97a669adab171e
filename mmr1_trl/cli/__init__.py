# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The `mmr1` command line: one file per command, nothing heavy imported before a command runs."""

import errno
import importlib
import os
import select
import signal
import sys
import warnings

from mmr1_trl import __version__
from mmr1_trl.cli.launch import give_way, hand_to_launcher
from mmr1_trl.errors import BadInputError, TrainingStopped, did_you_mean
from mmr1_trl.trainers.method_table import METHODS


# command -> one line of help; each has a file in `commands/`, but for the methods, which share `commands/train.py`
COMMANDS = {
    "quickstart": "train a small vision-language model by MSSR on this machine, and show the gain",
    "sft": "supervised fine-tuning (the cold start), by TRL's SFTTrainer",
    **{command: method.summary for command, method in METHODS.items()},
    "score": "pass rates and variance promotion scores of a dataset",
    "plan": "whether a model fits onto your GPUs, with which options, and how long a step takes",
    "check": "look for everything that would stop a run, without training",
    "profile": "where the time and the memory of a training step go, as a table and a picture",
    "eval": "accuracy of a model on held-out pictures or a benchmark",
    "report": "curves and tables of one or several runs",
    "push": "models, adapters, datasets, scores and reports to the Hub, checked first",
    "configs": "list, show and copy the shipped configs",
    "env": "versions, devices and extras, for a bug report",
}


def _help() -> str:
    lines = [f"  {name:<12}{text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            "usage: mmr1 COMMAND [options]      (mmr1 COMMAND --help lists the options of one command)",
            "",
            "Single-rollout, variance-aware and two-stage-entropy RLVR for vision-language models, as TRL trainers.",
            "",
            "commands:",
            *lines,
            "",
            "examples:",
            "  mmr1 quickstart",
            "  mmr1 mssr --config figures/mssr --output_dir runs/mssr",
            "  mmr1 mssr --config qwen2_5_vl_3b/mssr --accelerate_config zero2 --num_processes 8",
        ]
    )


def _leave_progress_bars() -> None:
    """Close the progress bars, so that a message neither hangs on the end of one nor is followed by one."""
    tqdm = sys.modules.get("tqdm")
    for bar in list(getattr(tqdm.tqdm, "_instances", ())) if tqdm is not None else ():
        bar.close()


def _nobody_reads() -> bool:
    """Whether the reader of what is printed has gone, such as `head` after its lines."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _drop_output() -> None:
    """Let what is still to be flushed go nowhere, where it cannot go to its place."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(message: str) -> None:
    for stream in (sys.stderr, sys.stdout):
        if stream is not None:
            return print(f"mmr1: error: {message}", file=stream)


def main(argv: list[str] | None = None) -> int:
    """
    Run one `mmr1` command.

    Args:
        argv (`list[str]`, *optional*):
            The words after `mmr1`. Defaults to `sys.argv[1:]`.

    Returns:
        `int`: The exit code: 0; 2 for bad input and 3 for training that could not go on, with one message on stderr;
            130 after Ctrl-C, 128 and the number of the signal after another signal, SIGPIPE when nobody reads what
            is printed any more.
    """
    argv = sys.argv[1:] if argv is None else argv
    if sys.stdout is None or sys.stderr is None:
        # The next file that is opened would take its place, and what is printed would end up in there.
        name = "output" if sys.stdout is None else "error output"
        _say(f"the standard {name} is closed. Send it somewhere, such as to /dev/null.")
        return 2
    # transformers on its own old names, which TRL's defaults and hooks call: no reader could do anything about it.
    warnings.filterwarnings("ignore", r"`(is_)?gradient_checkpointing\w*` is deprecated", FutureWarning)
    try:
        code = _run(argv)
        sys.stdout.flush()
        return code
    except (BadInputError, TrainingStopped) as error:
        if not hand_to_launcher(error):
            _leave_progress_bars()
            _say(str(error))
        return 2 if isinstance(error, BadInputError) else 3
    except KeyboardInterrupt:
        print("mmr1: interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        if not _nobody_reads():
            give_way()
            raise
        _drop_output()
        return 128 + signal.SIGPIPE
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            give_way()
            raise
        _say(f"{error.filename or 'What was printed or written'}: {error.strerror}. Make room and try again.")
        _drop_output()
        return 3
    except Exception:
        give_way()
        raise


def _run(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    if argv[0] == "--version":
        print(__version__)
        return 0
    command, words = argv[0], argv[1:]
    if command not in COMMANDS:
        raise BadInputError(
            f"mmr1 has no command {command!r}.{did_you_mean(command, COMMANDS)} "
            f"The commands are: {', '.join(COMMANDS)}."
        )
    if command in METHODS:
        return importlib.import_module("mmr1_trl.cli.commands.train").train(command, words)
    return importlib.import_module(f"mmr1_trl.cli.commands.{command}").run(words)
