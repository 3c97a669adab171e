# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Uploads from a folder, each in three steps: collect and check, show, send."""

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from mmr1_trl.errors import BadInputError
from mmr1_trl.hub.checks import check_adapter, check_files, check_model
from mmr1_trl.hub.manifest import Manifest, require_folder
from mmr1_trl.hub.scan import clean
from mmr1_trl.run_folder import ADAPTER, CARD, COMPLETIONS, SCORES, SUMMARY, complete_checkpoints, require_whole


ASSETS = "assets"  # the pictures of a card
LAST_CHECKPOINT = "last-checkpoint"


def model_manifest(
    folder: str | Path,
    with_checkpoint: bool = False,
    exclude: Iterable[str] = (),
    token: str | None = None,
    repo_id: str | None = None,
) -> Manifest:
    """
    Collect and check the upload of a model.

    Args:
        folder (`str` or `Path`):
            Output folder of a run, a checkpoint, or any folder of a model with its processor.
        with_checkpoint (`bool`, *optional*, defaults to `False`):
            Whether the newest complete checkpoint goes up as `last-checkpoint`, for others to resume from.
        exclude (`Iterable[str]`, *optional*):
            Patterns of names to leave out.
        token (`str`, *optional*):
            The Hub token, if not the saved one: it is looked for in the files.
        repo_id (`str`, *optional*):
            Where it goes to, for the card.

    Returns:
        [`~mmr1_trl.hub.manifest.Manifest`]

    Raises:
        [`BadInputError`]: It does not load, or holds something secret.
    """
    folder = require_folder(folder, exclude)
    check_model(folder)
    return _run_manifest(folder, with_checkpoint, exclude, token, repo_id)


def adapter_manifest(
    folder: str | Path,
    base_model: str | None = None,
    with_checkpoint: bool = False,
    exclude: Iterable[str] = (),
    token: str | None = None,
    repo_id: str | None = None,
) -> Manifest:
    """
    Collect and check the upload of a LoRA adapter.

    Args:
        folder, with_checkpoint, exclude, token, repo_id:
            As for [`model_manifest`].
        base_model (`str`, *optional*):
            Hub id to name as the base model, if it was trained on a local copy.

    Returns:
        [`~mmr1_trl.hub.manifest.Manifest`]

    Raises:
        [`BadInputError`]: It does not load, its base model is on this machine only, or it holds something secret.
    """
    import json

    folder = require_folder(folder, exclude)
    base = check_adapter(folder, base_model)
    manifest = _run_manifest(folder, with_checkpoint, exclude, token, repo_id)
    for entry in [entry for entry in manifest.entries if entry.path.endswith(ADAPTER)]:
        config = json.loads(entry.read())
        if config.get("base_model_name_or_path") != base:
            config |= {"base_model_name_or_path": base, "revision": None}
            manifest.replace(entry.path, json.dumps(config, indent=2).encode(), f"base model: {base}")
    manifest.reseal()
    return manifest


def _run_manifest(
    folder: Path,
    with_checkpoint: bool,
    exclude: Iterable[str],
    token: str | None,
    repo_id: str | None,
) -> Manifest:
    from mmr1_trl.hub.cards import write_model_card

    manifest = Manifest()
    manifest.add_folder(folder, exclude=exclude)
    _add_card(manifest, folder, exclude, lambda copy: write_model_card(copy, run=folder, repo_id=repo_id))
    if with_checkpoint:
        checkpoint = newest_checkpoint(folder)
        check_files(checkpoint)
        add_checkpoint(manifest, checkpoint, LAST_CHECKPOINT)
    clean(manifest, folder, token)
    return manifest


def _add_card(manifest: Manifest, folder: Path, exclude: Iterable[str], write: Callable[[Path], object]) -> None:
    """Take in a card that is written for this upload, in a view of the folder: the folder itself stays as it is."""
    with tempfile.TemporaryDirectory(prefix="mmr1-card-") as place:
        view = Path(place) / folder.absolute().name
        view.mkdir()
        for file in folder.iterdir():
            if file.name == CARD:
                shutil.copyfile(file, view / file.name)
            elif file.name != ASSETS:
                (view / file.name).symlink_to(file.absolute())
        write(view)
        for file in (view / CARD, *sorted((view / ASSETS).glob("*"))):
            path = file.relative_to(view).as_posix()
            if not any(fnmatch(path, pattern) for pattern in exclude):
                manifest.replace(path, file.read_bytes(), "written for this upload")


def add_checkpoint(manifest: Manifest, checkpoint: Path, path_in_repo: str) -> None:
    """Take a whole checkpoint in, with the state of training, but without the card that PEFT puts there."""
    manifest.add_folder(checkpoint, path_in_repo, resume=True, exclude=[CARD])


def newest_checkpoint(folder: Path) -> Path:
    """
    Return the newest complete checkpoint of a run.

    Raises:
        [`BadInputError`]: There is none, or it is damaged.
    """
    complete = complete_checkpoints(folder)
    if not complete:
        raise BadInputError(f"{folder} holds no complete checkpoint (checkpoint-*). Leave out --with_checkpoint.")
    require_whole(complete[-1])
    return complete[-1]


@contextmanager
def merged(folder: str | Path) -> Iterator[Path]:
    """
    Merge an adapter into its base model, in a temporary folder that is gone afterwards.

    Args:
        folder (`str` or `Path`):
            Folder of a PEFT adapter, whose files stay as they are.

    Yields:
        `Path`: A folder with the whole model, its processor, and the card and records of the run.

    Raises:
        [`BadInputError`]: It is no adapter, or the base model cannot be loaded.
    """
    import json

    folder = require_folder(folder)
    if not (folder / ADAPTER).is_file():
        raise BadInputError(f"{folder} holds no adapter to merge (no {ADAPTER}). Leave out --merge_adapter.")
    check_files(folder)
    config = json.loads((folder / ADAPTER).read_text())
    base, revision = config["base_model_name_or_path"], config.get("revision")
    with tempfile.TemporaryDirectory(prefix="mmr1-merged-") as place:
        whole = Path(place) / folder.absolute().name
        _merge(folder, base, revision, whole)
        for file in folder.iterdir():
            if file.is_dir() and file.name in (COMPLETIONS, ASSETS):
                shutil.copytree(file, whole / file.name)
            elif file.is_file() and not file.name.startswith("adapter_") and not (whole / file.name).exists():
                shutil.copyfile(file, whole / file.name)
        yield whole


def _merge(folder: Path, base: str, revision: str | None, output: Path) -> None:
    from peft import PeftModel

    from mmr1_trl.models import load_config, load_processor, resolve_model
    from mmr1_trl.models.processing import auto_class

    where: dict[str, Any] = {"revision": revision} if revision else {}
    has_processor = (folder / "tokenizer_config.json").is_file()
    try:
        model: Any = auto_class(load_config(resolve_model(base), **where)).from_pretrained(
            resolve_model(base), dtype="auto", **where
        )
        model = PeftModel.from_pretrained(model, str(folder)).merge_and_unload(safe_merge=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise BadInputError(
            f"The adapter cannot be merged into {base!r}: {str(error).strip().splitlines()[0]}"
        ) from error
    model.save_pretrained(output)
    # The adapter's folder has the processor that it was trained with, but not the config that it is loaded by.
    if not has_processor:
        load_processor(resolve_model(base), **where).save_pretrained(output)


def scores_manifest(
    folder: str | Path, exclude: Iterable[str] = (), token: str | None = None, repo_id: str | None = None
) -> Manifest:
    """
    Collect and check the upload of what `mmr1 score` wrote: the table, the rows that it kept, and the settings.

    Args:
        folder, exclude, token, repo_id:
            As for [`model_manifest`].

    Returns:
        [`~mmr1_trl.hub.manifest.Manifest`]

    Raises:
        [`BadInputError`]: There is no table of scores, it cannot be read, or it holds something secret.
    """
    import pyarrow.parquet as pq

    from mmr1_trl.hub.cards import write_score_card

    folder = require_folder(folder, exclude)
    table = folder / SCORES
    if not table.is_file():
        raise BadInputError(f"{folder} holds no scores.parquet. Name the --output_dir of `mmr1 score`.")
    try:
        names = set(pq.read_schema(table).names)
    except (OSError, ValueError) as error:
        raise BadInputError(f"{table} is broken: {error}. Give the `mmr1 score` command again.") from error
    if not {"prompt_id", "pass_rate"} <= names:
        raise BadInputError(f"{table} is not a table of `mmr1 score`: it lacks prompt_id or pass_rate.")
    manifest = Manifest()
    manifest.add_folder(folder, exclude=exclude)
    _add_card(manifest, folder, exclude, lambda copy: write_score_card(copy, repo_id=repo_id))
    clean(manifest, folder, token)
    return manifest


REPORT = (".html", ".png", ".json", ".parquet", ".yaml")


def report_manifest(folder: str | Path, exclude: Iterable[str] = (), token: str | None = None) -> Manifest:
    """
    Collect and check the upload of a report (`mmr1 report`) or of an evaluation (`mmr1 eval`), under `reports/`.

    Args:
        folder, exclude, token:
            As for [`model_manifest`].

    Returns:
        [`~mmr1_trl.hub.manifest.Manifest`]: Page, curves, numbers and predictions; no weights.

    Raises:
        [`BadInputError`]: There is no page and no evaluation, or something secret in it.
    """
    folder = require_folder(folder, exclude)
    manifest = Manifest()
    manifest.add_folder(folder, f"reports/{folder.absolute().name}", exclude=exclude)
    model = [entry for entry in manifest.entries if not entry.path.endswith(REPORT) or _is_of_model(entry.path)]
    manifest.entries = [entry for entry in manifest.entries if entry not in model]
    manifest.left_out += [(entry.path, entry.size, "not a part of a report") for entry in model]
    if not any(entry.path.endswith((".html", f"/{SUMMARY}")) for entry in manifest.entries):
        raise BadInputError(
            f"{folder} holds no page and no evaluation. Make one by `mmr1 report {folder}` or `mmr1 eval "
            "--output_dir`."
        )
    clean(manifest, folder, token)
    return manifest


def _is_of_model(path: str) -> bool:
    name = path.split("/", 2)[2]
    return name in ("config.json", "generation_config.json", ADAPTER) or name.startswith(
        ("tokenizer", "processor_config", "preprocessor_config", "special_tokens", "vocab", "model.safetensors")
    )
