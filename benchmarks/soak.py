# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""A long run with everything that can happen to it: kills, resumes, wrong labels, unreadable rows.

    python benchmarks/soak.py --steps 400 --kills 12

Two runs of the same command train the small model by MSSR with variance-aware sampling on pictures of which some are
corrupted and on labels of which some are wrong. One is left alone; its memory, file handles and child processes are
sampled every second. The other is ended by SIGKILL or SIGTERM at random moments and resumed. The two must end in the
same weights, optimizer, tracker, scores and losses, bit for bit. The script itself can be stopped and started again:
it goes on in `--workdir`. To have both runs at the same time, start it with `--only undisturbed` and in another shell
with `--only disturbed`, and without either at the end. Writes `benchmarks/results/soak.md` and `.json`.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from writing import write_results

from mmr1_trl.data.figures import load_figures
from mmr1_trl.run_folder import COMPLETE, list_checkpoints


BAD_ROWS = 24
ROWS = 384

OPTIONS = [
    "--model_name_or_path", "figures/cold_start", "--dataset_name", "rows.parquet", "--on_bad_row", "skip",
    "--label_noise", "0.2", "--prompt_sampling", "variance_aware", "--vas_diversity_metric", "distinct_n",
    "--per_device_train_batch_size", "16", "--steps_per_generation", "2", "--gradient_accumulation_steps", "1",
    "--beta", "0.01", "--learning_rate", "3e-5", "--max_completion_length", "32", "--save_total_limit", "2",
    "--on_nonfinite", "skip", "--gradient_checkpointing", "false", "--report_to", "none", "--disable_tqdm", "true",
    "--seed", "7",
]  # fmt: skip


def write_rows(path: Path) -> None:
    """Rows of `figures` as a user's file, with broken pictures among them."""
    import io

    from datasets import Dataset

    rows = []
    for number, row in enumerate(load_figures("train", num_rows=ROWS)):
        buffer = io.BytesIO()
        row["images"][0].save(buffer, format="PNG")
        picture = buffer.getvalue()
        if number % (ROWS // BAD_ROWS) == 5:
            picture = picture[: len(picture) // 2] if number % 2 else b"no picture"
        question = row["prompt"][-1]["content"]
        rows.append({"question": question, "image": {"bytes": picture, "path": None}, "answer": row["solution"]})
    Dataset.from_list(rows).to_parquet(str(path))


def usage(pid: int) -> dict[str, float] | None:
    """Memory in MB, open files and live children of a process; `None` when it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return {
            "rss_mb": int(status.split("VmRSS:")[1].split()[0]) / 1024,
            "threads": int(status.split("Threads:")[1].split()[0]),
            "files": len(os.listdir(f"/proc/{pid}/fd")),
            "children": len(children),
        }
    except (OSError, IndexError):
        return None


@contextlib.contextmanager
def started(workdir: Path, name: str, arguments: argparse.Namespace) -> Iterator[subprocess.Popen[bytes]]:
    """Start or resume a run; it does not outlive this script."""
    words = ["--output_dir", name, "--max_steps", str(arguments.steps), "--save_steps", str(arguments.save_steps)]
    words += ["--logging_steps", str(arguments.logging_steps)]
    if any((path / COMPLETE).is_file() for path in list_checkpoints(workdir / name)):
        words += ["--resume_from_checkpoint", "true"]
    with open(workdir / f"{name}.log", "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mmr1_trl.cli", "mssr", *OPTIONS, *words],
            cwd=workdir, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def newest_step(folder: Path) -> int:
    """Step of the newest complete checkpoint, 0 without one."""
    return max((int(p.name.split("-")[1]) for p in list_checkpoints(folder) if (p / COMPLETE).is_file()), default=0)


def finished(folder: Path) -> bool:
    return (folder / "train_results.json").is_file()


def leave_alone(workdir: Path, arguments: argparse.Namespace) -> None:
    """The undisturbed run, with a sample of what it uses every second."""
    begun = time.monotonic()
    with started(workdir, "whole", arguments) as process, open(workdir / "usage.jsonl", "a") as file:
        while process.poll() is None:
            time.sleep(1.0)
            sample = usage(process.pid)
            if sample is not None:
                step = newest_step(workdir / "whole")
                file.write(json.dumps(sample | {"step": step, "s": time.monotonic() - begun}) + "\n")
                file.flush()
    if process.returncode:
        raise SystemExit(f"the undisturbed run ended with {process.returncode}, see {workdir}/whole.log")
    print(f"undisturbed: {arguments.steps} steps in {time.monotonic() - begun:.0f} s", flush=True)


def disturb(workdir: Path, arguments: argparse.Namespace) -> None:
    """End and resume the other run, `arguments.kills` times at random moments, then let it finish."""
    log = workdir / "kills.json"
    kills: list[dict[str, Any]] = json.loads(log.read_text()) if log.is_file() else []
    while len(kills) < arguments.kills and not finished(workdir / "killed"):
        dice = random.Random(1000 * arguments.seed + len(kills))
        before = newest_step(workdir / "killed")
        # Steps left are shared out, so that the kills are spread over the whole run.
        target = before + dice.randint(0, max(1, 2 * (arguments.steps - before) // (arguments.kills - len(kills) + 1)))
        sent = dice.choice([signal.SIGKILL, signal.SIGTERM])
        begun = time.monotonic()
        with started(workdir, "killed", arguments) as process:
            while process.poll() is None and newest_step(workdir / "killed") <= min(target, arguments.steps - 1):
                time.sleep(0.05)
            time.sleep(dice.random() * arguments.jitter)  # in the middle of a step, of a generation or of a save
            alive = process.poll() is None
            if alive:
                send = os.killpg if sent == signal.SIGKILL else os.kill
                send(process.pid, sent)
            asked = time.monotonic()
            code = process.wait(timeout=600)
        kill = {
            "signal": sent.name, "from": before, "to": newest_step(workdir / "killed"), "code": code,
            "seconds": round(asked - begun, 1), "seconds_to_end": round(time.monotonic() - asked, 2), "in_time": alive,
        }  # fmt: skip
        if code not in (0, -signal.SIGKILL, 143):
            raise SystemExit(f"unexpected exit code {code}, see {workdir}/killed.log")
        kills.append(kill)
        log.write_text(json.dumps(kills, indent=1))
        print(f"kill {len(kills)}/{arguments.kills}: {kill}", flush=True)
    while not finished(workdir / "killed"):
        with started(workdir, "killed", arguments) as process:
            code = process.wait()
        if code:
            raise SystemExit(f"the resumed run ended with {code}, see {workdir}/killed.log")


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Bit for bit, NaN (a prompt not seen yet) included."""
    return a.dtype == b.dtype and a.shape == b.shape and a.numpy().tobytes() == b.numpy().tobytes()


def differences(whole: Path, killed: Path) -> list[str]:
    """Names of everything in which the two runs ended differently."""
    found = []
    last = [list_checkpoints(folder)[-1] for folder in (whole, killed)]
    for name in ("model.safetensors", "rlvr_state.safetensors", "rlvr_rank_0.safetensors"):
        a, b = (load_file(folder / name) for folder in last)
        found += [f"{name}: {key}" for key in a.keys() | b.keys() if not same(a[key], b[key])]
    a, b = (torch.load(folder / "optimizer.pt", weights_only=True)["state"] for folder in last)
    found += [f"optimizer {i} {key}" for i in a for key in a[i] if not torch.equal(a[i][key], b[i][key])]
    timed = ("time", "per_second", "vision/")  # after a resume a picture may be encoded once more, into the same
    histories = [
        {
            # NaN is what a log holds for a batch without the quantity, and is not equal to itself.
            entry["step"]: {key: repr(v) for key, v in entry.items() if not any(word in key for word in timed)}
            for entry in json.loads((folder / "trainer_state.json").read_text())["log_history"]
            if "loss" in entry
        }
        for folder in (whole, killed)
    ]
    for step in sorted(histories[0].keys() | histories[1].keys()):
        one, other = (history.get(step) for history in histories)
        if one is None or other is None:
            found.append(f"log of step {step}: in one run only")
        elif keys := [key for key in one.keys() | other.keys() if one.get(key) != other.get(key)]:
            found.append(f"log of step {step}: {', '.join(sorted(keys))}")
    return found


def flatness(workdir: Path) -> dict[str, dict[str, float]]:
    """Medians of the second and of the last fifth of the undisturbed run; the first fifth is start-up."""
    samples = [json.loads(line) for line in (workdir / "usage.jsonl").read_text().splitlines()]
    samples = [sample for sample in samples if sample["step"]]  # after the first checkpoint
    fifth = max(1, len(samples) // 5)
    parts = {"early": samples[fifth : 2 * fifth], "late": samples[-fifth:]}
    table = {
        key: {name: statistics.median(s[key] for s in part) for name, part in parts.items()}
        | {"max": max(s[key] for s in samples)}
        for key in ("rss_mb", "files", "children", "threads")
    }
    return table | {"samples": {"count": len(samples), "seconds": round(samples[-1]["s"] - samples[0]["s"])}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=400, help="optimizer steps of each run")
    parser.add_argument("--save_steps", type=int, default=5)
    parser.add_argument("--logging_steps", type=int, default=10)
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--jitter", type=float, default=3.0, help="seconds over which the moment of a kill varies")
    parser.add_argument("--seed", type=int, default=0, help="of the kills")
    parser.add_argument("--only", choices=["undisturbed", "disturbed"], help="this run alone, without a comparison")
    parser.add_argument("--workdir", type=Path, default=Path("runs/soak"))
    arguments = parser.parse_args()
    workdir: Path = arguments.workdir.absolute()
    workdir.mkdir(parents=True, exist_ok=True)
    if not (workdir / "rows.parquet").is_file():
        write_rows(workdir / "rows.parquet")
    if arguments.only != "disturbed" and not finished(workdir / "whole"):
        leave_alone(workdir, arguments)
    if arguments.only != "undisturbed":
        disturb(workdir, arguments)
    if arguments.only:
        return
    found = differences(workdir / "whole", workdir / "killed")
    kills = json.loads((workdir / "kills.json").read_text())
    history = json.loads((workdir / "whole/trainer_state.json").read_text())["log_history"]
    bad = max(entry.get("data/bad_rows", 0) for entry in history)
    rewards = [entry["reward"] for entry in history if "reward" in entry]
    tenth = max(1, len(rewards) // 10)
    learned = [statistics.mean(part) for part in (rewards[:tenth], rewards[-tenth:])]
    skipped = sum(entry.get("guard/skipped_steps", 0) for entry in history)
    flat = flatness(workdir)
    result = {
        "steps": arguments.steps, "rows": ROWS, "corrupted_rows_written": BAD_ROWS, "bad_rows_met": bad,
        "skipped_steps": skipped, "reward": learned, "kills": kills, "usage": flat, "differences": found,
    }  # fmt: skip
    count = {
        name: sum(kill["signal"] == name and kill["in_time"] for kill in kills) for name in ("SIGKILL", "SIGTERM")
    }
    waits = [kill["seconds_to_end"] for kill in kills if kill["signal"] == "SIGTERM" and kill["in_time"]]
    verdict = "equal, bit for bit" if not found else f"{len(found)} differences: " + "; ".join(found[:5])
    lines = [
        f"{arguments.steps} steps; {count['SIGKILL']} SIGKILL, {count['SIGTERM']} SIGTERM; {bad:.0f} of {BAD_ROWS} "
        f"corrupted rows met; SIGTERM to the end of the process: {max(waits, default=0):.1f} s at most.",
        f"Mean reward of the first tenth: {learned[0]:.3f}, of the last: {learned[1]:.3f}.",
        f"Final states: {verdict}.",
        "",
        f"| undisturbed run, {flat['samples']['count']} samples | second fifth | last fifth | maximum |",
        "| --- | --- | --- | --- |",
    ]
    names = {"rss_mb": "memory (MB)", "files": "open files", "children": "child processes", "threads": "threads"}
    lines += [f"| {n} | {flat[k]['early']:g} | {flat[k]['late']:g} | {flat[k]['max']:g} |" for k, n in names.items()]
    write_results("soak", "\n".join(lines), result)
    raise SystemExit(bool(found))


if __name__ == "__main__":
    main()
