# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What reads text from datasets, models and run folders takes time in proportion to its length."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


SWEEP = Path(__file__).parents[1] / "fixtures/linear_time.py"
# With the least numbers of patterns and functions that have to be found there.
PACKAGES = {"mmr1_trl.data": (14, 20), "mmr1_trl.hub": (20, 19), "mmr1_trl.rewards": (100, 80)}


def sweep(*packages: str, path: Path | None = None) -> dict[str, Any]:
    """Run the sweep in a process of its own, which ends itself when its CPU time is over."""
    env = os.environ | (
        {} if path is None else {"PYTHONPATH": f"{path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    )
    done = subprocess.run(
        [sys.executable, "-P", str(SWEEP), *packages], env=env, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("package", PACKAGES)
def test_every_pattern_and_text_function_is_linear(package: str, record_property: Any) -> None:
    result = sweep(package)
    for name in ("patterns", "functions", "calls", "seconds"):
        record_property(name, result[name])
    assert result["faults"] == []
    patterns, functions = PACKAGES[package]
    assert result["patterns"] >= patterns and result["functions"] >= functions


BAD = r"""
import re
from dataclasses import dataclass
from functools import cached_property

MAX_CHARS = 100
_EXPONENTIAL = re.compile(r"(?:a|aa)+b")
_SEVERAL = re.compile(r"[A-Z](?:\s*(?:,|and|\s)\s*(?:and\s)?[A-Z])+\.")
_LINEAR = re.compile(r"\s+|[a-z]+(?=x)?")
TABLE = {"trailing": [re.compile(rb" +\n")]}

class Reader:
    TAG = re.compile(r"<b>(.*?)</b>")

@dataclass(frozen=True)
class Style:
    pattern: str

    @cached_property
    def regex(self):
        return re.compile(self.pattern)

STYLES = {"bad": Style(r"\d+\d+x")}

def squeeze(text: str) -> str:
    return re.sub(r"\s*,", ",", text, flags=re.ASCII)

def last_tag(text: str) -> int:
    if len(text) > MAX_CHARS:
        return 0
    return sum(text.find("</b>", start) for start in range(0, len(text), 3) if text[start] == "<")

def nested(text: str, depth: int = 0) -> int:
    return nested(text[1:-1], depth + 1) if text[:1] == "[" and text[-1:] == "]" else depth

def fine(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()
"""


@pytest.mark.slow
def test_the_sweep_finds_patterns_and_functions_that_are_not(tmp_path: Path) -> None:
    (tmp_path / "bad_package").mkdir()
    (tmp_path / "bad_package/__init__.py").write_text("")
    (tmp_path / "bad_package/reading.py").write_text(BAD)
    result = sweep("bad_package", path=tmp_path)
    place = "bad_package.reading"
    lines = BAD.splitlines()
    inline = next(number for number, line in enumerate(lines, 1) if 're.sub(r"\\s*,' in line)
    at_run_time = next(number for number, line in enumerate(lines, 1) if "re.compile(self" in line)
    expected = {
        f"{place}._EXPONENTIAL", f"{place}._SEVERAL", f"{place}.TABLE['trailing'][0]", f"{place}.Reader.TAG",
        f"{place}.STYLES['bad'].regex", f"{place}:{inline}", f"{place}:{at_run_time}", f"{place}.squeeze:",
        f"{place}.last_tag:", f"{place}.nested:",
    }  # fmt: skip
    assert {fault.split()[0] for fault in result["faults"]} == expected, result["faults"]
