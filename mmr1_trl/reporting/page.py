# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""One self-contained HTML page of numbers, curves and completions: no script, no network, no other file."""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import jinja2
from markupsafe import Markup

from mmr1_trl.reporting.curves import COLORS
from mmr1_trl.reporting.tables import Table


@dataclass
class Answer:
    """
    One completion as the page shows it.

    Attributes:
        label (`str`):
            Where it comes from, e.g. `"before"`; may be empty.
        completion (`str`):
            The text.
        extracted (`str`, *optional*):
            The answer found in it.
        correct (`bool`, *optional*):
            Whether the answer counts as right, if known.
        rewards (`dict[str, float | None]`):
            Value of each reward function.
    """

    label: str
    completion: str
    extracted: str | None
    correct: bool | None
    rewards: dict[str, float | None] = field(default_factory=dict)

    @property
    def parts(self) -> list[tuple[str, str]]:
        """The completion cut into `("think" | "answer" | "text", words)`, without the tags."""
        pieces = []
        for kind, inside, outside in re.findall(
            r"<(think|answer)>(.*?)(?:</\1>|\Z)|((?:(?!<think>|<answer>).)+)", self.completion, flags=re.DOTALL
        ):
            text = (inside if kind else outside).strip()
            if text or kind:
                pieces.append((kind or "text", text))
        return pieces


@dataclass
class Sample:
    """A prompt with its picture (encoded bytes), its solution (`None` where unknown) and one or more completions."""

    picture: bytes | None
    question: str
    solution: str | None
    answers: list[Answer]
    tag: str = ""

    @property
    def picture_uri(self) -> str | None:
        """The picture as a `data:` address."""
        if self.picture is None:
            return None
        kind = "png" if self.picture.startswith(b"\x89PNG") else "jpeg"
        return f"data:image/{kind};base64,{base64.b64encode(self.picture).decode()}"

    @property
    def verdict(self) -> str:
        """`"right"`, `"wrong"` or `"unknown"`, after the last answer."""
        return {True: "right", False: "wrong", None: "unknown"}[self.answers[-1].correct]


@dataclass
class Gauge:
    """A share before and after, drawn as two bars; `before` is `None` when there is only one. Intervals in [0, 1]."""

    label: str
    before: float | None
    after: float
    after_interval: Sequence[float] | None = None


@dataclass
class Report:
    """
    Everything on the page, from top to bottom.

    Attributes:
        title (`str`):
            Headline.
        summary (`str`):
            One or two sentences.
        gauges (`list[Gauge]`):
            The main numbers.
        tables (`list[Table]`):
            Tables; each may have a title.
        curves (`dict[str, str]`):
            SVG markup by title, from [`~mmr1_trl.reporting.curves.draw_svgs`].
        over (`str`):
            What the curves are drawn over.
        maps (`dict[str, str]`):
            SVG markup of the prompt scores over the run, by title.
        groups (`list[str]`):
            Names of the runs in the curves, in color order.
        samples (`dict[str, list[Sample]]`):
            Completions to browse, by the title of their section.
        notes (`list[str]`):
            What a reader must know to judge the numbers.
    """

    title: str
    summary: str = ""
    gauges: list[Gauge] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    curves: dict[str, str] = field(default_factory=dict)
    over: str = "optimizer steps"
    maps: dict[str, str] = field(default_factory=dict)
    groups: list[str] = field(default_factory=list)
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def html(self) -> str:
        """Render the page."""
        environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
        template = environment.from_string(files("mmr1_trl.reporting").joinpath("page.html.jinja").read_text("utf-8"))
        curves = {title: Markup(markup) for title, markup in self.curves.items()}
        maps = {title: Markup(markup) for title, markup in self.maps.items()}
        legend = [(name, COLORS[i % len(COLORS)]) for i, name in enumerate(self.groups)]
        return template.render(report=self, curves=curves, maps=maps, legend=legend, over=self.over)

    def write(self, path: str | Path) -> Path:
        """Write the page to `path` and return it."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.html(), encoding="utf-8")
        return path
