# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Wrong labels for a whole prepared dataset, by the protocol of the two-stage entropy paper (arXiv 2511.07738)."""

from itertools import repeat

from datasets import Dataset, List, Value

from mmr1_trl.data.columns import ACCEPTED, ANSWER_NAMES, values_of
from mmr1_trl.data.pictures.images import image_size, stored_images
from mmr1_trl.errors import BadInputError
from mmr1_trl.methods.label_noise import PLACES, answer_pool, choose_rows, corrupt_answer, row_rng
from mmr1_trl.rewards.choices import LETTERS
from mmr1_trl.rewards.types import is_equal, make_question


def apply_label_noise(dataset: Dataset, fraction: float, seed: int, kind: str = "random") -> Dataset:
    """
    Replace the answers of a share of the rows by wrong answers of the same type, once and for good.

    Which rows are hit and what they get depends on their `prompt_id` and the seed, not on the order of the rows.

    Args:
        dataset ([`~datasets.Dataset`]):
            Training rows with `prompt_id`, `solution` and `answer_type`.
        fraction (`float`):
            Share of rows to corrupt, in [0, 1].
        seed (`int`):
            Seed of the noise.
        kind (`str`, *optional*, defaults to `"random"`):
            `"random"`: a box elsewhere in the picture for grounding, another for every object of a detection (ours),
            another answer of the same type otherwise.
            `"near_miss"` (ours): whole numbers move by one or two.

    Returns:
        [`~datasets.Dataset`]: The rows with `solution` corrupted, the true answer in `clean_solution`, and `is_noisy`.
        A wrong answer is none of the `accepted_answers`, which a corrupted row loses (`clean_accepted_answers`).
        Columns that hold the true answer under another name are gone: no reward shall read it by mistake.

    Raises:
        [`BadInputError`]: A column is missing, prompt ids repeat, or a row has no wrong answer to take.
    """
    missing = [name for name in ("prompt_id", "solution", "answer_type") if name not in dataset.column_names]
    if missing:
        raise BadInputError(
            f"Label noise needs the columns {missing}; the dataset has {dataset.column_names}. "
            "mmr1_trl.data.prepare_dataset makes them."
        )
    if "clean_solution" in dataset.column_names:
        raise BadInputError("The labels are noisy already: the dataset has a column 'clean_solution'.")
    ids, clean, types = (dataset[name][:] for name in ("prompt_id", "solution", "answer_type"))
    if len(set(ids)) < len(ids):
        raise BadInputError("Label noise needs a prompt_id of its own for every row; some repeat.")
    chosen = choose_rows(ids, fraction, seed)
    options, accepted = values_of(dataset, "options"), values_of(dataset, ACCEPTED)
    pools = {kind_: answer_pool(a for a, t in zip(clean, types) if t == kind_) for kind_ in set(types)}

    noisy = list(clean)
    any_box = set(PLACES) & set(types)
    for row, images in enumerate(stored_images(dataset) if any_box else repeat([], len(dataset))):
        if not chosen[row]:
            continue
        is_box = types[row] in PLACES
        size = image_size(images[0], f"row {row}, image 0") if is_box and images else None
        pool = ["no", "yes"] if types[row] == "yes_no" else pools[types[row]]
        if types[row] == "multiple_choice" and (choices := options[row]):
            # A wrong choice must be one of the question's own, or it gives itself away.
            pool = choices if clean[row] in choices else list(LETTERS[: len(choices)])
        question = make_question(clean[row], types[row], options[row], accepted=accepted[row])
        rng = row_rng(seed, ids[row])
        try:
            noisy[row] = corrupt_answer(clean[row], types[row], rng, pool, size, kind)
            while not is_box and is_equal(question, noisy[row], _not_by_algebra):  # "B" is no error for "(B)"
                pool = [answer for answer in pool if answer != noisy[row]]
                noisy[row] = corrupt_answer(clean[row], types[row], rng, pool, size, kind)
        except BadInputError as error:
            raise BadInputError(f"Label noise, row {row} (prompt_id {ids[row]!r}): {error}") from error
    repeated = [
        name
        for name, feature in dataset.features.items()
        if name in ANSWER_NAMES or (isinstance(feature, Value) and [str(value) for value in dataset[name][:]] == clean)
    ]
    if ACCEPTED in dataset.column_names:  # of a wrong answer there is but the one
        wrong = [None if flag else answers for flag, answers in zip(chosen, accepted)]
        dataset = dataset.rename_column(ACCEPTED, f"clean_{ACCEPTED}")
        dataset = dataset.add_column(ACCEPTED, wrong, feature=List(Value("string")))
    return (
        dataset.remove_columns(repeated)  # `solution` is one of them
        .add_column("solution", noisy, feature=Value("string"))
        .add_column("clean_solution", clean, feature=Value("string"))
        .add_column("is_noisy", [bool(flag) for flag in chosen], feature=Value("bool"))
    )


def _not_by_algebra(gold: str, answer: str, tolerance: float | None, precision: int | None) -> bool:
    # Other notations of a number are told apart without it; what is left would take a worker process per row.
    return False
