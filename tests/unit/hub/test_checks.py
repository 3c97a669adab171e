# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What goes up and what does not: tokens, local paths, state of training, folders that do not load. No network."""

import json
import os
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from mmr1_trl.errors import BadInputError
from mmr1_trl.hub import scan, upload, upload_checks
from mmr1_trl.hub.collect import collect
from mmr1_trl.hub.manifest import Entry, Manifest, readable
from mmr1_trl.hub.upload import check_repo_id
from mmr1_trl.models import build_tiny_vlm


OWN = "a-secret-of-mine-0123456789"
HOME = "/".join(["", "home", "someone"])  # in parts, for whoever looks for such paths in this repository


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    model, processor = build_tiny_vlm("qwen2_5_vl", seed=0)
    model.save_pretrained(folder, max_shard_size="1MB")
    processor.save_pretrained(folder)
    return folder


@pytest.fixture
def model_folder(saved, tmp_path):
    """A copy to break: the small files are copies, the weights too."""
    folder = tmp_path / "run"
    folder.mkdir()
    for file in saved.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


@pytest.fixture(autouse=True)
def own_key(monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", OWN)
    monkeypatch.delenv("HF_TOKEN", raising=False)


def problems(path, content):
    return scan.find_problems(Entry(path, content), scan.own_secrets(), scan.own_paths(Path("/srv/runs/mine")))


@pytest.mark.parametrize(
    "secret",
    [
        "hf_" + "aB3" * 12, "ghp_" + "a1" * 18, "sk-proj-" + "x" * 40, "AKIA" + "ABCD1234" * 2, "AIza" + "c" * 35,
        "xoxb-" + "1" * 24, "-----BEGIN RSA PRIVATE KEY-----", "https://me:hunter2222@host/", OWN,
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["README.md", "config.json", "optimizer.pt", "tokenizer.json", "chat_template.jinja"])
def test_tokens_are_found_in_any_file_and_never_repeated(path, secret):
    found = problems(path, f'{{"a": 1, "b": "before {secret} after"}}'.encode())
    assert len(found) == 1 and path in found[0]
    assert secret not in found[0]


@pytest.mark.parametrize("where", ["texts", "metadata", "nested"])
def test_tokens_are_found_inside_compressed_tables(tmp_path, where):
    secret = "hf_" + "Zz9" * 12
    frame = pd.DataFrame({"completion": ["nothing"] * 50, "messages": [[{"content": "nothing"}]] * 50})
    if where == "texts":
        frame.loc[49, "completion"] = f"my token is {secret}"
    elif where == "nested":
        frame.at[7, "messages"] = [{"content": secret}]
    else:
        frame.attrs["note"] = secret
    frame.to_parquet(tmp_path / "t.parquet", compression="zstd")
    assert scan.find_problems(Entry("t.parquet", tmp_path / "t.parquet"), [], ["/nowhere/at/all"]) == [
        "t.parquet holds a Hugging Face token"
    ]


@pytest.mark.parametrize("text", ["hf_transfer and hf_xet", "risk-free", "skip-this-" * 5, "see /api/models/x", "1/2"])
def test_ordinary_words_are_no_secrets(text):
    assert problems("README.md", text.encode()) == []


def test_a_vocabulary_may_hold_words_that_look_like_paths():
    vocabulary = json.dumps({"model": {"vocab": {f"{HOME}/": 5, "/".join(["", "root", "x"]): 6, str(Path.home()): 7}}})
    assert problems("tokenizer.json", vocabulary.encode()) == []
    assert problems("notes.txt", vocabulary.encode()) == ["notes.txt holds an absolute path of this machine"]


@pytest.mark.parametrize(
    ("path", "before", "after"),
    [
        ("a.json", '{"output_dir": "/srv/runs/mine", "n": 1}', {"output_dir": "mine", "n": 1}),
        ("a.json", '{"best": ["/anywhere/else/checkpoint-4/"]}', {"best": ["checkpoint-4"]}),
        ("a.json", '{"text": "saved to HOME/x.json now"}', {"text": "saved to x.json now"}),
        ("a.json", '{"url": "https://hostHOME/x", "half": "and/or", "root": "/"}', None),
        ("a.yaml", 'model: "/data/models/base"  # HOME/run.yaml\n', 'model: "base"  # run.yaml\n'),
        ("a.yaml", "rate: 1/2\nname: runs/mine\n", None),
        ("README.md", "from `/srv/runs/mine/data.jsonl`.", "from `data.jsonl`."),
        ("README.md", "file://HOME/a.png and https://hostHOME/x", "file://a.png and https://hostHOME/x"),
    ],
)
def test_paths_of_this_machine_are_shortened_and_nothing_else(tmp_path, path, before, after):
    manifest = Manifest([Entry(path, before.replace("HOME", HOME).encode())])
    scan.clean(manifest, Path("/srv/runs/mine"))
    content = manifest.entries[0].read().decode().replace(HOME, "HOME")
    if after is None:
        assert content == before and not manifest.entries[0].note
    else:
        assert (json.loads(content) if path.endswith("json") else content) == after
        assert manifest.entries[0].note == "local paths shortened"


def test_a_path_that_cannot_be_shortened_is_refused(tmp_path):
    manifest = Manifest([Entry("scheduler.pt", b"\x80\x02X" + str(tmp_path).encode() + b"/run/a.bin")])
    with pytest.raises(BadInputError, match=r"scheduler\.pt holds an absolute path .* --exclude"):
        scan.clean(manifest, tmp_path / "run")


def test_what_stays_here(model_folder):
    for name in ("optimizer.pt", "rng_state_0.pth", "training_args.bin", "pytorch_model.bin", ".env", "_tmp.json",
                 "rlvr_state.json", "notes.docx", "checkpoint-2/model.safetensors", "wandb/log.txt",
                 "completions/completions_00002.parquet", "mmr1_config.yaml"):  # fmt: skip
        (model_folder / name).parent.mkdir(exist_ok=True)
        (model_folder / name).write_bytes(b"x")
    manifest = Manifest()
    manifest.add_folder(model_folder, exclude=["completions/*"])
    paths = {entry.path for entry in manifest.entries}
    assert "mmr1_config.yaml" in paths and "model.safetensors.index.json" in paths and "config.json" in paths
    left_out = {name: reason for name, _, reason in manifest.left_out}
    assert set(left_out) == {
        "optimizer.pt", "rng_state_0.pth", "training_args.bin", "pytorch_model.bin", ".env", "_tmp.json",
        "rlvr_state.json", "notes.docx", "checkpoint-2/", "wandb/", "completions/completions_00002.parquet",
    }  # fmt: skip
    assert left_out["completions/completions_00002.parquet"] == "left out by --exclude"
    table = manifest.table()
    assert "mmr1_config.yaml" in table and "Not uploaded:" in table and readable(manifest.size) in table
    whole = Manifest()
    whole.add_folder(model_folder, "last-checkpoint", resume=True)
    assert {"last-checkpoint/optimizer.pt", "last-checkpoint/rlvr_state.json"} <= {e.path for e in whole.entries}
    assert not [entry.path for entry in whole.entries if "training_args" in entry.path]


def test_a_frozen_upload_does_not_see_what_training_does_next(tmp_path):
    (tmp_path / "checkpoint-2").mkdir()
    weights, card = tmp_path / "checkpoint-2/model.safetensors", tmp_path / "README.md"
    weights.write_bytes(b"weights")
    card.write_bytes(b"card")
    manifest = Manifest([Entry("model.safetensors", weights), Entry("README.md", card), Entry("a.json", b"{}")])
    manifest.freeze(tmp_path / "_push-2", immutable=tmp_path / "checkpoint-2")
    assert manifest.entries[0].source.samefile(weights)  # linked: no second copy of the weights
    weights.unlink()
    card.write_bytes(b"another")
    assert [entry.read() for entry in manifest.entries] == [b"weights", b"card", b"{}"]


def test_a_run_in_progress_uploads_its_checkpoint_with_the_records_beside_it(model_folder):
    checkpoint = model_folder / "checkpoint-20"
    checkpoint.mkdir()
    for file in [file for file in model_folder.iterdir() if file.is_file()]:
        (checkpoint / file.name).write_bytes(file.read_bytes())
    (model_folder / "config.json").write_text('{"an": "older one"}')
    (model_folder / "model-older.safetensors").write_bytes(b"half-written")
    (checkpoint / "optimizer.pt").write_bytes(b"state")
    (checkpoint / "README.md").write_text("PEFT's")
    (model_folder / "README.md").write_text("ours")
    (model_folder / "log_history.json").write_text("[]")
    saved = {file.name for file in checkpoint.iterdir()} - {"README.md"}
    for name in (None, "last-checkpoint", "checkpoint-20"):
        options = {"with_checkpoint": name is not None, "keeps_name": name == "checkpoint-20"}
        up = {entry.path: entry for entry in collect("run", model_folder, saved=checkpoint, **options).entries}
        resumed = {f"{name}/{file}" for file in saved} if name else set()
        assert up.keys() == saved - {"optimizer.pt"} | {"README.md", "log_history.json"} | resumed
        assert up["config.json"].source.parent == checkpoint and up["README.md"].read() == b"ours"


def test_a_refusal_names_the_folder_that_was_given(tmp_path):
    with pytest.raises(BadInputError, match=f"^{tmp_path} holds no scores.parquet"):
        collect("scores", tmp_path)
    (tmp_path / "scores.parquet").write_bytes(b"PAR1 cut off")
    with pytest.raises(BadInputError, match=f"^{tmp_path}/scores.parquet is broken: .*Give the `mmr1 score` command"):
        collect("scores", tmp_path)


@pytest.mark.parametrize(("path", "removed"), [("last-checkpoint/a.json", ["last-checkpoint/b.json"]), ("a.json", [])])
def test_the_newest_checkpoint_on_the_hub_is_replaced_as_a_whole(monkeypatch, path, removed):
    class Api:
        def __init__(self, token):
            self.token = token

        def list_repo_files(self, repo_id, repo_type, revision):
            return ["a.json", "b.json", "last-checkpoint/a.json", "last-checkpoint/b.json", "last-checkpoint-2/b.json"]

        def create_commit(self, operations, **options):
            return [type(operation).__name__ + " " + operation.path_in_repo for operation in operations]

    monkeypatch.setattr(upload, "HfApi", Api)
    sent = upload.upload(Manifest([Entry(path, b"{}")]), upload.Target("me/mine"), "a title")
    assert sent == [f"CommitOperationAdd {path}", *(f"CommitOperationDelete {name}" for name in removed)]


def test_a_whole_model_passes(model_folder):
    upload_checks.check_files(model_folder)
    upload_checks.check_model(model_folder)


def _change(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def _poison(folder):
    file = sorted(folder.glob("model-*.safetensors"))[0]
    weights = load_file(file)
    next(iter(weights.values())).view(-1)[3] = torch.nan
    save_file(weights, file, metadata={"format": "pt"})


def _drop_weight(folder):
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    name, shard = next(item for item in index["weight_map"].items() if "layers.1" in item[0])
    del index["weight_map"][name]
    weights = load_file(folder / shard)
    del weights[name]
    save_file(weights, folder / shard, metadata={"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _truncate(folder):
    file = sorted(folder.glob("model-*.safetensors"))[-1]
    file.write_bytes(file.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda f: (f / "config.json").unlink(), "no config.json"),
        (lambda f: (f / "config.json").write_text("{"), "not valid JSON"),
        (lambda f: (f / "processor_config.json").unlink(), "no processor"),
        (lambda f: (f / "chat_template.jinja").unlink(), "no chat template"),
        (lambda f: sorted(f.glob("model-*.safetensors"))[0].unlink(), "missing or half-written"),
        (lambda f: [file.unlink() for file in f.glob("model*")], "holds no weights"),
        (_truncate, "missing or half-written"),
        (_poison, "NaN"),
        (_drop_weight, "does not load: 1 missing weights"),
        (lambda f: _change(f / "generation_config.json", temperature=0.5, do_sample=False), "does not load"),
        (lambda f: _change(f / "config.json", architectures=None, model_type="no_such_model"), "no_such_model"),
        (lambda f: _change(f / "tokenizer_config.json", tokenizer_class=3), "without processor"),
    ],
)
def test_a_broken_model_is_refused(model_folder, damage, reason):
    damage(model_folder)
    with pytest.raises(BadInputError, match=reason):
        upload_checks.check_model(model_folder)


@pytest.mark.parametrize("base", ["", "/srv/models/base", "./base", "~/base", "C:\\models\\base", "a/b/c"])
def test_a_base_model_must_be_on_the_hub(base):
    with pytest.raises(BadInputError, match="known on this machine only"):
        upload_checks.require_public_base(base)
    upload_checks.require_public_base("Qwen/Qwen2.5-VL-3B-Instruct")


@pytest.mark.parametrize("name", ["a b/c", "a/b/c", "a--b/c", "x" * 97, "-a/b", "a/b.git"])
def test_names_that_the_hub_does_not_take(name):
    with pytest.raises(BadInputError, match="is no name of a repository"):
        check_repo_id(name)
    assert check_repo_id("owner/name-1.5_b") == "owner/name-1.5_b"


def _replace_by_link(file, target):
    file.unlink(missing_ok=True)
    file.symlink_to(target)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json", "README.md", "completions/a.parquet"])
@pytest.mark.parametrize(
    ("replace", "reason"),
    [
        (lambda file, outside: _replace_by_link(file, outside), "is a link out of"),
        (lambda file, outside: _replace_by_link(file, f"../../{outside.parent.name}/secret"), "is a link"),
        (lambda file, outside: _replace_by_link(file, "nothing.json"), "is a link to nothing"),
        (lambda file, outside: _replace_by_link(file, file.name), "is a link to nothing"),
        (lambda file, outside: _replace_by_link(file, "/dev/zero"), "is a link out of"),
        (lambda file, outside: os.mkfifo(file), "is a device or a pipe"),
    ],
)
def test_an_upload_follows_no_link_out_of_its_folder(model_folder, tmp_path, name, replace, reason):
    (tmp_path / "secret").write_text("{}")
    file = model_folder / name
    file.parent.mkdir(exist_ok=True)
    file.unlink(missing_ok=True)
    replace(file, tmp_path / "secret")
    for kind in ("model", "report"):
        with pytest.raises(BadInputError, match=f"{file.name} {reason}.*--exclude {file.name}"):
            collect(kind, model_folder)
    with pytest.raises(BadInputError, match=reason):
        Manifest().add_folder(model_folder)
    manifest = Manifest()
    manifest.add_folder(model_folder, exclude=[name])
    assert name not in {entry.path for entry in manifest.entries}


def test_links_inside_of_the_folder_are_files_of_it_and_folders_are_not_followed(model_folder, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other/a.json").write_text("{}")
    (model_folder / "other").symlink_to(tmp_path / "other")
    (model_folder / "b.json").symlink_to("config.json")
    (model_folder / "dangling.docx").symlink_to("nothing")
    manifest = Manifest()
    manifest.add_folder(model_folder)
    assert "b.json" in {entry.path for entry in manifest.entries}
    assert not any("other" in entry.path for entry in manifest.entries)
    left_out = {name: reason for name, _, reason in manifest.left_out}
    assert left_out["other/"] == "a link to a folder, which is not followed" and "dangling.docx" in left_out


@pytest.mark.parametrize(
    "name", ["../base/model.safetensors", "/etc/hosts", "..", "", "a/../../b", "sub/x.safetensors", 5]
)
def test_an_index_names_files_of_its_folder_only(model_folder, name):
    for index in ("model.safetensors.index.json", "adapter_model.safetensors.index.json"):
        original = (model_folder / index).read_text() if (model_folder / index).is_file() else None
        (model_folder / index).write_text(json.dumps({"weight_map": {"a": name}}))
        with pytest.raises(BadInputError, match=f"{index} names"):
            upload_checks.check_files(model_folder)
        if original:
            (model_folder / index).write_text(original)


@pytest.mark.parametrize("content", ["[]", "5", "[" * 100_000, '"a"'])
def test_settings_that_are_none(model_folder, content):
    (model_folder / "config.json").write_text(content)
    with pytest.raises(BadInputError, match="config.json (holds no settings|is not valid JSON)"):
        upload_checks.check_files(model_folder)
