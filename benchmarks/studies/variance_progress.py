# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""MMR1's Variance-Progress claim, measured: where rewards vary more, is the gradient larger, and the gain?

    python benchmarks/studies/variance_progress.py

For each prompt: the pass rate of many rollouts; the gradient of the group-relative policy loss over half of them; and
the gain in pass rate after one plain gradient step, estimated on the other half by importance weights. The theorem of
MMR1 (https://huggingface.co/papers/2509.21268, Sec. 4) bounds the gain from below by the reward variance. Advantages
are `reward - mean`, and that divided by the standard deviation, as GRPO has it. Writes
`results/variance_progress.{json,md,png}`.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.stats import spearmanr
from tqdm.auto import tqdm

from mmr1_trl.cli.commands.eval import load_model
from mmr1_trl.data.figures import load_figures
from mmr1_trl.data.pictures.images import open_image
from mmr1_trl.rewards.scoring import make_question, score_answers


RESULTS = Path(__file__).parents[1] / "results" / "variance_progress"
FAMILIES = ("add", "range", "gap", "sum3", "times")
LEARNING_RATE = 1e-3
KINDS = {"reward - mean": "theorem", "divided by the standard deviation": "grpo"}


class Prompt:
    """One row with its rollouts: their tokens, log-probabilities and rewards."""

    def __init__(self, model: Any, processor: Any, row: dict[str, Any], rollouts: int) -> None:
        self.model = model
        content = [
            {"type": "image", "image": open_image(row["images"][0], "figures")},
            {"type": "text", "text": row["prompt"][-1]["content"]},
        ]
        inputs = processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=True, return_dict=True,
            return_tensors="pt",
        )  # fmt: skip
        self.length = inputs["input_ids"].shape[1]
        with torch.no_grad():
            self.ids = model.generate(
                **inputs, do_sample=True, top_k=0, max_new_tokens=32, num_return_sequences=rollouts
            )
        self.pictures = {name: inputs[name] for name in ("pixel_values", "image_grid_thw")}
        completions = self.ids[:, self.length :]
        end = processor.tokenizer.eos_token_id
        # Everything up to the first end token counts.
        self.mask = ((completions == end).cumsum(1) - (completions == end).long() == 0).float()
        texts = processor.batch_decode(completions, skip_special_tokens=True)
        question = make_question(row["solution"], row["answer_type"])
        scores = score_answers(texts, [question] * len(texts))
        self.rewards = torch.tensor([score.correct for score in scores], dtype=torch.float32)

    def log_probs(self, rows: slice) -> torch.Tensor:
        """Log-probability of each completion of `rows`, the sum over its tokens."""
        ids = self.ids[rows]
        pictures = {
            "pixel_values": self.pictures["pixel_values"].repeat(len(ids), 1),
            "image_grid_thw": self.pictures["image_grid_thw"].repeat(len(ids), 1),
        }
        kinds = (ids == self.model.config.image_token_id).int()
        logits = self.model(
            input_ids=ids, attention_mask=torch.ones_like(ids), mm_token_type_ids=kinds, **pictures
        ).logits[:, self.length - 1 : -1]
        chosen = ids[:, self.length :].unsqueeze(-1)
        return (logits.log_softmax(-1).gather(-1, chosen).squeeze(-1) * self.mask[rows]).sum(1)


def measure(prompt: Prompt, standardized: bool) -> dict[str, float]:
    """Gradient norm on the first half of the rollouts, and gain in pass rate on the second."""
    half = len(prompt.ids) // 2
    train, test = slice(0, half), slice(half, None)
    parameters = [p for p in prompt.model.parameters() if p.requires_grad]
    advantages = prompt.rewards[train] - prompt.rewards[train].mean()
    if standardized:
        advantages = advantages / (prompt.rewards[train].std() + 1e-4)
    with torch.no_grad():
        before = prompt.log_probs(test)
    loss = -(advantages * prompt.log_probs(train)).mean()
    gradients = torch.autograd.grad(loss, parameters)
    norm = torch.sqrt(sum((g**2).sum() for g in gradients)).item()
    with torch.no_grad():
        for parameter, gradient in zip(parameters, gradients):
            parameter -= LEARNING_RATE * gradient
        ratio = (prompt.log_probs(test) - before).exp()
        for parameter, gradient in zip(parameters, gradients):
            parameter += LEARNING_RATE * gradient
    # Self-normalized importance weights: the pass rate of the moved policy on rollouts of the old one.
    gain = (ratio * prompt.rewards[test]).sum() / ratio.sum() - prompt.rewards[test].mean()
    return {"norm": norm, "gain": gain.item()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="figures/uneven_start")
    parser.add_argument("--prompts", type=int, default=150)
    parser.add_argument("--rollouts", type=int, default=128)
    parser.add_argument("--replot", action="store_true", help="only make table and plot from the raw results")
    arguments = parser.parse_args()
    path = RESULTS.with_suffix(".json")
    if not arguments.replot:
        torch.set_num_threads(1)
        torch.manual_seed(0)
        model, processor = load_model(arguments.model)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_("visual" not in name)
        points = []
        rows = load_figures("train", arguments.prompts, seed=7, families=FAMILIES)
        for row in tqdm(rows, desc="prompts"):
            prompt = Prompt(model, processor, row, arguments.rollouts)
            rate = prompt.rewards.mean().item()
            point = {"family": row["family"], "pass_rate": rate, "variance": rate * (1 - rate)}
            for kind in KINDS.values():
                point[kind] = measure(prompt, kind == "grpo")
            points.append(point)
        path.write_text(json.dumps({"rollouts": arguments.rollouts, "points": points}) + "\n")
    report(json.loads(path.read_text()))


def report(data: dict[str, Any]) -> None:
    """Fit lines, with intervals from a bootstrap over prompts; write the table and the picture."""
    points = data["points"]
    variance = np.array([point["variance"] for point in points])
    generator = np.random.default_rng(0)
    figure, axes = plt.subplots(2, 2, figsize=(9, 6.5), sharex=True, layout="constrained")
    lines = [
        f"{len(points)} prompts, {data['rollouts']} rollouts each; intervals from a bootstrap over prompts.",
        "",
        "| advantages | measured | correlation with the variance | slope | share of the gain from the upper half |",
        "| --- | --- | --- | --- | --- |",
    ]
    for column, (name, kind) in zip(axes.T, KINDS.items()):
        for axis, what, label in zip(column, ("norm", "gain"), ("gradient norm", "gain in pass rate, one step")):
            values = np.array([point[kind][what] for point in points])
            fits = []
            for _ in range(2000):
                chosen = generator.integers(0, len(values), len(values))
                slope = np.polyfit(variance[chosen], values[chosen], 1)[0]
                fits.append((np.corrcoef(variance[chosen], values[chosen])[0, 1], slope))
            low, high = np.quantile(fits, [0.025, 0.975], axis=0)
            slope, offset = np.polyfit(variance, values, 1)
            correlation = np.corrcoef(variance, values)[0, 1]
            upper = values[variance >= np.median(variance)].sum() / values.sum()
            lines.append(
                f"| {name} | {label} | {correlation:.2f} ({low[0]:.2f} to {high[0]:.2f}) | {slope:.3g} "
                f"({low[1]:.3g} to {high[1]:.3g}) | {100 * upper:.0f} % |"
            )
            for family in FAMILIES:
                mine = [i for i, point in enumerate(points) if point["family"] == family]
                axis.scatter(variance[mine], values[mine], s=14, alpha=0.7, label=family)
            axis.plot([0, 0.25], [offset, offset + 0.25 * slope], color="black", linewidth=1)
            axis.set_ylabel(label)
        column[0].set_title(f"advantage: {name}", fontsize=10)
        column[1].set_xlabel("reward variance p (1 - p)")
    axes[0, 0].legend(fontsize=8)
    figure.savefig(RESULTS.with_suffix(".png"), dpi=110)
    lines += ["", *envelope(variance, np.array([point["theorem"]["gain"] for point in points]))]
    RESULTS.with_suffix(".md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def envelope(variance: np.ndarray, gains: np.ndarray) -> list[str]:
    """The theorem bounds the gain from below: what matters is the least gain at a variance, not a line through all."""
    lines = [
        f"Rank correlation of variance and gain {spearmanr(variance, gains).statistic:.2f}. The theorem bounds the "
        "gain from below:",
        "",
        "| variance | prompts | smallest gain | a tenth is below | median |",
        "| --- | --- | --- | --- | --- |",
    ]
    for low, high in ((0.0, 0.001), (0.001, 0.05), (0.05, 0.1), (0.1, 0.15), (0.15, 0.2), (0.2, 0.25)):
        mine = gains[(variance >= low) & ((variance < high) | (high == 0.25))]
        cells = [mine.min(), np.quantile(mine, 0.1), np.median(mine)]
        lines.append(f"| {low:g} to {high:g} | {len(mine)} | {' | '.join(f'{cell:.4f}' for cell in cells)} |")
    return lines


if __name__ == "__main__":
    main()
