# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Prepared rows as files of a dataset repository: parquet with the features inside and the pictures embedded."""

from collections.abc import Sequence
from pathlib import Path

from datasets import Dataset, DatasetInfo, Features, Image, List
from datasets.features.features import require_storage_embed

from mmr1_trl.data.pictures.columns import embed
from mmr1_trl.data.pictures.images import BadImageError, open_image
from mmr1_trl.errors import BadInputError
from mmr1_trl.hub.cards import write_dataset_card
from mmr1_trl.hub.manifest import Manifest
from mmr1_trl.hub.scan import clean


SHARD_ROWS = 2048  # some hundred megabytes with ordinary photographs


def dataset_manifest(
    splits: dict[str, Dataset],
    folder: Path,
    repo_id: str,
    source: str,
    exclude: Sequence[str] = (),
    token: str | None = None,
) -> Manifest:
    """
    Write the files of a dataset repository, and check them.

    Args:
        splits (`dict[str, Dataset]`):
            Prepared rows by split.
        folder (`Path`):
            An empty folder to write to.
        repo_id (`str`), source (`str`):
            Where it goes to and where the rows come from, for the card.
        exclude (`Sequence[str]`, *optional*):
            Patterns of names to leave out.
        token (`str`, *optional*):
            The Hub token, if not the saved one: it is looked for in the texts.

    Returns:
        [`~mmr1_trl.hub.manifest.Manifest`]

    Raises:
        [`BadInputError`]: A picture is missing or broken, or a text holds something secret.
    """
    for split, rows in splits.items():
        _write_split(split, rows, folder / "data")
    write_dataset_card(folder, repo_id, source)
    manifest = Manifest()
    manifest.add_folder(folder, exclude=exclude)
    clean(manifest, folder, token)
    return manifest


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
