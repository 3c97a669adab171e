# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What a run will cost and whether its parts fit together, found out before it starts."""

import importlib.util
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedModel
from transformers.training_args import OptimizerNames

from mmr1_trl.errors import BadInputError
from mmr1_trl.evaluation.generation import generate, load_batch, plan_batches, undisturbed
from mmr1_trl.models.processing import ProcessingClass, auto_class, generation_prompt, tokenizer_of
from mmr1_trl.rewards.calling import call_reward
from mmr1_trl.rewards.extraction import whole_reply
from mmr1_trl.rewards.scoring import row_question, score_answers


# module -> (extra of this package or None, where a run asks for it)
# Those of `report_to` whose package has their name.
DASHBOARDS = (
    "clearml", "codecarbon", "comet_ml", "dvclive", "mlflow", "neptune", "swanlab", "tensorboard", "trackio", "wandb",
)  # fmt: skip
_EXTRAS = {
    "vllm": "vllm",
    "peft": "peft",
    "bitsandbytes": "quantization",
    "deepspeed": "deepspeed",
    "trackio": "trackio",
}


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


def estimate_memory(
    model_config: Any,
    config: Any,
    model_args: Any,
    prompt_tokens: int,
    num_processes: int = 1,
    frozen: Callable[[str], bool] = lambda name: False,
) -> dict[str, float]:
    """
    Estimate the memory of one process in GiB, without sharding and without the vision tower's activations.

    Args:
        model_config ([`~transformers.PretrainedConfig`]):
            Configuration of the model; its weights are not loaded.
        config ([`~mmr1_trl.trainers.config.RLVRConfig`]):
            The run's options. Several processes count as one with a larger `per_device_train_batch_size`.
        model_args ([`~trl.ModelConfig`]):
            The model's options.
        prompt_tokens (`int`):
            Tokens of the longest prompt.
        num_processes (`int`, *optional*, defaults to `1`):
            Processes that `config.per_device_train_batch_size` stands for.
        frozen (`Callable`, *optional*):
            Which parameters, by name, are not trained.

    Returns:
        `dict[str, float]`: `parameters` and `trainable` (numbers), and in GiB `weights`, `gradients`, `optimizer`,
        `reference`, `rollout_cache`, `activations` and `total`, which leaves out whichever is smaller of rollout cache
        and activations, since the two are not there at the same time.
    """
    with torch.device("meta"):
        model = auto_class(model_config).from_config(model_config)
    text = model_config.get_text_config()
    dtype = {"auto": model_config.dtype, None: torch.float32}.get(model_args.dtype, model_args.dtype)
    size = (getattr(torch, dtype) if isinstance(dtype, str) else dtype or torch.float32).itemsize
    parameters = sum(parameter.numel() for parameter in model.parameters())
    trainable = sum(p.numel() for name, p in model.named_parameters() if not frozen(name))
    if model_args.use_peft:
        trainable = _lora_parameters(model, model_args, frozen)
    weight_size = 0.5 if model_args.load_in_4bit else 1 if model_args.load_in_8bit else size
    half = 2 if config.bf16 or config.fp16 else size  # of what the forward pass makes

    tokens = prompt_tokens + config.max_completion_length
    per_process = config.per_device_train_batch_size / num_processes
    heads = text.num_key_value_heads or text.num_attention_heads
    head_dim = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    cache = per_process * config.steps_per_generation * tokens * text.num_hidden_layers * 2 * heads * head_dim * half
    # With checkpointing one hidden state per layer stays; without, about sixteen and the MLP's three of each layer.
    layer = 16 * text.hidden_size + 3 * text.intermediate_size
    kept = text.hidden_size * text.num_hidden_layers + layer
    per_token = kept if config.gradient_checkpointing else layer * text.num_hidden_layers
    parts = {
        "weights": parameters * weight_size,
        "gradients": trainable * size,
        "optimizer": 2 * trainable * (1 if "8bit" in OptimizerNames(config.optim).value else size),
        # With adapters the reference is the model without them.
        "reference": parameters * weight_size if config.beta > 0 and not model_args.use_peft else 0,
        "rollout_cache": 0 if config.use_vllm else cache,
        "activations": per_process * tokens * per_token * half,
    }
    total = sum(parts.values()) - min(parts["rollout_cache"], parts["activations"])
    gib = {name: round(value / 2**30, 3) for name, value in (parts | {"total": total}).items()}
    return {"parameters": parameters, "trainable": trainable, **gib}


def _lora_parameters(model: torch.nn.Module, model_args: Any, frozen: Callable[[str], bool]) -> int:
    targets = model_args.lora_target_modules or ["q_proj", "v_proj"]
    targets = [targets] if isinstance(targets, str) else targets
    return sum(
        model_args.lora_r * (module.in_features + module.out_features)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
        and not name.endswith("lm_head")
        and not frozen(name)
        and ("all-linear" in targets or name.rsplit(".", 1)[-1] in targets)
    )


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
    if _installed("tensorboardX"):  # which transformers takes as well
        needed.pop("tensorboard", None)
    missing = [name for name, reason in needed.items() if reason and not _installed(name)]
    return [
        f"{needed[name]} needs {name}: pip install {repr(f'mmr1-trl[{_EXTRAS[name]}]') if name in _EXTRAS else name}"
        for name in missing
    ]


def _installed(package: str) -> bool:
    # A folder of that name, such as the one that wandb writes into, has a spec but no file.
    spec = importlib.util.find_spec(package)
    return spec is not None and spec.origin is not None


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
