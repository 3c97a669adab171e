# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What `gpu.py` found, as a page."""

import re
import statistics
from typing import Any


Cell = dict[str, Any]
COMPARED = ("loss", "reward", "entropy", "grad_norm")  # of the quickstart's runs


def said(found: Cell | None) -> str | None:
    """What stands in place of numbers where there are none."""
    if found is None:
        return "not run"
    texts = {"out_of_memory": "out of memory", "failed": "failed", "skipped": "skipped"}
    return next((f"{text}: {found[name]}" for name, text in texts.items() if name in found), None)


def training_table(cells: dict[str, Cell], peak: float | None) -> list[str]:
    lines = [
        "| setting | training side, s/step | forward and backward, s | share of peak | peak memory, GiB "
        "| sampling, s | tokens of prompt (picture) + completion |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for name, r in cells.items():
        if text := said(r):
            lines.append(f"| {name} | {text} | | | | | |")
            continue
        share = f"{r['tflop'] / r['passes_s'] / peak:.0%}" if peak and r["tflop"] else "not stated"
        memory = "" if r["peak_gib"] is None else f"{r['peak_gib']:.1f}"
        lines.append(
            f"| {name} | {r['training_s']:.2f} | {r['passes_s']:.2f} | {share} | {memory} | {r['sampling_s']:.1f} "
            f"| {r['prompt_tokens']:.0f} ({r['picture_tokens']:.0f}) + {r['completion_tokens']} |"
        )
    for name, r in cells.items():
        base = cells.get(re.sub(r"mmr1$", "trl", re.sub(r"auto$", "off", name)))
        if base is not None and base is not r and not said(r) and not said(base):
            parts = [f"{r[key] / base[key]:.2f}" for key in ("training_s", "passes_s")]
            memory = f"{r['peak_gib'] / base['peak_gib']:.2f}" if r["peak_gib"] else ""
            lines.append(f"| {name}: ratio | {parts[0]} | {parts[1]} | | {memory} | | |")
    return lines


def quickstart_table(cells: dict[str, Cell]) -> list[str]:
    lines = [f"{name}: {text}" for name, r in cells.items() if (text := said(r))]
    runs = {name: r for name, r in cells.items() if not said(r)}
    if first := runs.get("undisturbed"):
        lines.append(
            f"Greedy accuracy {first['accuracy_before']:.3f} before and {first['accuracy_after']:.3f} after "
            f"{first['log'][-1]['step']} updates, {first['steps_per_s']:.2f} updates per second, checkpoints included."
        )
    if len(runs) == len(cells) == 3:
        logs = {name: {entry["step"]: entry for entry in r["log"]} for name, r in runs.items()}
        steps = sorted(set.intersection(*(set(log) for log in logs.values())))
        steps = [step for step in steps if step > runs["resumed"]["from"]]
        lines += [
            "",
            f"Mean absolute difference from the undisturbed run over updates {steps[0]} to {steps[-1]}:",
            "",
            f"| | {' | '.join(COMPARED)} |",
            f"| --- |{' ---: |' * len(COMPARED)}",
        ]
        for name in ("undisturbed again", "resumed"):
            means = [
                statistics.fmean(abs(logs[name][step][key] - logs["undisturbed"][step][key]) for step in steps)
                for key in COMPARED
            ]
            lines.append(f"| {name} | {' | '.join(f'{mean:.2g}' for mean in means)} |")
    return lines


def entropy_table(cells: dict[str, Cell]) -> list[str]:
    lines = ["| | peak memory, MiB | an update, s |", "| --- | ---: | ---: |"]
    for name, r in cells.items():
        text = said(r)
        lines.append(f"| {name} | {text} | |" if text else f"| {name} | {r['peak_mib']:.0f} | {r['seconds']:.4g} |")
    return lines


def flash_table(cells: dict[str, Cell], peak: float | None) -> list[str]:
    layer = cells["one layer"]
    if text := said(layer):
        lines = [f"One layer: {text}"]
    else:
        lines = [
            f"Attention of one layer, {layer['tokens']} packed tokens in {layer['segments']} segments, forward and "
            "backward:",
            "",
            "| | ms | relative errors of output and gradients (queries, keys, values), SDPA in 32 bits being right |",
            "| --- | ---: | --- |",
        ]
        for name in ("sdpa", "flash_attention_2"):
            if name in layer:
                errors = ", ".join(f"{error:.2g}" for error in layer[name]["errors"])
                lines.append(f"| {name} | {1000 * layer[name]['seconds']:.2f} | {errors} |")
    return [*lines, "", *training_table({name: r for name, r in cells.items() if name != "one layer"}, peak)]


def agreement_table(cells: dict[str, Cell]) -> list[str]:
    lines = ["| | logged | updates 1 to 5 |", "| --- | --- | --- |"]
    for name, r in cells.items():
        if text := said(r):
            lines.append(f"| {name} | {text} | |")
            continue
        lines += [
            f"| {name} | {key} | {', '.join('' if v is None else f'{v:.3g}' for v in values)} |"
            for key, values in r["log"].items()
        ]
        mean = max(r["log"]["sampling/sampling_logp_difference/mean"])
        stops = "above" if mean > r["bound"] else "below"
        lines.append(f"| {name} | largest mean difference | {mean:.3g}: {stops} {r['bound']:g}, which stops a run |")
    return lines


def report(results: Cell, titles: dict[str, str]) -> str:
    """Both what was measured on, and a section for each part."""
    where = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in where.get("versions", {}).items())
    peak = where.get("peak_tflops")
    lines = [
        "# On a GPU" if not results["dry_run"] else "# A dry run on a CPU: these numbers mean nothing",
        "",
        f"{where.get('device', 'unknown')}; {versions}. Peak of the maker in bf16: "
        f"{f'{peak:g} TFLOP/s' if peak else 'not stated'}. {results['seconds']:.0f} s in all. Written by "
        "`benchmarks/costs/gpu.py`.",
    ]
    for part, title in titles.items():
        cells = results["parts"].get(part)
        lines += ["", f"## {title}", ""]
        if cells is None:
            lines.append("Not run.")
        elif part in ("a", "b"):
            lines += training_table(cells, peak)
        elif part == "f":
            lines += flash_table(cells, peak)
        else:
            lines += {"c": entropy_table, "d": quickstart_table, "e": agreement_table}[part](cells)
        if cells and part == "a":
            lines += [
                "",
                "Random weights; weights and optimizer states in bf16, no reference model; one prompt with eight "
                "rollouts per update, gradient checkpointing. The training side is a whole step without sampling. "
                "Sampling by transformers is reckoned from its prompt pass and the mean of 64 tokens. The share "
                "of peak counts FLOPs as executed, recomputation included, and causal attention in full.",
            ]
    return "\n".join(lines) + "\n"
