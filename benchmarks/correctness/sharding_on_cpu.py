# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""ZeRO and FSDP2 on two processes of a CPU: the losses of DDP, after a resume too, and with pictures and prompts once.

    pip install deepspeed && python benchmarks/correctness/sharding_on_cpu.py

MSSR with variance-aware sampling, so that the two ranks have different numbers of distinct pictures; two updates per
generation batch, a reference model, a checkpoint in the middle of a generation batch. Prompts are shared in groups of
four, which the ranks have whole and in parts, with rows as short as these made worth it. accelerate offers FSDP on
accelerators only, and is made to believe that this is one. Writes `benchmarks/results/sharding_on_cpu.md` and `.json`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
import yaml
from accelerate import PartialState
from accelerate.utils import DistributedType
from datasets import Dataset


sys.path.insert(0, str(Path(__file__).parents[1]))

from common import RESULTS, reward, write_results

from mmr1_trl import MSSRConfig, MSSRTrainer
from mmr1_trl.data.figures import load_figures
from mmr1_trl.models import build_tiny_vlm
from mmr1_trl.trainers.packing import installation


STEPS, SAVED = 6, 3
GAPS = ("from_ddp", "from_resumed", "from_plain")
CPU = {"device": "cpu"}
# engine -> what DeepSpeed is told; None for the others
ENGINES: dict[str, dict[str, Any] | None] = {
    "DDP": None,
    "FSDP2": None,
    "ZeRO-2": {"stage": 2},
    "ZeRO-3": {"stage": 3},
    "ZeRO-2, optimizer offloaded": {"stage": 2, "offload_optimizer": CPU},
    "ZeRO-3, optimizer and weights offloaded": {"stage": 3, "offload_optimizer": CPU, "offload_param": CPU},
}
SHARED = "tower frozen, gradient checkpointing, each prompt once"
OPTIONS: dict[str, dict[str, Any]] = {
    "tower trained": {},
    "tower frozen": {"freeze_vision_tower": True, "freeze_merger": True},
    "tower frozen, gradient checkpointing, bf16": {
        "freeze_vision_tower": True, "freeze_merger": True, "gradient_checkpointing": True, "bf16": True,
    },
    SHARED: {
        "freeze_vision_tower": True, "freeze_merger": True, "gradient_checkpointing": True, "num_generations": 4,
        "share_prompts": "auto",
    },
}  # fmt: skip


def train(folder: str, engine: str, options: dict[str, Any], resume: bool) -> None:
    """One of two processes: train, and leave the losses in `losses.json`."""
    zero = ENGINES[engine] and {
        "train_micro_batch_size_per_gpu": "auto", "gradient_accumulation_steps": "auto", "gradient_clipping": "auto",
        "zero_optimization": ENGINES[engine], "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False, "bf16": {"enabled": "auto"},
    }  # fmt: skip
    if options.get("share_prompts") == "auto":
        installation.TOKENS_SPARED = 0
    model, processor = build_tiny_vlm()
    rows: Dataset = load_figures(num_rows=16)
    args = MSSRConfig(
        output_dir=folder, use_cpu=True, per_device_train_batch_size=4, steps_per_generation=2,
        gradient_accumulation_steps=1, max_completion_length=6, max_steps=STEPS, logging_steps=1, report_to="none",
        save_steps=SAVED, disable_tqdm=True, learning_rate=1e-3, deepspeed=zero, prompt_sampling="variance_aware",
        vas_weighted_fraction=1.0, **({"gradient_checkpointing": False} | options),
    )  # fmt: skip
    if engine == "FSDP2":
        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
    trainer = MSSRTrainer(
        model=model, reward_funcs=reward, train_dataset=rows, processing_class=processor, args=args,
    )  # fmt: skip
    if trainer.accelerator.distributed_type.value != {"DDP": "MULTI_CPU", "FSDP2": "FSDP"}.get(engine, "DEEPSPEED"):
        raise SystemExit(f"{engine}: this is {trainer.accelerator.distributed_type}")
    trainer.train(resume_from_checkpoint=f"{folder}/checkpoint-{SAVED}" if resume else None)
    if trainer.is_world_process_zero():
        history = trainer.state.log_history
        names = ("loss", "grad_norm", "vision/encoded", "tokens/share_saved")
        result = {name: [entry[name] for entry in history if name in entry] for name in names}
        Path(folder, "losses.json").write_text(json.dumps(result))
    torch.distributed.barrier()
    os._exit(0)  # without freeing Gloo's threads, which now and then aborts


def fsdp2() -> dict[str, str]:
    """What `accelerate launch` makes of TRL's preset of this name."""
    preset = yaml.safe_load((files("trl.accelerate_configs") / "fsdp2.yaml").read_text())["fsdp_config"]
    return {"ACCELERATE_USE_FSDP": "true"} | {name.upper(): str(value) for name, value in preset.items()}


def launch(folder: str, engine: str, options: dict[str, Any], resume: bool = False) -> dict[str, list[float]]:
    command = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    words = json.dumps([folder, engine, options, resume])
    result = subprocess.run(
        [*command, __file__, "--one", words], capture_output=True, text=True, timeout=600,
        env=os.environ | {"OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"} | (fsdp2() if engine == "FSDP2" else {}),
    )  # fmt: skip
    if result.returncode:
        raise SystemExit(result.stdout[-1000:] + result.stderr[-6000:])
    return json.loads(Path(folder, "losses.json").read_text())


def measure(name: str, engine: str, folder: str, base: dict[str, list[float]] | None) -> dict[str, Any]:
    """Train whole, resumed and without what it does once; compare, the first one with `base` as well."""
    off = {"share_prompts": "off"} if name == SHARED else {"encode_once": False}
    whole = launch(folder, engine, OPTIONS[name])
    resumed = launch(folder, engine, OPTIONS[name], resume=True)
    plain = launch(f"{folder}-plain", engine, OPTIONS[name] | off)
    gaps = {
        gap: max(abs(a - b) for a, b in zip(whole["loss"], other["loss"], strict=True))
        for gap, other in zip(GAPS, (base or whole, resumed, plain))
    }
    return {"options": name, "engine": engine} | gaps | whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--options", nargs="+", choices=list(OPTIONS), default=list(OPTIONS))
    parser.add_argument(
        "--engines", nargs="+", choices=list(ENGINES), default=list(ENGINES), help="others keep their results"
    )
    arguments = parser.parse_args()
    if arguments.one:
        train(*json.loads(arguments.one))
    file = RESULTS / "sharding_on_cpu.json"
    known = {(r["options"], r["engine"]): r for r in json.loads(file.read_text())} if file.is_file() else {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in arguments.options:
            for engine in ["DDP", *(engine for engine in arguments.engines if engine != "DDP")]:
                base = known.get((name, "DDP")) if engine != "DDP" else None
                result = measure(name, engine, f"{scratch}/{name}-{engine}", base)
                known[name, engine] = result
                print(name, engine, *(f"{result[gap]:.1g}" for gap in GAPS), flush=True)
    lines = [
        f"Largest difference between the losses of {STEPS} updates; two processes, tiny model.",
        "",
        "| | engine | from DDP | from the run resumed at step 3 | from `encode_once=False`, or `share_prompts=off` |",
        "| --- | --- | --- | --- | --- |",
    ]
    results = [known[name, engine] for name in OPTIONS for engine in ENGINES if (name, engine) in known]
    for r in results:
        lines.append(f"| {r['options']} | {r['engine']} | {' | '.join(f'{r[gap]:.1g}' for gap in GAPS)} |")
    write_results("sharding_on_cpu", "\n".join(lines), results)


if __name__ == "__main__":
    main()
