# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""A word-level tokenizer and a chat template for the tiny models: built in memory, one token per word."""

from typing import Any

from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3_5Tokenizer


PAD, UNK, EOS, ASSISTANT = "<|pad|>", "<unk>", "<|im_end|>", "<|im_start|>"

# The tags are ordinary words: special tokens would be dropped by `decode(skip_special_tokens=True)`, which is how TRL
# decodes, before a reward could see them.
TAGS = "<think> </think> <answer> </answer>".split()
NUMBERS = [str(number) for number in range(101)]
PUNCTUATION = list("+-*/=?.,:;!()[]{}<>|%$^&'\"\\_")
FIGURE_WORDS = (
    "topleft topright bottomleft bottomright add gap sum multiply and to is largest minus smallest value max min "
    "how many shapes where longest bar name the drawn shape point at count row tile tiles "
    "red green blue yellow purple orange circle square triangle cross diamond ring"
).split()
COMMON_WORDS = (
    "A B C D E F a b c d e f x y z yes no Yes No true false True False none left right top bottom up down "
    "answer Answer question Question image picture color number letter option boxed What what Which which who "
    "How Where why of in on an it this that are was be has have do does not or with for from by as if then so "
    "we you I first second third last one two three four five six seven eight nine ten zero "
    "think step final more less than equal total sum difference larger smaller click box class label "
    "cat dog car house tree sky black white gray Solve solve Find find describe Describe"
).split()


def build_tokenizer(image_tokens: list[str] | dict[str, str]) -> PreTrainedTokenizerFast:
    """
    Build the tokenizer of the tiny models.

    A text is cut into `<tags>`, words with their digits, and single punctuation marks; a word outside the vocabulary
    becomes `<unk>`. Decoding joins the tokens with blanks: `<think> 3 + 5 </think> <answer> 8 </answer>`.

    Args:
        image_tokens (`list[str]` or `dict[str, str]`):
            The image tokens of the model family, such as `["<image>"]`; by name where its processor asks the tokenizer
            for them, such as `{"image_token": "<image_soft_token>"}`.

    Returns:
        [`~transformers.PreTrainedTokenizerFast`]: Pads on the left, as generation needs it.
    """
    extra: list[str] | dict[str, str] = [ASSISTANT, *image_tokens]
    if isinstance(image_tokens, dict):
        extra = {"assistant_token": ASSISTANT, **image_tokens}
    special = [PAD, UNK, EOS, *(extra.values() if isinstance(extra, dict) else extra)]
    words = [*special, *TAGS, *NUMBERS, *PUNCTUATION, *FIGURE_WORDS, *COMMON_WORDS]
    vocabulary = {word: index for index, word in enumerate(dict.fromkeys(words))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNK))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(
        Regex(r"</?[a-z_]+[^<>\s]*>|\w+|[^\w\s]"), behavior="removed", invert=True
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=UNK,
        eos_token=EOS,
        extra_special_tokens=extra,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=2048,
    )


def build_byte_tokenizer(image_tokens: list[str]) -> PreTrainedTokenizerFast:
    """
    Build a tokenizer of one token per byte, for the families whose tokenizer class transformers insists on.

    Args:
        image_tokens (`list[str]`):
            As for [`build_tokenizer`].

    Returns:
        [`~transformers.PreTrainedTokenizerFast`]: A [`~transformers.Qwen3_5Tokenizer`], padding on the left.
    """
    vocabulary = {letter: index for index, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    return Qwen3_5Tokenizer(
        vocab=vocabulary,
        pad_token=PAD,
        unk_token=UNK,
        eos_token=EOS,
        extra_special_tokens=[ASSISTANT, *image_tokens],
        padding_side="left",
        model_max_length=2048,
    )


def token_ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """Return what a language model's config says about the tokenizer."""
    return {
        "vocab_size": len(tokenizer),
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def chat_template(image_placeholder: str) -> str:
    """
    Return the Jinja chat template: the prompt's text as it is, then `<|im_start|>`, the completion and `<|im_end|>`.

    One token marks the turn instead of Qwen's four, since prompts of a dozen tokens are what makes the tiny models
    fast on a CPU.

    Args:
        image_placeholder (`str`):
            What stands for one image before the processor expands it.

    Returns:
        `str`: The template. A rendered prompt is always a prefix of the rendered conversation.
    """
    return (
        "{%- for message in messages -%}"
        f"{{%- if message['role'] == 'assistant' -%}}{ASSISTANT}{{%- endif -%}}"
        "{%- if message['content'] is string -%}{{ message['content'] }}"
        "{%- else -%}{%- for block in message['content'] -%}"
        f"{{%- if block['type'] == 'image' -%}}{image_placeholder}"
        "{%- elif block['type'] == 'text' -%}{{ block['text'] }}{%- endif -%}"
        "{%- endfor -%}{%- endif -%}"
        f"{{%- if message['role'] == 'assistant' -%}}{EOS}{{%- else -%}}{{{{ ' ' }}}}{{%- endif -%}}"
        "{%- endfor -%}"
        f"{{%- if add_generation_prompt -%}}{ASSISTANT}{{%- endif -%}}"
    )
