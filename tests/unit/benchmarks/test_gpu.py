# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The measurements for a GPU: a dry run of every line, and what fails or hangs costs no other measurement."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import sdpa_backward_flop_count, sdpa_flop_count


sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

from costs import gpu, gpu_report
from costs.vision_once import Steps, addmm_flops, attention_backward_flops, attention_flops

from mmr1_trl.cli.commands.train import parse_training


@pytest.mark.slow
def test_a_dry_run_measures_everything(tmp_path, capsys):
    gpu.main(["--dry_run", "--output_dir", str(tmp_path)])
    results = json.loads((tmp_path / "gpu.json").read_text())
    assert list(results["parts"]) == ["e", "a", "b", "f", "d", "c"] and results["machine"]["device"] == "CPU"
    cells = {f"{part} {name}": cell for part, found in results["parts"].items() for name, cell in found.items()}
    assert not any("failed" in cell or "out_of_memory" in cell for cell in cells.values())

    trl, ours = results["parts"]["a"].values()
    assert trl["losses"] == ours["losses"]  # the same work
    assert trl["dtypes"] == ours["dtypes"] == {"weights": ["torch.bfloat16"], "optimizer": ["torch.bfloat16"]}
    assert trl["steps"] == 2 and trl["picture_tokens"] == 4 and trl["completion_tokens"] == 8
    assert trl["tflop"] > 1.5 * ours["tflop"] > 0  # the tower runs once here, and eight times and more there
    for cell in (trl, ours):
        assert cell["sampling_s"] == pytest.approx(cell["sampling_prompt_s"] + 7 * cell["sampling_token_s"])
        assert 0 < cell["passes_s"] < cell["training_s"]

    quickstart = results["parts"]["d"]
    assert [entry["step"] for entry in quickstart["resumed"]["log"]] == [2, 4]
    for name in ("undisturbed again", "resumed"):  # on a CPU nothing is left to chance
        assert quickstart[name]["log"] == quickstart["undisturbed"]["log"][:2]
    assert 0 <= quickstart["undisturbed"]["accuracy_after"] <= 1
    assert "| resumed | 0 | 0 | 0 | 0 |" in (tmp_path / "gpu.md").read_text()

    if importlib.util.find_spec("vllm") is None:
        assert cells["e all"] == {"skipped": "vLLM cannot be imported"}
        assert "skipped: vLLM cannot be imported" in capsys.readouterr().out


# A process in place of that of a part: it tells of its cells, and dies or hangs where they say so.
SCRIPT = """
import json, os, sys, time
def tell(name, found):
    print("gpu.py result: " + json.dumps([name, found]), flush=True)
print("noise")
tell("machine", {"device": "none"})
for name, cell in json.loads(sys.argv[1]).items():
    if cell["do"] == "die": os.abort()
    if cell["do"] == "hang": time.sleep(100)
    if cell["do"] == "leave": sys.exit()
    tell(name, {"pid": os.getpid()})
"""


def test_what_fails_or_hangs_costs_no_other_measurement():
    command = [sys.executable, "-S", "-c", SCRIPT]
    doings = {"one": "do", "two": "die", "three": "do", "four": "leave", "five": "do", "six": "hang", "seven": "do"}
    found = gpu.run_part({name: {"do": do} for name, do in doings.items()}, 4.0, command)
    assert found.pop("machine") == {"device": "none"}
    assert [name for name, cell in found.items() if "pid" in cell] == ["one", "three", "five"]
    assert "code -6" in found["two"]["failed"]
    assert found["four"]["failed"] == "the process ended without a word about it"
    assert "time was up" in found["six"]["failed"] and found["seven"]["failed"] == "no time was left"
    assert len({found[name]["pid"] for name in ("one", "three", "five")}) == 3
    assert gpu.run_part({}, 1.0, command) == {}


def test_memory_that_is_full_is_a_result_and_other_errors_are_named(monkeypatch):
    def full(cell):
        try:
            raise torch.OutOfMemoryError("tried to allocate 20 GiB\nand more")
        except torch.OutOfMemoryError as error:
            raise RuntimeError("Out of memory in the forward pass") from error

    monkeypatch.setitem(gpu.RUN, "a", full)
    monkeypatch.setitem(gpu.RUN, "c", lambda cell: [][0])
    found = {name: gpu.attempt({"part": name}) for name in ("a", "c")}
    assert found["a"]["out_of_memory"] == "Out of memory in the forward pass" and "failed" not in found["a"]
    assert found["c"]["failed"] == "list index out of range"
    results = {"dry_run": False, "seconds": 1.0, "machine": {}, "parts": {name: {"x": found[name]} for name in found}}
    text = gpu_report.report(results, {part: title for part, (title, _) in gpu.PARTS.items()})
    assert "| x | out of memory: Out of memory in the forward pass |" in text
    assert "| x | failed: list index out of range |" in text and "Not run." in text


def test_a_share_of_peak_and_ratios_are_those_of_the_numbers():
    number = {
        "training_s": 4.0, "passes_s": 2.0, "tflop": 989.0, "sampling_s": 9.0, "peak_gib": 60.0,
        "prompt_tokens": 300, "picture_tokens": 256, "completion_tokens": 512,
    }  # fmt: skip
    cells = {"448 px, trl": number, "448 px, mmr1": number | {"training_s": 3.0, "passes_s": 1.0, "peak_gib": 30.0}}
    text = "\n".join(gpu_report.training_table(cells, 989.0))
    assert "| 448 px, trl | 4.00 | 2.00 | 50% | 60.0 | 9.0 | 300 (256) + 512 |" in text
    assert "| 448 px, mmr1: ratio | 0.75 | 0.50 | | 0.50 |" in text and "100%" in text
    assert "not stated" in "\n".join(gpu_report.training_table(cells, None))
    shared = {"1024 px, share_prompts off": number, "1024 px, share_prompts auto": number | {"passes_s": 1.0}}
    assert "| 1024 px, share_prompts auto: ratio | 1.00 | 0.50 |" in "\n".join(gpu_report.training_table(shared, None))


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989), ("NVIDIA H100 PCIe", 756), ("NVIDIA H200", 989), ("NVIDIA L40S", 362),
        ("NVIDIA A100-SXM4-80GB", 312), ("NVIDIA A100 80GB PCIe", 312), ("NVIDIA L4", 121),
        ("NVIDIA GeForce RTX 4090", 165), ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None), ("NVIDIA A100-SXM4-40GB MIG 3g.20gb", None), ("Tesla T4", None),
    ],
)  # fmt: skip
def test_peaks_are_known_by_exact_name_or_not_stated(name, peak):
    assert gpu.peak_tflops(name) == peak


def test_flops_of_products_and_attention():
    # TRL's head calls addmm(..., out_dtype=torch.float32) on GPUs only; torch's formula takes the type for a shape.
    a, b = torch.Size([2, 3]), torch.Size([3, 4])
    assert addmm_flops(torch.Size([2, 4]), a, b, torch.float32, out_shape=torch.Size([2, 4])) == 2 * 2 * 3 * 4
    q, k, v = torch.Size([2, 4, 5, 8]), torch.Size([2, 4, 7, 8]), torch.Size([2, 4, 7, 6])
    assert attention_flops(q, k, v) == sdpa_flop_count(q, k, v)
    grad = torch.Size([2, 4, 5, 6])
    assert attention_backward_flops(grad, q, k, v) == sdpa_backward_flop_count(grad, q, k, v)
    few = torch.Size([2, 1, 7, 8])  # keys and values of one head, shared by four of queries
    assert attention_flops(q, few, few) == 2 * (2 * 4 * 5 * 7 * 8) * 2
    times = Steps(counted=1)
    times.measured(torch.addmm)(torch.zeros(2, 4), torch.ones(2, 3), torch.ones(3, 4))
    assert times.passes == [2 * 2 * 3 * 4]
    times = Steps(counted=1)
    q, k = torch.ones(1, 2, 4, 8, requires_grad=True), torch.ones(1, 2, 4, 8)
    attention = torch.nn.functional.scaled_dot_product_attention
    times.measured(lambda: attention(q, k, k).sum().backward())()
    assert times.passes == [2 * (2 * 4 * 4) * (2 * 8 + 5 * 8)]


def test_settings_at_true_size():
    cells = gpu.cells_of("a", False, "")
    assert len(cells) == 8 and {cell["pixels"] for cell in cells.values()} == {448, 1024}
    assert list(cells)[:2] == ["448 px, frozen, trl", "448 px, frozen, mmr1"]
    for dtype in gpu.cells_of("e", False, "folder").values():
        _, config, model = parse_training("grpo", gpu.agreement_words(dtype)).build()
        assert config.use_vllm and config.vllm_mode == "colocate" and model.dtype == dtype["dtype"]
        assert config.on_mismatch == "warn"
    log = {"sampling/sampling_logp_difference/mean": [0.003, 0.2], "reward": [0.5, None]}
    text = "\n".join(gpu_report.agreement_table({"float32 weights": {"bound": 0.1, "log": log}}))
    assert "| float32 weights | reward | 0.5,  |" in text and "0.2: above 0.1, which stops a run" in text
    assert sum(limit for _, limit in gpu.PARTS.values()) > gpu.LIMIT_S and gpu.LIMIT_S < 10 * 60
