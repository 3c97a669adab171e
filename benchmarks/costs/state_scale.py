# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What the state of a run costs at scale: memory and checkpoint of 10^4 to 10^7 prompts, traffic of 2 to 512 ranks.

    python benchmarks/costs/state_scale.py

Three parts. The state (value tracker, scores, order of the prompts) is built at each size and driven by one generation
batch per call. The traffic between ranks is counted in two real processes, at two sizes of the dataset and two of the
batch. For 512 ranks the batch that every rank holds after the gathering is made in one process, and what is received
is computed from the measured bytes per completion. Writes `benchmarks/results/state_scale.md` and `.json`.
"""

import argparse
import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


sys.path.insert(0, str(Path(__file__).parents[1]))

from common import write_results


SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
RANKS = (2, 8, 64, 512)
PER_RANK = 256  # completions of one rank in a generation batch
TOKENS = 512  # of a completion, where token ids are gathered (variance-aware sampling)


def seconds(work: Callable[[], Any], repeats: int = 3) -> float:
    """The fastest of a few calls."""
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return min(times)


def state_of(prompts: int, folder: Path) -> dict[str, float]:
    """Size of the state over `prompts` prompts and what one generation batch of 512 ranks and a checkpoint cost."""
    from mmr1_trl import MSSRConfig
    from mmr1_trl.data.prompts import Prompts
    from mmr1_trl.trainers.baselines import ValueTracker
    from mmr1_trl.trainers.checkpoints.state import load_shared_state, save_shared_state
    from mmr1_trl.trainers.checkpoints.state import state_of as state_of_parts
    from mmr1_trl.trainers.rollouts import RolloutBatch
    from mmr1_trl.trainers.samplers import Online

    batch = min(PER_RANK * max(RANKS), prompts // 2)
    args = MSSRConfig(
        output_dir=str(folder), use_cpu=True, prompt_sampling="variance_aware", per_device_train_batch_size=batch,
        report_to="none",
    )  # fmt: skip
    numbered = Prompts(torch.arange(prompts))
    baseline = ValueTracker(numbered, args)
    sampler = Online(numbered, args, tracker=baseline.tracker)
    sampler.next_batch()  # the first call scores all prompts
    numbers = torch.randint(prompts, (batch,))
    seen = RolloutBatch(numbers, numbers, (torch.rand(batch) < 0.5).float(), group_size=1)

    def update() -> None:
        baseline.advantages(seen)
        baseline.finish(0.01)

    def draw() -> None:
        sampler.touched = numbers
        sampler.next_batch()

    tensors = state_of_parts({"sampler": sampler, "baseline": baseline})[1]
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    return {
        "prompts": prompts,
        "batch": batch,
        "state_mb": size / 1e6,
        "bytes_per_prompt": size / prompts,
        "update_s": seconds(update),
        "draw_uniform_s": seconds(lambda: sampler.walk.rows(0, batch)),
        "draw_weighted_s": seconds(draw),
        "save_s": seconds(lambda: save_shared_state(folder, {}, tensors)),
        "load_s": seconds(lambda: [t.clone() for t in load_shared_state(folder)[1].values()]),  # else only mapped
    }


def worker(prompts: int, per_rank: int) -> None:
    """One of two processes: count what a generation batch sends, by kind of collective call."""
    import torch.distributed as dist

    from mmr1_trl import MSSRConfig, MSSRTrainer
    from mmr1_trl.data.figures import load_figures
    from mmr1_trl.models import build_tiny_vlm

    sent: dict[str, float] = {}
    generating = False

    def watch(name: str, size: Callable[..., float]) -> None:
        original = getattr(dist, name)

        def watched(*args: Any, **kwargs: Any) -> Any:
            if generating:
                sent[name] = sent.get(name, 0.0) + size(*args)
                sent[f"{name} calls"] = sent.get(f"{name} calls", 0.0) + 1
            return original(*args, **kwargs)

        setattr(dist, name, watched)

    def of(tensor: torch.Tensor) -> float:
        return float(tensor.numel() * tensor.element_size())

    watch("all_gather_into_tensor", lambda out, tensor, *_: of(tensor))
    watch("all_gather", lambda out, tensor, *_: of(tensor))
    watch("all_reduce", lambda tensor, *_: of(tensor))
    watch("broadcast", lambda tensor, *_: of(tensor))
    watch("all_gather_object", lambda out, thing, *_: float(len(pickle.dumps(thing))))

    class Watched(MSSRTrainer):
        def _generate_and_score_completions(self, inputs: Any) -> Any:
            nonlocal generating
            generating = True
            try:
                return super()._generate_and_score_completions(inputs)
            finally:
                generating = False

    model, processor = build_tiny_vlm()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Watched(
            model=model,
            reward_funcs=lambda completion_ids, **kwargs: [float(sum(ids) % 2) for ids in completion_ids],
            args=MSSRConfig(
                output_dir=folder, use_cpu=True, per_device_train_batch_size=per_rank, max_completion_length=16,
                max_steps=2, report_to="none", save_strategy="no", disable_tqdm=True, gradient_checkpointing=False,
                beta=0.0, tracker_forgetting="fixed", prompt_sampling="variance_aware",
            ),
            train_dataset=load_figures("train", num_rows=prompts),
            processing_class=processor,
        )  # fmt: skip
        trainer.train()
    if os.environ["RANK"] == "0":
        total = sum(value for name, value in sent.items() if "calls" not in name) / 2  # two generation batches
        calls = sum(value for name, value in sent.items() if "calls" in name) / 2
        print("RESULT " + json.dumps({"prompts": prompts, "per_rank": per_rank, "bytes": total, "calls": calls}))
    dist.barrier()
    time.sleep(1.0)  # Gloo's thread has to let go first


def measured_traffic() -> list[dict[str, float]]:
    found = []
    for prompts, per_rank in ((128, 8), (512, 8), (128, 16)):
        words = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", __file__, "--worker"]
        done = subprocess.run(
            [sys.executable, *words, str(prompts), str(per_rank)], capture_output=True, text=True, timeout=600
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
        if not lines:
            raise SystemExit(done.stderr[-2000:])
        found.append(json.loads(lines[0].removeprefix("RESULT ")))
        print(found[-1], flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worker", nargs=2, type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.worker:
        return worker(*arguments.worker)
    states = []
    with tempfile.TemporaryDirectory() as folder:
        for prompts in SIZES:
            states.append(state_of(prompts, Path(folder)))
            print(states[-1], flush=True)
    traffic = measured_traffic()
    small, more_prompts, more_rows = traffic
    per_completion = (more_rows["bytes"] - small["bytes"]) / (more_rows["per_rank"] - small["per_rank"])
    result = {"state": states, "traffic_of_two_processes": traffic, "bytes_per_completion": per_completion}
    lines = [
        "State of the value tracker and the scores, the same on every rank; one generation batch of "
        f"{PER_RANK} x {max(RANKS)} completions (half of the prompts where there are fewer):",
        "",
        "| prompts | state (MB) | bytes per prompt | update (s) | draw uniform (s) | draw by score (s) | save (s) | "
        "load (s) |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {s['prompts']:,} | {s['state_mb']:.1f} | {s['bytes_per_prompt']:.0f} | {s['update_s']:.3f} | "
        f"{s['draw_uniform_s']:.3f} | {s['draw_weighted_s']:.3f} | {s['save_s']:.2f} | {s['load_s']:.2f} |"
        for s in states
    ]
    lines += [
        "",
        "Traffic of one generation batch, counted in two processes (MSSR with variance-aware sampling, completions of "
        "at most 16 tokens):",
        "",
        "| prompts in the dataset | completions per rank | bytes sent per rank | collective calls |",
        "| --- | --- | --- | --- |",
    ]
    lines += [f"| {t['prompts']} | {t['per_rank']} | {t['bytes']:,.0f} | {t['calls']:.0f} |" for t in traffic]
    lines += [
        "",
        f"That is {per_completion:.0f} bytes per completion beside a constant, and nothing per prompt "
        f"({small['bytes']:,.0f} and {more_prompts['bytes']:,.0f} bytes with 4 times the prompts). Without sampling "
        "by score no token ids are gathered.",
        "",
        f"Computed from it: what each rank receives per generation batch of {PER_RANK} completions per rank, and "
        f"with completions of {TOKENS} tokens (8 bytes per token id more):",
        "",
        "| ranks | received (MB) | with long completions (MB) |",
        "| --- | --- | --- |",
    ]
    for ranks in RANKS:
        received = ranks * PER_RANK * per_completion
        lines.append(f"| {ranks} | {received / 1e6:.2f} | {(received + ranks * PER_RANK * TOKENS * 8) / 1e6:.1f} |")
    write_results("state_scale", "\n".join(lines), result)


if __name__ == "__main__":
    main()
