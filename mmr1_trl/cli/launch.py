# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""One process or several: `accelerate launch` on accelerators, `torch.distributed.run` on a CPU.

`accelerate launch --cpu --num_processes 2` runs one process without a word, hence the second way. Both are called in
this process, so that a failure arrives as an exception with the exit code and not as a second traceback.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmr1_trl.cli.parser import Parser
from mmr1_trl.errors import BadInputError, first_line


PREEMPTED = (128 + signal.SIGTERM, 128 + signal.SIGUSR1)  # exit codes of `errors.Preempted`
LAUNCHED = "MMR1_TRL_LAUNCHED"  # set for the processes that `launch` starts
HUB_TOKEN = "MMR1_TRL_HUB_TOKEN"  # hands the token to them: what is on a command line everybody can read in `ps`


def run_or_launch(command: str, argv: list[str], launch_args: list[str], run: Callable[[], int]) -> int:
    """
    Call `run` here, or start the processes that will call it.

    Args:
        command (`str`), argv (`list[str]`):
            The `mmr1` command and the words after it, which every process gets again.
        launch_args (`list[str]`):
            Flags of `accelerate launch`, `--num_processes` among them.
        run (`Callable[[], int]`):
            The work of one process.

    Returns:
        `int`: The exit code.
    """
    import torch

    if LAUNCHED in os.environ:
        _exit_with_launcher()
        return run()
    if "LOCAL_RANK" in os.environ:  # somebody's own torchrun or accelerate launch
        return run()
    read_flags(launch_args)  # refused here, whatever the machine has; accelerate starts one process for none
    if torch.accelerator.is_available() and "--cpu" not in launch_args:
        if launch_args or torch.accelerator.device_count() > 1:
            return _guarded(lambda words: _accelerate_launch(launch_args, command, words), argv)
        return run()
    num_processes = _cpu_processes(launch_args)
    if num_processes == 1:
        return run()
    return _guarded(lambda words: _torch_distributed_run(num_processes, command, words), argv)


def take_token(argv: list[str]) -> tuple[list[str], str | None]:
    """Return the words without `--hub_token X` and `--hub_token=X`, and X."""
    parser = Parser(add_help=False)
    parser.add_argument("--hub_token")
    known, words = parser.parse_known_args(argv)
    return words, known.hub_token


def hand_to_launcher(error: Exception) -> bool:
    """
    Leave the message of `error` where the launcher finds it, so that it is printed once and not by every process.

    Returns:
        `bool`: Whether there is such a launcher.
    """
    path = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if LAUNCHED not in os.environ or path is None:
        return False
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"message": str(error), "timestamp": int(time.time())}, file)
    settle()
    return True


def give_way() -> None:
    """
    Called with an exception at hand that is not bad input: when another process met bad input, wait to be ended.

    The others fail a moment after it for want of it, and their tracebacks would bury its message.
    """
    path = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if LAUNCHED in os.environ and path and any(Path(path).parent.parent.glob("*/error.json")):
        time.sleep(60.0)  # the launcher does it within a second of the other's end


def settle() -> None:
    """
    Let the worker thread of Gloo finish before the objects of a distributed run are freed.

    It needs the GIL to let go of the tensors of its last operation, and the destructor of the DDP wrapper waits for
    that thread with the GIL held: freed at the wrong moment, a process that has done everything never ends.
    """
    time.sleep(1.0)


def read_flags(launch_args: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """
    Read the flags of `accelerate launch` that something here depends on.

    Returns:
        `tuple`: `num_processes` and `config_file`, each `None` where it is not given, and `cpu`; and the other flags.

    Raises:
        [`BadInputError`]: The number of processes is none.
    """
    parser = Parser(add_help=False)
    parser.add_argument("--num_processes", type=int)
    parser.add_argument("--config_file")
    parser.add_argument("--cpu", action="store_true")
    known, other = parser.parse_known_args(launch_args)
    if known.num_processes is not None and known.num_processes < 1:
        raise BadInputError(f"--num_processes must be at least 1, not {known.num_processes}.")
    return known, other


def accelerate_settings(launch_args: list[str]) -> dict[str, Any]:
    """
    Return what the config of accelerate says that the launch flags name; nothing where they name none.

    Raises:
        [`BadInputError`]: accelerate cannot use that file.
    """
    from accelerate.commands.config.config_args import load_config_from_file

    path = read_flags(launch_args)[0].config_file
    if path is None:
        return {}
    try:
        return vars(load_config_from_file(path))
    except Exception as error:  # what is in the file can make accelerate raise anything
        raise BadInputError(f"--accelerate_config {path}: accelerate cannot use it: {first_line(error)}") from error


def asked_processes(launch_args: list[str]) -> int | None:
    """
    Return how many processes the launch flags, or the config of accelerate that they name, ask for.

    Raises:
        [`BadInputError`]: The number is none, or the config cannot be used.
    """
    known, _ = read_flags(launch_args)
    if known.num_processes is not None:
        return known.num_processes
    number = accelerate_settings(launch_args).get("num_processes", -1)  # accelerate's own default
    if number == -1:
        return None
    if not isinstance(number, int) or number < 1:
        raise BadInputError(f"{known.config_file}: num_processes must be at least 1, not {number!r}.")
    return number


def _cpu_processes(launch_args: list[str]) -> int:
    """Return how many processes the launch flags ask for on a machine without an accelerator."""
    known, other = read_flags(launch_args)
    if other and not other[0].startswith("-"):
        raise BadInputError(f"unexpected word {other[0]!r}. Options are written --name value.")
    if other or known.config_file is not None:
        flag = "--accelerate_config" if known.config_file is not None else other[0]
        raise BadInputError(
            f"{flag} needs an accelerator, and torch sees none here. On a CPU the only launch flag is "
            "--num_processes N."
        )
    return known.num_processes or 1


def _torch_distributed_run(num_processes: int, command: str, argv: list[str]) -> None:
    from torch.distributed.run import get_args_parser, run

    os.environ.setdefault("OMP_NUM_THREADS", "1")  # what torchrun sets anyway, with a banner
    # --standalone picks a free port, so that two runs on one machine do not meet.
    words = ["--standalone", f"--nproc_per_node={num_processes}", "--module", str(__package__), command, *argv]
    run(get_args_parser().parse_args(words))


def _accelerate_launch(launch_args: list[str], command: str, argv: list[str]) -> None:
    from accelerate.commands.launch import launch_command, launch_command_parser

    launch_command(launch_command_parser().parse_args([*launch_args, "--module", str(__package__), command, *argv]))


def _guarded(launch: Callable[[list[str]], None], argv: list[str]) -> int:
    """
    Call `launch` with the words `argv`, and turn what its processes ended with into one message and an exit code.

    The Hub token is not among the words: the processes find it in their environment.
    """
    import logging

    import psutil
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    words, token = take_token(argv)
    os.environ[LAUNCHED] = "1"
    if token is not None:
        os.environ[HUB_TOKEN] = token
    # On SIGTERM and SIGUSR1 the processes save a checkpoint (trainers/guards/preemption.py): a step and a save.
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "600")

    def forward(number: int, frame: object) -> None:
        # torch's launcher has a handler of its own for SIGTERM and forwards what is raised, SIGUSR1 from here too.
        # accelerate's launcher of a single process only waits for it.
        processes = psutil.Process().children()
        if not processes or signal.getsignal(signal.SIGTERM) is not forward:
            raise SignalException("preempted", sigval=signal.Signals(number))
        for process in processes:
            process.send_signal(number)

    before = {number: signal.signal(number, forward) for number in (signal.SIGTERM, signal.SIGUSR1)}
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    try:
        launch(words)
    except SignalException as stopped:
        if stopped.sigval == signal.SIGINT:
            raise KeyboardInterrupt from stopped
        return 128 + stopped.sigval
    except subprocess.CalledProcessError as failed:
        return _exit_code(failed.returncode)
    except ChildFailedError as failed:
        rank, failure = failed.get_first_failure()
        if failure.exitcode in (2, 3):  # the process handed its message to us
            print(f"mmr1: error: {failure.message}", file=sys.stderr)
        elif failure.exitcode not in PREEMPTED:
            print(f"mmr1: process {rank} failed first (exit code {failure.exitcode}), see above.", file=sys.stderr)
        return _exit_code(failure.exitcode)
    finally:
        del os.environ[LAUNCHED]
        os.environ.pop(HUB_TOKEN, None)
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0


def _exit_code(code: int) -> int:
    return 128 - code if code < 0 else code  # a negative code is the signal that ended the process


def _exit_with_launcher() -> None:
    """End this process when its launcher is killed: torchrun's own clean-up cannot run then."""
    launcher = os.getppid()

    def watch() -> None:
        while os.getppid() == launcher:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, name="exit-with-launcher", daemon=True).start()
