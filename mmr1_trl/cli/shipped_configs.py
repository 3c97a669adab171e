# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The YAML configs that come with the package, by name: `figures/mssr` is `configs/figures/mssr.yaml`."""

from pathlib import Path

from mmr1_trl.errors import BadInputError, did_you_mean


def config_names() -> dict[str, Path]:
    """Return `{name: path}` of the shipped configs, sorted by name."""
    package = Path(__file__).parent.parent
    # A wheel carries the configs inside the package, a source checkout beside it.
    root = package / "configs" if (package / "configs").is_dir() else package.parent / "configs"
    return {path.relative_to(root).with_suffix("").as_posix(): path for path in sorted(root.rglob("*.yaml"))}


def find_config(name: str) -> Path:
    """
    Return the file that `--config` means.

    Args:
        name (`str`):
            A path, or the name of a shipped config such as `figures/mssr`. A file of that name wins.

    Raises:
        [`BadInputError`]: If it is neither.
    """
    names = config_names()
    if Path(name).is_file():
        return Path(name)
    if name.removesuffix(".yaml") in names:
        return names[name.removesuffix(".yaml")]
    raise BadInputError(
        f"config {name!r} is neither a file nor a shipped config.{did_you_mean(name, names)} "
        "`mmr1 configs ls` lists the shipped ones."
    )
