# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""MSSR: one rollout per prompt, arXiv 2512.18215, as a script to copy and change.

accelerate launch examples/train_mssr.py --config configs/figures/mssr.yaml
accelerate launch examples/train_mssr.py --model_name_or_path Qwen/Qwen2.5-VL-3B-Instruct \
    --dataset_name hiyouga/geometry3k --use_peft --output_dir runs/mssr
"""

from dataclasses import dataclass, field

from trl import ModelConfig, TrlParser, get_peft_config

from mmr1_trl import MSSRConfig, MSSRTrainer
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
    method: str = "mssr"


def main() -> None:
    data, args, model = TrlParser((DataArguments, MSSRConfig, ModelConfig)).parse_args_and_config()
    rewards = {"accuracy_reward": accuracy_reward, "format_reward": format_reward}
    with args.main_process_first(desc="building or finding model and rows"):
        path = resolve_model(model.model_name_or_path or "figures/cold_start")
        rows = load_data(
            data.dataset_name, data.dataset_train_split, num_rows=data.num_train_rows, prompt_style=data.prompt_style
        )
    trainer = MSSRTrainer(
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
