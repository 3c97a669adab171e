# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""
Uploads: a repository that is refused early if it cannot be written to, and written to in one commit, with clear
failures; while a training runs from a frozen copy, in the background, and never a reason to stop the training.
"""

import re
import shlex
import shutil
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled, RevisionNotFoundError
from huggingface_hub.utils import validate_repo_id
from transformers.trainer_utils import HubStrategy
from transformers.utils import logging

from mmr1_trl.errors import BadInputError
from mmr1_trl.hub.collect import collect
from mmr1_trl.hub.manifest import Manifest
from mmr1_trl.run_folder import ADAPTER, LAST_CHECKPOINT, list_checkpoints


logger = logging.get_logger(__name__)

# The completions of a run lie beside its model; they are no dataset.
warnings.filterwarnings("ignore", "It seems that you are about to commit a data file", UserWarning)
_FROZEN = "_push-"
_WITH_CHECKPOINTS = (HubStrategy.CHECKPOINT, HubStrategy.ALL_CHECKPOINTS)
_api = HfApi()  # its one thread sends the uploads of a run one after the other


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
        where = f"{constants.ENDPOINT}/{'datasets/' if self.kind == 'dataset' else ''}{self.repo_id}"
        return f"{where}/tree/{self.revision}" if self.revision else where


def check_repo_id(repo_id: str) -> str:
    """
    Return `repo_id` if the Hub takes such names.

    Raises:
        [`BadInputError`]: It does not.
    """
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


def upload(manifest: Manifest, target: Target, message: str, tag: str | None = None) -> Any:
    """
    Upload files in one commit. What is there already, or was sent before an interruption, is not sent again. A
    `last-checkpoint` among them takes the place of the whole one that is there.

    Args:
        manifest ([`~mmr1_trl.hub.manifest.Manifest`]):
            The files.
        target ([`Target`]):
            An open repository.
        message (`str`):
            Title of the commit.
        tag (`str`, *optional*):
            Tag to set on the commit; moved if it exists.

    Returns:
        `huggingface_hub.CommitInfo`

    Raises:
        [`PushError`]: The upload failed.
    """
    api = HfApi(token=target.token)
    repo: dict[str, Any] = {"repo_id": target.repo_id, "repo_type": target.kind}
    names, folder = {entry.path for entry in manifest.entries}, f"{LAST_CHECKPOINT}/"
    with explained(target):
        operations: list[Any] = [CommitOperationAdd(entry.path, entry.source) for entry in manifest.entries]
        if any(name.startswith(folder) for name in names):
            there = api.list_repo_files(**repo, revision=target.revision)
            operations += [CommitOperationDelete(n) for n in there if n.startswith(folder) and n not in names]
        commit = api.create_commit(operations=operations, commit_message=message, revision=target.revision, **repo)
        if tag is not None:
            if any(ref.name == tag for ref in api.list_repo_refs(**repo).tags):
                api.delete_tag(tag=tag, **repo)
            api.create_tag(tag=tag, revision=commit.oid, **repo)
    return commit


def open_for_training(args: Any, **given: Any) -> Target:
    """
    Open the repository of a training before anything is trained.

    Args:
        args ([`~transformers.TrainingArguments`]):
            Its `hub_...` options.
        **given:
            `token`, `private` and `revision` that go before those, unless they are `None`.

    Returns:
        [`Target`]

    Raises:
        [`BadInputError`]: There is no token, it may not write there, the name is not valid, or there is no network.
    """
    options = {"token": args.hub_token, "private": args.hub_private_repo, "revision": args.hub_revision}
    options |= {name: value for name, value in given.items() if value is not None}
    try:
        return open_repository(Target(_repo_id(args), **options))
    except BadInputError as error:
        raise type(error)(
            f"{error} To train without the Hub leave out push_to_hub; `mmr1 push` uploads the result later."
        ) from error


def push_checkpoint(checkpoint: Path, args: Any, target: Target, step: int) -> Future[Any] | None:
    """
    Begin to upload a checkpoint.

    Args:
        checkpoint (`Path`):
            A complete checkpoint folder.
        args ([`~transformers.TrainingArguments`]):
            `output_dir` (card and records of the run) and `hub_strategy`.
        target ([`Target`]):
            An open repository.
        step (`int`):
            Training step: named in the commit, and set as the tag `step-N`.

    Returns:
        `Future` or `None`: What is under way; `None` after a refusal, which has been logged.
    """
    output_dir = Path(args.output_dir)
    frozen = output_dir / f"{_FROZEN}{step}"
    try:
        for leftover in output_dir.glob(f"{_FROZEN}*"):  # of a process that was killed
            if leftover != frozen:
                shutil.rmtree(leftover, ignore_errors=True)
        manifest = collect("run", output_dir, saved=checkpoint, **_for_resuming(args))
        manifest.freeze(frozen, immutable=checkpoint)
    except (BadInputError, OSError) as error:
        shutil.rmtree(frozen, ignore_errors=True)
        logger.warning(f"Step {step} was not uploaded, and training goes on: {error}")
        return None

    def send() -> None:
        try:
            upload(manifest, target, f"Training in progress, step {step}", step_tag(target, step))
        finally:
            shutil.rmtree(frozen, ignore_errors=True)

    def report(job: Future[Any]) -> None:
        if job.exception() is not None:
            logger.warning(
                f"Step {step} was not uploaded, and training goes on: {job.exception()} What is missing goes up with "
                "the next upload."
            )

    job = in_background(send)
    job.add_done_callback(report)
    return job


def in_background(function: Callable[..., Any], *args: Any) -> Future[Any]:
    """Call `function` in the thread that uploads, after the uploads that wait there."""
    return _api.run_as_future(function, *args)


def push_result(args: Any, target: Target, step: int, message: str) -> Any:
    """
    Upload what a training left in its `output_dir`; with the strategies that upload checkpoints, the newest one too.

    Args:
        args, target, step:
            As for [`push_checkpoint`].
        message (`str`):
            Title of the commit.

    Returns:
        `huggingface_hub.CommitInfo`

    Raises:
        [`BadInputError`]: The files do not load or hold something secret, or the upload failed.
    """
    options = _for_resuming(args) if list_checkpoints(args.output_dir) else {"token": args.hub_token}
    return upload(collect("run", args.output_dir, **options), target, message, step_tag(target, step))


def step_tag(target: Target, step: int) -> str:
    """Return the tag of a step: `step-40`, or `mybranch-step-40` on a branch of its own."""
    return f"{target.revision}-step-{step}" if target.revision not in (None, "main") else f"step-{step}"


def later_command(args: Any, target: Target | None) -> str:
    """Return the command that uploads the result of a training later."""
    kind = "adapter" if (Path(args.output_dir) / ADAPTER).is_file() else "model"
    words = ["mmr1", "push", kind, str(args.output_dir), target.repo_id if target else _repo_id(args)]
    words += ["--revision", args.hub_revision] if args.hub_revision else []
    words += ["--private"] if args.hub_private_repo else []
    words += ["--with_checkpoint"] if args.hub_strategy in _WITH_CHECKPOINTS else []
    return shlex.join(words)


def _repo_id(args: Any) -> str:
    return args.hub_model_id or Path(args.output_dir).absolute().name


def _for_resuming(args: Any) -> dict[str, Any]:
    """The options of [`collect`] by which a strategy uploads checkpoints, or none."""
    strategy = args.hub_strategy
    return {
        "token": args.hub_token,
        "with_checkpoint": strategy in _WITH_CHECKPOINTS,
        "keeps_name": strategy == HubStrategy.ALL_CHECKPOINTS,
    }


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


# What a status of the Hub means; `said` are its own words.
_ANSWERS = {
    401: "The Hub does not know this token ({said}). Log in again by `hf auth login`, or set HF_TOKEN.",
    402: "The Hub has no room for it ({said}). Delete something there, or choose another owner.",
    403: "This token may not write to the {repo}: {said}. Use a token with the right to write, or another name: this "
    "one may be somebody else's.",
    404: "The {repo} is not there, or this token may not see it.",
    409: "The name {repo_id} is taken, or somebody else is writing there right now: {said}.",
    412: "The {repo} was changed by somebody else during the upload.",
    429: "The Hub asks for a pause: too many requests ({said}).",
}
_NO_ROOM = re.compile(r"quota|storage.{0,20}(limit|full|exceeded)|exceeded.{0,20}storage", re.IGNORECASE)


def _explain(error: BaseException, target: Target) -> str:
    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
        chain.append(cause)
    repo = f"{target.kind} repository {target.repo_id}"
    if any(isinstance(e, OfflineModeIsEnabled) for e in chain):
        return "The Hub is switched off here (HF_HUB_OFFLINE=1). Unset it to upload."
    answer = next((e for e in chain if isinstance(e, HfHubHTTPError) and e.response is not None), None)
    if answer is None:
        if any(isinstance(e, OSError) and e.filename for e in chain):
            return f"A file could not be read while it was uploaded: {_short(error)}."
        if any("httpx" in type(e).__module__ or isinstance(e, (ConnectionError, TimeoutError)) for e in chain):
            return f"The connection to the Hub was lost or never made ({_short(chain[-1])})."
        return f"The upload to the {repo} failed: {_short(error)}."
    status, said = answer.response.status_code, _said(answer)
    if _NO_ROOM.search(said) or status in (413, 507):
        status = 402
    if isinstance(answer, RevisionNotFoundError):
        return f"The {repo} has no revision {target.revision!r}."
    if status in _ANSWERS:
        return _ANSWERS[status].format(said=said, repo=repo, repo_id=target.repo_id)
    if status >= 500:
        return f"The Hub is in trouble ({status}: {said}). Try again later."
    return f"The Hub refused the upload to the {repo} ({status}: {said})."


def _said(error: Any) -> str:
    """Return the Hub's own words."""
    return (error.response.headers.get("X-Error-Message") or error.server_message or _short(error)).rstrip(".")


def _short(error: BaseException) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0].rstrip('.')}" if text else type(error).__name__
