# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The card of a model or an adapter, made from what its run left on disk."""

import functools
import re
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCardData
from PIL.Image import Resampling

from mmr1_trl.data.prompt_style import PROMPT_STYLES
from mmr1_trl.errors import BadInputError
from mmr1_trl.evaluation.benchmarks import BENCHMARKS
from mmr1_trl.evaluation.record import read_record
from mmr1_trl.hub.render import ASSETS, existing_license, hub_id, named, public_name, readable, repo_name, write_card
from mmr1_trl.hub.upload_checks import is_text_only, json_or_empty
from mmr1_trl.models.cache import is_built_in
from mmr1_trl.run_folder import (
    ADAPTER,
    CURVES,
    QUICKSTART_FILE,
    RUN_FILE,
    SETTINGS_FILE,
    SUMMARY,
    TRAINER_STATE,
    step_of,
)


ALL_CURVES, EXAMPLE = "all_curves.png", "example.png"
MAIN_PANELS = 6
# For models that were not trained on the drawn pictures, whose own questions are terse.
QUESTION = "How many dots are in the top left part of the picture?"
TEXT_QUESTION = "A train of 8 cars carries 42 passengers in each. How many passengers does it carry?"


def write_model_card(folder: Path, run: Path | None = None, repo_id: str | None = None) -> Path:
    """
    Write `README.md`, with its pictures in `assets/`, for a model or an adapter.

    Args:
        folder (`Path`):
            Folder of the model; of a run still in progress its output folder.
        run (`Path`, *optional*):
            Folder of the run that made it: `mmr1_run.json`, `mmr1_config.yaml`, `trainer_state.json`, evaluations in
            its subfolders. Defaults to `folder`.
        repo_id (`str`, *optional*):
            Where it is uploaded to; the quick start loads it from there.

    Returns:
        `Path`: The card. One that somebody has written by hand is left as it is.

    Raises:
        [`BadInputError`]: There is no such folder, or its files hold values of another kind than is written there.
    """
    folder, run = Path(folder), Path(run or folder)
    if not folder.is_dir():
        raise BadInputError(f"There is no folder {str(folder)!r} to write a card in.")
    with readable(folder):
        return _write(folder, run, repo_id)


def _write(folder: Path, run: Path, repo_id: str | None) -> Path:
    from mmr1_trl.reporting.compute import spent
    from mmr1_trl.reporting.tables import percent

    facts = read_facts(run)
    name = repo_name(folder, repo_id)
    adapter = _adapter(folder, facts)
    base = facts.get("base_model") or named(None)
    dataset = facts.get("dataset") or named(None)
    state = json_or_empty(folder / TRAINER_STATE) or json_or_empty(run / TRAINER_STATE)
    step = state.get("global_step", facts.get("step"))
    history = _history(run)
    results = find_results(run, {name, run.resolve().name, folder.resolve().name}, base["name"], step)
    text_only = is_text_only(folder, facts)
    question, messages, needs = _example(folder / ASSETS, facts.get("prompt_style"), text_only)
    task = "text-generation" if text_only else "image-text-to-text"
    index = [entry for result in results if result["own"] for entry in _index_entries(result, task)]
    tags = ["trl", "mmr1-trl", *facts.get("method_tags", []), *(["lora"] if adapter else []), *facts.get("tags", [])]
    mixture = [hub_id(part) for part in str(dataset.get("name") or "").split(" + ")]
    data = ModelCardData(
        base_model=base["hub_id"],
        datasets=dataset.get("hub_id") or [part for part in mixture if part] or None,
        library_name="peft" if adapter else "transformers",
        license=existing_license(folder),
        model_name=name if index else None,
        pipeline_tag=task,
        tags=[*dict.fromkeys(tags)],
        eval_results=index or None,
    )
    is_whole = step is None or step >= facts.get("planned_steps", 0)
    return write_card(
        folder,
        "model_card.md.jinja",
        data,
        name=name,
        repo_id=repo_id,
        facts=facts,
        base=base | {"built_in": is_built_in(base["name"])},
        dataset=dataset,
        adapter=adapter,
        merged=bool(facts.get("adapter")) and not adapter,
        step=step,
        seconds=next((e["train_runtime"] for e in state.get("log_history", []) if "train_runtime" in e), None),
        curves=_draw_curves(folder, history, is_whole, repo_id is not None),
        results=results,
        question=question,
        messages=messages,
        needs=needs,
        text_only=text_only,
        spent=spent(history) if history else None,
        percent=percent,
        has_settings=(run / SETTINGS_FILE).is_file(),
        processor_beside=any((folder / file).is_file() for file in ("processor_config.json", "tokenizer_config.json"))
        or not (folder / ADAPTER).is_file(),
    )


def read_facts(run: Path) -> dict[str, Any]:
    """
    Return what is known about the run in a folder: what its trainer wrote, else what its settings and its adapter say.

    Args:
        run (`Path`):
            Folder of a run, or of a model of anybody.
    """
    facts: dict[str, Any] = {}
    if (run / SETTINGS_FILE).is_file():
        values = yaml.safe_load((run / SETTINGS_FILE).read_text(encoding="utf-8")) or {}
        facts["command"] = f"mmr1 {values.get('method')}"
        facts |= {"base_model": named(values.get("model_name_or_path")), "dataset": named(values.get("dataset_name"))}
    facts |= json_or_empty(run / RUN_FILE)
    for fact in ("base_model", "dataset"):
        if isinstance(facts.get(fact), dict):  # a link leads to the Hub, whatever the file says
            facts[fact] = {"name": "", **facts[fact], "hub_id": hub_id(facts[fact].get("hub_id"))}
    if not re.fullmatch("mmr1 [a-z-]+", str(facts.get("command"))):
        facts.pop("command", None)  # it is shown as a command to copy
    adapter = json_or_empty(run / ADAPTER)
    if adapter and "base_model" not in facts:
        facts["base_model"] = named(adapter.get("base_model_name_or_path"))
    return facts


def find_results(run: Path, names: set[str], base: str, step: int | None) -> list[dict[str, Any]]:
    """
    Collect the evaluations in the subfolders of a run that are of its model as it is now, or of its base model.

    Args:
        run (`Path`):
            Folder of the run. The evaluations of `mmr1 quickstart` lie beside it.
        names (`set[str]`):
            What the model may be called in them.
        base (`str`):
            What its base model is called.
        step (`int`, *optional*):
            The step that training has reached; evaluations of another step are left out.

    Returns:
        `list[dict]`: `summary`, `own` (or of the base model), `title`, the `note` of a benchmark, what
        [`~evaluation.record.read_record`] says, and as `before` the base model's summary on as many rows.
    """
    places = [*run.glob(f"*/{SUMMARY}"), *run.glob(f"*/*/{SUMMARY}")]
    if (run.resolve().parent / QUICKSTART_FILE).is_file():
        places += [run.resolve().parent / part / SUMMARY for part in ("before", "after")]
    results = []
    for path in sorted(places):
        summary = json_or_empty(path)
        if "greedy_accuracy" not in summary or any(step_of(place) >= 0 for place in path.parents):
            continue
        record = read_record(path.parent)
        own = (record["model"] is None and path.is_relative_to(run)) or record["model"] in names
        if own and None not in (record["step"], step) and record["step"] != step:
            continue
        if own or record["model"] == base:
            benchmark = BENCHMARKS.get(record["dataset"])
            record["dataset"] = public_name(record["dataset"])
            record["title"] = record["dataset"] + (f" ({record['split']})" if record["split"] else "")
            record["note"] = benchmark.note if benchmark else ""
            results.append({**record, "own": own, "benchmark": benchmark, "summary": summary})
    bases = {(each["title"], each["summary"]["num_prompts"]): each["summary"] for each in results if not each["own"]}
    return [each | {"before": bases.get((each["title"], each["summary"]["num_prompts"]))} for each in results]


def _index_entries(result: dict[str, Any], task: str) -> list[EvalResult]:
    summary, dataset = result["summary"], result["dataset"]
    known = result["benchmark"].sources[0] if result["benchmark"] else (dataset, None, result["split"])
    shared: dict[str, Any] = {
        "task_type": task,
        "task_name": "Text Generation" if task == "text-generation" else "Image-Text-to-Text",
        "dataset_type": known[0],
        "dataset_name": dataset,
        "dataset_config": known[1],
        "dataset_split": known[2],
        "metric_type": "accuracy",
    }
    metrics = {"Greedy accuracy (rule-based)": summary["greedy_accuracy"]}
    if summary["sampled_accuracy"] is not None:
        metrics[f"Sampled accuracy, mean of {summary['num_samples']} (rule-based)"] = summary["sampled_accuracy"]
    return [EvalResult(**shared, metric_name=name, metric_value=round(value, 4)) for name, value in metrics.items()]


def _adapter(folder: Path, facts: dict[str, Any]) -> dict[str, Any] | None:
    """The settings of the adapter in `folder`; a run in progress has not written them yet."""
    config = json_or_empty(folder / ADAPTER)
    if config:
        return {name: config.get(name) for name in ("peft_type", "r", "lora_alpha", "target_modules")}
    return None if any(folder.glob("model*.safetensors")) else facts.get("adapter")


def _history(run: Path) -> Any:
    """The log of a run, `None` where its folder has none."""
    from mmr1_trl.reporting.runs import load_run

    try:
        return load_run(run)
    except BadInputError:
        return None


def _draw_curves(folder: Path, history: Any, whole: bool, uploaded: bool) -> dict[str, str]:
    """
    Draw what was logged so far. A run in progress is not kept waiting for a picture unless it is `uploaded`, and the
    large picture is only of a `whole` run. There is none of an empty log.
    """
    if not (whole or uploaded) or history is None:
        return {}
    from mmr1_trl.reporting.curves import draw_curves, present_panels

    try:
        panels = len(present_panels([history]))
    except BadInputError:
        return {}
    draw_curves([history], folder / ASSETS / CURVES, limit=MAIN_PANELS)
    pictures = {"main": f"{ASSETS}/{CURVES}", "all": ""}
    if whole and panels > MAIN_PANELS:
        draw_curves([history], folder / ASSETS / ALL_CURVES)
        pictures["all"] = f"{ASSETS}/{ALL_CURVES}"
    return pictures


@functools.cache
def _first_test_row() -> dict[str, Any]:
    """The row of the quick start; drawing it at every save would take longer than the rest of the card."""
    from mmr1_trl.data.figures import load_figures

    return load_figures("test", num_rows=1)[0]


def _example(assets: Path, style_name: str | None, text_only: bool) -> tuple[str, list[dict[str, Any]], int]:
    """
    Draw the picture of the quick start. It is one of the embedded ones, so that no training data goes out with a card.
    A text-only model is asked without one.

    Returns:
        `tuple`: Question, the messages as the model was trained to read them, and how many tokens an answer may need.
    """
    style = PROMPT_STYLES[style_name if style_name in PROMPT_STYLES else "plain"]
    if text_only:
        return TEXT_QUESTION, style.messages(TEXT_QUESTION), 1024
    row = _first_test_row()
    picture = row["images"][0]
    assets.mkdir(exist_ok=True)
    if style_name == "figures":
        picture.save(assets / EXAMPLE)
        return row["prompt"][-1]["content"], row["prompt"], 32
    picture.resize((picture.width * 6, picture.height * 6), Resampling.NEAREST).save(assets / EXAMPLE)
    return QUESTION, style.messages(QUESTION), 1024
