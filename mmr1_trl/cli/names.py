# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Which model and which repositories the options name, before anything of them is loaded."""

from pathlib import Path
from typing import Any

from mmr1_trl.errors import BadInputError
from mmr1_trl.models.cache import check_model_name


def look_up(name: str, kind: str, revision: str | None = None) -> None:
    """
    Ask the Hub once for a repository, where the libraries that load it would ask for half a minute.

    Raises:
        [`BadInputError`]: It is not there, or the Hub cannot be reached and nothing of it was downloaded before.
    """
    if name.startswith("figures") or Path(name).exists():
        return
    from mmr1_trl.hub.fetch import require_repository

    repo_id, _, tag = name.partition("@")
    require_repository(repo_id, kind, None if kind == "dataset" and tag else revision)


def require_model(model_args: Any) -> str:
    """
    Return `--model_name_or_path`, which has no default.

    Raises:
        [`BadInputError`]: It is missing, or there can be no such model. Nothing is built or loaded to find out.
    """
    if not model_args.model_name_or_path:
        raise BadInputError(
            "--model_name_or_path is missing: a Hub id such as Qwen/Qwen2.5-VL-3B-Instruct, a folder, or "
            "figures/cold_start (small, made here)."
        )
    check_model_name(model_args.model_name_or_path, whole=True)
    return model_args.model_name_or_path


def revision(model_args: Any) -> dict[str, str]:
    """Return `{"revision": ...}` for a model other than the Hub's main branch, as the options name it."""
    return at_revision(model_args.model_revision)


def at_revision(name: str) -> dict[str, str]:
    """Return `{"revision": name}` for a branch, tag or commit other than the Hub's main branch."""
    return {} if name == "main" else {"revision": name}


def coordinates(option: str, model: str, trust_remote_code: bool, **hub_kwargs: str) -> str | None:
    """Return the frame in which `model` writes points and boxes; `None` where it is not established."""
    from mmr1_trl.engines.frames import choose_coordinates
    from mmr1_trl.models import load_config

    family = "" if option != "auto" else load_config(model, trust_remote_code, **hub_kwargs).model_type
    return choose_coordinates(option, family)
