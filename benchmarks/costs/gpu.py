# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Everything that has to be measured on a GPU, in under ten minutes on one card of 80 GB.

    python benchmarks/costs/gpu.py                # writes benchmarks/results/gpu.json and gpu.md
    python benchmarks/costs/gpu.py --parts a d    # only these; the others keep their results
    python benchmarks/costs/gpu.py --dry_run      # every line of it on a CPU, with tiny shapes

    a  TRL's `GRPOTrainer` and `RLVRTrainer` at the true shapes of Qwen2.5-VL-3B, with random weights
    b  each prompt once, on and off
    f  the same with FlashAttention 2, as torch has it built in
    d  the quickstart's training: accuracy, steps per second, and a resumed run beside two undisturbed ones
    c  the cost of the entropy term
    e  how far vLLM's log-probs are from the trainer's

They run in this order, each in a process of its own with a time limit. A process that fails or takes too long costs
the measurement it was at; the next one goes on with the others. Running out of memory is a result. Nothing is
downloaded. Both files are written after each part.
"""

import argparse
import contextlib
import copy
import gc
import importlib.util
import json
import math
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any


# Only what is quick to import: the parts run in processes of their own, and import what they need.
sys.path.insert(0, str(Path(__file__).parents[1]))

from costs.gpu_report import COMPARED, Cell, report


RESULTS = Path(__file__).parents[1] / "results"
LIMIT_S = 560.0  # of all parts together
PARTS = {  # in the order in which they run: what it is, and its time limit in seconds
    "a": ("TRL and mmr1 at the shapes of Qwen2.5-VL-3B", 230),
    "b": ("Each prompt once", 75),
    "f": ("Each prompt once with FlashAttention 2", 75),
    "d": ("The quickstart's training in bf16", 140),
    "c": ("The entropy term", 45),
    "e": ("vLLM's log-probs and the trainer's", 150),
}
RESULT = "gpu.py result: "  # begins the lines that are meant for the parent process

# Makers' figures for dense products of bf16 matrices with sums in 32 bits, in TFLOP/s. Other cards: not stated.
PEAKS = {
    r"NVIDIA A100(-SXM4|-PCIE)?.*|NVIDIA A800.*": 312.0,
    r"NVIDIA H100 PCIe": 756.0,
    r"NVIDIA H100 NVL": 835.0,
    r"NVIDIA H100( 80GB HBM3)?|NVIDIA H200|NVIDIA H800|NVIDIA GH200.*": 989.0,
    r"NVIDIA B200": 2250.0,
    r"NVIDIA L40S": 362.0,
    r"NVIDIA L40": 181.0,
    r"NVIDIA L4": 121.0,
    r"NVIDIA A10": 125.0,
    r"NVIDIA A40": 150.0,
    r"NVIDIA RTX A6000": 155.0,
    r"NVIDIA RTX 6000 Ada Generation": 364.0,
    r"NVIDIA GeForce RTX 3090": 71.0,
    r"NVIDIA GeForce RTX 4090": 165.0,
    r"NVIDIA GeForce RTX 5090": 209.0,
}


def peak_tflops(name: str) -> float | None:
    """Peak of the card with this name; `None` for one that is not in the list, and for a part of a card (MIG)."""
    known = [peak for pattern, peak in PEAKS.items() if re.fullmatch(pattern, name)]
    return None if "MIG" in name or not known else known[0]


# ---- What is measured ----


def cells_of(part: str, dry_run: bool, folder: str) -> dict[str, Cell]:
    """The measurements of a part by name; `folder` is for what one leaves to another."""
    small = {"model": "true shapes in small", "pixels": 56, "tokens": 8, "sampled": 3}
    true = {"model": "qwen2_5_vl_3b_shapes", "tokens": 512, "sampled": 64}
    sizes = [small] if dry_run else [true | {"pixels": pixels} for pixels in (448, 1024)]
    cells: dict[str, Cell] = {}
    if part == "a":
        for size in sizes:
            for frozen in (True,) if dry_run else (True, False):
                for who in ("trl", "mmr1"):
                    name = f"{size['pixels']} px, {'frozen' if frozen else 'trained'}, {who}"
                    cells[name] = size | {"frozen": frozen, "who": who}
    elif part == "b":
        for size in sizes:
            for share in ("off", "auto"):
                name = f"{size['pixels']} px, frozen, share_prompts {share}"
                cells[name] = size | {"frozen": True, "who": "mmr1", "options": {"share_prompts": share}}
    elif part == "d":
        steps, short, resume = (4, 4, 2) if dry_run else (60, 40, 20)
        start = {"model": "figures/tiny" if dry_run else "figures/cold_start"}
        for name, more in {
            "undisturbed": {"max_steps": steps, "save_steps": resume, "eval_rows": 8 if dry_run else 600},
            "undisturbed again": {"max_steps": short},
            "resumed": {"max_steps": short, "resume": f"{folder}/undisturbed/checkpoint-{resume}"},
        }.items():
            cells[name] = start | more | {"output_dir": f"{folder}/{name}", "dry_run": dry_run}
    elif part == "c":
        for pair in range(1 if dry_run else 2):
            for term in ("off", "on"):
                cells[f"{term}, pair {pair + 1}"] = {"size": "small" if dry_run else "cuda", "term": term}
    elif part == "f":
        lengths = {"prompt": [12, 7], "completion": 8} if dry_run else {"prompt": [1400, 300], "completion": 512}
        # flash-attn's kernels are for GPUs; a dry run tries everything around them.
        attentions = ["sdpa"] if dry_run else ["sdpa", "flash_attention_2"]
        cells["one layer"] = lengths | {"rollouts": 8, "attentions": attentions, "repeats": 2 if dry_run else 20}
        for share in ("off", "auto"):
            flash = {"attention": attentions[-1], "count_flops": False, "options": {"share_prompts": share}}
            cells[f"{sizes[0]['pixels']} px, frozen, share_prompts {share}"] = (
                sizes[0] | {"frozen": True, "who": "mmr1", "steps": 4} | flash
            )
        for cell in cells.values():
            cell["stand_in"] = f"{folder}/flash_attn"
    elif part == "e":
        for dtype in ("float32", "bfloat16"):
            cells[f"{dtype} weights"] = {"dtype": dtype, "model": "figures/cold_start", "output_dir": f"{folder}/e"}
    return {name: cell | {"part": part} for name, cell in cells.items()}


class Sampling:
    """
    Stands in for a model's `generate`, and returns random completions, each of the whole length, the same for every
    trainer: so the work is equal, and the training side does not wait for it. In the second generation batch (the
    first one warms up) it also samples `sampled` tokens, to measure what sampling takes.
    """

    def __init__(self, trainer: Any, sampled: int) -> None:
        self.generate, self.sampled = trainer.model.generate, sampled
        self.length = trainer.args.max_completion_length
        self.image_token = trainer.model.config.image_token_id
        # Tokens that the tokenizer does not know: neither an end nor a picture is among them.
        self.known, self.vocabulary = len(trainer._tokenizer), trainer.model.config.get_text_config().vocab_size
        self.seconds: list[float] = []  # in each generation batch
        self.prompt_s = self.token_s = math.nan
        self.prompt_tokens: list[int] = []
        self.picture_tokens: list[int] = []

    def __call__(self, input_ids: Any, generation_config: Any, **inputs: Any) -> Any:
        import torch
        from costs.vision_once import synchronize

        synchronize()
        start = time.perf_counter()
        if len(self.seconds) < 2:
            self._sample(2 if not self.seconds else self.sampled, input_ids, generation_config, inputs)
        self.prompt_tokens.append(input_ids.shape[1])
        self.picture_tokens.append(int((input_ids[0] == self.image_token).sum()))
        generator = torch.Generator().manual_seed(len(self.seconds))
        shape = len(input_ids), self.length
        completions = torch.randint(self.known, self.vocabulary, shape, generator=generator).to(input_ids.device)
        self.seconds.append(time.perf_counter() - start)
        return torch.cat([input_ids, completions], dim=1)

    def _sample(self, tokens: int, input_ids: Any, generation_config: Any, inputs: dict[str, Any]) -> None:
        import torch
        from costs.vision_once import synchronize
        from transformers import StoppingCriteriaList

        config = copy.deepcopy(generation_config)
        config.max_new_tokens = config.min_new_tokens = tokens
        stamps = [time.perf_counter()]

        def stamp(ids: Any, scores: Any, **kwargs: Any) -> Any:
            synchronize()
            stamps.append(time.perf_counter())
            return torch.zeros(len(ids), dtype=torch.bool, device=ids.device)

        criteria = StoppingCriteriaList([stamp])
        self.generate(input_ids=input_ids, generation_config=config, stopping_criteria=criteria, **inputs)
        self.prompt_s = stamps[1] - stamps[0]
        self.token_s = (stamps[-1] - stamps[1]) / (tokens - 1)


def run_training(cell: Cell) -> Cell:
    """
    Parts a and b: three steps of one trainer on one prompt with eight rollouts. The first one warms up, and its
    FLOPs are counted; what is said of a step comes from the others.
    """
    import torch
    from costs.vision_once import Steps, make_trainer
    from transformers import TrainerCallback

    from mmr1_trl import RLVRConfig

    share = cell.get("options", {}).get("share_prompts")
    if share is not None and "share_prompts" not in RLVRConfig.__dataclass_fields__:
        return {"skipped": "not in this version"}

    cuda = torch.cuda.is_available()

    class FirstStepApart(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if cuda and state.global_step == 1:  # counting FLOPs may take memory; what optimizers keep is there by now
                torch.cuda.reset_peak_memory_stats()
            if state.global_step >= 2 and time.perf_counter() - begin > 20:
                control.should_training_stop = True

    begin = time.perf_counter()
    counted = int(cell.get("count_flops", True))
    times = Steps(counted=counted)
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer({"steps": 3, "dtype": "bfloat16"} | cell, cell["who"], folder, times)
        trainer.add_callback(FirstStepApart())
        trainer.model.generate = sampling = Sampling(trainer, cell["sampled"])
        if cuda:
            torch.cuda.synchronize()
        built = time.perf_counter() - begin
        trainer.train()
    ends = [clock for clock, _ in times.ends]
    steps = [end - start - wait for start, end, wait in zip(ends, ends[1:], sampling.seconds[1:])]
    passes = times.passes[1 : len(ends)]
    states = {str(v.dtype) for s in trainer.optimizer.state.values() for v in s.values() if v.ndim}
    weights = {str(parameter.dtype) for parameter in trainer.model.parameters()}
    return {
        "training_s": statistics.median(steps),
        "passes_s": statistics.median(passes),
        "steps": len(steps),
        "tflop": times.passes[0] / 1e12 if counted else None,
        "sampling_s": sampling.prompt_s + sampling.token_s * (cell["tokens"] - 1),
        "sampling_prompt_s": sampling.prompt_s,
        "sampling_token_s": sampling.token_s,
        "peak_gib": torch.cuda.max_memory_allocated() / 2**30 if cuda else None,
        "prompt_tokens": statistics.median(sampling.prompt_tokens),
        "picture_tokens": statistics.median(sampling.picture_tokens),
        "completion_tokens": cell["tokens"],
        "parameters": sum(parameter.numel() for parameter in trainer.model.parameters()),
        "dtypes": {"weights": sorted(weights), "optimizer": sorted(states)},
        "attention": trainer.model.config._attn_implementation,
        "losses": [entry["loss"] for entry in trainer.state.log_history if "loss" in entry],
        "grad_norms": [entry["grad_norm"] for entry in trainer.state.log_history if "loss" in entry],
        "built_s": built,
    }


def run_quickstart(cell: Cell) -> Cell:
    """Part d: train as `mmr1 quickstart` does, with autocast to bf16; log, speed and greedy accuracy."""
    from costs.vision_once import Steps

    from mmr1_trl.cli.commands.eval import load_model
    from mmr1_trl.cli.commands.train import build_trainer, parse_training
    from mmr1_trl.data.figures import load_figures
    from mmr1_trl.evaluation.runner import evaluate_model

    words = ["--config", "figures/mssr", "--model_name_or_path", cell["model"], "--output_dir", cell["output_dir"]]
    words += ["--seed", "0", "--bf16", "true", "--disable_tqdm", "true", "--logging_steps", "2"]
    words += ["--max_steps", str(cell["max_steps"])]
    saves = "save_steps" in cell
    words += ["--save_steps", str(cell["save_steps"])] if saves else ["--save_strategy", "no"]
    if cell["dry_run"]:
        words += ["--use_cpu", "true", "--num_train_rows", "16", "--per_device_train_batch_size", "4"]
        words += ["--max_completion_length", "6"]
    trainer, _ = build_trainer(parse_training("mssr", words))
    times = Steps()
    trainer.add_callback(times)
    trainer.train(resume_from_checkpoint=cell.get("resume"))
    ends = [clock for clock, _ in times.ends]
    found: Cell = {
        "steps_per_s": (len(ends) - 1) / (ends[-1] - ends[0]),
        "from": int(cell["resume"].rsplit("-", 1)[1]) if "resume" in cell else 0,
        "log": [
            {name: entry[name] for name in ("step", *COMPARED)}
            for entry in trainer.state.log_history
            if "loss" in entry
        ],
    }
    if rows := cell.get("eval_rows"):
        held_out = load_figures("test", num_rows=rows, seed=0)
        models = {"before": load_model(cell["model"], "float32"), "after": (trainer.model, trainer.processing_class)}
        for name, (model, processor) in models.items():
            result = evaluate_model(
                model, processor, held_out, max_new_tokens=trainer.args.max_completion_length, batch_size=256,
                prompt_style="figures", progress=False,
            )  # fmt: skip
            found[f"accuracy_{name}"] = result.greedy_accuracy
    return found


def run_entropy(cell: Cell) -> Cell:
    """Part c."""
    import torch
    from entropy_cost import measure

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    return measure(cell["size"], cell["term"] == "on")


def agreement_words(cell: Cell) -> list[str]:
    """Words after `mmr1 grpo` for part e: the small model, its tower trained, sampled by vLLM in the same process."""
    words = ["--model_name_or_path", cell["model"], "--dtype", cell["dtype"], "--output_dir", cell["output_dir"]]
    words += ["--dataset_name", "figures", "--num_train_rows", "8", "--reward_funcs", "accuracy_reward"]
    words += ["--num_generations", "8", "--per_device_train_batch_size", "32", "--gradient_accumulation_steps", "1"]
    words += ["--max_completion_length", "32", "--max_steps", "5", "--learning_rate", "1e-3", "--logging_steps", "1"]
    words += ["--save_strategy", "no", "--report_to", "none", "--disable_tqdm", "true", "--use_vllm", "true"]
    words += ["--vllm_mode", "colocate", "--vllm_gpu_memory_utilization", "0.2", "--vllm_max_model_length", "512"]
    words += ["--on_mismatch", "warn"]  # the numbers are wanted whatever they are
    return words


def run_agreement(cell: Cell) -> Cell:
    """Part e: what is logged about the sampler's log-probs and the trainer's, over five updates."""
    from mmr1_trl.cli.commands.train import build_trainer, parse_training
    from mmr1_trl.trainers.guards.agreement import MISMATCH

    trainer, _ = build_trainer(parse_training("grpo", agreement_words(cell)))
    trainer.train()
    log = [entry for entry in trainer.state.log_history if "loss" in entry]
    names = [name for name in log[0] if name.startswith("sampling/")] + ["reward", "grad_norm"]
    return {"bound": MISMATCH, "log": {name: [entry.get(name) for entry in log] for name in names}}


def run_flash(cell: Cell) -> Cell:
    """Part f: attention alone, or the training of parts a and b with another attention."""
    from costs.gpu_attention import run_attention

    return run_attention(cell) if "prompt" in cell else run_training(cell)


RUN: dict[str, Callable[[Cell], Cell]] = {
    "a": run_training, "b": run_training, "c": run_entropy, "d": run_quickstart, "e": run_agreement, "f": run_flash,
}  # fmt: skip


# ---- The process of a part ----


def attempt(cell: Cell) -> Cell:
    """Measure a cell; being out of memory is a result, and what else goes wrong is said in a line."""
    import torch

    start = time.perf_counter()
    try:
        found = RUN[cell["part"]](cell)
    except Exception as error:
        traceback.print_exc()
        causes: list[BaseException] = [error]
        while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None:
            causes.append(cause)
        text = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        full = any(isinstance(cause, torch.OutOfMemoryError) for cause in causes)
        found = {"out_of_memory": text} if full else {"failed": text}
    return found | {"took_s": time.perf_counter() - start}


def machine() -> Cell:
    """What the numbers were measured on, and with."""
    from importlib.metadata import version

    import torch

    packages = {name: version(name) for name in ("torch", "transformers", "trl", "accelerate")}
    if not torch.cuda.is_available():
        return {"device": "CPU", "peak_tflops": None, "versions": packages}
    properties = torch.cuda.get_device_properties(0)
    return {
        "device": properties.name,
        "memory_gib": properties.total_memory / 2**30,
        "peak_tflops": peak_tflops(properties.name),
        "versions": packages | {"cuda": str(torch.version.cuda)},
    }


def tell(name: str, found: Cell) -> None:
    print(f"{RESULT}{json.dumps([name, found])}", flush=True)


def run_cells(cells: dict[str, Cell]) -> None:
    """
    What the process of a part does. It ends early, for another one to go on, when it could spoil the next measurement:
    after an error, and when memory is not given back.
    """
    if stand_in := next((cell["stand_in"] for cell in cells.values() if "stand_in" in cell), None):
        from costs.gpu_attention import use_stand_in

        use_stand_in(stand_in)

    import torch

    tell("machine", machine())
    for name, cell in cells.items():
        found = attempt(cell)
        tell(name, found)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
            if torch.cuda.memory_allocated() > 2**30:
                return
        if "failed" in found:
            return


# ---- All parts ----


def run_process(words: list[str], limit: float) -> tuple[dict[str, Cell], str | None]:
    """
    Run a process and everything that it starts for at most `limit` seconds.

    Returns:
        `tuple`: What it told, by name, and how it failed, `None` if it did not.
    """
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    }  # fmt: skip
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(words, stdout=out, stderr=err, env=environment, start_new_session=True)
        why = None
        try:
            if code := process.wait(timeout=max(limit, 0.1)):
                why = f"the process ended with code {code}"
        except subprocess.TimeoutExpired:
            why = f"stopped when its time was up ({limit:.0f} s)"
        finally:  # also what it may have left behind
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        out.seek(0)
        err.seek(0)
        lines = [line.removeprefix(RESULT) for line in out if line.startswith(RESULT)]
        if why is not None or any('"failed"' in line for line in lines):
            print(err.read()[-3000:], file=sys.stderr)
        return dict(json.loads(line) for line in lines), why


def run_part(cells: dict[str, Cell], limit: float, command: list[str]) -> dict[str, Cell]:
    """
    Run the cells of a part in a process, and in further ones if that ends before its time.

    Args:
        cells (`dict`):
            What to measure.
        limit (`float`):
            Seconds for all of it.
        command (`list[str]`):
            Words of the process; the cells, as JSON, are the last one.

    Returns:
        `dict`: What was found for each cell, and `"machine"`.
    """
    deadline = time.monotonic() + limit
    results: dict[str, Cell] = {}
    while pending := {name: cell for name, cell in cells.items() if name not in results}:
        left = deadline - time.monotonic()
        if left <= 0:
            return results | {name: {"failed": "no time was left"} for name in pending}
        found, why = run_process([*command, json.dumps(pending)], left)
        results |= found
        first = next((name for name in pending if name not in found), None)
        if first is not None and (why is not None or not found.keys() & pending.keys()):
            results[first] = {"failed": why or "the process ended without a word about it"}
    return results


def start_cold_start() -> "subprocess.Popen[bytes]":
    """Begin to train the quickstart's start on the CPU, where it is trained for all published numbers as well."""
    body = "from mmr1_trl.models import resolve_model; resolve_model('figures/cold_start')"
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "4", "TOKENIZERS_PARALLELISM": "false"}
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}  # if it fails, part d says why
    return subprocess.Popen([sys.executable, "-c", body], env=environment, **silent)


def write(results: Cell, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (
        ("gpu.json", json.dumps(results, indent=1) + "\n"),
        ("gpu.md", report(results, {part: title for part, (title, _) in PARTS.items()})),
    ):
        unfinished = folder / f"{name}.tmp"
        unfinished.write_text(text)
        unfinished.replace(folder / name)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry_run", action="store_true", help="tiny shapes on a CPU, all parts in one process")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--output_dir", type=Path, help="default: benchmarks/results, or a new folder for a dry run")
    parser.add_argument("--cells", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.cells:
        run_cells(json.loads(arguments.cells))
        return
    dry_run = arguments.dry_run
    output = arguments.output_dir or (Path(tempfile.mkdtemp(prefix="gpu_dry_run_")) if dry_run else RESULTS)
    known = output / "gpu.json"
    parts = json.loads(known.read_text())["parts"] if known.is_file() and set(arguments.parts) < set(PARTS) else {}
    results: Cell = {"dry_run": dry_run, "seconds": 0.0, "machine": {}, "parts": parts}
    begin = time.monotonic()
    card = "" if dry_run else os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    python = ["env", f"CUDA_VISIBLE_DEVICES={card}", sys.executable, "-W", "ignore"]
    if (
        not dry_run
        and subprocess.run([*python, "-c", "import torch; torch.cuda.init()"], capture_output=True).returncode
    ):
        raise SystemExit("torch finds no GPU here. `--dry_run` needs none.")
    command = [*python, __file__, "--cells"]
    chosen = [part for part in PARTS if part in arguments.parts]
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        cold_start = None
        if not dry_run and {"d", "e"} & set(chosen):
            cold_start = start_cold_start()
            stack.callback(cold_start.kill)
        # A dry run imports torch only once: it is a test of the suite.
        for group in [chosen] if dry_run else [[part] for part in chosen]:
            limit = min(sum(PARTS[part][1] for part in group), LIMIT_S - (time.monotonic() - begin))
            deadline = time.monotonic() + limit
            cells = {part: cells_of(part, dry_run, folder) for part in group}
            if importlib.util.find_spec("vllm") is None and "e" in cells:
                results["parts"]["e"] = {"all": {"skipped": "vLLM cannot be imported"}}
                del cells["e"]
            if cold_start is not None and {"d", "e"} & set(cells):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    cold_start.wait(timeout=max(limit, 0.1))
            everything = {f"{part}: {name}": cell for part in cells for name, cell in cells[part].items()}
            found = run_part(everything, deadline - time.monotonic(), command)
            results["machine"] = found.pop("machine", results["machine"])
            for part in cells:
                results["parts"][part] = {name: found[f"{part}: {name}"] for name in cells[part]}
            results["seconds"] = time.monotonic() - begin
            write(results, output)
    print((output / "gpu.md").read_text())
    print(f"{output / 'gpu.json'}\n{output / 'gpu.md'}")


if __name__ == "__main__":
    main()
