# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""A token is found wherever a file that can be uploaded can hold one, whatever it is wrapped in."""

import io
import json
import random
import string
import struct
import zlib
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.torch import save

from mmr1_trl.errors import BadInputError
from mmr1_trl.hub import scan, texts
from mmr1_trl.hub.manifest import Entry


LETTERS = string.ascii_letters + string.digits
OWN = "q7/My own+key=%40\\n5"
Wrap = Callable[[str, random.Random], bytes]


def _token(rng: random.Random) -> str:
    def some(number: int, letters: str = LETTERS) -> str:
        return "".join(rng.choice(letters) for _ in range(number))

    upper = string.ascii_uppercase + string.digits
    kinds = [
        "hf_" + some(34), "ghp_" + some(36), "github_pat_" + some(62, LETTERS + "_"), "sk-" + some(48),
        "sk-proj-" + some(60, LETTERS + "_-"), "sk-ant-" + some(40, LETTERS + "_-"), "AKIA" + some(16, upper),
        "AIza" + some(35, LETTERS + "_-"), "xoxb-" + some(24, string.digits + "-"),
    ]  # fmt: skip
    return rng.choice(kinds)


def _around(token: str, rng: random.Random) -> str:
    """A text with the token somewhere in it, after anything."""
    before = rng.choice(["", "\n", "\t", "key=", "my_", '"', "\r\n", "é", "token:", "\b", "\\", "a\n", "_", "/", "0"])
    words = [rng.choice(["loss", "0.5", "the", "{", "<b>", "naïve", "&", "100%"]) for _ in range(rng.randint(0, 8))]
    words.insert(rng.randint(0, len(words)), before + token)
    return " ".join(words)


def _escaped(token: str, rng: random.Random, form: str) -> str:
    """Some characters of the token in the form of an escape."""
    return "".join(form.format(ord(char)) if rng.random() < 0.3 else char for char in token)


def _nested(text: str, rng: random.Random) -> Any:
    value: Any = text
    for _ in range(rng.randint(0, 4)):
        value = rng.choice([[1, value], {"a": value, "b": None}, {text: 1}, [[value]]])
    return value


def _png(info: PngInfo | None = None, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "PNG", pnginfo=info, **options)
    return file.getvalue()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png_text(text: str, rng: random.Random) -> bytes:
    info = PngInfo()
    how = rng.randrange(6)
    if how == 0:
        info.add_text("Comment", text.encode("latin-1", "replace").decode("latin-1"), zip=rng.random() < 0.5)
    elif how == 1:
        info.add_itxt("Comment", text, lang="en", tkey="note", zip=rng.random() < 0.5)
    elif how == 2:
        return _png() + text.encode()
    elif how == 3:
        return _png(exif=b"Exif\0\0" + text.encode("utf-16-le"))
    elif how == 4:
        profile = b"icc\0\0" + zlib.compress(text.encode(), rng.randint(1, 9))
        return _png()[:33] + _chunk(b"iCCP", profile) + _png()[33:]
    else:
        return _png()[:33] + _chunk(b"teXt", text.encode()) + _png()[33:]
    return _png(info)


def _jpeg(text: str, rng: random.Random) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "JPEG", comment=text.encode(rng.choice(["utf-8", "utf-16"])))
    return file.getvalue()


def _column(text: str, rng: random.Random) -> pa.Array:
    """The text in a column of some Arrow type, in some row."""
    short = text.encode()
    makers: list[Callable[[], pa.Array]] = [
        lambda: pa.array(["a", text, None]),
        lambda: pa.array(["a", text, None], pa.large_string()),
        lambda: pa.array(["a", text, None], pa.string_view()),
        lambda: pa.array(["a", text, "a"]).dictionary_encode(),
        lambda: pa.array([b"a", short, None]),
        lambda: pa.array([b"a", text.encode("utf-16"), None]),
        lambda: pa.array([b"a", short, None], pa.large_binary()),
        lambda: pa.array([b"a", short, None], pa.binary_view()),
        lambda: pa.array([short[::-1], short, None], pa.binary(len(short))),
        lambda: pa.array([None, _png_text(text, rng), None]),
        lambda: pa.array([["a"], ["b", text], None]),
        lambda: pa.array([["a"], [text], None], pa.large_list(pa.string())),
        lambda: pa.array([["a", "b"], ["b", text], ["", ""]], pa.list_(pa.string(), 2)),
        lambda: pa.array([[["a"]], [["b"], [text]], None]),
        lambda: pa.array([{"a": 1, "b": None}, {"a": 2, "b": [text]}, None]),
        lambda: pa.array([[("a", "b")], [(text, "b")], None], pa.map_(pa.string(), pa.string())),
        lambda: pa.array([[("a", "b")], [("a", text)], None], pa.map_(pa.string(), pa.string())),
        lambda: pa.array([[("a", "b")], [("a", text)], None], pa.map_(pa.string(), pa.large_string())),
        lambda: pa.array([{text: 1}, {text: 2}, None]),
        lambda: pa.array([json.dumps([1]), json.dumps({"a": [text]}), None], pa.string()).cast(pa.json_()),
        lambda: pa.array([list(b"a"), list(short), None], pa.list_(pa.uint8())),
    ]
    return rng.choice(makers)()


def _parquet(text: str, rng: random.Random) -> bytes:
    table = pa.table({"x": [1, 2, 3], "y": [0.5, None, 1.0], "z": pa.array([True, False, None])})
    how = rng.randrange(8)
    if how == 0:
        table = table.append_column(text, pa.array([1, 2, 3]))
    elif how == 1:
        table = table.replace_schema_metadata({"note": text, "huggingface": json.dumps({"info": {"a": text}})})
    elif how == 2:
        table = table.append_column(pa.field("w", pa.int64(), metadata={"note": text}), pa.array([1, 2, 3]))
    else:
        table = table.append_column("w", _column(text, rng))
    file = io.BytesIO()
    pq.write_table(table, file, compression=rng.choice(["none", "zstd", "snappy"]))
    return file.getvalue()


def _torch(value: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def _html(text: str, rng: random.Random) -> bytes:
    return f"<p title='{_escaped(text, rng, rng.choice(['&#{};', '&#x{:x};']))}'>x</p>".encode()


FORMATS: dict[str, tuple[str, Wrap]] = {
    "json": ("a.json", lambda t, r: json.dumps(_nested(_around(t, r), r), ensure_ascii=r.random() < 0.5).encode()),
    "json, characters escaped": (
        "a.json", lambda t, r: ('{"a": "\\t' + _escaped(t, r, "\\u{:04x}") + '"}').encode()
    ),
    "json in json": ("a.json", lambda t, r: json.dumps({"a": json.dumps([json.dumps(_around(t, r))])}).encode()),
    "json, a name twice": ("a.json", lambda t, r: f'{{"a": {json.dumps(_around(t, r))}, "a": 1}}'.encode()),
    "markdown": ("README.md", lambda t, r: _around(t, r).encode()),
    "markdown, escaped": ("README.md", lambda t, r: t.replace("_", "\\_").replace("-", "\\-").encode()),
    "markdown, an address": ("README.md", lambda t, r: f"https://a.org/?t={_escaped(t, r, '%{:02X}')}".encode()),
    "html": ("a.html", _html),
    "svg": ("a.svg", _html),
    "yaml": ("a.yaml", lambda t, r: f"a: 1  # {_around(t, r)}".replace("\n", " ").replace("\r", " ").encode()),
    "yaml, escaped": ("a.yaml", lambda t, r: ('a: ["\\t' + _escaped(t, r, "\\x{:02x}") + '"]').encode()),
    "yaml, over two lines": ("a.yml", lambda t, r: f'a: "x {t[:9]}\\\n    {t[9:]}"'.encode()),
    "yaml, a name": ("a.yaml", lambda t, r: ('"\\n' + t + '": 1').encode()),
    "utf-16": ("a.txt", lambda t, r: _around(t, r).encode(r.choice(["utf-16", "utf-16-le", "utf-16-be"]))),
    "utf-32": ("a.bib", lambda t, r: _around(t, r).encode(r.choice(["utf-32", "utf-32-le", "utf-32-be"]))),
    "template": ("chat_template.jinja", lambda t, r: f"{{{{ '\\n{_around(t, r)}' }}}}".encode()),
    "vocabulary": ("tokenizer.json", lambda t, r: json.dumps({"vocab": {_around(t, r): 1}}).encode()),
    "merges": ("merges.txt", lambda t, r: _around(t, r).encode()),
    "sentencepiece": ("a.model", lambda t, r: b"\x0a\x10" + _around(t, r).encode() + b"\0\1\2"),
    "png": ("a.png", lambda t, r: _png_text(_around(t, r), r)),
    "jpeg": ("a.jpg", lambda t, r: _jpeg(_around(t, r), r)),
    "safetensors, metadata": (
        "a.safetensors", lambda t, r: save({"w": torch.zeros(2)}, {"note": _around(t, r)})
    ),
    "safetensors, a name": ("a.safetensors", lambda t, r: save({_around(t, r): torch.zeros(2)})),
    "parquet": ("a.parquet", lambda t, r: _parquet(_around(t, r), r)),
    "optimizer": ("optimizer.pt", lambda t, r: _torch({"a": [1, _around(t, r)]})),
}  # fmt: skip


def _found(path: str, content: bytes, secrets: list[str] | None = None) -> list[str]:
    return scan.find_problems(Entry(path, content), secrets or [], [])


@pytest.mark.parametrize("name", FORMATS)
def test_a_token_is_found_in_any_wrapping(name: str) -> None:
    path, wrap = FORMATS[name]
    rng = random.Random(name)
    for _ in range(250 if name == "parquet" else 40):
        token = _token(rng)
        content = wrap(token, rng)
        found = _found(path, content)
        assert found and not any(token in problem for problem in found), (token, content[:400])
        assert _found(path, wrap("nothing_to_see", rng)) == []


@pytest.mark.parametrize("name", [name for name in FORMATS if "escaped" not in name and "two lines" not in name])
def test_a_value_of_ones_own_is_found_in_any_wrapping(name: str) -> None:
    path, wrap = FORMATS[name]
    rng = random.Random(name)
    for number in range(60 if name == "parquet" else 5):
        own = f"own{number}.value~" + "".join(rng.choice(LETTERS) for _ in range(10))
        assert _found(path, wrap(own, rng), [own]) == [f"{path} holds one of your own tokens or keys"]


def test_a_value_of_ones_own_is_found_anywhere_in_a_file() -> None:
    own = OWN.encode()
    weights = torch.frombuffer(bytearray(own + b"\0" * (-len(own) % 4)), dtype=torch.uint8)
    png = _png()
    contents = {
        "a.safetensors": save({"w": weights}),
        "optimizer.pt": _torch({"w": torch.cat([torch.zeros(1 << 24, dtype=torch.uint8), weights])}),
        "a.png": png[:60] + own + png[60:],
        "a.parquet": _parquet("x", random.Random(0)) + own,
        "a.json": json.dumps({"a": OWN}).encode(),
        "README.md": OWN.replace("/", "\\/").encode(),
        "a.html": OWN.replace("/", "&#47;").encode(),
    }
    contents["a.parquet"] = contents["a.parquet"][:4] + own + contents["a.parquet"][4:]
    for path, content in contents.items():
        if path != "a.parquet":
            assert _found(path, content, [OWN]) == [f"{path} holds one of your own tokens or keys"], path
    # Bytes put into a table make it unreadable, and what cannot be read is not uploaded.
    with pytest.raises(BadInputError):
        _found("a.parquet", contents["a.parquet"], [OWN])


def test_a_token_in_the_name_of_a_file() -> None:
    assert _found(f"hf_{'aB3' * 12}.json", b"{}") == [f"hf_{'aB3' * 12}.json holds a Hugging Face token"]


def test_ordinary_texts_hold_none() -> None:
    for text in (
        "risk-averse-and-task-oriented-training-of-language-models-in-2026",
        "hf_hub_download, hf_transfer", "ask-" * 20, "https://user@host/a:b", "sk-learn", "AKIA", "gh_pages",
    ):  # fmt: skip
        assert _found("README.md", text.encode()) == [], text


def test_what_cannot_be_searched_is_refused() -> None:
    union = pa.UnionArray.from_sparse(pa.array([0, 1], pa.int8()), [pa.array([1, 2]), pa.array(["a", "b"])])
    with pytest.raises(BadInputError, match="column 'w' holds sparse_union.* cannot be searched"):
        list(texts._of_array(union, "column 'w'"))
    numbers = [pa.int64(), pa.float16(), pa.bool_(), pa.null(), pa.date32(), pa.timestamp("us"), pa.time64("us"),
               pa.duration("s"), pa.decimal128(9, 2), pa.decimal256(40, 2)]  # fmt: skip
    for kind in numbers:
        assert list(texts._of_array(pa.nulls(2, kind), "")) == []
    for path, content in {
        "a.parquet": b"PAR1",
        "a.json": b"{",
        "b.json": b"[" * 100_000,
        "a.safetensors": b"\xff" * 8,
        "b.safetensors": (4).to_bytes(8, "little") + b"{...",
    }.items():
        with pytest.raises(BadInputError, match=path.replace(".", r"\.")):
            _found(path, content)
