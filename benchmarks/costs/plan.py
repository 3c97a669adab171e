# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""`mmr1 plan` against measured peaks: trainings of small models on a CPU, over a grid of its knobs.

Every tensor that exists is counted while a model trains for two updates, so that the peak is exact and free of the
allocator: what the plan adds for slack and context is left out of the comparison.

    python benchmarks/costs/plan.py            # some two minutes on one core; a cell that has a line is not made again
    python benchmarks/costs/plan.py --table    # the table from the raw lines
"""

import argparse
import json
import sys
import tempfile
import weakref
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from datasets import Dataset
from peft import LoraConfig
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import Qwen2VLImageProcessorPil
from trl import ModelConfig


sys.path.insert(0, str(Path(__file__).parents[1]))

from common import RESULTS, reward

from mmr1_trl import RLVRConfig, RLVRTrainer
from mmr1_trl.models.tiny_qwen import qwen2_5_vl, qwen3_vl
from mmr1_trl.planning.cost import estimate_cost
from mmr1_trl.planning.memory import estimate
from mmr1_trl.planning.options import read_options
from mmr1_trl.planning.shapes import read_shapes


FAMILIES = {"qwen2_5_vl": qwen2_5_vl, "qwen3_vl": qwen3_vl}
# hidden, intermediate, layers, heads; of the tower half the width and two thirds of the layers
SIZES = {"small": (128, 384, 4, 4), "middle": (512, 1536, 8, 8)}
BASE = {"family": "qwen2_5_vl", "size": "small", "tokens": 256, "completion": 64, "micro": 4, "group": 4}
CELLS: list[dict[str, Any]] = [
    BASE | changes
    for changes in (
        {},
        {"gradient_checkpointing": True},
        {"freeze_vision_tower": True},
        {"freeze_vision_tower": True, "gradient_checkpointing": True},
        {"share_prompts": "auto", "freeze_vision_tower": True},
        {"share_prompts": "auto", "freeze_vision_tower": True, "gradient_checkpointing": True},
        {"beta": 0.0},
        {"adapters": True, "freeze_vision_tower": True},
        {"adapters": True, "freeze_vision_tower": True, "gradient_checkpointing": True},
        {"tokens": 1024, "freeze_vision_tower": True},
        {"tokens": 1024, "freeze_vision_tower": True, "gradient_checkpointing": True},
        {"completion": 256, "freeze_vision_tower": True},
        {"micro": 8, "freeze_vision_tower": True},
        {"family": "qwen3_vl", "freeze_vision_tower": True},
        {"family": "qwen3_vl", "gradient_checkpointing": True},
        {"size": "middle", "freeze_vision_tower": True},
        {"size": "middle", "freeze_vision_tower": True, "gradient_checkpointing": True},
        {"size": "middle", "gradient_checkpointing": True, "beta": 0.0},
        {"size": "middle", "adapters": True, "freeze_vision_tower": True, "gradient_checkpointing": True},
        {"size": "middle", "share_prompts": "auto", "freeze_vision_tower": True, "gradient_checkpointing": True},
    )
]


class Live(TorchDispatchMode):
    """Counts the bytes of all tensors that exist, by phase, and of matrix products the operations."""

    def __init__(self, *existing: torch.nn.Module | None) -> None:
        super().__init__()
        self.now, self.phase, self.peaks = 0, "start", defaultdict(int)
        self._known: set[int] = set()
        for model in existing:
            for tensor in [] if model is None else [*model.parameters(), *model.buffers()]:
                self._see(tensor)

    def _see(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self._known:
            self._known.add(key)
            self.now += size
            self.peaks[self.phase] = max(self.peaks[self.phase], self.now)
            weakref.finalize(storage, self._gone, key, size)

    def _gone(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor) and leaf.device.type == "cpu":
                self._see(leaf)
        return out


def build(cell: dict[str, Any]) -> tuple[Any, Any, str]:
    """A model of random weights, its processor, and a folder with its config."""
    hidden, inner, layers, heads = SIZES[cell["size"]]
    model_class, config, processor = FAMILIES[cell["family"]]()
    text, vision = config.text_config, config.vision_config
    values = {"hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers}
    values |= {"num_attention_heads": heads, "num_key_value_heads": heads // 4}
    for name, value in (values | ({"head_dim": hidden // heads} if hasattr(text, "head_dim") else {})).items():
        setattr(text, name, value)
    if getattr(text, "layer_types", None) is not None:
        text.layer_types = ["full_attention"] * layers
    section = hidden // heads // 2
    text.rope_parameters["mrope_section"] = [section - 2 * (section // 3), section // 3, section // 3]
    values = {"hidden_size": hidden // 2, "intermediate_size": inner // 2, "depth": 2 * layers // 3, "num_heads": 4}
    for name, value in (values | {"out_hidden_size": hidden}).items():
        setattr(vision, name, value)
    if cell["family"] == "qwen3_vl":
        vision.deepstack_visual_indexes = [0]
    else:
        vision.fullatt_block_indexes = [0]
    torch.manual_seed(0)
    old = processor.image_processor
    processor.image_processor = Qwen2VLImageProcessorPil(
        size={"shortest_edge": 28 * 28, "longest_edge": 4096 * 4096}, patch_size=old.patch_size,
        merge_size=old.merge_size, temporal_patch_size=old.temporal_patch_size,
    )  # fmt: skip
    model = model_class(config).train()
    folder = tempfile.mkdtemp()
    model.save_pretrained(folder)  # the reference model is loaded from there
    model.config._name_or_path = folder
    return model, processor, folder


def rows_of(cell: dict[str, Any], side: int) -> Dataset:
    """Pictures of exactly so many tokens."""
    rng, per_side = np.random.default_rng(0), int(cell["tokens"] ** 0.5)
    assert per_side**2 == cell["tokens"]

    def picture() -> PIL.Image.Image:
        return PIL.Image.fromarray(rng.integers(0, 255, (per_side * side, per_side * side, 3), dtype=np.uint8))

    prompt = [{"role": "user", "content": "upleft plus lowright is 3 ?"}]
    return Dataset.from_list([{"prompt": prompt, "images": [picture()], "solution": str(i)} for i in range(16)])


def measure(cell: dict[str, Any]) -> dict[str, Any]:
    """Train two updates of one generation batch each; return what was measured and what the plan says."""
    model, processor, folder = build(cell)
    side = model.config.vision_config.patch_size * model.config.vision_config.spatial_merge_size
    options = {
        name: cell.get(name, default)
        for name, default in {
            "gradient_checkpointing": False, "freeze_vision_tower": False, "share_prompts": "off", "beta": 0.01,
        }.items()
    }  # fmt: skip
    config = RLVRConfig(
        output_dir=tempfile.mkdtemp(), use_cpu=True, bf16=False, report_to="none", save_strategy="no", max_steps=2,
        disable_tqdm=True, per_device_train_batch_size=cell["micro"], num_generations=cell["group"],
        steps_per_generation=2, gradient_accumulation_steps=2, max_completion_length=cell["completion"],
        generation_kwargs={"min_new_tokens": cell["completion"]}, max_pixels=cell["tokens"] * side**2,
        optim="adamw_torch", logging_steps=1, freeze_merger=options["freeze_vision_tower"], **options,
    )  # fmt: skip
    model_args = ModelConfig(
        dtype="float32", use_peft=cell.get("adapters", False), lora_r=8, lora_target_modules="all-linear"
    )
    peft = LoraConfig(r=8, target_modules="all-linear", task_type="CAUSAL_LM") if model_args.use_peft else None
    rows = rows_of(cell, side)
    trainer = RLVRTrainer(
        model=model, reward_funcs=reward, args=config, train_dataset=rows, processing_class=processor,
        peft_config=peft,
    )  # fmt: skip
    live = Live(trainer.model, trainer.ref_model)
    prompt_tokens: list[int] = []

    def in_phase(name: str, method: Any) -> Any:
        def run(*args: Any, **kwargs: Any) -> Any:
            live.phase = name
            if name == "update":
                prompt_tokens.append(args[1]["prompt_ids"].size(1))
            return method(*args, **kwargs)

        return run

    trainer._prepare_inputs = in_phase("sampling", trainer._prepare_inputs)
    trainer.compute_loss = in_phase("update", trainer.compute_loss)
    with live:
        trainer.train()
    shapes = read_shapes(folder)
    text_tokens = prompt_tokens[0] - cell["tokens"]
    asked = read_options(config, model_args, 1, 80.0, "none", text_tokens, half=False)
    planned, host = estimate(shapes, asked), on_the_host(shapes, asked)
    return {
        "cell": cell,
        "parameters": sum(parameter.numel() for parameter in trainer.model.parameters()),
        "measured": {name: live.peaks[name] for name in ("sampling", "update")},
        "planned": {"sampling": planned.sampling + host, "update": planned.update + host},
        "host": host,
        "planned_parts": planned.parts,
        "planned_flops": estimate_cost(shapes, asked, planned).train_flops,
    }


def on_the_host(shapes: Any, options: Any) -> float:
    """
    Bytes that are on the device of this measurement alone: the pixels of the generation batch, which wait on the CPU,
    and five tiles of words of the head's path in plain PyTorch, where a GPU's kernel has one.
    """
    tokens = options.micro * (options.text_tokens + shapes.picture_tokens(options.max_pixels) + options.completion)
    pictures = options.micro * options.steps_per_generation / options.group
    patches = pictures * shapes.picture_tokens(options.max_pixels) * shapes.merge**2
    return patches * shapes.patch_values * 4 + 5 * min(tokens, 4096) * shapes.vocabulary * 4


def table(lines: list[dict[str, Any]]) -> str:
    """Measured and planned megabytes, and the planned as a share of the measured."""
    head = "| model | what differs | parameters | updating: measured, MB | planned | ratio | sampling: measured |"
    rows = [head + " planned | ratio |", "|---|---|---|---|---|---|---|---|---|"]
    for line in lines:
        cell, both = line["cell"], (line["measured"], line["planned"])
        changed = ", ".join(f"{name} {value}" for name, value in cell.items() if BASE.get(name) != value)
        numbers = [line["parameters"] / 1e6]
        shown = [f"{numbers[0]:.1f} M"]
        for phase in ("update", "sampling"):
            measured, planned = both[0][phase] / 1e6, both[1][phase] / 1e6
            shown += [f"{measured:.0f}", f"{planned:.0f}", f"{planned / measured:.2f}"]
        rows.append(f"| {cell['family']} {cell['size']} | {changed} | {' | '.join(shown)} |")
    ratios = [line["planned"][phase] / line["measured"][phase] for line in lines for phase in ("update", "sampling")]
    peaks = [max(line["planned"].values()) / max(line["measured"].values()) for line in lines]
    rows += ["", f"{len(lines)} trainings. Planned over measured peak: {min(peaks):.2f} to {max(peaks):.2f}; of the "
             f"single phases {min(ratios):.2f} to {max(ratios):.2f}."]  # fmt: skip
    return "\n".join(rows) + "\n"


def main() -> None:
    """Measure the cells that have no line yet, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--table", action="store_true", help="only write the table")
    only_table = parser.parse_args().table
    raw = RESULTS / "plan.jsonl"
    lines = [json.loads(line) for line in raw.read_text().splitlines()] if raw.exists() else []
    for cell in CELLS if not only_table else []:
        if cell not in [line["cell"] for line in lines]:
            lines.append(measure(cell))
            with raw.open("a") as file:
                file.write(json.dumps(lines[-1]) + "\n")
            print(json.dumps(lines[-1]["cell"]), lines[-1]["measured"], lines[-1]["planned"], flush=True)
    (RESULTS / "plan.md").write_text(table(lines))
    print(table(lines))


if __name__ == "__main__":
    main()
