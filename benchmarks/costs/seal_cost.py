# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What the list of digests in a checkpoint costs: at a save, and at a resume.

    python benchmarks/costs/seal_cost.py --gigabytes 1

Files of that size altogether, divided as weights and the moments of Adam are, are sealed as a save does it (brought to
the disk, read, digests written) and read against their list as a resume does it, from the page cache and after it was
asked to forget them. Seconds of the clock and of the processor. Writes `benchmarks/results/seal_cost.md` and `.json`.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


sys.path.insert(0, str(Path(__file__).parents[1]))

from common import write_results

from mmr1_trl.run_folder import describe_files, find_damage, flush_to_disk, seal, write_json


PARTS = {"model.safetensors": 1 / 3, "optimizer.pt": 2 / 3}


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=".") as place:
        folder = Path(place) / "checkpoint-1"
        folder.mkdir()
        write_json(folder / "trainer_state.json", {"global_step": 1})
        block = os.urandom(1 << 24)

        def write() -> None:
            for name, share in PARTS.items():
                with open(folder / name, "wb") as file:
                    for _ in range(round(arguments.gigabytes * share * 1e9 / len(block))):
                        file.write(block)

        def bring_to_disk() -> None:
            for name in PARTS:
                flush_to_disk(folder / name)

        def forget() -> None:
            for name in PARTS:
                with open(folder / name, "rb") as file:
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

        figures = {"write the files": timed(write), "bring them to the disk": timed(bring_to_disk)}
        figures["seal: digests of all"] = timed(lambda: seal(folder, 1, describe_files(folder)))
        figures["resume: read against the list"] = timed(lambda: find_damage(folder))
        os.utime(folder / "trainer_state.json")  # or the second look would be free
        forget()
        figures["the same, not in the page cache"] = timed(lambda: find_damage(folder))
        figures["a second look in one process"] = timed(lambda: find_damage(folder))
        size = sum(file.stat().st_size for file in folder.iterdir()) / 1e9
    lines = [f"{size:.2f} GB in two files, {os.cpu_count()} cores.", "", "| | seconds | of the processor |"]
    lines += ["| --- | --- | --- |", *(f"| {name} | {w:.2f} | {c:.2f} |" for name, (w, c) in figures.items())]
    write_results("seal_cost", "\n".join(lines), {"gigabytes": size, "seconds": figures})


if __name__ == "__main__":
    main()
