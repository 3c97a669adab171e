# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""`mmr1 plan`: whether a run fits onto the devices, what it costs, and the nearest config that fits."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmr1_trl.cli.commands.plan_report import as_json, devices_of, report_lines
from mmr1_trl.cli.config_file import method_of_config
from mmr1_trl.cli.launch import accelerate_settings, asked_processes, read_flags
from mmr1_trl.cli.output import require_writable
from mmr1_trl.cli.parser import Parser
from mmr1_trl.cli.parsing import NO_ACCELERATOR, Settings
from mmr1_trl.errors import BadInputError
from mmr1_trl.models.cache import check_model_name
from mmr1_trl.trainers.method_table import METHODS


if TYPE_CHECKING:
    from mmr1_trl.planning.fit import Change
    from mmr1_trl.planning.options import Options
    from mmr1_trl.planning.shapes import Shapes


_USAGE = """usage: mmr1 plan [MODEL] [--gpu GB | --gpus NxGB] [--config NAME_OR_PATH] [--write FILE] [training options]

Does it fit, with which options, and how long does a step take? From the model's config alone: nothing is downloaded
but that, and no weights are loaded. Without --config the plan is of MSSR, with adapters on one device and with all
weights on several.

  mmr1 plan Qwen/Qwen2.5-VL-3B-Instruct --gpu 24
  mmr1 plan Qwen/Qwen3-VL-8B-Instruct --gpus 8x80 --write my.yaml
  mmr1 plan --config qwen2_5_vl_7b/mssr --gpus 4x80 --max_completion_length 2048

options:
  --gpu GB              memory of one device, such as 24; the device at hand without it
  --gpus NxGB           several devices, such as 8x80
  --config NAME         a shipped config or a file; MODEL and training options win over it
  --prompt_tokens N     tokens of a question without its picture (default: 512)
  --write FILE          write the config that fits; an existing file is never overwritten
  --json                print JSON"""
_START = {True: "qwen2_5_vl_3b/mssr_24gb", False: "qwen2_5_vl_7b/mssr"}  # on one device, on several


def run(argv: list[str]) -> int:
    """Plan the run that the words after `mmr1 plan` describe; return 0 where it fits, 1 where it does with changes."""
    if {"-h", "--help"} & set(argv):
        print(_USAGE)
        return 0
    own, words = parse_own(argv)
    target = None if own.write is None else _free_file(own.write)
    settings, half = parse_plan(words)
    shapes, options = _read(settings, own.devices, own.memory, own.prompt_tokens, half)

    from mmr1_trl.planning.fit import nearest
    from mmr1_trl.planning.memory import GIB, estimate

    found = nearest(shapes, options)
    if found is None:
        needed = estimate(shapes, options).needed / GIB
        raise BadInputError(
            f"{shapes.model} ({shapes.total / 1e9:.1f} billion parameters) does not fit onto {devices_of(options)} "
            f"with any knob of this plan; as it is, it needs {needed:.0f} GiB on each. Take a smaller model, more "
            "devices (--gpus 2x80) or larger ones."
        )
    fitting, changes = found
    if own.json:
        print(json.dumps(as_json(shapes, options, fitting, changes), indent=2))
    else:
        print("\n".join(report_lines(shapes, options, fitting, changes)))
    if target is not None:
        _write(target, settings, fitting, changes)
        print(f"\nWritten to {target}: mmr1 {settings.command} --config {target}")
    return 1 if changes else 0


def parse_own(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Split the words after `mmr1 plan` into the plan's own options and the words of a training command."""
    parser = Parser(prog="mmr1 plan", usage=_USAGE.split("\n")[0].removeprefix("usage: "), add_help=False)
    parser.add_argument("--gpu")
    parser.add_argument("--gpus")
    parser.add_argument("--prompt_tokens", type=int, default=512)
    parser.add_argument("--write")
    parser.add_argument("--json", action="store_true")
    own, words = parser.parse_known_args(argv)
    own.model = words.pop(0) if words and not words[0].startswith("-") else None
    if own.prompt_tokens < 1:
        raise BadInputError(f"--prompt_tokens must be at least 1, not {own.prompt_tokens}.")
    if own.gpu is not None and own.gpus is not None:
        raise BadInputError("--gpu is for one device and --gpus for several; give one of them.")
    _require_model(own.model, words)
    own.devices, own.memory = _devices(own)
    return own, _as_training(own.model, words, single=own.devices == 1)


def _devices(own: argparse.Namespace) -> tuple[int, float]:
    """Return the number of devices and the memory of each in GiB, as cards are sold."""
    text = own.gpus if own.gpus is not None else own.gpu
    if text is None:
        import torch

        if not torch.cuda.is_available():
            raise BadInputError("There is no GPU here to plan for. Name one: --gpu 24, or several: --gpus 8x80.")
        return torch.cuda.device_count(), torch.cuda.get_device_properties(0).total_memory / 2**30
    match = re.fullmatch(r"(?:(\d{1,4})\s*[xX*]\s*)?(\d{1,4}(?:\.\d+)?)\s*(?:GB|G|GiB)?", text.strip())
    if match is None or float(match[2]) <= 0 or match[1] == "0" or (own.gpus is None and match[1]):
        flag, example = ("--gpus", "8x80") if own.gpus is not None else ("--gpu", "24")
        raise BadInputError(f"{flag} {text!r}: the memory in GB is wanted, such as {flag} {example}.")
    return int(match[1] or 1), float(match[2])


def _has_config(words: list[str]) -> bool:
    return any(word.split("=")[0] == "--config" for word in words)


def _require_model(model: str | None, words: list[str]) -> None:
    if model in METHODS:
        raise BadInputError(f"`mmr1 plan` takes a model, and {model!r} is a method. Name its config by --config.")
    if model is not None:
        check_model_name(model)
    elif not _has_config(words):
        raise BadInputError("Name a model, such as Qwen/Qwen2.5-VL-3B-Instruct, or a config by --config.")


def _as_training(model: str | None, words: list[str], single: bool) -> list[str]:
    """Return words of a training command: with a config to start from, and with the model."""
    words = words if _has_config(words) else ["--config", _START[single], *words]
    return words if model is None else [*words, "--model_name_or_path", model]


def parse_plan(words: list[str]) -> tuple[Settings, bool]:
    """Read the words of a training command; return its settings, and whether it would compute in 16 bits on a GPU."""
    from mmr1_trl.cli.commands.train import parse_training

    command = method_of_config(words) or "mssr"
    if command not in METHODS:
        raise BadInputError(f"The config is for `mmr1 {command}`; plans are made of {', '.join(METHODS)}.")
    settings = parse_training(command, words)
    asked = {name: settings.values.pop(name, None) for name in ("bf16", "fp16")}
    given = settings.origin("bf16") != NO_ACCELERATOR and asked["bf16"] is not None
    settings.values["bf16"] = False  # what the machine at hand takes; the plan is for another one
    return settings, bool(asked["bf16"] if given else True) or bool(asked["fp16"])


def _read(settings: Settings, devices: int, memory: float, text_tokens: int, half: bool) -> tuple[Shapes, Options]:
    from mmr1_trl.cli.names import look_up
    from mmr1_trl.cli.parts import require_model, revision
    from mmr1_trl.planning.options import read_options
    from mmr1_trl.planning.shapes import read_shapes

    _, config, model_args = settings.build()
    name = require_model(model_args)
    look_up(name, "model", model_args.model_revision)
    shapes = read_shapes(name, config.trust_remote_code, **revision(model_args))
    sharding = _sharding(settings.launch_args) if devices > 1 else "none"
    options = read_options(config, model_args, devices, memory, sharding, text_tokens, half)
    return shapes, _same_batch(options, settings.launch_args)


def _sharding(launch_args: list[str]) -> str:
    """Read off accelerate's config what is divided among the devices."""
    config = accelerate_settings(launch_args)
    if config.get("fsdp_config"):
        return "zero3"
    stage = (config.get("deepspeed_config") or {}).get("zero_stage", 0)
    return {3: "zero3", 2: "zero2", 1: "zero2"}.get(stage, "none")


def _same_batch(options: Options, launch_args: list[str]) -> Options:
    """Keep the generation batch and its updates where the config is for another number of devices."""
    from dataclasses import replace

    written = asked_processes(launch_args) or 1
    steps, rest = divmod(options.steps_per_generation * written, options.devices)
    accumulation, left = divmod(options.accumulation * written, options.devices)
    if rest or left or not steps or not accumulation:
        return options
    return replace(options, steps_per_generation=steps, accumulation=accumulation)


def _free_file(name: str) -> Path:
    path = Path(name)
    if path.is_dir():
        raise BadInputError(f"--write {name}: that is a folder. Name a file in it, such as {path / 'my.yaml'}.")
    if path.exists():
        raise BadInputError(f"--write {name}: the file exists already, and is left as it is. Choose another name.")
    require_writable(path.parent)
    return path


def _write(path: Path, settings: Settings, fitting: Options, changes: list[Change]) -> None:
    """Write what was asked for, and what was changed so that it fits."""
    import yaml

    values: dict[str, Any] = {"method": settings.command}
    values |= {
        name: value
        for name, value in sorted(settings.values.items())
        if name not in ("use_cpu", "bf16") and settings.origin(name) != NO_ACCELERATOR
    }
    values["steps_per_generation"] = fitting.steps_per_generation
    values["gradient_accumulation_steps"] = fitting.accumulation
    config_file = read_flags(settings.launch_args)[0].config_file
    if fitting.devices > 1 and config_file is not None:
        values["accelerate_config"] = config_file
    values["num_processes"] = fitting.devices
    for change in changes:
        values |= change.settings
    if fitting.adapters and values.get("use_peft") and "learning_rate" not in values:
        values["learning_rate"] = 1.0e-5
    values.setdefault("output_dir", "runs/planned")
    path.parent.mkdir(parents=True, exist_ok=True)
    head = f"# Planned for {devices_of(fitting)} by `mmr1 plan`: computed, not measured.\n"
    with path.open("x", encoding="utf-8") as file:
        file.write(head + yaml.safe_dump(values, sort_keys=False))
