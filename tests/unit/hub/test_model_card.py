# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The model card: valid metadata, true contents, nothing private, never worth a run."""

import json
import logging
import re
from pathlib import Path

import pytest
import transformers
from huggingface_hub import ModelCard, metadata_load
from huggingface_hub.repocard_data import model_index_to_eval_results

from mmr1_trl import MSSRConfig, MSSRTrainer, RLVRConfig, RLVRTrainer, TwoStageEntropyConfig, VASConfig
from mmr1_trl.errors import BadInputError
from mmr1_trl.evaluation.record import read_record, write_record
from mmr1_trl.hub import model_card
from mmr1_trl.hub.model_card import write_model_card
from mmr1_trl.hub.render import MARKER, code, hub_id, markdown, public_name
from mmr1_trl.models import build_tiny_vlm, load_processor


SUMMARY = {
    "num_prompts": 40,
    "num_samples": 2,
    "greedy_accuracy": 0.75,
    "sampled_accuracy": 0.5,
    "interval": {"greedy_accuracy": [0.6, 0.86], "sampled_accuracy": [0.4, 0.6]},
    "unparsed": 0.025,
    "truncated": 0.0,
}
FAST = {"beta": 0.0, "tracker_forgetting": "fixed", "max_steps": 2, "save_strategy": "steps", "save_steps": 1}


@pytest.fixture(scope="module")
def facts() -> dict:
    """What a small MSSR run says about itself."""
    return {
        "trainer": "MSSRTrainer",
        "base_model": {"name": "Qwen/Qwen2.5-VL-3B-Instruct", "hub_id": "Qwen/Qwen2.5-VL-3B-Instruct"},
        "dataset": {"name": "hiyouga/geometry3k", "hub_id": "hiyouga/geometry3k"},
        "rows": 2101,
        "prompts": 2101,
        "prompt_style": "mssr",
        "adapter": None,
        "parameters": 3_754_622_976,
        "step": 20,
        "planned_steps": 20,
        "processes": 1,
        "hardware": "8 x NVIDIA H100 (80 GiB)",
        "versions": {"mmr1-trl": "0.1.0", "trl": "1.16.0"},
        "tags": [],
        "switches": {"value_tracker": True, "shaping": True, "sampling": "uniform", "schedule": "none"},
        "methods": ["MSSR"],
        "method_tags": ["mssr"],
        "papers": [dict(MSSRTrainer._paper)],
        "rewards": ["accuracy_reward"],
        "reward_weights": [1.0],
        "rollouts": {"training": 40960, "scoring": 0, "initial": 2101},
        "arguments": {
            "learning_rate": 1e-6, "num_generations": 1, "loss_type": "dapo", "scale_rewards": "group", "beta": 0.01,
            "epsilon": 0.2, "epsilon_high": 0.3, "seed": 7, "tracker_forgetting": "paper", "tracker_rho_min": 0.875,
            "tracker_rho_max": 0.96, "tracker_target_kl": 0.01, "tracker_kl_source": "reference",
            "shaping_alpha": 0.4, "shaping_kappa": 2.0, "entropy_source": "full",
        },
    }  # fmt: skip


def run_folder(tmp_path: Path, facts: dict, **changes: object) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir(parents=True)
    (folder / "mmr1_run.json").write_text(json.dumps(facts | changes))
    history = [{"step": step, "reward": step / 20, "entropy": 1 - step / 20, "loss": 0.1} for step in range(1, 21)]
    history.append({"step": 20, "train_runtime": 7260.0})
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": 20, "log_history": history}))
    return folder


def add_evaluation(folder: Path, model: str = "mine", dataset: str = "mathvista", split: str = "testmini") -> None:
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps(SUMMARY))
    write_record(folder, model, dataset, split)


def python_block(card: Path) -> str:
    (block,) = re.findall(r"```python\n(.*?)```", card.read_text(), flags=re.DOTALL)
    return block


def test_the_header_is_valid_and_complete(tmp_path, facts):
    folder = run_folder(tmp_path, facts)
    add_evaluation(folder / "eval" / "mathvista")
    path = write_model_card(folder, repo_id="someone/geo-mssr")
    header = metadata_load(path)
    assert header["library_name"] == "transformers" and header["pipeline_tag"] == "image-text-to-text"
    assert header["base_model"] == "Qwen/Qwen2.5-VL-3B-Instruct" and header["datasets"] == "hiyouga/geometry3k"
    assert header["tags"] == ["trl", "mmr1-trl", "mssr"]
    name, results = model_index_to_eval_results(header["model-index"])
    assert name == "geo-mssr"
    assert [(r.dataset_type, r.dataset_split, r.metric_value) for r in results] == [
        ("AI4Math/MathVista", "testmini", 0.75),
        ("AI4Math/MathVista", "testmini", 0.5),
    ]
    assert ModelCard.load(path).data.eval_results == results
    assert "license" not in header


def test_what_the_page_says(tmp_path, facts, curves):
    folder = run_folder(tmp_path, facts)
    add_evaluation(folder / "eval")
    add_evaluation(folder / "before", model="Qwen/Qwen2.5-VL-3B-Instruct")
    text = write_model_card(folder, repo_id="someone/geo-mssr").read_text()
    assert "| mathvista (testmini) | 40 | 75.0 % (60.0–86.0) | **75.0 % (60.0–86.0)** | 50.0 % (40.0–60.0) |" in text
    assert "These are rule-based scores" in text
    assert "40,960 trained on, 2,101 for initial values" in text and "8 x NVIDIA H100" in text and "2 h 1 min" in text
    assert r"\min\!\left(\alpha H_{i,t}" in text and r"\rho\,\alpha_i + r_i" in text
    assert "| `learning_rate` | 1e-06 |" in text and "of seed 7" in text
    assert text.count("@article") == 1 and "@software{vonwerra2020trl" in text
    assert "<think>" in text  # the style's own instruction is part of the quick start
    for picture in re.findall(r"\]\((assets/[^)]+)\)", text):
        assert (folder / picture).read_bytes().startswith(b"\x89PNG")
    assert "assets/curves.png" in text and "assets/example.png" in text
    assert "None" not in text and "\n\n\n" not in text and str(tmp_path) not in text


def test_a_run_in_progress_waits_for_no_picture_unless_it_is_uploaded(tmp_path, facts, curves):
    folder = run_folder(tmp_path, facts, planned_steps=100)
    assert "curves" not in write_model_card(folder).read_text()
    assert "assets/curves.png" in write_model_card(folder, repo_id="someone/geo-mssr").read_text()


def test_only_evaluations_of_this_model_at_this_step_count(tmp_path, facts):
    folder = run_folder(tmp_path, facts)
    add_evaluation(folder / "of_another", model="someone/else")
    add_evaluation(folder / "checkpoint-10" / "eval")
    add_evaluation(folder / "early")
    record = read_record(folder / "early")
    (folder / "early" / "evaluation.json").write_text(json.dumps(record | {"step": 10}))
    path = write_model_card(folder)
    assert "model-index" not in metadata_load(path) and "## Results" not in path.read_text()
    assert "No evaluation of this model has been recorded" in path.read_text()
    (folder / "early" / "evaluation.json").write_text(json.dumps(record | {"step": 20}))
    assert "model-index" in metadata_load(write_model_card(folder))


def test_an_evaluation_remembers_the_step_of_its_model(tmp_path, facts):
    folder = run_folder(tmp_path, facts)
    (folder / "eval").mkdir()
    write_record(folder / "eval", str(folder), str(tmp_path / "rows.jsonl"), "test")
    assert read_record(folder / "eval")["model"] == "mine" and read_record(folder / "eval")["step"] == 20


@pytest.mark.parametrize(
    "hostile", ["<script>alert(1)</script>", "a|b`c`\n# d", "[x](javascript:y) **b** $z$", "{{ 7*7 }}"]
)
def test_hostile_names_stay_text(tmp_path, facts, hostile):
    changes = {
        "rewards": [hostile],
        "hardware": hostile,
        "dataset": {"name": hostile, "hub_id": None},
        "tags": [hostile],
        "arguments": facts["arguments"] | {"loss_type": hostile},
    }
    folder = run_folder(tmp_path, facts, **changes)
    add_evaluation(folder / "eval", dataset=hostile)
    path = write_model_card(folder)
    header = metadata_load(path)
    assert hostile in header["tags"]
    body = path.read_text().split("---\n", 2)[2]
    prose = re.sub(r"`[^`]*`", "", re.sub(r"```.*?```", "", body, flags=re.DOTALL))
    assert "<script" not in prose.replace(r"\<script", "") and "\n# d" not in body
    assert not re.search(r"(?<!\\)\[x\]\(", prose) and "49" not in prose
    rows = [line for line in body.splitlines() if line.startswith("| Hardware")]
    assert len(re.findall(r"(?<!\\)\|", rows[0])) == 3


def _leaves(value, path=()):
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from _leaves(value[key], (*path, key))
    else:
        yield path


def test_no_value_of_a_run_file_leaves_its_place(tmp_path, facts):
    """Whatever one value is replaced by, the card shows it as text, or says that it cannot be shown."""
    hostile = "<script>alert(1)</script>`\n```\n# d [x](javascript:y) {{ 7*7 }} | ![z](http://q)"
    switches = {"value_tracker": True, "shaping": True, "sampling": "variance_aware", "schedule": "two_stage"}
    more = {"vas_refresh": "full", "vas_rollouts": 4, "vas_update_steps": 3, "vas_outcome_weight": 0.8,
            "vas_diversity_weight": 0.2, "vas_diversity_metric": "self_bleu", "vas_weighted_fraction": 0.5,
            "vas_variant": "paper", "explore_coef": 0.1, "exploit_coef": 0.2, "switch_fraction": 0.8}  # fmt: skip
    whole = facts | {
        "switches": switches, "arguments": facts["arguments"] | more, "command": "mmr1 mssr",
        "adapter": {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"]},
    }  # fmt: skip
    shown = 0
    for number, path in enumerate(_leaves(whole)):
        changed = json.loads(json.dumps(whole))
        place = changed
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = hostile
        folder = run_folder(tmp_path / str(number), changed)
        try:
            card = write_model_card(folder)
        except BadInputError as error:
            assert "of another kind than this package writes" in str(error), path
            continue
        shown += 1
        body = card.read_text().split("---\n", 2)[2]
        prose = re.sub(r"`[^`]*`", "", re.sub(r"(?ms)^```.*?^```$", "", body))
        assert "<script" not in prose.replace(r"\<script", "") and "\n# d" not in prose, path
        assert not re.search(r"(?<!\\)\[[xz]\]\(", prose) and "49" not in prose, path
    assert shown > 30


def test_names_for_the_public(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "sft").mkdir(parents=True)
    assert hub_id("Qwen/Qwen2.5-VL-3B-Instruct") == hub_id("Qwen/Qwen2.5-VL-3B-Instruct@main")
    for local in (
        "runs/sft",
        "/srv/private/model",
        "../x",
        "./x",
        "~/x",
        "figures",
        "figures/tiny",
        "data/rows.jsonl",
        "",
        None,
    ):
        assert hub_id(local) is None
    assert public_name("/srv/private/model/") == "model" and public_name("runs/sft") == "sft"
    assert public_name(r"C:\Users\someone\model") == "model" and public_name("figures/tiny") == "figures/tiny"
    assert markdown("a*b_<i>") == r"a\*b\_\<i\>" and code("a`b\n|c") == r"`a'b \|c`"


def test_a_card_written_by_hand_stays(tmp_path, facts):
    folder = run_folder(tmp_path, facts)
    path = write_model_card(folder)
    own = path.read_text().replace("library_name", "license: mit\nlibrary_name").replace("# mine", "# Mine!")
    path.write_text(own)
    assert metadata_load(write_model_card(folder))["license"] == "mit" and "# Mine!" not in path.read_text()
    path.write_text(own.replace(MARKER, ""))
    write_model_card(folder)
    assert "# Mine!" in path.read_text()


def test_a_folder_of_anybody_gets_a_card(tmp_path):
    (tmp_path / "model").mkdir()
    path = write_model_card(tmp_path / "model", repo_id="someone/model")
    assert metadata_load(path)["tags"] == ["trl", "mmr1-trl"] and "## Training" not in path.read_text()
    with pytest.raises(BadInputError, match="no folder"):
        write_model_card(tmp_path / "gone")


ALONE = {"beta": 0.0, "tracker_forgetting": "fixed"}
FULL = {"vas_refresh": "full", "vas_rollouts": 2, "vas_update_steps": 9}
TURNED = {"entropy_shaping": True, "entropy_schedule": "minimize_then_maximize"}
BESIDE = (
    {"advantage_baseline": "batch_mean", "negatives": "halved", "prompt_sampling": "posterior"},
    {"advantage_baseline": "leave_one_out", "negatives": "filtered", "prompt_sampling": "skip_list"},
)
SAID = {
    "batch_mean": "REINFORCE++", "leave_one_out": "RLOO", "halved": "count half", "filtered": "2606.17250",
    "posterior": "MoPPS", "skip_list": "GRESO", "dynamic": "DAPO",
}  # fmt: skip
COMBINATIONS = [
    (RLVRConfig, {"num_generations": 2}, ["GRPO"]),
    (VASConfig, {"num_generations": 2, "beta": 0.0}, ["GRPO", "VAS"]),
    (VASConfig, {"num_generations": 2, "beta": 0.0} | FULL, ["GRPO", "VAS"]),
    (TwoStageEntropyConfig, {"num_generations": 2}, ["GRPO", "Two-stage entropy"]),
    (
        MSSRConfig,
        {"prompt_sampling": "variance_aware", "entropy_schedule": "two_stage"} | ALONE,
        ["MSSR", "VAS", "Two-stage entropy"],
    ),
    (MSSRConfig, {"prompt_sampling": "uncertainty", "entropy_shaping": False} | ALONE, ["MSSR"]),
    (RLVRConfig, {"num_generations": 2} | TURNED, ["GRPO", "MSSR", "Two-stage entropy"]),
    (RLVRConfig, {"num_generations": 1} | BESIDE[0], ["GRPO"]),
    (RLVRConfig, {"num_generations": 2} | BESIDE[1], ["GRPO"]),
    (RLVRConfig, {"num_generations": 2, "prompt_sampling": "dynamic"}, ["GRPO"]),
]  # fmt: skip


@pytest.mark.parametrize(("config_class", "options", "methods"), COMBINATIONS)
def test_every_combination_of_switches_has_its_card(make_trainer, config_class, options, methods):
    trainer = make_trainer(RLVRTrainer, config_class, **options)
    trainer.create_model_card(dataset_name="figures")
    path = Path(trainer.args.output_dir) / "README.md"
    text = path.read_text()
    assert f"(**{' + '.join(markdown(method) for method in methods)}**)" in text
    assert text.count("```bibtex") == 1 + len(methods)
    assert ("VPS" in text) == ("VAS" in methods)
    assert (r"\mathcal L" in text) == ("Two-stage entropy" in methods)
    assert ("bonus" in text) == trainer.args.entropy_shaping
    chosen = {trainer.args.advantage_baseline, trainer.args.negatives, trainer.args.prompt_sampling}
    assert {value for value, words in SAID.items() if words in text} == chosen & SAID.keys()
    assert ("group's mean" in text) == (trainer.args.advantage_baseline == "group")
    assert metadata_load(path)["tags"][:2] == ["trl", "mmr1-trl"]


def test_cards_at_checkpoints_and_of_adapters(make_trainer, tmp_path, monkeypatch):
    from peft import LoraConfig

    from mmr1_trl.trainers.checkpoints.run_card import CardMixin

    written = []
    original = model_card.write_model_card

    def spy(folder, **kwargs):
        path = original(folder, **kwargs)
        written.append(path.read_text())
        return path

    monkeypatch.setattr("mmr1_trl.hub.model_card.write_model_card", spy)
    assert CardMixin in RLVRTrainer.__mro__
    lora = LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    trainer = make_trainer(MSSRTrainer, MSSRConfig, peft_config=lora, **FAST)
    trainer.train()
    trainer.save_model()
    trainer.create_model_card()
    assert len(written) == 3
    assert "**Training was at step 1 of 2**" in written[0] and "Training was at" not in written[2]
    assert all("`LORA`, rank 2, alpha 4, on `q_proj, v_proj`" in text for text in written)
    path = Path(trainer.args.output_dir) / "README.md"
    header = metadata_load(path)
    assert header["library_name"] == "peft" and "lora" in header["tags"] and "base_model" not in header
    assert "PeftModel.from_pretrained(base, model_id)" in python_block(path)
    for name in ("README.md", "mmr1_run.json"):
        assert str(tmp_path) not in (Path(trainer.args.output_dir) / name).read_text()


def test_a_failing_card_fails_no_run_and_is_told_once(make_trainer, monkeypatch, caplog):
    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr("mmr1_trl.hub.model_card.write_model_card", fail)
    transformers.utils.logging.enable_propagation()
    trainer = make_trainer(MSSRTrainer, MSSRConfig, **FAST)
    with caplog.at_level(logging.WARNING):
        trainer.train()
    transformers.utils.logging.disable_propagation()
    assert trainer.state.global_step == 2
    assert [record.message.count("disk full") for record in caplog.records if "model card" in record.message] == [1]
    assert (Path(trainer.args.output_dir) / "checkpoint-2" / "rlvr_complete.json").is_file()


@pytest.mark.parametrize("family", ["qwen2_5_vl", "llava"])
@pytest.mark.parametrize("style", ["figures", "mssr"])
def test_the_quick_start_runs(tmp_path, facts, family, style, monkeypatch, capsys):
    folder = run_folder(tmp_path, facts, prompt_style=style)
    model, processor = build_tiny_vlm(family)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    if family == "qwen2_5_vl":  # AutoProcessor needs torchvision for it, as the quick start says

        class WithoutTorchvision:
            from_pretrained = staticmethod(load_processor)

        monkeypatch.setattr(transformers, "AutoProcessor", WithoutTorchvision)
    source = python_block(write_model_card(folder)).replace("max_new_tokens=1024", "max_new_tokens=8")
    monkeypatch.chdir(folder)
    scope: dict = {}
    exec(source, scope)
    assert scope["output"].shape[1] > scope["inputs"]["input_ids"].shape[1]
    assert scope["inputs"]["pixel_values"].numel() > 0
    assert capsys.readouterr().out


def test_the_quick_start_of_an_adapter_runs(tmp_path, facts, monkeypatch, capsys):
    from peft import LoraConfig, get_peft_model

    model, processor = build_tiny_vlm("llava")
    base = tmp_path / "someone" / "base"
    model.save_pretrained(base)
    named = {"name": "someone/base", "hub_id": "someone/base"}
    folder = run_folder(tmp_path, facts, prompt_style="figures", base_model=named)
    get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained(folder)
    processor.save_pretrained(folder)
    path = write_model_card(folder, repo_id="someone/mine")
    source = python_block(path)
    assert 'base_id = "someone/base"' in source and 'model_id = "someone/mine"' in source
    assert metadata_load(path)["base_model"] == "someone/base"
    (tmp_path / "mine").rename(tmp_path / "someone" / "mine")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda repo, name: str(Path(repo) / name))
    scope: dict = {}
    exec(source, scope)
    assert scope["output"].shape[1] > scope["inputs"]["input_ids"].shape[1]
    assert type(scope["model"]).__name__.startswith("Peft")
