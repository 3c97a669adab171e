# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The starts of the studies: made once, named by the hash of their weights, and packed to be shared.

    python benchmarks/studies/starts.py --make cold --seeds 0 1 2    # make them and note their hashes
    python benchmarks/studies/starts.py --pack FOLDER                # copy them into a folder, 3 MB each

The same recipe gives other weights on another machine, and everything that is trained from them shifts. So the hashes
are kept in `benchmarks/results/starts.json`, every study takes `--starts FOLDER`, and a start that is not the
published one is named before anything runs.
"""

import argparse
import hashlib
import json
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path


sys.path.insert(0, str(Path(__file__).parents[1]))

from mmr1_trl.errors import BadInputError
from mmr1_trl.models.cold_start import (
    ColdStartConfig,
    ColdStartStage,
    charts_stages,
    cold_start_path,
    digits_stages,
    shapes_stages,
    uneven_stages,
)


PUBLISHED = Path(__file__).parents[1] / "results" / "starts.json"
KINDS = {
    "cold": lambda: ColdStartConfig().stages,
    "uneven": uneven_stages,
    "shapes": shapes_stages,
    "digits": digits_stages,
    "charts": charts_stages,
}


def config_of(name: str) -> ColdStartConfig:
    """The recipe of `"KIND-SEED"`."""
    kind, _, seed = name.rpartition("-")
    if kind not in KINDS or not seed.isdigit():
        raise BadInputError(f"There is no start {name!r}: it is one of {', '.join(KINDS)}, a dash and a seed.")
    stages: tuple[ColdStartStage, ...] = KINDS[kind]()
    return ColdStartConfig(stages, seed=int(seed))


def start_hash(folder: Path) -> str:
    """Twelve digits of the SHA-256 of a start's weights."""
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()[:12]


def published() -> dict[str, str]:
    """Hashes of the starts that the published lines began with, by name."""
    found: dict[str, str] = json.loads(PUBLISHED.read_text()) if PUBLISHED.is_file() else {}
    return found


def start_folder(name: str, starts: Path | None = None) -> Path:
    """Folder of a start: in `starts` if given, and otherwise in the cache, made if it is not there."""
    return starts / name if starts is not None else cold_start_path(config_of(name))


def check_starts(names: Iterable[str], starts: Path | None) -> None:
    """
    Compare starts with the published ones before anything runs.

    Args:
        names (`Iterable[str]`):
            Starts that the runs will begin with.
        starts (`Path`, *optional*):
            Folder of packed starts. Without it they are made here, and may differ: that is said, not refused.

    Raises:
        BadInputError: If the folder lacks a start, or holds one whose weights are not the published ones.
    """
    known = published()
    wrong = []
    for name in sorted(set(names)):
        if starts is not None and not (starts / name / "model.safetensors").is_file():
            wrong.append(f"{name} is not there")
        elif name in known and (found := start_hash(start_folder(name, starts))) != known[name]:
            wrong.append(f"{name} is {found}, not {known[name]}")
    if wrong and starts is not None:
        raise BadInputError(f"The starts in {starts} are not the published ones: {'; '.join(wrong)}.")
    if wrong:
        print(f"Made here and other than the published ones, so that accuracies will differ: {'; '.join(wrong)}.")


def note(names: Iterable[str]) -> None:
    """Make starts and add their hashes to the published ones; a hash that is there is not replaced."""
    for name in names:
        found = start_hash(start_folder(name))
        known = published()
        if known.setdefault(name, found) != found:
            print(f"{name} is {found} here, not {known[name]} as published")
        PUBLISHED.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n")


def pack(folder: Path) -> None:
    """Copy all published starts that the cache holds unchanged into a folder, and name those that it does not."""
    for name, wanted in published().items():
        if (found := start_hash(start_folder(name))) != wanted:
            raise BadInputError(f"{name} is {found} in this cache, not {wanted}: pack where the starts were made.")
        shutil.copytree(start_folder(name), folder / name, dirs_exist_ok=True)
    print(f"{len(published())} starts in {folder}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--make", choices=list(KINDS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--pack", type=Path, metavar="FOLDER")
    a = parser.parse_args()
    if a.make:
        note(f"{a.make}-{seed}" for seed in a.seeds)
    if a.pack:
        pack(a.pack)


if __name__ == "__main__":
    try:
        main()
    except BadInputError as error:
        sys.exit(f"Error: {error}")
