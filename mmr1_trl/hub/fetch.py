# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What comes back from the Hub: a name with a revision, and checkpoints to resume from."""

import re
from pathlib import Path

from mmr1_trl.errors import BadInputError
from mmr1_trl.hub.upload import PushError, Target, explained
from mmr1_trl.run_folder import CHECKPOINT, COMPLETE, LAST_CHECKPOINT, STATE_JSON, TRAINER_STATE, step_of


_PATIENCE = 10.0  # seconds
_CHECKPOINT = re.compile(
    rf"(?P<repo>[\w.-]+/[\w.-]+?)(?:/(?P<folder>{LAST_CHECKPOINT}|{CHECKPOINT}\d+))?(?:@(?P<revision>.+))?"
)


def require_repository(repo_id: str, kind: str, revision: str | None = None) -> None:
    """
    Ask the Hub once whether a model or a dataset is there.

    Args:
        repo_id (`str`):
            `owner/name`.
        kind (`str`):
            `"model"` or `"dataset"`.
        revision (`str`, *optional*):
            Branch, tag or commit.

    Raises:
        [`BadInputError`]: It is not there (or for others only), or the Hub cannot be reached and nothing of it was
            downloaded before.
    """
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError
    from huggingface_hub.file_download import repo_folder_name

    cached = Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=repo_id, repo_type=kind)).is_dir()
    if cached or constants.HF_HUB_OFFLINE:
        return  # what is missing of it the loading will say
    where = f"There is neither a folder {repo_id!r} here, nor"
    try:
        HfApi().repo_info(repo_id, repo_type=kind, revision=revision, timeout=_PATIENCE)
    except GatedRepoError:
        pass  # it is there, and the loading says how to ask for it
    except RepositoryNotFoundError as error:
        raise BadInputError(
            f"{where} a {kind} of that name on the Hub that this token may see. Log in by `hf auth login` if it is "
            "private."
        ) from error
    except RevisionNotFoundError as error:
        raise BadInputError(f"The {kind} {repo_id} on the Hub has no revision {revision!r}.") from error
    except HfHubHTTPError:
        pass  # the Hub is in trouble: leave it to the loading, which tries again
    except Exception as error:  # of whatever library the client sends by
        raise BadInputError(
            f"{where} can the Hub be reached to look for it ({type(error).__name__}: {' '.join(str(error).split())})."
        ) from error


def checkpoint_folder(name: str, token: str | None = None) -> str:
    """
    Return the folder of a checkpoint, downloading it if it is on the Hub.

    Args:
        name (`str`):
            A folder, or `owner/name[/checkpoint][@revision]`: the checkpoint is `last-checkpoint` or `checkpoint-40`;
            without one, `last-checkpoint` is taken if it is there, else the newest. The revision is a branch, a tag
            such as `step-40`, or a commit.
        token (`str`, *optional*):
            The saved one, or `HF_TOKEN`, by default.

    Returns:
        `str`: A local folder.

    Raises:
        [`BadInputError`]: There is no such folder, repository, revision or checkpoint, or it is half-written.
    """
    match = _CHECKPOINT.fullmatch(name)
    if Path(name).is_dir() or match is None:
        return name
    from huggingface_hub import HfApi, snapshot_download

    target = Target(match["repo"], revision=match["revision"], token=token)
    where = f"{match['repo']}{'@' + match['revision'] if match['revision'] else ''}"
    try:
        with explained(target):
            files = HfApi(token=token).list_repo_files(match["repo"], revision=match["revision"])
            folder = match["folder"] or _newest(files)
            if folder is None or f"{folder}/{TRAINER_STATE}" not in files:
                there = sorted({file.split("/")[0] for file in files if file.endswith(f"/{TRAINER_STATE}")})
                raise BadInputError(
                    f"{where} has no checkpoint {folder or 'to resume from'}; it has {there or 'none'}. They are "
                    "uploaded by --hub_strategy checkpoint or all_checkpoints, or by `mmr1 push --with_checkpoint`."
                )
            if f"{folder}/{STATE_JSON}" in files and f"{folder}/{COMPLETE}" not in files:
                raise BadInputError(f"{folder} in {where} is half-written (no {COMPLETE}). Take an older revision.")
            root = snapshot_download(
                match["repo"], revision=match["revision"], allow_patterns=[f"{folder}/*"], token=token
            )
    except PushError as error:
        raise BadInputError(f"No checkpoint folder {name!r} here, and none on the Hub: {error}") from error
    return str(Path(root) / folder)


def _newest(files: list[str]) -> str | None:
    """Return `last-checkpoint`, or the checkpoint of the highest step, or `None`."""
    folders = {file.split("/")[0] for file in files if file.endswith(f"/{TRAINER_STATE}")}
    if LAST_CHECKPOINT in folders:
        return LAST_CHECKPOINT
    newest = max(folders, key=lambda name: step_of(Path(name)), default="")
    return newest if step_of(Path(newest)) >= 0 else None
