# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The options that no trainer config has: where the rows come from, what is rewarded, how a model is evaluated."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from mmr1_trl.errors import BadInputError, did_you_mean


EXPORTS = ("lmms_eval", "vlmevalkit")
MAX_SEED = 2**32 - 1  # what NumPy takes
# The smallest value of each number of an evaluation.
_LEAST = {
    "num_samples": 0,
    "batch_size": 1,
    "num_rows": 1,
    "max_new_tokens": 1,
    "min_pixels": 0,
    "max_pixels": 1,
    "vllm_tensor_parallel_size": 1,
    "vllm_max_model_length": 1,
}


def option(default: Any, help: str, choices: Sequence[str] | None = None) -> Any:
    """Return a dataclass field that is an option: its default, its line in `--help`, and the words that it takes."""
    return field(default=default, metadata={"help": help} | ({"choices": list(choices)} if choices else {}))


@dataclass
class DataArguments:
    """
    Which dataset, and which part of it.

    Args:
        dataset_name (`str`, *optional*, defaults to `"figures"`):
            `"figures"` (drawn here, no download), a local file (parquet, jsonl, ...) or folder, or a dataset id on the
            Hub.
        dataset_config (`str`, *optional*):
            Configuration name of a Hub dataset.
        dataset_revision (`str`, *optional*):
            Branch, tag or commit of a Hub dataset.
        figures_families (`list[str]`, *optional*), figures_levels (`list[int]`, *optional*):
            Which kinds of questions `figures` draws.
        figures_seed (`int`, *optional*, defaults to `0`):
            Which pictures are drawn.
        image_root (`str`, *optional*):
            Folder that relative image paths start from and stay below; by default the folder of a local file.
    """

    dataset_name: str = option("figures", "figures (drawn here), a local file or folder, or a Hub id.")
    dataset_config: str | None = option(None, "Configuration name of a Hub dataset.")
    dataset_revision: str | None = option(None, "Branch, tag or commit of a Hub dataset.")
    figures_families: list[str] | None = option(
        None, "Kinds of questions that figures draws, such as add, gap, count, point."
    )
    figures_levels: list[int] | None = option(None, "Difficulty levels that figures draws, 1 to 4; all by default.")
    figures_seed: int = option(0, "Which pictures are drawn.")
    image_root: str | None = option(None, "Folder that relative image paths start from.")


@dataclass
class SourceArguments(DataArguments):
    """
    Where the rows of a training come from, further to [`DataArguments`].

    Args:
        dataset_train_split (`str`, *optional*, defaults to `"train"`):
            Split to train on.
        dataset_test_split (`str`, *optional*, defaults to `"test"`):
            Split to evaluate on when `eval_strategy` is not `"no"`.
        num_train_rows (`int`, *optional*):
            Use only the first so many rows; for `figures`, how many are drawn.
        num_eval_rows (`int`, *optional*):
            The same for the evaluation rows.
    """

    dataset_train_split: str = option("train", "Split to train on.")
    dataset_test_split: str = option("test", "Split to evaluate on when eval_strategy is not 'no'.")
    num_train_rows: int | None = option(None, "Use only the first so many rows; for figures, how many are drawn.")
    num_eval_rows: int | None = option(None, "The same for the evaluation rows.")


@dataclass
class SFTArguments(SourceArguments):
    """
    What `mmr1 sft` trains on. A dataset other than `figures` comes in one of TRL's shapes (`messages`, or `prompt` and
    `completion`, with `images`), or as conversations, whose last turn is what to imitate.

    Args:
        prompt_column (`str`, *optional*):
            Column of the conversations; by default `conversations`, where the rows have none of TRL's shapes.
        image_column (`str`, *optional*):
            Column of the pictures; the usual names are recognized. `none` for text alone.
        figures_traces (`str`, *optional*, defaults to `"mixed"`):
            How the written-out answers of `figures` are drawn: `"mixed"` (ways of unequal worth, the last stage of the
            cold start), `"clean"` (every one right and worked out step by step) or `"cold_start"` (all three stages of
            the cold start from random weights, with steps and learning rates of their own).
    """

    prompt_column: str | None = option(None, "Column of conversations that end with a reply, if not called so.")
    image_column: str | None = option(None, "Column of the pictures, if not recognized; none for text alone.")
    figures_traces: str = option(
        "mixed",
        "Answers of figures: several ways, all step by step, or the stages of the cold start.",
        choices=("mixed", "clean", "cold_start"),
    )


@dataclass
class QuestionArguments(DataArguments):
    """
    How rows become questions with answers that can be checked, in training and in evaluation.

    Args:
        datasets (`list`, *optional*):
            Several datasets in place of `dataset_name`: names, or in YAML mappings with `name` and what differs from
            the options for all of them (see [`~mmr1_trl.data.mixture.read_entries`]).
        prompt_column (`str`, *optional*), image_column (`str`, *optional*), answer_column (`str`, *optional*),
        options_column (`str`, *optional*):
            Names of the columns; the usual ones (`problem`, `question`, `image`, `images`, `answer`, `solution`, ...)
            are recognized. `--image_column none` goes by the text alone.
        prompt_style (`str`, *optional*):
            How the question is put and which form an answer must have: `"figures"`, `"mssr"`, `"mmr1"`, `"ui_r1"`,
            `"visual_rft"`, `"boxed"`, `"mmr1_eval"` or `"plain"`. Defaults to `"plain"`; the questions of `figures`
            say it themselves.
        answer_index (`str`, *optional*, defaults to `"auto"`):
            Whether answers beside choices are the number of the right one: `"zero_based"`, `"one_based"`, `"off"`, or
            `"auto"`, which goes by an answer 0 or one equal to the number of choices and refuses what neither decides.
        answer_lists (`str`, *optional*, defaults to `"auto"`):
            Whether lists in the answer column are several right answers (`"alternatives"`, DocVQA and VQAv2) or the
            `"parts"` of one; `"auto"`: alternatives in a column whose name ends with `answers`.
        box_format (`str`, *optional*, defaults to `"xyxy"`):
            How gold boxes are written: `"xyxy"` or `"xywh"`.
        gold_coordinates (`str`, *optional*, defaults to `"auto"`):
            In which frame gold boxes are written: `"pixels"` of the stored picture, `"thousandths"` or `"fractions"`
            of width and height; `"auto"`: fractions where no number exceeds 1, else pixels.
    """

    datasets: list[str] | None = option(
        None, "Several datasets together: names, or in YAML mappings with name, split, weight, columns, ..."
    )
    prompt_column: str | None = option(None, "Column of the question, if not recognized.")
    image_column: str | None = option(None, "Column of the pictures, if not recognized; none for text alone.")
    answer_column: str | None = option(None, "Column of the answer, if not recognized.")
    options_column: str | None = option(None, "Column of the choices of each question.")
    prompt_style: str | None = option(
        None, "figures, mssr, mmr1, ui_r1, visual_rft, boxed, mmr1_eval, plain: wording, answer form."
    )
    answer_index: str = option(
        "auto",
        "Whether answers beside choices are the number of the right one; auto where a 0 or the number of choices "
        "decides it.",
        choices=("auto", "zero_based", "one_based", "off"),
    )
    answer_lists: str = option(
        "auto",
        "Whether lists of answers are alternatives or parts of one; auto: alternatives in `..answers`.",
        choices=("auto", "alternatives", "parts"),
    )
    box_format: str = option("xyxy", "How gold boxes are written.", choices=("xyxy", "xywh"))
    gold_coordinates: str = option(
        "auto",
        "Frame of the gold boxes; auto: fractions where no number exceeds 1, else pixels.",
        choices=("auto", "pixels", "thousandths", "fractions"),
    )

    def __post_init__(self) -> None:
        if self.datasets is None:
            return
        if self.dataset_name != "figures":
            raise BadInputError(
                f"dataset_name ({self.dataset_name}) and datasets are both given. Write the former as an entry of "
                "the latter."
            )
        names = [entry.get("name") if isinstance(entry, dict) else entry for entry in self.datasets]
        self.dataset_name = " + ".join(map(str, names))


@dataclass
class RLArguments(QuestionArguments, SourceArguments):
    """
    What is trained on and what is rewarded, further to [`SourceArguments`] and [`QuestionArguments`].

    Args:
        question (`str`, *optional*):
            One question for every row, for sets without a question column.
        answer_type (`str`, *optional*):
            Type of every answer, such as `"number"` or `"point"`; by default the answer itself says it.
        tolerance (`float`, *optional*):
            Relative tolerance on numeric answers, such as 0.05 for ChartQA's relaxed rule; exact by default.
        max_prompt_tokens (`int`, *optional*):
            Leave out training rows whose prompts, pictures included, are longer. They are listed; nothing is cut.
        reward_funcs (`list[str]`, *optional*, defaults to `["accuracy_reward"]`):
            Rewards by name (ours or TRL's) or by dotted path (`my_module.my_reward`). Their weights are TRL's
            `reward_weights`.
    """

    question: str | None = option(None, "One question for every row, if no column has any.")
    answer_type: str | None = option(None, "Type of every answer, if the answer does not say.")
    tolerance: float | None = option(None, "Relative tolerance on numeric answers (ChartQA: 0.05).")
    max_prompt_tokens: int | None = option(
        None, "Leave out training rows whose prompts, pictures included, are longer."
    )
    reward_funcs: list[str] = field(
        default_factory=lambda: ["accuracy_reward"],
        metadata={"help": "Rewards by name (ours or TRL's) or by dotted path. Their weights: --reward_weights."},
    )


@dataclass
class EvalArguments(QuestionArguments):
    """
    Options of `mmr1 eval`, further to [`QuestionArguments`].

    Args:
        model (`str`):
            Hub id, folder, or a built-in model such as `"figures/cold_start"`.
        model_revision (`str`, *optional*, defaults to `"main"`):
            Branch, tag (such as `step-40`) or commit of a model on the Hub.
        benchmarks (`list[str]`, *optional*):
            Names of benchmarks, instead of a dataset. Each is written to a folder of its name in `output_dir`.
        benchmarks_folder (`str`, *optional*):
            Folder with copies of the benchmarks on this machine: `<name>.parquet` or a folder `<name>` each.
        dataset_split (`str`, *optional*, defaults to `"test"`):
            Split of the dataset.
        num_rows (`int`, *optional*):
            Use only the first so many rows; for `figures`, how many are drawn (600 by default).
        num_samples (`int`, *optional*, defaults to `0`):
            Completions to sample per prompt, beside the greedy one.
        temperature (`float`, *optional*, defaults to `1.0`):
            Temperature of the samples.
        max_new_tokens (`int`, *optional*):
            Longest completion in tokens; 32 for `figures` and 2048 for any other dataset by default.
        batch_size (`int`, *optional*, defaults to `64`):
            Most completions generated at once.
        seed (`int`, *optional*, defaults to `0`):
            Seed of the samples.
        by (`list[str]`, *optional*):
            Columns to break the accuracy down by.
        coordinates (`str`, *optional*, defaults to `"auto"`):
            In which frame the model writes points and boxes, as in training.
        min_pixels, max_pixels (`int`, *optional*):
            Limits of a picture's size, as in training.
        dtype (`str`, *optional*):
            `"float32"`, `"bfloat16"` or `"float16"`; by default bfloat16 on an accelerator and float32 on a CPU.
        trust_remote_code (`bool`, *optional*, defaults to `False`):
            Whether to run code that a model's repository brings along.
        use_cpu (`bool`, *optional*, defaults to `False`):
            Whether to stay on the CPU where there is an accelerator.
        use_vllm (`bool`, *optional*, defaults to `False`):
            Whether to generate by vLLM, in this process.
        vllm_gpu_memory_utilization (`float`, *optional*, defaults to `0.9`), vllm_tensor_parallel_size (`int`,
        *optional*, defaults to `1`), vllm_max_model_length (`int`, *optional*):
            vLLM's share of the device's memory, the devices that it spreads over, and its longest context.
        export (`list[str]`, *optional*):
            `"lmms_eval"`, `"vlmevalkit"`: formats to write the greedy predictions in as well.
        output_dir (`str`, *optional*):
            Where to write `summary.json`, `predictions.parquet`, some pictures and `report.html`. An interrupted
            evaluation goes on from there when it is called again.
    """

    model: str = option("", "Hub id, folder, or built-in model (figures/cold_start).")
    model_revision: str = option("main", "Branch, tag or commit of a model on the Hub.")
    benchmarks: list[str] | None = option(
        None,
        "Instead of a dataset: mathvista mathverse mathvision logicvista chartqa mmk12 r1_onevision hallusionbench "
        "screenspot pets37 figures, one or several.",
    )
    benchmarks_folder: str | None = option(
        None, "Read the benchmarks from here (NAME.parquet or a folder NAME), not the Hub."
    )
    dataset_split: str = option("test", "Split to evaluate on.")
    num_rows: int | None = option(None, "Only the first so many rows; 600 for figures.")
    num_samples: int = option(0, "Completions to sample per prompt, beside the greedy one.")
    temperature: float = option(1.0, "Temperature of the samples.")
    max_new_tokens: int | None = option(None, "Longest completion; 32 for figures and 2048 otherwise by default.")
    batch_size: int = option(64, "Most completions generated at once.")
    seed: int = option(0, "Seed of the samples.")
    by: list[str] | None = option(None, "Columns to break the accuracy down by.")
    coordinates: str = option(
        "auto",
        "Frame of the model's points and boxes; auto: its family's.",
        choices=("auto", "pixels", "resized", "thousandths", "fractions", "percent"),
    )
    min_pixels: int | None = option(None, "Enlarge smaller pictures to so many pixels.")
    max_pixels: int | None = option(None, "Shrink larger pictures to so many pixels.")
    dtype: str | None = option(None, "float32, bfloat16 or float16; chosen by device.")
    trust_remote_code: bool = option(False, "Run code of the model's repository.")
    use_cpu: bool = option(False, "Stay on the CPU where there is an accelerator.")
    use_vllm: bool = option(False, "Generate by vLLM: pip install 'mmr1-trl[vllm]'.")
    vllm_gpu_memory_utilization: float = option(0.9, "Share of the device's memory that vLLM takes.")
    vllm_tensor_parallel_size: int = option(1, "Devices that vLLM spreads the model over.")
    vllm_max_model_length: int | None = option(None, "Longest context of vLLM, in tokens.")
    export: list[str] | None = option(
        None, "Formats for re-scoring by a judge elsewhere: lmms_eval, vlmevalkit. Needs --output_dir."
    )
    output_dir: str | None = option(None, "Where to write the summary, the predictions and a report.")

    def __post_init__(self) -> None:
        if not self.model:
            raise BadInputError("--model is missing: a Hub id, a folder, or figures/cold_start (small, made here).")
        super().__post_init__()
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise BadInputError(f"--{name} must be at least {least}, got {value}.")
        if not (0 <= self.seed <= MAX_SEED and self.figures_seed >= 0):
            raise BadInputError(f"--seed and --figures_seed must be at least 0, and --seed at most {MAX_SEED}.")
        if self.min_pixels and self.max_pixels and self.min_pixels > self.max_pixels:
            raise BadInputError(f"--min_pixels {self.min_pixels} is larger than --max_pixels {self.max_pixels}.")
        share = self.vllm_gpu_memory_utilization
        if not 0 < share <= 1:
            raise BadInputError(f"--vllm_gpu_memory_utilization must be above 0 and at most 1, got {share}.")
        if not 0 < self.temperature < float("inf"):
            raise BadInputError(
                f"--temperature must be above 0 and finite, got {self.temperature}; greedy decoding is always run."
            )
        if self.dtype not in (None, "float32", "bfloat16", "float16"):
            raise BadInputError(f"--dtype must be float32, bfloat16 or float16, got {self.dtype!r}.")
        for name in self.export or []:
            if name not in EXPORTS:
                near = did_you_mean(name, EXPORTS)
                raise BadInputError(f"--export knows {' and '.join(EXPORTS)}, not {name!r}.{near}")
        if self.export and self.output_dir is None:
            raise BadInputError("--export writes into --output_dir, which is missing.")
        names = self.benchmarks or []
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise BadInputError(f"--benchmarks names {twice[0]!r} twice.")
        if self.benchmarks_folder is not None and not self.benchmarks:
            raise BadInputError("--benchmarks_folder is read for --benchmarks, which is missing.")
