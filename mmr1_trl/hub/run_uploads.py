# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Uploads while a training runs: from a frozen copy, in the background, and never a reason to stop the training."""

import shlex
import shutil
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from transformers.trainer_utils import HubStrategy
from transformers.utils import logging

from mmr1_trl.errors import BadInputError
from mmr1_trl.hub.checks import check_adapter, check_files
from mmr1_trl.hub.collect import LAST_CHECKPOINT, add_checkpoint, newest_checkpoint
from mmr1_trl.hub.manifest import WEIGHTS, Manifest
from mmr1_trl.hub.repository import Target, open_repository, upload
from mmr1_trl.hub.scan import clean
from mmr1_trl.run_folder import ADAPTER, CARD, list_checkpoints


logger = logging.get_logger(__name__)

_FROZEN = "_push-"
_WITH_CHECKPOINTS = (HubStrategy.CHECKPOINT, HubStrategy.ALL_CHECKPOINTS)
_api = HfApi()  # its one thread sends the uploads of a run one after the other


def open_for_training(args: Any, **given: Any) -> Target:
    """
    Open the repository of a training before anything is trained.

    Args:
        args ([`~transformers.TrainingArguments`]):
            Its `hub_...` options.
        **given:
            `token`, `private` and `revision` that go before those, unless they are `None`.

    Returns:
        [`~mmr1_trl.hub.repository.Target`]

    Raises:
        [`BadInputError`]: There is no token, it may not write there, the name is not valid, or there is no network.
    """
    repo_id = args.hub_model_id or Path(args.output_dir).absolute().name
    options = {"token": args.hub_token, "private": args.hub_private_repo, "revision": args.hub_revision}
    target = Target(repo_id, **options | {name: value for name, value in given.items() if value is not None})
    try:
        return open_repository(target)
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
        target ([`~mmr1_trl.hub.repository.Target`]):
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
        manifest = _collect(output_dir, checkpoint, args.hub_strategy, args.hub_token)
        manifest.freeze(frozen, immutable=checkpoint)
    except (BadInputError, OSError) as error:
        shutil.rmtree(frozen, ignore_errors=True)
        logger.warning(f"Step {step} was not uploaded, and training goes on: {error}")
        return None

    def send() -> Any:
        try:
            mirror = LAST_CHECKPOINT if args.hub_strategy == HubStrategy.CHECKPOINT else None
            return upload(manifest, target, f"Training in progress, step {step}", step_tag(target, step), mirror)
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
    output_dir = Path(args.output_dir)
    _check(output_dir)
    manifest, mirror = Manifest(), None
    manifest.add_folder(output_dir)
    if args.hub_strategy in _WITH_CHECKPOINTS and list_checkpoints(output_dir):
        mirror = _add_checkpoint(manifest, newest_checkpoint(output_dir), args.hub_strategy)
    clean(manifest, output_dir, args.hub_token)
    return upload(manifest, target, message, step_tag(target, step), mirror)


def step_tag(target: Target, step: int) -> str:
    """Return the tag of a step: `step-40`, or `mybranch-step-40` on a branch of its own."""
    return f"{target.revision}-step-{step}" if target.revision not in (None, "main") else f"step-{step}"


def later_command(args: Any, target: Target | None) -> str:
    """Return the command that uploads the result of a training later."""
    kind = "adapter" if (Path(args.output_dir) / ADAPTER).is_file() else "model"
    repo_id = target.repo_id if target else args.hub_model_id or Path(args.output_dir).absolute().name
    words = ["mmr1", "push", kind, str(args.output_dir), repo_id]
    words += ["--revision", args.hub_revision] if args.hub_revision else []
    words += ["--private"] if args.hub_private_repo else []
    words += ["--with_checkpoint"] if args.hub_strategy in _WITH_CHECKPOINTS else []
    return shlex.join(words)


def _collect(output_dir: Path, checkpoint: Path, strategy: str, token: str | None) -> Manifest:
    _check(checkpoint)
    manifest, records = Manifest(), Manifest()
    manifest.add_folder(checkpoint, exclude=[CARD])
    records.add_folder(output_dir, exclude=[WEIGHTS])
    names = {entry.path for entry in manifest.entries}
    manifest.entries += [entry for entry in records.entries if entry.path not in names]
    if strategy in _WITH_CHECKPOINTS:
        _add_checkpoint(manifest, checkpoint, strategy)
    clean(manifest, output_dir, token)
    return manifest


def _add_checkpoint(manifest: Manifest, checkpoint: Path, strategy: str) -> str | None:
    """Take a checkpoint in under the name that the strategy gives it; return the folder to be kept free of others."""
    name = LAST_CHECKPOINT if strategy == HubStrategy.CHECKPOINT else checkpoint.name
    add_checkpoint(manifest, checkpoint, name)
    return name if name == LAST_CHECKPOINT else None


def _check(folder: Path) -> None:
    if (folder / ADAPTER).is_file():
        check_adapter(folder)
    else:
        check_files(folder)
