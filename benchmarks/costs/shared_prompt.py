# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What it saves to compute each prompt once: TRL's own trainer, `share_prompts: off` and `auto`, in turn.

    python benchmarks/costs/shared_prompt.py --rounds 7            # all settings; goes on where it stopped
    python benchmarks/costs/shared_prompt.py --settings base,448   # some of them
    python benchmarks/costs/shared_prompt.py --no_runs             # tables of the runs that there are, in seconds

One step of GRPO on one prompt, in a process of its own with one thread: sampling by transformers, then the training
side (old log-probs where the setting needs them, the reference, forward, recomputation and backward pass). Completions
have the same lengths for all three, spread so that their mean is a third of the longest. Seconds are the processor's.
The model is a random Qwen2.5-VL whose tower takes as large a share of its FLOPs as a 3B's; each setting differs from
the base in what its name says. Tiny figures are the quickstart's rows, rollouts and model, over several updates: there
`auto` packs nothing, and what it costs to find that out is measured in pairs of runs within a process, seven or more.

Runs are kept in `benchmarks/results/shared_prompt.jsonl`, one line each. Whatever it runs, the script writes tables of
all of them, in `benchmarks/results/shared_prompt.md` and between the marks of `docs/speed.md`.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
import vision_once
from common import RESULTS, machine, reward, rows
from studies.pages import fill
from transformers import LogitsProcessor, LogitsProcessorList


FILE = RESULTS / "shared_prompt.jsonl"
PAGE = Path(__file__).parents[2] / "docs" / "speed.md"
vision_once.SHAPES["text_heavy"] = {
    "text": (384, 1152, 2, 6, 2), "vision": (96, 192, 2, 3, [1]), "mrope": [8, 12, 12],
}  # fmt: skip
BASE: dict[str, Any] = {"pixels": 1024, "group": 8, "tokens": 512, "per_device": 8, "frozen": True, "method": "mmr1"}
# Batches of `configs/figures/grpo.yaml` and `mssr.yaml`. TRL needs no run there: `off` is TRL but for the pictures.
_TINY = {
    "model": "tiny", "pixels": None, "tokens": 32, "per_device": 128, "prompts": 32, "window": 2, "steps": 8,
    "checkpointing": False, "pairs": 7,
}  # fmt: skip
SETTINGS: dict[str, dict[str, Any]] = {
    "base": {},
    "448 px": {"pixels": 448},
    "128 tokens": {"tokens": 128},
    "single rollouts (MSSR)": {"method": "mssr", "group": 1},
    "G = 4": {"group": 4, "per_device": 4},
    "per_device 4": {"per_device": 4},
    "per_device 2": {"per_device": 2},
    "trained tower": {"frozen": False},
    "1024 tokens": {"tokens": 1024},
    "G = 16": {"group": 16, "per_device": 16},
    "VAS": {"method": "vas", "prompts": 2},  # one of the two is drawn by score
    "two-stage": {"method": "two-stage"},
    "two updates": {"window": 2, "prompts": 2},
    "two updates, group_coherent": {"window": 2, "prompts": 2, "coherent": True},
    "tiny figures": _TINY,
    "tiny figures, single rollouts (MSSR)": _TINY | {"method": "mssr", "group": 1, "prompts": 256},
}
WHO = ("trl", "off", "auto")


def lengths(count: int, longest: int) -> list[int]:
    """Lengths of completions: their mean is a third of the longest possible."""
    return [max(1, round(longest * ((i + 0.5) / count) ** 2)) for i in range(count)]


class Lengths(LogitsProcessor):
    """Ends each completion where it is to end, and keeps the tokens of pictures out of it."""

    def __init__(self, prompt: int, planned: list[int], end: int, banned: list[int]) -> None:
        self.prompt, self.planned, self.end, self.banned = prompt, torch.tensor(planned), end, banned

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        scores[:, self.banned] = -torch.inf
        last = self.planned <= input_ids.size(1) - self.prompt + 1
        scores[~last, self.end] = -torch.inf
        scores[last] = -torch.inf
        scores[last, self.end] = 0.0
        return scores


def run(setting: dict[str, Any], who: str) -> dict[str, Any]:
    """One window of updates, or several; seconds of the processor by part, peak memory, tokens and losses."""
    torch.set_num_threads(1)
    group, window = setting["group"], setting.get("window", 1)
    prompts = setting.get("prompts", 1 if group > 1 else 8)
    rollouts, method = group * prompts, "trl" if who == "trl" else setting["method"]
    model, processor = vision_once.build_model(setting.get("model", "text_heavy"))
    config_class, trainer_class = vision_once.TRAINERS[method]
    options: dict[str, Any] = {"beta": 0.04}
    if who != "trl":
        options |= {"share_prompts": who, "group_coherent": bool(setting.get("coherent")) and who == "auto"}
        options |= {"freeze_vision_tower": setting["frozen"], "freeze_merger": setting["frozen"]}
    elif setting["frozen"]:
        model.model.visual.requires_grad_(False)
    if method == "vas":
        options |= {"vas_refresh": "online"}
    config = model.config
    special = [config.image_token_id, config.vision_start_token_id]
    end = processor.tokenizer.eos_token_id
    seconds = {"sampling": 0.0, "training": 0.0}
    inside: list[str] = []

    def timed(part: str, function: Any) -> Any:
        def measured(*args: Any, **kwargs: Any) -> Any:
            start = time.process_time()
            inside.append(part)
            try:
                return function(*args, **kwargs)
            finally:
                inside.pop()
                if not inside:
                    seconds[part] += time.process_time() - start

        return measured

    generate = model.generate

    def to_length(*args: Any, **kwargs: Any) -> Any:
        planned = lengths(rollouts, setting["tokens"])
        planned = [planned[i * prompts % rollouts + i * prompts // rollouts] for i in range(rollouts)]
        ends = Lengths(kwargs["input_ids"].size(1), planned, end, special)
        return generate(*args, logits_processor=LogitsProcessorList([ends]), **kwargs)

    model.generate = timed("sampling", to_length)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        model.config._name_or_path = folder  # from where the reference is read
        args = config_class(
            output_dir=folder, use_cpu=True, bf16=False, num_generations=group,
            per_device_train_batch_size=setting["per_device"],
            generation_batch_size=rollouts, gradient_accumulation_steps=rollouts // setting["per_device"] // window,
            max_completion_length=setting["tokens"], learning_rate=1e-4, max_steps=setting.get("steps", window),
            logging_steps=1, report_to="none", save_strategy="no", disable_tqdm=True,
            gradient_checkpointing=setting.get("checkpointing", True), **options,
        )  # fmt: skip
        trainer = trainer_class(
            model=model, reward_funcs=reward, args=args, processing_class=processor,
            train_dataset=rows(setting["pixels"], max(8, 2 * prompts)),
        )  # fmt: skip
        trainer.compute_loss = timed("training", trainer.compute_loss)
        trainer.accelerator.backward = timed("training", trainer.accelerator.backward)
        passes = trainer._get_per_token_logps_and_entropies
        trainer._get_per_token_logps_and_entropies = timed("training", passes)
        before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
        start = time.process_time()
        trainer.train()
        seconds["step"] = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    return {
        **seconds, "peak_mib": peak / 2**20, "growth_mib": (peak - before) / 2**20,
        "losses": [entry["loss"] for entry in logged], "grad_norms": [entry["grad_norm"] for entry in logged],
        "asked": trainer.sharing.asked if who != "trl" else 0,
        "computed": trainer.sharing.computed if who != "trl" else 0, "machine": machine(),
    }  # fmt: skip


# ---- All runs ----


def known_runs() -> list[dict[str, Any]]:
    return [json.loads(line) for line in FILE.read_text().splitlines()] if FILE.is_file() else []


def measure(name: str, rounds: list[int]) -> None:
    """Make the runs of some rounds that are not there yet, in an order that turns with the round."""
    setting = BASE | SETTINGS[name]
    done = {(run["round"], run["who"]) for run in known_runs() if run["setting"] == name}
    # TRL has no trainer for the methods; they are measured against themselves.
    who = WHO if setting["method"] == "mmr1" and "pairs" not in setting else WHO[1:]
    jobs = [(r, one) for r in rounds for one in who[r % len(who) :] + who[: r % len(who)] if (r, one) not in done]
    # Pairs are made in one process: what is compared there is too little to be seen between two.
    for batch in [jobs] if "pairs" in setting and jobs else [[job] for job in jobs]:
        words = [sys.executable, "-W", "ignore", __file__, "--run", json.dumps([setting, [one for _, one in batch]])]
        result = subprocess.run(words, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
        if result.returncode:
            raise SystemExit(result.stderr[-3000:])
        lines = [line for line in result.stdout.splitlines() if line.startswith('{"')]  # and not what trainers print
        for (r, one), line in zip(batch, lines, strict=True):
            made = {"setting": name, "who": one, "round": r} | json.loads(line)
            with FILE.open("a") as file:
                file.write(json.dumps(made) + "\n")
            print(f"{name}, round {r}, {one}: " + ", ".join(f"{k} {made[k]:.1f}" for k in _SHOWN), flush=True)


def run_all(setting: dict[str, Any], jobs: list[str]) -> None:
    """The runs of one process, one line each; of several the first one is made twice, and forgotten once."""
    for number, who in enumerate(jobs[:1] * (len(jobs) > 1) + jobs):
        line = run(setting, who)
        if number or len(jobs) == 1:
            print(json.dumps(line))


_SHOWN = ("training", "sampling", "step", "peak_mib")


def table() -> list[str]:
    """Medians over rounds of the ratios within each."""
    lines = [
        "| setting | rounds | training side, s: TRL, off, auto | auto / off (range) | auto / TRL "
        "| whole step: auto / off | auto / TRL | peak MiB: TRL, off, auto | auto / off | auto / TRL "
        "| growth MiB: TRL, off, auto | auto / off | auto / TRL | tokens: off, auto |",
        "| --- " * 14 + "|",
    ]
    runs = known_runs()
    for name in SETTINGS:
        rounds: dict[int, dict[str, Any]] = {}
        for one in runs:
            if one["setting"] == name:
                rounds.setdefault(one["round"], {})[one["who"]] = one
        whole = [r for r in rounds.values() if "off" in r and "auto" in r]
        if not whole:
            continue

        def values(part: str, digits: int = 0, whole: list[Any] = whole) -> str:
            medians = {who: [r[who][part] for r in whole if who in r] for who in WHO}
            return ", ".join(f"{statistics.median(v):.{digits}f}" if v else "-" for v in medians.values())

        def ratio(part: str, other: str, spread: bool = False, whole: list[Any] = whole) -> str:
            ratios = [r["auto"][part] / r[other][part] for r in whole if other in r]
            if not ratios:
                return "-"
            text = f"{statistics.median(ratios):.2f}"
            return text + (f" ({min(ratios):.2f} to {max(ratios):.2f})" if spread and len(ratios) > 1 else "")

        pairs = "pairs" in SETTINGS[name]
        cells = [name, str(len(whole)), values("training", 1), ratio("training", "off", True)]
        cells += [ratio("training", "trl"), ratio("step", "off", pairs), ratio("step", "trl")]
        for part in ("peak_mib", "growth_mib"):  # which are those of a process, and so of all runs in it
            cells += ["-"] * 3 if pairs else [values(part), ratio(part, "off"), ratio(part, "trl")]
        one = whole[0]["auto"]
        cells.append(f"{one['asked']:,}, {one['computed']:,}")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


# ---- Arithmetic for true shapes ----

# Qwen2.5-VL-3B: layers, hidden, parameters of a layer, vocabulary; FLOPs of its tower per picture.
LAYERS, HIDDEN, LAYER, VOCABULARY = 36, 2048, 2048 * (2 * 2048 + 2 * 256) + 3 * 2048 * 11008, 151_936
TOWER = {448: (256, 1.2e12), 1024: (1369, 7.7e12)}  # tokens of a picture, FLOPs of a forward pass


def step_flops(pixels: int, group: int, longest: int, who: str) -> tuple[int, float]:
    """
    Tokens of one forward pass, and FLOPs of the training side of one prompt: old log-probs, reference, and an update
    with checkpointing. The tower is frozen; TRL passes it for each rollout, and backward through it as well.
    """
    picture, tower = TOWER[pixels]
    prompt, completions = picture + 100, lengths(group, longest)
    passes = 1 + 1 + 4  # old, reference; forward, recomputation, and a backward pass of twice a forward pass
    if who == "auto":
        tokens = prompt + sum(completions)
        pairs = prompt**2 / 2 + sum(n * prompt + n**2 / 2 for n in completions)
    else:
        tokens = group * (prompt + max(completions))
        pairs = group * (prompt + max(completions)) ** 2 / 2
    text = LAYERS * (2 * LAYER * tokens + 4 * HIDDEN * pairs) + 2 * VOCABULARY * HIDDEN * sum(completions)
    return tokens, passes * text + tower * (passes * group if who == "trl" else 1)


def grid() -> str:
    lines = [
        "| pixels | G | tokens | tokens per pass: plain, shared | TFLOP: TRL, off, auto | auto / off | auto / TRL |"
    ]
    lines.append("| --- " * 7 + "|")
    for pixels in TOWER:
        for group in (4, 8, 16):
            for longest in (128, 512, 1024):
                (plain, off), (shared, auto) = (step_flops(pixels, group, longest, who) for who in ("off", "auto"))
                trl = step_flops(pixels, group, longest, "trl")[1]
                flops = ", ".join(f"{value / 1e12:.0f}" for value in (trl, off, auto))
                lines.append(
                    f"| {pixels} | {group} | {longest} | {plain:,}, {shared:,} | {flops} | {auto / off:.2f} "
                    f"| {auto / trl:.2f} |"
                )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", help="those with one of these words in their names, separated by commas")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--no_runs", action="store_true", help="write the tables of the runs that there are")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        run_all(*json.loads(arguments.run))
        return
    if not arguments.no_runs:
        words = arguments.settings.split(",") if arguments.settings else [""]
        names = [name for name in SETTINGS if any(word in name for word in words)]
        for round_number in range(arguments.rounds):
            for name in names:
                if "pairs" not in SETTINGS[name]:
                    measure(name, [round_number])
        for name in names:
            if "pairs" in SETTINGS[name]:
                measure(name, list(range(max(arguments.rounds, SETTINGS[name]["pairs"]))))
    heading = "## Arithmetic: Qwen2.5-VL-3B, old log-probs, reference and an update with checkpointing\n\n"
    measured = table()
    text = "## Measured\n\n" + "\n".join(measured) + f"\n\n{heading}{grid()}\n"
    (RESULTS / "shared_prompt.md").write_text(text)
    PAGE.write_text(fill(PAGE.read_text(), {"shared prompts": measured}))
    print(text)


if __name__ == "__main__":
    main()
