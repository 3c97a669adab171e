# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The methods by name: of each its classes, what the command line says of it, and what its card cites."""

import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Method:
    """
    One method, which is a command, a config class with its defaults, and a trainer class.

    Args:
        config (`str`), trainer (`str`):
            Their names in `mmr1_trl`.
        summary (`str`):
            The line in `mmr1 --help`.
        about (`str`):
            The paragraph in `mmr1 <command> --help`.
        title (`str`), tag (`str`):
            What cards call it, and its tag on the Hub.
        is_on (`Callable[[Any], bool]`):
            Whether a run with these options uses it; methods combine.
        paper (`dict[str, str]`):
            `title`, `id` on arXiv and `citation`, as TRL's trainers have them.
    """

    config: str
    trainer: str
    summary: str
    about: str
    title: str
    tag: str
    is_on: Callable[[Any], bool]
    paper: dict[str, str]

    @property
    def tags(self) -> list[str]:
        """The tags of its models on the Hub."""
        return ["trl", "mmr1-trl", self.tag]


def _paper(title: str, arxiv: str, key: str, authors: str, year: int = 2025) -> dict[str, str]:
    citation = textwrap.dedent(f"""\
        @article{{{key},
            title        = {{{{{title}}}}},
            author       = {{{authors}}},
            year         = {year},
            eprint       = {{arXiv:{arxiv}}},
        }}""")
    return {"title": title, "id": arxiv, "citation": citation}


# By command, in the order of `mmr1 --help`.
METHODS: dict[str, Method] = {
    "grpo": Method(
        config="RLVRConfig",
        trainer="RLVRTrainer",
        summary="plain GRPO over the same data path",
        about="Plain GRPO over the same data path as the other methods.",
        title="GRPO",
        tag="grpo",
        is_on=lambda args: args.advantage_baseline != "value_tracker",
        paper=_paper(
            "DeepSeekMath: Pushing the Limits of Mathematical Reasoning in Open Language Models",
            "2402.03300",
            "shao2024deepseekmath",
            "Zhihong Shao and Peiyi Wang and Qihao Zhu and Runxin Xu and Junxiao Song and Mingchuan Zhang and "
            "Y. K. Li and Y. Wu and Daya Guo",
            2024,
        ),
    ),
    "mssr": Method(
        config="MSSRConfig",
        trainer="MSSRTrainer",
        summary="single-rollout training with a Beta success tracker (arXiv 2512.18215)",
        about="MSSR (arXiv 2512.18215): one rollout per prompt, a Beta success tracker as its baseline, "
        "entropy-shaped advantages. MVSR, the paper's unshaped baseline, is --entropy_shaping false.",
        title="MSSR",
        tag="mssr",
        is_on=lambda args: args.advantage_baseline == "value_tracker" or args.entropy_shaping,
        paper=_paper(
            "Stable and Efficient Single-Rollout RL for Multimodal Reasoning",
            "2512.18215",
            "liu2025mssr",
            "Rui Liu and Dian Yu and Lei Ke and Haolin Liu and Yujun Zhou and Zhenwen Liang and Haitao Mi and "
            "Pratap Tokekar and Dong Yu",
        ),
    ),
    "vas": Method(
        config="VASConfig",
        trainer="VASTrainer",
        summary="GRPO with variance-aware prompt sampling (arXiv 2509.21268)",
        about="MMR1 / VAS (arXiv 2509.21268): GRPO with variance-aware prompt sampling.",
        title="VAS",
        tag="vas",
        is_on=lambda args: args.prompt_sampling == "variance_aware",
        paper=_paper(
            "MMR1: Enhancing Multimodal Reasoning with Variance-Aware Sampling and Open Resources",
            "2509.21268",
            "leng2025mmr1",
            "Sicong Leng and Jing Wang and Jiaxi Li and Hao Zhang and Zhiqiang Hu and Boqiang Zhang and Yuming Jiang "
            "and Hang Zhang and Xin Li and Lidong Bing and Deli Zhao and Wei Lu and Yu Rong and Aixin Sun and "
            "Shijian Lu",
        ),
    ),
    "two-stage": Method(
        config="TwoStageEntropyConfig",
        trainer="TwoStageEntropyTrainer",
        summary="GRPO with the two-stage entropy schedule (arXiv 2511.07738)",
        about="Two-stage entropy (arXiv 2511.07738): GRPO that maximizes token entropy first and minimizes it then.",
        title="Two-stage entropy",
        tag="two-stage-entropy",
        is_on=lambda args: args.entropy_schedule != "none",
        paper=_paper(
            "From Exploration to Exploitation: A Two-Stage Entropy RLVR Approach for Noise-Tolerant MLLM Training",
            "2511.07738",
            "xu2025twostage",
            "Donglai Xu and Hongzheng Yang and Yuzhi Zhao and Pingping Zhang and Jinpeng Chen and Wenao Ma and "
            "Zhijian Hou and Mengyang Wu and Xiaolei Li and Senkang Hu and Ziyi Guan and Jason Chun Lok Li and "
            "Lai Man Po",
        ),
    ),
}
