# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What it saves to decode, pre-process and encode each picture once: `RLVRTrainer` against TRL's own `GRPOTrainer`.

    python benchmarks/costs/vision_once.py                                         # on a CPU
    python benchmarks/costs/vision_once.py --model qwen2_5_vl_3b_shapes --repeats 1  # random weights, on a GPU

Both trainers do the same work (same model, rows, seed and rollouts; the script stops if their losses differ), each run
in a process of its own, and runs of the two alternate. Step times are given in seconds on the clock and, on a CPU, in
seconds of the processor, which other work on the machine disturbs less. Counts are per prompt and generation batch.
The share of peak is the FLOP/s of the updates' forward and backward passes, as executed (recomputation included),
over those of a large square matrix product in the same process; `--peak_tflops` takes the maker's figure instead.
Writes `benchmarks/results/vision_once.md` and `.json`, with the name of the model added for models with true shapes.
"""

import argparse
import json
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode, mm_flop
from transformers import AutoModelForImageTextToText, Qwen2_5_VLConfig, Qwen2VLImageProcessorPil, TrainerCallback
from transformers.image_utils import make_flat_list_of_images
from trl import GRPOConfig, GRPOTrainer


sys.path.insert(0, str(Path(__file__).parents[1]))

from common import RESULTS, reward, rows

from mmr1_trl import (
    MSSRConfig,
    MSSRTrainer,
    RLVRConfig,
    RLVRTrainer,
    TwoStageEntropyConfig,
    TwoStageEntropyTrainer,
    VASConfig,
    VASTrainer,
)
from mmr1_trl.models import build_tiny_vlm


ROLLOUTS = 8  # per prompt
# `methods_step_cost.py` measures the others with the same function.
TRAINERS: dict[str, tuple[Any, Any]] = {
    "trl": (GRPOConfig, GRPOTrainer),
    "mmr1": (RLVRConfig, RLVRTrainer),
    "vas": (VASConfig, VASTrainer),
    "mssr": (MSSRConfig, MSSRTrainer),
    "two-stage": (TwoStageEntropyConfig, TwoStageEntropyTrainer),
}

# text, vision: hidden, MLP, layers, heads, and layers with attention over the whole picture
SHAPES: dict[str, Any] = {
    "vision_heavy": {"text": (192, 512, 4, 3, 1), "vision": (192, 512, 4, 3, [3]), "mrope": [8, 12, 12]},
    "qwen2_5_vl_3b_shapes": {
        "text": (2048, 11008, 36, 16, 2), "vision": (1280, 3420, 32, 16, [7, 15, 23, 31]), "mrope": [16, 24, 24],
        "vocab_size": 151936,
    },
    "true shapes in small": {
        "text": (64, 128, 2, 2, 1), "vision": (64, 128, 2, 2, [1]), "mrope": [4, 6, 6], "vocab_size": 1024,
    },
}  # fmt: skip

SETTINGS: list[dict[str, Any]] = [
    {"name": "tiny, 56 px, frozen", "model": "tiny", "frozen": True, "checkpointing": False, "prompts": 2, "steps": 9},
    {"name": "tiny, 56 px, trained", "model": "tiny", "checkpointing": False, "prompts": 2, "steps": 9},
    {"name": "tiny, 56 px, frozen, 4 updates", "model": "tiny", "frozen": True, "checkpointing": False, "prompts": 2,
     "steps": 12, "window": 4},
    {"name": "vision-heavy, 448 px, frozen", "model": "vision_heavy", "pixels": 448, "frozen": True},
    {"name": "vision-heavy, 448 px, frozen, no checkpointing", "model": "vision_heavy", "pixels": 448, "frozen": True,
     "checkpointing": False},
    {"name": "vision-heavy, 448 px, trained", "model": "vision_heavy", "pixels": 448},
    {"name": "vision-heavy, 1024 px, frozen", "model": "vision_heavy", "pixels": 1024, "frozen": True},
]  # fmt: skip


# ---- FLOPs ----
# torch's own formulas count no attention on CPUs, in older versions none with fewer heads of keys than of queries, and
# fail on the type that TRL's head names on GPUs (`addmm.dtype_out`).


def addmm_flops(_: Any, a: Any, b: Any, *args: Any, **kwargs: Any) -> int:
    return mm_flop(a, b)


def attention_flops(query: Any, key: Any, value: Any, *args: Any, **kwargs: Any) -> int:
    """Two products, in full: causal kernels skip half of it."""
    return 2 * math.prod(query[:3]) * key[2] * (query[3] + value[3])


def attention_backward_flops(_: Any, query: Any, key: Any, value: Any, *args: Any, **kwargs: Any) -> int:
    """Five products: the scores again, and the gradients of scores, values, queries and keys."""
    return 2 * math.prod(query[:3]) * key[2] * (3 * query[3] + 2 * value[3])


ATTENTION = ("flash_attention", "efficient_attention", "cudnn_attention", "flash_attention_for_cpu")
FLOPS = {torch.ops.aten.addmm: addmm_flops}
for _name in ATTENTION:
    FLOPS[getattr(torch.ops.aten, f"_scaled_dot_product_{_name}")] = attention_flops
    FLOPS[getattr(torch.ops.aten, f"_scaled_dot_product_{_name}_backward")] = attention_backward_flops


def true_shapes(model: str) -> list[dict[str, Any]]:
    frozen = [{"name": f"{model}, {px} px, frozen", "pixels": px, "frozen": True} for px in (448, 1024)]
    trained = [{"name": f"{model}, {px} px, trained", "pixels": px} for px in (448, 1024)]
    return [setting | {"model": model, "tokens": 256, "steps": 3} for setting in frozen + trained]


# ---- One run, in a process of its own ----


def build_model(name: str, dtype: torch.dtype = torch.float32, attention: str | None = None) -> tuple[Any, Any]:
    """A model with random weights, made where it will be trained and in its type, and its processor."""
    model, processor = build_tiny_vlm()
    if name == "tiny":
        return model.to(dtype), processor
    shapes = SHAPES[name]
    text, vision = shapes["text"], shapes["vision"]
    tokenizer = processor.tokenizer
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
    config = Qwen2_5_VLConfig(
        text_config=dict(zip(names, text)) | {
            "vocab_size": shapes.get("vocab_size", len(tokenizer)), "max_position_embeddings": 32768,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": shapes["mrope"]},
            "tie_word_embeddings": True, "bos_token_id": None, "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config=dict(zip(("hidden_size", "intermediate_size", "depth", "num_heads"), vision)) | {
            "fullatt_block_indexes": vision[4], "out_hidden_size": text[0], "window_size": 112,
        },
        tie_word_embeddings=True,
        **{f"{n}_token_id": getattr(model.config, f"{n}_token_id") for n in ("image", "video", "vision_start")},
    )  # fmt: skip
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        wide: Any = AutoModelForImageTextToText.from_config(config, dtype=dtype, attn_implementation=attention)
    wide.generation_config = model.generation_config
    processor.image_processor = Qwen2VLImageProcessorPil(
        size={"shortest_edge": 56 * 56, "longest_edge": 2048 * 2048}, patch_size=14, merge_size=2
    )
    return wide.train(), processor


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


class Steps(TrainerCallback):
    """
    Both clocks at the end of each optimizer step, and what its forward and backward passes took, without sampling and
    scoring: seconds, or, in the first `counted` steps, FLOPs, because counting is slow.
    """

    def __init__(self, counted: float = 0) -> None:
        self.ends: list[tuple[float, float]] = []
        self.passes = [0.0]
        self._counted = counted

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        synchronize()
        self.ends.append((time.perf_counter(), time.process_time()))
        self.passes.append(0.0)

    def measured(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return `function`, whose calls are part of the passes."""

        def measured(*args: Any, **kwargs: Any) -> Any:
            if len(self.passes) <= self._counted:
                with FlopCounterMode(display=False, custom_mapping=FLOPS) as counter:
                    result = function(*args, **kwargs)
                self.passes[-1] += counter.get_total_flops()
                return result
            synchronize()
            start = time.perf_counter()
            result = function(*args, **kwargs)
            synchronize()
            self.passes[-1] += time.perf_counter() - start
            return result

        return measured


def count_calls(trainer: Any, counts: dict[str, int]) -> None:
    """Count pictures that are decoded, pre-processed by the processor itself, and passed through the tower."""
    decode = datasets.Image.decode_example

    def counted_decode(*args: Any, **kwargs: Any) -> Any:
        counts["decoded"] += 1
        return decode(*args, **kwargs)

    datasets.Image.decode_example = counted_decode
    processor_class: Any = type(trainer.processing_class.image_processor)
    preprocess = processor_class.preprocess

    def counted_preprocess(self: Any, images: Any, *args: Any, **kwargs: Any) -> Any:
        counts["preprocessed"] += len(make_flat_list_of_images(images))
        return preprocess(self, images, *args, **kwargs)

    processor_class.preprocess = counted_preprocess

    def counted_tower(module: Any, args: Any, kwargs: Any) -> None:
        counts["encoded"] += len(kwargs["grid_thw"])

    trainer.model.model.visual.register_forward_pre_hook(counted_tower, with_kwargs=True)


def matmul_flops_per_s(size: int, dtype: torch.dtype) -> float:
    """FLOP/s of the fastest of some products of two square matrices."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    seconds = []
    for _ in range(6):
        synchronize()
        start = time.perf_counter()
        torch.mm(a, b)
        synchronize()
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds)


def make_trainer(setting: dict[str, Any], who: str, folder: str, times: Steps) -> Any:
    """The trainer of a setting, whose passes `times` measures; what it writes goes to `folder`."""
    cuda = torch.cuda.is_available()
    model, processor = build_model(
        setting["model"], getattr(torch, setting.get("dtype", "float32")), setting.get("attention")
    )
    frozen, window = setting.get("frozen", False), setting.get("window", 1)
    prompts, steps = setting.get("prompts", 1), setting.get("steps", 1)
    options: dict[str, Any] = {"num_generations": ROLLOUTS} | setting.get("options", {})
    if frozen and who != "trl":
        options |= {"freeze_vision_tower": True, "freeze_merger": True}
    elif frozen:
        model.model.visual.requires_grad_(False)
    if who != "trl":
        options = {"share_prompts": "off"} | options  # what this measures is encoding once
    if "beta" in options:  # TRL reads the reference model from where the policy came from
        model.save_pretrained(folder)
        model.config._name_or_path = folder
    config_class, trainer_class = TRAINERS[who]
    args = config_class(
        output_dir=folder, use_cpu=not cuda, bf16=cuda,
        per_device_train_batch_size=ROLLOUTS * prompts // window, steps_per_generation=window,
        gradient_accumulation_steps=1, max_completion_length=setting.get("tokens", 12), learning_rate=1e-4,
        max_steps=steps, logging_steps=1, report_to="none", save_strategy="no", disable_tqdm=True,
        gradient_checkpointing=setting.get("checkpointing", True), **options,
    )  # fmt: skip
    trainer = trainer_class(
        model=model, reward_funcs=reward, args=args, processing_class=processor, callbacks=[times],
        train_dataset=rows(setting.get("pixels"), max(ROLLOUTS * prompts, 2 * steps)),
    )  # fmt: skip
    trainer.compute_loss = times.measured(trainer.compute_loss)
    trainer.accelerator.backward = times.measured(trainer.accelerator.backward)
    return trainer


def run(setting: dict[str, Any], who: str) -> dict[str, Any]:
    """Train for a few steps; return times of all steps but the first window, peak memory, counts and losses."""
    torch.set_num_threads(1)
    cuda = torch.cuda.is_available()
    window, prompts, steps = setting.get("window", 1), setting.get("prompts", 1), setting.get("steps", 1)
    times = Steps(counted=math.inf if setting.get("count_flops") else 0)
    counts = {"decoded": 0, "preprocessed": 0, "encoded": 0}
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(setting, who, folder, times)
        count_calls(trainer, counts)
        before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
        start = time.perf_counter(), time.process_time()
        trainer.train()
    if who != "trl":
        counts["decoded"] = trainer.reader.decoded
    ends = [start, *times.ends[window - 1 :: window]]  # whole windows, so that every value holds one generation
    durations = [[(b - a) / window for a, b in zip(one, two)] for one, two in zip(ends, ends[1:])]
    peak = torch.cuda.max_memory_allocated() if cuda else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    batches = steps // window
    passes = times.passes[:-1]  # the next step's has been begun
    return {
        "passes": sum(passes[1:] or passes),
        "matmul_flops_per_s": matmul_flops_per_s(8192, torch.bfloat16)
        if cuda
        else matmul_flops_per_s(2048, torch.float32),
        "times": durations[1:] or durations,  # the first one warms up, unless it is the only one
        "peak_mib": peak / 2**20,
        "growth_mib": (peak - (0 if cuda else before)) / 2**20,
        "counts": {name: count / (prompts * batches) for name, count in counts.items()},
        "losses": [entry["loss"] for entry in trainer.state.log_history if "loss" in entry],
        "tokens": trainer.state.num_input_tokens_seen,
    }


# ---- All runs ----


def run_apart(setting: dict[str, Any], who: str) -> dict[str, Any]:
    """[`run`] in a process of its own, with one thread."""
    words = [sys.executable, "-W", "ignore", __file__, "--run", json.dumps([setting, who])]
    result = subprocess.run(words, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    if result.returncode:
        raise SystemExit(result.stderr[-3000:])
    return json.loads(result.stdout.splitlines()[-1])


def ratio_of_times(ones: list[dict[str, Any]], others: list[dict[str, Any]], clock: int) -> list[float]:
    """Median, smallest and largest ratio of the runs' median step times; `clock`: 0 wall, 1 processor."""
    ratios = [
        statistics.median(t[clock] for t in a["times"]) / statistics.median(t[clock] for t in b["times"])
        for a, b in zip(ones, others)
    ]
    return [statistics.median(ratios), min(ratios), max(ratios)]


def share_of_peak(setting: dict[str, Any], who: str, runs: list[dict[str, Any]], peak: float | None) -> float:
    """FLOP/s of the forward and backward passes over `peak`, or over those of a matrix product in the same process."""
    flops = run_apart(setting | {"count_flops": True}, who)["passes"]
    return statistics.median(flops / r["passes"] / (peak or r["matmul_flops_per_s"]) for r in runs)


def measure(setting: dict[str, Any], repeats: int, peak: float | None) -> dict[str, Any]:
    """Run both trainers `repeats` times, in alternating order."""
    runs: dict[str, list[dict[str, Any]]] = {"mmr1": [], "trl": []}
    for repeat in range(repeats):
        for who in ("mmr1", "trl") if repeat % 2 else ("trl", "mmr1"):
            runs[who].append(run_apart(setting, who))
    losses, tokens = ([runs[who][0][name] for who in ("mmr1", "trl")] for name in ("losses", "tokens"))
    # A GPU rounds differently for another number of pictures, so that another token may be drawn; as many will be.
    cuda = torch.cuda.is_available()
    if tokens[0] != tokens[1] or not (cuda or np.allclose(*losses, rtol=0, atol=0 if setting.get("frozen") else 1e-4)):
        raise SystemExit(f"{setting['name']}: the two trainers did different work: {losses}, {tokens} tokens")
    summary: dict[str, Any] = {"setting": setting["name"], "repeats": repeats, "losses": losses[0]}
    for clock, name in enumerate(("wall_s", "cpu_s")):
        for who in ("trl", "mmr1"):
            summary[f"{who}_{name}"] = statistics.median(t[clock] for r in runs[who] for t in r["times"])
        summary[f"{name}_ratio"] = ratio_of_times(runs["mmr1"], runs["trl"], clock)
    for who in ("trl", "mmr1"):
        for name in ("peak_mib", "growth_mib"):
            summary[f"{who}_{name}"] = statistics.median(r[name] for r in runs[who])
        summary[f"{who}_counts"] = runs[who][0]["counts"]
        summary[f"{who}_share_of_peak"] = share_of_peak(setting, who, runs[who], peak)
    return summary


def table(results: list[dict[str, Any]]) -> str:
    lines = [
        "| setting | processor s/step: TRL, mmr1 | ratio (range) | clock s/step: TRL, mmr1 | ratio (range) "
        "| peak MiB: TRL, mmr1 | ratio | share of peak FLOP/s: TRL, mmr1 "
        "| decoded, pre-processed, encoded: TRL | mmr1 |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in results:
        cells = [r["setting"]]
        for clock in ("cpu_s", "wall_s"):
            middle, low, high = r[f"{clock}_ratio"]
            cells += [f"{r[f'trl_{clock}']:.3f}, {r[f'mmr1_{clock}']:.3f}", f"{middle:.2f} ({low:.2f} to {high:.2f})"]
        cells += [
            f"{r['trl_peak_mib']:.0f}, {r['mmr1_peak_mib']:.0f}",
            f"{r['mmr1_peak_mib'] / r['trl_peak_mib']:.2f}",
            f"{r['trl_share_of_peak']:.0%}, {r['mmr1_share_of_peak']:.0%}",
        ]
        cells += [", ".join(f"{value:g}" for value in r[f"{who}_counts"].values()) for who in ("trl", "mmr1")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=[name for name in SHAPES if "shapes" in name], help="true shapes, on a GPU")
    parser.add_argument(
        "--settings", default="", help="only this setting, or those with this in their name; others keep their results"
    )
    parser.add_argument("--repeats", type=int, default=3, help="runs of each trainer per setting")
    parser.add_argument("--peak_tflops", type=float, help="peak of the device in TFLOP/s; measured when not given")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        print(json.dumps(run(*json.loads(arguments.run))))
        return
    file = RESULTS / f"vision_once{'_' + arguments.model if arguments.model else ''}.json"
    settings = true_shapes(arguments.model) if arguments.model else SETTINGS
    peak = arguments.peak_tflops and 1e12 * arguments.peak_tflops
    exact = [setting for setting in settings if setting["name"] == arguments.settings]
    for setting in exact or [setting for setting in settings if arguments.settings in setting["name"]]:
        result = measure(setting, arguments.repeats, peak)
        print(table([result]).splitlines()[-1], flush=True)
        known = {r["setting"]: r for r in json.loads(file.read_text())["results"]} if file.is_file() else {}
        known[setting["name"]] = result
        results = [known[s["name"]] for s in settings if s["name"] in known]
        machine = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or "CPU"
        file.write_text(json.dumps({"machine": machine, "results": results}, indent=1) + "\n")
        file.with_suffix(".md").write_text(table(results))


if __name__ == "__main__":
    main()
