# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""From a YAML file and a command line to dataclasses, in the manner of TRL's `TrlParser` but without its soft spots.

What is the same: the options come from dataclass fields, `--config` names a YAML file, the command line wins over it,
an `env:` mapping sets environment variables, and flags of `accelerate launch` may stand among the options.

What differs: an abbreviation or a misspelled key is refused with the nearest valid one, YAML values are type checked
like words on the command line, `--config` also takes the name of a shipped config, the environment is set before
anything heavy is imported, and every value remembers where it came from.
"""

import argparse
import dataclasses
import os
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, NoReturn

from mmr1_trl.cli.config_file import config_path_of, read_config, read_json_mapping
from mmr1_trl.cli.launch import HUB_TOKEN
from mmr1_trl.cli.parser import Parser
from mmr1_trl.cli.upstream_options import UPSTREAM, without_upstream
from mmr1_trl.errors import BadInputError, did_you_mean
from mmr1_trl.trainers.checkpoints.gone_options import GONE, without_gone


FILES = ("deepspeed", "fsdp_config", "accelerator_config")  # options that take a JSON object or the path of one
MEANT = {"--model": "--model_name_or_path", "--dataset": "--dataset_name"}  # several options begin like these
NAME_OR_BOOL = ("scale_rewards", "fsdp")  # declared as texts, and documented to take true and false as well
NO_ACCELERATOR = "no accelerator"  # origin of the values that a machine without one makes necessary


@dataclass
class Settings:
    """
    What the user asked for, before any dataclass is built (so that a launcher can look at it on any machine).

    Args:
        command (`str`):
            The `mmr1` command.
        classes (`tuple[type, ...]`):
            The dataclasses that [`~Settings.build`] fills.
        values (`dict[str, Any]`):
            The values that were given, by field name; fields without an entry keep their defaults.
        origins (`dict[str, str]`):
            For every entry of `values`: `"command line"`, the path of the config file, or `NO_ACCELERATOR`.
        launch_args (`list[str]`):
            Flags for `accelerate launch`, `--accelerate_config` among them as `--config_file`.
        config_path (`Path`, *optional*):
            The YAML file that was read.
    """

    command: str
    classes: tuple[type, ...]
    values: dict[str, Any]
    origins: dict[str, str]
    launch_args: list[str]
    config_path: Path | None = None

    def origin(self, name: str) -> str:
        """Return where the value of field `name` comes from; `"default"` when nobody gave one."""
        return self.origins.get(name, "default")

    def value(self, name: str) -> Any:
        """Return the value of field `name`: the one that was given, or its default."""
        fields = (field for cls in self.classes for field in dataclasses.fields(cls))
        return self.values.get(name, next(field.default for field in fields if field.name == name))

    def fill(self, name: str, value: Any, reason: str) -> None:
        """Set field `name` to `value` unless the user gave one; `reason` is shown as its origin."""
        if name not in self.values:
            self.values[name] = value
            self.origins[name] = reason

    def build(self) -> tuple[Any, ...]:
        """
        Build the dataclasses, in the order of `classes`.

        Raises:
            [`BadInputError`]: If a dataclass refuses the values in its `__post_init__`.
        """
        built = []
        for cls in self.classes:
            names = {field.name for field in dataclasses.fields(cls) if field.init}
            try:
                built.append(cls(**{name: value for name, value in self.values.items() if name in names}))
            except BadInputError:
                raise
            except (ValueError, ImportError) as error:  # ImportError: transformers looks for DeepSpeed here
                raise BadInputError(
                    f"{cls.__name__} refuses these settings: {' '.join(str(error).split())}"
                ) from error
        return tuple(built)


def parse(command: str, argv: list[str], load_classes: Callable[[], tuple[type, ...]], about: str = "") -> Settings:
    """
    Read a command line and the YAML file that it names.

    Args:
        command (`str`):
            The `mmr1` command, for messages and `--help`.
        argv (`list[str]`):
            The words after the command.
        load_classes (`Callable[[], tuple[type, ...]]`):
            Imports and returns the dataclasses whose fields are the options. Called after the `env:` mapping of the
            YAML file has been set, so that `CUDA_VISIBLE_DEVICES` or `HF_HOME` there have an effect.
        about (`str`, *optional*):
            One paragraph for `--help`.

    Returns:
        [`Settings`]

    Raises:
        [`BadInputError`]: For an unknown or abbreviated option, a value of the wrong type, a missing or unreadable
            file, a YAML file that is not a mapping.
    """
    config_path = config_path_of(argv)
    config = without_gone(read_config(config_path, command))
    argv = _words_without_gone(argv)
    parser = _make_parser(command, load_classes(), about)
    known = {action.dest for action in parser._actions}
    config, argv = without_upstream(config, known), _words_without_upstream(argv, known)
    if {"-h", "--help"} & set(argv):
        parser.print_help()
        raise SystemExit(0)
    # With every default suppressed, what comes out of the parser is exactly what was given.
    for action in parser._actions:
        action.default = argparse.SUPPRESS

    values, launch_args = _from_config(parser, config, config_path)
    origins = dict.fromkeys(values, str(config_path))
    given, rest = parser.parse_known_args(argv)
    launch_args += _launch_flags(parser, rest)
    values.update(vars(given))
    origins.update(dict.fromkeys(vars(given), "command line"))
    values.pop("config", None)  # read above
    if (token := os.environ.pop(HUB_TOKEN, None)) is not None:  # from the launcher, which had it on its command line
        values["hub_token"], origins["hub_token"] = token, "command line"
    if accelerate_config := values.pop("accelerate_config", None):
        launch_args = ["--config_file", _accelerate_config_file(accelerate_config), *launch_args]
    origins = {name: origin for name, origin in origins.items() if name in values}
    _read_mappings(values, origins, _hints(parser))
    return Settings(command, tuple(parser.dataclass_types), values, origins, launch_args, config_path)


def _words_without_gone(argv: list[str]) -> list[str]:
    parser = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    for name in GONE:
        parser.add_argument(f"--{name}")
    given, words = parser.parse_known_args(argv)
    without_gone(vars(given))
    return words


def _words_without_upstream(argv: list[str], known: set[str]) -> list[str]:
    parser = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    for name in UPSTREAM.keys() - known:
        parser.add_argument(f"--{name}", nargs="?", const="true")
    given, words = parser.parse_known_args(argv)
    without_upstream(vars(given), known)
    return words


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """One spelling and one short placeholder per option: there are some 250 of them."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings:
            return super()._format_action_invocation(action)
        if action.dest == "help":
            return "-h, --help"
        many = {"?": " [VALUE]", "+": " VALUE ...", 0: ""}
        return action.option_strings[0] + many.get(action.nargs, f" {action.metavar or 'VALUE'}")


def _make_parser(command: str, classes: tuple[type, ...], about: str) -> Any:
    """Return a `TrlParser` over `classes` that raises instead of exiting, with the options in readable groups."""
    from trl import TrlParser

    class SettingsParser(Parser, TrlParser):
        def error(self, message: str) -> NoReturn:
            raise BadInputError(message)

    trains = any(field.name == "use_cpu" for cls in classes for field in dataclasses.fields(cls))
    parser = SettingsParser(
        dataclass_types=classes,
        prog=f"mmr1 {command}",
        usage=f"mmr1 {command} [--config NAME_OR_PATH] [--option value ...]{' [accelerate launch flags]' * trains}",
        description=about,
        formatter_class=_HelpFormatter,
    )
    own = [cls for cls in classes if cls.__module__.startswith("mmr1_trl.")]
    theirs = {field.name for cls in own for base in cls.__mro__[1:] for field in _fields_outside_package(base)}
    names = {field.name for cls in own for field in dataclasses.fields(cls)} - theirs
    ours, rest = parser.add_argument_group("options of mmr1"), parser.add_argument_group("options of TRL")
    for action in parser._optionals._group_actions[1:]:  # the first is --help
        (ours if action.dest in names else rest)._group_actions.append(action)
    del parser._optionals._group_actions[1:]
    for action in parser._actions:
        if (
            getattr(action.type, "__name__", "") == "dict"
        ):  # read as JSON like the other mappings, see `_read_mappings`
            action.type = str
    parser.add_argument("--config", metavar="NAME_OR_PATH", help="shipped config (see `mmr1 configs ls`) or YAML file")
    if trains:
        parser.add_argument(
            "--accelerate_config",
            metavar="NAME_OR_PATH",
            help="preset of TRL (single_gpu, multi_gpu, zero1, zero2, zero3, fsdp1, fsdp2) or accelerate config file",
        )
    return parser


def _fields_outside_package(cls: type) -> tuple[Any, ...]:
    outside = dataclasses.is_dataclass(cls) and not cls.__module__.startswith("mmr1_trl.")
    return dataclasses.fields(cls) if outside else ()


def _hints(parser: Any) -> dict[str, tuple[Any, ...]]:
    """Return the kinds of value that each option takes, such as `(str, NoneType)` or `(list,)`."""
    hints = {name: hint for cls in parser.dataclass_types for name, hint in typing.get_type_hints(cls).items()}
    return {name: tuple(_kinds(hint)) for name, hint in hints.items()}


def _kinds(hint: Any) -> list[Any]:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, UnionType):
        return [kind for part in typing.get_args(hint) for kind in _kinds(part)]
    return [origin or hint]  # `list` of `list[str]`


def _from_config(parser: Any, config: dict[str, Any], path: Path | None) -> tuple[dict[str, Any], list[str]]:
    """Return the values of a YAML mapping, converted like words of the command line, and its accelerate flags."""
    actions = {action.dest: action for action in parser._actions if action.dest not in ("help", "config")}
    hints = _hints(parser)
    values: dict[str, Any] = {}
    words, flags = [], []
    for name, value in config.items():
        if isinstance(value, bool) and name.endswith("_strategy"):
            value = "no"  # YAML reads the word `no` as false
        if name in actions:
            _require_kind(name, value, hints.get(name, (str,)), path)
        if name not in actions:
            flags += [f"--{name}"] if value is True else [f"--{name}", str(value)]
        elif isinstance(value, list) and value and actions[name].nargs == "+" and name != "datasets":
            words += [f"--{name}", *(str(v) for v in value)]
        elif value is None or isinstance(value, (list, dict)):
            values[name] = value  # no word stands for these; the dataclasses take them as they are
        elif isinstance(value, bool) and actions[name].nargs != "?" and actions[name].type not in (int, float):
            values[name] = value  # e.g. scale_rewards, whose type is a name or a bool
        else:
            words.append(f"--{name}={value}")
    try:
        return values | vars(parser.parse_known_args(words)[0]), _launch_flags(parser, flags)
    except BadInputError as error:
        raise BadInputError(f"in {path}: {error}") from error


def _require_kind(name: str, value: Any, kinds: tuple[Any, ...], path: Path | None) -> None:
    """Refuse a list, a mapping, nothing, and true or false for options of another kind; and texts with a NUL."""
    if "\0" in str(value):
        raise BadInputError(f"in {path}: {name} holds a NUL character.")
    if Any in kinds:
        return
    if isinstance(value, list | dict) and type(value) not in kinds:
        raise BadInputError(f"in {path}: {name} takes one value, not a {type(value).__name__}.")
    if value is None and NoneType not in kinds:
        raise BadInputError(f"in {path}: {name} has no value. Give one, or leave the line out for the default.")
    if isinstance(value, bool) and not {bool, int, float} & set(kinds) and name not in NAME_OR_BOOL:
        raise BadInputError(
            f"in {path}: {name} takes a text, and YAML reads on, off, yes and no as {str(value).lower()}. Put the "
            "word in quotes."
        )


def _read_mappings(values: dict[str, Any], origins: dict[str, str], hints: dict[str, tuple[Any, ...]]) -> None:
    """Turn the JSON objects among the words into mappings, in place."""
    for name, value in values.items():
        if isinstance(value, str) and dict in hints[name] and not (name in FILES and os.path.isfile(value)):
            where = f"--{name}" if origins[name] == "command line" else f"in {origins[name]}: {name}"
            values[name] = read_json_mapping(value, where)


def _launch_flags(parser: Any, words: list[str]) -> list[str]:
    """Return `words`, which our parser did not know, if all of them are flags of `accelerate launch`."""
    if not words:
        return []
    from accelerate.commands.launch import launch_command_parser

    accelerate_flags = {flag for action in launch_command_parser()._actions for flag in action.option_strings}
    known = {flag for action in parser._actions for flag in action.option_strings} | accelerate_flags
    if not words[0].startswith("--"):
        raise BadInputError(f"unexpected word {words[0]!r}. Options are written --name value, a config --config NAME.")
    for flag in (word.split("=")[0] for word in words):
        if flag.startswith("--") and flag not in accelerate_flags:
            near = did_you_mean(MEANT.get(flag, flag), known).replace("--", "")
            raise BadInputError(
                f"unknown option {flag.lstrip('-')!r}.{near} `{parser.prog} --help` lists all of them."
            )
    return words


def _accelerate_config_file(name: str) -> str:
    """Return the path of an accelerate config given by TRL's preset name or by path."""
    from importlib.resources import files

    presets = {file.name.removesuffix(".yaml"): file for file in files("trl.accelerate_configs").iterdir()}
    presets = {preset: file for preset, file in presets.items() if not preset.startswith("__")}
    if Path(name).is_file():
        return name
    if name not in presets:
        raise BadInputError(
            f"--accelerate_config {name!r} is neither a file nor a preset.{did_you_mean(name, presets)} "
            f"The presets are: {', '.join(sorted(presets))}."
        )
    return str(presets[name])
