# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""A long run with everything that can happen to it: kills, full disks, damaged checkpoints, wrong labels, bad rows.

    python benchmarks/correctness/soak.py --steps 400 --kills 12

Two runs of the same command train the small model by MSSR with variance-aware sampling on pictures of which some are
corrupted and on labels of which some are wrong. One is left alone; its memory, file handles and child processes are
sampled every second. The other is ended by SIGKILL or SIGTERM at random moments and resumed. Between the kills its
disk is full (a tmpfs of its own where mounting is allowed, else `os.fsync` says so), a second process tries its
folder, the file times of a checkpoint are set to the future (as a clock set back leaves them), and a bit of its newest
checkpoint is flipped. The two must end in the same weights, optimizer, tracker, scores and losses, bit for bit. The
script itself can be stopped and started again: it goes on in `--workdir`. To have both runs at the same time, start it
with `--only undisturbed` and in another shell with `--only disturbed`, and without either at the end. Writes
`benchmarks/results/soak.md` and `.json`.
"""

import argparse
import contextlib
import errno
import json
import os
import random
import re
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


sys.path.insert(0, str(Path(__file__).parents[1]))

from common import write_results

from mmr1_trl.data.figures import load_figures
from mmr1_trl.run_folder import TRAIN_RESULTS, complete_checkpoints, find_damage, list_checkpoints, step_of


BAD_ROWS = 24
ROWS = 384

OPTIONS = [
    "--model_name_or_path", "figures/cold_start", "--dataset_name", "rows.parquet", "--on_bad_row", "skip",
    "--label_noise", "0.2", "--prompt_sampling", "variance_aware", "--vas_diversity_metric", "distinct_n",
    "--per_device_train_batch_size", "8", "--steps_per_generation", "2", "--gradient_accumulation_steps", "1",
    "--beta", "0.01", "--learning_rate", "3e-5", "--max_completion_length", "16", "--save_total_limit", "2",
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


FULL = "full"  # a file beside the runs: while it is there, the disk is


def command_with_full_disk(argv: list[str]) -> int:
    """The command line on a disk that is full at times, where no file system may be mounted that really is."""
    from mmr1_trl.cli import main as run_command

    sync = os.fsync

    def fsync(descriptor: int) -> None:
        if Path(FULL).exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    os.fsync = fsync
    return run_command(argv)


def command(name: str, arguments: argparse.Namespace, checkpoint: str | None) -> list[str]:
    words = ["--output_dir", name, "--max_steps", str(arguments.steps), "--save_steps", str(arguments.save_steps)]
    words += ["--logging_steps", str(arguments.logging_steps)]
    words += [] if checkpoint is None else ["--resume_from_checkpoint", checkpoint]
    start = ["-m", "mmr1_trl.cli"] if arguments.mounted else [str(Path(__file__).absolute()), "--command"]
    return [sys.executable, *start, "mssr", *OPTIONS, *words]


@contextlib.contextmanager
def started(
    workdir: Path, name: str, arguments: argparse.Namespace, checkpoint: str = "true"
) -> Iterator[subprocess.Popen[bytes]]:
    """Start or resume a run; it does not outlive this script."""
    words = command(name, arguments, checkpoint if complete_checkpoints(workdir / name) else None)
    with open(workdir / f"{name}.log", "ab") as log:
        process = subprocess.Popen(
            words, cwd=workdir, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def newest_step(folder: Path) -> int:
    """Step of the newest complete checkpoint, 0 without one."""
    return max((step_of(path) for path in complete_checkpoints(folder)), default=0)


def finished(folder: Path) -> bool:
    return (folder / TRAIN_RESULTS).is_file()


def small_disk(folder: Path) -> bool:
    """
    Put a folder on a file system of its own that can be filled, and return whether that was allowed. It stays mounted,
    for it holds the run, which a later call of this script goes on with.
    """
    folder.mkdir(exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", str(folder)]
    return folder.is_mount() or subprocess.run(words, capture_output=True).returncode == 0


def fill(workdir: Path, mounted: bool) -> None:
    if not mounted:
        (workdir / FULL).touch()
        return
    with open(workdir / "killed/ballast", "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"0" * 65536)


def make_room(workdir: Path) -> None:
    (workdir / FULL).unlink(missing_ok=True)
    (workdir / "killed/ballast").unlink(missing_ok=True)


def flip_a_bit(folder: Path, dice: random.Random) -> str:
    """Damage a file of a checkpoint; return its name."""
    names = ["model.safetensors", "optimizer.pt", "rlvr_state.safetensors", "rlvr_rank_0.safetensors", "rng_state.pth"]
    file = folder / dice.choice(names)
    content = bytearray(file.read_bytes())
    content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    file.write_bytes(content)
    return file.name


def before_start(workdir: Path, arguments: argparse.Namespace, number: int, dice: random.Random) -> tuple[str, str]:
    """
    What happens to the folder while nothing runs: return it, and the checkpoint to go on from.

    A damaged checkpoint must be refused with its file and the newest whole one, from which the run goes on.
    """
    run, what = workdir / "killed", ""
    checkpoints = complete_checkpoints(run)
    if number % 3 == 1 and len(checkpoints) > 1 and all(find_damage(path) is None for path in checkpoints):
        what = f"bit flipped in {flip_a_bit(checkpoints[-1], dice)} of {checkpoints[-1].name}"
    elif number % 3 == 2 and checkpoints:
        future = time.time() + 1e7
        os.utime(checkpoints[0], (future, future))
        what = f"{checkpoints[0].name} dated to the future"
    if not checkpoints or find_damage(checkpoints[-1]) is None:
        return what, "true"
    refused = subprocess.run(command("killed", arguments, "true"), cwd=workdir, capture_output=True, text=True)
    named = re.search(r"is damaged: .*The newest whole checkpoint is (checkpoint-\d+)", refused.stderr)
    if refused.returncode != 2 or named is None or ("flipped" in what and what.split()[3] not in refused.stderr):
        raise SystemExit(f"a damaged checkpoint was not refused as it should: {refused.returncode} {refused.stderr}")
    return what, f"killed/{named[1]}"


def try_folder(workdir: Path, arguments: argparse.Namespace, pid: int) -> None:
    """Start a second process in the folder of a run; it must be refused."""
    second = subprocess.run(command("killed", arguments, "true"), cwd=workdir, capture_output=True, text=True)
    if second.returncode != 2 or f"in use by mmr1 mssr (process {pid} on" not in second.stderr:
        raise SystemExit(f"a second process was not refused: {second.returncode} {second.stderr}")


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
    run, log = workdir / "killed", workdir / "kills.json"
    kills: list[dict[str, Any]] = json.loads(log.read_text()) if log.is_file() else []
    make_room(workdir)
    while len(kills) < arguments.kills and not finished(run):
        number = len(kills)
        dice = random.Random(1000 * arguments.seed + number)
        what, checkpoint = before_start(workdir, arguments, number, dice)
        before = newest_step(run) if checkpoint == "true" else step_of(Path(checkpoint))
        # Steps left are shared out, so that the kills are spread over the whole run.
        target = before + dice.randint(0, max(1, 2 * (arguments.steps - before) // (arguments.kills - number + 1)))
        target = max(target, newest_step(run) if checkpoint != "true" else 0)  # past the damaged one
        sent = "disk full" if number % 6 == 5 else dice.choice(["SIGKILL", "SIGTERM"])
        begun = time.monotonic()
        with started(workdir, "killed", arguments, checkpoint) as process:
            tried = number % 4 != 0
            while process.poll() is None and newest_whole(run) <= min(target, arguments.steps - 1):
                time.sleep(0.2)
                if not tried and newest_whole(run) > before:
                    try_folder(workdir, arguments, process.pid)
                    tried, what = True, f"{what}; second process refused".strip("; ")
            time.sleep(dice.random() * arguments.jitter)  # in the middle of a step, of a generation or of a save
            alive = process.poll() is None
            if alive and sent == "disk full":
                fill(workdir, arguments.mounted)
            elif alive:
                send = os.killpg if sent == "SIGKILL" else os.kill
                send(process.pid, signal.Signals[sent])
            asked = time.monotonic()
            code = process.wait(timeout=1200)
        make_room(workdir)
        kill = {
            "signal": sent, "from": before, "to": newest_step(run), "code": code, "before": what,
            "seconds": round(asked - begun, 1), "seconds_to_end": round(time.monotonic() - asked, 2), "in_time": alive,
        }  # fmt: skip
        expected = {"SIGKILL": -signal.SIGKILL, "SIGTERM": 143, "disk full": 3}[sent]
        if code not in (0, expected):
            raise SystemExit(f"unexpected exit code {code} after {sent}, see {workdir}/killed.log")
        if sent == "disk full" and (found := find_damage(complete_checkpoints(run)[-1])):
            raise SystemExit(f"the full disk left a damaged checkpoint: {found}")
        kills.append(kill)
        log.write_text(json.dumps(kills, indent=1))
        print(f"kill {len(kills)}/{arguments.kills}: {kill}", flush=True)
    while not finished(run):
        with started(workdir, "killed", arguments) as process:
            code = process.wait()
        if code:
            raise SystemExit(f"the resumed run ended with {code}, see {workdir}/killed.log")


def newest_whole(run: Path) -> int:
    """Step of the newest checkpoint that is written and not known to be damaged, while the run goes on."""
    try:
        return max((step_of(path) for path in complete_checkpoints(run) if find_damage(path) is None), default=0)
    except OSError:  # deleted between two looks
        return 0


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
    if sys.argv[1:2] == ["--command"]:  # what this script starts
        raise SystemExit(command_with_full_disk(sys.argv[2:]))
    arguments = parser.parse_args()
    arguments.mounted = False
    workdir: Path = arguments.workdir.absolute()
    workdir.mkdir(parents=True, exist_ok=True)
    if not (workdir / "rows.parquet").is_file():
        write_rows(workdir / "rows.parquet")
    if arguments.only != "disturbed" and not finished(workdir / "whole"):
        leave_alone(workdir, arguments)
    if arguments.only != "undisturbed":
        arguments.mounted = small_disk(workdir / "killed")
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
    disk = "a tmpfs of its own" if (workdir / "killed").is_mount() else "ENOSPC from os.fsync"
    result = {
        "steps": arguments.steps, "rows": ROWS, "corrupted_rows_written": BAD_ROWS, "bad_rows_met": bad,
        "skipped_steps": skipped, "reward": learned, "kills": kills, "full_disk": disk, "usage": flat,
        "differences": found,
    }  # fmt: skip
    ends = ("SIGKILL", "SIGTERM", "disk full")
    count = {name: sum(kill["signal"] == name and kill["in_time"] for kill in kills) for name in ends}
    events = {name: sum(name in kill["before"] for kill in kills) for name in ("flipped", "second", "future")}
    waits = [kill["seconds_to_end"] for kill in kills if kill["signal"] == "SIGTERM" and kill["in_time"]]
    verdict = "equal, bit for bit" if not found else f"{len(found)} differences: " + "; ".join(found[:5])
    lines = [
        f"{arguments.steps} steps; {count['SIGKILL']} SIGKILL, {count['SIGTERM']} SIGTERM, {count['disk full']} full "
        f"disks ({disk}); {events['flipped']} bits flipped in the newest checkpoint, each refused by file; "
        f"{events['second']} second processes, each refused; {events['future']} times a checkpoint dated to the "
        f"future; {bad:.0f} of {BAD_ROWS} corrupted rows met; SIGTERM to the end of the process: "
        f"{max(waits, default=0):.1f} s at most.",
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
