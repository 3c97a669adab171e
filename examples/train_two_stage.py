# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Two-stage entropy, arXiv 2511.07738, as a script to copy and change.

accelerate launch examples/train_two_stage.py --config configs/figures/two_stage.yaml
accelerate launch examples/train_two_stage.py --model_name_or_path Qwen/Qwen2.5-VL-3B-Instruct \
    --dataset_name hiyouga/geometry3k --use_peft --output_dir runs/two_stage
"""

from dataclasses import dataclass, field

from trl import ModelConfig, TrlParser, get_peft_config

from mmr1_trl import TwoStageEntropyConfig, TwoStageEntropyTrainer
from mmr1_trl.data import load_data
from mmr1_trl.models import load_processor, resolve_model
from mmr1_trl.rewards import accuracy_reward, format_reward


@dataclass
class DataArguments:
    """Where the rows come from, and what the shipped configs say beside it."""

    dataset_name: str = "figures"
    dataset_train_split: str = "train"
    num_train_rows: int | None = None
    prompt_style: str | None = None
    reward_funcs: list[str] = field(default_factory=lambda: ["accuracy_reward"])
    method: str = "two-stage"


def main() -> None:
    data, args, model = TrlParser((DataArguments, TwoStageEntropyConfig, ModelConfig)).parse_args_and_config()
    rewards = {"accuracy_reward": accuracy_reward, "format_reward": format_reward}
    with args.main_process_first(desc="building or finding model and rows"):
        path = resolve_model(model.model_name_or_path or "figures/cold_start")
        rows = load_data(
            data.dataset_name, data.dataset_train_split, num_rows=data.num_train_rows, prompt_style=data.prompt_style
        )
    trainer = TwoStageEntropyTrainer(
        model=path,
        reward_funcs=[rewards[name] for name in data.reward_funcs],
        args=args,
        train_dataset=rows,
        processing_class=load_processor(path, padding_side="left"),
        peft_config=get_peft_config(model),
    )
    trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
    trainer.save_model()


if __name__ == "__main__":
    main()
