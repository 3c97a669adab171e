# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Whether two versions of the package train the same: a few seeded runs of each, compared bit for bit.

    git worktree add --detach ../earlier COMMIT
    python benchmarks/correctness/same_training.py ../earlier

Each run is a few steps of a tiny model on a CPU. What is logged of every step (but for times) and a digest of the
final weights have to be equal. For changes that are not meant to change what is trained.
"""

import argparse
import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


STEPS = 4
VAS = {"prompt_sampling": "variance_aware"}
MSSR = {"trainer": "MSSRTrainer", "num_generations": 1}
WINDOWS = {"steps_per_generation": 2, "gradient_accumulation_steps": 1, "num_iterations": 2}
RUNS: dict[str, dict[str, Any]] = {
    "grpo": {},
    "grpo, windows and a reference": WINDOWS | {"beta": 0.01},
    "mssr": MSSR | {"beta": 0.01},
    "mssr, policy KL": MSSR | WINDOWS | {"tracker_kl_source": "policy", "tracker_forgetting": "per_prompt"},
    "mssr, initial rollouts": MSSR | {"tracker_forgetting": "fixed", "tracker_initial_rollouts": 2},
    "mssr, sampled tokens": MSSR | WINDOWS | {"tracker_forgetting": "fixed", "entropy_source": "sampled_token"},
    "mssr, uncertainty": MSSR | {"tracker_forgetting": "fixed", "prompt_sampling": "uncertainty"},
    "mssr, online": MSSR | VAS | {"num_generations": 2, "beta": 0.01},
    "vas, online": VAS | {"vas_diversity_weight": 0.2},
    "vas, full": VAS | {"vas_refresh": "full", "vas_update_steps": 2, "vas_rollouts": 3},
    "vas, released code": VAS
    | {"vas_refresh": "full", "vas_update_steps": 2, "vas_rollouts": 2, "vas_variant": "released_code"},
    "vas, fixed": VAS | {"vas_refresh": "off", "prompt_scores": "rate"},
    "two-stage": {"entropy_schedule": "two_stage", "switch_fraction": 0.5},
    "oracle": {"entropy_schedule": "maximize_noisy", "label_noise": 0.5},
    "all": MSSR | VAS | WINDOWS | {"beta": 0.01, "entropy_schedule": "two_stage", "vas_weighted_fraction": 0.25},
}


def parity_reward(completion_ids: list[list[int]], solution: list[str], **kwargs: Any) -> list[float | None]:
    """Varies between the completions of a random model, and now and then says nothing."""
    sums = [sum(ids) + len(gold) for ids, gold in zip(completion_ids, solution)]
    return [None if total % 11 == 0 else float(total % 3 == 0) for total in sums]


def fields_of(config_class: Any) -> set[str]:
    """The names of a config's options."""
    return {option.name for option in dataclasses.fields(config_class)}


def train(options: dict[str, Any]) -> dict[str, Any]:
    """One run, in this process and with the package that it imports."""
    import torch

    import mmr1_trl
    from mmr1_trl.data.figures import load_figures
    from mmr1_trl.models import build_tiny_vlm

    torch.set_num_threads(1)
    options = dict(options)
    trainer_class = getattr(mmr1_trl, options.pop("trainer", "RLVRTrainer"))
    rows = load_figures("train", num_rows=16, seed=0)
    distinct = 16 if options.get("label_noise") else 13  # some rows hold the same prompt
    keys = [f"p{i % distinct}" for i in range(16)]
    rows = rows.remove_columns([name for name in ("prompt_id",) if name in rows.column_names])
    rows = rows.add_column("prompt_id", keys).add_column("rate", [int(key[1:]) / 15 for key in keys])
    model, processor = build_tiny_vlm("qwen2_5_vl", seed=0)
    with tempfile.TemporaryDirectory() as folder:
        # What is newer than the other version may stay away: sharing sums in another order.
        newer = {"share_prompts": "off"} if "share_prompts" in fields_of(trainer_class._config_class) else {}
        args = trainer_class._config_class(
            **newer
            | {
                "output_dir": folder, "seed": 3, "report_to": "none", "save_strategy": "no", "disable_tqdm": True,
                "bf16": False, "use_cpu": True, "logging_steps": 1, "max_steps": STEPS, "learning_rate": 1e-3,
                "per_device_train_batch_size": 8, "num_generations": 2, "max_completion_length": 8, "beta": 0.0,
            } | options
        )  # fmt: skip
        trainer = trainer_class(
            model=model, reward_funcs=parity_reward, args=args, train_dataset=rows, processing_class=processor
        )
        trainer.train()
    log = [
        {name: value for name, value in entry.items() if "time" not in name and "seconds" not in name}
        for entry in trainer.state.log_history[:-1]
    ]
    digest = hashlib.blake2b(digest_size=16)
    for parameter in trainer.accelerator.unwrap_model(trainer.model).parameters():
        digest.update(parameter.detach().numpy().tobytes())
    return {"log": log, "weights": digest.hexdigest()}


def runs_of(tree: Path, names: list[str]) -> dict[str, Any]:
    """The runs of another process, with the package of a folder."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "runs.json"
        environment = os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
        words = [sys.executable, str(Path(__file__).resolve()), "--write", str(out), "--runs", *names]
        subprocess.run(words, check=True, env=environment, stdout=subprocess.DEVNULL, cwd=folder)
        return json.loads(out.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("earlier", nargs="?", type=Path, help="a folder with another version, or what --write wrote")
    parser.add_argument("--write", type=Path, help="write the runs of this version to a file, and compare nothing")
    parser.add_argument("--runs", nargs="*", choices=RUNS, default=list(RUNS), metavar="RUN", help=", ".join(RUNS))
    arguments = parser.parse_args()
    if arguments.write:
        arguments.write.write_text(json.dumps({name: train(RUNS[name]) for name in arguments.runs}))
        return
    earlier = arguments.earlier.resolve()
    before = json.loads(earlier.read_text()) if earlier.is_file() else runs_of(earlier, arguments.runs)
    different = 0
    for name, now in runs_of(Path(__file__).resolve().parents[2], arguments.runs).items():
        then = before[name]
        # Through JSON both, and as text, so that NaN equals NaN.
        entries = [
            key for a, b in zip(then["log"], now["log"]) for key in a | b if repr(a.get(key)) != repr(b.get(key))
        ]
        same = not entries and then["weights"] == now["weights"] and len(then["log"]) == len(now["log"])
        different += not same
        print(f"{name:<32} {'equal' if same else f'DIFFERENT: weights or {sorted(set(entries))}'}", flush=True)
    if different:
        raise SystemExit(f"{different} of {len(arguments.runs)} runs differ.")


if __name__ == "__main__":
    main()
