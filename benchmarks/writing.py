# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Where benchmarks leave what they found."""

import json
from pathlib import Path
from typing import Any


RESULTS = Path(__file__).parent / "results"


def write_results(name: str, text: str, numbers: Any) -> None:
    """Write `results/NAME.md` to be read and `results/NAME.json` to be computed with, and print the former."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(text.rstrip("\n") + "\n")
    (RESULTS / f"{name}.json").write_text(json.dumps(numbers, indent=1) + "\n")
    print(text)
