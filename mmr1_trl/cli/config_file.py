# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Reading a config file: YAML that says each thing once, says which method it is for, and cannot be a bomb."""

import json
import os
from pathlib import Path
from typing import Any

import yaml

from mmr1_trl.cli.parser import Parser
from mmr1_trl.cli.shipped_configs import find_config
from mmr1_trl.errors import BadInputError, did_you_mean
from mmr1_trl.trainers.method_table import METHODS


METHOD = "method"  # the key that says which command a config is for
COMMANDS = (*METHODS, "sft", "eval")  # the commands that it can be for
MAX_BYTES, MAX_VALUES, MAX_DEPTH = 1_000_000, 10_000, 20


def read_yaml(path: Path) -> dict[str, Any]:
    """
    Read a mapping of options.

    Args:
        path (`Path`):
            A YAML file.

    Returns:
        `dict[str, Any]`: Values by name; empty for an empty file.

    Raises:
        [`BadInputError`]: It cannot be read, is no mapping, names a key twice, is nested deeper than `MAX_DEPTH`, or
            comes to more than `MAX_VALUES` values once its aliases are written out.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BadInputError(f"{path} is larger than {MAX_BYTES:,} bytes, which no config is.")
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        _count_values(node, path)
        content = None if node is None else loader.construct_document(node)
    except BadInputError:
        raise
    except RecursionError:
        raise BadInputError(f"{path} is nested too deeply; no option needs more than {MAX_DEPTH} levels.") from None
    except OSError as error:
        raise BadInputError(f"{path} cannot be read: {error.strerror or error}") from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # ValueError: no UTF-8, a 13th month, 5,000 digits
        raise BadInputError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise BadInputError(
            f"{path} holds a {type(content).__name__}, not a YAML mapping. A config is a list of lines like "
            "`learning_rate: 1.0e-6`."
        )
    return {str(name): value for name, value in content.items()}


def _count_values(root: yaml.Node | None, path: Path) -> None:
    """Count what a document comes to with its aliases written out, without writing them out; refuse doubled keys."""
    sizes: dict[int, int] = {}
    unfinished: set[int] = set()

    def size(node: yaml.Node, depth: int) -> int:
        if depth > MAX_DEPTH or id(node) in unfinished:
            line = node.start_mark.line + 1
            raise BadInputError(f"{path}, line {line}: nested deeper than {MAX_DEPTH} levels, or in itself.")
        if id(node) not in sizes:
            unfinished.add(id(node))
            children = node.value if isinstance(node, yaml.CollectionNode) else []
            if isinstance(node, yaml.MappingNode):
                _refuse_doubled_keys(node, path)
                children = [part for pair in children for part in pair]
            sizes[id(node)] = 1 + sum(size(child, depth + 1) for child in children)
            unfinished.discard(id(node))
        if sizes[id(node)] > MAX_VALUES:
            line = node.start_mark.line + 1
            raise BadInputError(
                f"{path}, line {line}: more than {MAX_VALUES:,} values, aliases written out. Write less, or put rows "
                "into a dataset."
            )
        return sizes[id(node)]

    if root is not None:
        size(root, 0)


def _refuse_doubled_keys(node: yaml.MappingNode, path: Path) -> None:
    lines: dict[str, int] = {}
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            line = key.start_mark.line + 1
            if key.value in lines:
                raise BadInputError(
                    f"{path}, line {line}: {key.value!r} is given a second time (first in line {lines[key.value]}). "
                    "Keep one of them."
                )
            lines[key.value] = line


def config_path_of(argv: list[str]) -> Path | None:
    """Return the file that `--config` names, or `None` without one."""
    first_look = Parser(add_help=False)
    first_look.add_argument("--config")
    name = first_look.parse_known_args(argv)[0].config
    return None if name is None else find_config(name)


def read_config(path: Path | None, command: str) -> dict[str, Any]:
    """
    Read the options in a config file, and set the environment variables of its `env:` entry.

    Args:
        path (`Path`, *optional*):
            The file; without one there are no options.
        command (`str`):
            The command that reads it.

    Returns:
        `dict[str, Any]`: Options by name, without `env` and `method`.

    Raises:
        [`BadInputError`]: As in [`read_yaml`]; or the file is for another training command, or `env` is unusable.
    """
    config = read_yaml(path) if path is not None else {}
    method = config.pop(METHOD, command)
    if method not in COMMANDS and method != command:
        raise BadInputError(
            f"{path}: {METHOD}: {method!r} is not one of {', '.join(COMMANDS)}.{did_you_mean(str(method), COMMANDS)}"
        )
    if command in COMMANDS and method != command:
        raise BadInputError(
            f"{path} is a config of `mmr1 {method}` ({METHOD}: {method}), and the command is `mmr1 {command}`. Call "
            f"`mmr1 {method} --config {path}`, or write `{METHOD}: {command}` into a copy of it."
        )
    os.environ.update(_environment(config.pop("env", None), path))
    return config


def method_of_config(argv: list[str]) -> str | None:
    """Return the command that the config in `argv` says it is for, `None` without one."""
    path = config_path_of(argv)
    method = None if path is None else read_yaml(path).get(METHOD)
    return None if method is None else str(method)


def take_method(argv: list[str], verb: str, what: str = "command") -> tuple[str, list[str]]:
    """
    Return the training command that `mmr1 check` or one of its siblings is asked about, and the words after it.

    Args:
        argv (`list[str]`):
            Its words: the training command comes first, or the config says it.
        verb (`str`):
            What is done with the training, such as `"check"`.
        what (`str`, *optional*, defaults to `"command"`):
            What to call it in a message.

    Raises:
        [`BadInputError`]: Neither says a training command.
    """
    if argv and not argv[0].startswith("-"):
        if argv[0] not in METHODS:
            raise BadInputError(
                f"`mmr1 {verb}` knows no command {argv[0]!r}.{did_you_mean(argv[0], METHODS)} It takes "
                f"{', '.join(METHODS)}, or a config that says it."
            )
        return argv[0], argv[1:]
    command = method_of_config(argv)
    if command in METHODS:
        return command, argv
    said = f"The config is for `mmr1 {command}`. " if command else ""
    raise BadInputError(
        f"{said}Say which {what} to {verb}: mmr1 {verb} {'|'.join(METHODS)} --config NAME (such as `mmr1 {verb} mssr "
        "--config figures/mssr`), or take a config with a line `method: mssr`."
    )


def _environment(entry: Any, path: Path | None) -> dict[str, str]:
    if entry is None:
        return {}
    if not isinstance(entry, dict):
        raise BadInputError(f"`env` in {path} must be a mapping of environment variables to values.")
    for name, value in entry.items():
        text = f"{name}{'' if value is None else value}"
        if isinstance(value, list | dict) or not str(name) or "=" in str(name) or "\0" in text:
            raise BadInputError(
                f"`env` in {path}: {str(name)!r} cannot be set to {str(value)[:60]!r}. A name has no `=`, a value is "
                "a text or a number, and neither holds a NUL character."
            )
    return {str(name): "" if value is None else str(value) for name, value in entry.items()}


def read_json_mapping(text: str, what: str) -> dict[str, Any]:
    """
    Read an option whose value is a JSON object.

    Args:
        text (`str`):
            What was given.
        what (`str`):
            What to call it in a message, such as `"--model_init_kwargs"`.

    Raises:
        [`BadInputError`]: It is no JSON object.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise BadInputError(
            f"""{what} takes a JSON object such as '{{"use_cache": false}}' (in YAML a mapping), not {text[:80]!r}."""
        )
    return value
