# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Which packages a run lacks and whether its model and rewards fit together, found out before it starts."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedModel
from transformers.training_args import OptimizerNames

from mmr1_trl.engines.packages import EXTRAS, installed
from mmr1_trl.errors import BadInputError
from mmr1_trl.evaluation.generation import generate, load_batch, plan_batches, undisturbed
from mmr1_trl.models.processing import ProcessingClass, generation_prompt, tokenizer_of
from mmr1_trl.rewards.calling import call_reward
from mmr1_trl.rewards.extraction import whole_reply
from mmr1_trl.rewards.scoring import row_question, score_answers


# Those of `report_to` whose package has their name.
DASHBOARDS = (
    "clearml", "codecarbon", "comet_ml", "dvclive", "mlflow", "neptune", "swanlab", "tensorboard", "trackio", "wandb",
)  # fmt: skip


@dataclass
class Sample:
    """One completion of the model to be trained: what was extracted from it and what every reward made of it."""

    row: int
    question: str
    solution: str
    answer_type: str
    completion: str
    tokens: int
    truncated: bool
    extracted: str | None
    reason: str
    rewards: dict[str, float | None]


def missing_extras(config: Any, model_args: Any, launch_args: Sequence[str], *, use_vllm: bool = False) -> list[str]:
    """
    Name the packages that a run asks for and that are not installed.

    Args:
        config ([`~transformers.TrainingArguments`]), model_args ([`~trl.ModelConfig`]):
            The run's options.
        launch_args (`Sequence[str]`):
            Flags of `accelerate launch`.
        use_vllm (`bool`, *optional*, defaults to `False`):
            Whether completions come from vLLM.

    Returns:
        `list[str]`: One sentence per missing package, with the command that installs it.
    """
    optimizer = OptimizerNames(config.optim).value
    bits = "4 or 8 bits" if model_args.load_in_4bit or model_args.load_in_8bit else None
    if re.search("8bit|bnb|paged|lion|ademamix", optimizer) and "torch" not in optimizer:
        bits = f"optim={optimizer}"
    zero = config.deepspeed or any("zero" in word or "deepspeed" in word for word in launch_args)
    needed = {
        "vllm": "use_vllm" if use_vllm else None,
        "peft": "use_peft" if model_args.use_peft else None,
        "bitsandbytes": bits,
        "deepspeed": "DeepSpeed" if zero else None,
        "flash_attn": "attn_implementation" if model_args.attn_implementation == "flash_attention_2" else None,
        **{name: "report_to" for name in config.report_to if name in DASHBOARDS},
    }
    if installed("tensorboardX"):  # which transformers takes as well
        needed.pop("tensorboard", None)
    missing = [name for name, reason in needed.items() if reason and not installed(name)]
    return [
        f"{needed[name]} needs {name}: pip install {repr(f'mmr1-trl[{EXTRAS[name]}]') if name in EXTRAS else name}"
        for name in missing
    ]


def draw_samples(
    model: PreTrainedModel,
    processor: ProcessingClass,
    dataset: Dataset,
    rows: Sequence[int],
    reward_funcs: Sequence[Callable[..., Any]],
    *,
    max_new_tokens: int,
    temperature: float = 1.0,
    min_pixels: int | None = None,
    max_pixels: int | None = None,
    seed: int = 0,
) -> tuple[list[Sample], list[str]]:
    """
    Let the model answer a few rows as in training, and score the answers by every reward.

    Args:
        model ([`~transformers.PreTrainedModel`]), processor ([`~transformers.ProcessorMixin`]):
            The model to be trained.
        dataset ([`~datasets.Dataset`]):
            Training rows.
        rows (`Sequence[int]`):
            Which of them; with readable images.
        reward_funcs (`Sequence[Callable]`):
            Rewards in TRL's signature.
        max_new_tokens (`int`):
            Longest completion, in tokens.
        temperature (`float`, *optional*, defaults to `1.0`):
            Sampling temperature.
        min_pixels (`int`, *optional*), max_pixels (`int`, *optional*):
            Limits that the trainer applies before the processor.
        seed (`int`, *optional*, defaults to `0`):
            Seed of the samples.

    Returns:
        `tuple[list[Sample], list[str]]`: The samples, and what went wrong with the rewards.
    """
    chosen = dataset.select(rows)
    completions = {}
    with undisturbed(model):
        torch.manual_seed(seed)
        for batch in plan_batches(chosen, batch_size=len(chosen))[0]:
            load_batch(chosen, batch, min_pixels, max_pixels)
            generated = generate(
                model,
                processor,
                batch.conversations,
                max_new_tokens=max_new_tokens,
                num_samples=1,
                temperature=temperature,
            )
            completions.update({row: replies[0] for row, replies in zip(batch.rows, generated)})
    examples = [chosen[row] for row in sorted(completions)]
    replies = [completions[row] for row in sorted(completions)]
    opening = generation_prompt(processor)
    examples = [example | {"generation_prompt": opening} for example in examples]
    rewards, problems = _call_rewards(reward_funcs, examples, [reply.text for reply in replies], processor)
    samples = []
    for number, (example, reply) in enumerate(zip(examples, replies)):
        score = score_answers([whole_reply(reply.text, opening)], [row_question(example)])[0]
        samples.append(
            Sample(
                row=rows[sorted(completions)[number]],
                question=example["prompt"][-1]["content"],
                solution=example["solution"],
                answer_type=example.get("answer_type") or "",
                completion=reply.text,
                tokens=reply.length,
                truncated=reply.truncated,
                extracted=score.extracted,
                reason=score.reason,
                rewards={name: values[number] for name, values in rewards.items()},
            )
        )
    return samples, problems


def _call_rewards(
    reward_funcs: Sequence[Callable[..., Any]],
    examples: list[dict[str, Any]],
    texts: list[str],
    processor: Any,
) -> tuple[dict[str, list[float | None]], list[str]]:
    """Call the rewards as TRL does, and collect what is wrong with them."""
    rewards: dict[str, list[float | None]] = {}
    problems = []
    for function in reward_funcs:
        name = getattr(function, "__name__", type(function).__name__)
        try:
            rewards[name] = call_reward(function, examples, texts, tokenizer_of(processor)(texts)["input_ids"])
        except BadInputError as error:
            problems.append(f"reward {name} fails: {error}")
    return rewards, problems
