# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""
How a question is put to the model and how its reply has to look.

One `PromptStyle` writes the prompt, decides the format reward and tells the evaluation where the answer stands, so
that the three cannot drift apart. The module imports nothing heavy.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from mmr1_trl.errors import BadInputError, did_you_mean


# Completions are untrusted and may be a megabyte long: `(?:(?!TAG).)*+` walks to the next TAG and, being possessive,
# never backtracks, so that matching stays linear.
_THINK = r"\s*+<think>(?:(?!</?think>).)*+</think>"
_THINK_THEN_ANSWER = rf"{_THINK}\s*+<answer>\s*+(?!</answer>)(?:(?!</?answer>|</?think>).)*+</answer>\s*+"
_BOXED = r"(?:(?!\\boxed).)*+\\boxed\s*+\{\s*+[^}]++\}.*+"
_THINK_THEN_BOXED = rf"{_THINK}(?:(?!</?think>|\\boxed).)*+\\boxed\s*+\{{\s*+[^}}]++\}}(?:(?!</?think>).)*+"


@dataclass(frozen=True)
class PromptStyle:
    r"""
    A way to ask for an answer and the shape that the completion must have.

    Args:
        name (`str`):
            Name on the command line and in YAML.
        instruction (`str`):
            Text added to every question, save those that carry their own: they name all tags (and `\boxed`) that it
            names. Empty when all of them do.
        placement (`"prefix"`, `"suffix"`, `"around"` or `"system"`):
            Where the instruction goes: before the question, after it (both in the user's message, joined by a space),
            around it (it stands in the place of `{question}`), or in a system message of its own.
        completion_pattern (`str`):
            Regular expression that a whole completion must match (dot matches newlines) to count as formatted.
        answer_in (`"answer"` or `"boxed"`):
            Where the style asks for the final answer: in `<answer>` tags or in `\boxed{}`.
    """

    name: str
    instruction: str
    placement: Literal["prefix", "suffix", "around", "system"]
    completion_pattern: str
    answer_in: Literal["answer", "boxed"]

    @cached_property
    def _tags(self) -> set[str]:
        return set(re.findall(r"<\w+>|\\boxed", self.instruction))

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        return re.compile(self.completion_pattern, re.DOTALL)

    def messages(self, question: str, unit: str = "") -> list[dict[str, str]]:
        """
        Build the prompt for one question.

        Args:
            question (`str`):
                The question as the dataset has it.
            unit (`str`, *optional*):
                A sentence about the coordinates of a point or a box. It follows the instruction, if there is any.

        Returns:
            `list[dict[str, str]]`: Messages in the conversational format, the last one from the user.
        """
        if not self.instruction or (self._tags and all(tag in question for tag in self._tags)):
            return [{"role": "user", "content": question}]
        instruction = f"{self.instruction} {unit}" if unit else self.instruction
        if self.placement == "around":
            return [{"role": "user", "content": instruction.replace("{question}", question, 1)}]
        if self.placement == "system":
            return [{"role": "system", "content": instruction}, {"role": "user", "content": question}]
        parts = [instruction, question] if self.placement == "prefix" else [question, instruction]
        return [{"role": "user", "content": " ".join(parts)}]

    def is_formatted(self, text: str) -> bool:
        """
        Tell whether a completion has the shape that this style asks for.

        Args:
            text (`str`):
                The completion.

        Returns:
            `bool`: `True` when the whole text matches `completion_pattern`.
        """
        return self._regex.fullmatch(text) is not None


PROMPT_STYLES = {
    style.name: style
    for style in (
        # The procedural questions say themselves how to answer.
        PromptStyle("figures", "", "suffix", _THINK_THEN_ANSWER, "answer"),
        # MSSR (arXiv 2512.18215), the wording of its released code.
        PromptStyle(
            "mssr",
            "You FIRST think about the reasoning process as an internal monologue and then provide the final answer. "
            "The reasoning process MUST BE enclosed within <think> </think> tags. "
            r"The final answer MUST BE put in \boxed{}.",
            "suffix",
            _THINK_THEN_BOXED,
            "boxed",
        ),
        # MMR1 (arXiv 2509.21268): put in front of the question in the user's message, as its released code does. The
        # opening and the shape of the answer are the paper's (Table 7), the sentence between them is ours.
        PromptStyle(
            "mmr1",
            "A conversation between User and Assistant. The User provides an image and asks a question. "
            "The Assistant first reasons step by step about the image and the question, then answers. "
            "The reasoning and the answer are enclosed within <think> </think> and <answer> </answer> tags, "
            "respectively: <think> reasoning process here </think> "
            r"<answer> final answer here, with the key result enclosed in \boxed{} </answer>.",
            "prefix",
            _THINK_THEN_ANSWER,
            "boxed",
        ),
        # UI-R1 and Visual-RFT are the frameworks under the two-stage-entropy paper (arXiv 2511.07738). UI-R1 by the
        # wording of its released code, with quotes that are paired and spaces between sentences.
        PromptStyle(
            "ui_r1",
            "In this UI screenshot, I want to perform the command '{question}'.\n"
            "Please provide the action to perform (enumerate in ['click', 'open_app', 'scroll', 'navigate_back', "
            "'input_text']) and the coordinate where the cursor is moved to (integer) if click is performed.\n"
            "Output the thinking process in <think> </think> and final answer in <answer> </answer> tags. "
            "The output answer format should be as follows:\n"
            "<think> ... </think> <answer>[{'action': enum['click', 'open_app', 'scroll', 'navigate_back', "
            "'input_text'], 'coordinate': [x, y]}]</answer>\n"
            "Please strictly follow the format.",
            "around",
            _THINK_THEN_ANSWER,
            "answer",
        ),
        # Visual-RFT's published rows say it themselves, and get nothing added; for others, our own wording.
        PromptStyle(
            "visual_rft",
            "Write your reasoning inside <think> </think> tags and then only the final answer inside "
            "<answer> </answer> tags.",
            "suffix",
            _THINK_THEN_ANSWER,
            "answer",
        ),
        # MATH-Vision (arXiv 2402.14804), the wording of its released code.
        PromptStyle(
            "boxed",
            r'Please solve the problem step by step and put your answer in one "\boxed{}".',
            "prefix",
            _BOXED,
            "boxed",
        ),
        # MMR1's evaluation (arXiv 2509.21268, Table 8); that it follows the question is ours.
        PromptStyle(
            "mmr1_eval",
            r"Please solve the problem step by step and put your answer in one \boxed{}. If it is a multiple-choice "
            r"question, only one letter should appear inside the \boxed{}.",
            "suffix",
            _BOXED,
            "boxed",
        ),
        # The question as it is; any reply is well formed.
        PromptStyle("plain", "", "suffix", r".*", "boxed"),
    )
}


def get_prompt_style(name: str) -> PromptStyle:
    """
    Look up a built-in prompt style.

    Args:
        name (`str`):
            `"figures"`, `"mssr"`, `"mmr1"`, `"ui_r1"`, `"visual_rft"`, `"boxed"`, `"mmr1_eval"` or
            `"plain"`.

    Returns:
        `PromptStyle`: The style.

    Raises:
        BadInputError: When there is no style of that name.
    """
    if name not in PROMPT_STYLES:
        raise BadInputError(
            f"Unknown prompt style {name!r}.{did_you_mean(name, PROMPT_STYLES)} "
            f"Known styles: {', '.join(PROMPT_STYLES)}."
        )
    return PROMPT_STYLES[name]
