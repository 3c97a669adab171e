# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Nothing secret goes up: tokens are found and refused, paths of this machine are shortened, or found and refused."""

import json
import os
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from mmr1_trl.errors import BadInputError
from mmr1_trl.hub.manifest import Entry, Manifest
from mmr1_trl.hub.texts import pieces, texts, views


# What tokens of common services look like: something that they hold, to look for first, and the whole. Nothing is
# asked of what stands before them, since anything may. Keys without a form of their own are found by value, from the
# environment.
_URL_CHARS = rb"[!#-&(-.0-9;=?A-~]"  # of a name or password: printable, but no quotes, colon, slash, @, < or >
TOKENS: dict[str, tuple[tuple[bytes, ...], bytes]] = {
    "a Hugging Face token": ((b"hf_", b"api_org_"), rb"(?:hf|api_org)_[A-Za-z0-9]{30,}"),
    "a GitHub token": ((b"gh", b"github_pat_"), rb"gh[opsur]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{60,}"),
    "an OpenAI or Anthropic key": (
        (b"sk-",),
        # "task-oriented-..." is none
        rb"sk-(?:ant|proj|svcacct)-[A-Za-z0-9_-]{20,}|sk-[A-Za-z0-9]{32,}|(?<![A-Za-z])sk-[A-Za-z0-9_-]{32,}",
    ),
    "an AWS key": ((b"AKIA", b"ASIA"), rb"(?:AKIA|ASIA)[A-Z0-9]{16}"),
    "a Google key": ((b"AIza",), rb"AIza[A-Za-z0-9_-]{35}"),
    "a Slack token": ((b"xox",), rb"xox[abprs]-[A-Za-z0-9-]{20,}"),
    "a private key": ((b"PRIVATE KEY",), rb"-----BEGIN [A-Z ]{0,40}PRIVATE KEY"),
    "a password in a URL": (
        (b"://",),
        rb"[a-z][a-z0-9+]{2,9}://" + _URL_CHARS + rb"{1,200}:" + _URL_CHARS + rb"{6,200}@",
    ),
}
_TOKENS = {kind: (parts, re.compile(pattern)) for kind, (parts, pattern) in TOKENS.items()}
_SECRET_VARIABLES = re.compile(r"(TOKEN|API_KEY|SECRET|SECRET_KEY|ACCESS_KEY|PASSWORD)$")

# Absolute paths inside a text. A path may follow file://, but not another character of a path or of a URL.
_START = r"(?:(?<=file://)|(?<![\w.:/+=~-]))"
_END = r"[^\s\"'`<>|,;:(){}\[\]]*"
_ROOTS = r"home|Users|root|mnt|tmp|scratch|workspace|lustre|gpfs|private/var|var/folders|content/drive"
_LOCAL = re.compile(rf"{_START}(?:/(?:{_ROOTS})/{_END}|[A-Za-z]:\\\\?Users\\\\?{_END})")
_WHOLE = re.compile(r"(?:/(?:[^/\n]+/)+[^/\n]*|[A-Za-z]:[\\/][^\n]+)")  # a text that is an absolute path and no more
_QUOTED = re.compile(r"(?<=[\"'])/(?:[^/\n\"']+/)+[^/\n\"']*(?=[\"'])")

# Vocabularies are full of things like "/home"; all of their text comes from the base model.
_VOCABULARY = ("tokenizer.json", "vocab.json", "merges.txt", "added_tokens.json", "*.model", "*.tiktoken", "*.jinja")
_TEXT = (".json", ".md", ".yaml", ".yml", ".txt", ".html", ".svg", ".bib")


def own_secrets(token: str | None = None) -> list[str]:
    """
    Return the secrets of this user that are known here: the Hub token, and what the environment calls a key or token.

    Args:
        token (`str`, *optional*):
            A token given by hand.
    """
    from huggingface_hub import get_token

    values = [token, get_token(), *(value for name, value in os.environ.items() if _SECRET_VARIABLES.search(name))]
    return sorted({value for value in values if value and len(value) >= 12})


def own_paths(*folders: Path) -> list[str]:
    """Return the absolute paths that say something about this machine, longest first."""
    places = [Path.home(), Path.cwd(), Path(tempfile.gettempdir())]
    places += [place for folder in folders for place in (folder.absolute(), folder.resolve(), folder.resolve().parent)]
    return sorted({str(place) for place in places if str(place) != place.anchor}, key=len, reverse=True)


def clean(manifest: Manifest, folder: Path, token: str | None = None) -> None:
    """
    Shorten the paths of this machine in the texts of an upload, then refuse it if anything secret is left.

    Only what is uploaded changes, and with it the mark of a checkpoint; the files on disk stay as they are.

    Args:
        manifest ([`~mmr1_trl.hub.manifest.Manifest`]):
            The upload.
        folder (`Path`):
            Where it comes from.
        token (`str`, *optional*):
            The Hub token in use, if not the one that is saved or in the environment.

    Raises:
        [`BadInputError`]: A file holds a token, or a path of this machine that cannot be shortened. The message names
            file and kind, never the value.
    """
    secrets, paths = own_secrets(token), own_paths(folder)
    for entry in manifest.entries:
        _shorten_paths(entry, paths)
    problems = [problem for entry in manifest.entries for problem in find_problems(entry, secrets, paths)]
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise BadInputError(
            f"Nothing was uploaded: {'; '.join(problems[:5])}{more}. Take it out of the file, or leave the file out "
            "by --exclude NAME."
        )
    manifest.reseal()


def find_problems(entry: Entry, secrets: Iterable[str], paths: Iterable[str]) -> list[str]:
    """
    Name what must not go up in a file: it is decoded first, and then searched.

    Args:
        entry ([`~mmr1_trl.hub.manifest.Entry`]):
            The file.
        secrets (`Iterable[str]`), paths (`Iterable[str]`):
            Values to look for: secrets of the user, absolute paths of this machine.

    Returns:
        `list[str]`: Such as `"README.md holds a Hugging Face token"`; the values themselves are not repeated.

    Raises:
        [`BadInputError`]: The file cannot be read, so that nobody knows what it holds.
    """
    # As they are, and without what would pass for an escape in them.
    values = [view.encode("utf-8", "surrogatepass") for secret in secrets for view in views(secret) if len(view) >= 8]
    own_bytes = [path.encode() for path in paths]
    is_text = PurePosixPath(entry.path).suffix in _TEXT
    own = _own_paths(paths, _START if is_text else "")  # in a pickle any byte may stand before a path
    found: dict[str, None] = {}

    def look(content: bytes, text: str | None) -> None:
        if any(value in content for value in values):
            found["one of your own tokens or keys"] = None
        for kind, (parts, pattern) in _TOKENS.items():
            if any(part in content for part in parts) and pattern.search(content):
                found[kind] = None
        if _is_vocabulary(entry.path) or not own_bytes:
            return
        if text is None:
            text = content.decode("utf-8", "replace") if any(path in content for path in own_bytes) else ""
        if own.search(text) or (is_text and _LOCAL.search(text)):
            found["an absolute path of this machine"] = None

    for part in texts(entry):
        if isinstance(part, bytes):
            look(part, None)
        else:
            for view in views(part):
                look(view.encode("utf-8", "surrogatepass"), view)
    # What is known is looked for everywhere, in the numbers of weights and between the columns of a table as well.
    if values and any(value in piece for piece in pieces(entry) for value in values):
        found["one of your own tokens or keys"] = None
    return [f"{entry.path} holds {kind}" for kind in found]


def _is_vocabulary(path: str) -> bool:
    return any(PurePosixPath(path).match(pattern) for pattern in _VOCABULARY)


def _shorten_paths(entry: Entry, paths: list[str]) -> None:
    """Replace absolute paths in the texts that people write into: JSON, YAML, cards. A path becomes its last part."""
    name = PurePosixPath(entry.path)
    if name.suffix not in (".json", ".yaml", ".yml", ".md") or _is_vocabulary(entry.path):
        return
    before = entry.read().decode("utf-8", "replace")
    own = _own_paths(paths)

    def in_text(text: str) -> str:
        return _LOCAL.sub(_last_part, own.sub(_last_part, text))

    if name.suffix == ".json":
        try:
            value = json.loads(before)
        except ValueError as error:
            raise BadInputError(f"{entry.path} is not valid JSON ({error}). Save the model again.") from error
        shortened = _walk(value, in_text)
        after = before if shortened == value else json.dumps(shortened, indent=2, ensure_ascii=False) + "\n"
    elif name.suffix == ".md":
        after = in_text(before)
    else:
        after = in_text(_QUOTED.sub(_last_part, before))
    if after != before:
        entry.source, entry.note = after.encode(), "local paths shortened"


def _own_paths(paths: Iterable[str], start: str = _START) -> re.Pattern[str]:
    """Return what finds some paths in a text, each with what follows it; without paths nothing."""
    return re.compile(rf"{start}(?:{'|'.join(map(re.escape, paths)) or '(?!)'})(?![\w.-]){_END}")


def _walk(value: Any, in_text: Any) -> Any:
    if isinstance(value, dict):
        return {key: _walk(part, in_text) for key, part in value.items()}
    if isinstance(value, list):
        return [_walk(part, in_text) for part in value]
    if isinstance(value, str):
        return _last_part(value) if _WHOLE.fullmatch(value) else in_text(value)
    return value


def _last_part(match: "str | re.Match[str]") -> str:
    text = match if isinstance(match, str) else match[0]
    return re.split(r"[\\/]", text.rstrip("\\/"))[-1]
