# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Upload a run's model or adapter, tagged with the commit that CI runs for: push_model.py FOLDER REPO_ID [...]."""

import os
import sys
from pathlib import Path

from mmr1_trl.cli import main
from mmr1_trl.run_folder import ADAPTER


def push(folder: str, repo_id: str, *options: str) -> int:
    """Call `mmr1 push model` or `adapter`, by what the folder holds; return its exit code."""
    kind = "adapter" if (Path(folder) / ADAPTER).is_file() else "model"
    commit = os.environ.get("GITHUB_SHA") or os.environ.get("CI_COMMIT_SHA")
    tag = ["--tag", f"commit-{commit[:8]}"] if commit and "--tag" not in options else []
    return main(["push", kind, folder, repo_id, *tag, *options])


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: push_model.py FOLDER REPO_ID [options of mmr1 push]")
    sys.exit(push(*sys.argv[1:]))
