# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Trainings that upload while they run, by the real client to a local Hub, and what can be done with what is there."""

import json
import re
import shlex

import pytest
import torch
from fixtures.hub_server import READ_TOKEN, TOKEN, Blob, Repo
from fixtures.hub_worker import TINY
from safetensors.torch import load, load_file

from mmr1_trl.run_folder import describe_file


pytestmark = pytest.mark.slow

GENERATE = """
import torch
from mmr1_trl.cli.commands.eval import load_model
from mmr1_trl.data import load_figures
from mmr1_trl.evaluation.runner import evaluate_model
result = []
rows = load_figures(split="test", num_rows=6)
for name, revision in models:
    model, processor = load_model(name, "float32", revision=revision)
    found = evaluate_model(model, processor, rows, max_new_tokens=6, batch_size=3)
    result.append([p["completion"] for p in found.predictions])
"""


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_every_step_is_a_revision_that_holds_everything_and_nothing_secret(hub, pushed_run, hub_folder):
    repo = hub.repos["model", "tester/full"]
    assert repo.private
    assert {"step-2", "step-4"} <= set(repo.tags)
    assert "uploaded  " + hub.url in pushed_run.out
    for step in (2, 4):
        files = hub.files("tester/full", f"step-{step}")
        local = load_file(hub_folder / f"runs/full/checkpoint-{step}/model.safetensors")
        assert same(load(files["model.safetensors"]), local)
        assert same(load(files["last-checkpoint/model.safetensors"]), local)
        mark = json.loads(files["last-checkpoint/rlvr_complete.json"])
        assert mark["global_step"] == step and "optimizer.pt" in mark["files"]
        sealed = {name: describe_file(files[f"last-checkpoint/{name}"]) for name in mark["files"]}
        assert sealed == mark["files"]  # as uploaded, with local paths shortened
        assert {"README.md", "processor_config.json", "chat_template.jinja", "generation_config.json"} <= set(files)
        assert {"mmr1_config.yaml", "trainer_state.json", "last-checkpoint/optimizer.pt"} <= set(files)
        assert f"completions/completions_{step:05d}.parquet" in files
        assert not [name for name in files if name.endswith("training_args.bin") or name.startswith("_")]
        secret = [TOKEN.encode(), str(hub_folder).encode()]
        assert not [name for name, content in files.items() if any(word in content for word in secret)]
    assert not list((hub_folder / "runs/full").glob("_push*"))
    assert (hub_folder / "runs/full/training_args.bin").is_file()  # the local result is whole


def test_a_pushed_step_answers_like_the_local_one(worker, pushed_run, hub_folder):
    models = [
        ("runs/full/checkpoint-2", "main"), ("tester/full", "step-2"), ("runs/full", "main"), ("tester/full", "main"),
    ]  # fmt: skip
    local_2, hub_2, local_4, hub_4 = worker.python(GENERATE, hub_folder, models=models)
    assert local_2 == hub_2 and local_4 == hub_4
    assert local_2 != local_4
    outcome = worker.mmr1("eval", "--model", "tester/full", "--model_revision", "step-2", "--num_rows", "4",
                          cwd=hub_folder)  # fmt: skip
    assert outcome.code == 0 and "tester/full on figures" in outcome.out


@pytest.mark.parametrize("name", ["tester/full@step-2", "tester/full/last-checkpoint@step-2"])
def test_resume_from_the_hub_is_exact(worker, pushed_run, hub_folder, name):
    output = f"runs/resumed-{'last' in name}"
    outcome = worker.mmr1("mssr", *TINY, "--model_name_or_path", "base", "--output_dir", output,
                          "--resume_from_checkpoint", name, cwd=hub_folder)  # fmt: skip
    assert outcome.code == 0, outcome.err
    resumed, full = (load_file(hub_folder / f / "model.safetensors") for f in (output, "runs/full"))
    assert same(resumed, full)
    assert not same(full, load_file(hub_folder / "runs/full/checkpoint-2/model.safetensors"))
    losses = [
        [entry["loss"] for entry in json.loads((hub_folder / f / "trainer_state.json").read_text())["log_history"]
         if "loss" in entry]
        for f in (output, "runs/full")
    ]  # fmt: skip
    assert losses[0] == losses[1] and any(losses[0])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("tester/full@nowhere", "has no revision 'nowhere'"),
        ("tester/full/checkpoint-9", "has ['last-checkpoint']"),
        ("tester/nobody", "is not there"),
        ("runs/typo/checkpoint-4", "No checkpoint folder 'runs/typo/checkpoint-4' here"),
    ],
)
def test_a_checkpoint_that_is_not_there_is_refused_before_anything_is_loaded(
    worker, pushed_run, hub_folder, name, reason
):
    outcome = worker.mmr1("mssr", *TINY, "--model_name_or_path", "weightless", "--output_dir", "runs/none",
                          "--resume_from_checkpoint", name, cwd=hub_folder)  # fmt: skip
    assert outcome.code == 2 and reason in outcome.err
    assert outcome.err.count("mmr1: error:") == 1 and "Traceback" not in outcome.err


def test_a_private_checkpoint_is_fetched_with_the_token_that_was_given(hub, worker, hub_folder):
    repo = hub.repos["model", "tester/private"] = Repo("model", "tester/private", private=True)
    repo.commit("main", {"last-checkpoint/trainer_state.json": Blob(b"{}", lfs=False)}, "a checkpoint")
    words = ["mssr", *TINY, "--model_name_or_path", "base", "--output_dir", "runs/none",
             "--resume_from_checkpoint", "tester/private"]  # fmt: skip
    without = worker.mmr1(*words, cwd=hub_folder, HF_TOKEN="")
    assert without.code == 2 and "No checkpoint folder 'tester/private' here" in without.err
    given = worker.mmr1(*words, "--hub_token", TOKEN, cwd=hub_folder, HF_TOKEN="")
    assert given.code == 2 and "last-checkpoint is damaged: trainer_state.json says global_step None" in given.err
    assert hub.seen("GET", "/tester/private/resolve/.*/last-checkpoint/trainer_state.json")


def test_a_half_written_checkpoint_is_refused(hub, worker, pushed_run, hub_folder):
    repo = hub.repos["model", "tester/full"]
    files = dict(repo.commits[repo.tags["step-4"]])
    del files["last-checkpoint/rlvr_complete.json"]
    repo.branches["half"] = repo.branches["main"]
    repo.commit("half", files, "without its mark")
    outcome = worker.mmr1("mssr", *TINY, "--model_name_or_path", "base", "--output_dir", "runs/half",
                          "--resume_from_checkpoint", "tester/full@half", cwd=hub_folder)  # fmt: skip
    assert outcome.code == 2 and "half-written" in outcome.err


def test_failures_never_stop_a_training_and_the_printed_command_uploads_it(hub, worker, hub_folder):
    hub.fail("POST", "/commit/", 403, message="Private repository storage limit reached")
    outcome = worker.mmr1("mssr", *TINY, "--model_name_or_path", "base", "--output_dir", "runs/late", "--push_to_hub",
                          "--hub_model_id", "tester/late", "--hub_strategy", "every_save", "--hub_always_push",
                          cwd=hub_folder)  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert "Trained to step 4" in outcome.out and "uploaded" not in outcome.out
    assert "Step 2 was not uploaded, and training goes on: The Hub has no room" in outcome.err
    assert "Step 4 was not uploaded" in outcome.err
    assert "the training is finished and saved, but was not uploaded" in outcome.err
    assert "Traceback" not in outcome.err and TOKEN not in outcome.err
    command = re.search(r"to upload it later: mmr1 (.+)", outcome.err)[1]
    assert command == "push model runs/late tester/late"
    assert list(hub.files("tester/late")) == [".gitattributes"]
    hub.failures.clear()
    sent = hub.seen("PUT", "/lfs/")
    later = worker.mmr1(*shlex.split(command), cwd=hub_folder)
    assert later.code == 0, later.err
    assert hub.seen("PUT", "/lfs/") == sent  # the weights had arrived; only the commit was missing
    local = load_file(hub_folder / "runs/late/model.safetensors")
    assert same(load(hub.files("tester/late")["model.safetensors"]), local)


def test_a_hub_that_comes_back_gets_what_it_missed(hub, worker, hub_folder):
    hub.fail("POST", "/preupload/", 500, times=6)  # the first upload and its five retries
    outcome = worker.mmr1("mssr", *TINY, "--model_name_or_path", "base", "--output_dir", "runs/back", "--push_to_hub",
                          "--hub_model_id", "tester/back", "--hub_strategy", "all_checkpoints", "--hub_always_push",
                          "--hub_revision", "trial", cwd=hub_folder)  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert "Step 2 was not uploaded, and training goes on: The Hub is in trouble (500" in outcome.err
    assert "Step 4 was not" not in outcome.err
    assert hub.repos["model", "tester/back"].tags.keys() == {"trial-step-4"}
    files = hub.files("tester/back", "trial")
    assert "checkpoint-4/optimizer.pt" in files and "model.safetensors" in files
    assert list(hub.files("tester/back", "main")) == [".gitattributes"]


@pytest.mark.parametrize(
    ("options", "token", "reason"),
    [
        (["--hub_model_id", "tester/x"], "", "no Hub token"),
        (["--hub_model_id", "tester/x"], "hf_unknownunknownunknownunknown0000", "does not know this token"),
        (["--hub_model_id", "tester/x"], READ_TOKEN, "may not write"),
        (["--hub_model_id", "google/x"], TOKEN, "may not write to the model repository google/x"),
        (["--hub_model_id", "not a name"], TOKEN, "is no name of a repository"),
    ],
)
@pytest.mark.parametrize("command", ["mssr", "sft"])
def test_what_cannot_be_uploaded_is_refused_before_anything_is_loaded(
    worker, hub_folder, command, options, token, reason
):
    words = TINY if command == "mssr" else ["--report_to", "none"]
    outcome = worker.mmr1(command, *words, "--model_name_or_path", "weightless", "--output_dir", "runs/refused",
                          "--push_to_hub", *options, cwd=hub_folder, HF_TOKEN=token)  # fmt: skip
    assert outcome.code == 2 and reason in outcome.err
    assert outcome.err.count("mmr1: error:") == 1 and "Traceback" not in outcome.err
    assert not (hub_folder / "runs/refused").exists()
    assert not token or token not in outcome.err


def test_a_token_given_as_an_option_does_not_go_up(hub, worker, hub_folder):
    outcome = worker.mmr1("sft", "--model_name_or_path", "base", "--num_train_rows", "16", "--max_steps", "2",
                          "--per_device_train_batch_size", "4", "--save_steps", "2", "--report_to", "none",
                          "--output_dir", "runs/sft", "--push_to_hub", "--hub_token", TOKEN, "--hub_strategy",
                          "all_checkpoints", cwd=hub_folder, HF_TOKEN="")  # fmt: skip
    assert outcome.code == 0, outcome.err
    files = hub.files("tester/sft")  # the name comes from the folder
    assert {"model.safetensors", "checkpoint-2/optimizer.pt", "checkpoint-2/trainer_state.json"} <= set(files)
    assert TOKEN.encode() in (hub_folder / "runs/sft/training_args.bin").read_bytes()  # why it stays here
    assert not [name for name, content in files.items() if TOKEN.encode() in content]


def test_an_adapter_goes_up_loads_merges_and_answers_the_same(hub, worker, pushed_base, hub_folder):
    outcome = worker.mmr1("mssr", *TINY, "--model_name_or_path", pushed_base, "--output_dir", "runs/lora",
                          "--use_peft", "--lora_target_modules", "q_proj", "v_proj", "--push_to_hub", "--hub_model_id",
                          "tester/lora", "--hub_strategy", "checkpoint", "--hub_always_push",
                          cwd=hub_folder)  # fmt: skip
    assert outcome.code == 0, outcome.err
    files = hub.files("tester/lora", "step-2")
    assert json.loads(files["adapter_config.json"])["base_model_name_or_path"] == pushed_base
    assert "last-checkpoint/adapter_model.safetensors" in files and "model.safetensors" not in files
    merged = worker.mmr1("push", "model", "runs/lora", "lab/merged", "--merge_adapter", cwd=hub_folder)
    assert merged.code == 0, merged.err
    assert not [name for name in hub.files("lab/merged") if name.startswith("adapter")]
    models = [(name, "main") for name in ("runs/lora", "tester/lora", "lab/merged", pushed_base)]
    local, adapter, whole, base = worker.python(GENERATE, hub_folder, models=models)
    assert local == adapter == whole
    assert base != local
    resumed = worker.mmr1("mssr", *TINY, "--model_name_or_path", pushed_base, "--output_dir", "runs/lora2",
                          "--use_peft", "--lora_target_modules", "q_proj", "v_proj", "--resume_from_checkpoint",
                          "tester/lora@step-2", cwd=hub_folder)  # fmt: skip
    assert resumed.code == 0, resumed.err
    name = "adapter_model.safetensors"
    assert same(load_file(hub_folder / "runs/lora2" / name), load_file(hub_folder / "runs/lora" / name))


def test_an_adapter_of_a_local_model_is_refused_before_training(worker, hub_folder):
    outcome = worker.mmr1("mssr", *TINY, "--model_name_or_path", "base", "--output_dir", "runs/local", "--use_peft",
                          "--lora_target_modules", "q_proj", "v_proj", "--push_to_hub", "--hub_model_id",
                          "tester/local", cwd=hub_folder)  # fmt: skip
    assert outcome.code == 2 and "base model 'base' is known on this machine only" in outcome.err
