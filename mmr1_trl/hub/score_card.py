# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The card of pass rates and scores that `mmr1 score` has written."""

from pathlib import Path

import pyarrow.parquet as pq
from huggingface_hub import DatasetCardData

from mmr1_trl.data.score_table import read_metadata
from mmr1_trl.errors import BadInputError
from mmr1_trl.hub.render import existing_license, hub_id, public_name, repo_name, write_card
from mmr1_trl.run_folder import KEPT_ROWS, SCORES


COLUMNS = {
    "prompt_id": "names the prompt in the scored dataset",
    "pass_rate": "mean success of its rollouts, 0 to 1",
    "count": "rollouts that could be scored",
    "outcome_variance": "p(1 − p) of the pass rate",
    "diversity": "how much its rollouts differ, 0 to 1",
    "score": "variance promotion score: the weighted sum of the two",
    "mean_length": "mean length of its rollouts, in tokens",
    "truncated": "share of rollouts cut off at the token limit",
    "content": "hash of question, style and answer: other questions under the same id are refused",
    "completions": "the rollouts themselves",
    "rewards": "their rewards",
}
BINS = ("never right", "up to 1/4", "1/4 to 1/2", "1/2 to 3/4", "above 3/4", "always right")


def write_score_card(folder: Path, repo_id: str | None = None) -> Path:
    """
    Write `README.md` for the output of `mmr1 score`.

    Args:
        folder (`Path`):
            Holds `scores.parquet`, perhaps with `kept.parquet`.
        repo_id (`str`, *optional*):
            Where it is uploaded to.

    Returns:
        `Path`: The card. One that somebody has written by hand is left as it is.

    Raises:
        [`BadInputError`]: There are no scores, or they are not by `mmr1 score`.
    """

    folder = Path(folder)
    if not (folder / SCORES).is_file():
        raise BadInputError(f"{folder} holds no {SCORES}. `mmr1 score --output_dir {folder}` writes one.")
    metadata = read_metadata(folder / SCORES)
    table = pq.read_table(folder / SCORES)
    if not metadata or "pass_rate" not in table.column_names:
        raise BadInputError(f"{folder / SCORES} was not written by `mmr1 score`.")
    rates = table["pass_rate"].to_pylist()
    dataset, _, split = str(metadata["dataset"]).partition(" (")
    name, origin = repo_name(folder, repo_id), hub_id(dataset)
    configs = [{"config_name": "default", "data_files": [{"split": "train", "path": SCORES}]}]
    if (folder / KEPT_ROWS).is_file():
        configs.append({"config_name": "kept", "data_files": [{"split": "train", "path": KEPT_ROWS}]})
    data = DatasetCardData(
        license=existing_license(folder),
        pretty_name=name,
        tags=["trl", "mmr1-trl", "rlvr", "pass-rates"],
        source_datasets=[origin] if origin else None,
        configs=configs,
    )
    return write_card(
        folder,
        "score_card.md.jinja",
        data,
        name=name,
        repo_id=repo_id,
        model={"name": public_name(metadata["model"]), "hub_id": hub_id(metadata["model"])},
        dataset={"name": public_name(dataset), "hub_id": origin, "split": split.removesuffix(")")},
        metadata=metadata,
        columns={column: COLUMNS.get(column, "") for column in table.column_names},
        prompts=len(rates),
        mean=sum(rates) / len(rates),
        histogram=_histogram(rates),
        has_kept=(folder / KEPT_ROWS).is_file(),
    )


def _histogram(rates: list[float]) -> list[tuple[str, int, float]]:
    """Label, number and share of the prompts by pass rate."""
    counts = dict.fromkeys(BINS, 0)
    for rate in rates:
        if rate in (0, 1):
            counts[BINS[0] if rate == 0 else BINS[-1]] += 1
        else:
            counts[BINS[1 + min(3, int(-(-rate * 4 // 1)) - 1)]] += 1
    return [(label, count, count / len(rates)) for label, count in counts.items()]
