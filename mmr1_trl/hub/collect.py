# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What goes up to the Hub, collected from a folder and checked: models, adapters, datasets, scores, reports."""

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetInfo, Features, Image, List
from datasets.features.features import require_storage_embed

from mmr1_trl.data.pictures.arrow_columns import embed
from mmr1_trl.data.pictures.images import BadImageError, open_image
from mmr1_trl.errors import BadInputError, first_line
from mmr1_trl.hub.cards import write_dataset_card, write_model_card, write_score_card
from mmr1_trl.hub.manifest import WEIGHTS, Manifest, require_folder
from mmr1_trl.hub.render import ASSETS
from mmr1_trl.hub.scan import clean
from mmr1_trl.hub.upload_checks import check_adapter, check_files, check_model
from mmr1_trl.run_folder import (
    ADAPTER,
    CARD,
    COMPLETIONS,
    LAST_CHECKPOINT,
    SUMMARY,
    complete_checkpoints,
    require_whole,
)


REPORT = (".html", ".png", ".json", ".parquet", ".yaml")  # what a page and an evaluation are made of
SHARD_ROWS = 2048  # some hundred megabytes with ordinary photographs


def collect(
    kind: str,
    folder: str | Path,
    *,
    exclude: Iterable[str] = (),
    token: str | None = None,
    repo_id: str | None = None,
    with_checkpoint: bool = False,
    base_model: str | None = None,
    source: str | None = None,
    saved: Path | None = None,
    keeps_name: bool = False,
) -> Manifest:
    """
    Collect and check an upload: what goes up is decided here, and nowhere else.

    Args:
        kind (`str`):
            `"model"` or `"adapter"` (output folder of a run, a checkpoint, or any folder of a model with its
            processor), `"dataset"` (what [`write_splits`] wrote), `"scores"` (of `mmr1 score`: the table, the rows
            that it kept, the settings), `"report"` (a page of `mmr1 report` or a folder of `mmr1 eval`, without
            weights, which goes under `reports/`), or `"run"` (output folder of a training that uploads by itself,
            which has its card; no model is built to check it).
        folder (`str` or `Path`):
            It stays as it is: a card is written for the upload, and into the folder of a dataset.
        exclude (`Iterable[str]`, *optional*):
            Patterns of names to leave out.
        token (`str`, *optional*):
            The Hub token, if not the saved one: it is looked for in the files.
        repo_id (`str`, *optional*), source (`str`, *optional*):
            Where it goes to and where the rows of a dataset come from, for the card.
        with_checkpoint (`bool`, *optional*, defaults to `False`):
            Whether the newest complete checkpoint goes up as `last-checkpoint`, for others to resume from.
        base_model (`str`, *optional*):
            Hub id to name as the base model of an adapter, if it was trained on a local copy.
        saved (`Path`, *optional*):
            Of a run in progress the checkpoint to upload, with the card and the records in `folder`.
        keeps_name (`bool`, *optional*, defaults to `False`):
            Whether a checkpoint to resume from keeps its name, instead of `last-checkpoint`.

    Returns:
        [`~mmr1_trl.hub.manifest.Manifest`]

    Raises:
        [`BadInputError`]: It does not load or is not of that kind, its base model is on this machine only, or it holds
            something secret.
    """
    exclude = [WEIGHTS] if saved else exclude
    folder = require_folder(folder, exclude)
    base = _check(kind, saved or folder, base_model)
    if kind == "dataset":
        write_dataset_card(folder, repo_id, source)
    manifest = Manifest()
    manifest.add_folder(folder, f"reports/{folder.absolute().name}" if kind == "report" else "", exclude=exclude)
    if saved:
        _put_before(manifest, saved)
    if kind in ("model", "adapter", "scores"):
        _add_card(manifest, kind, folder, exclude, repo_id)
    elif kind == "report":
        _keep_report(manifest, folder)
    if with_checkpoint:
        checkpoint = saved or newest_checkpoint(folder)
        add_checkpoint(manifest, checkpoint, checkpoint.name if keeps_name else LAST_CHECKPOINT)
    if base is not None:
        _name_base(manifest, base)
    clean(manifest, folder, token)
    return manifest


def _check(kind: str, folder: Path, base_model: str | None) -> str | None:
    """Refuse a model or an adapter that would not load; of an adapter return the base model to name."""
    if kind == "adapter" or (kind == "run" and (folder / ADAPTER).is_file()):
        return check_adapter(folder, base_model)
    if kind == "model":
        check_model(folder)
    elif kind == "run":
        check_files(folder)
    return None


def _put_before(manifest: Manifest, saved: Path) -> None:
    """Take the model and the settings of a checkpoint in; what is beside it goes up where it has no such file."""
    records, manifest.entries = manifest.entries, []
    manifest.add_folder(saved, exclude=[CARD])
    names = {entry.path for entry in manifest.entries}
    manifest.entries += [entry for entry in records if entry.path not in names]


def _name_base(manifest: Manifest, base: str) -> None:
    """Let all configs of an adapter name the base model that others can load."""
    for entry in [entry for entry in manifest.entries if entry.path.endswith(ADAPTER)]:
        config = json.loads(entry.read())
        if config.get("base_model_name_or_path") != base:
            config |= {"base_model_name_or_path": base, "revision": None}
            manifest.replace(entry.path, json.dumps(config, indent=2).encode(), f"base model: {base}")


def _keep_report(manifest: Manifest, folder: Path) -> None:
    """Leave out what is no part of a page or an evaluation."""
    model = [entry for entry in manifest.entries if not entry.path.endswith(REPORT) or _is_of_model(entry.path)]
    manifest.entries = [entry for entry in manifest.entries if entry not in model]
    manifest.left_out += [(entry.path, entry.size, "not a part of a report") for entry in model]
    if not any(entry.path.endswith((".html", f"/{SUMMARY}")) for entry in manifest.entries):
        raise BadInputError(
            f"{folder} holds no page and no evaluation. Make one by `mmr1 report {folder}` or `mmr1 eval "
            "--output_dir`."
        )


def _is_of_model(path: str) -> bool:
    name = path.split("/", 2)[2]
    return name in ("config.json", "generation_config.json", ADAPTER) or name.startswith(
        ("tokenizer", "processor_config", "preprocessor_config", "special_tokens", "vocab", "model.safetensors")
    )


def _add_card(manifest: Manifest, kind: str, folder: Path, exclude: Iterable[str], repo_id: str | None) -> None:
    """Take in a card that is written for this upload, in a view of the folder: the folder itself stays as it is."""
    with tempfile.TemporaryDirectory(prefix="mmr1-card-") as place:
        view = Path(place) / folder.absolute().name
        view.mkdir()
        for file in folder.iterdir():
            if file.name == CARD:
                shutil.copyfile(file, view / file.name)
            elif file.name != ASSETS:
                (view / file.name).symlink_to(file.absolute())
        try:
            if kind == "scores":
                write_score_card(view, repo_id)
            else:
                write_model_card(view, run=folder, repo_id=repo_id)
        except BadInputError as error:  # about the view
            raise BadInputError(str(error).replace(str(view), str(folder))) from error
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
        [`BadInputError`]: There is none, or it is damaged or does not load.
    """
    complete = complete_checkpoints(folder)
    if not complete:
        raise BadInputError(f"{folder} holds no complete checkpoint (checkpoint-*). Leave out --with_checkpoint.")
    require_whole(complete[-1])
    check_files(complete[-1])
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
        raise BadInputError(f"The adapter cannot be merged into {base!r}: {first_line(error)}") from error
    model.save_pretrained(output)
    # The adapter's folder has the processor that it was trained with, but not the config that it is loaded by.
    if not has_processor:
        load_processor(resolve_model(base), **where).save_pretrained(output)


def write_splits(splits: dict[str, Dataset], folder: Path) -> None:
    """
    Write prepared rows as the files of a dataset repository: parquet with the features and the pictures inside.

    Args:
        splits (`dict[str, Dataset]`):
            Prepared rows by split.
        folder (`Path`):
            An empty folder to write to.

    Raises:
        [`BadInputError`]: A picture is missing or broken, or files of other columns would be read.
    """
    for split, rows in splits.items():
        _write_split(split, rows, folder / "data")


def _write_split(split: str, rows: Dataset, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if "images" in rows.column_names:
        rows = rows.cast_column("images", List(Image(decode=False)))
    features = Features(rows.features)
    for name, feature in rows.features.items():
        if name != "images" and require_storage_embed(feature):
            # Such files would be read by whatever path the data name.
            raise BadInputError(
                f"{split}: column {name!r} holds files ({feature}). Only the pictures in `images` are uploaded: drop "
                "the column, or make its files parts of `images`."
            )
    if "images" in features:
        features["images"] = List(Image())  # so that the Hub shows pictures
    shards = -(-len(rows) // SHARD_ROWS)
    for number in range(shards):
        first = number * SHARD_ROWS
        table = rows.with_format("arrow")[first : first + SHARD_ROWS]
        if "images" in rows.column_names:
            try:
                lists = embed(table.column("images"), first)
            except BadImageError as error:
                raise BadInputError(f"{split}: {error} Nothing was uploaded.") from error
            table = table.set_column(table.column_names.index("images"), "images", lists)
            _check_pictures(split, Dataset(table, info=DatasetInfo(features=rows.features)), first)
        shard = Dataset(table.cast(features.arrow_schema), info=DatasetInfo(features=features))
        shard.to_parquet(str(folder / f"{split}-{number:05d}-of-{shards:05d}.parquet"))


def _check_pictures(split: str, shard: Dataset, first: int) -> None:
    for number, pictures in enumerate(shard["images"]):
        for picture in pictures or ():
            try:
                open_image(picture, f"row {first + number}")
            except BadImageError as error:
                raise BadInputError(f"{split}: {error} Nothing was uploaded.") from error
