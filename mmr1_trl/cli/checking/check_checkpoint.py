# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""`mmr1 check --checkpoint`: whether a checkpoint is what was saved."""

from pathlib import Path

from mmr1_trl.errors import BadInputError
from mmr1_trl.run_folder import COMPLETE, TRAINER_STATE, list_checkpoints, newest_complete, read_json, require_whole


def check_checkpoint(name: str, words: list[str]) -> str:
    """
    Read a checkpoint to its end and compare it with what was saved, as every resume does before anything loads.

    Args:
        name (`str`):
            Folder of a checkpoint, or of a run, whose newest is taken; or a checkpoint on the Hub.
        words (`list[str]`):
            What was given beside it; there must be nothing.

    Returns:
        `str`: What was found, for a person to read.

    Raises:
        [`BadInputError`]: It is missing, half-written or damaged.
    """
    from mmr1_trl.hub.fetch import checkpoint_folder

    if words:
        raise BadInputError(f"--checkpoint looks at a checkpoint and at nothing else; leave out {words[0]!r}.")
    folder = Path(name)
    if list_checkpoints(folder):
        folder = newest_complete(folder)[0]
    elif not folder.is_dir():
        folder = Path(checkpoint_folder(name))
    require_whole(folder)
    step = read_json(folder / TRAINER_STATE)["global_step"]
    # Without a mark it is one of a supervised run of an earlier version.
    mark = read_json(folder / COMPLETE) if (folder / COMPLETE).is_file() else {}
    digests = mark.get("files")
    if digests is None:
        return (
            f"{folder} is whole as far as can be told (step {step}): an earlier version wrote no digests, so that bit "
            "errors within weights and JSON are not found."
        )
    size = sum(facts["size"] for facts in digests.values())
    return f"{folder} is whole: step {step}, {len(digests)} files, {size:,} bytes, each with the SHA-256 of its save."
