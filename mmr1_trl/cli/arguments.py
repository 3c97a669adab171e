# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The options of the training commands that no trainer config has: where the rows come from, what is rewarded."""

from dataclasses import dataclass, field


@dataclass
class SourceArguments:
    """
    Where the rows come from.

    Args:
        dataset_name (`str`, *optional*, defaults to `"figures"`):
            `"figures"` (drawn here, no download), a local file (parquet, jsonl, ...) or folder, or a dataset id on the
            Hub.
        dataset_config (`str`, *optional*):
            Configuration name of a Hub dataset.
        dataset_train_split (`str`, *optional*, defaults to `"train"`):
            Split to train on.
        dataset_test_split (`str`, *optional*, defaults to `"test"`):
            Split to evaluate on when `eval_strategy` is not `"no"`.
        num_train_rows (`int`, *optional*):
            Use only the first so many rows; for `figures`, how many are drawn.
        num_eval_rows (`int`, *optional*):
            The same for the evaluation rows.
        figures_families (`list[str]`, *optional*), figures_levels (`list[int]`, *optional*):
            Which kinds of questions `figures` draws.
        figures_seed (`int`, *optional*, defaults to `0`):
            Which pictures are drawn.
    """

    dataset_name: str = field(
        default="figures", metadata={"help": "figures (drawn here), a local file or folder, or a Hub id."}
    )
    dataset_config: str | None = field(default=None, metadata={"help": "Configuration name of a Hub dataset."})
    dataset_train_split: str = field(default="train", metadata={"help": "Split to train on."})
    dataset_test_split: str = field(
        default="test", metadata={"help": "Split to evaluate on when eval_strategy is not 'no'."}
    )
    num_train_rows: int | None = field(
        default=None, metadata={"help": "Use only the first so many rows; for figures, how many are drawn."}
    )
    num_eval_rows: int | None = field(default=None, metadata={"help": "The same for the evaluation rows."})
    figures_families: list[str] | None = field(
        default=None, metadata={"help": "Kinds of questions that figures draws, such as add, gap, count, point."}
    )
    figures_levels: list[int] | None = field(
        default=None, metadata={"help": "Difficulty levels that figures draws, 1 to 4; all by default."}
    )
    figures_seed: int = field(default=0, metadata={"help": "Which pictures are drawn."})


@dataclass
class SFTArguments(SourceArguments):
    """
    What `mmr1 sft` trains on. A dataset other than `figures` comes in one of TRL's shapes (`messages`, or `prompt` and
    `completion`, with `images`).

    Args:
        figures_traces (`str`, *optional*, defaults to `"mixed"`):
            How the written-out answers of `figures` are drawn: `"mixed"` (ways of unequal worth, the last stage of the
            cold start), `"clean"` (every one right and worked out step by step) or `"cold_start"` (all three stages of
            the cold start from random weights, with steps and learning rates of their own).
    """

    figures_traces: str = field(
        default="mixed",
        metadata={
            "help": "Answers of figures: several ways, all step by step, or the stages of the cold start.",
            "choices": ["mixed", "clean", "cold_start"],
        },
    )


@dataclass
class RLArguments(SourceArguments):
    """
    How rows become questions, and what is rewarded.

    Args:
        prompt_column (`str`, *optional*), image_column (`str`, *optional*), answer_column (`str`, *optional*),
        options_column (`str`, *optional*):
            Names of the columns; the usual ones (`problem`, `question`, `image`, `images`, `answer`, `solution`, ...)
            are recognized. `--image_column none` trains on text alone.
        question (`str`, *optional*):
            One question for every row, for sets without a question column.
        answer_type (`str`, *optional*):
            Type of every answer, such as `"number"` or `"point"`; by default the answer itself says it.
        box_format (`str`, *optional*, defaults to `"xyxy"`):
            How gold boxes are written: `"xyxy"` or `"xywh"`.
        tolerance (`float`, *optional*):
            Relative tolerance on numeric answers, such as 0.05 for ChartQA's relaxed rule; exact by default.
        max_prompt_tokens (`int`, *optional*):
            Leave out training rows whose prompts, pictures included, are longer. They are listed; nothing is cut.
        image_root (`str`, *optional*):
            Folder that relative image paths start from; by default the folder of a local file.
        prompt_style (`str`, *optional*):
            How the question is put and which form an answer must have: `"figures"`, `"mssr"`, `"mmr1"`, `"ui_r1"`,
            `"visual_rft"` or `"plain"`. Defaults to `"plain"`; the questions of `figures` say it themselves.
        reward_funcs (`list[str]`, *optional*, defaults to `["accuracy_reward"]`):
            Rewards by name (ours or TRL's) or by dotted path (`my_module.my_reward`). Their weights are TRL's
            `reward_weights`.
    """

    prompt_column: str | None = field(default=None, metadata={"help": "Column of the question, if not recognized."})
    image_column: str | None = field(
        default=None, metadata={"help": "Column of the pictures, if not recognized; none for text alone."}
    )
    answer_column: str | None = field(default=None, metadata={"help": "Column of the answer, if not recognized."})
    options_column: str | None = field(default=None, metadata={"help": "Column of the choices of each question."})
    question: str | None = field(default=None, metadata={"help": "One question for every row, if no column has any."})
    answer_type: str | None = field(
        default=None, metadata={"help": "Type of every answer, if the answer does not say."}
    )
    box_format: str = field(
        default="xyxy", metadata={"help": "How gold boxes are written.", "choices": ["xyxy", "xywh"]}
    )
    tolerance: float | None = field(
        default=None, metadata={"help": "Relative tolerance on numeric answers (ChartQA: 0.05)."}
    )
    max_prompt_tokens: int | None = field(
        default=None, metadata={"help": "Leave out training rows whose prompts, pictures included, are longer."}
    )
    image_root: str | None = field(default=None, metadata={"help": "Folder that relative image paths start from."})
    prompt_style: str | None = field(
        default=None, metadata={"help": "figures, mssr, mmr1, ui_r1, visual_rft or plain: wording and answer form."}
    )
    reward_funcs: list[str] = field(
        default_factory=lambda: ["accuracy_reward"],
        metadata={"help": "Rewards by name (ours or TRL's) or by dotted path. Their weights: --reward_weights."},
    )
