# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What the name of a dataset can mean, told without importing anything that reads one."""

import os
import re

from mmr1_trl.errors import BadInputError, did_you_mean


BUILDERS = {".parquet": "parquet", ".jsonl": "json", ".json": "json", ".csv": "csv", ".arrow": "arrow"}
_HUB_ID = re.compile(r"[\w.-]{1,96}(/[\w.-]{1,96})?(@.{1,255})?")


def check_dataset_name(name: str) -> None:
    """
    Refuse a name that is neither `figures`, nor a file or folder on this machine, nor of the form of a Hub id.

    Args:
        name (`str`):
            As given to [`~mmr1_trl.data.load_data`].

    Raises:
        [`BadInputError`]: With the nearest file.
    """
    suffix = os.path.splitext(name)[1]
    if name == "figures" or os.path.isdir(name):
        return
    if os.path.isfile(name):
        if suffix not in BUILDERS:
            raise BadInputError(f"{name}: a dataset file ends in {', '.join(BUILDERS)}, not {suffix!r}.")
    elif os.path.exists(name):
        raise BadInputError(f"{name} is neither a file nor a folder.")
    elif suffix in BUILDERS or name.startswith((".", "/", "~")):
        raise BadInputError(f"There is no file {_short(name)!r}.{nearest_file(name)}")
    elif not _HUB_ID.fullmatch(name):
        raise BadInputError(
            f"{_short(name)!r} is neither 'figures', nor a file or folder here, nor a dataset id of the Hub such as "
            "hiyouga/geometry3k."
        )


def split_revision(name: str) -> tuple[str, str | None]:
    """Split `"owner/name@revision"`; the revision is `None` when there is none."""
    repo_id, _, revision = name.partition("@")
    return repo_id, revision or None


def nearest_file(path: str) -> str:
    """Return a "Did you mean" among what lies in the folder of `path`."""
    folder, name = os.path.split(path.rstrip("/"))
    try:
        others = [other for other in os.listdir(folder or ".") if other != name]  # of the wrong kind, if it is there
        return did_you_mean(name, others)
    except (OSError, ValueError):
        return ""


def _short(name: str) -> str:
    return name if len(name) <= 200 else f"{name[:200]}..."
