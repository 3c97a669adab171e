# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The paper index names what exists, and leaves nothing of the mathematics out."""

import ast
import dataclasses
import re
from pathlib import Path

import pytest

from mmr1_trl import RLVRConfig


ROOT = Path(__file__).parents[3]
INDEX = (ROOT / "docs" / "paper_index.md").read_text(encoding="utf-8")
MODULES = sorted((ROOT / "mmr1_trl" / "methods").glob("[!_]*.py"))


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_every_method_is_indexed(module):
    assert f"`methods/{module.name}`" in INDEX
    for node in ast.parse(module.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            assert re.search(rf"\b{node.name}\b", INDEX), f"{node.name} is missing in docs/paper_index.md"


def test_every_file_and_option_named_exists():
    for name in re.findall(r"`((?:methods|trainers|rewards|data)/[\w/]+\.py)`", INDEX):
        assert (ROOT / "mmr1_trl" / name).is_file(), name
    fields = {field.name for field in dataclasses.fields(RLVRConfig)}
    named = set(re.findall(r"`((?:tracker|shaping)_\w+|\w+_coef|switch_fraction|epsilon\w*|delta|beta)\b", INDEX))
    assert len(named) > 10
    assert named <= fields, sorted(named - fields)


def test_coefficients_of_our_own_are_the_defaults():
    config = RLVRConfig("x", use_cpu=True)
    assert f"`explore_coef`, `exploit_coef` | {config.explore_coef}, {config.exploit_coef} (ours) |" in INDEX
