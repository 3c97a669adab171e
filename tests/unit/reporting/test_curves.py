# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Reading runs, drawing their curves, and tables."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from mmr1_trl.errors import BadInputError
from mmr1_trl.reporting.curves import ENTROPY, Panel, draw_curves, draw_panel, draw_svgs, present_panels, smooth
from mmr1_trl.reporting.runs import group_runs, load_run, load_runs
from mmr1_trl.reporting.score_map import draw_score_maps, score_map_svgs, score_shares
from mmr1_trl.reporting.tables import before_after_by, before_after_table, category_table, evaluation_table, runs_table


def write_run(folder, steps=20, offset=0.0, extra=()):
    history = [
        {"step": step, "reward": offset + step / steps, "entropy": 1 / step, "kl": float("nan"), "mssr/rho": 0.9}
        for step in range(1, steps + 1)
    ]
    folder.mkdir(parents=True)
    (folder / "trainer_state.json").write_text(json.dumps({"log_history": [*history, *extra]}))
    return folder


def summary(greedy, sampled, **changes):
    part = {"num_prompts": 2, "greedy_accuracy": greedy, "interval": (0.1, 0.9), "sampled_accuracy": sampled}
    return {
        "num_prompts": 4,
        "num_samples": 2,
        "greedy_accuracy": greedy,
        "sampled_accuracy": sampled,
        "majority_accuracy": 0.5,
        "pass_at": {"1": sampled, "2": 0.75},
        "interval": {"greedy_accuracy": [0.2, 0.8], "sampled_accuracy": [0.1, 0.7], "majority_accuracy": [0.2, 0.8]},
        "by": {"family": {"add": part}},
        "unparsed": 0.25,
        "truncated": 0.0,
        "formatted": None,
        "mean_length": 9.5,
        **changes,
    }


def test_the_longest_readable_history_is_taken(tmp_path):
    folder = write_run(tmp_path / "run", steps=5)
    for step, content in ((10, None), (20, "half writ")):
        checkpoint = folder / f"checkpoint-{step}"
        checkpoint.mkdir()
        history = json.dumps({"log_history": [{"step": i, "reward": 0.5} for i in range(1, step + 1)]})
        (checkpoint / "trainer_state.json").write_text(content or history)
    assert load_run(folder).series(["reward"])[0] == list(range(1, 11))


def test_series_takes_the_first_key_that_has_values_and_drops_nan(tmp_path):
    run = load_run(write_run(tmp_path / "run", steps=3, extra=[{"step": 3, "train_loss": 0.1}]))
    assert run.series(["missing", "entropy"]) == ([1, 2, 3], [1.0, 0.5, 1 / 3])
    assert run.series(["kl"]) == ([], [])


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(BadInputError, match="no run folder"):
        load_run(tmp_path / "nowhere")
    with pytest.raises(BadInputError, match="no training history"):
        load_run(tmp_path)


def test_runs_that_differ_in_the_seed_are_one_group(tmp_path):
    names = ["mssr-seed0", "mssr_s1", "grpo", "seed3", "vas.seed-2"]
    runs = [load_run(write_run(tmp_path / name)) for name in names]
    groups = {label: [run.name for run in group] for label, group in group_runs(runs).items()}
    assert groups == {"mssr": ["mssr-seed0", "mssr_s1"], "grpo": ["grpo"], "seed3": ["seed3"], "vas": ["vas.seed-2"]}


def test_only_a_seed_of_its_own_word_makes_one_group(tmp_path):
    names = ["vas-bs8", "vas-bs16", "mssr-steps100", "mssr-steps200"]
    assert list(group_runs(load_runs([write_run(tmp_path / name) for name in names]))) == names


def test_folders_of_one_name_are_told_apart(tmp_path):
    def groups(*names):
        runs = load_runs([write_run(tmp_path / name) for name in names])
        return {label: [run.name for run in group] for label, group in group_runs(runs).items()}

    assert groups("expA/train", "expB/train") == {"expA/train": ["expA/train"], "expB/train": ["expB/train"]}
    both = groups("a/mssr-s0", "a/mssr-s1", "b/mssr-s0")
    assert both == {"a/mssr": ["a/mssr-s0", "a/mssr-s1"], "b/mssr": ["b/mssr-s0"]}
    assert groups("x/seed0", "x/seed1", "y/seed0") == {"x": ["x/seed0", "x/seed1"], "y": ["y/seed0"]}
    assert list(groups("c/mssr-s0", "d/vas")) == ["mssr", "vas"]


def test_stages_are_the_first_middle_and_last_file(tmp_path):
    run = load_run(write_run(tmp_path / "run"))
    assert run.stages() == {}
    (run.folder / "completions").mkdir()
    for step in (1, 5, 9, 12):
        pd.DataFrame({"step": [step]}).to_parquet(run.folder / "completions" / f"completions_{step:05d}.parquet")
    assert {stage: table["step"][0] for stage, table in run.stages().items()} == {"start": 1, "middle": 9, "end": 12}


def test_curves_are_drawn_for_what_was_logged(tmp_path):
    runs = [load_run(write_run(tmp_path / f"a-seed{seed}", offset=seed)) for seed in range(2)]
    runs.append(load_run(write_run(tmp_path / "b", steps=30)))
    assert [panel.title for panel in present_panels(runs)] == ["Reward", "Token entropy (nats)", "Forgetting factor ρ"]
    path = draw_curves(runs, tmp_path / "plots" / "curves.png")
    pixels = np.asarray(Image.open(path).convert("RGB"))
    assert pixels.shape[1] > 1000
    for color in ((0x3F, 0x86, 0xD0), (0xE0, 0x80, 0x3A)):
        assert (np.abs(pixels.astype(int) - color).sum(-1) < 12).sum() > 300


def test_a_picture_of_the_same_values_is_not_drawn_again(tmp_path):
    path = tmp_path / "curves.png"

    short, long = (load_run(write_run(tmp_path / f"{steps}/run", steps=steps)) for steps in (5, 6))

    def draws(run, **options):
        before = path.stat().st_mtime_ns if path.exists() else 0
        draw_curves([run], path, **options)
        return path.stat().st_mtime_ns != before

    assert draws(short) and not draws(short)
    assert draws(long) and draws(long, limit=2) and draws(long, columns=2) and not draws(long, columns=2)
    drawn = path.read_bytes()
    path.write_bytes(drawn[: len(drawn) // 2])
    assert draws(long, columns=2) and path.read_bytes() == drawn


def test_svgs_follow_the_page_and_do_not_share_ids(tmp_path):
    drawings = draw_svgs([load_run(write_run(tmp_path / "run"))])
    assert list(drawings) == ["Reward", "Token entropy (nats)", "Forgetting factor ρ"]
    clips = [set(re.findall(r'<clipPath id="([^"]+)"', markup)) for markup in drawings.values()]
    assert all(clips) and not clips[0] & clips[1]
    for markup in drawings.values():
        assert markup.startswith("<svg viewBox=") and "currentColor" in markup and "#000000" not in markup


def test_one_logged_step_is_a_dot_and_no_known_quantity_is_an_error(tmp_path):
    path = draw_curves([load_run(write_run(tmp_path / "run", steps=1))], tmp_path / "curves.png")
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    assert (np.abs(pixels - (0x3F, 0x86, 0xD0)).sum(-1) < 12).sum() > 50
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "log_history.json").write_text('[{"step": 1, "speed": 3.0}]')
    with pytest.raises(BadInputError, match="other logged none of the known quantities"):
        draw_curves([load_run(tmp_path / "other")], tmp_path / "curves.png")


def test_smoothing_keeps_length_and_the_mean_of_a_line():
    line = np.linspace(0, 1, 200)
    assert len(smooth(line)) == 200
    assert smooth(line)[10:-10] == pytest.approx(line[10:-10])
    assert smooth([3.0]) == pytest.approx([3.0])


def test_tables_say_what_the_summaries_say():
    before, after = summary(0.5, 0.25), summary(0.875, 0.75, pass_at={1: 0.75, 2: 1.0}, mean_length=11.0)
    lines = before_after_table(before, after).markdown().splitlines()
    assert lines[0] == "|  | before | after | change |"
    assert "| Greedy accuracy | 50.0 % (20.0–80.0) | 87.5 % (20.0–80.0) | +37.5 |" in lines
    assert "| pass@2 | 75.0 % | 100.0 % | +25.0 |" in lines
    assert "| Mean length (tokens) | 9.5 | 11.0 | +1.5 |" in lines
    assert not any("format" in line for line in lines)
    assert before_after_by(before, after, "family").rows == [["add", "2", "50.0 %", "87.5 %", "+37.5"]]
    assert category_table(before, "family").rows == [["add", "2", "50.0 % (10.0–90.0)", "25.0 %"]]
    text = evaluation_table(before).text().splitlines()
    assert len({len(line) for line in text}) == 1
    assert "No answer found" in "\n".join(text)


def test_runs_table_compares_the_ends(tmp_path):
    runs = [load_run(write_run(tmp_path / f"a-s{seed}", offset=seed)) for seed in range(2)]
    runs.append(load_run(write_run(tmp_path / "b", steps=4)))
    table = runs_table(runs)
    assert list(table.columns[1:]) == ["a", "b"]
    rows = {row[0]: list(row[1:]) for row in table.rows}
    assert rows["Reward"] == ["0.575 → 1.48 (0.975 to 1.98)", "0.25 → 1"]
    assert "KL to the reference" not in rows


def history_run(folder, entries):
    folder.mkdir(parents=True)
    (folder / "log_history.json").write_text(json.dumps(entries))
    return load_run(folder)


def test_rollouts_are_carried_over_steps_without_generation(tmp_path):
    # Two updates per generation batch of 8, and 100 rollouts for scores before the third.
    counts = [8, None, 16, None, 124]
    entries = [
        {"step": step, "entropy": float(step)}
        | ({} if count is None else {"num_rollouts": count, "reward": step / 10})
        for step, count in enumerate(counts, start=1)
    ]
    run = history_run(tmp_path / "run", [*entries, {"step": 5, "eval_reward": 0.5}])
    assert run.series(["entropy"], "rollouts") == ([8, 16, 124], [1.5, 3.5, 5.0])
    assert run.series(["reward"], "rollouts") == ([8, 16, 124], [0.1, 0.3, 0.5])
    assert run.series(["eval_reward"], "rollouts") == ([124], [0.5])
    assert run.series(["entropy"])[0] == [1, 2, 3, 4, 5]
    other = load_run(write_run(tmp_path / "old"))
    with pytest.raises(BadInputError, match="old has not logged how many rollouts"):
        draw_svgs([run, other], "rollouts")
    assert len(draw_svgs([run], "rollouts")) == 3


def test_bands_of_runs_that_logged_at_other_places(tmp_path):
    runs = [
        history_run(tmp_path / f"a-seed{every}", [{"step": s, "entropy": 0.5 * s} for s in range(1, 20, every)])
        for every in (2, 3)
    ]
    axis = Figure().subplots()
    draw_panel(axis, Panel("x", ("entropy",), smoothed=False), group_runs(runs))
    steps, means = axis.lines[0].get_data()
    assert steps.tolist() == sorted({*range(1, 20, 2), *range(1, 20, 3)}) and means == pytest.approx(steps / 2)


def test_stages_of_the_entropy_schedule_are_shaded(tmp_path):
    coefficients = [0.1] * 6 + [0.0] + [-0.1] * 3
    entries = [{"step": i, "entropy": 0.3, "entropy/coef": c} for i, c in enumerate(coefficients, start=1)]
    groups = group_runs([history_run(tmp_path / "run", entries)])
    axis = Figure().subplots()
    draw_panel(axis, Panel(ENTROPY, ("entropy",)), groups)
    spans = [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in axis.patches]
    assert spans == [(1, 7), (8, 10)] and [text.get_text() for text in axis.texts] == ["explore", "exploit"]
    axis = Figure().subplots()
    draw_panel(axis, Panel("Gradient norm", ("entropy",)), groups)
    assert not axis.patches


def test_accuracy_that_is_the_whole_reward_is_drawn_once(tmp_path):
    entries = [{"step": i, "reward": i / 9, "rewards/accuracy_reward/mean": i / 9} for i in range(1, 10)]
    run = history_run(tmp_path / "run", entries)
    assert [panel.title for panel in present_panels([run])] == ["Accuracy on the training prompts"]
    entries[3]["reward"] = 2.0
    both = present_panels([history_run(tmp_path / "other", entries)])
    assert [panel.title for panel in both] == ["Reward", "Accuracy on the training prompts"]


def test_score_histograms_come_onto_one_range(tmp_path):
    lines = [
        {"step": 1, "counts": [3, 1], "edges": [0.0, 0.1, 0.2], "scoring_rollouts": 8, "training_rollouts": 8},
        {"step": 4, "counts": [4], "edges": [0.2, 0.4], "scoring_rollouts": 16, "training_rollouts": 24},
    ]
    edges, shares = score_shares(lines)
    assert edges[[0, -1]].tolist() == [0.0, 0.4] and shares.sum(1) == pytest.approx([1.0, 1.0])
    half = len(edges) // 2
    assert shares[0, : half // 2].sum() == pytest.approx(0.75) and shares[1, half:].sum() == pytest.approx(1.0)
    run = load_run(write_run(tmp_path / "run"))
    assert score_map_svgs([run]) == {} and draw_score_maps([run], tmp_path / "none.png") is None
    (run.folder / "prompt_scores.jsonl").write_text("\n".join(map(json.dumps, lines)) + '\n{"step": 9, "cou')
    assert list(score_map_svgs([run])) == ["Prompt scores"]
    assert "data:image/png;base64," in score_map_svgs([run])["Prompt scores"]
    assert draw_score_maps([run], tmp_path / "scores.png").stat().st_size > 2000
    assert Image.open(tmp_path / "scores.png").size[0] > 500
