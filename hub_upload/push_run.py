# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Upload all that there is of a run, the model first: push_run.py FOLDER REPO_ID [--dry_run] [--private]."""

import sys
from pathlib import Path

from push_model import push

from mmr1_trl.cli import main
from mmr1_trl.run_folder import SCORES


def push_run(folder: str, repo_id: str, *options: str) -> int:
    """Upload model or adapter, scores (to REPO_ID-scores) and report; return the first exit code that is not 0."""
    code = push(folder, repo_id, *options)
    if code == 0 and (Path(folder) / SCORES).is_file():
        code = main(["push", "scores", folder, f"{repo_id}-scores", *options])
    if code == 0 and any(Path(folder).glob("*.html")):
        code = main(["push", "report", folder, repo_id, *options])
    return code


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: push_run.py FOLDER REPO_ID [--dry_run] [--private]")
    sys.exit(push_run(*sys.argv[1:]))
