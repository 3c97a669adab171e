# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""`mmr1 two-stage`."""

from mmr1_trl.cli.commands.train import train


def run(argv: list[str]) -> int:
    """Train with the words after `mmr1 two-stage` as options; return the exit code."""
    return train("two-stage", argv)
