# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What the folder of a run says about it, from which its card is made."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

from mmr1_trl.hub.render import hub_id, public_name
from mmr1_trl.run_folder import ADAPTER, RUN_FILE, SETTINGS_FILE


def read_facts(run: Path) -> dict[str, Any]:
    """
    Return what is known about the run in a folder: what its trainer wrote, else what its settings and its adapter say.

    Args:
        run (`Path`):
            Folder of a run, or of a model of anybody.
    """
    facts: dict[str, Any] = {}
    settings = run / SETTINGS_FILE
    if settings.is_file():
        text = settings.read_text(encoding="utf-8")
        values = yaml.safe_load(text) or {}
        facts["command"] = f"mmr1 {values.get('method')}"
        for fact, option in (("base_model", "model_name_or_path"), ("dataset", "dataset_name")):
            facts[fact] = {"name": public_name(values.get(option)), "hub_id": hub_id(values.get(option))}
    if (run / RUN_FILE).is_file():
        facts |= read_json(run / RUN_FILE)
    for fact in ("base_model", "dataset"):
        if isinstance(facts.get(fact), dict):  # a link leads to the Hub, whatever the file says
            facts[fact] = {"name": "", **facts[fact], "hub_id": hub_id(facts[fact].get("hub_id"))}
    if not re.fullmatch("mmr1 [a-z-]+", str(facts.get("command"))) or facts["command"] == "mmr1 None":
        facts.pop("command", None)  # it is shown as a command to copy
    adapter = read_json(run / ADAPTER)
    if adapter and "base_model" not in facts:
        base = adapter.get("base_model_name_or_path")
        facts["base_model"] = {"name": public_name(base), "hub_id": hub_id(base)}
    return facts


def is_text_only(folder: Path, facts: dict[str, Any]) -> bool:
    """Whether the model in a folder reads no pictures: its config says it, else what its run wrote down."""
    config = read_json(folder / "config.json")
    return "vision_config" not in config if config else bool(facts.get("text_only"))


def read_json(path: Path) -> dict[str, Any]:
    """Return the content of a JSON file, empty where there is none or it is half-written."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
