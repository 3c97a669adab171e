# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""From a template and facts to a README.md that is valid for the Hub and harmless whatever the facts are."""

import functools
import json
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from huggingface_hub import RepoCard
from huggingface_hub.errors import HFValidationError
from huggingface_hub.repocard_data import CardData
from huggingface_hub.utils import validate_repo_id

from mmr1_trl.errors import BadInputError
from mmr1_trl.run_folder import CARD, write_text


ASSETS = "assets"  # the pictures of a card
# As long as a card carries it, the card is ours to write anew.
MARKER = (
    "<!-- mmr1-trl writes this card anew with every checkpoint and upload. Delete this line to keep your text. -->"
)
# TRL's and PEFT's own drafts, which nobody has written by hand either.
_DRAFTS = (MARKER, "- generated_from_trainer", "[More Information Needed]")
_LONGEST = 300


def hub_id(name: str | None) -> str | None:
    """
    Return the Hub id that a model or dataset name stands for.

    Args:
        name (`str`, *optional*):
            As given to the trainer or on the command line, perhaps with `@split`.

    Returns:
        `str` or `None`: `None` for everything that exists on this machine only, or is built in.
    """
    repo = (name or "").partition("@")[0]
    if repo.count("/") != 1 or repo.startswith("figures/") or repo.startswith("~") or Path(repo).exists():
        return None
    try:
        validate_repo_id(repo)
    except HFValidationError:
        return None
    return None if Path(repo).suffix in (".parquet", ".jsonl", ".json", ".csv", ".arrow") else repo


def public_name(name: str | None) -> str:
    """Return what a card may call a model or dataset: the name, of a local path the last part only."""
    name = str(name or "")
    if " + " in name:  # a mixture
        return " + ".join(public_name(part) for part in name.split(" + "))
    if not name or hub_id(name) or name.startswith("figures"):
        return name
    return re.split(r"[\\/]", name.rstrip("\\/"))[-1]


def named(name: str | None) -> dict[str, Any]:
    """Return what a card says of a model or a dataset: its `name` for the public, and its `hub_id` if it has one."""
    return {"name": public_name(name), "hub_id": hub_id(name)}


def repo_name(folder: Path, repo_id: str | None) -> str:
    """Return what the card is headed with."""
    return repo_id.split("/")[-1] if repo_id else folder.resolve().name


def markdown(value: Any) -> str:
    """Escape a text so that Markdown and HTML show it as it is, on one line."""
    text = " ".join(str(value).split())[:_LONGEST]
    return re.sub(r"([\\`*_{}\[\]<>#|~$!&])", r"\\\1", text)


def code(value: Any) -> str:
    """Show a text as code, on one line, in a table as well."""
    text = " ".join(str(value).split())[:_LONGEST].replace("`", "'").replace("|", "\\|")
    return f"`{text}`" if text else ""


def link(thing: dict[str, Any], kind: str = "") -> str:
    """Show a model that is [`named`], or a dataset (`kind="datasets/"`): as a link to the Hub, or just its name."""
    repo_id = thing["hub_id"]
    return f"[{markdown(repo_id)}](https://huggingface.co/{kind}{quote(repo_id)})" if repo_id else code(thing["name"])


def number(value: Any) -> str:
    """Write `1234567` as `1,234,567`, `1e-06` as it is, and leave everything else to [`code`]."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return code(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def size(count: int) -> str:
    """Write a number of parameters as `3.8 B`."""
    for unit, scale in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= scale:
            return f"{count / scale:.3g} {unit}"
    return str(count)


def duration(seconds: float) -> str:
    """Write seconds as `2 h 5 min` or `40 s`."""
    minutes = round(seconds / 60)
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def quoted(value: Any) -> str:
    """Write a text, list or dict as Python does."""
    return json.dumps(value, ensure_ascii=False)


def existing_license(folder: Path) -> str | None:
    """Return the license that the card in `folder` names, which a new card takes over."""
    try:
        return RepoCard.load(folder / CARD, ignore_metadata_errors=True).data.get("license")
    except (OSError, ValueError):
        return None


@contextmanager
def readable(folder: Path) -> Iterator[None]:
    """
    Around the use of what the files of a run say.

    Raises:
        [`BadInputError`]: A value is of another kind than this package writes.
    """
    try:
        yield
    except BadInputError:
        raise
    except (TypeError, ValueError, LookupError, AttributeError, jinja2.TemplateError) as error:
        raise BadInputError(
            f"No card can be written in {folder}: the files of its run hold a value of another kind than this package "
            f"writes ({type(error).__name__}: {error})."
        ) from error


def write_card(folder: Path, template: str, data: CardData, **facts: Any) -> Path:
    """
    Fill a template and write it as the card of a folder, unless somebody has written one by hand.

    Args:
        folder (`Path`):
            Where `README.md` goes.
        template (`str`):
            File in `cards/`.
        data ([`~huggingface_hub.CardData`]):
            The header.
        **facts:
            What the template uses.

    Returns:
        `Path`: The card.

    Raises:
        [`BadInputError`]: A fact is of a kind that the template cannot show.
    """
    path = folder / CARD
    if path.is_file() and not any(mark in path.read_text("utf-8", "replace") for mark in _DRAFTS):
        return path
    with readable(folder):
        body = _environment().get_template(template).render(marker=MARKER, **facts)
    body = re.sub(r"\n{3,}", "\n\n", body).strip() + "\n"
    # The header through huggingface_hub, which reads it back: what it cannot read is never written.
    write_text(path, str(RepoCard(f"---\n{data.to_yaml()}\n---\n\n{body}")))
    return path


@functools.cache
def _environment() -> jinja2.Environment:
    """How templates are read. It keeps them, so that the card of every save is not compiled anew."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_templates()),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "md": markdown, "code": code, "link": link, "number": number, "size": size, "duration": duration,
        "quoted": quoted,
        "shell": lambda text: shlex.quote(" ".join(str(text).split())),
        "fenced": lambda text: str(text).strip().replace("`", "'"),  # several lines, none of which ends the block
        "oneline": lambda text: " ".join(text.split()).replace(" ,", ","),
    }  # fmt: skip
    return environment


def _templates() -> Path:
    package = Path(__file__).parent.parent
    # A wheel carries the templates inside the package, a source checkout beside it.
    return package / "cards" if (package / "cards").is_dir() else package.parent / "cards"
