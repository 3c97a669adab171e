# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""A repository on the Hub: refused early if it cannot be written to, written to in one commit, with clear failures."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from mmr1_trl.errors import BadInputError
from mmr1_trl.hub.manifest import Manifest


# The completions of a run lie beside its model; they are no dataset.
warnings.filterwarnings("ignore", "It seems that you are about to commit a data file", UserWarning)


class PushError(BadInputError):
    """An upload that failed, with what happened and what to do. Nothing on this machine was changed by it."""


@dataclass(frozen=True)
class Target:
    """
    Where an upload goes.

    Args:
        repo_id (`str`):
            `owner/name`, or a name alone for a repository of one's own.
        kind (`str`, *optional*, defaults to `"model"`):
            `"model"` or `"dataset"`.
        revision (`str`, *optional*):
            Branch, created if it is not there; the main branch by default.
        private (`bool`, *optional*):
            Whether a repository that has to be created is private; the owner's default otherwise.
        token (`str`, *optional*):
            The saved one, or `HF_TOKEN`, by default.
    """

    repo_id: str
    kind: str = "model"
    revision: str | None = None
    private: bool | None = None
    token: str | None = None

    @property
    def url(self) -> str:
        """The page of the repository."""
        from huggingface_hub import constants

        where = f"{constants.ENDPOINT}/{'datasets/' if self.kind == 'dataset' else ''}{self.repo_id}"
        return f"{where}/tree/{self.revision}" if self.revision else where


def check_repo_id(repo_id: str) -> str:
    """
    Return `repo_id` if the Hub takes such names.

    Raises:
        [`BadInputError`]: It does not.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        reason = str(error).splitlines()[0].removesuffix(f": '{repo_id}'.").rstrip(".")
        raise BadInputError(
            f"{repo_id!r} is no name of a repository: {reason}. Names look like your-name/my-model (in a training: "
            "--hub_model_id)."
        ) from error
    return repo_id


def open_repository(target: Target) -> Target:
    """
    Make sure that a repository is there and can be written to.

    Args:
        target ([`Target`]):
            Where an upload is to go.

    Returns:
        [`Target`]: The same with the repository's full name.

    Raises:
        [`PushError`]: There is no token, it may not write there, or the Hub cannot be reached.
        [`BadInputError`]: The name is not valid.
    """
    from huggingface_hub import HfApi, get_token

    check_repo_id(target.repo_id)
    if not (target.token or get_token()):
        raise PushError(
            "There is no Hub token on this machine. Log in by `hf auth login`, or set HF_TOKEN to a token that may "
            "write (https://huggingface.co/settings/tokens)."
        )
    api = HfApi(token=target.token)
    with explained(target):
        url = api.create_repo(target.repo_id, repo_type=target.kind, private=target.private, exist_ok=True)
        target = replace(target, repo_id=url.repo_id)
        api.auth_check(target.repo_id, repo_type=target.kind, write=True)
        if target.revision:
            api.create_branch(target.repo_id, branch=target.revision, repo_type=target.kind, exist_ok=True)
    return target


def upload(manifest: Manifest, target: Target, message: str, tag: str | None = None, mirror: str | None = None) -> Any:
    """
    Upload files in one commit. What is there already, or was sent before an interruption, is not sent again.

    Args:
        manifest ([`~mmr1_trl.hub.manifest.Manifest`]):
            The files.
        target ([`Target`]):
            An open repository.
        message (`str`):
            Title of the commit.
        tag (`str`, *optional*):
            Tag to set on the commit; moved if it exists.
        mirror (`str`, *optional*):
            A folder of the repository in which files that are not in `manifest` are removed.

    Returns:
        `huggingface_hub.CommitInfo`

    Raises:
        [`PushError`]: The upload failed.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    api = HfApi(token=target.token)
    repo: dict[str, Any] = {"repo_id": target.repo_id, "repo_type": target.kind}
    with explained(target):
        operations: list[Any] = [CommitOperationAdd(entry.path, entry.source) for entry in manifest.entries]
        if mirror is not None:
            names = {entry.path for entry in manifest.entries}
            there = api.list_repo_files(**repo, revision=target.revision)
            stale = [name for name in there if name.startswith(f"{mirror}/") and name not in names]
            operations += [CommitOperationDelete(name) for name in stale]
        commit = api.create_commit(operations=operations, commit_message=message, revision=target.revision, **repo)
        if tag is not None:
            refs = api.list_repo_refs(**repo)
            if any(ref.name == tag for ref in refs.tags):
                api.delete_tag(tag=tag, **repo)
            api.create_tag(tag=tag, revision=commit.oid, **repo)
    return commit


@contextmanager
def explained(target: Target) -> Iterator[None]:
    """
    Turn what the Hub's client raises into one message.

    Raises:
        [`PushError`]: Whatever failed.
    """
    try:
        yield
    except BadInputError:
        raise
    except Exception as error:  # the client lets errors of three libraries through
        raise PushError(_explain(error, target)) from error


def _explain(error: BaseException, target: Target) -> str:
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled, RevisionNotFoundError

    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
        chain.append(cause)
    name = f"the {target.kind} repository {target.repo_id}"
    if any(isinstance(e, OfflineModeIsEnabled) for e in chain):
        return "The Hub is switched off here (HF_HUB_OFFLINE=1). Unset it to upload."
    answer = next((e for e in chain if isinstance(e, HfHubHTTPError) and e.response is not None), None)
    if answer is None:
        if any(isinstance(e, OSError) and e.filename for e in chain):
            return f"A file could not be read while it was uploaded: {_short(error)}."
        if any("httpx" in type(e).__module__ or isinstance(e, (ConnectionError, TimeoutError)) for e in chain):
            return f"The connection to the Hub was lost or never made ({_short(chain[-1])})."
        return f"The upload to {name} failed: {_short(error)}."
    status, said = answer.response.status_code, _said(answer)
    if re.search(r"quota|storage.{0,20}(limit|full|exceeded)|exceeded.{0,20}storage", said, re.IGNORECASE) or (
        status in (402, 413, 507)
    ):
        return f"The Hub has no room for it ({said}). Delete something there, or choose another owner."
    if status == 401:
        return f"The Hub does not know this token ({said}). Log in again by `hf auth login`, or set HF_TOKEN."
    if status == 403:
        return (
            f"This token may not write to {name}: {said}. Use a token with the right to write, or another name: this "
            "one may be somebody else's."
        )
    if status == 404:
        if isinstance(answer, RevisionNotFoundError):
            return f"{name[0].upper()}{name[1:]} has no revision {target.revision!r}."
        return f"{name[0].upper()}{name[1:]} is not there, or this token may not see it."
    if status == 409:
        return f"The name {target.repo_id} is taken, or somebody else is writing there right now: {said}."
    if status == 412:
        return f"{name[0].upper()}{name[1:]} was changed by somebody else during the upload."
    if status == 429:
        return f"The Hub asks for a pause: too many requests ({said})."
    if status >= 500:
        return f"The Hub is in trouble ({status}: {said}). Try again later."
    return f"The Hub refused the upload to {name} ({status}: {said})."


def _said(error: Any) -> str:
    """Return the Hub's own words."""
    return (error.response.headers.get("X-Error-Message") or error.server_message or _short(error)).rstrip(".")


def _short(error: BaseException) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0].rstrip('.')}" if text else type(error).__name__
