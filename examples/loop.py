# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The whole of a training, to be read in a sitting: what the trainers do, without what they do it with.

    python examples/loop.py --steps 100

A small vision-language model answers questions about pictures, and is trained on what comes out, by all three methods
at once: prompts are drawn by how uncertain their outcome is (VAS, arXiv 2509.21268), each gets one rollout, which is
compared with the pass rate tracked for its prompt (MSSR, arXiv 2512.18215), and token entropy is maximized first and
minimized then (arXiv 2511.07738). One process, no checkpoints, no engine; each picture is encoded in every pass.
"""

import argparse
from typing import Any

import torch
from transformers import AutoModelForImageTextToText
from trl.data_utils import prepare_multimodal_messages

from mmr1_trl.data.figures import load_figures
from mmr1_trl.methods.advantage_shaping import shape_advantages
from mmr1_trl.methods.entropy_schedule import EntropySchedule
from mmr1_trl.methods.value_tracker import ValueTracker
from mmr1_trl.methods.variance_promotion import draw_prompts, variance_promotion_score
from mmr1_trl.models import load_processor, resolve_model
from mmr1_trl.rewards import accuracy_reward


Batch = dict[str, torch.Tensor]
LONGEST, CLIP_LOW, CLIP_HIGH = 32, 0.2, 0.3


def encode(processor: Any, rows: list[dict[str, Any]]) -> Batch:
    """From rows to token ids and pixels: chat template, one picture each, filled up on the left."""
    messages = [prepare_multimodal_messages(row["prompt"], images=row["images"]) for row in rows]
    return processor.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=True,
        processor_kwargs={"return_tensors": "pt", "padding": True, "padding_side": "left"},
    )  # fmt: skip


@torch.no_grad()
def sample(model: Any, prompts: Batch, end: int) -> tuple[torch.Tensor, torch.Tensor]:
    """One completion `(B, T)` for each prompt, and a mask that is 1 up to the token that ends it."""
    model.eval()
    ids = model.generate(**prompts, do_sample=True, temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=LONGEST)
    completions = ids[:, prompts["input_ids"].shape[1] :]
    ended = (completions == end).cumsum(1) - (completions == end).long()  # ends before this token
    return completions, (ended == 0).long()


def look(model: Any, prompts: Batch, completions: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Log-prob of each sampled token, and entropy of the distribution that it was sampled from, both `(B, T)`."""
    inputs = dict(prompts)
    inputs["input_ids"] = torch.cat([prompts["input_ids"], completions], 1)
    inputs["attention_mask"] = torch.cat([prompts["attention_mask"], mask], 1)
    if "mm_token_type_ids" in inputs:  # 0: text
        inputs["mm_token_type_ids"] = torch.cat([prompts["mm_token_type_ids"], torch.zeros_like(completions)], 1)
    logits = model(**inputs).logits[:, -completions.shape[1] - 1 : -1].float()
    log_probs = logits.log_softmax(-1)
    return log_probs.gather(2, completions[..., None])[..., 0], -(log_probs.exp() * log_probs).sum(-1)


def score(processor: Any, rows: list[dict[str, Any]], completions: torch.Tensor) -> torch.Tensor:
    """Rewards `(B,)`: 1 where the answer is right."""
    texts = processor.batch_decode(completions, skip_special_tokens=True)
    rewards = accuracy_reward(
        completions=texts,
        solution=[row["solution"] for row in rows],
        answer_type=[row["answer_type"] for row in rows],
    )
    return torch.tensor([reward or 0.0 for reward in rewards])


def mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The mean over the tokens that were sampled."""
    return (values * mask).sum() / mask.sum()


def train(model_name: str, steps: int, batch: int, updates: int, learning_rate: float, seed: int = 0) -> list[float]:
    """Train; return the mean reward of each step."""
    torch.manual_seed(seed)
    path = resolve_model(model_name)
    model, processor = AutoModelForImageTextToText.from_pretrained(path), load_processor(path)
    rows = list(load_figures(num_rows=1024, seed=seed))
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.01)
    tracker = ValueTracker(len(rows), forgetting="fixed")
    schedule = EntropySchedule("two_stage", explore_coef=0.003, exploit_coef=0.03)
    generator = torch.Generator().manual_seed(seed)
    everyone, history = torch.arange(len(rows)), []
    for step in range(steps):
        # 1. Which prompts? Half of them by p (1 - p), of whose outcome least is known.
        pass_rates = tracker.values(everyone)
        weights = variance_promotion_score(pass_rates, torch.zeros_like(pass_rates))
        chosen = draw_prompts(weights, batch, weighted_fraction=0.5, generator=generator)
        picked = [rows[number] for number in chosen.tolist()]
        prompts = encode(processor, picked)

        # 2. One completion each, and what the sampling policy thought of its tokens.
        completions, mask = sample(model, prompts, processor.tokenizer.eos_token_id)
        with torch.no_grad():
            sampled, entropies = look(model, prompts, completions, mask)

        # 3. Reward, compared with the pass rate before this outcome is counted; normalized over the batch.
        rewards = score(processor, picked, completions)
        advantages = rewards - tracker.values(chosen).float()
        advantages = (advantages - advantages.mean()) / advantages.std().clamp(min=1e-3)

        # 4. A bonus for tokens of high entropy, too small to turn a bad completion into a good one.
        advantages = shape_advantages(advantages, entropies, alpha=0.4, kappa=2.0)

        # 5. Some updates on the same completions, none of which goes far from the policy that sampled them.
        model.train()
        for _ in range(updates):
            log_probs, entropies = look(model, prompts, completions, mask)
            ratio = (log_probs - sampled).exp()
            clipped = ratio.clamp(1 - CLIP_LOW, 1 + CLIP_HIGH)
            policy_loss = -mean(torch.minimum(ratio * advantages, clipped * advantages), mask)
            loss = policy_loss - schedule(step, steps) * mean(entropies, mask)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()

        # 6. Now the outcomes count.
        tracker.update(chosen, rewards)
        history.append(rewards.mean().item())
        entropy = mean(entropies.detach(), mask)
        print(f"step {step + 1:4}  reward {history[-1]:.3f}  entropy {entropy:.3f}  loss {loss.item():+.4f}")
    return history


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="figures/cold_start", help="built here in some minutes the first time")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch", type=int, default=64, help="prompts a step, one completion each")
    parser.add_argument("--updates", type=int, default=2, help="updates on each batch")
    parser.add_argument("--learning_rate", type=float, default=3e-5)
    given = parser.parse_args()
    history = train(given.model, given.steps, given.batch, given.updates, given.learning_rate)
    tenth = max(1, len(history) // 10)
    print(f"mean reward: first tenth {sum(history[:tenth]) / tenth:.3f}, last {sum(history[-tenth:]) / tenth:.3f}")


if __name__ == "__main__":
    main()
