# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Every file of a checkpoint in every state that it must not be in: found and named before anything is loaded."""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from fixtures.trainers import build_trainer
from peft import LoraConfig
from safetensors.torch import load_file, save_file

from mmr1_trl import MSSRConfig, MSSRTrainer, RLVRTrainer
from mmr1_trl.cli import main
from mmr1_trl.cli.parts import use_hub
from mmr1_trl.errors import BadInputError
from mmr1_trl.hub.collect import add_checkpoint
from mmr1_trl.hub.manifest import Manifest
from mmr1_trl.hub.scan import clean
from mmr1_trl.run_folder import (
    COMPLETE,
    STATE_JSON,
    STATE_TENSORS,
    TRAINER_STATE,
    describe_files,
    find_damage,
    mark_of,
    require_whole,
    seal,
)
from mmr1_trl.trainers.checkpoints.run_card import CardMixin


STEP = 3  # in the middle of a generation batch: rollouts are kept in the checkpoint
MSSR = {
    "steps_per_generation": 4, "gradient_accumulation_steps": 1, "beta": 0.0, "tracker_forgetting": "fixed",
    "prompt_sampling": "variance_aware", "save_strategy": "steps", "save_steps": 1, "max_steps": STEP,
}  # fmt: skip
LORA = {"num_generations": 2, "save_strategy": "steps", "save_steps": 1, "max_steps": 2}


def mssr_trainer(folder: Path, **options):
    return build_trainer(MSSRTrainer, MSSRConfig, output_dir=str(folder), **(MSSR | options))


def lora_trainer(folder: Path, **options):
    peft_config = LoraConfig(target_modules=["q_proj"], r=2)
    return build_trainer(RLVRTrainer, output_dir=str(folder), peft_config=peft_config, **(LORA | options))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folders of whole runs, made once: one by MSSR, another with another seed, one of an adapter."""
    place = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CardMixin, "create_model_card", lambda *args, **kwargs: None)  # its curves take a second each
        mssr_trainer(place / "mssr").train()
        mssr_trainer(place / "other", seed=7).train()
        lora_trainer(place / "lora").train()
    return place


@pytest.fixture
def copy(runs, tmp_path):
    def of(name: str) -> Path:
        shutil.copytree(runs / name, tmp_path / name)
        return tmp_path / name

    return of


def newest(run: Path) -> Path:
    return run / (f"checkpoint-{STEP}" if run.name != "lora" else "checkpoint-2")


def unsealed(checkpoint: Path) -> Path:
    """As versions without digests left it."""
    mark = json.loads((checkpoint / COMPLETE).read_text())
    (checkpoint / COMPLETE).write_text(json.dumps({"global_step": mark["global_step"]}))
    return checkpoint


def resealed(checkpoint: Path) -> Path:
    """As if it had been saved like this."""
    seal(checkpoint, json.loads((checkpoint / COMPLETE).read_text())["global_step"], describe_files(checkpoint))
    return checkpoint


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) * 2 // 3] ^= 4
    path.write_bytes(content)


def change(path: Path, alter) -> None:
    """Let `alter` change the first large tensor (or the first number) in a file, which stays readable."""
    if path.suffix == ".safetensors":
        tensors = load_file(path)
        for name in [name for name, t in tensors.items() if t.is_floating_point() and t.numel() > 3][:1]:
            save_file(tensors | {name: alter(tensors[name].clone())}, path, metadata={"format": "pt"})
    elif path.suffix in (".pt", ".pth"):
        value = torch.load(path, weights_only=False)
        if "state" in value and value["state"]:
            moments = value["state"][0]
            moments["exp_avg"] = alter(moments["exp_avg"].clone())
        elif "cpu" in value:
            value["cpu"] = value["cpu"][: len(value["cpu"]) // 2]
        else:
            value["base_lrs"] = [math.nan]
        torch.save(value, path)
    else:
        path.write_bytes(path.read_bytes() + b" ")


def to_nan(tensor):
    tensor.view(-1)[1] = math.nan
    return tensor


DAMAGES = {
    "missing": lambda path, other: path.unlink(),
    "empty": lambda path, other: path.write_bytes(b""),
    "truncated": lambda path, other: path.write_bytes(path.read_bytes()[:-7]),
    "longer": lambda path, other: path.write_bytes(path.read_bytes() + b"\0"),
    "bit flipped": lambda path, other: flip(path),
    "other shape": lambda path, other: change(path, lambda t: t.view(-1)[:-1].clone()),
    "NaN": lambda path, other: change(path, to_nan),
    "other run's": lambda path, other: shutil.copyfile(other, path),
}


def each_damage(run: Path, other: Path):
    """Yield each file in each damaged state, and put it back."""
    checkpoint = newest(run)
    for path in sorted(path for path in checkpoint.rglob("*") if path.is_file()):
        if path.name in ("training_args.bin", "README.md"):
            continue  # read by nobody, and on no list
        content = path.read_bytes()
        for kind, damage in DAMAGES.items():
            damage(path, other / path.name)
            if path.name == COMPLETE and kind in ("other shape", "NaN"):
                continue  # a space after it says nothing else
            if not path.exists() or path.read_bytes() != content:
                yield path.name, kind
            path.write_bytes(content)


def refusal(checkpoint: Path) -> str:
    """The message of the refusal, empty when there was none."""
    try:
        require_whole(checkpoint)
    except BadInputError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", ["mssr", "lora"])
def test_every_damage_to_every_file_is_found_and_named_before_anything_loads(runs, copy, name):
    run, cases = copy(name), 0
    checkpoint = newest(run)
    require_whole(checkpoint)
    for file, kind in each_damage(run, newest(runs / "other") if name == "mssr" else runs / "lora/checkpoint-1"):
        message, cases = refusal(checkpoint), cases + 1
        older = f"checkpoint-{int(checkpoint.name.split('-')[1]) - 1}"
        if (file, kind) == (COMPLETE, "missing"):
            assert "half-written" in message, (file, kind, message)
        else:
            # The mark of another run is one; what it says of the files is not so.
            named = "" if (file, kind) == (COMPLETE, "other run's") else file
            assert f"{checkpoint} is damaged: " in message and named in message, (file, kind, message)
        assert f"The newest whole checkpoint is {older}: --resume_from_checkpoint" in message, (file, kind, message)
    require_whole(checkpoint)  # put back, it is whole
    assert cases > 90, cases


def test_without_digests_what_files_say_of_themselves_is_found_and_the_rest_is_stated(runs, copy):
    """What `find_damage` promises of checkpoints of earlier versions, no more and no less."""
    run = copy("mssr")
    checkpoint = unsealed(newest(run))
    assert find_damage(checkpoint) is None
    missed = {}
    for file, kind in each_damage(run, newest(runs / "other")):
        if find_damage(checkpoint) is None:
            missed.setdefault(kind, set()).add(file)
    needed = {
        "model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", TRAINER_STATE, STATE_JSON,
        "rlvr_state.safetensors", "rlvr_rank_0.safetensors", "rlvr_rank_0.json",
    }  # fmt: skip
    assert not missed["missing"] & needed
    assert not {name for name in missed["empty"] | missed["truncated"] if not name.endswith(".jinja")}
    assert not {"optimizer.pt", "rng_state.pth"} & missed["bit flipped"]


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        (COMPLETE, '{"global_step": 3', "rlvr_complete.json cannot be read"),
        (COMPLETE, '{"global_step": -5}', "rlvr_complete.json says global_step -5"),
        (COMPLETE, '{"global_step": 2}', "rlvr_complete.json is of step 2 and trainer_state.json of step 3"),
        (COMPLETE, '{"global_step": 3, "files": [1]}', "rlvr_complete.json is not what was saved"),
        (COMPLETE, '{"global_step": 3, "files": {"a": 1}}', "rlvr_complete.json is not what was saved"),
        (COMPLETE, json.dumps(mark_of(3, {"a": 1})), "rlvr_complete.json holds no list of files"),
        (COMPLETE, "[]", "rlvr_complete.json holds no JSON object"),
        (TRAINER_STATE, '{"global_step": -5}', "trainer_state.json says global_step -5"),
        (TRAINER_STATE, '{"global_step": "3"}', "trainer_state.json says global_step '3'"),
        (TRAINER_STATE, "{}", "trainer_state.json says global_step None"),
        (STATE_JSON, "{}", "rlvr_state.json does not say what run it is of"),
        (STATE_JSON, '{"identity": {"processes": 0}}', "rlvr_state.json does not say what run it is of"),
        (STATE_JSON, '{"identity": {"processes": 2}}', "rlvr_rank_1.json is missing"),
    ],
)
def test_a_mark_or_a_state_of_nonsense_is_named(copy, file, content, said):
    checkpoint = unsealed(newest(copy("mssr")))
    (checkpoint / file).write_text(content)
    assert (find_damage(checkpoint) or "").startswith(said)


# What a checkpoint may hold although it is as it was saved, or is of a version without digests.
def without(name: str, file: str):
    def alter(checkpoint: Path) -> None:
        tensors = load_file(checkpoint / file)
        save_file({n: t for n, t in tensors.items() if n != name}, checkpoint / file, metadata={"format": "pt"})

    return alter


def state_tensor(name: str, alter, file: str = "rlvr_state.safetensors"):
    def change_it(checkpoint: Path) -> None:
        tensors = load_file(checkpoint / file)
        save_file(tensors | {name: alter(tensors[name].clone())}, checkpoint / file, metadata={"format": "pt"})

    return change_it


def json_without(file: str, *keys: str):
    def alter(checkpoint: Path) -> None:
        value = json.loads((checkpoint / file).read_text())
        part = value
        for key in keys[:-1]:
            part = part[key]
        del part[keys[-1]]
        (checkpoint / file).write_text(json.dumps(value))

    return alter


def touched(file: str, alter):
    return lambda checkpoint: change(checkpoint / file, alter)


TRACKER = "baseline.tracker"
FIRST = "model.language_model.embed_tokens.weight"
LOADED = {
    "tracker NaN": ("mssr", state_tensor(f"{TRACKER}.alpha", to_nan), "alpha holds 1 value that are not finite"),
    "tracker shape": ("mssr", state_tensor(f"{TRACKER}.alpha", lambda t: t[:-1]), r"alpha has the shape \(15,"),
    "tracker gone": ("mssr", without(f"{TRACKER}.beta", STATE_TENSORS), "it lacks baseline.tracker.beta"),
    "scores shape": ("mssr", state_tensor("sampler.scores", lambda t: t[:-1]), r"sampler.scores has the shape \(15,"),
    "counter gone": ("mssr", json_without(STATE_JSON, "parts", "sampler", "batches_drawn"), "it lacks"),
    "rank state gone": ("mssr", json_without("rlvr_rank_0.json", "meta", "bad_rows"), "it lacks 'bad_rows'"),
    "rank plain gone": ("mssr", json_without("rlvr_rank_0.json", "meta"), "it lacks 'meta'"),
    "weight gone": ("mssr", None, "its weights lack "),
    "weight NaN": ("mssr", touched("model.safetensors", to_nan), "value that are not finite"),
    "weight shape": ("mssr", touched("model.safetensors", lambda t: t.view(-1)[:-1].clone()), "in another shape"),
    "moment NaN": ("mssr", touched("optimizer.pt", to_nan), "optimizer.pt .parameter 0.*exp_avg holds 1 value"),
    "moment shape": ("mssr", touched("optimizer.pt", lambda t: t.view(-1)[:-1].clone()), "exp_avg has the shape"),
    "random state": ("mssr", touched("rng_state.pth", to_nan), "rng_state.* cannot be used"),
    "adapter NaN": ("lora", touched("adapter_model.safetensors", to_nan), "value that are not finite"),
    "adapter gone": ("lora", None, "it lacks "),
}  # fmt: skip


@pytest.mark.parametrize("case", LOADED)
def test_what_is_whole_but_not_this_runs_is_refused_in_one_line(copy, case):
    name, alter, said = LOADED[case]
    run = copy(name)
    checkpoint = newest(run)
    if alter is None:
        file = "model.safetensors" if name == "mssr" else "adapter_model.safetensors"
        alter = without(next(iter(sorted(load_file(checkpoint / file)))), file)
    alter(checkpoint)
    resealed(checkpoint)
    make = mssr_trainer if name == "mssr" else lora_trainer
    with pytest.raises(BadInputError, match=said) as refused:
        make(run, max_steps=9).train(resume_from_checkpoint=str(checkpoint))
    assert "The newest whole checkpoint is checkpoint-" in str(refused.value)


def test_a_checkpoint_without_digests_resumes(copy, monkeypatch):
    monkeypatch.setattr(CardMixin, "create_model_card", lambda *args, **kwargs: None)
    run = copy("mssr")
    unsealed(newest(run))
    trainer = mssr_trainer(run, max_steps=STEP + 1)
    trainer.train(resume_from_checkpoint=True)
    assert trainer.state.global_step == STEP + 1


def test_damage_after_the_first_look_is_found_at_the_second(copy):
    checkpoint = newest(copy("mssr"))
    require_whole(checkpoint)
    flip(checkpoint / "model.safetensors")
    with pytest.raises(BadInputError, match="model.safetensors is not what was saved"):
        require_whole(checkpoint)


@pytest.mark.parametrize("name", ["mssr", "lora"])
def test_a_checkpoint_that_was_uploaded_and_fetched_is_checked_as_well(copy, tmp_path, monkeypatch, name):
    checkpoint = newest(copy(name))
    config = "config.json" if name == "mssr" else "adapter_config.json"
    text = json.loads((checkpoint / config).read_text()) | {"a_path": str(tmp_path / "secret" / "place")}
    (checkpoint / config).write_text(json.dumps(text))  # shortened on its way up
    resealed(checkpoint)
    manifest = Manifest()
    add_checkpoint(manifest, checkpoint, "last-checkpoint")
    clean(manifest, checkpoint)
    for entry in manifest.entries:
        (tmp_path / "hub" / entry.path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "hub" / entry.path).write_bytes(entry.read())
    fetched = tmp_path / "hub/last-checkpoint"
    assert "secret" not in (fetched / config).read_text() and not (fetched / "README.md").exists()

    class Config:
        push_to_hub, hub_token, resume_from_checkpoint = False, None, "someone/run@step-3"
        main_process_first = staticmethod(lambda desc: torch.no_grad())

    monkeypatch.setattr("mmr1_trl.hub.fetch.checkpoint_folder", lambda name, token: str(fetched))
    use_hub(Config(), "mssr")
    cases = 0
    for path in sorted(path for path in fetched.iterdir() if path.name != COMPLETE):
        content = path.read_bytes()
        for damage in (DAMAGES["missing"], DAMAGES["truncated"], DAMAGES["bit flipped"]):
            damage(path, None)
            Config.resume_from_checkpoint = "someone/run@step-3"
            with pytest.raises(BadInputError, match=f"damaged: .*{path.name}"):
                use_hub(Config(), "mssr")
            path.write_bytes(content)
            cases += 1
    assert cases > 30, cases


def test_mmr1_check_looks_at_a_checkpoint_or_at_the_newest_of_a_run(copy, capsys):
    run = copy("mssr")
    assert main(["check", "--checkpoint", str(newest(run))]) == 0
    said = capsys.readouterr().out
    assert f"checkpoint-{STEP} is whole" in said and "SHA-256" in said
    assert main(["check", "--checkpoint", str(run)]) == 0
    assert f"checkpoint-{STEP} is whole" in capsys.readouterr().out
    unsealed(newest(run))
    assert main(["check", "--checkpoint", str(run)]) == 0
    assert "no digests" in capsys.readouterr().out
    flip(newest(run) / "optimizer.pt")
    assert main(["check", "--checkpoint", str(run)]) == 2
    errors = capsys.readouterr().err
    assert "optimizer.pt cannot be read" in errors and f"checkpoint-{STEP - 1}" in errors
    assert main(["check", "--checkpoint", str(run / "nowhere")]) == 2
    assert "No checkpoint folder" in capsys.readouterr().err
