# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""`mmr1 push` to a local Hub: what arrives, what a Hub that fails makes of it, and how rows and scores come back."""

import json
import shutil

import PIL.Image
import pyarrow.parquet as pq
import pytest
from fixtures.hub_server import READ_TOKEN, TOKEN
from fixtures.hub_worker import TINY


pytestmark = pytest.mark.slow


@pytest.fixture
def push(worker, hub_folder):
    return lambda *words, **env: worker.mmr1("push", *words, cwd=hub_folder, **env)


def test_a_dry_run_lists_and_sends_nothing(hub, push, hub_folder):
    before = len(hub.requests)
    outcome = push("model", "base", "tester/dry", "--dry_run", HF_TOKEN="")
    assert outcome.code == 0, outcome.err
    assert "model.safetensors" in outcome.out and "total:" in outcome.out and "Nothing was sent" in outcome.out
    assert len(hub.requests) == before


def test_a_second_push_sends_nothing_again_and_a_branch_stays_apart(hub, push):
    assert push("model", "base", "tester/twice", "--tag", "v1", "--private").code == 0
    assert hub.repos["model", "tester/twice"].private and "v1" in hub.repos["model", "tester/twice"].tags
    commits, sent = len(hub.repos["model", "tester/twice"].commits), hub.seen("PUT", "/lfs/")
    assert push("model", "base", "tester/twice").code == 0
    assert len(hub.repos["model", "tester/twice"].commits) == commits
    assert push("model", "base", "tester/twice", "--revision", "trial", "--commit_message", "once more").code == 0
    assert hub.seen("PUT", "/lfs/") == sent
    assert "trial" in hub.repos["model", "tester/twice"].branches


def test_the_card_is_written_for_the_upload_and_may_be_left_out(hub, push, hub_folder):
    assert push("model", "base", "tester/carded").code == 0
    assert b"tester/carded" in hub.files("tester/carded")["README.md"]
    assert not (hub_folder / "base/README.md").exists()
    assert push("model", "base", "tester/bare", "--exclude", "README.md", "assets/*").code == 0
    assert not [name for name in hub.files("tester/bare") if name == "README.md" or name.startswith("assets")]


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (("POST", "/api/repos/create", 500, "down"), "The Hub is in trouble (500: down)"),
        (("GET", "/auth-check/write", 403, "not yours"), "may not write to the model repository tester/fails"),
        (("POST", "/preupload/", 429, "slow down"), "asks for a pause"),
        (("POST", "/objects/batch", 403, "Private repository storage limit reached"), "has no room"),
        (("PUT", "/lfs/", 0, ""), "connection to the Hub was lost"),
        (("POST", "/info/lfs/verify", 500, "down"), "in trouble"),
        (("POST", "/commit/", 0, ""), "connection to the Hub was lost"),
        (("POST", "/commit/", 404, "gone"), "is not there"),
        (("POST", "/commit/", 412, "changed"), "changed by somebody else"),
        (("POST", "/commit/", 413, "too large"), "has no room"),
        (("POST", "/commit/", 409, "locked"), "taken, or somebody else"),
    ],
)
def test_a_failing_hub_gives_one_message_and_the_same_command_goes_on(hub, push, hub_folder, failure, reason):
    hub.repos.pop(("model", "tester/fails"), None)
    hub.objects.clear()
    files = {path: path.read_bytes() for path in (hub_folder / "base").iterdir()}
    method, path, status, message = failure
    hub.fail(method, path, status, message=message)
    outcome = push("model", "base", "tester/fails")
    assert outcome.code == 2 and reason in outcome.err
    assert outcome.err.count("mmr1: error:") == 1 and "Traceback" not in outcome.err and TOKEN not in outcome.err
    assert outcome.err.rstrip().endswith("mmr1 push model base tester/fails")
    hub.failures.clear()
    assert push("model", "base", "tester/fails").code == 0
    assert hub.files("tester/fails")["model.safetensors"] == files[hub_folder / "base/model.safetensors"]
    assert {path: path.read_bytes() for path in (hub_folder / "base").iterdir()} == files


def test_a_passing_failure_is_not_noticed(hub, push):
    hub.fail("PUT", "/lfs/", 503, times=2)
    hub.fail("PUT", "/lfs/", 0, times=1, skip=2)
    hub.objects.clear()
    assert push("model", "base", "tester/shaky").code == 0
    assert not any(failure.times for failure in hub.failures)


def test_what_was_sent_before_an_interruption_is_not_sent_again(hub, push, hub_folder):
    rows = ["dataset", "figures", "tester/cut", "--splits", "train", "test", "--num_rows", "8"]
    hub.objects.clear()
    hub.fail("PUT", "/lfs/", 403, skip=1, message="no more")
    assert push(*rows).code == 2
    assert len(hub.objects) == 1
    hub.failures.clear()
    sent = hub.seen("PUT", "/lfs/")
    assert push(*rows).code == 0
    assert hub.seen("PUT", "/lfs/") == sent + 1


@pytest.mark.parametrize(
    ("token", "repo_id", "reason"),
    [
        ("", "tester/x", "no Hub token"),
        ("hf_unknownunknownunknownunknown0000", "tester/x", "does not know this token"),
        (READ_TOKEN, "tester/x", "may not write"),
        (TOKEN, "google/x", "may not write to the model repository google/x"),
        (TOKEN, "no name", "is no name of a repository"),
    ],
)
def test_who_may_not_write_is_told_so(push, token, repo_id, reason):
    outcome = push("model", "base", repo_id, HF_TOKEN=token)
    assert outcome.code == 2 and reason in outcome.err and "Traceback" not in outcome.err


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["modle", "base", "a/b"], "Did you mean 'model'?"),
        (["model", "nowhere", "a/b"], "There is no folder 'nowhere'"),
        (["model", "base"], "the following arguments are required: REPO_ID"),
        (["model", "base", "a/b", "--with_checkpoint"], "holds no complete checkpoint"),
        (["model", "base", "a/b", "--merge_adapter"], "holds no adapter to merge"),
        (["model", "base", "a/b", "--dryrun"], "unrecognized arguments: --dryrun"),
        (["adapter", "base", "a/b"], "For a whole model: `mmr1 push model`"),
        (["scores", "base", "a/b"], "holds no scores.parquet"),
        (["report", "base", "a/b"], "holds no page and no evaluation"),
        (["dataset", "base/nothing.jsonl", "a/b"], "There is no file"),
        ([], "KIND"),
    ],
)
def test_wrong_commands_are_refused_with_the_way_out(hub, push, words, reason):
    before = len(hub.requests)
    outcome = push(*words)
    assert outcome.code == 2 and reason in outcome.err and "Traceback" not in outcome.err
    assert len(hub.requests) == before


def test_a_folder_with_a_token_is_refused(hub, push, hub_folder):
    shutil.copytree(hub_folder / "base", hub_folder / "leaky", dirs_exist_ok=True)
    (hub_folder / "leaky/notes.yaml").write_text(f"wandb_key: {'k' * 8}\nnote: {TOKEN}\n")
    before = len(hub.requests)
    outcome = push("model", "leaky", "tester/leaky")
    assert outcome.code == 2 and "notes.yaml holds one of your own tokens" in outcome.err
    assert TOKEN not in outcome.err and len(hub.requests) == before
    assert push("model", "leaky", "tester/leaky", "--exclude", "notes.yaml").code == 0
    # The card quotes the settings, so leaving out their file is not enough.
    (hub_folder / "leaky/mmr1_config.yaml").write_text(f"method: mssr\ndataset_name: {TOKEN}\n")
    outcome = push("model", "leaky", "tester/leaky", "--exclude", "notes.yaml", "mmr1_config.yaml")
    assert outcome.code == 2 and "README.md holds one of your own tokens" in outcome.err


ROWS = """
from datasets import Image, List
from mmr1_trl.data import load_data
from mmr1_trl.data.prompts import row_digests
result = []
for name, revision in sources:
    rows = load_data(name, revision=revision, num_rows=12).cast_column("images", List(Image(decode=False)))
    pictures = [__import__("hashlib").sha256(p["images"][0]["bytes"]).hexdigest() for p in rows]
    result.append([str(rows.features), rows["prompt_id"][:], row_digests(rows), pictures, rows["answer_type"][:]])
"""


def test_figures_come_back_as_they_were(hub, worker, push, hub_folder):
    outcome = push("dataset", "figures", "tester/figures", "--num_rows", "12", "--tag", "v1")
    assert outcome.code == 0, outcome.err
    assert push("dataset", "figures", "tester/figures", "--num_rows", "12", "--figures_seed", "1").code == 0
    local, tagged, newer = worker.python(
        ROWS, hub_folder, sources=[("figures", None), ("tester/figures", "v1"), ("tester/figures", None)]
    )
    assert tagged[1:] == local[1:]
    assert newer[1] != local[1]
    assert "Image" in tagged[0]


def test_pictures_in_files_are_embedded(hub, worker, push, hub_folder):
    folder = hub_folder / "own"
    folder.mkdir()
    for i in range(4):
        PIL.Image.effect_noise((60, 40), 50 + i).convert("RGB").save(folder / f"{i}.png")
    rows = [{"problem": f"<image> what {i} ?", "answer": str(i), "image": f"{i}.png"} for i in range(4)]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    outcome = push("dataset", "own/train.jsonl", "tester/own")
    assert outcome.code == 0, outcome.err
    files = hub.files("tester/own", kind="dataset")
    assert not [name for name, content in files.items() if str(hub_folder).encode() in content]
    code = """
from mmr1_trl.data import load_data
rows = load_data("tester/own")
result = [rows["prompt_id"][:], rows["solution"][:], [p[0]["bytes"] is not None for p in rows["images"]]]
"""
    ids, answers, embedded = worker.python(code, hub_folder)
    assert answers == ["0", "1", "2", "3"] and all(embedded) and len(set(ids)) == 4
    (folder / "2.png").write_bytes(b"no picture")
    broken = push("dataset", "own/train.jsonl", "tester/broken")
    assert broken.code == 2 and "row 2" in broken.err
    assert ("dataset", "tester/broken") not in hub.repos


def test_scores_come_back_by_their_prompts(hub, worker, push, hub_folder):
    assert push("dataset", "figures", "tester/scored", "--num_rows", "16").code == 0
    words = ["--model_name_or_path", "base", "--max_completion_length", "4", "--per_device_train_batch_size", "8",
             "--reward_funcs", "hub_rewards.parity", "--gradient_checkpointing", "false"]  # fmt: skip
    scored = worker.mmr1("score", *words, "--dataset_name", "tester/scored", "--vas_rollouts", "2", "--output_dir",
                         "scores", "--min_pass_rate", "0", cwd=hub_folder)  # fmt: skip
    assert scored.code == 0, scored.err
    outcome = push("scores", "scores", "tester/scores", "--tag", "v1")
    assert outcome.code == 0, outcome.err
    table = hub.files("tester/scores", kind="dataset")["scores.parquet"]
    assert table == (hub_folder / "scores/scores.parquet").read_bytes()
    assert not [name for name in hub.files("tester/scores", kind="dataset") if name.endswith(".jsonl")]
    code = """
import torch
from mmr1_trl.data import load_data
from mmr1_trl.errors import BadInputError
from mmr1_trl.data.prompts import Prompts
from mmr1_trl.data.score_table import read_prompt_table
result = []
rows = load_data("tester/scored")
for source in ("scores/scores.parquet", "tester/scores", "tester/scores@v1"):
    shuffled = rows.shuffle(seed=3)
    prompts = Prompts.of(shuffled)
    result.append(prompts.per_row(read_prompt_table(source, prompts).pass_rates).tolist())
try:
    other = rows.map(lambda row: {"solution": "other"})
    result.append(str(read_prompt_table("tester/scores", Prompts.of(other))))
except BadInputError as error:
    result.append(str(error))
"""
    local, remote, tagged, other = worker.python(code, hub_folder)
    assert local == remote == tagged and len(set(local)) > 1
    assert "was made for other data" in other
    expected = pq.read_table(hub_folder / "scores/scores.parquet")["pass_rate"].to_pylist()
    assert sorted(local) == sorted(expected)
    trained = worker.mmr1("vas", *TINY, "--model_name_or_path", "base", "--dataset_name", "tester/scored",
                          "--prompt_scores", "tester/scores@v1", "--vas_refresh", "off", "--num_generations", "2",
                          "--advantage_baseline", "group", "--output_dir", "runs/vas", cwd=hub_folder)  # fmt: skip
    assert trained.code == 0, trained.err


def test_a_report_goes_beside_its_model(hub, worker, push, pushed_run, hub_folder):
    assert worker.mmr1("report", "runs/full", "--output", "pages/full/report.html", cwd=hub_folder).code == 0
    outcome = push("report", "pages/full", "tester/full", "--revision", "pages")
    assert outcome.code == 0, outcome.err
    files = hub.files("tester/full", "pages")
    assert "reports/full/report.html" in files and "model.safetensors" in files
    evaluated = worker.mmr1("eval", "--model", "base", "--num_rows", "4", "--output_dir", "eval", cwd=hub_folder)
    assert evaluated.code == 0, evaluated.err
    assert push("report", "eval", "tester/full", "--revision", "pages").code == 0
    assert {"reports/eval/summary.json", "reports/eval/predictions.parquet"} <= set(hub.files("tester/full", "pages"))
