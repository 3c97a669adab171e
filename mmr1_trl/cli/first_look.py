# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What can be refused in a moment: names of files and folders, before torch is imported or a process is launched."""

import os
from pathlib import Path
from typing import Any

from mmr1_trl.cli.config_file import config_path_of, read_yaml
from mmr1_trl.cli.launch import LAUNCHED
from mmr1_trl.cli.output import DEFAULT_FOLDER, hold, require_usable, require_writable, resume_word
from mmr1_trl.cli.parser import Parser
from mmr1_trl.cli.parsing import FILES
from mmr1_trl.data.sources import check_dataset_name, nearest_file
from mmr1_trl.errors import BadInputError
from mmr1_trl.models.cache import check_model_name
from mmr1_trl.run_folder import newest_complete


FOLDERS = ("image_root", "benchmarks_folder")
TABLES = (".parquet", ".jsonl", ".json", ".csv")  # what prompt_scores may end in, when it is a file
NAMES = ("model", "model_name_or_path", "dataset_name", "datasets", "prompt_scores", *FOLDERS, *FILES)
FOLDER_OF_THE_RUN = ("output_dir", "resume_from_checkpoint")


def look_first(argv: list[str], whole_model: bool = True) -> None:
    """
    Refuse names of files, folders and models that cannot be there.

    Args:
        argv (`list[str]`):
            The words of a command.
        whole_model (`bool`, *optional*, defaults to `True`):
            Whether the model must be a whole one, and no adapter.

    Raises:
        [`BadInputError`]: With the nearest name.
    """
    if LAUNCHED in os.environ or {"-h", "--help"} & set(argv):
        return
    for name, value in _given(argv, NAMES).items():
        if name == "datasets":
            for entry in value if isinstance(value, list) else ():
                named = entry.get("name") if isinstance(entry, dict) else entry
                if isinstance(named, str) and "\0" not in named:
                    check_dataset_name(named)
        if not isinstance(value, str) or not value or "\0" in value:
            continue  # refused with the other options
        if name in ("model", "model_name_or_path"):
            check_model_name(value, whole_model)
        elif name == "dataset_name":
            check_dataset_name(value)
        elif name in FOLDERS and not os.path.isdir(value):
            raise BadInputError(f"--{name}: there is no folder {value!r}.{nearest_file(value)}")
        elif name in FILES and not value.lstrip().startswith("{") and not os.path.isfile(value):
            raise BadInputError(
                f"--{name}: there is no file {value!r}, and it is no JSON object.{nearest_file(value)}"
            )
        elif name == "prompt_scores" and value.endswith(TABLES) and not os.path.isfile(value):
            raise BadInputError(f"prompt_scores: no file {value}.{nearest_file(value)}")


def look_at_folder(command: str, argv: list[str]) -> None:
    """
    Refuse what the folder of a training run forbids.

    Args:
        command (`str`), argv (`list[str]`):
            The training command and its words.

    Raises:
        [`BadInputError`]: The folder cannot be written, another process trains in it, or the checkpoint to go on from
            is half-written, damaged or of another kind of run.
    """
    if LAUNCHED in os.environ or {"-h", "--help"} & set(argv):
        return
    values = _given(argv, FOLDER_OF_THE_RUN)
    folder = values.get("output_dir") or DEFAULT_FOLDER
    if not isinstance(folder, str) or "\0" in folder:
        return  # refused with the other options
    with hold(require_writable(folder), command):
        checkpoint = resume_word(values.get("resume_from_checkpoint"))
        if checkpoint == "true":
            require_usable(command, newest_complete(folder)[0])
        elif checkpoint and os.path.isdir(checkpoint):  # else it is on the Hub
            require_usable(command, Path(checkpoint))


def _given(argv: list[str], names: tuple[str, ...]) -> dict[str, Any]:
    """Return the values of a few options, from the command line or else the config file."""
    parser = Parser(add_help=False)
    for name in names:
        parser.add_argument(f"--{name}", nargs="?", const="true" if name in FOLDER_OF_THE_RUN else None)
    path = config_path_of(argv)
    config = read_yaml(path) if path else {}
    words = {name: value for name, value in vars(parser.parse_known_args(argv)[0]).items() if value is not None}
    return {name: value for name, value in (config | words).items() if name in names}
