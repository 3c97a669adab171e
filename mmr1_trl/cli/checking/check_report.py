# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What `mmr1 check` found, and how it is written for people."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from mmr1_trl.errors import BadInputError


@dataclass
class Report:
    """
    What `mmr1 check` found.

    Args:
        command (`str`):
            The training command.
        sections (`dict[str, Any]`):
            The numbers, by topic.
        findings (`list[str]`):
            What should be put right before the run.
        notes (`list[str]`):
            What is worth knowing.
    """

    command: str
    sections: dict[str, Any] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @contextmanager
    def refusal_is_a_finding(self) -> Iterator[None]:
        """Within it, what would refuse the run is written down, and the check goes on."""
        try:
            yield
        except BadInputError as error:
            self.findings.append(str(error))


def report_lines(report: Report) -> list[str]:
    """Return the report as lines of text."""
    sections = report.sections
    given = {name: entry for name, entry in sections["config"].items() if entry["source"] != "default"}
    lines = [f"mmr1 {report.command}", "", f"Options given ({len(sections['config']) - len(given)} have defaults)"]
    lines += [f"  {name:<30} {entry['value']!s:<34} {entry['source']}" for name, entry in given.items()]

    batches = sections["batches"]
    lines += ["", "Batches"]
    lines += [f"  {name.replace('_', ' '):<30} {value:,}" for name, value in batches.items()]

    rows = sections["rows"]
    lines += ["", f"Rows of {rows['dataset']}"]
    lines += [f"  {'rows':<30} {rows['rows']:,}", f"  {'columns':<30} {', '.join(rows['columns'])}"]
    for name in ("answer_types", "images_per_row", "sources"):
        if rows[name]:
            lines.append(f"  {name.replace('_', ' '):<30} {', '.join(f'{k}: {v:,}' for k, v in rows[name].items())}")

    tokens = sections["prompts"]["tokens"]
    lines += ["", "Tokens of a prompt"]
    lines.append(
        f"  {tokens['shortest']} to {tokens['longest']} (row {tokens['longest_row']}); on average {tokens['mean']}, "
        f"{tokens['mean_image']} of them for images"
    )
    lines += [f"  {line}" for line in sections["prompts"]["histogram"]]
    if images := sections.get("images"):
        (w1, h1), (w2, h2) = images["smallest"], images["largest"]
        low, middle, high = images["tokens"]
        lines += ["", "Images", f"  {images['count']:,} from {w1} x {h1} to {w2} x {h2} pixels"]
        lines.append(f"  {images['enlarged']:,} enlarged by min_pixels, {images['reduced']:,} reduced by max_pixels")
        lines.append(f"  {low} to {high} tokens each, median {middle}")

    if places := sections.get("places"):
        sizes = [
            f"{size[0]} x {size[1]}" if size else "unknown" for size in (places["image_size"], places["seen_size"])
        ]
        lines += ["", f"Points and boxes: the model's are read as {places['coordinates']}"]
        lines.append(f"  row {places['row']}: stored picture {sizes[0]}, seen by the model {sizes[1]}; its gold is")
        lines += [f"  {name:<30} {_short(str(numbers), 100)}" for name, numbers in places["gold"].items()]

    memory = sections["memory_gib"]
    lines += ["", "Estimated memory of one process in GiB, before sharding and without vLLM (`mmr1 plan` has both)"]
    lines.append(f"  {memory['parameters']:,} parameters, {memory['trainable']:,} trained")
    lines += [
        f"  {name.replace('_', ' '):<30} {memory[name]:,.2f}"
        for name in memory
        if name not in ("parameters", "trainable") and (memory[name] or name in ("weights", "total"))
    ]
    for sample in sections.get("samples", []):
        rewards = ", ".join(f"{name} {value}" for name, value in sample["rewards"].items())
        lines += ["", f"Sample of row {sample['row']} ({sample['tokens']} tokens{', cut' * sample['truncated']})"]
        lines.append(f"  question    {_short(sample['question'])}")
        lines.append(f"  gold        {_short(sample['solution'])} ({sample['answer_type']})")
        lines.append(f"  completion  {_short(sample['completion'], tail=True)}")
        lines.append(f"  extracted   {_short(str(sample['extracted']))} ({sample['reason']})")
        lines.append(f"  rewards     {rewards}")
    lines += [""] + [f"Note: {note}" for note in report.notes]
    lines += [f"Finding: {finding}" for finding in report.findings] or ["Nothing found that would stop the run."]
    return lines


def _short(text: str, length: int = 300, tail: bool = False) -> str:
    text = " ".join(text.split())
    if len(text) <= length:
        return text
    return f"... {text[-length:]}" if tail else f"{text[:length]} ..."
