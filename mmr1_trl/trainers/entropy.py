# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What is made of the token distributions that the forward passes yield anyway: shaped advantages, the schedule's term
in the loss, and the self-certainty of sampled tokens.
"""

import math
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import reduce
from transformers import PretrainedConfig, PreTrainedModel

from mmr1_trl.errors import BadInputError
from mmr1_trl.methods.advantage_shaping import entropy_bonus
from mmr1_trl.methods.entropy_schedule import EntropySchedule


if TYPE_CHECKING:
    from mmr1_trl.trainers.config import RLVRConfig


class TokenShaping:
    """
    Gives the tokens of a completion advantages of their own, fixed before the first update on them. A method is a
    subclass of `shape`; a factor of 0 takes a token out of the policy gradient (its KL and entropy terms stay).
    Several are applied one after the other.
    """

    def shape(
        self, advantages: torch.Tensor, logps: torch.Tensor, entropies: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """
        Shape the advantages of a batch.

        Args:
            advantages (`torch.Tensor` of shape `(B, T)`):
                As they are so far, the same for all tokens of a completion before the first shaping.
            logps (`torch.Tensor` of shape `(B, T)`), entropies (`torch.Tensor` of shape `(B, T)`):
                Log-probs of the sampled tokens, and entropies of the distributions that they were sampled from, of the
                sampling policy at its temperature; without gradient.
            mask (`torch.Tensor` of shape `(B, T)`):
                1 for tokens that the policy sampled.

        Returns:
            `torch.Tensor` of shape `(B, T)`.
        """
        raise NotImplementedError

    def metrics(self) -> dict[str, float]:
        """Return what there is to log since the last call."""
        return {}


class EntropyBonus(TokenShaping):
    """
    MSSR: `min(alpha * H, |A| / kappa)` on top of each token's advantage.

    Args:
        alpha (`float`), kappa (`float`):
            See [`~methods.advantage_shaping.entropy_bonus`].
        source (`str`, *optional*, defaults to `"full"`):
            H over the vocabulary, or `-p log p` of the sampled token (`"sampled_token"`).
    """

    def __init__(self, alpha: float, kappa: float, source: str = "full") -> None:
        self.alpha, self.kappa, self.source = alpha, kappa, source
        self._logged: dict[str, float] = {}

    def shape(
        self, advantages: torch.Tensor, logps: torch.Tensor, entropies: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        entropies = entropies if self.source == "full" else -logps.exp() * logps
        bonus = entropy_bonus(advantages, entropies, alpha=self.alpha, kappa=self.kappa)
        sums = reduce(torch.stack([(bonus * mask).sum(), mask.sum()]), reduction="sum")
        self._logged["mssr/bonus_mean"] = (sums[0] / sums[1].clamp(min=1)).item()
        return advantages + bonus

    def metrics(self) -> dict[str, float]:
        logged, self._logged = self._logged, {}
        return logged


class HalvedNegatives(TokenShaping):
    """
    Negative advantages count half (ours). The nearest published rule is W-REINFORCE
    (https://huggingface.co/papers/2506.01347), which weighs right answers by 0.1 against wrong ones.
    """

    def shape(
        self, advantages: torch.Tensor, logps: torch.Tensor, entropies: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        return torch.where(advantages < 0, advantages / 2, advantages)


class NegativeTokenFilter(TokenShaping):
    """
    Of a completion with a negative advantage only the tenth of the tokens (rounded up) counts that was the least
    probable when it was sampled; its length stays what it was. After https://huggingface.co/papers/2606.17250, which
    is known here from a third party's re-implementation alone.
    """

    share = 0.1

    def shape(
        self, advantages: torch.Tensor, logps: torch.Tensor, entropies: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        rank = logps.masked_fill(mask == 0, torch.inf).argsort(dim=1, stable=True).argsort(dim=1)
        # Without the tolerance 0.1 * 30 = 3.0000000000000004 would keep a fourth.
        kept = rank < (self.share * mask.sum(1, keepdim=True) - 1e-9).ceil()
        return torch.where((advantages < 0) & ~kept, torch.zeros_like(advantages), advantages)


# The values of `negatives` beside `"full"`, which leaves them as they are.
NEGATIVES: dict[str, type[TokenShaping]] = {"halved": HalvedNegatives, "filtered": NegativeTokenFilter}


def token_shapings(args: "RLVRConfig") -> list[TokenShaping]:
    """Return the shapings that the options ask for, in their order."""
    bonus = [EntropyBonus(args.shaping_alpha, args.shaping_kappa, args.entropy_source)] if args.entropy_shaping else []
    return [*bonus, *(made() for name, made in NEGATIVES.items() if name == args.negatives)]


class EntropyTerm:
    """
    The term of an entropy schedule in the loss.

    Args:
        schedule ([`~methods.entropy_schedule.EntropySchedule`]):
            What entropy costs at a step.
    """

    def __init__(self, schedule: EntropySchedule) -> None:
        self.schedule = schedule
        self._logged: dict[str, float] = {}

    def __call__(
        self,
        entropies: torch.Tensor,
        mask: torch.Tensor,
        policy_loss: torch.Tensor,
        step: int,
        max_steps: int,
        accumulation_steps: int,
        is_noisy: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """
        Work out the term of a micro-batch.

        Args:
            entropies (`torch.Tensor` of shape `(B, T)`):
                Entropies of the current policy, with gradient.
            mask (`torch.Tensor` of shape `(B, T)`):
                1 for tokens that the policy sampled.
            policy_loss (`torch.Tensor`):
                The rest of the loss, for the log.
            step (`int`), max_steps (`int`), accumulation_steps (`int`):
                Optimizer steps made and planned, and the micro-batches of this one.
            is_noisy (`torch.Tensor` of shape `(B,)`, *optional*):
                Which labels are wrong, for the oracles.

        Returns:
            `torch.Tensor`: A scalar to add to the loss.
        """
        # Mean over a response's tokens, then over responses. A response without a token counts as 0, so that all
        # ranks and micro-batches weigh the same whatever their lengths are.
        response_means = (entropies * mask).sum(-1) / mask.sum(-1).clamp(min=1)
        coefs = torch.full_like(response_means, self.schedule(step, max_steps))
        if self.schedule.is_oracle:
            assert is_noisy is not None
            coefs[is_noisy] = self.schedule(step, max_steps, noisy=True)
        term = -(coefs * response_means).mean() / accumulation_steps
        share = term.abs() / (term.abs() + policy_loss.abs()).clamp(min=1e-12)
        logged = [coefs.mean(), response_means.mean(), share, (entropies * mask).sum(), mask.sum()]
        means = reduce(torch.stack(logged).detach(), reduction="mean").tolist()
        coef, response_mean, loss_share, token_sum, tokens = means
        self._logged = {
            "entropy/stage": float(self.schedule.stage(step, max_steps)),
            "entropy/coef": coef,
            "entropy/token_mean": token_sum / tokens if tokens else math.nan,
            "entropy/response_mean": response_mean,
            "entropy/loss_share": loss_share,
        }
        return term

    def metrics(self) -> dict[str, float]:
        """Return what there is to log since the last call."""
        logged, self._logged = self._logged, {}
        return logged


def entropy_term(args: "RLVRConfig") -> EntropyTerm | None:
    """Return the term that the options ask for, `None` without a schedule."""
    if args.entropy_schedule == "none":
        return None
    return EntropyTerm(
        EntropySchedule(args.entropy_schedule, args.explore_coef, args.exploit_coef, args.switch_fraction)
    )


# Heads whose logits are more than a product with the last hidden state.
_CHANGES_LOGITS = (
    "final_logit_softcapping", "logit_scale", "output_multiplier", "lm_head_multiplier", "logits_scaling",
)  # fmt: skip


def check_head(config: PretrainedConfig, sharded: bool) -> None:
    """
    Refuse what [`SelfCertainty`] cannot read.

    Args:
        config ([`~transformers.PretrainedConfig`]):
            Of the model.
        sharded (`bool`):
            Whether FSDP or DeepSpeed may spread the weights over processes.

    Raises:
        [`BadInputError`]: The model is sharded, or its logits are no plain product.
    """
    if sharded:
        raise BadInputError(
            "self_certainty_reward reads the weights of the vocabulary head, which FSDP and DeepSpeed may spread over "
            "processes: train without them, or take negative_entropy_reward."
        )
    config = config.get_text_config()
    for name in _CHANGES_LOGITS:
        if getattr(config, name, None) not in (None, 1.0):
            raise BadInputError(
                f"self_certainty_reward does not know logits that are changed by {name} (it is "
                f"{getattr(config, name)} here): take negative_entropy_reward."
            )


class SelfCertainty:
    """
    Around a pass over sampled tokens: keeps the last hidden states, and works out the tokens' self-certainty.

    The KL divergence of the uniform distribution to the policy's is `log Z - mean logit - log V`, with Z the sum of
    the exponentiated logits over the V words. TRL's head never makes the logits. But the logit of the sampled token is
    the product of one hidden state with one row of the head, and less its log-prob it is `log Z`; the mean logit is
    the product with the head's mean row. So nothing of size V is made per token, and there is no second pass.

    Args:
        model (`torch.nn.Module`):
            The policy, unwrapped; adapters may be around it.
        temperature (`float`):
            Sampling temperature, by which the logits are divided.
        length (`int`):
            Tokens of the completions, T. The states of the prompts are not kept: there may be thousands.
    """

    def __init__(self, model: torch.nn.Module, temperature: float, length: int) -> None:
        # The outermost model of transformers: what adapters are around is not one itself.
        self.model = next(module for module in model.modules() if isinstance(module, PreTrainedModel))
        self.temperature = temperature
        self.length = length
        self._states: list[torch.Tensor] = []

    def __enter__(self) -> "SelfCertainty":
        self._hook = self.model.base_model.register_forward_hook(self._keep)
        return self

    def __exit__(self, *error: object) -> None:
        self._hook.remove()

    def _keep(self, module: torch.nn.Module, args: Any, output: Any) -> None:
        self._states.append(output.last_hidden_state[:, -self.length - 1 : -1].clone())

    def per_token(self, input_ids: torch.Tensor, logps: torch.Tensor) -> torch.Tensor:
        """
        Self-certainty of the last tokens.

        Args:
            input_ids (`torch.Tensor` of shape `(B, P + T)`):
                Prompts and completions, as the passes inside the `with` have seen them in order.
            logps (`torch.Tensor` of shape `(B, T)`):
                Log-probs of the completions' tokens at the temperature.

        Returns:
            `torch.Tensor` of shape `(B, T)`: in nats.
        """
        head = self.model.get_output_embeddings()
        weight, bias = head.weight.detach(), head.bias.detach() if head.bias is not None else None
        values, start = [], 0
        for states in self._states:
            end = start + len(states)
            hidden = states.float()
            tokens = input_ids[start:end, -self.length :]
            sampled = (hidden * weight[tokens].float()).sum(-1)
            mean = hidden @ weight.mean(dim=0, dtype=torch.float32)
            if bias is not None:
                sampled, mean = sampled + bias[tokens].float(), mean + bias.float().mean()
            log_z = sampled / self.temperature - logps[start:end].float()
            values.append(log_z - mean / self.temperature - math.log(len(weight)))
            start = end
        return torch.cat(values)
